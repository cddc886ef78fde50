/* Watches: the store's events as a client sees them through its selectors. An object that begins to match is
 * ADDED, one that stops matching DELETED, whatever happened to it in the store.
 *
 * A watch begins in the turn after it was asked for: with the initial events (sendInitialEvents, or revision 0),
 * or with an error, or with the store's history. One timer sends bookmarks to all watches that want them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "registry/private.h"
#include "registry/trigger.h"

/* As upstream's watch cache: about a bookmark a minute. */
#define BOOKMARK_PERIOD MINUTE

struct registry_watch {
    struct client_watch watch;
    struct list node; /* in registry.watches */
    struct registry *registry;
    const struct api_resource *resource, *stored;
    char *namespace; /* NULL: all */
    const struct selector *label_selector;
    const struct field_selector *field_selector;
    uint64_t from;
    uint64_t sent; /* the revision that the client knows of */
    bool send_initial_events, bookmarks, bookmark_due;
    /* One of these, once it has begun. */
    struct store_watch *events;
    struct trigger_entry *trigger;
    client_event_callback callback;
    void *context;
    unsigned users; /* frames that still look at it; the last one releases it */
    bool freed;
};

static void watch_release(struct registry_watch *watch)
{
    if (--watch->users || !watch->freed)
        return;
    free(watch->namespace);
    free(watch);
}

static void send(struct registry_watch *watch, const struct client_event *event)
{
    if (watch->freed)
        return;
    if (event->revision > watch->sent)
        watch->sent = event->revision;
    watch->callback(watch->context, event);
}

static void send_bookmark(struct registry_watch *watch, bool initial_events_end)
{
    send(watch, &(struct client_event){.kind = CLIENT_BOOKMARK,
                                       .revision = store_revision(watch->registry->store),
                                       .initial_events_end = initial_events_end});
}

static bool matches(const struct registry_watch *watch, const struct object *object)
{
    return object && registry_matches(watch->label_selector, watch->field_selector, watch->resource, object);
}

static void store_changed(void *context, const struct store_event *event)
{
    struct registry_watch *watch = context;
    cleanup_object struct object *object = registry_view(watch->resource, event->object);
    cleanup_object struct object *previous = event->previous ? registry_view(watch->resource, event->previous) : NULL;
    if (watch->namespace && !text_equal(watch->namespace, object->meta->namespace))
        return;
    bool now = event->kind != STORE_DELETED && matches(watch, object);
    bool before = matches(watch, previous);
    if (!now && !before)
        return;
    struct client_event out = {
        .kind = now ? (before ? CLIENT_MODIFIED : CLIENT_ADDED) : CLIENT_DELETED,
        .object = object,
        .previous = before ? previous : NULL,
        .revision = event->object->revision,
    };
    watch->users++;
    send(watch, &out);
    watch_release(watch);
}

struct found {
    struct registry_watch *watch;
    VECTOR(struct object *) items; /* held */
};

static bool find(void *context, struct object *object)
{
    struct found *found = context;
    cleanup_object struct object *view = registry_view(found->watch->resource, object);
    if (matches(found->watch, view))
        vector_push(&found->items, steal_pointer(view));
    return true;
}

static void send_initial(struct registry_watch *watch)
{
    struct found found = {.watch = watch};
    store_list(watch->registry->store, watch->stored, watch->namespace, NULL, NULL, find, &found);
    for (size_t i = 0; i < found.items.count; i++) {
        struct object *object = found.items.items[i];
        send(watch, &(struct client_event){.kind = CLIENT_ADDED, .object = object, .revision = object->revision});
        object_unref(object);
    }
    vector_free(&found.items);
    if (watch->send_initial_events)
        send_bookmark(watch, true);
}

static void send_error(struct registry_watch *watch, const struct error *err)
{
    cleanup_arena struct arena *arena = arena_new(0);
    const struct status *status =
        err->code == ESTALE ? api_status_expired(arena, err->text) : api_status_internal_error(arena, err->text);
    send(watch, &(struct client_event){.kind = CLIENT_ERROR, .status = status});
}

/* The objects as of a revision that is not there yet cannot be shown. */
static bool is_ahead(struct registry_watch *watch)
{
    uint64_t present = store_revision(watch->registry->store);
    if (!watch->send_initial_events || watch->from <= present)
        return false;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct status *status = api_status_too_large_resource_version(arena, watch->from, present);
    send(watch, &(struct client_event){.kind = CLIENT_ERROR, .status = status});
    return true;
}

/* A watch from now on that asks for one value of a field is found by it; every other sees all events. */
static void listen(struct registry_watch *watch, uint64_t from)
{
    struct registry *registry = watch->registry;
    struct error err = {0};
    if (watch->field_selector && from == store_revision(registry->store))
        watch->trigger =
            triggers_add(registry->triggers, watch->stored, watch->field_selector, store_changed, watch);
    if (watch->trigger)
        return;
    watch->events =
        store_watch_new(registry->store, watch->stored, watch->namespace, from, store_changed, watch, &err);
    if (!watch->events)
        send_error(watch, &err);
}

static void begin(void *context)
{
    struct registry_watch *watch = context;
    struct registry *registry = watch->registry;
    registry->deferred--;
    if (registry->freed) {
        /* Its watches were freed before it. */
        if (!registry->deferred && list_empty(&registry->tasks))
            free(registry);
    } else if (!watch->freed && !is_ahead(watch)) {
        bool initial = watch->send_initial_events || watch->from == 0;
        uint64_t from = initial ? store_revision(registry->store) : watch->from;
        if (initial)
            send_initial(watch);
        if (!watch->freed)
            listen(watch, from);
    }
    watch_release(watch);
}

/* Bookmarks. */

static void bookmarks_due(void *context)
{
    struct registry *registry = context;
    struct registry_watch *watch;
    bool wanted = false;
    list_for_each(&registry->watches, watch, node) {
        watch->bookmark_due = watch->bookmarks && (watch->events || watch->trigger) && store_revision(registry->store) > watch->sent;
        wanted = wanted || watch->bookmarks;
    }
    /* A callback may free any watch: the walk starts again then, and skips those that have theirs. */
    for (struct list *at = registry->watches.next; at != &registry->watches;) {
        watch = list_entry(at, struct registry_watch, node);
        if (!watch->bookmark_due) {
            at = at->next;
            continue;
        }
        uint64_t removals = registry->watch_removals;
        watch->bookmark_due = false;
        watch->users++;
        send_bookmark(watch, false);
        at = registry->watch_removals == removals ? at->next : registry->watches.next;
        watch_release(watch);
    }
    registry->bookmarks_run = wanted;
    if (wanted)
        env_timer_start(registry->bookmarks, BOOKMARK_PERIOD);
}

static void want_bookmarks(struct registry *registry)
{
    if (!registry->bookmarks)
        registry->bookmarks = env_timer_new(registry->env, bookmarks_due, registry);
    if (!registry->bookmarks_run)
        env_timer_start(registry->bookmarks, BOOKMARK_PERIOD);
    registry->bookmarks_run = true;
}

void registry_bookmarks_free(struct registry *registry)
{
    env_timer_free(registry->bookmarks);
}

struct client_watch *registry_watch(struct client *client, struct registry *registry,
                                    const struct client_watch_options *options, client_event_callback callback,
                                    void *context)
{
    struct registry_watch *watch = mem_zero(1, sizeof(*watch));
    watch->watch.client = client;
    watch->registry = registry;
    watch->resource = options->resource;
    watch->stored = &api_resources[options->resource->storage];
    watch->namespace = text_empty(options->namespace) ? NULL : mem_string(options->namespace);
    watch->label_selector = options->label_selector;
    watch->field_selector = options->field_selector;
    watch->from = options->from;
    watch->send_initial_events = options->send_initial_events;
    watch->bookmarks = options->bookmarks;
    watch->callback = callback;
    watch->context = context;
    watch->users = 1; /* begin */
    list_append(&registry->watches, &watch->node);
    if (watch->bookmarks)
        want_bookmarks(registry);
    registry->deferred++;
    env_defer(registry->env, begin, watch);
    return &watch->watch;
}

void registry_watch_free(struct client_watch *base)
{
    struct registry_watch *watch = (struct registry_watch *)base;
    watch->freed = true;
    list_remove(&watch->node);
    watch->registry->watch_removals++;
    store_watch_free(steal_pointer(watch->events));
    triggers_remove(steal_pointer(watch->trigger));
    watch->users++;
    watch_release(watch);
}
