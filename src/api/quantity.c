/* Resource quantities. A spelling is split into sign, digits and suffix; its value is an integer of nanounits,
 * rounded away from zero, which holds everything that a node can have. Only the canonical text of decimal
 * quantities beyond that range (1e30) is made from the digits themselves.
 *
 * As upstream, a spelling that looks canonical is kept as it is, although "+1" and "1.500" pass for that too.
 * Unlike upstream, which drops the suffix of what is larger than its largest one (1000E becomes 1), we write
 * more digits instead. */
#include "api/quantity.h"

#include <string.h>

#include "base/cleanup.h"

#define NANO_DIGITS 9
#define NANO 1000000000
/* Decimal digits that upstream computes with in an int64. */
#define FAST_DIGITS 18
/* 2^63 - 1 units: what upstream caps binary quantities at. */
#define BINARY_MAX ((quantity_t)INT64_MAX * NANO)
#define QUANTITY_MAX ((quantity_t)(~(unsigned __int128)0 >> 1))
/* Digits of the largest value, sign, suffix and NUL. */
#define TEXT_MAX 64

enum format { DECIMAL, EXPONENT, BINARY };

struct suffix {
    const char *text;
    enum format format;
    int exponent; /* of 10, or of 2 */
};

static const struct suffix suffixes[] = {
    {"n", DECIMAL, -9}, {"u", DECIMAL, -6}, {"m", DECIMAL, -3}, {"", DECIMAL, 0},
    {"k", DECIMAL, 3},  {"M", DECIMAL, 6},  {"G", DECIMAL, 9},  {"T", DECIMAL, 12},
    {"P", DECIMAL, 15}, {"E", DECIMAL, 18}, {"Ki", BINARY, 10}, {"Mi", BINARY, 20},
    {"Gi", BINARY, 30}, {"Ti", BINARY, 40}, {"Pi", BINARY, 50}, {"Ei", BINARY, 60},
};

static const char wrong_format[] =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
static const char wrong_suffix[] = "unable to parse quantity's suffix";
static const char wrong_number[] = "unable to parse numeric part of quantity";

/* A spelling in parts: whole.fraction * 10^exponent, or * 2^exponent. */
struct parts {
    bool negative;
    bool has_digits;
    const char *whole; /* without leading zeros */
    size_t whole_size;
    const char *fraction;
    size_t fraction_size;
    enum format format;
    int64_t exponent;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t count_digits(const char *p, const char *end)
{
    const char *start = p;
    while (p < end && is_digit(*p))
        p++;
    return (size_t)(p - start);
}

/* "e" or "E" and a number that an int32 holds with either sign. */
static bool read_exponent(const char *text, size_t size, int64_t *exponent)
{
    if (size < 2 || (text[0] != 'e' && text[0] != 'E'))
        return false;
    const char *p = text + 1, *end = text + size;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    if (p == end || count_digits(p, end) != (size_t)(end - p))
        return false;
    int64_t value = 0;
    for (; p < end; p++) {
        value = value * 10 + (*p - '0');
        if (value > INT32_MAX)
            return false;
    }
    *exponent = negative ? -value : value;
    return true;
}

/* Returns NULL, or what is wrong. */
static const char *read_suffix(const char *text, size_t size, struct parts *parts)
{
    for (size_t i = 0; i < ARRAY_COUNT(suffixes); i++) {
        if (strlen(suffixes[i].text) == size && memcmp(suffixes[i].text, text, size) == 0) {
            parts->format = suffixes[i].format;
            parts->exponent = suffixes[i].exponent;
            return NULL;
        }
    }
    parts->format = EXPONENT;
    return read_exponent(text, size, &parts->exponent) ? NULL : wrong_suffix;
}

/* Whether upstream computes with an int64, where it is more lenient. */
static bool is_fast(const struct parts *p)
{
    int64_t whole = p->whole_size ? (int64_t)p->whole_size : 1, fraction = (int64_t)p->fraction_size;
    if (p->format == BINARY)
        return !fraction && 15 - whole - p->exponent * 3 / 10 - 1 >= 0;
    return whole + fraction <= FAST_DIGITS && p->exponent - fraction >= -NANO_DIGITS;
}

/* Splits the text. Returns NULL, or what is wrong. */
static const char *split(const char *text, size_t size, struct parts *parts)
{
    const char *p = text, *end = text + size;
    *parts = (struct parts){0};
    if (!size)
        return wrong_format;
    parts->negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    const char *start = p;
    while (p < end && *p == '0')
        p++;
    parts->whole = p;
    parts->whole_size = count_digits(p, end);
    p += parts->whole_size;
    parts->has_digits = p > start;
    if (p < end && *p == '.') {
        parts->fraction = ++p;
        parts->fraction_size = count_digits(p, end);
        p += parts->fraction_size;
        parts->has_digits = parts->has_digits || parts->fraction_size;
    }
    const char *suffix = p;
    while (p < end && *p && strchr("eEinumkKMGTP", *p))
        p++;
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    p += count_digits(p, end);
    if (p < end)
        return wrong_format;
    const char *wrong = read_suffix(suffix, (size_t)(end - suffix), parts);
    if (!wrong && !parts->has_digits && !is_fast(parts))
        wrong = wrong_number;
    return wrong;
}

/* value * 10 + digit, saturated. */
static quantity_t append_digit(quantity_t value, int digit)
{
    return value > (QUANTITY_MAX - digit) / 10 ? QUANTITY_MAX : value * 10 + digit;
}

static int digit_at(const struct parts *p, size_t i)
{
    return (i < p->whole_size ? p->whole[i] : p->fraction[i - p->whole_size]) - '0';
}

/* The magnitude of a decimal quantity, rounded up. */
static quantity_t decimal_value(const struct parts *p)
{
    int64_t count = (int64_t)(p->whole_size + p->fraction_size);
    int64_t keep = (int64_t)p->whole_size + p->exponent + NANO_DIGITS; /* digits from the first nanounit on */
    quantity_t value = 0;
    bool rest = false;
    for (int64_t i = 0; i < count; i++) {
        if (i < keep)
            value = append_digit(value, digit_at(p, (size_t)i));
        else
            rest = rest || digit_at(p, (size_t)i);
    }
    for (int64_t i = count; i < keep && value && value < QUANTITY_MAX; i++)
        value = append_digit(value, 0);
    return rest && value < QUANTITY_MAX ? value + 1 : value;
}

/* The magnitude of a binary quantity, rounded up and capped. The fraction is multiplied digit by digit, last
 * first, as on paper. */
static quantity_t binary_value(const struct parts *p)
{
    quantity_t whole = 0, carry = 0, nano = 0, weight = 1;
    bool rest = false;
    for (size_t i = 0; i < p->whole_size; i++)
        whole = whole > BINARY_MAX ? whole : whole * 10 + (p->whole[i] - '0');
    for (size_t i = p->fraction_size; i-- > 0;) {
        carry += (quantity_t)(p->fraction[i] - '0') << p->exponent;
        int digit = (int)(carry % 10);
        carry /= 10;
        if (i >= NANO_DIGITS) {
            rest = rest || digit;
        } else {
            nano += digit * weight;
            weight *= 10;
        }
    }
    for (size_t n = p->fraction_size; n < NANO_DIGITS; n++)
        nano *= 10;
    if (whole > (BINARY_MAX / NANO) >> p->exponent)
        return BINARY_MAX;
    quantity_t value = ((whole << p->exponent) + carry) * NANO + nano + rest;
    return value > BINARY_MAX ? BINARY_MAX : value;
}

int quantity_parse(const char *text, size_t size, quantity_t *value)
{
    struct parts parts;
    if (split(text, size, &parts))
        return -1;
    quantity_t magnitude = parts.format == BINARY ? binary_value(&parts) : decimal_value(&parts);
    *value = parts.negative ? -magnitude : magnitude;
    return 0;
}

const char *quantity_error(const char *text, size_t size)
{
    struct parts parts;
    return split(text, size, &parts);
}

/* Whether upstream keeps the text as it is. */
static bool is_kept(const struct parts *p)
{
    if (!is_fast(p))
        return false;
    size_t count = p->whole_size + p->fraction_size;
    if (p->format == BINARY) {
        int value = 0;
        for (size_t i = 0; i < p->whole_size; i++)
            value = (value * 10 + (p->whole[i] - '0')) % 8;
        return value != 0;
    }
    bool thousands = count >= 3;
    for (size_t i = count; thousands && i > count - 3; i--)
        thousands = digit_at(p, i - 1) == 0;
    return p->whole_size && (p->exponent - (int64_t)p->fraction_size) % 3 == 0 && !thousands;
}

static const char *suffix_of(enum format format, int64_t exponent)
{
    for (size_t i = 0; i < ARRAY_COUNT(suffixes); i++)
        if (suffixes[i].format == format && suffixes[i].exponent == exponent)
            return suffixes[i].text;
    return "";
}

/* sign, digits, zeros, suffix. */
static const char *write_decimal(struct arena *arena, bool negative, const char *digits, size_t count, int64_t exponent,
                                 enum format format)
{
    while (count > 1 && digits[count - 1] == '0') {
        count--;
        exponent++;
    }
    int64_t step = exponent % 3 < 0 ? exponent - exponent % 3 - 3 : exponent - exponent % 3;
    if (format != EXPONENT && step > 18)
        step = 18;
    cleanup_free char *zeros = mem_zero(1, (size_t)(exponent - step) + 1);
    memset(zeros, '0', (size_t)(exponent - step));
    const char *sign = negative ? "-" : "";
    if (format == EXPONENT && step)
        return arena_printf(arena, "%s%.*s%se%lld", sign, (int)count, digits, zeros, (long long)step);
    return arena_printf(arena, "%s%.*s%s%s", sign, (int)count, digits, zeros, suffix_of(DECIMAL, step));
}

static const char *write_value(struct arena *arena, quantity_t value, enum format format)
{
    if (!value)
        return "0";
    bool negative = value < 0;
    unsigned __int128 rest = negative ? -(unsigned __int128)value : (unsigned __int128)value;
    int64_t exponent = -NANO_DIGITS;
    bool binary = format == BINARY && rest % NANO == 0 && rest >= (unsigned __int128)1024 * NANO;
    if (binary) {
        rest /= NANO;
        for (exponent = 0; rest % 1024 == 0 && exponent < 60; exponent += 10)
            rest /= 1024;
    }
    char digits[TEXT_MAX], *p = digits + sizeof(digits);
    do
        *--p = (char)('0' + (int)(rest % 10));
    while (rest /= 10);
    size_t count = (size_t)(digits + sizeof(digits) - p);
    if (binary)
        return arena_printf(arena, "%s%.*s%s", negative ? "-" : "", (int)count, p, suffix_of(BINARY, exponent));
    return write_decimal(arena, negative, p, count, exponent, format == EXPONENT ? EXPONENT : DECIMAL);
}

/* The text of a decimal quantity that is out of the range of quantity_t. */
static const char *write_large(struct arena *arena, const struct parts *p)
{
    size_t count = p->whole_size + p->fraction_size, skip = 0;
    int64_t exponent = p->exponent - (int64_t)p->fraction_size;
    cleanup_free char *digits = mem_alloc(count + 1);
    digits[0] = '0'; /* for a carry */
    for (size_t i = 0; i < count; i++)
        digits[i + 1] = (char)('0' + digit_at(p, i));
    bool rest = false;
    for (; exponent < -NANO_DIGITS; exponent++)
        rest = rest || digits[count--] != '0';
    if (rest) {
        size_t i = count;
        for (; digits[i] == '9'; i--)
            digits[i] = '0';
        digits[i]++;
    }
    while (skip < count && digits[skip] == '0')
        skip++;
    return write_decimal(arena, p->negative, digits + skip, count + 1 - skip, exponent, p->format);
}

const char *quantity_canonical(struct arena *arena, const char *text, size_t size)
{
    struct parts parts;
    if (split(text, size, &parts))
        return NULL;
    if (is_kept(&parts))
        return arena_string_n(arena, text, size);
    quantity_t value = parts.format == BINARY ? binary_value(&parts) : decimal_value(&parts);
    if (value == QUANTITY_MAX)
        return write_large(arena, &parts);
    return write_value(arena, parts.negative ? -value : value, parts.format);
}

const char *quantity_format(struct arena *arena, quantity_t value, bool binary_suffix)
{
    return write_value(arena, value, binary_suffix ? BINARY : DECIMAL);
}

/* In units of `unit` nanounits, rounded away from zero and saturated. */
static int64_t scaled(const char *text, quantity_t unit)
{
    quantity_t value = 0;
    if (!text || quantity_parse(text, strlen(text), &value) < 0)
        return 0;
    quantity_t away = value < 0 ? 1 - unit : unit - 1;
    if (value > QUANTITY_MAX - unit || value < unit - QUANTITY_MAX)
        return value < 0 ? INT64_MIN : INT64_MAX;
    value = (value + away) / unit;
    return value > INT64_MAX ? INT64_MAX : value < INT64_MIN ? INT64_MIN : (int64_t)value;
}

int64_t quantity_value(const char *text)
{
    return scaled(text, NANO);
}

int64_t quantity_milli_value(const char *text)
{
    return scaled(text, NANO / 1000);
}

int quantity_compare(const char *a, const char *b)
{
    quantity_t x = 0, y = 0;
    if (a == b)
        return 0;
    if (a && quantity_parse(a, strlen(a), &x) < 0)
        x = 0;
    if (b && quantity_parse(b, strlen(b), &y) < 0)
        y = 0;
    return x < y ? -1 : x > y;
}
