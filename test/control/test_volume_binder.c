/* The promises about claims and volumes: who gets which volume, what is said while none is there, what becomes of a
 * volume whose claim goes, and that nothing in use is taken away. */
#include "stage.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define CLAIM "persistentvolumeclaims/default/claim"
#define SEEN (2 * SECOND)

static void create_volume(struct stage *s, const char *name, const char *size, const char *more)
{
    char json[512];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"disk\":\"%s\"}},\"spec\":{\"capacity\":{\"storage\":\"%s\"},"
             "\"accessModes\":[\"ReadWriteOnce\"],\"hostPath\":{\"path\":\"/data/%s\"}%s}}",
             name, name, size, name, more);
    assert_int_equal(stage_create(s, "persistentvolumes", json), 201);
    stage_run(s, SEEN);
}

static void create_claim_named(struct stage *s, const char *name, const char *size, const char *more)
{
    char json[512];
    snprintf(
        json, sizeof(json),
        "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{"
        "\"storage\":\"%s\"}}%s}}",
        name, size, more);
    assert_int_equal(stage_create(s, "persistentvolumeclaims/default", json), 201);
    stage_run(s, SEEN);
}

static void create_claim(struct stage *s, const char *size, const char *more)
{
    create_claim_named(s, "claim", size, more);
}

static void create_class(struct stage *s, const char *name, const char *provisioner, const char *more)
{
    char json[256];
    snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"%s\"},\"provisioner\":\"%s\"%s}", name, provisioner, more);
    assert_int_equal(stage_create(s, "storageclasses", json), 201);
    stage_run(s, SEEN);
}

#define NO_CLASS ",\"storageClassName\":\"\""

static void a_claim_gets_the_smallest_volume_that_will_do(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    create_volume(s, "small", "500Mi", "");
    create_volume(s, "large", "10Gi", "");
    create_volume(s, "medium", "2Gi", "");
    create_volume(s, "classy", "1Gi", ",\"storageClassName\":\"fast\"");
    assert_stage(s, "persistentvolumes/large", "status/phase", "Available");
    create_claim(s, "1Gi", NO_CLASS);
    assert_stage(s, CLAIM, "status/phase", "Bound");
    assert_stage(s, CLAIM, "spec/volumeName", "medium");
    assert_stage(s, CLAIM, "status/capacity/storage", "2Gi");
    assert_stage(s, CLAIM, "status/accessModes/0", "ReadWriteOnce");
    assert_stage(s, CLAIM, "metadata/annotations/pv.kubernetes.io|bind-completed", "yes");
    assert_stage(s, CLAIM, "metadata/annotations/pv.kubernetes.io|bound-by-controller", "yes");
    assert_stage(s, "persistentvolumes/medium", "status/phase", "Bound");
    assert_stage(s, "persistentvolumes/medium", "spec/claimRef/name", "claim");
    assert_stage(s, "persistentvolumes/medium", "metadata/annotations/pv.kubernetes.io|bound-by-controller", "yes");
    stage_free(s);
}

static void a_claim_waits_for_its_volume_and_says_so(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    create_claim(s, "1Gi", NO_CLASS);
    assert_stage(s, CLAIM, "status/phase", "Pending");
    assert_string_equal(stage_event(s, "PersistentVolumeClaim", "FailedBinding"),
                        "no persistent volumes available for this claim and no storage class is set");
    create_volume(s, "late", "1Gi", "");
    assert_stage(s, CLAIM, "status/phase", "Bound");
    stage_free(s);
}

static void labels_choose_among_volumes(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    create_volume(s, "a", "1Gi", "");
    create_volume(s, "b", "5Gi", "");
    create_claim(s, "1Gi", NO_CLASS ",\"selector\":{\"matchLabels\":{\"disk\":\"b\"}}");
    assert_stage(s, CLAIM, "spec/volumeName", "b");
    stage_free(s);
}

static void two_claims_never_share_a_volume(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    for (int i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof(name), "claim-%d", i);
        char json[256];
        snprintf(json, sizeof(json),
                 "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{"
                 "\"requests\":{\"storage\":\"1Gi\"}}" NO_CLASS "}}",
                 name);
        stage_create(s, "persistentvolumeclaims/default", json);
    }
    create_volume(s, "a", "1Gi", "");
    create_volume(s, "b", "1Gi", "");
    stage_run(s, 60 * SECOND);
    const char *owner[2];
    size_t bound = 0;
    for (int i = 0; i < 4; i++) {
        char path[64], volume[64];
        snprintf(path, sizeof(path), "persistentvolumeclaims/default/claim-%d", i);
        if (strcmp(stage_field(s, path, "status/phase"), "Bound") != 0)
            continue;
        assert_true(bound < 2);
        snprintf(volume, sizeof(volume), "persistentvolumes/%s", stage_field(s, path, "spec/volumeName"));
        assert_stage(s, volume, "spec/claimRef/name", strrchr(path, '/') + 1);
        owner[bound++] = strcmp(strchr(volume, '/') + 1, "a") == 0 ? "a" : "b";
    }
    assert_int_equal(bound, 2);
    assert_string_not_equal(owner[0], owner[1]);
    stage_free(s);
}

static void a_reserved_volume_waits_for_its_claim(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    create_volume(s, "kept", "1Gi", ",\"claimRef\":{\"namespace\":\"default\",\"name\":\"claim\"}");
    assert_stage(s, "persistentvolumes/kept", "status/phase", "Available");
    create_claim_named(s, "other", "1Gi", NO_CLASS);
    assert_stage(s, "persistentvolumeclaims/default/other", "status/phase", "Pending");
    create_claim(s, "1Gi", NO_CLASS);
    assert_stage(s, CLAIM, "status/phase", "Bound");
    assert_stage(s, CLAIM, "spec/volumeName", "kept");
    assert_stage(s, "persistentvolumes/kept", "metadata/annotations", NULL);
    stage_free(s);
}

static void a_claim_may_name_its_volume(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    create_volume(s, "a", "1Gi", "");
    create_volume(s, "b", "1Gi", "");
    create_claim(s, "1Gi", NO_CLASS ",\"volumeName\":\"b\"");
    assert_stage(s, CLAIM, "status/phase", "Bound");
    assert_stage(s, CLAIM, "metadata/annotations/pv.kubernetes.io|bound-by-controller", NULL);
    create_claim_named(s, "second", "1Gi", NO_CLASS ",\"volumeName\":\"b\"");
    assert_stage(s, "persistentvolumeclaims/default/second", "status/phase", "Pending");
    assert_string_equal(stage_event(s, "PersistentVolumeClaim", "FailedBinding"),
                        "volume \"b\" already bound to a different claim.");
    create_claim_named(s, "third", "5Gi", NO_CLASS ",\"volumeName\":\"a\"");
    assert_string_equal(stage_event(s, "PersistentVolumeClaim", "VolumeMismatch"),
                        "Cannot bind to requested volume \"a\": requested PV is too small");
    stage_free(s);
}

static void a_released_volume_keeps_its_data_for_nobody_else(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    create_volume(s, "v", "1Gi", "");
    create_claim(s, "1Gi", NO_CLASS);
    assert_int_equal(stage_delete(s, CLAIM, NULL), 200);
    stage_run(s, SEEN);
    assert_null(stage_get(s, CLAIM));
    assert_stage(s, "persistentvolumes/v", "status/phase", "Released");
    create_claim(s, "1Gi", NO_CLASS);
    assert_stage(s, CLAIM, "status/phase", "Pending");
    assert_int_equal(stage_patch(s, "persistentvolumes/v", "{\"spec\":{\"claimRef\":null}}"), 200);
    stage_run(s, SEEN);
    assert_stage(s, CLAIM, "status/phase", "Bound");
    stage_free(s);
}

#define HOST(path) "\"hostPath\":{\"path\":\"" path "\"}"
#define EVERYWHERE "{\"matchExpressions\":[{\"key\":\"kubernetes.io/hostname\",\"operator\":\"Exists\"}]}"
#define LOCAL "\"local\":{\"path\":\"/v\"},\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\":[" EVERYWHERE "]}}"

static void what_cannot_be_reclaimed_has_failed(void **state)
{
    (void)state;
    static const struct {
        const char *source, *policy, *reason, *message; /* no message: the node has to do it */
    } table[] = {
        {LOCAL, "Delete", "VolumeFailedDelete",
         "error getting deleter volume plugin for volume \"v\": no deletable volume plugin matched"},
        {LOCAL, "Recycle", "VolumeFailedRecycle", "No recycler plugin found for the volume!"},
        {HOST("/data/v"), "Delete", "VolumeFailedDelete",
         "host_path deleter only supports /tmp/.+ but received provided /data/v"},
        {HOST("/tmp/"), "Delete", "VolumeFailedDelete",
         "host_path deleter only supports /tmp/.+ but received provided /tmp/"},
        {HOST("/tmp/v"), "Delete", NULL, NULL},
        {HOST("/data/v"), "Recycle", NULL, NULL},
        {HOST("/data/v"), "Retain", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        struct stage *s = stage_new();
        char json[512];
        snprintf(json, sizeof(json),
                 "{\"metadata\":{\"name\":\"v\"},\"spec\":{\"capacity\":{\"storage\":\"1Gi\"},\"accessModes\":["
                 "\"ReadWriteOnce\"],\"persistentVolumeReclaimPolicy\":\"%s\",%s}}",
                 table[i].policy, table[i].source);
        assert_int_equal(stage_create(s, "persistentvolumes", json), 201);
        stage_run(s, SEEN);
        create_claim(s, "1Gi", NO_CLASS);
        stage_delete(s, CLAIM, NULL);
        stage_run(s, SEEN);
        assert_stage(s, "persistentvolumes/v", "status/phase", table[i].message ? "Failed" : "Released");
        assert_stage(s, "persistentvolumes/v", "status/message", table[i].message);
        if (table[i].message)
            assert_string_equal(stage_event(s, "PersistentVolume", table[i].reason), table[i].message);
        stage_free(s);
    }
}

static void a_claim_that_loses_its_volume_is_lost(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    create_volume(s, "v", "1Gi", "");
    create_claim(s, "1Gi", NO_CLASS);
    stage_delete(s, "persistentvolumes/v", NULL);
    stage_run(s, SEEN);
    assert_stage(s, CLAIM, "status/phase", "Bound"); /* it is protected while it is bound */
    assert_int_equal(stage_patch(s, "persistentvolumes/v", "{\"metadata\":{\"finalizers\":null}}"), 200);
    stage_run(s, SEEN);
    assert_stage(s, CLAIM, "status/phase", "Lost");
    assert_stage(s, CLAIM, "status/capacity", NULL);
    assert_string_equal(stage_event(s, "PersistentVolumeClaim", "ClaimLost"),
                        "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    stage_free(s);
}

static void a_claim_without_a_class_gets_the_default_one(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    create_claim(s, "1Gi", "");
    assert_stage(s, CLAIM, "spec/storageClassName", "local-path");
    assert_stage(s, CLAIM, "status/phase", "Pending");
    assert_string_equal(stage_event(s, "PersistentVolumeClaim", "WaitForFirstConsumer"),
                        "waiting for first consumer to be created before binding");
    stage_free(s);
}

static void a_class_that_comes_later_is_given_to_claims_that_wait(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    assert_int_equal(stage_delete(s, "storageclasses/local-path", NULL), 200);
    stage_run(s, SEEN);
    create_claim(s, "1Gi", "");
    assert_stage(s, CLAIM, "spec/storageClassName", NULL);
    assert_int_equal(stage_create(s, "storageclasses",
                                  "{\"metadata\":{\"name\":\"new\",\"annotations\":{\"storageclass.kubernetes.io/"
                                  "is-default-class\":\"true\"}},\"provisioner\":\"example.com/disk\"}"),
                     201);
    stage_run(s, SEEN);
    assert_stage(s, CLAIM, "spec/storageClassName", "new");
    stage_free(s);
}

static void an_outside_provisioner_is_asked_by_annotation(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    create_class(s, "fast", "example.com/disk", "");
    create_claim(s, "1Gi", ",\"storageClassName\":\"fast\"");
    assert_stage(s, CLAIM, "metadata/annotations/volume.kubernetes.io|storage-provisioner", "example.com/disk");
    assert_stage(s, CLAIM, "metadata/annotations/volume.beta.kubernetes.io|storage-provisioner", "example.com/disk");
    assert_memory_equal(stage_event(s, "PersistentVolumeClaim", "ExternalProvisioning"),
                        "Waiting for a volume to be created either by the external provisioner 'example.com/disk' ",
                        89);
    char more[512];
    snprintf(more, sizeof(more),
             ",\"storageClassName\":\"fast\",\"persistentVolumeReclaimPolicy\":\"Delete\",\"claimRef\":{\"namespace\":"
             "\"default\",\"name\":\"claim\",\"uid\":\"%s\"}",
             stage_field(s, CLAIM, "metadata/uid"));
    create_volume(s, "made", "1Gi", more);
    assert_stage(s, CLAIM, "status/phase", "Bound");
    assert_stage(s, "persistentvolumes/made", "status/phase", "Bound");
    stage_free(s);
}

static void a_class_that_is_not_there_is_named(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    create_claim(s, "1Gi", ",\"storageClassName\":\"nowhere\"");
    assert_string_equal(stage_event(s, "PersistentVolumeClaim", "ProvisioningFailed"),
                        "storageclass.storage.k8s.io \"nowhere\" not found");
    stage_free(s);
}

static void a_volume_of_our_own_grows_with_its_claim(void **state)
{
    (void)state;
    struct stage *s = stage_new();
    create_claim(s, "1Gi", "");
    assert_int_equal(
        stage_create(s, "persistentvolumes",
                     "{\"metadata\":{\"name\":\"v\",\"annotations\":{\"pv.kubernetes.io/provisioned-by\":"
                     "\"rancher.io/local-path\"}},\"spec\":{\"capacity\":{\"storage\":\"1Gi\"},\"accessModes\":["
                     "\"ReadWriteOnce\"],\"hostPath\":{\"path\":\"/v\"},\"storageClassName\":\"local-path\","
                     "\"claimRef\":{\"namespace\":\"default\",\"name\":\"claim\"}}}"),
        201);
    stage_run(s, SEEN);
    assert_stage(s, CLAIM, "status/capacity/storage", "1Gi");
    assert_int_equal(stage_patch(s, CLAIM, "{\"spec\":{\"resources\":{\"requests\":{\"storage\":\"3Gi\"}}}}"), 200);
    stage_run(s, SEEN);
    assert_stage(s, "persistentvolumes/v", "spec/capacity/storage", "3Gi");
    assert_stage(s, CLAIM, "status/capacity/storage", "3Gi");
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claim_gets_the_smallest_volume_that_will_do),
        cmocka_unit_test(a_claim_waits_for_its_volume_and_says_so),
        cmocka_unit_test(labels_choose_among_volumes),
        cmocka_unit_test(two_claims_never_share_a_volume),
        cmocka_unit_test(a_reserved_volume_waits_for_its_claim),
        cmocka_unit_test(a_claim_may_name_its_volume),
        cmocka_unit_test(a_released_volume_keeps_its_data_for_nobody_else),
        cmocka_unit_test(what_cannot_be_reclaimed_has_failed),
        cmocka_unit_test(a_claim_that_loses_its_volume_is_lost),
        cmocka_unit_test(a_claim_without_a_class_gets_the_default_one),
        cmocka_unit_test(a_class_that_comes_later_is_given_to_claims_that_wait),
        cmocka_unit_test(an_outside_provisioner_is_asked_by_annotation),
        cmocka_unit_test(a_class_that_is_not_there_is_named),
        cmocka_unit_test(a_volume_of_our_own_grows_with_its_claim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
