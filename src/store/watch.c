/* Events: the history, and the watches that they are delivered to.
 *
 * A watch has either caught up, and is in the list of its resource's table, or lags behind: events of the past
 * wait for it. Lagging watches are served from the history in a later turn of the loop, and before an event
 * that one of them needs is forgotten. `position` is the revision of the last event that a watch is past. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/private.h"

struct store_watch {
    struct list node;         /* of its table, or of the lagging */
    struct list release_node; /* of those freed while events are delivered */
    struct store *store;
    const struct api_resource *resource;
    char *namespace; /* NULL: all */
    uint64_t position;
    store_watch_callback callback; /* NULL once it is freed */
    void *context;
};

size_t store_history_after(const struct store_history *history, uint64_t revision)
{
    size_t low = 0, high = history->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (store_past_at(history, middle)->revision <= revision)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void watch_release(struct store_watch *watch)
{
    free(watch->namespace);
    free(watch);
}

static void deliver_begin(struct store *store)
{
    store->delivering++;
}

static void deliver_end(struct store *store)
{
    if (--store->delivering)
        return;
    struct store_watch *watch;
    list_for_each(&store->released, watch, release_node) {
        list_remove(&watch->node);
        list_remove(&watch->release_node);
        watch_release(watch);
    }
}

static void offer(struct store_watch *watch, const struct api_resource *resource, uint64_t revision,
                  const struct store_event *event)
{
    if (!watch->callback || revision <= watch->position || resource != watch->resource)
        return;
    watch->position = revision;
    if (!watch->namespace || strcmp(watch->namespace, event->object->meta->namespace) == 0)
        watch->callback(watch->context, event);
}

/* Delivers what history has for the watch, which has caught up then. */
static void catch_up(struct store_watch *watch)
{
    struct store *store = watch->store;
    struct store_history *history = &store->history;
    list_remove(&watch->node);
    list_append(&store->tables[watch->resource->index].watches, &watch->node);
    deliver_begin(store);
    for (size_t i = store_history_after(history, watch->position); i < history->count && watch->callback; i++) {
        struct store_past *past = store_past_at(history, i);
        offer(watch, past->event.object->resource, past->revision, &past->event);
    }
    deliver_end(store);
}

static void catch_up_all(void *context)
{
    struct store *store = context;
    store->catch_up_deferred = false;
    if (store->free_when_flushed) {
        if (!store->flush_deferred)
            free(store);
        return;
    }
    while (!list_empty(&store->lagging))
        catch_up(list_entry(store->lagging.next, struct store_watch, node));
}

static void forget_oldest(struct store *store)
{
    struct store_history *history = &store->history;
    struct store_past *oldest = store_past_at(history, 0);
    struct store_watch *watch;
    bool needed;
    do {
        needed = false;
        list_for_each(&store->lagging, watch, node) {
            if (watch->position < oldest->revision) {
                needed = true;
                break;
            }
        }
        if (needed)
            catch_up(watch);
    } while (needed);
    history->forgotten = oldest->revision;
    history->weight -= oldest->weight;
    object_unref(oldest->event.object);
    object_unref(oldest->event.previous);
    history->first = (history->first + 1) % STORE_HISTORY_MAX;
    history->count--;
}

void store_deliver(struct store *store, const struct api_resource *resource, const struct store_event *event)
{
    struct store_history *history = &store->history;
    int64_t weight = (int64_t)object_size(event->object);
    store->tables[resource->index].changed = event->object->revision;
    while (history->count == STORE_HISTORY_MAX ||
           (history->count && history->weight + weight > STORE_HISTORY_BYTES_MAX))
        forget_oldest(store);
    *store_past_at(history, history->count++) = (struct store_past){
        .event = {event->kind, object_ref(event->object), event->previous ? object_ref(event->previous) : NULL},
        .revision = event->object->revision,
        .weight = weight,
    };
    history->weight += weight;

    /* Callbacks may make and free watches: new ones come at the end of the list and are past this event, freed
     * ones stay in it until the delivery is over. */
    struct list *watches = &store->tables[resource->index].watches;
    deliver_begin(store);
    for (struct list *at = watches->next; at != watches; at = at->next)
        offer(list_entry(at, struct store_watch, node), resource, event->object->revision, event);
    deliver_end(store);
}

struct store_watch *store_watch_new(struct store *store, const struct api_resource *resource, const char *namespace,
                                    uint64_t from, store_watch_callback callback, void *context, struct error *err)
{
    if (from < store->history.forgotten) {
        error_set(err, ESTALE, "too old resource version: %llu (%llu)", (unsigned long long)from,
                  (unsigned long long)store->history.forgotten);
        return NULL;
    }
    struct store_watch *watch = mem_zero(1, sizeof(*watch));
    watch->store = store;
    watch->resource = resource;
    watch->namespace = namespace && resource->namespaced ? mem_string(namespace) : NULL;
    watch->position = from;
    watch->callback = callback;
    watch->context = context;
    store->figures.watches++;
    if (from >= store->revision) {
        list_append(&store->tables[resource->index].watches, &watch->node);
        return watch;
    }
    list_append(&store->lagging, &watch->node);
    if (!store->catch_up_deferred) {
        store->catch_up_deferred = true;
        env_defer(store->env, catch_up_all, store);
    }
    return watch;
}

void store_watch_free(struct store_watch *watch)
{
    if (!watch)
        return;
    struct store *store = watch->store;
    store->figures.watches--;
    watch->callback = NULL;
    /* A delivery may stand on this node. */
    if (store->delivering) {
        list_append(&store->released, &watch->release_node);
        return;
    }
    list_remove(&watch->node);
    watch_release(watch);
}

void store_history_free(struct store *store)
{
    struct store_history *history = &store->history;
    for (size_t i = 0; i < history->count; i++) {
        object_unref(store_past_at(history, i)->event.object);
        object_unref(store_past_at(history, i)->event.previous);
    }
    free(history->ring);
}
