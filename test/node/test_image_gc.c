/* Which images go when the disk fills up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "node/image_gc.h"

#define GIB (INT64_C(1) << 30)
#define NOW (1000 * SECOND)

static void nothing_goes_below_the_high_threshold(void **state)
{
    (void)state;
    assert_int_equal(image_gc_excess(100 * GIB, 100 * GIB), 0);
    assert_int_equal(image_gc_excess(100 * GIB, 16 * GIB), 0);
    assert_true(image_gc_excess(100 * GIB, 15 * GIB) > 0);
}

static void the_disk_is_freed_down_to_the_low_threshold(void **state)
{
    (void)state;
    assert_int_equal(image_gc_excess(100 * GIB, 15 * GIB) / GIB, 5);
    assert_int_equal(image_gc_excess(1000, 0), 200);
    assert_int_equal(image_gc_excess(10, 1), 1);
}

static void a_strange_disk_loses_nothing(void **state)
{
    (void)state;
    assert_int_equal(image_gc_excess(0, 0), 0);
    assert_int_equal(image_gc_excess(-1, 5), 0);
    assert_int_equal(image_gc_excess(100, 200), 0);
    assert_true(image_gc_excess(INT64_MAX, 0) > 0);
    assert_true(image_gc_excess(INT64_MAX, INT64_MAX / 10) > 0);
}

static void the_one_used_longest_ago_goes_first(void **state)
{
    struct image_gc_record records[] = {
        {.id = "used", .in_use = true, .used = NOW},
        {.id = "yesterday", .used = 500 * SECOND},
        {.id = "archive", .pinned = true},
        {.id = "never-late", .detected = 400 * SECOND},
        {.id = "young", .detected = NOW - IMAGE_GC_MINIMUM_AGE + 1},
        {.id = "never-early", .detected = 300 * SECOND},
        {.id = "long-ago", .used = 100 * SECOND, .detected = 50 * SECOND},
        {.id = "old-enough", .detected = NOW - IMAGE_GC_MINIMUM_AGE, .used = 600 * SECOND},
    };
    static const char *const order[] = {"never-early", "never-late", "long-ago", "yesterday", "old-enough"};
    (void)state;
    size_t count = sizeof(records) / sizeof(records[0]);
    assert_int_equal(image_gc_order(records, count, NOW), 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(records[i].id, order[i]);
    assert_int_equal(image_gc_order(records, 0, NOW), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_goes_below_the_high_threshold),
        cmocka_unit_test(the_disk_is_freed_down_to_the_low_threshold),
        cmocka_unit_test(a_strange_disk_loses_nothing),
        cmocka_unit_test(the_one_used_longest_ago_goes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
