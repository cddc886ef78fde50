/* The node agent: runs the pods that are bound to its node, and reports what becomes of them. It speaks to the
 * cluster only through a client; an upstream kubelet could stand in for it.
 *
 * One thread: that of the environment's loop. */
#ifndef CORACLE_NODE_AGENT_H
#define CORACLE_NODE_AGENT_H

#include "api/usage.h"
#include "client/informer.h"
#include "network/pod_network.h"
#include "node/eviction.h"
#include "node/image/image.h"
#include "node/runtime/runtime.h"

/* Pods that one node takes, as upstream's default. */
#define AGENT_PODS_MAX 110

struct agent;

/* What of the machine is not for pods. */
struct agent_reserved {
    int64_t cpu_milli, memory, disk; /* disk: ephemeral-storage */
};

struct agent_options {
    const char *node_name;
    const char *node_address;            /* InternalIP */
    const char *node_address6;           /* the second one, of IPv6; NULL: none */
    const char *pod_cidr;                /* spec.podCIDR of the node */
    const char *pod_cidr6;               /* the second one; NULL: none */
    const char *data_directory;          /* pods/, images/, log/ */
    const char *run_directory;           /* on a file system that a reboot empties */
    const char *cgroup_parent;           /* "/coracle/NAME" */
    const char *cluster_domain;          /* "cluster.local" */
    const char *cluster_dns;             /* the address that pods ask */
    int pods_max;                        /* 0: AGENT_PODS_MAX */
    const char *manifests;               /* the folder of static pods; NULL: none */
    struct eviction_thresholds eviction; /* node/eviction.h; all zero: none */
    int64_t pressure_transition;         /* microseconds; how long conditions outlast a shortage */
    struct agent_reserved reserved;
    const char *unsafe_sysctls; /* that pods may set besides the safe ones (node/pod_sysctls.h); NULL: none */
    bool static_cpus;           /* the CPU manager policy is static */
    int host_network_fd;        /* the network namespace that registries are reached from; -1: the process's own */
    const char *const *insecure_registries;
    size_t insecure_registry_count;

    /* None of these is taken over. */
    struct env *env; /* of a libuv loop */
    struct client *client;
    struct image_store *images;
    struct pod_network *network;

    /* Asks whether a new connection may still be sent to a pod that is being deleted: true once every data plane
     * has confirmed that it sends none. Asked again whenever agent_data_plane_changed is called. NULL: never. */
    bool (*drained)(void *context, const struct pod *pod);
    /* The pod is not ready any more, or is again: known here before the API knows it. NULL: nobody asks. */
    void (*withhold)(void *context, const struct pod *pod, bool withhold);
    /* The pod has these addresses, the second of IPv6 or NULL, or has none any more: NULL. Its host ports lead there.
     * NULL: nobody asks. */
    void (*host_ports)(void *context, const struct pod *pod, const char *pod_ip, const char *pod_ip6);
    void *context;
    /* The pod has this address from now on, and address6 if there is one (NULL: none). Calls `done` when its network
     * policies are in force, perhaps before it returns; no container of the pod is started before. NULL: there are
     * none. */
    void (*secure)(void *context, const struct pod *pod, const char *address, const char *address6, env_callback done,
                   void *done_context);
    void *secure_context;
};

/* Checks the machine (crun, conmon, cgroups). Blocks a few milliseconds. */
int agent_new(const struct agent_options *options, struct agent **out, struct error *err);
/* Takes up what an earlier agent left running, registers the node, and begins. ready runs once the node has been
 * reported Ready. */
void agent_start(struct agent *agent, env_callback ready, void *context);
/* Stops deciding; containers stay as they are. stopped runs when nothing is under way any more, and then the
 * agent is gone. */
void agent_stop(struct agent *agent, env_callback stopped, void *context);

/* The data plane has applied something: drains that wait are looked at again. */
void agent_data_plane_changed(struct agent *agent);

/* Where the log of a container of a pod is. */
struct agent_log_source {
    char *path;            /* free() it */
    char container_id[65]; /* "" when nothing writes any more */
};
/* The log file of a container's present run, or of the one before it. Fails with upstream's texts
 * (`container "x" in pod "y" is waiting to start: ContainerCreating`, `previous terminated container ...`). */
int agent_find_log(struct agent *agent, const char *namespace, const char *pod, const char *container, bool previous,
                   struct agent_log_source *out, struct error *err);
/* Measures what the node and its pods use; done runs once, within USAGE_WINDOW_FIRST or soon after (node/usage.h). */
void agent_measure(struct agent *agent, usage_done done, void *context);
/* The id of a container's present run, which lives as long as the run. Fails with ENOENT when it does not run, in
 * upstream's words, which are others for somebody who wants to attach to it than for somebody with a command. */
int agent_find_container(struct agent *agent, const char *namespace, const char *pod, const char *container,
                         bool attach, const char **id, struct error *err);
/* Connects to a port of a pod at its loopback address; done runs once, later, with a nonblocking socket that it takes
 * over, connected or about to be, or with err. */
void agent_connect(struct agent *agent, const char *namespace, const char *pod, uint16_t port,
                   void (*done)(void *context, int fd, const struct error *err), void *context);
/* The working set of a container that runs, in bytes; negative: it does not. Reads small files. */
int64_t agent_memory_used(struct agent *agent, const char *pod_uid, const char *container);
struct runtime *agent_runtime(struct agent *agent);

#endif
