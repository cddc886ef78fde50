/* Which zone should use which endpoint of a Service whose annotation service.kubernetes.io/topology-mode is Auto, as
 * upstream's topologycache has it: each zone gets endpoints by its share of the nodes' cpu, its own ones first; where
 * some zone would be overloaded by more than a fifth, nobody gets hints. Pure functions. */
#ifndef CORACLE_CONTROL_TOPOLOGY_HINTS_H
#define CORACLE_CONTROL_TOPOLOGY_HINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/types.h"

/* Zones beyond these are no longer told apart: there are no hints then. */
#define TOPOLOGY_ZONES_MAX 64

struct topology {
    struct topology_zone {
        const char *name; /* borrowed from the node */
        int64_t cpu;      /* thousandths that its nodes can allot */
    } zones[TOPOLOGY_ZONES_MAX];
    size_t count;
    bool insufficient; /* a node does not say enough */
};

/* Whether the Service asks for hints: by that annotation or its older form, topology-aware-hints. */
bool topology_wanted(const struct service *service);
/* Counts a node, if it is ready and not of the control plane. */
void topology_add_node(struct topology *topology, const struct node *node);
/* Sets the hints of endpoints of one address family, all of them ready. NULL, or why there are none, in upstream's
 * words and in the arena. */
const char *topology_hint(struct arena *arena, const struct topology *topology, struct endpoint *const *endpoints,
                          size_t count);

#endif
