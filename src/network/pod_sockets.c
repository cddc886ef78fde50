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

static void see_socket(void *context, const struct nlmsghdr *message)
{
    struct pod_sockets *sockets = context;
    if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY || message->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
        return;
    const struct inet_diag_msg *socket = NLMSG_DATA(message);
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

static int read_family(struct netlink *netlink, uint8_t family, struct pod_sockets *out, struct error *err)
{
    const struct inet_diag_req_v2 request = {
        .sdiag_family = family,
        .sdiag_protocol = IPPROTO_TCP,
        .idiag_states = 1 << TCP_LISTEN | 1 << TCP_SYN_RECV | 1 << TCP_FIN_WAIT1 | 1 << TCP_CLOSING | 1 << TCP_LAST_ACK,
    };
    for (int attempt = 1;; attempt++) {
        cleanup_netlink_batch struct netlink_batch batch = {0};
        struct pod_sockets seen = *out;
        struct error e = {0};
        netlink_message(&batch, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &request, sizeof(request));
        int result = netlink_query(netlink, &batch, see_socket, &seen, &e);
        if (result < 0 && e.code == EINTR && attempt < READ_ATTEMPTS)
            continue;
        if (result < 0 && e.code != EINTR)
            return error_set(err, e.code, "list the sockets of a pod: %s", e.text);
        *out = seen;
        return 0;
    }
}

int pod_sockets_count(const char *namespace_path, struct pod_sockets *out, struct error *err)
{
    cleanup_netlink struct netlink netlink = NETLINK_CLOSED;
    *out = (struct pod_sockets){0};
    cleanup_close int fd = network_namespace_open(namespace_path, err);
    if (fd < 0 || netlink_open(fd, NETLINK_SOCK_DIAG, &netlink, err) < 0)
        return -1;
    return read_family(&netlink, AF_INET, out, err) < 0 ? -1 : read_family(&netlink, AF_INET6, out, err);
}
