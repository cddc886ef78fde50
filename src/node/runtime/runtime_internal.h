/* What the files of the runtime share. Not for anyone else.
 *
 * An object (sandbox or container) is touched by the loop's thread only. A piece of work in libuv's pool gets
 * copies, or reads fields that do not change while the object is busy. */
#ifndef CORACLE_NODE_RUNTIME_RUNTIME_INTERNAL_H
#define CORACLE_NODE_RUNTIME_RUNTIME_INTERNAL_H

#include <uv.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "base/vector.h"
#include "node/runtime/cgroup_internal.h"
#include "node/runtime/container.h"
#include "node/runtime/runtime.h"
#include "node/runtime/sandbox.h"
#include "node/runtime/watch.h"

/* Longest name taken as pod uid or container id: it becomes a file name and a cgroup name. */
#define RUNTIME_NAME_MAX 72
/* A record larger than this is not ours. */
#define RUNTIME_RECORD_MAX (1 << 20)
/* How long conmon and crun may take to create a container. */
#define RUNTIME_CREATE_TIMEOUT (120 * INT64_C(1000000))
/* How long a conmon may take to end after its container, before it is killed; milliseconds. */
#define RUNTIME_CONMON_EXIT_WAIT 2000

struct runtime {
    struct env *env;
    uv_loop_t *loop;
    struct cgroup *cgroup;
    char *run;
    char *logs;
    char *conmon;
    char *crun;
    char boot_id[40];
    bool limit_swap;
    void (*container_ended)(void *context, const struct runtime_container_status *status);
    void *context;

    struct map sandboxes;
    struct map containers;
    struct list sandbox_list;
    struct list container_list;
    struct list execs;      /* running */
    struct list exec_queue; /* waiting for a place */
    size_t exec_count;
    size_t exec_streams_count; /* running commands with streams */
    uint64_t consoles;         /* numbers sockets for terminals */
    struct list log_readers;
    struct list creations; /* containers that conmon and crun are at work on */

    struct watcher *watcher;
    struct watch *exits;

    size_t held; /* operations under way and handles not yet closed */
    bool closing;
    void (*closed)(void *context);
    void *closed_context;
};

/* The runtime lives while it is held. */
void runtime_hold(struct runtime *runtime);
void runtime_release(struct runtime *runtime);

/* Runs `work` in libuv's pool and then `after` on the loop. Holds the runtime meanwhile. */
void runtime_work(struct runtime *runtime, void (*work)(void *context), void (*after)(void *context), void *context);

/* Answers `done` from a later turn of the loop. */
void runtime_answer(struct runtime *runtime, runtime_done done, void *context, const struct error *err);

/* Those who wait for one and the same end. */
struct waiter {
    runtime_done done;
    void *context;
};
typedef VECTOR(struct waiter) waiter_list;
/* Answers all and empties the list. err may be NULL. */
void waiters_answer(waiter_list *waiters, const struct error *err);

/* [0-9a-zA-Z._-], not beginning with '.', at most RUNTIME_NAME_MAX: fit for a file name. */
bool runtime_name_valid(const char *name);

struct sandbox {
    struct runtime_sandbox_status status; /* first: what runtime_sandbox_get returns */
    struct runtime *runtime;
    struct arena *arena; /* holds status */
    struct list node;
    bool busy;
    bool removing;
    bool ready;          /* made; known to the agent */
    waiter_list waiters; /* for removal */
};

enum container_phase {
    PHASE_CREATING,
    PHASE_CREATED,
    PHASE_STARTING,
    PHASE_RUNNING,
    PHASE_ENDED, /* exit code known; what it left in the kernel may still have to be cleared (busy) */
    PHASE_GONE,  /* being deleted */
};

struct container {
    struct runtime_container_status status; /* first: what runtime_container_get returns */
    struct runtime *runtime;
    struct arena *arena; /* holds status */
    struct list node;
    enum container_phase phase;
    bool busy;     /* something of it is in libuv's pool or in a child's hands */
    bool shares_pids; /* with other containers or the node: its processes do not end with the first one */
    int pidfd;     /* of its first process; -1 */
    pid_t conmon;  /* 0: unknown or ended */
    int conmon_pidfd;
    struct pidfd_watch *conmon_watch;
    struct env_timer *signal_timer; /* container_signal.c; NULL until it is needed */
    int unheard_signal;
    char cgroup[RUNTIME_POD_CGROUP_MAX + RUNTIME_NAME_MAX + 2]; /* below the cluster's */
    waiter_list deleters;
};

static inline struct container *runtime_find_container(struct runtime *runtime, const char *id)
{
    return map_get(&runtime->containers, id);
}

/* RUN/containers/ID[/file]: free() it. */
char *container_path(const struct runtime *runtime, const char *id, const char *file);
/* RUN/exits/ID, RUN/crun/ID[/file]: free() them. */
char *container_exit_path(const struct runtime *runtime, const char *id);
char *container_crun_path(const struct runtime *runtime, const char *id, const char *file);
/* RUN/pods/UID[/file]: free() it. */
char *sandbox_path(const struct runtime *runtime, const char *pod_uid, const char *file);

/* An object for the config or record; not yet in the runtime's map. */
struct container *container_new(struct runtime *runtime);
/* Closes descriptors and releases. Must not be in the map. */
void container_free(struct container *container);
void container_insert(struct container *container);
/* Its creation is complete, and its deletion has not begun. */
bool container_is_visible(const struct container *container);
void container_remove(struct container *container);
struct sandbox *sandbox_new(struct runtime *runtime);
void sandbox_free(struct sandbox *sandbox);
void sandbox_insert(struct sandbox *sandbox);
/* Kills and removes all of a sandbox but the object. Blocks; pool only. */
int sandbox_remove_parts(const struct runtime *runtime, const char *pod_uid, struct error *err);
bool sandbox_has_containers(struct runtime *runtime, const char *pod_uid);

/* Records: see record.c. Block for a file or two. */
int container_record_write(const struct container *container, struct error *err);
int container_record_read(struct container *container, const char *id, bool *same_boot, struct error *err);
int container_end_write(const struct container *container, struct error *err);
/* 0, or -1 when there is none. */
int container_end_read(struct container *container);
int sandbox_record_write(const struct runtime *runtime, const struct runtime_sandbox_status *status, struct error *err);
int sandbox_record_read(struct sandbox *sandbox, const char *pod_uid, struct error *err);
/* A copy of the pairs in the arena. */
const struct runtime_pair *pairs_copy(struct arena *arena, const struct runtime_pair *pairs, size_t count);

/* Ends: container_end.c. Takes up the end of a container if conmon has told it. Loop only. */
void container_check_exit(struct container *container);
/* The same for all, or for one by name: what a watch on the exits directory calls. context is the runtime. */
void containers_check_exit(void *context, const char *id);
/* Reads conmon's exit file: 0, or -1 when there is none. Blocks for a small read. */
int container_read_exit(struct container *container);
/* Watches the conmon of a container whose conmon_pidfd is set. */
void container_watch_conmon(struct container *container);
/* A deep copy in the arena (container_config.c). */
void container_config_copy(struct runtime_container_config *to, const struct runtime_container_config *from,
                           struct arena *arena);
/* Ends every process of the container, and its conmon. Blocks; pool only. conmon: its pid; 0 when that is not known;
 * CONMON_ANYWHERE when it may not even have got into the cluster's cgroup. */
#define CONMON_ANYWHERE (-1)
int container_kill_all(const struct runtime *runtime, const char *id, const char *cgroup, pid_t conmon,
                       struct error *err);
/* Removes what it has in the kernel and in files, log files excepted. Blocks; pool only. */
int container_remove_files(const struct runtime *runtime, const char *id, const char *cgroup, struct error *err);
/* A busy container is no longer: deletes it if that was asked for meanwhile. */
void container_idle(struct container *container);
/* Answers creations under way with ECANCELED. */
void creations_cancel(struct runtime *runtime);
/* Tells log readers that a container writes no more. */
void log_readers_wake(struct runtime *runtime, const char *id);

/* Sandboxes: namespace.c. Block; pool only. */
int namespaces_create(const struct runtime *runtime, const struct runtime_sandbox_config *config, struct error *err);
int namespaces_remove(const struct runtime *runtime, const char *pod_uid, struct error *err);
/* Whether the pins and the shm of a recorded sandbox are in place in this mount namespace. */
bool namespaces_present(const struct runtime *runtime, const struct runtime_sandbox_status *status);
/* Pins them again from a process that is in them. */
int namespaces_repin(const struct runtime *runtime, const struct runtime_sandbox_status *status, pid_t pid,
                     struct error *err);

/* Cancels all execs of a container (of every one: NULL). */
void execs_cancel(struct runtime *runtime, const char *container_id);
/* The same for a container that has ended, but for the commands that somebody follows: they end with it, and how is
 * told (0 for the one that made it end, 137 for what the kernel has killed). */
void execs_end(struct runtime *runtime, const char *container_id);

#endif
