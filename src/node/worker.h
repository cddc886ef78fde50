/* One worker per pod: observes, asks node/decide.h what is due, carries it out, and writes the pod's status.
 *
 * Everything that it starts ends in a callback that records what happened and calls worker_poke, which
 * decides again in the next turn of the loop. A worker is released when its pod has been torn down and the
 * object is gone, and nothing is under way. */
#ifndef CORACLE_NODE_WORKER_H
#define CORACLE_NODE_WORKER_H

#include "node/environment.h"
#include "node/node.h"
#include "node/pod_state.h"

struct hook;
struct prober;
struct worker_context;
struct worker_drain;

struct worker {
    struct agent *agent;
    struct pod_state state;
    bool is_static;          /* its pod is from a file, and shown in the API by a mirror: node/worker_mirror.c */
    struct object *mirror;   /* NULL: there is none */
    bool mirror_busy;        /* it is being made or deleted */
    bool leaving;            /* the file has gone, or says something else */
    char *directory;         /* DATA/pods/UID */
    struct env_timer *timer; /* the next wake */
    bool poked;              /* a turn is arranged */
    bool status_dirty;
    int64_t write_at;      /* not before: the API refused the last write */
    bool status_busy;      /* a status update is on its way */
    bool gone;             /* the object has been deleted */
    bool last_words;       /* the final status of this snapshot has been sent */
    bool finishing;        /* the final delete is on its way */
    bool known;            /* an earlier agent had taken it in */
    bool unsettled;        /* whether the node takes it in is not known yet: nothing is done for it */
    size_t awaited;        /* other pods that end to make room for it: nothing is done for it before they have */
    int64_t awaited_until; /* or this moment */
    char *makes_room_for;  /* uid of the pod that it ends for; NULL: none */
    char *refused_for;     /* the reason, where it is not a constant; NULL: none */
    bool frozen;           /* it had ended before this agent started: its status stays as it is */
    int64_t volumes_delay;
    bool volumes_stale; /* what volumes show has changed while they were made or brought up to date */
    int64_t sandbox_delay;
    struct worker_drain *drain;       /* node/worker_drain.c; NULL: it has not begun */
    bool withheld;                    /* this node's data plane knows that the pod is not ready */
    struct map volume_images;         /* volume -> char *: the image that it shows */
    struct worker_token *tokens;      /* that volumes show */
    struct env_timer *renewal;        /* of the tokens; NULL: there are none */
    struct env_timer *usage;          /* the next look at volumes with a limit; NULL: there are none */
    struct env_timer *resize_timer;   /* tries a change again that was refused */
    bool resizing;                    /* groups are being changed */
    bool resize_pod;                  /* the pod's group has to follow */
    size_t pending;                   /* operations under way; each holds the worker */
    struct container *ephemeral;      /* what the ephemeral containers of the snapshot have in common with others */
    struct worker_context **contexts; /* one for each container: what its probes and hooks are called back with */
    struct prober **probers;          /* PROBER_KINDS for each container */
    struct hook **hooks;              /* of each container: the one that runs, or NULL */
};

/* A container of a worker. */
struct worker_context {
    struct worker *worker;
    size_t container;
};

/* Takes up what an earlier agent left running of the pod. */
struct worker *worker_new(struct agent *agent, struct object *pod);
/* The same of a static pod; mirror NULL: there is none of this very pod yet. */
struct worker *worker_new_static(struct agent *agent, struct object *pod, struct object *mirror);
/* The mirror of a static pod has changed, or gone (NULL). */
void worker_mirror_changed(struct worker *worker, struct object *mirror);
/* A static pod is to end, with its grace period. */
void worker_leave(struct worker *worker);
/* The worker of a pod of the API, or of the static pod whose mirror it is; NULL: there is none. */
struct worker *worker_find(struct agent *agent, const struct object *pod);
/* The pod object has changed, or gone (NULL). */
void worker_update(struct worker *worker, struct object *pod);
/* Arranges a turn. */
void worker_poke(struct worker *worker);
/* A container of the pod has ended. */
void worker_container_ended(struct worker *worker, const struct runtime_container_status *status);
/* The data plane has applied something. */
void worker_data_plane_changed(struct worker *worker);
/* A ConfigMap or Secret of the worker's namespace has changed: mounted copies follow. */
void worker_config_changed(struct worker *worker, const struct api_resource *resource, const char *name);
/* Stops everything of the worker but its containers; it frees itself when nothing is under way. */
void worker_stop(struct worker *worker);

/* For the files that carry out actions (worker_*.c). */
void worker_hold(struct worker *worker);
void worker_release(struct worker *worker);
void worker_event(struct worker *worker, const struct container *container, const char *type, const char *reason,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
void worker_set_waiting(struct worker *worker, size_t container, const char *reason, const char *message);
const struct pod *worker_pod(const struct worker *worker);
/* The object that shows the pod in the API: itself, or its mirror; NULL: nothing does. */
struct object *worker_reported(const struct worker *worker);
/* Makes or deletes the mirror as is due. */
void worker_sync_mirror(struct worker *worker);
/* The ConfigMap or Secret of that name in the pod's namespace, borrowed, or NULL; the context is the worker. */
struct object *worker_config_map(void *worker, const char *name);
struct object *worker_secret(void *worker, const char *name);
struct object *worker_claim(void *worker, const char *name);
struct object *worker_persistent_volume(void *worker, const char *name);
/* All that environment variables and files may show of the pod and its surroundings. */
struct environment_source worker_source(struct worker *worker);

/* Pull the image of a container, or find it. */
void worker_pull_image(struct worker *worker, size_t container);
/* After ErrImagePull has been reported: shows ImagePullBackOff. */
void worker_show_image_backoff(struct worker *worker, size_t container);
/* After PostStartHookError has been reported: shows CrashLoopBackOff. */
void worker_show_restart_backoff(struct worker *worker, size_t container);
/* Create and start a container. */
void worker_start_container(struct worker *worker, size_t container);
/* A container has been started: its postStart hook follows. */
void worker_post_start(struct worker *worker, size_t container);
void worker_pre_stop(struct worker *worker, size_t container, int64_t grace);
void worker_stop_container(struct worker *worker, size_t container);
void worker_kill_container(struct worker *worker, size_t container);
void worker_mount_volumes(struct worker *worker);
/* Asks for the tokens that volumes show and that are missing or due; done runs when all are answered. False: none is
 * due, and done does not run. */
bool worker_fetch_tokens(struct worker *worker, env_callback done, void *context);
/* The token of a projection, or NULL with err set; the context is the worker. */
const char *worker_token_text(void *worker, const struct service_account_token_projection *projection,
                              struct error *err);
/* Arranges that volumes are brought up to date when the first token is due. */
void worker_plan_renewal(struct worker *worker);
void worker_forget_tokens(struct worker *worker);
/* When a token is asked for again. */
int64_t worker_token_renewal(int64_t now, int64_t seconds, int64_t expires_at);
/* Finds or pulls the images that volumes show; done runs when all are answered, with what is wrong with the first that
 * is not to be had. False: all are known, and done does not run. */
typedef void (*worker_images_done)(void *context, const struct error *err);
bool worker_fetch_volume_images(struct worker *worker, worker_images_done done, void *context);
/* The image of a volume, or NULL; the context is the worker. */
const char *worker_volume_image(void *worker, const char *volume);
void worker_forget_volume_images(struct worker *worker);
/* What mounted volumes show has changed: they follow. */
void worker_update_volumes(struct worker *worker);
/* Looks at the size of volumes on disk now and then, if any is limited; the volumes are there. */
void worker_watch_usage(struct worker *worker);
void worker_create_sandbox(struct worker *worker);
/* The pod fails and ends, with the reason Evicted; disruption: it is told so by a condition. */
void worker_evict(struct worker *worker, const char *message, bool disruption);
/* The same, with its own grace period and the reason Preempting, to make room for a critical pod, which waits for it.
 */
void worker_preempt(struct worker *worker, const struct worker *critical);
/* An earlier agent had begun to evict it, or ended it for another. */
void worker_resume_eviction(struct worker *worker, const struct pod *shown);
/* Fails a pod that has not begun: reason lives as long as the worker. */
void worker_reject(struct worker *worker, const char *reason, const char *why);
/* Fails a pod that is new to the node if the node is too short of something to take it in, is not one that it may be on
 * (node/admission.h), or does not allow its sysctls. For a critical pod others may end (node/preemption.h). */
void worker_admit(struct worker *worker);
/* Whether the pod has to wait until others have ended for it. Upstream's kubelet waits for half as long again as they
 * have been given to end, and at least 10 s, before it goes on. */
bool worker_awaits_room(struct worker *worker);
/* It has been torn down: who waits for its room goes on. */
void worker_made_room(struct worker *worker);
/* Whether the node has room for what the pod asks for by now: NULL, or why not (node/admission.h). */
const char *worker_refuses_resize(const struct worker *worker, struct arena *arena, const char **message);
/* Takes up the pod's containers that the runtime has: at the start. */
void worker_restore_containers(struct worker *worker);
/* Those of them that ended while there was no agent: how they did is read now. */
void worker_read_ends(struct worker *worker);
/* Takes over what has been allotted to the containers from the pod as the API shows it: at the start. */
void worker_restore_allocation(struct worker *worker, const struct pod *shown);
void worker_free_allocation(struct worker *worker);
/* The pod with what has been allotted instead of what it asks for; lives in the arena and in the worker. */
struct pod *worker_allocated_pod(const struct worker *worker, struct arena *arena);
/* The pod may ask for other resources than it has been allotted: allots them, if there is room. */
void worker_consider_resize(struct worker *worker);
/* Brings groups and containers to what has been allotted, as far as that can be done now. */
void worker_actuate(struct worker *worker);
/* Waits until no new connection is sent to the pod and none is waiting in it, bounded; ends in seen.drain. */
void worker_drain(struct worker *worker);
void worker_free_drain(struct worker *worker);
/* Tells this node's data plane that the pod is not ready, or is, ahead of the API. */
void worker_withhold(struct worker *worker, bool withhold);
/* The pod has its address now, or is about to lose it: its host ports follow. */
/* The address that the network has given the pod (NULL: none), and the one of IPv6 that goes with it. */
void worker_take_address(struct worker *worker, const struct in_addr *address);
void worker_publish_ports(struct worker *worker, bool publish);
/* What the API shows as podIP, and its companion of IPv6: the node's of a pod of its network. NULL: none yet. */
const char *worker_address(const struct worker *worker);
const char *worker_address6(const struct worker *worker);
/* Waits until clients have taken what the pod's ended processes have sent, bounded. Hold the worker meanwhile. */
void worker_flush(struct worker *worker, env_callback done, void *context);
void worker_tear_down(struct worker *worker);
/* Starts or stops the probes of a container as its state asks for. */
void worker_sync_probes(struct worker *worker, size_t container);
void worker_free_probes(struct worker *worker);
void worker_free_hooks(struct worker *worker);

#endif
