/* The container runtime: pod sandboxes and containers, kept by conmon and crun, on one libuv loop.
 *
 * A runtime speaks of neutral things (a sandbox, a container, a mount); it knows no API type. The agent turns
 * pods into these.
 *
 * What outlives the process stands in files under the run directory, written before the deed that they
 * describe, so that `kill -9` at any instant leaves nothing that the next runtime_recover() would not find:
 *
 *     RUN/pods/UID/sandbox.json       what the sandbox is (node/runtime/sandbox.h)
 *     RUN/pods/UID/ns/{net,ipc,uts}   its namespaces, pinned by bind mounts
 *     RUN/pods/UID/shm                its /dev/shm
 *     RUN/containers/ID/              OCI bundle, record, pid files, conmon's control fifo, termination message
 *     RUN/exits/ID                    exit code, written by conmon
 *     RUN/crun/ID/                    crun's own state
 *     RUN/seccomp/                    compiled seccomp profiles (node/runtime/seccomp_cache.h)
 *
 * RUN belongs on a file system that a reboot empties (a record of an earlier boot is known as such, and its
 * container counts as ended). Its path, and the log directory's, must not contain ':' or a newline.
 *
 * Threads: everything is called on the loop's thread, and every callback runs there, never from inside the
 * call that it answers. Nothing blocks the loop: files are written by libuv's pool, conmon and crun are child
 * processes.
 *
 * Signals: the process must leave SIGCHLD to libuv; runtime_new() makes it ignore SIGPIPE. */
#ifndef CORACLE_NODE_RUNTIME_RUNTIME_H
#define CORACLE_NODE_RUNTIME_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/error.h"

/* Longest run directory: paths below it have to fit a socket address and PATH_MAX with room to spare. */
#define RUNTIME_DIRECTORY_MAX 256
/* Containers known at once, ended ones included. */
#define RUNTIME_CONTAINERS_MAX 4096
/* Sandboxes known at once. */
#define RUNTIME_SANDBOXES_MAX 2048

struct runtime;
struct watcher;                  /* node/runtime/watch.h */
struct runtime_container_status; /* node/runtime/container.h */

/* The end of an operation. err is NULL when it succeeded; it is valid during the call only. */
typedef void (*runtime_done)(void *context, const struct error *err);

struct runtime_pair {
    const char *key;
    const char *value;
};

struct runtime_options {
    struct env *env;                /* of a libuv loop (env_uv_new); must outlive the runtime */
    const char *run_directory;      /* RUN, absolute */
    const char *pods_log_directory; /* as upstream's /var/log/pods, absolute */
    const char *cgroup_parent;      /* "/coracle/CLUSTER": below each controller's mount point */
    const char *conmon;             /* path; NULL: looked up in PATH */
    const char *crun;               /* path; NULL: looked up in PATH */
    /* Called once per container when its end has been observed, unless that is by deleting it. Ends that an earlier
     * process observed are not told again: look at runtime_container_each() after a recovery. The status is valid
     * during the call, and afterwards from runtime_container_get(). */
    void (*container_ended)(void *context, const struct runtime_container_status *status);
    void *context;
};

/* Makes the directories and the cluster's cgroup. Blocks for a few milliseconds: call at start-up. Fails with a
 * sentence for people when conmon, crun or a cgroup controller that limits need is missing. The strings of
 * `options` are copied. */
int runtime_new(const struct runtime_options *options, struct runtime **out, struct error *err);

/* The file events of the runtime's loop; watches on it are removed before runtime_close. */
struct watcher *runtime_watcher(struct runtime *runtime);

/* Finds every sandbox and container of an earlier process and takes them up: running containers go on, ended
 * ones get their exit code, what was half made (never started) is killed and removed. Call once, before anything is
 * created. A container may turn up whose sandbox is gone: its log and its end can still be read. */
void runtime_recover(struct runtime *runtime, runtime_done done, void *context);

/* Lets go of everything without touching a container. Operations under way are answered with ECANCELED;
 * `done` runs when the last of them is over, and then the runtime is gone. */
void runtime_close(struct runtime *runtime, void (*done)(void *context), void *context);

/* Ends the whole cluster on this node: kills all in the cluster's cgroup, removes cgroups, sandboxes, records
 * and mounts. For `coracle down`: blocks (bounded by a few seconds), needs no runtime and no loop, and is fine
 * when nothing is there. Log files stay. */
int runtime_destroy(const char *run_directory, const char *cgroup_parent, struct error *err);

/* A fresh container id: 64 hexadecimal digits and a NUL. */
void runtime_container_id(struct env *env, char out[65]);

/* The number of a signal name as images and Pod specs write it ("SIGTERM", "TERM", "15"), or -1. */
int runtime_signal_number(const char *name);

#endif
