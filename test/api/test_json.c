/* The promises of the JSON codec: it reads and writes what upstream does, and complains in the same words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "api/types.h"
#include "base/cleanup.h"

static char output[8192];

/* Decodes and encodes again; on failure the text of the error. */
static const char *through(const struct api_type *type, const char *json)
{
    cleanup_arena struct arena *arena = arena_new(0);
    cleanup_buffer struct buffer out = {0};
    struct error err = {0};
    void *value = arena_alloc(arena, type->size);
    if (json_decode(type, arena, json, strlen(json), value, NULL, &err) < 0) {
        assert_int_not_equal(err.code, 0);
        snprintf(output, sizeof(output), "%s", err.text);
        return output;
    }
    json_encode(type, value, &out);
    assert_int_equal(strlen(out.data), out.size);
    snprintf(output, sizeof(output), "%s", out.data);
    return output;
}

static void a_pod_comes_out_as_upstream_writes_it(void **state)
{
    (void)state;
    assert_string_equal(
        through(
            &api_type_pod,
            " {\"apiVersion\":\"v1\", "
            "\"kind\":\"Pod\",\n\"metadata\":{\"name\":\"a\",\"labels\":{\"z\":\"1\",\"app\":\"x\"},"
            "\"creationTimestamp\":null},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i<>&\\u2028\","
            "\"resources\":{\"limits\":{\"cpu\":0.5,\"memory\":\"1024Mi\"}},\"env\":[{\"name\":\"A\",\"value\":\"\"}],"
            "\"livenessProbe\":{\"httpGet\":{\"port\":\"http\"}},\"readinessProbe\":{\"tcpSocket\":{\"port\":80}}}],"
            "\"terminationGracePeriodSeconds\":0,\"hostNetwork\":false}}\n"),
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"labels\":{\"app\":\"x\",\"z\":\"1\"},\"name\":\"a\"},"
        "\"spec\":{\"containers\":[{\"env\":[{\"name\":\"A\"}],\"image\":\"i\\u003c\\u003e\\u0026\\u2028\","
        "\"livenessProbe\":{\"httpGet\":{\"port\":\"http\"}},\"name\":\"c\",\"readinessProbe\":{\"tcpSocket\":{"
        "\"port\":80}},"
        "\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"1Gi\"}}}],\"terminationGracePeriodSeconds\":0},"
        "\"status\":{}}");
}

struct text_case {
    const struct api_type *type;
    const char *json;
    const char *expected;
};

static void a_wrong_value_gets_upstreams_words(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {&api_type_deployment, "{\"spec\":{\"replicas\":\"3\"}}",
         "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"},
        {&api_type_deployment, "{\"spec\":{\"replicas\":3.5}}",
         "json: cannot unmarshal number 3.5 into Go struct field DeploymentSpec.spec.replicas of type int32"},
        {&api_type_deployment, "{\"spec\":{\"replicas\":3000000000}}",
         "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"},
        {&api_type_deployment, "{\"spec\":[]}",
         "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec"},
        {&api_type_deployment,
         "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"env\":[{\"name\":\"a\",\"value\":1}]}]}}}}",
         "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type "
         "string"},
        {&api_type_pod, "{\"spec\":{\"containers\":{}}}",
         "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"},
        {&api_type_pod, "{\"spec\":{\"containers\":[{\"command\":\"sh\"}]}}",
         "json: cannot unmarshal string into Go struct field Container.spec.containers.command of type []string"},
        {&api_type_pod, "{\"metadata\":{\"labels\":{\"a\":true}}}",
         "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string"},
        {&api_type_pod, "{\"metadata\":{\"labels\":[]}}",
         "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string"},
        {&api_type_pod, "{\"spec\":{\"hostNetwork\":\"true\"}}",
         "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool"},
        {&api_type_pod, "{\"spec\":{\"restartPolicy\":true}}",
         "json: cannot unmarshal bool into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy"},
        {&api_type_pod, "{\"spec\":{\"containers\":[{\"securityContext\":{\"capabilities\":{\"add\":\"X\"}}}]}}",
         "json: cannot unmarshal string into Go struct field "
         "Capabilities.spec.containers.securityContext.capabilities.add of type []v1.Capability"},
        {&api_type_pod, "[]", "json: cannot unmarshal array into Go value of type v1.Pod"},
        {&api_type_pod, "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1x\"}}}]}}",
         "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"},
        {&api_type_pod, "{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1ki\"}}}]}}",
         "unable to parse quantity's suffix"},
        {&api_type_pod, "{\"metadata\":{\"creationTimestamp\":\"yesterday\"}}",
         "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\""},
        {&api_type_pod, "{\"metadata\":{\"creationTimestamp\":\"2025-13-01T00:00:00Z\"}}",
         "parsing time \"2025-13-01T00:00:00Z\": month out of range"},
        {&api_type_pod, "{\"metadata\":{\"creationTimestamp\":\"9999-12-31T23:59:59-00:01\"}}",
         "year outside of range [0,9999]"},
        {&api_type_pod, "{\"metadata\":{\"creationTimestamp\":\"0000-01-01T00:00:00+00:01\"}}",
         "year outside of range [0,9999]"},
        {&api_type_lease, "{\"spec\":{\"renewTime\":\"9999-12-31T23:59:59.999999-00:01\"}}",
         "year outside of range [0,9999]"},
        {&api_type_pod, "{\"metadata\":{\"creationTimestamp\":7}}",
         "json: cannot unmarshal number into Go value of type string"},
        {&api_type_lease, "{\"spec\":{\"renewTime\":\"2025-01-01T00:00:00Z\"}}",
         "parsing time \"2025-01-01T00:00:00Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"Z\" as "
         "\".000000\""},
        {&api_type_service, "{\"spec\":{\"ports\":[{\"targetPort\":1.5}]}}",
         "json: cannot unmarshal number 1.5 into Go value of type int32"},
        {&api_type_secret, "{\"data\":{\"a\":\"YQ=\"}}", "illegal base64 data at input byte 3"},
        {&api_type_secret, "{\"data\":{\"a\":\"Y*==\"}}", "illegal base64 data at input byte 1"},
        {&api_type_secret, "{\"data\":{\"a\":1}}",
         "json: cannot unmarshal number into Go struct field Secret.data of type []uint8"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_string_equal(through(cases[i].type, cases[i].json), cases[i].expected);
}

static void bad_syntax_gets_the_words_of_gos_scanner(void **state)
{
    (void)state;
    static const struct {
        const char *json, *expected;
    } cases[] = {
        {"", "unexpected end of JSON input"},
        {"{", "unexpected end of JSON input"},
        {"{\"a\":\"", "unexpected end of JSON input"},
        {"{\"spec\":{}", "unexpected end of JSON input"},
        {"x", "invalid character 'x' looking for beginning of value"},
        {"{a:1}", "invalid character 'a' looking for beginning of object key string"},
        {"{\"kind\":\"Pod\",}", "invalid character '}' looking for beginning of object key string"},
        {"{\"kind\" \"Pod\"}", "invalid character '\"' after object key"},
        {"{\"kind\":\"Pod\" \"a\"}", "invalid character '\"' after object key:value pair"},
        {"{\"x\":[1 2]}", "invalid character '2' after array element"},
        {"{} {}", "invalid character '{' after top-level value"},
        {"{\"kind\":\"a\nb\"}", "invalid character '\\n' in string literal"},
        {"{\"kind\":\"\\x\"}", "invalid character 'x' in string escape code"},
        {"{\"kind\":\"\\u12g4\"}", "invalid character 'g' in \\u hexadecimal character escape"},
        {"{\"kind\":nul}", "invalid character '}' in literal null (expecting 'l')"},
        {"{\"x\":-}", "invalid character '}' in numeric literal"},
        {"{\"x\":1.}", "invalid character '}' after decimal point in numeric literal"},
        {"{\"x\":1e}", "invalid character '}' in exponent of numeric literal"},
        {"{\"x\":01}", "invalid character '1' after object key:value pair"},
        {"{\"spec\":{\"replicas\":\"x\"}", "unexpected end of JSON input"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_string_equal(through(&api_type_deployment, cases[i].json), cases[i].expected);
    char deep[1024] = "{\"x\":";
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        strcat(deep, "[");
    assert_string_equal(through(&api_type_pod, deep), "exceeded max depth");
}

static void problems_are_reported_by_path(void **state)
{
    (void)state;
    static const char json[] = "{\"kind\":\"Deployment\",\"Kind\":\"x\",\"spec\":{\"foo\":{\"a\":[1,{}]},\"replicas\":"
                               "1,\"replicas\":2,\"template\":{"
                               "\"spec\":{\"containers\":[{},{\"imag\":null,\"env\":[{\"nam\":1}]}]}}},\"metadata\":{"
                               "\"labels\":{\"b\":\"1\",\"a\":"
                               "\"1\",\"a\":\"2\"},\"labels\":{\"b\":\"3\"}}}";
    static const struct {
        enum json_problem_kind kind;
        const char *path;
    } expected[] = {
        {JSON_UNKNOWN_FIELD, "Kind"},
        {JSON_UNKNOWN_FIELD, "spec.foo"},
        {JSON_DUPLICATE_FIELD, "spec.replicas"},
        {JSON_UNKNOWN_FIELD, "spec.template.spec.containers[1].imag"},
        {JSON_UNKNOWN_FIELD, "spec.template.spec.containers[1].env[0].nam"},
        {JSON_DUPLICATE_FIELD, "metadata.labels.a"},
        {JSON_DUPLICATE_FIELD, "metadata.labels"},
    };
    cleanup_arena struct arena *arena = arena_new(0);
    struct deployment d = {0};
    struct json_report report = {0};
    assert_int_equal(json_decode(&api_type_deployment, arena, json, sizeof(json) - 1, &d, &report, NULL), 0);
    assert_int_equal(report.count, ARRAY_COUNT(expected));
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        assert_int_equal(report.items[i].kind, expected[i].kind);
        assert_string_equal(report.items[i].path, expected[i].path);
    }
    assert_int_equal(d.spec.replicas.value, 2);
    assert_int_equal(d.metadata.labels.count, 2);
    assert_string_equal(string_map_get(&d.metadata.labels, "a"), "2");
    assert_string_equal(string_map_get(&d.metadata.labels, "b"), "3");
}

static void reports_are_bounded(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    cleanup_buffer struct buffer json = {0};
    struct pod pod = {0};
    struct json_report report = {0};
    for (int i = 0; i < JSON_PROBLEM_MAX + 7; i++)
        buffer_printf(&json, "%s\"x%d\":1", i ? "," : "{", i);
    buffer_add_string(&json, "}");
    assert_int_equal(json_decode(&api_type_pod, arena, json.data, json.size, &pod, &report, NULL), 0);
    assert_int_equal(report.count, JSON_PROBLEM_MAX);
    assert_int_equal(report.dropped, 7);
}

static void memory_is_bounded(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    cleanup_buffer struct buffer json = {0};
    struct pod pod = {0};
    struct error err = {0};
    buffer_add_string(&json, "{\"spec\":{\"containers\":[{}");
    for (int i = 0; i < 900000; i++)
        buffer_add_string(&json, ",{}");
    buffer_add_string(&json, "]}}");
    assert_int_equal(json_decode(&api_type_pod, arena, json.data, json.size, &pod, NULL, &err), -1);
    assert_int_equal(err.code, E2BIG);
}

static void strings_become_valid_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *json, *expected;
    } cases[] = {
        {"{\"kind\":\"a\\u00e4\\ud83d\\ude00\\/\\t\\u0001\"}", "a\xc3\xa4\xf0\x9f\x98\x80/\t\001"},
        {"{\"kind\":\"\\ud83d\\u0041\"}", "\xef\xbf\xbd"
                                          "A"},
        {"{\"kind\":\"\\ude00\"}", "\xef\xbf\xbd"},
        {"{\"kind\":\"\xff\xc3\xa4\xc3\"}", "\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd"},
        {"{\"kind\":\"\xed\xa0\x80\"}", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    cleanup_arena struct arena *arena = arena_new(0);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct pod pod = {0};
        assert_int_equal(json_decode(&api_type_pod, arena, cases[i].json, strlen(cases[i].json), &pod, NULL, NULL), 0);
        assert_string_equal(pod.kind, cases[i].expected);
    }
    assert_string_equal(through(&api_type_pod, "{\"kind\":\"a\\u0000b\"}"),
                        "strings with a NUL character are not supported");
}

static void null_unsets_what_can_be_unset(void **state)
{
    (void)state;
    assert_string_equal(
        through(&api_type_replica_set, "{\"kind\":null,\"spec\":{\"replicas\":1,\"replicas\":null,\"selector\":null,"
                                       "\"template\":{\"spec\":{\"containers\":[null]}}},\"status\":null}"),
        "{\"metadata\":{},\"spec\":{\"selector\":null,\"template\":{\"metadata\":{},\"spec\":{\"containers\":[{"
        "\"name\":\"\",\"resources\":{}}]}}},\"status\":{\"replicas\":0}}");
    assert_string_equal(through(&api_type_config_map, "{\"data\":{\"a\":null},\"binaryData\":{\"b\":null}}"),
                        "{\"metadata\":{},\"binaryData\":{\"b\":\"\"},\"data\":{\"a\":\"\"}}");
}

static void raw_json_is_kept_without_blanks(void **state)
{
    (void)state;
    assert_string_equal(
        through(&api_type_managed_fields_entry, "{\"fieldsV1\": {\"f:a\" : [ 1.50, \" \\\" x <\", null ] } }"),
        "{\"fieldsV1\":{\"f:a\":[1.50,\" \\\" x \\u003c\",null]}}");
}

static void the_epoch_is_an_instant_and_the_year_1_is_none(void **state)
{
    (void)state;
    static const char *const none = "{\"exitCode\":128,\"finishedAt\":null,\"startedAt\":null}";
    static const char *const epoch = "{\"exitCode\":128,\"finishedAt\":null,\"startedAt\":\"1970-01-01T00:00:00Z\"}";
    const struct api_type *type = &api_type_container_state_terminated;
    assert_string_equal(through(type, epoch), epoch);
    assert_string_equal(through(type, "{\"exitCode\":128,\"startedAt\":\"1970-01-01T01:00:00.5+01:00\"}"), epoch);
    assert_string_equal(through(type, "{\"exitCode\":128,\"startedAt\":\"0001-01-01T00:00:00Z\"}"), none);
    assert_string_equal(through(type, "{\"exitCode\":128,\"startedAt\":\"0001-01-01T01:00:00.5+01:00\"}"), none);
    assert_string_equal(through(type, "{\"exitCode\":128,\"startedAt\":\"0001-01-01T00:00:00+01:00\"}"),
                        "{\"exitCode\":128,\"finishedAt\":null,\"startedAt\":\"0000-12-31T23:00:00Z\"}");
    assert_string_equal(through(type, "{\"exitCode\":128,\"startedAt\":null}"), none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_comes_out_as_upstream_writes_it),
        cmocka_unit_test(a_wrong_value_gets_upstreams_words),
        cmocka_unit_test(bad_syntax_gets_the_words_of_gos_scanner),
        cmocka_unit_test(problems_are_reported_by_path),
        cmocka_unit_test(reports_are_bounded),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(strings_become_valid_utf8),
        cmocka_unit_test(null_unsets_what_can_be_unset),
        cmocka_unit_test(raw_json_is_kept_without_blanks),
        cmocka_unit_test(the_epoch_is_an_instant_and_the_year_1_is_none),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
