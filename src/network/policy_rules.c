/* What each local pod may receive and send: for each class of peers, the ports that the pod's policies allow together.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "network/policy_private.h"

#define ALL_PORTS 65535

/* ---- Lists of ports ---- */

static const struct policy_named_port *find_named(const struct policy_named_port *ports, size_t count, const char *name,
                                                  uint8_t protocol)
{
    for (size_t i = 0; i < count; i++)
        if (ports[i].protocol == protocol && strcmp(ports[i].name, name) == 0)
            return &ports[i];
    return NULL;
}

/* Adds what a rule says; names are those of the receiving pod's ports. */
static void add_ports(struct policy_port_list *list, const struct network_policy_port_array *ports,
                      const struct policy_named_port *named, size_t named_count)
{
    list->everything |= !ports->count;
    for (size_t i = 0; i < ports->count; i++) {
        const struct network_policy_port *p = &ports->items[i];
        uint8_t protocol = policy_protocol(p->protocol);
        struct policy_ports out = {protocol, 0, ALL_PORTS};
        if (p->port.kind == INT_OR_STRING_STRING) {
            const struct policy_named_port *found = find_named(named, named_count, p->port.text, protocol);
            if (!found)
                continue;
            out.first = out.last = found->number;
        } else if (p->port.kind == INT_OR_STRING_INT) {
            out.first = (uint16_t)p->port.number;
            out.last = p->end_port.set ? (uint16_t)p->end_port.value : out.first;
        }
        vector_push(list, out);
    }
}

static int compare_ports(const void *a, const void *b)
{
    const struct policy_ports *p = a, *q = b;
    return p->protocol != q->protocol ? (p->protocol < q->protocol ? -1 : 1)
           : p->first != q->first     ? (p->first < q->first ? -1 : 1)
                                      : 0;
}

/* In order, none touching another. */
static void normalize(struct policy_port_list *list)
{
    size_t kept = 0;
    if (list->count)
        qsort(list->items, list->count, sizeof(list->items[0]), compare_ports);
    for (size_t i = 0; i < list->count; i++) {
        struct policy_ports *last = kept ? &list->items[kept - 1] : NULL, *p = &list->items[i];
        if (last && last->protocol == p->protocol && p->first <= last->last + 1)
            last->last = p->last > last->last ? p->last : last->last;
        else
            list->items[kept++] = *p;
    }
    list->count = kept;
}

static const char *protocol_name(uint8_t protocol)
{
    return protocol == IPPROTO_TCP ? "tcp" : protocol == IPPROTO_UDP ? "udp" : "sctp";
}

static void tell(struct map told[POLICY_SETS][2], enum policy_set set, bool ipv6, const char *key, uint32_t value)
{
    map_set(&told[set][ipv6], key, (void *)((uintptr_t)value + 1));
}

/* The number of the set of ports; what is in it is told. */
static uint32_t port_set_of(struct policy_plan *plan, struct policy_port_list *list, struct map told[POLICY_SETS][2])
{
    if (list->everything)
        return POLICY_EVERYTHING;
    normalize(list);
    if (!list->count)
        return POLICY_NOTHING;
    cleanup_buffer struct buffer text = {0};
    for (size_t i = 0; i < list->count; i++)
        buffer_printf(&text, "%u:%u-%u,", list->items[i].protocol, list->items[i].first, list->items[i].last);
    uint32_t id = (uint32_t)(uintptr_t)map_get(&plan->port_sets, text.data);
    if (!id) {
        id = ++plan->next_port_set;
        map_set(&plan->port_sets, text.data, (void *)(uintptr_t)id);
    }
    for (size_t i = 0; i < list->count; i++) {
        const struct policy_ports *p = &list->items[i];
        bool all = p->first == 0, one = p->first == p->last;
        char key[64];
        int n = snprintf(key, sizeof(key), "%u . %s", id, protocol_name(p->protocol));
        if (!all && one)
            snprintf(key + n, sizeof(key) - (size_t)n, " . %u", p->first);
        else if (!all)
            snprintf(key + n, sizeof(key) - (size_t)n, " . %u-%u", p->first, p->last);
        tell(told, all ? POLICY_PROTOCOLS : one ? POLICY_PORTS : POLICY_PORT_RANGES, false, key, 0);
    }
    return id;
}

static bool includes(const struct policy_port_list *list, uint8_t protocol, uint16_t port)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].protocol == protocol && list->items[i].first <= port && port <= list->items[i].last)
            return true;
    return list->everything;
}

/* ---- Pods ---- */

static bool rule_is_for(const struct policy_clause *rule, const struct policy_class *class)
{
    for (size_t i = 0; class && i < rule->term_count; i++)
        if (rule->terms[i] / 64 < class->words && class->terms[rule->terms[i] / 64] >> rule->terms[i] % 64 & 1)
            return true;
    return rule->any_peer;
}

typedef VECTOR(const struct policy *) policy_vector;

/* What the policies allow in a direction between the pod and a class (NULL: that of what no policy names). */
static struct policy_port_list allowed(const policy_vector *policies, const struct policy_subject *pod, bool egress,
                                       const struct policy_class *class)
{
    struct policy_port_list list = {0};
    const struct policy_named_port *named = egress ? (class ? class->ports : NULL) : pod->ports;
    size_t count = egress ? (class ? class->port_count : 0) : pod->port_count;
    for (size_t i = 0; i < policies->count; i++)
        for (size_t k = 0; k < policies->items[i]->rule_count; k++) {
            const struct policy_clause *rule = &policies->items[i]->rules[k];
            if (rule->egress == egress && rule_is_for(rule, class))
                add_ports(&list, rule->ports, named, count);
        }
    return list;
}

static void tell_address(const struct policy_plan *plan, const struct policy_subject *pod,
                         struct map told[POLICY_SETS][2], enum policy_set set, const char *more, uint32_t value)
{
    for (size_t i = 0; i < pod->address_count; i++) {
        char text[IP_ADDRESS_TEXT_MAX], key[IP_ADDRESS_TEXT_MAX * 2 + 8];
        if (!policy_owns_address(plan, pod, i))
            continue;
        ip_address_text(&pod->addresses[i], text);
        more = set == POLICY_SELF ? text : more;
        snprintf(key, sizeof(key), "%s%s%s", text, *more ? " . " : "", more);
        tell(told, set, pod->addresses[i].family == AF_INET6, key, value);
    }
}

static void make_direction(struct policy_plan *plan, const struct policy_subject *pod, const policy_vector *policies,
                           bool egress, struct map told[POLICY_SETS][2])
{
    struct policy_port_list list = allowed(policies, pod, egress, NULL);
    uint32_t otherwise = port_set_of(plan, &list, told);
    vector_free(&list);
    tell_address(plan, pod, told, egress ? POLICY_EGRESS_DEFAULT : POLICY_INGRESS_DEFAULT, "", otherwise);
    for (struct map_slot *s = NULL; otherwise != POLICY_EVERYTHING && (s = map_next(&plan->classes, s));) {
        const struct policy_class *class = s->value;
        char id[16];
        list = allowed(policies, pod, egress, class);
        uint32_t set = port_set_of(plan, &list, told);
        vector_free(&list);
        snprintf(id, sizeof(id), "%u", class->id);
        if (set != otherwise)
            tell_address(plan, pod, told, egress ? POLICY_EGRESS : POLICY_INGRESS, id, set);
    }
}

static void make_dns(struct policy_plan *plan, const struct policy_subject *pod, const policy_vector *policies,
                     struct map told[POLICY_SETS][2])
{
    const struct policy_subject *server = map_get(&plan->pods, "");
    if (!server)
        return;
    struct policy_port_list list = allowed(policies, pod, true, server->classes[0]);
    if (includes(&list, IPPROTO_UDP, 53))
        tell_address(plan, pod, told, POLICY_DNS, "udp", 0);
    if (includes(&list, IPPROTO_TCP, 53))
        tell_address(plan, pod, told, POLICY_DNS, "tcp", 0);
    vector_free(&list);
}

void policy_make_rules(struct policy_plan *plan, const struct policy_subject *pod, struct policy_rules *rules)
{
    policy_vector ingress = {0}, egress = {0};
    struct map(*told)[2] = rules->told;
    for (struct map_slot *s = NULL; (s = map_next(&plan->policies, s));) {
        const struct policy *policy = s->value;
        if (strcmp(policy->value->metadata.namespace, pod->namespace) != 0 || !policy->pods ||
            !selector_matches(policy->pods, &pod->labels))
            continue;
        if (policy->ingress)
            vector_push(&ingress, policy);
        if (policy->egress)
            vector_push(&egress, policy);
    }
    if (ingress.count)
        make_direction(plan, pod, &ingress, false, told);
    if (egress.count)
        make_direction(plan, pod, &egress, true, told);
    if (egress.count)
        make_dns(plan, pod, &egress, told);
    if (ingress.count || egress.count)
        tell_address(plan, pod, told, POLICY_SELF, "", 0);
    vector_free(&ingress);
    vector_free(&egress);
}

void policy_rules_free(struct policy_rules *rules)
{
    for (int set = 0; rules && set < POLICY_SETS; set++)
        for (int family = 0; family < 2; family++)
            map_free(&rules->told[set][family]);
    free(rules);
}
