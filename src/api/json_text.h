/* Text helpers that the JSON files share: finding the bytes of a string that need care, UTF-8, and memory for
 * many short strings. Private to api/. */
#ifndef CORACLE_API_JSON_TEXT_H
#define CORACLE_API_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

#define UTF8_REPLACEMENT "\xef\xbf\xbd"

#define JSON_ONES UINT64_C(0x0101010101010101)
#define JSON_HIGHS UINT64_C(0x8080808080808080)

/* The high bit of every byte of v that equals c; a byte behind a match may be marked by mistake, so only
 * the first mark counts. */
static inline uint64_t json_bytes_equal(uint64_t v, unsigned char c)
{
    uint64_t x = v ^ JSON_ONES * c;
    return (x - JSON_ONES) & ~x & JSON_HIGHS;
}

static inline bool json_byte_is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* The first byte in [p, end) that does not stand for itself in a JSON string: a quote, a backslash, a control
 * character or the start of a sequence that has to be checked as UTF-8. */
static inline const char *json_plain_end(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        uint64_t special = v | (v - JSON_ONES * 0x20) | json_bytes_equal(v, '"') | json_bytes_equal(v, '\\');
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
    while (p < end && json_byte_is_plain((unsigned char)*p))
        p++;
    return p;
}

/* The size of the well-formed UTF-8 sequence at p, or 0. */
static inline size_t utf8_sequence(const char *text, const char *end)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t left = (size_t)(end - text);
    unsigned char low = 0x80, high = 0xbf;
    size_t n;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        n = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        n = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        n = 4;
    else
        return 0;
    if (left < n)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return n;
}

/* Writes the UTF-8 of a code point; returns its size (1 to 4). */
static inline size_t utf8_encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* Short strings side by side, without the alignment that arena_alloc gives to each. */
struct string_pool {
    struct arena *arena;
    char *next;
    size_t left;
};

#define STRING_POOL_CHUNK 512

/* Room for n characters and a NUL. */
static inline char *string_pool_take(struct string_pool *pool, size_t n)
{
    if (n >= STRING_POOL_CHUNK / 4)
        return arena_alloc(pool->arena, n + 1);
    if (pool->left < n + 1) {
        pool->next = arena_alloc(pool->arena, STRING_POOL_CHUNK);
        pool->left = STRING_POOL_CHUNK;
    }
    char *p = pool->next;
    pool->next += n + 1;
    pool->left -= n + 1;
    return p;
}

static inline char *string_pool_copy(struct string_pool *pool, const char *text, size_t n)
{
    char *p = string_pool_take(pool, n);
    memcpy(p, text, n);
    p[n] = 0;
    return p;
}

/* Reads the rest of a string from *p on, a place that json_plain_end stopped at, into `text`, which holds what was
 * before it. -1: not a string. */
int json_unescape(const char **p, const char *end, struct buffer *text);

/* Reads a string whose first byte, behind the quote, is *p; *p moves behind the closing quote. *out lies in the
 * input if nothing had to be replaced, else in `text`. Bad UTF-8 and halves of surrogate pairs become U+FFFD.
 * -1: not a string. */
static inline int json_read_string(const char **p, const char *end, struct buffer *text, const char **out, size_t *size)
{
    const char *start = *p, *plain = json_plain_end(start, end);
    if (plain < end && *plain == '"') {
        *out = start;
        *size = (size_t)(plain - start);
        *p = plain + 1;
        return 0;
    }
    buffer_clear(text);
    buffer_add(text, start, (size_t)(plain - start));
    *p = plain;
    if (json_unescape(p, end, text) < 0)
        return -1;
    *out = text->data;
    *size = text->size;
    return 0;
}

/* 0 when the text is one JSON value and blanks, nested no deeper than JSON_DEPTH_MAX; else -1 with what Go's
 * scanner says, code EBADMSG. */
int json_check_syntax(const char *json, size_t size, struct error *err);

#endif
