/* What the files of the scheduler share. All runs on the loop of the client's environment. */
#ifndef CORACLE_SCHEDULE_PRIVATE_H
#define CORACLE_SCHEDULE_PRIVATE_H

#include "client/recorder.h"
#include "schedule/framework.h"
#include "schedule/preempt.h"
#include "schedule/schedule.h"
#include "schedule/volume_binding.h"

#define SCHEDULER_NAME "default-scheduler"

enum where { IN_NONE, IN_ACTIVE, IN_BACKOFF, IN_UNSCHEDULABLE, IN_CLAIMS, IN_BINDING };

/* A pod without a node. */
struct pending {
    struct list link;
    struct scheduler *scheduler;
    struct object *pod;
    char *uid;
    enum where where;
    struct env_timer *timer; /* the end of backoff, or of the wait for events or claims */
    int attempts;
    int64_t backoff_until; /* monotonic: not tried again before, unless nobody else is waiting */
    bool failed;           /* by an error, not for want of a node: backoff holds in any case */
    uint32_t rejected_by;  /* plugins, by their bits; 0: anything that happens may help */
    char *node;            /* where it is being bound */
    char *nominated;       /* where it shall go once others have left */
    size_t evictions;      /* that are not answered */
    bool missed;           /* something happened meanwhile */
    /* Of IN_CLAIMS: writes that are not answered, and the newest revisions of the others. */
    size_t claims_unwritten;
    uint64_t claims_revision, volumes_revision;
};

struct scheduler {
    struct client *client;
    struct env *env;
    struct recorder *recorder;
    struct informer_set *informers;
    struct informer *pods, *nodes, *services, *replica_sets;
    struct census census;
    struct volume_book book;
    struct map pendings; /* pod uid -> struct pending */
    struct list active;  /* by priority and age */
    struct list backoff; /* by the end of their backoff */
    struct list unschedulable;
    struct list waiting; /* for their claims, on a node that has been chosen */
    size_t next_node;    /* where the last attempt ended */
    size_t binding;
    bool open; /* the informers are synced */
    bool turn_arranged, freed;
};

/* ---- queue.c ---- */

struct pending *pending_new(struct scheduler *s, struct object *pod);
/* NULL: no such pod waits. */
struct pending *pending_of(const struct scheduler *s, const char *uid);
void pending_free(struct pending *p);
/* To be tried in the next turn. */
void queue_activate(struct pending *p);
/* To be tried when its backoff is over, or as soon as nobody else waits. */
void queue_requeue(struct pending *p);
/* It fits nowhere: waits for an event that one of rejected_by asks for. */
void queue_park(struct pending *p, uint32_t rejected_by);
/* An error: tried again after a backoff. */
void queue_retry(struct pending *p);
/* Something has happened: those whom it may help are requeued. */
void queue_stir(struct scheduler *s, const struct schedule_change *change);
void queue_stir_all(struct scheduler *s, enum schedule_event event);
/* The next one to be tried, taken out, or NULL. */
struct pending *queue_take(struct scheduler *s);
bool queue_has_more(const struct scheduler *s);

/* ---- schedule.c ---- */
void scheduler_arrange_turn(struct scheduler *s);
void scheduler_bind(struct pending *p, const char *node);
void scheduler_unplace(struct scheduler *s, const char *uid);
/* The end of a pending pod: bound, ended or gone. */
void scheduler_forget(struct pending *p);

/* ---- report.c ---- */
/* The event and the condition PodScheduled, and the node that the pod is nominated for if that has changed; writes only
 * what is new. */
void report_failure(struct pending *p, const char *message, bool nominated_changed);

/* ---- claims.c ---- */
/* The node is chosen: what the pod's claims need there is written, then it is bound. */
void claims_settle(struct pending *p, const struct schedule_pod *pod, struct object *node);
void claims_give_up(struct pending *p);
void claims_timed_out(struct pending *p);
void claims_start(struct scheduler *s);

/* ---- evict.c ---- */
/* Makes room for the pod as decided. */
void evict_begin(struct pending *p, const struct preemption *decision);
/* The pod is, or is no longer (NULL), nominated for a node. True when that is new. */
bool evict_nominate(struct pending *p, const char *node);

#endif
