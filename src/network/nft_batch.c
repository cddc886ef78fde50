/* Keys and values are what the kernel compares and loads into registers: each part of a concatenation fills whole
 * registers of 4 bytes, the rest zero; addresses and ports are in network order, numbers in the machine's. */
#include "network/nft_batch.h"

#include <arpa/inet.h>
#include <assert.h>
#include <endian.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* The length of a list of elements is a number of 16 bits; one element is far below the rest. */
#define LIST_LARGE 60000

static void add_frame(struct netlink_batch *batch, uint16_t type)
{
    const struct nfgenmsg frame = {.version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)};
    netlink_message(batch, type, 0, &frame, sizeof(frame));
}

void nft_batch_begin(struct netlink_batch *batch)
{
    assert(batch->count == 0);
    batch->framed = true;
    add_frame(batch, NFNL_MSG_BATCH_BEGIN);
}

int nft_batch_commit(struct nft *nft, struct netlink_batch *batch, struct error *err)
{
    add_frame(batch, NFNL_MSG_BATCH_END);
    return netlink_commit(nft_netlink(nft), batch, NULL, err) < 0 ? error_wrap(err, "nftables") : 0;
}

void nft_batch_message(struct netlink_batch *batch, int family, uint16_t type, uint16_t flags)
{
    const struct nfgenmsg header = {.nfgen_family = (uint8_t)family, .version = NFNETLINK_V0};
    netlink_message(batch, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, &header, sizeof(header));
}

/* Only one that is there can be deleted. */
void nft_batch_delete_table(struct netlink_batch *batch, int family, const char *table)
{
    nft_batch_message(batch, family, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    netlink_add_string(batch, NFTA_TABLE_NAME, table);
    nft_batch_message(batch, family, NFT_MSG_DELTABLE, 0);
    netlink_add_string(batch, NFTA_TABLE_NAME, table);
}

/* ---- elements ---- */

void nft_elements_close(struct nft_elements *e)
{
    if (e->list)
        netlink_nest_end(e->batch, e->list);
    e->list = 0;
}

size_t nft_elements_begin(struct nft_elements *e)
{
    if (e->list && e->batch->data.size - e->list > LIST_LARGE)
        nft_elements_close(e);
    if (!e->list) {
        nft_batch_message(e->batch, e->family, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
        netlink_add_string(e->batch, NFTA_SET_ELEM_LIST_TABLE, e->table);
        netlink_add_string(e->batch, NFTA_SET_ELEM_LIST_SET, e->set);
        e->list = netlink_nest(e->batch, NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED);
    }
    return netlink_nest(e->batch, NFTA_LIST_ELEM | NLA_F_NESTED);
}

void nft_elements_end(struct nft_elements *e, size_t element)
{
    netlink_nest_end(e->batch, element);
}

/* What fills registers. */
struct registers {
    unsigned char bytes[16 * sizeof(uint32_t)];
    size_t size;
};

static void load(struct registers *r, const void *data, size_t size)
{
    memcpy(r->bytes + r->size, data, size);
    r->size += (size + 3) / 4 * 4;
}

static void load_address(struct registers *r, const struct ip_address *address)
{
    load(r, &address->v6, ip_address_size(address->family));
}

static void load_port(struct registers *r, uint16_t port)
{
    uint16_t value = htons(port);
    load(r, &value, sizeof(value));
}

/* Up to, and without, the source of KEY_SERVICE_SOURCE. */
static struct registers key_of(const struct element *e)
{
    struct registers r = {0};
    enum element_key key = element_sets[e->set].key;
    if (key == KEY_ADDRESS_TWICE) {
        load_address(&r, &e->address);
        load_address(&r, &e->address);
        return r;
    }
    if (key == KEY_SLOT_SERVICE || key == KEY_SLOT_NODE_PORT)
        load(&r, &e->slot, sizeof(e->slot));
    else
        load(&r, &e->protocol, sizeof(e->protocol));
    load_address(&r, &e->address); /* a node port has none */
    load_port(&r, e->port);
    return r;
}

static struct registers value_of(const struct element *e)
{
    struct registers r = {0};
    switch (element_sets[e->set].value) {
    case VALUE_NONE:
        break;
    case VALUE_NUMBER:
        load(&r, &e->number, sizeof(e->number));
        break;
    case VALUE_ENDPOINT:
        load_address(&r, &e->endpoint_address);
        load_port(&r, e->endpoint_port);
        break;
    }
    return r;
}

static void add_registers(struct netlink_batch *batch, uint16_t type, const struct registers *r)
{
    size_t nest = netlink_nest(batch, type | NLA_F_NESTED);
    netlink_add(batch, NFTA_DATA_VALUE, r->bytes, r->size);
    netlink_nest_end(batch, nest);
}

/* The last address of a prefix. */
static struct ip_address last_of(const struct ip_address *first, uint32_t length)
{
    struct ip_address last = *first;
    unsigned char *bytes = (unsigned char *)&last.v6;
    for (size_t i = length; i < ip_address_size(first->family) * 8; i++)
        bytes[i / 8] |= (unsigned char)(0x80 >> i % 8);
    return last;
}

static void add_element(struct nft_elements *elements, const struct element *e)
{
    size_t nest = nft_elements_begin(elements);
    struct registers first = key_of(e), last = first, value = value_of(e);
    bool range = element_sets[e->set].key == KEY_SERVICE_SOURCE;
    if (range) {
        struct ip_address end = last_of(&e->endpoint_address, e->slot);
        load_address(&first, &e->endpoint_address);
        load_address(&last, &end);
    }
    add_registers(elements->batch, NFTA_SET_ELEM_KEY, &first);
    if (range)
        add_registers(elements->batch, NFTA_SET_ELEM_KEY_END, &last);
    if (value.size)
        add_registers(elements->batch, NFTA_SET_ELEM_DATA, &value);
    nft_elements_end(elements, nest);
}

void nft_batch_elements(struct netlink_batch *batch, int family, const char *table, const struct element *elements,
                        size_t count)
{
    cleanup_buffer struct buffer name = {0};
    struct nft_elements list = {.batch = batch, .family = family, .table = table};
    for (size_t i = 0; i < count; i++) {
        const struct element *e = &elements[i], *before = e - (i > 0);
        if (i == 0 || e->set != before->set || e->protocol != before->protocol) {
            nft_elements_close(&list);
            buffer_clear(&name);
            nft_write_set_name(&name, e->set, element_protocol_index(e->protocol));
            list.set = name.data;
        }
        add_element(&list, e);
    }
    nft_elements_close(&list);
}

/* ---- the rule that libnftables cannot write ---- */

static void add_be32(struct netlink_batch *batch, uint16_t type, uint32_t value)
{
    netlink_add_u32(batch, type, htonl(value));
}

/* Opens an expression; its data follow, then end_expression. */
static size_t begin_expression(struct netlink_batch *batch, size_t *element, const char *name)
{
    *element = netlink_nest(batch, NFTA_LIST_ELEM | NLA_F_NESTED);
    netlink_add_string(batch, NFTA_EXPR_NAME, name);
    return netlink_nest(batch, NFTA_EXPR_DATA | NLA_F_NESTED);
}

static void end_expression(struct netlink_batch *batch, size_t element, size_t data)
{
    netlink_nest_end(batch, data);
    netlink_nest_end(batch, element);
}

static void load_payload(struct netlink_batch *batch, uint32_t base, uint32_t offset, uint32_t length, uint32_t to)
{
    size_t element, data = begin_expression(batch, &element, "payload");
    add_be32(batch, NFTA_PAYLOAD_DREG, to);
    add_be32(batch, NFTA_PAYLOAD_BASE, base);
    add_be32(batch, NFTA_PAYLOAD_OFFSET, offset);
    add_be32(batch, NFTA_PAYLOAD_LEN, length);
    end_expression(batch, element, data);
}

static void load_original(struct netlink_batch *batch, uint32_t key, uint32_t to)
{
    size_t element, data = begin_expression(batch, &element, "ct");
    add_be32(batch, NFTA_CT_KEY, key);
    add_be32(batch, NFTA_CT_DREG, to);
    netlink_add_u8(batch, NFTA_CT_DIRECTION, IP_CT_DIR_ORIGINAL);
    end_expression(batch, element, data);
}

static void load_protocol(struct netlink_batch *batch, uint32_t to)
{
    size_t element, data = begin_expression(batch, &element, "meta");
    add_be32(batch, NFTA_META_KEY, NFT_META_L4PROTO);
    add_be32(batch, NFTA_META_DREG, to);
    end_expression(batch, element, data);
}

/* Of the first packet of a connection, as all chains here leave it. */
static void clear_mark(struct netlink_batch *batch, uint32_t by)
{
    size_t element, data = begin_expression(batch, &element, "immediate");
    add_be32(batch, NFTA_IMMEDIATE_DREG, by);
    size_t value = netlink_nest(batch, NFTA_IMMEDIATE_DATA | NLA_F_NESTED);
    netlink_add_u32(batch, NFTA_DATA_VALUE, 0);
    netlink_nest_end(batch, value);
    end_expression(batch, element, data);
    data = begin_expression(batch, &element, "meta");
    add_be32(batch, NFTA_META_KEY, NFT_META_MARK);
    add_be32(batch, NFTA_META_SREG, by);
    end_expression(batch, element, data);
}

static void update_affinity(struct netlink_batch *batch, uint32_t key, uint32_t value, uint32_t seconds)
{
    size_t element, data = begin_expression(batch, &element, "dynset");
    uint64_t timeout = htobe64((uint64_t)seconds * 1000);
    netlink_add_string(batch, NFTA_DYNSET_SET_NAME, "affinity");
    add_be32(batch, NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
    add_be32(batch, NFTA_DYNSET_SREG_KEY, key);
    add_be32(batch, NFTA_DYNSET_SREG_DATA, value);
    netlink_add(batch, NFTA_DYNSET_TIMEOUT, &timeout, sizeof(timeout));
    end_expression(batch, element, data);
}

/* Registers of 4 bytes: protocol, client, service and port, and behind them endpoint and port. */
static void add_remember_rule(struct netlink_batch *batch, const char *table, const char *chain, uint32_t seconds)
{
    const uint32_t first = NFT_REG32_00, client = first + 1, service = client + 4, port = service + 4;
    const uint32_t endpoint = port + 1, endpoint_port = endpoint + 4;
    const uint32_t size = sizeof(struct in6_addr), source_at = 8, destination_at = source_at + size;
    nft_batch_message(batch, AF_INET6, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    netlink_add_string(batch, NFTA_RULE_TABLE, table);
    netlink_add_string(batch, NFTA_RULE_CHAIN, chain);
    size_t expressions = netlink_nest(batch, NFTA_RULE_EXPRESSIONS | NLA_F_NESTED);
    clear_mark(batch, first);
    load_protocol(batch, first);
    load_payload(batch, NFT_PAYLOAD_NETWORK_HEADER, source_at, size, client);
    load_original(batch, NFT_CT_DST_IP6, service);
    load_original(batch, NFT_CT_PROTO_DST, port);
    load_payload(batch, NFT_PAYLOAD_NETWORK_HEADER, destination_at, size, endpoint);
    load_payload(batch, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, endpoint_port);
    update_affinity(batch, first, endpoint, seconds);
    netlink_nest_end(batch, expressions);
}

void nft_batch_remember(struct netlink_batch *batch, const char *table, uint32_t seconds)
{
    cleanup_free char *chain = mem_printf("remember-%u", seconds);
    nft_batch_message(batch, AF_INET6, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    netlink_add_string(batch, NFTA_CHAIN_TABLE, table);
    netlink_add_string(batch, NFTA_CHAIN_NAME, chain);
    add_remember_rule(batch, table, chain, seconds);
}
