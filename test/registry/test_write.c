/* The promises of create, update and patch: system fields, names, generations, the halves of an object, and
 * upstream's answers to what cannot be done. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "registry/private.h"

#define MAP(name) "{\"metadata\":{\"name\":\"" name "\"},\"data\":{\"k\":\"1\"}}"
#define TEMPLATE                                                                                                       \
    "{\"metadata\":{\"labels\":{\"app\":\"x\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"
#define DEPLOYMENT "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"x\"}},"           \
                   "\"template\":" TEMPLATE "}}"
#define POD "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"

static void a_new_object_gets_its_system_fields(void **state)
{
    struct world *w = world_new();
    struct reply *r = create(w, "configmaps/default",
                             "{\"metadata\":{\"name\":\"a\",\"uid\":\"mine\",\"generation\":7,\"selfLink\":\"/x\","
                             "\"creationTimestamp\":\"2001-01-01T00:00:00Z\",\"deletionTimestamp\":"
                             "\"2001-01-01T00:00:00Z\",\"deletionGracePeriodSeconds\":3}}");
    assert_code(r, 201);
    assert_int_equal(strlen(field(r, "metadata/uid")), 36);
    assert_field(r, "metadata/namespace", "default");
    assert_field(r, "metadata/deletionTimestamp", NULL);
    assert_field(r, "metadata/deletionGracePeriodSeconds", NULL);
    assert_field(r, "metadata/generation", NULL);
    assert_field(r, "metadata/selfLink", NULL);
    assert_true(strcmp(field(r, "metadata/creationTimestamp"), "2020") > 0);
    assert_int_equal(r->object->revision, store_revision(w->store));
    assert_field(r, "kind", "ConfigMap");
    assert_field(r, "apiVersion", "v1");
    world_free(w);
}

static void what_cannot_be_created_is_refused_with_upstreams_words(void **state)
{
    static const struct {
        const char *path, *json;
        int code;
        const char *reason, *text;
    } rows[] = {
        {"configmaps/default", MAP("a"), 409, "AlreadyExists", "configmaps \"a\" already exists"},
        {"configmaps/none", MAP("a"), 404, "NotFound", "namespaces \"none\" not found"},
        {"configmaps/default", "{\"metadata\":{\"name\":\"b\",\"namespace\":\"other\"}}", 400, "BadRequest",
         "the namespace of the provided object does not match the namespace sent on the request"},
        {"configmaps/default", "{\"metadata\":{\"name\":\"b\",\"resourceVersion\":\"5\"}}", 500, "",
         "resourceVersion should not be set on objects to be created"},
        {"pods/default",
         "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"serviceAccountName\":\"none\",\"containers\":[{\"name\":\"c\","
         "\"image\":\"i\"}]}}",
         403, "Forbidden",
         "pods \"b\" is forbidden: error looking up service account default/none: serviceaccount \"none\" not found"},
        /* No name is generated yet. */
        {"pods/default",
         "{\"metadata\":{\"generateName\":\"b-\"},\"spec\":{\"serviceAccountName\":\"none\",\"containers\":[{\"name\":"
         "\"c\",\"image\":\"i\"}]}}",
         403, "Forbidden",
         "pods \"b-\" is forbidden: error looking up service account default/none: serviceaccount \"none\" not found"},
        {"configmaps/default", "{}", 422, "Invalid",
         "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required"},
    };
    struct world *w = world_new();
    assert_code(create(w, "configmaps/default", MAP("a")), 201);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct reply *r = create(w, rows[i].path, rows[i].json);
        assert_code(r, rows[i].code);
        assert_string_equal(r->text, rows[i].text);
        assert_string_equal(r->reason, rows[i].reason);
    }
    world_free(w);
}

static void names_are_generated(void **state)
{
    struct world *w = world_new();
    for (int i = 0; i < 50; i++) {
        struct reply *r = create(w, "configmaps/default", "{\"metadata\":{\"generateName\":\"web-\"}}");
        assert_code(r, 201);
        assert_int_equal(strlen(r->object->meta->name), 9);
        assert_memory_equal(r->object->meta->name, "web-", 4);
    }
    assert_int_equal(list(w, "configmaps/default")->count, 50);
    char json[200], base[80];
    memset(base, 'a', 70);
    base[70] = 0;
    snprintf(json, sizeof(json), "{\"metadata\":{\"generateName\":\"%s\"}}", base);
    struct reply *r = create(w, "configmaps/default", json);
    assert_code(r, 201);
    assert_int_equal(strlen(r->object->meta->name), 63);
    world_free(w);
}

static void a_dry_run_answers_and_changes_nothing(void **state)
{
    struct world *w = world_new();
    uint64_t revision = store_revision(w->store);
    struct client_request *q = request(CLIENT_CREATE, "configmaps/default");
    struct config_map *map = arena_alloc(q->arena, sizeof(*map));
    map->metadata.name = "a";
    q->body = map;
    q->dry_run = true;
    struct reply *r = call(w, q);
    assert_code(r, 201);
    assert_field(r, "metadata/name", "a");
    assert_code(get(w, "configmaps/default/a"), 404);
    assert_int_equal(store_revision(w->store), revision);
    assert_code(create(w, "configmaps/default", MAP("a")), 201);
    q = request(CLIENT_DELETE, "configmaps/default/a");
    q->dry_run = true;
    assert_code(call(w, q), 200);
    assert_code(get(w, "configmaps/default/a"), 200);
    world_free(w);
}

static void an_update_needs_the_present_revision(void **state)
{
    struct world *w = world_new();
    assert_code(create(w, "configmaps/default", MAP("a")), 201);
    struct reply *r = update(w, "configmaps/default/a",
                             "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"},\"data\":{\"k\":\"2\"}}");
    assert_code(r, 409);
    assert_string_equal(r->reason, "Conflict");
    assert_string_equal(r->text, "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; "
                                 "please apply your changes to the latest version and try again");
    r = update(w, "configmaps/default/a", "{\"metadata\":{\"name\":\"a\",\"uid\":\"x\"}}");
    assert_code(r, 409);
    assert_non_null(strstr(r->text, "Precondition failed: UID in precondition: x, UID in object meta: "));
    assert_code(update(w, "configmaps/default/a", "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"2\"}}"), 200);
    assert_field(get(w, "configmaps/default/a"), "data/k", "2");
    r = update(w, "configmaps/default/a", "{\"metadata\":{\"name\":\"b\"}}");
    assert_code(r, 400);
    assert_string_equal(r->text, "the name of the object (b) does not match the name on the URL (a)");
    r = update(w, "configmaps/default/b", "{\"metadata\":{\"name\":\"b\"}}");
    assert_code(r, 404);
    assert_string_equal(r->text, "configmaps \"b\" not found");
    world_free(w);
}

static void what_some_kinds_allow_others_refuse(void **state)
{
    struct world *w = world_new();
    /* Endpoints may be created by an update, leases may not be updated blindly. */
    assert_code(update(w, "endpoints/default/e", "{\"metadata\":{\"name\":\"e\"}}"), 201);
    assert_code(update(w, "leases/default/l", "{\"metadata\":{\"name\":\"l\"},\"spec\":{}}"), 201);
    struct reply *r = update(w, "leases/default/l",
                             "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"holderIdentity\":\"me\"}}");
    assert_code(r, 422);
    assert_string_equal(r->text, "Lease.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid "
                                 "value: 0x0: must be specified for an update");
    world_free(w);
}

static void an_update_that_changes_nothing_writes_nothing(void **state)
{
    struct world *w = world_new();
    create(w, "deployments/default", DEPLOYMENT);
    uint64_t revision = store_revision(w->store);
    struct reply *r = update(w, "deployments/default/d", DEPLOYMENT);
    assert_code(r, 200);
    assert_int_equal(r->object->revision, revision);
    assert_code(patch(w, "deployments/default/d", "{\"spec\":{\"replicas\":1}}"), 200);
    assert_int_equal(store_revision(w->store), revision);
    assert_code(patch(w, "deployments/default/d", "{\"spec\":{\"replicas\":2}}"), 200);
    assert_int_equal(store_revision(w->store), revision + 1);
    world_free(w);
}

static void generations_count_what_upstream_counts(void **state)
{
    static const struct {
        const char *patch, *generation;
    } rows[] = {
        {"{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", "1"},
        {"{\"spec\":{\"replicas\":3}}", "2"},
        {"{\"metadata\":{\"annotations\":{\"a\":\"b\"}}}", "3"},
        {"{\"status\":{\"replicas\":3}}", "3"},
        {"{\"metadata\":{\"generation\":1}}", "3"},
    };
    struct world *w = world_new();
    assert_field(create(w, "deployments/default", DEPLOYMENT), "metadata/generation", "1");
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct reply *r = patch(w, "deployments/default/d", rows[i].patch);
        assert_code(r, 200);
        assert_field(r, "metadata/generation", rows[i].generation);
    }
    /* Replica sets do not count annotations. */
    assert_code(create(w, "replicasets/default", DEPLOYMENT), 201);
    assert_field(patch(w, "replicasets/default/d", "{\"metadata\":{\"annotations\":{\"a\":\"b\"}}}"),
                 "metadata/generation", "1");
    assert_field(patch(w, "replicasets/default/d", "{\"spec\":{\"replicas\":4}}"), "metadata/generation", "2");
    world_free(w);
}

static void the_status_is_written_through_its_subresource_alone(void **state)
{
    struct world *w = world_new();
    struct reply *r =
        create(w, "replicasets/default",
               "{\"metadata\":{\"name\":\"d\"},\"status\":{\"replicas\":9},\"spec\":{\"selector\":{\"matchLabels\":"
               "{\"app\":\"x\"}},\"template\":" TEMPLATE "}}");
    assert_code(r, 201);
    assert_field(r, "status/replicas", "0");
    r = patch(w, "replicasets/default/d", "{\"status\":{\"replicas\":2},\"spec\":{\"replicas\":5}}");
    assert_field(r, "status/replicas", "0");
    assert_field(r, "spec/replicas", "5");
    r = patch(w, "replicasets/default/d/status", "{\"status\":{\"replicas\":2},\"spec\":{\"replicas\":7}}");
    assert_code(r, 200);
    assert_field(r, "status/replicas", "2");
    assert_field(r, "spec/replicas", "5");
    assert_field(r, "metadata/generation", "2");
    assert_code(get(w, "replicasets/default/d/status"), 200);
    world_free(w);
}

static void a_new_pod_is_pending_with_its_quality_of_service(void **state)
{
    static const struct {
        const char *resources, *class;
    } rows[] = {
        {"{}", "BestEffort"},
        {"{\"requests\":{\"cpu\":\"1\"}}", "Burstable"},
        {"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}", "Guaranteed"},
        {"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"500m\"}}", "Burstable"},
        {"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1024Mi\"},\"requests\":{\"cpu\":\"1000m\",\"memory\":\"1Gi\"}}",
         "Guaranteed"},
        {"{\"limits\":{\"memory\":\"1Gi\"}}", "Burstable"},
    };
    struct world *w = world_new();
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char json[400];
        snprintf(json, sizeof(json),
                 "{\"metadata\":{\"name\":\"p%zu\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\","
                 "\"resources\":%s}]},\"status\":{\"phase\":\"Running\"}}",
                 i, rows[i].resources);
        struct reply *r = create(w, "pods/default", json);
        assert_code(r, 201);
        assert_field(r, "status/phase", "Pending");
        assert_field(r, "status/qosClass", rows[i].class);
        assert_field(r, "metadata/generation", "1");
    }
    world_free(w);
}

static void a_new_pod_gets_a_token_unless_told_otherwise(void **state)
{
#define SPEC(more) "{\"metadata\":{\"name\":\"p\"},\"spec\":{" more "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"
#define OFF "\"automountServiceAccountToken\":false,"
#define ON "\"automountServiceAccountToken\":true,"
#define QUIET "\"serviceAccountName\":\"quiet\","
    static const struct {
        const char *json;
        bool mounted;
    } rows[] = {{SPEC(""), true},     {SPEC(OFF), false},     {SPEC(ON), true},
                {SPEC(QUIET), false}, {SPEC(QUIET ON), true}, {SPEC(QUIET OFF), false}};
    struct world *w = world_new();
    assert_code(create(w, "serviceaccounts/default",
                       "{\"metadata\":{\"name\":\"quiet\"},\"automountServiceAccountToken\":false}"),
                201);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct reply *r = create(w, "pods/default", rows[i].json);
        assert_code(r, 201);
        if (rows[i].mounted) {
            assert_memory_equal(field(r, "spec/volumes/0/name"), "kube-api-access-", 16);
            assert_field(r, "spec/containers/0/volumeMounts/0/mountPath",
                         "/var/run/secrets/kubernetes.io/serviceaccount");
            assert_field(r, "spec/containers/0/volumeMounts/0/readOnly", "true");
        } else {
            assert_field(r, "spec/volumes", NULL);
            assert_field(r, "spec/containers/0/volumeMounts", NULL);
        }
        assert_code(delete_(w, "pods/default/p", NULL), 200);
    }
    world_free(w);
}

static void a_pod_that_has_the_volume_gets_no_second_one(void **state)
{
    struct world *w = world_new();
    struct reply *r = create(
        w, "pods/default",
        "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"volumes\":[{\"name\":\"own\",\"emptyDir\":{}},{\"name\":"
        "\"kube-api-access-x\",\"emptyDir\":{}}],\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"volumeMounts\":[{"
        "\"name\":\"own\",\"mountPath\":\"/var/run/secrets/kubernetes.io/serviceaccount\"}]},{\"name\":\"d\","
        "\"image\":\"i\"}]}}");
    assert_code(r, 201);
    assert_field(r, "spec/volumes/2", NULL);
    assert_field(r, "spec/containers/0/volumeMounts/0/name", "own");
    assert_field(r, "spec/containers/0/volumeMounts/1", NULL);
    assert_field(r, "spec/containers/1/volumeMounts/0/name", "kube-api-access-x");
    world_free(w);
}

static void a_pod_is_bound_once(void **state)
{
    struct world *w = world_new();
    assert_code(create(w, "pods/default", POD), 201);
    struct reply *r = create(w, "pods/default/p/binding", "{\"metadata\":{\"name\":\"p\"},\"target\":{\"kind\":"
                                                          "\"Node\",\"name\":\"n1\"}}");
    assert_code(r, 201);
    assert_string_equal(r->status->status, "Success");
    r = get(w, "pods/default/p");
    assert_field(r, "spec/nodeName", "n1");
    assert_field(r, "status/conditions/0/type", "PodScheduled");
    assert_field(r, "status/conditions/0/status", "True");
    r = create(w, "pods/default/p/binding", "{\"metadata\":{\"name\":\"p\"},\"target\":{\"kind\":\"Node\",\"name\":"
                                            "\"n2\"}}");
    assert_code(r, 409);
    assert_string_equal(r->text, "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to "
                                 "node \"n1\"");
    assert_code(create(w, "pods/default/none/binding", "{\"target\":{\"kind\":\"Node\",\"name\":\"n2\"}}"), 404);
    world_free(w);
}

static void a_scale_is_a_view_of_its_object(void **state)
{
    struct world *w = world_new();
    create(w, "deployments/default", DEPLOYMENT);
    struct reply *r = get(w, "deployments/default/d/scale");
    assert_code(r, 200);
    assert_int_equal(((const struct scale *)r->value)->spec.replicas, 1);
    assert_string_equal(((const struct scale *)r->value)->status.selector, "app=x");
    r = update(w, "deployments/default/d/scale", "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":4}}");
    assert_code(r, 200);
    assert_int_equal(((const struct scale *)r->value)->spec.replicas, 4);
    r = patch(w, "deployments/default/d/scale", "{\"spec\":{\"replicas\":6}}");
    assert_code(r, 200);
    assert_int_equal(((const struct scale *)r->value)->spec.replicas, 6);
    r = get(w, "deployments/default/d");
    assert_field(r, "spec/replicas", "6");
    assert_field(r, "metadata/generation", "3");
    r = update(w, "deployments/default/d/scale",
               "{\"metadata\":{\"name\":\"d\",\"resourceVersion\":\"1\"},\"spec\":{\"replicas\":5}}");
    assert_code(r, 409);
    r = patch(w, "deployments/default/d/scale", "{\"spec\":{\"replicas\":-1}}");
    assert_code(r, 422);
    assert_non_null(strstr(r->text, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"));
    assert_code(get(w, "pods/default/d/scale"), 404);
    world_free(w);
}

static void a_patch_applies_to_what_is_there(void **state)
{
    struct world *w = world_new();
    create(w, "configmaps/default", MAP("a"));
    struct reply *r = patch(w, "configmaps/default/a", "{\"data\":{\"l\":\"2\"}}");
    assert_code(r, 200);
    assert_field(r, "data", "{\"k\":\"1\",\"l\":\"2\"}");
    assert_code(patch(w, "configmaps/default/none", "{}"), 404);
    r = patch(w, "configmaps/default/a", "{\"metadata\":{\"resourceVersion\":\"1\"},\"data\":{\"l\":\"3\"}}");
    assert_code(r, 409);
    r = patch(w, "configmaps/default/a", "{\"metadata\":{\"name\":\"b\"}}");
    assert_code(r, 400);
    r = patch(w, "configmaps/default/a", "{\"metadata\":{\"namespace\":\"b\"}}");
    assert_code(r, 400);
    r = patch(w, "configmaps/default/a", "{\"metadata\":{\"uid\":\"b\"}}");
    assert_code(r, 409);
    world_free(w);
}

static void a_patch_does_not_make_another_kind_of_an_object(void **state)
{
    struct world *w = world_new();
    create(w, "configmaps/default", MAP("a"));
    struct reply *r = patch(w, "configmaps/default/a", "{\"kind\":\"Secret\"}");
    assert_code(r, 422);
    assert_non_null(strstr(r->text, "converting (v1.Secret) to (core.ConfigMap): unknown conversion"));
    r = patch(w, "configmaps/default/a", "{\"apiVersion\":\"v2\"}");
    assert_code(r, 422);
    assert_non_null(strstr(r->text, "no kind \"ConfigMap\" is registered for version \"v2\" in scheme"));
    assert_code(patch(w, "configmaps/default/a", "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\"}"), 200);
    world_free(w);
}

static struct reply *patch_validated(struct world *w, enum client_field_validation validation)
{
    struct client_request *q = request(CLIENT_PATCH, "configmaps/default/a");
    q->patch_kind = PATCH_MERGE;
    q->patch = "{\"nothing\":1}";
    q->patch_size = strlen(q->patch);
    q->field_validation = validation;
    return call(w, q);
}

static void unknown_fields_in_a_patch_are_named_as_the_client_asks(void **state)
{
    struct world *w = world_new();
    create(w, "configmaps/default", MAP("a"));
    struct reply *r = patch_validated(w, CLIENT_VALIDATE_STRICT);
    assert_code(r, 422);
    assert_non_null(strstr(r->text, "strict decoding error: unknown field \"nothing\""));
    r = patch_validated(w, CLIENT_VALIDATE_WARN);
    assert_code(r, 200);
    assert_string_equal(r->warning, "unknown field \"nothing\"");
    r = patch_validated(w, CLIENT_VALIDATE_IGNORE);
    assert_code(r, 200);
    assert_null(r->warning);
    world_free(w);
}

static void managed_fields_are_not_dropped_in_silence(void **state)
{
#define MANAGED "{\"metadata\":{\"name\":\"m\",\"managedFields\":[{\"manager\":\"x\",\"operation\":\"Update\"}]}}"
    static const char warning[] = "metadata.managedFields: dropped: managers of fields are not recorded yet";
    struct world *w = world_new();
    struct reply *r = create(w, "configmaps/default", MANAGED);
    assert_code(r, 201);
    assert_string_equal(r->warning, warning);
    assert_null(field(r, "metadata/managedFields"));
    r = update(w, "configmaps/default/m", MANAGED);
    assert_code(r, 200);
    assert_string_equal(r->warning, warning);
    r = patch(w, "configmaps/default/m", "{\"data\":{\"k\":\"v\"}}");
    assert_code(r, 200);
    assert_null(r->warning);
    world_free(w);
}

static void a_pod_that_asks_for_a_class_of_runtime_is_refused(void **state)
{
    struct world *w = world_new();
    struct reply *r = create(w, "pods/default",
                             "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"runtimeClassName\":\"other\","
                             "\"containers\":[{\"name\":\"c\"}]}}");
    assert_code(r, 403);
    assert_non_null(strstr(r->text, "pods \"p\" is forbidden: pod rejected: RuntimeClass \"other\" not found"));
    r = create(w, "pods/default",
               "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"overhead\":{\"cpu\":\"1\"},"
               "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
    assert_code(r, 403);
    assert_non_null(strstr(r->text, "pods \"p\" is forbidden: pod rejected: Pod Overhead set without corresponding "
                                    "RuntimeClass defined Overhead"));
    r = create(w, "pods/default",
               "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"overhead\":{\"cpu\":\"1\"},"
               "\"containers\":[{\"name\":\"c\"}]}}");
    assert_code(r, 422);
    world_free(w);
}

static void a_field_that_does_not_act_yet_is_named(void **state)
{
    struct world *w = world_new();
    struct reply *r = create(w, "pods/default",
                             "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"hostUsers\":false,"
                             "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
    assert_code(r, 201);
    assert_non_null(r->warning);
    assert_memory_equal(r->warning, "spec.hostUsers: ", 16);
    r = patch(w, "pods/default/p", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
    assert_code(r, 200);
    assert_null(r->warning);
    assert_code(create(w, "pods/default", "{\"metadata\":{\"name\":\"q\"},\"spec\":{\"containers\":[{\"name\":\"c\","
                                          "\"image\":\"i\"}]}}"),
                201);
    world_free(w);
}

static void events_are_one_set_of_objects_behind_two_apis(void **state)
{
    struct world *w = world_new();
    struct reply *r = create(w, "events/default",
                             "{\"metadata\":{\"name\":\"e\",\"namespace\":\"default\"},\"involvedObject\":{\"kind\":"
                             "\"Pod\",\"name\":\"p\",\"namespace\":\"default\"},\"reason\":\"R\",\"message\":\"m\","
                             "\"type\":\"Normal\",\"count\":2}");
    assert_code(r, 201);
    struct client_request *q =
        client_request_new(CLIENT_GET, &api_resources[API_EVENTS_EVENTS], "default", "e");
    r = call(w, q);
    assert_code(r, 200);
    assert_field(r, "apiVersion", "events.k8s.io/v1");
    assert_field(r, "note", "m");
    assert_field(r, "deprecatedCount", "2");
    assert_field(r, "regarding/name", "p");
    q = client_request_new(CLIENT_LIST, &api_resources[API_EVENTS_EVENTS], NULL, NULL);
    r = call(w, q);
    assert_int_equal(r->count, 1);
    assert_string_equal(r->items[0]->resource->api_version, "events.k8s.io/v1");
    r = patch(w, "events/default/e", "{\"message\":\"other\"}");
    assert_code(r, 200);
    assert_field(r, "message", "other");
    assert_field(r, "apiVersion", "v1");
    q = client_request_new(CLIENT_DELETE, &api_resources[API_EVENTS_EVENTS], "default", "e");
    assert_code(call(w, q), 200);
    assert_code(get(w, "events/default/e"), 404);
    world_free(w);
}

/* A Lease whose text is longer than an identity by what the rest of it takes. */
static struct reply *put_lease(struct world *w, size_t identity)
{
    char *json = mem_alloc(identity + 100);
    int n = sprintf(json, "{\"spec\":{\"holderIdentity\":\"");
    memset(json + n, 'x', identity);
    strcpy(json + n + identity, "\"}}");
    struct reply *r = patch(w, "leases/default/l", json);
    free(json);
    return r;
}

static void an_object_that_has_grown_too_large_is_refused(void **state)
{
    struct world *w = world_new();
    assert_code(create(w, "leases/default", "{\"metadata\":{\"name\":\"l\"}}"), 201);
    assert_code(put_lease(w, REGISTRY_OBJECT_MAX - 1000), 200);
    struct reply *r = put_lease(w, REGISTRY_OBJECT_MAX);
    assert_code(r, 500);
    assert_string_equal(r->text, "etcdserver: request is too large");
    r = get(w, "leases/default/l");
    assert_int_equal(strlen(field(r, "spec/holderIdentity")), REGISTRY_OBJECT_MAX - 1000);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_that_has_grown_too_large_is_refused),
        cmocka_unit_test(a_new_object_gets_its_system_fields),
        cmocka_unit_test(what_cannot_be_created_is_refused_with_upstreams_words),
        cmocka_unit_test(names_are_generated),
        cmocka_unit_test(a_dry_run_answers_and_changes_nothing),
        cmocka_unit_test(an_update_needs_the_present_revision),
        cmocka_unit_test(what_some_kinds_allow_others_refuse),
        cmocka_unit_test(an_update_that_changes_nothing_writes_nothing),
        cmocka_unit_test(generations_count_what_upstream_counts),
        cmocka_unit_test(the_status_is_written_through_its_subresource_alone),
        cmocka_unit_test(a_new_pod_is_pending_with_its_quality_of_service),
        cmocka_unit_test(a_new_pod_gets_a_token_unless_told_otherwise),
        cmocka_unit_test(a_pod_that_has_the_volume_gets_no_second_one),
        cmocka_unit_test(a_pod_is_bound_once),
        cmocka_unit_test(a_scale_is_a_view_of_its_object),
        cmocka_unit_test(a_patch_applies_to_what_is_there),
        cmocka_unit_test(a_patch_does_not_make_another_kind_of_an_object),
        cmocka_unit_test(unknown_fields_in_a_patch_are_named_as_the_client_asks),
        cmocka_unit_test(managed_fields_are_not_dropped_in_silence),
        cmocka_unit_test(a_field_that_does_not_act_yet_is_named),
        cmocka_unit_test(a_pod_that_asks_for_a_class_of_runtime_is_refused),
        cmocka_unit_test(events_are_one_set_of_objects_behind_two_apis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
