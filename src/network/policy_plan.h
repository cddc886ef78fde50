/* The deciding half of network policies: NetworkPolicies, Pods and Namespaces -> elements of the table that enforces
 * them (network/policy_table.h). No I/O, no clock: the same calls give the same elements, of either address family.
 *
 * Pods that all policies see alike are one class: what a policy's peers are compared with is the class, not the pod. A
 * change of a pod costs what that pod costs. When it is the first or the last of its class, all local pods are looked
 * at once; when a policy changes, all pods are.
 *
 * As upstream defines it: a pod is isolated in a direction when a policy of that direction selects it, and then
 * receives (sends) what at least one of them allows. Pods on the node's own network, and those whose containers have
 * ended for good, are no pods here; their addresses count for ipBlock alone. A named port is the port of that name and
 * protocol of the receiving pod. The cluster's DNS service stands for a pod of kube-system with the label
 * k8s-app=kube-dns and the ports dns and dns-tcp, whatever it leads to: policies that let pods ask upstream's DNS
 * servers let them ask this one. */
#ifndef CORACLE_NETWORK_POLICY_PLAN_H
#define CORACLE_NETWORK_POLICY_PLAN_H

#include "api/types.h"
#include "network/address.h"
#include "network/policy_table.h"

/* Distinct peers of all policies; those beyond match nothing. */
#define POLICY_TERMS_MAX 4096
/* Distinct sets of ports that are remembered; beyond, all get new numbers. */
#define POLICY_PORT_SETS_MAX 65536
/* Addresses of one pod. */
#define POLICY_ADDRESSES_MAX 2

struct policy_plan;

/* dns_address: of the cluster's DNS service, or NULL. */
struct policy_plan *policy_plan_new(const char *dns_address);
void policy_plan_free(struct policy_plan *plan);

/* What they are given is copied. NULL instead of an object: it is gone. */
void policy_plan_set_policy(struct policy_plan *plan, const char *namespace, const char *name,
                            const struct network_policy *policy);
void policy_plan_set_namespace(struct policy_plan *plan, const char *name, const struct string_map *labels);
/* local: on this node, which enforces what policies say about it. */
void policy_plan_set_pod(struct policy_plan *plan, const char *namespace, const char *name, const struct pod *pod,
                         const struct ip_address *addresses, size_t count, bool local);

/* Appends what has changed since the last call. Returns false when there were more than POLICY_TERMS_MAX peers. */
bool policy_plan_changes(struct policy_plan *plan, struct policy_changes *out);
/* How often what a local pod may do was made, over all calls: what changes have cost. */
uint64_t policy_plan_pods_made(const struct policy_plan *plan);

#endif
