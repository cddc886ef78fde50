/* The audit notices controllers that are wrong: each planted fault is caught, in its own words, within a few seeds. The
 * same seeds pass without a fault (sim_seeds). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "sim/scenario.h"

#define SEEDS 400

static void a_wrong_controller_is_caught(void **state)
{
    const struct sim_fault *fault = *state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim_result result;
        sim_scenario_run(seed, fault, NULL, NULL, &result);
        if (result.failed && strstr(result.failure, fault->caught)) {
            print_message("%s: seed %d: %s\n", fault->name, (int)seed, result.failure);
            return;
        }
    }
    fail_msg("%d histories in which %s, and nobody noticed", SEEDS, fault->does);
}

int main(void)
{
    cleanup_free struct CMUnitTest *tests = mem_zero(sim_fault_count, sizeof(*tests));
    for (size_t i = 0; i < sim_fault_count; i++)
        tests[i] = (struct CMUnitTest){.name = sim_faults[i].name,
                                       .test_func = a_wrong_controller_is_caught,
                                       .initial_state = (void *)&sim_faults[i]};
    return _cmocka_run_group_tests("a_wrong_controller_is_caught", tests, sim_fault_count, NULL, NULL);
}
