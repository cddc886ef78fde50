/* Sets of completion indexes, as a Job's status and success policy write them: "1,3-5,7". In memory they are intervals,
 * in order, neither touching nor overlapping, so that a Job of many indexes takes little. All live in the arena. */
#ifndef CORACLE_API_INDEX_SET_H
#define CORACLE_API_INDEX_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

struct index_interval {
    int32_t first, last;
};

struct index_set {
    struct index_interval *items;
    size_t count;
};

/* Reads a text, leniently: what is no interval is left out, as are indexes from `completions` on. NULL is empty. */
struct index_set index_set_parse(struct arena *arena, const char *text, int32_t completions);
/* The given indexes, in any order, each any number of times. The array is sorted. */
struct index_set index_set_of(struct arena *arena, int32_t *indexes, size_t count);
struct index_set index_set_merge(struct arena *arena, const struct index_set *a, const struct index_set *b);
/* "" when empty. Two neighbours are written "1,2", three "1-3". */
char *index_set_text(struct arena *arena, const struct index_set *set);
int32_t index_set_total(const struct index_set *set);
bool index_set_has(const struct index_set *set, int32_t index);
/* How many indexes both have. */
int32_t index_set_common(const struct index_set *a, const struct index_set *b);
/* Up to `room` indexes below `completions` that are not in the set, lowest first; returns how many. */
size_t index_set_missing(const struct index_set *set, int32_t completions, int32_t *out, size_t room);

/* Reads a text strictly. NULL, with the number of indexes in *total, or what upstream says about it. */
const char *index_set_check(struct arena *arena, const char *text, int32_t completions, int32_t *total);
/* The lowest index that both texts have, or -1. Intervals that cannot be read are passed over. */
int32_t index_set_overlap(const char *a, const char *b, int32_t completions);

#endif
