#include "network/balancer.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/env.h"
#include "base/text.h"
#include "base/vector.h"
#include "network/announce_packet.h"
#include "network/endpoint_slices.h"

struct balancer {
    struct env *env;
    struct informer *services, *slices, *nodes;
    int slices_by_service;
    const char *node_name;
    const struct address_ranges *pool;
    struct announcer *announcer;
    VECTOR(struct ip_address) said; /* what the announcer has */
    bool arranged, freed;
};

static void flush(void *context);

static void changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct balancer *b = context;
    (void)change, (void)object, (void)old;
    if (!b->arranged) {
        b->arranged = true;
        env_defer(b->env, flush, b);
    }
}

static bool is_ready(const struct node *node)
{
    for (size_t i = 0; i < node->status.conditions.count; i++)
        if (text_equal(node->status.conditions.items[i].type, "Ready"))
            return text_equal(node->status.conditions.items[i].status, "True");
    return false;
}

struct candidates {
    struct balancer *balancer;
    const char *key; /* of the service whose endpoints count; NULL: they do not */
    VECTOR(const char *) nodes;
    VECTOR(struct ip_address) addresses; /* to be announced, of all services */
};

struct local_look {
    const char *node;
    bool found;
};

static bool look_for_local(void *context, struct object *object)
{
    struct local_look *look = context;
    const struct endpoint_slice *slice = object->value;
    for (size_t i = 0; i < slice->endpoints.count && !look->found; i++) {
        const struct endpoint *e = &slice->endpoints.items[i];
        look->found = endpoint_condition(e->conditions.ready, true) && text_equal(e->node_name, look->node);
    }
    return !look->found;
}

static bool add_node(void *context, struct object *object)
{
    struct candidates *c = context;
    struct balancer *b = c->balancer;
    struct local_look look = {.node = object->meta->name};
    if (!is_ready(object->value))
        return true;
    if (c->key)
        informer_each_indexed(b->slices, b->slices_by_service, c->key, look_for_local, &look);
    if (!c->key || look.found)
        vector_push(&c->nodes, object->meta->name);
    return true;
}

static bool add_service(void *context, struct object *object)
{
    struct candidates *c = context;
    struct balancer *b = c->balancer;
    const struct service *service = object->value;
    const struct load_balancer_ingress_array *ingress = &service->status.load_balancer.ingress;
    if (!text_equal(service->spec.type, "LoadBalancer") || service->spec.load_balancer_class || !ingress->count)
        return true;
    cleanup_free char *key = text_equal(service->spec.external_traffic_policy, "Local")
                                 ? mem_printf("%s/%s", object->meta->namespace, object->meta->name)
                                 : NULL;
    c->key = key;
    c->nodes.count = 0;
    informer_each(b->nodes, NULL, add_node, c);
    for (size_t i = 0; i < ingress->count; i++) {
        struct ip_address address;
        if (!ip_address_parse(ingress->items[i].ip, &address) || !address_ranges_contain(b->pool, ingress->items[i].ip))
            continue;
        if (text_equal(announce_owner(&address, c->nodes.items, c->nodes.count), b->node_name))
            vector_push(&c->addresses, address);
    }
    return true;
}

static void flush(void *context)
{
    struct balancer *b = context;
    struct candidates c = {.balancer = b};
    b->arranged = false;
    if (b->freed) {
        free(b);
        return;
    }
    if (!informer_synced(b->services) || !informer_synced(b->slices) || !informer_synced(b->nodes))
        return;
    informer_each(b->services, NULL, add_service, &c);
    size_t size = c.addresses.count * sizeof(struct ip_address);
    if (c.addresses.count != b->said.count || (size && memcmp(c.addresses.items, b->said.items, size) != 0)) {
        announcer_set(b->announcer, c.addresses.items, c.addresses.count);
        b->said.count = 0;
        for (size_t i = 0; i < c.addresses.count; i++)
            vector_push(&b->said, c.addresses.items[i]);
    }
    vector_free(&c.nodes);
    vector_free(&c.addresses);
}

struct balancer *balancer_new(struct client *client, struct informer_set *informers, const char *node_name,
                              const struct address_ranges *pool, struct announcer *announcer)
{
    struct balancer *b = mem_zero(1, sizeof(*b));
    b->env = client->env;
    b->node_name = node_name;
    b->pool = pool;
    b->announcer = announcer;
    b->services = informer_set_get(informers, &api_resources[API_SERVICES]);
    b->slices = informer_set_get(informers, &api_resources[API_ENDPOINTSLICES]);
    b->nodes = informer_set_get(informers, &api_resources[API_NODES]);
    b->slices_by_service = informer_add_index(b->slices, endpoint_slice_service_key);
    informer_add_handler(b->services, changed, b);
    informer_add_handler(b->slices, changed, b);
    informer_add_handler(b->nodes, changed, b);
    return b;
}

void balancer_free(struct balancer *b)
{
    if (!b)
        return;
    vector_free(&b->said);
    b->freed = true;
    if (!b->arranged)
        free(b);
}
