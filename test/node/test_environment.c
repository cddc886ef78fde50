/* The environment of a container, from manifests as users write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "node/environment.h"

/* A pod, two services, a ConfigMap and a Secret of its namespace. */
struct world {
    struct arena *arena;
    struct object *pod, *config, *secret, *redis, *kubernetes;
    struct environment_source source;
    struct environment environment;
    struct error err;
};

static struct object *read_object(enum api_resource_index index, const char *json)
{
    struct error err;
    struct object *o = object_from_json(&api_resources[index], json, strlen(json), &err);
    if (!o)
        fail_msg("%s", err.text);
    return o;
}

static struct object *config_map(void *context, const char *name)
{
    struct world *w = context;
    return strcmp(name, "config") == 0 ? w->config : NULL;
}

static struct object *secret(void *context, const char *name)
{
    struct world *w = context;
    return strcmp(name, "secret") == 0 ? w->secret : NULL;
}

static void services(void *context, const char *namespace, void (*visit)(void *visitor, const struct service *service),
                     void *visitor)
{
    struct world *w = context;
    if (strcmp(namespace, "default") == 0)
        visit(visitor, w->kubernetes->value);
    else
        visit(visitor, w->redis->value);
}

static void open_world(struct world *w, const char *container)
{
    w->arena = arena_new(0);
    char *pod = arena_printf(w->arena,
                             "{\"metadata\":{\"name\":\"p\",\"namespace\":\"team\",\"uid\":\"u-1\",\"labels\":{\"app\":"
                             "\"x\"}},\"spec\":{\"nodeName\":\"n1\",\"containers\":[%s]}}",
                             container);
    w->pod = read_object(API_PODS, pod);
    w->config = read_object(API_CONFIGMAPS, "{\"metadata\":{\"name\":\"config\"},\"data\":{\"A\":\"1\",\"B\":\"2\"}}");
    w->secret = read_object(API_SECRETS, "{\"metadata\":{\"name\":\"secret\"},\"data\":{\"key\":\"c2VjcmV0\"}}");
    w->redis = read_object(API_SERVICES, "{\"metadata\":{\"name\":\"redis-primary\",\"namespace\":\"team\"},\"spec\":{"
                                         "\"clusterIP\":\"10.96.0.11\",\"ports\":[{\"name\":\"db\",\"port\":6379,"
                                         "\"protocol\":\"TCP\"}]}}");
    w->kubernetes = read_object(API_SERVICES, "{\"metadata\":{\"name\":\"kubernetes\",\"namespace\":\"default\"},"
                                              "\"spec\":{\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"name\":\"https\","
                                              "\"port\":443}]}}");
    w->source = (struct environment_source){.pod = w->pod->value,
                                            .pod_ip = "10.244.0.7",
                                            .host_ip = "10.89.0.1",
                                            .node_cpu_milli = 2000,
                                            .node_memory = INT64_C(4) << 30,
                                            .config_map = config_map,
                                            .secret = secret,
                                            .services = services,
                                            .context = w};
}

static int build(struct world *w)
{
    const struct pod *pod = w->pod->value;
    return environment_build(w->arena, &w->source, &pod->spec.containers.items[0], &w->environment, &w->err);
}

static void close_world(struct world *w)
{
    object_unref(w->pod);
    object_unref(w->config);
    object_unref(w->secret);
    object_unref(w->redis);
    object_unref(w->kubernetes);
    arena_free(w->arena);
}

static void expect(struct world *w, const char *name, const char *value)
{
    const char *got = environment_get(&w->environment, name);
    if (!value) {
        assert_null(got);
        return;
    }
    assert_non_null(got);
    assert_string_equal(got, value);
}

static void values_refer_to_those_before_them(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, "{\"name\":\"c\",\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"value\":\"$(A)-$(C)-$$(A)\"},"
                   "{\"name\":\"C\",\"value\":\"late\"},{\"name\":\"A\",\"value\":\"again\"}]}");
    assert_int_equal(build(&w), 0);
    expect(&w, "B", "1-$(C)-$(A)");
    expect(&w, "A", "again");
    assert_string_equal(environment_expand(w.arena, &w.environment, "$(C) costs 5$ or $(nothing) $(", NULL),
                        "late costs 5$ or $(nothing) $(");
    close_world(&w);
}

static void all_that_a_path_refers_to_has_to_be_there(void **state)
{
    struct world w;
    struct error err;
    (void)state;
    open_world(&w, "{\"name\":\"c\",\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"EMPTY\",\"value\":\"\"}]}");
    assert_int_equal(build(&w), 0);
    assert_string_equal(environment_expand_path(w.arena, &w.environment, "x/$(A)/$$(B)", &err), "x/1/$(B)");
    assert_null(environment_expand_path(w.arena, &w.environment, "$(Z)/$(A)/$(EMPTY)/$(Z)", &err));
    assert_string_equal(err.text, "missing value for EMPTY, Z");
    close_world(&w);
}

static void what_no_kernel_would_take_is_refused(void **state)
{
    struct world w;
    struct buffer json = {0};
    (void)state;
    buffer_add_string(&json, "{\"name\":\"c\",\"env\":[{\"name\":\"V0\",\"value\":\"0123456789abcdef\"}");
    for (int i = 1; i < 40; i++)
        buffer_printf(&json, ",{\"name\":\"V%d\",\"value\":\"$(V%d)$(V%d)$(V%d)$(V%d)\"}", i, i - 1, i - 1, i - 1, i - 1);
    buffer_add_string(&json, "]}");
    open_world(&w, json.data);
    assert_true(build(&w) < 0);
    assert_string_equal(w.err.text, "environment variable V7: more than 131072 bytes when it is expanded");
    close_world(&w);
    buffer_free(&json);
}

static void a_million_references_that_are_none_are_read_once(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, "{\"name\":\"c\",\"env\":[]}");
    assert_int_equal(build(&w), 0);
    char *text = arena_alloc(w.arena, ENVIRONMENT_VALUE_MAX);
    for (size_t i = 0; i + 2 < ENVIRONMENT_VALUE_MAX; i += 2)
        memcpy(text + i, "$(", 2);
    assert_string_equal(environment_expand(w.arena, &w.environment, text, NULL), text);
    close_world(&w);
}

static void references_to_config_maps_secrets_fields_and_resources_are_resolved(void **state)
{
    struct world w;
    (void)state;
    open_world(
        &w,
        "{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":\"1500m\"},\"requests\":{\"memory\":\"100Mi\"}},"
        "\"envFrom\":[{\"prefix\":\"P_\",\"configMapRef\":{\"name\":\"config\"}},{\"secretRef\":{\"name\":\"none\","
        "\"optional\":true}}],\"env\":["
        "{\"name\":\"KEY\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"secret\",\"key\":\"key\"}}},"
        "{\"name\":\"NONE\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"config\",\"key\":\"Z\",\"optional\":true}}},"
        "{\"name\":\"IP\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}},"
        "{\"name\":\"APP\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels['app']\"}}},"
        "{\"name\":\"NODE\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"spec.nodeName\"}}},"
        "{\"name\":\"CPU\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.cpu\"}}},"
        "{\"name\":\"MILLI\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.cpu\",\"divisor\":\"1m\"}}},"
        "{\"name\":\"MEMORY\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.memory\",\"divisor\":\"1Mi\"}}},"
        "{\"name\":\"REQUEST\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"requests.memory\"}}}]}");
    assert_int_equal(build(&w), 0);
    expect(&w, "P_A", "1");
    expect(&w, "P_B", "2");
    expect(&w, "KEY", "secret");
    expect(&w, "NONE", NULL);
    expect(&w, "IP", "10.244.0.7");
    expect(&w, "APP", "x");
    expect(&w, "NODE", "n1");
    expect(&w, "CPU", "2"); /* rounded up */
    expect(&w, "MILLI", "1500");
    expect(&w, "MEMORY", "4096"); /* no limit: what the node has */
    expect(&w, "REQUEST", "104857600");
    close_world(&w);
}

static void services_are_announced_as_upstream_announces_them(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, "{\"name\":\"c\"}");
    assert_int_equal(build(&w), 0);
    expect(&w, "REDIS_PRIMARY_SERVICE_HOST", "10.96.0.11");
    expect(&w, "REDIS_PRIMARY_SERVICE_PORT", "6379");
    expect(&w, "REDIS_PRIMARY_SERVICE_PORT_DB", "6379");
    expect(&w, "REDIS_PRIMARY_PORT", "tcp://10.96.0.11:6379");
    expect(&w, "REDIS_PRIMARY_PORT_6379_TCP", "tcp://10.96.0.11:6379");
    expect(&w, "REDIS_PRIMARY_PORT_6379_TCP_PROTO", "tcp");
    expect(&w, "REDIS_PRIMARY_PORT_6379_TCP_PORT", "6379");
    expect(&w, "REDIS_PRIMARY_PORT_6379_TCP_ADDR", "10.96.0.11");
    expect(&w, "KUBERNETES_SERVICE_HOST", "10.96.0.1");
    expect(&w, "KUBERNETES_SERVICE_PORT", "443");
    close_world(&w);
}

static void a_reference_to_nothing_is_named_in_upstreams_words(void **state)
{
    static const struct {
        const char *from, *text;
    } cases[] = {
        {"\"configMapKeyRef\":{\"name\":\"gone\",\"key\":\"k\"}", "configmap \"gone\" not found"},
        {"\"configMapKeyRef\":{\"name\":\"config\",\"key\":\"k\"}", "couldn't find key k in ConfigMap team/config"},
        {"\"secretKeyRef\":{\"name\":\"gone\",\"key\":\"k\"}", "secret \"gone\" not found"},
        {"\"secretKeyRef\":{\"name\":\"secret\",\"key\":\"k\"}", "couldn't find key k in Secret team/secret"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world w;
        char container[512];
        snprintf(container, sizeof(container), "{\"name\":\"c\",\"env\":[{\"name\":\"A\",\"valueFrom\":{%s}}]}",
                 cases[i].from);
        open_world(&w, container);
        assert_int_equal(build(&w), -1);
        assert_string_equal(w.err.text, cases[i].text);
        close_world(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_refer_to_those_before_them),
        cmocka_unit_test(all_that_a_path_refers_to_has_to_be_there),
        cmocka_unit_test(what_no_kernel_would_take_is_refused),
        cmocka_unit_test(a_million_references_that_are_none_are_read_once),
        cmocka_unit_test(references_to_config_maps_secrets_fields_and_resources_are_resolved),
        cmocka_unit_test(services_are_announced_as_upstream_announces_them),
        cmocka_unit_test(a_reference_to_nothing_is_named_in_upstreams_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
