/* When the processes of a pod that ends may be told so: nobody is sent to it any more, and nobody waits to be let in.
 *
 *     WITHDRAWING --data plane confirms--> SETTLING --nobody is arriving--> OVER
 *                                            ^  |
 *                                            +--+ somebody still is
 *
 * Whether the pod is ready plays no part: one that is evicted, or turned unready just before its deletion, may have
 * been sent clients a moment ago, and a Service may publish addresses that are not ready.
 *
 * A pure function of what is told and when (env_monotonic, microseconds); node/worker_drain.c acts. Upstream has no
 * such order: its kubelet stops a pod while endpoints are being withdrawn. */
#ifndef CORACLE_NODE_DRAIN_H
#define CORACLE_NODE_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/timestamp.h"

/* How long the data plane may take to confirm: half of the grace period, and at most this. */
#define DRAIN_WITHDRAW_MAX (10 * SECOND)
/* After the confirmation: packets that the rules before it have sent on their way arrive within this time. */
#define DRAIN_SETTLE_TIME (20 * MILLISECOND)
/* Then clients may be in their handshake, or wait to be accepted: how often to look, and for how long, which is half of
 * what is left of the grace period, and at most this. A client further away than this takes its handshake to nobody. */
#define DRAIN_SETTLE_LOOK (5 * MILLISECOND)
#define DRAIN_SETTLE_MAX (1 * SECOND)

enum drain_phase { DRAIN_WITHDRAWING, DRAIN_SETTLING, DRAIN_OVER };

struct drain {
    enum drain_phase phase;
    bool reachable;
    int64_t due; /* when drain_due is to be called, unless something is told before; not when OVER */
    int64_t end; /* of SETTLING, at the latest */
    int64_t grace_end;
};

/* grace: what is left of the grace period. reachable: the pod has an address that clients may have been sent to. */
void drain_begin(struct drain *drain, int64_t now, int64_t grace, bool reachable);
/* No data plane sends a new connection to the pod. Told once or more often. */
void drain_confirmed(struct drain *drain, int64_t now);
/* It is drain.due. True: look at the pod's sockets and tell drain_looked. */
bool drain_due(struct drain *drain);
/* arriving: connections that are in their handshake, or wait to be accepted; 0 also when they could not be seen. */
void drain_looked(struct drain *drain, int64_t now, uint64_t arriving);

#endif
