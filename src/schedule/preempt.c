/* On each node that eviction could help, all pods of lower priority are taken away; if the pod fits then, as many of
 * them as possible are put back, the most important first. Of the nodes, the one is chosen whose victims matter least.
 */
#include "schedule/preempt.h"

#include <stdlib.h>
#include <string.h>

#include "api/pod_condition.h"
#include "base/arena.h"
#include "base/cleanup.h"

struct candidate {
    struct node_info *node;
    struct placed **victims;
    size_t count;
};

static int32_t priority(const struct placed *p)
{
    return ((const struct pod *)p->pod->value)->spec.priority.value;
}

static int64_t started(const struct placed *p)
{
    int64_t at = ((const struct pod *)p->pod->value)->status.start_time;
    return at ? at : INT64_MAX; /* not yet */
}

/* As upstream's MoreImportantPod: a higher priority first, then the one that has run for longer. */
static int by_importance(const void *a, const void *b)
{
    const struct placed *x = *(struct placed *const *)a, *y = *(struct placed *const *)b;
    if (priority(x) != priority(y))
        return priority(x) > priority(y) ? -1 : 1;
    if (started(x) != started(y))
        return started(x) < started(y) ? -1 : 1;
    return strcmp(x->pod->meta->uid, y->pod->meta->uid);
}

static struct placed **lower_pods(const struct schedule_pod *pod, const struct node_info *node, size_t *count)
{
    size_t all = 0;
    *count = 0;
    for (const struct list *l = node->residents.next; l != &node->residents; l = l->next)
        all++;
    struct placed **out = arena_alloc(pod->arena, (all + 1) * sizeof(*out));
    for (const struct list *l = node->residents.next; l != &node->residents; l = l->next) {
        struct placed *p = list_entry(l, struct placed, link);
        if (priority(p) < pod->pod->spec.priority.value)
            out[(*count)++] = p;
    }
    qsort(out, *count, sizeof(struct placed *), by_importance);
    return out;
}

/* Prefilters see what has changed. */
static bool fits_now(struct schedule_pod *pod, struct node_info *node, struct schedule_verdict *verdict)
{
    *verdict = (struct schedule_verdict){.count = 0};
    return schedule_prepare(pod, NULL) && schedule_fits(pod, node, verdict, NULL);
}

/* Whether eviction helps on the node, and of whom; verdict: why it does not. */
static bool select_victims(struct schedule_pod *pod, struct node_info *node, struct candidate *out,
                           struct schedule_verdict *verdict)
{
    size_t count, victims = 0;
    struct placed **pods = lower_pods(pod, node, &count);
    if (!count) {
        *verdict = (struct schedule_verdict){.count = 0};
        schedule_object(verdict, "No preemption victims found for incoming pod", true);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        census_suspend(pod->census, pods[i]);
    bool fits = fits_now(pod, node, verdict);
    for (size_t i = 0; fits && i < count; i++) {
        struct schedule_verdict unused;
        census_resume(pod->census, pods[i]);
        if (fits_now(pod, node, &unused))
            continue;
        census_suspend(pod->census, pods[i]);
        pods[victims++] = pods[i];
    }
    for (size_t i = 0; i < (fits ? victims : count); i++)
        census_resume(pod->census, pods[i]);
    *out = (struct candidate){node, pods, victims};
    return fits && victims;
}

/* ---- Which node ---- */

static int64_t sum_of_priorities(const struct candidate *c)
{
    int64_t sum = 0;
    /* Moved above 0, so that fewer pods of negative priority are not worse than more of them. */
    for (size_t i = 0; i < c->count; i++)
        sum += (int64_t)priority(c->victims[i]) + INT64_C(2147483648);
    return sum;
}

/* When the first of the most important victims started. */
static int64_t earliest_start(const struct candidate *c)
{
    int64_t earliest = INT64_MAX;
    for (size_t i = 0; i < c->count && priority(c->victims[i]) == priority(c->victims[0]); i++)
        earliest = started(c->victims[i]) < earliest ? started(c->victims[i]) : earliest;
    return earliest;
}

/* Whether a matters less than b: in upstream's order of criteria. */
static bool matters_less(const struct candidate *a, const struct candidate *b)
{
    const int64_t x[] = {priority(a->victims[0]), sum_of_priorities(a), (int64_t)a->count, -earliest_start(a)};
    const int64_t y[] = {priority(b->victims[0]), sum_of_priorities(b), (int64_t)b->count, -earliest_start(b)};
    for (size_t i = 0; i < ARRAY_COUNT(x); i++)
        if (x[i] != y[i])
            return x[i] < y[i];
    return false;
}

static void try_nodes(struct schedule_pod *pod, struct env *env, const struct schedule_tally *tally,
                      struct preemption *out)
{
    size_t count = tally->helped_count, tenth = count / 10;
    size_t wanted = tenth > PREEMPT_CANDIDATES_MIN ? tenth : PREEMPT_CANDIDATES_MIN, found = 0, tried = 0;
    size_t offset = count ? (size_t)(env_random(env) % count) : 0;
    struct map reasons = {0};
    struct candidate best = {0};
    for (; tried < count && found < wanted; tried++) {
        struct node_info *node = tally->helped[(offset + tried) % count];
        struct schedule_verdict verdict;
        struct candidate candidate;
        if (select_victims(pod, node, &candidate, &verdict)) {
            if (!found++ || matters_less(&candidate, &best))
                best = candidate;
            continue;
        }
        for (size_t i = 0; i < verdict.count; i++)
            schedule_add_reason(&reasons, verdict.reasons[i], 1);
    }
    if (tally->nodes > tried)
        schedule_add_reason(&reasons, "Preemption is not helpful for scheduling", tally->nodes - tried);
    if (!found) {
        cleanup_buffer struct buffer text = {0};
        schedule_count_reasons(&text, tally->nodes, &reasons);
        out->why = arena_string(pod->arena, text.data);
    }
    out->node = best.node;
    out->victims = best.victims;
    out->victim_count = best.count;
    map_free(&reasons);
}

static bool is_being_preempted(const struct placed *p)
{
    const struct pod *pod = p->pod->value;
    const struct pod_condition *c = pod_condition_find(&pod->status.conditions, PREEMPT_CONDITION);
    return pod->metadata.deletion_timestamp && c && strcmp(c->status, "True") == 0 && c->reason &&
           strcmp(c->reason, PREEMPT_REASON) == 0;
}

/* The node that the pod was promised may still be getting free. */
static bool awaits_victims(const struct schedule_pod *pod, const struct schedule_tally *tally)
{
    struct node_info *node = pod->nominated ? census_node_of(pod->census, pod->nominated) : NULL;
    bool helped = false;
    for (size_t i = 0; i < tally->helped_count; i++)
        helped |= tally->helped[i] == node;
    if (!node || !helped)
        return false;
    for (const struct list *l = node->residents.next; l != &node->residents; l = l->next) {
        const struct placed *p = list_entry(l, struct placed, link);
        if (priority(p) < pod->pod->spec.priority.value && is_being_preempted(p))
            return true;
    }
    return false;
}

void preempt_decide(struct schedule_pod *pod, struct env *env, const struct schedule_tally *tally,
                    struct preemption *out)
{
    const char *policy = pod->pod->spec.preemption_policy;
    *out = (struct preemption){.node = NULL};
    if (policy && strcmp(policy, "Never") == 0) {
        out->why = "not eligible due to preemptionPolicy=Never.";
        out->keeps_node = true;
    } else if (awaits_victims(pod, tally)) {
        out->why = "not eligible due to a terminating pod on the nominated node.";
        out->keeps_node = true;
    } else {
        try_nodes(pod, env, tally, out);
    }
}
