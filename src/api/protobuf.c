/* Protobuf into C structs, driven by the descriptors.
 *
 * A message is read twice: first its tags only, to count the elements of each list and map, which may come in any
 * order and mixed; then their values, into memory of the right size. Where upstream embeds a message whose fields JSON
 * has in line, those fields are read into the struct that holds them: `embedded` is the number of that message. */
#include "api/protobuf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/epoch.h"
#include "api/json_decode.h"
#include "api/json_text.h"
#include "api/protobuf_wire.h"
#include "api/quantity.h"
#include "api/walk.h"
#include "base/cleanup.h"
#include "base/timestamp.h"

/* How the body of a request begins, with its NUL. */
#define PREFIX "k8s"

struct decoder {
    struct arena *arena;
    struct string_pool strings;
    size_t memory; /* of structs, lists and maps so far */
    int depth;
    struct error *err;
};

static int decode_message(struct decoder *d, const struct api_type *type, int embedded, char *value, struct wire in);

static int take(struct decoder *d, size_t size)
{
    d->memory += size;
    if (d->memory > JSON_MEMORY_MAX)
        return error_set(d->err, E2BIG, "the object takes more than %d MiB of memory", JSON_MEMORY_MAX >> 20);
    return 0;
}

static size_t pair_size(const struct api_field *f)
{
    return f->kind == API_BYTES ? sizeof(struct bytes_pair) : sizeof(struct string_pair);
}

/* ---- Scalars ---- */

static const char *copy_text(struct decoder *d, const char *text, size_t size)
{
    const char *end = text + size, *p = text;
    size_t n;
    while (p < end && (n = utf8_sequence(p, end)))
        p += n;
    if (p >= end)
        return size ? string_pool_copy(&d->strings, text, size) : "";
    cleanup_buffer struct buffer repaired = {0};
    for (p = text; p < end; p += n ? n : 1) {
        n = utf8_sequence(p, end);
        buffer_add(&repaired, n ? p : UTF8_REPLACEMENT, n ? n : strlen(UTF8_REPLACEMENT));
    }
    return string_pool_copy(&d->strings, repaired.data, repaired.size);
}

static int decode_text(struct decoder *d, struct wire in, const char **slot)
{
    if (memchr(in.p, 0, wire_left(&in)))
        return error_set(d->err, EINVAL, "strings with a NUL character are not supported");
    *slot = copy_text(d, (const char *)in.p, wire_left(&in));
    return 0;
}

static int decode_string(struct decoder *d, const char **slot, struct wire *wire)
{
    struct wire text;
    return wire_read_bytes(wire, &text, d->err) < 0 ? -1 : decode_text(d, text, slot);
}

/* The members of the small messages that stand for one scalar. */
struct member {
    const char *name;
    enum wire_type type;
};

/* Reads a message whose fields are members[0] (number 1) and so on. A varint is stored in numbers[i], bytes in
 * texts[i]; what is not given stays. */
static int read_members(struct decoder *d, struct wire in, const char *message, const struct member *members,
                        size_t count, uint64_t *numbers, struct wire *texts)
{
    while (in.p < in.end) {
        struct wire_tag tag;
        if (wire_read_tag(&in, &tag, message, d->err) < 0)
            return -1;
        size_t i = (size_t)tag.number - 1;
        if (i >= count) {
            if (wire_skip(&in, &tag, d->err) < 0)
                return -1;
            continue;
        }
        if (tag.type != members[i].type)
            return wire_wrong_type(&tag, members[i].name, d->err);
        int r = tag.type == WIRE_VARINT ? wire_read_varint(&in, &numbers[i], d->err)
                                        : wire_read_bytes(&in, &texts[i], d->err);
        if (r < 0)
            return -1;
    }
    return 0;
}

/* As metav1.Time.Unmarshal: whole seconds; MicroTime keeps microseconds. */
static int decode_time(struct decoder *d, struct wire in, bool micro, int64_t *slot)
{
    static const struct member members[] = {{"seconds", WIRE_VARINT}, {"nanos", WIRE_VARINT}};
    uint64_t numbers[ARRAY_COUNT(members)] = {0};
    struct wire none[ARRAY_COUNT(members)];
    bool empty = in.p == in.end;
    if (read_members(d, in, "Timestamp", members, ARRAY_COUNT(members), numbers, none) < 0)
        return -1;
    int64_t seconds = (int64_t)numbers[0], nanos = micro ? (int32_t)numbers[1] : 0;
    if (empty) {
        *slot = 0;
        return 0;
    }
    if (seconds < TIME_MIN / SECOND || seconds > TIME_MAX / SECOND || nanos < 0 || nanos >= 1000000000)
        return error_set(d->err, EINVAL, TIME_OUT_OF_RANGE);
    *slot = seconds || micro ? seconds * SECOND + nanos / 1000 : TIME_EPOCH;
    if (*slot == TIME_GO_ZERO)
        *slot = 0;
    return 0;
}

static int decode_quantity(struct decoder *d, struct wire in, const char **slot)
{
    static const struct member members[] = {{"string", WIRE_BYTES}};
    struct wire text = {0};
    if (read_members(d, in, "Quantity", members, ARRAY_COUNT(members), NULL, &text) < 0)
        return -1;
    const char *p = (const char *)text.p;
    *slot = p ? quantity_canonical(d->arena, p, wire_left(&text)) : "0";
    return *slot ? 0 : error_set(d->err, EINVAL, "%s", quantity_error(p, wire_left(&text)));
}

static int decode_int_or_string(struct decoder *d, struct wire in, bool optional, struct int_or_string *slot)
{
    static const struct member members[] = {{"type", WIRE_VARINT}, {"intVal", WIRE_VARINT}, {"strVal", WIRE_BYTES}};
    uint64_t numbers[ARRAY_COUNT(members)] = {0};
    struct wire texts[ARRAY_COUNT(members)] = {0};
    if (read_members(d, in, "IntOrString", members, ARRAY_COUNT(members), numbers, texts) < 0)
        return -1;
    *slot = (struct int_or_string){0};
    if (numbers[0] > 1)
        return error_set(d->err, EINVAL, "impossible IntOrString.Type");
    if (numbers[0] == 1) {
        slot->kind = INT_OR_STRING_STRING;
        slot->text = "";
        return texts[2].p ? decode_text(d, texts[2], &slot->text) : 0;
    }
    if ((int32_t)numbers[1] || optional)
        *slot = (struct int_or_string){.kind = INT_OR_STRING_INT, .number = (int32_t)numbers[1]};
    return 0;
}

/* JSON text inside the message. */
static int decode_raw(struct decoder *d, const struct api_type *type, const struct api_field *f, struct wire in,
                      const char **slot)
{
    static const struct member members[] = {{"raw", WIRE_BYTES}};
    struct wire text = {0};
    if (read_members(d, in, f->name, members, ARRAY_COUNT(members), NULL, &text) < 0)
        return -1;
    if (wire_left(&text) &&
        json_decode_field(type, f, d->arena, (const char *)text.p, wire_left(&text), slot, d->err) < 0)
        return error_set(d->err, EINVAL, "%s: not valid JSON", f->name);
    return 0;
}

static void store_integer(const struct api_field *f, bool optional, uint64_t v, void *slot)
{
    if (f->kind == API_BOOL && optional)
        *(struct opt_bool *)slot = opt_bool(v != 0);
    else if (f->kind == API_BOOL)
        *(bool *)slot = v != 0;
    else if (f->kind == API_INT32 && optional)
        *(struct opt_int32 *)slot = opt_int32((int32_t)v);
    else if (f->kind == API_INT32)
        *(int32_t *)slot = (int32_t)v;
    else if (optional)
        *(struct opt_int64 *)slot = opt_int64((int64_t)v);
    else
        *(int64_t *)slot = (int64_t)v;
}

/* ---- Values ---- */

static enum wire_type wire_type_of(const struct api_field *f)
{
    switch ((enum api_kind)f->kind) {
    case API_BOOL:
    case API_INT32:
    case API_INT64:
        return WIRE_VARINT;
    case API_DOUBLE:
        return WIRE_FIXED64;
    default:
        return WIRE_BYTES;
    }
}

static int decode_struct(struct decoder *d, const struct api_field *f, bool optional, void *slot, struct wire in)
{
    void **pointer = slot;
    if (optional && !*pointer) {
        if (take(d, f->type->size) < 0)
            return -1;
        *pointer = arena_alloc(d->arena, f->type->size);
    }
    return decode_message(d, f->type, 0, optional ? *pointer : slot, in);
}

/* One value of the field's kind, whose wire type is right. */
static int decode_value(struct decoder *d, const struct api_type *type, const struct api_field *f, bool optional,
                        void *slot, struct wire *wire)
{
    uint64_t number;
    struct wire in;
    if (wire_type_of(f) == WIRE_VARINT) {
        if (wire_read_varint(wire, &number, d->err) < 0)
            return -1;
        store_integer(f, optional, number, slot);
        return 0;
    }
    if (f->kind == API_DOUBLE) {
        if (wire_read_fixed64(wire, &number, d->err) < 0)
            return -1;
        memcpy(slot, &number, sizeof(double));
        return 0;
    }
    if (wire_read_bytes(wire, &in, d->err) < 0)
        return -1;
    switch ((enum api_kind)f->kind) {
    case API_STRING:
        return decode_text(d, in, slot);
    case API_TIME:
    case API_MICRO_TIME:
        return decode_time(d, in, f->kind == API_MICRO_TIME, slot);
    case API_QUANTITY:
        return decode_quantity(d, in, slot);
    case API_INT_OR_STRING:
        return decode_int_or_string(d, in, optional, slot);
    case API_BYTES:
        *(struct bytes *)slot = (struct bytes){arena_copy(d->arena, in.p, wire_left(&in)), wire_left(&in)};
        return 0;
    case API_RAW:
        return decode_raw(d, type, f, in, slot);
    case API_STRUCT:
        return decode_struct(d, f, optional, slot, in);
    case API_BOOL:
    case API_INT32:
    case API_INT64:
    case API_DOUBLE:
        break;
    }
    return -1;
}

/* ---- Maps: entries {1: key, 2: value} ---- */

static int decode_map_entry(struct decoder *d, const struct api_type *type, const struct api_field *f, char *pair,
                            struct wire *wire)
{
    struct wire in;
    const char **key = (const char **)pair;
    void *value =
        pair + (f->kind == API_BYTES ? offsetof(struct bytes_pair, value) : offsetof(struct string_pair, value));
    *key = "";
    if (f->kind != API_BYTES)
        *(const char **)value = f->kind == API_QUANTITY ? "0" : "";
    if (wire_read_bytes(wire, &in, d->err) < 0)
        return -1;
    while (in.p < in.end) {
        struct wire_tag tag;
        if (wire_read_tag(&in, &tag, type->name, d->err) < 0)
            return -1;
        if (tag.number > 2) {
            if (wire_skip(&in, &tag, d->err) < 0)
                return -1;
            continue;
        }
        if (tag.type != WIRE_BYTES)
            return wire_wrong_type(&tag, f->name, d->err);
        int r = tag.number == 1 ? decode_string(d, key, &in) : decode_value(d, type, f, false, value, &in);
        if (r < 0)
            return -1;
    }
    return 0;
}

struct map_entry {
    const char *key;
    size_t index; /* order in the message */
};

static int compare_entries(const void *a, const void *b)
{
    const struct map_entry *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : x->index < y->index ? -1 : 1;
}

/* Sorts the pairs by key; of equal keys the last stays. */
static int sort_map(struct decoder *d, const struct api_field *f, struct any_array *map)
{
    size_t size = pair_size(f), kept = 0;
    const char *items = map->items;
    bool sorted = true;
    for (size_t i = 1; i < map->count && sorted; i++)
        sorted = strcmp(*(const char *const *)(items + (i - 1) * size), *(const char *const *)(items + i * size)) < 0;
    if (sorted)
        return 0;
    if (take(d, map->count * size) < 0)
        return -1;
    char *out = arena_alloc(d->arena, map->count * size);
    cleanup_free struct map_entry *entries = mem_alloc(map->count * sizeof(*entries));
    for (size_t i = 0; i < map->count; i++)
        entries[i] = (struct map_entry){*(const char *const *)(items + i * size), i};
    qsort(entries, map->count, sizeof(*entries), compare_entries);
    for (size_t i = 0; i < map->count; i++)
        if (i + 1 == map->count || strcmp(entries[i].key, entries[i + 1].key) != 0)
            memcpy(out + kept++ * size, items + entries[i].index * size, size);
    *map = (struct any_array){out, kept};
    return 0;
}

/* ---- Messages ---- */

/* The field of that number; outside of an embedded message also a field of the message that has it. */
static const struct api_field *find_field(const struct api_type *type, int embedded, int number)
{
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct api_field *f = &type->fields[i];
        if (embedded ? f->pb[0] == embedded && f->pb[1] == number : f->pb[0] == number)
            return f;
    }
    return NULL;
}

/* Whether the number meant an embedded message rather than the field. */
static bool is_embedded(const struct api_field *f, int embedded)
{
    return f->pb[1] && !embedded;
}

/* Integers of a list may come one by one or side by side. */
static bool is_packed(const struct api_field *f, const struct wire_tag *tag)
{
    return f->shape == API_ARRAY && wire_type_of(f) == WIRE_VARINT && tag->type == WIRE_BYTES;
}

/* Adds to counts[i] how many elements of fields[i] the message has. */
static int count_elements(struct decoder *d, const struct api_type *type, int embedded, struct wire in, size_t *counts)
{
    while (in.p < in.end) {
        struct wire_tag tag;
        if (wire_read_tag(&in, &tag, type->name, d->err) < 0)
            return -1;
        const struct api_field *f = find_field(type, embedded, tag.number);
        if (f && is_embedded(f, embedded))
            f = NULL;
        if (f && is_packed(f, &tag)) {
            struct wire packed;
            if (wire_read_bytes(&in, &packed, d->err) < 0)
                return -1;
            for (; packed.p < packed.end; packed.p++)
                counts[f - type->fields] += *packed.p < 0x80;
            continue;
        }
        if (f && (f->shape == API_ARRAY || f->shape == API_MAP))
            counts[f - type->fields]++;
        if (wire_skip(&in, &tag, d->err) < 0)
            return -1;
    }
    return 0;
}

/* Room for the counted elements behind those that an earlier part of the message gave. */
static int make_room(struct decoder *d, const struct api_type *type, char *value, const size_t *counts)
{
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct api_field *f = &type->fields[i];
        if (!counts[i])
            continue;
        struct any_array *array = (struct any_array *)(value + f->offset);
        size_t size = f->shape == API_MAP ? pair_size(f) : walk_element_size(f);
        if (take(d, (array->count + counts[i]) * size) < 0)
            return -1;
        array->items = arena_array_grow(d->arena, array->items, array->count, counts[i], size);
    }
    return 0;
}

static int decode_packed(struct decoder *d, const struct api_field *f, struct any_array *array, struct wire *wire)
{
    struct wire packed;
    if (wire_read_bytes(wire, &packed, d->err) < 0)
        return -1;
    while (packed.p < packed.end) {
        uint64_t number;
        if (wire_read_varint(&packed, &number, d->err) < 0)
            return -1;
        store_integer(f, false, number, (char *)array->items + array->count++ * walk_element_size(f));
    }
    return 0;
}

static int decode_field(struct decoder *d, const struct api_type *type, const struct api_field *f,
                        const struct wire_tag *tag, char *slot, struct wire *wire)
{
    struct any_array *array = (struct any_array *)slot;
    if (is_packed(f, tag))
        return decode_packed(d, f, array, wire);
    if (tag->type != wire_type_of(f))
        return wire_wrong_type(tag, f->name, d->err);
    if (f->shape == API_MAP)
        return decode_map_entry(d, type, f, (char *)array->items + array->count++ * pair_size(f), wire);
    if (f->shape == API_ARRAY)
        slot = (char *)array->items + array->count++ * walk_element_size(f);
    return decode_value(d, type, f, f->shape == API_OPTIONAL, slot, wire);
}

static int decode_fields(struct decoder *d, const struct api_type *type, int embedded, char *value, struct wire in)
{
    while (in.p < in.end) {
        struct wire_tag tag;
        struct wire inner;
        if (wire_read_tag(&in, &tag, type->name, d->err) < 0)
            return -1;
        const struct api_field *f = find_field(type, embedded, tag.number);
        int r;
        if (!f)
            r = wire_skip(&in, &tag, d->err);
        else if (!is_embedded(f, embedded))
            r = decode_field(d, type, f, &tag, value + f->offset, &in);
        else if (tag.type != WIRE_BYTES)
            r = wire_wrong_type(&tag, type->name, d->err);
        else
            r = wire_read_bytes(&in, &inner, d->err) < 0 ? -1 : decode_message(d, type, tag.number, value, inner);
        if (r < 0)
            return -1;
    }
    return 0;
}

/* A message of the type, or, of number `embedded`, one that is embedded in it, on top of what the value has. */
static int decode_message(struct decoder *d, const struct api_type *type, int embedded, char *value, struct wire in)
{
    size_t counts[JSON_FIELD_MAX] = {0};
    if (++d->depth > JSON_DEPTH_MAX)
        return error_set(d->err, EINVAL, "exceeded max depth");
    if (count_elements(d, type, embedded, in, counts) < 0 || make_room(d, type, value, counts) < 0 ||
        decode_fields(d, type, embedded, value, in) < 0)
        return -1;
    for (uint32_t i = 0; i < type->field_count; i++)
        if (counts[i] && type->fields[i].shape == API_MAP &&
            sort_map(d, &type->fields[i], (struct any_array *)(value + type->fields[i].offset)) < 0)
            return -1;
    d->depth--;
    return 0;
}

static struct wire wire_of(const void *data, size_t size)
{
    const unsigned char *p = data ? data : (const unsigned char *)"";
    return (struct wire){p, p + size};
}

int protobuf_decode(const struct api_type *type, struct arena *arena, const void *data, size_t size, void *value,
                    struct error *err)
{
    struct error ignored;
    struct decoder d = {.arena = arena, .strings = {.arena = arena}, .err = err ? err : &ignored};
    return decode_message(&d, type, 0, value, wire_of(data, size));
}

/* ---- The envelope ---- */

struct envelope {
    struct wire api_version;
    struct wire kind;
    struct wire raw;
};

/* runtime.Unknown{typeMeta{apiVersion, kind}, raw, contentEncoding, contentType}; the last two say nothing. */
static int read_envelope(struct decoder *d, struct wire in, struct envelope *envelope)
{
    static const struct member unknown[] = {
        {"typeMeta", WIRE_BYTES}, {"raw", WIRE_BYTES}, {"contentEncoding", WIRE_BYTES}, {"contentType", WIRE_BYTES}};
    static const struct member type_meta[] = {{"APIVersion", WIRE_BYTES}, {"kind", WIRE_BYTES}};
    struct wire parts[ARRAY_COUNT(unknown)] = {0}, names[ARRAY_COUNT(type_meta)] = {0};
    size_t prefix = strlen(PREFIX) + 1;
    if (in.p == in.end)
        return error_set(d->err, EINVAL, "empty data");
    if (wire_left(&in) < prefix || memcmp(in.p, PREFIX, prefix) != 0)
        return error_set(d->err, EINVAL,
                         "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
    in.p += prefix;
    if (in.p == in.end)
        return error_set(d->err, EINVAL, "empty body");
    if (read_members(d, in, "Unknown", unknown, ARRAY_COUNT(unknown), NULL, parts) < 0 ||
        read_members(d, parts[0], "TypeMeta", type_meta, ARRAY_COUNT(type_meta), NULL, names) < 0)
        return -1;
    *envelope = (struct envelope){.api_version = names[0], .kind = names[1], .raw = parts[1]};
    return 0;
}

static int set_name(struct decoder *d, const struct api_type *type, const char *field, struct wire name, char *value)
{
    const struct api_field *f = api_type_field(type, field, strlen(field));
    return f && name.p ? decode_text(d, name, (const char **)(value + f->offset)) : 0;
}

int protobuf_decode_object(const struct api_type *type, struct arena *arena, const void *data, size_t size, void *value,
                           struct error *err)
{
    struct error why;
    struct decoder d = {.arena = arena, .strings = {.arena = arena}, .err = &why};
    struct envelope envelope;
    if (read_envelope(&d, wire_of(data, size), &envelope) < 0 ||
        set_name(&d, type, "apiVersion", envelope.api_version, value) < 0 ||
        set_name(&d, type, "kind", envelope.kind, value) < 0)
        return error_set(err, EBADMSG, "%s", why.text);
    size_t kind = wire_left(&envelope.kind);
    if (kind && (kind != strlen(type->name) || memcmp(envelope.kind.p, type->name, kind) != 0))
        return 0;
    return protobuf_decode(type, arena, envelope.raw.p, wire_left(&envelope.raw), value, err);
}
