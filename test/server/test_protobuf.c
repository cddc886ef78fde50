/* Bodies in protobuf, as kubectl sends them. */
#include <stdlib.h>
#include <string.h>

#include "api_fixture.h"
#include "base/cleanup.h"
#include "base/file.h"

#define BODY_MAX 65536
#define SERVICES "/api/v1/namespaces/default/services"
#define SCALE DEPLOYMENTS "/web/scale"

/* Folder of the bodies that kubectl sent. */
static const char *recorded;

static struct answer *send_protobuf(const char *method, const char *path, const void *body, size_t size)
{
    static struct connection *connection;
    cleanup_buffer struct buffer out = {0};
    disconnect(connection);
    connection = connect_as_admin();
    buffer_printf(&out,
                  "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/vnd.kubernetes.protobuf\r\n"
                  "Accept: application/vnd.kubernetes.protobuf,application/json\r\nContent-Length: %zu\r\n\r\n",
                  method, path, size);
    buffer_add(&out, body, size);
    send_bytes(connection, out.data, out.size);
    return read_answer(connection, false);
}

static struct answer *send_recorded(const char *path, const char *name)
{
    cleanup_buffer struct buffer body = {0};
    cleanup_free char *file = mem_printf("%s/%s.pb", recorded, name);
    struct error err = {0};
    if (file_read(file, BODY_MAX, &body, &err) < 0)
        fail_msg("%s", err.text);
    return send_protobuf("POST", path, body.data, body.size);
}

static void what_kubectl_creates_is_there(void **state)
{
    (void)state;
    struct answer *a = send_recorded(DEPLOYMENTS "?fieldValidation=Strict", "deployment");
    assert_code(a, 201);
    assert_string_equal(header(a, "Content-Type", 0), "application/json");
    assert_field(a, "kind", "Deployment");
    assert_field(a, "apiVersion", "apps/v1");
    assert_field(a, "spec/replicas", "3");
    assert_field(a, "spec/template/spec/containers/0/command", "[\"serve\",\"--verbose\"]");
    assert_field(a, "spec/strategy/rollingUpdate/maxSurge", "25%");
    a = send_recorded(CONFIG_MAPS, "configmap");
    assert_code(a, 201);
    assert_field(a, "data", "{\"a\":\"two\",\"b\":\"1\",\"text\":\"hi\\n\"}");
    assert_field(a, "binaryData", "{\"blob\":\"YQBi/w==\"}");
    a = send_recorded(SERVICES "?dryRun=All", "service");
    assert_code(a, 201);
    assert_field(a, "spec/ports/1/targetPort", "https");
}

static void subresources_and_options_are_read_too(void **state)
{
    (void)state;
    static const char scale[] = "k8s\0\x0a\x17\x0a\x0e"
                                "autoscaling/v1\x12\x05"
                                "Scale\x12\x0b\x0a\x05\x0a\x03"
                                "web\x12\x02\x08\x05";
    static const char options[] = "k8s\0\x0a\x13\x0a\x02v1\x12\x0d"
                                  "DeleteOptions\x12\x05\x2a\x03"
                                  "All";
    assert_code(send_recorded(DEPLOYMENTS, "deployment"), 201);
    struct answer *a = send_protobuf("PUT", SCALE, scale, sizeof(scale) - 1);
    assert_code(a, 200);
    assert_field(a, "kind", "Scale");
    assert_field(a, "spec/replicas", "5");
    /* A dry run. */
    assert_code(send_protobuf("DELETE", DEPLOYMENTS "/web", options, sizeof(options) - 1), 200);
    assert_code(ask("GET", DEPLOYMENTS "/web", NULL, NULL), 200);
}

static void broken_bodies_are_400(void **state)
{
    (void)state;
    assert_status(
        send_protobuf("POST", CONFIG_MAPS, "{}", 2), 400, "BadRequest",
        "the object provided is unrecognized (must be of type ConfigMap): provided data does not appear to be "
        "a protobuf message, expected prefix [107 56 115 0] ({})");
    assert_status(send_protobuf("POST", CONFIG_MAPS, "k8s\0\x12\x02\x0a\x08", 8), 400, "BadRequest",
                  "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: unexpected EOF");
    struct answer *a = send_recorded(CONFIG_MAPS, "secret");
    assert_code(a, 400);
    assert_non_null(strstr(field(a, "message"), "Secret in version \"v1\" cannot be handled as a ConfigMap"));
}

#define test(f) cmocka_unit_test_teardown(f, clean)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        test(what_kubectl_creates_is_there),
        test(subresources_and_options_are_read_too),
        test(broken_bodies_are_400),
    };
    recorded = argc > 1 ? argv[1] : "test/api/kubectl";
    return cmocka_run_group_tests(tests, api_start, api_stop);
}
