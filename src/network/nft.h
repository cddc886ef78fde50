/* A handle on nftables in the network namespace that it was opened in, for one thread: scripts through libnftables,
 * and the one map whose content the kernel makes. */
#ifndef CORACLE_NETWORK_NFT_H
#define CORACLE_NETWORK_NFT_H

#include "base/error.h"
#include "network/netlink.h"
#include "network/plan.h"

struct nft;

/* Opens it in the calling thread's namespace, which the thread must not leave while it uses the handle. */
int nft_open(struct nft **out, struct error *err);
void nft_close(struct nft *nft);
/* Runs a script as one atomic transaction. */
int nft_run(struct nft *nft, const char *script, struct error *err);
/* The netlink socket for connection tracking. */
struct netlink *nft_netlink(struct nft *nft);

/* Adds to the batch (network/nft_batch.h) the clients in the affinity map of the family's table for which `kept` is
 * true, with the time that each has left: what a transaction that makes the table anew has to end with, if they are to
 * stay bound. A table that is not there, or is not like ours, has none. */
typedef bool (*nft_affinity_judge)(void *context, const struct dataplane_withdrawal *binding);
int nft_keep_clients(struct nft *nft, int family, const char *table, nft_affinity_judge kept, void *context,
                     struct netlink_batch *batch, struct error *err);
/* Forgets the clients in the affinity map of the family's table for which `stale` is true. */
int nft_forget_clients(struct nft *nft, int family, const char *table, nft_affinity_judge stale, void *context,
                       struct error *err);

#endif
