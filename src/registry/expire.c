/* Events live for an hour after their last write, as upstream's API server keeps them (--event-ttl). A timer
 * looks at all of them every few minutes; it only runs while there are events. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "registry/private.h"

#define EVENT_LIFE HOUR
#define EXPIRE_PERIOD (5 * MINUTE)

struct expiry {
    struct registry *registry;
    struct store_watch *watch; /* wakes the timer when the first event comes */
    struct env_timer *timer;
    bool runs;
};

struct old_events {
    int64_t before; /* instant */
    VECTOR(struct object *) items; /* held */
};

/* The latest time that the event names: its writers set one with every write. */
static int64_t last_write(const struct event *event)
{
    const int64_t times[] = {event->last_timestamp, event->event_time, event->first_timestamp,
                             event->series ? event->series->last_observed_time : 0};
    int64_t latest = event->metadata.creation_timestamp;
    for (size_t i = 0; i < ARRAY_COUNT(times); i++)
        if (times[i] > latest)
            latest = times[i];
    return latest;
}

static bool find_old(void *context, struct object *object)
{
    struct old_events *old = context;
    if (last_write(object->value) < old->before)
        vector_push(&old->items, object_ref(object));
    return true;
}

static void due(void *context)
{
    struct expiry *expiry = context;
    struct store *store = expiry->registry->store;
    const struct api_resource *events = &api_resources[API_EVENTS];
    struct old_events old = {.before = env_now(expiry->registry->env) - EVENT_LIFE};
    store_list(store, events, NULL, NULL, NULL, find_old, &old);
    for (size_t i = 0; i < old.items.count; i++) {
        struct object *object = old.items.items[i];
        /* One that was written meanwhile has another revision and stays. */
        store_delete(store, events, object->meta->namespace, object->meta->name, object->revision, NULL, NULL);
        object_unref(object);
    }
    expiry->runs = store_count(store, events) > old.items.count;
    vector_free(&old.items);
    if (expiry->runs)
        env_timer_start(expiry->timer, EXPIRE_PERIOD);
}

static void event_changed(void *context, const struct store_event *event)
{
    struct expiry *expiry = context;
    if (expiry->runs)
        return;
    expiry->runs = true;
    env_timer_start(expiry->timer, EXPIRE_PERIOD);
}

struct expiry *registry_expiry_new(struct registry *registry)
{
    struct expiry *expiry = mem_zero(1, sizeof(*expiry));
    const struct api_resource *events = &api_resources[API_EVENTS];
    expiry->registry = registry;
    expiry->timer = env_timer_new(registry->env, due, expiry);
    expiry->watch = store_watch_new(registry->store, events, NULL, store_revision(registry->store), event_changed,
                                    expiry, NULL);
    if (store_count(registry->store, events))
        event_changed(expiry, NULL);
    return expiry;
}

void registry_expiry_free(struct expiry *expiry)
{
    store_watch_free(expiry->watch);
    env_timer_free(expiry->timer);
    free(expiry);
}
