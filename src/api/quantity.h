/* Resource quantities ("100m", "1.5Gi", "12e6"): parsing, canonical text, arithmetic. In API structs a
 * quantity is its canonical text; parse it to compute. Rules are those of apimachinery's resource.Quantity. */
#ifndef CORACLE_API_QUANTITY_H
#define CORACLE_API_QUANTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* Nanounits, saturated at the ends of the range: more than any node has, finer than any request. */
typedef __int128 quantity_t;

/* Reads any valid spelling. Returns 0, or -1 when the text is not a quantity. */
int quantity_parse(const char *text, size_t size, quantity_t *value);
/* The canonical spelling of `text` ("0.5" -> "500m", "1024Mi" -> "1Gi", "1000" -> "1k"), in the arena;
 * NULL when it is not a quantity. */
const char *quantity_canonical(struct arena *arena, const char *text, size_t size);
/* What upstream says of a text that is not a quantity. */
const char *quantity_error(const char *text, size_t size);
/* Canonical text of a value in decimal (binary_suffix false: "m", "k", "M") or binary ("Ki", "Mi") form. */
const char *quantity_format(struct arena *arena, quantity_t value, bool binary_suffix);

/* Of canonical or any valid text; NULL and what does not parse are 0. Rounded up, as upstream does. */
int64_t quantity_value(const char *text);       /* whole units */
int64_t quantity_milli_value(const char *text); /* thousandths */
int quantity_compare(const char *a, const char *b);
/* The sum of two amounts that are not negative, at most INT64_MAX: a pod may ask for as much as an amount can hold, and
 * several times. */
static inline int64_t quantity_add(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

#endif
