/* From manifest files to static pods. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/static_pod.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "node/static_pod.h"

#define YAML "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: c\n    image: i\n"

static struct object *read_from(const char *text, const char *path, struct error *err)
{
    struct static_pod_source source = {.path = path, .node_name = "node-1", .seen = INT64_C(1700000000) * SECOND};
    return static_pod_read(text, strlen(text), &source, err);
}

static const char *annotation(const struct object *o, const char *key)
{
    return string_map_get(&o->meta->annotations, key);
}

static void a_file_becomes_a_pod_of_the_node(void **state)
{
    struct error err;
    cleanup_object struct object *o = read_from(YAML, "/m/web.yaml", &err);
    (void)state;
    assert_non_null(o);
    const struct pod *pod = o->value;
    assert_string_equal(pod->metadata.name, "web-node-1");
    assert_string_equal(pod->metadata.namespace, "default");
    assert_int_equal(strlen(pod->metadata.uid), 32);
    assert_string_equal(pod->spec.node_name, "node-1");
    assert_string_equal(pod->spec.containers.items[0].image_pull_policy, "Always");
    assert_string_equal(annotation(o, POD_SOURCE_ANNOTATION), "file");
    assert_string_equal(annotation(o, POD_HASH_ANNOTATION), pod->metadata.uid);
    assert_string_equal(annotation(o, POD_SEEN_ANNOTATION), "2023-11-14T22:13:20.000000Z");
    assert_string_equal(pod->spec.tolerations.items[0].effect, "NoExecute");
    assert_false(static_pod_is_mirror(o));
}

static void the_uid_is_that_of_what_the_file_says(void **state)
{
    struct error err;
    (void)state;
    cleanup_object struct object *a = read_from(YAML, "/m/web.yaml", &err);
    cleanup_object struct object *same = read_from("# again\n" YAML, "/m/web.yaml", &err);
    cleanup_object struct object *json =
        read_from("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"web\"},\"spec\":{\"containers\":["
                  "{\"name\":\"c\",\"image\":\"i\"}]}}",
                  "/m/web.yaml", &err);
    cleanup_object struct object *other = read_from(YAML, "/m/other.yaml", &err);
    cleanup_object struct object *changed = read_from(YAML "  hostNetwork: true\n", "/m/web.yaml", &err);
    assert_string_equal(a->meta->uid, same->meta->uid);
    assert_string_equal(a->meta->uid, json->meta->uid);
    assert_string_not_equal(a->meta->uid, other->meta->uid);
    assert_string_not_equal(a->meta->uid, changed->meta->uid);
}

/* As upstream's kubelet does; the API would warn of both. */
static void what_is_set_twice_or_unknown_is_no_complaint(void **state)
{
    struct error err;
    (void)state;
    cleanup_object struct object *o = read_from(
        YAML "    image: j\n  nothing: 1\n  dnsPolicy: Default\n  dnsPolicy: None\n  dnsConfig: {nameservers: "
             "[10.0.0.1]}\n",
        "/m/web.yaml", &err);
    if (!o)
        fail_msg("%s", err.text);
    const struct pod *pod = o->value;
    assert_string_equal(pod->spec.containers.items[0].image, "j");
    assert_string_equal(pod->spec.dns_policy, "None");
}

static void a_mirror_shows_one_pod(void **state)
{
    struct error err;
    (void)state;
    cleanup_object struct object *pod = read_from(YAML, "/m/web.yaml", &err);
    cleanup_object struct object *changed = read_from(YAML "  hostNetwork: true\n", "/m/web.yaml", &err);
    struct arena *arena = arena_new(0);
    struct pod *mirror = static_pod_mirror(arena, pod, "node-1", "node-uid");
    assert_null(mirror->metadata.uid);
    assert_string_equal(mirror->metadata.owner_references.items[0].kind, "Node");
    assert_string_equal(mirror->metadata.owner_references.items[0].uid, "node-uid");
    cleanup_object struct object *shown = object_new(&api_resources[API_PODS], arena, mirror);
    assert_true(static_pod_is_mirror(shown));
    assert_true(static_pod_is_shown(pod, shown));
    assert_false(static_pod_is_shown(changed, shown));
}

static void what_is_no_pod_is_refused_in_upstreams_words(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "Object 'Kind' is missing"},
        {"a: [", "yaml: line 1: did not find expected node content"},
        {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n", "invalid pod: it is v1, Kind=ConfigMap"},
        {"apiVersion: v1\nkind: Pod\n", "invalid pod: name is needed for the pod"},
        {"apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", "invalid pod: spec.containers: Required value"},
        {YAML "  serviceAccountName: s\n", "static pods may not reference serviceaccounts"},
        {YAML "  imagePullSecrets: [{name: s}]\n", "static pods may not reference secrets"},
        {YAML "    envFrom: [{configMapRef: {name: c}}]\n", "static pods may not reference configmaps"},
        {YAML "    env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]\n",
         "static pods may not reference secrets"},
        {YAML "  volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]\n",
         "static pods may not reference persistentvolumeclaims"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err;
        if (read_from(cases[i].text, "/m/x", &err))
            fail_msg("%s was taken", cases[i].text);
        if (!strstr(err.text, cases[i].message))
            fail_msg("%s\ngives: %s", cases[i].text, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_becomes_a_pod_of_the_node),
        cmocka_unit_test(the_uid_is_that_of_what_the_file_says),
        cmocka_unit_test(what_is_set_twice_or_unknown_is_no_complaint),
        cmocka_unit_test(a_mirror_shows_one_pod),
        cmocka_unit_test(what_is_no_pod_is_refused_in_upstreams_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
