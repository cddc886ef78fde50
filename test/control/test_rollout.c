/* The promise of rollouts: the arithmetic is upstream's. Each line is a state and what it becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/types.h"
#include "base/cleanup.h"
#include "control/rollout.h"

#define SETS_MAX 3

/* A Deployment with ReplicaSets, oldest first. The last one is the new one, unless `no_new`. */
struct state {
    int32_t replicas;
    const char *surge, *unavailable; /* "2", "25%"; NULL: not given */
    bool recreate, no_new, same_age;
    size_t count;
    struct {
        int32_t replicas, available;
        const char *desired, *max; /* annotations; NULL: none */
    } sets[SETS_MAX];
};

/* The state as the controller holds it. */
struct stand {
    struct arena *arena;
    struct deployment deployment;
    struct rolling_update_deployment update;
    struct rollout rollout;
    struct rollout_set sets[SETS_MAX];
    struct replica_set replica_sets[SETS_MAX];
    struct object objects[SETS_MAX];
};

static struct int_or_string amount(const char *text)
{
    if (!text)
        return (struct int_or_string){0};
    if (strchr(text, '%'))
        return (struct int_or_string){.kind = INT_OR_STRING_STRING, .text = text};
    return (struct int_or_string){.kind = INT_OR_STRING_INT, .number = (int32_t)strtol(text, NULL, 10)};
}

static void set_up(struct stand *s, const struct state *state)
{
    static const char *const names[SETS_MAX] = {"v1", "v2", "v3"};
    memset(s, 0, sizeof(*s));
    s->arena = arena_new(0);
    s->deployment.spec.replicas = opt_int32(state->replicas);
    s->deployment.spec.strategy.type = state->recreate ? "Recreate" : "RollingUpdate";
    s->update.max_surge = amount(state->surge);
    s->update.max_unavailable = amount(state->unavailable);
    s->deployment.spec.strategy.rolling_update = state->recreate ? NULL : &s->update;
    s->rollout.deployment = &s->deployment;
    s->rollout.sets = s->sets;
    s->rollout.count = state->count;
    for (size_t i = 0; i < state->count; i++) {
        struct replica_set *rs = &s->replica_sets[i];
        rs->metadata.name = names[i];
        rs->metadata.creation_timestamp = (int64_t)(state->same_age ? 1 : i + 1) * 1000000;
        rs->spec.replicas = opt_int32(state->sets[i].replicas);
        rs->status.replicas = state->sets[i].replicas;
        rs->status.available_replicas = state->sets[i].available;
        if (state->sets[i].desired)
            string_map_set(s->arena, &rs->metadata.annotations, ANNOTATION_DESIRED, state->sets[i].desired);
        if (state->sets[i].max)
            string_map_set(s->arena, &rs->metadata.annotations, ANNOTATION_MAX, state->sets[i].max);
        s->objects[i] = (struct object){.value = rs, .meta = &rs->metadata};
        s->sets[i] = (struct rollout_set){&s->objects[i], rs, state->sets[i].replicas, state->sets[i].replicas};
    }
    if (state->count && !state->no_new)
        s->rollout.fresh = &s->sets[state->count - 1];
}

static void assert_targets(const struct stand *s, const int32_t *wanted, size_t line)
{
    for (size_t i = 0; i < s->rollout.count; i++) {
        if (s->sets[i].target != wanted[i])
            print_error("line %zu, %s\n", line, s->objects[i].meta->name);
        assert_int_equal(s->sets[i].target, wanted[i]);
    }
}

struct step {
    struct state state;
    bool moves;
    int32_t wanted[SETS_MAX];
};

static void a_step_of_a_rolling_update_is_upstreams(void **context)
{
    static const struct step steps[] = {
        /* The new set grows as far as the surge allows, and not beyond what is wanted. */
        {{10, "0", "0", .count = 2, .sets = {{9, 9}, {1, 0}}}, false, {9, 1}},
        {{10, "2", "0", .count = 2, .sets = {{10, 10}, {0, 0}}}, true, {10, 2}},
        {{10, "2", "0", .count = 2, .sets = {{5, 5}, {0, 0}}}, true, {5, 7}},
        {{10, "2", "0", .count = 2, .sets = {{10, 10}, {2, 0}}}, false, {10, 2}},
        {{10, "2", "0", .count = 2, .sets = {{2, 2}, {11, 0}}}, true, {2, 10}},
        /* Old sets shrink as far as the promise of availability allows; with both at 0 one pod may be missing. */
        {{10, "0", "0", .count = 2, .sets = {{10, 10}, {0, 0}}}, true, {9, 0}},
        {{10, "0", "2", .count = 2, .sets = {{10, 10}, {0, 0}}}, true, {8, 0}},
        /* Pods that are not available go first, and count. */
        {{10, "0", "2", .count = 2, .sets = {{10, 8}, {0, 0}}}, true, {8, 0}},
        {{10, "0", "2", .count = 2, .sets = {{10, 9}, {0, 0}}}, true, {8, 0}},
        /* New pods that are not available yet hold the old ones. */
        {{10, "0", "2", .count = 2, .sets = {{8, 8}, {2, 0}}}, false, {8, 2}},
        {{10, "0", "2", .count = 2, .sets = {{8, 8}, {2, 1}}}, true, {7, 2}},
        /* The oldest shrinks first. */
        {{10, "0", "50%", .count = 3, .sets = {{3, 3}, {7, 7}, {0, 0}}}, true, {0, 5, 0}},
        {{10, "0", "3", .count = 3, .sets = {{3, 1}, {7, 5}, {0, 0}}}, true, {1, 6, 0}},
        /* A status that is behind the set's size is not believed. */
        {{10, "0", "2", .count = 2, .sets = {{8, 10}, {2, 2}}}, false, {8, 2}},
        /* The largest numbers there are: surge on top of them, and two sets of that size. */
        {{INT32_MAX, "100%", "0", .count = 1, .sets = {{0, 0}}}, true, {INT32_MAX}},
        {{INT32_MAX, "100%", "0", .count = 2, .sets = {{7, 7}, {0, 0}}}, true, {7, INT32_MAX - 7}},
        {{INT32_MAX, "1", "0", .count = 2, .sets = {{INT32_MAX, 0}, {INT32_MAX, 0}}}, false, {INT32_MAX, INT32_MAX}},
        /* Nothing to roll. */
        {{3, "1", "0", .count = 1, .sets = {{3, 3}}}, false, {3}},
        {{0, "1", "0", .count = 2, .sets = {{0, 0}, {0, 0}}}, false, {0, 0}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
        struct stand s;
        set_up(&s, &steps[i].state);
        bool moved = rollout_step_rolling(&s.rollout);
        assert_targets(&s, steps[i].wanted, i);
        assert_int_equal(moved, steps[i].moves);
        arena_free(s.arena);
    }
}

static void scaling_in_the_middle_of_a_rollout_keeps_the_proportions(void **context)
{
    static const struct step steps[] = {
        {{12, .count = 1, .sets = {{10, 10, "10", "10"}}}, true, {12}},
        {{5, .count = 1, .sets = {{10, 10, "10", "10"}}}, true, {5}},
        {{10, .count = 2, .sets = {{3, 3, "5", "5"}, {2, 2, "5", "5"}}}, true, {6, 4}},
        {{3, .count = 2, .sets = {{3, 3, "5", "5"}, {2, 2, "5", "5"}}}, true, {2, 1}},
        {{4, .count = 2, .sets = {{1, 1, "9", "9"}, {8, 8, "9", "9"}}}, true, {0, 4}},
        {{10, .count = 3, .sets = {{2, 2, "7", "7"}, {3, 3, "7", "7"}, {2, 2, "7", "7"}}}, true, {3, 4, 3}},
        {{8, .count = 3, .sets = {{3, 3, "13", "13"}, {8, 8, "13", "13"}, {2, 2, "13", "13"}}}, true, {2, 5, 1}},
        /* What is left over goes to the newest, and comes from the oldest. */
        {{4, .count = 3, .sets = {{1, 1, "3", "3"}, {1, 1, "3", "3"}, {1, 1, "3", "3"}}}, true, {1, 1, 2}},
        {{2, .count = 3, .sets = {{1, 1, "3", "3"}, {1, 1, "3", "3"}, {1, 1, "3", "3"}}}, true, {0, 1, 1}},
        {{5, .no_new = true, .count = 2, .sets = {{2, 2, "4", "4"}, {2, 2, "4", "4"}}}, true, {2, 3}},
        /* Of one age, the last by name is the newest. */
        {{4, .same_age = true, .count = 3, .sets = {{1, 1, "3", "3"}, {1, 1, "3", "3"}, {1, 1, "3", "3"}}},
         true,
         {1, 1, 2}},
        {{2, .same_age = true, .count = 3, .sets = {{1, 1, "3", "3"}, {1, 1, "3", "3"}, {1, 1, "3", "3"}}},
         true,
         {0, 1, 1}},
        /* To nothing, and from nothing. */
        {{0, .count = 3, .sets = {{1, 1, "6", "6"}, {2, 2, "6", "6"}, {3, 3, "6", "6"}}}, true, {0, 0, 0}},
        {{0, "5", .count = 2, .sets = {{4, 4, "6", "11"}, {7, 7, "6", "11"}}}, true, {0, 0}},
        {{6, .count = 3, .sets = {{0, 0, "6", "6"}, {0, 0, "6", "6"}, {0, 0, "6", "6"}}}, true, {0, 0, 6}},
        /* A set that was not written last time gets its share now. */
        {{5, .count = 3, .sets = {{1, 1, "5", "5"}, {1, 1, "3", "3"}, {2, 2, "5", "5"}}}, true, {1, 2, 2}},
        /* Surge counts in. */
        {{20, "2", .count = 2, .sets = {{6, 6, "10", "12"}, {6, 6, "10", "12"}}}, true, {11, 11}},
        {{50, "6", .count = 2, .sets = {{8, 8, "10", "13"}, {5, 5, "10", "13"}}}, true, {34, 22}},
        {{14, .no_new = true, .count = 2, .sets = {{3, 3, "10", "10"}, {7, 7, "10", "10"}}}, true, {4, 10}},
        /* A new set that has all its pods, but none that is available, does not cost the old ones theirs. */
        {{2, "1", "1", .count = 2, .sets = {{1, 1, "2", "3"}, {2, 0, "2", "3"}}}, false, {1, 2}},
        /* One that is saturated does. */
        {{2, "1", "1", .count = 2, .sets = {{1, 1, "1", "2"}, {2, 2, "2", "3"}}}, true, {0, 2}},
        /* Less is wanted, and a smaller surge was given: no set grows. */
        {{12, "3", .count = 2, .sets = {{10, 10, "11", "11"}, {11, 11, "11", "21"}}}, true, {10, 5}},
        /* Recreate scales what is alone, and nothing else. */
        {{5, .recreate = true, .count = 2, .sets = {{2, 2, "2", "2"}, {0, 0, "2", "2"}}}, true, {5, 0}},
        {{5, .recreate = true, .count = 2, .sets = {{2, 2, "2", "2"}, {1, 1, "2", "2"}}}, false, {2, 1}},
        {{5, .count = 0}, false, {0}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
        struct stand s;
        set_up(&s, &steps[i].state);
        bool moved = rollout_scale(&s.rollout);
        assert_targets(&s, steps[i].wanted, i);
        assert_int_equal(moved, steps[i].moves);
        arena_free(s.arena);
    }
}

static void a_deployment_is_scaled_when_an_active_set_was_made_for_another_size(void **context)
{
    static const struct {
        struct state state;
        bool scaling;
    } cases[] = {
        {{3, .count = 1, .sets = {{3, 3, "3", "4"}}}, false},
        {{4, .count = 1, .sets = {{3, 3, "3", "4"}}}, true},
        {{4, .count = 1, .sets = {{3, 3, NULL, NULL}}}, false},
        {{4, .count = 2, .sets = {{0, 0, "3", "4"}, {4, 4, "4", "5"}}}, false},
        {{4, .count = 2, .sets = {{1, 1, "3", "4"}, {4, 4, "4", "5"}}}, true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct stand s;
        set_up(&s, &cases[i].state);
        assert_int_equal(rollout_is_scaling(&s.rollout), cases[i].scaling);
        arena_free(s.arena);
    }
}

static void recreate_takes_all_before_it_makes_any(void **context)
{
    struct stand s;
    set_up(&s, &(struct state){3, .recreate = true, .count = 2, .sets = {{3, 3}, {0, 0}}});
    assert_true(rollout_step_recreate(&s.rollout, true));
    assert_targets(&s, (int32_t[]){0, 0}, 0);
    arena_free(s.arena);

    set_up(&s, &(struct state){3, .recreate = true, .count = 2, .sets = {{0, 0}, {0, 0}}});
    assert_false(rollout_step_recreate(&s.rollout, true));
    assert_true(rollout_step_recreate(&s.rollout, false));
    assert_targets(&s, (int32_t[]){0, 3}, 1);
    arena_free(s.arena);
}

static void surge_rounds_up_and_unavailability_down(void **context)
{
    static const struct {
        const char *surge, *unavailable;
        int32_t replicas, wanted_surge, wanted_unavailable;
    } cases[] = {
        {"0%", "0%", 10, 0, 1},   {"39%", "39%", 10, 4, 3}, {"25%", "25%", 1, 1, 0}, {"25%", "25%", 3, 1, 0},
        {"25%", "25%", 4, 1, 1},  {"0", "25%", 3, 0, 1},    {"2", "10", 5, 2, 5},    {"100%", "100%", 7, 7, 7},
        {"1%", "99%", 100, 1, 99}, {"3", "0", 0, 3, 0},     {"0", "1%", 50, 0, 1},   {"10%", "5", 5, 1, 5},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct stand s;
        set_up(&s, &(struct state){cases[i].replicas, cases[i].surge, cases[i].unavailable});
        assert_int_equal(rollout_max_surge(&s.deployment), cases[i].wanted_surge);
        assert_int_equal(rollout_max_unavailable(&s.deployment), cases[i].wanted_unavailable);
        arena_free(s.arena);
        set_up(&s, &(struct state){cases[i].replicas, .recreate = true});
        assert_int_equal(rollout_max_surge(&s.deployment), 0);
        assert_int_equal(rollout_max_unavailable(&s.deployment), 0);
        arena_free(s.arena);
    }
}

static void templates_are_equal_but_for_the_hash(void **context)
{
    cleanup_arena struct arena *arena = arena_new(0);
    struct pod_template_spec a = {0}, b;
    string_map_set(arena, &a.metadata.labels, "app", "web");
    b = a;
    string_map_set(arena, &b.metadata.labels, LABEL_TEMPLATE_HASH, "12345");
    assert_true(rollout_same_template(&a, &b));
    string_map_set(arena, &b.metadata.annotations, "restarted", "now");
    assert_false(rollout_same_template(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_of_a_rolling_update_is_upstreams),
        cmocka_unit_test(scaling_in_the_middle_of_a_rollout_keeps_the_proportions),
        cmocka_unit_test(a_deployment_is_scaled_when_an_active_set_was_made_for_another_size),
        cmocka_unit_test(recreate_takes_all_before_it_makes_any),
        cmocka_unit_test(surge_rounds_up_and_unavailability_down),
        cmocka_unit_test(templates_are_equal_but_for_the_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
