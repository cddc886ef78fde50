/* Events of one turn of the loop are taken in together and become one change. The plan (network/policy_plan.h) says
 * what there is to change; an address that the node has given a pod counts from that moment, before the pod's status
 * has it, until the status has one. */
#include "network/policy_proxy.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/map.h"
#include "base/vector.h"
#include "network/policy_plan.h"

struct waiter {
    uint64_t number;
    env_callback done;
    void *context;
};

struct addresses {
    struct ip_address items[POLICY_ADDRESSES_MAX];
    size_t count;
};

struct policy_proxy {
    struct env *env;
    char *node_name;
    struct dataplane *plane;
    struct informer *policies, *namespaces, *pods;
    struct policy_plan *plan;
    struct map given; /* "namespace/name" of a pod -> struct addresses, as the node gave them */
    VECTOR(struct waiter) waiters;
    uint64_t number, applied;
    bool begun, full, flush_arranged, freed;
};

/* ---- Taking in ---- */

static void flush(void *context);

static void arrange(struct policy_proxy *p)
{
    if (p->flush_arranged || !p->begun)
        return;
    p->flush_arranged = true;
    env_defer(p->env, flush, p);
}

static void policy_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct policy_proxy *p = context;
    (void)old;
    policy_plan_set_policy(p->plan, object->meta->namespace, object->meta->name,
                           change == INFORMER_DELETED ? NULL : object->value);
    arrange(p);
}

static void namespace_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct policy_proxy *p = context;
    (void)old;
    policy_plan_set_namespace(p->plan, object->meta->name, change == INFORMER_DELETED ? NULL : &object->meta->labels);
    arrange(p);
}

static bool has_address(const struct addresses *list, const struct ip_address *address)
{
    for (size_t i = 0; i < list->count; i++)
        if (ip_address_equal(&list->items[i], address))
            return true;
    return false;
}

static void add_address(struct addresses *list, const char *text)
{
    struct ip_address address;
    if (list->count < POLICY_ADDRESSES_MAX && ip_address_parse(text, &address) && !has_address(list, &address))
        list->items[list->count++] = address;
}

static void set_pod(struct policy_proxy *p, const struct pod *pod)
{
    struct addresses said = {0};
    cleanup_free char *key = mem_printf("%s/%s", pod->metadata.namespace, pod->metadata.name);
    add_address(&said, pod->status.pod_ip);
    for (size_t i = 0; i < pod->status.pod_ips.count; i++)
        add_address(&said, pod->status.pod_ips.items[i].ip);
    const struct addresses *given = map_get(&p->given, key), *now = given ? given : &said;
    bool local = pod->spec.node_name && strcmp(pod->spec.node_name, p->node_name) == 0;
    policy_plan_set_pod(p->plan, pod->metadata.namespace, pod->metadata.name, pod, now->items, now->count, local);
    bool all = true;
    for (size_t i = 0; given && i < given->count; i++)
        all &= has_address(&said, &given->items[i]);
    if (given && all)
        free(map_remove(&p->given, key));
}

static void pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct policy_proxy *p = context;
    (void)old;
    if (change == INFORMER_DELETED) {
        cleanup_free char *key = mem_printf("%s/%s", object->meta->namespace, object->meta->name);
        free(map_remove(&p->given, key));
        policy_plan_set_pod(p->plan, object->meta->namespace, object->meta->name, NULL, NULL, 0, false);
    } else {
        set_pod(p, object->value);
    }
    arrange(p);
}

/* ---- Handing on ---- */

static void hand_on(struct policy_proxy *p)
{
    struct policy_changes changes = {0};
    bool full = !policy_plan_changes(p->plan, &changes);
    if (full && !p->full)
        log_warning("Network policies name more than %d different peers; those beyond are not let in",
                    POLICY_TERMS_MAX);
    p->full = full;
    if (changes.count)
        p->number = dataplane_policies(p->plane, &changes);
}

static void flush(void *context)
{
    struct policy_proxy *p = context;
    p->flush_arranged = false;
    if (p->freed)
        free(p);
    else
        hand_on(p);
}

void policy_proxy_begin(struct policy_proxy *p)
{
    p->begun = true;
    hand_on(p);
}

void policy_proxy_applied(void *context, uint64_t number)
{
    struct policy_proxy *p = context;
    if (number > p->applied)
        p->applied = number;
    for (size_t i = 0; i < p->waiters.count;) {
        struct waiter w = p->waiters.items[i];
        if (w.number > p->applied) {
            i++;
            continue;
        }
        vector_remove(&p->waiters, i);
        w.done(w.context);
        i = 0; /* it may have added some */
    }
}

void policy_proxy_secure(void *context, const struct pod *pod, const char *address, const char *address6,
                         env_callback done, void *done_context)
{
    struct policy_proxy *p = context;
    struct addresses *given = mem_zero(1, sizeof(*given));
    add_address(given, address);
    add_address(given, address6);
    cleanup_free char *key = mem_printf("%s/%s", pod->metadata.namespace, pod->metadata.name);
    struct object *now = informer_get(p->pods, pod->metadata.namespace, pod->metadata.name);
    free(map_set(&p->given, key, given));
    /* Its labels may have changed since the node began with it. */
    set_pod(p, now && strcmp(now->meta->uid, pod->metadata.uid) == 0 ? now->value : pod);
    if (p->begun)
        hand_on(p);
    if (p->number <= p->applied)
        done(done_context);
    else
        vector_push(&p->waiters, (struct waiter){p->number, done, done_context});
}

/* ---- */

struct policy_proxy *policy_proxy_new(struct client *client, struct informer_set *informers, const char *node_name,
                                      const char *dns_address)
{
    struct policy_proxy *p = mem_zero(1, sizeof(*p));
    p->env = client->env;
    p->node_name = mem_string(node_name);
    p->plan = policy_plan_new(dns_address);
    p->policies = informer_set_get(informers, &api_resources[API_NETWORKPOLICIES]);
    p->namespaces = informer_set_get(informers, &api_resources[API_NAMESPACES]);
    p->pods = informer_set_get(informers, &api_resources[API_PODS]);
    informer_add_handler(p->policies, policy_changed, p);
    informer_add_handler(p->namespaces, namespace_changed, p);
    informer_add_handler(p->pods, pod_changed, p);
    return p;
}

void policy_proxy_set_plane(struct policy_proxy *p, struct dataplane *plane)
{
    p->plane = plane;
}

void policy_proxy_free(struct policy_proxy *p)
{
    if (!p)
        return;
    for (struct map_slot *s = NULL; (s = map_next(&p->given, s));)
        free(s->value);
    map_free(&p->given);
    vector_free(&p->waiters);
    policy_plan_free(p->plan);
    free(p->node_name);
    p->freed = true;
    if (!p->flush_arranged)
        free(p);
}
