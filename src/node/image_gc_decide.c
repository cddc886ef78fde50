/* The deciding half of image garbage collection. */
#include <stdlib.h>
#include <string.h>

#include "node/image_gc.h"

int64_t image_gc_excess(int64_t capacity, int64_t available)
{
    if (capacity <= 0)
        return 0;
    if (available > capacity)
        available = capacity;
    int64_t percent = capacity / 100;
    int64_t used = 100 - (percent ? available / percent : available * 100 / capacity);
    int64_t excess = capacity - capacity / 100 * IMAGE_GC_LOW_PERCENT - capacity % 100 * IMAGE_GC_LOW_PERCENT / 100 - available;
    return used >= IMAGE_GC_HIGH_PERCENT && excess > 0 ? excess : 0;
}

static bool may_go(const struct image_gc_record *r, int64_t now)
{
    return !r->in_use && !r->pinned && now - r->detected >= IMAGE_GC_MINIMUM_AGE;
}

/* By last use, and by first sight where that is the same. */
static int compare(const void *left, const void *right)
{
    const struct image_gc_record *a = left, *b = right;
    if (a->used != b->used)
        return a->used < b->used ? -1 : 1;
    if (a->detected != b->detected)
        return a->detected < b->detected ? -1 : 1;
    return strcmp(a->id, b->id);
}

size_t image_gc_order(struct image_gc_record *records, size_t count, int64_t now)
{
    size_t going = 0;
    for (size_t i = 0; i < count; i++)
        if (may_go(&records[i], now)) {
            struct image_gc_record r = records[i];
            records[i] = records[going];
            records[going++] = r;
        }
    if (going)
        qsort(records, going, sizeof(*records), compare);
    return going;
}
