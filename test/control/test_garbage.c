/* The promises of garbage collection: what is owned goes with its owner, in the way that was asked for, and nothing
 * else does. And of namespaces: they go with all that is in them. */
#include "stage.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "control/controller.h"

#define WEB "deployments/default/web"

static bool gone(struct stage *s, const void *path)
{
    return !stage_get(s, path);
}

static struct stage *web(struct stage *s)
{
    stage_node(s, "n1");
    stage_deploy(s, "web", 3, "app:1", NULL);
    stage_run(s, 20 * SECOND);
    assert_int_equal(stage_ready(s, "web"), 3);
    return s;
}

static void everything_goes_in_the_background(void **state)
{
    struct stage *s = web(stage_new());
    assert_int_equal(stage_delete(s, WEB, "Background"), 200);
    assert_null(stage_get(s, WEB));
    stage_run(s, SECOND);
    assert_int_equal(stage_count(s, "replicasets", "default", NULL, NULL), 0);
    stage_run(s, 35 * SECOND);
    assert_int_equal(stage_count(s, "pods", "default", NULL, NULL), 0);
    stage_free(s);
}

static void the_owner_waits_for_all_in_the_foreground(void **state)
{
    struct stage *s =
        web(stage_new_with(&(struct sim_cluster_options){.seed = 5, .behaviour = {.stop_max = 20 * SECOND}}));
    assert_int_equal(stage_delete(s, WEB, "Foreground"), 200);
    assert_stage(s, WEB, "metadata/finalizers", "[\"foregroundDeletion\"]");
    while (stage_count(s, "pods", "default", NULL, NULL)) {
        assert_int_equal(stage_count(s, "replicasets", "default", NULL, NULL), 1);
        assert_non_null(stage_get(s, WEB));
        assert_int_equal(stage_ready(s, "web"), 0);
        assert_true(env_monotonic(s->env) < 10 * MINUTE);
        stage_run(s, 100 * MILLISECOND);
    }
    stage_run(s, SECOND);
    assert_int_equal(stage_count(s, "replicasets", "default", NULL, NULL), 0);
    assert_null(stage_get(s, WEB));
    stage_free(s);
}

static void orphans_stay_and_are_free(void **state)
{
    struct stage *s = web(stage_new());
    struct object *set;
    assert_int_equal(stage_delete(s, WEB, "Orphan"), 200);
    stage_until(s, gone, WEB);
    stage_run(s, 10 * SECOND);
    assert_int_equal(stage_list(s, "replicasets", "default", "app", "web", &set, 1), 1);
    assert_int_equal(set->meta->owner_references.count, 0);
    assert_int_equal(set->meta->finalizers.count, 0);
    assert_int_equal(stage_ready(s, "web"), 3);
    stage_free(s);
}

static void another_policy_may_be_asked_for_while_the_first_is_at_work(void **state)
{
    struct stage *s =
        web(stage_new_with(&(struct sim_cluster_options){.seed = 5, .behaviour = {.stop_max = 20 * SECOND}}));
    stage_delete(s, WEB, "Foreground");
    stage_delete(s, WEB, "Orphan");
    stage_until(s, gone, WEB);
    stage_free(s);
}

static void create_map(struct stage *s, const char *name, const char *owners)
{
    char json[1024];
    snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"%s\",\"ownerReferences\":[%s]}}", name, owners);
    stage_create(s, "configmaps/default", json);
    stage_run(s, SECOND);
}

static const char *reference(struct stage *s, char out[256], const char *name, const char *uid, bool blocks)
{
    char path[64];
    snprintf(path, sizeof(path), "configmaps/default/%s", name);
    snprintf(out, 256, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"%s\",\"uid\":\"%s\",\"blockOwnerDeletion\":%s}", name,
             uid ? uid : stage_get(s, path)->meta->uid, blocks ? "true" : "false");
    return out;
}

static void an_object_with_two_owners_stays_until_both_are_gone(void **state)
{
    struct stage *s = stage_new();
    char a[256], b[256], both[600];
    for (int first = 0; first < 2; first++) {
        create_map(s, "a", "");
        create_map(s, "b", "");
        snprintf(both, sizeof(both), "%s,%s", reference(s, a, "a", NULL, false), reference(s, b, "b", NULL, false));
        create_map(s, "child", both);
        stage_delete(s, first ? "configmaps/default/a" : "configmaps/default/b", "Background");
        stage_run(s, 10 * SECOND);
        assert_stage(s, "configmaps/default/child", "metadata/ownerReferences/0/name", first ? "b" : "a");
        assert_stage(s, "configmaps/default/child", "metadata/ownerReferences/1", NULL);
        stage_delete(s, first ? "configmaps/default/b" : "configmaps/default/a", "Background");
        stage_until(s, gone, "configmaps/default/child");
    }
    stage_free(s);
}

static void a_foreground_deletion_takes_nothing_that_has_another_owner(void **state)
{
    struct stage *s = stage_new();
    char a[256], b[256], both[600];
    create_map(s, "a", "");
    create_map(s, "b", "");
    snprintf(both, sizeof(both), "%s,%s", reference(s, a, "a", NULL, true), reference(s, b, "b", NULL, true));
    create_map(s, "child", both);
    stage_delete(s, "configmaps/default/a", "Foreground");
    stage_until(s, gone, "configmaps/default/a");
    stage_run(s, 10 * SECOND);
    assert_stage(s, "configmaps/default/child", "metadata/ownerReferences/0/name", "b");
    stage_free(s);
}

static void an_owner_that_never_was_is_as_good_as_gone(void **state)
{
    struct stage *s = stage_new();
    char owner[256];
    create_map(s, "a", "");
    /* The name is there, but under another uid. */
    create_map(s, "child", reference(s, owner, "a", "11111111-2222-3333-4444-555555555555", false));
    stage_until(s, gone, "configmaps/default/child");
    assert_non_null(stage_get(s, "configmaps/default/a"));
    stage_free(s);
}

static void an_owner_of_an_unknown_kind_is_let_alone(void **state)
{
    struct stage *s = stage_new();
    create_map(s, "child",
               "{\"apiVersion\":\"example.com/v1\",\"kind\":\"Thing\",\"name\":\"t\",\"uid\":\"1\"}");
    stage_run(s, MINUTE);
    assert_non_null(stage_get(s, "configmaps/default/child"));
    stage_free(s);
}

static void any_number_of_owners_is_waited_for_and_let_go(void **state)
{
    enum { OWNERS = 6 };
    struct stage *s = stage_new();
    cleanup_buffer struct buffer child = {0};
    char path[64], json[128];
    buffer_add_string(&child, "{\"metadata\":{\"name\":\"child\",\"ownerReferences\":[");
    for (int i = 0; i < OWNERS; i++) {
        snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"owner-%d\"}}", i);
        assert_int_equal(stage_create(s, "configmaps/default", json), 201);
        snprintf(path, sizeof(path), "configmaps/default/owner-%d", i);
        buffer_printf(&child,
                      "%s{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"owner-%d\",\"uid\":\"%s\","
                      "\"blockOwnerDeletion\":true}",
                      i ? "," : "", i, stage_field(s, path, "metadata/uid"));
    }
    buffer_add_string(&child, "]}}");
    assert_int_equal(stage_create(s, "configmaps/default", child.data), 201);
    stage_run(s, SECOND);
    /* The last owners first: they are the ones that were not found. */
    for (int i = OWNERS - 1; i > 0; i--) {
        snprintf(path, sizeof(path), "configmaps/default/owner-%d", i);
        assert_int_equal(stage_delete(s, path, i % 2 ? "Background" : "Orphan"), 200);
        stage_run(s, 5 * SECOND);
        assert_null(stage_get(s, path));
        assert_non_null(stage_get(s, "configmaps/default/child"));
        struct object *object = stage_get(s, "configmaps/default/child");
        assert_int_equal(object->meta->owner_references.count, i);
    }
    assert_int_equal(stage_delete(s, "configmaps/default/owner-0", "Foreground"), 200);
    stage_run(s, 5 * SECOND);
    assert_null(stage_get(s, "configmaps/default/child"));
    assert_null(stage_get(s, "configmaps/default/owner-0"));
    stage_free(s);
}

/* Namespaces. */

static void a_namespace_goes_with_all_that_is_in_it(void **state)
{
    struct stage *s =
        web(stage_new_with(&(struct sim_cluster_options){.seed = 5, .behaviour = {.stop_max = 10 * SECOND}}));
    stage_create(s, "namespaces", "{\"metadata\":{\"name\":\"extra\"}}");
    stage_run(s, SECOND);
    assert_non_null(stage_get(s, "serviceaccounts/extra/default"));
    stage_create(s, "deployments/extra",
                 "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"replicas\":3,\"selector\":{\"matchLabels\":{\"app\":"
                 "\"x\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"x\"}},\"spec\":{\"containers\":[{\"name\":"
                 "\"main\",\"image\":\"app:1\"}]}}}}");
    stage_create(s, "services/extra", "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"selector\":{\"app\":\"x\"},"
                                      "\"ports\":[{\"port\":80}]}}");
    stage_create(s, "configmaps/extra", "{\"metadata\":{\"name\":\"c\"}}");
    stage_create(s, "secrets/extra", "{\"metadata\":{\"name\":\"c\"}}");
    stage_run(s, 20 * SECOND);
    assert_int_equal(stage_ready(s, "x"), 3);
    assert_int_equal(stage_delete(s, "namespaces/extra", NULL), 200);
    assert_stage(s, "namespaces/extra", "status/phase", "Terminating");
    stage_until(s, gone, "namespaces/extra");
    for (size_t i = 0; i < api_resource_count; i++)
        if (api_resources[i].namespaced && api_resources[i].storage == i)
            assert_int_equal(stage_count(s, api_resources[i].plural, "extra", NULL, NULL), 0);
    /* And nothing of another. */
    assert_int_equal(stage_ready(s, "web"), 3);
    stage_free(s);
}

static void an_empty_namespace_goes_at_once(void **state)
{
    struct stage *s = stage_new();
    stage_create(s, "namespaces", "{\"metadata\":{\"name\":\"extra\"}}");
    stage_run(s, SECOND);
    stage_delete(s, "namespaces/extra", NULL);
    stage_run(s, SECOND);
    assert_null(stage_get(s, "namespaces/extra"));
    stage_free(s);
}

#define CONDITION(type) "status/conditions/Namespace" type

static bool without_pods(struct stage *s, const void *namespace)
{
    return stage_count(s, "pods", namespace, NULL, NULL) == 0;
}

static void pods_go_before_all_else_and_conditions_tell_what_is_left(void **state)
{
    static const char path[] = "namespaces/extra", map[] = "configmaps/extra/held";
    struct stage *s = stage_new_with(&(struct sim_cluster_options){.seed = 5, .behaviour = {.stop_max = 20 * SECOND}});
    stage_node(s, "n1");
    stage_create(s, "namespaces", "{\"metadata\":{\"name\":\"extra\"}}");
    stage_run(s, SECOND);
    assert_int_equal(stage_create(s, "pods/extra",
                                  "{\"metadata\":{\"name\":\"p\",\"finalizers\":[\"example.com/slow\"]},"
                                  "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"app:1\"}]}}"),
                     201);
    assert_int_equal(
        stage_create(s, "configmaps/extra", "{\"metadata\":{\"name\":\"held\",\"finalizers\":[\"example.com/keep\"]}}"),
        201);
    stage_run(s, 20 * SECOND);
    assert_int_equal(stage_delete(s, path, NULL), 200);
    stage_run(s, 40 * SECOND);
    /* The pod has ended, but its finalizer holds it: nothing else is touched. */
    assert_stage(s, "pods/extra/p", "metadata/deletionGracePeriodSeconds", "0");
    assert_stage(s, map, "metadata/deletionTimestamp", NULL);
    assert_stage(s, path, CONDITION("ContentRemaining/status"), "True");
    assert_stage(s, path, CONDITION("ContentRemaining/reason"), "SomeResourcesRemain");
    assert_stage(s, path, CONDITION("ContentRemaining/message"),
                 "Some resources are remaining: pods. has 1 resource instances");
    assert_stage(s, path, CONDITION("FinalizersRemaining/message"),
                 "Some content in the namespace has finalizers remaining: example.com/slow in 1 resource instances");
    assert_stage(s, path, CONDITION("DeletionDiscoveryFailure/status"), "False");
    assert_stage(s, path, CONDITION("DeletionGroupVersionParsingFailure/reason"), "ParsedGroupVersions");
    assert_stage(s, path, CONDITION("DeletionContentFailure/message"),
                 "All content successfully deleted, may be waiting on finalization");
    stage_patch(s, "pods/extra/p", "{\"metadata\":{\"finalizers\":null}}");
    stage_until(s, without_pods, "extra");
    stage_run(s, SECOND);
    assert_non_null(stage_field(s, map, "metadata/deletionTimestamp"));
    assert_stage(s, path, CONDITION("ContentRemaining/message"),
                 "Some resources are remaining: configmaps. has 1 resource instances");
    assert_stage(s, path, CONDITION("FinalizersRemaining/reason"), "SomeFinalizersRemain");
    stage_patch(s, map, "{\"metadata\":{\"finalizers\":null}}");
    stage_until(s, gone, path);
    stage_free(s);
}

static void every_namespace_has_a_service_account(void **state)
{
    struct stage *s = stage_new();
    assert_non_null(stage_get(s, "serviceaccounts/default/default"));
    assert_non_null(stage_get(s, "serviceaccounts/kube-system/default"));
    stage_delete(s, "serviceaccounts/default/default", NULL);
    stage_run(s, SECOND);
    assert_non_null(stage_get(s, "serviceaccounts/default/default"));
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_goes_in_the_background),
        cmocka_unit_test(the_owner_waits_for_all_in_the_foreground),
        cmocka_unit_test(orphans_stay_and_are_free),
        cmocka_unit_test(another_policy_may_be_asked_for_while_the_first_is_at_work),
        cmocka_unit_test(an_object_with_two_owners_stays_until_both_are_gone),
        cmocka_unit_test(a_foreground_deletion_takes_nothing_that_has_another_owner),
        cmocka_unit_test(an_owner_that_never_was_is_as_good_as_gone),
        cmocka_unit_test(an_owner_of_an_unknown_kind_is_let_alone),
        cmocka_unit_test(any_number_of_owners_is_waited_for_and_let_go),
        cmocka_unit_test(a_namespace_goes_with_all_that_is_in_it),
        cmocka_unit_test(an_empty_namespace_goes_at_once),
        cmocka_unit_test(pods_go_before_all_else_and_conditions_tell_what_is_left),
        cmocka_unit_test(every_namespace_has_a_service_account),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
