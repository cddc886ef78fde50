/* Inside the registry: what a Service has, by its type. Pure functions. */
#ifndef CORACLE_REGISTRY_SERVICE_H
#define CORACLE_REGISTRY_SERVICE_H

#include <stdbool.h>

#include "api/types.h"

bool service_needs_cluster_ip(const struct service_spec *spec);
/* Of a type whose ports have node ports: those that are asked for, at least. */
bool service_may_have_node_ports(const struct service_spec *spec);
/* Whether ports that ask for none get one all the same. */
bool service_needs_node_ports(const struct service_spec *spec);
bool service_has_health_port(const struct service_spec *spec);
/* Whether a port of the service, which may be NULL, has the number, with any protocol. */
bool service_has_node_port(const struct service *service, int port);

#endif
