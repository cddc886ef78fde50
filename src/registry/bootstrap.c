/* What upstream's API server creates by itself at start: four namespaces, and the service default/kubernetes
 * with the address that the API answers on; and, at the very first start, the default StorageClass. Creating what is there already is fine; the address is brought up
 * to date. Steps run one after the other, each when the one before is durable. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/storage.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "registry/private.h"

static const char *const namespaces[] = {"default", "kube-system", "kube-public", "kube-node-lease"};

struct bootstrap {
    struct client *client;
    char *api_address;
    int api_port;
    const char *service_address; /* in arena: the first of the range */
    struct arena *arena;
    size_t step;
    void (*done)(void *context);
    void *context;
};

static void next(struct bootstrap *bootstrap);

static void complain(const struct client_result *result)
{
    if (!client_ok(result) && result->code != 409)
        log_error("bootstrap: %s", result->status->message);
}

static void stepped(void *context, const struct client_result *result)
{
    struct bootstrap *bootstrap = context;
    complain(result);
    bootstrap->step++;
    next(bootstrap);
}

static void set_pairs(struct arena *arena, struct string_map *map, const char *const pairs[][2], size_t count)
{
    map->items = arena_alloc(arena, count * sizeof(*map->items));
    for (size_t i = 0; i < count; i++)
        map->items[map->count++] = (struct string_pair){pairs[i][0], pairs[i][1]};
}

static void create_namespace(struct bootstrap *bootstrap, const char *name)
{
    struct namespace namespace = {.kind = "Namespace", .api_version = "v1", .metadata.name = name};
    client_create(bootstrap->client, &api_resources[API_NAMESPACES], NULL, NULL, &namespace, stepped, bootstrap);
}

/* The service is there already, from an earlier start: it may lead to another port now. */
static void service_created(void *context, const struct client_result *result)
{
    struct bootstrap *bootstrap = context;
    if (result->code != 409) {
        stepped(bootstrap, result);
        return;
    }
    char patch[128];
    snprintf(patch, sizeof(patch), "{\"spec\":{\"ports\":[{\"port\":443,\"targetPort\":%d}]}}", bootstrap->api_port);
    client_patch(bootstrap->client, &api_resources[API_SERVICES], NULL, "default", "kubernetes", PATCH_STRATEGIC,
                 patch, stepped, bootstrap);
}

static void create_service(struct bootstrap *bootstrap)
{
    static const char *const labels[][2] = {{"component", "apiserver"}, {"provider", "kubernetes"}};
    struct service_port port = {
        .name = "https",
        .protocol = "TCP",
        .port = 443,
        .target_port = {.kind = INT_OR_STRING_INT, .number = bootstrap->api_port},
    };
    struct service service = {
        .kind = "Service",
        .api_version = "v1",
        .metadata = {.name = "kubernetes", .namespace = "default"},
        .spec = {.type = "ClusterIP", .cluster_ip = bootstrap->service_address, .ports = {&port, 1}},
    };
    set_pairs(bootstrap->arena, &service.metadata.labels, labels, ARRAY_COUNT(labels));
    client_create(bootstrap->client, &api_resources[API_SERVICES], "default", NULL, &service, service_created,
                  bootstrap);
}

/* Writes it whether or not it exists: endpoints are created by an update without a resourceVersion. */
static void put_endpoints(struct bootstrap *bootstrap)
{
    static const char *const labels[][2] = {{"endpointslice.kubernetes.io/skip-mirror", "true"}};
    struct endpoint_address address = {.ip = bootstrap->api_address};
    struct endpoint_port port = {.name = "https", .protocol = "TCP", .port = bootstrap->api_port};
    struct endpoint_subset subset = {.addresses = {&address, 1}, .ports = {&port, 1}};
    struct endpoints endpoints = {
        .kind = "Endpoints",
        .api_version = "v1",
        .metadata = {.name = "kubernetes", .namespace = "default"},
        .subsets = {&subset, 1},
    };
    set_pairs(bootstrap->arena, &endpoints.metadata.labels, labels, ARRAY_COUNT(labels));
    client_update(bootstrap->client, &api_resources[API_ENDPOINTS], NULL, NULL, &endpoints, stepped, bootstrap);
}

static void fill_slice(struct bootstrap *bootstrap, struct endpoint_slice *slice)
{
    static const char *const labels[][2] = {{"kubernetes.io/service-name", "kubernetes"}};
    struct arena *arena = bootstrap->arena;
    struct endpoint *endpoint = arena_alloc(arena, sizeof(*endpoint));
    endpoint->addresses.items = arena_alloc(arena, sizeof(char *));
    endpoint->addresses.items[endpoint->addresses.count++] = bootstrap->api_address;
    endpoint->conditions.ready = opt_bool(true);
    struct discovery_endpoint_port *port = arena_alloc(arena, sizeof(*port));
    port->name = "https";
    port->protocol = "TCP";
    port->port = opt_int32(bootstrap->api_port);
    *slice = (struct endpoint_slice){
        .kind = "EndpointSlice",
        .api_version = "discovery.k8s.io/v1",
        .metadata = {.name = "kubernetes", .namespace = "default"},
        .address_type = "IPv4",
        .endpoints = {endpoint, 1},
        .ports = {port, 1},
    };
    slice->metadata.labels = (struct string_map){0};
    set_pairs(arena, &slice->metadata.labels, labels, ARRAY_COUNT(labels));
}

static void slice_created(void *context, const struct client_result *result)
{
    struct bootstrap *bootstrap = context;
    if (result->code != 409) {
        stepped(bootstrap, result);
        return;
    }
    struct endpoint_slice slice;
    fill_slice(bootstrap, &slice);
    client_update(bootstrap->client, &api_resources[API_ENDPOINTSLICES], NULL, NULL, &slice, stepped, bootstrap);
}

static void put_slice(struct bootstrap *bootstrap)
{
    struct endpoint_slice slice;
    fill_slice(bootstrap, &slice);
    client_create(bootstrap->client, &api_resources[API_ENDPOINTSLICES], "default", NULL, &slice, slice_created,
                  bootstrap);
}

static void class_created(void *context, const struct client_result *result)
{
    complain(result);
    next(context);
}

/* Only at the first start, which is told by the namespaces that come after it: a user may delete it for good. */
static void create_storage_class(struct bootstrap *bootstrap)
{
    static const char *const annotations[][2] = {{STORAGE_DEFAULT_CLASS, "true"}};
    struct storage_class class = {
        .kind = "StorageClass",
        .api_version = "storage.k8s.io/v1",
        .metadata.name = STORAGE_LOCAL_CLASS,
        .provisioner = STORAGE_LOCAL_PROVISIONER,
        .reclaim_policy = "Delete",
        .volume_binding_mode = "WaitForFirstConsumer",
        .allow_volume_expansion = opt_bool(true),
    };
    set_pairs(bootstrap->arena, &class.metadata.annotations, annotations, ARRAY_COUNT(annotations));
    client_create(bootstrap->client, &api_resources[API_STORAGECLASSES], NULL, NULL, &class, class_created, bootstrap);
}

static void finish(struct bootstrap *bootstrap)
{
    void (*done)(void *context) = bootstrap->done;
    void *context = bootstrap->context;
    registry_client_free(bootstrap->client);
    free(bootstrap->api_address);
    arena_free(bootstrap->arena);
    free(bootstrap);
    if (done)
        done(context);
}

static void next(struct bootstrap *bootstrap)
{
    static void (*const steps[])(struct bootstrap *) = {create_service, put_endpoints, put_slice, finish};
    if (bootstrap->step < ARRAY_COUNT(namespaces))
        create_namespace(bootstrap, namespaces[bootstrap->step]);
    else
        steps[bootstrap->step - ARRAY_COUNT(namespaces)](bootstrap);
}

/* The first address of the service range, which the service kubernetes has. */
static const char *first_address(struct arena *arena, const char *cidr)
{
    char network[INET_ADDRSTRLEN] = "", text[INET_ADDRSTRLEN];
    struct in_addr address;
    if (sscanf(cidr, "%15[0-9.]", network) != 1 || inet_pton(AF_INET, network, &address) != 1)
        return NULL;
    address.s_addr = htonl(ntohl(address.s_addr) + 1);
    return arena_string(arena, inet_ntop(AF_INET, &address, text, sizeof(text)));
}

void registry_bootstrap(struct registry *registry, const char *api_address, int api_port, void (*done)(void *context),
                        void *context)
{
    static const char *const groups[] = {"system:masters", NULL};
    struct client_user user = {.name = "system:apiserver", .groups = groups};
    struct bootstrap *bootstrap = mem_zero(1, sizeof(*bootstrap));
    bootstrap->client = registry_client(registry, &user);
    bootstrap->api_address = mem_string(api_address);
    bootstrap->api_port = api_port;
    bootstrap->arena = arena_new(0);
    bootstrap->service_address = first_address(bootstrap->arena, registry->service_cidr);
    bootstrap->done = done;
    bootstrap->context = context;
    if (store_get(registry->store, &api_resources[API_NAMESPACES], NULL, namespaces[0]))
        next(bootstrap);
    else
        create_storage_class(bootstrap);
}
