#include "api/cron.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/field_error.h"
#include "base/buffer.h"
#include "base/timestamp.h"

#define STAR (UINT64_C(1) << 63)
#define FIELDS 5
/* Years that are looked through. */
#define YEARS_AHEAD 5

struct bounds {
    uint64_t least, most;
    const char *const *names; /* of least, least + 1, ...; NULL: none */
};

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                     "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekdays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};
static const struct bounds fields[FIELDS] = {
    {0, 59, NULL}, {0, 23, NULL}, {1, 31, NULL}, {1, 12, months}, {0, 6, weekdays}};

static uint64_t bits_of(uint64_t first, uint64_t last, uint64_t step)
{
    uint64_t bits = 0;
    for (uint64_t i = first; i <= last; i += step)
        bits |= UINT64_C(1) << i;
    return bits;
}

static uint64_t all(int field)
{
    return bits_of(fields[field].least, fields[field].most, 1) | STAR;
}

/* ---- One field ---- */

static const char *quoted(struct arena *arena, const char *text)
{
    cleanup_buffer struct buffer out = {0};
    go_quote(&out, text);
    return arena_string(arena, out.data);
}

/* As Go's strconv.Atoi, and not below zero. */
static const char *read_number(struct arena *arena, const char *text, uint64_t *out)
{
    static const char failed[] = "failed to parse int from %s: strconv.Atoi: parsing %s: %s";
    const char *digits = text + (*text == '+' || *text == '-');
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (!isdigit((unsigned char)*digits) || *end)
        return arena_printf(arena, failed, text, quoted(arena, text), "invalid syntax");
    if (errno)
        return arena_printf(arena, failed, text, quoted(arena, text), "value out of range");
    if (number < 0)
        return arena_printf(arena, "negative number (%ld) not allowed: %s", number, text);
    *out = (uint64_t)number;
    return NULL;
}

static const char *read_value(struct arena *arena, const char *text, const struct bounds *b, uint64_t *out)
{
    for (size_t i = 0; b->names && b->names[i]; i++) {
        if (strcasecmp(text, b->names[i]) == 0) {
            *out = b->least + i;
            return NULL;
        }
    }
    return read_number(arena, text, out);
}

static bool is_star(const char *text)
{
    return strcmp(text, "*") == 0 || strcmp(text, "?") == 0;
}

/* Cuts the text at the separator; returns what is behind it, or NULL. */
static char *cut(char *text, char separator)
{
    char *at = strchr(text, separator);
    if (!at)
        return NULL;
    *at = 0;
    return at + 1;
}

static const char *read_range(struct arena *arena, const char *text, const struct bounds *b, uint64_t *bits)
{
    char *range = arena_string(arena, text), *step_text = cut(range, '/'), *high = cut(range, '-');
    uint64_t first = b->least, last = b->most, step = 1, star = STAR;
    const char *problem = NULL;
    if (!is_star(range)) {
        star = 0;
        problem = read_value(arena, range, b, &first);
        last = first;
        if (!problem && high && strchr(high, '-'))
            problem = arena_printf(arena, "too many hyphens: %s", text);
        else if (!problem && high)
            problem = read_value(arena, high, b, &last);
    }
    if (!problem && step_text && strchr(step_text, '/'))
        problem = arena_printf(arena, "too many slashes: %s", text);
    else if (!problem && step_text)
        problem = read_number(arena, step_text, &step);
    if (problem)
        return problem;
    if (step_text && !high)
        last = b->most;
    if (first < b->least)
        return arena_printf(arena, "beginning of range (%llu) below minimum (%llu): %s", (unsigned long long)first,
                            (unsigned long long)b->least, text);
    if (last > b->most)
        return arena_printf(arena, "end of range (%llu) above maximum (%llu): %s", (unsigned long long)last,
                            (unsigned long long)b->most, text);
    if (first > last)
        return arena_printf(arena, "beginning of range (%llu) beyond end of range (%llu): %s",
                            (unsigned long long)first, (unsigned long long)last, text);
    if (!step)
        return arena_printf(arena, "step of range should be a positive number: %s", text);
    *bits |= bits_of(first, last, step) | (step > 1 ? 0 : star);
    return NULL;
}

static const char *read_field(struct arena *arena, char *text, const struct bounds *b, uint64_t *bits)
{
    *bits = 0;
    for (char *save, *part = strtok_r(text, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
        const char *problem = read_range(arena, part, b, bits);
        if (problem)
            return problem;
    }
    return NULL;
}

/* ---- Durations ---- */

static const struct {
    const char *name;
    double nanoseconds;
} units[] = {{"ns", 1},   {"us", 1e3}, {"\u00b5s", 1e3}, {"\u03bcs", 1e3},
             {"ms", 1e6}, {"s", 1e9},  {"m", 60e9},      {"h", 3600e9}};

/* As Go's time.ParseDuration, to whole seconds and at least one. */
static const char *read_duration(struct arena *arena, const char *text, int64_t *out)
{
    const char *p = text + (*text == '+' || *text == '-');
    long double total = 0;
    if (strcmp(p, "0") == 0)
        p++;
    else if (!*p)
        return arena_printf(arena, "time: invalid duration %s", quoted(arena, text));
    while (*p) {
        size_t size = strspn(p, "0123456789.");
        const char *point = memchr(p, '.', size);
        if (!size || (size == 1 && point) || (point && memchr(point + 1, '.', (size_t)(p + size - point - 1))))
            return arena_printf(arena, "time: invalid duration %s", quoted(arena, text));
        long double number = strtold(arena_string_n(arena, p, size), NULL);
        p += size;
        size_t unit = strcspn(p, "0123456789."), i = 0;
        if (!unit)
            return arena_printf(arena, "time: missing unit in duration %s", quoted(arena, text));
        while (i < sizeof(units) / sizeof(*units) &&
               (strlen(units[i].name) != unit || memcmp(units[i].name, p, unit) != 0))
            i++;
        if (i == sizeof(units) / sizeof(*units))
            return arena_printf(arena, "time: unknown unit %s in duration %s",
                                quoted(arena, arena_string_n(arena, p, unit)), quoted(arena, text));
        total += number * (long double)units[i].nanoseconds;
        if (total > 9.2e18L)
            return arena_printf(arena, "time: invalid duration %s", quoted(arena, text));
        p += unit;
    }
    int64_t seconds = *text == '-' ? 0 : (int64_t)(total / 1e9L);
    *out = (seconds < 1 ? 1 : seconds) * SECOND;
    return NULL;
}

/* ---- Whole schedules ---- */

static const char *read_descriptor(struct arena *arena, const char *text, struct cron_schedule *out)
{
    static const struct {
        const char *name;
        int free; /* how many of the fields, from the left, are not at their least */
    } * d, descriptors[] = {{"@yearly", 0}, {"@annually", 0}, {"@monthly", 1}, {"@weekly", 2},
                            {"@daily", 3},  {"@midnight", 3}, {"@hourly", 4},  {NULL, 0}};
    static const char every[] = "@every ";
    for (d = descriptors; d->name && strcmp(d->name, text) != 0;)
        d++;
    if (d->name) {
        out->minute = 1;
        out->hour = d->free == 4 ? all(1) : 1;
        out->day = d->free >= 2 ? all(2) : UINT64_C(1) << 1;
        out->month = d->free >= 1 ? all(3) : UINT64_C(1) << 1;
        out->weekday = d->free == 2 ? 1 : all(4);
        return NULL;
    }
    if (strncmp(text, every, sizeof(every) - 1) != 0)
        return arena_printf(arena, "unrecognized descriptor: %s", text);
    const char *problem = read_duration(arena, text + sizeof(every) - 1, &out->every);
    return problem ? arena_printf(arena, "failed to parse duration %s: %s", text, problem) : NULL;
}

static const char *read_fields(struct arena *arena, const char *text, struct cron_schedule *out)
{
    static const char blanks[] = " \t\n\v\f\r";
    char *copy = arena_string(arena, text), *found[FIELDS];
    size_t count = 0;
    cleanup_buffer struct buffer list = {0};
    for (char *save, *part = strtok_r(copy, blanks, &save); part; part = strtok_r(NULL, blanks, &save)) {
        buffer_printf(&list, "%s%s", count ? " " : "", part);
        if (count < FIELDS)
            found[count] = part;
        count++;
    }
    if (count != FIELDS)
        return arena_printf(arena, "expected exactly %d fields, found %zu: [%s]", FIELDS, count,
                            list.data ? list.data : "");
    uint64_t *const bits[FIELDS] = {&out->minute, &out->hour, &out->day, &out->month, &out->weekday};
    for (size_t i = 0; i < FIELDS; i++) {
        const char *problem = read_field(arena, found[i], &fields[i], bits[i]);
        if (problem)
            return problem;
    }
    return NULL;
}

const char *cron_parse(struct arena *arena, const char *text, const struct timezone_data *zone,
                       struct cron_schedule *out)
{
    *out = (struct cron_schedule){.zone = zone};
    if (!*text)
        return "empty spec string";
    if (strncmp(text, "TZ=", 3) == 0 || strncmp(text, "CRON_TZ=", 8) == 0) {
        const char *name = strchr(text, '=') + 1, *end = name + strcspn(name, " ");
        name = arena_string_n(arena, name, (size_t)(end - name));
        out->zone = timezone_find(name);
        if (!out->zone)
            return arena_printf(arena, "provided bad location %s: unknown time zone %s", name, name);
        text = end + strspn(end, " \t\n\v\f\r");
    }
    return *text == '@' ? read_descriptor(arena, text, out) : read_fields(arena, text, out);
}

/* ---- The next time ---- */

static bool has_bit(uint64_t bits, int at)
{
    return bits >> at & 1;
}

static bool day_matches(const struct cron_schedule *s, const struct civil_time *t)
{
    bool day = has_bit(s->day, t->day), weekday = has_bit(s->weekday, t->weekday);
    return (s->day | s->weekday) & STAR ? day && weekday : day || weekday;
}

/* The search: an instant in seconds, and how it reads in the zone. Once something has been added, smaller units are at
 * their least. */
struct search {
    const struct cron_schedule *schedule;
    int64_t at;
    struct civil_time t;
    bool added;
};

static void move(struct search *s, int64_t at)
{
    s->at = at;
    s->t = civil_from_instant(s->schedule->zone, at);
}

static void move_to(struct search *s, int month, int day, int hour)
{
    move(s, civil_to_instant(s->schedule->zone, s->t.year, month, day, hour, 0, 0));
}

/* Each returns false when the next bigger unit has changed too, and the search has to begin again there. */

static bool find_month(struct search *s)
{
    while (!has_bit(s->schedule->month, s->t.month)) {
        if (!s->added)
            move_to(s, s->t.month, 1, 0);
        s->added = true;
        move(s, civil_to_instant(s->schedule->zone, s->t.year, s->t.month + 1, s->t.day, s->t.hour, s->t.minute,
                                 s->t.second));
        if (s->t.month == 1)
            return false;
    }
    return true;
}

static bool find_day(struct search *s)
{
    while (!day_matches(s->schedule, &s->t)) {
        if (!s->added)
            move_to(s, s->t.month, s->t.day, 0);
        s->added = true;
        move(s, civil_to_instant(s->schedule->zone, s->t.year, s->t.month, s->t.day + 1, s->t.hour, s->t.minute,
                                 s->t.second));
        /* Midnight may be skipped. */
        if (s->t.hour > 12)
            move(s, s->at + (24 - s->t.hour) * INT64_C(3600));
        else if (s->t.hour)
            move(s, s->at - s->t.hour * INT64_C(3600));
        if (s->t.day == 1)
            return false;
    }
    return true;
}

static bool find_hour(struct search *s)
{
    while (!has_bit(s->schedule->hour, s->t.hour)) {
        if (!s->added)
            move_to(s, s->t.month, s->t.day, s->t.hour);
        s->added = true;
        move(s, s->at + 3600);
        if (!s->t.hour)
            return false;
    }
    return true;
}

static bool find_minute(struct search *s)
{
    while (!has_bit(s->schedule->minute, s->t.minute)) {
        if (!s->added)
            move(s, s->at - (s->at % 60 + 60) % 60);
        s->added = true;
        move(s, s->at + 60);
        if (!s->t.minute)
            return false;
    }
    return true;
}

static bool find_second(struct search *s)
{
    while (s->t.second) {
        s->added = true;
        move(s, s->at + 1);
        if (!s->t.second)
            return false;
    }
    return true;
}

int64_t cron_next(const struct cron_schedule *schedule, int64_t after)
{
    const struct cron_schedule *s = schedule;
    int64_t whole = after / SECOND - (after % SECOND < 0);
    if (s->every)
        return whole * SECOND + s->every;
    if (!(s->minute & ~STAR) || !(s->hour & ~STAR) || !(s->month & ~STAR) || !((s->day | s->weekday) & ~STAR))
        return 0;
    struct search search = {.schedule = s};
    move(&search, whole + 1);
    int64_t last = search.t.year + YEARS_AHEAD;
    while (search.t.year <= last)
        if (find_month(&search) && find_day(&search) && find_hour(&search) && find_minute(&search) &&
            find_second(&search))
            return search.at * SECOND;
    return 0;
}
