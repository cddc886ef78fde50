/* What ought to be in the kernel, and the way there. An element is in the list `changed` while what is wanted may
 * differ from what is installed. A map or set of ranges is written anew when it changes: it is small, and kernels
 * differ in what they think of ranges that come and go in one transaction.
 *
 * meta mark carries a number from one lookup to the next, within the judgement and never out of it. */
#include "network/policy_table.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/list.h"

struct element {
    struct list changed; /* alone when it is not in the list */
    char *key;
    enum policy_set set;
    bool ipv6;
    bool wanted, installed;
    uint32_t value, installed_value;
};

struct policy_table {
    struct policy_table_config config;
    struct map elements[POLICY_SETS][2]; /* by family: key -> struct element */
    struct list changed;
    size_t wanted;
    bool there;    /* in the kernel */
    bool narrowed; /* since it was asked for */
};

static const struct {
    const char *name;
    const char *key; /* nft's typeof; %s stands for ip or ip6 */
    bool map;
    bool ranges;
} sets[POLICY_SETS] = {
    [POLICY_PEERS] = {"peers", "%s saddr", true, false},
    [POLICY_BLOCKS] = {"blocks", "%s saddr", true, true},
    [POLICY_EGRESS] = {"egress", "%s saddr . meta mark", true, false},
    [POLICY_EGRESS_DEFAULT] = {"egress-default", "%s saddr", true, false},
    [POLICY_INGRESS] = {"ingress", "%s saddr . meta mark", true, false},
    [POLICY_INGRESS_DEFAULT] = {"ingress-default", "%s saddr", true, false},
    [POLICY_SELF] = {"self", "%s saddr . %s daddr", false, false},
    [POLICY_DNS] = {"dns", "%s saddr . meta l4proto", false, false},
    [POLICY_PORTS] = {"ports", "meta mark . meta l4proto . th dport", false, false},
    [POLICY_PORT_RANGES] = {"port-ranges", "meta mark . meta l4proto . th dport", false, true},
    [POLICY_PROTOCOLS] = {"protocols", "meta mark . meta l4proto", false, false},
};

bool policy_set_is_map(enum policy_set set)
{
    return sets[set].map;
}

bool policy_set_has_family(enum policy_set set)
{
    return strstr(sets[set].key, "%s") != NULL;
}

void policy_changes_free(struct policy_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        free(changes->items[i].key);
    vector_free(changes);
}

struct policy_table *policy_table_new(const struct policy_table_config *config)
{
    struct policy_table *t = mem_zero(1, sizeof(*t));
    t->config.table = mem_string(config->table);
    t->config.bridge = mem_string(config->bridge);
    t->config.dns_address = config->dns_address ? mem_string(config->dns_address) : NULL;
    list_init(&t->changed);
    return t;
}

static void free_element(struct element *e)
{
    free(e->key);
    free(e);
}

void policy_table_free(struct policy_table *t)
{
    if (!t)
        return;
    for (int set = 0; set < POLICY_SETS; set++)
        for (int family = 0; family < 2; family++) {
            for (struct map_slot *s = NULL; (s = map_next(&t->elements[set][family], s));)
                free_element(s->value);
            map_free(&t->elements[set][family]);
        }
    free((char *)t->config.table);
    free((char *)t->config.bridge);
    free((char *)t->config.dns_address);
    free(t);
}

void policy_table_apply(struct policy_table *t, const struct policy_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        const struct policy_change *c = &changes->items[i];
        struct map *map = &t->elements[c->set][c->ipv6];
        struct element *e = map_get(map, c->key);
        if (!e && c->remove)
            continue;
        if (!e) {
            e = mem_zero(1, sizeof(*e));
            e->key = mem_string(c->key);
            e->set = c->set;
            e->ipv6 = c->ipv6;
            list_init(&e->changed);
            map_set(map, e->key, e);
        }
        t->wanted += (size_t)!c->remove - (size_t)e->wanted;
        e->wanted = !c->remove;
        e->value = c->value;
        if (list_empty(&e->changed))
            list_append(&t->changed, &e->changed);
    }
}

const char *policy_table_name(const struct policy_table *t)
{
    return t->config.table;
}

size_t policy_table_count(const struct policy_table *t)
{
    return t->wanted;
}

/* ---- the frame ---- */

static void write_family(struct buffer *out, const char *text, const char *family)
{
    for (const char *mark; (mark = strstr(text, "%s")); text = mark + 2) {
        buffer_add(out, text, (size_t)(mark - text));
        buffer_add_string(out, family);
    }
    buffer_add_string(out, text);
}

static void write_set(struct buffer *out, enum policy_set set, bool ipv6)
{
    buffer_printf(out, " %s %s%s { typeof ", sets[set].map ? "map" : "set", sets[set].name, ipv6 ? "6" : "");
    write_family(out, sets[set].key, ipv6 ? "ip6" : "ip");
    buffer_printf(out, "%s;%s }\n", sets[set].map ? " : meta mark" : "", sets[set].ranges ? " flags interval;" : "");
}

/* One direction: `pod` and `peer` are saddr and daddr of its packets, or the other way round. */
static void write_direction(struct buffer *out, const struct policy_table_config *config, const char *name, bool ipv6,
                            const char *pod, const char *peer)
{
    const char *f = ipv6 ? "ip6" : "ip", *n = ipv6 ? "6" : "";
    bool dns = config->dns_address && strcmp(name, "egress") == 0 && (strchr(config->dns_address, ':') != NULL) == ipv6;
    buffer_printf(out, " chain %s%s {\n  meta mark set 0\n  %s saddr . %s daddr @self%s return\n", name, n, f, f, n);
    for (int i = 0; dns && i < 2; i++)
        buffer_printf(
            out,
            "  ct original %s daddr %s meta l4proto %s ct original proto-dst 53 %s saddr . meta l4proto @dns%s "
            "return\n",
            f, config->dns_address, i ? "tcp" : "udp", f, n);
    buffer_printf(out,
                  "  meta mark set %s %s map @peers%s\n"
                  "  meta mark 0 meta mark set %s %s map @blocks%s\n"
                  "  meta mark set %s %s . meta mark map @%s%s goto judge-port\n"
                  "  meta mark set %s %s map @%s-default%s goto judge-port\n"
                  " }\n",
                  f, peer, n, f, peer, n, f, pod, name, n, f, pod, name, n);
}

static void write_frame(struct buffer *out, const struct policy_table_config *config)
{
    buffer_printf(out, "table inet %s {\n", config->table);
    for (int set = 0; set < POLICY_SETS; set++)
        for (int family = 0; family < (policy_set_has_family(set) ? 2 : 1); family++)
            write_set(out, set, family);
    buffer_printf(out,
                  " chain judge-port {\n"
                  "  meta mark %d meta mark set 0 return\n"
                  "  meta mark . meta l4proto . th dport @ports meta mark set 0 return\n"
                  "  meta mark . meta l4proto @protocols meta mark set 0 return\n"
                  "  meta mark . meta l4proto . th dport @port-ranges meta mark set 0 return\n"
                  "  drop\n"
                  " }\n",
                  POLICY_EVERYTHING);
    for (int ipv6 = 0; ipv6 < 2; ipv6++) {
        write_direction(out, config, "egress", ipv6, "saddr", "daddr");
        write_direction(out, config, "ingress", ipv6, "daddr", "saddr");
    }
    /* Neighbour discovery is no traffic of a pod's. */
    buffer_printf(out,
                  " chain judge-egress {\n"
                  "  meta mark set ip saddr map @egress-default jump egress\n"
                  "  meta mark set ip6 saddr map @egress-default6 jump egress6\n"
                  " }\n"
                  " chain judge-ingress {\n"
                  "  meta mark set ip daddr map @ingress-default jump ingress\n"
                  "  meta mark set ip6 daddr map @ingress-default6 jump ingress6\n"
                  " }\n"
                  " chain forward {\n"
                  "  type filter hook forward priority 10;\n"
                  "  ct state established,related accept\n"
                  "  jump judge-egress\n"
                  "  jump judge-ingress\n"
                  " }\n"
                  " chain input {\n"
                  "  type filter hook input priority 10;\n"
                  "  iifname != \"%s\" accept\n"
                  "  ct state established,related accept\n"
                  "  icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept\n"
                  "  jump judge-egress\n"
                  " }\n"
                  "}\n",
                  config->bridge);
}

/* ---- the difference ---- */

struct lists {
    struct buffer deleted[POLICY_SETS][2], added[POLICY_SETS][2];
    bool anew[POLICY_SETS][2];
};

static struct buffer *open_list(struct buffer *list)
{
    buffer_add_string(list, list->size ? ", " : "");
    return list;
}

static void list_added(struct lists *lists, struct element *e)
{
    struct buffer *list = open_list(&lists->added[e->set][e->ipv6]);
    buffer_add_string(list, e->key);
    if (sets[e->set].map)
        buffer_printf(list, " : %u", e->value);
    e->installed = true;
    e->installed_value = e->value;
}

/* What is added gives rights, but for what isolates a pod; what goes or changes may take some. */
static bool narrows(const struct element *e)
{
    return e->installed || e->set == POLICY_EGRESS_DEFAULT || e->set == POLICY_INGRESS_DEFAULT;
}

static void list_deleted(struct lists *lists, struct element *e)
{
    buffer_add_string(open_list(&lists->deleted[e->set][e->ipv6]), e->key);
    e->installed = false;
}

/* Brings one that is not of ranges up to date. */
static void settle(struct lists *lists, struct element *e)
{
    if (e->installed && (!e->wanted || e->installed_value != e->value))
        list_deleted(lists, e);
    if (e->wanted && !e->installed)
        list_added(lists, e);
}

static void settle_changed(struct policy_table *t, struct lists *lists)
{
    struct element *e;
    list_for_each(&t->changed, e, changed)
    {
        list_remove(&e->changed);
        t->narrowed |= narrows(e);
        if (!sets[e->set].ranges)
            settle(lists, e);
        else if (e->wanted != e->installed || (e->wanted && e->value != e->installed_value))
            lists->anew[e->set][e->ipv6] = true;
        if (!e->wanted) {
            map_remove(&t->elements[e->set][e->ipv6], e->key);
            free_element(e);
        }
    }
}

static void write_list(struct buffer *out, const char *verb, const char *table, int set, int family,
                       struct buffer *list)
{
    if (list->size) {
        buffer_printf(out, "%s element inet %s %s%s { ", verb, table, sets[set].name, family ? "6" : "");
        buffer_add(out, list->data, list->size);
        buffer_add_string(out, " }\n");
    }
    buffer_free(list);
}

static void write_changes(struct policy_table *t, struct buffer *script)
{
    struct lists lists = {0};
    settle_changed(t, &lists);
    for (int set = 0; set < POLICY_SETS; set++)
        for (int family = 0; family < 2; family++) {
            write_list(script, "delete", t->config.table, set, family, &lists.deleted[set][family]);
            if (!lists.anew[set][family])
                continue;
            buffer_printf(script, "flush %s inet %s %s%s\n", sets[set].map ? "map" : "set", t->config.table,
                          sets[set].name, family ? "6" : "");
            for (struct map_slot *s = NULL; (s = map_next(&t->elements[set][family], s));)
                list_added(&lists, s->value);
        }
    for (int set = 0; set < POLICY_SETS; set++)
        for (int family = 0; family < 2; family++)
            write_list(script, "add", t->config.table, set, family, &lists.added[set][family]);
}

static void mark_all(struct policy_table *t)
{
    for (int set = 0; set < POLICY_SETS; set++)
        for (int family = 0; family < 2; family++)
            for (struct map_slot *s = NULL; (s = map_next(&t->elements[set][family], s));) {
                struct element *e = s->value;
                e->installed = false;
                if (list_empty(&e->changed))
                    list_append(&t->changed, &e->changed);
            }
}

/* What there is of the table goes; it comes back if there is something to put into it. */
static void write_anew(struct policy_table *t, struct buffer *script)
{
    buffer_printf(script, "add table inet %s\ndelete table inet %s\n", t->config.table, t->config.table);
    mark_all(t);
    t->narrowed = true;
    t->there = t->wanted > 0;
    if (t->there)
        write_frame(script, &t->config);
    struct buffer elements = {0};
    write_changes(t, &elements);
    if (t->there && elements.size)
        buffer_add(script, elements.data, elements.size);
    buffer_free(&elements);
}

void policy_table_full(struct policy_table *t, struct buffer *script)
{
    write_anew(t, script);
}

void policy_table_diff(struct policy_table *t, struct buffer *script)
{
    if (list_empty(&t->changed))
        return;
    if (t->there && t->wanted)
        write_changes(t, script);
    else
        write_anew(t, script);
}

/* ---- judging as the kernel does ---- */

bool policy_table_has_narrowed(struct policy_table *t)
{
    bool narrowed = t->narrowed && t->there;
    t->narrowed = false;
    return narrowed;
}

static const struct element *find(const struct policy_table *t, enum policy_set set, bool ipv6, const char *key)
{
    const struct element *e = map_get(&t->elements[set][ipv6], key);
    return e && e->wanted ? e : NULL;
}

/* The class of a block that holds the address. */
static uint32_t block_of(const struct policy_table *t, const struct ip_address *address)
{
    for (struct map_slot *s = NULL; (s = map_next(&t->elements[POLICY_BLOCKS][address->family == AF_INET6], s));) {
        const struct element *e = s->value;
        struct ip_address first, last;
        const char *dash = strchr(e->key, '-');
        cleanup_free char *text = mem_string_n(e->key, dash ? (size_t)(dash - e->key) : strlen(e->key));
        if (e->wanted && ip_address_parse(text, &first) && ip_address_parse(dash ? dash + 1 : text, &last) &&
            ip_address_compare(&first, address) <= 0 && ip_address_compare(address, &last) <= 0)
            return e->value;
    }
    return POLICY_CLASS_NONE;
}

static const char *word_of(uint8_t protocol)
{
    return protocol == IPPROTO_TCP ? "tcp" : protocol == IPPROTO_UDP ? "udp" : "sctp";
}

static bool port_is_in(const struct policy_table *t, uint32_t port_set, uint8_t protocol, uint16_t port)
{
    char key[64], begin[48];
    const char *word = word_of(protocol);
    if (port_set == POLICY_EVERYTHING)
        return true;
    snprintf(key, sizeof(key), "%u . %s . %u", port_set, word, port);
    snprintf(begin, sizeof(begin), "%u . %s", port_set, word);
    if (find(t, POLICY_PORTS, false, key) || find(t, POLICY_PROTOCOLS, false, begin))
        return true;
    for (struct map_slot *s = NULL; (s = map_next(&t->elements[POLICY_PORT_RANGES][0], s));) {
        const struct element *e = s->value;
        unsigned first, last;
        size_t n = strlen(begin);
        if (e->wanted && strncmp(s->key, begin, n) == 0 && sscanf(s->key + n, " . %u-%u", &first, &last) == 2 &&
            first <= port && port <= last)
            return true;
    }
    return false;
}

/* One direction, as write_direction writes it. */
static bool passes(const struct policy_table *t, const struct policy_flow *flow, bool egress)
{
    const struct ip_address *pod = egress ? &flow->source : &flow->destination;
    const struct ip_address *peer = egress ? &flow->destination : &flow->source;
    bool ipv6 = pod->family == AF_INET6;
    char pod_text[IP_ADDRESS_TEXT_MAX], peer_text[IP_ADDRESS_TEXT_MAX], asked[IP_ADDRESS_TEXT_MAX];
    char key[IP_ADDRESS_TEXT_MAX * 2 + 16];
    ip_address_text(pod, pod_text);
    ip_address_text(peer, peer_text);
    const struct element *rule = find(t, egress ? POLICY_EGRESS_DEFAULT : POLICY_INGRESS_DEFAULT, ipv6, pod_text);
    if (!rule || ip_address_equal(pod, peer))
        return true;
    snprintf(key, sizeof(key), "%s . %s", pod_text, word_of(flow->protocol));
    if (egress && t->config.dns_address && flow->asked_port == 53 &&
        strcmp(ip_address_text(&flow->asked, asked), t->config.dns_address) == 0 && find(t, POLICY_DNS, ipv6, key))
        return true;
    const struct element *class = find(t, POLICY_PEERS, ipv6, peer_text);
    uint32_t id = class && class->value ? class->value : block_of(t, peer);
    snprintf(key, sizeof(key), "%s . %u", pod_text, id);
    const struct element *special = find(t, egress ? POLICY_EGRESS : POLICY_INGRESS, ipv6, key);
    return port_is_in(t, special ? special->value : rule->value, flow->protocol, flow->destination_port);
}

bool policy_table_allows(const struct policy_table *t, const struct policy_flow *flow)
{
    return passes(t, flow, true) && passes(t, flow, false);
}
