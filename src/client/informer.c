/* A copy kept by a watch that begins with the initial events. Entries are in one ordered tree by
 * "NAMESPACE/NAME", and in one ordered tree per index key that they have.
 *
 * When the watch ends with 410 (Gone), the next one starts with the initial events again: what those do not
 * name any more (its `mark` is old when they end) was deleted meanwhile. Any other end continues from the last
 * revision seen. Both wait for a backoff that starts over once events flow again. */
#include "client/informer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/env.h"
#include "base/log.h"
#include "base/map.h"
#include "base/timestamp.h"
#include "base/tree.h"
#include "base/vector.h"

/* As upstream's reflector backs off; jitter of up to as much again is added. */
#define BACKOFF_FIRST (800 * MILLISECOND)
#define BACKOFF_MAX (30 * SECOND)
/* Longer index keys are cut by their makers; names and uids are well below. */
#define INDEX_KEY_MAX 512
/* Room for "NAMESPACE/NAME". */
#define OBJECT_KEY_MAX 640

/* All entries that have one index key. */
struct bucket {
    struct tree entries;
    char key[];
};

struct slot {
    struct tree_node node;
    struct bucket *bucket; /* NULL: not in this index */
};

struct entry {
    struct tree_node node;
    struct object *object;
    uint32_t mark; /* of the list that named it last */
    char *key;     /* behind the slots */
    struct slot slots[];
};

struct handler {
    informer_callback callback;
    void *context;
};

struct index {
    informer_index_key key;
    struct map buckets;
};

struct informer {
    struct client *client;
    const struct api_resource *resource;
    char *namespace;
    const struct selector *label_selector;
    const struct field_selector *field_selector;
    VECTOR(struct handler) handlers;
    VECTOR(struct index) indexes;
    struct tree entries;
    struct client_watch *watch;
    struct env_timer *retry;
    int64_t backoff;
    uint64_t revision;
    uint32_t mark;
    bool started, synced;
    bool listing; /* the initial events are coming in */
    struct informer_set *set;
    env_callback on_synced;
    void *on_synced_context;
};

static bool object_key(char out[OBJECT_KEY_MAX], const char *namespace, const char *name)
{
    bool namespaced = namespace && *namespace;
    int n = snprintf(out, OBJECT_KEY_MAX, "%s%s%s", namespaced ? namespace : "", namespaced ? "/" : "", name);
    return n >= 0 && n < OBJECT_KEY_MAX;
}

static struct entry *find(const struct informer *informer, const char *namespace, const char *name)
{
    char key[OBJECT_KEY_MAX];
    if (!object_key(key, namespace, name))
        return NULL;
    struct tree_node *node = tree_find(&informer->entries, key);
    return node ? tree_entry(node, struct entry, node) : NULL;
}

/* Indexes. */

static void slot_clear(struct index *index, struct slot *slot)
{
    if (!slot->bucket)
        return;
    tree_remove(&slot->bucket->entries, &slot->node);
    if (!slot->bucket->entries.count)
        free(map_remove(&index->buckets, slot->bucket->key));
    slot->bucket = NULL;
}

static void slot_fill(struct index *index, struct entry *entry, struct slot *slot, const char *key)
{
    struct bucket *bucket = map_get(&index->buckets, key);
    if (!bucket) {
        size_t size = strlen(key) + 1;
        bucket = mem_zero(1, sizeof(*bucket) + size);
        memcpy(bucket->key, key, size);
        map_set(&index->buckets, key, bucket);
    }
    slot->node.key = entry->key;
    tree_insert(&bucket->entries, &slot->node);
    slot->bucket = bucket;
}

static void index_entry(struct informer *informer, struct entry *entry)
{
    char key[INDEX_KEY_MAX];
    for (size_t i = 0; i < informer->indexes.count; i++) {
        struct index *index = &informer->indexes.items[i];
        struct slot *slot = &entry->slots[i];
        bool indexed = index->key(entry->object, key, sizeof(key));
        if (indexed && slot->bucket && strcmp(slot->bucket->key, key) == 0)
            continue;
        slot_clear(index, slot);
        if (indexed)
            slot_fill(index, entry, slot, key);
    }
}

/* Changes. */

static void notify(struct informer *informer, enum informer_change change, struct object *object, struct object *old)
{
    for (size_t i = 0; i < informer->handlers.count; i++)
        informer->handlers.items[i].callback(informer->handlers.items[i].context, change, object, old);
}

static struct entry *entry_new(struct informer *informer, struct object *object)
{
    char key[OBJECT_KEY_MAX];
    if (!object_key(key, object->meta->namespace, object->meta->name))
        return NULL;
    size_t slots = informer->indexes.count * sizeof(struct slot), size = strlen(key) + 1;
    struct entry *entry = mem_zero(1, sizeof(*entry) + slots + size);
    entry->key = (char *)entry + sizeof(*entry) + slots;
    memcpy(entry->key, key, size);
    entry->node.key = entry->key;
    entry->object = object_ref(object);
    tree_insert(&informer->entries, &entry->node);
    return entry;
}

static void upsert(struct informer *informer, struct object *object)
{
    struct entry *entry = find(informer, object->meta->namespace, object->meta->name);
    if (!entry) {
        entry = entry_new(informer, object);
        if (!entry)
            return;
        entry->mark = informer->mark;
        index_entry(informer, entry);
        notify(informer, INFORMER_ADDED, object, NULL);
        return;
    }
    entry->mark = informer->mark;
    if (entry->object->revision == object->revision)
        return;
    cleanup_object struct object *old = entry->object;
    entry->object = object_ref(object);
    index_entry(informer, entry);
    notify(informer, INFORMER_UPDATED, object, old);
}

static void entry_free(struct informer *informer, struct entry *entry)
{
    for (size_t i = 0; i < informer->indexes.count; i++)
        slot_clear(&informer->indexes.items[i], &entry->slots[i]);
    tree_remove(&informer->entries, &entry->node);
    object_unref(entry->object);
    free(entry);
}

static void drop(struct informer *informer, struct entry *entry, struct object *last)
{
    cleanup_object struct object *old = object_ref(entry->object);
    entry_free(informer, entry);
    notify(informer, INFORMER_DELETED, last ? last : old, old);
}

static void set_check(struct informer_set *set);

/* The initial events are complete: what they did not name is gone. */
static void list_complete(struct informer *informer)
{
    informer->listing = false;
    for (struct tree_node *n = tree_first(&informer->entries), *next; n; n = next) {
        struct entry *entry = tree_entry(n, struct entry, node);
        next = n->next;
        if (entry->mark != informer->mark)
            drop(informer, entry, NULL);
    }
    if (!informer->synced && informer->on_synced)
        env_defer(informer->client->env, informer->on_synced, informer->on_synced_context);
    informer->synced = true;
    if (informer->set)
        set_check(informer->set);
}

static void watch_ended(struct informer *informer, const struct status *status)
{
    client_watch_free(steal_pointer(informer->watch));
    if (informer->listing || (status && status->code == 410))
        informer->revision = 0;
    log_debug("watch of %s ended: %s", informer->resource->plural,
              status && status->message ? status->message : "closed");
    int64_t jitter = (int64_t)(env_random(informer->client->env) % (uint64_t)informer->backoff);
    env_timer_start(informer->retry, informer->backoff + jitter);
    informer->backoff = informer->backoff * 2 < BACKOFF_MAX ? informer->backoff * 2 : BACKOFF_MAX;
}

static void event(void *context, const struct client_event *event)
{
    struct informer *informer = context;
    if (event->kind == CLIENT_ERROR) {
        watch_ended(informer, event->status);
        return;
    }
    informer->backoff = BACKOFF_FIRST;
    switch (event->kind) {
    case CLIENT_ADDED:
    case CLIENT_MODIFIED:
        upsert(informer, event->object);
        break;
    case CLIENT_DELETED: {
        struct entry *entry = find(informer, event->object->meta->namespace, event->object->meta->name);
        if (entry)
            drop(informer, entry, event->object);
        break;
    }
    default:
        if (event->initial_events_end && informer->listing)
            list_complete(informer);
        break;
    }
    /* Initial events come in the order of names: their revisions say nothing until they are complete. */
    if (!informer->listing && event->revision > informer->revision)
        informer->revision = event->revision;
}

static void watch_start(void *context)
{
    struct informer *informer = context;
    informer->listing = informer->revision == 0;
    if (informer->listing)
        informer->mark++;
    struct client_watch_options options = {
        .resource = informer->resource,
        .namespace = informer->namespace,
        .label_selector = informer->label_selector,
        .field_selector = informer->field_selector,
        .from = informer->revision,
        .send_initial_events = informer->listing,
        .bookmarks = true,
    };
    informer->watch = client_watch(informer->client, &options, event, informer);
}

/* The interface. */

struct informer *informer_new(struct client *client, const struct api_resource *resource, const char *namespace,
                              const struct selector *label_selector, const struct field_selector *field_selector)
{
    struct informer *informer = mem_zero(1, sizeof(*informer));
    informer->client = client;
    informer->resource = resource;
    informer->namespace = namespace ? mem_string(namespace) : NULL;
    informer->label_selector = label_selector;
    informer->field_selector = field_selector;
    informer->retry = env_timer_new(client->env, watch_start, informer);
    informer->backoff = BACKOFF_FIRST;
    return informer;
}

void informer_add_handler(struct informer *informer, informer_callback callback, void *context)
{
    vector_push(&informer->handlers, (struct handler){callback, context});
}

int informer_add_index(struct informer *informer, informer_index_key key)
{
    for (size_t i = 0; i < informer->indexes.count; i++)
        if (informer->indexes.items[i].key == key)
            return (int)i;
    vector_push(&informer->indexes, (struct index){.key = key});
    return (int)informer->indexes.count - 1;
}

void informer_start(struct informer *informer)
{
    if (informer->started)
        return;
    informer->started = true;
    watch_start(informer);
}

void informer_free(struct informer *informer)
{
    if (!informer)
        return;
    client_watch_free(informer->watch);
    env_timer_free(informer->retry);
    while (informer->entries.count)
        entry_free(informer, tree_entry(tree_first(&informer->entries), struct entry, node));
    for (size_t i = 0; i < informer->indexes.count; i++)
        map_free(&informer->indexes.items[i].buckets);
    vector_free(&informer->indexes);
    vector_free(&informer->handlers);
    free(informer->namespace);
    free(informer);
}

bool informer_synced(const struct informer *informer)
{
    return informer->synced;
}

void informer_on_synced(struct informer *informer, void (*done)(void *context), void *context)
{
    informer->on_synced = done;
    informer->on_synced_context = context;
}

uint64_t informer_revision(const struct informer *informer)
{
    return informer->revision;
}

struct object *informer_get(const struct informer *informer, const char *namespace, const char *name)
{
    const struct entry *entry = find(informer, namespace, name);
    return entry ? entry->object : NULL;
}

size_t informer_count(const struct informer *informer)
{
    return informer->entries.count;
}

void informer_each(const struct informer *informer, const char *namespace, informer_visit visit, void *context)
{
    char prefix[OBJECT_KEY_MAX] = "";
    if (namespace && *namespace && !object_key(prefix, namespace, ""))
        return;
    size_t size = strlen(prefix);
    for (struct tree_node *n = tree_at_least(&informer->entries, prefix); n && strncmp(n->key, prefix, size) == 0;
         n = n->next)
        if (!visit(context, tree_entry(n, struct entry, node)->object))
            return;
}

void informer_each_indexed(const struct informer *informer, int index, const char *key, informer_visit visit,
                           void *context)
{
    struct bucket *bucket = map_get(&informer->indexes.items[index].buckets, key);
    if (!bucket)
        return;
    size_t slots = offsetof(struct entry, slots) + (size_t)index * sizeof(struct slot);
    for (struct tree_node *n = tree_first(&bucket->entries); n; n = n->next) {
        struct entry *entry = (struct entry *)((char *)tree_entry(n, struct slot, node) - slots);
        if (!visit(context, entry->object))
            return;
    }
}

/* Sets. */

struct waiting {
    void (*done)(void *context);
    void *context;
};

struct informer_set {
    struct client *client;
    struct informer **informers; /* by api_resource.index */
    VECTOR(struct waiting) waiting;
    struct env_timer *check; /* answers from the loop */
};

static bool set_synced(const struct informer_set *set)
{
    for (size_t i = 0; i < api_resource_count; i++)
        if (set->informers[i] && !(set->informers[i]->started && set->informers[i]->synced))
            return false;
    return true;
}

static void set_answer(void *context)
{
    struct informer_set *set = context;
    if (!set_synced(set))
        return;
    size_t count = set->waiting.count;
    cleanup_free struct waiting *waiting = set->waiting.items;
    set->waiting.items = NULL;
    set->waiting.count = set->waiting.capacity = 0;
    for (size_t i = 0; i < count; i++)
        waiting[i].done(waiting[i].context);
}

static void set_check(struct informer_set *set)
{
    if (set->waiting.count && set_synced(set))
        env_timer_start(set->check, 0);
}

struct informer_set *informer_set_new(struct client *client)
{
    struct informer_set *set = mem_zero(1, sizeof(*set));
    set->client = client;
    set->informers = mem_zero(api_resource_count, sizeof(struct informer *));
    set->check = env_timer_new(client->env, set_answer, set);
    return set;
}

struct informer *informer_set_get(struct informer_set *set, const struct api_resource *resource)
{
    struct informer **informer = &set->informers[resource->index];
    if (!*informer) {
        *informer = informer_new(set->client, resource, NULL, NULL, NULL);
        (*informer)->set = set;
    }
    return *informer;
}

void informer_set_when_synced(struct informer_set *set, void (*done)(void *context), void *context)
{
    vector_push(&set->waiting, (struct waiting){done, context});
    set_check(set);
}

void informer_set_forget(struct informer_set *set, void *context)
{
    for (size_t i = set->waiting.count; i-- > 0;)
        if (set->waiting.items[i].context == context)
            vector_remove(&set->waiting, i);
}

void informer_set_start(struct informer_set *set, void (*done)(void *context), void *context)
{
    for (size_t i = 0; i < api_resource_count; i++)
        if (set->informers[i])
            informer_start(set->informers[i]);
    if (done)
        informer_set_when_synced(set, done, context);
}

void informer_set_free(struct informer_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < api_resource_count; i++)
        informer_free(set->informers[i]);
    env_timer_free(set->check);
    vector_free(&set->waiting);
    free(set->informers);
    free(set);
}
