/* Transitions from the file, and behind the last one the rule at its end (a POSIX TZ string such as
 * "CET-1CEST,M3.5.0,M10.5.0/3"). */
#include "base/timezone.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/map.h"

#define DATABASE "/usr/share/zoneinfo/"
#define LOCAL_FILE "/etc/localtime"
#define NAME_MAX_SIZE 128
#define HEADER_SIZE 44
#define DAY INT64_C(86400)
/* Offsets of real zones are within a day; files with others are refused. */
#define OFFSET_MAX 93600

enum rule_kind { RULE_MONTH, RULE_JULIAN, RULE_DAY };

/* One of the two days of a year on which the clock changes. */
struct rule {
    enum rule_kind kind;
    int month, week, day; /* RULE_MONTH: day of the week; else day of the year */
    int32_t time;         /* seconds after midnight, of the offset before the change */
};

struct transition {
    int64_t at;
    int32_t offset; /* from then on */
};

struct timezone_data {
    struct transition *transitions;
    size_t count;
    int32_t first;   /* offset before the first transition */
    bool has_rule;   /* an offset behind the last transition ... */
    bool has_summer; /* ... that changes twice a year */
    int32_t standard, summer;
    struct rule to_summer, to_standard;
};

/* ---- Days ---- */

/* Days since the epoch, of the Gregorian calendar. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    month -= 1;
    year += month / 12;
    month %= 12;
    if (month < 0) {
        month += 12;
        year--;
    }
    /* Years that begin in March, so that leap days come last. */
    int64_t y = month < 2 ? year - 1 : year, m = month < 2 ? month + 10 : month - 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * m + 2) / 5;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468 + day - 1;
}

static void date_of(int64_t days, struct civil_time *out)
{
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, of_era = z - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100), m = (5 * of_year + 2) / 153;
    out->day = (int)(of_year - (153 * m + 2) / 5 + 1);
    out->month = (int)(m < 10 ? m + 3 : m - 9);
    out->year = year + era * 400 + (out->month <= 2);
    int64_t weekday = (days + 4) % 7;
    out->weekday = (int)(weekday < 0 ? weekday + 7 : weekday);
}

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* ---- The rule behind the last transition ---- */

static bool read_digits(const char **p, int most, int *out)
{
    int value = 0;
    const char *start = *p;
    for (; **p >= '0' && **p <= '9'; (*p)++) {
        value = value * 10 + (**p - '0');
        if (value > most)
            return false;
    }
    *out = value;
    return *p != start;
}

/* "[+-]hh[:mm[:ss]]". */
static bool read_clock(const char **p, int32_t *out)
{
    int hours, minutes = 0, seconds = 0, sign = **p == '-' ? -1 : 1;
    if (**p == '-' || **p == '+')
        (*p)++;
    if (!read_digits(p, 167, &hours))
        return false;
    if (**p == ':' && ((*p)++, !read_digits(p, 59, &minutes)))
        return false;
    if (**p == ':' && ((*p)++, !read_digits(p, 59, &seconds)))
        return false;
    *out = sign * (hours * 3600 + minutes * 60 + seconds);
    return true;
}

static bool read_zone_name(const char **p)
{
    const char *start = *p;
    if (**p == '<') {
        const char *end = strchr(start, '>');
        if (!end)
            return false;
        *p = end + 1;
        return end > start + 3;
    }
    while ((**p >= 'A' && **p <= 'Z') || (**p >= 'a' && **p <= 'z'))
        (*p)++;
    return *p - start >= 3;
}

static bool read_rule(const char **p, struct rule *rule)
{
    if (**p == 'M') {
        (*p)++;
        rule->kind = RULE_MONTH;
        if (!read_digits(p, 12, &rule->month) || !rule->month || *(*p)++ != '.' || !read_digits(p, 5, &rule->week) ||
            !rule->week || *(*p)++ != '.' || !read_digits(p, 6, &rule->day))
            return false;
    } else {
        rule->kind = **p == 'J' ? RULE_JULIAN : RULE_DAY;
        *p += **p == 'J';
        if (!read_digits(p, 365, &rule->day) || (rule->kind == RULE_JULIAN && !rule->day))
            return false;
    }
    rule->time = 7200;
    if (**p == '/') {
        (*p)++;
        return read_clock(p, &rule->time);
    }
    return true;
}

static bool read_posix(const char *p, struct timezone_data *zone)
{
    int32_t west;
    if (!read_zone_name(&p) || !read_clock(&p, &west) || abs(west) > OFFSET_MAX)
        return false;
    zone->standard = -west;
    if (!*p)
        return true;
    zone->has_summer = true;
    if (!read_zone_name(&p))
        return false;
    zone->summer = zone->standard + 3600;
    if (*p && *p != ',') {
        if (!read_clock(&p, &west) || abs(west) > OFFSET_MAX)
            return false;
        zone->summer = -west;
    }
    return *p++ == ',' && read_rule(&p, &zone->to_summer) && *p++ == ',' && read_rule(&p, &zone->to_standard) && !*p;
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* When a rule strikes in a year: seconds since the epoch. */
static int64_t rule_instant(const struct rule *rule, int64_t year, int32_t offset_before)
{
    int64_t day;
    if (rule->kind == RULE_MONTH) {
        struct civil_time first;
        int64_t start = days_of(year, rule->month, 1), length = days_of(year, rule->month + 1, 1) - start;
        date_of(start, &first);
        int64_t of_month = (rule->day - first.weekday + 7) % 7 + (int64_t)(rule->week - 1) * 7;
        while (of_month >= length)
            of_month -= 7;
        day = start + of_month;
    } else if (rule->kind == RULE_JULIAN) {
        day = days_of(year, 1, rule->day) + (rule->day >= 60 && is_leap(year));
    } else {
        day = days_of(year, 1, 1) + rule->day;
    }
    return day * DAY + rule->time - offset_before;
}

static int32_t offset_by_rule(const struct timezone_data *zone, int64_t at, int64_t *from, int64_t *until)
{
    if (!zone->has_summer)
        return zone->standard;
    struct civil_time date;
    date_of(floor_divide(at + zone->standard, DAY), &date);
    int32_t offset = zone->standard;
    int64_t start = INT64_MIN, end = INT64_MAX;
    for (int64_t year = date.year - 1; year <= date.year + 1; year++) {
        const struct transition changes[] = {{rule_instant(&zone->to_summer, year, zone->standard), zone->summer},
                                             {rule_instant(&zone->to_standard, year, zone->summer), zone->standard}};
        for (size_t i = 0; i < 2; i++) {
            if (changes[i].at <= at && changes[i].at >= start) {
                start = changes[i].at;
                offset = changes[i].offset;
            } else if (changes[i].at > at && changes[i].at < end) {
                end = changes[i].at;
            }
        }
    }
    if (start > *from)
        *from = start;
    *until = end;
    return offset;
}

int32_t timezone_offset(const struct timezone_data *zone, int64_t at, int64_t *from, int64_t *until)
{
    int64_t unused_from, unused_until;
    from = from ? from : &unused_from;
    until = until ? until : &unused_until;
    size_t low = 0, high = zone->count; /* transitions up to `at` */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->transitions[middle].at <= at)
            low = middle + 1;
        else
            high = middle;
    }
    *from = low ? zone->transitions[low - 1].at : INT64_MIN;
    *until = low < zone->count ? zone->transitions[low].at : INT64_MAX;
    if (low == zone->count && zone->has_rule)
        return offset_by_rule(zone, at, from, until);
    return low ? zone->transitions[low - 1].offset : zone->first;
}

/* ---- TZif ---- */

struct reader {
    const unsigned char *at;
    size_t left;
};

static const unsigned char *take(struct reader *r, size_t size)
{
    if (size > r->left)
        return NULL;
    const unsigned char *at = r->at;
    r->at += size;
    r->left -= size;
    return at;
}

static uint32_t big32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t big64(const unsigned char *p)
{
    return (int64_t)((uint64_t)big32(p) << 32 | big32(p + 4));
}

/* The counts of a header, in the order of the file. */
enum { IS_UT, IS_STD, LEAPS, TIMES, TYPES, CHARACTERS, COUNTS };

static bool read_header(struct reader *r, unsigned char *version, uint32_t counts[COUNTS])
{
    const unsigned char *header = take(r, HEADER_SIZE);
    if (!header || memcmp(header, "TZif", 4) != 0)
        return false;
    *version = header[4];
    for (int i = 0; i < COUNTS; i++) {
        counts[i] = big32(header + 20 + 4 * (size_t)i);
        if (counts[i] > TIMEZONE_FILE_MAX)
            return false;
    }
    return true;
}

/* Transition times take time_size bytes each. */
static bool read_block(struct reader *r, const uint32_t counts[COUNTS], size_t time_size, struct timezone_data *zone)
{
    const unsigned char *times = take(r, counts[TIMES] * time_size), *kinds = take(r, counts[TIMES]);
    const unsigned char *types = take(r, counts[TYPES] * (size_t)6);
    size_t rest = counts[CHARACTERS] + counts[LEAPS] * (time_size + 4) + counts[IS_STD] + counts[IS_UT];
    if (!times || !kinds || !types || !take(r, rest) || !counts[TYPES])
        return false;
    for (size_t i = 0; i < counts[TYPES]; i++)
        if (abs((int32_t)big32(types + 6 * i)) > OFFSET_MAX)
            return false;
    zone->first = (int32_t)big32(types);
    zone->count = counts[TIMES];
    zone->transitions = mem_zero(zone->count + 1, sizeof(*zone->transitions));
    for (size_t i = 0; i < zone->count; i++) {
        struct transition *t = &zone->transitions[i];
        t->at = time_size == 8 ? big64(times + 8 * i) : (int32_t)big32(times + 4 * i);
        if (kinds[i] >= counts[TYPES] || (i && t->at <= t[-1].at))
            return false;
        t->offset = (int32_t)big32(types + (size_t)6 * kinds[i]);
    }
    return true;
}

static bool read_footer(struct reader *r, struct timezone_data *zone)
{
    if (!r->left || *r->at != '\n')
        return r->left == 0;
    const unsigned char *end = memchr(r->at + 1, '\n', r->left - 1);
    if (!end)
        return false;
    char text[128];
    size_t size = (size_t)(end - r->at - 1);
    if (!size)
        return true;
    if (size >= sizeof(text))
        return false;
    memcpy(text, r->at + 1, size);
    text[size] = 0;
    return zone->has_rule = read_posix(text, zone);
}

struct timezone_data *timezone_parse(const void *data, size_t size)
{
    struct reader r = {data, size};
    struct timezone_data *zone = mem_zero(1, sizeof(*zone));
    uint32_t counts[COUNTS];
    unsigned char version;
    bool fine = size <= TIMEZONE_FILE_MAX && read_header(&r, &version, counts);
    if (fine && version >= '2') {
        /* The block with times of 32 bits is for old readers. */
        size_t skipped = counts[TIMES] * (size_t)5 + counts[TYPES] * (size_t)6 + counts[CHARACTERS] +
                         counts[LEAPS] * (size_t)8 + counts[IS_STD] + counts[IS_UT];
        fine = take(&r, skipped) && read_header(&r, &version, counts) && read_block(&r, counts, 8, zone) &&
               read_footer(&r, zone);
    } else if (fine) {
        fine = read_block(&r, counts, 4, zone);
    }
    if (fine)
        return zone;
    timezone_free(zone);
    return NULL;
}

void timezone_free(struct timezone_data *zone)
{
    if (!zone)
        return;
    free(zone->transitions);
    free(zone);
}

/* ---- Finding ---- */

static struct timezone_data *read_file(const char *path)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    cleanup_free char *data = mem_zero(1, TIMEZONE_FILE_MAX + 1);
    size_t size = 0;
    for (ssize_t n; size <= TIMEZONE_FILE_MAX && (n = read(fd, data + size, TIMEZONE_FILE_MAX + 1 - size)) > 0;)
        size += (size_t)n;
    return timezone_parse(data, size);
}

static bool is_safe(const char *name)
{
    return strlen(name) < NAME_MAX_SIZE && *name != '/' && *name != '.' && !strstr(name, "..") && !strchr(name, '\\') &&
           !strstr(name, "//");
}

const struct timezone_data *timezone_find(const char *name)
{
    static const struct timezone_data utc;
    static struct map zones; /* lives as long as the program */
    if (!*name || strcmp(name, "UTC") == 0)
        return &utc;
    if (!is_safe(name))
        return NULL;
    struct timezone_data *zone = map_get(&zones, name);
    if (zone || zones.count >= TIMEZONE_COUNT_MAX)
        return zone;
    if (strcmp(name, "Local") == 0) {
        zone = read_file(LOCAL_FILE);
        if (!zone)
            return &utc;
    } else {
        cleanup_free char *path = mem_printf(DATABASE "%s", name);
        zone = read_file(path);
    }
    if (zone)
        map_set(&zones, name, zone);
    return zone;
}

/* ---- Dates ---- */

struct civil_time civil_from_instant(const struct timezone_data *zone, int64_t at)
{
    struct civil_time out;
    int64_t local = at + timezone_offset(zone, at, NULL, NULL), days = floor_divide(local, DAY);
    int seconds = (int)(local - days * DAY);
    date_of(days, &out);
    out.hour = seconds / 3600;
    out.minute = seconds / 60 % 60;
    out.second = seconds % 60;
    return out;
}

int64_t civil_to_instant(const struct timezone_data *zone, int64_t year, int64_t month, int64_t day, int64_t hour,
                         int64_t minute, int64_t second)
{
    int64_t from, until, local = days_of(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    int32_t offset = timezone_offset(zone, local, &from, &until);
    int64_t at = local - offset;
    if (offset && (at < from || at >= until))
        offset = timezone_offset(zone, at, NULL, NULL);
    return local - offset;
}
