#include "network/pod_sockets.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/cleanup.h"
#include "network/namespace.h"
#include "network/netlink.h"

/* A list that changes while it is read is read again, so often; the last attempt counts as it is. */
#define READ_ATTEMPTS 3

struct pass {
    const struct pod_sockets_scope *scope;
    struct pod_sockets seen;
};

static bool in_scope(const struct pod_sockets_scope *scope, uint16_t port)
{
    for (size_t i = 0; scope->ports && i < scope->port_count; i++)
        if (scope->ports[i] == port)
            return true;
    return !scope->ports;
}

static void see_socket(void *context, const struct nlmsghdr *message)
{
    struct pass *pass = context;
    struct pod_sockets *sockets = &pass->seen;
    if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY || message->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
        return;
    const struct inet_diag_msg *socket = NLMSG_DATA(message);
    if (!in_scope(pass->scope, ntohs(socket->id.idiag_sport)))
        return;
    switch (socket->idiag_state) {
    case TCP_LISTEN:
        sockets->arriving += socket->idiag_rqueue;
        break;
    case TCP_SYN_RECV:
        sockets->arriving++;
        break;
    case TCP_FIN_WAIT1:
    case TCP_CLOSING:
    case TCP_LAST_ACK:
        sockets->leaving++;
        sockets->unsent += socket->idiag_wqueue;
        break;
    }
}

static int read_family(struct netlink *netlink, uint8_t family, const struct pod_sockets_scope *scope,
                       struct pod_sockets *out, struct error *err)
{
    const struct inet_diag_req_v2 request = {
        .sdiag_family = family,
        .sdiag_protocol = IPPROTO_TCP,
        .idiag_states = 1 << TCP_LISTEN | 1 << TCP_SYN_RECV | 1 << TCP_FIN_WAIT1 | 1 << TCP_CLOSING | 1 << TCP_LAST_ACK,
    };
    for (int attempt = 1;; attempt++) {
        cleanup_netlink_batch struct netlink_batch batch = {0};
        struct pass pass = {scope, *out};
        struct error e = {0};
        netlink_message(&batch, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &request, sizeof(request));
        int result = netlink_query(netlink, &batch, see_socket, &pass, &e);
        if (result < 0 && e.code == EINTR && attempt < READ_ATTEMPTS)
            continue;
        if (result < 0 && e.code != EINTR)
            return error_set(err, e.code, "list the sockets of a pod: %s", e.text);
        *out = pass.seen;
        return 0;
    }
}

int pod_sockets_count(const struct pod_sockets_scope *scope, struct pod_sockets *out, struct error *err)
{
    cleanup_netlink struct netlink netlink = NETLINK_CLOSED;
    *out = (struct pod_sockets){0};
    cleanup_close int fd = scope->namespace_path ? network_namespace_open(scope->namespace_path, err) : -1;
    if ((scope->namespace_path && fd < 0) || netlink_open(fd, NETLINK_SOCK_DIAG, &netlink, err) < 0)
        return -1;
    return read_family(&netlink, AF_INET, scope, out, err) < 0 ? -1 : read_family(&netlink, AF_INET6, scope, out, err);
}
