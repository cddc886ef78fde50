#include "network/conntrack.h"

#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>
#include <sys/socket.h>

#include "base/vector.h"

/* A list that changes while it is read is read again, so often. */
#define READ_ATTEMPTS 10

typedef VECTOR(struct conntrack_flow) flow_vector;

struct reading {
    int family;
    bool translated; /* only those */
    conntrack_judge stale;
    void *context;
    flow_vector found;
};

/* The attributes of a tuple that hold its addresses. */
static const struct {
    uint16_t source, destination;
} address_types[] = {{CTA_IP_V4_SRC, CTA_IP_V4_DST}, {CTA_IP_V6_SRC, CTA_IP_V6_DST}};

static struct ip_address read_address(const struct nlattr *tuple, int family, bool source)
{
    struct ip_address address = {.family = family};
    uint16_t type = source ? address_types[family == AF_INET6].source : address_types[family == AF_INET6].destination;
    const struct nlattr *a = netlink_find_in(netlink_find_in(tuple, CTA_TUPLE_IP), type);
    if (a && netlink_size(a) >= ip_address_size(family))
        memcpy(&address.v6, netlink_data(a), ip_address_size(family));
    return address;
}

static uint16_t read_port(const struct nlattr *tuple, uint16_t type)
{
    uint16_t port = 0;
    const struct nlattr *a = netlink_find_in(netlink_find_in(tuple, CTA_TUPLE_PROTO), type);
    if (a && netlink_size(a) >= sizeof(port))
        memcpy(&port, netlink_data(a), sizeof(port));
    return ntohs(port);
}

static void see_flow(void *context, const struct nlmsghdr *message)
{
    struct reading *reading = context;
    const size_t header = sizeof(struct nfgenmsg);
    const struct nlattr *original = netlink_find(message, header, CTA_TUPLE_ORIG);
    const struct nlattr *reply = netlink_find(message, header, CTA_TUPLE_REPLY);
    const struct nlattr *protocol = netlink_find_in(netlink_find_in(original, CTA_TUPLE_PROTO), CTA_PROTO_NUM);
    const struct nlattr *state = netlink_find_in(
        netlink_find_in(netlink_find(message, header, CTA_PROTOINFO), CTA_PROTOINFO_TCP), CTA_PROTOINFO_TCP_STATE);
    bool translated = ntohl(netlink_u32(netlink_find(message, header, CTA_STATUS))) & IPS_DST_NAT;
    if (message->nlmsg_type != (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW) || !reply || !protocol ||
        (reading->translated && !translated))
        return;
    struct conntrack_flow flow = {
        .protocol = *(const uint8_t *)netlink_data(protocol),
        .source = read_address(original, reading->family, true),
        .destination = read_address(original, reading->family, false),
        .source_port = read_port(original, CTA_PROTO_SRC_PORT),
        .destination_port = read_port(original, CTA_PROTO_DST_PORT),
        .endpoint = read_address(reply, reading->family, true),
        .endpoint_port = read_port(reply, CTA_PROTO_SRC_PORT),
        .answered = read_address(reply, reading->family, false),
        .answered_port = read_port(reply, CTA_PROTO_DST_PORT),
        .tcp_state = state && netlink_size(state) ? *(const uint8_t *)netlink_data(state) : 0,
    };
    if (flow.destination_port && reading->stale(reading->context, &flow))
        vector_push(&reading->found, flow);
}

static int read_flows(struct netlink *netlink, struct reading *reading, struct error *err)
{
    for (int attempt = 0;; attempt++) {
        cleanup_netlink_batch struct netlink_batch batch = {0};
        struct nfgenmsg header = {.nfgen_family = (uint8_t)reading->family, .version = NFNETLINK_V0};
        struct error e = {0};
        reading->found.count = 0;
        netlink_message(&batch, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, NLM_F_DUMP, &header, sizeof(header));
        /* Kernels that know this filter send translated flows only; others send all. */
        if (reading->translated) {
            netlink_add_u32(&batch, CTA_STATUS, htonl(IPS_DST_NAT));
            netlink_add_u32(&batch, CTA_STATUS_MASK, htonl(IPS_DST_NAT));
        }
        if (netlink_query(netlink, &batch, see_flow, reading, &e) == 0)
            return 0;
        if (e.code != EINTR || attempt == READ_ATTEMPTS)
            return error_set(err, e.code, "list tracked connections: %s", e.text);
    }
}

/* Named by its answers: its client may have begun another from the same port meanwhile, which then goes elsewhere. */
static void message_delete(struct netlink_batch *batch, const struct conntrack_flow *flow)
{
    int family = flow->endpoint.family;
    size_t size = ip_address_size(family);
    struct nfgenmsg header = {.nfgen_family = (uint8_t)family, .version = NFNETLINK_V0};
    uint16_t source_port = htons(flow->endpoint_port), destination_port = htons(flow->answered_port);
    netlink_message(batch, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, 0, &header, sizeof(header));
    size_t tuple = netlink_nest(batch, CTA_TUPLE_REPLY | NLA_F_NESTED);
    size_t part = netlink_nest(batch, CTA_TUPLE_IP | NLA_F_NESTED);
    netlink_add(batch, address_types[family == AF_INET6].source, &flow->endpoint.v6, size);
    netlink_add(batch, address_types[family == AF_INET6].destination, &flow->answered.v6, size);
    netlink_nest_end(batch, part);
    part = netlink_nest(batch, CTA_TUPLE_PROTO | NLA_F_NESTED);
    netlink_add_u8(batch, CTA_PROTO_NUM, flow->protocol);
    netlink_add(batch, CTA_PROTO_SRC_PORT, &source_port, sizeof(source_port));
    netlink_add(batch, CTA_PROTO_DST_PORT, &destination_port, sizeof(destination_port));
    netlink_nest_end(batch, part);
    netlink_nest_end(batch, tuple);
}

long conntrack_delete(struct netlink *netlink, int family, bool translated, conntrack_judge stale, void *context,
                      struct error *err)
{
    cleanup_netlink_batch struct netlink_batch batch = {0};
    struct reading reading = {.family = family, .translated = translated, .stale = stale, .context = context};
    long result = read_flows(netlink, &reading, err);
    for (size_t i = 0; result >= 0 && i < reading.found.count; i++) {
        message_delete(&batch, &reading.found.items[i]);
        struct error e = {0};
        bool full = batch.count == NETLINK_BATCH_MAX || i + 1 == reading.found.count;
        /* One that ended by itself in between is as good. */
        if (full && netlink_commit(netlink, &batch, NULL, &e) < 0 && e.code != ENOENT)
            result = error_set(err, e.code, "delete tracked connections: %s", e.text);
    }
    if (result >= 0)
        result = (long)reading.found.count;
    vector_free(&reading.found);
    return result;
}
