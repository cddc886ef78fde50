/* Deep copy, deep equality and declared defaults of values, driven by the descriptors. */
#include <assert.h>

#include "api/json.h"
#include "api/json_decode.h"
#include "api/json_text.h"
#include "api/quantity.h"
#include "api/walk.h"
#include "base/text.h"

struct copier {
    struct arena *arena;
    struct string_pool strings;
};

static const char *copy_string(struct copier *c, const char *text)
{
    if (!text || !*text)
        return text ? "" : NULL;
    return string_pool_copy(&c->strings, text, strlen(text));
}

static void copy_bytes(struct copier *c, struct bytes *bytes)
{
    if (bytes->data)
        bytes->data = arena_copy(c->arena, bytes->data, bytes->size);
}

static void copy_struct(struct copier *c, const struct api_type *type, char *value);

/* Replaces what a value points to, which is another's, by a copy. */
static void copy_value(struct copier *c, const struct api_field *f, bool optional, char *slot)
{
    switch ((enum api_kind)f->kind) {
    case API_STRING:
    case API_QUANTITY:
    case API_RAW:
        *(const char **)slot = copy_string(c, *(const char **)slot);
        break;
    case API_INT_OR_STRING:
        ((struct int_or_string *)slot)->text = copy_string(c, ((struct int_or_string *)slot)->text);
        break;
    case API_BYTES:
        copy_bytes(c, (struct bytes *)slot);
        break;
    case API_STRUCT:
        if (!optional) {
            copy_struct(c, f->type, slot);
        } else if (*(void **)slot) {
            *(void **)slot = arena_copy(c->arena, *(void **)slot, f->type->size);
            copy_struct(c, f->type, *(void **)slot);
        }
        break;
    case API_BOOL:
    case API_INT32:
    case API_INT64:
    case API_DOUBLE:
    case API_TIME:
    case API_MICRO_TIME:
        break;
    }
}

static void copy_array(struct copier *c, const struct api_field *f, struct any_array *array)
{
    size_t size = walk_element_size(f);
    if (!array->count) {
        array->items = array->items ? (void *)(uintptr_t)&walk_empty_items : NULL;
        return;
    }
    array->items = arena_copy(c->arena, array->items, array->count * size);
    for (size_t i = 0; i < array->count; i++)
        copy_value(c, f, false, (char *)array->items + i * size);
}

static void copy_map(struct copier *c, const struct api_field *f, struct any_array *map)
{
    size_t size = f->kind == API_BYTES ? sizeof(struct bytes_pair) : sizeof(struct string_pair);
    if (!map->count) {
        map->items = map->items ? (void *)(uintptr_t)&walk_empty_items : NULL;
        return;
    }
    map->items = arena_copy(c->arena, map->items, map->count * size);
    for (size_t i = 0; i < map->count; i++) {
        if (f->kind == API_BYTES) {
            struct bytes_pair *pair = (struct bytes_pair *)map->items + i;
            pair->key = copy_string(c, pair->key);
            copy_bytes(c, &pair->value);
        } else {
            struct string_pair *pair = (struct string_pair *)map->items + i;
            pair->key = copy_string(c, pair->key);
            pair->value = copy_string(c, pair->value);
        }
    }
}

static void copy_struct(struct copier *c, const struct api_type *type, char *value)
{
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct api_field *f = &type->fields[i];
        char *slot = value + f->offset;
        if (f->shape == API_ARRAY)
            copy_array(c, f, (struct any_array *)slot);
        else if (f->shape == API_MAP)
            copy_map(c, f, (struct any_array *)slot);
        else
            copy_value(c, f, f->shape == API_OPTIONAL, slot);
    }
}

void api_copy_into(struct arena *arena, const struct api_type *type, const void *value, void *to)
{
    struct copier c = {.arena = arena, .strings = {.arena = arena}};
    if (to != value)
        memcpy(to, value, type->size);
    copy_struct(&c, type, to);
}

void *api_copy(struct arena *arena, const struct api_type *type, const void *value)
{
    void *to = arena_alloc(arena, type->size);
    api_copy_into(arena, type, value, to);
    return to;
}

static bool equal_bytes(const struct bytes *a, const struct bytes *b)
{
    return a->size == b->size && (!a->size || memcmp(a->data, b->data, a->size) == 0);
}

static bool equal_int_or_string(const struct int_or_string *a, const struct int_or_string *b)
{
    bool text = a->kind == INT_OR_STRING_STRING;
    if (text != (b->kind == INT_OR_STRING_STRING))
        return false;
    return text ? text_equal(a->text, b->text) : a->number == b->number;
}

/* Two values that are both set, or, where nothing tells the unset one, any. */
static bool equal_values(const struct api_field *f, bool optional, const char *a, const char *b)
{
    switch ((enum api_kind)f->kind) {
    case API_STRING:
    case API_RAW:
        return text_equal(*(const char *const *)a, *(const char *const *)b);
    case API_QUANTITY:
        return quantity_compare(*(const char *const *)a, *(const char *const *)b) == 0;
    case API_BOOL:
        return optional ? ((const struct opt_bool *)a)->value == ((const struct opt_bool *)b)->value
                        : *(const bool *)a == *(const bool *)b;
    case API_INT32:
        return optional ? ((const struct opt_int32 *)a)->value == ((const struct opt_int32 *)b)->value
                        : *(const int32_t *)a == *(const int32_t *)b;
    case API_INT64:
        return optional ? ((const struct opt_int64 *)a)->value == ((const struct opt_int64 *)b)->value
                        : *(const int64_t *)a == *(const int64_t *)b;
    case API_TIME:
    case API_MICRO_TIME:
        return *(const int64_t *)a == *(const int64_t *)b;
    case API_DOUBLE:
        return *(const double *)a == *(const double *)b;
    case API_INT_OR_STRING:
        return equal_int_or_string((const struct int_or_string *)a, (const struct int_or_string *)b);
    case API_BYTES:
        return equal_bytes((const struct bytes *)a, (const struct bytes *)b);
    case API_STRUCT:
        break;
    }
    return api_equal(f->type, optional ? *(const void *const *)a : a, optional ? *(const void *const *)b : b);
}

static bool equal_arrays(const struct api_field *f, const struct any_array *a, const struct any_array *b)
{
    size_t size = walk_element_size(f);
    if (a->count != b->count)
        return false;
    for (size_t i = 0; a->items != b->items && i < a->count; i++)
        if (!equal_values(f, false, (const char *)a->items + i * size, (const char *)b->items + i * size))
            return false;
    return true;
}

static bool equal_maps(const struct api_field *f, const struct any_array *a, const struct any_array *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; a->items != b->items && i < a->count; i++) {
        if (f->kind == API_BYTES) {
            const struct bytes_pair *x = (const struct bytes_pair *)a->items + i;
            const struct bytes_pair *y = (const struct bytes_pair *)b->items + i;
            if (strcmp(x->key, y->key) != 0 || !equal_bytes(&x->value, &y->value))
                return false;
        } else {
            const struct string_pair *x = (const struct string_pair *)a->items + i;
            const struct string_pair *y = (const struct string_pair *)b->items + i;
            if (strcmp(x->key, y->key) != 0 ||
                !equal_values(f, false, (const char *)&x->value, (const char *)&y->value))
                return false;
        }
    }
    return true;
}

bool api_equal(const struct api_type *type, const void *a, const void *b)
{
    if (a == b)
        return true;
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct api_field *f = &type->fields[i];
        const char *x = (const char *)a + f->offset, *y = (const char *)b + f->offset;
        bool optional = f->shape == API_OPTIONAL;
        bool same;
        if (f->shape == API_ARRAY)
            same = equal_arrays(f, (const struct any_array *)x, (const struct any_array *)y);
        else if (f->shape == API_MAP)
            same = equal_maps(f, (const struct any_array *)x, (const struct any_array *)y);
        else if (optional && walk_is_unset(f, x) != walk_is_unset(f, y))
            same = false;
        else
            same = (optional && walk_is_unset(f, x)) || equal_values(f, optional, x, y);
        if (!same)
            return false;
    }
    return true;
}

static void set_default(struct arena *arena, const struct api_type *type, const struct api_field *f, char *slot)
{
    /* A description that holds a default which does not fit its field is a bug of the description. */
    struct error err = {0};
    int r = json_decode_field(type, f, arena, f->default_json, strlen(f->default_json), slot, &err);
    assert(r == 0 && "the default of a field fits it");
    (void)r;
}

void api_set_declared_defaults(struct arena *arena, const struct api_type *type, void *value)
{
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct api_field *f = &type->fields[i];
        char *slot = (char *)value + f->offset;
        if (f->default_json && walk_is_unset(f, slot))
            set_default(arena, type, f, slot);
        if (f->kind != API_STRUCT)
            continue;
        if (f->shape == API_VALUE)
            api_set_declared_defaults(arena, f->type, slot);
        else if (f->shape == API_OPTIONAL && *(void **)slot)
            api_set_declared_defaults(arena, f->type, *(void **)slot);
        else if (f->shape == API_ARRAY)
            for (size_t n = 0; n < ((struct any_array *)slot)->count; n++)
                api_set_declared_defaults(arena, f->type,
                                          (char *)((struct any_array *)slot)->items + n * f->type->size);
    }
}
