/* Open addressing with linear probing; removal shifts back, so there are no tombstones. Grows at 3/4. */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

uint32_t hash_fnv32a(const void *data, size_t size)
{
    const unsigned char *p = data;
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 16777619u;
    return h;
}

uint64_t hash_fnv64a(const void *data, size_t size)
{
    const unsigned char *p = data;
    uint64_t h = 14695981039346656037ull;
    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 1099511628211ull;
    return h;
}

static struct map_slot *find(const struct map *map, const char *key, uint32_t hash)
{
    size_t mask = map->capacity - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct map_slot *s = &map->slots[i];
        if (!s->key || (s->hash == hash && strcmp(s->key, key) == 0))
            return s;
    }
}

static void grow(struct map *map)
{
    struct map old = *map;
    map->capacity = old.capacity ? old.capacity * 2 : 8;
    map->slots = mem_zero(map->capacity, sizeof(*map->slots));
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].key)
            *find(map, old.slots[i].key, old.slots[i].hash) = old.slots[i];
    free(old.slots);
}

void *map_get(const struct map *map, const char *key)
{
    if (!map->count)
        return NULL;
    return find(map, key, hash_fnv32a(key, strlen(key)))->value;
}

bool map_has(const struct map *map, const char *key)
{
    return map->count && find(map, key, hash_fnv32a(key, strlen(key)))->key;
}

void *map_set(struct map *map, const char *key, void *value)
{
    if ((map->count + 1) * 4 > map->capacity * 3)
        grow(map);
    uint32_t hash = hash_fnv32a(key, strlen(key));
    struct map_slot *s = find(map, key, hash);
    void *old = s->value;
    if (!s->key) {
        s->key = mem_string(key);
        s->hash = hash;
        map->count++;
    }
    s->value = value;
    return old;
}

void *map_remove(struct map *map, const char *key)
{
    if (!map->count)
        return NULL;
    struct map_slot *s = find(map, key, hash_fnv32a(key, strlen(key)));
    if (!s->key)
        return NULL;
    void *value = s->value;
    free(s->key);
    map->count--;
    size_t mask = map->capacity - 1, hole = (size_t)(s - map->slots);
    for (size_t i = (hole + 1) & mask; map->slots[i].key; i = (i + 1) & mask) {
        size_t home = map->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole] = (struct map_slot){0};
    return value;
}

void map_free(struct map *map)
{
    for (size_t i = 0; i < map->capacity; i++)
        free(map->slots[i].key);
    free(map->slots);
    *map = (struct map){0};
}

struct map_slot *map_next(const struct map *map, const struct map_slot *previous)
{
    for (size_t i = previous ? (size_t)(previous - map->slots) + 1 : 0; i < map->capacity; i++)
        if (map->slots[i].key)
            return &map->slots[i];
    return NULL;
}
