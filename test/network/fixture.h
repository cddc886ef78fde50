/* What the tests of the network room share. A test program calls fixture_enter first: it runs in network and mount
 * namespaces of its own from then on, so that nothing it does can reach the machine. */
#ifndef CORACLE_TEST_NETWORK_FIXTURE_H
#define CORACLE_TEST_NETWORK_FIXTURE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* False when namespaces cannot be made (not root): the tests are to be skipped then. */
bool fixture_enter(void);

/* The directory for this program's files, below /run in the private mount namespace. */
const char *fixture_directory(void);

/* Fails the running test with the error's text unless result is 0. */
void check_ok_at(int result, const struct error *err, const char *file, int line);
#define check_ok(call)                                                                                                 \
    do {                                                                                                               \
        struct error err_ = {0}, *err = &err_;                                                                         \
        check_ok_at((call), err, __FILE__, __LINE__);                                                                  \
    } while (0)

struct in_addr ip(const char *text);

/* Makes a network namespace for a pod and returns its descriptor; its path is in out. */
int fixture_pod_namespace(const char *name, char out[128]);
/* The path of one that was made. */
void fixture_pod_path(const char *name, char out[128]);

/* A server in a namespace, on a thread of its own. TCP: each connection gets `label` and is then echoed to until its
 * end. UDP: each datagram is answered with `label`. */
struct server;
struct server *server_start(int namespace_fd, int protocol, uint16_t port, const char *label);
/* Connections or datagrams that it got. */
unsigned server_count(struct server *server);
/* The address of the client that came last. */
struct in_addr server_client(struct server *server);
void server_stop(struct server *server);

/* A TCP connection made in a namespace: a descriptor, or -errno. Every wait is bounded. */
int tcp_connect(int namespace_fd, struct in_addr address, uint16_t port);
/* The same from a port of the client's. */
int tcp_connect_from(int namespace_fd, uint16_t own_port, struct in_addr address, uint16_t port);
/* Closes a connection without a word to the other side, as a machine does that loses its power. */
void tcp_vanish(int fd);
/* Reads what the server says first; a static text per thread, "" at the end. */
const char *tcp_read(int fd);
/* Connects, reads the label, closes. The label, or the error's name such as "ECONNREFUSED". */
const char *tcp_ask(int namespace_fd, struct in_addr address, uint16_t port);
/* A connected UDP socket in a namespace. */
int udp_open(int namespace_fd, struct in_addr address, uint16_t port);
const char *udp_exchange(int fd);
const char *udp_ask(int namespace_fd, struct in_addr address, uint16_t port);

/* Microseconds of CLOCK_MONOTONIC. */
int64_t now(void);

#endif
