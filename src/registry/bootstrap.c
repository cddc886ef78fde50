/* What upstream's API server creates by itself at start: the default roles (default_roles.c), two priority classes, four
 * namespaces, and the service default/kubernetes with the address that the API answers on; beside it, as every
 * installation has it, the service of the cluster's DNS. At the very first start the default StorageClass, too. Creating
 * what is there already is fine; address and ports are brought up to date. What one phase makes is asked for at once;
 * the next begins when all of it is durable. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/admission.h"
#include "api/storage.h"
#include "api/well_known.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "registry/private.h"

static const char *const namespaces[] = {"default", "kube-system", "kube-public", "kube-node-lease"};

enum target { TO_API, TO_DNS };

#define LABELS_MAX 3

/* A service without a selector, whose one endpoint is this process. Its ports and those of the endpoint differ in the
 * number alone. */
struct own_service {
    const char *namespace, *name;
    enum target target;
    uint32_t address; /* its place in the service range */
    size_t port_count;
    struct {
        const char *name, *protocol;
        int number;
    } ports[2];
    const char *labels[LABELS_MAX][2];
};

static const struct own_service own_services[] = {
    {.namespace = "default",
     .name = "kubernetes",
     .target = TO_API,
     .address = 1,
     .port_count = 1,
     .ports = {{"https", "TCP", 443}},
     .labels = {{"component", "apiserver"}, {"provider", "kubernetes"}}},
    {.namespace = "kube-system",
     .name = "kube-dns",
     .target = TO_DNS,
     .address = CLUSTER_DNS_ADDRESS_INDEX,
     .port_count = 2,
     .ports = {{"dns", "UDP", 53}, {"dns-tcp", "TCP", 53}},
     .labels = {{"k8s-app", "kube-dns"}, {"kubernetes.io/cluster-service", "true"}, {"kubernetes.io/name", "CoreDNS"}}},
};

struct bootstrap {
    struct registry *registry;
    struct client *client;
    char *address;
    int target_ports[2]; /* by enum target */
    struct arena *arena;
    struct service_making {
        struct bootstrap *bootstrap;
        const struct own_service *own;
    } services[ARRAY_COUNT(own_services)];
    size_t phase, pending; /* what is still being made in the phase */
    void (*done)(void *context);
    void *context;
};

static void begin_phase(struct bootstrap *bootstrap);

static void made_one(struct bootstrap *bootstrap)
{
    if (--bootstrap->pending)
        return;
    bootstrap->phase++;
    begin_phase(bootstrap);
}

static void made(void *context, const struct client_result *result)
{
    if (!client_ok(result) && result->code != 409)
        log_error("bootstrap: %s", result->status->message);
    made_one(context);
}

static void set_pairs(struct arena *arena, struct string_map *map, const char *const pairs[][2], size_t count)
{
    map->items = arena_alloc(arena, count * sizeof(*map->items));
    for (size_t i = 0; i < count && pairs[i][0]; i++)
        map->items[map->count++] = (struct string_pair){pairs[i][0], pairs[i][1]};
}

/* An address of the service range, by its place. */
static const char *service_address(struct bootstrap *bootstrap, uint32_t place)
{
    char network[INET_ADDRSTRLEN] = "", text[INET_ADDRSTRLEN];
    struct in_addr address;
    if (sscanf(bootstrap->registry->service_cidr, "%15[0-9.]", network) != 1 ||
        inet_pton(AF_INET, network, &address) != 1)
        return NULL;
    address.s_addr = htonl(ntohl(address.s_addr) + place);
    return arena_string(bootstrap->arena, inet_ntop(AF_INET, &address, text, sizeof(text)));
}

/* ---- phases ---- */

static void roles_made(void *context)
{
    made_one(context);
}

static void make_priority_classes(struct bootstrap *bootstrap)
{
    const struct priority_class *known;
    for (size_t i = 0; (known = api_system_priority_class_at(i)); i++) {
        struct priority_class class = *known;
        bootstrap->pending++;
        client_create(bootstrap->client, &api_resources[API_PRIORITYCLASSES], NULL, NULL, &class, made, bootstrap);
    }
}

/* Only at the first start, which is told by the namespaces of a later phase: a user may delete it for good. */
static void make_storage_class(struct bootstrap *bootstrap)
{
    if (store_get(bootstrap->registry->store, &api_resources[API_NAMESPACES], NULL, namespaces[0]))
        return;
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
    bootstrap->pending++;
    client_create(bootstrap->client, &api_resources[API_STORAGECLASSES], NULL, NULL, &class, made, bootstrap);
}

static void make_roles_and_classes(struct bootstrap *bootstrap)
{
    bootstrap->pending++;
    registry_make_default_roles(bootstrap->registry, bootstrap->client, roles_made, bootstrap);
    make_storage_class(bootstrap);
    make_priority_classes(bootstrap);
}

static void make_namespaces(struct bootstrap *bootstrap)
{
    for (size_t i = 0; i < ARRAY_COUNT(namespaces); i++) {
        struct namespace namespace = {.kind = "Namespace", .api_version = "v1", .metadata.name = namespaces[i]};
        bootstrap->pending++;
        client_create(bootstrap->client, &api_resources[API_NAMESPACES], NULL, NULL, &namespace, made, bootstrap);
    }
}

static int target_port(const struct service_making *making)
{
    return making->bootstrap->target_ports[making->own->target];
}

static struct service_port *make_ports(const struct service_making *making)
{
    const struct own_service *own = making->own;
    struct service_port *ports = arena_alloc(making->bootstrap->arena, own->port_count * sizeof(*ports));
    for (size_t i = 0; i < own->port_count; i++)
        ports[i] = (struct service_port){
            .name = own->ports[i].name,
            .protocol = own->ports[i].protocol,
            .port = own->ports[i].number,
            .target_port = {.kind = INT_OR_STRING_INT, .number = target_port(making)},
        };
    return ports;
}

/* The service is there already, from an earlier start: it may lead to another port now. The list is replaced: merged
 * strategically, ports of one number are one, whatever their protocols. */
static void service_created(void *context, const struct client_result *result)
{
    struct service_making *making = context;
    const struct own_service *own = making->own;
    if (result->code != 409) {
        made(making->bootstrap, result);
        return;
    }
    cleanup_buffer struct buffer patch = {0};
    for (size_t i = 0; i < own->port_count; i++)
        buffer_printf(&patch, "%s{\"name\":\"%s\",\"port\":%d,\"protocol\":\"%s\",\"targetPort\":%d}",
                      i ? "," : "{\"spec\":{\"ports\":[", own->ports[i].name, own->ports[i].number,
                      own->ports[i].protocol, target_port(making));
    buffer_add_string(&patch, "]}}");
    client_patch(making->bootstrap->client, &api_resources[API_SERVICES], NULL, own->namespace, own->name, PATCH_MERGE,
                 patch.data, made, making->bootstrap);
}

static void create_service(struct service_making *making)
{
    struct bootstrap *bootstrap = making->bootstrap;
    const struct own_service *own = making->own;
    struct service service = {
        .kind = "Service",
        .api_version = "v1",
        .metadata = {.name = own->name, .namespace = own->namespace},
        .spec = {.type = "ClusterIP",
                 .cluster_ip = service_address(bootstrap, own->address),
                 .ports = {make_ports(making), own->port_count}},
    };
    set_pairs(bootstrap->arena, &service.metadata.labels, own->labels, LABELS_MAX);
    client_create(bootstrap->client, &api_resources[API_SERVICES], own->namespace, NULL, &service, service_created,
                  making);
}

/* Writes it whether or not it exists: endpoints are created by an update without a resourceVersion. */
static void put_endpoints(struct service_making *making)
{
    static const char *const labels[][2] = {{"endpointslice.kubernetes.io/skip-mirror", "true"}};
    struct bootstrap *bootstrap = making->bootstrap;
    const struct own_service *own = making->own;
    struct endpoint_address address = {.ip = bootstrap->address};
    struct endpoint_port *ports = arena_alloc(bootstrap->arena, own->port_count * sizeof(*ports));
    for (size_t i = 0; i < own->port_count; i++)
        ports[i] = (struct endpoint_port){
            .name = own->ports[i].name, .protocol = own->ports[i].protocol, .port = target_port(making)};
    struct endpoint_subset subset = {.addresses = {&address, 1}, .ports = {ports, own->port_count}};
    struct endpoints endpoints = {
        .kind = "Endpoints",
        .api_version = "v1",
        .metadata = {.name = own->name, .namespace = own->namespace},
        .subsets = {&subset, 1},
    };
    set_pairs(bootstrap->arena, &endpoints.metadata.labels, labels, ARRAY_COUNT(labels));
    client_update(bootstrap->client, &api_resources[API_ENDPOINTS], NULL, NULL, &endpoints, made, bootstrap);
}

static void fill_slice(const struct service_making *making, struct endpoint_slice *slice)
{
    const struct own_service *own = making->own;
    const char *const labels[][2] = {{SERVICE_NAME_LABEL, own->name}};
    struct arena *arena = making->bootstrap->arena;
    struct endpoint *endpoint = arena_alloc(arena, sizeof(*endpoint));
    endpoint->addresses.items = arena_alloc(arena, sizeof(char *));
    endpoint->addresses.items[endpoint->addresses.count++] = making->bootstrap->address;
    endpoint->conditions.ready = opt_bool(true);
    struct discovery_endpoint_port *ports = arena_alloc(arena, own->port_count * sizeof(*ports));
    for (size_t i = 0; i < own->port_count; i++) {
        ports[i].name = own->ports[i].name;
        ports[i].protocol = own->ports[i].protocol;
        ports[i].port = opt_int32(target_port(making));
    }
    *slice = (struct endpoint_slice){
        .kind = "EndpointSlice",
        .api_version = "discovery.k8s.io/v1",
        .metadata = {.name = own->name, .namespace = own->namespace},
        .address_type = "IPv4",
        .endpoints = {endpoint, 1},
        .ports = {ports, own->port_count},
    };
    set_pairs(arena, &slice->metadata.labels, labels, ARRAY_COUNT(labels));
}

static void slice_created(void *context, const struct client_result *result)
{
    struct service_making *making = context;
    if (result->code != 409) {
        made(making->bootstrap, result);
        return;
    }
    struct endpoint_slice slice;
    fill_slice(making, &slice);
    client_update(making->bootstrap->client, &api_resources[API_ENDPOINTSLICES], NULL, NULL, &slice, made,
                  making->bootstrap);
}

static void put_slice(struct service_making *making)
{
    struct endpoint_slice slice;
    fill_slice(making, &slice);
    client_create(making->bootstrap->client, &api_resources[API_ENDPOINTSLICES], slice.metadata.namespace, NULL, &slice,
                  slice_created, making);
}

static void make_services(struct bootstrap *bootstrap)
{
    static void (*const parts[])(struct service_making *) = {create_service, put_endpoints, put_slice};
    for (size_t i = 0; i < ARRAY_COUNT(own_services); i++) {
        struct service_making *making = &bootstrap->services[i];
        *making = (struct service_making){bootstrap, &own_services[i]};
        /* A service that leads nowhere is not made. */
        if (!target_port(making))
            continue;
        bootstrap->pending += ARRAY_COUNT(parts);
        for (size_t k = 0; k < ARRAY_COUNT(parts); k++)
            parts[k](making);
    }
}

static void finish(struct bootstrap *bootstrap)
{
    void (*done)(void *context) = bootstrap->done;
    void *context = bootstrap->context;
    registry_client_free(bootstrap->client);
    free(bootstrap->address);
    arena_free(bootstrap->arena);
    free(bootstrap);
    if (done)
        done(context);
}

static void begin_phase(struct bootstrap *bootstrap)
{
    static void (*const phases[])(struct bootstrap *) = {make_roles_and_classes, make_namespaces, make_services, finish};
    bool last = bootstrap->phase + 1 == ARRAY_COUNT(phases);
    bootstrap->pending = 1; /* until all is asked for */
    phases[bootstrap->phase](bootstrap);
    if (!last)
        made_one(bootstrap);
}

bool registry_is_bootstrapped(const struct object *object)
{
    const struct object_meta *meta = object->meta;
    bool namespace = object->resource->storage == API_NAMESPACES;
    for (size_t i = 0; namespace && i < ARRAY_COUNT(namespaces); i++)
        if (text_equal(meta->name, namespaces[i]))
            return true;
    for (size_t i = 0; !namespace && i < ARRAY_COUNT(own_services); i++)
        if (text_equal(meta->namespace, own_services[i].namespace) && text_equal(meta->name, own_services[i].name))
            return true;
    return false;
}

void registry_bootstrap(struct registry *registry, const struct registry_bootstrap *options,
                        void (*done)(void *context), void *context)
{
    static const char *const groups[] = {"system:masters", NULL};
    struct client_user user = {.name = "system:apiserver", .groups = groups};
    struct bootstrap *bootstrap = mem_zero(1, sizeof(*bootstrap));
    bootstrap->registry = registry;
    bootstrap->client = registry_client(registry, &user);
    bootstrap->address = mem_string(options->address);
    bootstrap->target_ports[TO_API] = options->api_port;
    bootstrap->target_ports[TO_DNS] = options->dns_port;
    bootstrap->arena = arena_new(0);
    bootstrap->done = done;
    bootstrap->context = context;
    begin_phase(bootstrap);
}
