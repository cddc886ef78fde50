/* The end of a command in a container, with all that it has started. Private to node/runtime. */
#ifndef CORACLE_NODE_RUNTIME_EXEC_HUNT_H
#define CORACLE_NODE_RUNTIME_EXEC_HUNT_H

#include <sys/types.h>

struct cgroup;

/* Kills crun (its pid, and a pidfd of it, since by then the pid may be another's) and its descendants. Those whose
 * parents in between have ended are found in the container's cgroup, `group`, by the sessions that were met: crun puts
 * a command into one of its own. Blocks; pool only. */
void exec_hunt_down(struct cgroup *cgroup, const char *group, pid_t crun, int pidfd);

#endif
