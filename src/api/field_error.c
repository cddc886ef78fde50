/* Lists of validation errors: paths, titles and the way values appear in messages. */
#include "api/field_error.h"

#include <stdio.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/text.h"

static const struct {
    const char *reason;
    const char *title;
} types[] = {
    [FIELD_NOT_FOUND] = {"FieldValueNotFound", "Not found"},
    [FIELD_REQUIRED] = {"FieldValueRequired", "Required value"},
    [FIELD_DUPLICATE] = {"FieldValueDuplicate", "Duplicate value"},
    [FIELD_INVALID] = {"FieldValueInvalid", "Invalid value"},
    [FIELD_NOT_SUPPORTED] = {"FieldValueNotSupported", "Unsupported value"},
    [FIELD_FORBIDDEN] = {"FieldValueForbidden", "Forbidden"},
    [FIELD_TOO_LONG] = {"FieldValueTooLong", "Too long"},
    [FIELD_TOO_MANY] = {"FieldValueTooMany", "Too many"},
    [FIELD_INTERNAL] = {"InternalError", "Internal error"},
    [FIELD_TYPE_INVALID] = {"FieldValueTypeInvalid", "Invalid value"},
};

const char *api_field_error_reason(enum api_field_error_type type)
{
    return types[type].reason;
}

const char *api_field_error_title(enum api_field_error_type type)
{
    return types[type].title;
}

void api_path_write(const struct api_path *path, struct buffer *out)
{
    if (!path) {
        buffer_add_string(out, "<nil>");
        return;
    }
    if (path->parent)
        api_path_write(path->parent, out);
    if (!text_empty(path->name))
        buffer_printf(out, "%s%s", path->parent ? "." : "", path->name);
    else if (path->name || path->key)
        buffer_printf(out, "[%s]", text_or_empty(path->key)); /* what has no name is "[]", as upstream writes it */
    else
        buffer_printf(out, "[%zu]", path->index);
}

void go_quote(struct buffer *out, const char *text)
{
    static const char escapes[] = "\aa\bb\ff\nn\rr\tt\vv\"\"\\\\";
    buffer_add_char(out, '"');
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        const char *escape = NULL;
        for (const char *e = escapes; *e && !escape; e += 2)
            if (*c == (unsigned char)*e)
                escape = e + 1;
        if (escape)
            buffer_printf(out, "\\%c", *escape);
        else if (*c < 0x20 || *c == 0x7f)
            buffer_printf(out, "\\x%02x", *c);
        else
            buffer_add_char(out, (char)*c);
    }
    buffer_add_char(out, '"');
}

bool field_errors_full(const struct api_field_errors *errors)
{
    return errors->count == API_FIELD_ERROR_MAX || errors->text_size >= API_FIELD_TEXT_MAX;
}

/* `shown` is the value as it appears in the message, NULL for the types that show none. */
static void add(struct api_field_errors *errors, enum api_field_error_type type, const struct api_path *path,
                const char *shown, const char *detail)
{
    if (field_errors_full(errors)) {
        errors->dropped++;
        return;
    }
    if (errors->count == errors->capacity) {
        size_t room = errors->capacity ? errors->capacity : 8;
        errors->items =
            arena_array_grow(errors->arena, errors->items, errors->count, room, sizeof(*errors->items));
        errors->capacity += room;
    }
    cleanup_buffer struct buffer text = {0};
    api_path_write(path, &text);
    struct api_field_error *e = &errors->items[errors->count++];
    e->type = type;
    e->field = arena_string_n(errors->arena, text.data, text.size);
    buffer_clear(&text);
    buffer_add_string(&text, types[type].title);
    if (shown && strlen(shown) > API_FIELD_SHOWN_MAX)
        buffer_printf(&text, ": %.*s...", API_FIELD_SHOWN_MAX, shown);
    else if (shown)
        buffer_printf(&text, ": %s", shown);
    if (detail && *detail)
        buffer_printf(&text, ": %s", detail);
    e->detail = arena_string_n(errors->arena, text.data, text.size);
    errors->text_size += text.size;
}

static void add_quoted(struct api_field_errors *errors, enum api_field_error_type type, const struct api_path *path,
                       const char *value, const char *detail)
{
    cleanup_buffer struct buffer shown = {0};
    if (!field_errors_full(errors))
        go_quote(&shown, value ? value : "");
    add(errors, type, path, shown.data, detail);
}

void field_required(struct api_field_errors *errors, const struct api_path *path, const char *detail)
{
    add(errors, FIELD_REQUIRED, path, NULL, detail);
}

void field_forbidden(struct api_field_errors *errors, const struct api_path *path, const char *detail)
{
    add(errors, FIELD_FORBIDDEN, path, NULL, detail);
}

void field_invalid(struct api_field_errors *errors, const struct api_path *path, const char *value,
                   const char *detail)
{
    add_quoted(errors, FIELD_INVALID, path, value, detail);
}

void field_invalid_int(struct api_field_errors *errors, const struct api_path *path, int64_t value,
                       const char *detail)
{
    char shown[24];
    snprintf(shown, sizeof(shown), "%lld", (long long)value);
    add(errors, FIELD_INVALID, path, shown, detail);
}

void field_invalid_bool(struct api_field_errors *errors, const struct api_path *path, bool value, const char *detail)
{
    add(errors, FIELD_INVALID, path, value ? "true" : "false", detail);
}

void field_invalid_json(struct api_field_errors *errors, const struct api_path *path, const char *json,
                        const char *detail)
{
    add(errors, FIELD_INVALID, path, json, detail);
}

void field_invalid_struct(struct api_field_errors *errors, const struct api_path *path, const struct api_type *type,
                          const void *value, const char *detail)
{
    cleanup_buffer struct buffer json = {0};
    if (value && !field_errors_full(errors))
        json_encode(type, value, &json);
    add(errors, FIELD_INVALID, path, json.data ? json.data : FIELD_NULL_JSON, detail);
}

void field_invalid_map(struct api_field_errors *errors, const struct api_path *path, const struct string_map *map,
                       const char *detail)
{
    cleanup_buffer struct buffer json = {0};
    for (size_t i = 0; i < map->count && json.size < API_FIELD_SHOWN_MAX; i++) {
        buffer_add_char(&json, i ? ',' : '{');
        json_encode_string(&json, map->items[i].key);
        buffer_add_char(&json, ':');
        json_encode_string(&json, map->items[i].value ? map->items[i].value : "");
    }
    buffer_add_string(&json, map->count ? "}" : map->items ? "{}" : "null");
    add(errors, FIELD_INVALID, path, json.data, detail);
}

void field_invalid_strings(struct api_field_errors *errors, const struct api_path *path,
                           const struct string_array *array, const char *detail)
{
    cleanup_buffer struct buffer json = {0};
    for (size_t i = 0; i < array->count && json.size < API_FIELD_SHOWN_MAX; i++) {
        buffer_add_char(&json, i ? ',' : '[');
        json_encode_string(&json, array->items[i] ? array->items[i] : "");
    }
    buffer_add_string(&json, array->count ? "]" : array->items ? "[]" : "null");
    add(errors, FIELD_INVALID, path, json.data, detail);
}

void field_duplicate(struct api_field_errors *errors, const struct api_path *path, const char *value)
{
    add_quoted(errors, FIELD_DUPLICATE, path, value, NULL);
}

void field_duplicate_json(struct api_field_errors *errors, const struct api_path *path, const char *json)
{
    add(errors, FIELD_DUPLICATE, path, json, NULL);
}

void field_duplicate_struct(struct api_field_errors *errors, const struct api_path *path, const struct api_type *type,
                            const void *value, const char *detail)
{
    cleanup_buffer struct buffer json = {0};
    if (!field_errors_full(errors))
        json_encode(type, value, &json);
    add(errors, FIELD_DUPLICATE, path, json.data, detail);
}

void field_not_supported_json(struct api_field_errors *errors, const struct api_path *path, const char *json,
                              const char *const *supported)
{
    cleanup_buffer struct buffer detail = {0};
    for (size_t i = 0; supported[i]; i++) {
        buffer_add_string(&detail, i ? ", " : "supported values: ");
        go_quote(&detail, supported[i]);
    }
    add(errors, FIELD_NOT_SUPPORTED, path, json, detail.data);
}

void field_not_supported(struct api_field_errors *errors, const struct api_path *path, const char *value,
                         const char *const *supported)
{
    cleanup_buffer struct buffer shown = {0};
    go_quote(&shown, value ? value : "");
    field_not_supported_json(errors, path, shown.data, supported);
}

void field_not_found(struct api_field_errors *errors, const struct api_path *path, const char *value)
{
    add_quoted(errors, FIELD_NOT_FOUND, path, value, NULL);
}

void field_too_long(struct api_field_errors *errors, const struct api_path *path, int max_bytes)
{
    char detail[64];
    snprintf(detail, sizeof(detail), "may not be more than %d bytes", max_bytes);
    add(errors, FIELD_TOO_LONG, path, NULL, detail);
}

void field_too_many(struct api_field_errors *errors, const struct api_path *path, int count, int max)
{
    char shown[24], detail[64];
    snprintf(shown, sizeof(shown), "%d", count);
    snprintf(detail, sizeof(detail), "must have at most %d item%s", max, max == 1 ? "" : "s");
    add(errors, FIELD_TOO_MANY, path, shown, detail);
}
