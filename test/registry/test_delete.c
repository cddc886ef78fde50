/* The promises of delete: grace, finalizers, propagation, preconditions, namespaces, collections. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/timestamp.h"

#define MAP(name) "{\"metadata\":{\"name\":\"" name "\",\"finalizers\":[\"example.com/keep\"]}}"
#define POD(more)                                                                                                      \
    "{\"metadata\":{\"name\":\"p\"" more                                                                               \
    "},\"spec\":{\"terminationGracePeriodSeconds\":20,\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"

static void bind_pod(struct world *w)
{
    assert_code(create(w, "pods/default/p/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"n\"}}"), 201);
}

/* What is stored can be read at the next start. */
static void assert_readable(struct object *object)
{
    size_t size;
    struct error err = {0};
    const char *json = object_json(object, &size);
    cleanup_object struct object *again = object_from_json(object->resource, json, size, &err);
    if (!again)
        fail_msg("%s: %s", json, err.text);
    assert_true(api_equal(object->resource->type, again->value, object->value));
}

/* Each row is a pod and the deletes it gets; what is left of it in the end. */
static void a_pod_is_given_its_grace(void **state)
{
    static const struct {
        const char *name;
        bool bound;
        const char *phase;
        const char *deletes[3];
        const char *left; /* deletionGracePeriodSeconds; NULL: gone */
    } rows[] = {
        {"not scheduled", false, NULL, {"{}"}, NULL},
        {"its own", true, NULL, {"{}"}, "20"},
        {"asked for", true, NULL, {"{\"gracePeriodSeconds\":7}"}, "7"},
        {"longer than its own", true, NULL, {"{\"gracePeriodSeconds\":70}"}, "70"},
        {"none", true, NULL, {"{\"gracePeriodSeconds\":0}"}, NULL},
        {"negative", true, NULL, {"{\"gracePeriodSeconds\":-5}"}, "1"},
        {"ended", true, "Succeeded", {"{}"}, NULL},
        {"failed", true, "Failed", {"{\"gracePeriodSeconds\":9}"}, NULL},
        {"shortened", true, NULL, {"{}", "{\"gracePeriodSeconds\":3}"}, "3"},
        {"not lengthened", true, NULL, {"{}", "{\"gracePeriodSeconds\":30}"}, "20"},
        {"beyond all time", true, NULL, {"{\"gracePeriodSeconds\":300000000000}"}, "9223372036"},
        {"the largest number", true, NULL, {"{\"gracePeriodSeconds\":9223372036854775807}"}, "9223372036"},
        {"shortened from there",
         true,
         NULL,
         {"{\"gracePeriodSeconds\":300000000000}", "{\"gracePeriodSeconds\":3}"},
         "3"},
        {"repeated", true, NULL, {"{}", "{}"}, "20"},
        {"the node's last word", true, NULL, {"{}", "{\"gracePeriodSeconds\":3}", "{\"gracePeriodSeconds\":0}"}, NULL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct world *w = world_new();
        assert_code(create(w, "pods/default", POD("")), 201);
        if (rows[i].bound)
            bind_pod(w);
        if (rows[i].phase) {
            char json[64];
            snprintf(json, sizeof(json), "{\"status\":{\"phase\":\"%s\"}}", rows[i].phase);
            assert_code(patch(w, "pods/default/p/status", json), 200);
        }
        for (size_t k = 0; k < 3 && rows[i].deletes[k]; k++) {
            struct reply *r = delete_(w, "pods/default/p", rows[i].deletes[k]);
            assert_code(r, 200);
            assert_field(r, "kind", "Pod");
        }
        struct reply *r = get(w, "pods/default/p");
        if (rows[i].left) {
            assert_field(r, "metadata/deletionGracePeriodSeconds", rows[i].left);
            int64_t left = r->object->meta->deletion_timestamp - env_now(w->env);
            assert_true(left <= atoll(rows[i].left) * SECOND && left > (atoll(rows[i].left) - 3) * SECOND);
            assert_readable(r->object);
        } else if (r->code != 404) {
            fail_msg("%s: still there", rows[i].name);
        }
        world_free(w);
    }
}

static void a_graceful_delete_counts_as_a_change_of_the_pod(void **state)
{
    struct world *w = world_new();
    create(w, "pods/default", POD(""));
    bind_pod(w);
    struct reply *r = delete_(w, "pods/default/p", NULL);
    assert_field(r, "metadata/generation", "2");
    r = delete_(w, "pods/default/p", "{\"gracePeriodSeconds\":3}");
    assert_field(r, "metadata/generation", "2");
    world_free(w);
}

static void the_last_state_of_a_pod_carries_its_deletion(void **state)
{
    struct world *w = world_new();
    create(w, "pods/default", POD(""));
    struct reply *r = delete_(w, "pods/default/p", NULL);
    assert_code(r, 200);
    assert_field(r, "metadata/deletionGracePeriodSeconds", "0");
    assert_non_null(field(r, "metadata/deletionTimestamp"));
    world_free(w);
}

/* As a store leaves it that failed between the last two writes of a delete. */
static void a_pod_whose_removal_was_lost_can_be_deleted_again(void **state)
{
    struct world *w = world_new();
    struct reply *r = create(w, "pods/default", POD(""));
    struct arena *arena = arena_new(0);
    struct pod *pod = object_copy(arena, r->object);
    pod->metadata.deletion_timestamp = env_now(w->env);
    pod->metadata.deletion_grace_period_seconds = opt_int64(0);
    assert_int_equal(store_put(w->store, &api_resources[API_PODS], arena, pod, r->object->revision, NULL, NULL),
                     STORE_OK);
    settle(w);
    r = delete_(w, "pods/default/p", NULL);
    assert_code(r, 200);
    assert_field(r, "kind", "Pod");
    assert_code(get(w, "pods/default/p"), 404);
    world_free(w);
}

static void an_object_with_finalizers_goes_when_the_last_one_does(void **state)
{
    struct world *w = world_new();
    create(w, "configmaps/default", MAP("a"));
    struct reply *r = delete_(w, "configmaps/default/a", NULL);
    assert_code(r, 200);
    assert_field(r, "kind", "ConfigMap");
    assert_field(r, "metadata/deletionGracePeriodSeconds", "0");
    assert_non_null(field(r, "metadata/deletionTimestamp"));
    /* Once more: nothing changes. */
    uint64_t revision = r->object->revision;
    assert_code(delete_(w, "configmaps/default/a", NULL), 200);
    assert_int_equal(store_revision(w->store), revision);
    assert_code(patch(w, "configmaps/default/a", "{\"data\":{\"k\":\"v\"}}"), 200);
    assert_code(get(w, "configmaps/default/a"), 200);
    r = patch(w, "configmaps/default/a", "{\"metadata\":{\"finalizers\":[\"example.com/keep\",\"example.com/new\"]}}");
    assert_code(r, 422);
    assert_code(patch(w, "configmaps/default/a", "{\"metadata\":{\"finalizers\":null}}"), 200);
    assert_code(get(w, "configmaps/default/a"), 404);
    world_free(w);
}

static void a_pod_with_finalizers_keeps_its_grace_and_then_waits_for_them(void **state)
{
    struct world *w = world_new();
    create(w, "pods/default", POD(",\"finalizers\":[\"example.com/keep\"]"));
    bind_pod(w);
    assert_field(delete_(w, "pods/default/p", NULL), "metadata/deletionGracePeriodSeconds", "20");
    assert_field(delete_(w, "pods/default/p", "{\"gracePeriodSeconds\":0}"), "metadata/deletionGracePeriodSeconds",
                 "0");
    assert_code(get(w, "pods/default/p"), 200);
    assert_code(patch(w, "pods/default/p", "{\"metadata\":{\"finalizers\":null}}"), 200);
    assert_code(get(w, "pods/default/p"), 404);
    world_free(w);
}

static void a_finalizer_that_goes_early_leaves_the_grace(void **state)
{
    struct world *w = world_new();
    create(w, "pods/default", POD(",\"finalizers\":[\"example.com/keep\"]"));
    bind_pod(w);
    delete_(w, "pods/default/p", NULL);
    assert_code(patch(w, "pods/default/p", "{\"metadata\":{\"finalizers\":null}}"), 200);
    assert_field(get(w, "pods/default/p"), "metadata/deletionGracePeriodSeconds", "20");
    assert_code(delete_(w, "pods/default/p", "{\"gracePeriodSeconds\":0}"), 200);
    assert_code(get(w, "pods/default/p"), 404);
    world_free(w);
}

static void propagation_is_a_matter_of_finalizers(void **state)
{
    static const struct {
        const char *options, *finalizers; /* NULL: gone */
    } rows[] = {
        {"{}", NULL},
        {"{\"propagationPolicy\":\"Background\"}", NULL},
        {"{\"propagationPolicy\":\"Foreground\"}", "[\"foregroundDeletion\"]"},
        {"{\"propagationPolicy\":\"Orphan\"}", "[\"orphan\"]"},
        {"{\"orphanDependents\":true}", "[\"orphan\"]"},
        {"{\"orphanDependents\":false}", NULL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct world *w = world_new();
        create(w, "configmaps/default", "{\"metadata\":{\"name\":\"a\"}}");
        assert_code(delete_(w, "configmaps/default/a", rows[i].options), 200);
        assert_field(get(w, "configmaps/default/a"), "metadata/finalizers", rows[i].finalizers);
        world_free(w);
    }
    struct world *w = world_new();
    create(w, "configmaps/default", "{\"metadata\":{\"name\":\"a\"}}");
    struct reply *r = delete_(w, "configmaps/default/a", "{\"propagationPolicy\":\"Sideways\"}");
    assert_code(r, 422);
    r = delete_(w, "configmaps/default/a", "{\"propagationPolicy\":\"Orphan\",\"orphanDependents\":true}");
    assert_code(r, 422);
    assert_non_null(strstr(r->text, "orphanDependents and deletionPropagation cannot be both set"));
    /* A policy replaces the finalizer of another one. */
    delete_(w, "configmaps/default/a", "{\"propagationPolicy\":\"Orphan\"}");
    r = delete_(w, "configmaps/default/a", "{\"propagationPolicy\":\"Foreground\"}");
    assert_field(r, "metadata/finalizers", "[\"foregroundDeletion\"]");
    assert_code(delete_(w, "configmaps/default/a", "{\"propagationPolicy\":\"Background\"}"), 200);
    assert_code(get(w, "configmaps/default/a"), 404);
    world_free(w);
}

static void preconditions_are_checked(void **state)
{
    struct world *w = world_new();
    create(w, "configmaps/default", "{\"metadata\":{\"name\":\"a\"}}");
    struct reply *r = delete_(w, "configmaps/default/a", "{\"preconditions\":{\"uid\":\"other\"}}");
    assert_code(r, 409);
    assert_non_null(strstr(r->text, "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition "
                                    "(other) does not match the UID in record ("));
    r = delete_(w, "configmaps/default/a", "{\"preconditions\":{\"resourceVersion\":\"1\"}}");
    assert_code(r, 409);
    assert_non_null(strstr(r->text, "the ResourceVersion in the precondition (1) does not match the ResourceVersion "
                                    "in record ("));
    r = get(w, "configmaps/default/a");
    char options[120];
    snprintf(options, sizeof(options), "{\"preconditions\":{\"uid\":\"%s\",\"resourceVersion\":\"%s\"}}",
             r->object->meta->uid, r->object->meta->resource_version);
    r = delete_(w, "configmaps/default/a", options);
    assert_code(r, 200);
    assert_string_equal(r->status->status, "Success");
    assert_string_equal(r->status->details->name, "a");
    assert_string_equal(r->status->details->kind, "configmaps");
    r = delete_(w, "configmaps/default/a", NULL);
    assert_code(r, 404);
    assert_string_equal(r->text, "configmaps \"a\" not found");
    world_free(w);
}

static void a_namespace_terminates_before_it_goes(void **state)
{
    struct world *w = world_new();
    struct reply *r = create(w, "namespaces", "{\"metadata\":{\"name\":\"team\"}}");
    assert_code(r, 201);
    assert_field(r, "status/phase", "Active");
    assert_field(r, "spec/finalizers", "[\"kubernetes\"]");
    assert_field(r, "metadata/labels", "{\"kubernetes.io/metadata.name\":\"team\"}");
    assert_code(create(w, "configmaps/team", "{\"metadata\":{\"name\":\"a\"}}"), 201);
    r = delete_(w, "namespaces/team", NULL);
    assert_code(r, 200);
    assert_field(r, "status/phase", "Terminating");
    assert_non_null(field(r, "metadata/deletionTimestamp"));
    r = create(w, "configmaps/team", "{\"metadata\":{\"name\":\"b\"}}");
    assert_code(r, 403);
    assert_string_equal(r->text, "configmaps \"b\" is forbidden: unable to create new content in namespace team "
                                 "because it is being terminated");
    assert_string_equal(r->status->details->causes.items[0].reason, "NamespaceTerminating");
    assert_code(delete_(w, "configmaps/team/a", NULL), 200);
    assert_code(delete_(w, "namespaces/team", NULL), 200);
    assert_code(get(w, "namespaces/team"), 200);
    /* Only finalize may change the spec's finalizers. */
    r = update(w, "namespaces/team", "{\"metadata\":{\"name\":\"team\"},\"spec\":{}}");
    assert_code(r, 200);
    assert_field(r, "spec/finalizers", "[\"kubernetes\"]");
    r = update(w, "namespaces/team/finalize", "{\"metadata\":{\"name\":\"team\"},\"spec\":{\"finalizers\":[]}}");
    assert_code(r, 200);
    assert_code(get(w, "namespaces/team"), 404);
    world_free(w);
}

static void a_cluster_keeps_its_own_namespaces(void **state)
{
    static const char *const names[] = {"default", "kube-system", "kube-public"};
    struct world *w = world_new();
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        char path[64], text[128];
        snprintf(path, sizeof(path), "namespaces/%s", names[i]);
        snprintf(text, sizeof(text), "namespaces \"%s\" is forbidden: this namespace may not be deleted", names[i]);
        struct reply *r = delete_(w, path, NULL);
        assert_code(r, 403);
        assert_string_equal(r->text, text);
    }
    world_free(w);
}

static void a_collection_is_deleted_by_selector(void **state)
{
    struct world *w = world_new();
    char json[128];
    for (int i = 0; i < 10; i++) {
        snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"a%d\",\"labels\":{\"odd\":\"%s\"}}}", i,
                 i % 2 ? "yes" : "no");
        assert_code(create(w, "configmaps/default", json), 201);
    }
    assert_code(create(w, "configmaps/kube-system", "{\"metadata\":{\"name\":\"a\",\"labels\":{\"odd\":\"yes\"}}}"), 201);
    struct client_request *q = request(CLIENT_DELETE_COLLECTION, "configmaps/default");
    assert_int_equal(selector_parse(q->arena, "odd=yes", &q->label_selector, NULL), 0);
    struct reply *r = call(w, q);
    assert_code(r, 200);
    assert_int_equal(r->count, 5);
    assert_int_equal(list(w, "configmaps/default")->count, 5);
    assert_int_equal(list(w, "configmaps")->count, 6);
    q = request(CLIENT_DELETE_COLLECTION, "configmaps/default");
    r = call(w, q);
    assert_int_equal(r->count, 5);
    assert_int_equal(list(w, "configmaps/default")->count, 0);
    assert_code(call(w, request(CLIENT_DELETE_COLLECTION, "configmaps/default")), 200);
    assert_code(call(w, request(CLIENT_DELETE_COLLECTION, "namespaces")), 405);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_is_given_its_grace),
        cmocka_unit_test(a_graceful_delete_counts_as_a_change_of_the_pod),
        cmocka_unit_test(the_last_state_of_a_pod_carries_its_deletion),
        cmocka_unit_test(a_pod_whose_removal_was_lost_can_be_deleted_again),
        cmocka_unit_test(an_object_with_finalizers_goes_when_the_last_one_does),
        cmocka_unit_test(a_pod_with_finalizers_keeps_its_grace_and_then_waits_for_them),
        cmocka_unit_test(a_finalizer_that_goes_early_leaves_the_grace),
        cmocka_unit_test(propagation_is_a_matter_of_finalizers),
        cmocka_unit_test(preconditions_are_checked),
        cmocka_unit_test(a_namespace_terminates_before_it_goes),
        cmocka_unit_test(a_cluster_keeps_its_own_namespaces),
        cmocka_unit_test(a_collection_is_deleted_by_selector),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
