#include "network/dns/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/map.h"
#include "base/timestamp.h"

struct entry {
    struct list link; /* the one used longest ago first */
    char *key;
    int64_t stored, expires;
    size_t size;
    uint8_t data[];
};

struct dns_cache {
    struct map entries;
    struct list order;
    size_t bytes;
};

static void drop(struct dns_cache *cache, struct entry *entry)
{
    map_remove(&cache->entries, entry->key);
    list_remove(&entry->link);
    cache->bytes -= entry->size;
    free(entry->key);
    free(entry);
}

struct dns_cache *dns_cache_new(void)
{
    struct dns_cache *cache = mem_zero(1, sizeof(*cache));
    list_init(&cache->order);
    return cache;
}

void dns_cache_free(struct dns_cache *cache)
{
    if (!cache)
        return;
    while (!list_empty(&cache->order))
        drop(cache, list_entry(cache->order.next, struct entry, link));
    map_free(&cache->entries);
    free(cache);
}

void dns_cache_put(struct dns_cache *cache, const char *key, const uint8_t *data, size_t size, uint32_t seconds,
                   int64_t now)
{
    struct entry *old = map_get(&cache->entries, key);
    if (old)
        drop(cache, old);
    if (!seconds)
        return;
    while (cache->entries.count >= DNS_CACHE_ENTRIES_MAX ||
           (cache->bytes + size > DNS_CACHE_BYTES_MAX && !list_empty(&cache->order)))
        drop(cache, list_entry(cache->order.next, struct entry, link));
    struct entry *entry = mem_alloc(sizeof(*entry) + size);
    int64_t life = seconds < DNS_CACHE_SECONDS_MAX ? seconds : DNS_CACHE_SECONDS_MAX;
    *entry = (struct entry){.key = mem_string(key), .stored = now, .expires = now + life * SECOND, .size = size};
    memcpy(entry->data, data, size);
    list_append(&cache->order, &entry->link);
    map_set(&cache->entries, key, entry);
    cache->bytes += size;
}

const uint8_t *dns_cache_get(struct dns_cache *cache, const char *key, int64_t now, size_t *size, uint32_t *age)
{
    struct entry *entry = map_get(&cache->entries, key);
    if (!entry)
        return NULL;
    if (entry->expires <= now) {
        drop(cache, entry);
        return NULL;
    }
    list_remove(&entry->link);
    list_append(&cache->order, &entry->link);
    *size = entry->size;
    *age = (uint32_t)((now - entry->stored) / SECOND);
    return entry->data;
}
