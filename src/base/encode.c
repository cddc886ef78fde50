/* Base64 and hexadecimal. */
#include "base/encode.h"

#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *data, size_t size, char *out)
{
    const unsigned char *p = data;
    for (; size >= 3; size -= 3, p += 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        *out++ = alphabet[v >> 18];
        *out++ = alphabet[v >> 12 & 63];
        *out++ = alphabet[v >> 6 & 63];
        *out++ = alphabet[v & 63];
    }
    if (size) {
        uint32_t v = (uint32_t)p[0] << 16 | (size > 1 ? (uint32_t)p[1] << 8 : 0);
        *out++ = alphabet[v >> 18];
        *out++ = alphabet[v >> 12 & 63];
        *out++ = size > 1 ? alphabet[v >> 6 & 63] : '=';
        *out++ = '=';
    }
}

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

ssize_t base64_decode(const char *text, size_t n, unsigned char *out)
{
    uint32_t value = 0;
    int have = 0, padding = 0;
    unsigned char *start = out;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '\r' || c == '\n')
            continue;
        if (c == '=') {
            if (have < 2 || ++padding > 2)
                return -1;
        } else if (padding || digit(c) < 0) {
            return -1;
        }
        value = value << 6 | (c == '=' ? 0 : (uint32_t)digit(c));
        if (++have < 4)
            continue;
        *out++ = (unsigned char)(value >> 16);
        if (padding < 2)
            *out++ = (unsigned char)(value >> 8);
        if (padding < 1)
            *out++ = (unsigned char)value;
        value = 0;
        have = 0;
        if (padding) {
            for (i++; i < n; i++)
                if (text[i] != '\r' && text[i] != '\n')
                    return -1;
        }
    }
    return have ? -1 : out - start;
}

void hex_encode(const void *data, size_t size, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = data;
    for (size_t i = 0; i < size; i++) {
        *out++ = digits[p[i] >> 4];
        *out++ = digits[p[i] & 15];
    }
    *out = 0;
}

static const char url_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url_encode(const void *data, size_t size, char *out)
{
    const unsigned char *p = data;
    uint32_t value = 0;
    int bits = 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | p[i];
        for (bits += 8; bits >= 6; bits -= 6)
            *out++ = url_alphabet[value >> (bits - 6) & 63];
    }
    if (bits)
        *out = url_alphabet[value << (6 - bits) & 63];
}

ssize_t base64url_decode(const char *text, size_t n, unsigned char *out)
{
    uint32_t value = 0;
    int bits = 0;
    unsigned char *start = out;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        int d = c == '-' ? 62 : c == '_' ? 63 : c == '+' || c == '/' ? -1 : digit(c);
        if (d < 0)
            return -1;
        value = value << 6 | (uint32_t)d;
        bits += 6;
        if (bits < 8)
            continue;
        bits -= 8;
        *out++ = (unsigned char)(value >> bits);
    }
    /* A lone character holds no byte, and what is left over has to be zero. */
    if (n % 4 == 1 || (value & ((1U << bits) - 1)))
        return -1;
    return out - start;
}

int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
