/* Which ports of the node the relay (network/relay.h) brings to the host: those of Services, which are node ports and
 * ports of health checks, and those of containers (network/host_ports.h). SCTP is not relayed. The relay is brought up
 * to date off the loop, one job at a time.
 *
 * One thread, that of the service proxy. */
#ifndef CORACLE_NETWORK_RELAYED_PORTS_H
#define CORACLE_NETWORK_RELAYED_PORTS_H

#include "api/types.h"
#include "base/env.h"
#include "network/host_ports.h"
#include "network/relay.h"

struct relayed_ports;

/* relay NULL: there is none, and nothing happens. host_ports is used until relayed_ports_free. */
struct relayed_ports *relayed_ports_new(struct env *env, struct relay *relay, const struct host_ports *host_ports);
/* A job that is under way ends by itself. */
void relayed_ports_free(struct relayed_ports *ports);

/* What the Service "namespace/name" has now; NULL: it is gone. */
void relayed_ports_note(struct relayed_ports *ports, const char *key, const struct service *service);
/* The ports of containers are others. */
void relayed_ports_touch(struct relayed_ports *ports);
/* Brings the relay up to date with what has been noted; what it could not open before is tried again. */
void relayed_ports_sync(struct relayed_ports *ports);

#endif
