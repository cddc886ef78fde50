/* RFC 3339 as Go's time.Parse reads it, with its errors. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/epoch.h"
#include "api/json_decode.h"
#include "base/timestamp.h"

/* Go names the part of the layout that did not fit, and the text from there on. */
struct piece {
    const char *layout;
    int digits; /* 0: the literal text of the layout */
    int min, max;
    const char *name; /* for "out of range" */
};

static const struct piece pieces[] = {
    {"2006", 4, 0, 9999, "year"}, {"-", 0}, {"01", 2, 1, 12, "month"},  {"-", 0}, {"02", 2, 1, 31, "day"},    {"T", 0},
    {"15", 2, 0, 23, "hour"},     {":", 0}, {"04", 2, 0, 59, "minute"}, {":", 0}, {"05", 2, 0, 59, "second"},
};

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/* The text as Go quotes it in these errors. */
static const char *quoted(const char *text, char *out, size_t size)
{
    size_t n = 0;
    out[n++] = '"';
    for (const unsigned char *p = (const unsigned char *)text; *p && n + 6 < size; p++) {
        if (*p == '"' || *p == '\\')
            n += (size_t)snprintf(out + n, size - n, "\\%c", *p);
        else if (*p < 0x20 || *p >= 0x7f)
            n += (size_t)snprintf(out + n, size - n, "\\x%02x", *p);
        else
            out[n++] = (char)*p;
    }
    out[n++] = '"';
    out[n] = 0;
    return out;
}

struct time_reader {
    const char *text;
    const char *layout;
    struct error *err;
};

static int cannot_parse(const struct time_reader *r, const char *rest, const char *piece)
{
    char whole[256], left[256];
    return error_set(r->err, EINVAL, "parsing time %s as \"%s\": cannot parse %s as \"%s\"",
                     quoted(r->text, whole, sizeof(whole)), r->layout, quoted(rest, left, sizeof(left)), piece);
}

static int out_of_range(const struct time_reader *r, const char *what)
{
    char whole[256];
    return error_set(r->err, EINVAL, "parsing time %s: %s out of range", quoted(r->text, whole, sizeof(whole)), what);
}

/* "Z" or "+hh:mm" up to the end of the text. */
static int read_zone(const struct time_reader *r, const char *p)
{
    static const char layout[] = "Z07:00";
    char whole[256], left[256];
    if (*p == 'Z') {
        p++;
    } else {
        bool shape = (*p == '+' || *p == '-') && isdigit((unsigned char)p[1]) && isdigit((unsigned char)p[2]) &&
                     p[3] == ':' && isdigit((unsigned char)p[4]) && isdigit((unsigned char)p[5]);
        if (!shape)
            return cannot_parse(r, p, layout);
        if ((p[1] - '0') * 10 + p[2] - '0' > 24)
            return out_of_range(r, "time zone offset hour");
        if (p[4] > '5')
            return out_of_range(r, "time zone offset minute");
        p += 6;
    }
    if (!*p)
        return 0;
    return error_set(r->err, EINVAL, "parsing time %s: extra text: %s", quoted(r->text, whole, sizeof(whole)),
                     quoted(p, left, sizeof(left)));
}

static int check(const struct time_reader *r, bool micro)
{
    const char *p = r->text;
    int values[sizeof(pieces) / sizeof(pieces[0])];
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        const struct piece *piece = &pieces[i];
        if (!piece->digits) {
            if (*p != *piece->layout)
                return cannot_parse(r, p, piece->layout);
            p++;
            continue;
        }
        values[i] = 0;
        for (int n = 0; n < piece->digits; n++) {
            if (!isdigit((unsigned char)p[n]))
                return cannot_parse(r, p, piece->layout);
            values[i] = values[i] * 10 + p[n] - '0';
        }
        if (values[i] < piece->min || values[i] > piece->max)
            return out_of_range(r, piece->name);
        p += piece->digits;
    }
    if (micro) {
        size_t n = *p == '.' ? strspn(p + 1, "0123456789") : 0;
        if (n < 6)
            return cannot_parse(r, p, ".000000");
        p += 7;
    } else if ((*p == '.' || *p == ',') && isdigit((unsigned char)p[1])) {
        p += 1 + strspn(p + 1, "0123456789");
    }
    if (read_zone(r, p) < 0)
        return -1;
    return values[4] > days_in(values[0], values[2]) ? out_of_range(r, "day") : 0;
}

int json_parse_time(const char *text, bool micro, int64_t *instant, struct error *err)
{
    struct time_reader r = {text, micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00", err};
    if (check(&r, micro) < 0)
        return -1;
    if (time_parse(text, instant) < 0)
        return cannot_parse(&r, text, r.layout);
    if (!micro)
        *instant -= (*instant % SECOND + SECOND) % SECOND;
    if (!micro && !*instant)
        *instant = TIME_EPOCH;
    /* The zone may lead out of the years that four digits can tell. */
    if (!time_is_writable(*instant))
        return error_set(err, EINVAL, TIME_OUT_OF_RANGE);
    if (*instant == TIME_GO_ZERO)
        *instant = 0;
    return 0;
}
