/* What does not change: health, version, discovery, OpenAPI; and the figures of /metrics. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/openapi.h"
#include "api_fixture.h"
#include "base/cleanup.h"

#define AGGREGATED                                                                                                     \
    "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"                                    \
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json\r\n"

static void health_and_version_are_told(void **state)
{
    (void)state;
    struct answer *a = ask("GET", "/healthz", NULL, NULL);
    assert_string_equal(a->body.data, "ok");
    a = ask("GET", "/readyz?verbose", NULL, NULL);
    assert_string_equal(a->body.data, "[+]ping ok\n[+]log ok\n[+]store ok\nreadyz check passed\n");
    a = ask("GET", "/livez?verbose&exclude=ping&exclude=b&exclude=store&exclude=a&exclude=b", NULL, NULL);
    assert_string_equal(a->body.data, "[+]ping excluded: ok\n[+]log ok\n[+]store excluded: ok\n"
                                      "warn: some health checks cannot be excluded: no matches for \"a\",\"b\"\n"
                                      "livez check passed\n");
    a = ask("GET", "/readyz/store?verbose", NULL, NULL);
    assert_string_equal(a->body.data, "ok");
    static const char *const unknown[] = {"/livez/nothing", "/healthz/", "/readyz/ping/x"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        a = ask("GET", unknown[i], NULL, NULL);
        assert_code(a, 404);
        assert_string_equal(a->body.data, "404 page not found\n");
    }
    a = ask("GET", "/version", NULL, NULL);
    assert_field(a, "major", "1");
    assert_field(a, "minor", "35");
    assert_non_null(field(a, "gitVersion"));
    assert_code(ask("POST", "/version", NULL, "{}"), 404);
}

static void discovery_has_both_forms(void **state)
{
    (void)state;
    struct answer *a = ask("GET", "/api", NULL, NULL);
    assert_field(a, "kind", "APIVersions");
    assert_field(a, "versions/0", "v1");
    a = ask("GET", "/apis", NULL, NULL);
    assert_field(a, "kind", "APIGroupList");
    a = ask("GET", "/apis/apps", NULL, NULL);
    assert_field(a, "kind", "APIGroup");
    a = ask("GET", "/apis/apps/v1", NULL, NULL);
    assert_field(a, "kind", "APIResourceList");
    assert_field(a, "groupVersion", "apps/v1");
    a = ask("GET", "/api/v1/", NULL, NULL);
    assert_field(a, "groupVersion", "v1");
    for (int i = 0; i < 2; i++) {
        a = ask("GET", i ? "/api" : "/apis", AGGREGATED, NULL);
        assert_field(a, "kind", "APIGroupDiscoveryList");
        assert_field(a, "apiVersion", "apidiscovery.k8s.io/v2");
        assert_string_equal(header(a, "Content-Type", 0),
                            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
        assert_string_equal(header(a, "Vary", 0), "Accept");
    }
    a = ask("GET", "/apis", "Accept: application/json;as=APIGroupDiscoveryList;v=v2beta1;g=apidiscovery.k8s.io\r\n",
            NULL);
    assert_field(a, "apiVersion", "apidiscovery.k8s.io/v2beta1");
    a = ask("GET", "/", NULL, NULL);
    assert_non_null(strstr(a->body.data, "\"/apis/apps/v1\""));
    assert_code(ask("GET", "/apis/none.example.com", NULL, NULL), 404);
    assert_code(ask("GET", "/apis/apps/v7", NULL, NULL), 404);
}

static void an_unchanged_document_is_not_sent_again(void **state)
{
    (void)state;
    static const char *const paths[] = {"/openapi/v2", "/openapi/v3", "/openapi/v3/apis/apps/v1", "/apis"};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        struct answer *a = ask("GET", paths[i], i == 3 ? AGGREGATED : NULL, NULL);
        assert_code(a, 200);
        cleanup_free char *line = mem_printf("%sIf-None-Match: %s\r\n", i == 3 ? AGGREGATED : "", header(a, "Etag", 0));
        a = ask("GET", paths[i], line, NULL);
        assert_code(a, 304);
        assert_int_equal(a->body.size, 0);
        assert_code(ask("GET", paths[i], "If-None-Match: \"other\"\r\n", NULL), 200);
    }
}

static void openapi_comes_as_json_protobuf_and_compressed(void **state)
{
    (void)state;
    struct answer *a = ask("GET", "/openapi/v2", NULL, NULL);
    assert_string_equal(header(a, "Content-Type", 0), "application/json");
    assert_field(a, "swagger", "2.0");
    size_t size = a->body.size;
    a = ask("GET", "/openapi/v2", "Accept-Encoding: gzip\r\n", NULL);
    assert_string_equal(header(a, "Content-Encoding", 0), "gzip");
    assert_true(a->body.size < size / 3);
    a = ask("GET", "/openapi/v2", "Accept: " OPENAPI_V2_ACCEPT_OLD "\r\n", NULL);
    assert_string_equal(header(a, "Content-Type", 0), OPENAPI_V2_ANSWER_OLD);
    assert_memory_equal(a->body.data, "\n\x03" "2.0", 5);
    a = ask("GET", "/openapi/v2", "Accept: " OPENAPI_V2_ACCEPT "\r\n", NULL);
    assert_string_equal(header(a, "Content-Type", 0), OPENAPI_V2_ACCEPT);
    a = ask("GET", "/openapi/v3", NULL, NULL);
    const char *path = field(a, "paths/apis|apps|v1/serverRelativeURL");
    assert_non_null(path);
    a = ask("GET", path, NULL, NULL);
    assert_code(a, 200);
    assert_field(a, "openapi", "3.0.0");
}

static void metrics_count_what_was_asked(void **state)
{
    (void)state;
    make_config_map("a", "1");
    assert_code(ask("GET", CONFIG_MAPS "/none", NULL, NULL), 404);
    struct connection *c = watch(CONFIG_MAPS "?watch=1&timeoutSeconds=1");
    assert_event(c, "ADDED", "a");
    assert_end(c);
    disconnect(c);
    api_wait_requests(0); /* a watch is counted when all of it is over */
    struct answer *a = ask("GET", "/metrics", NULL, NULL);
    assert_string_equal(header(a, "Content-Type", 0), "text/plain; version=0.0.4; charset=utf-8");
    static const char *const lines[] = {
        "# TYPE apiserver_request_total counter\n",
        "apiserver_request_total{code=\"201\",group=\"\",resource=\"configmaps\",subresource=\"\",verb=\"POST\","
        "version=\"v1\"} 1\n",
        "apiserver_request_total{code=\"404\",group=\"\",resource=\"configmaps\",subresource=\"\",verb=\"GET\","
        "version=\"v1\"} 1\n",
        "apiserver_request_duration_seconds_bucket{group=\"\",resource=\"configmaps\",subresource=\"\",verb=\"POST\","
        "version=\"v1\",le=\"+Inf\"} 1\n",
        "apiserver_request_duration_seconds_count{group=\"\",resource=\"configmaps\",subresource=\"\",verb=\"WATCH\","
        "version=\"v1\"} 1\n",
        "\ncoracle_store_revision ",
        "\ncoracle_http_connections ",
        "\nprocess_resident_memory_bytes ",
        "\nprocess_start_time_seconds ",
    };
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++)
        if (!strstr(a->body.data, lines[i]))
            fail_msg("%s is not in %s", lines[i], a->body.data);
}

#define test(f) cmocka_unit_test_teardown(f, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(health_and_version_are_told),
        test(discovery_has_both_forms),
        test(an_unchanged_document_is_not_sent_again),
        test(openapi_comes_as_json_protobuf_and_compressed),
        test(metrics_count_what_was_asked),
    };
    return cmocka_run_group_tests(tests, api_start, api_stop);
}
