/* Where a cluster lives: its namespaces, lock and run directory, and how all of that goes away again.
 *
 *     /run/coracle/NAME/lock      locked by the cluster's process; holds its process id
 *     /run/coracle/NAME/state     what destroy has to know: mode, data directory
 *     /run/coracle/NAME/identity  which namespaces are the cluster's
 *     /run/coracle/NAME/ns/net    the network namespace, bound here (sandbox only)
 *     /run/coracle/NAME/ns/mnt    the mount namespace, bound here
 *
 * A sandbox has a network namespace without any way out: loopback, and a link node0 with the node's address. Every
 * cluster, sandbox or not, has a mount namespace of its own, to which the host's mounts still come and from which
 * nothing goes back. The bound files keep both alive without a process: after a kill -9 containers go on, and the
 * next sandbox_enter of that name finds itself among them.
 *
 * On a machine with hybrid cgroups (version 1 controllers and version 2 at /sys/fs/cgroup/unified) the version 2
 * mount is taken away inside the mount namespace, since crun refuses the mixture.
 *
 * Threads: sandbox_enter and sandbox_join change namespaces of the whole process: call them while it has one
 * thread. The rest may be called from anywhere and blocks. All need root. */
#ifndef CORACLE_CLI_SANDBOX_H
#define CORACLE_CLI_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/* Names are DNS labels: lower case, digits, '-', at most 63 characters. */
#define SANDBOX_NAME_MAX 63
#define SANDBOX_RUN_DIRECTORY "/run/coracle"
#define SANDBOX_NODE_LINK "node0"
#define SANDBOX_NODE_ADDRESS "10.89.0.1"
#define SANDBOX_NODE_PREFIX 24
#define SANDBOX_NODE_ADDRESS6 "fd00:10:89::1" /* where the kernel has IPv6 */
#define SANDBOX_NODE_PREFIX6 64
/* How long sandbox_destroy waits for processes and cgroups to end, in milliseconds. */
#define SANDBOX_DESTROY_WAIT 10000

struct sandbox_options {
    const char *name;
    bool isolated;              /* false: the host's network, a private mount namespace only */
    const char *data_directory; /* remembered; removed by sandbox_destroy if `disposable`. Absolute; NULL: none */
    bool disposable;
};

struct sandbox {
    char name[SANDBOX_NAME_MAX + 1];
    bool isolated;
    bool reentered;          /* the namespaces were there already: containers may be running in them */
    bool made;               /* nothing of that name was there before; also set when sandbox_enter fails halfway */
    char run_directory[160]; /* /run/coracle/NAME */
    int lock_fd;
    int host_network_fd; /* the host's network namespace, for sockets that the host has to see */
    int network_fd;      /* the node's: the same as the host's when not isolated */
    int mount_fd;
};

int sandbox_name_check(const char *name, struct error *err);

/* Takes the name's lock, and makes or re-enters its namespaces; the caller's process is inside afterwards. Sockets
 * that must be on the host can be made before, or later through host_network_fd. EBUSY when the cluster is running
 * already: the text says where and how to stop it. On error the process may be in any of the namespaces: report
 * and exit. The working directory is / after re-entering. Call it in the process that stays (after a fork into the
 * background): children that do not exec would hold the lock on. */
int sandbox_enter(const struct sandbox_options *options, struct sandbox *out, struct error *err);
/* Closes the descriptors, and so gives the lock up. Namespaces and files stay for the next process. */
void sandbox_close(struct sandbox *sandbox);

/* Moves the process into the namespaces of a cluster that is there, as `coracle enter` does. ENOENT: no such
 * cluster. */
int sandbox_join(const char *name, struct error *err);

enum sandbox_presence { SANDBOX_ABSENT, SANDBOX_STOPPED, SANDBOX_RUNNING };
/* Whether there is a cluster of that name, and the process that runs it (0 if none does). */
int sandbox_find(const char *name, enum sandbox_presence *presence, pid_t *process, struct error *err);

/* The data directory that a cluster was started with, be it running or stopped; the caller frees it. ENOENT: no such
 * cluster. Also fails for what cannot be a name, and for a state file that is damaged or not ours to read. */
int sandbox_data_directory(const char *name, char **out, struct error *err);

/* Whether the cluster has a network of its own; true when there is no such cluster. */
bool sandbox_is_isolated(const char *name);

/* Ends a cluster from outside, in whatever state a crash has left it, and removes all of it: processes (everything
 * in the cgroups coracle/NAME of every hierarchy, and everything in its namespaces), mounts, namespaces and with
 * them links and rules, cgroups, run directory, a disposable data directory. Safe to repeat; a name that is not
 * there is fine. Must not be called from inside. A cluster that is not isolated has links and rules in the host's
 * namespace: remove those with pod_network_destroy and dataplane_destroy. */
int sandbox_destroy(const char *name, struct error *err);

/* The same for what was made and did not come to be a cluster: its data directory, disposable or not, goes if
 * it was made along with it, and stays otherwise. The caller has left the namespaces and closed the sandbox. */
int sandbox_undo(const char *name, bool data_was_made, struct error *err);

#endif
