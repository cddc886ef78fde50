/* Work queues: keys ("namespace/name") to reconcile, each at most once at a time, retried with backoff.
 *
 * A reconcile looks at the informers, decides and issues writes through its work item; it does not wait for them.
 * The item is over when all of its writes have been answered. A key whose writes the informers have not shown yet
 * is not reconciled again before they have, so that no controller acts twice on one observation: this takes the
 * place of upstream's expectations. */
#ifndef CORACLE_CONTROL_QUEUE_H
#define CORACLE_CONTROL_QUEUE_H

#include "client/informer.h"

/* Retries: 5 ms doubling to 1000 s, as upstream's default rate limiter. */
#define QUEUE_RETRY_FIRST (5 * INT64_C(1000))
#define QUEUE_RETRY_MAX (1000 * INT64_C(1000000))
/* Keys reconciled in one turn of the loop; more wait for the next, so that one queue cannot hold up the thread. */
#define QUEUE_TURN_MAX 64

struct queue;
struct work;

typedef void (*queue_reconcile)(void *context, struct work *work);

struct queue *queue_new(struct client *client, struct informer_set *informers, queue_reconcile reconcile, void *context);
/* Call when the client answers no more: what is under way is dropped. */
void queue_free(struct queue *queue);
void queue_add(struct queue *queue, const char *namespace, const char *name);
/* Adds the key `delay` microseconds from now, unless it is added earlier; the earliest wish counts. */
void queue_add_after(struct queue *queue, const char *namespace, const char *name, int64_t delay);
/* Keys that wait or are being worked on. */
size_t queue_depth(const struct queue *queue);
/* Of them, those that wait. */
size_t queue_waiting(const struct queue *queue);

/* What is being reconciled. namespace is "" for cluster-scoped keys. */
const char *work_namespace(const struct work *work);
const char *work_name(const struct work *work);
/* Lives until the item is over. */
struct arena *work_arena(struct work *work);
/* Holds on to the object until the item is over, for what is done when answers come. */
void work_hold(struct work *work, struct object *object);

/* Writes on behalf of the item. An answer that is an error makes the item be retried with backoff, except 404 and for
 * a create 409, which mean that the observation was old: the informers bring what changed. `done` (may be NULL) sees
 * each answer first, and may submit more. */
void work_create(struct work *work, const struct api_resource *resource, const char *namespace, void *value,
                 client_done done, void *context);
void work_update(struct work *work, const struct api_resource *resource, const char *subresource, void *value,
                 client_done done, void *context);
void work_delete(struct work *work, const struct api_resource *resource, const struct object_meta *meta,
                 const char *propagation, client_done done, void *context);
void work_patch(struct work *work, const struct api_resource *resource, const char *subresource,
                const struct object_meta *meta, enum patch_kind kind, const char *patch, client_done done,
                void *context);
/* Any other request on behalf of the item, taken over; its answer does not make the item fail. */
void work_submit(struct work *work, struct client_request *request, client_done done, void *context);
/* How often the key has failed in a row. */
int work_failures(const struct work *work);
/* From a `done`: the error that it was given does not make the item fail. */
void work_forgive(struct work *work);
/* Asks for another run with backoff, whatever the writes say. */
void work_retry(struct work *work);
/* Asks for another run later. */
void work_again_after(struct work *work, int64_t delay);

#endif
