/* The promise that the cluster's own service, its endpoints and its namespaces come back when they are deleted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "client/informer.h"
#include "fake_env.h"
#include "registry/registry.h"
#include "store/engine.h"

static const struct registry_bootstrap options = {.address = "192.0.2.1", .api_port = 6443, .dns_port = 53};

static struct env *env;
static struct store *store;
static struct registry *registry;
static struct client *client;
static struct informer_set *informers;
static struct registry_keeper *keeper;

static int set_up(void **state)
{
    env = fake_env_new(1767225600 * SECOND);
    store = store_new(env, engine_memory_new(env));
    registry = registry_new(env, store, &(struct registry_options){"10.96.0.0/16", "fd00:10:96::/112", 30000, 32767});
    client = registry_client(registry, NULL);
    registry_bootstrap(registry, &options, NULL, NULL);
    fake_env_settle(env);
    informers = informer_set_new(client);
    keeper = registry_keep(registry, &options, informers);
    informer_set_start(informers, NULL, NULL);
    fake_env_settle(env);
    return 0;
}

static int tear_down(void **state)
{
    informer_set_free(informers);
    registry_keeper_free(keeper);
    registry_client_free(client);
    registry_free(registry);
    store_free(store);
    fake_env_free(env);
    return 0;
}

static void check_deleted(void *context, const struct client_result *result)
{
    assert_int_equal(result->code, 200);
    (*(int *)context)++;
}

static void what_is_deleted_of_the_clusters_own_comes_back(void **state)
{
    static const struct {
        enum api_resource_index resource;
        const char *namespace, *name;
    } own[] = {
        {API_SERVICES, "default", "kubernetes"},       {API_ENDPOINTS, "default", "kubernetes"},
        {API_ENDPOINTSLICES, "default", "kubernetes"}, {API_SERVICES, "kube-system", "kube-dns"},
        {API_ENDPOINTS, "kube-system", "kube-dns"},    {API_ENDPOINTSLICES, "kube-system", "kube-dns"},
    };
    const char *uids[ARRAY_COUNT(own)];
    cleanup_arena struct arena *arena = arena_new(0);
    int deleted = 0;
    for (size_t i = 0; i < ARRAY_COUNT(own); i++) {
        const struct api_resource *resource = &api_resources[own[i].resource];
        uids[i] = arena_string(arena, store_get(store, resource, own[i].namespace, own[i].name)->meta->uid);
        client_delete(client, resource, own[i].namespace, own[i].name, NULL, -1, NULL, check_deleted, &deleted);
    }
    fake_env_settle(env);
    assert_int_equal(deleted, ARRAY_COUNT(own));
    for (size_t i = 0; i < ARRAY_COUNT(own); i++) {
        const struct object *object = store_get(store, &api_resources[own[i].resource], own[i].namespace, own[i].name);
        assert_non_null(object);
        assert_string_not_equal(object->meta->uid, uids[i]);
    }
    const struct service *api = store_get(store, &api_resources[API_SERVICES], "default", "kubernetes")->value;
    assert_string_equal(api->spec.cluster_ip, "10.96.0.1");
}

static void the_namespace_of_leases_comes_back_and_others_do_not(void **state)
{
    const struct api_resource *namespaces = &api_resources[API_NAMESPACES];
    static const char *const names[] = {"kube-node-lease", "mine"};
    struct namespace mine = {.metadata.name = "mine"};
    int deleted = 0;
    client_create(client, namespaces, NULL, NULL, &mine, NULL, NULL);
    fake_env_settle(env);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        client_delete(client, namespaces, NULL, names[i], NULL, -1, NULL, check_deleted, &deleted);
        fake_env_settle(env);
        struct arena *arena = arena_new(0);
        struct namespace *namespace = object_copy(arena, store_get(store, namespaces, NULL, names[i]));
        namespace->spec.finalizers.count = 0;
        client_update(client, namespaces, "finalize", arena, namespace, check_deleted, &deleted);
        fake_env_settle(env);
    }
    assert_int_equal(deleted, 4);
    const struct object *leases = store_get(store, namespaces, NULL, "kube-node-lease");
    assert_non_null(leases);
    assert_int_equal(leases->meta->deletion_timestamp, 0);
    assert_null(store_get(store, namespaces, NULL, "mine"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_deleted_of_the_clusters_own_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_namespace_of_leases_comes_back_and_others_do_not, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
