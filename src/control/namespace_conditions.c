/* Five aspects, as upstream's namespace deleter keeps them; each is False while nothing stands in the way. */
#include "control/namespace_conditions.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/timestamp.h"

static const struct namespace_condition fine[] = {
    {.type = "NamespaceDeletionDiscoveryFailure",
     .reason = "ResourcesDiscovered",
     .message = "All resources successfully discovered"},
    {.type = "NamespaceDeletionGroupVersionParsingFailure",
     .reason = "ParsedGroupVersions",
     .message = "All legacy kube types successfully parsed"},
    {.type = "NamespaceDeletionContentFailure",
     .reason = "ContentDeleted",
     .message = "All content successfully deleted, may be waiting on finalization"},
    {.type = "NamespaceContentRemaining", .reason = "ContentRemoved", .message = "All content successfully removed"},
    {.type = "NamespaceFinalizersRemaining",
     .reason = "ContentHasNoFinalizers",
     .message = "All content-preserving finalizers finished"},
};

enum { CONTENT_FAILURE = 2, CONTENT_REMAINING = 3, FINALIZERS_REMAINING = 4 };

static void add_finalizer(struct namespace_remains *r, const char *name)
{
    for (size_t i = 0; i < r->finalizer_count; i++) {
        if (strcmp(r->finalizers[i].name, name) == 0) {
            r->finalizers[i].count++;
            return;
        }
    }
    r->finalizers = arena_array_extend(r->arena, r->finalizers, r->finalizer_count, sizeof(*r->finalizers));
    r->finalizers[r->finalizer_count++] = (struct namespace_finalizer){arena_string(r->arena, name), 1};
}

void namespace_remains_add(struct namespace_remains *r, const struct object *object)
{
    if (!r->of_resource)
        r->of_resource = arena_alloc(r->arena, api_resource_count * sizeof(*r->of_resource));
    r->of_resource[object->resource->index]++;
    r->left++;
    for (size_t i = 0; i < object->meta->finalizers.count; i++)
        add_finalizer(r, object->meta->finalizers.items[i]);
}

void namespace_remains_fail(struct namespace_remains *r, const char *message)
{
    r->failures = arena_array_extend(r->arena, r->failures, r->failure_count, sizeof(*r->failures));
    r->failures[r->failure_count++] = arena_string(r->arena, message);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The introduction, and the parts in the order of their texts. */
static const char *listed(struct arena *arena, const char *introduction, const char **parts, size_t count)
{
    cleanup_buffer struct buffer out = {0};
    if (count)
        qsort(parts, count, sizeof(*parts), by_text);
    buffer_add_string(&out, introduction);
    for (size_t i = 0; i < count; i++)
        buffer_printf(&out, "%s%s", i ? ", " : "", parts[i]);
    return arena_string_n(arena, out.data, out.size);
}

static void set(struct namespace_condition *condition, const char *reason, const char *message)
{
    condition->status = "True";
    condition->reason = reason;
    condition->message = message;
}

static void tell_content(const struct namespace_remains *r, struct namespace_condition *condition)
{
    const char **parts = arena_alloc(r->arena, api_resource_count * sizeof(*parts));
    size_t count = 0;
    for (size_t i = 0; i < api_resource_count; i++)
        if (r->of_resource[i])
            parts[count++] = arena_printf(r->arena, "%s.%s has %zu resource instances", api_resources[i].plural,
                                          api_resources[i].group, r->of_resource[i]);
    set(condition, "SomeResourcesRemain", listed(r->arena, "Some resources are remaining: ", parts, count));
}

static void tell_finalizers(const struct namespace_remains *r, struct namespace_condition *condition)
{
    const char **parts = arena_alloc(r->arena, r->finalizer_count * sizeof(*parts));
    for (size_t i = 0; i < r->finalizer_count; i++)
        parts[i] =
            arena_printf(r->arena, "%s in %zu resource instances", r->finalizers[i].name, r->finalizers[i].count);
    set(condition, "SomeFinalizersRemain",
        listed(r->arena, "Some content in the namespace has finalizers remaining: ", parts, r->finalizer_count));
}

static void tell_failures(const struct namespace_remains *r, struct namespace_condition *condition)
{
    const char *introduction =
        arena_printf(r->arena, "Failed to delete all resource types, %zu remaining: ", r->failure_count);
    set(condition, "ContentDeletionFailed", listed(r->arena, introduction, r->failures, r->failure_count));
}

static const struct namespace_condition *find(const struct namespace_condition_array *array, const char *type)
{
    for (size_t i = 0; i < array->count; i++)
        if (text_equal(array->items[i].type, type))
            return &array->items[i];
    return NULL;
}

bool namespace_conditions(const struct namespace_remains *r, const struct namespace_condition_array *old, int64_t now,
                          struct namespace_condition_array *out)
{
    bool changed = false;
    struct namespace_condition *fresh = arena_copy(r->arena, fine, sizeof(fine));
    for (size_t i = 0; i < ARRAY_COUNT(fine); i++)
        fresh[i].status = "False";
    if (r->failure_count)
        tell_failures(r, &fresh[CONTENT_FAILURE]);
    if (r->left)
        tell_content(r, &fresh[CONTENT_REMAINING]);
    if (r->finalizer_count)
        tell_finalizers(r, &fresh[FINALIZERS_REMAINING]);
    for (size_t i = 0; i < ARRAY_COUNT(fine); i++) {
        const struct namespace_condition *before = find(old, fresh[i].type);
        bool same = before && text_equal(before->status, fresh[i].status);
        fresh[i].last_transition_time = same ? before->last_transition_time : now / SECOND * SECOND;
        changed = changed || !same || !text_equal(before->reason, fresh[i].reason) ||
                  !text_equal(before->message, fresh[i].message);
    }
    *out = (struct namespace_condition_array){fresh, ARRAY_COUNT(fine)};
    return changed;
}
