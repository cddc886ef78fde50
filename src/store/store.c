/* Heads, committed states, and the way of a write from one to the other.
 *
 * A write is accepted when its expected revision is that of the head: it becomes the head and joins `pending`.
 * At the end of the loop's turn, or when the engine has finished, all that is pending becomes the next batch
 * (group commit: one fsync for all of it). When the batch is durable, its writes become the committed states in
 * the order of their revisions; each sends its event, then answers.
 *
 * When a batch fails, all its writes fail, and with them the pending writes on the same keys, which were based
 * on them; their heads go back to what is committed. Other pending writes go on. Revisions of failed writes are
 * not given out again, so revisions may have gaps. */
#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/key.h"
#include "store/private.h"

/* The revision of a store that nothing was written to, as etcd's. */
#define FIRST_REVISION 1

static void run_batch(struct store *store);

struct store *store_new(struct env *env, struct store_engine *engine)
{
    struct store *store = mem_zero(1, sizeof(*store));
    store->env = env;
    store->engine = engine;
    store->tables = mem_zero(api_resource_count, sizeof(*store->tables));
    for (size_t i = 0; i < api_resource_count; i++)
        list_init(&store->tables[i].watches);
    store->history.ring = mem_zero(STORE_HISTORY_MAX, sizeof(*store->history.ring));
    list_init(&store->lagging);
    list_init(&store->released);
    store->revision = store->accepted = FIRST_REVISION;
    return store;
}

struct store_table *store_table_of(const struct store *store, const struct api_resource *resource)
{
    assert(resource->storage == resource->index);
    return &store->tables[resource->index];
}

bool store_entry_key(char *out, const struct api_resource *resource, const char *namespace,
                      const char *name)
{
    int n = resource->namespaced ? snprintf(out, STORE_KEY_MAX, "%s/%s", namespace ? namespace : "", name)
                                 : snprintf(out, STORE_KEY_MAX, "%s", name);
    return n >= 0 && n < STORE_KEY_MAX;
}

static struct store_entry *find(const struct store *store, const struct api_resource *resource, const char *namespace,
                                const char *name)
{
    char key[STORE_KEY_MAX];
    if (!store_entry_key(key, resource, namespace, name))
        return NULL;
    struct tree_node *node = tree_find(&store_table_of(store, resource)->entries, key);
    return node ? tree_entry(node, struct store_entry, node) : NULL;
}

static struct store_entry *entry_new(struct store_table *table, const char *key)
{
    size_t size = strlen(key) + 1;
    struct store_entry *entry = mem_zero(1, sizeof(*entry) + size);
    memcpy(entry->key, key, size);
    entry->node.key = entry->key;
    tree_insert(&table->entries, &entry->node);
    return entry;
}

static void entry_drop_if_empty(struct store_table *table, struct store_entry *entry)
{
    if (entry->head || entry->committed || entry->writes)
        return;
    tree_remove(&table->entries, &entry->node);
    free(entry);
}

static void replace(struct object **slot, struct object *object)
{
    struct object *old = *slot;
    *slot = object ? object_ref(object) : NULL;
    object_unref(old);
}

/* Opening. */

struct loading {
    struct store *store;
    uint64_t highest;
};

static int load_record(void *context, const struct engine_record *record, struct error *err)
{
    struct loading *loading = context;
    struct store *store = loading->store;
    const char *rest;
    const struct api_resource *resource = store_key_parse(record->key, &rest);
    if (!resource)
        return error_set(err, EINVAL, "key %s is none that this version of Coracle knows", record->key);
    struct object *object = object_from_json(resource, record->json, record->size, err);
    if (!object)
        return error_wrap(err, "key %s", record->key);
    struct store_table *table = store_table_of(store, resource);
    char key[STORE_KEY_MAX];
    if (!object->meta->name || !store_entry_key(key, resource, object->meta->namespace, object->meta->name) ||
        strcmp(key, rest) != 0 || object->revision != record->revision || tree_find(&table->entries, key)) {
        object_unref(object);
        return error_set(err, EINVAL, "key %s does not fit the object that it holds", record->key);
    }
    struct store_entry *entry = entry_new(table, key);
    entry->committed = object;
    entry->head = object_ref(object);
    entry->head_created = entry->committed_created = record->created;
    table->committed++;
    store->figures.objects++;
    if (record->revision > loading->highest)
        loading->highest = record->revision;
    return 0;
}

int store_open(struct store *store, struct error *err)
{
    struct loading loading = {.store = store};
    uint64_t revision = 0;
    if (store->engine->operations->load(store->engine, load_record, &loading, &revision, err) < 0)
        return -1;
    if (loading.highest > revision)
        return error_set(err, EINVAL, "an object has revision %llu, beyond the store's last one, %llu",
                         (unsigned long long)loading.highest, (unsigned long long)revision);
    if (revision > FIRST_REVISION) {
        store->revision = store->accepted = revision;
        store->history.forgotten = revision;
    }
    return 0;
}

/* Writing. */

static void flush(void *context)
{
    struct store *store = context;
    store->flush_deferred = false;
    if (store->free_when_flushed)
        free(store);
    else if (!store->running.count && store->pending.count)
        run_batch(store);
}

static void accept_write(struct store *store, struct store_write write)
{
    write.accepted = env_monotonic(store->env);
    write.entry->writes++;
    vector_push(&store->pending, write);
    if (!store->running.count && !store->flush_deferred) {
        store->flush_deferred = true;
        env_defer(store->env, flush, store);
    }
}

/* Gives the value the next revision and makes a snapshot of it. Takes the arena. */
static struct object *stamp(struct store *store, const struct api_resource *resource, struct arena *arena, void *value)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)++store->accepted);
    api_meta(resource, value)->resource_version = arena_string(arena, text);
    return object_new(resource, arena, value);
}

enum store_outcome store_put(struct store *store, const struct api_resource *resource, struct arena *arena, void *value,
                             uint64_t expected, store_done done, void *context)
{
    const struct object_meta *meta = api_meta(resource, value);
    struct store_table *table = store_table_of(store, resource);
    char key[STORE_KEY_MAX];
    enum store_outcome outcome = STORE_OK;
    struct store_entry *entry = NULL;
    if (!meta->name || !store_entry_key(key, resource, meta->namespace, meta->name)) {
        outcome = STORE_FAILED;
    } else {
        struct tree_node *node = tree_find(&table->entries, key);
        entry = node ? tree_entry(node, struct store_entry, node) : NULL;
        const struct object *head = entry ? entry->head : NULL;
        if (expected == 0)
            outcome = head ? STORE_EXISTS : STORE_OK;
        else if (!head)
            outcome = STORE_NOT_FOUND;
        else if (head->revision != expected)
            outcome = STORE_CONFLICT;
        if (outcome == STORE_OK && store->pending.count >= STORE_PENDING_MAX)
            outcome = STORE_BUSY;
    }
    if (outcome != STORE_OK) {
        arena_free(arena);
        return outcome;
    }
    if (!entry)
        entry = entry_new(table, key);
    struct object *object = stamp(store, resource, arena, value);
    replace(&entry->head, object);
    if (expected == 0)
        entry->head_created = object->revision;
    accept_write(store, (struct store_write){.entry = entry,
                                             .resource = resource,
                                             .object = object,
                                             .revision = object->revision,
                                             .created = entry->head_created,
                                             .done = done,
                                             .context = context});
    return STORE_OK;
}

enum store_outcome store_delete(struct store *store, const struct api_resource *resource, const char *namespace,
                                const char *name, uint64_t expected, store_done done, void *context)
{
    struct store_entry *entry = find(store, resource, namespace, name);
    if (!entry || !entry->head)
        return STORE_NOT_FOUND;
    if (entry->head->revision != expected)
        return STORE_CONFLICT;
    if (store->pending.count >= STORE_PENDING_MAX)
        return STORE_BUSY;
    struct arena *arena = arena_new(0);
    void *value = object_copy(arena, entry->head);
    struct object *object = stamp(store, resource, arena, value);
    replace(&entry->head, NULL);
    accept_write(store, (struct store_write){.entry = entry,
                                             .resource = resource,
                                             .object = object,
                                             .revision = object->revision,
                                             .created = entry->head_created,
                                             .is_delete = true,
                                             .done = done,
                                             .context = context});
    return STORE_OK;
}

/* Committing. */

/* The write becomes its key's committed state; its event is sent and it is answered. */
static void settle(struct store *store, struct store_write *write)
{
    struct store_entry *entry = write->entry;
    struct store_table *table = store_table_of(store, write->resource);
    struct object *previous = entry->committed; /* its reference moves here */
    store->revision = write->revision;
    entry->committed = write->is_delete ? NULL : object_ref(write->object);
    entry->committed_created = write->created;
    if (!previous) {
        table->committed++;
        store->figures.objects++;
    } else if (write->is_delete) {
        table->committed--;
        store->figures.objects--;
    }
    entry->writes--;
    entry_drop_if_empty(table, entry);
    struct store_event event = {
        .kind = write->is_delete ? STORE_DELETED
                : previous       ? STORE_MODIFIED
                                 : STORE_ADDED,
        .object = write->object,
        .previous = previous,
    };
    store->figures.commit_microseconds += env_monotonic(store->env) - write->accepted;
    store->figures.writes++;
    store_deliver(store, write->resource, &event);
    if (write->done)
        write->done(write->context, STORE_OK, write->object, NULL);
    object_unref(write->object);
    object_unref(previous);
}

static void fail(struct store *store, struct store_write *write, const struct error *err)
{
    store->figures.failures++;
    if (write->done)
        write->done(write->context, STORE_FAILED, NULL, err);
    object_unref(write->object);
}

/* Takes the heads of failed writes back, and moves the pending writes that were based on them to `failed`. */
static void roll_back(struct store *store, struct store_write **failed, size_t *count)
{
    size_t kept = 0;
    *failed = mem_resize(*failed, (*count + store->pending.count) * sizeof(**failed));
    for (size_t i = 0; i < *count; i++)
        (*failed)[i].entry->head_created = 0; /* marks the key */
    for (size_t i = 0; i < store->pending.count; i++) {
        struct store_write *write = &store->pending.items[i];
        /* A new key's first write has its own revision as head_created, never 0. */
        if (write->entry->head_created == 0)
            (*failed)[(*count)++] = *write;
        else
            store->pending.items[kept++] = *write;
    }
    store->pending.count = kept;
    for (size_t i = 0; i < *count; i++) {
        struct store_entry *entry = (*failed)[i].entry;
        replace(&entry->head, entry->committed);
        entry->head_created = entry->committed_created;
    }
    for (size_t i = 0; i < *count; i++) {
        struct store_entry *entry = (*failed)[i].entry;
        entry->writes--;
        entry_drop_if_empty(store_table_of(store, (*failed)[i].resource), entry);
    }
}

static void batch_done(void *context, const struct error *err)
{
    struct store *store = context;
    size_t count = store->running.count;
    cleanup_free struct store_write *writes = store->running.items;
    store->running.items = NULL;
    store->running.count = store->running.capacity = 0;
    if (err)
        roll_back(store, &writes, &count);
    /* The engine goes on while the finished batch is answered. */
    if (store->pending.count)
        run_batch(store);
    for (size_t i = 0; i < count; i++) {
        if (err)
            fail(store, &writes[i], err);
        else
            settle(store, &writes[i]);
    }
}

static void run_batch(struct store *store)
{
    size_t count = store->pending.count < STORE_BATCH_MAX ? store->pending.count : STORE_BATCH_MAX;
    for (size_t i = 0; i < count; i++)
        vector_push(&store->running, store->pending.items[i]);
    store->pending.count -= count;
    memmove(store->pending.items, store->pending.items + count, store->pending.count * sizeof(*store->pending.items));

    /* Keys are written behind each other; only then do their addresses stand. */
    buffer_clear(&store->keys);
    store->batch.count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct store_write *write = &store->running.items[i];
        const struct object_meta *meta = write->object->meta;
        size_t start = store->keys.size;
        store_key(&store->keys, write->resource, meta->namespace, meta->name);
        buffer_add_char(&store->keys, 0);
        vector_push(&store->batch, (struct engine_write){
                                       .key = (const char *)(uintptr_t)start,
                                       .revision = write->revision,
                                       .created = write->created,
                                       .object = write->is_delete ? NULL : write->object,
                                   });
    }
    for (size_t i = 0; i < count; i++)
        store->batch.items[i].key = store->keys.data + (uintptr_t)store->batch.items[i].key;
    store->figures.batches++;
    store->engine->operations->commit(store->engine, store->batch.items, count, batch_done, store);
}

void store_free(struct store *store)
{
    if (!store)
        return;
    while (store->running.count || store->pending.count) {
        if (!store->running.count)
            run_batch(store);
        store->engine->operations->wait(store->engine);
    }
    store->engine->operations->free(store->engine);
    store_history_free(store);
    for (size_t i = 0; i < api_resource_count; i++) {
        for (struct tree_node *n = tree_first(&store->tables[i].entries), *next; n; n = next) {
            struct store_entry *entry = tree_entry(n, struct store_entry, node);
            next = n->next;
            object_unref(entry->head);
            object_unref(entry->committed);
            free(entry);
        }
    }
    free(store->tables);
    vector_free(&store->pending);
    vector_free(&store->running);
    vector_free(&store->batch);
    buffer_free(&store->keys);
    /* What is deferred cannot be taken back; the last of it releases the shell. */
    store->free_when_flushed = true;
    if (!store->flush_deferred && !store->catch_up_deferred)
        free(store);
}

/* Reading. */

struct object *store_get(const struct store *store, const struct api_resource *resource, const char *namespace,
                         const char *name)
{
    const struct store_entry *entry = find(store, resource, namespace, name);
    return entry ? entry->committed : NULL;
}

struct object *store_head(const struct store *store, const struct api_resource *resource, const char *namespace,
                          const char *name)
{
    const struct store_entry *entry = find(store, resource, namespace, name);
    return entry ? entry->head : NULL;
}

uint64_t store_revision(const struct store *store)
{
    return store->revision;
}

uint64_t store_changed_at(const struct store *store, const struct api_resource *resource)
{
    return store_table_of(store, &api_resources[resource->storage])->changed;
}

size_t store_count(const struct store *store, const struct api_resource *resource)
{
    return store_table_of(store, resource)->committed;
}

void store_figures(const struct store *store, struct store_figures *out)
{
    *out = store->figures;
    out->revision = store->revision;
    out->pending = store->pending.count + store->running.count;
}
