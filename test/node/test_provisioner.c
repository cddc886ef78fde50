/* What the provisioner of local-path decides, as tables: which claims it serves, what it says of those it cannot, which
 * volumes it takes away, and what the volumes that it makes look like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/json.h"
#include "api/storage.h"
#include "base/cleanup.h"
#include "node/provisioner.h"

static struct object *read_object(enum api_resource_index index, const char *json)
{
    struct error err;
    struct object *o = object_from_json(&api_resources[index], json, strlen(json), &err);
    if (!o)
        fail_msg("%s: %s", err.text, json);
    return o;
}

/* ---- Claims ---- */

#define ASKED "\"volume.kubernetes.io/storage-provisioner\":\"rancher.io/local-path\""
#define HERE ",\"volume.kubernetes.io/selected-node\":\"here\""
#define ONCE "\"accessModes\":[\"ReadWriteOnce\"]"
#define WAITS "\"provisioner\":\"rancher.io/local-path\",\"volumeBindingMode\":\"WaitForFirstConsumer\""

static void it_serves_the_claims_that_are_its_own(void **state)
{
    (void)state;
    static const struct {
        const char *class, *annotations, *meta, *spec;
        bool serves;
        const char *why;
    } table[] = {
        {WAITS, ASKED HERE, "", ONCE, true, NULL},
        {WAITS, ASKED, "", ONCE, false, NULL}, /* nobody has been scheduled */
        {WAITS, ASKED ",\"volume.kubernetes.io/selected-node\":\"there\"", "", ONCE, false, NULL},
        {WAITS, "\"volume.kubernetes.io/selected-node\":\"here\"", "", ONCE, false, NULL}, /* nobody has asked */
        {WAITS, "\"volume.kubernetes.io/storage-provisioner\":\"example.com/disk\"" HERE, "", ONCE, false, NULL},
        {"\"provisioner\":\"example.com/disk\"", ASKED HERE, "", ONCE, false, NULL},
        {NULL, ASKED HERE, "", ONCE, false, NULL},
        {"\"provisioner\":\"rancher.io/local-path\",\"volumeBindingMode\":\"Immediate\"", ASKED, "", ONCE, true, NULL},
        {WAITS, ASKED HERE, ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", ONCE, false, NULL},
        {WAITS, ASKED HERE, "", ONCE ",\"volumeName\":\"v\"", false, NULL},
        {WAITS, ASKED HERE, "", "\"accessModes\":[\"ReadWriteOncePod\"]", true, NULL},
        {WAITS, ASKED HERE, "", "\"accessModes\":[\"ReadWriteOnce\",\"ReadWriteMany\"]", true,
         "NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes"},
        {WAITS, ASKED HERE, "", ONCE ",\"selector\":{\"matchLabels\":{\"a\":\"b\"}}", true,
         "claim.Spec.Selector is not supported"},
        {WAITS, ASKED HERE, "", ONCE ",\"volumeMode\":\"Block\"", true,
         "rancher.io/local-path does not support block volume provisioning"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        cleanup_free char *class_json =
            mem_printf("{\"metadata\":{\"name\":\"c\"},%s}", table[i].class ? table[i].class : WAITS);
        cleanup_free char *json = mem_printf(
            "{\"metadata\":{\"name\":\"it\",\"namespace\":\"n\",\"uid\":\"u\",\"annotations\":{%s}%s},\"spec\":{%s}}",
            table[i].annotations, table[i].meta, table[i].spec);
        cleanup_object struct object *class = read_object(API_STORAGECLASSES, class_json);
        cleanup_object struct object *claim = read_object(API_PERSISTENTVOLUMECLAIMS, json);
        const char *why = "not set";
        bool serves = provisioner_decide_claim(claim->value, table[i].class ? class->value : NULL, "here", &why);
        if (serves != table[i].serves)
            fail_msg("row %zu: %s", i, json);
        if (table[i].why)
            assert_string_equal(why, table[i].why);
        else
            assert_null(why);
    }
}

/* ---- Volumes ---- */

#define OURS                                                                                                           \
    "\"pv.kubernetes.io/provisioned-by\":\"rancher.io/local-path\",\"local.path.provisioner/selected-node\":\"here\""
#define LOCAL "\"local\":{\"path\":\"/data/pvc-1\"}"
#define OWNED ",\"claimRef\":{\"namespace\":\"n\",\"name\":\"it\",\"uid\":\"u\"}"
#define HOST(path) "\"hostPath\":{\"path\":\"" path "\"}" OWNED
#define POLICY(name) ",\"persistentVolumeReclaimPolicy\":\"" name "\""
#define DELETED ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\""

static void it_takes_away_what_nobody_has_any_more(void **state)
{
    (void)state;
    static const struct {
        const char *annotations, *meta, *spec, *phase;
        enum provisioner_release due;
    } table[] = {
        {OURS, "", LOCAL POLICY("Delete"), "Released", RELEASE_FOLDER},
        {OURS, "", LOCAL POLICY("Delete"), "Bound", RELEASE_NOTHING},
        {OURS, DELETED, LOCAL POLICY("Delete"), "Bound", RELEASE_NOTHING}, /* its claim protects it */
        {OURS, "", LOCAL POLICY("Delete"), "Available", RELEASE_NOTHING},
        {OURS, DELETED, LOCAL POLICY("Delete"), "Available", RELEASE_FOLDER},
        {OURS, "", LOCAL POLICY("Retain"), "Released", RELEASE_NOTHING},
        {OURS, DELETED, LOCAL POLICY("Retain"), "Released", RELEASE_OBJECT},
        {"\"pv.kubernetes.io/provisioned-by\":\"rancher.io/local-path\",\"local.path.provisioner/"
         "selected-node\":\"there\"",
         "", LOCAL POLICY("Delete"), "Released", RELEASE_NOTHING},
        {"", "", LOCAL POLICY("Delete"), "Released", RELEASE_NOTHING}, /* made by hand */
        {"", "", LOCAL POLICY("Recycle"), "Released", RELEASE_NOTHING},
        {"", "", HOST("/tmp/data") POLICY("Delete"), "Released", RELEASE_HOST_PATH},
        {"", "", HOST("/tmp/data") POLICY("Delete"), "Bound", RELEASE_NOTHING},
        {"", "", HOST("/tmp/data") POLICY("Delete"), "Failed", RELEASE_NOTHING},
        {"", "", HOST("/tmp/data") POLICY("Retain"), "Released", RELEASE_NOTHING},
        {"", "", HOST("/tmp/") POLICY("Delete"), "Released", RELEASE_NOTHING},
        {"", "", HOST("/tmp") POLICY("Delete"), "Released", RELEASE_NOTHING},
        {"", "", HOST("/srv/data") POLICY("Delete"), "Released", RELEASE_NOTHING},
        {"", "", HOST("/srv/data") POLICY("Recycle"), "Released", RELEASE_CONTENT},
        {"", "", HOST("/srv/data") POLICY("Recycle"), "Available", RELEASE_NOTHING},
        {"", "", "\"hostPath\":{\"path\":\"/tmp/data\"}" POLICY("Delete"), "Released", RELEASE_NOTHING},
        {"\"pv.kubernetes.io/provisioned-by\":\"example.com/disk\"", "", HOST("/tmp/data") POLICY("Delete"), "Released",
         RELEASE_NOTHING},
    };
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        cleanup_free char *json = mem_printf("{\"metadata\":{\"name\":\"v\",\"uid\":\"w\",\"annotations\":{%s}%s},"
                                             "\"spec\":{%s},\"status\":{\"phase\":\"%s\"}}",
                                             table[i].annotations, table[i].meta, table[i].spec, table[i].phase);
        cleanup_object struct object *volume = read_object(API_PERSISTENTVOLUMES, json);
        if (provisioner_decide_volume(volume->value, "here") != table[i].due)
            fail_msg("row %zu: %s", i, json);
    }
}

static void a_volume_that_is_free_again_belongs_to_nobody_or_to_whom_it_is_reserved_for(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    cleanup_object struct object *bound = read_object(
        API_PERSISTENTVOLUMES, "{\"metadata\":{\"name\":\"v\",\"annotations\":{\"a\":\"b\",\"pv.kubernetes.io/"
                               "bound-by-controller\":\"yes\"}},\"spec\":{" HOST("/v") "}}");
    cleanup_object struct object *reserved =
        read_object(API_PERSISTENTVOLUMES, "{\"metadata\":{\"name\":\"v\"},\"spec\":{" HOST("/v") "}}");
    struct persistent_volume copy = *(const struct persistent_volume *)bound->value;
    storage_volume_unbind(arena, &copy);
    assert_null(copy.spec.claim_ref);
    assert_int_equal(copy.metadata.annotations.count, 1);
    copy = *(const struct persistent_volume *)reserved->value;
    storage_volume_unbind(arena, &copy);
    assert_string_equal(copy.spec.claim_ref->name, "it");
    assert_null(copy.spec.claim_ref->uid);
    assert_string_equal(((const struct persistent_volume *)reserved->value)->spec.claim_ref->uid, "u");
}

static void a_volume_is_what_its_claim_and_class_ask_for(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    cleanup_object struct object *class = read_object(
        API_STORAGECLASSES, "{\"metadata\":{\"name\":\"local-path\"}," WAITS ",\"reclaimPolicy\":\"Retain\","
                            "\"mountOptions\":[\"noexec\"]}");
    cleanup_object struct object *claim = read_object(
        API_PERSISTENTVOLUMECLAIMS,
        "{\"metadata\":{\"name\":\"it\",\"namespace\":\"n\",\"uid\":\"u-1\",\"resourceVersion\":\"7\"},\"spec\":{" ONCE
        ",\"storageClassName\":\"local-path\",\"resources\":{\"requests\":{\"storage\":\"3Gi\"}}}}");
    const struct persistent_volume *v = provisioner_make_volume(arena, claim->value, class->value, "here", "/data/it");
    assert_string_equal(v->metadata.name, "pvc-u-1");
    assert_string_equal(string_map_get(&v->metadata.annotations, STORAGE_PROVISIONED_BY), "rancher.io/local-path");
    assert_string_equal(v->metadata.finalizers.items[0], "external-provisioner.volume.kubernetes.io/finalizer");
    assert_string_equal(string_map_get(&v->spec.capacity, "storage"), "3Gi");
    assert_string_equal(v->spec.access_modes.items[0], "ReadWriteOnce");
    assert_string_equal(v->spec.persistent_volume_reclaim_policy, "Retain");
    assert_string_equal(v->spec.storage_class_name, "local-path");
    assert_string_equal(v->spec.mount_options.items[0], "noexec");
    assert_string_equal(v->spec.local->path, "/data/it");
    assert_true(storage_volume_is_for(v, claim->value));
    struct string_pair label = {"kubernetes.io/hostname", "here"};
    struct object_meta node = {.name = "here", .labels = {&label, 1}};
    assert_true(storage_volume_reaches(v, &node));
    label.value = "there";
    assert_false(storage_volume_reaches(v, &node));
    /* It is what the same node later recognizes as its own. */
    struct persistent_volume released = *v;
    released.status.phase = "Released";
    released.metadata.deletion_timestamp = 1;
    assert_int_equal(provisioner_decide_volume(&released, "here"), RELEASE_OBJECT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_serves_the_claims_that_are_its_own),
        cmocka_unit_test(it_takes_away_what_nobody_has_any_more),
        cmocka_unit_test(a_volume_that_is_free_again_belongs_to_nobody_or_to_whom_it_is_reserved_for),
        cmocka_unit_test(a_volume_is_what_its_claim_and_class_ask_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
