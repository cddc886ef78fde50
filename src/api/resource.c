/* Finding types, fields and resources in the generated tables. */
#include <string.h>

#include "api/types.h"

const struct api_field *api_type_field(const struct api_type *type, const char *name, size_t n)
{
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct api_field *f = &type->fields[i];
        if (strncmp(f->name, name, n) == 0 && !f->name[n])
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
