/* As upstream's generated encoders: what is held by value is always written, what is a pointer if it is set. */
#include "protobuf_encode.h"

#include <string.h>

#include "base/timestamp.h"

void protobuf_put_varint(struct buffer *out, uint64_t value)
{
    do {
        buffer_add_char(out, (char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0)));
        value >>= 7;
    } while (value);
}

void protobuf_put_number(struct buffer *out, unsigned field, uint64_t value)
{
    protobuf_put_varint(out, field << 3);
    protobuf_put_varint(out, value);
}

void protobuf_put_bytes(struct buffer *out, unsigned field, const void *data, size_t size)
{
    protobuf_put_varint(out, field << 3 | 2);
    protobuf_put_varint(out, size);
    if (size)
        buffer_add(out, data, size);
}

static void put_text(struct buffer *out, unsigned field, const char *text)
{
    protobuf_put_bytes(out, field, text ? text : "", text ? strlen(text) : 0);
}

static void put_time(struct buffer *out, unsigned field, bool micro, int64_t instant)
{
    struct buffer message = {0};
    if (instant) {
        int64_t rest = (instant % SECOND + SECOND) % SECOND;
        protobuf_put_number(&message, 1, (uint64_t)((instant - rest) / SECOND));
        protobuf_put_number(&message, 2, micro ? (uint64_t)rest * 1000 : 0);
    }
    protobuf_put_bytes(out, field, message.data, message.size);
    buffer_free(&message);
}

/* A message with one string. */
static void put_wrapped(struct buffer *out, unsigned field, const char *text)
{
    struct buffer message = {0};
    put_text(&message, 1, text);
    protobuf_put_bytes(out, field, message.data, message.size);
    buffer_free(&message);
}

static void put_int_or_string(struct buffer *out, unsigned field, const struct int_or_string *value)
{
    struct buffer message = {0};
    protobuf_put_number(&message, 1, value->kind == INT_OR_STRING_STRING);
    protobuf_put_number(&message, 2, (uint64_t)(int64_t)value->number);
    put_text(&message, 3, value->kind == INT_OR_STRING_STRING ? value->text : "");
    protobuf_put_bytes(out, field, message.data, message.size);
    buffer_free(&message);
}

static void put_struct(struct buffer *out, unsigned field, const struct api_type *type, const void *value,
                       struct protobuf_style style)
{
    struct buffer message = {0};
    protobuf_encode(type, value, style, &message);
    protobuf_put_bytes(out, field, message.data, message.size);
    buffer_free(&message);
}

/* A value, or what a pointer that is set points to. */
static void put_value(struct buffer *out, unsigned field, const struct api_field *f, bool optional, const void *slot,
                      struct protobuf_style style)
{
    const char *text;
    uint64_t bits;
    switch ((enum api_kind)f->kind) {
    case API_STRING:
        put_text(out, field, *(const char *const *)slot);
        return;
    case API_BOOL:
        protobuf_put_number(out, field, optional ? ((const struct opt_bool *)slot)->value : *(const bool *)slot);
        return;
    case API_INT32:
        protobuf_put_number(out, field,
                            (uint64_t)(optional ? ((const struct opt_int32 *)slot)->value : *(const int32_t *)slot));
        return;
    case API_INT64:
        protobuf_put_number(out, field,
                            (uint64_t)(optional ? ((const struct opt_int64 *)slot)->value : *(const int64_t *)slot));
        return;
    case API_DOUBLE:
        memcpy(&bits, slot, sizeof(bits));
        protobuf_put_varint(out, field << 3 | 1);
        for (int i = 0; i < 8; i++)
            buffer_add_char(out, (char)(bits >> 8 * i));
        return;
    case API_TIME:
    case API_MICRO_TIME:
        put_time(out, field, f->kind == API_MICRO_TIME, *(const int64_t *)slot);
        return;
    case API_QUANTITY:
    case API_RAW:
        text = *(const char *const *)slot;
        put_wrapped(out, field, text ? text : f->kind == API_RAW ? "null" : "0");
        return;
    case API_INT_OR_STRING:
        put_int_or_string(out, field, slot);
        return;
    case API_BYTES:
        protobuf_put_bytes(out, field, ((const struct bytes *)slot)->data, ((const struct bytes *)slot)->size);
        return;
    case API_STRUCT:
        put_struct(out, field, f->type, optional ? *(const void *const *)slot : slot, style);
        return;
    }
}

static void put_map(struct buffer *out, unsigned field, const struct api_field *f, const struct any_array *map,
                    struct protobuf_style style)
{
    for (size_t n = 0; n < map->count; n++) {
        size_t i = style.backwards ? map->count - 1 - n : n;
        const struct string_pair *text = (const struct string_pair *)map->items + i;
        const struct bytes_pair *bytes = (const struct bytes_pair *)map->items + i;
        struct buffer entry = {0};
        put_text(&entry, 1, f->kind == API_BYTES ? bytes->key : text->key);
        put_value(&entry, 2, f, false, f->kind == API_BYTES ? (const void *)&bytes->value : &text->value, style);
        protobuf_put_bytes(out, field, entry.data, entry.size);
        buffer_free(&entry);
    }
}

static size_t element_size(const struct api_field *f)
{
    if (f->kind == API_STRUCT)
        return f->type->size;
    return f->kind == API_INT32 ? sizeof(int32_t) : f->kind == API_INT64 ? sizeof(int64_t) : sizeof(const char *);
}

static void put_array(struct buffer *out, unsigned field, const struct api_field *f, const struct any_array *array,
                      struct protobuf_style style)
{
    const char *items = array->items;
    if (!style.packed || (f->kind != API_INT32 && f->kind != API_INT64)) {
        for (size_t i = 0; i < array->count; i++)
            put_value(out, field, f, false, items + i * element_size(f), style);
        return;
    }
    struct buffer numbers = {0};
    for (size_t i = 0; i < array->count; i++)
        protobuf_put_varint(&numbers, (uint64_t)(f->kind == API_INT32 ? ((const int32_t *)array->items)[i]
                                                                      : ((const int64_t *)array->items)[i]));
    protobuf_put_bytes(out, field, numbers.data, numbers.size);
    buffer_free(&numbers);
}

static bool is_set(const struct api_field *f, const char *slot)
{
    switch ((enum api_kind)f->kind) {
    case API_BOOL:
        return ((const struct opt_bool *)slot)->set;
    case API_INT32:
        return ((const struct opt_int32 *)slot)->set;
    case API_INT64:
        return ((const struct opt_int64 *)slot)->set;
    case API_TIME:
    case API_MICRO_TIME:
        return *(const int64_t *)slot != 0;
    case API_INT_OR_STRING:
        return ((const struct int_or_string *)slot)->kind != INT_OR_STRING_UNSET;
    default:
        return *(const void *const *)slot;
    }
}

static void put_field(struct buffer *out, unsigned field, const struct api_field *f, const char *slot,
                      struct protobuf_style style)
{
    const struct any_array *array = (const struct any_array *)slot;
    bool pointer = f->shape == API_OPTIONAL || f->kind == API_RAW || f->kind == API_QUANTITY;
    if (f->shape == API_MAP)
        put_map(out, field, f, array, style);
    else if (f->shape == API_ARRAY)
        put_array(out, field, f, array, style);
    else if (!pointer || is_set(f, slot))
        put_value(out, field, f, f->shape == API_OPTIONAL, slot, style);
}

void protobuf_encode(const struct api_type *type, const void *value, struct protobuf_style style, struct buffer *out)
{
    struct buffer embedded[UINT8_MAX + 1] = {0};
    for (uint32_t n = 0; n < type->field_count; n++) {
        const struct api_field *f = &type->fields[style.backwards ? type->field_count - 1 - n : n];
        if (f->pb[1])
            put_field(&embedded[f->pb[0]], f->pb[1], f, (const char *)value + f->offset, style);
        else if (f->pb[0])
            put_field(out, f->pb[0], f, (const char *)value + f->offset, style);
    }
    for (unsigned i = 0; i <= UINT8_MAX; i++) {
        if (embedded[i].size)
            protobuf_put_bytes(out, i, embedded[i].data, embedded[i].size);
        buffer_free(&embedded[i]);
    }
}

void protobuf_encode_object(const struct api_type *type, const char *api_version, const char *kind, const void *value,
                            struct protobuf_style style, struct buffer *out)
{
    struct buffer names = {0}, message = {0};
    put_text(&names, 1, api_version);
    put_text(&names, 2, kind);
    protobuf_encode(type, value, style, &message);
    buffer_add(out, "k8s", 4);
    protobuf_put_bytes(out, 1, names.data, names.size);
    protobuf_put_bytes(out, 2, message.data, message.size);
    put_text(out, 3, "");
    put_text(out, 4, "");
    buffer_free(&names);
    buffer_free(&message);
}
