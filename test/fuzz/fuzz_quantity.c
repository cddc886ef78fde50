/* Quantities: the canonical text means the same as the text, is its own canonical text, and the value is what
 * floating point makes of it. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/quantity.h"
#include "fuzz.h"

/* The value by another way, if it is one that a long double holds. */
static bool approximate(const char *text, long double *value)
{
    static const struct {
        const char *suffix;
        long double factor;
    } factors[] = {{"", 1},         {"n", 1e-9L},    {"u", 1e-6L},    {"m", 1e-3L},   {"k", 1e3L},     {"M", 1e6L},
                   {"G", 1e9L},     {"T", 1e12L},    {"P", 1e15L},    {"E", 1e18L},   {"Ki", 0x1p10L}, {"Mi", 0x1p20L},
                   {"Gi", 0x1p30L}, {"Ti", 0x1p40L}, {"Pi", 0x1p50L}, {"Ei", 0x1p60L}};
    char *end;
    if (!strpbrk(text, "0123456789"))
        return false;
    *value = strtold(text, &end);
    for (size_t i = 0; i < sizeof(factors) / sizeof(factors[0]); i++) {
        if (strcmp(end, factors[i].suffix) == 0) {
            *value *= factors[i].factor;
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct arena *arena = arena_new(0);
    quantity_t value = 0, again = 0;
    const char *canonical = quantity_canonical(arena, text, size);
    CHECK(!canonical == (quantity_error(text, size) != NULL));
    CHECK(!canonical == (quantity_parse(text, size, &value) < 0));
    if (canonical) {
        long double expected;
        CHECK(quantity_parse(canonical, strlen(canonical), &again) == 0);
        CHECK(value == again);
        CHECK(strcmp(quantity_canonical(arena, canonical, strlen(canonical)), canonical) == 0);
        CHECK(quantity_compare(canonical, arena_string_n(arena, text, size)) == 0);
        if (value < ((quantity_t)1 << 126) && value > -((quantity_t)1 << 126)) {
            for (int binary = 0; binary < 2; binary++) {
                const char *formatted = quantity_format(arena, value, binary);
                CHECK(quantity_parse(formatted, strlen(formatted), &again) == 0);
                /* Binary quantities are capped. */
                CHECK(value == again || (binary && (value > INT64_MAX || value < INT64_MIN)));
            }
            bool capped = strchr(canonical, 'i') || value == (quantity_t)INT64_MAX * 1000000000 ||
                          value == -(quantity_t)INT64_MAX * 1000000000;
            if (!capped && approximate(arena_string_n(arena, text, size), &expected) && isfinite(expected))
                CHECK(fabsl((long double)value / 1e9L - expected) <= fabsl(expected) * 1e-15L + 1.01e-9L);
        }
        int64_t whole = quantity_value(canonical), milli = quantity_milli_value(canonical);
        CHECK((whole > 0) == (value > 0) && (milli < 0) == (value < 0));
    }
    arena_free(arena);
    return 0;
}
