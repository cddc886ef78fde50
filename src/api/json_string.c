/* The strings of JSON that are not plain: escapes and UTF-8. */
#include "api/json_text.h"

static int hex4(const char *p, const char *end)
{
    int value = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The escape at *p, behind its backslash. */
static int unescape_one(const char **at, const char *end, struct buffer *text)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *p = *at;
    if (p >= end)
        return -1;
    const char *known = *p ? strchr(from, *p) : NULL;
    if (known) {
        buffer_add_char(text, to[known - from]);
        *at = p + 1;
        return 0;
    }
    int code = *p == 'u' ? hex4(p + 1, end) : -1;
    if (code < 0)
        return -1;
    p += 5;
    if (code >= 0xd800 && code < 0xe000) {
        int low = code < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex4(p + 2, end) : -1;
        if (low >= 0xdc00 && low < 0xe000) {
            p += 6;
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        } else {
            code = 0xfffd;
        }
    }
    char utf8[4];
    buffer_add(text, utf8, utf8_encode((uint32_t)code, utf8));
    *at = p;
    return 0;
}

int json_unescape(const char **at, const char *end, struct buffer *text)
{
    const char *p = *at;
    for (;;) {
        if (p >= end || (unsigned char)*p < 0x20)
            return -1;
        if (*p == '"')
            break;
        if (*p == '\\') {
            p++;
            if (unescape_one(&p, end, text) < 0)
                return -1;
        } else {
            size_t n = utf8_sequence(p, end);
            buffer_add(text, n ? p : UTF8_REPLACEMENT, n ? n : 3);
            p += n ? n : 1;
        }
        const char *plain = json_plain_end(p, end);
        buffer_add(text, p, (size_t)(plain - p));
        p = plain;
    }
    *at = p + 1;
    return 0;
}
