/* Says what is wrong with a text that is not JSON, in the words of the scanner of Go's encoding/json, which
 * clients of the API server see. Only runs where decoding failed, so it favours the plain over the fast. */
#include <errno.h>
#include <stdio.h>

#include "api/json.h"
#include "api/json_text.h"

struct checker {
    const unsigned char *p;
    const unsigned char *end;
    struct error *err;
};

/* The byte as Go quotes a character: a byte from 0x80 on is taken for a code point. */
static void quote_byte(unsigned char c, char out[16])
{
    static const char from[] = "\a\b\f\n\r\t\v\\", to[] = "abfnrtv\\";
    const char *at = c ? strchr(from, c) : NULL;
    if (c == '\'')
        strcpy(out, "'\\''");
    else if (at)
        snprintf(out, 16, "'\\%c'", to[at - from]);
    else if (c < 0x20 || c == 0x7f)
        snprintf(out, 16, "'\\x%02x'", c);
    else if (c < 0x80)
        snprintf(out, 16, "'%c'", c);
    else if (c < 0xa1 || c == 0xad)
        snprintf(out, 16, "'\\u%04x'", c);
    else
        snprintf(out, 16, "'%c%c'", 0xc0 | c >> 6, 0x80 | (c & 63));
}

/* The byte at p is not what JSON allows there. */
static int bad(struct checker *c, const char *where)
{
    if (c->p >= c->end)
        return error_set(c->err, EBADMSG, "unexpected end of JSON input");
    char quoted[16];
    quote_byte(*c->p, quoted);
    return error_set(c->err, EBADMSG, "invalid character %s %s", quoted, where);
}

static void blanks(struct checker *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\r' || *c->p == '\t'))
        c->p++;
}

static bool at(const struct checker *c, char wanted)
{
    return c->p < c->end && *c->p == (unsigned char)wanted;
}

static bool digits(struct checker *c)
{
    const unsigned char *start = c->p;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
        c->p++;
    return c->p > start;
}

static int check_number(struct checker *c)
{
    if (at(c, '-')) {
        c->p++;
        if (c->p >= c->end || *c->p < '0' || *c->p > '9')
            return bad(c, "in numeric literal");
    }
    if (at(c, '0'))
        c->p++;
    else
        digits(c);
    if (at(c, '.')) {
        c->p++;
        if (!digits(c))
            return bad(c, "after decimal point in numeric literal");
    }
    if (at(c, 'e') || at(c, 'E')) {
        c->p++;
        if (at(c, '+') || at(c, '-'))
            c->p++;
        if (!digits(c))
            return bad(c, "in exponent of numeric literal");
    }
    return 0;
}

/* Behind the opening quote. */
static int check_string(struct checker *c)
{
    for (;;) {
        if (c->p >= c->end || *c->p < 0x20)
            return bad(c, "in string literal");
        unsigned char byte = *c->p++;
        if (byte == '"')
            return 0;
        if (byte != '\\')
            continue;
        if (c->p >= c->end || !*c->p || !strchr("\"\\/bfnrtu", *c->p))
            return bad(c, "in string escape code");
        if (*c->p++ != 'u')
            continue;
        for (int i = 0; i < 4; i++, c->p++)
            if (c->p >= c->end || !*c->p || !strchr("0123456789abcdefABCDEF", *c->p))
                return bad(c, "in \\u hexadecimal character escape");
    }
}

static int check_literal(struct checker *c, const char *literal)
{
    for (const char *l = literal; *l; l++, c->p++) {
        if (!at(c, *l)) {
            char where[64];
            snprintf(where, sizeof(where), "in literal %s (expecting '%c')", literal, *l);
            return bad(c, where);
        }
    }
    return 0;
}

static int check_value(struct checker *c, int depth);

static int check_members(struct checker *c, int depth, char close)
{
    bool object = close == '}';
    if (depth > JSON_DEPTH_MAX)
        return error_set(c->err, EBADMSG, "exceeded max depth");
    c->p++;
    blanks(c);
    if (at(c, close)) {
        c->p++;
        return 0;
    }
    for (;;) {
        if (object) {
            if (!at(c, '"'))
                return bad(c, "looking for beginning of object key string");
            c->p++;
            if (check_string(c) < 0)
                return -1;
            blanks(c);
            if (!at(c, ':'))
                return bad(c, "after object key");
            c->p++;
            blanks(c);
        }
        if (check_value(c, depth) < 0)
            return -1;
        blanks(c);
        if (at(c, close)) {
            c->p++;
            return 0;
        }
        if (!at(c, ','))
            return bad(c, object ? "after object key:value pair" : "after array element");
        c->p++;
        blanks(c);
    }
}

static int check_value(struct checker *c, int depth)
{
    switch (c->p < c->end ? *c->p : 0) {
    case '{':
        return check_members(c, depth + 1, '}');
    case '[':
        return check_members(c, depth + 1, ']');
    case '"':
        c->p++;
        return check_string(c);
    case 't':
        return check_literal(c, "true");
    case 'f':
        return check_literal(c, "false");
    case 'n':
        return check_literal(c, "null");
    case '-':
    case '0' ... '9':
        return check_number(c);
    default:
        return bad(c, "looking for beginning of value");
    }
}

int json_check_syntax(const char *json, size_t size, struct error *err)
{
    struct checker c = {(const unsigned char *)json, (const unsigned char *)json + size, err};
    blanks(&c);
    if (check_value(&c, 0) < 0)
        return -1;
    blanks(&c);
    return c.p < c.end ? bad(&c, "after top-level value") : 0;
}
