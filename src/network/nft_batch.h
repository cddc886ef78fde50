/* Inside the data plane: one transaction of nftables as netlink messages, for what libnftables takes too long for, or
 * cannot write. Nothing here talks to the kernel but nft_batch_frame and nft_batch_commit.
 *
 * Tables are made anew in one such transaction, however large, whatever was there before:
 *
 *     nft_batch_begin(&batch);
 *     nft_batch_delete_table(...) for each table that may be there
 *     nft_batch_frame(&batch, script, err);    what libnftables makes of the script: chains, sets, rules
 *     nft_batch_elements(...), nft_batch_remember(...)
 *     nft_batch_commit(nft, &batch, err);
 */
#ifndef CORACLE_NETWORK_NFT_BATCH_H
#define CORACLE_NETWORK_NFT_BATCH_H

#include "network/element.h"
#include "network/nft.h"

/* An empty batch becomes a transaction; release it with netlink_batch_free. */
void nft_batch_begin(struct netlink_batch *batch);
/* Closes it and hands it to the kernel, which does all of it or nothing. The batch is empty afterwards. */
int nft_batch_commit(struct nft *nft, struct netlink_batch *batch, struct error *err);

/* Begins a message about an object of nftables: NFT_MSG_..., and NLM_F flags. */
void nft_batch_message(struct netlink_batch *batch, int family, uint16_t type, uint16_t flags);

/* A table that is not there is fine. */
void nft_batch_delete_table(struct netlink_batch *batch, int family, const char *table);
/* Adds all that the script makes of nothing. libnftables has no other way out than into the kernel; so it writes into a
 * network namespace that is made for this and has gone when the function returns, whatever becomes of the process. */
int nft_batch_frame(struct netlink_batch *batch, const char *script, struct error *err);
/* Elements of a table that is there, or made by the same transaction; the cheaper, the fewer times the set changes from
 * one to the next. */
void nft_batch_elements(struct netlink_batch *batch, int family, const char *table, const struct element *elements,
                        size_t count);
/* The chain remember-SECONDS of a table of IPv6, made if it is not there, and the rule in it that remembers a client.
 * libnftables 1.0.6 gives the keys and values of a map that rules fill only 16 bytes each. */
void nft_batch_remember(struct netlink_batch *batch, const char *table, uint32_t seconds);

/* Elements of one set, in as many messages as they need. */
struct nft_elements {
    struct netlink_batch *batch;
    int family;
    const char *table, *set;
    size_t list; /* the open message's; 0: none */
};
/* An element's attributes go between these two. */
size_t nft_elements_begin(struct nft_elements *elements);
void nft_elements_end(struct nft_elements *elements, size_t element);
/* After the last one. */
void nft_elements_close(struct nft_elements *elements);

#endif
