/* VolumeBinding and VolumeRestrictions: the claims of a pod, which nodes their volumes allow, and what has to be written
 * before the pod may go to its node. Not for other rooms. */
#ifndef CORACLE_SCHEDULE_VOLUME_BINDING_H
#define CORACLE_SCHEDULE_VOLUME_BINDING_H

#include "client/informer.h"
#include "schedule/plugin.h"

/* Claims of one pod that are looked at; a pod has no more volumes than fit in its object. */
struct volume_book {
    struct informer *claims, *volumes, *classes;
    struct map taken;  /* volume name -> uid of the claim (owned) that it is being bound to */
    struct map chosen; /* uid of a claim -> name of the node (owned) that its volume is to be made for */
    /* Whether a pod that counts on a node uses the claim; `except` is the uid of one that does not matter. */
    bool (*in_use)(void *context, const char *namespace, const char *claim, const char *except);
    void *context;
};

void volume_book_init(struct volume_book *book, struct informer_set *informers);
void volume_book_free(struct volume_book *book);

/* What one claim of a pod gets on a node. */
struct volume_choice {
    struct object *claim;  /* borrowed */
    struct object *volume; /* free, to be bound; NULL: to be made for the node */
};
struct volume_plan {
    struct volume_choice *items;
    size_t count;
};

/* What is to be written for the pod's claims to be bound on the node; nothing when all are bound. In the pod's arena. */
void volume_plan_for(const struct schedule_pod *pod, const struct object_meta *node, struct volume_plan *out);
/* From the choice on, until it is written or given up: nobody else is offered the same. */
void volume_book_assume(struct volume_book *book, const struct volume_plan *plan, const char *node);
/* The pod has been bound, or has given up. */
void volume_book_forget(struct volume_book *book, const struct pod *pod);
/* The request that writes a choice. */
struct client_request *volume_choice_request(const struct volume_choice *choice, const char *node);

/* How far the claims of a pod have come that was promised to a node. */
enum volume_progress { VOLUMES_WAIT, VOLUMES_BOUND, VOLUMES_FAILED };
/* *why gets the reason of a failure, in the arena. */
enum volume_progress volume_progress(const struct volume_book *book, const struct pod *pod,
                                     const struct object_meta *node, struct arena *arena, const char **why);
/* Whether a volume of the pod stands for a claim. */
bool volume_pod_has_claims(const struct pod *pod);

#endif
