/* Netlink messages, built in a batch and sent in one system call: links, addresses and routes (NETLINK_ROUTE),
 * connection tracking and nftables (NETLINK_NETFILTER). A socket stays in the namespace that it was opened in, and is
 * used by one thread at a time. */
#ifndef CORACLE_NETWORK_NETLINK_H
#define CORACLE_NETWORK_NETLINK_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

/* The kernel's answers are read in pieces of at most this many bytes. */
#define NETLINK_RECEIVE_MAX (64 * 1024)
/* Messages in one batch that is not framed: each has an acknowledgement that waits in the socket's receive buffer. */
#define NETLINK_BATCH_MAX 128
/* From this size on the socket's send buffer is made as large as the batch: the kernel takes it in one piece. */
#define NETLINK_SEND_LARGE (64 * 1024)
/* How long to wait for the kernel, in seconds. It answers at once unless something is badly wrong. */
#define NETLINK_ANSWER_WAIT 20

struct netlink {
    int fd;
    uint32_t sequence;
};

/* In namespace_fd, or the caller's if it is -1. */
int netlink_open(int namespace_fd, int protocol, struct netlink *out, struct error *err);
void netlink_close(struct netlink *netlink);
#define cleanup_netlink __attribute__((cleanup(netlink_close)))
#define NETLINK_CLOSED ((struct netlink){.fd = -1})

struct netlink_batch {
    struct buffer data;
    size_t open; /* where the message being built starts */
    size_t count;
    /* The first and the last message frame the others, which are one transaction, of any number. The kernel then tells
     * of those that fail, and acknowledges the last one inside the frame when it is through. */
    bool framed;
};

/* Starts a message: its type, NLM_F flags beside REQUEST and ACK, and the fixed header of its family. */
void netlink_message(struct netlink_batch *batch, uint16_t type, uint16_t flags, const void *header, size_t size);
void netlink_add(struct netlink_batch *batch, uint16_t type, const void *data, size_t size);
void netlink_add_u8(struct netlink_batch *batch, uint16_t type, uint8_t value);
void netlink_add_u32(struct netlink_batch *batch, uint16_t type, uint32_t value);
void netlink_add_string(struct netlink_batch *batch, uint16_t type, const char *value);
/* Adds a copy of an attribute of another message; NULL: none. */
void netlink_copy(struct netlink_batch *batch, const struct nlattr *attribute);
/* Opens an attribute that holds others, and closes it with the returned position. */
size_t netlink_nest(struct netlink_batch *batch, uint16_t type);
void netlink_nest_end(struct netlink_batch *batch, size_t nest);
/* Takes back what came after `before`, a copy of the batch as it was then. */
void netlink_batch_cut(struct netlink_batch *batch, const struct netlink_batch *before);
void netlink_batch_free(struct netlink_batch *batch);
#define cleanup_netlink_batch __attribute__((cleanup(netlink_batch_free)))

/* Sends the batch and waits for the kernel's acknowledgement. It goes through all messages in order, also past one
 * that fails; the first failure is returned: -1, err->code the kernel's, and its number in *failed (may be NULL). The
 * batch is empty afterwards. */
int netlink_commit(struct netlink *netlink, struct netlink_batch *batch, size_t *failed, struct error *err);

/* Sends the one message of the batch and calls back with each message of the answer, until its end. The batch is
 * empty afterwards. With NLM_F_DUMP the answer is a list; EINTR when it changed while it was read. */
typedef void (*netlink_callback)(void *context, const struct nlmsghdr *message);
int netlink_query(struct netlink *netlink, struct netlink_batch *batch, netlink_callback callback, void *context,
                  struct error *err);

/* The attribute of a type among those behind a message's fixed header, or inside another attribute; NULL if there is
 * none. Its bytes and their number. */
const struct nlattr *netlink_find(const struct nlmsghdr *message, size_t header_size, uint16_t type);
const struct nlattr *netlink_find_in(const struct nlattr *nest, uint16_t type);
/* The attributes inside another, one after the other: NULL to begin, NULL at the end. */
const struct nlattr *netlink_next_in(const struct nlattr *nest, const struct nlattr *previous);
const void *netlink_data(const struct nlattr *attribute);
size_t netlink_size(const struct nlattr *attribute);
/* The attribute's bytes as a number; 0 if it is NULL or too short. */
uint32_t netlink_u32(const struct nlattr *attribute);
/* The text of an attribute, "" if it is NULL, cut to size - 1 characters. */
void netlink_text(const struct nlattr *attribute, char *out, size_t size);

#endif
