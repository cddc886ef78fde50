/* The promises of lint on the way of a write: which changes are looked at, and against what. */
#include "world.h"

#include <stdio.h>
#include <string.h>

#define TEMPLATE                                                                                                       \
    "{\"metadata\":{\"labels\":{\"app\":\"x\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"
#define DEPLOYMENT                                                                                                     \
    "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"x\"}},"                         \
    "\"template\":" TEMPLATE "}}"
#define POD "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"

static void assert_warned(const struct reply *r, const char *begin)
{
    assert_non_null(r->warning);
    assert_memory_equal(r->warning, begin, strlen(begin));
}

/* What the node would say: containers use 64 MiB, whoever they are of. */
static int64_t uses_64_mib(void *context, const char *pod_uid, const char *container)
{
    ++*(int *)context;
    return INT64_C(64) << 20;
}

static void a_lowered_memory_limit_is_held_against_the_pods_of_the_workload(void **state)
{
    static const char sidecar_first[] =
        "{\"spec\":{\"template\":{\"spec\":{\"containers\":["
        "{\"name\":\"other\",\"image\":\"i\",\"resources\":{\"limits\":{\"memory\":\"8Mi\"}}},"
        "{\"name\":\"c\",\"image\":\"i\",\"resources\":{\"limits\":{\"memory\":\"%s\"}}}]}}}}";
    struct world *w = world_new();
    int asked = 0;
    char json[512];
    registry_observe_memory(w->registry, uses_64_mib, &asked);
    assert_code(create(w, "deployments/default", DEPLOYMENT), 201);
    /* More pods of others than lint looks at, and the workload's only one behind them. */
    for (int i = 0; i <= 300; i++) {
        snprintf(json, sizeof(json),
                 "{\"metadata\":{\"name\":\"p%03d\",\"labels\":{\"app\":\"%s\"}},\"spec\":{\"containers\":[{\"name\":"
                 "\"c\",\"image\":\"i\"}]}}",
                 i, i < 300 ? "other" : "x");
        assert_code(create(w, "pods/default", json), 201);
    }
    snprintf(json, sizeof(json), sidecar_first, "128Mi");
    assert_code(patch(w, "deployments/default/d", json), 200);
    /* Another place in the list is no change; half of what is in use is one. */
    snprintf(json, sizeof(json), sidecar_first, "32Mi");
    struct reply *r = patch(w, "deployments/default/d", json);
    assert_code(r, 200);
    assert_non_null(r->warning);
    assert_memory_equal(
        r->warning, "spec.template.spec.containers[1].resources.limits.memory: 32Mi, and pod \"p300\" uses 64Mi", 88);
    assert_int_equal(asked, 2);
    world_free(w);
}

static void a_scaled_or_relabelled_object_is_linted(void **state)
{
    static const char service[] =
        "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"selector\":{\"app\":\"x\"},\"ports\":[{\"port\":80}]}}";
    static const char quiet[] = "{\"metadata\":{\"annotations\":{\"coracle.dev/lint-ignore\":"
                                "\"readiness-probe-missing,requests-missing,mutable-tag\"}}}";
    struct world *w = world_new();
    assert_code(create(w, "services/default", service), 201);
    assert_code(create(w, "deployments/default", DEPLOYMENT), 201);
    assert_code(patch(w, "deployments/default/d", quiet), 200);
    assert_code(patch(w, "deployments/default/d/scale", "{\"spec\":{\"replicas\":3}}"), 200);
    struct reply *r = patch(w, "deployments/default/d/scale", "{\"spec\":{\"replicas\":1}}");
    assert_code(r, 200);
    assert_warned(r, "spec.replicas: 1 behind Service \"s\"");
    r = patch(w, "deployments/default/d", "{\"metadata\":{\"annotations\":null}}");
    assert_code(r, 200);
    assert_non_null(r->warning);
    assert_code(create(w, "pods/default", POD), 201);
    r = patch(w, "pods/default/p", "{\"metadata\":{\"labels\":{\"app\":\"x\"}}}");
    assert_warned(r, "spec.containers[0].readinessProbe: missing behind Service \"s\"");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lowered_memory_limit_is_held_against_the_pods_of_the_workload),
        cmocka_unit_test(a_scaled_or_relabelled_object_is_linted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
