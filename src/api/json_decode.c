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
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/json_text.h"
#include "api/json_decode.h"
#include "api/quantity.h"
#include "api/walk.h"
#include "base/cleanup.h"
#include "base/encode.h"
#include "base/timestamp.h"

#define SCRATCH_FIRST 4096
#define FIELD_MAX 128
#define NUMBER_TOKEN_MAX 64

const max_align_t walk_empty_items = {0};

struct scratch_block {
    struct scratch_block *previous; /* NULL: the first, which lies on the stack */
    size_t size;
    size_t used;
    max_align_t data[];
};

/* An element of a list or map that is being read. */
struct element {
    struct element *next;
    max_align_t value[];
};

/* Where we are, innermost first: a field of a struct, an index in a list or a key of a map. */
struct frame {
    const struct frame *up;
    const struct api_type *type; /* of the struct that has the field; NULL: an index or a key */
    const char *name;            /* NULL: an index */
    size_t name_size;
    size_t index;
};

struct decoder {
    const char *p;
    const char *end;
    struct arena *arena;
    struct string_pool strings;
    struct json_report *report;
    int depth;
    bool failed;        /* what follows is set */
    struct error first; /* the first wrong type */
    struct error fatal; /* code 0: none, then a -1 means a syntax error */
    size_t memory;      /* of elements so far */
    struct scratch_block *scratch;
    struct buffer text; /* of the string that is being unescaped */
};

struct slice {
    const char *data;
    size_t size;
};

static void *scratch_take(struct decoder *d, size_t size)
{
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct scratch_block *b = d->scratch;
    if (b->size - b->used < size) {
        size_t want = b->size * 2 > size ? b->size * 2 : size;
        b = mem_alloc(sizeof(*b) + want);
        b->previous = d->scratch;
        b->size = want;
        b->used = 0;
        d->scratch = b;
    }
    void *p = (char *)b->data + b->used;
    b->used += size;
    return memset(p, 0, size);
}

/* Gives back everything taken since `used` of `block` was noted. */
static void scratch_release(struct decoder *d, const struct scratch_block *block, size_t used)
{
    while (d->scratch != block) {
        struct scratch_block *previous = d->scratch->previous;
        free(d->scratch);
        d->scratch = previous;
    }
    d->scratch->used = used;
}

static inline void skip_blanks(struct decoder *d)
{
    while (d->p < d->end && (*d->p == ' ' || *d->p == '\n' || *d->p == '\r' || *d->p == '\t'))
        d->p++;
}

static int syntax(void)
{
    return -1;
}

static int too_large(struct decoder *d)
{
    return error_set(&d->fatal, E2BIG, "the object takes more than %d MiB of memory", JSON_MEMORY_MAX >> 20);
}

static inline int enter(struct decoder *d)
{
    return ++d->depth > JSON_DEPTH_MAX ? syntax() : 0;
}

/* The string whose first byte, behind the quote, is d->p. The slice lies in the text or in d->text. */
static inline int read_string(struct decoder *d, struct slice *out)
{
    return json_read_string(&d->p, d->end, &d->text, &out->data, &out->size);
}

/* As read_string, for text that C strings have to hold. */
static int read_text(struct decoder *d, struct slice *out)
{
    if (read_string(d, out) < 0)
        return -1;
    if (out->data == d->text.data && memchr(out->data, 0, out->size))
        return error_set(&d->fatal, EINVAL, "strings with a NUL character are not supported");
    return 0;
}

static inline bool is_digit(const char *p, const char *end)
{
    return p < end && *p >= '0' && *p <= '9';
}

static int read_number(struct decoder *d, struct slice *out)
{
    const char *p = d->p;
    if (p < d->end && *p == '-')
        p++;
    if (!is_digit(p, d->end))
        return syntax();
    if (*p++ != '0')
        while (is_digit(p, d->end))
            p++;
    if (p < d->end && *p == '.') {
        p++;
        if (!is_digit(p, d->end))
            return syntax();
        while (is_digit(p, d->end))
            p++;
    }
    if (p < d->end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < d->end && (*p == '+' || *p == '-'))
            p++;
        if (!is_digit(p, d->end))
            return syntax();
        while (is_digit(p, d->end))
            p++;
    }
    *out = (struct slice){d->p, (size_t)(p - d->p)};
    d->p = p;
    return 0;
}

static int read_literal(struct decoder *d)
{
    static const char *const literals[] = {"true", "false", "null"};
    for (size_t i = 0; i < ARRAY_COUNT(literals); i++) {
        size_t n = strlen(literals[i]);
        if ((size_t)(d->end - d->p) >= n && memcmp(d->p, literals[i], n) == 0) {
            d->p += n;
            return 0;
        }
    }
    return syntax();
}

/* Passes over one value. */
static int skip_value(struct decoder *d)
{
    struct slice ignored;
    if (d->p >= d->end)
        return syntax();
    char open = *d->p;
    if (open == '"') {
        d->p++;
        return read_string(d, &ignored);
    }
    if (open == '-' || (open >= '0' && open <= '9'))
        return read_number(d, &ignored);
    if (open != '{' && open != '[')
        return read_literal(d);
    if (enter(d) < 0)
        return -1;
    char close = open == '{' ? '}' : ']';
    d->p++;
    skip_blanks(d);
    if (d->p < d->end && *d->p == close) {
        d->p++;
        d->depth--;
        return 0;
    }
    for (;;) {
        if (open == '{') {
            if (d->p >= d->end || *d->p++ != '"' || read_string(d, &ignored) < 0)
                return syntax();
            skip_blanks(d);
            if (d->p >= d->end || *d->p++ != ':')
                return syntax();
            skip_blanks(d);
        }
        if (skip_value(d) < 0)
            return -1;
        skip_blanks(d);
        if (d->p >= d->end)
            return syntax();
        char c = *d->p++;
        if (c == close)
            break;
        if (c != ',')
            return syntax();
        skip_blanks(d);
    }
    d->depth--;
    return 0;
}

/* What Go's decoder calls the value at d->p. */
static const char *token_name(const struct decoder *d)
{
    switch (d->p < d->end ? *d->p : 0) {
    case '"':
        return "string";
    case '{':
        return "object";
    case '[':
        return "array";
    case 't':
    case 'f':
        return "bool";
    default:
        return "number";
    }
}

/* "v1.PodSpec" of "io.k8s.api.core.v1.PodSpec". */
static const char *go_type_name(const struct api_type *type)
{
    const char *dots[2] = {type->openapi, type->openapi};
    for (const char *p = type->openapi; *p; p++) {
        if (*p == '.') {
            dots[0] = dots[1];
            dots[1] = p + 1;
        }
    }
    return dots[0];
}

static const char *go_kind_name(const struct api_field *f)
{
    static const char *const names[] = {
        [API_STRING] = "string",
        [API_BOOL] = "bool",
        [API_INT32] = "int32",
        [API_INT64] = "int64",
        [API_DOUBLE] = "float64",
        [API_TIME] = "v1.Time",
        [API_MICRO_TIME] = "v1.MicroTime",
        [API_QUANTITY] = "resource.Quantity",
        [API_INT_OR_STRING] = "int32",
        [API_BYTES] = "[]uint8",
        [API_RAW] = "v1.FieldsV1",
    };
    return f->kind == API_STRUCT ? go_type_name(f->type) : names[f->kind];
}

/* The path as Go's decoder gives it: names of fields only. Returns the innermost struct. */
static const struct api_type *go_path(const struct frame *at, struct buffer *path)
{
    const struct frame *fields[JSON_DEPTH_MAX + 1];
    size_t n = 0;
    for (; at && n < ARRAY_COUNT(fields); at = at->up)
        if (at->type)
            fields[n++] = at;
    const struct api_type *innermost = n ? fields[0]->type : NULL;
    for (; n; n--) {
        if (path->size)
            buffer_add_char(path, '.');
        buffer_add(path, fields[n - 1]->name, fields[n - 1]->name_size);
    }
    return innermost;
}

/* Remembers the wrong type unless there was one before. `whole`: the list or map is meant, not its element. */
static void wrong_type(struct decoder *d, const char *token, const struct api_field *f, bool whole,
                       const struct frame *at)
{
    if (d->failed)
        return;
    d->failed = true;
    cleanup_buffer struct buffer path = {0};
    const struct api_type *type = go_path(at, &path);
    const char *shape = whole && f->shape == API_ARRAY ? "[]" : whole && f->shape == API_MAP ? "map[string]" : "";
    const char *name = go_kind_name(f);
    if (whole && f->shape == API_MAP && f->kind == API_QUANTITY) {
        shape = "";
        name = "v1.ResourceList";
    }
    error_set(&d->first, EINVAL, "json: cannot unmarshal %s into Go struct field %s.%s of type %s%s", token,
              type ? type->name : "", path.data ? path.data : "", shape, name);
}

/* The value at d->p is of the wrong type: says so and passes over it. */
static int skip_wrong_type(struct decoder *d, const struct api_field *f, bool whole, const struct frame *at)
{
    wrong_type(d, token_name(d), f, whole, at);
    return skip_value(d);
}

/* Where an unmarshaler of its own wanted `wanted`, Go names no field, and decoding ends. */
static int wrong_for_unmarshaler(struct decoder *d, const char *token, const char *wanted)
{
    return error_set(&d->fatal, EINVAL, "json: cannot unmarshal %s into Go value of type %s", token, wanted);
}

/* Adds to the report: at + name, as sigs.k8s.io/json spells a path. */
static void report_problem(struct decoder *d, enum json_problem_kind kind, const struct frame *at, const char *name,
                           size_t name_size)
{
    struct json_report *r = d->report;
    if (!r)
        return;
    const struct frame *frames[2 * JSON_DEPTH_MAX + 2];
    size_t n = 0;
    for (; at && n < ARRAY_COUNT(frames); at = at->up)
        frames[n++] = at;
    cleanup_buffer struct buffer path = {0};
    for (; n; n--) {
        const struct frame *f = frames[n - 1];
        if (!f->name) {
            buffer_printf(&path, "[%zu]", f->index);
            continue;
        }
        if (path.size)
            buffer_add_char(&path, '.');
        buffer_add(&path, f->name, f->name_size);
    }
    if (path.size)
        buffer_add_char(&path, '.');
    buffer_add(&path, name, name_size);
    for (size_t i = 0; i < r->count; i++)
        if (r->items[i].kind == kind && strcmp(r->items[i].path, path.data) == 0)
            return;
    if (r->count == JSON_PROBLEM_MAX) {
        r->dropped++;
        return;
    }
    r->items[r->count++] = (struct json_problem){kind, arena_string_n(d->arena, path.data, path.size)};
}

/* An integer without fraction or exponent, within bounds. */
static bool parse_integer(struct slice s, int64_t min, int64_t max, int64_t *value)
{
    bool negative = s.data[0] == '-';
    uint64_t n = 0, limit = negative ? (uint64_t)0 - (uint64_t)min : (uint64_t)max;
    for (size_t i = negative; i < s.size; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || n > (UINT64_MAX - 9) / 10)
            return false;
        n = n * 10 + (uint64_t)(s.data[i] - '0');
    }
    if (n > limit)
        return false;
    *value = negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

/* "number 1e9", as Go names a number that does not fit; a long one is cut. */
static const char *number_token(struct slice s, char out[NUMBER_TOKEN_MAX])
{
    size_t room = NUMBER_TOKEN_MAX - sizeof("number ");
    snprintf(out, NUMBER_TOKEN_MAX, "number %.*s", (int)(s.size < room ? s.size : room), s.data);
    return out;
}

static int decode_integer(struct decoder *d, const struct api_field *f, bool optional, void *slot,
                          const struct frame *at)
{
    struct slice s;
    int64_t value;
    bool narrow = f->kind == API_INT32;
    char c = *d->p;
    if (c != '-' && (c < '0' || c > '9'))
        return skip_wrong_type(d, f, false, at);
    if (read_number(d, &s) < 0)
        return -1;
    if (!parse_integer(s, narrow ? INT32_MIN : INT64_MIN, narrow ? INT32_MAX : INT64_MAX, &value)) {
        char token[NUMBER_TOKEN_MAX];
        wrong_type(d, number_token(s, token), f, false, at);
        return 0;
    }
    if (narrow && optional)
        *(struct opt_int32 *)slot = opt_int32((int32_t)value);
    else if (narrow)
        *(int32_t *)slot = (int32_t)value;
    else if (optional)
        *(struct opt_int64 *)slot = opt_int64(value);
    else
        *(int64_t *)slot = value;
    return 0;
}

static int decode_double(struct decoder *d, const struct api_field *f, double *slot, const struct frame *at)
{
    struct slice s;
    char c = *d->p;
    if (c != '-' && (c < '0' || c > '9'))
        return skip_wrong_type(d, f, false, at);
    if (read_number(d, &s) < 0)
        return -1;
    buffer_clear(&d->text);
    buffer_add(&d->text, s.data, s.size);
    double value = strtod(d->text.data, NULL);
    if (isfinite(value)) {
        *slot = value;
    } else {
        char token[NUMBER_TOKEN_MAX];
        wrong_type(d, number_token(s, token), f, false, at);
    }
    return 0;
}

static int decode_bool(struct decoder *d, const struct api_field *f, bool optional, void *slot, const struct frame *at)
{
    char c = *d->p;
    if (c != 't' && c != 'f')
        return skip_wrong_type(d, f, false, at);
    if (read_literal(d) < 0)
        return -1;
    if (optional)
        *(struct opt_bool *)slot = opt_bool(c == 't');
    else
        *(bool *)slot = c == 't';
    return 0;
}

static int decode_string(struct decoder *d, const struct api_field *f, const char **slot, const struct frame *at)
{
    struct slice s;
    if (*d->p != '"')
        return skip_wrong_type(d, f, false, at);
    d->p++;
    if (read_text(d, &s) < 0)
        return -1;
    *slot = s.size ? string_pool_copy(&d->strings, s.data, s.size) : "";
    return 0;
}

static int decode_time(struct decoder *d, const struct api_field *f, int64_t *slot)
{
    struct slice s;
    if (*d->p != '"') {
        const char *token = token_name(d);
        return skip_value(d) < 0 ? -1 : wrong_for_unmarshaler(d, token, "string");
    }
    d->p++;
    if (read_text(d, &s) < 0)
        return -1;
    if (s.data != d->text.data) {
        buffer_clear(&d->text);
        buffer_add(&d->text, s.data, s.size);
    }
    return json_parse_time(d->text.data, f->kind == API_MICRO_TIME, slot, &d->fatal);
}

static int decode_quantity(struct decoder *d, const char **slot)
{
    const char *start = d->p;
    struct slice s;
    if (skip_value(d) < 0)
        return -1;
    s = (struct slice){start, (size_t)(d->p - start)};
    /* As upstream, the text between the quotes is not unescaped. */
    if (s.data[0] == '"')
        s = (struct slice){s.data + 1, s.size - 2};
    while (s.size && strchr(" \t\r\n\v\f", s.data[0]))
        s = (struct slice){s.data + 1, s.size - 1};
    while (s.size && strchr(" \t\r\n\v\f", s.data[s.size - 1]))
        s.size--;
    *slot = quantity_canonical(d->arena, s.data, s.size);
    return *slot ? 0 : error_set(&d->fatal, EINVAL, "%s", quantity_error(s.data, s.size));
}

static int decode_int_or_string(struct decoder *d, bool optional, struct int_or_string *slot)
{
    struct slice s;
    char c = *d->p;
    if (c == '"') {
        d->p++;
        if (read_text(d, &s) < 0)
            return -1;
        *slot =
            (struct int_or_string){.kind = INT_OR_STRING_STRING, .text = string_pool_copy(&d->strings, s.data, s.size)};
        return 0;
    }
    if (c != '-' && (c < '0' || c > '9')) {
        const char *token = token_name(d);
        return skip_value(d) < 0 ? -1 : wrong_for_unmarshaler(d, token, "int32");
    }
    int64_t value;
    if (read_number(d, &s) < 0)
        return -1;
    if (!parse_integer(s, INT32_MIN, INT32_MAX, &value)) {
        char token[NUMBER_TOKEN_MAX];
        return wrong_for_unmarshaler(d, number_token(s, token), "int32");
    }
    *slot = (struct int_or_string){0};
    if (value || optional)
        *slot = (struct int_or_string){.kind = INT_OR_STRING_INT, .number = (int32_t)value};
    return 0;
}

/* Where Go's decoder finds text that is not base64. */
static size_t base64_bad_at(const char *text, size_t n)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t have = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\r' || text[i] == '\n')
            continue;
        if (strchr(alphabet, text[i]) && text[i]) {
            have = (have + 1) % 4;
            continue;
        }
        if (text[i] != '=' || have < 2)
            return i;
        size_t next = i + 1;
        while (next < n && (text[next] == '\r' || text[next] == '\n'))
            next++;
        if (have == 3 || next == n)
            return next;
        if (text[next] != '=')
            return next - 1;
        next++;
        while (next < n && (text[next] == '\r' || text[next] == '\n'))
            next++;
        return next;
    }
    return n - have;
}

static int decode_bytes(struct decoder *d, const struct api_field *f, struct bytes *slot, const struct frame *at)
{
    struct slice s;
    if (*d->p != '"')
        return skip_wrong_type(d, f, false, at);
    d->p++;
    if (read_string(d, &s) < 0)
        return -1;
    unsigned char *data = arena_alloc(d->arena, s.size / 4 * 3 + 3);
    ssize_t n = base64_decode(s.data, s.size, data);
    if (n >= 0) {
        *slot = (struct bytes){data, (size_t)n};
    } else if (!d->failed) {
        d->failed = true;
        error_set(&d->first, EINVAL, "illegal base64 data at input byte %zu", base64_bad_at(s.data, s.size));
    }
    return 0;
}

/* Any JSON, kept without blanks and with the escapes that the encoder would write. */
static int decode_raw(struct decoder *d, const char **slot)
{
    const char *start = d->p;
    if (skip_value(d) < 0)
        return -1;
    buffer_clear(&d->text);
    bool quoted = false;
    for (const char *p = start; p < d->p; p++) {
        unsigned char c = (unsigned char)*p;
        if (!quoted && (c == ' ' || c == '\n' || c == '\r' || c == '\t'))
            continue;
        if (c == '<' || c == '>' || c == '&') {
            buffer_printf(&d->text, "\\u%04x", c);
            continue;
        }
        if (c >= 0x80) {
            size_t n = utf8_sequence(p, d->p);
            if (n == 3 && (memcmp(p, "\xe2\x80\xa8", 3) == 0 || memcmp(p, "\xe2\x80\xa9", 3) == 0))
                buffer_printf(&d->text, "\\u20%02x", (unsigned char)p[2] & 0x2f);
            else
                buffer_add(&d->text, n ? p : UTF8_REPLACEMENT, n ? n : 3);
            p += n ? n - 1 : 0;
            continue;
        }
        buffer_add_char(&d->text, (char)c);
        if (c == '"')
            quoted = !quoted;
        else if (c == '\\')
            buffer_add_char(&d->text, *++p);
    }
    *slot = arena_string_n(d->arena, d->text.data, d->text.size);
    return 0;
}

static int decode_struct(struct decoder *d, const struct api_type *type, char *value, const struct frame *at);

/* One value of the field's kind, not null. */
static int decode_value(struct decoder *d, const struct api_field *f, bool optional, void *slot, const struct frame *at)
{
    switch ((enum api_kind)f->kind) {
    case API_STRING:
        return decode_string(d, f, slot, at);
    case API_BOOL:
        return decode_bool(d, f, optional, slot, at);
    case API_INT32:
    case API_INT64:
        return decode_integer(d, f, optional, slot, at);
    case API_DOUBLE:
        return decode_double(d, f, slot, at);
    case API_TIME:
    case API_MICRO_TIME:
        return decode_time(d, f, slot);
    case API_QUANTITY:
        return decode_quantity(d, slot);
    case API_INT_OR_STRING:
        return decode_int_or_string(d, optional, slot);
    case API_BYTES:
        return decode_bytes(d, f, slot, at);
    case API_RAW:
        return decode_raw(d, slot);
    case API_STRUCT:
        break;
    }
    if (*d->p != '{')
        return skip_wrong_type(d, f, false, at);
    void **pointer = slot;
    if (optional && !*pointer)
        *pointer = arena_alloc(d->arena, f->type->size);
    return decode_struct(d, f->type, optional ? *pointer : slot, at);
}

static int decode_null(struct decoder *d)
{
    if (d->end - d->p < 4 || memcmp(d->p, "null", 4) != 0)
        return syntax();
    d->p += 4;
    return 0;
}

/* A zeroed element behind *tail, within the limit on memory; NULL with d->fatal set beyond it. */
static void *element_new(struct decoder *d, struct element ***tail, size_t size)
{
    d->memory += size;
    if (d->memory > JSON_MEMORY_MAX) {
        too_large(d);
        return NULL;
    }
    struct element *e = scratch_take(d, sizeof(*e) + size);
    **tail = e;
    *tail = &e->next;
    return e->value;
}

/* The elements side by side in the arena. */
static void *elements_join(struct decoder *d, const struct element *first, size_t count, size_t size)
{
    if (!count)
        return (void *)(uintptr_t)&walk_empty_items;
    char *items = arena_alloc(d->arena, count * size);
    for (size_t i = 0; i < count; i++, first = first->next)
        memcpy(items + i * size, first->value, size);
    return items;
}

/* Behind a member of a list or object: 1 there is another one, which d->p points to, 0 this was the last, -1. */
static inline int next_member(struct decoder *d, char close)
{
    skip_blanks(d);
    if (d->p >= d->end)
        return syntax();
    char c = *d->p++;
    if (c == close)
        return 0;
    if (c != ',')
        return syntax();
    skip_blanks(d);
    return 1;
}

/* Enters a list or object; 1 there is a member, which d->p points to, 0 it is empty, -1. */
static inline int first_member(struct decoder *d, char close)
{
    if (enter(d) < 0)
        return -1;
    d->p++;
    skip_blanks(d);
    if (d->p < d->end && *d->p == close) {
        d->p++;
        return 0;
    }
    return 1;
}

static int decode_array(struct decoder *d, const struct api_field *f, struct any_array *slot, const struct frame *at)
{
    if (*d->p != '[')
        return skip_wrong_type(d, f, true, at);
    struct scratch_block *block = d->scratch;
    size_t used = block->used;
    struct element *first = NULL, **tail = &first;
    struct frame here = {.up = at};
    size_t size = walk_element_size(f);
    int more = first_member(d, ']');
    for (; more > 0; here.index++) {
        void *value = element_new(d, &tail, size);
        if (!value || d->p >= d->end)
            return -1;
        if (*d->p == 'n' ? decode_null(d) < 0 : decode_value(d, f, false, value, &here) < 0)
            return -1;
        if (f->kind == API_STRING && !*(const char **)value)
            *(const char **)value = "";
        more = next_member(d, ']');
    }
    if (more < 0)
        return -1;
    d->depth--;
    *slot = (struct any_array){elements_join(d, first, here.index, size), here.index};
    scratch_release(d, block, used);
    return 0;
}

/* A pair of any map while it is read. */
struct map_entry {
    size_t index; /* order in the text */
    union {
        const char *key;
        struct string_pair string;
        struct bytes_pair bytes;
    };
};

static int compare_entries(const void *a, const void *b)
{
    const struct map_entry *x = *(const struct map_entry *const *)a, *y = *(const struct map_entry *const *)b;
    int order = strcmp(x->key, y->key);
    return order ? order : x->index < y->index ? -1 : 1;
}

/* Sorts the entries by key; of equal keys the last stays, and each other one of this text is reported.
 * Returns how many are left. */
static size_t sort_entries(struct decoder *d, struct map_entry **entries, size_t count, size_t old,
                           const struct frame *at)
{
    qsort(entries, count, sizeof(*entries), compare_entries);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && strcmp(entries[i]->key, entries[i + 1]->key) == 0) {
            if (entries[i]->index >= old)
                report_problem(d, JSON_DUPLICATE_FIELD, at, entries[i]->key, strlen(entries[i]->key));
            continue;
        }
        entries[kept++] = entries[i];
    }
    return kept;
}

static int decode_map_entry(struct decoder *d, const struct api_field *f, struct map_entry *entry,
                            const struct frame *at)
{
    struct slice key;
    if (d->p >= d->end || *d->p != '"')
        return syntax();
    d->p++;
    if (read_text(d, &key) < 0)
        return -1;
    entry->key = string_pool_copy(&d->strings, key.data, key.size);
    struct frame here = {.up = at, .name = entry->key, .name_size = key.size};
    skip_blanks(d);
    if (d->p >= d->end || *d->p++ != ':')
        return syntax();
    skip_blanks(d);
    if (d->p >= d->end)
        return syntax();
    bool null = *d->p == 'n';
    if (null && decode_null(d) < 0)
        return -1;
    if (f->kind == API_BYTES)
        return null ? 0 : decode_bytes(d, f, &entry->bytes.value, &here);
    if (f->kind == API_QUANTITY) {
        entry->string.value = "0";
        return null ? 0 : decode_quantity(d, &entry->string.value);
    }
    entry->string.value = "";
    return null ? 0 : decode_string(d, f, &entry->string.value, &here);
}

static int decode_map(struct decoder *d, const struct api_field *f, struct any_array *slot, const struct frame *at)
{
    if (*d->p != '{')
        return skip_wrong_type(d, f, true, at);
    struct scratch_block *block = d->scratch;
    size_t used = block->used;
    size_t size = f->kind == API_BYTES ? sizeof(struct bytes_pair) : sizeof(struct string_pair);
    struct element *first = NULL, **tail = &first;
    size_t count = 0, old = slot->count;
    bool sorted = true;
    const char *last = NULL;
    /* A map that is given twice: the second on top of the first. */
    for (; count < old; count++) {
        struct map_entry *entry = element_new(d, &tail, sizeof(*entry));
        if (!entry)
            return -1;
        entry->index = count;
        memcpy(&entry->key, (const char *)slot->items + count * size, size);
        last = entry->key;
    }
    int more = first_member(d, '}');
    for (; more > 0; count++) {
        struct map_entry *entry = element_new(d, &tail, sizeof(*entry));
        if (!entry)
            return -1;
        entry->index = count;
        if (decode_map_entry(d, f, entry, at) < 0)
            return -1;
        sorted = sorted && (!last || strcmp(last, entry->key) < 0);
        last = entry->key;
        more = next_member(d, '}');
    }
    if (more < 0)
        return -1;
    d->depth--;
    struct map_entry **entries = count ? scratch_take(d, count * sizeof(struct map_entry *)) : NULL;
    for (size_t i = 0; i < count; i++, first = first->next)
        entries[i] = (struct map_entry *)first->value;
    if (!sorted)
        count = sort_entries(d, entries, count, old, at);
    char *items = count ? arena_alloc(d->arena, count * size) : (void *)(uintptr_t)&walk_empty_items;
    for (size_t i = 0; i < count; i++)
        memcpy(items + i * size, &entries[i]->key, size);
    *slot = (struct any_array){items, count};
    scratch_release(d, block, used);
    return 0;
}

static int decode_field(struct decoder *d, const struct api_field *f, char *slot, const struct frame *at)
{
    if (d->p >= d->end)
        return syntax();
    if (*d->p == 'n') {
        bool keeps = f->shape == API_VALUE && (f->kind == API_STRING || f->kind == API_BOOL || f->kind == API_INT32 ||
                                               f->kind == API_INT64 || f->kind == API_DOUBLE || f->kind == API_STRUCT);
        if (!keeps)
            memset(slot, 0, walk_slot_size(f));
        return decode_null(d);
    }
    if (f->shape == API_ARRAY)
        return decode_array(d, f, (struct any_array *)slot, at);
    if (f->shape == API_MAP)
        return decode_map(d, f, (struct any_array *)slot, at);
    return decode_value(d, f, f->shape == API_OPTIONAL, slot, at);
}

/* The field of that name; *guess is where to look first, and becomes the place behind the field. */
static const struct api_field *find_field(const struct api_type *type, struct slice name, uint32_t *guess)
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
static int read_key(struct decoder *d, struct slice *key)
{
    if (d->p >= d->end || *d->p != '"')
        return syntax();
    d->p++;
    if (read_string(d, key) < 0)
        return -1;
    if (key->data == d->text.data)
        key->data = string_pool_copy(&d->strings, key->data, key->size);
    skip_blanks(d);
    if (d->p >= d->end || *d->p++ != ':')
        return syntax();
    skip_blanks(d);
    return 0;
}

static int decode_struct(struct decoder *d, const struct api_type *type, char *value, const struct frame *at)
{
    uint64_t seen[FIELD_MAX / 64] = {0};
    uint32_t guess = 0;
    int more = first_member(d, '}');
    while (more > 0) {
        struct slice key;
        if (read_key(d, &key) < 0)
            return -1;
        const struct api_field *f = find_field(type, key, &guess);
        if (f) {
            size_t i = (size_t)(f - type->fields);
            if (seen[i / 64] >> (i % 64) & 1)
                report_problem(d, JSON_DUPLICATE_FIELD, at, key.data, key.size);
            seen[i / 64] |= UINT64_C(1) << (i % 64);
            struct frame here = {.up = at, .type = type, .name = f->name, .name_size = f->name_size};
            if (decode_field(d, f, value + f->offset, &here) < 0)
                return -1;
        } else {
            report_problem(d, JSON_UNKNOWN_FIELD, at, key.data, key.size);
            if (skip_value(d) < 0)
                return -1;
        }
        more = next_member(d, '}');
    }
    d->depth--;
    return more;
}

static int decode_root(struct decoder *d, const struct api_type *type, const struct api_field *f, char *value)
{
    skip_blanks(d);
    if (d->p >= d->end)
        return syntax();
    if (f) {
        struct frame here = {.type = type, .name = f->name, .name_size = f->name_size};
        if (decode_field(d, f, value, &here) < 0)
            return -1;
    } else if (*d->p == '{') {
        if (decode_struct(d, type, value, NULL) < 0)
            return -1;
    } else if (*d->p == 'n') {
        if (decode_null(d) < 0)
            return -1;
    } else {
        d->failed = true;
        error_set(&d->first, EINVAL, "json: cannot unmarshal %s into Go value of type %s", token_name(d),
                  go_type_name(type));
        if (skip_value(d) < 0)
            return -1;
    }
    skip_blanks(d);
    return d->p == d->end ? 0 : syntax();
}

static int decode(const struct api_type *type, const struct api_field *f, struct arena *arena, const char *json,
                  size_t size, void *value, struct json_report *report, struct error *err)
{
    max_align_t memory[SCRATCH_FIRST / sizeof(max_align_t)];
    struct scratch_block *scratch = (struct scratch_block *)memory;
    *scratch = (struct scratch_block){.size = sizeof(memory) - sizeof(*scratch)};
    struct decoder d = {.p = json, .end = json + size, .arena = arena, .report = report, .scratch = scratch};
    d.strings.arena = arena;
    int r = decode_root(&d, type, f, value);
    scratch_release(&d, scratch, 0);
    buffer_free(&d.text);
    if (r == 0 && !d.failed)
        return 0;
    if (json_check_syntax(json, size, err) < 0)
        return -1;
    const struct error *e = d.fatal.code ? &d.fatal : &d.first;
    return error_set(err, e->code ? e->code : EBADMSG, "%s", e->code ? e->text : "invalid JSON");
}

int json_decode(const struct api_type *type, struct arena *arena, const char *json, size_t size, void *value,
                struct json_report *report, struct error *err)
{
    return decode(type, NULL, arena, json, size, value, report, err);
}

int json_decode_field(const struct api_type *type, const struct api_field *field, struct arena *arena, const char *json,
                      size_t size, void *slot, struct error *err)
{
    return decode(type, field, arena, json, size, slot, NULL, err);
}
