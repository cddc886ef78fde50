/* The promise that makes simulation useful: a seed fixes the history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/scenario.h"

#define SEEDS 16

static void the_same_seed_twice_is_the_same_history(void **state)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim_result first, second;
        sim_scenario_run(seed, NULL, NULL, NULL, &first);
        sim_scenario_run(seed, NULL, NULL, NULL, &second);
        assert_int_equal(first.hash, second.hash);
        assert_int_equal(first.writes, second.writes);
        assert_int_equal(first.steps, second.steps);
        assert_true(first.writes > 50);
    }
}

static void two_seeds_are_two_histories(void **state)
{
    struct sim_result first, second;
    sim_scenario_run(1, NULL, NULL, NULL, &first);
    sim_scenario_run(2, NULL, NULL, NULL, &second);
    assert_int_not_equal(first.hash, second.hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_twice_is_the_same_history),
        cmocka_unit_test(two_seeds_are_two_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
