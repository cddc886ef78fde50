/* The rules of affinity and spreading, without namespace selectors and node policies, which simulated users do not use. */
#include "sim/placement.h"

#include <limits.h>
#include <string.h>

#include "api/selector.h"
#include "base/cleanup.h"

static const struct pod *pod_of(const struct object *object)
{
    return object->value;
}

static const char *domain_of(const struct sim_placement *p, const char *node, const char *key)
{
    const struct object *object = node ? map_get(p->nodes, node) : NULL;
    return object ? string_map_get(&object->meta->labels, key) : NULL;
}

static bool selects(const struct label_selector *from, const struct object *owner, const struct object *pod)
{
    cleanup_arena struct arena *arena = arena_new(0);
    const struct selector *selector;
    return strcmp(owner->meta->namespace, pod->meta->namespace) == 0 &&
           selector_from_label_selector(arena, from, &selector, NULL) == 0 &&
           selector_matches(selector, &pod->meta->labels);
}

/* Whether what the holder says of its neighbours keeps the guest away. */
static bool forbids(const struct sim_placement *p, const struct object *holder, const struct object *guest)
{
    const struct affinity *a = pod_of(holder)->spec.affinity;
    if (!a || !a->pod_anti_affinity)
        return false;
    const struct pod_affinity_term_array *terms =
        &a->pod_anti_affinity->required_during_scheduling_ignored_during_execution;
    for (size_t i = 0; i < terms->count; i++) {
        const char *here = domain_of(p, pod_of(holder)->spec.node_name, terms->items[i].topology_key);
        const char *there = domain_of(p, pod_of(guest)->spec.node_name, terms->items[i].topology_key);
        if (here && there && strcmp(here, there) == 0 && selects(terms->items[i].label_selector, holder, guest))
            return true;
    }
    return false;
}

struct object *sim_placement_conflict(const struct sim_placement *p, const struct object *pod)
{
    for (size_t i = 0; i < p->count; i++) {
        struct object *other = p->pods[i];
        if (strcmp(other->meta->uid, pod->meta->uid) != 0 && (forbids(p, pod, other) || forbids(p, other, pod)))
            return other;
    }
    return NULL;
}

static int count_in(const struct sim_placement *p, const struct object *pod, const struct topology_spread_constraint *c,
                    const char *domain)
{
    int count = 0;
    for (size_t i = 0; i < p->count; i++) {
        const char *here = domain_of(p, pod_of(p->pods[i])->spec.node_name, c->topology_key);
        count += here && strcmp(here, domain) == 0 && !p->pods[i]->meta->deletion_timestamp &&
                 selects(c->label_selector, pod, p->pods[i]);
    }
    return count;
}

const struct topology_spread_constraint *sim_placement_skewed(const struct sim_placement *p, const struct object *pod,
                                                              int *skew)
{
    const struct topology_spread_constraint_array *all = &pod_of(pod)->spec.topology_spread_constraints;
    for (size_t i = 0; i < all->count; i++) {
        const struct topology_spread_constraint *c = &all->items[i];
        const char *own = domain_of(p, pod_of(pod)->spec.node_name, c->topology_key);
        int least = INT_MAX;
        if (strcmp(c->when_unsatisfiable, "DoNotSchedule") != 0 || !own)
            continue;
        for (struct map_slot *s = NULL; (s = map_next(p->nodes, s));) {
            const char *domain = domain_of(p, s->key, c->topology_key);
            int count = domain ? count_in(p, pod, c, domain) : INT_MAX;
            least = count < least ? count : least;
        }
        *skew = count_in(p, pod, c, own) - least;
        if (*skew > c->max_skew)
            return c;
    }
    return NULL;
}
