/* The acting half of the service data plane: applies plans (network/plan.h) to the kernel, one for each address family,
 * inside the node's network namespace, on a thread of its own.
 *
 *     dataplane_start(&config, &plane, err);
 *     dataplane_set(plane, &service) ... for everything that exists
 *     dataplane_revision(plane, R);           first call: one transaction replaces what an earlier process left
 *     dataplane_set / dataplane_remove ... dataplane_revision(plane, R2);
 *
 * Changes are gathered for at most DATAPLANE_BATCH_WAIT and applied as one atomic transaction over both families: a
 * packet meets the rules before or after, never between. When all of what came before dataplane_revision(R) is in
 * force, and the UDP flows and client affinities of withdrawn endpoints are gone, `applied` is called with R. TCP
 * connections keep flowing to withdrawn endpoints until one side ends them. Likewise for policies: flows of UDP that
 * they no longer allow are gone when they are reported, connections of TCP go on.
 *
 * Nothing is applied before the first dataplane_revision, so that a restart never shows the kernel half of the
 * services; until then the rules of the previous process stay in force. Clients that are bound to an endpoint by
 * session affinity stay bound, for the time that they had left, if their service and endpoint are still what they were.
 *
 * A full transaction deletes our tables and makes them anew. Its chains are written by libnftables, in a network
 * namespace that is there for a moment and for nothing else; the elements, which are the mass, are added as netlink
 * messages, and all goes to the kernel in one piece (network/nft_batch.h). A process that ends before that has changed
 * nothing, and leaves nothing behind. Changes go through libnftables as nft script. Of those, one thing comes in a
 * transaction before: a chain that remembers clients of IPv6 for a time that no service had so far, to which nothing
 * leads until the change itself.
 *
 * A transaction that the kernel refuses (somebody deleted the table) is followed by a full one; when that fails
 * too it is tried again every DATAPLANE_RETRY_WAIT, and revisions are not reported meanwhile.
 *
 * Threads: all functions may be called from any thread and do not block, but start and stop. */
#ifndef CORACLE_NETWORK_DATAPLANE_H
#define CORACLE_NETWORK_DATAPLANE_H

#include <stdint.h>

#include "base/error.h"
#include "base/mailbox.h"
#include "base/timestamp.h"
#include "network/plan.h"
#include "network/policy_table.h"

/* Microseconds. */
#define DATAPLANE_BATCH_WAIT (1 * MILLISECOND)
#define DATAPLANE_RETRY_WAIT (1 * SECOND)

struct dataplane;

struct dataplane_config {
    int namespace_fd; /* the node's network namespace, or -1; not kept */
    struct dataplane_plan_config plan;
    struct dataplane_plan_config plan6; /* its table NULL: no IPv6 */
    /* Called in the loop of `mailbox`, or on the data plane's own thread when mailbox is NULL. Revisions may be
     * skipped: a report of R stands for all that were asked for before R. `err` is NULL, or why the first attempt
     * to apply failed (it is tried again; revision is then the one that waits). */
    void (*applied)(void *context, uint64_t revision, const struct error *err);
    void *context;
    /* Network policies, in a table of their own; its name NULL: none. `policies_applied` is called, as `applied` is,
     * with the newest number from dataplane_policies whose changes are in force. */
    struct policy_table_config policies;
    void (*policies_applied)(void *context, uint64_t number);
    void *policies_context;
    struct mailbox *mailbox; /* must outlive the data plane and run until dataplane_stop has returned */
};

/* Enters the namespace and checks that nftables can be used there. */
int dataplane_start(const struct dataplane_config *config, struct dataplane **out, struct error *err);
/* Applies nothing more and joins the thread. The rules stay in force. Reports already in the mailbox are still
 * delivered: drain it before `context` goes. */
void dataplane_stop(struct dataplane *plane);
/* Deletes the tables `table` from the namespace, of both families and of policies. One that is not there is fine. */
int dataplane_destroy(int namespace_fd, const char *table, struct error *err);

/* As dataplane_plan_set and _remove of the family's plan; what the service points to is copied. A service that cannot
 * be is refused here and now. In a data plane without IPv6, services of IPv6 are taken and do nothing. */
int dataplane_set(struct dataplane *plane, const struct dataplane_service *service, struct error *err);
void dataplane_remove(struct dataplane *plane, int family, const char *name);
/* All changes so far belong to `revision`, which never decreases. */
void dataplane_revision(struct dataplane *plane, uint64_t revision);
/* Changes the elements of the policies' table, in one transaction with what else there is to change; not before the
 * first dataplane_revision. Takes the changes over and leaves them empty. Returns their number, which grows by each
 * call. */
uint64_t dataplane_policies(struct dataplane *plane, struct policy_changes *changes);

struct dataplane_statistics {
    uint64_t transactions;
    uint64_t full; /* of these, whole tables */
    uint64_t failures;
    uint64_t applied_revision;
    int64_t last_duration; /* microseconds that the last transaction took */
    size_t last_size;      /* bytes of what it said to nftables */
};
void dataplane_statistics(struct dataplane *plane, struct dataplane_statistics *out);

#endif
