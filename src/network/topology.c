#include "network/topology.h"

#include <string.h>

struct place {
    const char *name;
    bool is_node;
};

static size_t hint_count(const struct endpoint_hints *hints, const struct place *place)
{
    return !hints ? 0 : place->is_node ? hints->for_nodes.count : hints->for_zones.count;
}

static bool is_for(const struct endpoint_hints *hints, const struct place *place)
{
    for (size_t i = 0; i < hint_count(hints, place); i++) {
        const char *name = place->is_node ? hints->for_nodes.items[i].name : hints->for_zones.items[i].name;
        if (name && place->name && strcmp(name, place->name) == 0)
            return true;
    }
    return false;
}

static bool takes_traffic(const struct dataplane_endpoint *e)
{
    return e->ready && !e->terminating;
}

/* Whether all ready endpoints have hints of the place's kind, and one is for it. */
static bool applies(const struct dataplane_endpoint *endpoints, const struct endpoint_hints *const *hints, size_t count,
                    const struct place *place)
{
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        if (!takes_traffic(&endpoints[i]))
            continue;
        if (!hint_count(hints[i], place))
            return false;
        any = any || is_for(hints[i], place);
    }
    return any;
}

void topology_choose(struct dataplane_endpoint *endpoints, const struct endpoint_hints *const *hints, size_t count,
                     const char *node, const char *zone)
{
    const struct place places[] = {{node, true}, {zone, false}};
    for (size_t p = 0; p < 2; p++) {
        if (!applies(endpoints, hints, count, &places[p]))
            continue;
        for (size_t i = 0; i < count; i++)
            endpoints[i].distant = takes_traffic(&endpoints[i]) && !is_for(hints[i], &places[p]);
        return;
    }
}
