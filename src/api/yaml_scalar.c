/* Plain scalars as go-yaml v2 resolves them: the words of YAML 1.1, Go's spellings of integers, and decimal
 * floats. Base 60 is not supported; what looks like a timestamp is a string. */
#include "api/yaml_scalar.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static const char digits[] = "0123456789";

static const struct {
    const char *text;
    struct yaml_scalar value;
} words[] = {
    {"", {YAML_NULL}},
    {"~", {YAML_NULL}},
    {"null", {YAML_NULL}},
    {"Null", {YAML_NULL}},
    {"NULL", {YAML_NULL}},
    {"y", {YAML_BOOL, true}},
    {"Y", {YAML_BOOL, true}},
    {"yes", {YAML_BOOL, true}},
    {"Yes", {YAML_BOOL, true}},
    {"YES", {YAML_BOOL, true}},
    {"true", {YAML_BOOL, true}},
    {"True", {YAML_BOOL, true}},
    {"TRUE", {YAML_BOOL, true}},
    {"on", {YAML_BOOL, true}},
    {"On", {YAML_BOOL, true}},
    {"ON", {YAML_BOOL, true}},
    {"n", {YAML_BOOL, false}},
    {"N", {YAML_BOOL, false}},
    {"no", {YAML_BOOL, false}},
    {"No", {YAML_BOOL, false}},
    {"NO", {YAML_BOOL, false}},
    {"false", {YAML_BOOL, false}},
    {"False", {YAML_BOOL, false}},
    {"FALSE", {YAML_BOOL, false}},
    {"off", {YAML_BOOL, false}},
    {"Off", {YAML_BOOL, false}},
    {"OFF", {YAML_BOOL, false}},
    {".nan", {YAML_FLOAT, .real = NAN}},
    {".NaN", {YAML_FLOAT, .real = NAN}},
    {".NAN", {YAML_FLOAT, .real = NAN}},
    {".inf", {YAML_FLOAT, .real = INFINITY}},
    {".Inf", {YAML_FLOAT, .real = INFINITY}},
    {".INF", {YAML_FLOAT, .real = INFINITY}},
    {"+.inf", {YAML_FLOAT, .real = INFINITY}},
    {"+.Inf", {YAML_FLOAT, .real = INFINITY}},
    {"+.INF", {YAML_FLOAT, .real = INFINITY}},
    {"-.inf", {YAML_FLOAT, .real = -INFINITY}},
    {"-.Inf", {YAML_FLOAT, .real = -INFINITY}},
    {"-.INF", {YAML_FLOAT, .real = -INFINITY}},
    {"<<", {YAML_MERGE}},
};

static const struct {
    const char *prefix;
    int base;
    const char *digits;
} bases[] = {
    {"0x", 16, "0123456789abcdefABCDEF"},
    {"0X", 16, "0123456789abcdefABCDEF"},
    {"0o", 8, "01234567"},
    {"0O", 8, "01234567"},
    {"0b", 2, "01"},
    {"0B", 2, "01"},
    {"0", 8, "01234567"},
    {"", 10, "0123456789"},
};

/* An integer as strconv.ParseInt and ParseUint read it with base 0. */
static bool parse_integer(const char *text, struct yaml_scalar *value)
{
    bool sign = *text == '-' || *text == '+', negative = *text == '-';
    const char *p = text + sign;
    size_t i = 0;
    while (strncmp(p, bases[i].prefix, strlen(bases[i].prefix)) != 0 || !p[strlen(bases[i].prefix)])
        if (++i == ARRAY_COUNT(bases))
            return false;
    p += strlen(bases[i].prefix);
    if (!*p || strspn(p, bases[i].digits) != strlen(p))
        return false;
    errno = 0;
    uint64_t magnitude = strtoull(p, NULL, bases[i].base);
    if (errno)
        return false;
    if (magnitude <= (uint64_t)INT64_MAX + negative)
        *value = (struct yaml_scalar){YAML_INT, .number = (int64_t)(negative ? 0 - magnitude : magnitude)};
    else if (!sign)
        *value = (struct yaml_scalar){YAML_UINT, .large = magnitude};
    else
        return false;
    return true;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool parse_float(const char *text, struct yaml_scalar *value)
{
    const char *p = text + (*text == '-' || *text == '+');
    size_t whole = strspn(p, digits);
    p += whole;
    if (*p == '.') {
        size_t fraction = strspn(++p, digits);
        if (!whole && !fraction)
            return false;
        p += fraction;
    } else if (!whole) {
        return false;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '-' || *p == '+';
        size_t exponent = strspn(p, digits);
        if (!exponent)
            return false;
        p += exponent;
    }
    if (*p)
        return false;
    *value = (struct yaml_scalar){YAML_FLOAT, .real = strtod(text, NULL)};
    return isfinite(value->real);
}

struct yaml_scalar yaml_resolve(const char *text)
{
    struct yaml_scalar value = {YAML_STRING};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        if (strcmp(words[i].text, text) == 0)
            return words[i].value;
    if (*text == '.')
        return parse_float(text, &value) ? value : (struct yaml_scalar){YAML_STRING};
    if (*text != '-' && *text != '+' && (*text < '0' || *text > '9'))
        return value;
    cleanup_free char *plain = mem_string(text);
    char *to = plain;
    for (const char *p = text; *p; p++)
        if (*p != '_')
            *to++ = *p;
    *to = 0;
    if (parse_integer(plain, &value) || parse_float(plain, &value))
        return value;
    return (struct yaml_scalar){YAML_STRING};
}

/* [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?: YAML 1.1 knows base 60, which nothing here reads. */
static bool is_base_60(const char *text)
{
    const char *p = text + (*text == '-' || *text == '+');
    if (*p < '0' || *p > '9')
        return false;
    p += strspn(p, "0123456789_");
    if (*p != ':')
        return false;
    while (*p == ':') {
        size_t n = strspn(++p, digits);
        if (n < 1 || n > 2 || (n == 2 && *p > '5'))
            return false;
        p += n;
    }
    if (*p == '.')
        p += 1 + strspn(p + 1, "0123456789_");
    return !*p;
}

/* One or two digits, and the character behind them. */
static bool pass_short_number(const char **p, const char *behind)
{
    size_t n = strspn(*p, digits);
    if (n < 1 || n > 2)
        return false;
    *p += n;
    if (!*behind)
        return true;
    if (!**p || !strchr(behind, **p))
        return false;
    (*p)++;
    return true;
}

/* A date, alone or with a time behind it. go-yaml looks at whether there is such a date; others do not. */
static bool is_timestamp(const char *text)
{
    const char *p = text + 5;
    if (strspn(text, digits) != 4 || text[4] != '-' || !pass_short_number(&p, "-") || !pass_short_number(&p, ""))
        return false;
    if (!*p)
        return true;
    if (!strchr("Tt \t", *p))
        return false;
    p += strspn(p, "Tt \t");
    return pass_short_number(&p, ":") && pass_short_number(&p, ":") && strspn(p, digits) >= 1 &&
           strspn(p, "0123456789.:+-Zz \t") == strlen(p);
}

/* What PyYAML takes for a number, or for a broken one, and go-yaml does not: ".5_", "0x_". */
static bool is_number_elsewhere(const char *text)
{
    if (*text == '.')
        return strspn(text, "0123456789_.eE+-") == strlen(text) && strpbrk(text, "0123456789_");
    const char *p = text + (*text == '-' || *text == '+');
    return p[0] == '0' && (p[1] == 'x' || p[1] == 'b') && p[2] == '_' && strspn(p + 2, "_") == strlen(p + 2);
}

bool yaml_needs_quotes(const char *text, size_t size)
{
    /* Line breaks to YAML, behind which a text would be indented. */
    if (memmem(text, size, "\xe2\x80\xa8", 3) || memmem(text, size, "\xe2\x80\xa9", 3))
        return true;
    /* Others begin with none of these. */
    if (size && !strchr("+-.0123456789yYnNtTfFoO~<=", *text))
        return false;
    cleanup_free char *copy = mem_printf("%.*s", (int)size, text);
    return yaml_resolve(copy).kind != YAML_STRING || is_base_60(copy) || is_timestamp(copy) ||
           is_number_elsewhere(copy) || strcmp(copy, "=") == 0;
}
