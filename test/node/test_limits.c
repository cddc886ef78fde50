/* From requests and limits to cgroups and back, and whether a change fits the node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/defaults.h"
#include "api/json.h"
#include "base/cleanup.h"
#include "node/limits.h"

static struct pod *pod_of(struct arena *arena, const char *spec)
{
    struct error err;
    struct json_report report;
    struct pod *pod = arena_alloc(arena, sizeof(*pod));
    const char *text = arena_printf(arena, "{\"spec\":%s}", spec);
    if (json_decode(&api_type_pod, arena, text, strlen(text), pod, &report, &err) < 0)
        fail_msg("%s", err.text);
    api_set_defaults(arena, &api_resources[API_PODS], pod);
    return pod;
}

#define CONTAINER(name, requests, limits)                                                                              \
    "{\"name\":\"" name "\",\"image\":\"i\",\"resources\":{\"requests\":{" requests "},\"limits\":{" limits "}}}"
#define SIDECAR(name, requests, limits)                                                                                \
    "{\"name\":\"" name "\",\"image\":\"i\",\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{" requests       \
    "},\"limits\":{" limits "}}}"
#define CPU(n) "\"cpu\":\"" n "\""
#define MEMORY(n) "\"memory\":\"" n "\""
#define BOTH(cpu, memory) CPU(cpu) "," MEMORY(memory)

static void a_pod_s_group_is_limited_when_all_of_its_containers_are(void **state)
{
    static const struct {
        const char *spec;
        uint64_t shares;
        int64_t quota, memory;
    } cases[] = {
        {"{\"containers\":[" CONTAINER("a", "", "") "]}", 2, 0, 0},
        {"{\"containers\":[" CONTAINER("a", CPU("1"), "") "]}", 1024, 0, 0},
        {"{\"containers\":[" CONTAINER("a", "", BOTH("500m", "64Mi")) "]}", 512, 50000, 64 << 20},
        /* One without a limit, and the pod has none. */
        {"{\"containers\":[" CONTAINER("a", "", BOTH("500m", "64Mi")) "," CONTAINER("b", CPU("500m"),
                                                                                    MEMORY("1Mi")) "]}",
         1024, 0, 65 << 20},
        /* An init container that needs more than all that come after it. */
        {"{\"initContainers\":[" CONTAINER("i", "", BOTH("2", "1Gi")) "],\"containers\":[" CONTAINER(
             "a", "", BOTH("500m", "64Mi")) "]}",
         2048, 200000, 1 << 30},
        /* An init container runs beside the sidecars before it, not beside those after it. */
        {"{\"initContainers\":[" SIDECAR("s", "", BOTH("100m", "100Mi")) "," CONTAINER(
             "i", "", BOTH("250m", "250Mi")) "],\"containers\":[" CONTAINER("a", "", BOTH("100m", "100Mi")) "]}",
         358, 35000, 350 << 20},
        {"{\"initContainers\":[" CONTAINER("i", "", BOTH("250m", "250Mi")) "," SIDECAR(
             "s", "", BOTH("100m", "100Mi")) "],\"containers\":[" CONTAINER("a", "", BOTH("100m", "100Mi")) "]}",
         256, 25000, 250 << 20},
        /* Sidecars and containers together are more than any init container. */
        {"{\"initContainers\":[" SIDECAR("s", "", BOTH("200m", "200Mi")) "," CONTAINER(
             "i", "",
             BOTH("50m", "50Mi")) "," SIDECAR("t", "",
                                              BOTH("100m", "100Mi")) "],\"containers\":[" CONTAINER("a", "",
                                                                                                    BOTH("100m",
                                                                                                         "100Mi")) "]}",
         409, 40000, 400 << 20},
        /* Two sidecars before it. */
        {"{\"initContainers\":[" SIDECAR("s", "", BOTH("100m", "100Mi")) "," SIDECAR(
             "t", "",
             BOTH("100m", "100Mi")) "," CONTAINER("i", "",
                                                  BOTH("500m",
                                                       "500Mi")) "],\"containers\":[" CONTAINER("a", "",
                                                                                                BOTH("100m",
                                                                                                     "100Mi")) "]}",
         716, 70000, 700 << 20},
        /* A sidecar or an init container without a limit, and the pod has none. */
        {"{\"initContainers\":[" SIDECAR("s", BOTH("100m", "100Mi"),
                                         "") "],\"containers\":[" CONTAINER("a", "", BOTH("100m", "100Mi")) "]}",
         204, 0, 0},
        {"{\"initContainers\":[" CONTAINER("i", "", CPU("100m")) "],\"containers\":[" CONTAINER(
             "a", "", BOTH("100m", "100Mi")) "]}",
         102, 10000, 0},
        /* The pod as a whole. */
        {"{\"resources\":{\"limits\":{" BOTH("1", "1Gi") "}},\"containers\":[" CONTAINER("a", CPU("250m"), "") "]}",
         256, 100000, 1 << 30},
        {"{\"resources\":{\"requests\":{" CPU("1") "}},\"containers\":[" CONTAINER("a", CPU("250m"), "") "]}", 1024, 0,
         0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct arena *arena = arena_new(0);
        struct cgroup_resources r = limits_of_pod(pod_of(arena, cases[i].spec));
        assert_int_equal(r.cpu_shares, cases[i].shares);
        assert_int_equal(r.cpu_quota, cases[i].quota);
        assert_int_equal(r.memory_limit, cases[i].memory);
        arena_free(arena);
    }
}

static void a_container_without_a_limit_has_the_pod_s(void **state)
{
    struct arena *arena = arena_new(0);
    struct pod *pod = pod_of(arena, "{\"resources\":{\"limits\":{" BOTH("1", "1Gi") "}},\"containers\":[" CONTAINER(
                                        "a", "", MEMORY("64Mi")) "]}");
    struct cgroup_resources r = limits_of_container(&pod->spec, &pod->spec.containers.items[0].resources);
    assert_int_equal(r.cpu_quota, 100000);
    assert_int_equal(r.memory_limit, 64 << 20);
    arena_free(arena);
}

static void the_status_shows_what_the_group_has(void **state)
{
    struct arena *arena = arena_new(0);
    struct pod *pod =
        pod_of(arena, "{\"containers\":[" CONTAINER("a", BOTH("150m", "32Mi"), BOTH("333m", "64Mi")) "]}");
    const struct resource_requirements *allocated = &pod->spec.containers.items[0].resources;
    struct cgroup_resources actual = limits_of_container(&pod->spec, allocated);
    struct resource_requirements shown;
    limits_shown(arena, &pod->spec, allocated, &actual, &shown);
    assert_true(api_equal(&api_type_resource_requirements, &shown, allocated));
    /* Nobody has got round to the change yet: the old limits are in force. */
    actual.cpu_quota = 20000;
    actual.cpu_shares = 102;
    actual.memory_limit = 48 << 20;
    limits_shown(arena, &pod->spec, allocated, &actual, &shown);
    assert_string_equal(string_map_get(&shown.limits, "cpu"), "200m");
    assert_string_equal(string_map_get(&shown.limits, "memory"), "48Mi");
    assert_string_equal(string_map_get(&shown.requests, "cpu"), "100m");
    assert_string_equal(string_map_get(&shown.requests, "memory"), "32Mi");
    arena_free(arena);
}

/* Every request that a machine can serve comes back as it went in, on v1 and through the weights of v2. */
static void cpu_comes_back_from_the_kernel_as_it_went_in(void **state)
{
    for (int64_t milli = 10; milli < 200000; milli += milli < 4000 ? 1 : 97) {
        uint64_t shares = cgroup_cpu_shares(milli);
        assert_in_range(cgroup_milli_of_shares(shares), milli - 1, milli + 1);
        assert_int_equal(cgroup_cpu_shares(cgroup_milli_of_shares(shares)), shares);
        assert_int_equal(cgroup_milli_of_quota(cgroup_cpu_quota(milli, 0), CGROUP_CPU_PERIOD), milli);
        uint64_t weight = cgroup_cpu_weight(shares);
        assert_int_equal(cgroup_cpu_weight(cgroup_shares_of_weight(weight)), weight);
    }
}

static void a_new_start_is_for_the_resource_that_asks_for_it(void **state)
{
    struct arena *arena = arena_new(0);
    struct pod *old = pod_of(arena, "{\"containers\":[" CONTAINER("a", "", BOTH("1", "64Mi")) "]}");
    struct pod *cpu = pod_of(arena, "{\"containers\":[" CONTAINER("a", "", BOTH("2", "64Mi")) "]}");
    struct pod *memory = pod_of(arena, "{\"containers\":[" CONTAINER("a", "", BOTH("1", "128Mi")) "]}");
    struct container_resize_policy policies[] = {{"memory", "RestartContainer"}, {"cpu", "NotRequired"}};
    struct container c = {.resize_policy = {policies, 2}};
    const struct resource_requirements *before = &old->spec.containers.items[0].resources;
    assert_false(limits_want_restart(&c, before, &cpu->spec.containers.items[0].resources));
    assert_true(limits_want_restart(&c, before, &memory->spec.containers.items[0].resources));
    c.resize_policy.count = 0;
    assert_false(limits_want_restart(&c, before, &memory->spec.containers.items[0].resources));
    assert_true(limits_equal(before, before));
    assert_false(limits_equal(before, &memory->spec.containers.items[0].resources));
    arena_free(arena);
}

static void huge_pages_are_for_who_asks_for_them(void **state)
{
    static const struct {
        const char *of_container, *of_pod;
        int64_t small, large;
    } cases[] = {
        {"{}", "null", 0, 0},
        {"{\"limits\":{\"hugepages-2Mi\":\"4Mi\"}}", "null", 4 << 20, 0},
        /* Containers share what the pod has as a whole. */
        {"{}", "{\"limits\":{\"hugepages-1Gi\":\"1Gi\"}}", 0, 1 << 30},
        {"{\"limits\":{\"hugepages-1Gi\":\"2Gi\"}}", "{\"limits\":{\"hugepages-1Gi\":\"3Gi\"}}", 0, INT64_C(2) << 30},
    };
    struct huge_page sizes[] = {{2 << 20, 8 << 20, "hugepages-2Mi", "2MB"}, {1 << 30, 0, "hugepages-1Gi", "1GB"}};
    struct huge_pages pages = {sizes, ARRAY_COUNT(sizes)};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct pod *pod =
            pod_of(arena, arena_printf(arena, "{\"containers\":[{\"name\":\"a\",\"resources\":%s}],\"resources\":%s}",
                                       cases[i].of_container, cases[i].of_pod));
        const struct runtime_huge_page_limit *limits =
            limits_of_huge_pages(arena, &pod->spec, &pod->spec.containers.items[0].resources, &pages);
        assert_string_equal(limits[0].size, "2MB");
        assert_int_equal(limits[0].limit, cases[i].small);
        assert_string_equal(limits[1].size, "1GB");
        assert_int_equal(limits[1].limit, cases[i].large);
        arena_free(arena);
    }
}

/* A change that is on its way counts as the larger of the two; one that never comes does not count. */
static void changes_count_until_they_are_done(void **state)
{
    struct arena *arena = arena_new(0);
    struct pod *pod = pod_of(arena, "{\"containers\":[" CONTAINER("a", CPU("3"), "") "]}");
    struct pod *had = pod_of(arena, "{\"containers\":[" CONTAINER("a", CPU("1"), "") "]}");
    struct pod_condition pending = {.type = "PodResizePending", .status = "True", .reason = "Deferred"};
    struct container_status status = {.name = "a",
                                      .allocated_resources = had->spec.containers.items[0].resources.requests,
                                      .resources = &had->spec.containers.items[0].resources};
    pod->status.container_statuses = (struct container_status_array){&status, 1};
    pod->status.conditions = (struct pod_condition_array){&pending, 1};
    assert_int_equal(pod_resource_request(pod, "cpu", POD_COUNT_SPEC, 0), 3000);
    assert_int_equal(pod_resource_request(pod, "cpu", POD_COUNT_STATUS, 0), 3000);
    pending.reason = "Infeasible";
    assert_int_equal(pod_resource_request(pod, "cpu", POD_COUNT_STATUS, 0), 1000);
    pod->status.conditions.count = 0;
    pod->spec.containers = pod_of(arena, "{\"containers\":[" CONTAINER("a", CPU("500m"), "") "]}")->spec.containers;
    assert_int_equal(pod_resource_request(pod, "cpu", POD_COUNT_STATUS, 0), 1000);
    arena_free(arena);
}

/* Sums stop at the largest amount, where they would wrap around to less than nothing. */
static void what_no_machine_has_adds_up_to_the_largest_amount(void **state)
{
#define LARGEST(kind, name) kind(name, MEMORY("9E"), MEMORY("9E"))
    static const char *const specs[] = {
        "{\"containers\":[" LARGEST(CONTAINER, "a") "," LARGEST(CONTAINER, "b") "]}",
        "{\"containers\":[" CONTAINER("a", MEMORY("1"), MEMORY("1")) "],\"initContainers\":[" LARGEST(
            SIDECAR, "s") "," LARGEST(CONTAINER, "i") "]}",
        "{\"containers\":[" LARGEST(CONTAINER, "a") "],\"overhead\":{" MEMORY("9E") "}}",
    };
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        struct arena *arena = arena_new(0);
        int64_t limit;
        struct pod *pod = pod_of(arena, specs[i]);
        assert_int_equal(pod_resource_request(pod, "memory", POD_COUNT_SPEC, 0), INT64_MAX);
        assert_true(pod_resource_limit(&pod->spec, "memory", &limit));
        assert_int_equal(limit, INT64_MAX);
        arena_free(arena);
    }
}

/* Upstream's table, on a node of 4,000,000,000 bytes. */
static void the_last_to_go_is_who_asked_for_most(void **state)
{
    static const char critical[] = "\"priority\":2000001000,\"priorityClassName\":\"system-node-critical\",";
    static const char cluster_critical[] = "\"priority\":2000000000,\"priorityClassName\":\"system-cluster-critical\",";
#define ONE(requests, limits) "\"containers\":[" CONTAINER("a", requests, limits) "]"
    static const struct {
        const char *priority, *spec;
        bool init; /* the first init container is asked about, not the first container */
        int score;
    } cases[] = {
        {"", ONE("", ""), false, 1000},
        {"", ONE("", BOTH("100m", "1000M")), false, -997},
        {"", ONE(MEMORY("2000M"), ""), false, 500},
        {"", ONE(MEMORY("4000M"), ""), false, 3},
        {"", ONE(MEMORY("3999M"), ""), false, 3},
        {"", ONE(MEMORY("1"), ""), false, 999},
        {"", ONE(MEMORY("3M"), ""), false, 999},
        {"", ONE(MEMORY("8M"), ""), false, 998},
        {"", ONE(CPU("100m"), ""), false, 999},
        {critical, ONE("", ""), false, -997},
        {critical, ONE(MEMORY("2000M"), ""), false, -997},
        {cluster_critical, ONE("", ""), false, 1000},
        /* A sidecar goes no sooner than any of the containers, and an init container as it asks. */
        {"", "\"initContainers\":[" SIDECAR("s", MEMORY("1000M"), "") "]," ONE(MEMORY("2000M"), ""), true, 500},
        {"", "\"initContainers\":[" SIDECAR("s", MEMORY("3000M"), "") "]," ONE(MEMORY("2000M"), ""), true, 250},
        {"",
         "\"initContainers\":[" SIDECAR("s", "", "") "],\"containers\":[" CONTAINER(
             "a", MEMORY("2000M"), "") "," CONTAINER("b", MEMORY("1000M"), "") "]",
         true, 750},
        {"", "\"initContainers\":[" SIDECAR("s", "", "") "]," ONE(CPU("1"), ""), true, 999},
        {"", "\"initContainers\":[" CONTAINER("i", MEMORY("1000M"), "") "]," ONE(MEMORY("2000M"), ""), true, 750},
        /* What the pod as a whole asks for beyond its containers is theirs in equal parts. */
        {"",
         "\"resources\":{\"requests\":{" MEMORY("2000M") "}},\"containers\":[" CONTAINER(
             "a", MEMORY("1000M"), "") "," CONTAINER("b", "", "") "]",
         false, 625},
        {"",
         "\"resources\":{\"requests\":{" MEMORY("2000M") "}},\"initContainers\":[" SIDECAR("s", "", "") "]," ONE(
             MEMORY("1000M"), ""),
         true, 625},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct arena *arena = arena_new(0);
        const struct pod *pod = pod_of(arena, arena_printf(arena, "{%s%s}", cases[i].priority, cases[i].spec));
        const struct container_array *list = cases[i].init ? &pod->spec.init_containers : &pod->spec.containers;
        assert_int_equal(limits_oom_score(pod, &list->items[0], INT64_C(4000000000)), cases[i].score);
        arena_free(arena);
    }
#undef ONE
}

/* For storage on disk the sum of those that have a limit counts, whoever has none. */
static void storage_is_limited_by_any_limit(void **state)
{
#define STORAGE(n) "\"ephemeral-storage\":\"" n "\""
    static const struct {
        const char *spec;
        int64_t limit;
    } cases[] = {
        {"{\"containers\":[" CONTAINER("a", "", "") "]}", 0},
        {"{\"containers\":[" CONTAINER("a", "", STORAGE("5")) "," CONTAINER("b", "", "") "]}", 5},
        {"{\"initContainers\":[" SIDECAR("s", "", STORAGE("7")) "],\"containers\":[" CONTAINER("a", "", "") "]}", 7},
        {"{\"initContainers\":[" CONTAINER("i", "", STORAGE("7")) "],\"containers\":[" CONTAINER("a", "", "") "]}", 7},
        {"{\"initContainers\":[" SIDECAR("s", "", STORAGE("7")) "],\"containers\":[" CONTAINER("a", "",
                                                                                               STORAGE("5")) "]}",
         12},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct arena *arena = arena_new(0);
        int64_t limit;
        pod_resource_limit(&pod_of(arena, cases[i].spec)->spec, "ephemeral-storage", &limit);
        assert_int_equal(limit, cases[i].limit);
        arena_free(arena);
    }
#undef STORAGE
}

/* A change that waits has not been made: what it adds and takes away is not there yet, or still is. */
static void what_was_allotted_comes_back_from_the_status(void **state)
{
#define OTHER "\"ephemeral-storage\":\"1Gi\""
    static const struct {
        const char *asked_requests, *asked_limits, *shown_requests, *shown_limits;
    } cases[] = {
        {BOTH("600m", "64Mi") "," OTHER, BOTH("900m", "128Mi") "," OTHER, BOTH("100m", "32Mi") "," OTHER, OTHER},
        {BOTH("600m", "64Mi"), BOTH("900m", "128Mi"), CPU("100m"), MEMORY("64Mi")},
        {CPU("600m"), "", BOTH("100m", "32Mi"), BOTH("200m", "64Mi")},
        {CPU("600m"), CPU("1"), "", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct arena *arena = arena_new(0);
        struct resource_requirements asked = {0}, shown = {0}, out;
        struct container_status status = {.name = "a", .resources = &shown};
        const char *texts[] = {cases[i].asked_requests, cases[i].asked_limits, cases[i].shown_requests,
                               cases[i].shown_limits};
        for (int k = 0; k < 2; k++) {
            struct error err;
            struct json_report report;
            const char *text =
                arena_printf(arena, "{\"requests\":{%s},\"limits\":{%s}}", texts[2 * k], texts[2 * k + 1]);
            assert_int_equal(json_decode(&api_type_resource_requirements, arena, text, strlen(text),
                                         k ? &shown : &asked, &report, &err),
                             0);
        }
        status.allocated_resources = shown.requests;
        limits_restore(arena, &asked, &status, &out);
        assert_true(api_equal(&api_type_resource_requirements, &out, &shown));
        arena_free(arena);
    }
#undef OTHER
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_s_group_is_limited_when_all_of_its_containers_are),
        cmocka_unit_test(a_container_without_a_limit_has_the_pod_s),
        cmocka_unit_test(the_status_shows_what_the_group_has),
        cmocka_unit_test(cpu_comes_back_from_the_kernel_as_it_went_in),
        cmocka_unit_test(a_new_start_is_for_the_resource_that_asks_for_it),
        cmocka_unit_test(huge_pages_are_for_who_asks_for_them),
        cmocka_unit_test(changes_count_until_they_are_done),
        cmocka_unit_test(what_no_machine_has_adds_up_to_the_largest_amount),
        cmocka_unit_test(the_last_to_go_is_who_asked_for_most),
        cmocka_unit_test(storage_is_limited_by_any_limit),
        cmocka_unit_test(what_was_allotted_comes_back_from_the_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
