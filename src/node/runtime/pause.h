/* The first process of a PID namespace that the containers of a pod share: it outlives them all, and buries the
 * orphans. This program run as "/pause" is that process: nobody, with no privileges, in an empty root file system of
 * its own. */
#ifndef CORACLE_NODE_RUNTIME_PAUSE_H
#define CORACLE_NODE_RUNTIME_PAUSE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/* What argv[0] of such a process is. */
#define PAUSE_NAME "/pause"

/* Starts one. It waits for pause_release: if its maker dies before, it ends. Blocks for some milliseconds. */
struct pause {
    pid_t pid;
    int sign; /* the end of a pipe */
};
int pause_start(struct pause *out, struct error *err);
/* Lets it go on, or end. */
void pause_release(struct pause *pause, bool go_on);

/* The life of such a process; for main(). */
int pause_main(int argc, char **argv);

#endif
