/* Random values. Strings are picked to be awkward: escapes, HTML characters, all sizes of UTF-8. */
#include "random_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/quantity.h"
#include "base/cleanup.h"
#include "base/timestamp.h"

/* Longer than what the pool of short strings takes. */
#define TEN "0123456789"
#define LONG_TEXT TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static const char *const strings[] = {
    "a",
    "web",
    "x\"y\\z",
    "<&>",
    "\t\n\r\b\f\001\037",
    "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
    "\xe2\x80\xa8\xe2\x80\xa9",
    LONG_TEXT,
};
static const char *const quantities[] = {"0", "1", "100m", "1500m", "64Mi", "1Gi", "12e6", "3k", "5n", "-2"};
static const char *const raws[] = {"{}", "{\"f:a\":{\"f:b\":{}}}", "[1,\"x\",null]", "true"};

uint32_t random_below(struct random *r, uint32_t n)
{
    r->state = r->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((r->state >> 33) % n);
}

static const char *pick_string(struct random *r, struct arena *arena)
{
    return arena_string(arena, strings[random_below(r, ARRAY_COUNT(strings))]);
}

static int64_t pick_integer(struct random *r, bool wide)
{
    static const int64_t wide_values[] = {1, -1, 0, 80, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    return wide_values[random_below(r, wide ? ARRAY_COUNT(wide_values) : ARRAY_COUNT(wide_values) - 2)];
}

static void fill_struct(struct random *r, struct arena *arena, const struct api_type *type, char *value, int depth);

static void fill_int_or_string(struct random *r, struct arena *arena, bool optional, struct int_or_string *slot)
{
    if (random_below(r, 2)) {
        *slot = (struct int_or_string){.kind = INT_OR_STRING_STRING, .text = pick_string(r, arena)};
        return;
    }
    *slot = (struct int_or_string){.kind = INT_OR_STRING_INT, .number = (int32_t)pick_integer(r, false)};
    if (!slot->number && !optional)
        *slot = (struct int_or_string){0};
}

static struct bytes pick_bytes(struct random *r, struct arena *arena)
{
    struct bytes bytes = {.size = random_below(r, 9)};
    unsigned char *data = arena_alloc(arena, bytes.size);
    for (size_t i = 0; i < bytes.size; i++)
        data[i] = (unsigned char)random_below(r, 256);
    bytes.data = data;
    return bytes;
}

/* Seconds of four centuries, but not 0. */
static int64_t pick_time(struct random *r, bool micro)
{
    int64_t seconds = (int64_t)random_below(r, UINT32_MAX) * 3 - 2000000000 + 1;
    return (seconds ? seconds : 1) * SECOND + (micro ? random_below(r, SECOND) : 0);
}

static void fill_value(struct random *r, struct arena *arena, const struct api_field *f, char *slot, int depth)
{
    bool optional = f->shape == API_OPTIONAL;
    switch ((enum api_kind)f->kind) {
    case API_STRING:
        *(const char **)slot = pick_string(r, arena);
        break;
    case API_QUANTITY:
        *(const char **)slot = arena_string(arena, quantities[random_below(r, ARRAY_COUNT(quantities))]);
        break;
    case API_RAW:
        *(const char **)slot = arena_string(arena, raws[random_below(r, ARRAY_COUNT(raws))]);
        break;
    case API_BOOL:
        if (optional)
            *(struct opt_bool *)slot = opt_bool(random_below(r, 2));
        else
            *(bool *)slot = random_below(r, 2);
        break;
    case API_INT32:
        if (optional)
            *(struct opt_int32 *)slot = opt_int32((int32_t)pick_integer(r, false));
        else
            *(int32_t *)slot = (int32_t)pick_integer(r, false);
        break;
    case API_INT64:
        if (optional)
            *(struct opt_int64 *)slot = opt_int64(pick_integer(r, true));
        else
            *(int64_t *)slot = pick_integer(r, true);
        break;
    case API_DOUBLE:
        *(double *)slot = (double)pick_integer(r, false) / 8;
        break;
    case API_TIME:
    case API_MICRO_TIME:
        *(int64_t *)slot = pick_time(r, f->kind == API_MICRO_TIME);
        break;
    case API_INT_OR_STRING:
        fill_int_or_string(r, arena, optional, (struct int_or_string *)slot);
        break;
    case API_BYTES:
        *(struct bytes *)slot = pick_bytes(r, arena);
        break;
    case API_STRUCT:
        if (optional)
            *(void **)slot = random_value(r, arena, f->type, depth - 1);
        else
            fill_struct(r, arena, f->type, slot, depth - 1);
        break;
    }
}

static size_t element_size(const struct api_field *f)
{
    return f->kind == API_STRUCT ? f->type->size : f->kind == API_INT32 ? sizeof(int32_t) : sizeof(void *);
}

static void fill_array(struct random *r, struct arena *arena, const struct api_field *f, struct any_array *array,
                       int depth)
{
    struct api_field element = *f;
    element.shape = API_VALUE;
    array->count = random_below(r, 4);
    array->items = arena_alloc(arena, array->count * element_size(f));
    for (size_t i = 0; i < array->count; i++)
        fill_value(r, arena, &element, (char *)array->items + i * element_size(f), depth);
}

static void fill_map(struct random *r, struct arena *arena, const struct api_field *f, struct any_array *map)
{
    struct string_pair *strings_map;
    struct bytes_pair *bytes_map;
    map->count = random_below(r, 5);
    if (f->kind == API_BYTES) {
        map->items = bytes_map = arena_alloc(arena, map->count * sizeof(*bytes_map));
        for (size_t i = 0; i < map->count; i++)
            bytes_map[i] = (struct bytes_pair){arena_printf(arena, "key-%zu<\xc3\xa4", i), pick_bytes(r, arena)};
        return;
    }
    map->items = strings_map = arena_alloc(arena, map->count * sizeof(*strings_map));
    for (size_t i = 0; i < map->count; i++) {
        strings_map[i].key = arena_printf(arena, "example.com/key-%zu", i);
        fill_value(r, arena, f, (char *)&strings_map[i].value, 0);
    }
}

static void fill_struct(struct random *r, struct arena *arena, const struct api_type *type, char *value, int depth)
{
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct api_field *f = &type->fields[i];
        char *slot = value + f->offset;
        bool pointer = f->kind == API_STRUCT && f->shape != API_VALUE;
        if (random_below(r, 2) == 0 || (pointer && depth <= 0))
            continue;
        if (f->shape == API_ARRAY)
            fill_array(r, arena, f, (struct any_array *)slot, depth);
        else if (f->shape == API_MAP)
            fill_map(r, arena, f, (struct any_array *)slot);
        else
            fill_value(r, arena, f, slot, depth);
    }
}

void *random_value(struct random *r, struct arena *arena, const struct api_type *type, int depth)
{
    void *value = arena_alloc(arena, type->size);
    fill_struct(r, arena, type, value, depth);
    return value;
}
