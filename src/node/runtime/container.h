/* Containers: created and started by crun, each kept by one conmon that holds its stdio, log file and exit
 * code. Both outlive the agent.
 *
 *     create -> CREATED -> start -> RUNNING -> (exits, kill) -> EXITED -> delete
 *
 * A start that fails leaves the container EXITED. Every state may be deleted; what runs is killed first. */
#ifndef CORACLE_NODE_RUNTIME_CONTAINER_H
#define CORACLE_NODE_RUNTIME_CONTAINER_H

#include <sys/types.h>

#include "node/runtime/cgroup.h"
#include "node/runtime/runtime.h"

/* A termination message longer than this is cut, as upstream does. */
#define RUNTIME_TERMINATION_MESSAGE_MAX 4096
/* What is taken from the end of the log when a failed container left no message: upstream's limits. */
#define RUNTIME_FALLBACK_LOG_BYTES 2048
#define RUNTIME_FALLBACK_LOG_LINES 80
/* Exit code of a container whose real one is lost (its conmon was killed, or the machine restarted). */
#define RUNTIME_EXIT_UNKNOWN 137

enum runtime_mount_propagation {
    RUNTIME_PROPAGATION_PRIVATE, /* API: None */
    RUNTIME_PROPAGATION_SLAVE,   /* API: HostToContainer */
    RUNTIME_PROPAGATION_SHARED,  /* API: Bidirectional */
};

/* Which system calls a container's processes may make. */
enum runtime_seccomp {
    RUNTIME_SECCOMP_DEFAULT,    /* those that containers usually need, by capabilities */
    RUNTIME_SECCOMP_UNCONFINED, /* all */
    RUNTIME_SECCOMP_PROFILE,    /* what the config's profile says */
};

/* A bind mount. Sources are resolved by the caller (subPath included); they must exist. */
struct runtime_mount {
    const char *source;      /* absolute, file or directory */
    const char *destination; /* absolute, in the container */
    bool read_only;
    bool recursively;    /* read_only holds for what is mounted below it too */
    unsigned long flags; /* of MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME and MS_NODIRATIME: those that hold */
    enum runtime_mount_propagation propagation;
};

/* How much of its memory may be in huge pages of a size. */
struct runtime_huge_page_limit {
    const char *size; /* "2MB" */
    int64_t limit;    /* bytes; 0: none */
};

struct runtime_container_config {
    const char *id;        /* runtime_container_id() */
    const char *pod_uid;   /* of a sandbox that exists */
    const char *name;      /* the container's name in the Pod */
    const char *target_id; /* the container whose processes it sees and shares; NULL: the sandbox says */
    uint32_t attempt;      /* how many went before it under this name: names the log file */

    const char *rootfs; /* absolute; mounted by the caller until the container has been deleted */
    bool read_only_rootfs;
    const char *const *args; /* entry point and arguments; at least one */
    size_t arg_count;
    const struct runtime_pair *env; /* later ones win; PATH and HOSTNAME are added when missing */
    size_t env_count;
    const char *cwd; /* NULL: "/" */

    uint32_t uid;
    uint32_t gid;
    const uint32_t *additional_gids;
    size_t additional_gid_count;
    /* Capabilities as the API names them ("NET_ADMIN", "ALL"), applied to containerd's default set. */
    const char *const *add_capabilities;
    size_t add_capability_count;
    const char *const *drop_capabilities;
    size_t drop_capability_count;
    bool privileged;              /* every capability and device, nothing masked */
    bool no_new_privileges;       /* allowPrivilegeEscalation: false */
    enum runtime_seccomp seccomp; /* without effect when privileged */
    const char *seccomp_profile;  /* of RUNTIME_SECCOMP_PROFILE: the OCI object as JSON text */
    int oom_score_adj;            /* a value that the kernel does not let us reach becomes the nearest that it does */

    const struct runtime_mount *mounts;
    size_t mount_count;
    struct cgroup_resources resources;
    const struct runtime_huge_page_limit *huge_pages; /* where the kernel can limit them */
    size_t huge_page_count;

    /* Where the container finds the file for its last words ("/dev/termination-log"); NULL: no such file. */
    const char *termination_message_path;
    bool tty;
    bool stdin_open; /* input is a pipe; of a terminal, it is the terminal */
    bool stdin_once; /* and ends with the first attached one that ends it, or goes */

    /* Kept with the container for the agent to find again: image, image id, hash of the spec... */
    const struct runtime_pair *annotations;
    size_t annotation_count;
};

enum runtime_container_state { RUNTIME_CREATED, RUNTIME_RUNNING, RUNTIME_EXITED };

/* What is known of a container. Strings live as long as the container. Instants are microseconds since the
 * epoch, 0 = not yet. */
struct runtime_container_status {
    const char *id;
    const char *pod_uid;
    const char *name;
    uint32_t attempt;
    const char *rootfs;
    const char *log_path;
    const char *termination_message_path; /* inside the container; NULL: none */
    enum runtime_container_state state;
    pid_t pid; /* of its first process in the node's PID namespace; 0 unless CREATED or RUNNING */
    int64_t created_at;
    int64_t started_at;
    int64_t finished_at;
    int exit_code;   /* 128 + n after signal n */
    bool oom_killed; /* the kernel killed one of its processes for memory */
    bool lost;       /* exit code and time are a guess: see RUNTIME_EXIT_UNKNOWN */
    const struct runtime_pair *annotations;
    size_t annotation_count;
};

/* `config` is copied before the call returns. On failure nothing is left of the container, and the text is
 * what upstream puts behind "CreateContainerError" or "RunContainerError": crun's own sentence, for example
 * "executable file `nosuch` not found in $PATH: No such file or directory". */
void runtime_container_create(struct runtime *runtime, const struct runtime_container_config *config, runtime_done done,
                              void *context);
/* done follows when the program has been started; it may have ended already (see container_ended). */
void runtime_container_start(struct runtime *runtime, const char *id, runtime_done done, void *context);
/* Sends a signal to the first process; SIGKILL reaches all processes of the container. Immediate; but a program that
 * has just been started and does not listen yet gets it as soon as it does. A container that has ended is fine. ENOENT
 * when there is none. */
int runtime_container_kill(struct runtime *runtime, const char *id, int signal, struct error *err);
/* Kills it if need be and removes everything but its log files. One that is not there is fine. */
void runtime_container_delete(struct runtime *runtime, const char *id, runtime_done done, void *context);

/* NULL when there is none. */
const struct runtime_container_status *runtime_container_get(struct runtime *runtime, const char *id);
/* Calls visit for each container (of the pod, unless pod_uid is NULL), in the order of creation. visit must not
 * create or delete one. */
void runtime_container_each(struct runtime *runtime, const char *pod_uid,
                            void (*visit)(void *context, const struct runtime_container_status *container),
                            void *context);

/* Reads the last words of an ended container: its termination message file or, when that is empty, fallback_to_logs
 * is set and the exit code is not 0, the end of its log. `text` is valid during the call, never NULL on success. */
typedef void (*runtime_message_done)(void *context, const char *text, size_t size, const struct error *err);
void runtime_container_termination_message(struct runtime *runtime, const char *id, bool fallback_to_logs,
                                           runtime_message_done done, void *context);

/* Limits of a container that runs, or of a pod (id NULL), while they run: apply and read back. Any thread. Taking
 * memory away that is in use fails. */
int runtime_apply_limits(const struct runtime *runtime, const char *pod_uid, const char *id,
                         const struct cgroup_resources *resources, struct error *err);
int runtime_read_limits(const struct runtime *runtime, const char *pod_uid, const char *id,
                        struct cgroup_resources *out, struct error *err);
/* The CPUs that a container runs on, as lists. Any thread. */
int runtime_apply_cpus(const struct runtime *runtime, const char *pod_uid, const char *id, const char *cpus,
                       struct error *err);
int runtime_read_cpus(const struct runtime *runtime, const char *pod_uid, const char *id, char *out, size_t size,
                      struct error *err);
/* CPU and memory in use, of a container, of a pod as a whole (id NULL) or of all pods (both NULL); reads a few small
 * files. Any thread; ENOENT when it has gone. */
int runtime_read_stats(const struct runtime *runtime, const char *pod_uid, const char *id, struct cgroup_stats *out,
                       struct error *err);
/* Connects to a running container's streams: a nonblocking socket of sequenced packets. What the container writes comes
 * with a byte before it, 2 for output, 3 for errors; what is written to it is the container's input. Immediate. Returns
 * the descriptor, or -1. */
int runtime_container_attach(struct runtime *runtime, const char *id, struct error *err);
/* Sets the size of its terminal. A container without one is fine. Immediate. */
void runtime_container_resize(struct runtime *runtime, const char *id, uint16_t columns, uint16_t rows);

#endif
