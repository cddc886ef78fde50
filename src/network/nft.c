/* The affinity map's keys are four registers of 4 bytes (protocol, client, service address, port), its values two
 * (endpoint address, port): the kernel pads each part of a concatenation to a register. */
#include "network/nft.h"

#include <arpa/inet.h>
#include <errno.h>
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
    nft_affinity_judge stale;
    void *context;
    struct buffer keys; /* of the elements to delete, in nft's language */
};

static const struct nlattr *value_of(const struct nlattr *element, uint16_t type, size_t size)
{
    const struct nlattr *value = netlink_find_in(netlink_find_in(element, type), NFTA_DATA_VALUE);
    return value && netlink_size(value) >= size ? value : NULL;
}

static void see_client(struct reading *reading, const struct nlattr *element)
{
    const struct nlattr *key = value_of(element, NFTA_SET_ELEM_KEY, 16);
    const struct nlattr *data = value_of(element, NFTA_SET_ELEM_DATA, 8);
    if (!key || !data)
        return;
    const unsigned char *k = netlink_data(key), *d = netlink_data(data);
    struct dataplane_withdrawal binding = {.protocol = k[0], .affinity = true};
    binding.service_port = (uint16_t)(k[12] << 8 | k[13]);
    binding.endpoint_port = (uint16_t)(d[4] << 8 | d[5]);
    memcpy(&binding.service_address, k + 8, 4);
    memcpy(&binding.endpoint_address, d, 4);
    if (!reading->stale(reading->context, &binding))
        return;
    char client[INET_ADDRSTRLEN], service[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, k + 4, client, sizeof(client));
    inet_ntop(AF_INET, k + 8, service, sizeof(service));
    buffer_printf(&reading->keys, "%s%u . %s . %s . %u", reading->keys.size ? ", " : "", binding.protocol, client,
                  service, binding.service_port);
}

static void see_clients(void *context, const struct nlmsghdr *message)
{
    if (message->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM))
        return;
    const struct nlattr *list = netlink_find(message, sizeof(struct nfgenmsg), NFTA_SET_ELEM_LIST_ELEMENTS);
    for (const struct nlattr *e = NULL; (e = netlink_next_in(list, e));)
        see_client(context, e);
}

static int forget_clients(struct nft *nft, const char *table, struct reading *reading, struct error *err)
{
    cleanup_netlink_batch struct netlink_batch batch = {0};
    cleanup_buffer struct buffer script = {0};
    struct nfgenmsg header = {.nfgen_family = AF_INET, .version = NFNETLINK_V0};
    buffer_clear(&reading->keys);
    netlink_message(&batch, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM, NLM_F_DUMP, &header, sizeof(header));
    netlink_add_string(&batch, NFTA_SET_ELEM_LIST_TABLE, table);
    netlink_add_string(&batch, NFTA_SET_ELEM_LIST_SET, "affinity");
    if (netlink_query(&nft->netlink, &batch, see_clients, reading, err) < 0)
        return -1;
    if (reading->keys.size == 0)
        return 0;
    buffer_printf(&script, "delete element ip %s affinity { %s }\n", table, reading->keys.data);
    return nft_run(nft, script.data, err);
}

int nft_forget_clients(struct nft *nft, const char *table, nft_affinity_judge stale, void *context, struct error *err)
{
    struct reading reading = {.stale = stale, .context = context};
    int result = -1;
    /* A client whose time ran out in between makes the kernel refuse the whole deletion. */
    for (int attempt = 0; result < 0 && attempt < READ_ATTEMPTS; attempt++)
        result = forget_clients(nft, table, &reading, err);
    buffer_free(&reading.keys);
    return result < 0 ? error_wrap(err, "session affinity") : 0;
}
