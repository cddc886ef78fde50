/* Who goes first when memory runs short, what he is told, and who is not taken in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/eviction.h"

#define MIB INT64_C(1048576)
#define RANDOM_ROUNDS 2000
#define RANDOM_PODS 12

static void thresholds_are_read_as_the_kubelet_reads_them(void **state)
{
    struct arena *arena = arena_new(0);
    struct eviction_thresholds t;
    struct error err;
    assert_int_equal(eviction_parse(arena,
                                    "memory.available<200Mi,nodefs.available<10%,nodefs.inodesFree<0.5%,"
                                    "imagefs.available<15%,imagefs.inodesFree<5%,pid.available<1k",
                                    &t, &err),
                     0);
    assert_string_equal(t.of[EVICTION_MEMORY].quantity, "200Mi");
    assert_int_equal(eviction_amount(&t.of[EVICTION_MEMORY], 1 << 30), 200 * MIB);
    /* As upstream's single precision has it. */
    assert_int_equal(eviction_amount(&t.of[EVICTION_DISK], 1000 * MIB), 104857601);
    assert_int_equal(eviction_amount(&t.of[EVICTION_DISK], 1000), 100);
    assert_int_equal(eviction_amount(&t.of[EVICTION_INODES], 20000), 99);
    assert_int_equal(eviction_amount(&t.of[EVICTION_INODES], 20001), 100);
    assert_int_equal(eviction_amount(&t.of[EVICTION_IMAGE_DISK], 1000), 150);
    assert_int_equal(eviction_amount(&t.of[EVICTION_IMAGE_INODES], 1000), 50);
    assert_int_equal(eviction_amount(&t.of[EVICTION_PIDS], 4000000), 1000);
    assert_int_equal(eviction_parse(arena, "", &t, &err), 0);
    assert_null(t.of[EVICTION_MEMORY].quantity);
    /* No thresholds at all. */
    assert_int_equal(eviction_parse(arena, "memory.available<0%,nodefs.available<100%", &t, &err), 0);
    assert_true(!t.of[EVICTION_MEMORY].quantity && t.of[EVICTION_MEMORY].part == 0 && t.of[EVICTION_DISK].part == 0);
    static const char *const bad[] = {"memory.available",
                                      "memory.available<",
                                      "memory.available<x",
                                      "memory.available<-1",
                                      "memory.available<0",
                                      "memory.available<-1%",
                                      "memory.available<%",
                                      "memory.available<101%",
                                      "memory.available<1%%",
                                      "memory<100Mi",
                                      ",",
                                      "<",
                                      "nodefs.available<nan%"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(eviction_parse(arena, bad[i], &t, &err), -1);
    arena_free(arena);
}

static struct eviction_pod candidate(struct pod *pod, int32_t priority, int64_t usage, int64_t request)
{
    *pod = (struct pod){.spec.priority = opt_int32(priority)};
    return (struct eviction_pod){.pod = pod, .measured = usage >= 0, .usage = usage, .request = request};
}

static void the_order_is_excess_then_priority_then_amount(void **state)
{
    struct pod pods[6];
    struct eviction_pod list[] = {
        candidate(&pods[0], 0, 50 * MIB, 100 * MIB),  /* within its request */
        candidate(&pods[1], 100, 500 * MIB, 0),       /* important, and over */
        candidate(&pods[2], 0, 30 * MIB, 10 * MIB),   /* 20 over */
        candidate(&pods[3], 0, 300 * MIB, 250 * MIB), /* 50 over */
        candidate(&pods[4], -5, 90 * MIB, 100 * MIB), /* unimportant, but within its request */
        candidate(&pods[5], 1000, -1, 100 * MIB),     /* nobody knows */
    };
    static const int expected[] = {5, 3, 2, 1, 4, 0};
    eviction_rank(list, 6);
    for (int i = 0; i < 6; i++)
        assert_ptr_equal(list[i].pod, &pods[expected[i]]);
}

/* Whatever the pods are: nobody within his request goes before one who exceeds his, nobody of higher priority before
 * one of lower in the same class, and nobody who exceeds by less before one of the same class and priority by more. */
static void the_order_holds_for_any_pods(void **state)
{
    srand(1);
    for (int round = 0; round < RANDOM_ROUNDS; round++) {
        struct pod pods[RANDOM_PODS];
        struct eviction_pod list[RANDOM_PODS];
        size_t count = (size_t)rand() % RANDOM_PODS + 1;
        for (size_t i = 0; i < count; i++)
            list[i] = candidate(&pods[i], rand() % 3 - 1, rand() % 8 ? rand() % 5 * MIB : -1, rand() % 5 * MIB);
        eviction_rank(list, count);
        for (size_t i = 1; i < count; i++) {
            const struct eviction_pod *a = &list[i - 1], *b = &list[i];
            bool a_over = a->usage > a->request, b_over = b->usage > b->request;
            if (!a->measured)
                continue;
            assert_true(b->measured);
            assert_true(a_over || !b_over);
            if (a_over != b_over)
                continue;
            assert_true(a->pod->spec.priority.value <= b->pod->spec.priority.value);
            if (a->pod->spec.priority.value == b->pod->spec.priority.value) {
                assert_true(a->usage - a->request >= b->usage - b->request);
                if (a->usage - a->request == b->usage - b->request)
                    assert_true(a->pod < b->pod); /* stable */
            }
        }
    }
}

/* With images on a disk of their own, the node has nothing to give back on that of its data. */
static void disk_is_given_back_where_images_are(void **state)
{
    static const bool alone[EVICTION_SIGNALS] = {[EVICTION_IMAGE_DISK] = true, [EVICTION_IMAGE_INODES] = true};
    for (int i = 0; i < EVICTION_SIGNALS; i++) {
        bool disk = eviction_condition((enum eviction_signal)i) == EVICTION_DISK_PRESSURE;
        assert_int_equal(eviction_reclaims((enum eviction_signal)i, true), disk);
        assert_int_equal(eviction_reclaims((enum eviction_signal)i, false), alone[i]);
    }
}

static void the_victim_is_told_in_upstreams_words(void **state)
{
    struct arena *arena = arena_new(0);
    struct pod pod;
    struct eviction_container containers[] = {{"big", 200 * MIB, 64 * MIB}, {"fair", 10 * MIB, 10 * MIB}};
    struct eviction_pod victim = candidate(&pod, 0, 210 * MIB, 74 * MIB);
    struct eviction_threshold quantity = {.quantity = "100Mi"}, percent = {.part = 0.0625};
    victim.containers = containers;
    victim.count = 2;
    struct eviction_shortage s = {
        .signal = EVICTION_MEMORY, .threshold = &quantity, .capacity = 2000 * MIB, .available = 20 * MIB};
    assert_string_equal(
        eviction_message(arena, &s, &victim),
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 20Mi. Container big "
        "was using 200Mi, request is 64Mi, has larger consumption of memory. ");
    s.threshold = &percent;
    s.signal = EVICTION_DISK;
    victim.count = 0;
    assert_string_equal(eviction_message(arena, &s, &victim),
                        "The node was low on resource: ephemeral-storage. Threshold "
                        "quantity: 125Mi, available: 20Mi. ");
    s.signal = EVICTION_IMAGE_INODES;
    s.capacity = 65536;
    s.available = 2000;
    assert_string_equal(eviction_message(arena, &s, &victim),
                        "The node was low on resource: inodes. Threshold quantity: 4Ki, available: 2k. ");
    s.signal = EVICTION_PIDS;
    assert_string_equal(eviction_message(arena, &s, &victim),
                        "The node was low on resource: pids. Threshold quantity: 4Ki, available: 2k. ");
    arena_free(arena);
}

static void a_node_that_is_short_is_choosy(void **state)
{
    struct string_pair request = {"memory", "1Mi"}, mirror = {"kubernetes.io/config.mirror", "x"};
    struct container none = {.name = "a"}, some = {.name = "a", .resources.requests = {&request, 1}};
    struct pod best_effort = {.spec.containers = {&none, 1}}, burstable = {.spec.containers = {&some, 1}};
    struct pod critical = best_effort, is_static = best_effort, tolerant = best_effort;
    struct toleration toleration = {.key = "node.kubernetes.io/memory-pressure", .operator= "Exists" };
    critical.spec.priority = opt_int32(2000000000);
    is_static.metadata.annotations = (struct string_map){&mirror, 1};
    tolerant.spec.tolerations = (struct toleration_array){&toleration, 1};
    const bool none_shown[EVICTION_CONDITIONS] = {false}, memory[EVICTION_CONDITIONS] = {true},
               disk[EVICTION_CONDITIONS] = {false, true}, pids[EVICTION_CONDITIONS] = {false, false, true},
               both[EVICTION_CONDITIONS] = {true, true}, all[EVICTION_CONDITIONS] = {true, true, true};
    assert_true(eviction_admits(&best_effort, none_shown));
    assert_false(eviction_admits(&best_effort, memory));
    assert_true(eviction_admits(&burstable, memory));
    assert_true(eviction_admits(&tolerant, memory));
    assert_true(eviction_admits(&critical, all));
    assert_true(eviction_admits(&is_static, all));
    /* Only for memory does it count what they ask for. */
    assert_false(eviction_admits(&burstable, disk));
    assert_false(eviction_admits(&burstable, pids));
    assert_false(eviction_admits(&burstable, both));
    assert_false(eviction_admits(&tolerant, both));
    struct arena *arena = arena_new(0);
    assert_string_equal(eviction_refusal(arena, memory), "The node had condition: [MemoryPressure]. ");
    assert_string_equal(eviction_refusal(arena, all),
                        "The node had condition: [MemoryPressure DiskPressure PIDPressure]. ");
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thresholds_are_read_as_the_kubelet_reads_them),
        cmocka_unit_test(the_order_is_excess_then_priority_then_amount),
        cmocka_unit_test(the_order_holds_for_any_pods),
        cmocka_unit_test(disk_is_given_back_where_images_are),
        cmocka_unit_test(the_victim_is_told_in_upstreams_words),
        cmocka_unit_test(a_node_that_is_short_is_choosy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
