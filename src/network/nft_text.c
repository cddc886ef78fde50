/* The rule set in nft's language. The frame is written once, at the start; afterwards only elements come and go, and
 * now and then a pair of pick chains for a number of endpoints that no service had before.
 *
 * meta mark carries a number from one lookup to the next, within one chain and never out of it: only the first packet
 * of a connection to a service sees that, and leaves with mark 0.
 *
 * A packet that meets a change between its two lookups may come to a slot that is no more: pick chains fall back to
 * slot 0, which every service with an endpoint has. Pick chains are never deleted, for the same reason. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "network/element.h"

static const char *const protocols[ELEMENT_PROTOCOLS] = {"tcp", "udp", "sctp"};

size_t element_protocol_index(uint8_t protocol)
{
    return protocol == IPPROTO_TCP ? 0 : protocol == IPPROTO_UDP ? 1 : 2;
}

static bool has_slots(enum element_set set)
{
    return element_sets[set].key == KEY_SLOT_SERVICE || element_sets[set].key == KEY_SLOT_NODE_PORT;
}

void nft_write_set_name(struct buffer *out, enum element_set set, size_t protocol_index)
{
    buffer_add_string(out, element_sets[set].name);
    if (has_slots(set))
        buffer_printf(out, "-%s", protocols[protocol_index]);
}

const char *nft_family(int family)
{
    return family == AF_INET6 ? "ip6" : "ip";
}

void nft_write_key(struct buffer *out, const struct element *e)
{
    char address[IP_ADDRESS_TEXT_MAX], source[IP_ADDRESS_TEXT_MAX];
    enum element_key key = element_sets[e->set].key;
    ip_address_text(&e->address, address);
    switch (key) {
    case KEY_SERVICE:
        buffer_printf(out, "%s . %s . %u", protocols[element_protocol_index(e->protocol)], address, e->port);
        return;
    case KEY_SLOT_SERVICE:
        buffer_printf(out, "%u . %s . %u", e->slot, address, e->port);
        return;
    case KEY_NODE_PORT:
        buffer_printf(out, "%s . %u", protocols[element_protocol_index(e->protocol)], e->port);
        return;
    case KEY_SLOT_NODE_PORT:
        buffer_printf(out, "%u . %u", e->slot, e->port);
        return;
    case KEY_ADDRESS_TWICE:
        buffer_printf(out, "%s . %s", address, address);
        return;
    case KEY_SERVICE_SOURCE:
        buffer_printf(out, "%s . %s . %u . %s/%u", protocols[element_protocol_index(e->protocol)], address, e->port,
                      ip_address_text(&e->endpoint_address, source), e->slot);
        return;
    }
}

void nft_write_element(struct buffer *out, const struct element *e)
{
    char address[IP_ADDRESS_TEXT_MAX];
    nft_write_key(out, e);
    switch (element_sets[e->set].value) {
    case VALUE_NONE:
        return;
    case VALUE_NUMBER:
        buffer_printf(out, " : %u", e->number);
        return;
    case VALUE_ENDPOINT:
        buffer_printf(out, " : %s . %u", ip_address_text(&e->endpoint_address, address), e->endpoint_port);
        return;
    }
}

/* In what follows % stands for the family's word, ip or ip6, and $ for a protocol. */
#define SERVICE_KEY "meta l4proto . % daddr . th dport"
#define NODE_PORT_KEY "meta l4proto . th dport"

/* A set's type, as nft's typeof. */
static const char *const key_types[] = {
    [KEY_SERVICE] = SERVICE_KEY,
    [KEY_SLOT_SERVICE] = "numgen random mod 2 . % daddr . $ dport",
    [KEY_NODE_PORT] = NODE_PORT_KEY,
    [KEY_SLOT_NODE_PORT] = "numgen random mod 2 . $ dport",
    [KEY_ADDRESS_TWICE] = "% saddr . % daddr",
    [KEY_SERVICE_SOURCE] = "meta l4proto . % daddr . th dport . % saddr",
};
static const char *const value_types[] = {
    [VALUE_NONE] = NULL,
    [VALUE_NUMBER] = "meta mark",
    [VALUE_ENDPOINT] = "% daddr . $ dport",
};

struct writer {
    struct buffer *out;
    const struct dataplane_plan_config *config;
    const char *protocol;
};

static void write_text(const struct writer *w, const char *text)
{
    for (;;) {
        size_t n = strcspn(text, "%$");
        buffer_add(w->out, text, n);
        if (!text[n])
            return;
        buffer_add_string(w->out, text[n] == '%' ? nft_family(w->config->family) : w->protocol);
        text += n + 1;
    }
}

static void write_set(struct writer *w, enum element_set set, size_t protocol_index)
{
    const char *value = value_types[element_sets[set].value];
    w->protocol = protocols[protocol_index];
    buffer_add_string(w->out, value ? " map " : " set ");
    nft_write_set_name(w->out, set, protocol_index);
    buffer_add_string(w->out, " { typeof ");
    write_text(w, key_types[element_sets[set].key]);
    if (value) {
        buffer_add_string(w->out, " : ");
        write_text(w, value);
    }
    buffer_add_string(w->out, element_sets[set].key == KEY_SERVICE_SOURCE ? "; flags interval; }\n" : "; }\n");
}

static void write_sets(struct writer *w)
{
    for (size_t i = 0; i < ELEMENT_SETS; i++)
        for (size_t p = 0; p < (has_slots(i) ? ELEMENT_PROTOCOLS : 1); p++)
            write_set(w, i, p);
    write_text(w, " map affinity { typeof meta l4proto . % saddr . % daddr . th dport : % daddr . th dport;");
    buffer_printf(w->out,
                  " size %d; flags dynamic,timeout; }\n"
                  " map pick { type mark : verdict; }\n"
                  " map node-port-pick { type mark : verdict; }\n"
                  " map remember { type mark : verdict; }\n",
                  DATAPLANE_AFFINITY_CLIENTS_MAX);
}

/* Looks a connection's first destination up, in a rule of its own for each protocol: nft wants to know which. */
static void write_original(struct writer *w, const char *before, const char *key, const char *after)
{
    for (size_t i = 0; i < ELEMENT_PROTOCOLS; i++) {
        w->protocol = protocols[i];
        write_text(w, "  meta l4proto $ ");
        write_text(w, before);
        buffer_add_string(w->out, "meta l4proto . ");
        write_text(w, key);
        buffer_printf(w->out, "ct original proto-dst %s\n", after);
    }
}

static void write_nat(struct writer *w)
{
    const struct dataplane_plan_config *config = w->config;
    struct buffer *out = w->out;
    write_text(w, " chain bound-clients {\n"
                  "  " SERVICE_KEY " @source-limited " SERVICE_KEY " . % saddr != @source-ranges drop\n"
                  "  dnat % to meta l4proto . % saddr . % daddr . th dport map @affinity\n"
                  " }\n"
                  " chain services {\n"
                  "  meta mark set " SERVICE_KEY " map @service-sizes meta mark vmap @pick\n"
                  "  fib daddr type local meta mark set " NODE_PORT_KEY
                  " map @node-port-sizes meta mark vmap @node-port-pick\n"
                  " }\n");
    buffer_printf(out, " chain inside-services {\n  %s daddr %s return\n", nft_family(config->family),
                  config->service_cidr);
    write_text(w, "  meta mark set " SERVICE_KEY " map @inside-sizes meta mark vmap @pick\n"
                  "  fib daddr type local meta mark set " NODE_PORT_KEY
                  " map @inside-node-port-sizes meta mark vmap @node-port-pick\n"
                  " }\n");
    buffer_printf(out,
                  " chain nat-prerouting {\n"
                  "  type nat hook prerouting priority -100;\n"
                  "  jump bound-clients\n"
                  "  iifname \"%s\" jump inside-services\n"
                  "  jump services\n"
                  " }\n"
                  " chain nat-output {\n"
                  "  type nat hook output priority -100;\n"
                  "  jump bound-clients\n"
                  "  jump inside-services\n"
                  "  jump services\n"
                  " }\n"
                  " chain remember-clients {\n",
                  config->bridge);
    write_original(w, "meta mark set ", "ct original % daddr . ", "map @service-affinity meta mark vmap @remember");
    char outside[96];
    snprintf(outside, sizeof(outside), "ct original %% daddr != %s meta mark set ", config->service_cidr);
    write_original(w, outside, "", "map @node-port-affinity meta mark vmap @remember");
    write_text(w, " }\n chain masquerade-services {\n");
    write_text(w, "  % saddr . % daddr @hairpin masquerade fully-random\n");
    if (config->family == AF_INET)
        buffer_add_string(out, "  ip saddr 127.0.0.0/8 oifname != \"lo\" masquerade fully-random\n");
    write_original(w, "", "", "@node-port-masquerade masquerade fully-random");
    write_original(w, "", "ct original % daddr . ", "@service-masquerade masquerade fully-random");
    buffer_add_string(out, " }\n chain nat-postrouting {\n"
                           "  type nat hook postrouting priority 100;\n"
                           "  ct status dnat jump remember-clients\n"
                           "  ct status dnat jump masquerade-services\n");
    if (config->masquerade_egress)
        buffer_printf(out, "  %s saddr %s %s daddr != %s oifname != \"%s\" masquerade fully-random\n",
                      nft_family(config->family), config->pod_cidr, nft_family(config->family), config->pod_cidr,
                      config->bridge);
    buffer_add_string(out, " }\n");
}

static void write_filter(struct writer *w)
{
    const struct dataplane_plan_config *config = w->config;
    struct buffer *out = w->out;
    buffer_printf(out,
                  " chain refuse {\n"
                  "  meta l4proto tcp reject with tcp reset\n"
                  "  reject with %s type port-unreachable\n"
                  " }\n"
                  " chain refuse-services {\n",
                  config->family == AF_INET6 ? "icmpv6" : "icmp");
    write_text(w, "  " SERVICE_KEY " @service-dropped drop\n"
                  "  fib daddr type local " NODE_PORT_KEY " @node-port-dropped drop\n");
    buffer_printf(out, "  %s daddr %s goto refuse\n", nft_family(config->family), config->service_cidr);
    write_text(w, "  " SERVICE_KEY " @service-refused goto refuse\n"
                  "  fib daddr type local " NODE_PORT_KEY " @node-port-refused goto refuse\n"
                  " }\n");
    buffer_printf(out,
                  " chain filter-input { type filter hook input priority 0; ct state new jump refuse-services; }\n"
                  " chain filter-forward {\n"
                  "  type filter hook forward priority 0;\n"
                  "  iifname \"%s\" ct state invalid drop\n"
                  "  ct state new jump refuse-services\n"
                  " }\n"
                  " chain filter-output { type filter hook output priority 0; ct state new jump refuse-services; }\n",
                  config->bridge);
    if (config->family == AF_INET)
        buffer_printf(out,
                      " chain raw-prerouting {\n"
                      "  type filter hook prerouting priority -300;\n"
                      "  iifname \"%s\" ip daddr 127.0.0.0/8 drop\n"
                      "  iifname \"%s\" ip saddr 127.0.0.0/8 drop\n"
                      " }\n",
                      config->bridge, config->bridge);
}

void nft_write_frame(struct buffer *out, const struct dataplane_plan_config *config)
{
    struct writer w = {.out = out, .config = config};
    buffer_printf(out, "table %s %s {\n", nft_family(config->family), config->table);
    write_sets(&w);
    write_nat(&w);
    write_filter(&w);
    buffer_add_string(out, "}\n");
}

/* One of two kinds of chains: `key` is what stands before the port in the keys of the endpoints' maps. */
static void write_pick(struct buffer *out, const struct dataplane_plan_config *config, uint32_t n, const char *prefix,
                       const char *key, enum element_set endpoints)
{
    const char *table = config->table, *family = nft_family(config->family);
    struct writer w = {.out = out, .config = config};
    char offset[24] = "";
    if (n > ELEMENT_INSIDE)
        snprintf(offset, sizeof(offset), " offset %d", ELEMENT_INSIDE);
    buffer_printf(out, "add chain %s %s %spick-%u\nflush chain %s %s %spick-%u\n", family, table, prefix, n, family,
                  table, prefix, n);
    buffer_printf(out, "add rule %s %s %spick-%u meta mark set 0\n", family, table, prefix, n);
    for (size_t i = 0; i < ELEMENT_PROTOCOLS * 2; i++) {
        buffer_printf(out, "add rule %s %s %spick-%u dnat %s to numgen random mod %u%s . ", family, table, prefix, n,
                      family, i % 2 ? 1 : n % ELEMENT_INSIDE, offset);
        w.protocol = protocols[i / 2];
        write_text(&w, key);
        buffer_printf(out, "%s dport map @", w.protocol);
        nft_write_set_name(out, endpoints, i / 2);
        buffer_add_char(out, '\n');
    }
    buffer_printf(out, "add element %s %s %spick { %u : goto %spick-%u }\n", family, table, prefix, n, prefix, n);
}

void nft_write_pick(struct buffer *out, const struct dataplane_plan_config *config, uint32_t n)
{
    write_pick(out, config, n, "", "% daddr . ", SERVICE_ENDPOINTS);
    write_pick(out, config, n, "node-port-", "", NODE_PORT_ENDPOINTS);
}

void nft_write_remember(struct buffer *out, const struct dataplane_plan_config *config, uint32_t seconds)
{
    const char *table = config->table, *family = nft_family(config->family);
    buffer_printf(out, "add chain %s %s remember-%u\n", family, table, seconds);
    if (config->family == AF_INET) {
        buffer_printf(out, "flush chain ip %s remember-%u\nadd rule ip %s remember-%u meta mark set 0\n", table,
                      seconds, table, seconds);
        for (size_t i = 0; i < ELEMENT_PROTOCOLS; i++)
            buffer_printf(out,
                          "add rule ip %s remember-%u meta l4proto %s update @affinity { meta l4proto . ip saddr . "
                          "ct original ip daddr . ct original proto-dst timeout %us : ip daddr . th dport }\n",
                          table, seconds, protocols[i], seconds);
    }
    buffer_printf(out, "add element %s %s remember { %u : jump remember-%u }\n", family, table, seconds, seconds);
}
