/* What every request gets: verbs, subresources, dry runs, field validation, and the errors that
 * upstream gives. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "api_fixture.h"
#include "base/cleanup.h"

#define YAML "Content-Type: application/yaml\r\n"
#define TABLE "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n"
#define DEPLOYMENT                                                                                                     \
    "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"replicas\":2,\"selector\":{\"matchLabels\":{\"app\":\"web\"}},"      \
    "\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"web\","           \
    "\"image\":\"web:1\"}]}}}}"

static void verbs_do_what_they_say(void **state)
{
    (void)state;
    struct answer *a = ask("POST", CONFIG_MAPS, NULL, "{\"metadata\":{\"name\":\"one\"},\"data\":{\"a\":\"1\"}}");
    assert_code(a, 201);
    assert_string_equal(header(a, "Content-Type", 0), "application/json");
    assert_non_null(header(a, "Cache-Control", 0));
    assert_field(a, "kind", "ConfigMap");
    assert_field(a, "apiVersion", "v1");
    assert_field(a, "metadata/namespace", "default");
    assert_int_equal(strlen(field(a, "metadata/uid")), 36);
    assert_int_equal(a->body.data[a->body.size - 1], '\n');
    a = ask("GET", CONFIG_MAPS "/one", NULL, NULL);
    assert_code(a, 200);
    assert_field(a, "data/a", "1");
    a = ask("HEAD", CONFIG_MAPS "/one", NULL, NULL);
    assert_code(a, 200);
    assert_true(atoi(header(a, "Content-Length", 0)) > 100);
    a = ask("PUT", CONFIG_MAPS "/one", NULL, "{\"metadata\":{\"name\":\"one\"},\"data\":{\"a\":\"2\"}}");
    assert_code(a, 200);
    assert_field(a, "data/a", "2");
    a = ask("PATCH", CONFIG_MAPS "/one", "Content-Type: application/merge-patch+json\r\n", "{\"data\":{\"b\":\"3\"}}");
    assert_code(a, 200);
    assert_field(a, "data", "{\"a\":\"2\",\"b\":\"3\"}");
    a = ask("PATCH", CONFIG_MAPS "/one", "Content-Type: application/json-patch+json\r\n",
            "[{\"op\":\"remove\",\"path\":\"/data/a\"}]");
    assert_field(a, "data", "{\"b\":\"3\"}");
    a = ask("PATCH", CONFIG_MAPS "/one", "Content-Type: application/strategic-merge-patch+json; charset=utf-8\r\n",
            "{\"data\":{\"b\":null,\"c\":\"4\"}}");
    assert_field(a, "data", "{\"c\":\"4\"}");
    a = ask("GET", "/api/v1/configmaps", NULL, NULL);
    assert_field(a, "items/0/metadata/name", "one");
    a = ask("DELETE", CONFIG_MAPS "/one", NULL, NULL);
    assert_code(a, 200);
    assert_field(a, "kind", "Status");
    assert_field(a, "status", "Success");
    assert_field(a, "details/name", "one");
    assert_field(a, "details/kind", "configmaps");
    a = ask("GET", CONFIG_MAPS "/one", NULL, NULL);
    assert_status(a, 404, "NotFound", "configmaps \"one\" not found");
    assert_field(a, "details", "{\"kind\":\"configmaps\",\"name\":\"one\"}");
}

static void a_list_is_of_its_kind_and_its_items_name_theirs(void **state)
{
    (void)state;
    struct answer *a = ask("GET", CONFIG_MAPS, NULL, NULL);
    assert_code(a, 200);
    assert_field(a, "kind", "ConfigMapList");
    assert_field(a, "items", "[]");
    make_config_map("a", "1");
    make_config_map("b", "2");
    a = ask("GET", CONFIG_MAPS, NULL, NULL);
    assert_int_equal(json_array_size(json_object_get(a->json, "items")), 2);
    assert_true(atoi(field(a, "metadata/resourceVersion")) > 0);
    assert_field(a, "metadata/continue", NULL);
    assert_field(a, "items/1/metadata/name", "b");
}

static void collections_are_deleted_by_selector(void **state)
{
    (void)state;
    make_config_map("a", "x");
    make_config_map("b", "y");
    struct answer *a = ask("DELETE", CONFIG_MAPS "?labelSelector=app%3Dx", NULL, NULL);
    assert_code(a, 200);
    assert_field(a, "kind", "ConfigMapList");
    assert_field(a, "items/0/metadata/name", "a");
    assert_code(ask("GET", CONFIG_MAPS "/a", NULL, NULL), 404);
    assert_code(ask("GET", CONFIG_MAPS "/b", NULL, NULL), 200);
}

static void subresources_are_served(void **state)
{
    (void)state;
    make(DEPLOYMENTS, DEPLOYMENT);
    struct answer *a = ask("GET", DEPLOYMENTS "/web/scale", NULL, NULL);
    assert_code(a, 200);
    assert_field(a, "kind", "Scale");
    assert_field(a, "apiVersion", "autoscaling/v1");
    assert_field(a, "spec/replicas", "2");
    a = ask("GET", DEPLOYMENTS "/web/scale", "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n", NULL);
    assert_code(a, 200);
    assert_field(a, "kind", "Table");
    static const char *const columns[] = {"Name", "Desired", "Available", "Age"};
    for (size_t i = 0; i < ARRAY_COUNT(columns); i++) {
        char path[64];
        snprintf(path, sizeof(path), "columnDefinitions/%zu/name", i);
        assert_field(a, path, columns[i]);
    }
    assert_field(a, "rows/0/cells/0", "web");
    assert_field(a, "rows/0/cells/1", "2");
    assert_field(a, "rows/0/cells/2", "0");
    assert_field(a, "rows/0/object/kind", "PartialObjectMetadata");
    assert_field(a, "rows/0/object/metadata/name", "web");
    a = ask("PATCH", DEPLOYMENTS "/web/scale", "Content-Type: application/merge-patch+json\r\n",
            "{\"spec\":{\"replicas\":5}}");
    assert_code(a, 200);
    assert_field(a, "spec/replicas", "5");
    a = ask("PUT", DEPLOYMENTS "/web/scale", NULL,
            "{\"kind\":\"Scale\",\"apiVersion\":\"autoscaling/v1\",\"metadata\":{\"name\":\"web\"},"
            "\"spec\":{\"replicas\":7}}");
    assert_code(a, 200);
    a = ask("GET", DEPLOYMENTS "/web", NULL, NULL);
    assert_field(a, "spec/replicas", "7");
    a = ask("PATCH", DEPLOYMENTS "/web/status", "Content-Type: application/merge-patch+json\r\n",
            "{\"status\":{\"replicas\":7},\"spec\":{\"replicas\":1}}");
    assert_code(a, 200);
    assert_field(a, "status/replicas", "7");
    assert_field(a, "spec/replicas", "7");
    a = ask("GET", DEPLOYMENTS "/web/status", NULL, NULL);
    assert_field(a, "status/replicas", "7");
    make_pod("p", "", "[{\"name\":\"c\",\"image\":\"i\"}]");
    a = ask("POST", PODS "/p/binding", NULL,
            "{\"kind\":\"Binding\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\"},"
            "\"target\":{\"kind\":\"Node\",\"name\":\"n\"}}");
    assert_code(a, 201);
    assert_field(a, "status", "Success");
    a = ask("GET", PODS "/p", NULL, NULL);
    assert_field(a, "spec/nodeName", "n");
}

static void bindings_bind_the_pod_that_they_name(void **state)
{
    (void)state;
    static const char path[] = "/api/v1/namespaces/default/bindings";
    make_pod("p", "", "[{\"name\":\"c\",\"image\":\"i\"}]");
    struct answer *a = ask("POST", path, NULL,
                           "{\"kind\":\"Binding\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\"},"
                           "\"target\":{\"kind\":\"Node\",\"name\":\"n\"}}");
    assert_code(a, 201);
    assert_field(a, "kind", "Status");
    assert_field(a, "status", "Success");
    a = ask("GET", PODS "/p", NULL, NULL);
    assert_field(a, "spec/nodeName", "n");
    a = ask("POST", path, NULL, "{\"metadata\":{\"name\":\"q\"},\"target\":{\"kind\":\"Node\",\"name\":\"n\"}}");
    assert_status(a, 404, "NotFound", "pods \"q\" not found");
    a = ask("POST", path, NULL, "{\"target\":{\"kind\":\"Node\",\"name\":\"n\"}}");
    assert_status(a, 400, "BadRequest", "Name parameter required.");
    assert_code(ask("GET", path, NULL, NULL), 405);
    assert_code(ask("GET", "/api/v1/namespaces/default/bindings/p", NULL, NULL), 404);
}

/* ---- Negotiation ---- */

static void tables_are_given_when_asked_for(void **state)
{
    (void)state;
    make_config_map("a", "1");
    make_config_map("b", "2");
    struct answer *a = ask("GET", CONFIG_MAPS, TABLE, NULL);
    assert_code(a, 200);
    assert_field(a, "kind", "Table");
    assert_field(a, "apiVersion", "meta.k8s.io/v1");
    assert_field(a, "columnDefinitions/0/name", "Name");
    assert_field(a, "rows/1/cells/0", "b");
    assert_field(a, "rows/0/object/kind", "PartialObjectMetadata");
    assert_true(atoi(field(a, "metadata/resourceVersion")) > 0);
    a = ask("GET", CONFIG_MAPS "/a?includeObject=Object",
            "Accept: application/json;as=Table;v=v1beta1;g=meta.k8s.io\r\n", NULL);
    assert_field(a, "apiVersion", "meta.k8s.io/v1beta1");
    assert_field(a, "rows/0/object/kind", "ConfigMap");
    assert_field(a, "rows/0/object/data/key", "1");
    a = ask("GET", CONFIG_MAPS "?includeObject=None", TABLE, NULL);
    assert_field(a, "rows/0/object", "null");
    a = ask("GET", CONFIG_MAPS "?includeObject=Everything", TABLE, NULL);
    assert_code(a, 422);
}

static void metadata_is_given_when_asked_for(void **state)
{
    (void)state;
    make_config_map("a", "1");
    struct answer *a =
        ask("GET", CONFIG_MAPS "/a", "Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1\r\n", NULL);
    assert_field(a, "kind", "PartialObjectMetadata");
    assert_field(a, "apiVersion", "meta.k8s.io/v1");
    assert_field(a, "metadata/labels/app", "1");
    assert_field(a, "data", NULL);
    a = ask("GET", CONFIG_MAPS, "Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1\r\n", NULL);
    assert_field(a, "kind", "PartialObjectMetadataList");
    assert_field(a, "items/0/metadata/name", "a");
    assert_field(a, "items/0/data", NULL);
}

static void bodies_of_other_types_are_refused(void **state)
{
    (void)state;
    struct answer *a = ask("POST", CONFIG_MAPS, "Content-Type: text/plain\r\n", "{}");
    assert_code(a, 415);
    assert_status(a, 415, "UnsupportedMediaType",
                  "the body of the request was in an unknown format - accepted media types include: application/json, "
                  "application/yaml, application/vnd.kubernetes.protobuf");
    a = ask("PATCH", CONFIG_MAPS "/a", "Content-Type: application/json\r\n", "{}");
    assert_code(a, 415);
    assert_non_null(strstr(field(a, "message"), "application/json-patch+json"));
}

/* As upstream answers where server-side apply is turned off. */
static void managers_of_fields_are_checked_and_apply_patches_refused(void **state)
{
    (void)state;
    struct answer *a =
        ask("PATCH", CONFIG_MAPS "/a?fieldManager=me", "Content-Type: application/apply-patch+yaml\r\n", "{}");
    assert_code(a, 415);
    assert_status(a, 415, "UnsupportedMediaType",
                  "the body of the request was in an unknown format - accepted media types include: "
                  "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json");
    a = ask("PATCH", CONFIG_MAPS "/a?force=false", "Content-Type: application/merge-patch+json\r\n", "{}");
    assert_code(a, 422);
    assert_status(
        a, 422, "Invalid",
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch");
    a = ask("POST", CONFIG_MAPS "?fieldManager=a%07", "Content-Type: application/json\r\n", "{}");
    assert_code(a, 422);
}

static void yaml_is_taken_like_json(void **state)
{
    (void)state;
    struct answer *a = ask("POST", CONFIG_MAPS, YAML, "metadata:\n  name: a\ndata:\n  answer: \"42\"\n");
    assert_code(a, 201);
    assert_field(a, "data/answer", "42");
    a = ask("POST", CONFIG_MAPS, YAML, "metadata: [\n");
    assert_code(a, 400);
    assert_field(a, "reason", "BadRequest");
}

static void people_get_indented_json(void **state)
{
    (void)state;
    make(CONFIG_MAPS,
         "{\"metadata\":{\"name\":\"a\",\"annotations\":{\"x\":\"{\\\"y\\\": [1]}\"}},\"data\":{\"k\":\"v,:{\"}}");
    struct answer *a = ask("GET", CONFIG_MAPS "/a?pretty=true", NULL, NULL);
    assert_non_null(
        strstr(a->body.data, "{\n  \"kind\": \"ConfigMap\",\n  \"apiVersion\": \"v1\",\n  \"metadata\": {\n"));
    assert_non_null(strstr(a->body.data, "    \"annotations\": {\n      \"x\": \"{\\\"y\\\": [1]}\"\n    },\n"));
    assert_non_null(strstr(a->body.data, "  \"data\": {\n    \"k\": \"v,:{\"\n  }\n}\n"));
    a = ask("GET", "/api/v1/namespaces/kube-system/configmaps", "User-Agent: curl/7.88\r\n", NULL);
    assert_non_null(strstr(a->body.data, "  \"items\": []\n}\n"));
    a = ask("GET", CONFIG_MAPS "/none", "User-Agent: curl/7.88\r\n", NULL);
    assert_non_null(strstr(a->body.data, "  \"metadata\": {},\n"));
    a = ask("GET", CONFIG_MAPS "/a?pretty=false", "User-Agent: curl/7.88\r\n", NULL);
    assert_non_null(strstr(a->body.data, "{\"kind\":\"ConfigMap\","));
}

/* ---- Who and where ---- */

static void the_anonymous_get_health_and_version_only(void **state)
{
    (void)state;
    struct connection *c = connect_as_nobody();
    static const char *const open[] = {"/healthz", "/livez", "/readyz", "/version", "/livez/ping", "/readyz?verbose"};
    for (size_t i = 0; i < ARRAY_COUNT(open); i++)
        assert_code(ask_on(c, "GET", open[i], NULL, NULL), 200);
    static const char *const closed[] = {"/",           "/api",        "/apis",      CONFIG_MAPS, "/metrics",
                                         "/openapi/v2", "/openapi/v3", "/healthzzz", "/nope",     PODS "?watch=1"};
    for (size_t i = 0; i < ARRAY_COUNT(closed); i++)
        assert_status(ask_on(c, "GET", closed[i], NULL, NULL), 401, "Unauthorized", "Unauthorized");
    assert_status(ask_on(c, "POST", CONFIG_MAPS, NULL, "{}"), 401, "Unauthorized", "Unauthorized");
    assert_status(ask_on(c, "POST", "/version", NULL, "{}"), 401, "Unauthorized", "Unauthorized");
    disconnect(c);
}

static void paths_that_lead_nowhere_are_404(void **state)
{
    (void)state;
    static const char *const none[] = {"/api/v1/nopes",
                                       "/api/v1/namespaces/default/nopes",
                                       "/apis/apps/v1/nopes",
                                       "/api/v1/namespaces/default/pods/x/y",
                                       "/api/v1/namespaces/default/nodes",
                                       "/api/v1/pods/x",
                                       "/apis/apps/v1/namespaces/default/deployments/a/b/c"};
    for (size_t i = 0; i < ARRAY_COUNT(none); i++) {
        struct answer *a = ask("GET", none[i], NULL, NULL);
        assert_status(a, 404, "NotFound", "the server could not find the requested resource");
        assert_field(a, "details", "{}");
    }
    /* Groups that are not served at all, even when something is posted, are no business of a resource's. */
    static const char *const unknown[] = {"/nope",
                                          "/api/v2/pods",
                                          "/apis/nope.example.com/v1/nopes",
                                          "/apis/apps/v9/deployments",
                                          "/apis/nope.example.com/v1/selfsubjectaccessreviews",
                                          "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p"};
    for (size_t i = 0; i < ARRAY_COUNT(unknown); i++) {
        struct answer *a = ask(i == 4 ? "POST" : "GET", unknown[i], NULL, i == 4 ? "{}" : NULL);
        assert_code(a, 404);
        assert_string_equal(a->body.data, "404 page not found\n");
        assert_string_equal(header(a, "Content-Type", 0), "text/plain; charset=utf-8");
    }
}

static void methods_that_a_path_does_not_take_are_405(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
    } none[] = {{"POST", CONFIG_MAPS "/a"}, {"PUT", CONFIG_MAPS},         {"PATCH", CONFIG_MAPS},
                {"POST", "/api/v1/pods"},   {"DELETE", "/api/v1/pods"},   {"OPTIONS", CONFIG_MAPS},
                {"BREW", CONFIG_MAPS "/a"}, {"DELETE", PODS "/a/status"}, {"GET", PODS "/a/binding"},
                {"POST", PODS "/a/log"},    {"PUT", "/api/v1/namespaces"}};
    for (size_t i = 0; i < ARRAY_COUNT(none); i++)
        assert_status(ask(none[i].method, none[i].path, NULL, NULL), 405, "MethodNotAllowed",
                      "the server does not allow this method on the requested resource");
}

/* ---- Writes ---- */

#define SPELLED "{\"metadata\":{\"name\":\"a\"},\"dada\":{\"x\":\"y\"},\"data\":{\"k\":\"1\"},\"data\":{\"k\":\"2\"}}"

static void unknown_fields_are_warned_of_refused_or_ignored(void **state)
{
    (void)state;
    struct answer *a = ask("POST", CONFIG_MAPS, NULL, SPELLED);
    assert_code(a, 201);
    assert_string_equal(header(a, "Warning", 0), "299 - \"unknown field \\\"dada\\\"\"");
    assert_string_equal(header(a, "Warning", 1), "299 - \"duplicate field \\\"data\\\"\"");
    assert_field(a, "data/k", "2");
    clean(NULL);
    a = ask("POST", CONFIG_MAPS "?fieldValidation=Strict", NULL, SPELLED);
    assert_status(a, 400, "BadRequest",
                  "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: "
                  "unknown field \"dada\", duplicate field \"data\"");
    a = ask("POST", CONFIG_MAPS "?fieldValidation=Ignore", NULL, SPELLED);
    assert_code(a, 201);
    assert_null(header(a, "Warning", 0));
    a = ask("PUT", CONFIG_MAPS "/a?fieldValidation=Strict", NULL, SPELLED);
    assert_code(a, 400);
    a = ask("PATCH", CONFIG_MAPS "/a?fieldValidation=Strict", "Content-Type: application/merge-patch+json\r\n",
            "{\"dada\":{}}");
    assert_code(a, 422);
    a = ask("POST", CONFIG_MAPS "?fieldValidation=Perhaps", NULL, SPELLED);
    assert_status(a, 422, "Invalid",
                  "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"Perhaps\": "
                  "supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"");
}

static void keys_that_yaml_sets_twice_are_warned_of_refused_or_ignored(void **state)
{
    (void)state;
    static const char twice[] =
        "metadata:\n  name: t\ndata:\n  a: \"1\"\n  b: \"1\"\n  a: \"2\"\n  b: \"2\"\ndada: {}\n";
    struct answer *a = ask("POST", CONFIG_MAPS "?fieldValidation=Strict", YAML, twice);
    assert_status(a, 400, "BadRequest",
                  "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: "
                  "yaml: unmarshal errors:\n  line 6: key \"a\" already set in map\n"
                  "  line 7: key \"b\" already set in map, unknown field \"dada\"");
    a = ask("POST", CONFIG_MAPS, YAML, twice);
    assert_code(a, 201);
    assert_string_equal(header(a, "Warning", 0), "299 - \"line 6: key \\\"a\\\" already set in map\"");
    assert_string_equal(header(a, "Warning", 1), "299 - \"line 7: key \\\"b\\\" already set in map\"");
    assert_string_equal(header(a, "Warning", 2), "299 - \"unknown field \\\"dada\\\"\"");
    assert_field(a, "data/a", "2");
    a = ask("PUT", CONFIG_MAPS "/t?fieldValidation=Ignore", YAML, twice);
    assert_code(a, 200);
    assert_null(header(a, "Warning", 0));
}

#define INERT ": stored, but without effect: "
#define INERT_DEPLOYMENT(more)                                                                                         \
    "{\"metadata\":{\"name\":\"inert\"" more                                                                           \
    "},\"spec\":{\"dada\":1,\"selector\":{\"matchLabels\":{\"app\":\"web\"}},"                                         \
    "\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"hostUsers\":false,\"containers\":[{"        \
    "\"name\":\"c\",\"image\":\"i\",\"securityContext\":{\"windowsOptions\":{}}}]}}}}"

/* lint's end in the name of a check: " [probe-missing]". */
static bool is_of_lint(const char *text)
{
    const char *name = strrchr(text, '[');
    return name && name > text && name[-1] == ' ' && strcmp(text + strlen(text) - 2, "]\"") == 0;
}

/* The next Warning header that is not lint's. */
static const char *next_warning(struct answer *a, unsigned *n)
{
    const char *text;
    while ((text = header(a, "Warning", (*n)++)) && is_of_lint(text))
        ;
    return text;
}

/* The Warning headers are these and no others: each is the beginning of one. */
static void assert_warnings(struct answer *a, const char *const *wanted)
{
    unsigned n = 0;
    const char *text;
    for (; *wanted; wanted++) {
        text = next_warning(a, &n);
        if (!text || strncmp(text, *wanted, strlen(*wanted)) != 0)
            fail_msg("the warning is %s, not %s", text ? text : "missing", *wanted);
    }
    text = next_warning(a, &n);
    if (text)
        fail_msg("one more warning: %s", text);
}

static void each_warning_is_given_once_and_of_changes_only(void **state)
{
    (void)state;
    static const char *const all[] = {
        "299 - \"unknown field \\\"spec.dada\\\"\"",
        "299 - \"spec.template.spec.containers[0].securityContext.windowsOptions" INERT,
        "299 - \"spec.template.spec.hostUsers" INERT,
        NULL,
    };
    static const char *const unknown[] = {"299 - \"unknown field \\\"spec.dada\\\"\"", NULL};
    static const char *const one[] = {"299 - \"spec.template.spec.hostUsers" INERT, NULL};
    static const char *const none[] = {NULL};
    struct answer *a = ask("POST", DEPLOYMENTS, NULL, INERT_DEPLOYMENT(""));
    assert_code(a, 201);
    assert_warnings(a, all);
    a = ask("PUT", DEPLOYMENTS "/inert", NULL, INERT_DEPLOYMENT(",\"labels\":{\"a\":\"b\"}"));
    assert_code(a, 200);
    assert_warnings(a, unknown);
    a = ask("PATCH", DEPLOYMENTS "/inert", "Content-Type: application/merge-patch+json\r\n",
            "{\"metadata\":{\"labels\":null}}");
    assert_code(a, 200);
    assert_warnings(a, none);
    make(DEPLOYMENTS, DEPLOYMENT);
    a = ask("PATCH", DEPLOYMENTS "/web", "Content-Type: application/merge-patch+json\r\n",
            "{\"spec\":{\"template\":{\"spec\":{\"hostUsers\":false}}}}");
    assert_code(a, 200);
    assert_warnings(a, one);
    a = ask("PATCH", DEPLOYMENTS "/web", "Content-Type: application/merge-patch+json\r\n",
            "{\"spec\":{\"replicas\":3}}");
    assert_code(a, 200);
    assert_warnings(a, none);
}

static void what_is_odd_about_a_pod_is_said_as_upstream_does(void **state)
{
    (void)state;
    static const struct {
        const char *more, *container, *warnings[4];
    } rows[] = {
        {"\"nodeSelector\":{\"beta.kubernetes.io/os\":\"linux\"},",
         "",
         {"299 - \"spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \\\"kubernetes.io/os\\\" "
          "instead\""}},
        {"\"hostAliases\":[{\"ip\":\"1.2.3.4\"},{\"ip\":\"1.2.3.4\"}],",
         "",
         {"299 - \"spec.hostAliases[1].ip: duplicate ip \\\"1.2.3.4\\\"\""}},
        {"\"imagePullSecrets\":[{\"name\":\"a\"},{\"name\":\"a\"},{}],",
         "",
         {"299 - \"spec.imagePullSecrets[1].name: duplicate name \\\"a\\\"\"",
          "299 - \"spec.imagePullSecrets[2].name: invalid empty name \\\"\\\"\""}},
        {"\"topologySpreadConstraints\":[{\"maxSkew\":1,\"topologyKey\":\"failure-domain.beta.kubernetes.io/zone\","
         "\"whenUnsatisfiable\":\"ScheduleAnyway\"}],",
         "",
         {"299 - \"spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated "
          "since v1.17; use \\\"topology.kubernetes.io/zone\\\" instead\"",
          "299 - \"spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no "
          "pod\""}},
        {"\"affinity\":{\"podAntiAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"topologyKey\":"
         "\"a\"}]}},",
         "",
         {"299 - \"spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a "
          "null "
          "labelSelector results in matching no pod\""}},
        {"",
         ",\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"A\",\"value\":\"$(A)2\"},{\"name\":\"A\",\"value\":"
         "\"3\"},"
         "{\"name\":\"A\",\"value\":\"$(A)\"}]",
         {"299 - \"spec.containers[0].env[2]: hides previous definition of \\\"A\\\", which may be dropped when using "
          "apply\"",
          "299 - \"spec.containers[0].env[3]: hides previous definition of \\\"A\\\", which may be dropped when using "
          "apply\""}},
        {"",
         ",\"resources\":{\"requests\":{\"memory\":\"100m\",\"cpu\":\"100m\"}}",
         {"299 - \"spec.containers[0].resources.requests[memory]: fractional byte value \\\"100m\\\" is invalid, must "
          "be "
          "an integer\""}},
        {"",
         ",\"ports\":[{\"containerPort\":80,\"hostIP\":\"127.0.0.1\"},{\"containerPort\":80,\"protocol\":\"UDP\"},"
         "{\"containerPort\":80,\"hostPort\":8080}]",
         {"299 - \"spec.containers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 "
          "Protocol:TCP HostIP:127.0.0.1}\"",
          "299 - \"spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[0]\""}},
        {"\"terminationGracePeriodSeconds\":30,", "", {NULL}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        cleanup_buffer struct buffer pod = {0};
        buffer_printf(
            &pod, "{\"metadata\":{\"name\":\"p%zu\"},\"spec\":{%s\"containers\":[{\"name\":\"c\",\"image\":\"i\"%s}]}}",
            i, rows[i].more, rows[i].container);
        struct answer *a = ask("POST", PODS, NULL, pod.data);
        assert_code(a, 201);
        assert_warnings(a, rows[i].warnings);
    }
    /* In a template, and again only when it changes. */
    struct answer *a =
        ask("POST", DEPLOYMENTS, NULL,
            "{\"metadata\":{\"name\":\"odd\"},\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"web\"}},"
            "\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{"
            "\"name\":\"c\",\"image\":\"i\",\"env\":[{\"name\":\"A\"},{\"name\":\"A\"}]}]}}}}");
    static const char *const hidden[] = {
        "299 - \"spec.template.spec.containers[0].env[1]: hides previous definition of \\\"A\\\"", NULL};
    static const char *const none[] = {NULL};
    assert_code(a, 201);
    assert_warnings(a, hidden);
    a = ask("PATCH", DEPLOYMENTS "/odd", "Content-Type: application/merge-patch+json\r\n",
            "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}");
    assert_code(a, 200);
    assert_warnings(a, none);
    a = ask("PATCH", DEPLOYMENTS "/odd", "Content-Type: application/merge-patch+json\r\n",
            "{\"spec\":{\"replicas\":2}}");
    assert_code(a, 200);
    assert_warnings(a, hidden);
}

static void warnings_that_do_not_fit_are_counted(void **state)
{
    (void)state;
    cleanup_buffer struct buffer body = {0};
    buffer_add_string(&body, "{\"metadata\":{\"name\":\"a\"}");
    for (int i = 0; i < 70; i++)
        buffer_printf(&body, ",\"u%d\":1", i);
    buffer_add_string(&body, "}");
    struct answer *a = ask("POST", CONFIG_MAPS, NULL, body.data);
    assert_code(a, 201);
    assert_string_equal(header(a, "Warning", 63), "299 - \"unknown field \\\"u63\\\"\"");
    assert_string_equal(header(a, "Warning", 64), "299 - \"6 more warnings are not shown\"");
    assert_null(header(a, "Warning", 65));
    /* Long ones are cut when they are too many, and only then. */
    buffer_clear(&body);
    buffer_add_string(&body, "{\"metadata\":{\"name\":\"b\"}");
    for (int i = 0; i < 5; i++)
        buffer_printf(&body, ",\"u%d%01000d\":1", i, 0);
    buffer_add_string(&body, "}");
    a = ask("POST", CONFIG_MAPS, NULL, body.data);
    assert_code(a, 201);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(strlen(header(a, "Warning", i)), strlen("299 - \"\"") + 256 + 1);
    assert_null(header(a, "Warning", 5));
}

static void who_comes_too_early_is_told_when_to_come_back(void **state)
{
    (void)state;
    struct answer *a = ask("GET", CONFIG_MAPS "?resourceVersion=1000000000", NULL, NULL);
    assert_code(a, 504);
    assert_field(a, "details/retryAfterSeconds", "1");
    assert_string_equal(header(a, "Retry-After", 0), "1");
    a = ask("GET", CONFIG_MAPS "/none", NULL, NULL);
    assert_code(a, 404);
    assert_null(header(a, "Retry-After", 0));
}

static void a_dry_run_answers_and_changes_nothing(void **state)
{
    (void)state;
    struct answer *a = ask("POST", CONFIG_MAPS "?dryRun=All", NULL, "{\"metadata\":{\"name\":\"a\"}}");
    assert_code(a, 201);
    assert_code(ask("GET", CONFIG_MAPS "/a", NULL, NULL), 404);
    make_config_map("a", "1");
    a = ask("PATCH", CONFIG_MAPS "/a?dryRun=All", "Content-Type: application/merge-patch+json\r\n",
            "{\"data\":{\"key\":\"2\"}}");
    assert_field(a, "data/key", "2");
    a = ask("DELETE", CONFIG_MAPS "/a?dryRun=All", NULL, NULL);
    assert_code(a, 200);
    a = ask("DELETE", CONFIG_MAPS "/a", NULL,
            "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"dryRun\":[\"All\"]}");
    assert_code(a, 200);
    a = ask("GET", CONFIG_MAPS "/a", NULL, NULL);
    assert_field(a, "data/key", "1");
    a = ask("POST", CONFIG_MAPS "?dryRun=Some", NULL, "{\"metadata\":{\"name\":\"b\"}}");
    assert_status(a, 422, "Invalid",
                  "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported "
                  "values: \"All\"");
}

static void delete_takes_options_in_body_and_query(void **state)
{
    (void)state;
    make_config_map("a", "1");
    struct answer *a = ask("DELETE", CONFIG_MAPS "/a", NULL,
                           "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"preconditions\":{\"uid\":\"other\"}}");
    assert_code(a, 409);
    assert_field(a, "reason", "Conflict");
    make_pod("p", "n", "[{\"name\":\"c\",\"image\":\"i\"}]");
    a = ask("DELETE", PODS "/p?gracePeriodSeconds=60", NULL, NULL);
    assert_code(a, 200);
    assert_field(a, "metadata/deletionGracePeriodSeconds", "60");
    a = ask("DELETE", PODS "/p", NULL, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":20}");
    assert_field(a, "metadata/deletionGracePeriodSeconds", "20");
    a = ask("DELETE", PODS "/p", YAML, "gracePeriodSeconds: 0\n");
    assert_code(a, 200);
    assert_code(ask("GET", PODS "/p", NULL, NULL), 404);
    /* Clients name the version of the object's own group. */
    make(DEPLOYMENTS, DEPLOYMENT);
    a = ask("DELETE", DEPLOYMENTS "/web", NULL,
            "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"apps/v1\",\"propagationPolicy\":\"Background\"}");
    assert_code(a, 200);
    a = ask("DELETE", CONFIG_MAPS "/a?gracePeriodSeconds=soon", NULL, NULL);
    assert_code(a, 400);
    a = ask("DELETE", CONFIG_MAPS "/a?propagationPolicy=Sideways", NULL, NULL);
    assert_code(a, 422);
    a = ask("DELETE", CONFIG_MAPS "/a", NULL, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}");
    assert_code(a, 400);
    assert_code(ask("GET", CONFIG_MAPS "/a", NULL, NULL), 200);
}

static void a_body_of_another_kind_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *message;
    } cases[] = {
        {"{\"kind\":\"Secret\",\"apiVersion\":\"v1\"}", "Secret in version \"v1\" cannot be handled as a ConfigMap: "
                                                        "converting (v1.Secret) to (core.ConfigMap): unknown "
                                                        "conversion"},
        {"{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\"}",
         "Deployment in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Deployment) to "
         "(core.ConfigMap): "
         "unknown conversion"},
        {"{\"kind\":\"Nothing\"}",
         "Nothing in version \"v1\" cannot be handled as a ConfigMap: no kind \"Nothing\" is registered for version "
         "\"v1\" in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\""},
        {"{\"kind\":\"ConfigMap\",\"apiVersion\":\"apps/v1\"}",
         "the API version in the data (apps/v1) does not match the expected API version (v1)"},
    };
    struct answer *a;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_status(ask("POST", CONFIG_MAPS, NULL, cases[i].body), 400, "BadRequest", cases[i].message);
    a = ask("POST", CONFIG_MAPS, NULL, "{\"metadata\":{\"name\":\"a\",\"namespace\":\"elsewhere\"}}");
    assert_status(a, 400, "BadRequest",
                  "the namespace of the provided object does not match the namespace sent on the request");
    a = ask("PUT", CONFIG_MAPS "/a", NULL, "{\"metadata\":{\"name\":\"b\"}}");
    assert_status(a, 400, "BadRequest", "the name of the object (b) does not match the name on the URL (a)");
}

static void conflicts_and_doubles_are_409(void **state)
{
    (void)state;
    make_config_map("a", "1");
    struct answer *a = ask("POST", CONFIG_MAPS, NULL, "{\"metadata\":{\"name\":\"a\"}}");
    assert_status(a, 409, "AlreadyExists", "configmaps \"a\" already exists");
    a = ask("PUT", CONFIG_MAPS "/a", NULL, "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}}");
    assert_status(a, 409, "Conflict",
                  "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply "
                  "your changes to the latest version and try again");
}

/* ---- Lists ---- */

static void long_lists_come_in_pages(void **state)
{
    (void)state;
    char name[48], path[1024];
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof(name), "cm-%d", i);
        make_config_map(name, i % 2 ? "odd" : "even");
    }
    int seen = 0, pages = 0;
    snprintf(path, sizeof(path), CONFIG_MAPS "?limit=3");
    for (;;) {
        struct answer *a = ask("GET", path, NULL, NULL);
        assert_code(a, 200);
        pages++;
        size_t count = json_array_size(json_object_get(a->json, "items"));
        for (size_t i = 0; i < count; i++, seen++) {
            snprintf(name, sizeof(name), "items/%zu/metadata/name", i);
            assert_int_equal(field(a, name)[3], '0' + seen);
        }
        const char *go_on = field(a, "metadata/continue");
        if (!go_on)
            break;
        if (pages == 1)
            assert_field(a, "metadata/remainingItemCount", "4");
        snprintf(path, sizeof(path), CONFIG_MAPS "?limit=3&continue=%s", go_on);
    }
    assert_int_equal(seen, 7);
    assert_int_equal(pages, 3);
    assert_code(ask("GET", CONFIG_MAPS "?limit=3&continue=nonsense", NULL, NULL), 400);
    assert_code(ask("GET", CONFIG_MAPS "?limit=many", NULL, NULL), 400);
    struct answer *a = ask("GET", CONFIG_MAPS "?limit=2", TABLE, NULL);
    assert_int_equal(json_array_size(json_object_get(a->json, "rows")), 2);
    assert_non_null(field(a, "metadata/continue"));
}

static size_t count_items(const char *path)
{
    struct answer *a = ask("GET", path, NULL, NULL);
    assert_code(a, 200);
    return json_array_size(json_object_get(a->json, "items"));
}

/* The server keeps the bytes of lists that are asked for again. */
static void a_list_is_never_older_than_the_last_write(void **state)
{
    (void)state;
    char name[16];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "cm-%02d", i);
        make_config_map(name, i % 2 ? "odd" : "even");
    }
    for (int i = 0; i < 5; i++) {
        assert_int_equal(count_items(CONFIG_MAPS), 40);
        assert_int_equal(count_items("/api/v1/configmaps"), 40);
        assert_int_equal(count_items("/api/v1/namespaces/kube-system/configmaps"), 0);
        assert_int_equal(count_items(CONFIG_MAPS "?labelSelector=app%3Dodd"), 20);
    }
    for (int i = 0; i < 10; i++) {
        cleanup_free char *patch = mem_printf("{\"data\":{\"key\":\"%d\"}}", i);
        struct answer *a = ask("PATCH", CONFIG_MAPS "/cm-07", "Content-Type: application/merge-patch+json\r\n", patch);
        cleanup_free char *version = mem_string(field(a, "metadata/resourceVersion"));
        for (int k = 0; k < 3; k++) {
            a = ask("GET", k % 2 ? CONFIG_MAPS : "/api/v1/configmaps", NULL, NULL);
            assert_field(a, "items/7/metadata/resourceVersion", version);
            assert_field(a, "metadata/resourceVersion", version);
        }
    }
    /* A write to another resource changes the list's revision and nothing else. */
    make_pod("p", "", "[{\"name\":\"c\",\"image\":\"i\"}]");
    struct answer *a = ask("GET", PODS "/p", NULL, NULL);
    cleanup_free char *version = mem_string(field(a, "metadata/resourceVersion"));
    assert_field(ask("GET", CONFIG_MAPS, NULL, NULL), "metadata/resourceVersion", version);
    assert_code(ask("DELETE", CONFIG_MAPS "/cm-07", NULL, NULL), 200);
    assert_int_equal(count_items(CONFIG_MAPS), 39);
    assert_int_equal(count_items("/api/v1/configmaps?resourceVersion=0"), 39);
    assert_code(ask("HEAD", CONFIG_MAPS, NULL, NULL), 200);
}

static void selectors_choose(void **state)
{
    (void)state;
    make_config_map("a", "x");
    make_config_map("b", "y");
    static const struct {
        const char *query;
        size_t count;
    } lists[] = {{"labelSelector=app%3Dx", 1},
                 {"labelSelector=app+in+(x,y)", 2},
                 {"labelSelector=%21app", 0},
                 {"labelSelector=", 2},
                 {"fieldSelector=metadata.name%3Db", 1},
                 {"fieldSelector=metadata.name!%3Db&labelSelector=app%3Dy", 0}};
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        char path[256];
        snprintf(path, sizeof(path), CONFIG_MAPS "?%s", lists[i].query);
        struct answer *a = ask("GET", path, NULL, NULL);
        assert_code(a, 200);
        assert_int_equal(json_array_size(json_object_get(a->json, "items")), lists[i].count);
    }
    static const char *const bad[] = {"labelSelector=%3D%3D", "fieldSelector=data.key%3D1", "fieldSelector=nonsense"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        char path[256];
        snprintf(path, sizeof(path), CONFIG_MAPS "?%s", bad[i]);
        struct answer *a = ask("GET", path, NULL, NULL);
        assert_code(a, 400);
        assert_field(a, "reason", "BadRequest");
    }
}

static void large_lists_are_compressed_when_asked_for(void **state)
{
    (void)state;
    cleanup_free char *value = mem_zero(1, 100001);
    memset(value, 'v', 100000);
    char name[16];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "big-%d", i);
        cleanup_free char *body = mem_printf("{\"metadata\":{\"name\":\"%s\"},\"data\":{\"key\":\"%s\"}}", name, value);
        make(CONFIG_MAPS, body);
    }
    struct answer *a = ask("GET", CONFIG_MAPS, NULL, NULL);
    size_t size = a->body.size;
    assert_non_null(a->json);
    a = ask("GET", CONFIG_MAPS, "Accept-Encoding: gzip\r\n", NULL);
    assert_string_equal(header(a, "Content-Encoding", 0), "gzip");
    assert_true(a->body.size < size / 10);
    cleanup_free char *out = mem_alloc(size + 1);
    z_stream z = {.next_in = (unsigned char *)a->body.data,
                  .avail_in = (unsigned)a->body.size,
                  .next_out = (unsigned char *)out,
                  .avail_out = (unsigned)size + 1};
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, size);
    inflateEnd(&z);
}

/* ---- Bad input ---- */

static void malformed_bodies_are_400(void **state)
{
    (void)state;
    cleanup_buffer struct buffer deep = {0};
    for (int i = 0; i < 100; i++)
        buffer_add_string(&deep, "{\"metadata\":");
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "nonsense",
        "{\"metadata\":{\"name\":\"a\"}} trailing",
        "{\"metadata\":{\"name\":5}}",
        "{\"metadata\":[]}",
        "{\"data\":{\"a\":1}}",
        "{\"metadata\":{\"name\":\"\xff\xfe\"}}",
        "{\"metadata\":{\"name\":\"a\",\"creationTimestamp\":\"yesterday\"}}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct answer *a = ask("POST", CONFIG_MAPS, NULL, bad[i]);
        if (a->code != 400 && a->code != 422)
            fail_msg("%s: %d %s", bad[i], a->code, a->body.data);
        assert_field(a, "kind", "Status");
        assert_non_null(field(a, "message"));
    }
    assert_code(ask("POST", CONFIG_MAPS, NULL, deep.data), 400);
    assert_code(ask("POST", CONFIG_MAPS, YAML, "a: &a [*a, *a]\n"), 400);
    assert_code(ask("PATCH", CONFIG_MAPS "/a", "Content-Type: application/merge-patch+json\r\n", "{"), 404);
    make_config_map("a", "1");
    assert_code(ask("PATCH", CONFIG_MAPS "/a", "Content-Type: application/merge-patch+json\r\n", "{"), 400);
    assert_code(ask("PATCH", CONFIG_MAPS "/a", "Content-Type: application/json-patch+json\r\n", "{}"), 400);
    assert_code(ask("DELETE", CONFIG_MAPS "/a", NULL, "{"), 400);
}

static void deep_nesting_does_no_harm(void **state)
{
    (void)state;
    cleanup_buffer struct buffer b = {0};
    buffer_add_string(&b, "{\"metadata\":{\"name\":\"a\"},\"extra\":");
    for (int i = 0; i < 99; i++)
        buffer_add_string(&b, "[");
    for (int i = 0; i < 99; i++)
        buffer_add_string(&b, "]");
    buffer_add_string(&b, "}");
    struct answer *a = ask("POST", CONFIG_MAPS, NULL, b.data);
    assert_code(a, 201);
    buffer_clear(&b);
    buffer_add_string(&b, "{\"metadata\":{\"name\":\"b\"},\"extra\":");
    for (int i = 0; i < 100000; i++)
        buffer_add_string(&b, "[");
    assert_code(ask("POST", CONFIG_MAPS, NULL, b.data), 400);
}

static void a_body_that_is_too_large_is_413(void **state)
{
    (void)state;
    size_t size = 4 * 1024 * 1024;
    cleanup_free char *body = mem_zero(1, size + 1);
    memset(body, ' ', size);
    struct connection *c = connect_as_admin();
    struct answer *a = ask_on(c, "POST", CONFIG_MAPS, NULL, body);
    assert_code(a, 413);
    assert_field(a, "reason", "RequestEntityTooLarge");
    disconnect(c);
    /* One that is nearly too large is read, and what it holds is judged. */
    size = 3 * 1024 * 1024 - 100;
    body[size] = 0;
    memcpy(body, "{\"metadata\":{\"name\":\"a\"}}", 25);
    assert_code(ask("POST", CONFIG_MAPS, NULL, body), 201);
}

static void queries_of_any_kind_are_survived(void **state)
{
    (void)state;
    static const char *const paths[] = {
        CONFIG_MAPS "?limit=99999999999999999999",
        CONFIG_MAPS "?limit=-1",
        CONFIG_MAPS "?resourceVersion=99999999999999999999999999",
        CONFIG_MAPS "?resourceVersion=x",
        CONFIG_MAPS "?resourceVersionMatch=Exact",
        CONFIG_MAPS "?continue=%00",
        CONFIG_MAPS "?%zz&&==&a=b;c",
        CONFIG_MAPS "/%2e%2e%2f",
        CONFIG_MAPS "/UPPER_case",
        "//api//v1//pods",
        "/api/v1/namespaces//pods",
    };
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        struct answer *a = ask("GET", paths[i], NULL, NULL);
        if (a->code < 200 || a->code > 504 || a->code == 500)
            fail_msg("%s: %d %s", paths[i], a->code, a->body.data);
    }
}

#define test(f) cmocka_unit_test_teardown(f, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(verbs_do_what_they_say),
        test(a_list_is_of_its_kind_and_its_items_name_theirs),
        test(collections_are_deleted_by_selector),
        test(subresources_are_served),
        test(bindings_bind_the_pod_that_they_name),
        test(tables_are_given_when_asked_for),
        test(metadata_is_given_when_asked_for),
        test(bodies_of_other_types_are_refused),
        test(managers_of_fields_are_checked_and_apply_patches_refused),
        test(yaml_is_taken_like_json),
        test(people_get_indented_json),
        test(the_anonymous_get_health_and_version_only),
        test(paths_that_lead_nowhere_are_404),
        test(methods_that_a_path_does_not_take_are_405),
        test(unknown_fields_are_warned_of_refused_or_ignored),
        test(keys_that_yaml_sets_twice_are_warned_of_refused_or_ignored),
        test(each_warning_is_given_once_and_of_changes_only),
        test(what_is_odd_about_a_pod_is_said_as_upstream_does),
        test(warnings_that_do_not_fit_are_counted),
        test(who_comes_too_early_is_told_when_to_come_back),
        test(a_dry_run_answers_and_changes_nothing),
        test(delete_takes_options_in_body_and_query),
        test(a_body_of_another_kind_is_refused),
        test(conflicts_and_doubles_are_409),
        test(long_lists_come_in_pages),
        test(a_list_is_never_older_than_the_last_write),
        test(selectors_choose),
        test(large_lists_are_compressed_when_asked_for),
        test(malformed_bodies_are_400),
        test(deep_nesting_does_no_harm),
        test(a_body_that_is_too_large_is_413),
        test(queries_of_any_kind_are_survived),
    };
    return cmocka_run_group_tests(tests, api_start, api_stop);
}
