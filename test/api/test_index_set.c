/* The promises of sets of completion indexes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/index_set.h"
#include "base/cleanup.h"

static void a_set_is_read_leniently_and_written_as_upstream_writes_it(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
        int32_t completions, total;
    } cases[] = {
        {"", "", 10, 0},
        {NULL, "", 10, 0},
        {"0", "0", 10, 1},
        {"0,1", "0,1", 10, 2},
        {"0,1,2", "0-2", 10, 3},
        {"1,3-5,7", "1,3-5,7", 10, 5},
        {"1,3-50", "1,3-9", 10, 8},
        {"8,9,10,11", "8,9", 10, 2},
        {"x,3,4-y,5-4,7", "3,7", 10, 2},
        {"0-2147483647", "0-2147483646", INT32_MAX, INT32_MAX},
    };
    cleanup_arena struct arena *arena = arena_new(0);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct index_set set = index_set_parse(arena, cases[i].text, cases[i].completions);
        assert_string_equal(index_set_text(arena, &set), cases[i].expected);
        assert_int_equal(index_set_total(&set), cases[i].total);
    }
}

static void sets_are_merged_compared_and_searched(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    struct index_set a = index_set_parse(arena, "1,3-5,9", 20), b = index_set_parse(arena, "0,2,4-7", 20);
    struct index_set both = index_set_merge(arena, &a, &b);
    int32_t some[] = {5, 3, 3, 4, 1}, missing[4];
    struct index_set made = index_set_of(arena, some, ARRAY_COUNT(some));
    assert_string_equal(index_set_text(arena, &both), "0-7,9");
    assert_string_equal(index_set_text(arena, &made), "1,3-5");
    assert_int_equal(index_set_common(&a, &b), 2);
    for (int32_t i = 0; i < 20; i++)
        assert_int_equal(index_set_has(&a, i), i == 1 || (i >= 3 && i <= 5) || i == 9);
    assert_int_equal(index_set_missing(&a, 20, missing, 4), 4);
    assert_int_equal(missing[0], 0);
    assert_int_equal(missing[3], 7);
    assert_int_equal(index_set_missing(&a, 3, missing, 4), 2);
    assert_int_equal(missing[1], 2);
    assert_int_equal(index_set_overlap("1,3-5", "2,5-6", 10), 5);
    assert_int_equal(index_set_overlap("1,3-5", "0,2,6", 10), -1);
}

static void what_is_wrong_is_said_in_upstreams_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *problem;
    } cases[] = {
        {"10", "too large index: \"10\""},
        {"0-10", "too large index: \"10\""},
        {"a", "cannot convert string to integer for index: \"a\""},
        {"1,", "cannot convert string to integer for index: \"\""},
        {"1-b", "cannot convert string to integer for index: \"b\""},
        {"1-2-3", "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts "
                  "separated by '-'"},
        {"3,2", "non-increasing order, previous: 3, current: 2"},
        {"4-2", "non-increasing order, previous: 4, current: 2"},
        {"0-3,3", "non-increasing order, previous: 3, current: 3"},
    };
    cleanup_arena struct arena *arena = arena_new(0);
    int32_t total;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *problem = index_set_check(arena, cases[i].text, 10, &total);
        assert_non_null(problem);
        assert_string_equal(problem, cases[i].problem);
    }
    assert_null(index_set_check(arena, "0,2-4,9", 10, &total));
    assert_int_equal(total, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_is_read_leniently_and_written_as_upstream_writes_it),
        cmocka_unit_test(sets_are_merged_compared_and_searched),
        cmocka_unit_test(what_is_wrong_is_said_in_upstreams_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
