/* PodTopologySpread: the pods that a constraint selects differ by at most maxSkew between domains, counting the pod
 * that is placed. Pods without constraints of their own are spread over nodes and zones by preference, by the selectors
 * of what owns them and of their services, as upstream's system defaulting has it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/node_selector.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "base/text.h"
#include "schedule/plugin.h"

#define HOSTNAME "kubernetes.io/hostname"
#define ZONE "topology.kubernetes.io/zone"
#define NOT_MATCHED "node(s) didn't match pod topology spread constraints"
/* The score of a node that lacks a label, until it is normalized. */
#define NOT_SCORED (-1)

struct spread {
    struct census_topology *topology;
    struct census_group *group; /* NULL: the selector is empty, which counts none */
    int32_t max_skew, min_domains;
    bool self; /* the pod is selected itself */
    bool honor_affinity, honor_taints;
    bool by_node;          /* domains are nodes: scored by what is on each */
    const int32_t *counts; /* by domain; of the hard ones -1: no node of it counts */
    int32_t least;         /* over the domains that count */
    double weight;         /* of a soft one */
};

struct spread_state {
    struct spread *hard, *soft;
    size_t hard_count, soft_count;
    bool defaults; /* the soft ones are not the pod's own */
};

static void make(struct schedule_pod *pod, const struct topology_spread_constraint *c, struct spread *out)
{
    cleanup_buffer struct buffer key = {0};
    struct pod_term term;
    *out = (struct spread){
        .topology = census_topology(pod->census, c->topology_key),
        .max_skew = c->max_skew,
        .min_domains = c->min_domains.set ? c->min_domains.value : 1,
        .honor_affinity = !text_equal(c->node_affinity_policy, "Ignore"),
        .honor_taints = text_equal(c->node_taints_policy, "Honor"),
        .by_node = strcmp(c->topology_key, HOSTNAME) == 0,
    };
    buffer_add_string(&key, "living ");
    pod_term_make(pod->arena, c->label_selector, NULL, NULL, pod->pod->metadata.namespace, &term, &key);
    out->group = census_group(pod->census, key.data, &term, 1, true);
    const struct selector *selector = out->group->terms[0].selector;
    out->self = selector_matches(selector, &pod->pod->metadata.labels);
    if (selector_is_empty(selector))
        out->group = NULL;
}

/* ---- What is spread by default ---- */

struct collection {
    const struct pod *pod;
    struct arena *arena;
    struct label_selector *selector;
};

static bool add_service(void *context, struct object *object)
{
    struct collection *c = context;
    const struct string_map *selector = &((const struct service *)object->value)->spec.selector;
    if (selector->count && string_map_contains(&c->pod->metadata.labels, selector))
        for (size_t i = 0; i < selector->count; i++)
            string_map_set(c->arena, &c->selector->match_labels, selector->items[i].key, selector->items[i].value);
    return true;
}

/* The selectors of the pod's services and of its ReplicaSet together; NULL: there are none. */
static const struct label_selector *default_selector(struct schedule_pod *pod)
{
    struct label_selector *out = arena_alloc(pod->arena, sizeof(*out));
    struct collection collection = {pod->pod, pod->arena, out};
    const struct object_meta *meta = &pod->pod->metadata;
    if (meta->labels.count)
        informer_each(pod->services, meta->namespace, add_service, &collection);
    for (size_t i = 0; i < meta->owner_references.count; i++) {
        const struct owner_reference *r = &meta->owner_references.items[i];
        if (!r->controller.value || strcmp(r->kind, "ReplicaSet") != 0)
            continue;
        const struct object *owner = informer_get(pod->replica_sets, meta->namespace, r->name);
        const struct label_selector *own = owner ? ((const struct replica_set *)owner->value)->spec.selector : NULL;
        if (!own)
            continue;
        if (!out->match_labels.count)
            out->match_labels = own->match_labels;
        else
            for (size_t k = 0; k < own->match_labels.count; k++)
                string_map_set(pod->arena, &out->match_labels, own->match_labels.items[k].key,
                               own->match_labels.items[k].value);
        out->match_expressions = own->match_expressions;
    }
    return out->match_labels.count || out->match_expressions.count ? out : NULL;
}

static void make_defaults(struct schedule_pod *pod, struct spread_state *state)
{
    const struct label_selector *selector = default_selector(pod);
    if (!selector)
        return;
    struct topology_spread_constraint constraints[] = {
        {.topology_key = HOSTNAME, .max_skew = 3, .label_selector = (struct label_selector *)(uintptr_t)selector},
        {.topology_key = ZONE, .max_skew = 5, .label_selector = (struct label_selector *)(uintptr_t)selector},
    };
    state->defaults = true;
    state->soft = arena_alloc(pod->arena, 2 * sizeof(*state->soft));
    for (size_t i = 0; i < 2; i++)
        make(pod, &constraints[i], &state->soft[state->soft_count++]);
}

static struct spread_state *state_of(struct schedule_pod *pod)
{
    const struct topology_spread_constraint_array *all = &pod->pod->spec.topology_spread_constraints;
    struct spread_state *state = arena_alloc(pod->arena, sizeof(*state));
    state->hard = arena_alloc(pod->arena, all->count * sizeof(*state->hard));
    state->soft = arena_alloc(pod->arena, all->count * sizeof(*state->soft));
    for (size_t i = 0; i < all->count; i++) {
        bool hard = text_equal(all->items[i].when_unsatisfiable, "DoNotSchedule");
        make(pod, &all->items[i], hard ? &state->hard[state->hard_count++] : &state->soft[state->soft_count++]);
    }
    if (!all->count)
        make_defaults(pod, state);
    return state;
}

/* ---- Counting ---- */

static bool has_all(const struct spread *constraints, size_t count, const struct node_info *node)
{
    for (size_t i = 0; i < count; i++)
        if (constraints[i].topology->of[node->slot] < 0)
            return false;
    return true;
}

/* Whether the pods of the node count for the constraint, as far as its policies go. */
static bool is_included(const struct schedule_pod *pod, const struct spread *c, const struct node_info *node)
{
    if (c->honor_affinity && !pod_requires_node(pod->pod, node->object->meta))
        return false;
    return !(c->honor_taints && node->node->spec.taints.count && node_untolerated_taint(pod->pod, node->node));
}

/* Pods per domain on nodes that count; all: on nodes with the labels of all constraints. */
static int32_t *count_domains(const struct schedule_pod *pod, const struct spread *constraints, size_t count, bool all,
                              const struct spread *c)
{
    int32_t *counts = arena_alloc(pod->arena, (c->topology->domains + 1) * sizeof(*counts));
    bool policies = (c->honor_affinity && pod_has_node_requirements(pod->pod)) || c->honor_taints;
    for (size_t d = 0; d < c->topology->domains; d++)
        counts[d] = -1;
    for (size_t i = 0; i < pod->census->order.count; i++) {
        const struct node_info *node = pod->census->order.items[i];
        int32_t domain = c->topology->of[node->slot];
        if (domain < 0 || (all && count > 1 && !has_all(constraints, count, node)) ||
            (policies && !is_included(pod, c, node)))
            continue;
        counts[domain] = (counts[domain] < 0 ? 0 : counts[domain]) + (c->group ? census_on(&c->group->count, node) : 0);
    }
    return counts;
}

static void find_least(struct spread *c)
{
    size_t domains = 0;
    c->least = INT32_MAX;
    for (size_t d = 0; d < c->topology->domains; d++) {
        if (c->counts[d] < 0)
            continue;
        domains++;
        c->least = c->counts[d] < c->least ? c->counts[d] : c->least;
    }
    if (domains < (size_t)c->min_domains)
        c->least = 0;
}

/* ---- Filter ---- */

bool prefilter_topology_spread(struct schedule_pod *pod, struct schedule_verdict *verdict)
{
    (void)verdict;
    pod->spread = NULL;
    if (!pod->pod->spec.topology_spread_constraints.count)
        return false;
    struct spread_state *state = pod->spread = state_of(pod);
    for (size_t i = 0; i < state->hard_count; i++) {
        struct spread *c = &state->hard[i];
        c->counts = count_domains(pod, state->hard, state->hard_count, true, c);
        find_least(c);
    }
    return state->hard_count;
}

void filter_topology_spread(const struct schedule_pod *pod, const struct node_info *node,
                            struct schedule_verdict *verdict)
{
    const struct spread_state *state = pod->spread;
    for (size_t i = 0; i < state->hard_count; i++) {
        const struct spread *c = &state->hard[i];
        int32_t domain = c->topology->of[node->slot];
        if (domain < 0) {
            schedule_object(verdict, NOT_MATCHED " (missing required label)", true);
            return;
        }
        int64_t here = c->counts[domain] < 0 ? 0 : c->counts[domain];
        if (here + c->self - c->least > c->max_skew) {
            schedule_object(verdict, NOT_MATCHED, false);
            return;
        }
    }
}

/* ---- Score ---- */

/* The rarer a domain, the more one pod weighs in it. */
static size_t count_candidates(const struct schedule_pod *pod, const struct spread_state *state, const struct spread *c,
                               struct node_info *const *nodes, size_t count)
{
    unsigned char *seen = arena_alloc(pod->arena, c->topology->domains + 1);
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (!state->defaults && !has_all(state->soft, state->soft_count, nodes[i]))
            continue;
        /* By default nodes without a zone are a domain of their own. */
        int32_t domain = c->topology->of[nodes[i]->slot];
        size_t place = domain < 0 ? c->topology->domains : (size_t)domain;
        found += c->by_node || !seen[place];
        seen[place] = 1;
    }
    return found;
}

bool prescore_topology_spread(struct schedule_pod *pod, struct node_info *const *nodes, size_t count)
{
    if (!pod->spread)
        pod->spread = state_of(pod);
    struct spread_state *state = pod->spread;
    for (size_t i = 0; i < state->soft_count; i++) {
        struct spread *c = &state->soft[i];
        bool plain = !(c->honor_affinity && pod_has_node_requirements(pod->pod)) && !c->honor_taints;
        size_t size = c->by_node && state->defaults ? count
                      : c->topology->domains        ? count_candidates(pod, state, c, nodes, count)
                                                    : 0;
        c->weight = log((double)size + 2);
        if (c->by_node)
            continue;
        if (state->defaults && plain && c->group)
            c->counts = census_sum(&c->group->count, c->topology)->in;
        else
            c->counts = count_domains(pod, state->soft, state->soft_count, !state->defaults, c);
    }
    return state->soft_count;
}

int64_t score_topology_spread(const struct schedule_pod *pod, const struct node_info *node)
{
    const struct spread_state *state = pod->spread;
    double sum = 0;
    if (!state->defaults && !has_all(state->soft, state->soft_count, node))
        return NOT_SCORED;
    for (size_t i = 0; i < state->soft_count; i++) {
        const struct spread *c = &state->soft[i];
        int32_t domain = c->topology->of[node->slot];
        if (domain < 0)
            continue;
        int32_t here = !c->by_node ? c->counts[domain] : c->group ? census_on(&c->group->count, node) : 0;
        sum += (here < 0 ? 0 : here) * c->weight + (c->max_skew - 1);
    }
    return (int64_t)round(sum);
}

void normalize_topology_spread(const struct schedule_pod *pod, int64_t *scores, size_t count)
{
    int64_t least = INT64_MAX, most = 0;
    (void)pod;
    for (size_t i = 0; i < count; i++) {
        if (scores[i] == NOT_SCORED)
            continue;
        least = scores[i] < least ? scores[i] : least;
        most = scores[i] > most ? scores[i] : most;
    }
    for (size_t i = 0; i < count; i++)
        scores[i] = scores[i] == NOT_SCORED ? 0
                    : most                  ? SCHEDULE_SCORE_MAX * (most + least - scores[i]) / most
                                            : SCHEDULE_SCORE_MAX;
}

/* ---- Hint ---- */

static bool selects(const struct topology_spread_constraint *c, const struct pod *pod)
{
    return pod && label_selector_matches(c->label_selector, &pod->metadata.labels);
}

bool hint_topology_spread(const struct census *census, const struct pod *pod, const struct schedule_change *change)
{
    const struct topology_spread_constraint_array *all = &pod->spec.topology_spread_constraints;
    (void)census;
    if (!change->pod) {
        for (size_t i = 0; change->event == EVENT_NODE_ADDED && i < all->count; i++)
            if (!string_map_get(&change->node->object->meta->labels, all->items[i].topology_key))
                return false;
        return true;
    }
    if (strcmp(change->pod->metadata.namespace, pod->metadata.namespace) != 0)
        return false;
    for (size_t i = 0; i < all->count; i++)
        if (selects(&all->items[i], change->pod) || selects(&all->items[i], change->old))
            return true;
    return false;
}
