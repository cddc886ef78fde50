/* What of Accept is answered with: JSON or YAML, objects or tables, by the quality of what is named. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/yaml.h"
#include "api_fixture.h"
#include "base/cleanup.h"

#define YAML "application/yaml"
#define JSON "application/json"
#define TABLE ";as=Table;v=v1;g=meta.k8s.io"

static struct answer *ask_for(const char *path, const char *accept)
{
    char line[512];
    snprintf(line, sizeof(line), "Accept: %s\r\n", accept);
    return ask("GET", path, line, NULL);
}

/* The field of an answer that is YAML. */
static void assert_yaml_(struct answer *a, const char *path, const char *wanted, const char *file, int line)
{
    cleanup_buffer struct buffer json = {0};
    struct error err;
    _assert_string_equal(header(a, "Content-Type", 0), YAML, file, line);
    if (yaml_to_json(a->body.data, a->body.size, &json, NULL, &err) < 0)
        fail_msg("%s: %s", err.text, a->body.data);
    json_decref(a->json);
    a->json = json_loadb(json.data, json.size, 0, NULL);
    assert_field_(a, path, wanted, file, line);
}
#define assert_yaml(a, path, wanted) assert_yaml_(a, path, wanted, __FILE__, __LINE__)

static void what_cannot_be_written_is_refused_before_it_is_done(void **state)
{
    (void)state;
    struct answer *a = ask("POST", CONFIG_MAPS, "Accept: text/html\r\n", "{\"metadata\":{\"name\":\"a\"}}");
    assert_status(a, 406, "NotAcceptable",
                  "only the following media types are accepted: application/json, application/yaml");
    assert_code(ask("GET", CONFIG_MAPS "/a", NULL, NULL), 404);
    static const char *const none[] = {"application/json" TABLE "x",
                                       "application/json;as=Table;v=v1",
                                       "application/json;v=v1",
                                       "application/json;as=Table;g=meta.k8s.io",
                                       "application/yaml;stream=watch",
                                       "application",
                                       "text/*",
                                       "json"};
    for (size_t i = 0; i < ARRAY_COUNT(none); i++)
        assert_code(ask_for(CONFIG_MAPS, none[i]), 406);
}

static void the_first_of_what_is_preferred_is_given(void **state)
{
    (void)state;
    static const struct {
        const char *accept, *type, *kind;
    } cases[] = {
        {"*/*", JSON, "ConfigMapList"},
        {"*", JSON, "ConfigMapList"},
        {"application/*", JSON, "ConfigMapList"},
        {"application/json;q=0.9, */*", JSON, "ConfigMapList"},
        {"application/vnd.kubernetes.protobuf, application/json", JSON, "ConfigMapList"},
        {"application/json;as=Table;v=v9;g=meta.k8s.io,application/json", JSON, "ConfigMapList"},
        {"text/html, application/json;charset=utf-8", JSON, "ConfigMapList"},
        {"application/json;stream=watch", JSON, "ConfigMapList"},
        {"application/yaml", YAML, "ConfigMapList"},
        {"application/yaml, application/json", YAML, "ConfigMapList"},
        {"application/json, application/yaml", JSON, "ConfigMapList"},
        {"application/json;q=0.5, application/yaml;q=0.9", YAML, "ConfigMapList"},
        {"application/json;q=0.9,application/yaml;q=0.5", JSON, "ConfigMapList"},
        {"application/json;q=none, application/yaml;q=0.1", YAML, "ConfigMapList"},
        /* A type counts more than any type, whatever its quality. */
        {"*/*, application/yaml;q=0.1", YAML, "ConfigMapList"},
        {"application/yaml" TABLE, YAML, "Table"},
        {"application/json" TABLE ";q=0.3,application/yaml;q=0.2", JSON, "Table"},
        {"application/yaml;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", YAML, "PartialObjectMetadataList"},
        {"application/*" TABLE, JSON, "Table"},
        {"application/yaml;stream=watch" TABLE ", application/yaml", YAML, "ConfigMapList"},
    };
    make_config_map("a", "1");
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct answer *a = ask_for(CONFIG_MAPS, cases[i].accept);
        assert_code(a, 200);
        if (strcmp(header(a, "Content-Type", 0), cases[i].type) != 0)
            fail_msg("%s: %s", cases[i].accept, header(a, "Content-Type", 0));
        if (strcmp(cases[i].type, YAML) == 0)
            assert_yaml(a, "kind", cases[i].kind);
        else
            assert_field(a, "kind", cases[i].kind);
    }
}

static void every_kind_of_answer_comes_as_yaml(void **state)
{
    (void)state;
    struct answer *a = ask("POST", CONFIG_MAPS, "Accept: " YAML "\r\n",
                           "{\"metadata\":{\"name\":\"a\"},\"data\":{\"z\":\"1\",\"a\":\"x\\ny\\n\",\"b\":\"yes\"}}");
    assert_code(a, 201);
    static const char begin[] = "apiVersion: v1\ndata:\n  a: |\n    x\n    y\n  b: \"yes\"\n  z: \"1\"\n"
                                "kind: ConfigMap\nmetadata:\n  creationTimestamp: \"20";
    assert_memory_equal(a->body.data, begin, strlen(begin));
    assert_int_equal(a->body.data[a->body.size - 1], '\n');
    assert_yaml(a, "data/a", "x\ny\n");
    assert_yaml(ask_for(CONFIG_MAPS, YAML), "items/0/data/z", "1");
    assert_yaml(ask_for(CONFIG_MAPS "/a", YAML TABLE), "rows/0/cells/0", "a");
    assert_yaml(ask_for(CONFIG_MAPS "/a", YAML ";as=PartialObjectMetadata;v=v1;g=meta.k8s.io"), "metadata/name", "a");
    assert_yaml(ask("DELETE", CONFIG_MAPS "/a", "Accept: " YAML "\r\n", NULL), "status", "Success");
    a = ask_for(CONFIG_MAPS "/a?pretty=true", YAML);
    assert_code(a, 404);
    assert_yaml(a, "message", "configmaps \"a\" not found");
    a = ask_for("/apis/apps/v1/nothing", YAML);
    assert_code(a, 404);
    assert_yaml(a, "reason", "NotFound");
    assert_yaml(ask_for("/apis/apps/v1", YAML), "groupVersion", "apps/v1");
    assert_yaml(ask_for("/api", YAML), "kind", "APIVersions");
    a = ask_for("/version", YAML);
    assert_field(a, "major", "1");
    assert_int_equal(ask("HEAD", CONFIG_MAPS, "Accept: " YAML "\r\n", NULL)->code, 200);
}

/* A Status comes in no other form: where only a table was accepted, it is JSON. */
static void a_status_is_no_table(void **state)
{
    (void)state;
    struct answer *a = ask_for(CONFIG_MAPS "/a", YAML TABLE);
    assert_status(a, 404, "NotFound", "configmaps \"a\" not found");
    assert_string_equal(header(a, "Content-Type", 0), JSON);
    assert_yaml(ask_for(CONFIG_MAPS "/a", JSON TABLE ", " YAML), "reason", "NotFound");
}

static void a_watch_is_no_yaml(void **state)
{
    (void)state;
    static const char message[] = "only the following media types are accepted: application/json;stream=watch";
    struct answer *a = ask_for(CONFIG_MAPS "?watch=1", YAML);
    assert_code(a, 406);
    assert_yaml(a, "message", message);
    assert_yaml(a, "reason", "NotAcceptable");
    a = ask_for(CONFIG_MAPS "?watch=1", YAML TABLE ", " JSON TABLE ";q=0.5");
    assert_status(a, 406, "NotAcceptable", message);
    struct connection *c = watch_with(CONFIG_MAPS "?watch=1", "Accept: " YAML ";q=0.5, " JSON "\r\n");
    make_config_map("a", "1");
    assert_event(c, "ADDED", "a");
    disconnect(c);
}

#define test(f) cmocka_unit_test_teardown(f, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(what_cannot_be_written_is_refused_before_it_is_done),
        test(the_first_of_what_is_preferred_is_given),
        test(every_kind_of_answer_comes_as_yaml),
        test(a_status_is_no_table),
        test(a_watch_is_no_yaml),
    };
    return cmocka_run_group_tests(tests, api_start, api_stop);
}
