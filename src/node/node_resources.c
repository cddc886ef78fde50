/* Huge pages, and resources that others have declared. */
#include "node/node_resources.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/quantity.h"
#include "api/resource_name.h"
#include "base/cleanup.h"
#include "base/file.h"

#define KILOBYTE INT64_C(1024)

/* ---- Huge pages ---- */

/* The kernel's names of sizes: the largest unit, and no fraction. */
static const char *kernel_size(struct arena *arena, int64_t size)
{
    static const char *const units[] = {"KB", "MB", "GB"};
    size_t unit = 0;
    for (size /= KILOBYTE; size >= KILOBYTE && unit + 1 < ARRAY_COUNT(units); size /= KILOBYTE)
        unit++;
    return arena_printf(arena, "%lld%s", (long long)size, units[unit]);
}

/* 0: the file does not say. */
static int64_t read_count(const char *directory, const char *size)
{
    cleanup_free char *path = mem_printf("%s/%s/nr_hugepages", directory, size);
    char text[64];
    return file_read_text(path, text, sizeof(text)) == 0 ? strtoll(text, NULL, 10) : 0;
}

static int by_size(const void *a, const void *b)
{
    const struct huge_page *x = a, *y = b;
    return x->size < y->size ? -1 : x->size > y->size;
}

struct huge_pages huge_pages_read(struct arena *arena, const char *directory)
{
    struct huge_pages pages = {0};
    DIR *sizes = opendir(directory);
    for (struct dirent *entry; sizes && (entry = readdir(sizes));) {
        long long kilobytes;
        if (sscanf(entry->d_name, HUGE_PAGE_PREFIX "%lldkB", &kilobytes) != 1 || kilobytes <= 0 ||
            kilobytes > INT64_MAX / KILOBYTE)
            continue;
        int64_t size = kilobytes * KILOBYTE, count = read_count(directory, entry->d_name);
        pages.items = arena_array_extend(arena, pages.items, pages.count, sizeof(*pages.items));
        pages.items[pages.count++] = (struct huge_page){
            .size = size,
            .total = count > 0 && count <= INT64_MAX / size ? count * size : 0,
            .resource =
                arena_printf(arena, HUGE_PAGE_PREFIX "%s", quantity_format(arena, (quantity_t)size * 1000000000, true)),
            .kernel = kernel_size(arena, size),
        };
    }
    if (sizes)
        closedir(sizes);
    if (pages.count)
        qsort(pages.items, pages.count, sizeof(*pages.items), by_size);
    return pages;
}

int64_t huge_pages_total(const struct huge_pages *pages)
{
    int64_t total = 0;
    for (size_t i = 0; i < pages->count; i++)
        total = quantity_add(total, pages->items[i].total);
    return total;
}

/* ---- What others have declared ---- */

static bool is_unknown_page(const char *name, const struct node_amounts *own)
{
    return resource_name_is_huge_page(name) && !string_map_get(&own->capacity, name);
}

struct node_amounts node_resources_merge(struct arena *arena, const struct node_status *shown,
                                         const struct node_amounts *own)
{
    struct node_amounts out = {0};
    for (size_t i = 0; i < shown->capacity.count; i++) {
        const struct string_pair *p = &shown->capacity.items[i];
        if (!is_unknown_page(p->key, own))
            string_map_set(arena, &out.capacity, p->key, p->value);
    }
    for (size_t i = 0; i < own->capacity.count; i++)
        string_map_set(arena, &out.capacity, own->capacity.items[i].key, own->capacity.items[i].value);
    for (size_t i = 0; i < shown->allocatable.count; i++) {
        const struct string_pair *p = &shown->allocatable.items[i];
        bool taken_out = resource_name_is_extended(p->key) && !string_map_get(&out.capacity, p->key);
        if (!taken_out && !is_unknown_page(p->key, own))
            string_map_set(arena, &out.allocatable, p->key, p->value);
    }
    for (size_t i = 0; i < out.capacity.count; i++) {
        const struct string_pair *p = &out.capacity.items[i];
        const char *mine = string_map_get(&own->allocatable, p->key);
        string_map_set(arena, &out.allocatable, p->key, mine ? mine : p->value);
    }
    return out;
}
