/* The load balancer controller: gives Services of type LoadBalancer their addresses, of a pool or, without one, those
 * of the nodes, as upstream's service controller does it with a cloud. Services with a loadBalancerClass are others'.
 *
 * What is taken is kept beside the objects, in `holders`: an address of the pool is one Service's; of the nodes'
 * addresses each port is. A Service that cannot have all that it needs keeps what it has, and waits until another gives
 * something back. A node's address of which it has only some ports says so in its status, so that the node and the next
 * process know whose the others are. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/load_balancer.h"
#include "base/address_range.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/text.h"
#include "base/vector.h"
#include "control/control.h"
#include "control/controller.h"

#define FINALIZER "service.kubernetes.io/load-balancer-cleanup"
/* Addresses of one family that one Service gets of the nodes. */
#define NODE_ADDRESSES_MAX 64

struct balancers {
    struct informer *services, *nodes;
    const struct address_ranges *pool; /* NULL: the nodes' addresses */
    struct map holders;                /* "ip", or "ip/port/protocol" of a node's -> owned "namespace/name" */
    struct map waiting;                /* "namespace/name" of those that have a problem */
};

static bool wants_balancer(const struct object *object)
{
    return load_balancer_is_ours(object->value) && !object->meta->deletion_timestamp;
}

static bool has_finalizer(const struct object_meta *meta)
{
    for (size_t i = 0; i < meta->finalizers.count; i++)
        if (text_equal(meta->finalizers.items[i], FINALIZER))
            return true;
    return false;
}

/* ---- Holders ---- */

static bool is_free_for(const struct balancers *b, const char *what, const char *key)
{
    const char *holder = map_get(&b->holders, what);
    return !holder || strcmp(holder, key) == 0;
}

static void hold(struct balancers *b, const char *what, const char *key)
{
    free(map_set(&b->holders, what, mem_string(key)));
}

struct names {
    char **items;
    size_t count, capacity;
};

/* Takes everything from the Service, and tells what it was. */
static struct names release(struct balancers *b, const char *key)
{
    struct names gone = {0};
    for (struct map_slot *s = NULL; (s = map_next(&b->holders, s));)
        if (strcmp(s->value, key) == 0)
            vector_push(&gone, mem_string(s->key));
    for (size_t i = 0; i < gone.count; i++)
        free(map_remove(&b->holders, gone.items[i]));
    return gone;
}

/* Whether any of them is nobody's. Frees them. */
static bool any_is_free(const struct balancers *b, struct names *names)
{
    bool any = false;
    for (size_t i = 0; i < names->count; i++) {
        any |= !map_has(&b->holders, names->items[i]);
        free(names->items[i]);
    }
    vector_free(names);
    return any;
}

static char *node_port_name(const char *ip, const struct service_port *port)
{
    return mem_printf("%s/%d/%s", ip, port->port, port->protocol ? port->protocol : "TCP");
}

static bool can_have_port(const struct balancers *b, const struct service_port *port, const char *ip, const char *key)
{
    cleanup_free char *name = node_port_name(ip, port);
    return is_free_for(b, name, key);
}

/* Whether the address can be the Service's, as far as others leave it. */
static bool can_have(const struct balancers *b, const struct service *service, const char *ip, const char *key)
{
    if (b->pool)
        return address_ranges_contain(b->pool, ip) && is_free_for(b, ip, key);
    for (size_t i = 0; i < service->spec.ports.count; i++)
        if (!can_have_port(b, &service->spec.ports.items[i], ip, key))
            return false;
    return true;
}

/* Takes what the Service's status says that it has, as far as it is nobody else's. */
static void take(struct balancers *b, const struct service *service, const struct load_balancer_ingress *ingress,
                 const char *key)
{
    const char *ip = ingress->ip;
    if (b->pool && can_have(b, service, ip, key))
        hold(b, ip, key);
    for (size_t i = 0; !b->pool && i < service->spec.ports.count; i++) {
        const struct service_port *port = &service->spec.ports.items[i];
        cleanup_free char *name = node_port_name(ip, port);
        if (!load_balancer_lacks_port(ingress, port) && is_free_for(b, name, key))
            hold(b, name, key);
    }
}

/* ---- Events ---- */

static bool enqueue_if_waiting(void *context, struct object *object)
{
    const struct balancers *b = ((struct controller *)context)->state;
    cleanup_free char *key = mem_printf("%s/%s", object->meta->namespace, object->meta->name);
    if (map_has(&b->waiting, key))
        controller_enqueue(context, object->meta);
    return true;
}

static void enqueue_waiting(struct controller *c)
{
    struct balancers *b = c->state;
    if (b->waiting.count)
        informer_each(b->services, NULL, enqueue_if_waiting, c);
}

static bool enqueue_wanting(void *context, struct object *object)
{
    if (wants_balancer(object))
        controller_enqueue(context, object->meta);
    return true;
}

/* What a user did to a Service that a load balancer follows, in upstream's words. */
static void tell_changes(struct controller *c, struct object *object, const struct service *now,
                         const struct service *before)
{
    const struct {
        const char *reason, *before, *now;
    } changes[] = {
        {"Type", before->spec.type, now->spec.type},
        {"LoadbalancerIP", before->spec.load_balancer_ip, now->spec.load_balancer_ip},
        {"ExternalTrafficPolicy", before->spec.external_traffic_policy, now->spec.external_traffic_policy},
    };
    if (!text_equal(now->spec.type, "LoadBalancer") && !text_equal(before->spec.type, "LoadBalancer"))
        return;
    for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
        const char *a = changes[i].before ? changes[i].before : "", *b = changes[i].now ? changes[i].now : "";
        if (strcmp(a, b) != 0)
            recorder_event(c->recorder, object->resource, object->meta, NULL, "Normal", changes[i].reason, "%s -> %s",
                           a, b);
    }
}

static void service_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    struct balancers *b = c->state;
    const struct service *service = object->value;
    cleanup_free char *key = mem_printf("%s/%s", object->meta->namespace, object->meta->name);
    /* What is given already is known before anything new is given. */
    const struct load_balancer_ingress_array *ingress = &service->status.load_balancer.ingress;
    for (size_t i = 0; change == INFORMER_ADDED && wants_balancer(object) && i < ingress->count; i++)
        if (ingress->items[i].ip)
            take(b, service, &ingress->items[i], key);
    if (change == INFORMER_UPDATED && old)
        tell_changes(c, object, service, old->value);
    if (text_equal(service->spec.type, "LoadBalancer") || has_finalizer(object->meta))
        controller_enqueue(c, object->meta);
}

static bool same_addresses(const struct node *a, const struct node *b)
{
    const struct node_address_array *x = &a->status.addresses, *y = &b->status.addresses;
    if (x->count != y->count)
        return false;
    for (size_t i = 0; i < x->count; i++)
        if (!text_equal(x->items[i].address, y->items[i].address))
            return false;
    return true;
}

static void node_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct balancers *b = ((struct controller *)context)->state;
    if (!b->pool && (change != INFORMER_UPDATED || !old || !same_addresses(object->value, old->value)))
        informer_each(b->services, NULL, enqueue_wanting, context);
}

static void start(struct controller *c)
{
    struct balancers *b = mem_zero(1, sizeof(*b));
    c->state = b;
    b->pool = c->options->balancer_pool;
    b->services = informer_set_get(c->informers, &api_resources[API_SERVICES]);
    b->nodes = informer_set_get(c->informers, &api_resources[API_NODES]);
    informer_add_handler(b->services, service_changed, c);
    informer_add_handler(b->nodes, node_changed, c);
}

static void stop(struct controller *c)
{
    struct balancers *b = c->state;
    for (struct map_slot *s = NULL; (s = map_next(&b->holders, s));)
        free(s->value);
    map_free(&b->holders);
    map_free(&b->waiting);
    free(b);
}

/* ---- Choice ---- */

struct choice {
    struct balancers *balancers;
    struct arena *arena;
    const struct service *service;
    const char *key;
    struct load_balancer_ingress_array ingress;
    const char *problem; /* why it is not all that the Service needs; NULL: nothing is wrong */
};

static bool is_of_family(const char *ip, const char *family)
{
    return !strchr(ip, ':') != text_equal(family, "IPv6");
}

static struct load_balancer_ingress *add(struct choice *c, const char *ip)
{
    c->ingress.items = arena_array_grow(c->arena, c->ingress.items, c->ingress.count, 1, sizeof(*c->ingress.items));
    struct load_balancer_ingress *added = &c->ingress.items[c->ingress.count++];
    *added = (struct load_balancer_ingress){.ip = arena_string(c->arena, ip), .ip_mode = "VIP"};
    return added;
}

static bool has_now(const struct choice *c, const char *ip)
{
    const struct load_balancer_ingress_array *ingress = &c->service->status.load_balancer.ingress;
    for (size_t i = 0; i < ingress->count; i++)
        if (text_equal(ingress->items[i].ip, ip))
            return true;
    return false;
}

/* The address that the Service has of the family, if it may keep it. */
static const char *present(const struct choice *c, const char *family)
{
    const struct load_balancer_ingress_array *ingress = &c->service->status.load_balancer.ingress;
    for (size_t i = 0; i < ingress->count; i++)
        if (ingress->items[i].ip && is_of_family(ingress->items[i].ip, family) &&
            can_have(c->balancers, c->service, ingress->items[i].ip, c->key))
            return ingress->items[i].ip;
    return NULL;
}

static void choose_of_pool(struct choice *c, const char *family)
{
    const struct address_ranges *pool = c->balancers->pool;
    const char *asked = c->service->spec.load_balancer_ip, *kept;
    char ip[INET6_ADDRSTRLEN];
    int number = text_equal(family, "IPv6") ? AF_INET6 : AF_INET;
    bool asks = !text_empty(asked) && is_of_family(asked, family);
    if (asks && can_have(c->balancers, c->service, asked, c->key)) {
        add(c, asked);
        return;
    }
    if (asks)
        c->problem = arena_printf(c->arena, "the requested address %s is %s", asked,
                                  address_ranges_contain(pool, asked) ? "in use" : "not in the pool");
    if ((kept = present(c, family)))
        add(c, kept);
    if (kept || asks)
        return;
    uint32_t place = 0;
    while (address_ranges_at(pool, number, place++, ip))
        if (is_free_for(c->balancers, ip, c->key)) {
            add(c, ip);
            return;
        }
    /* A pool of the other family alone is no mistake. */
    if (address_ranges_at(pool, number, 0, ip))
        c->problem = arena_printf(c->arena, "no %s address of the pool is free", family);
}

/* An address of which others have some of the ports; none if they have all. */
static void add_in_part(struct choice *c, const char *ip)
{
    const struct service_port_array *ports = &c->service->spec.ports;
    struct port_status *states = arena_alloc(c->arena, ports->count * sizeof(*states));
    size_t had = 0;
    for (size_t i = 0; i < ports->count; i++) {
        const struct service_port *port = &ports->items[i];
        bool has = can_have_port(c->balancers, port, ip, c->key);
        states[i] = (struct port_status){
            .port = port->port, .protocol = port->protocol, .error = has ? NULL : LOAD_BALANCER_PORT_IN_USE};
        had += has;
    }
    if (had)
        add(c, ip)->ports = (struct port_status_array){states, ports->count};
}

struct node_visit {
    struct choice *choice;
    const char *family;
};

static bool add_node(void *context, struct object *object)
{
    struct node_visit *v = context;
    struct choice *c = v->choice;
    const struct node *node = object->value;
    for (size_t i = 0; i < node->status.addresses.count && c->ingress.count < NODE_ADDRESSES_MAX; i++) {
        const struct node_address *a = &node->status.addresses.items[i];
        if (!text_equal(a->type, "InternalIP") || !is_of_family(a->address, v->family))
            continue;
        if (can_have(c->balancers, c->service, a->address, c->key)) {
            add(c, a->address);
            continue;
        }
        c->problem = arena_printf(c->arena, "a port of the service is another's on node %s", object->meta->name);
        add_in_part(c, a->address);
    }
    return true;
}

/* New addresses are had in full or not at all; those that the Service has already stay while they are good for
 * anything. */
static void choose(struct choice *c)
{
    const struct string_array *families = &c->service->spec.ip_families;
    for (size_t i = 0; i < families->count; i++) {
        if (c->balancers->pool)
            choose_of_pool(c, families->items[i]);
        else
            informer_each(c->balancers->nodes, NULL, add_node, &(struct node_visit){c, families->items[i]});
    }
    size_t kept = 0;
    for (size_t i = 0; i < c->ingress.count; i++)
        if (!c->problem || has_now(c, c->ingress.items[i].ip))
            c->ingress.items[kept++] = c->ingress.items[i];
    c->ingress.count = kept;
}

/* ---- The way there ---- */

static void write_finalizer(struct work *work, struct object *object, bool there)
{
    struct service *fresh = api_copy(work_arena(work), object->resource->type, object->value);
    struct string_array *finalizers = &fresh->metadata.finalizers;
    size_t kept = 0;
    for (size_t i = 0; i < finalizers->count; i++)
        if (!text_equal(finalizers->items[i], FINALIZER))
            finalizers->items[kept++] = finalizers->items[i];
    finalizers->count = kept;
    if (there) {
        finalizers->items = arena_array_grow(work_arena(work), finalizers->items, kept, 1, sizeof(char *));
        finalizers->items[finalizers->count++] = FINALIZER;
    }
    work_update(work, object->resource, NULL, fresh, NULL, NULL);
}

static bool same_ingress(const struct load_balancer_ingress_array *a, const struct load_balancer_ingress_array *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!api_equal(&api_type_load_balancer_ingress, &a->items[i], &b->items[i]))
            return false;
    return true;
}

static void write_status(struct work *work, struct object *object, const struct load_balancer_ingress_array *ingress)
{
    struct service *fresh = api_copy(work_arena(work), object->resource->type, object->value);
    fresh->status.load_balancer.ingress = *ingress;
    work_update(work, object->resource, "status", fresh, NULL, NULL);
}

static void tell(struct controller *c, struct object *object, const char *reason, const char *text)
{
    recorder_event(c->recorder, object->resource, object->meta, NULL, "Normal", reason, "%s", text);
}

/* Gives everything back, then the finalizer; the API server has cleared the status with the change of type. */
static void clean_up(struct controller *c, struct work *work, struct object *object, const char *key)
{
    struct balancers *b = c->state;
    struct names before = release(b, key);
    map_remove(&b->waiting, key);
    if (any_is_free(b, &before))
        enqueue_waiting(c);
    if (!object || !has_finalizer(object->meta))
        return;
    tell(c, object, "DeletingLoadBalancer", "Deleting load balancer");
    write_finalizer(work, object, false);
    tell(c, object, "DeletedLoadBalancer", "Deleted load balancer");
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct balancers *b = c->state;
    struct object *object = informer_get(b->services, work_namespace(work), work_name(work));
    cleanup_free char *key = mem_printf("%s/%s", work_namespace(work), work_name(work));
    if (!object || !wants_balancer(object)) {
        clean_up(c, work, object, key);
        return;
    }
    if (!has_finalizer(object->meta)) {
        tell(c, object, "EnsuringLoadBalancer", "Ensuring load balancer");
        write_finalizer(work, object, true);
        return;
    }
    struct choice choice = {.balancers = b, .arena = work_arena(work), .service = object->value, .key = key};
    choose(&choice);
    struct names before = release(b, key);
    for (size_t i = 0; i < choice.ingress.count; i++)
        take(b, choice.service, &choice.ingress.items[i], key);
    if (any_is_free(b, &before))
        enqueue_waiting(c);
    if (choice.problem)
        map_set(&b->waiting, key, NULL);
    else
        map_remove(&b->waiting, key);
    if (choice.problem)
        recorder_event(c->recorder, object->resource, object->meta, NULL, "Warning", "SyncLoadBalancerFailed",
                       "Error syncing load balancer: failed to ensure load balancer: %s", choice.problem);
    if (same_ingress(&choice.ingress, &choice.service->status.load_balancer.ingress))
        return;
    write_status(work, object, &choice.ingress);
    if (choice.ingress.count && !choice.problem)
        tell(c, object, "EnsuredLoadBalancer", "Ensured load balancer");
}

const struct controller_kind load_balancer_controller = {
    .name = "service-controller", .queue = "service", .start = start, .reconcile = reconcile, .stop = stop};
