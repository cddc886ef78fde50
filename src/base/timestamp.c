/* RFC 3339 and Go's duration text. */
#include "base/timestamp.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Writes value as `width` digits. */
static char *put_digits(char *out, int64_t value, int width)
{
    for (int i = width - 1; i >= 0; i--, value /= 10)
        out[i] = (char)('0' + value % 10);
    return out + width;
}

/* Year, month and day of a day counted from 1970-01-01, by the rule of 400 years that begin with March. */
static void civil_date(int64_t day, int64_t *year, int *month, int *day_of_month)
{
    day += 719468;
    int64_t era = (day >= 0 ? day : day - 146096) / 146097;
    int64_t of_era = day - era * 146097;
    int64_t years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * years + years / 4 - years / 100);
    int from_march = (int)((5 * of_year + 2) / 153);
    *day_of_month = (int)(of_year - (153 * from_march + 2) / 5 + 1);
    *month = from_march < 10 ? from_march + 3 : from_march - 9;
    *year = era * 400 + years + (*month <= 2);
}

static size_t format(int64_t instant, int digits, char out[TIME_TEXT_MAX])
{
    static const int64_t day_seconds = 86400;
    int64_t seconds = instant / SECOND, fraction = instant % SECOND, year;
    int month, day;
    if (fraction < 0) {
        fraction += SECOND;
        seconds--;
    }
    int64_t days = seconds / day_seconds, second = seconds % day_seconds;
    if (second < 0) {
        second += day_seconds;
        days--;
    }
    civil_date(days, &year, &month, &day);
    char *p = out;
    if (year < 0)
        *p++ = '-';
    year = year < 0 ? -year : year;
    p = put_digits(p, year, year > 9999 ? 6 : 4);
    *p++ = '-';
    p = put_digits(p, month, 2);
    *p++ = '-';
    p = put_digits(p, day, 2);
    *p++ = 'T';
    p = put_digits(p, second / 3600, 2);
    *p++ = ':';
    p = put_digits(p, second / 60 % 60, 2);
    *p++ = ':';
    p = put_digits(p, second % 60, 2);
    if (digits) {
        *p++ = '.';
        p = put_digits(p, fraction, 6);
        for (int i = 6; i < digits; i++)
            *p++ = '0';
    }
    *p++ = 'Z';
    *p = 0;
    return (size_t)(p - out);
}

size_t time_format(int64_t instant, char out[TIME_TEXT_MAX])
{
    return format(instant, 0, out);
}

size_t time_format_micro(int64_t instant, char out[TIME_TEXT_MAX])
{
    return format(instant, 6, out);
}

size_t time_format_nano(int64_t instant, char out[TIME_TEXT_MAX])
{
    return format(instant, 9, out);
}

/* Reads exactly n digits. */
static int digits(const char **at, int n, int *value)
{
    *value = 0;
    for (int i = 0; i < n; i++, (*at)++) {
        if (!isdigit((unsigned char)**at))
            return -1;
        *value = *value * 10 + (**at - '0');
    }
    return 0;
}

static int literal(const char **at, const char *any)
{
    if (!**at || !strchr(any, **at))
        return -1;
    (*at)++;
    return 0;
}

int time_parse(const char *text, int64_t *instant)
{
    struct tm t = {0};
    int64_t fraction = 0;
    int offset = 0;
    if (digits(&text, 4, &t.tm_year) || literal(&text, "-") || digits(&text, 2, &t.tm_mon) || literal(&text, "-") ||
        digits(&text, 2, &t.tm_mday) || literal(&text, "Tt") || digits(&text, 2, &t.tm_hour) || literal(&text, ":") ||
        digits(&text, 2, &t.tm_min) || literal(&text, ":") || digits(&text, 2, &t.tm_sec))
        return -1;
    if (*text == '.' || *text == ',') {
        int64_t unit = SECOND / 10;
        if (!isdigit((unsigned char)*++text))
            return -1;
        for (; isdigit((unsigned char)*text); text++, unit /= 10)
            fraction += (*text - '0') * unit;
    }
    if (*text == 'Z' || *text == 'z') {
        text++;
    } else {
        int sign = *text == '-' ? -1 : 1, hours, minutes;
        if (literal(&text, "+-") || digits(&text, 2, &hours) || literal(&text, ":") || digits(&text, 2, &minutes))
            return -1;
        if (hours > 23 || minutes > 59)
            return -1;
        offset = sign * (hours * 60 + minutes) * 60;
    }
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (*text || t.tm_mon < 1 || t.tm_mon > 12 || t.tm_mday < 1 || t.tm_mday > days[t.tm_mon - 1] || t.tm_hour > 23 ||
        t.tm_min > 59 || t.tm_sec > 59)
        return -1;
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    *instant = ((int64_t)timegm(&t) - offset) * SECOND + fraction;
    return 0;
}

bool time_is_writable(int64_t instant)
{
    return instant >= TIME_MIN && instant <= TIME_MAX;
}

int64_t duration_of_seconds(int64_t seconds)
{
    int64_t bounded = seconds > DURATION_SECONDS_MAX    ? DURATION_SECONDS_MAX
                      : seconds < -DURATION_SECONDS_MAX ? -DURATION_SECONDS_MAX
                                                        : seconds;
    return bounded * SECOND;
}

/* Writes value/unit with its fraction, without trailing zeros. */
static size_t with_fraction(int64_t value, int64_t unit, const char *suffix, char *out, size_t room)
{
    int64_t whole = value / unit, rest = value % unit;
    char fraction[24] = "";
    if (rest) {
        int n = 0;
        fraction[n++] = '.';
        for (int64_t u = unit / 10; rest; u /= 10) {
            fraction[n++] = (char)('0' + rest / u);
            rest %= u;
        }
        fraction[n] = 0;
    }
    return (size_t)snprintf(out, room, "%lld%s%s", (long long)whole, fraction, suffix);
}

size_t duration_format(int64_t duration, char out[TIME_TEXT_MAX])
{
    size_t n = 0;
    if (duration == 0)
        return (size_t)snprintf(out, TIME_TEXT_MAX, "0s");
    if (duration < 0) {
        out[n++] = '-';
        duration = -duration;
    }
    if (duration < MILLISECOND)
        return n + with_fraction(duration, 1, "\302\265s", out + n, TIME_TEXT_MAX - n);
    if (duration < SECOND)
        return n + with_fraction(duration, MILLISECOND, "ms", out + n, TIME_TEXT_MAX - n);
    int64_t hours = duration / HOUR, minutes = duration % HOUR / MINUTE;
    if (hours)
        n += (size_t)snprintf(out + n, TIME_TEXT_MAX - n, "%lldh", (long long)hours);
    if (hours || minutes)
        n += (size_t)snprintf(out + n, TIME_TEXT_MAX - n, "%lldm", (long long)minutes);
    return n + with_fraction(duration % MINUTE, SECOND, "s", out + n, TIME_TEXT_MAX - n);
}
