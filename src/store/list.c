/* Lists: of committed states, of heads, and of what was committed at a past revision. The past is rebuilt by an
 * overlay: for each key that changed since, the state that its first later event replaced. Merged with the
 * present entries in the order of keys, it hides or replaces them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/key.h"
#include "store/private.h"

/* The part of the keys that a list covers. */
struct range {
    char prefix[STORE_KEY_MAX];
    size_t prefix_size;
    char after[STORE_KEY_MAX]; /* "": from the beginning */
};

static bool range_make(struct range *range, const struct api_resource *resource, const char *namespace,
                       const char *after_namespace, const char *after_name)
{
    range->prefix[0] = range->after[0] = 0;
    if (namespace && resource->namespaced && !store_entry_key(range->prefix, resource, namespace, ""))
        return false;
    range->prefix_size = strlen(range->prefix);
    return !after_name || store_entry_key(range->after, resource, after_namespace, after_name);
}

static bool in_range(const struct range *range, const char *key)
{
    return strncmp(key, range->prefix, range->prefix_size) == 0;
}

static struct tree_node *range_first(const struct range *range, const struct tree *tree)
{
    struct tree_node *node = strcmp(range->after, range->prefix) > 0 ? tree_after(tree, range->after)
                                                                     : tree_at_least(tree, range->prefix);
    return node && in_range(range, node->key) ? node : NULL;
}

static struct tree_node *range_next(const struct range *range, const struct tree_node *node)
{
    return node->next && in_range(range, node->next->key) ? node->next : NULL;
}

void store_list(const struct store *store, const struct api_resource *resource, const char *namespace,
                const char *after_namespace, const char *after_name, store_visit visit, void *context)
{
    struct range range;
    if (!range_make(&range, resource, namespace, after_namespace, after_name))
        return;
    const struct tree *entries = &store_table_of(store, resource)->entries;
    for (struct tree_node *node = range_first(&range, entries); node; node = range_next(&range, node)) {
        const struct store_entry *entry = tree_entry(node, struct store_entry, node);
        if (entry->committed && !visit(context, entry->committed))
            return;
    }
}

void store_list_heads(const struct store *store, const struct api_resource *resource, store_visit visit,
                      void *context)
{
    for (struct tree_node *node = tree_first(&store_table_of(store, resource)->entries); node; node = node->next) {
        const struct store_entry *entry = tree_entry(node, struct store_entry, node);
        if (entry->head && !visit(context, entry->head))
            return;
    }
}

/* A key as it was. */
struct past_entry {
    struct tree_node node;
    struct object *object; /* NULL: not there */
    char key[];
};

static void overlay_add(struct tree *overlay, const struct api_resource *resource, const struct range *range,
                        const struct store_past *past)
{
    char key[STORE_KEY_MAX];
    const struct object_meta *meta = past->event.object->meta;
    if (past->event.object->resource != resource || !store_entry_key(key, resource, meta->namespace, meta->name) ||
        !in_range(range, key) || tree_find(overlay, key))
        return;
    size_t size = strlen(key) + 1;
    struct past_entry *entry = mem_zero(1, sizeof(*entry) + size);
    memcpy(entry->key, key, size);
    entry->node.key = entry->key;
    entry->object = past->event.previous;
    tree_insert(overlay, &entry->node);
}

static void merge(const struct range *range, const struct tree *entries, const struct tree *overlay,
                  store_visit visit, void *context)
{
    struct tree_node *now = range_first(range, entries), *past = range_first(range, overlay);
    bool more = true;
    while (more && (now || past)) {
        int order = !now ? 1 : !past ? -1 : strcmp(now->key, past->key);
        struct object *object = order < 0 ? tree_entry(now, struct store_entry, node)->committed
                                          : tree_entry(past, struct past_entry, node)->object;
        if (order <= 0)
            now = range_next(range, now);
        if (order >= 0)
            past = range_next(range, past);
        more = !object || visit(context, object);
    }
}

int store_list_at(const struct store *store, const struct api_resource *resource, const char *namespace,
                  const char *after_namespace, const char *after_name, uint64_t revision, store_visit visit,
                  void *context, struct error *err)
{
    const struct store_history *history = &store->history;
    if (revision >= store->revision) {
        store_list(store, resource, namespace, after_namespace, after_name, visit, context);
        return 0;
    }
    if (revision < history->forgotten)
        return error_set(err, ESTALE, "too old resource version: %llu (%llu)", (unsigned long long)revision,
                         (unsigned long long)history->forgotten);
    struct range range;
    if (!range_make(&range, resource, namespace, after_namespace, after_name))
        return 0;
    struct tree overlay = {0};
    for (size_t i = store_history_after(history, revision); i < history->count; i++)
        overlay_add(&overlay, resource, &range, store_past_at(history, i));
    merge(&range, &store_table_of(store, resource)->entries, &overlay, visit, context);
    for (struct tree_node *n = tree_first(&overlay), *next; n; n = next) {
        next = n->next;
        free(tree_entry(n, struct past_entry, node));
    }
    return 0;
}
