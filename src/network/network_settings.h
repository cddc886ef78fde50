/* Kernel settings that the pod network needs. All functions act on the network namespace of the calling thread and
 * block for as long as a few writes below /proc/sys take. 0, or -1 with err. */
#ifndef CORACLE_NETWORK_NETWORK_SETTINGS_H
#define CORACLE_NETWORK_NETWORK_SETTINGS_H

#include <stdbool.h>

#include "base/error.h"

/* In the node's namespace. Forwarding makes it a router. route_localnet lets node ports answer on 127.0.0.1, the
 * data plane refuses what pods would do with it. Redirects would send pods past the node, where services are not,
 * and use up what the kernel allows of ICMP errors; "all" has to be off for that, and other links keep their own
 * setting. br_netfilter, which a machine may have for others, is only a detour here; it is switched off where the
 * namespace is the cluster's own, and *detour is set where it judges what is bridged. There, too, the ports of ended
 * connections serve again after a second: all that a sandbox's node ports carry begins at one address, and would be
 * bounded to some 470 new connections a second. */
int network_settings_of_node(const char *bridge, bool ipv6, bool own_namespace, bool *detour, struct error *err);
/* In a pod's namespace, before its link is made. Any user of the pod may bind low ports and ping, as containerd does
 * by default. */
int network_settings_of_pod(bool ipv6, struct error *err);

#endif
