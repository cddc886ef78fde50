/* Sets of CPUs, and which of them a container gets for itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/cpu_set.h"

#define ROUNDS 500

static struct cpu_set set_of(const char *text)
{
    struct cpu_set set;
    assert_int_equal(cpu_set_parse(text, &set), 0);
    return set;
}

static void assert_set(const struct cpu_set *set, const char *expected)
{
    char text[CPU_SET_TEXT_MAX];
    cpu_set_text(set, text);
    assert_string_equal(text, expected);
}

static void sets_are_read_and_written_as_the_kernel_does(void **state)
{
    static const char *const same[] = {"", "0", "0-3", "0-1,3,5-7", "1023"};
    static const char *const bad[] = {"x", "1-", "-1", "3-1", "1024", "0-99999999999", "1;2", "1,,2", "0-3x"};
    for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++) {
        struct cpu_set set = set_of(same[i]);
        assert_set(&set, same[i]);
    }
    struct cpu_set set = set_of("3,1-2,0\n");
    assert_set(&set, "0-3");
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(cpu_set_parse(bad[i], &set), -1);
}

/* Sockets of cores of two threads each, numbered as most machines do: first threads first. */
static void make_machine(struct cpu_topology *t, size_t sockets, size_t cores)
{
    memset(t, 0, sizeof(*t));
    for (size_t i = 0; i < sockets * cores * 2; i++) {
        size_t core = i % (sockets * cores);
        cpu_set_add(&t->online, i);
        t->places[i] = (struct cpu_place){.core = (int)(core % cores), .socket = (int)(core / cores)};
    }
}

static void whole_sockets_and_cores_come_first(void **state)
{
    static struct cpu_topology t;
    static const struct {
        const char *free;
        size_t count;
        const char *taken;
    } cases[] = {
        /* 2 sockets of 4 cores: 0-3 and 8-11 are one, 4-7 and 12-15 the other. */
        {"0-15", 1, "0"},         {"0-15", 2, "0,8"},       {"0-15", 3, "0-1,8"}, {"0-15", 8, "0-3,8-11"},
        {"0-15", 10, "0-4,8-12"}, {"1-15", 8, "4-7,12-15"}, /* the first socket is not whole */
        {"1-15", 1, "8"},                                   /* half of that core is in use already */
        {"1-15", 2, "1,9"},       {"1-7,8-15", 3, "1,8-9"}, {"0-15", 16, "0-15"}, {"0,2,4", 2, "0,2"},
    };
    make_machine(&t, 2, 4);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct cpu_set free = set_of(cases[i].free), taken;
        assert_true(cpu_take(&t, &free, cases[i].count, &taken));
        assert_set(&taken, cases[i].taken);
    }
    struct cpu_set free = set_of("0-2"), taken;
    assert_false(cpu_take(&t, &free, 4, &taken));
}

/* Whatever is free: as many as were asked for, all of them free. */
static void any_choice_is_of_free_cpus(void **state)
{
    static struct cpu_topology t;
    srand(1);
    for (int round = 0; round < ROUNDS; round++) {
        make_machine(&t, (size_t)rand() % 3 + 1, (size_t)rand() % 6 + 1);
        struct cpu_set free = {{0}}, taken;
        for (size_t i = 0; i < CPU_SET_MAX; i++)
            if (cpu_set_has(&t.online, i) && rand() % 3)
                cpu_set_add(&free, i);
        size_t count = (size_t)rand() % 20;
        bool enough = cpu_set_count(&free) >= count;
        assert_int_equal(cpu_take(&t, &free, count, &taken), enough);
        if (!enough)
            continue;
        assert_int_equal(cpu_set_count(&taken), count);
        cpu_set_remove_all(&taken, &free);
        assert_int_equal(cpu_set_count(&taken), 0);
    }
}

static void whole_cpus_of_guaranteed_pods_are_exclusive(void **state)
{
    static const struct {
        const char *cpu, *memory_limit;
        size_t count;
    } cases[] = {{"2", "1Gi", 2}, {"2000m", "1Gi", 2}, {"1500m", "1Gi", 0}, {"500m", "1Gi", 0}, {"2", NULL, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct string_pair pairs[] = {{"cpu", cases[i].cpu}, {"memory", cases[i].memory_limit}};
        size_t n = cases[i].memory_limit ? 2 : 1;
        struct container c = {.name = "a", .resources = {.requests = {pairs, n}, .limits = {pairs, n}}};
        struct pod pod = {.spec.containers = {&c, 1}};
        assert_int_equal(cpu_exclusive_count(&pod, &c.resources), cases[i].count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_are_read_and_written_as_the_kernel_does),
        cmocka_unit_test(whole_sockets_and_cores_come_first),
        cmocka_unit_test(any_choice_is_of_free_cpus),
        cmocka_unit_test(whole_cpus_of_guaranteed_pods_are_exclusive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
