/* CPU requests and limits become what upstream's kubelet makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/runtime/cgroup.h"

static void requests_become_shares(void **state)
{
    static const struct {
        int64_t milli;
        uint64_t shares;
    } cases[] = {{0, 2}, {1, 2}, {2, 2}, {100, 102}, {500, 512}, {1000, 1024}, {256000, 262144}, {INT64_MAX, 262144}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(cgroup_cpu_shares(cases[i].milli), cases[i].shares);
}

static void limits_become_a_quota(void **state)
{
    static const struct {
        int64_t milli;
        uint64_t period;
        int64_t quota;
    } cases[] = {{0, 0, 0},       {1, 0, 1000},      {10, 0, 1000},       {20, 0, 2000},
                 {500, 0, 50000}, {2000, 0, 200000}, {500, 50000, 25000}, {INT64_MAX, 0, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(cgroup_cpu_quota(cases[i].milli, cases[i].period), cases[i].quota);
}

static void shares_become_a_weight(void **state)
{
    static const struct {
        uint64_t shares;
        uint64_t weight;
    } cases[] = {{0, 1}, {2, 1}, {1024, 39}, {262144, 10000}, {UINT64_MAX, 10000}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(cgroup_cpu_weight(cases[i].shares), cases[i].weight);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_become_shares),
        cmocka_unit_test(limits_become_a_quota),
        cmocka_unit_test(shares_become_a_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
