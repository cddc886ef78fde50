/* From the API to the cluster's DNS server: watches Services, EndpointSlices, Namespaces and Pods and keeps the zone
 * of network/dns/server.h in step with them. Runs on the client's thread. */
#ifndef CORACLE_NETWORK_SERVICE_DNS_H
#define CORACLE_NETWORK_SERVICE_DNS_H

#include "client/informer.h"
#include "network/dns/server.h"

/* The domain of a cluster, as upstream's default. */
#define DNS_DOMAIN "cluster.local"

struct service_dns;

/* Make it before the informers start. The server must outlive it. */
struct service_dns *service_dns_new(struct client *client, struct informer_set *informers, struct dns_server *server);
/* The informers are synced: the server answers from here on. */
void service_dns_begin(struct service_dns *dns);
/* Call when the informers deliver nothing more. NULL is fine. */
void service_dns_free(struct service_dns *dns);

#endif
