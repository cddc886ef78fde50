/* The promises about aggregated cluster roles: they have what their parts have, each rule once, as long as the parts
 * have it; and the default ones of upstream are there from the start. */
#include "stage.h"

#include <stdio.h>
#include <string.h>

#define SEEN (2 * SECOND)
#define RULE(resource) "{\"apiGroups\":[\"\"],\"resources\":[\"" resource "\"],\"verbs\":[\"get\"]}"

static void create(struct stage *s, const char *name, const char *labels, const char *more)
{
    char json[512];
    snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"%s\",\"labels\":{%s}}%s}", name, labels, more);
    assert_int_equal(stage_create(s, "clusterroles", json), 201);
    stage_run(s, SEEN);
}

static void a_role_has_the_rules_of_those_that_it_selects(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    create(s, "all", "",
           ",\"aggregationRule\":{\"clusterRoleSelectors\":[{\"matchLabels\":{\"part\":\"yes\"}}]},"
           "\"rules\":[" RULE("secrets") "]");
    assert_stage(s, "clusterroles/all", "rules", NULL);
    create(s, "b", "\"part\":\"yes\"", ",\"rules\":[" RULE("pods") "," RULE("services") "]");
    create(s, "a", "\"part\":\"yes\"", ",\"rules\":[" RULE("nodes") "," RULE("pods") "]");
    create(s, "c", "\"part\":\"no\"", ",\"rules\":[" RULE("secrets") "]");
    assert_stage(s, "clusterroles/all", "rules", "[" RULE("nodes") "," RULE("pods") "," RULE("services") "]");
    assert_int_equal(stage_patch(s, "clusterroles/c", "{\"metadata\":{\"labels\":{\"part\":\"yes\"}}}"), 200);
    assert_int_equal(stage_delete(s, "clusterroles/a", NULL), 200);
    stage_run(s, SEEN);
    assert_stage(s, "clusterroles/all", "rules", "[" RULE("pods") "," RULE("services") "," RULE("secrets") "]");
    /* Whoever writes other rules into it gets these back. */
    assert_int_equal(stage_patch(s, "clusterroles/all", "{\"rules\":null}"), 200);
    stage_run(s, SEEN);
    assert_stage(s, "clusterroles/all", "rules", "[" RULE("pods") "," RULE("services") "," RULE("secrets") "]");
    stage_free(s);
}

static void roles_are_made_of_roles_that_are_made_of_others(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    stage_run(s, SEEN);
    const char *own = "{\"apiGroups\":[\"example.com\"],\"resources\":[\"widgets\"],\"verbs\":[\"get\"]}";
    static const char *const roles[] = {"clusterroles/view", "clusterroles/edit", "clusterroles/admin"};
    for (size_t i = 0; i < 3; i++) {
        const char *rules = stage_field(s, roles[i], "rules");
        assert_non_null(rules);
        assert_non_null(strstr(rules, "\"pods/log\""));
        assert_int_equal(strstr(rules, "\"pods/exec\"") != NULL, i > 0);
        assert_int_equal(strstr(rules, "\"rolebindings\"") != NULL, i > 1);
        assert_null(strstr(rules, "widgets"));
    }
    char more[256];
    snprintf(more, sizeof(more), ",\"rules\":[%s]", own);
    create(s, "widgets-view", "\"rbac.authorization.k8s.io/aggregate-to-view\":\"true\"", more);
    for (size_t i = 0; i < 3; i++)
        assert_non_null(strstr(stage_field(s, roles[i], "rules"), own));
    assert_stage(s, "clusterrolebindings/cluster-admin", "subjects/0/name", "system:masters");
    assert_stage(s, "clusterroles/view", "metadata/labels/kubernetes.io|bootstrapping", "rbac-defaults");
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_role_has_the_rules_of_those_that_it_selects),
        cmocka_unit_test(roles_are_made_of_roles_that_are_made_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
