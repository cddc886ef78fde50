/* Clients that are kept are copied as the kernel lists them; those of a map of another shape are nobody's.
 *
 * The affinity map's keys are protocol, client, service address and port, its values endpoint address and port: the
 * kernel pads each part of such a concatenation to whole registers of 4 bytes. */
#include "network/nft.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <nftables/libnftables.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "network/element.h"
#include "network/nft_batch.h"

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
    nft_affinity_judge judge; /* which clients to list */
    void *context;
    struct nft_elements *copies; /* they are listed here, as they are; NULL: their keys are, in nft's language */
    struct buffer keys;
};

static const struct nlattr *value_of(const struct nlattr *element, uint16_t type, size_t size)
{
    const struct nlattr *value = netlink_find_in(netlink_find_in(element, type), NFTA_DATA_VALUE);
    return value && netlink_size(value) == size ? value : NULL;
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

static void list_key(struct buffer *out, const struct ip_address *client, const struct dataplane_withdrawal *binding)
{
    char from[IP_ADDRESS_TEXT_MAX], service[IP_ADDRESS_TEXT_MAX];
    buffer_printf(out, "%s%u . %s . %s . %u", out->size ? ", " : "", binding->protocol, ip_address_text(client, from),
                  ip_address_text(&binding->service_address, service), binding->service_port);
}

static void copy_client(struct nft_elements *copies, const struct nlattr *element)
{
    static const uint16_t types[] = {NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_TIMEOUT,
                                     NFTA_SET_ELEM_EXPIRATION};
    if (!time_of(element, NFTA_SET_ELEM_TIMEOUT) || !time_of(element, NFTA_SET_ELEM_EXPIRATION))
        return;
    size_t copy = nft_elements_begin(copies);
    for (size_t i = 0; i < ARRAY_COUNT(types); i++)
        netlink_copy(copies->batch, netlink_find_in(element, types[i]));
    nft_elements_end(copies, copy);
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
    if (!reading->judge(reading->context, &binding))
        return;
    if (reading->copies)
        copy_client(reading->copies, element);
    else
        list_key(&reading->keys, &client, &binding);
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
    nft_batch_message(&batch, reading->family, NFT_MSG_GETSETELEM, NLM_F_DUMP);
    netlink_add_string(&batch, NFTA_SET_ELEM_LIST_TABLE, table);
    netlink_add_string(&batch, NFTA_SET_ELEM_LIST_SET, "affinity");
    return netlink_query(&nft->netlink, &batch, see_clients, reading, err);
}

static int forget_clients(struct nft *nft, const char *table, struct reading *reading, struct error *err)
{
    cleanup_buffer struct buffer script = {0};
    buffer_clear(&reading->keys);
    if (read_clients(nft, table, reading, err) < 0)
        return -1;
    if (reading->keys.size == 0)
        return 0;
    buffer_printf(&script, "delete element %s %s affinity { %s }\n", nft_family(reading->family), table,
                  reading->keys.data);
    return nft_run(nft, script.data, err);
}

/* What a reading that was in vain has added is taken back. */
int nft_keep_clients(struct nft *nft, int family, const char *table, nft_affinity_judge kept, void *context,
                     struct netlink_batch *batch, struct error *err)
{
    struct error e = {.code = EINTR};
    int result = -1;
    for (int attempt = 0; result < 0 && e.code == EINTR && attempt < READ_ATTEMPTS; attempt++) {
        struct netlink_batch before = *batch;
        struct nft_elements copies = {.batch = batch, .family = family, .table = table, .set = "affinity"};
        struct reading reading = {.family = family, .judge = kept, .context = context, .copies = &copies};
        result = read_clients(nft, table, &reading, &e);
        nft_elements_close(&copies);
        if (result < 0)
            netlink_batch_cut(batch, &before);
    }
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
    buffer_free(&reading.keys);
    return result < 0 ? error_wrap(err, "session affinity") : 0;
}
