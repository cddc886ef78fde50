/* A hash map from strings to pointers. Keys are copied in; values stay the caller's. Iteration order is
 * the order of the slots: it depends only on the keys and the history of insertions and removals, never
 * on addresses, so simulated runs repeat. Not for concurrent use. */
#ifndef CORACLE_BASE_MAP_H
#define CORACLE_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
    char *key; /* NULL: free */
    void *value;
    uint32_t hash;
};

struct map {
    struct map_slot *slots;
    size_t count;
    size_t capacity; /* 0 or a power of two */
};

/* The value of key, or NULL. */
void *map_get(const struct map *map, const char *key);
bool map_has(const struct map *map, const char *key);
/* Sets key and returns the value that it replaces, or NULL. */
void *map_set(struct map *map, const char *key, void *value);
/* Removes key and returns its value, or NULL. */
void *map_remove(struct map *map, const char *key);
/* Releases keys and slots, not the values. The map is empty and usable afterwards. */
void map_free(struct map *map);

/* for (struct map_slot *s = NULL; (s = map_next(&map, s));) ... The map must not change meanwhile. */
struct map_slot *map_next(const struct map *map, const struct map_slot *previous);

/* FNV-1a, 32 and 64 bits, as Kubernetes uses it for hashes that users see. */
uint32_t hash_fnv32a(const void *data, size_t size);
uint64_t hash_fnv64a(const void *data, size_t size);

#endif
