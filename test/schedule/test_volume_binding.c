/* The promises of the scheduler about claims: a pod waits for its claims and is told what for; claims that wait for
 * their first consumer are bound, or made, where the pod fits; nobody is promised what somebody else has. */
#include "stage.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define POD "pods/default/p"
#define CLAIM "persistentvolumeclaims/default/c"
#define SEEN (2 * SECOND)
#define NOT_HELPFUL(nodes)                                                                                             \
    " no new claims to deallocate, preemption: 0/" nodes " nodes are available: " nodes                                \
    " Preemption is not helpful for scheduling."

static void node(struct stage *s, const char *name, const char *cpu)
{
    struct sim_node_options options = {.name = name, .cpu = cpu, .memory = "8Gi", .pods = "10"};
    sim_cluster_add_node(s->cluster, &options);
    stage_run(s, SECOND);
    cleanup_free char *path = mem_printf("nodes/%s", name);
    cleanup_free char *labels = mem_printf("{\"metadata\":{\"labels\":{\"kubernetes.io/hostname\":\"%s\"}}}", name);
    stage_patch(s, path, labels);
    stage_run(s, SECOND);
}

static void pod_of(struct stage *s, const char *name, const char *cpu, const char *volume)
{
    cleanup_free char *json = mem_printf(
        "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"volumes\":[{\"name\":\"v\",%s}],\"containers\":[{\"name\":\"main\","
        "\"image\":\"app:1\",\"resources\":{\"requests\":{\"cpu\":\"%s\"}}}]}}",
        name, volume, cpu);
    stage_create(s, "pods/default", json);
    stage_run(s, SEEN);
}

static void pod(struct stage *s, const char *name, const char *claim)
{
    cleanup_free char *volume = mem_printf("\"persistentVolumeClaim\":{\"claimName\":\"%s\"}", claim);
    pod_of(s, name, "100m", volume);
}

static void claim(struct stage *s, const char *name, const char *mode, const char *more)
{
    cleanup_free char *json = mem_printf(
        "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"accessModes\":[\"%s\"],\"resources\":{\"requests\":{\"storage\":"
        "\"1Gi\"}}%s}}",
        name, mode, more);
    stage_create(s, "persistentvolumeclaims/default", json);
    stage_run(s, SEEN);
}

static void volume(struct stage *s, const char *name, const char *node_name, const char *more)
{
    cleanup_free char *json = mem_printf(
        "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"capacity\":{\"storage\":\"1Gi\"},\"accessModes\":[\"ReadWriteOnce\"],"
        "\"local\":{\"path\":\"/data/%s\"},\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\":[{\"matchExpressions\":["
        "{\"key\":\"kubernetes.io/hostname\",\"operator\":\"In\",\"values\":[\"%s\"]}]}]}}%s}}",
        name, name, node_name, more);
    stage_create(s, "persistentvolumes", json);
    stage_run(s, SEEN);
}

static void class(struct stage *s, const char *name, const char *provisioner)
{
    cleanup_free char *json = mem_printf("{\"metadata\":{\"name\":\"%s\"},\"provisioner\":\"%s\",\"volumeBindingMode\":"
                                         "\"WaitForFirstConsumer\"}",
                                         name, provisioner);
    stage_create(s, "storageclasses", json);
    stage_run(s, SEEN);
}

static void assert_reason(struct stage *s, const char *message)
{
    const char *event = stage_event(s, "Pod", "FailedScheduling");
    assert_non_null(event);
    assert_string_equal(event, message);
    assert_stage(s, POD, "status/conditions/PodScheduled/message", message);
    assert_stage(s, POD, "spec/nodeName", NULL);
}

static void a_claim_that_is_not_there_is_named(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    node(s, "n1", "2");
    pod(s, "p", "c");
    assert_reason(s, "0/1 nodes are available: persistentvolumeclaim \"c\" not found." NOT_HELPFUL("1"));
    volume(s, "v", "n1", "");
    claim(s, "c", "ReadWriteOnce", ",\"storageClassName\":\"\"");
    stage_until(s, stage_is_bound, POD);
    assert_stage(s, POD, "spec/nodeName", "n1");
    stage_free(s);
}

static void a_claim_that_stage_is_bound_at_once_is_waited_for(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    node(s, "n1", "2");
    claim(s, "c", "ReadWriteOnce", ",\"storageClassName\":\"\"");
    pod(s, "p", "c");
    assert_reason(s, "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims." NOT_HELPFUL("1"));
    volume(s, "v", "n1", "");
    stage_until(s, stage_is_bound, POD);
    stage_free(s);
}

static void a_bound_volume_brings_the_pod_to_its_node(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    node(s, "n1", "2");
    node(s, "n2", "2");
    volume(s, "v", "n2", "");
    claim(s, "c", "ReadWriteOnce", ",\"storageClassName\":\"\"");
    pod(s, "p", "c");
    assert_stage(s, POD, "spec/nodeName", "n2");
    stage_free(s);
}

static void a_volume_that_no_node_reaches_is_said_to_be(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    node(s, "n1", "2");
    volume(s, "v", "elsewhere", "");
    claim(s, "c", "ReadWriteOnce", ",\"storageClassName\":\"\"");
    pod(s, "p", "c");
    assert_reason(s, "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity." NOT_HELPFUL(
                         "1"));
    stage_free(s);
}

/* The pod fits on n2 only, where there is a volume too. */
static void a_free_volume_is_chosen_together_with_the_node(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    node(s, "n1", "100m");
    node(s, "n2", "2");
    class(s, "disks", "kubernetes.io/no-provisioner");
    volume(s, "v1", "n1", ",\"storageClassName\":\"disks\"");
    volume(s, "v2", "n2", ",\"storageClassName\":\"disks\"");
    claim(s, "c", "ReadWriteOnce", ",\"storageClassName\":\"disks\"");
    assert_stage(s, CLAIM, "status/phase", "Pending");
    pod_of(s, "p", "1", "\"persistentVolumeClaim\":{\"claimName\":\"c\"}");
    stage_until(s, stage_is_bound, POD);
    assert_stage(s, POD, "spec/nodeName", "n2");
    assert_stage(s, CLAIM, "spec/volumeName", "v2");
    assert_stage(s, CLAIM, "status/phase", "Bound");
    assert_stage(s, "persistentvolumes/v1", "status/phase", "Available");
    stage_free(s);
}

static void pods_at_once_get_a_volume_each(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    node(s, "n1", "2");
    class(s, "disks", "kubernetes.io/no-provisioner");
    volume(s, "v1", "n1", ",\"storageClassName\":\"disks\"");
    volume(s, "v2", "n1", ",\"storageClassName\":\"disks\"");
    const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++)
        claim(s, names[i], "ReadWriteOnce", ",\"storageClassName\":\"disks\"");
    stage_patch(s, "nodes/n1", "{\"spec\":{\"unschedulable\":true}}");
    stage_run(s, SEEN);
    for (size_t i = 0; i < 3; i++)
        pod(s, names[i], names[i]);
    stage_patch(s, "nodes/n1", "{\"spec\":{\"unschedulable\":false}}");
    stage_run(s, 120 * SECOND);
    size_t bound = 0;
    for (size_t i = 0; i < 3; i++) {
        cleanup_free char *path = mem_printf("pods/default/%s", names[i]);
        cleanup_free char *claimed = mem_printf("persistentvolumeclaims/default/%s", names[i]);
        bool here = stage_is_bound(s, path);
        assert_stage(s, claimed, "status/phase", here ? "Bound" : "Pending");
        bound += here;
        if (!here)
            assert_stage(s, path, "status/conditions/PodScheduled/message",
                         "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind."
                         NOT_HELPFUL("1"));
    }
    assert_int_equal(bound, 2);
    stage_free(s);
}

/* A provisioner makes the volume for the node that the scheduler names; until then the pod has no node. */
static void a_volume_is_made_where_the_pod_will_be(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    node(s, "n1", "2");
    claim(s, "c", "ReadWriteOnce", "");
    pod(s, "p", "c");
    assert_stage(s, CLAIM, "metadata/annotations/volume.kubernetes.io|selected-node", "n1");
    assert_stage(s, CLAIM, "metadata/annotations/volume.kubernetes.io|storage-provisioner", "rancher.io/local-path");
    assert_stage(s, POD, "spec/nodeName", NULL);
    cleanup_free char *more = mem_printf(
        ",\"storageClassName\":\"local-path\",\"claimRef\":{\"namespace\":\"default\",\"name\":\"c\",\"uid\":\"%s\"}",
        stage_field(s, CLAIM, "metadata/uid"));
    volume(s, "made", "n1", more);
    stage_until(s, stage_is_bound, POD);
    assert_stage(s, CLAIM, "spec/volumeName", "made");
    stage_free(s);
}

static void what_cannot_be_made_is_tried_again(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    node(s, "n1", "2");
    claim(s, "c", "ReadWriteOnce", "");
    pod(s, "p", "c");
    stage_patch(s, CLAIM, "{\"metadata\":{\"annotations\":{\"volume.kubernetes.io/selected-node\":null}}}");
    stage_run(s, SEEN);
    assert_reason(s, "running PreBind plugin \"VolumeBinding\": binding volumes: provisioning failed for PVC \"c\"");
    stage_run(s, 20 * SECOND);
    assert_stage(s, CLAIM, "metadata/annotations/volume.kubernetes.io|selected-node", "n1");
    stage_free(s);
}

static void a_claim_for_one_pod_is_for_one_pod(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    node(s, "n1", "2");
    stage_create(s, "persistentvolumes",
                 "{\"metadata\":{\"name\":\"v\"},\"spec\":{\"capacity\":{\"storage\":\"1Gi\"},\"accessModes\":["
                 "\"ReadWriteOncePod\"],\"hostPath\":{\"path\":\"/v\"}}}");
    claim(s, "c", "ReadWriteOncePod", ",\"storageClassName\":\"\"");
    pod(s, "first", "c");
    assert_stage(s, "pods/default/first", "spec/nodeName", "n1");
    pod(s, "p", "c");
    assert_reason(s, "0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and "
                     "ReadWriteOncePod access mode. no new claims to deallocate, preemption: 0/1 nodes are available: 1 "
                     "No preemption victims found for incoming pod.");
    stage_delete(s, "pods/default/first", NULL);
    stage_until(s, stage_is_bound, POD);
    stage_free(s);
}

static void a_generic_ephemeral_volume_gets_a_claim_that_goes_with_the_pod(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    node(s, "n1", "2");
    volume(s, "v", "n1", "");
    pod_of(s, "p", "100m",
           "\"ephemeral\":{\"volumeClaimTemplate\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"accessModes\":["
           "\"ReadWriteOnce\"],\"storageClassName\":\"\",\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}}");
    stage_until(s, stage_is_bound, POD);
    assert_stage(s, "persistentvolumeclaims/default/p-v", "metadata/ownerReferences/p/kind", "Pod");
    assert_stage(s, "persistentvolumeclaims/default/p-v", "metadata/labels/a", "b");
    assert_stage(s, "persistentvolumeclaims/default/p-v", "spec/volumeName", "v");
    stage_delete(s, POD, NULL);
    stage_run(s, 60 * SECOND);
    assert_null(stage_get(s, "persistentvolumeclaims/default/p-v"));
    stage_free(s);
}

static void a_claim_in_use_stays_until_the_pod_is_gone(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    node(s, "n1", "2");
    volume(s, "v", "n1", "");
    claim(s, "c", "ReadWriteOnce", ",\"storageClassName\":\"\"");
    pod(s, "first", "c");
    stage_delete(s, CLAIM, NULL);
    stage_run(s, 10 * SECOND);
    assert_non_null(stage_get(s, CLAIM));
    assert_stage(s, CLAIM, "metadata/finalizers/0", "kubernetes.io/pvc-protection");
    pod(s, "p", "c");
    assert_reason(s, "0/1 nodes are available: persistentvolumeclaim \"c\" is being deleted." NOT_HELPFUL("1"));
    stage_delete(s, "pods/default/first", NULL);
    stage_run(s, 60 * SECOND);
    assert_null(stage_get(s, CLAIM));
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claim_that_is_not_there_is_named),
        cmocka_unit_test(a_claim_that_stage_is_bound_at_once_is_waited_for),
        cmocka_unit_test(a_bound_volume_brings_the_pod_to_its_node),
        cmocka_unit_test(a_volume_that_no_node_reaches_is_said_to_be),
        cmocka_unit_test(a_free_volume_is_chosen_together_with_the_node),
        cmocka_unit_test(pods_at_once_get_a_volume_each),
        cmocka_unit_test(a_volume_is_made_where_the_pod_will_be),
        cmocka_unit_test(what_cannot_be_made_is_tried_again),
        cmocka_unit_test(a_claim_for_one_pod_is_for_one_pod),
        cmocka_unit_test(a_generic_ephemeral_volume_gets_a_claim_that_goes_with_the_pod),
        cmocka_unit_test(a_claim_in_use_stays_until_the_pod_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
