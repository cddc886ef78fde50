/* Which type an input is about: its first line says. A name stays right when other types are added; a position in a
 * table would not. */
#ifndef CORACLE_FUZZ_TYPE_H
#define CORACLE_FUZZ_TYPE_H

#include <stdint.h>
#include <string.h>

#include "api/type.h"

/* The type that the first line names. Another word stands for some type as well, so that a mutation can reach each.
 * What comes behind the line is left in data and size; NULL if there is no line. */
static inline const struct api_type *fuzz_type(const uint8_t **data, size_t *size)
{
    const uint8_t *end = *size ? memchr(*data, '\n', *size) : NULL;
    if (!end)
        return NULL;
    const char *name = (const char *)*data;
    size_t n = (size_t)(end - *data);
    *size -= n + 1;
    *data = end + 1;
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + (uint8_t)name[i];
    for (size_t i = 0; i < api_type_count; i++)
        if (strlen(api_types[i]->name) == n && memcmp(api_types[i]->name, name, n) == 0)
            return api_types[i];
    return api_types[sum % api_type_count];
}

/* The same for a kind that the API serves. */
static inline const struct api_resource *fuzz_resource(const uint8_t **data, size_t *size)
{
    const struct api_type *type = fuzz_type(data, size);
    for (size_t i = 0; type && i < api_resource_count; i++)
        if (api_resources[i].type == type)
            return &api_resources[i];
    return type ? &api_resources[(size_t)(type->name[0] + type->name[1]) % api_resource_count] : NULL;
}

#endif
