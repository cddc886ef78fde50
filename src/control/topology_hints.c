#include "control/topology_hints.h"

#include <math.h>
#include <string.h>

#include "api/node_status.h"
#include "api/quantity.h"
#include "api/well_known.h"
#include "base/arena.h"
#include "base/text.h"

/* How much more than its share an endpoint may have to take. */
#define OVERLOAD_MAX 0.2

static const char insufficient_nodes[] =
    "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes";

bool topology_wanted(const struct service *service)
{
    const struct string_map *annotations = &service->metadata.annotations;
    const char *mode = string_map_get(annotations, TOPOLOGY_ANNOTATION);
    if (!mode)
        mode = string_map_get(annotations, HINTS_ANNOTATION);
    return text_equal(mode, "Auto") || text_equal(mode, "auto");
}

/* ---- Nodes ---- */

static struct topology_zone *find_zone(const struct topology *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (text_equal(t->zones[i].name, name))
            return (struct topology_zone *)&t->zones[i];
    return NULL;
}

void topology_add_node(struct topology *t, const struct node *node)
{
    const struct string_map *labels = &node->metadata.labels;
    if (string_map_get(labels, "node-role.kubernetes.io/control-plane") ||
        string_map_get(labels, "node-role.kubernetes.io/master") || !node_is_ready(node))
        return;
    const char *name = string_map_get(labels, "topology.kubernetes.io/zone");
    const char *text = string_map_get(&node->status.allocatable, "cpu");
    int64_t cpu = text ? quantity_milli_value(text) : 0;
    struct topology_zone *zone = find_zone(t, name);
    if (text_empty(name) || cpu <= 0 || (!zone && t->count == TOPOLOGY_ZONES_MAX)) {
        t->insufficient = true;
        return;
    }
    if (!zone) {
        zone = &t->zones[t->count++];
        *zone = (struct topology_zone){.name = name};
    }
    zone->cpu += cpu;
}

/* ---- Endpoints ---- */

/* Of each zone, by its place in the topology. */
struct shares {
    double desired[TOPOLOGY_ZONES_MAX]; /* endpoints */
    size_t have[TOPOLOGY_ZONES_MAX];
    size_t gives[TOPOLOGY_ZONES_MAX], gets[TOPOLOGY_ZONES_MAX];
};

static const char *share_out(struct arena *arena, const struct topology *t, size_t endpoints, struct shares *shares)
{
    int64_t cpu = 0;
    double left = (double)endpoints;
    if (t->insufficient || t->count < 2)
        return insufficient_nodes;
    if (t->count > endpoints)
        return arena_printf(arena, "Insufficient number of endpoints (%zu endpoints, %zu zones)", endpoints, t->count);
    for (size_t i = 0; i < t->count; i++)
        cpu += t->zones[i].cpu;
    for (size_t i = 0; i < t->count; i++) {
        double desired = (double)t->zones[i].cpu / (double)cpu * (double)endpoints;
        double least = ceil(desired * (1 / (1 + OVERLOAD_MAX)));
        shares->desired[i] = fmax(desired, least);
        left -= least;
    }
    return left >= 0 ? NULL
                     : arena_printf(arena,
                                    "Unable to allocate minimum required endpoints to each zone without exceeding "
                                    "overload threshold (%zu endpoints, %zu zones)",
                                    endpoints, t->count);
}

/* The place of the greatest above 0; SIZE_MAX: none. */
static size_t greatest(const double *values, size_t count)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < count; i++)
        if (values[i] > (best == SIZE_MAX ? 0 : values[best]))
            best = i;
    return best;
}

/* How many endpoints zones with too many give to those with too few, in whole ones. */
static void settle_gifts(const struct topology *t, struct shares *shares)
{
    double too_many[TOPOLOGY_ZONES_MAX], too_few[TOPOLOGY_ZONES_MAX];
    for (size_t i = 0; i < t->count; i++) {
        too_many[i] = (double)shares->have[i] - shares->desired[i];
        too_few[i] = -too_many[i];
    }
    for (;;) {
        size_t from = greatest(too_many, t->count), to = greatest(too_few, t->count);
        if (from == SIZE_MAX || to == SIZE_MAX || (too_many[from] < 1 && too_few[to] < 1) || too_many[from] < 0.5 ||
            too_few[to] < 0.5)
            return;
        shares->gives[from]++;
        too_many[from]--;
        shares->gets[to]++;
        too_few[to]--;
    }
}

static void hint_at(struct arena *arena, struct endpoint *e, const char *zone)
{
    struct endpoint_hints *hints = arena_alloc(arena, sizeof(*hints));
    hints->for_zones.items = arena_copy(arena, &(struct for_zone){.name = zone}, sizeof(struct for_zone));
    hints->for_zones.count = 1;
    e->hints = hints;
}

/* The zone that is to use the endpoint. */
static const char *user_of(const struct topology *t, struct shares *shares, const struct endpoint *e)
{
    const struct topology_zone *zone = find_zone(t, e->zone);
    size_t from = zone ? (size_t)(zone - t->zones) : 0;
    for (size_t to = 0; zone && shares->gives[from] && to < t->count; to++)
        if (shares->gets[to]) {
            shares->gives[from]--;
            shares->gets[to]--;
            return t->zones[to].name;
        }
    return e->zone;
}

const char *topology_hint(struct arena *arena, const struct topology *t, struct endpoint *const *endpoints,
                          size_t count)
{
    struct shares shares = {0};
    const char *why = share_out(arena, t, count, &shares);
    for (size_t i = 0; i < count && !why; i++) {
        const struct topology_zone *zone = find_zone(t, endpoints[i]->zone);
        if (text_empty(endpoints[i]->zone))
            why = "One or more endpoints do not have a zone specified";
        if (zone)
            shares.have[zone - t->zones]++;
    }
    if (why)
        return why;
    settle_gifts(t, &shares);
    for (size_t i = 0; i < count; i++)
        hint_at(arena, endpoints[i], user_of(t, &shares, endpoints[i]));
    return NULL;
}
