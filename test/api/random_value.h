/* Random values of any described type, for tests of everything that walks the descriptions. */
#ifndef CORACLE_TEST_RANDOM_VALUE_H
#define CORACLE_TEST_RANDOM_VALUE_H

#include "api/type.h"
#include "base/arena.h"

/* The same seed gives the same values. */
struct random {
    uint64_t state;
};

uint32_t random_below(struct random *r, uint32_t n);
/* A value whose every field was set or left out by chance; lists are short, and structs nest to a depth of `depth`. */
void *random_value(struct random *r, struct arena *arena, const struct api_type *type, int depth);

#endif
