/* What /proc says of the machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/machine.h"

static void cpu_time_leaves_idling_and_waiting_out(void **state)
{
    const char *text = "cpu  100 10 50 9000 700 3 2 5 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
    assert_int_equal(machine_parse_cpu(text, 100), (100 + 10 + 50 + 3 + 2) * INT64_C(10000000));
    assert_int_equal(machine_parse_cpu("", 100), 0);
    assert_int_equal(machine_parse_cpu("cpu x", 100), 0);
    assert_int_equal(machine_parse_cpu(text, 0), 0);
}

static void the_working_set_leaves_free_memory_and_idle_files_out(void **state)
{
    struct machine_memory m;
    machine_parse_memory("MemTotal:       1000 kB\nMemFree:         300 kB\nInactive:        90 kB\n"
                         "Inactive(file):  100 kB\n",
                         &m);
    assert_int_equal(m.total, 1000 * 1024);
    assert_int_equal(m.working_set, 600 * 1024);
    machine_parse_memory("nothing", &m);
    assert_int_equal(m.total, 0);
    assert_int_equal(m.working_set, 0);
}

static void this_machine_has_memory_and_uses_it(void **state)
{
    struct machine_memory m;
    machine_memory(&m);
    assert_true(m.total > 0 && m.working_set > 0 && m.working_set < m.total);
    assert_true(machine_cpu_usage() > 0);
}

static void threads_are_counted_and_have_a_limit(void **state)
{
    struct machine_processes p;
    assert_int_equal(machine_parse_running("0.20 0.18 0.12 1/345 11206\n"), 345);
    assert_int_equal(machine_parse_running(""), 0);
    assert_int_equal(machine_parse_running("0.20 0.18 0.12 1 11206\n"), 0);
    machine_processes(&p);
    assert_true(p.running > 0 && p.running < p.most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpu_time_leaves_idling_and_waiting_out),
        cmocka_unit_test(the_working_set_leaves_free_memory_and_idle_files_out),
        cmocka_unit_test(this_machine_has_memory_and_uses_it),
        cmocka_unit_test(threads_are_counted_and_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
