/* Pod sandboxes: the namespaces and the cgroup that the containers of a pod share. There is no pause process:
 * network, IPC and UTS namespace are pinned by bind mounts in the run directory and live until they are
 * removed. A sandbox outlives the agent and all of its containers. */
#ifndef CORACLE_NODE_RUNTIME_SANDBOX_H
#define CORACLE_NODE_RUNTIME_SANDBOX_H

#include "node/runtime/cgroup.h"
#include "node/runtime/runtime.h"

/* Size of a pod's /dev/shm, as upstream's runtimes choose it. */
#define RUNTIME_SHM_BYTES (64 << 20)

struct runtime_sandbox_config {
    const char *pod_uid; /* [0-9a-zA-Z-]: it becomes file and cgroup names */
    const char *pod_namespace;
    const char *pod_name;
    const char *hostname; /* at most 64 bytes; with host_network the node's own, or "" for none in the environment */
    bool host_network;    /* the node's network and UTS namespace, as upstream's runtimes take them together */
    bool host_ipc;
    bool host_pid;
    bool share_process_namespace; /* of all containers; kept by a process of ours (node/runtime/pause.h) */
    const struct runtime_pair
        *sysctls; /* of the pod's namespaces: net.*, kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* */
    size_t sysctl_count;
    struct cgroup_resources resources; /* of the pod as a whole */
    /* Kept with the sandbox for the agent to find again (the pod's address, for example). */
    const struct runtime_pair *annotations;
    size_t annotation_count;
};

/* What is known of a sandbox. Strings live as long as the sandbox. */
struct runtime_sandbox_status {
    const char *pod_uid;
    const char *pod_namespace;
    const char *pod_name;
    const char *hostname;
    bool host_network;
    bool host_ipc;
    bool host_pid;
    bool share_process_namespace;
    const char *network_namespace; /* path to open or to hand to `ip netns`-like code; NULL with host_network */
    int64_t created_at;
    const struct runtime_pair *annotations;
    size_t annotation_count;
};

/* Makes the namespaces (loopback up, hostname and sysctls set) and the pod's cgroup. EEXIST when there is one.
 * When it fails, nothing of it is left. */
void runtime_sandbox_create(struct runtime *runtime, const struct runtime_sandbox_config *config, runtime_done done,
                            void *context);
/* Removes namespaces, cgroup and record; kills what may still run in the cgroup. The pod's containers must have been
 * deleted (EBUSY). A sandbox that is not there is fine. */
void runtime_sandbox_remove(struct runtime *runtime, const char *pod_uid, runtime_done done, void *context);
/* Sets one annotation and has it on disk when done is called. */
void runtime_sandbox_annotate(struct runtime *runtime, const char *pod_uid, const char *key, const char *value,
                              runtime_done done, void *context);

/* NULL when there is none. */
const struct runtime_sandbox_status *runtime_sandbox_get(struct runtime *runtime, const char *pod_uid);
/* Calls visit for each sandbox, in the order of creation. visit must not create or remove one. */
void runtime_sandbox_each(struct runtime *runtime,
                          void (*visit)(void *context, const struct runtime_sandbox_status *sandbox), void *context);

/* The name of the pod's cgroup below the cluster's: "podUID". Takes 64 bytes with the NUL; longer uids are cut,
 * but none that runtime_sandbox_create() accepts. */
#define RUNTIME_POD_CGROUP_MAX 64
void runtime_pod_cgroup(const char *pod_uid, char out[RUNTIME_POD_CGROUP_MAX]);

#endif
