/* What to do next for a pod: a pure function from its spec, what has been observed of it, and the time, to
 * the actions that are due. It calls no clock and does no I/O; the worker (node/worker.h) carries the actions
 * out and observes again. An action that is under way shows in the observation (a state such as PART_BUSY),
 * so asking again never repeats it. */
#ifndef CORACLE_NODE_DECIDE_H
#define CORACLE_NODE_DECIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/types.h"

/* Restart and image pull backoff: upstream's 10 s doubling to 5 min, forgotten after 10 min of running well. */
#define BACKOFF_FIRST (10 * INT64_C(1000000))
#define BACKOFF_MAX (300 * INT64_C(1000000))
#define BACKOFF_RESET (600 * INT64_C(1000000))
/* Between the stop signal and SIGKILL, however little is left of the grace period: upstream's. */
#define STOP_TIME_MIN (2 * INT64_C(1000000))

struct backoff {
    int64_t delay;   /* 0: never failed */
    int64_t updated; /* when delay was last raised */
};

/* Raises the backoff at `now`, starting over when the last raise is long ago. */
void backoff_raise(struct backoff *backoff, int64_t now);

/* Sandbox, volumes, images and hooks go through the same states. */
enum part_state { PART_NONE, PART_BUSY, PART_READY, PART_FAILED };

enum container_phase {
    CONTAINER_NONE,     /* not there */
    CONTAINER_STARTING, /* being created and started */
    CONTAINER_RUNNING,
    CONTAINER_EXITED
};

/* Why a container ends although its pod goes on. */
enum stop_cause {
    STOP_NONE,
    STOP_CHANGED,   /* its spec names another image */
    STOP_RESIZED,   /* its resources have changed, and its resizePolicy asks for a new start */
    STOP_LIVENESS,  /* its liveness probe failed */
    STOP_STARTUP,   /* its startup probe failed */
    STOP_POST_START /* its postStart hook failed */
};

struct container_observation {
    const struct container *spec;
    bool init;
    bool ephemeral; /* started whenever there is a sandbox, once; counts for nothing */

    enum part_state image;
    struct backoff image_backoff;
    int64_t image_retry_at; /* of PART_FAILED; 0: never (InvalidImageName) */

    enum container_phase phase;
    bool earlier;               /* EXITED in a sandbox before the present one: init containers have to run again */
    bool ran;                   /* a run before this one has ended */
    bool started;               /* of RUNNING: the startup probe has passed, or there is none */
    enum part_state post_start; /* of RUNNING: BUSY while the hook runs */
    bool start_failed;          /* EXITED without having run: CreateContainerError and the like */
    int64_t finished_at;        /* of EXITED */
    int exit_code;              /* of EXITED */
    struct backoff restart;

    enum stop_cause stop_cause; /* of RUNNING: it has to end; of EXITED: it had to */
    bool ending;                /* ACTION_PRE_STOP has been carried out */
    int64_t stop_by;            /* once ending: the end of its grace period */
    enum part_state pre_stop;   /* once ending: BUSY while the hook runs */
    int64_t signalled_at;       /* when the stop signal was sent; 0: not yet */
    bool killed;                /* SIGKILL has been sent */
};

struct pod_observation {
    const struct pod *pod;
    struct container_observation *containers; /* init containers, containers, ephemeral ones in the order of their
                                               * appearance */
    size_t container_count;

    enum part_state volumes;
    int64_t volumes_retry_at;
    bool volumes_updating; /* files in volumes that are there follow a change */
    enum part_state sandbox;
    int64_t sandbox_retry_at;

    int64_t start_time;    /* when the agent took the pod up */
    bool terminating;      /* deleted, evicted or over its deadline: it is to end */
    int64_t terminate_by;  /* the end of its grace period */
    enum part_state drain; /* READY: no data plane sends new connections here */
    bool end_untold;       /* the API does not have yet how the pod ended, if it has */
    bool torn_down;        /* sandbox and volumes are gone, for good */
};

enum pod_action_kind {
    ACTION_MOUNT_VOLUMES,
    ACTION_CREATE_SANDBOX,
    ACTION_PULL_IMAGE,      /* of container */
    ACTION_START_CONTAINER, /* create and start; the one before it under the name is removed first */
    ACTION_PRE_STOP,        /* announce its end and run its preStop hook, if any, for at most `grace` microseconds */
    ACTION_STOP_CONTAINER,  /* the stop signal; a hook that still runs has had its time */
    ACTION_KILL_CONTAINER,  /* SIGKILL */
    ACTION_EXCEED_DEADLINE, /* the pod has failed: activeDeadlineSeconds are over */
    ACTION_DRAIN,           /* wait until no data plane sends new connections */
    ACTION_TEAR_DOWN,       /* remove sandbox, address and volumes; containers have ended */
    ACTION_FINISH           /* the object may go: final status, then delete with grace 0 */
};

struct pod_action {
    enum pod_action_kind kind;
    size_t container; /* index into the observation */
    int64_t grace;    /* of ACTION_PRE_STOP */
};

/* Most actions of one decision: the two of an end per container, and a few for the pod. */
#define POD_ACTIONS_PER_CONTAINER 2
#define POD_ACTIONS_EXTRA 4

struct pod_decision {
    struct pod_action *actions; /* room for POD_ACTIONS_PER_CONTAINER * container_count + POD_ACTIONS_EXTRA */
    size_t count;
    int64_t wake_at; /* decide again then, if nothing happens before; 0: no need */
};

void pod_decide(const struct pod_observation *observed, int64_t now, struct pod_decision *decision);

/* The phase that the containers add up to, as upstream's getPhase: "Pending", "Running", "Succeeded", "Failed". */
const char *pod_phase(const struct pod_observation *observed);
/* Whether the pod has run to its end: no container but sidecars will run again. */
bool pod_is_over(const struct pod_observation *observed);
/* Whether the init containers have done their work once: a container of the pod has been started. */
bool pod_is_initialized(const struct pod_observation *observed);

/* Neither an init container nor an ephemeral one. */
bool container_is_main(const struct container_observation *container);
/* An init container with restartPolicy Always: it goes on beside the containers. */
bool container_is_sidecar(const struct container_observation *container);
/* It runs, and its postStart hook has succeeded or there is none. */
bool container_is_up(const struct container_observation *container);
/* An init container that has succeeded, and has nothing more to do. */
bool container_init_done(const struct container_observation *container);
/* Whether the container, which has ended, is to be started again: by its own rules and policy, or the pod's. */
bool container_should_restart(const struct pod_observation *observed, const struct container_observation *container);
/* When the next start is allowed. */
int64_t container_restart_at(const struct container_observation *container);
/* Microseconds between the begin of the container's end and SIGKILL while its pod goes on. */
int64_t container_grace(const struct pod_observation *observed, const struct container_observation *container);

#endif
