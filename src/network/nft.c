/* The affinity map's keys are protocol, client, service address and port, its values endpoint address and port: the
 * kernel pads each part of such a concatenation to whole registers of 4 bytes. */
#include "network/nft.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <nftables/libnftables.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

/* A list that changes while it is read, or before what was read is deleted, is read again, so often. */
#define READ_ATTEMPTS 10

struct nft {
    struct nft_ctx *context;
    struct netlink netlink;
};

int nft_open(struct nft **out, struct error *err)
{
    *out = NULL;
    struct netlink netlink;
    /* First of all: without this socket libnftables would end the process. */
    if (netlink_open(-1, NETLINK_NETFILTER, &netlink, err) < 0)
        return error_wrap(err, "nftables");
    struct nft *nft = mem_zero(1, sizeof(*nft));
    nft->netlink = netlink;
    nft->context = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!nft->context || nft_ctx_buffer_error(nft->context) || nft_ctx_buffer_output(nft->context)) {
        nft_close(nft);
        return error_set(err, ENOMEM, "nftables: no context");
    }
    *out = nft;
    return 0;
}

void nft_close(struct nft *nft)
{
    if (!nft)
        return;
    if (nft->context)
        nft_ctx_free(nft->context);
    netlink_close(&nft->netlink);
    free(nft);
}

struct netlink *nft_netlink(struct nft *nft)
{
    return &nft->netlink;
}

int nft_run(struct nft *nft, const char *script, struct error *err)
{
    if (nft_run_cmd_from_buffer(nft->context, script) == 0)
        return 0;
    const char *text = nft_ctx_get_error_buffer(nft->context);
    int code = errno ? errno : EINVAL;
    /* The first line says it; what follows repeats the script. */
    size_t n = text ? strcspn(text, "\n") : 0;
    return error_set(err, code, "nftables: %.*s", n ? (int)n : 7, n ? text : "refused");
}

struct reading {
    int family;
    nft_affinity_judge judge; /* which elements to list */
    void *context;
    bool whole;             /* with time and value, else keys alone */
    struct buffer elements; /* in nft's language */
};

static const struct nlattr *value_of(const struct nlattr *element, uint16_t type, size_t size)
{
    const struct nlattr *value = netlink_find_in(netlink_find_in(element, type), NFTA_DATA_VALUE);
    return value && netlink_size(value) >= size ? value : NULL;
}

/* Milliseconds; 0 when it is not there. */
static uint64_t time_of(const struct nlattr *element, uint16_t type)
{
    uint64_t value = 0;
    const struct nlattr *a = netlink_find_in(element, type);
    if (a && netlink_size(a) >= sizeof(value))
        memcpy(&value, netlink_data(a), sizeof(value));
    return be64toh(value);
}

static void list_client(struct reading *reading, const struct nlattr *element, const struct ip_address *client,
                        const struct dataplane_withdrawal *binding)
{
    char from[IP_ADDRESS_TEXT_MAX], service[IP_ADDRESS_TEXT_MAX], to[IP_ADDRESS_TEXT_MAX];
    uint64_t timeout = time_of(element, NFTA_SET_ELEM_TIMEOUT), left = time_of(element, NFTA_SET_ELEM_EXPIRATION);
    struct buffer *out = &reading->elements;
    if (reading->whole && (!timeout || !left))
        return;
    buffer_printf(out, "%s%u . %s . %s . %u", out->size ? ", " : "", binding->protocol, ip_address_text(client, from),
                  ip_address_text(&binding->service_address, service), binding->service_port);
    if (reading->whole)
        buffer_printf(out, " timeout %llums expires %llums : %s . %u", (unsigned long long)timeout,
                      (unsigned long long)left, ip_address_text(&binding->endpoint_address, to),
                      binding->endpoint_port);
}

/* A key is protocol, client, service and port, a value endpoint and port, each in whole registers of 4 bytes. */
static void see_client(struct reading *reading, const struct nlattr *element)
{
    size_t size = ip_address_size(reading->family);
    const struct nlattr *key = value_of(element, NFTA_SET_ELEM_KEY, 8 + 2 * size);
    const struct nlattr *data = value_of(element, NFTA_SET_ELEM_DATA, 4 + size);
    if (!key || !data)
        return;
    const unsigned char *k = netlink_data(key), *d = netlink_data(data);
    const unsigned char *port = k + 4 + 2 * size;
    struct dataplane_withdrawal binding = {.protocol = k[0], .affinity = true};
    struct ip_address client = {.family = reading->family};
    binding.service_address.family = binding.endpoint_address.family = reading->family;
    binding.service_port = (uint16_t)(port[0] << 8 | port[1]);
    binding.endpoint_port = (uint16_t)(d[size] << 8 | d[size + 1]);
    memcpy(&client.v6, k + 4, size);
    memcpy(&binding.service_address.v6, k + 4 + size, size);
    memcpy(&binding.endpoint_address.v6, d, size);
    if (reading->judge(reading->context, &binding))
        list_client(reading, element, &client, &binding);
}

static void see_clients(void *context, const struct nlmsghdr *message)
{
    if (message->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM))
        return;
    const struct nlattr *list = netlink_find(message, sizeof(struct nfgenmsg), NFTA_SET_ELEM_LIST_ELEMENTS);
    for (const struct nlattr *e = NULL; (e = netlink_next_in(list, e));)
        see_client(context, e);
}

static int read_clients(struct nft *nft, const char *table, struct reading *reading, struct error *err)
{
    cleanup_netlink_batch struct netlink_batch batch = {0};
    struct nfgenmsg header = {.nfgen_family = (uint8_t)reading->family, .version = NFNETLINK_V0};
    buffer_clear(&reading->elements);
    netlink_message(&batch, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM, NLM_F_DUMP, &header, sizeof(header));
    netlink_add_string(&batch, NFTA_SET_ELEM_LIST_TABLE, table);
    netlink_add_string(&batch, NFTA_SET_ELEM_LIST_SET, "affinity");
    return netlink_query(&nft->netlink, &batch, see_clients, reading, err);
}

static void write_clients(struct buffer *script, const char *verb, const char *table, const struct reading *reading)
{
    if (reading->elements.size)
        buffer_printf(script, "%s element %s %s affinity { %s }\n", verb, reading->family == AF_INET6 ? "ip6" : "ip",
                      table, reading->elements.data);
}

static int forget_clients(struct nft *nft, const char *table, struct reading *reading, struct error *err)
{
    cleanup_buffer struct buffer script = {0};
    if (read_clients(nft, table, reading, err) < 0)
        return -1;
    write_clients(&script, "delete", table, reading);
    return script.size ? nft_run(nft, script.data, err) : 0;
}

int nft_keep_clients(struct nft *nft, int family, const char *table, nft_affinity_judge kept, void *context,
                     struct buffer *script, struct error *err)
{
    struct reading reading = {.family = family, .judge = kept, .context = context, .whole = true};
    struct error e = {.code = EINTR};
    int result = -1;
    for (int attempt = 0; result < 0 && e.code == EINTR && attempt < READ_ATTEMPTS; attempt++)
        result = read_clients(nft, table, &reading, &e);
    if (result == 0)
        write_clients(script, "add", table, &reading);
    buffer_free(&reading.elements);
    return result == 0 || e.code == ENOENT ? 0 : error_set(err, e.code, "session affinity: %s", e.text);
}

int nft_forget_clients(struct nft *nft, int family, const char *table, nft_affinity_judge stale, void *context,
                       struct error *err)
{
    struct reading reading = {.family = family, .judge = stale, .context = context};
    int result = -1;
    /* A client whose time ran out in between makes the kernel refuse the whole deletion. */
    for (int attempt = 0; result < 0 && attempt < READ_ATTEMPTS; attempt++)
        result = forget_clients(nft, table, &reading, err);
    buffer_free(&reading.elements);
    return result < 0 ? error_wrap(err, "session affinity") : 0;
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
static void write_remember_rule(struct netlink_batch *batch, const char *table, const char *chain, uint32_t seconds)
{
    const struct nfgenmsg header = {.nfgen_family = AF_INET6, .version = NFNETLINK_V0};
    const uint32_t first = NFT_REG32_00, client = first + 1, service = client + 4, port = service + 4;
    const uint32_t endpoint = port + 1, endpoint_port = endpoint + 4;
    const uint32_t size = sizeof(struct in6_addr), source_at = 8, destination_at = source_at + size;
    netlink_message(batch, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, &header,
                    sizeof(header));
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

static void write_remember_chain(struct netlink_batch *batch, const char *table, const char *chain)
{
    const struct nfgenmsg header = {.nfgen_family = AF_INET6, .version = NFNETLINK_V0};
    netlink_message(batch, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN, NLM_F_CREATE, &header, sizeof(header));
    netlink_add_string(batch, NFTA_CHAIN_TABLE, table);
    netlink_add_string(batch, NFTA_CHAIN_NAME, chain);
}

int nft_add_remember_chain(struct nft *nft, const char *table, uint32_t seconds, struct error *err)
{
    cleanup_netlink_batch struct netlink_batch batch = {0};
    const struct nfgenmsg frame = {.version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)};
    cleanup_free char *chain = mem_printf("remember-%u", seconds);
    batch.framed = true;
    netlink_message(&batch, NFNL_MSG_BATCH_BEGIN, 0, &frame, sizeof(frame));
    write_remember_chain(&batch, table, chain);
    write_remember_rule(&batch, table, chain, seconds);
    netlink_message(&batch, NFNL_MSG_BATCH_END, 0, &frame, sizeof(frame));
    return netlink_commit(&nft->netlink, &batch, NULL, err) < 0 ? error_wrap(err, "nftables: session affinity") : 0;
}
