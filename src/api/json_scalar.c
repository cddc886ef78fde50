/* Scalars from JSON. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/json_decode.h"
#include "api/json_decoder.h"
#include "api/quantity.h"
#include "base/encode.h"

#define NUMBER_TOKEN_MAX 64

/* An integer without fraction or exponent, within bounds. */
static bool parse_integer(struct json_slice s, int64_t min, int64_t max, int64_t *value)
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
static const char *number_token(struct json_slice s, char out[NUMBER_TOKEN_MAX])
{
    size_t room = NUMBER_TOKEN_MAX - sizeof("number ");
    snprintf(out, NUMBER_TOKEN_MAX, "number %.*s", (int)(s.size < room ? s.size : room), s.data);
    return out;
}

static int decode_integer(struct json_decoder *d, const struct api_field *f, bool optional, void *slot,
                          const struct json_frame *at)
{
    struct json_slice s;
    int64_t value;
    bool narrow = f->kind == API_INT32;
    char c = *d->p;
    if (c != '-' && (c < '0' || c > '9'))
        return json_skip_wrong_type(d, f, false, at);
    if (json_read_number(d, &s) < 0)
        return -1;
    if (!parse_integer(s, narrow ? INT32_MIN : INT64_MIN, narrow ? INT32_MAX : INT64_MAX, &value)) {
        char token[NUMBER_TOKEN_MAX];
        json_wrong_type(d, number_token(s, token), f, false, at);
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

static int decode_double(struct json_decoder *d, const struct api_field *f, double *slot, const struct json_frame *at)
{
    struct json_slice s;
    char c = *d->p;
    if (c != '-' && (c < '0' || c > '9'))
        return json_skip_wrong_type(d, f, false, at);
    if (json_read_number(d, &s) < 0)
        return -1;
    buffer_clear(&d->text);
    buffer_add(&d->text, s.data, s.size);
    double value = strtod(d->text.data, NULL);
    if (isfinite(value)) {
        *slot = value;
    } else {
        char token[NUMBER_TOKEN_MAX];
        json_wrong_type(d, number_token(s, token), f, false, at);
    }
    return 0;
}

static int decode_bool(struct json_decoder *d, const struct api_field *f, bool optional, void *slot,
                       const struct json_frame *at)
{
    char c = *d->p;
    if (c != 't' && c != 'f')
        return json_skip_wrong_type(d, f, false, at);
    if (json_read_literal(d) < 0)
        return -1;
    if (optional)
        *(struct opt_bool *)slot = opt_bool(c == 't');
    else
        *(bool *)slot = c == 't';
    return 0;
}

static int decode_string(struct json_decoder *d, const struct api_field *f, const char **slot,
                              const struct json_frame *at)
{
    struct json_slice s;
    if (*d->p != '"')
        return json_skip_wrong_type(d, f, false, at);
    d->p++;
    if (json_read_text(d, &s) < 0)
        return -1;
    *slot = s.size ? string_pool_copy(&d->strings, s.data, s.size) : "";
    return 0;
}

static int decode_time(struct json_decoder *d, const struct api_field *f, int64_t *slot)
{
    struct json_slice s;
    if (*d->p != '"') {
        const char *token = json_token_name(d);
        return json_skip_value(d) < 0 ? -1 : json_wrong_for_unmarshaler(d, token, "string");
    }
    d->p++;
    if (json_read_text(d, &s) < 0)
        return -1;
    if (s.data != d->text.data) {
        buffer_clear(&d->text);
        buffer_add(&d->text, s.data, s.size);
    }
    return json_parse_time(d->text.data, f->kind == API_MICRO_TIME, slot, &d->fatal);
}

static int decode_quantity(struct json_decoder *d, const char **slot)
{
    const char *start = d->p;
    struct json_slice s;
    if (json_skip_value(d) < 0)
        return -1;
    s = (struct json_slice){start, (size_t)(d->p - start)};
    /* As upstream, the text between the quotes is not unescaped. */
    if (s.data[0] == '"')
        s = (struct json_slice){s.data + 1, s.size - 2};
    while (s.size && strchr(" \t\r\n\v\f", s.data[0]))
        s = (struct json_slice){s.data + 1, s.size - 1};
    while (s.size && strchr(" \t\r\n\v\f", s.data[s.size - 1]))
        s.size--;
    *slot = quantity_canonical(d->arena, s.data, s.size);
    return *slot ? 0 : error_set(&d->fatal, EINVAL, "%s", quantity_error(s.data, s.size));
}

static int decode_int_or_string(struct json_decoder *d, bool optional, struct int_or_string *slot)
{
    struct json_slice s;
    char c = *d->p;
    if (c == '"') {
        d->p++;
        if (json_read_text(d, &s) < 0)
            return -1;
        *slot =
            (struct int_or_string){.kind = INT_OR_STRING_STRING, .text = string_pool_copy(&d->strings, s.data, s.size)};
        return 0;
    }
    if (c != '-' && (c < '0' || c > '9')) {
        const char *token = json_token_name(d);
        return json_skip_value(d) < 0 ? -1 : json_wrong_for_unmarshaler(d, token, "int32");
    }
    int64_t value;
    if (json_read_number(d, &s) < 0)
        return -1;
    if (!parse_integer(s, INT32_MIN, INT32_MAX, &value)) {
        char token[NUMBER_TOKEN_MAX];
        return json_wrong_for_unmarshaler(d, number_token(s, token), "int32");
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

static int decode_bytes(struct json_decoder *d, const struct api_field *f, struct bytes *slot,
                             const struct json_frame *at)
{
    struct json_slice s;
    if (*d->p != '"')
        return json_skip_wrong_type(d, f, false, at);
    d->p++;
    if (json_decoder_string(d, &s) < 0)
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
static int decode_raw(struct json_decoder *d, const char **slot)
{
    const char *start = d->p;
    if (json_skip_value(d) < 0)
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

int json_decode_scalar(struct json_decoder *d, const struct api_field *f, bool optional, void *slot,
                       const struct json_frame *at)
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
    return json_syntax();
}
