/* The promises of Deployments. */
#include "stage.h"

#include <stdio.h>
#include <string.h>

#define WEB "deployments/default/web"

static bool complete(struct stage *s, const void *name)
{
    char path[128];
    snprintf(path, sizeof(path), "deployments/default/%s", (const char *)name);
    const struct object *o = stage_get(s, path);
    const struct deployment *d = o ? o->value : NULL;
    return d && d->status.observed_generation == d->metadata.generation &&
           d->status.updated_replicas == d->spec.replicas.value && d->status.replicas == d->spec.replicas.value &&
           d->status.available_replicas == d->spec.replicas.value;
}

static void a_deployment_makes_its_pods(void **state)
{
    struct stage *s = stage_new();
    stage_node(s, "n1");
    stage_node(s, "n2");
    stage_deploy(s, "web", 3, "app:1", NULL);
    stage_until(s, complete, "web");
    assert_int_equal(stage_ready(s, "web"), 3);
    assert_stage(s, WEB, "status/conditions/Available/status", "True");
    assert_stage(s, WEB, "status/conditions/Progressing/reason", "NewReplicaSetAvailable");
    assert_stage(s, WEB, "metadata/annotations/deployment.kubernetes.io|revision", "1");
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deployment_makes_its_pods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
