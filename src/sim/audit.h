/* The auditor: sees every committed write and the requests of the controllers, and holds them against what may never
 * happen.
 *
 * A controller is answerable for what it does, not for what happens to it, and it acts on news that may be late. So
 * limits are those of any state of the owner that was current within the last `window`, and:
 *
 *   surge        whenever the sum of spec.replicas over a Deployment's ReplicaSets grows, it is at most replicas +
 *                maxSurge; whenever a pod is made for a ReplicaSet, its active pods are at most its spec.replicas.
 *   availability whenever a controller deletes a pod that has been available for the window, the pods that are left and
 *                have been available (a fault may have made them unready since) are at least replicas -
 *                maxUnavailable. Pods that somebody else has just deleted or relabelled count as left.
 *   recreate     under the strategy Recreate, no ReplicaSet grows while a pod of another one has not ended.
 *
 *   pause        a Deployment that is paused gets no new ReplicaSet.
 *
 * Availability and recreate do not hold while a Deployment is made smaller, is scaled with more pods than replicas +
 * maxSurge, is paused, has just been created or got another minReadySeconds: as upstream's, the controller then scales what it finds in proportion,
 * whatever is available.
 *
 *   placement    no pod is bound where its required anti-affinity, or that of a pod that is there, forbids it; and none
 *                into a domain that its maxSkew forbids, unless pods or nodes have gone or changed within the window,
 *                or other bindings are under way.
 *
 * For Jobs see audit_job.h.
 *
 * Without such tolerance: observedGeneration is at most generation; nothing has two controllers; a pod comes to a
 * ReplicaSet, and leaves it, by its labels alone; no two ReplicaSets of a Deployment have one template; a bound pod
 * stays on its node, and the pods of a node fit in it when one is bound; no slice has more than 100 endpoints; what was
 * acknowledged is there after a crash. */
#ifndef CORACLE_SIM_AUDIT_H
#define CORACLE_SIM_AUDIT_H

#include "sim/cluster.h"
#include "sim/history.h"

#define SIM_VIOLATION_MAX 512

struct sim_audit;

struct sim_audit *sim_audit_new(struct env *env, struct sim_history *history, int64_t window);
void sim_audit_free(struct sim_audit *audit);
/* For sim_cluster_new; context: the struct sim_audit. */
void sim_audit_opened(void *audit, struct sim_cluster *cluster);
void sim_audit_closing(void *audit, struct sim_cluster *cluster);
/* The observer of the controllers' link; context: the struct sim_audit. */
void sim_audit_request(void *audit, const struct client_request *request);
/* The first thing that was wrong, or NULL. */
const char *sim_audit_violation(const struct sim_audit *audit);
/* Committed writes of anything but leases and nodes, which never stop. */
uint64_t sim_audit_writes(const struct sim_audit *audit);

#endif
