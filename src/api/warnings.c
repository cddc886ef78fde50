/* Walks a value along its description and names the inert fields that are set. */
#include "api/warnings.h"

#include <stdio.h>
#include <string.h>

#include "api/field_error.h"
#include "api/json.h"
#include "base/buffer.h"

/* The field alone as JSON, through a value in which nothing else is set; "" when it is unset. */
static void field_json(const struct api_field *f, const void *value, struct buffer *out)
{
    struct api_field alone = *f;
    alone.flags &= (uint16_t)~(API_REQUIRED | API_ALWAYS);
    const struct api_type one = {.fields = &alone, .field_count = 1};
    json_encode(&one, value, out);
    size_t prefix = strlen(f->name) + strlen("{\"\":");
    if (out->size <= prefix + 1) {
        buffer_clear(out);
        return;
    }
    buffer_consume(out, prefix);
    out->data[--out->size] = 0;
}

/* Whether a field's JSON is its default or one of its harmless values. */
static bool is_harmless(const struct api_field *f, const char *json)
{
    if (f->default_json && strcmp(json, f->default_json) == 0)
        return true;
    size_t n = strlen(json);
    if (n >= 2 && json[0] == '"') {
        json++;
        n -= 2;
    }
    for (const char *const *h = f->harmless; h && *h; h++)
        if (strlen(*h) == n && memcmp(*h, json, n) == 0)
            return true;
    return false;
}

static void warn(const struct api_field *f, const struct api_path *path, const void *value, const void *old,
                 struct api_warnings *warnings)
{
    cleanup_buffer struct buffer json = {0}, before = {0}, text = {0};
    field_json(f, value, &json);
    if (!json.size || is_harmless(f, json.data))
        return;
    if (old) {
        field_json(f, old, &before);
        if (before.size == json.size && memcmp(before.data, json.data, json.size) == 0)
            return;
    }
    api_path_write(path, &text);
    buffer_printf(&text, ": stored, but without effect: %s", f->inert);
    warnings->items = arena_array_extend(warnings->arena, warnings->items, warnings->count, sizeof(*warnings->items));
    warnings->items[warnings->count++] = arena_string_n(warnings->arena, text.data, text.size);
}

static void walk(const struct api_type *type, const struct api_path *path, const void *value, const void *old,
                 struct api_warnings *warnings);

static void walk_field(const struct api_field *f, const struct api_path *path, const void *value, const void *old,
                       struct api_warnings *warnings)
{
    const char *at = (const char *)value + f->offset, *before = old ? (const char *)old + f->offset : NULL;
    if (f->shape == API_ARRAY) {
        const struct any_array *array = (const void *)at, *old_array = (const void *)before;
        for (size_t i = 0; i < array->count; i++) {
            const char *item = (const char *)array->items + i * f->type->size;
            const char *other = old_array && i < old_array->count ? (const char *)old_array->items + i * f->type->size
                                                                  : NULL;
            walk(f->type, PATH_INDEX(path, i), item, other, warnings);
        }
    } else if (f->shape == API_OPTIONAL) {
        const void *inner = *(void *const *)(const void *)at;
        if (inner)
            walk(f->type, path, inner, before ? *(void *const *)(const void *)before : NULL, warnings);
    } else {
        walk(f->type, path, at, before, warnings);
    }
}

static void walk(const struct api_type *type, const struct api_path *path, const void *value, const void *old,
                 struct api_warnings *warnings)
{
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct api_field *f = &type->fields[i];
        const struct api_path *here = PATH(path, f->name);
        if (f->inert)
            warn(f, here, value, old, warnings);
        else if (f->kind == API_STRUCT)
            walk_field(f, here, value, old, warnings);
    }
}

void api_warn_inert(const struct api_type *type, const void *value, const void *old, struct api_warnings *warnings)
{
    walk(type, NULL, value, old, warnings);
}
