/* Shared by sandbox.c (coming in) and sandbox_destroy.c (going away). */
#ifndef CORACLE_CLI_SANDBOX_INTERNAL_H
#define CORACLE_CLI_SANDBOX_INTERNAL_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "cli/sandbox.h"

/* Room for SANDBOX_RUN_DIRECTORY, a name and a file of the run directory. */
#define SANDBOX_PATH_MAX 160

struct sandbox_paths {
    char run[SANDBOX_PATH_MAX];
    char lock[SANDBOX_PATH_MAX];
    char state[SANDBOX_PATH_MAX];
    char identity[SANDBOX_PATH_MAX]; /* inode numbers of the namespaces: inside, the bound files are not seen */
    char namespaces[SANDBOX_PATH_MAX]; /* .../ns, a private mount of itself */
    char network[SANDBOX_PATH_MAX];
    char mount[SANDBOX_PATH_MAX];
};
void sandbox_paths_of(const char *name, struct sandbox_paths *paths);

/* What the state file says. */
struct sandbox_state {
    bool isolated;
    bool disposable;
    char data_directory[4096];
};
/* ENOENT when there is none. */
int sandbox_state_read(const struct sandbox_paths *paths, struct sandbox_state *state, struct error *err);

/* Tries to take the lock of the run directory, which must exist. Returns a descriptor, or -1; EBUSY when another
 * process has it. */
int sandbox_lock(const struct sandbox_paths *paths, struct error *err);
/* The process that holds the lock, by its own account; 0 when nobody does. */
pid_t sandbox_lock_holder(const struct sandbox_paths *paths);

/* Whether the calling process is in one of the cluster's own namespaces. */
bool sandbox_is_inside(const struct sandbox_paths *paths);

/* Whether a namespace is bound to the path. */
bool sandbox_is_bound(const char *path);
/* Unbinds both namespaces and the directory they are in. */
int sandbox_unbind(const struct sandbox_paths *paths, struct error *err);

#endif
