/* The scheduler: binds each pod without a node to the best node that fits, or says why none does. Filters and scores
 * are plugins in one table, under the names that users know from upstream's messages. One thread, that of the
 * client's environment; deterministic for a given environment. */
#ifndef CORACLE_SCHEDULE_SCHEDULE_H
#define CORACLE_SCHEDULE_SCHEDULE_H

#include "client/informer.h"

struct scheduler;

/* On informers that are shared with the controllers. Nothing is taken over. It begins when the informers are synced. */
struct scheduler *scheduler_new(struct client *client, struct informer_set *informers);
/* Call when the client answers no more. */
void scheduler_free(struct scheduler *scheduler);
/* Pods that wait to be tried now, and bindings under way. Unschedulable ones that wait for a change do not count. */
size_t scheduler_depth(const struct scheduler *scheduler);

/* Pods without a node, by the queue that they are in, as upstream's metrics count them. */
struct scheduler_pending {
    size_t active;        /* to be tried now */
    size_t backoff;       /* tried without success not long ago */
    size_t unschedulable; /* fit nowhere until something changes */
    size_t gated;         /* held back by their scheduling gates */
};
void scheduler_count(const struct scheduler *scheduler, struct scheduler_pending *out);

#endif
