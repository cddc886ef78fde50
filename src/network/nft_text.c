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

void nft_write_key(struct buffer *out, const struct element *e)
{
    char address[INET_ADDRSTRLEN];
    enum element_key key = element_sets[e->set].key;
    inet_ntop(AF_INET, &e->address, address, sizeof(address));
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
    }
}

void nft_write_element(struct buffer *out, const struct element *e)
{
    char address[INET_ADDRSTRLEN];
    nft_write_key(out, e);
    switch (element_sets[e->set].value) {
    case VALUE_NONE:
        return;
    case VALUE_NUMBER:
        buffer_printf(out, " : %u", e->number);
        return;
    case VALUE_ENDPOINT:
        inet_ntop(AF_INET, &e->endpoint_address, address, sizeof(address));
        buffer_printf(out, " : %s . %u", address, e->endpoint_port);
        return;
    }
}

#define SERVICE_KEY "meta l4proto . ip daddr . th dport"
#define NODE_PORT_KEY "meta l4proto . th dport"

/* A set's type, as nft's typeof; %s is the protocol where a set is per protocol. */
static const char *const key_types[] = {
    [KEY_SERVICE] = SERVICE_KEY,
    [KEY_SLOT_SERVICE] = "numgen random mod 2 . ip daddr . %s dport",
    [KEY_NODE_PORT] = NODE_PORT_KEY,
    [KEY_SLOT_NODE_PORT] = "numgen random mod 2 . %s dport",
    [KEY_ADDRESS_TWICE] = "ip saddr . ip daddr",
};
static const char *const value_types[] = {
    [VALUE_NONE] = NULL,
    [VALUE_NUMBER] = "meta mark",
    [VALUE_ENDPOINT] = "ip daddr . %s dport",
};

static void write_type(struct buffer *out, const char *type, const char *protocol)
{
    const char *mark = strstr(type, "%s");
    buffer_add(out, type, mark ? (size_t)(mark - type) : strlen(type));
    if (mark)
        buffer_printf(out, "%s%s", protocol, mark + 2);
}

static void write_set(struct buffer *out, enum element_set set, size_t protocol_index)
{
    const char *value = value_types[element_sets[set].value];
    buffer_add_string(out, value ? " map " : " set ");
    nft_write_set_name(out, set, protocol_index);
    buffer_add_string(out, " { typeof ");
    write_type(out, key_types[element_sets[set].key], protocols[protocol_index]);
    if (value) {
        buffer_add_string(out, " : ");
        write_type(out, value, protocols[protocol_index]);
    }
    buffer_add_string(out, "; }\n");
}

static void write_sets(struct buffer *out)
{
    for (size_t i = 0; i < ELEMENT_SETS; i++)
        for (size_t p = 0; p < (has_slots(i) ? ELEMENT_PROTOCOLS : 1); p++)
            write_set(out, i, p);
    buffer_printf(out,
                  " map affinity { typeof meta l4proto . ip saddr . ip daddr . th dport : ip daddr . th dport;"
                  " size %d; flags dynamic,timeout; }\n"
                  " map pick { type mark : verdict; }\n"
                  " map node-port-pick { type mark : verdict; }\n"
                  " map remember { type mark : verdict; }\n",
                  DATAPLANE_AFFINITY_CLIENTS_MAX);
}

/* Looks a connection's first destination up, in a rule of its own for each protocol: nft wants to know which. */
static void write_original(struct buffer *out, const char *before, const char *key, const char *after)
{
    for (size_t i = 0; i < ELEMENT_PROTOCOLS; i++)
        buffer_printf(out, "  meta l4proto %s %smeta l4proto . %sct original proto-dst %s\n", protocols[i], before, key,
                      after);
}

static void write_nat(struct buffer *out, const struct dataplane_plan_config *config)
{
    buffer_add_string(out,
                      " chain services {\n"
                      "  dnat ip to meta l4proto . ip saddr . ip daddr . th dport map @affinity\n"
                      "  meta mark set " SERVICE_KEY " map @service-sizes meta mark vmap @pick\n"
                      "  fib daddr type local meta mark set " NODE_PORT_KEY
                      " map @node-port-sizes meta mark vmap @node-port-pick\n"
                      " }\n"
                      " chain nat-prerouting { type nat hook prerouting priority -100; jump services; }\n"
                      " chain nat-output { type nat hook output priority -100; jump services; }\n"
                      " chain remember-clients {\n");
    write_original(out, "meta mark set ", "ct original ip daddr . ", "map @service-affinity meta mark vmap @remember");
    char outside[96];
    snprintf(outside, sizeof(outside), "ct original ip daddr != %s meta mark set ", config->service_cidr);
    write_original(out, outside, "", "map @node-port-affinity meta mark vmap @remember");
    buffer_add_string(out, " }\n chain masquerade-services {\n");
    buffer_add_string(out, "  ip saddr . ip daddr @hairpin masquerade fully-random\n");
    buffer_printf(out, "  ip saddr 127.0.0.0/8 oifname \"%s\" masquerade fully-random\n", config->bridge);
    write_original(out, "", "", "@node-port-masquerade masquerade fully-random");
    write_original(out, "", "ct original ip daddr . ", "@service-masquerade masquerade fully-random");
    buffer_add_string(out, " }\n chain nat-postrouting {\n"
                           "  type nat hook postrouting priority 100;\n"
                           "  ct status dnat jump remember-clients\n"
                           "  ct status dnat jump masquerade-services\n");
    if (config->masquerade_egress)
        buffer_printf(out, "  ip saddr %s ip daddr != %s oifname != \"%s\" masquerade fully-random\n", config->pod_cidr,
                      config->pod_cidr, config->bridge);
    buffer_add_string(out, " }\n");
}

static void write_filter(struct buffer *out, const struct dataplane_plan_config *config)
{
    buffer_printf(out,
                  " chain refuse {\n"
                  "  meta l4proto tcp reject with tcp reset\n"
                  "  reject with icmp type port-unreachable\n"
                  " }\n"
                  " chain refuse-services {\n"
                  "  ip daddr %s goto refuse\n"
                  "  " SERVICE_KEY " @service-refused goto refuse\n"
                  "  fib daddr type local " NODE_PORT_KEY " @node-port-refused goto refuse\n"
                  " }\n"
                  " chain filter-input { type filter hook input priority 0; ct state new jump refuse-services; }\n"
                  " chain filter-forward {\n"
                  "  type filter hook forward priority 0;\n"
                  "  iifname \"%s\" ct state invalid drop\n"
                  "  ct state new jump refuse-services\n"
                  " }\n"
                  " chain filter-output { type filter hook output priority 0; ct state new jump refuse-services; }\n"
                  " chain raw-prerouting {\n"
                  "  type filter hook prerouting priority -300;\n"
                  "  iifname \"%s\" ip daddr 127.0.0.0/8 drop\n"
                  "  iifname \"%s\" ip saddr 127.0.0.0/8 drop\n"
                  " }\n",
                  config->service_cidr, config->bridge, config->bridge, config->bridge);
}

void nft_write_frame(struct buffer *out, const struct dataplane_plan_config *config)
{
    buffer_printf(out, "add table ip %s\ndelete table ip %s\ntable ip %s {\n", config->table, config->table,
                  config->table);
    write_sets(out);
    write_nat(out, config);
    write_filter(out, config);
    buffer_add_string(out, "}\n");
}

/* One of two kinds of chains: `key` is what stands before the port in the keys of the endpoints' maps. */
static void write_pick(struct buffer *out, const char *table, uint32_t n, const char *prefix, const char *key,
                       enum element_set endpoints)
{
    buffer_printf(out, "add chain ip %s %spick-%u\nflush chain ip %s %spick-%u\n", table, prefix, n, table, prefix, n);
    buffer_printf(out, "add rule ip %s %spick-%u meta mark set 0\n", table, prefix, n);
    for (size_t i = 0; i < ELEMENT_PROTOCOLS * 2; i++) {
        buffer_printf(out, "add rule ip %s %spick-%u dnat ip to numgen random mod %u . %s%s dport map @", table, prefix, n,
                      i % 2 ? 1 : n, key, protocols[i / 2]);
        nft_write_set_name(out, endpoints, i / 2);
        buffer_add_char(out, '\n');
    }
    buffer_printf(out, "add element ip %s %spick { %u : goto %spick-%u }\n", table, prefix, n, prefix, n);
}

void nft_write_pick(struct buffer *out, const char *table, uint32_t n)
{
    write_pick(out, table, n, "", "ip daddr . ", SERVICE_ENDPOINTS);
    write_pick(out, table, n, "node-port-", "", NODE_PORT_ENDPOINTS);
}

void nft_write_remember(struct buffer *out, const char *table, uint32_t seconds)
{
    buffer_printf(out, "add chain ip %s remember-%u\nflush chain ip %s remember-%u\n", table, seconds, table, seconds);
    buffer_printf(out, "add rule ip %s remember-%u meta mark set 0\n", table, seconds);
    for (size_t i = 0; i < ELEMENT_PROTOCOLS; i++)
        buffer_printf(out,
                      "add rule ip %s remember-%u meta l4proto %s update @affinity { meta l4proto . ip saddr . "
                      "ct original ip daddr . ct original proto-dst timeout %us : ip daddr . th dport }\n",
                      table, seconds, protocols[i], seconds);
    buffer_printf(out, "add element ip %s remember { %u : jump remember-%u }\n", table, seconds, seconds);
}
