/* Which addresses of load balancers this node answers for. An event marks the Services that it concerns; one deferred
 * call per turn looks at those again:
 *
 *     services   "namespace/name" -> struct balanced, of the Services that have addresses of the pool
 *     ready      the names of nodes that are ready; when they change, all of `services` are marked
 */
#include "network/balancer.h"

#include <stdlib.h>
#include <string.h>

#include "api/load_balancer.h"
#include "api/node_status.h"
#include "base/cleanup.h"
#include "base/env.h"
#include "base/map.h"
#include "base/text.h"
#include "base/vector.h"
#include "network/announce_packet.h"
#include "network/endpoint_slices.h"

/* What a Service contributes. */
struct balanced {
    bool local;                          /* only nodes that have endpoints count */
    VECTOR(struct ip_address) announced; /* those of its addresses that are this node's */
};

struct balancer {
    struct env *env;
    struct informer *services, *slices, *nodes;
    int slices_by_service;
    const char *node_name;
    const struct address_ranges *pool;
    balancer_announce announce;
    void *context;
    struct map dirty, balanced, ready;
    bool changed; /* what is to be announced is not what was announced */
    bool arranged, freed;
};

/* ---- Events ---- */

static void flush(void *context);

static void arrange(struct balancer *b)
{
    if (!b->arranged) {
        b->arranged = true;
        env_defer(b->env, flush, b);
    }
}

static void mark(struct balancer *b, const char *key)
{
    map_set(&b->dirty, key, NULL);
    arrange(b);
}

/* Its addresses of the pool, if it is a load balancer of ours. */
static const struct load_balancer_ingress_array *ingress_of(const struct service *service)
{
    static const struct load_balancer_ingress_array none;
    return load_balancer_is_ours(service) ? &service->status.load_balancer.ingress : &none;
}

static void service_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct balancer *b = context;
    cleanup_free char *key = mem_printf("%s/%s", object->meta->namespace, object->meta->name);
    (void)change, (void)old;
    if (map_has(&b->balanced, key) || ingress_of(object->value)->count)
        mark(b, key);
}

static void slice_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct balancer *b = context;
    const char *name = endpoint_slice_service(object);
    (void)change, (void)old;
    if (!name)
        return;
    cleanup_free char *key = mem_printf("%s/%s", object->meta->namespace, name);
    const struct balanced *known = map_get(&b->balanced, key);
    if (known && known->local)
        mark(b, key);
}

static void node_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct balancer *b = context;
    bool ready = change != INFORMER_DELETED && node_is_ready(object->value);
    (void)old;
    if (ready == map_has(&b->ready, object->meta->name))
        return;
    if (ready)
        map_set(&b->ready, object->meta->name, NULL);
    else
        map_remove(&b->ready, object->meta->name);
    for (struct map_slot *s = NULL; (s = map_next(&b->balanced, s));)
        map_set(&b->dirty, s->key, NULL);
    arrange(b);
}

/* ---- Who answers ---- */

struct candidates {
    struct balancer *balancer;
    struct map seen; /* names of nodes */
    VECTOR(const char *) nodes;
};

static bool add_slice(void *context, struct object *object)
{
    struct candidates *c = context;
    const struct endpoint_slice *slice = object->value;
    for (size_t i = 0; i < slice->endpoints.count; i++) {
        const struct endpoint *e = &slice->endpoints.items[i];
        if (text_empty(e->node_name) || !endpoint_condition(e->conditions.ready, true) ||
            !map_has(&c->balancer->ready, e->node_name) || map_has(&c->seen, e->node_name))
            continue;
        map_set(&c->seen, e->node_name, NULL);
        vector_push(&c->nodes, e->node_name);
    }
    return true;
}

static void add_nodes(struct candidates *c, const char *key, bool local)
{
    struct balancer *b = c->balancer;
    if (local)
        informer_each_indexed(b->slices, b->slices_by_service, key, add_slice, c);
    for (struct map_slot *s = NULL; !local && (s = map_next(&b->ready, s));)
        vector_push(&c->nodes, s->key);
}

static void free_balanced(struct balanced *one)
{
    if (one)
        vector_free(&one->announced);
    free(one);
}

/* NULL: the Service has no address that is announced by anybody. */
static struct balanced *look_at(struct balancer *b, const char *key)
{
    const char *slash = strchr(key, '/');
    cleanup_free char *namespace = mem_string_n(key, (size_t)(slash - key));
    struct object *object = informer_get(b->services, namespace, slash + 1);
    const struct service *service = object ? object->value : NULL;
    if (!service || !ingress_of(service)->count)
        return NULL;
    const struct load_balancer_ingress_array *ingress = ingress_of(service);
    struct balanced *made = mem_zero(1, sizeof(*made));
    struct candidates c = {.balancer = b};
    made->local = text_equal(service->spec.external_traffic_policy, "Local");
    add_nodes(&c, key, made->local);
    for (size_t i = 0; i < ingress->count; i++) {
        struct ip_address address;
        if (ip_address_parse(ingress->items[i].ip, &address) && address_ranges_contain(b->pool, ingress->items[i].ip) &&
            text_equal(announce_owner(&address, c.nodes.items, c.nodes.count), b->node_name))
            vector_push(&made->announced, address);
    }
    vector_free(&c.nodes);
    map_free(&c.seen);
    return made;
}

static bool same_addresses(const struct balanced *a, const struct balanced *b)
{
    size_t count = a ? a->announced.count : 0;
    bool same = count == (b ? b->announced.count : 0);
    for (size_t i = 0; same && i < count; i++)
        same = ip_address_equal(&a->announced.items[i], &b->announced.items[i]);
    return same;
}

static void announce_all(struct balancer *b)
{
    VECTOR(struct ip_address) all = {0};
    for (struct map_slot *s = NULL; (s = map_next(&b->balanced, s));) {
        const struct balanced *one = s->value;
        for (size_t i = 0; i < one->announced.count; i++)
            vector_push(&all, one->announced.items[i]);
    }
    b->announce(b->context, all.items, all.count);
    vector_free(&all);
}

static void flush(void *context)
{
    struct balancer *b = context;
    b->arranged = false;
    if (b->freed) {
        free(b);
        return;
    }
    if (!informer_synced(b->services) || !informer_synced(b->slices) || !informer_synced(b->nodes))
        return;
    for (struct map_slot *s = NULL; (s = map_next(&b->dirty, s));) {
        struct balanced *made = look_at(b, s->key);
        struct balanced *old = made ? map_set(&b->balanced, s->key, made) : map_remove(&b->balanced, s->key);
        b->changed |= !same_addresses(made, old);
        free_balanced(old);
    }
    map_free(&b->dirty);
    if (b->changed)
        announce_all(b);
    b->changed = false;
}

/* ---- */

struct balancer *balancer_new(struct client *client, struct informer_set *informers, const char *node_name,
                              const struct address_ranges *pool, balancer_announce announce, void *context)
{
    struct balancer *b = mem_zero(1, sizeof(*b));
    b->env = client->env;
    b->node_name = node_name;
    b->pool = pool;
    b->announce = announce;
    b->context = context;
    b->services = informer_set_get(informers, &api_resources[API_SERVICES]);
    b->slices = informer_set_get(informers, &api_resources[API_ENDPOINTSLICES]);
    b->nodes = informer_set_get(informers, &api_resources[API_NODES]);
    b->slices_by_service = informer_add_index(b->slices, endpoint_slice_service_key);
    informer_add_handler(b->services, service_changed, b);
    informer_add_handler(b->slices, slice_changed, b);
    informer_add_handler(b->nodes, node_changed, b);
    return b;
}

void balancer_free(struct balancer *b)
{
    if (!b)
        return;
    for (struct map_slot *s = NULL; (s = map_next(&b->balanced, s));)
        free_balanced(s->value);
    map_free(&b->balanced);
    map_free(&b->dirty);
    map_free(&b->ready);
    b->freed = true;
    if (!b->arranged)
        free(b);
}
