/* Maps from JSON: sorted by key, the last of repeated keys counts. */
#include <stdlib.h>

#include "api/json_decoder.h"
#include "api/walk.h"

/* A pair of any map while it is read. */
struct map_entry {
    size_t index; /* order in the text */
    union {
        const char *key;
        struct string_pair string;
        struct bytes_pair bytes;
    };
};

static int compare_entries(const void *a, const void *b)
{
    const struct map_entry *x = *(const struct map_entry *const *)a, *y = *(const struct map_entry *const *)b;
    int order = strcmp(x->key, y->key);
    return order ? order : x->index < y->index ? -1 : 1;
}

/* Sorts the entries by key; of equal keys the last stays, and each other one of this text is reported.
 * Returns how many are left. */
static size_t sort_entries(struct json_decoder *d, struct map_entry **entries, size_t count, size_t old,
                           const struct json_frame *at)
{
    qsort(entries, count, sizeof(*entries), compare_entries);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && strcmp(entries[i]->key, entries[i + 1]->key) == 0) {
            if (entries[i]->index >= old)
                json_report_problem(d, JSON_DUPLICATE_FIELD, at, entries[i]->key, strlen(entries[i]->key));
            continue;
        }
        entries[kept++] = entries[i];
    }
    return kept;
}

static int decode_map_entry(struct json_decoder *d, const struct api_field *f, struct map_entry *entry,
                            const struct json_frame *at)
{
    struct json_slice key;
    if (d->p >= d->end || *d->p != '"')
        return json_syntax();
    d->p++;
    if (json_read_text(d, &key) < 0)
        return -1;
    entry->key = string_pool_copy(&d->strings, key.data, key.size);
    struct json_frame here = {.up = at, .name = entry->key, .name_size = key.size};
    json_skip_blanks(d);
    if (d->p >= d->end || *d->p++ != ':')
        return json_syntax();
    json_skip_blanks(d);
    if (d->p >= d->end)
        return json_syntax();
    bool null = *d->p == 'n';
    if (null && json_decode_null(d) < 0)
        return -1;
    if (f->kind == API_STRING)
        entry->string.value = "";
    else if (f->kind == API_QUANTITY)
        entry->string.value = "0";
    void *slot = f->kind == API_BYTES ? (void *)&entry->bytes.value : &entry->string.value;
    return null ? 0 : json_decode_scalar(d, f, false, slot, &here);
}

int json_decode_map(struct json_decoder *d, const struct api_field *f, struct any_array *slot,
                    const struct json_frame *at)
{
    if (*d->p != '{')
        return json_skip_wrong_type(d, f, true, at);
    struct json_scratch *block = d->scratch;
    size_t used = block->used;
    size_t size = f->kind == API_BYTES ? sizeof(struct bytes_pair) : sizeof(struct string_pair);
    struct json_element *first = NULL, **tail = &first;
    size_t count = 0, old = slot->count;
    bool sorted = true;
    const char *last = NULL;
    /* A map that is given twice: the second on top of the first. */
    for (; count < old; count++) {
        struct map_entry *entry = json_element_new(d, &tail, sizeof(*entry));
        if (!entry)
            return -1;
        entry->index = count;
        memcpy(&entry->key, (const char *)slot->items + count * size, size);
        last = entry->key;
    }
    int more = json_first_member(d, '}');
    for (; more > 0; count++) {
        struct map_entry *entry = json_element_new(d, &tail, sizeof(*entry));
        if (!entry)
            return -1;
        entry->index = count;
        if (decode_map_entry(d, f, entry, at) < 0)
            return -1;
        sorted = sorted && (!last || strcmp(last, entry->key) < 0);
        last = entry->key;
        more = json_next_member(d, '}');
    }
    if (more < 0)
        return -1;
    d->depth--;
    struct map_entry **entries = count ? json_scratch_take(d, count * sizeof(struct map_entry *)) : NULL;
    for (size_t i = 0; i < count; i++, first = first->next)
        entries[i] = (struct map_entry *)first->value;
    if (!sorted)
        count = sort_entries(d, entries, count, old, at);
    char *items = count ? arena_alloc(d->arena, count * size) : (void *)(uintptr_t)&walk_empty_items;
    for (size_t i = 0; i < count; i++)
        memcpy(items + i * size, &entries[i]->key, size);
    *slot = (struct any_array){items, count};
    json_scratch_release(d, block, used);
    return 0;
}
