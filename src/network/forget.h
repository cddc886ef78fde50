/* Inside the data plane: what the kernel still remembers of rules that are no more, and is made to forget: clients that
 * are bound to an endpoint, and flows of UDP. Connections of TCP go on until they end. For the worker's thread, once
 * the rules are in force. Returns 0 or -1. */
#ifndef CORACLE_NETWORK_FORGET_H
#define CORACLE_NETWORK_FORGET_H

#include "network/nft.h"
#include "network/policy_table.h"

struct forgetting {
    struct nft *nft;
    const char *table;
    struct dataplane_plan *plans[2];     /* of IPv4, of IPv6; NULL: none of that family */
    const struct policy_table *policies; /* NULL: none */
};

/* Clients and flows of the endpoints that have been withdrawn. */
int forget_withdrawn(const struct forgetting *f, const struct dataplane_withdrawal *list, size_t count,
                     struct error *err);
/* Flows that the plans do not lead where they go. (After a full transaction the affinity map has nobody but those who
 * were to be kept.) */
int forget_stale(const struct forgetting *f, struct error *err);
/* Flows of the family that began before there was a way in where they go to, and so are not translated. */
int forget_early(const struct forgetting *f, int family, struct error *err);
/* Flows that policies forbid. */
int forget_forbidden(const struct forgetting *f, struct error *err);

#endif
