/* Who ends so that a critical pod has room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "node/preemption.h"

#define PODS_MAX 6
#define CRITICAL 2000000000

enum class { BEST_EFFORT, BURSTABLE, GUARANTEED };

/* A pod on the node: amounts NULL: it asks for none. */
struct inhabitant {
    const char *name; /* NULL: the list ends */
    enum class class;
    const char *cpu, *memory;
    int32_t priority;
};

static struct pod *pod_of(struct arena *arena, const struct inhabitant *from)
{
    struct pod *pod = arena_alloc(arena, sizeof(*pod));
    struct container *c = arena_alloc(arena, sizeof(*c));
    c->name = "c";
    if (from->cpu)
        string_map_set(arena, &c->resources.requests, "cpu", from->cpu);
    if (from->memory)
        string_map_set(arena, &c->resources.requests, "memory", from->memory);
    if (from->class == GUARANTEED)
        c->resources.limits = c->resources.requests;
    pod->metadata.name = from->name;
    pod->spec.containers = (struct container_array){c, 1};
    pod->spec.priority = opt_int32(from->priority);
    return pod;
}

/* "a c" in the order of the list: those that end for the pod; or why none does. */
static const char *end_for(struct arena *arena, const struct inhabitant *pod, const struct inhabitant *list,
                           const struct admission_shortages *shortages)
{
    const struct pod *others[PODS_MAX];
    struct admission_request request = {.pod = pod_of(arena, pod), .others = others};
    size_t chosen[PODS_MAX], count = 0;
    bool ends[PODS_MAX] = {0};
    const char *names = "";
    while (request.count < PODS_MAX && list[request.count].name) {
        others[request.count] = pod_of(arena, &list[request.count]);
        request.count++;
    }
    const char *refusal = preemption_choose(arena, &request, shortages, chosen, &count);
    if (refusal)
        return refusal;
    for (size_t i = 0; i < count; i++) {
        assert_false(ends[chosen[i]]);
        ends[chosen[i]] = true;
    }
    for (size_t i = 0; i < request.count; i++)
        if (ends[i])
            names = arena_printf(arena, "%s%s%s", names, *names ? " " : "", list[i].name);
    return names;
}

#define NOT_ENOUGH                                                                                                     \
    "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to " \
    "preempt: no set of running pods found to reclaim resources: "

/* 1000 thousandths of a CPU are missing, or 1000 bytes, or both. */
static void as_few_end_as_may_be_and_the_guaranteed_last(void **state)
{
    enum { CPU = 1, MEMORY = 2 };
    static const struct {
        int missing;
        const char *ends;
        struct inhabitant pods[PODS_MAX];
    } cases[] = {
        /* The one that suffices, not two that are smaller. */
        {CPU, "c", {{"a", BURSTABLE, "600m"}, {"b", BURSTABLE, "500m"}, {"c", BURSTABLE, "1"}}},
        /* Of those that suffice the one that asks for the least memory, then for the least CPU. */
        {CPU, "b", {{"a", BURSTABLE, "1", "9"}, {"b", BURSTABLE, "3", "5"}, {"c", BURSTABLE, "2", "7"}}},
        {CPU, "c", {{"a", BURSTABLE, "3", "5"}, {"b", BURSTABLE, "4", "5"}, {"c", BURSTABLE, "2", "5"}}},
        /* The nearest, then what is near to the rest. */
        {CPU, "b c", {{"a", BURSTABLE, "100m"}, {"b", BURSTABLE, "700m"}, {"c", BURSTABLE, "300m"}}},
        /* A guaranteed one only for what all of the others do not free. */
        {CPU, "a b", {{"a", BURSTABLE, "500m"}, {"b", BURSTABLE, "500m"}, {"c", GUARANTEED, "1", "1"}}},
        {CPU, "a c", {{"a", BURSTABLE, "500m"}, {"b", BURSTABLE, "100m"}, {"c", GUARANTEED, "500m", "1"}}},
        /* What a guaranteed one frees beyond that spares others. */
        {CPU, "c", {{"a", BURSTABLE, "400m"}, {"b", BURSTABLE, "500m"}, {"c", GUARANTEED, "1", "1"}}},
        /* Who asks for nothing gives nothing. */
        {CPU, "b", {{"a", BEST_EFFORT}, {"b", GUARANTEED, "1", "1"}}},
        {CPU, NOT_ENOUGH "[(res: cpu, q: 400), ]", {{"a", BEST_EFFORT}, {"b", GUARANTEED, "600m", "1"}}},
        {CPU | MEMORY, "b", {{"a", BURSTABLE, "1", "900"}, {"b", BURSTABLE, "1", "1000"}}},
        {CPU | MEMORY,
         "a b",
         {{"a", BURSTABLE, "1", "1"}, {"b", BURSTABLE, "1m", "1000"}, {"c", BURSTABLE, "1m", "1"}}},
        {CPU | MEMORY, NOT_ENOUGH "[(res: cpu, q: 999), (res: memory, q: 990), ]", {{"a", BURSTABLE, "1m", "10"}}},
        /* The critical ones are spared, unless they matter less: among those that may end, priority is no reason. */
        {CPU, "b", {{"a", BURSTABLE, "1", NULL, CRITICAL + 1000}, {"b", BURSTABLE, "1", "8", 1000}}},
        {CPU, "a", {{"a", BURSTABLE, "1", "1", CRITICAL}, {"b", BURSTABLE, "1", "8", 1000}}},
        {CPU, NOT_ENOUGH "[(res: cpu, q: 1000), ]", {{"a", BURSTABLE, "1", NULL, CRITICAL + 1000}}},
        {CPU, "a", {{"a", BURSTABLE, "1", NULL, CRITICAL}}},
    };
    const struct inhabitant critical = {"critical", BURSTABLE, "1", "1000", CRITICAL + 1000};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct admission_shortage both[] = {{"cpu", 1500, 1500, 2000}, {"memory", 1000, 7000, 7000}};
        struct admission_shortages shortages = {both + (cases[i].missing == MEMORY),
                                                cases[i].missing == (CPU | MEMORY) ? 2 : 1};
        const char *ends = end_for(arena, &critical, cases[i].pods, &shortages);
        if (strcmp(ends, cases[i].ends) != 0)
            fail_msg("case %zu: %s, not %s", i, ends, cases[i].ends);
        arena_free(arena);
    }
}

static void a_place_among_the_pods_is_that_of_the_lowest(void **state)
{
    static const struct inhabitant pods[] = {
        {"a", GUARANTEED, "1", "1"}, {"b", BURSTABLE, "1"}, {"c", BEST_EFFORT}, {"d", BURSTABLE, "1"}, {0}};
    const struct inhabitant critical = {"critical", BEST_EFFORT, .priority = CRITICAL};
    struct admission_shortage one = {"pods", 1, 4, 4}, three = {"pods", 1, 6, 4};
    struct arena *arena = arena_new(0);
    assert_string_equal(end_for(arena, &critical, pods, &(struct admission_shortages){&one, 1}), "c");
    assert_string_equal(end_for(arena, &critical, pods, &(struct admission_shortages){&three, 1}), "b c d");
    arena_free(arena);
}

/* Amounts as large as can be neither overflow nor are free. */
static void the_largest_amounts_are_counted(void **state)
{
    static const struct inhabitant pods[] = {{"a", BURSTABLE, "9E", "9E"}, {"b", BURSTABLE, "9E", "9E"}, {0}};
    const struct inhabitant critical = {"critical", BURSTABLE, "9E", "9E", CRITICAL};
    struct admission_shortage all = {"cpu", INT64_MAX, INT64_MAX, 0};
    struct arena *arena = arena_new(0);
    assert_int_equal(strlen(end_for(arena, &critical, pods, &(struct admission_shortages){&all, 1})), 1);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_few_end_as_may_be_and_the_guaranteed_last),
        cmocka_unit_test(a_place_among_the_pods_is_that_of_the_lowest),
        cmocka_unit_test(the_largest_amounts_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
