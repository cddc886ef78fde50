/* What the agent knows of one pod, and the status that users read of it. The status is a pure function of the
 * state and the time, shaped as upstream's kubelet shapes it. */
#ifndef CORACLE_NODE_POD_STATE_H
#define CORACLE_NODE_POD_STATE_H

#include "api/object.h"
#include "base/arena.h"
#include "node/decide.h"
#include "node/runtime/cgroup.h"

/* One finished run of a container. */
struct container_termination {
    char *container_id; /* NULL: there is none */
    char *reason;       /* "Completed", "Error", "OOMKilled", "StartError" ... */
    char *message;      /* may be NULL */
    int exit_code;
    int64_t started_at;
    int64_t finished_at;
};

/* Everything of one container beyond what decisions need. Strings are owned. */
struct container_record {
    char *id;       /* of the present or last instance; NULL: none yet */
    char *image;    /* as upstream shows it in the status: "docker.io/local/model-server:v1" */
    char *image_id; /* the image's digest reference */
    char *user;     /* that its processes run as, as node/security.h writes it; NULL: not known */
    int32_t restart_count;
    int32_t attempt; /* numbers its directory and log; one more than restart_count while the next is being made */
    int64_t started_at;
    int64_t delayed;      /* of STARTING: the backoff that came before, in microseconds; 0: none */
    char *waiting_reason; /* while not running: "ErrImagePull", "CreateContainerError"; NULL: the ordinary one */
    char *waiting_message;
    struct container_termination current;   /* of EXITED */
    struct container_termination last;      /* of the run before */
    bool end_unread;                        /* it ended before this agent began, and how is still being read */
    bool ready;                             /* the readiness probe passes, or there is none and it runs */
    struct resource_requirements allocated; /* what the node has allotted to it, in allocated_arena */
    struct arena *allocated_arena;
    struct cgroup_resources actual; /* of RUNNING: what its group has */
};

/* How far a change of resources has got. */
struct pod_resize {
    const char *pending; /* "Deferred" or "Infeasible": it has to wait, or is in vain; NULL: neither. Static */
    char *message;       /* of pending */
    bool in_progress;
    char *error;        /* of in_progress; NULL: none */
    int64_t generation; /* of the pod that is in progress */
};

struct pod_state {
    struct object *pod; /* the newest snapshot */
    struct pod_observation seen;
    struct container_record *records; /* beside seen.containers */
    char *ip;                         /* NULL: none */
    struct pod_resize resize;
    char *ip6;              /* the second one, of IPv6; NULL: none */
    const char *disruption; /* of a pod that ended for the sake of the node or of another pod: what the condition
                             * DisruptionTarget says; NULL: none. Static, or `message` */
    bool rejected;          /* not taken in by it */
    bool restored;          /* found running after a restart of the agent */
    const char *reason;     /* of a pod that failed as a whole: "Evicted", "DeadlineExceeded"; static */
    char *message;          /* beside it; NULL: none */
};

/* The index of a container by name, init containers first, or -1. */
int pod_state_find(const struct pod_state *state, const char *name);

/* For an agent that starts, into a state that has the containers of the spec and nothing else: the history that only
 * the API remembers. `shown` is the pod as the API has it. */
void pod_state_restore(struct pod_state *state, const struct pod *shown);
/* After that, when what the runtime knows has been filled in: containers that it does not know (records without id)
 * have ended. After a reboot it knows none, where upstream's runtimes still know all: so what had succeeded does not
 * run again where restartPolicy forbids it, and a pod that never restarts is over. sandbox_lost: they are of an earlier
 * sandbox, and init containers begin anew, as upstream's kubelet has it. */
void pod_state_restore_lost(struct pod_state *state, const struct pod *shown, bool sandbox_lost, int64_t now);

/* The whole status. As in upstream's mergePodStatus, phase, reason and message do not say that the pod is over while a
 * container of it may run, but it is not ready from the moment that it is to end by itself. `reported` is the pod as
 * the API has it: conditions that others own (readiness gates, PodScheduled) and the transition times of those that did
 * not change are taken from its status. host_ip6, the node's second address, may be NULL. */
void pod_status_build(struct arena *arena, const struct pod_state *state, const struct pod *reported,
                      const char *host_ip, const char *host_ip6, int64_t now, struct pod_status *out);

#endif
