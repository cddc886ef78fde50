/* InterPodAffinity: a pod is placed near pods that it wants, away from those that it does not, and away from those that
 * do not want it; and preferences of both sides make scores. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "schedule/plugin.h"

/* How many pods there are in each domain, and what one of them is worth. */
struct near {
    const struct census_topology *topology;
    const struct census_sum *sum;
    int64_t weight;
};

struct near_array {
    struct near *items;
    size_t count, room;
};

struct affinity_state {
    struct near_array wanted, unwanted, unwanting; /* filter: of the pod's required terms, and of others' */
    bool first;                                    /* no pod matches its affinity but itself */
    struct near_array preferred;                   /* score */
};

static void add(struct arena *arena, struct near_array *out, struct census *census, struct census_count *count,
                const char *topology_key, int64_t weight)
{
    struct census_topology *topology = census_topology(census, topology_key);
    if (out->count == out->room) {
        out->room = 2 * out->room + 4;
        out->items = arena_array_grow(arena, out->items, out->count, out->room - out->count, sizeof(*out->items));
    }
    out->items[out->count++] = (struct near){topology, census_sum(count, topology), weight};
}

/* Pods in the domain of the node; -1: it is in none. */
static int32_t pods_near(const struct near *n, const struct node_info *node)
{
    int32_t domain = n->topology->of[node->slot];
    return domain < 0 ? -1 : n->sum->in[domain];
}

static struct census_group *group_of(struct schedule_pod *pod, const struct pod_affinity_term *terms, size_t count)
{
    cleanup_buffer struct buffer key = {0};
    struct pod_term *made = arena_alloc(pod->arena, count * sizeof(*made));
    buffer_add_string(&key, "all ");
    for (size_t i = 0; i < count; i++)
        pod_term_of(pod->arena, &terms[i], pod->pod->metadata.namespace, &made[i], &key);
    return census_group(pod->census, key.data, made, count, false);
}

/* ---- Filter ---- */

static void prepare_wanted(struct schedule_pod *pod, struct affinity_state *state,
                           const struct pod_affinity_term_array *terms)
{
    if (!terms->count)
        return;
    struct census_group *group = group_of(pod, terms->items, terms->count);
    state->first = true;
    for (size_t i = 0; i < terms->count; i++) {
        add(pod->arena, &state->wanted, pod->census, &group->count, terms->items[i].topology_key, 0);
        state->first = state->first && !state->wanted.items[i].sum->total &&
                       pod_term_selects(pod->census, &group->terms[i], pod->pod);
    }
}

static void prepare_unwanted(struct schedule_pod *pod, struct affinity_state *state,
                             const struct pod_affinity_term_array *terms)
{
    for (size_t i = 0; i < terms->count; i++)
        add(pod->arena, &state->unwanted, pod->census, &group_of(pod, &terms->items[i], 1)->count,
            terms->items[i].topology_key, 0);
}

static void add_unwanting(void *context, struct census_carried *carried)
{
    struct schedule_pod *pod = context;
    if (carried->kind == CARRIES_ANTI_AFFINITY)
        add(pod->arena, &pod->affinity->unwanting, pod->census, &carried->count, carried->topology_key, 0);
}

bool prefilter_inter_pod_affinity(struct schedule_pod *pod, struct schedule_verdict *verdict)
{
    const struct affinity *a = pod->pod->spec.affinity;
    (void)verdict;
    pod->affinity = NULL;
    if (!pod->census->carried.count && !(a && (a->pod_affinity || a->pod_anti_affinity)))
        return false;
    struct affinity_state *state = pod->affinity = arena_alloc(pod->arena, sizeof(*state));
    if (a && a->pod_affinity)
        prepare_wanted(pod, state, &a->pod_affinity->required_during_scheduling_ignored_during_execution);
    if (a && a->pod_anti_affinity)
        prepare_unwanted(pod, state, &a->pod_anti_affinity->required_during_scheduling_ignored_during_execution);
    census_carried_for(pod->census, pod->pod, add_unwanting, pod);
    return state->wanted.count || state->unwanted.count || state->unwanting.count;
}

static bool has_wanted(const struct affinity_state *state, const struct node_info *node)
{
    bool all = true;
    for (size_t i = 0; i < state->wanted.count; i++) {
        int32_t pods = pods_near(&state->wanted.items[i], node);
        if (pods < 0)
            return false;
        all = all && pods > 0;
    }
    return all || state->first;
}

static bool has_any(const struct near_array *pods, const struct node_info *node)
{
    for (size_t i = 0; i < pods->count; i++)
        if (pods_near(&pods->items[i], node) > 0)
            return true;
    return false;
}

void filter_inter_pod_affinity(const struct schedule_pod *pod, const struct node_info *node,
                               struct schedule_verdict *verdict)
{
    const struct affinity_state *state = pod->affinity;
    if (!has_wanted(state, node))
        schedule_object(verdict, "node(s) didn't match pod affinity rules", true);
    else if (has_any(&state->unwanted, node))
        schedule_object(verdict, "node(s) didn't match pod anti-affinity rules", false);
    else if (has_any(&state->unwanting, node))
        schedule_object(verdict, "node(s) didn't satisfy existing pods anti-affinity rules", false);
}

/* ---- Score ---- */

static void add_preferred(struct schedule_pod *pod, const struct weighted_pod_affinity_term_array *terms, int sign)
{
    for (size_t i = 0; i < terms->count; i++)
        add(pod->arena, &pod->affinity->preferred, pod->census,
            &group_of(pod, &terms->items[i].pod_affinity_term, 1)->count,
            terms->items[i].pod_affinity_term.topology_key, (int64_t)sign * terms->items[i].weight);
}

static void add_carried(void *context, struct census_carried *carried)
{
    struct schedule_pod *pod = context;
    if (carried->kind == CARRIES_PREFERENCE)
        add(pod->arena, &pod->affinity->preferred, pod->census, &carried->count, carried->topology_key,
            carried->weight);
}

bool prescore_inter_pod_affinity(struct schedule_pod *pod, struct node_info *const *nodes, size_t count)
{
    const struct affinity *a = pod->pod->spec.affinity;
    (void)nodes, (void)count;
    if (!pod->affinity)
        return false;
    if (a && a->pod_affinity)
        add_preferred(pod, &a->pod_affinity->preferred_during_scheduling_ignored_during_execution, 1);
    if (a && a->pod_anti_affinity)
        add_preferred(pod, &a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution, -1);
    census_carried_for(pod->census, pod->pod, add_carried, pod);
    for (size_t i = 0; i < pod->affinity->preferred.count; i++)
        if (pod->affinity->preferred.items[i].sum->total)
            return true;
    return false;
}

int64_t score_inter_pod_affinity(const struct schedule_pod *pod, const struct node_info *node)
{
    int64_t sum = 0;
    for (size_t i = 0; i < pod->affinity->preferred.count; i++) {
        const struct near *n = &pod->affinity->preferred.items[i];
        int32_t pods = pods_near(n, node);
        sum += pods > 0 ? pods * n->weight : 0;
    }
    return sum;
}

/* From the least to the most: scores may be negative. */
void normalize_inter_pod_affinity(const struct schedule_pod *pod, int64_t *scores, size_t count)
{
    int64_t least = INT64_MAX, most = INT64_MIN;
    (void)pod;
    for (size_t i = 0; i < count; i++) {
        least = scores[i] < least ? scores[i] : least;
        most = scores[i] > most ? scores[i] : most;
    }
    for (size_t i = 0; i < count; i++)
        scores[i] =
            most > least ? (int64_t)(SCHEDULE_SCORE_MAX * ((double)(scores[i] - least) / (double)(most - least))) : 0;
}

/* ---- Hint ---- */

/* One look, without a group: most terms select by labels that the pod does not have. */
static bool selects(const struct census *census, const struct pod_affinity_term *from, const struct pod *owner,
                    const struct pod *pod)
{
    if (!pod || !label_selector_matches(from->label_selector, &pod->metadata.labels))
        return false;
    cleanup_arena struct arena *arena = arena_new(0);
    cleanup_buffer struct buffer key = {0};
    struct pod_term term;
    pod_term_of(arena, from, owner->metadata.namespace, &term, &key);
    pod_term_compile(arena, &term);
    return pod_term_selects(census, &term, pod);
}

static bool avoids(const struct census *census, const struct pod *owner, const struct pod *pod)
{
    const struct affinity *a = owner->spec.affinity;
    if (!a || !a->pod_anti_affinity || !pod)
        return false;
    const struct pod_affinity_term_array *terms =
        &a->pod_anti_affinity->required_during_scheduling_ignored_during_execution;
    for (size_t i = 0; i < terms->count; i++)
        if (selects(census, &terms->items[i], owner, pod))
            return true;
    return false;
}

static bool wants(const struct census *census, const struct pod *owner, const struct pod *pod)
{
    const struct affinity *a = owner->spec.affinity;
    if (!a || !a->pod_affinity || !pod)
        return false;
    const struct pod_affinity_term_array *terms = &a->pod_affinity->required_during_scheduling_ignored_during_execution;
    bool all = terms->count;
    for (size_t i = 0; all && i < terms->count; i++)
        all = selects(census, &terms->items[i], owner, pod);
    return all;
}

bool hint_inter_pod_affinity(const struct census *census, const struct pod *pod, const struct schedule_change *change)
{
    switch (change->event) {
    case EVENT_POD_ADDED:
        return wants(census, pod, change->pod);
    case EVENT_POD_LABELS:
        return wants(census, pod, change->pod) || wants(census, pod, change->old) || avoids(census, pod, change->old) ||
               avoids(census, change->pod, pod);
    case EVENT_POD_GONE:
        /* One that was wanted and is gone may leave the pod the first of its series. */
        return avoids(census, pod, change->pod) || avoids(census, change->pod, pod) || wants(census, pod, change->pod);
    default:
        return true;
    }
}
