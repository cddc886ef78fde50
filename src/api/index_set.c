#include "api/index_set.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "api/field_error.h"
#include "base/buffer.h"

/* As Go's strconv.Atoi reads [p, end). */
static bool read_number(const char *p, const char *end, long *out)
{
    char text[24];
    size_t size = (size_t)(end - p);
    if (!size || size >= sizeof(text) || !((*p >= '0' && *p <= '9') || *p == '+' || *p == '-'))
        return false;
    memcpy(text, p, size);
    text[size] = 0;
    char *stop;
    errno = 0;
    *out = strtol(text, &stop, 10);
    return !*stop && stop != text && !errno && text[strspn(text, "+-")] != 0;
}

/* The end of the part at p: the next `separator`, or the end of the text. */
static const char *part_end(const char *p, const char *end, char separator)
{
    const char *at = memchr(p, separator, (size_t)(end - p));
    return at ? at : end;
}

static void append(struct index_set *set, struct index_interval interval)
{
    struct index_interval *last = set->count ? &set->items[set->count - 1] : NULL;
    if (last && interval.first <= last->last + 1) {
        if (last->last < interval.last)
            last->last = interval.last;
    } else {
        set->items[set->count++] = interval;
    }
}

static size_t count_parts(const char *text)
{
    size_t count = 1;
    for (; *text; text++)
        count += *text == ',';
    return count;
}

struct index_set index_set_parse(struct arena *arena, const char *text, int32_t completions)
{
    struct index_set set = {0};
    if (!text || !*text)
        return set;
    set.items = arena_alloc(arena, count_parts(text) * sizeof(*set.items));
    for (const char *p = text, *end = text + strlen(text); p <= end;) {
        const char *stop = part_end(p, end, ','), *dash = part_end(p, stop, '-');
        long first, last;
        bool read = read_number(p, dash, &first);
        const char *second = dash < stop ? dash + 1 : p;
        read = read && read_number(second, dash < stop ? part_end(second, stop, '-') : dash, &last);
        p = stop + 1;
        if (!read || first < 0 || last < first)
            continue;
        if (first >= completions)
            break;
        if (set.count && first <= set.items[set.count - 1].last)
            continue;
        append(&set, (struct index_interval){(int32_t)first, (int32_t)(last >= completions ? completions - 1 : last)});
    }
    return set;
}

static int compare_indexes(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

struct index_set index_set_of(struct arena *arena, int32_t *indexes, size_t count)
{
    struct index_set set = {.items = arena_alloc(arena, count * sizeof(*set.items))};
    if (count)
        qsort(indexes, count, sizeof(*indexes), compare_indexes);
    for (size_t i = 0; i < count; i++)
        append(&set, (struct index_interval){indexes[i], indexes[i]});
    return set;
}

struct index_set index_set_merge(struct arena *arena, const struct index_set *a, const struct index_set *b)
{
    struct index_set set = {.items = arena_alloc(arena, (a->count + b->count) * sizeof(*set.items))};
    for (size_t i = 0, k = 0; i < a->count || k < b->count;) {
        bool first = k == b->count || (i < a->count && a->items[i].first < b->items[k].first);
        append(&set, first ? a->items[i++] : b->items[k++]);
    }
    return set;
}

char *index_set_text(struct arena *arena, const struct index_set *set)
{
    cleanup_buffer struct buffer text = {0};
    for (size_t i = 0; i < set->count; i++) {
        const struct index_interval *v = &set->items[i];
        buffer_printf(&text, "%s%d", i ? "," : "", v->first);
        if (v->last > v->first)
            buffer_printf(&text, "%c%d", v->last == v->first + 1 ? ',' : '-', v->last);
    }
    return arena_string_n(arena, text.data ? text.data : "", text.size);
}

int32_t index_set_total(const struct index_set *set)
{
    int64_t total = 0;
    for (size_t i = 0; i < set->count; i++)
        total += (int64_t)set->items[i].last - set->items[i].first + 1;
    return total > INT32_MAX ? INT32_MAX : (int32_t)total;
}

bool index_set_has(const struct index_set *set, int32_t index)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->items[middle].last >= index)
            high = middle;
        else
            low = middle + 1;
    }
    return low < set->count && set->items[low].first <= index;
}

int32_t index_set_common(const struct index_set *a, const struct index_set *b)
{
    int64_t common = 0;
    for (size_t i = 0, k = 0; i < a->count && k < b->count;) {
        const struct index_interval *x = &a->items[i], *y = &b->items[k];
        int64_t first = x->first > y->first ? x->first : y->first, last = x->last < y->last ? x->last : y->last;
        if (last >= first)
            common += last - first + 1;
        i += x->last <= y->last;
        k += y->last <= x->last;
    }
    return common > INT32_MAX ? INT32_MAX : (int32_t)common;
}

size_t index_set_missing(const struct index_set *set, int32_t completions, int32_t *out, size_t room)
{
    size_t count = 0;
    int32_t candidate = 0;
    for (size_t i = 0; i <= set->count; i++) {
        int32_t until = i < set->count && set->items[i].first < completions ? set->items[i].first : completions;
        for (; candidate < until && count < room; candidate++)
            out[count++] = candidate;
        if (i < set->count && candidate <= set->items[i].last)
            candidate = set->items[i].last < INT32_MAX ? set->items[i].last + 1 : INT32_MAX;
    }
    return count;
}

static const char *quoted(struct arena *arena, const char *format, const char *p, const char *end)
{
    cleanup_buffer struct buffer text = {0};
    go_quote(&text, arena_string_n(arena, p, (size_t)(end - p)));
    const char *tail = strstr(format, "%q");
    return arena_printf(arena, "%.*s%s%s", (int)(tail - format), format, text.data, tail + 2);
}

static const char *read_index(struct arena *arena, const char *p, const char *end, int32_t completions, int32_t *out)
{
    long number;
    if (!read_number(p, end, &number) || number < 0)
        return quoted(arena, "cannot convert string to integer for index: %q", p, end);
    if (number >= completions)
        return quoted(arena, "too large index: %q", p, end);
    *out = (int32_t)number;
    return NULL;
}

static const char *read_interval(struct arena *arena, const char *p, const char *end, int32_t completions,
                                 struct index_interval *out)
{
    const char *dash = part_end(p, end, '-');
    if (dash < end && part_end(dash + 1, end, '-') < end)
        return quoted(arena,
                      "the fragment %q violates the requirement that an index interval can have at most two parts "
                      "separated by '-'",
                      p, end);
    const char *problem = read_index(arena, p, dash, completions, &out->first);
    out->last = out->first;
    if (!problem && dash < end)
        problem = read_index(arena, dash + 1, end, completions, &out->last);
    if (!problem && dash < end && out->first >= out->last)
        problem = arena_printf(arena, "non-increasing order, previous: %d, current: %d", out->first, out->last);
    return problem;
}

const char *index_set_check(struct arena *arena, const char *text, int32_t completions, int32_t *total)
{
    int64_t count = 0;
    int32_t last = -1;
    *total = 0;
    if (!text || !*text)
        return NULL;
    for (const char *p = text, *end = text + strlen(text); p <= end;) {
        const char *stop = part_end(p, end, ',');
        struct index_interval interval = {0};
        const char *problem = read_interval(arena, p, stop, completions, &interval);
        if (problem)
            return problem;
        if (last >= interval.first)
            return arena_printf(arena, "non-increasing order, previous: %d, current: %d", last, interval.first);
        count += (int64_t)interval.last - interval.first + 1;
        last = interval.last;
        p = stop + 1;
    }
    *total = (int32_t)count;
    return NULL;
}

int32_t index_set_overlap(const char *a, const char *b, int32_t completions)
{
    cleanup_arena struct arena *arena = arena_new(0);
    struct index_set x = index_set_parse(arena, a, completions), y = index_set_parse(arena, b, completions);
    for (size_t i = 0, k = 0; i < x.count && k < y.count;) {
        const struct index_interval *p = &x.items[i], *q = &y.items[k];
        if (p->first <= q->last && q->first <= p->last)
            return p->first > q->first ? p->first : q->first;
        if (p->first <= q->first)
            i++;
        else
            k++;
    }
    return -1;
}
