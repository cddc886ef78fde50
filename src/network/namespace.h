/* Network namespaces, by file descriptor and by path.
 *
 * The namespace that a thread is in belongs to that thread alone: entering one moves only the caller. A socket
 * stays in the namespace that it was made in, wherever its thread goes afterwards.
 *
 * Where nothing else is said, a namespace argument of -1 means "the one that the calling thread is in". */
#ifndef CORACLE_NETWORK_NAMESPACE_H
#define CORACLE_NETWORK_NAMESPACE_H

#include <stdbool.h>

#include "base/error.h"

/* Opens a namespace file (/proc/PID/ns/net, or a path that one is bound to). Returns a descriptor, or -1. A file
 * that is no namespace is refused. */
int network_namespace_open(const char *path, struct error *err);
/* Opens the calling thread's own. Returns a descriptor, or -1. */
int network_namespace_self(struct error *err);

/* Makes a network namespace, with its loopback up, and binds it to `path`, which is created; the mount is made in
 * the mount namespace that the caller is in. Blocks for about 1 ms; runs a thread of its own, so that the caller's
 * namespace never changes. An existing path is an error (EEXIST). */
int network_namespace_create(const char *path, struct error *err);
/* Unbinds and removes the path. The namespace ends with its last process and socket. A path that is not there
 * is fine. */
int network_namespace_remove(const char *path, struct error *err);

/* Moves the calling thread into namespace fd and remembers in *previous where it was; leave returns it there and
 * closes *previous. A thread that cannot return is in an unknown place, so leave then ends the process. */
int network_namespace_enter(int fd, int *previous, struct error *err);
/* The same with a new one, which has nothing in it and ends when the thread has left it and its last socket is closed.
 */
int network_namespace_enter_new(int *previous, struct error *err);
void network_namespace_leave(int *previous);

/* socket(2) made in namespace fd. Returns a descriptor (close-on-exec), or -1. */
int network_namespace_socket(int fd, int domain, int type, int protocol, struct error *err);

/* Whether both descriptors are the same namespace. */
bool network_namespace_equal(int a, int b);

#endif
