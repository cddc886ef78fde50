/* C structs into JSON, driven by the descriptors: what is written and what is left out is what Go's encoder
 * does with upstream's tags. */
#include "api/json.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/json_text.h"
#include "api/walk.h"
#include "base/encode.h"
#include "base/timestamp.h"

/* The longest of all that is written in one piece besides strings and raw JSON. */
#define SCALAR_MAX 48

static inline char *room(struct buffer *b, size_t n)
{
    if (b->capacity - b->size <= n)
        buffer_reserve(b, n);
    return b->data + b->size;
}

static inline void put(struct buffer *b, const char *text, size_t n)
{
    memcpy(room(b, n), text, n);
    b->size += n;
}

static inline void put_char(struct buffer *b, char c)
{
    *room(b, 1) = c;
    b->size++;
}

#define put_literal(b, text) put(b, text, sizeof(text) - 1)

/* As json_plain_end, but Go also escapes <, > and &. */
static inline const char *html_plain_end(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        uint64_t special = v | (v - JSON_ONES * 0x20) | json_bytes_equal(v, '"') | json_bytes_equal(v, '\\') |
                           json_bytes_equal(v & ~(JSON_ONES * 2), '<') | json_bytes_equal(v, '&');
        special &= JSON_HIGHS;
        if (special) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            return p + __builtin_ctzll(special) / 8;
#else
            break;
#endif
        }
        p += 8;
    }
    while (p < end && json_byte_is_plain((unsigned char)*p) && *p != '<' && *p != '>' && *p != '&')
        p++;
    return p;
}

/* Writes the byte or sequence at p, which html_plain_end stopped at; returns what is behind it. */
static const char *put_special(struct buffer *b, const char *p, const char *end)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    static const char hex[] = "0123456789abcdef";
    unsigned char c = (unsigned char)*p;
    const char *at = memchr(from, c, sizeof(from) - 1);
    if (at) {
        char escape[2] = {'\\', to[at - from]};
        put(b, escape, 2);
        return p + 1;
    }
    if (c < 0x80) {
        char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        put(b, escape, 6);
        return p + 1;
    }
    size_t n = utf8_sequence(p, end);
    if (!n) {
        put_literal(b, "\\ufffd");
        return p + 1;
    }
    if (n == 3 && memcmp(p, "\xe2\x80", 2) == 0 && ((unsigned char)p[2] & 0xfe) == 0xa8)
        put(b, p[2] & 1 ? "\\u2029" : "\\u2028", 6);
    else
        put(b, p, n);
    return p + n;
}

static void put_string(struct buffer *b, const char *text)
{
    if (!text) {
        put_literal(b, "\"\"");
        return;
    }
    const char *end = text + strlen(text);
    room(b, (size_t)(end - text) + 2);
    put_char(b, '"');
    while (text < end) {
        const char *plain = html_plain_end(text, end);
        put(b, text, (size_t)(plain - text));
        text = plain < end ? put_special(b, plain, end) : plain;
    }
    put_char(b, '"');
}

static void put_integer(struct buffer *b, int64_t value)
{
    char digits[24], *p = digits + sizeof(digits);
    uint64_t n = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do
        *--p = (char)('0' + n % 10);
    while (n /= 10);
    if (value < 0)
        *--p = '-';
    put(b, p, (size_t)(digits + sizeof(digits) - p));
}

/* The shortest digits that read back as the same number, laid out as Go lays them out. */
static void put_double(struct buffer *b, double value)
{
    char text[SCALAR_MAX], digits[SCALAR_MAX];
    int precision = 0, exponent, count = 0;
    do
        snprintf(text, sizeof(text), "%.*e", precision, value);
    while (strtod(text, NULL) != value && precision++ < 17);
    char *e = strchr(text, 'e');
    exponent = atoi(e + 1);
    if (value != 0 && (exponent < -6 || exponent >= 21)) {
        put(b, text, (size_t)(e - text));
        size_t n = (size_t)snprintf(digits, sizeof(digits), "e%c%d", exponent < 0 ? '-' : '+', abs(exponent));
        put(b, digits, n);
        return;
    }
    for (char *p = text; p < e; p++)
        if (*p >= '0' && *p <= '9')
            digits[count++] = *p;
    if (*text == '-')
        put_char(b, '-');
    if (exponent < 0)
        put_literal(b, "0");
    for (int i = 0; i <= exponent; i++)
        put_char(b, i < count ? digits[i] : '0');
    if (exponent + 1 < count)
        put_char(b, '.');
    for (int i = exponent + 1; i < count; i++)
        put_char(b, i < 0 ? '0' : digits[i]);
}

static void put_time(struct buffer *b, int64_t instant, bool micro)
{
    if (!instant) {
        put_literal(b, "null");
        return;
    }
    char text[TIME_TEXT_MAX];
    size_t n = micro ? time_format_micro(instant, text) : time_format(instant, text);
    put_char(b, '"');
    put(b, text, n);
    put_char(b, '"');
}

static void put_bytes(struct buffer *b, const struct bytes *bytes)
{
    size_t n = BASE64_SIZE(bytes->size);
    char *to = room(b, n + 2);
    to[0] = '"';
    base64_encode(bytes->data, bytes->size, to + 1);
    to[n + 1] = '"';
    b->size += n + 2;
}

static void put_bool(struct buffer *b, bool value)
{
    if (value)
        put_literal(b, "true");
    else
        put_literal(b, "false");
}

static void put_struct(struct buffer *b, const struct api_type *type, const char *value);

/* A set value that is no list or map. */
static void put_value(struct buffer *b, const struct api_field *f, bool optional, const char *slot)
{
    switch ((enum api_kind)f->kind) {
    case API_STRING:
        put_string(b, *(const char *const *)slot);
        break;
    case API_QUANTITY:
        put_string(b, *(const char *const *)slot ? *(const char *const *)slot : "0");
        break;
    case API_BOOL:
        put_bool(b, optional ? ((const struct opt_bool *)slot)->value : *(const bool *)slot);
        break;
    case API_INT32:
        put_integer(b, optional ? ((const struct opt_int32 *)slot)->value : *(const int32_t *)slot);
        break;
    case API_INT64:
        put_integer(b, optional ? ((const struct opt_int64 *)slot)->value : *(const int64_t *)slot);
        break;
    case API_DOUBLE:
        put_double(b, *(const double *)slot);
        break;
    case API_TIME:
    case API_MICRO_TIME:
        put_time(b, *(const int64_t *)slot, f->kind == API_MICRO_TIME);
        break;
    case API_INT_OR_STRING: {
        const struct int_or_string *value = (const struct int_or_string *)slot;
        if (value->kind == INT_OR_STRING_STRING)
            put_string(b, value->text);
        else
            put_integer(b, value->number);
        break;
    }
    case API_BYTES:
        put_bytes(b, (const struct bytes *)slot);
        break;
    case API_RAW: {
        const char *raw = *(const char *const *)slot;
        put(b, raw ? raw : "null", raw ? strlen(raw) : 4);
        break;
    }
    case API_STRUCT:
        put_struct(b, f->type, optional ? *(const char *const *)slot : slot);
        break;
    }
}

static void put_array(struct buffer *b, const struct api_field *f, const struct any_array *array)
{
    size_t size = walk_element_size(f);
    put_char(b, '[');
    for (size_t i = 0; i < array->count; i++) {
        if (i)
            put_char(b, ',');
        put_value(b, f, false, (const char *)array->items + i * size);
    }
    put_char(b, ']');
}

static void put_map(struct buffer *b, const struct api_field *f, const struct any_array *map)
{
    put_char(b, '{');
    for (size_t i = 0; i < map->count; i++) {
        if (i)
            put_char(b, ',');
        if (f->kind == API_BYTES) {
            const struct bytes_pair *pair = (const struct bytes_pair *)map->items + i;
            put_string(b, pair->key);
            put_char(b, ':');
            put_bytes(b, &pair->value);
        } else {
            const struct string_pair *pair = (const struct string_pair *)map->items + i;
            put_string(b, pair->key);
            put_char(b, ':');
            put_string(b, pair->value);
        }
    }
    put_char(b, '}');
}

static inline bool is_left_out(const struct api_field *f, const char *slot)
{
    if (f->flags & (API_REQUIRED | API_ALWAYS))
        return false;
    if (f->shape == API_ARRAY || f->shape == API_MAP)
        return !((const struct any_array *)slot)->count;
    /* Structs of Go, which "omitempty" never leaves out. */
    if (f->shape == API_VALUE && (f->kind == API_STRUCT || f->kind == API_QUANTITY || f->kind == API_INT_OR_STRING))
        return false;
    return walk_is_unset(f, slot);
}

static void put_struct(struct buffer *b, const struct api_type *type, const char *value)
{
    const struct api_field *f = type->fields, *end = f + type->field_count;
    char separator = '{';
    for (; f < end; f++) {
        const char *slot = value + f->offset;
        if (is_left_out(f, slot))
            continue;
        char *to = room(b, (size_t)f->name_size + 4);
        *to++ = separator;
        *to++ = '"';
        memcpy(to, f->name, f->name_size);
        memcpy(to + f->name_size, "\":", 2);
        b->size += (size_t)f->name_size + 4;
        separator = ',';
        if (f->shape >= API_OPTIONAL && walk_is_unset(f, slot))
            put_literal(b, "null");
        else if (f->shape == API_ARRAY)
            put_array(b, f, (const struct any_array *)slot);
        else if (f->shape == API_MAP)
            put_map(b, f, (const struct any_array *)slot);
        else
            put_value(b, f, f->shape == API_OPTIONAL, slot);
    }
    if (separator == '{')
        put_char(b, '{');
    put_char(b, '}');
}

void json_encode(const struct api_type *type, const void *value, struct buffer *out)
{
    put_struct(out, type, value);
    *room(out, 0) = 0;
}

void json_encode_string(struct buffer *out, const char *text)
{
    put_string(out, text);
    *room(out, 0) = 0;
}

void json_encode_double(struct buffer *out, double value)
{
    put_double(out, value);
    *room(out, 0) = 0;
}
