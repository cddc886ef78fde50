/* JSON into C structs, driven by the descriptors, in one pass.
 *
 * The decoder behaves as sigs.k8s.io/json does: field names are case-sensitive, null leaves a value as it is and
 * unsets a pointer, list or map, bad UTF-8 in strings becomes U+FFFD, a repeated key of a struct or map goes on
 * top of the first. A wrong type is remembered (the first one is the error in the end) and decoding goes on; text
 * that a quantity, time or int-or-string cannot read ends it at once; a syntax error anywhere comes before both,
 * because upstream checks the syntax of the whole text first. We look at the syntax only where decoding failed.
 *
 * The fields of most objects come in the order of the description, so the field behind the last one is tried
 * first. Elements of lists are collected in scratch memory, whose blocks never move, and copied once their number
 * is known. */
#include "api/json.h"

#include <errno.h>
#include <stdlib.h>

#include "api/json_decode.h"
#include "api/json_decoder.h"
#include "api/walk.h"

#define SCRATCH_FIRST 4096

const max_align_t walk_empty_items = {0};

static int decode_struct(struct json_decoder *d, const struct api_type *type, char *value, const struct json_frame *at);

/* One value of the field's kind, not null. */
static int decode_value(struct json_decoder *d, const struct api_field *f, bool optional, void *slot,
                        const struct json_frame *at)
{
    if (f->kind != API_STRUCT)
        return json_decode_scalar(d, f, optional, slot, at);
    if (*d->p != '{')
        return json_skip_wrong_type(d, f, false, at);
    void **pointer = slot;
    if (optional && !*pointer)
        *pointer = arena_alloc(d->arena, f->type->size);
    return decode_struct(d, f->type, optional ? *pointer : slot, at);
}

/* The elements side by side in the arena. */
static void *elements_join(struct json_decoder *d, const struct json_element *first, size_t count, size_t size)
{
    if (!count)
        return (void *)(uintptr_t)&walk_empty_items;
    char *items = arena_alloc(d->arena, count * size);
    for (size_t i = 0; i < count; i++, first = first->next)
        memcpy(items + i * size, first->value, size);
    return items;
}

static int decode_array(struct json_decoder *d, const struct api_field *f, struct any_array *slot,
                        const struct json_frame *at)
{
    if (*d->p != '[')
        return json_skip_wrong_type(d, f, true, at);
    struct json_scratch *block = d->scratch;
    size_t used = block->used;
    struct json_element *first = NULL, **tail = &first;
    struct json_frame here = {.up = at};
    size_t size = walk_element_size(f);
    int more = json_first_member(d, ']');
    for (; more > 0; here.index++) {
        void *value = json_element_new(d, &tail, size);
        if (!value || d->p >= d->end)
            return -1;
        if (*d->p == 'n' ? json_decode_null(d) < 0 : decode_value(d, f, false, value, &here) < 0)
            return -1;
        if (f->kind == API_STRING && !*(const char **)value)
            *(const char **)value = "";
        more = json_next_member(d, ']');
    }
    if (more < 0)
        return -1;
    d->depth--;
    *slot = (struct any_array){elements_join(d, first, here.index, size), here.index};
    json_scratch_release(d, block, used);
    return 0;
}

static int decode_field(struct json_decoder *d, const struct api_field *f, char *slot, const struct json_frame *at)
{
    if (d->p >= d->end)
        return json_syntax();
    if (*d->p == 'n') {
        bool keeps = f->shape == API_VALUE && (f->kind == API_STRING || f->kind == API_BOOL || f->kind == API_INT32 ||
                                               f->kind == API_INT64 || f->kind == API_DOUBLE || f->kind == API_STRUCT);
        if (!keeps)
            memset(slot, 0, walk_slot_size(f));
        return json_decode_null(d);
    }
    if (f->shape == API_ARRAY)
        return decode_array(d, f, (struct any_array *)slot, at);
    if (f->shape == API_MAP)
        return json_decode_map(d, f, (struct any_array *)slot, at);
    return decode_value(d, f, f->shape == API_OPTIONAL, slot, at);
}

/* The field of that name; *guess is where to look first, and becomes the place behind the field. */
static const struct api_field *find_field(const struct api_type *type, struct json_slice name, uint32_t *guess)
{
    for (uint32_t n = 0, i = *guess; n < type->field_count; n++, i++) {
        if (i >= type->field_count)
            i = 0;
        const struct api_field *f = &type->fields[i];
        if (f->name_size == name.size && memcmp(f->name, name.data, name.size) == 0) {
            *guess = i + 1;
            return f;
        }
    }
    return NULL;
}

/* A key in d->text would not outlive the value behind it, so it moves to the strings. */
static int read_key(struct json_decoder *d, struct json_slice *key)
{
    if (d->p >= d->end || *d->p != '"')
        return json_syntax();
    d->p++;
    if (json_decoder_string(d, key) < 0)
        return -1;
    if (key->data == d->text.data)
        key->data = string_pool_copy(&d->strings, key->data, key->size);
    json_skip_blanks(d);
    if (d->p >= d->end || *d->p++ != ':')
        return json_syntax();
    json_skip_blanks(d);
    return 0;
}

static int decode_struct(struct json_decoder *d, const struct api_type *type, char *value, const struct json_frame *at)
{
    uint64_t seen[JSON_FIELD_MAX / 64] = {0};
    uint32_t guess = 0;
    int more = json_first_member(d, '}');
    while (more > 0) {
        struct json_slice key;
        if (read_key(d, &key) < 0)
            return -1;
        const struct api_field *f = find_field(type, key, &guess);
        if (f) {
            size_t i = (size_t)(f - type->fields);
            if (seen[i / 64] >> (i % 64) & 1)
                json_report_problem(d, JSON_DUPLICATE_FIELD, at, key.data, key.size);
            seen[i / 64] |= UINT64_C(1) << (i % 64);
            struct json_frame here = {.up = at, .type = type, .name = f->name, .name_size = f->name_size};
            if (decode_field(d, f, value + f->offset, &here) < 0)
                return -1;
        } else {
            json_report_problem(d, JSON_UNKNOWN_FIELD, at, key.data, key.size);
            if (json_skip_value(d) < 0)
                return -1;
        }
        more = json_next_member(d, '}');
    }
    d->depth--;
    return more;
}

static int decode_root(struct json_decoder *d, const struct api_type *type, const struct api_field *f, char *value)
{
    json_skip_blanks(d);
    if (d->p >= d->end)
        return json_syntax();
    if (f) {
        struct json_frame here = {.type = type, .name = f->name, .name_size = f->name_size};
        if (decode_field(d, f, value, &here) < 0)
            return -1;
    } else if (*d->p == '{') {
        if (decode_struct(d, type, value, NULL) < 0)
            return -1;
    } else if (*d->p == 'n') {
        if (json_decode_null(d) < 0)
            return -1;
    } else {
        d->failed = true;
        error_set(&d->first, EINVAL, "json: cannot unmarshal %s into Go value of type %s", json_token_name(d),
                  json_go_type_name(type));
        if (json_skip_value(d) < 0)
            return -1;
    }
    json_skip_blanks(d);
    return d->p == d->end ? 0 : json_syntax();
}

/* Of a decoder that has its text, its arena and its limit; `f` if the text is the value of one field. */
static int decode(struct json_decoder *d, const struct api_type *type, const struct api_field *f, void *value,
                  struct error *err)
{
    const char *json = d->p;
    max_align_t memory[SCRATCH_FIRST / sizeof(max_align_t)];
    struct json_scratch *scratch = (struct json_scratch *)memory;
    *scratch = (struct json_scratch){.size = sizeof(memory) - sizeof(*scratch)};
    d->scratch = scratch;
    d->strings.arena = d->arena;
    int r = decode_root(d, type, f, value);
    json_scratch_release(d, scratch, 0);
    buffer_free(&d->text);
    if (r == 0 && !d->failed)
        return 0;
    if (json_check_syntax(json, (size_t)(d->end - json), err) < 0)
        return -1;
    const struct error *e = d->fatal.code ? &d->fatal : &d->first;
    return error_set(err, e->code ? e->code : EBADMSG, "%s", e->code ? e->text : "invalid JSON");
}

int json_decode(const struct api_type *type, struct arena *arena, const char *json, size_t size, void *value,
                struct json_report *report, struct error *err)
{
    struct json_decoder d = {
        .p = json, .end = json + size, .arena = arena, .report = report, .memory_max = JSON_MEMORY_MAX};
    return decode(&d, type, NULL, value, err);
}

int json_decode_stored(const struct api_type *type, struct arena *arena, const char *json, size_t size, void *value,
                       struct error *err)
{
    struct json_decoder d = {.p = json, .end = json + size, .arena = arena, .memory_max = SIZE_MAX};
    return decode(&d, type, NULL, value, err);
}

int json_decode_field(const struct api_type *type, const struct api_field *field, struct arena *arena, const char *json,
                      size_t size, void *slot, struct error *err)
{
    struct json_decoder d = {.p = json, .end = json + size, .arena = arena, .memory_max = JSON_MEMORY_MAX};
    return decode(&d, type, field, slot, err);
}
