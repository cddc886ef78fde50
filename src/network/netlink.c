/* A batch is a run of messages, each: struct nlmsghdr, the family's header, attributes, all padded to 4 bytes.
 * netlink_message closes the one before by being there: a message's length is kept right at every addition.
 * Sequence numbers are given out when the batch is sent, so that message i of it has number first + i. */
#include "network/netlink.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "network/namespace.h"

int netlink_open(int namespace_fd, int protocol, struct netlink *out, struct error *err)
{
    *out = NETLINK_CLOSED;
    cleanup_close int fd = network_namespace_socket(namespace_fd, AF_NETLINK, SOCK_RAW, protocol, err);
    if (fd < 0)
        return -1;
    int on = 1;
    setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
    struct timeval wait = {.tv_sec = NETLINK_ANSWER_WAIT};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
        return error_errno(err, "netlink socket");
    struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return error_errno(err, "bind a netlink socket");
    out->fd = steal_fd(fd);
    out->sequence = 1;
    return 0;
}

void netlink_close(struct netlink *netlink)
{
    cleanup_close_fd(&netlink->fd);
    netlink->fd = -1;
}

static struct nlmsghdr *open_message(struct netlink_batch *batch)
{
    assert(batch->count > 0);
    return (struct nlmsghdr *)(batch->data.data + batch->open);
}

/* Appends data, padded with zeros to 4 bytes. */
static void add_padded(struct netlink_batch *batch, const void *data, size_t size)
{
    static const char zeros[NLMSG_ALIGNTO];
    buffer_add(&batch->data, data, size);
    buffer_add(&batch->data, zeros, NLMSG_ALIGN(size) - size);
}

void netlink_message(struct netlink_batch *batch, uint16_t type, uint16_t flags, const void *header, size_t size)
{
    assert(batch->framed || batch->count < NETLINK_BATCH_MAX);
    batch->open = batch->data.size;
    batch->count++;
    struct nlmsghdr message = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags};
    add_padded(batch, &message, sizeof(message));
    add_padded(batch, header, size);
    open_message(batch)->nlmsg_len = (uint32_t)(batch->data.size - batch->open);
}

void netlink_add(struct netlink_batch *batch, uint16_t type, const void *data, size_t size)
{
    struct nlattr attribute = {.nla_type = type, .nla_len = (uint16_t)(NLA_HDRLEN + size)};
    add_padded(batch, &attribute, sizeof(attribute));
    if (size)
        add_padded(batch, data, size);
    open_message(batch)->nlmsg_len = (uint32_t)(batch->data.size - batch->open);
}

void netlink_add_u8(struct netlink_batch *batch, uint16_t type, uint8_t value)
{
    netlink_add(batch, type, &value, sizeof(value));
}

void netlink_add_u32(struct netlink_batch *batch, uint16_t type, uint32_t value)
{
    netlink_add(batch, type, &value, sizeof(value));
}

void netlink_add_string(struct netlink_batch *batch, uint16_t type, const char *value)
{
    netlink_add(batch, type, value, strlen(value) + 1);
}

void netlink_copy(struct netlink_batch *batch, const struct nlattr *attribute)
{
    if (attribute)
        netlink_add(batch, attribute->nla_type, netlink_data(attribute), netlink_size(attribute));
}

size_t netlink_nest(struct netlink_batch *batch, uint16_t type)
{
    size_t nest = batch->data.size;
    netlink_add(batch, type, NULL, 0);
    return nest;
}

void netlink_nest_end(struct netlink_batch *batch, size_t nest)
{
    ((struct nlattr *)(batch->data.data + nest))->nla_len = (uint16_t)(batch->data.size - nest);
}

void netlink_batch_cut(struct netlink_batch *batch, const struct netlink_batch *before)
{
    batch->data.size = before->data.size;
    batch->open = before->open;
    batch->count = before->count;
}

void netlink_batch_free(struct netlink_batch *batch)
{
    buffer_free(&batch->data);
    batch->count = batch->open = 0;
    batch->framed = false;
}

/* Numbers the messages and asks for acknowledgements, in a frame for that of the last message in it. */
static void number_messages(struct netlink *netlink, struct netlink_batch *batch, uint16_t flags)
{
    size_t i = 0;
    for (size_t at = 0; at < batch->data.size; i++) {
        struct nlmsghdr *message = (struct nlmsghdr *)(batch->data.data + at);
        message->nlmsg_seq = netlink->sequence++;
        message->nlmsg_flags |= !batch->framed || i + 2 == batch->count ? flags : 0;
        at += NLMSG_ALIGN(message->nlmsg_len);
    }
}

/* The kernel refuses what is larger than the send buffer. Where that may not grow, it says so when the batch is sent.
 */
static void make_room(struct netlink *netlink, size_t size)
{
    int room = size < INT_MAX / 4 ? (int)size : INT_MAX / 4; /* the kernel doubles it */
    if (size >= NETLINK_SEND_LARGE && setsockopt(netlink->fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
        setsockopt(netlink->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
}

/* Returns the first sequence number in *first. */
static int send_batch(struct netlink *netlink, struct netlink_batch *batch, uint16_t flags, uint32_t *first,
                      struct error *err)
{
    *first = netlink->sequence;
    number_messages(netlink, batch, flags);
    make_room(netlink, batch->data.size);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t sent;
    do
        sent = sendto(netlink->fd, batch->data.data, batch->data.size, 0, (struct sockaddr *)&kernel, sizeof(kernel));
    while (sent < 0 && errno == EINTR);
    buffer_clear(&batch->data);
    batch->count = batch->open = 0;
    return sent < 0 ? error_errno(err, "netlink") : 0;
}

static ssize_t receive(struct netlink *netlink, char *data, size_t size, struct error *err)
{
    for (;;) {
        struct sockaddr_nl from = {0};
        socklen_t from_size = sizeof(from);
        ssize_t n = recvfrom(netlink->fd, data, size, 0, (struct sockaddr *)&from, &from_size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(err, "netlink answer");
        if (from.nl_pid == 0)
            return n;
    }
}

/* Turns an NLMSG_ERROR that is no acknowledgement into an error, with the kernel's own words if it sent some. */
static int kernel_error(const struct nlmsghdr *message, struct error *err)
{
    const struct nlmsgerr *e = NLMSG_DATA(message);
    const char *text = "";
    if (message->nlmsg_flags & NLM_F_ACK_TLVS) {
        /* NETLINK_CAP_ACK: only the header of the request is in the answer. */
        const struct nlattr *a = netlink_find(message, sizeof(*e), NLMSGERR_ATTR_MSG);
        if (a && netlink_size(a) && ((const char *)netlink_data(a))[netlink_size(a) - 1] == 0)
            text = netlink_data(a);
    }
    return error_set(err, -e->error, "%s%s%s", strerror(-e->error), *text ? ": " : "", text);
}

/* What came back for the messages first to first + count - 1. */
struct outcome {
    uint32_t first;
    size_t count;
    bool framed;
    size_t waiting; /* for so many acknowledgements */
    int result;
    size_t failed;
};

/* A frame whose last message is answered is done, and one that is refused as a whole: its first message is then. */
static void see_answer(struct outcome *o, const struct nlmsghdr *message, struct error *err)
{
    size_t number = message->nlmsg_seq - o->first;
    if (number >= o->count || message->nlmsg_type != NLMSG_ERROR)
        return;
    if (!o->framed)
        o->waiting--;
    else if (number == 0 || number + 2 == o->count)
        o->waiting = 0;
    if (((const struct nlmsgerr *)NLMSG_DATA(message))->error && o->result == 0) {
        o->result = kernel_error(message, err);
        o->failed = number;
    }
}

int netlink_commit(struct netlink *netlink, struct netlink_batch *batch, size_t *failed, struct error *err)
{
    struct outcome o = {.count = batch->count, .framed = batch->framed, .waiting = batch->framed ? 1 : batch->count};
    if (batch->count == 0)
        return 0;
    assert(!batch->framed || batch->count > 2);
    if (send_batch(netlink, batch, NLM_F_ACK, &o.first, err) < 0)
        return -1;
    cleanup_free char *data = mem_alloc(NETLINK_RECEIVE_MAX);
    while (o.waiting > 0) {
        ssize_t n = receive(netlink, data, NETLINK_RECEIVE_MAX, err);
        if (n < 0)
            return -1;
        const struct nlmsghdr *m = (const struct nlmsghdr *)data;
        for (size_t left = (size_t)n; NLMSG_OK(m, left) && o.waiting > 0; m = NLMSG_NEXT(m, left))
            see_answer(&o, m, err);
    }
    if (o.result < 0 && failed)
        *failed = o.failed;
    return o.result;
}

int netlink_query(struct netlink *netlink, struct netlink_batch *batch, netlink_callback callback, void *context,
                  struct error *err)
{
    assert(batch->count == 1);
    bool dump = (open_message(batch)->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    uint32_t first;
    if (send_batch(netlink, batch, dump ? 0 : NLM_F_ACK, &first, err) < 0)
        return -1;
    cleanup_free char *data = mem_alloc(NETLINK_RECEIVE_MAX);
    bool interrupted = false;
    for (;;) {
        ssize_t n = receive(netlink, data, NETLINK_RECEIVE_MAX, err);
        if (n < 0)
            return -1;
        const struct nlmsghdr *m = (const struct nlmsghdr *)data;
        for (size_t left = (size_t)n; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
            if (m->nlmsg_seq != first)
                continue;
            if (m->nlmsg_flags & NLM_F_DUMP_INTR)
                interrupted = true;
            if (m->nlmsg_type == NLMSG_ERROR && ((const struct nlmsgerr *)NLMSG_DATA(m))->error)
                return kernel_error(m, err);
            if (m->nlmsg_type == NLMSG_ERROR || m->nlmsg_type == NLMSG_DONE)
                return interrupted ? error_set(err, EINTR, "the list changed while the kernel sent it") : 0;
            callback(context, m);
        }
    }
}

static const struct nlattr *find(const char *at, size_t left, uint16_t type)
{
    while (left >= NLA_HDRLEN) {
        const struct nlattr *a = (const struct nlattr *)at;
        if (a->nla_len < NLA_HDRLEN || a->nla_len > left)
            return NULL;
        if ((a->nla_type & NLA_TYPE_MASK) == type)
            return a;
        size_t step = NLA_ALIGN(a->nla_len);
        if (step >= left)
            return NULL;
        at += step;
        left -= step;
    }
    return NULL;
}

const struct nlattr *netlink_find(const struct nlmsghdr *message, size_t header_size, uint16_t type)
{
    size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(header_size);
    return message->nlmsg_len < skip ? NULL : find((const char *)message + skip, message->nlmsg_len - skip, type);
}

const struct nlattr *netlink_find_in(const struct nlattr *nest, uint16_t type)
{
    return nest ? find(netlink_data(nest), netlink_size(nest), type) : NULL;
}

const struct nlattr *netlink_next_in(const struct nlattr *nest, const struct nlattr *previous)
{
    if (!nest)
        return NULL;
    const char *end = (const char *)nest + nest->nla_len;
    const char *at = previous ? (const char *)previous + NLA_ALIGN(previous->nla_len) : netlink_data(nest);
    const struct nlattr *next = (const struct nlattr *)at;
    if (at >= end || end - at < NLA_HDRLEN || next->nla_len < NLA_HDRLEN || next->nla_len > end - at)
        return NULL;
    return next;
}

const void *netlink_data(const struct nlattr *attribute)
{
    return (const char *)attribute + NLA_HDRLEN;
}

size_t netlink_size(const struct nlattr *attribute)
{
    return attribute->nla_len - NLA_HDRLEN;
}

uint32_t netlink_u32(const struct nlattr *attribute)
{
    uint32_t value = 0;
    if (attribute && netlink_size(attribute) >= sizeof(value))
        memcpy(&value, netlink_data(attribute), sizeof(value));
    return value;
}

void netlink_text(const struct nlattr *attribute, char *out, size_t size)
{
    size_t n = attribute ? strnlen(netlink_data(attribute), netlink_size(attribute)) : 0;
    n = n < size ? n : size - 1;
    if (n)
        memcpy(out, netlink_data(attribute), n);
    out[n] = 0;
}
