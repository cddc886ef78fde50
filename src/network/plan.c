/* Services and their claims: what there ought to be. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "network/plan_private.h"

struct service {
    char *name;
    struct ip_address cluster_address;
    uint8_t protocol;
    bool affinity, internal_local, external_local;
    struct slots all, local;  /* endpoints wherever they are, and those of this node if a policy is Local */
    struct elements elements; /* in the order of their keys */
    struct claim **claims;    /* one for each element */
};

/* ---- keys ---- */

void plan_rule_key(const struct element *e, char out[KEY_TEXT_MAX])
{
    struct {
        uint32_t slot;
        uint16_t port;
        uint8_t protocol, set;
    } number = {e->slot, e->port, e->protocol, e->set};
    unsigned char key[sizeof(number) + 2 * sizeof(struct in6_addr)];
    size_t size = ip_address_size(e->address.family), length = sizeof(number);
    static_assert(sizeof(key) * 2 < KEY_TEXT_MAX, "room for the key");
    memcpy(key, &number, sizeof(number));
    memcpy(key + length, &e->address.v6, size);
    length += size;
    if (e->set == SOURCE_RANGES) {
        memcpy(key + length, &e->endpoint_address.v6, size);
        length += size;
    }
    hex_encode(key, length, out);
}

static struct rule *find_rule(struct dataplane_plan *plan, const struct element *e)
{
    char key[KEY_TEXT_MAX];
    plan_rule_key(e, key);
    return map_get(&plan->rules, key);
}

/* ---- claims ---- */

void plan_mark_changed(struct dataplane_plan *plan, struct rule *rule)
{
    if (list_empty(&rule->changed))
        list_append(&plan->changed, &rule->changed);
}

const struct element *plan_wanted(const struct rule *rule)
{
    return list_empty(&rule->claims) ? NULL : &list_entry(rule->claims.next, struct claim, link)->element;
}

static struct claim *claim_element(struct dataplane_plan *plan, const struct element *element)
{
    char key[KEY_TEXT_MAX];
    plan_rule_key(element, key);
    struct rule *rule = map_get(&plan->rules, key);
    if (!rule) {
        rule = mem_zero(1, sizeof(*rule));
        list_init(&rule->changed);
        list_init(&rule->lingering);
        list_init(&rule->claims);
        rule->installed = *element;
        map_set(&plan->rules, key, rule);
    }
    struct claim *claim = mem_zero(1, sizeof(*claim));
    claim->rule = rule;
    claim->element = *element;
    list_append(&rule->claims, &claim->link);
    plan_mark_changed(plan, rule);
    return claim;
}

static void unclaim(struct dataplane_plan *plan, struct claim *claim)
{
    plan_mark_changed(plan, claim->rule);
    list_remove(&claim->link);
    free(claim);
}

/* The same claim with another value, in the same place of the queue: an update never loses an address to a service that
 * waits for it. */
static struct claim *reclaim(struct dataplane_plan *plan, struct claim *claim, const struct element *element)
{
    if (!element_value_equal(&claim->element, element)) {
        claim->element = *element;
        plan_mark_changed(plan, claim->rule);
    }
    return claim;
}

/* ---- withdrawals ---- */

static bool has_slot(const struct slots *slots, const struct element *e)
{
    for (size_t i = 0; i < slots->count; i++)
        if (ip_address_equal(&slots->items[i].address, &e->endpoint_address) &&
            slots->items[i].port == e->endpoint_port)
            return true;
    return false;
}

static int compare_elements(const void *left, const void *right)
{
    char a[KEY_TEXT_MAX], b[KEY_TEXT_MAX];
    plan_rule_key(left, a);
    plan_rule_key(right, b);
    return strcmp(a, b);
}

static bool has_element(const struct service *service, const struct element *e)
{
    return service->elements.count &&
           bsearch(e, service->elements.items, service->elements.count, sizeof(*e), compare_elements);
}

/* Whether the service still has the way in that e belongs to, and it still leads to e's endpoint. Traffic from inside
 * takes the way of all where it has none of its own. */
static bool still_leads(const struct service *service, const struct element *e)
{
    bool node_port = e->set == NODE_PORT_ENDPOINTS;
    struct element size = {.set = node_port ? INSIDE_NODE_PORT_SIZES : INSIDE_SIZES,
                           .address = e->address,
                           .protocol = e->protocol,
                           .port = e->port};
    if (e->slot >= ELEMENT_INSIDE && has_element(service, &size))
        return has_slot(&service->all, e);
    bool internal = !node_port && ip_address_equal(&e->address, &service->cluster_address);
    bool only_local = internal ? service->internal_local : service->external_local;
    size.set = node_port ? NODE_PORT_SIZES : SERVICE_SIZES;
    return has_element(service, &size) && has_slot(only_local ? &service->local : &service->all, e);
}

/* Notes what the old service led to and `made` (NULL: nothing) does not. An affinity that ends lets all clients go. */
static void note_withdrawals(struct dataplane_plan *plan, const struct service *old, const struct service *made)
{
    if (old->protocol != IPPROTO_UDP && !old->affinity)
        return;
    for (size_t i = 0; i < old->elements.count; i++) {
        const struct element *e = &old->elements.items[i];
        if (e->set != SERVICE_ENDPOINTS && e->set != NODE_PORT_ENDPOINTS)
            continue;
        bool leads_on = made && still_leads(made, e);
        if (leads_on && (!old->affinity || made->affinity))
            continue;
        vector_push(&plan->withdrawals, (struct dataplane_withdrawal){.protocol = e->protocol,
                                                                      .service_address = e->address,
                                                                      .service_port = e->port,
                                                                      .endpoint_address = e->endpoint_address,
                                                                      .endpoint_port = e->endpoint_port,
                                                                      .inside = e->slot >= ELEMENT_INSIDE,
                                                                      .affinity = old->affinity,
                                                                      .flows = !leads_on});
    }
}

static bool leads_from(struct dataplane_plan *plan, uint32_t first, enum element_set set, struct ip_address address,
                       const struct dataplane_withdrawal *w)
{
    struct element e = {
        .set = (uint8_t)set, .address = address, .protocol = w->protocol, .port = w->service_port, .slot = first};
    for (;; e.slot++) {
        struct rule *rule = find_rule(plan, &e);
        const struct element *to = rule ? plan_wanted(rule) : NULL;
        if (!to)
            return false;
        if (ip_address_equal(&to->endpoint_address, &w->endpoint_address) && to->endpoint_port == w->endpoint_port)
            return true;
    }
}

static bool is_wanted(struct dataplane_plan *plan, const struct element *e)
{
    struct rule *rule = find_rule(plan, e);
    return rule && plan_wanted(rule);
}

bool plan_leads(struct dataplane_plan *plan, enum element_set set, struct ip_address address,
                const struct dataplane_withdrawal *w)
{
    struct element inside = {.set = (uint8_t)set,
                             .address = address,
                             .protocol = w->protocol,
                             .port = w->service_port,
                             .slot = ELEMENT_INSIDE};
    return leads_from(plan, w->inside && is_wanted(plan, &inside) ? ELEMENT_INSIDE : 0, set, address, w);
}

/* ---- services ---- */

static void free_service(struct service *service)
{
    if (!service)
        return;
    free(service->name);
    free(service->all.items);
    free(service->local.items);
    free(service->elements.items);
    free(service->claims);
    free(service);
}

static int family_of(int family)
{
    return family ? family : AF_INET;
}

/* Each key once: an endpoint address that counts twice for the hairpin set is one element. */
static void unique_elements(struct elements *elements)
{
    size_t kept = 0;
    qsort(elements->items, elements->count, sizeof(elements->items[0]), compare_elements);
    for (size_t i = 0; i < elements->count; i++)
        if (kept == 0 || compare_elements(&elements->items[i], &elements->items[kept - 1]) != 0)
            elements->items[kept++] = elements->items[i];
    elements->count = kept;
}

/* Claims what the new one is made of, and gives up what only the old one (NULL: none) was. */
static void move_claims(struct dataplane_plan *plan, struct service *old, struct service *made)
{
    size_t j = 0, end = old ? old->elements.count : 0;
    for (size_t i = 0; i < made->elements.count; i++) {
        const struct element *e = &made->elements.items[i];
        int order = -1;
        for (; j < end && (order = compare_elements(&old->elements.items[j], e)) < 0; j++)
            unclaim(plan, old->claims[j]);
        bool both = j < end && order == 0;
        made->claims[i] = both ? reclaim(plan, old->claims[j++], e) : claim_element(plan, e);
    }
    for (; j < end; j++)
        unclaim(plan, old->claims[j]);
}

int dataplane_plan_set(struct dataplane_plan *plan, const struct dataplane_service *service, struct error *err)
{
    if (dataplane_service_check(service, err) < 0)
        return -1;
    assert(family_of(service->family) == plan->config.family);
    struct service *old = map_get(&plan->services, service->name);
    struct service *made = mem_zero(1, sizeof(*made));
    made->name = mem_string(service->name);
    made->cluster_address = service->cluster_address;
    made->affinity = service->affinity_seconds > 0;
    made->protocol = service->protocol;
    made->internal_local = service->internal_local;
    made->external_local = service->external_local;
    made->all = slots_choose(service, false, old ? &old->all : NULL);
    if (service->internal_local || service->external_local)
        made->local = slots_choose(service, true, old ? &old->local : NULL);
    made->elements = elements_of_service(service, &made->all, &made->local);
    if (made->elements.count)
        unique_elements(&made->elements);

    made->claims = mem_zero(made->elements.count + 1, sizeof(made->claims[0]));
    move_claims(plan, old, made);
    if (old)
        note_withdrawals(plan, old, made);
    map_set(&plan->services, made->name, made);
    free_service(old);
    return 0;
}

void dataplane_plan_remove(struct dataplane_plan *plan, const char *name)
{
    struct service *old = map_remove(&plan->services, name);
    if (!old)
        return;
    for (size_t i = 0; i < old->elements.count; i++)
        unclaim(plan, old->claims[i]);
    note_withdrawals(plan, old, NULL);
    free_service(old);
}

size_t dataplane_plan_count(const struct dataplane_plan *plan)
{
    return plan->services.count;
}

/* ---- What was, and what the rules lead to ---- */

/* Whether the service has that way in, for everybody or from inside. */
static bool has_entrance(struct dataplane_plan *plan, struct ip_address address, const struct dataplane_withdrawal *w)
{
    struct element e = {.address = address, .protocol = w->protocol, .port = w->service_port};
    e.set = address.family ? SERVICE_SIZES : NODE_PORT_SIZES;
    if (is_wanted(plan, &e))
        return true;
    e.set = address.family ? INSIDE_SIZES : INSIDE_NODE_PORT_SIZES;
    return is_wanted(plan, &e);
}

/* The service address of a flow as the rules know it: its own, or any of the node for a node port. False: none of ours.
 */
static bool known_address(struct dataplane_plan *plan, const struct dataplane_withdrawal *flow, struct ip_address *out)
{
    static const struct ip_address any;
    *out = flow->service_address;
    if (ip_prefix_contains(&plan->service_prefix, out) || has_entrance(plan, *out, flow))
        return true;
    *out = any;
    return has_entrance(plan, any, flow);
}

bool dataplane_plan_enters(struct dataplane_plan *plan, const struct dataplane_withdrawal *flow, bool node_ports)
{
    static const struct ip_address any;
    return has_entrance(plan, flow->service_address, flow) || (node_ports && has_entrance(plan, any, flow));
}

static bool leads_anyhow(struct dataplane_plan *plan, struct ip_address address,
                         const struct dataplane_withdrawal *flow)
{
    enum element_set set = address.family ? SERVICE_ENDPOINTS : NODE_PORT_ENDPOINTS;
    return leads_from(plan, 0, set, address, flow) || leads_from(plan, ELEMENT_INSIDE, set, address, flow);
}

bool dataplane_plan_is_stale(struct dataplane_plan *plan, const struct dataplane_withdrawal *flow)
{
    struct ip_address address;
    return known_address(plan, flow, &address) && !leads_anyhow(plan, address, flow);
}

bool dataplane_plan_binds(struct dataplane_plan *plan, const struct dataplane_withdrawal *binding)
{
    struct element affinity = {.protocol = binding->protocol, .port = binding->service_port};
    if (!known_address(plan, binding, &affinity.address) || !leads_anyhow(plan, affinity.address, binding))
        return false;
    affinity.set = affinity.address.family ? SERVICE_AFFINITY : NODE_PORT_AFFINITY;
    return is_wanted(plan, &affinity);
}

/* ---- the plan ---- */

/* What nft reads as one word, and the kernel as a name. */
static int check_name(const char *what, const char *name, size_t limit, struct error *err)
{
    size_t n = name ? strlen(name) : 0;
    bool good = n > 0 && n <= limit && isalpha((unsigned char)name[0]);
    for (size_t i = 0; good && i < n; i++)
        good = isalnum((unsigned char)name[i]) || strchr("-_.", name[i]);
    return good ? 0 : error_set(err, EINVAL, "\"%s\" cannot be the name of a %s", name ? name : "", what);
}

static int check_prefix(const char *text, int family, struct ip_prefix *out, struct error *err)
{
    return text && ip_prefix_parse(text, out) && out->address.family == family
               ? 0
               : error_set(err, EINVAL, "\"%s\" is not a prefix of its family", text ? text : "");
}

int dataplane_plan_new(const struct dataplane_plan_config *config, struct dataplane_plan **out, struct error *err)
{
    struct ip_prefix services, pods;
    int family = family_of(config->family);
    *out = NULL;
    if (check_name("table", config->table, 128, err) < 0 || check_name("bridge", config->bridge, 15, err) < 0 ||
        check_prefix(config->service_cidr, family, &services, err) < 0 ||
        (config->masquerade_egress && check_prefix(config->pod_cidr, family, &pods, err) < 0))
        return error_wrap(err, "data plane");
    struct dataplane_plan *plan = mem_zero(1, sizeof(*plan));
    plan->config = *config;
    plan->config.family = family;
    plan->service_prefix = services;
    plan->config.table = mem_string(config->table);
    plan->config.bridge = mem_string(config->bridge);
    plan->config.service_cidr = mem_string(config->service_cidr);
    plan->config.pod_cidr = config->masquerade_egress ? mem_string(config->pod_cidr) : NULL;
    list_init(&plan->changed);
    list_init(&plan->lingering);
    *out = plan;
    return 0;
}

void dataplane_plan_free(struct dataplane_plan *plan)
{
    if (!plan)
        return;
    for (struct map_slot *s = NULL; (s = map_next(&plan->rules, s));) {
        struct rule *rule = s->value;
        struct claim *claim;
        list_for_each(&rule->claims, claim, link)
        {
            free(claim);
        }
        free(rule);
    }
    map_free(&plan->rules);
    for (struct map_slot *s = NULL; (s = map_next(&plan->services, s));)
        free_service(s->value);
    map_free(&plan->services);
    vector_free(&plan->withdrawals);
    vector_free(&plan->remembered);
    free((char *)plan->config.table);
    free((char *)plan->config.bridge);
    free((char *)plan->config.service_cidr);
    free((char *)plan->config.pod_cidr);
    free(plan);
}
