/* The promise of network policies, decided: whatever policies, pods and namespaces there are and however they change,
 * the elements let through what upstream's definition allows, and nothing else. Random worlds are compared with an
 * evaluator that knows nothing but the definition; the elements are read as the chains of the table read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/defaults.h"
#include "api/json.h"
#include "api/selector.h"
#include "base/cleanup.h"
#include "network/policy_plan.h"

#define DNS "10.96.0.10"

/* ---- A kernel made of maps ---- */

struct kernel {
    struct map elements[POLICY_SETS][2]; /* key -> value + 1 */
    size_t changes;                      /* of the last call */
    struct policy_table *table;          /* that has the same elements, and judges by itself */
};

static void kernel_apply(struct kernel *k, struct policy_plan *plan)
{
    struct policy_changes changes = {0};
    assert_true(policy_plan_changes(plan, &changes));
    k->changes = changes.count;
    for (size_t i = 0; i < changes.count; i++) {
        const struct policy_change *c = &changes.items[i];
        struct map *map = &k->elements[c->set][c->ipv6];
        assert_int_equal(c->ipv6 && !policy_set_has_family(c->set), false);
        if (c->remove)
            assert_non_null(map_remove(map, c->key)); /* nothing is removed that is not there */
        else
            map_set(map, c->key, (void *)((uintptr_t)c->value + 1));
    }
    struct policy_table_config config = {.table = "t", .bridge = "br", .dns_address = DNS};
    if (!k->table)
        k->table = policy_table_new(&config);
    policy_table_apply(k->table, &changes);
    policy_changes_free(&changes);
}

static void kernel_free(struct kernel *k)
{
    policy_table_free(k->table);
    for (int set = 0; set < POLICY_SETS; set++)
        for (int family = 0; family < 2; family++)
            map_free(&k->elements[set][family]);
}

__attribute__((format(printf, 4, 5))) static bool look(const struct kernel *k, enum policy_set set, bool ipv6,
                                                       const char *format, ...)
{
    char key[128];
    va_list list;
    va_start(list, format);
    vsnprintf(key, sizeof(key), format, list);
    va_end(list);
    return map_get(&k->elements[set][ipv6], key) != NULL;
}

static uint32_t value_of(const struct kernel *k, enum policy_set set, bool ipv6, const char *key)
{
    return (uint32_t)((uintptr_t)map_get(&k->elements[set][ipv6], key) - 1);
}

static uint32_t class_of_address(const struct kernel *k, const char *address)
{
    struct ip_address a, first, last;
    bool ipv6 = strchr(address, ':') != NULL;
    ip_address_parse(address, &a);
    if (look(k, POLICY_PEERS, ipv6, "%s", address))
        return value_of(k, POLICY_PEERS, ipv6, address);
    for (struct map_slot *s = NULL; (s = map_next(&k->elements[POLICY_BLOCKS][ipv6], s));) {
        cleanup_free char *text = mem_string(s->key);
        char *dash = strchr(text, '-');
        if (dash)
            *dash = 0;
        assert_true(ip_address_parse(text, &first) && ip_address_parse(dash ? dash + 1 : text, &last));
        if (ip_address_compare(&first, &a) <= 0 && ip_address_compare(&a, &last) <= 0)
            return (uint32_t)((uintptr_t)s->value - 1);
    }
    return POLICY_CLASS_NONE;
}

static bool port_passes(const struct kernel *k, uint32_t set, const char *protocol, unsigned port)
{
    unsigned id, first, last;
    char name[8];
    if (set == POLICY_EVERYTHING || look(k, POLICY_PROTOCOLS, false, "%u . %s", set, protocol) ||
        look(k, POLICY_PORTS, false, "%u . %s . %u", set, protocol, port))
        return true;
    for (struct map_slot *s = NULL; (s = map_next(&k->elements[POLICY_PORT_RANGES][0], s));)
        if (sscanf(s->key, "%u . %7s . %u-%u", &id, name, &first, &last) == 4 && id == set &&
            strcmp(name, protocol) == 0 && first <= port && port <= last)
            return true;
    return false;
}

static bool direction_passes(const struct kernel *k, bool egress, const char *pod, const char *peer,
                             const char *protocol, unsigned port)
{
    bool ipv6 = strchr(pod, ':') != NULL;
    char key[128];
    enum policy_set rules = egress ? POLICY_EGRESS : POLICY_INGRESS;
    enum policy_set otherwise = egress ? POLICY_EGRESS_DEFAULT : POLICY_INGRESS_DEFAULT;
    if (!look(k, otherwise, ipv6, "%s", pod))
        return true;
    if (look(k, POLICY_SELF, ipv6, "%s . %s", pod, peer))
        return true;
    if (egress && strcmp(peer, DNS) == 0 && port == 53 && look(k, POLICY_DNS, ipv6, "%s . %s", pod, protocol))
        return true;
    snprintf(key, sizeof(key), "%s . %u", pod, class_of_address(k, peer));
    uint32_t set =
        map_has(&k->elements[rules][ipv6], key) ? value_of(k, rules, ipv6, key) : value_of(k, otherwise, ipv6, pod);
    return port_passes(k, set, protocol, port);
}

/* Flows that are there already are judged without the kernel; the verdict must be the same. */
static void judge_flow(const struct kernel *k, const char *from, const char *to, const char *protocol, unsigned port)
{
    struct policy_flow flow = {.destination_port = (uint16_t)port, .asked_port = (uint16_t)port};
    flow.protocol = strcmp(protocol, "tcp") == 0 ? IPPROTO_TCP : strcmp(protocol, "udp") == 0 ? IPPROTO_UDP : IPPROTO_SCTP;
    assert_true(ip_address_parse(from, &flow.source) && ip_address_parse(to, &flow.destination));
    flow.asked = flow.destination;
    assert_int_equal(policy_table_allows(k->table, &flow), direction_passes(k, true, from, to, protocol, port) &&
                                                               direction_passes(k, false, to, from, protocol, port));
}

/* ---- The definition ---- */

#define PODS 14
#define POLICIES 7
#define NAMESPACES 3

static const char *const namespaces[NAMESPACES] = {"kube-system", "a", "b"};

struct world {
    struct arena *arena;
    struct policy_plan *plan;
    struct kernel kernel;
    const struct network_policy *policies[POLICIES];
    const struct pod *pods[PODS];
    struct string_map labels[NAMESPACES]; /* of namespaces; items NULL: it is not there */
    char v4[PODS][24], v6[PODS][40];
    bool local[PODS];
};

static int namespace_index(const char *name)
{
    for (int i = 0; i < NAMESPACES; i++)
        if (strcmp(namespaces[i], name) == 0)
            return i;
    return -1;
}

static bool selects(struct world *w, const struct label_selector *selector, const struct string_map *labels)
{
    const struct selector *parsed;
    assert_int_equal(selector_from_label_selector(w->arena, selector, &parsed, NULL), 0);
    return selector_matches(parsed, labels);
}

static bool in_block(const char *text, const char *address)
{
    struct ip_prefix prefix;
    struct ip_address a;
    return ip_prefix_parse(text, &prefix) && ip_address_parse(address, &a) && ip_prefix_contains(&prefix, &a);
}

/* pod NULL: an address that is no pod's. */
static bool is_peer(struct world *w, const char *policy_namespace, const struct network_policy_peer *peer,
                    const struct pod *pod, const char *address)
{
    if (peer->ip_block) {
        for (size_t i = 0; i < peer->ip_block->except.count; i++)
            if (in_block(peer->ip_block->except.items[i], address))
                return false;
        return in_block(peer->ip_block->cidr, address);
    }
    if (!pod || pod->spec.host_network)
        return false;
    const struct string_map *labels = &w->labels[namespace_index(pod->metadata.namespace)];
    if (peer->namespace_selector) {
        if (!labels->items || !selects(w, peer->namespace_selector, labels))
            return false;
    } else if (strcmp(policy_namespace, pod->metadata.namespace) != 0) {
        return false;
    }
    return !peer->pod_selector || selects(w, peer->pod_selector, &pod->metadata.labels);
}

static bool is_port(const struct network_policy_port *p, const struct pod *receiver, const char *protocol, int port)
{
    char lower[8] = "";
    for (size_t i = 0; p->protocol[i] && i < 7; i++)
        lower[i] = (char)(p->protocol[i] | 0x20);
    if (strcmp(lower, protocol) != 0)
        return false;
    if (p->port.kind == INT_OR_STRING_STRING) {
        const struct container_port_array *ports = receiver ? &receiver->spec.containers.items[0].ports : NULL;
        for (size_t i = 0; ports && i < ports->count; i++)
            if (strcmp(ports->items[i].name, p->port.text) == 0 && strcmp(ports->items[i].protocol, p->protocol) == 0)
                return ports->items[i].container_port == port;
        return false;
    }
    if (p->port.kind != INT_OR_STRING_INT)
        return true;
    return p->port.number <= port && port <= (p->end_port.set ? p->end_port.value : p->port.number);
}

static bool rule_allows(struct world *w, const char *namespace, const struct network_policy_peer_array *peers,
                        const struct network_policy_port_array *ports, const struct pod *peer, const char *address,
                        const struct pod *receiver, const char *protocol, int port)
{
    bool from = !peers->count, to = !ports->count;
    for (size_t i = 0; i < peers->count; i++)
        from |= is_peer(w, namespace, &peers->items[i], peer, address);
    for (size_t i = 0; i < ports->count; i++)
        to |= is_port(&ports->items[i], receiver, protocol, port);
    return from && to;
}

static bool allows(struct world *w, bool egress, const struct pod *pod, const struct pod *peer, const char *address,
                   const char *protocol, int port)
{
    bool isolated = false, allowed = false, self = pod == peer;
    if (peer && peer->spec.host_network)
        peer = NULL;
    for (int i = 0; i < POLICIES; i++) {
        const struct network_policy *p = w->policies[i];
        if (!p || strcmp(p->metadata.namespace, pod->metadata.namespace) != 0 ||
            !selects(w, &p->spec.pod_selector, &pod->metadata.labels))
            continue;
        bool of_direction = false;
        for (size_t k = 0; k < p->spec.policy_types.count; k++)
            of_direction |= strcmp(p->spec.policy_types.items[k], egress ? "Egress" : "Ingress") == 0;
        isolated |= of_direction;
        for (size_t k = 0; of_direction && egress && k < p->spec.egress.count; k++)
            allowed |= rule_allows(w, p->metadata.namespace, &p->spec.egress.items[k].to,
                                   &p->spec.egress.items[k].ports, peer, address, peer, protocol, port);
        for (size_t k = 0; of_direction && !egress && k < p->spec.ingress.count; k++)
            allowed |= rule_allows(w, p->metadata.namespace, &p->spec.ingress.items[k].from,
                                   &p->spec.ingress.items[k].ports, peer, address, pod, protocol, port);
    }
    return !isolated || allowed || self;
}

/* ---- Random worlds ---- */

static unsigned long long seed;

static unsigned draw(unsigned n)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(seed >> 33) % n;
}

static void add_label_selector(struct buffer *out)
{
    static const char *const selectors[] = {
        "{}",
        "{'matchLabels':{'app':'x'}}",
        "{'matchLabels':{'app':'y'}}",
        "{'matchLabels':{'tier':'1'}}",
        "{'matchExpressions':[{'key':'app','operator':'NotIn','values':['x']}]}",
        "{'matchExpressions':[{'key':'tier','operator':'Exists'}]}",
        "{'matchLabels':{'app':'x'},'matchExpressions':[{'key':'tier','operator':'DoesNotExist'}]}",
        "{'matchLabels':{'k8s-app':'kube-dns'}}"};
    buffer_add_string(out, selectors[draw(8)]);
}

static void add_peer(struct buffer *out)
{
    static const char *const blocks[] = {"{'cidr':'10.244.0.0/24'}",
                                         "{'cidr':'10.0.0.0/8','except':['10.244.0.8/29','10.1.0.0/16']}",
                                         "{'cidr':'0.0.0.0/0','except':['10.244.0.4/30']}",
                                         "{'cidr':'192.168.0.0/16'}",
                                         "{'cidr':'10.244.0.5/32'}",
                                         "{'cidr':'fd00::/64'}",
                                         "{'cidr':'::/0','except':['fd00::8/125']}",
                                         "{'cidr':'255.255.255.255/32'}",
                                         "{'cidr':'10.96.0.10/32'}"};
    unsigned kind = draw(5);
    if (kind == 0) {
        buffer_printf(out, "{'ipBlock':%s}", blocks[draw(9)]);
        return;
    }
    buffer_add_string(out, "{");
    if (kind != 1) {
        buffer_add_string(out, "'podSelector':");
        add_label_selector(out);
    }
    if (kind == 1 || kind == 2) {
        static const char *const selectors[] = {
            "{}", "{'matchLabels':{'team':'x'}}", "{'matchLabels':{'kubernetes.io/metadata.name':'kube-system'}}",
            "{'matchExpressions':[{'key':'team','operator':'NotIn','values':['x']}]}"};
        buffer_printf(out, "%s'namespaceSelector':%s", kind == 1 ? "" : ",", selectors[draw(4)]);
    }
    buffer_add_string(out, "}");
}

static void add_rules(struct buffer *out, const char *peers)
{
    static const char *const ports[] = {"{'port':80}",
                                        "{'port':'web'}",
                                        "{'port':'web','protocol':'UDP'}",
                                        "{'protocol':'UDP'}",
                                        "{'port':70,'endPort':90}",
                                        "{'port':1,'endPort':65535,'protocol':'SCTP'}",
                                        "{'port':53,'protocol':'UDP'}",
                                        "{'port':91,'endPort':100}",
                                        "{'port':'dns-tcp'}",
                                        "{}"};
    unsigned count = draw(3);
    buffer_add_string(out, "[");
    for (unsigned i = 0; i < count; i++) {
        buffer_printf(out, "%s{'%s':[", i ? "," : "", peers);
        unsigned n = draw(3);
        for (unsigned k = 0; k < n; k++) {
            buffer_add_string(out, k ? "," : "");
            add_peer(out);
        }
        buffer_add_string(out, "],'ports':[");
        n = draw(3);
        for (unsigned k = 0; k < n; k++)
            buffer_printf(out, "%s%s", k ? "," : "", ports[draw(10)]);
        buffer_add_string(out, "]}");
    }
    buffer_add_string(out, "]");
}

static void *decode(struct arena *arena, const struct api_resource *resource, struct buffer *json)
{
    for (size_t i = 0; i < json->size; i++)
        if (json->data[i] == '\'')
            json->data[i] = '"';
    void *value = arena_alloc(arena, resource->type->size);
    struct error err = {0};
    if (json_decode(resource->type, arena, json->data, json->size, value, NULL, &err) < 0)
        fail_msg("%s: %s", err.text, json->data);
    api_set_defaults(arena, resource, value);
    return value;
}

static void change_policy(struct world *w)
{
    static const char *const types[] = {"", "'policyTypes':['Ingress'],", "'policyTypes':['Egress'],",
                                        "'policyTypes':['Ingress','Egress'],"};
    unsigned i = draw(POLICIES);
    char name[8];
    const char *namespace = namespaces[1 + i % 2];
    snprintf(name, sizeof(name), "p%u", i);
    w->policies[i] = NULL;
    if (draw(4)) {
        cleanup_buffer struct buffer json = {0};
        buffer_printf(&json, "{'metadata':{'name':'%s','namespace':'%s'},'spec':{%s'podSelector':", name, namespace,
                      types[draw(4)]);
        add_label_selector(&json);
        buffer_add_string(&json, ",'ingress':");
        add_rules(&json, "from");
        buffer_add_string(&json, ",'egress':");
        add_rules(&json, "to");
        buffer_add_string(&json, "}}");
        w->policies[i] = decode(w->arena, &api_resources[API_NETWORKPOLICIES], &json);
    }
    policy_plan_set_policy(w->plan, namespace, name, w->policies[i]);
}

static void change_pod(struct world *w)
{
    static const char *const labels[] = {"'app':'x'", "'app':'y'", "'app':'x','tier':'1'", "'tier':'2'", ""};
    static const char *const ports[] = {"", "{'name':'web','containerPort':80}", "{'name':'web','containerPort':8080}",
                                        ("{'name':'web','containerPort':53,'protocol':'UDP'},{'name':'dns-tcp',"
                                        "'containerPort':53}")};
    unsigned i = draw(PODS);
    char name[8];
    const char *namespace = namespaces[i % NAMESPACES];
    snprintf(name, sizeof(name), "pod%u", i);
    struct ip_address addresses[2];
    size_t count = 0;
    w->pods[i] = NULL;
    if (draw(5)) {
        cleanup_buffer struct buffer json = {0};
        buffer_printf(&json,
                      "{'metadata':{'name':'%s','namespace':'%s','labels':{%s}},'spec':{'hostNetwork':%s,'containers':["
                      "{'name':'c','image':'i','ports':[%s]}]}}",
                      name, namespace, labels[draw(5)], draw(8) ? "false" : "true", ports[draw(4)]);
        w->pods[i] = decode(w->arena, &api_resources[API_PODS], &json);
        ip_address_parse(w->v4[i], &addresses[count++]);
        ip_address_parse(w->v6[i], &addresses[count++]);
    }
    policy_plan_set_pod(w->plan, namespace, name, w->pods[i], addresses, count, w->local[i]);
}

static void change_namespace(struct world *w)
{
    unsigned i = draw(NAMESPACES);
    static struct string_pair pairs[2][3][2];
    struct string_pair *p = pairs[draw(2)][i];
    p[0] = (struct string_pair){"kubernetes.io/metadata.name", namespaces[i]};
    p[1] = (struct string_pair){"team", p == pairs[0][i] ? "x" : "y"};
    w->labels[i] = draw(6) ? (struct string_map){p, 1 + draw(2)} : (struct string_map){0};
    policy_plan_set_namespace(w->plan, namespaces[i], w->labels[i].items ? &w->labels[i] : NULL);
}

static void compare_one(struct world *w, int i, const struct pod *peer, const char *address, bool egress,
                        const char *mine)
{
    static const char *const protocols[] = {"tcp", "udp", "sctp"};
    static const int ports[] = {53, 70, 80, 90, 95, 101, 8080, 65535};
    const struct pod *pod = w->pods[i];
    if ((strchr(mine, ':') != NULL) != (strchr(address, ':') != NULL))
        return;
    for (int p = 0; p < 3; p++)
        for (int n = 0; n < 8; n++) {
            bool wanted =
                !w->local[i] || pod->spec.host_network || allows(w, egress, pod, peer, address, protocols[p], ports[n]);
            bool got = direction_passes(&w->kernel, egress, mine, address, protocols[p], (unsigned)ports[n]);
            if (wanted != got)
                fail_msg("pod%d %s %s %s %s %d: %s", i, mine, egress ? "to" : "from", address, protocols[p], ports[n],
                         got ? "passes" : "is dropped");
            if (egress)
                judge_flow(&w->kernel, mine, address, protocols[p], (unsigned)ports[n]);
        }
}

static void compare(struct world *w)
{
    static const char *const outside[] = {"192.168.1.1",
                                          "8.8.8.8",
                                          "10.1.2.3",
                                          "10.2.0.1",
                                          "255.255.255.255",
                                          "0.0.0.0",
                                          "fd01::1",
                                          "::",
                                          "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
    for (int i = 0; i < PODS; i++)
        for (int egress = 0; w->pods[i] && egress < 2; egress++)
            for (int family = 0; family < 2; family++) {
                const char *mine = family ? w->v6[i] : w->v4[i];
                for (int k = 0; k < PODS; k++)
                    compare_one(w, i, w->pods[k], family ? w->v6[k] : w->v4[k], egress, mine);
                for (size_t k = 0; k < sizeof(outside) / sizeof(outside[0]); k++)
                    compare_one(w, i, NULL, outside[k], egress, mine);
            }
}

static void compare_dns(struct world *w, const struct pod *server)
{
    for (int i = 0; i < PODS; i++) {
        if (!w->pods[i] || !w->local[i] || w->pods[i]->spec.host_network)
            continue;
        assert_int_equal(direction_passes(&w->kernel, true, w->v4[i], DNS, "udp", 53),
                         allows(w, true, w->pods[i], server, DNS, "udp", 53));
        assert_int_equal(direction_passes(&w->kernel, true, w->v4[i], DNS, "tcp", 53),
                         allows(w, true, w->pods[i], server, DNS, "tcp", 53));
    }
}

static void play(unsigned long long number)
{
    struct world w = {.arena = arena_new(0), .plan = policy_plan_new(DNS)};
    cleanup_buffer struct buffer json = {0};
    buffer_add_string(&json,
                      "{'metadata':{'name':'d','namespace':'kube-system','labels':{'k8s-app':'kube-dns'}},'spec':{"
                      "'containers':[{'name':'c','image':'i','ports':[{'name':'dns','protocol':'UDP',"
                      "'containerPort':53},{'name':'dns-tcp','containerPort':53}]}]}}");
    const struct pod *server = decode(w.arena, &api_resources[API_PODS], &json);
    seed = number;
    for (int i = 0; i < PODS; i++) {
        snprintf(w.v4[i], sizeof(w.v4[i]), "10.244.0.%d", i + 2);
        snprintf(w.v6[i], sizeof(w.v6[i]), "fd00::%x", i + 2);
        w.local[i] = i < 9;
    }
    for (int turn = 0; turn < 15; turn++) {
        unsigned changes = 1 + draw(turn ? 4 : 40);
        for (unsigned k = 0; k < changes; k++) {
            unsigned what = draw(10);
            if (what < 4)
                change_policy(&w);
            else if (what < 9)
                change_pod(&w);
            else
                change_namespace(&w);
        }
        kernel_apply(&w.kernel, w.plan);
        compare(&w);
        compare_dns(&w, server);
    }
    kernel_free(&w.kernel);
    policy_plan_free(w.plan);
    arena_free(w.arena);
}

/* More than by default when the program is called with their number. */
static unsigned long long worlds = 5;

static void random_worlds_agree_with_the_definition(void **state)
{
    (void)state;
    for (unsigned long long number = 1; number <= worlds; number++)
        play(number * 7919);
}

/* ---- What changes cost ---- */

static const struct pod *make_pod(struct arena *arena, const char *name, const char *labels)
{
    cleanup_buffer struct buffer json = {0};
    buffer_printf(&json,
                  "{'metadata':{'name':'%s','namespace':'a','labels':{%s}},'spec':{'containers':[{'name':'c',"
                  "'image':'i'}]}}",
                  name, labels);
    return decode(arena, &api_resources[API_PODS], &json);
}

static void set_numbered_pod(struct world *w, int i, const char *labels)
{
    char name[16], text[24];
    struct ip_address address;
    snprintf(name, sizeof(name), "n%d", i);
    snprintf(text, sizeof(text), "10.244.%d.%d", i / 250, i % 250 + 2);
    ip_address_parse(text, &address);
    policy_plan_set_pod(w->plan, "a", name, make_pod(w->arena, name, labels), &address, 1, i < 10);
}

static void one_more_pod_of_a_kind_is_one_element(void **state)
{
    (void)state;
    struct world w = {.arena = arena_new(0), .plan = policy_plan_new(NULL)};
    cleanup_buffer struct buffer json = {0};
    buffer_add_string(&json, "{'metadata':{'name':'p','namespace':'a'},'spec':{'podSelector':{'matchLabels':{'app':"
                             "'server'}},'ingress':[{'from':[{'podSelector':{'matchLabels':{'app':'client'}}}]}]}}");
    policy_plan_set_policy(w.plan, "a", "p", decode(w.arena, &api_resources[API_NETWORKPOLICIES], &json));
    for (int i = 0; i < 2000; i++)
        set_numbered_pod(&w, i, i < 10 ? "'app':'server'" : "'app':'client'");
    kernel_apply(&w.kernel, w.plan);
    /* 1990 peers; of each server its default, its one rule, and itself. */
    assert_int_equal(w.kernel.changes, 1990 + 10 * 3);
    set_numbered_pod(&w, 2000, "'app':'client'");
    kernel_apply(&w.kernel, w.plan);
    assert_int_equal(w.kernel.changes, 1);
    set_numbered_pod(&w, 2001, "'app':'stranger'");
    kernel_apply(&w.kernel, w.plan);
    assert_int_equal(w.kernel.changes, 0);
    set_numbered_pod(&w, 2000, "'app':'stranger'");
    kernel_apply(&w.kernel, w.plan);
    assert_int_equal(w.kernel.changes, 1);
    policy_plan_set_policy(w.plan, "a", "p", NULL);
    kernel_apply(&w.kernel, w.plan);
    for (int set = 0; set < POLICY_SETS; set++)
        assert_int_equal(w.kernel.elements[set][0].count, 0);
    kernel_free(&w.kernel);
    policy_plan_free(w.plan);
    arena_free(w.arena);
}

static void a_change_of_a_pod_costs_what_that_pod_costs(void **state)
{
    (void)state;
    struct world w = {.arena = arena_new(0), .plan = policy_plan_new(NULL)};
    cleanup_buffer struct buffer json = {0};
    buffer_add_string(&json, "{'metadata':{'name':'p','namespace':'a'},'spec':{'podSelector':{},'ingress':[{'from':[{"
                             "'podSelector':{'matchLabels':{'app':'client'}}}],'ports':[{'port':80}]}]}}");
    policy_plan_set_policy(w.plan, "a", "p", decode(w.arena, &api_resources[API_NETWORKPOLICIES], &json));
    for (int i = 0; i < 10; i++) /* those are local */
        set_numbered_pod(&w, i, i < 2 ? "'app':'client'" : "'app':'server'");
    kernel_apply(&w.kernel, w.plan);
    uint64_t before = policy_plan_pods_made(w.plan);
    set_numbered_pod(&w, 9, "'app':'client'");
    kernel_apply(&w.kernel, w.plan);
    assert_int_equal(policy_plan_pods_made(w.plan), before + 1);
    set_numbered_pod(&w, 100, "'app':'client'"); /* on another node */
    kernel_apply(&w.kernel, w.plan);
    assert_int_equal(policy_plan_pods_made(w.plan), before + 1);
    /* The set of ports is there while one pod has it. */
    for (int i = 0; i < 10; i++) {
        char name[16];
        assert_int_equal(w.kernel.elements[POLICY_PORTS][0].count, 1);
        snprintf(name, sizeof(name), "n%d", i);
        policy_plan_set_pod(w.plan, "a", name, NULL, NULL, 0, false);
        kernel_apply(&w.kernel, w.plan);
    }
    assert_int_equal(w.kernel.elements[POLICY_PORTS][0].count, 0);
    assert_int_equal(policy_plan_pods_made(w.plan), before + 1);
    kernel_free(&w.kernel);
    policy_plan_free(w.plan);
    arena_free(w.arena);
}

static void an_address_that_is_used_again_has_the_rights_of_its_new_pod(void **state)
{
    (void)state;
    struct world w = {.arena = arena_new(0), .plan = policy_plan_new(NULL)};
    cleanup_buffer struct buffer json = {0};
    buffer_add_string(&json, "{'metadata':{'name':'p','namespace':'a'},'spec':{'podSelector':{},'ingress':[{'from':[{"
                             "'podSelector':{'matchLabels':{'app':'client'}}}]}]}}");
    policy_plan_set_policy(w.plan, "a", "p", decode(w.arena, &api_resources[API_NETWORKPOLICIES], &json));
    set_numbered_pod(&w, 1, "'app':'server'");
    struct ip_address address;
    ip_address_parse("10.244.0.99", &address);
    struct pod *old = (struct pod *)make_pod(w.arena, "old", "'app':'client'");
    policy_plan_set_pod(w.plan, "a", "old", old, &address, 1, true);
    kernel_apply(&w.kernel, w.plan);
    assert_true(direction_passes(&w.kernel, false, "10.244.0.3", "10.244.0.99", "tcp", 1));
    /* The old one ends; its address is given away before the API has forgotten it. */
    old->metadata.deletion_timestamp = 1;
    policy_plan_set_pod(w.plan, "a", "old", old, &address, 1, true);
    policy_plan_set_pod(w.plan, "a", "new", make_pod(w.arena, "new", "'app':'stranger'"), &address, 1, true);
    kernel_apply(&w.kernel, w.plan);
    assert_false(direction_passes(&w.kernel, false, "10.244.0.3", "10.244.0.99", "tcp", 1));
    old->metadata.labels.items[0].value = "client";
    old->status.message = "late";
    policy_plan_set_pod(w.plan, "a", "old", old, &address, 1, true);
    kernel_apply(&w.kernel, w.plan);
    assert_false(direction_passes(&w.kernel, false, "10.244.0.3", "10.244.0.99", "tcp", 1));
    policy_plan_set_pod(w.plan, "a", "old", NULL, NULL, 0, true);
    kernel_apply(&w.kernel, w.plan);
    assert_false(direction_passes(&w.kernel, false, "10.244.0.3", "10.244.0.99", "tcp", 1));
    assert_false(direction_passes(&w.kernel, false, "10.244.0.99", "8.8.8.8", "tcp", 1));
    kernel_free(&w.kernel);
    policy_plan_free(w.plan);
    arena_free(w.arena);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        worlds = strtoull(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_worlds_agree_with_the_definition),
        cmocka_unit_test(one_more_pod_of_a_kind_is_one_element),
        cmocka_unit_test(a_change_of_a_pod_costs_what_that_pod_costs),
        cmocka_unit_test(an_address_that_is_used_again_has_the_rights_of_its_new_pod),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
