/* One store watch per resource and field that is asked for (a hub), and in it a map from values to the entries
 * that want them. A hub lives as long as the registry. */
#include "registry/trigger.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"

static const char *name_of(const struct object *object)
{
    return object->meta->name;
}

static const char *node_of(const struct object *object)
{
    return ((const struct pod *)object->value)->spec.node_name;
}

/* The fields that are worth a hub; the first that a selector demands is taken. */
static const struct trigger {
    int resource; /* -1: every one */
    const char *field;
    const char *(*value)(const struct object *object);
} table[] = {
    {-1, "metadata.name", name_of},
    {API_PODS, "spec.nodeName", node_of},
};

struct hub {
    struct triggers *triggers;
    const struct api_resource *resource;
    const struct trigger *trigger;
    struct store_watch *watch;
    struct map buckets; /* value -> struct list of trigger_entry.node */
    int delivering;
    struct list released; /* entries removed meanwhile */
};

struct trigger_entry {
    struct list node;
    struct list release_node;
    struct hub *hub;
    char *value;
    store_watch_callback callback; /* NULL: removed */
    void *context;
};

struct triggers {
    struct store *store;
    VECTOR(struct hub *) hubs;
};

static void deliver(struct hub *hub, const char *value, const struct store_event *event)
{
    struct list *bucket = map_get(&hub->buckets, value ? value : "");
    for (struct list *at = bucket ? bucket->next : NULL; at != bucket; at = at->next) {
        struct trigger_entry *entry = list_entry(at, struct trigger_entry, node);
        if (entry->callback)
            entry->callback(entry->context, event);
    }
}

static void entry_free(struct trigger_entry *entry)
{
    struct hub *hub = entry->hub;
    struct list *bucket = map_get(&hub->buckets, entry->value);
    list_remove(&entry->node);
    if (list_empty(bucket)) {
        map_remove(&hub->buckets, entry->value);
        free(bucket);
    }
    free(entry->value);
    free(entry);
}

static void changed(void *context, const struct store_event *event)
{
    struct hub *hub = context;
    const char *now = hub->trigger->value(event->object);
    const char *before = event->previous ? hub->trigger->value(event->previous) : now;
    hub->delivering++;
    deliver(hub, now, event);
    if (!text_equal(now, before))
        deliver(hub, before, event);
    hub->delivering--;
    struct trigger_entry *entry;
    list_for_each(&hub->released, entry, release_node) {
        list_remove(&entry->release_node);
        entry_free(entry);
    }
}

static struct hub *hub_get(struct triggers *triggers, const struct api_resource *resource,
                           const struct trigger *trigger)
{
    for (size_t i = 0; i < triggers->hubs.count; i++)
        if (triggers->hubs.items[i]->resource == resource && triggers->hubs.items[i]->trigger == trigger)
            return triggers->hubs.items[i];
    struct hub *hub = mem_zero(1, sizeof(*hub));
    hub->triggers = triggers;
    hub->resource = resource;
    hub->trigger = trigger;
    list_init(&hub->released);
    hub->watch =
        store_watch_new(triggers->store, resource, NULL, store_revision(triggers->store), changed, hub, NULL);
    vector_push(&triggers->hubs, hub);
    return hub;
}

struct trigger_entry *triggers_add(struct triggers *triggers, const struct api_resource *resource,
                                   const struct field_selector *selector, store_watch_callback callback,
                                   void *context)
{
    const struct trigger *trigger = NULL;
    const char *value = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(table) && !value; i++) {
        trigger = &table[i];
        if (trigger->resource < 0 || trigger->resource == resource->index)
            value = field_selector_required(selector, trigger->field);
    }
    if (!value)
        return NULL;
    struct trigger_entry *entry = mem_zero(1, sizeof(*entry));
    entry->hub = hub_get(triggers, resource, trigger);
    entry->value = mem_string(value);
    entry->callback = callback;
    entry->context = context;
    struct list *bucket = map_get(&entry->hub->buckets, value);
    if (!bucket) {
        bucket = mem_alloc(sizeof(*bucket));
        list_init(bucket);
        map_set(&entry->hub->buckets, value, bucket);
    }
    list_append(bucket, &entry->node);
    return entry;
}

void triggers_remove(struct trigger_entry *entry)
{
    if (!entry)
        return;
    entry->callback = NULL;
    if (entry->hub->delivering)
        list_append(&entry->hub->released, &entry->release_node);
    else
        entry_free(entry);
}

struct triggers *triggers_new(struct store *store)
{
    struct triggers *triggers = mem_zero(1, sizeof(*triggers));
    triggers->store = store;
    return triggers;
}

void triggers_free(struct triggers *triggers)
{
    for (size_t i = 0; i < triggers->hubs.count; i++) {
        struct hub *hub = triggers->hubs.items[i];
        store_watch_free(hub->watch);
        map_free(&hub->buckets);
        free(hub);
    }
    vector_free(&triggers->hubs);
    free(triggers);
}
