/* Finding types, fields and resources in the generated tables. */
#include <string.h>

#include "api/types.h"
#include "base/arena.h"
#include "base/text.h"

const struct api_field *api_type_field(const struct api_type *type, const char *name, size_t n)
{
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct api_field *f = &type->fields[i];
        if (f->name_size == n && memcmp(f->name, name, n) == 0)
            return f;
    }
    return NULL;
}

const struct api_resource *api_resource_find(const char *group, const char *version, const char *plural)
{
    for (size_t i = 0; i < api_resource_count; i++) {
        const struct api_resource *r = &api_resources[i];
        if (strcmp(r->plural, plural) == 0 && strcmp(r->group, group) == 0 && strcmp(r->version, version) == 0)
            return r;
    }
    return NULL;
}

const struct api_resource *api_resource_of_kind(const char *api_version, const char *kind)
{
    for (size_t i = 0; i < api_resource_count; i++) {
        const struct api_resource *r = &api_resources[i];
        if (strcmp(r->kind, kind) == 0 && strcmp(r->api_version, api_version) == 0)
            return r;
    }
    return NULL;
}

/* The package that upstream's internal types of an apiVersion are in. */
static const char *internal_package(struct arena *arena, const char *api_version)
{
    if (!strchr(api_version, '/') || strncmp(api_version, "events.k8s.io/", 14) == 0)
        return "core";
    return arena_string_n(arena, api_version, strcspn(api_version, "./"));
}

const char *api_why_not_converted(struct arena *arena, const char *api_version, const char *kind,
                                  const char *wanted_version, const char *wanted_kind)
{
    const char *slash = strchr(api_version, '/');
    if (!api_resource_of_kind(api_version, kind))
        return arena_printf(arena,
                            "no kind \"%s\" is registered for version \"%s\" in scheme "
                            "\"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\"",
                            kind, api_version);
    return arena_printf(arena, "converting (%s.%s) to (%s.%s): unknown conversion", slash ? slash + 1 : api_version,
                        kind, internal_package(arena, wanted_version), wanted_kind);
}

bool api_resource_is_first_of_version(size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (strcmp(api_resources[i].api_version, api_resources[index].api_version) == 0)
            return false;
    return true;
}

const char *string_map_get(const struct string_map *map, const char *key)
{
    size_t low = 0, high = map->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(key, map->items[middle].key);
        if (order == 0)
            return map->items[middle].value;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

bool string_map_contains(const struct string_map *map, const struct string_map *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        const char *value = string_map_get(map, pairs->items[i].key);
        if (!value || strcmp(value, pairs->items[i].value) != 0)
            return false;
    }
    return true;
}

bool string_map_equal(const struct string_map *a, const struct string_map *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!text_equal(a->items[i].key, b->items[i].key) || !text_equal(a->items[i].value, b->items[i].value))
            return false;
    return true;
}

bool string_array_equal(const struct string_array *a, const struct string_array *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!text_equal(a->items[i], b->items[i]))
            return false;
    return true;
}

/* Where `key` is, or belongs, among `count` sorted elements of `size` bytes that begin with their key. */
static size_t map_position(const void *items, size_t count, size_t size, const char *key, bool *found)
{
    size_t low = 0, high = count;
    *found = false;
    while (low < high && !*found) {
        size_t middle = (low + high) / 2;
        int order = strcmp(key, *(const char *const *)((const char *)items + middle * size));
        *found = order == 0;
        if (order <= 0)
            high = middle;
        else
            low = middle + 1;
    }
    return high < low ? low : high;
}

/* A copy of the elements in which there is room at `key`; the map's items never change in place. */
static void *map_slot(struct arena *arena, void **items, size_t *count, size_t size, const char *key)
{
    bool found;
    size_t at = map_position(*items, *count, size, key, &found);
    char *copy = arena_array_grow(arena, *items, *count, found ? 0 : 1, size);
    if (!found) {
        memmove(copy + (at + 1) * size, copy + at * size, (*count - at) * size);
        ++*count;
    }
    *items = copy;
    return copy + at * size;
}

void string_map_set(struct arena *arena, struct string_map *map, const char *key, const char *value)
{
    void *items = map->items;
    struct string_pair *slot = map_slot(arena, &items, &map->count, sizeof(*slot), key);
    *slot = (struct string_pair){key, value};
    map->items = items;
}

void bytes_map_set(struct arena *arena, struct bytes_map *map, const char *key, struct bytes value)
{
    void *items = map->items;
    struct bytes_pair *slot = map_slot(arena, &items, &map->count, sizeof(*slot), key);
    *slot = (struct bytes_pair){key, value};
    map->items = items;
}
