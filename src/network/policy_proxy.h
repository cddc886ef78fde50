/* From the API to the network policies in the kernel: watches NetworkPolicies, Pods and Namespaces, and keeps the
 * elements of network/policy_table.h in step with them, through the data plane. Runs on the client's thread. */
#ifndef CORACLE_NETWORK_POLICY_PROXY_H
#define CORACLE_NETWORK_POLICY_PROXY_H

#include "client/informer.h"
#include "network/dataplane.h"

struct policy_proxy;

/* The informers are shared and not taken over. node_name: pods on it are local. dns_address: of the cluster's DNS
 * service, or NULL. */
struct policy_proxy *policy_proxy_new(struct client *client, struct informer_set *informers, const char *node_name,
                                      const char *dns_address);
/* The plane whose `policies_applied` is policy_proxy_applied with the proxy as context; set before the informers start.
 */
void policy_proxy_set_plane(struct policy_proxy *proxy, struct dataplane *plane);
/* The informers are synced. Call it before the data plane's first revision: what an earlier process left is replaced by
 * all of the truth then. */
void policy_proxy_begin(struct policy_proxy *proxy);
void policy_proxy_applied(void *proxy, uint64_t number);
/* Call when the informers deliver nothing more. Nobody who waits is called any more. */
void policy_proxy_free(struct policy_proxy *proxy);

/* A local pod has this address, and address6 unless it is NULL, which the API may not say yet. Calls `done` when all
 * policies that concern it are in force. */
void policy_proxy_secure(void *proxy, const struct pod *pod, const char *address, const char *address6,
                         env_callback done, void *done_context);

#endif
