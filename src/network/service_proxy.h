/* From the API to the data plane: watches Services and EndpointSlices and keeps network/dataplane.h, and in a sandbox
 * the host's relay of node ports, in step with them. Runs on the client's thread. */
#ifndef CORACLE_NETWORK_SERVICE_PROXY_H
#define CORACLE_NETWORK_SERVICE_PROXY_H

#include "client/informer.h"
#include "network/dataplane.h"
#include "network/health_check.h"
#include "network/relay.h"

/* Events are gathered for one turn of the loop, then handed to the data plane with the revision that they end at. */

struct service_proxy;

struct service_proxy_options {
    struct client *client;
    struct informer_set *informers; /* shared; not taken over */
    const char *node_name;
    struct relay *relay;         /* NULL: node ports are reachable as they are */
    struct in_addr node_address; /* where the relay arrives; 0 without one */
    struct health_check *health_check; /* of externalTrafficPolicy Local; NULL: not served */
    /* Something has been applied: what service_proxy_drained says may have changed. */
    env_callback changed;
    void *context;
};

struct service_proxy *service_proxy_new(const struct service_proxy_options *options);
/* The plane whose `applied` callback is service_proxy_applied with the proxy as context; set before the informers
 * start. */
void service_proxy_set_plane(struct service_proxy *proxy, struct dataplane *plane);
/* The informers are synced: applies what there is, even if it is nothing. */
void service_proxy_begin(struct service_proxy *proxy);
void service_proxy_applied(void *proxy, uint64_t revision, const struct error *err);
/* The node's pod has its address, or NULL: not any more. Its host ports follow. */
void service_proxy_host_ports(void *proxy, const struct pod *pod, const char *pod_ip, const char *pod_ip6);
/* Call when the informers deliver nothing more. Work under way on the relay is waited for by the loop. */
void service_proxy_free(struct service_proxy *proxy);

/* True once no Service sends a new connection to a pod that is being deleted, as long as it has other endpoints: the
 * slices of every Service that selects the pod call it terminating, in each family in which it has an address, and the
 * data plane has applied them. */
bool service_proxy_drained(void *proxy, const struct pod *pod);
/* The node knows that the pod is not ready, or is again, before the API does: while it is withheld it gets no new
 * connection, whatever the slices say. Services that publish addresses that are not ready are left as they are. */
void service_proxy_withhold(void *proxy, const struct pod *pod, bool withhold);

#endif
