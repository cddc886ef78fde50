/* Prefilters once, filters node by node, then scores of those that fit: each plugin's normalized, weighed and added. */
#include "schedule/framework.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cleanup.h"

static uint32_t plugin_bit(const struct schedule_plugin *plugin)
{
    return UINT32_C(1) << (plugin - schedule_plugins);
}

bool schedule_prepare(struct schedule_pod *pod, struct schedule_tally *tally)
{
    pod->filter_count = 0;
    for (const struct schedule_plugin *p = schedule_plugins; p->name; p++) {
        struct schedule_verdict verdict = {.count = 0};
        const char *const *only = pod->only;
        bool concerned = !p->prefilter || p->prefilter(pod, &verdict);
        if (pod->only && pod->only != only)
            pod->only_by = p;
        if (verdict.count) {
            if (tally) {
                tally->of_all = verdict.reasons[0];
                tally->rejected_by |= plugin_bit(p);
            }
            return false;
        }
        if (concerned && p->filter)
            pod->filters[pod->filter_count++] = p;
    }
    return true;
}

static const struct schedule_plugin *run_filters(const struct schedule_pod *pod, const struct node_info *node,
                                                 struct schedule_verdict *verdict)
{
    *verdict = (struct schedule_verdict){.count = 0};
    for (size_t i = 0; i < pod->filter_count; i++) {
        pod->filters[i]->filter(pod, node, verdict);
        if (verdict->count)
            return pod->filters[i];
    }
    return NULL;
}

/* ---- Nominated pods ---- */

static int32_t priority(const struct pod *pod)
{
    return pod->spec.priority.value;
}

/* The pods nominated for the node that come before this one; *count of them. */
static struct placed **nominated_before(const struct schedule_pod *pod, const struct node_info *node, size_t *count)
{
    struct placed **out = NULL;
    size_t all = 0;
    *count = 0;
    for (const struct list *l = node->nominated.next; l != &node->nominated; l = l->next)
        all++;
    if (!all)
        return NULL;
    out = arena_alloc(pod->arena, all * sizeof(struct placed *));
    for (const struct list *l = node->nominated.next; l != &node->nominated; l = l->next) {
        struct placed *p = list_entry(l, struct placed, link);
        if (priority(p->pod->value) >= priority(pod->pod) && strcmp(p->pod->meta->uid, pod->pod->metadata.uid) != 0)
            out[(*count)++] = p;
    }
    return out;
}

bool schedule_fits(struct schedule_pod *pod, struct node_info *node, struct schedule_verdict *verdict,
                   const struct schedule_plugin **rejected_by)
{
    size_t count;
    const struct schedule_plugin *by = NULL;
    struct placed **before = nominated_before(pod, node, &count);
    if (count) {
        for (size_t i = 0; i < count; i++)
            census_resume(pod->census, before[i]);
        if (schedule_prepare(pod, NULL))
            by = run_filters(pod, node, verdict);
        for (size_t i = 0; i < count; i++)
            census_suspend(pod->census, before[i]);
        schedule_prepare(pod, NULL);
    }
    /* They may never come: it has to fit without them, too. */
    if (!by)
        by = run_filters(pod, node, verdict);
    if (rejected_by)
        *rejected_by = by;
    return !by;
}

/* ---- Reasons ---- */

void schedule_add_reason(struct map *reasons, const char *reason, size_t nodes)
{
    map_set(reasons, reason, (void *)((intptr_t)map_get(reasons, reason) + (intptr_t)nodes));
}

static void count_verdict(struct schedule_pod *pod, struct schedule_tally *tally, struct node_info *node,
                          const struct schedule_verdict *verdict, const struct schedule_plugin *by)
{
    for (size_t i = 0; i < verdict->count; i++)
        schedule_add_reason(&tally->reasons, verdict->reasons[i], 1);
    tally->rejected_by |= plugin_bit(by);
    if (verdict->unresolvable)
        return;
    if (!tally->helped)
        tally->helped = arena_alloc(pod->arena, tally->nodes * sizeof(struct node_info *));
    tally->helped[tally->helped_count++] = node;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void schedule_count_reasons(struct buffer *out, size_t nodes, const struct map *reasons)
{
    cleanup_free char **parts = mem_alloc((reasons->count + 1) * sizeof(*parts));
    size_t n = 0;
    for (struct map_slot *slot = NULL; (slot = map_next(reasons, slot));)
        parts[n++] = mem_printf("%ld %s", (long)(intptr_t)slot->value, slot->key);
    qsort(parts, n, sizeof(parts[0]), by_text);
    buffer_printf(out, "0/%zu nodes are available:", nodes);
    for (size_t i = 0; i < n; i++) {
        buffer_printf(out, "%s%s", i ? ", " : " ", parts[i]);
        free(parts[i]);
    }
    if (n)
        buffer_add_char(out, '.');
}

const char *schedule_explain(struct arena *arena, const struct schedule_tally *tally, const char *preemption)
{
    if (!tally->nodes)
        return "no nodes available to schedule pods";
    cleanup_buffer struct buffer out = {0};
    if (tally->of_all)
        buffer_printf(&out, "0/%zu nodes are available: %s.", tally->nodes, tally->of_all);
    else
        schedule_count_reasons(&out, tally->nodes, &tally->reasons);
    /* What upstream's plugin for claims of devices says of every pod. */
    if (preemption)
        buffer_printf(&out, " no new claims to deallocate, preemption: %s", preemption);
    return arena_string(arena, out.data);
}

void schedule_tally_free(struct schedule_tally *tally)
{
    map_free(&tally->reasons);
}

/* ---- The choice ---- */

/* So many nodes that fit are enough to choose from: upstream's adaptive percentageOfNodesToScore. */
static size_t nodes_to_find(size_t nodes)
{
    size_t percentage = nodes / 125 < 45 ? 50 - nodes / 125 : 5;
    size_t wanted = nodes * percentage / 100;
    return nodes < SCHEDULE_NODES_MIN ? nodes : wanted < SCHEDULE_NODES_MIN ? SCHEDULE_NODES_MIN : wanted;
}

struct found {
    struct node_info **items;
    size_t count;
};

static void look_at(struct schedule_pod *pod, struct node_info *node, struct schedule_tally *tally, struct found *found)
{
    struct schedule_verdict verdict;
    const struct schedule_plugin *by;
    if (schedule_fits(pod, node, &verdict, &by))
        found->items[found->count++] = node;
    else
        count_verdict(pod, tally, node, &verdict, by);
}

/* Of the nodes that the pod's node affinity names. */
static void find_among_named(struct schedule_pod *pod, struct schedule_tally *tally, struct found *found)
{
    size_t looked_at = 0;
    for (size_t i = 0; i < pod->only_count; i++) {
        struct node_info *node = census_node_of(pod->census, pod->only[i]);
        if (!node || !node->object)
            continue;
        looked_at++;
        look_at(pod, node, tally, found);
    }
    if (looked_at == tally->nodes)
        return;
    schedule_add_reason(&tally->reasons,
                        arena_printf(pod->arena, "node(s) didn't satisfy plugin(s) [%s]", pod->only_by->name),
                        tally->nodes - looked_at);
    tally->rejected_by |= plugin_bit(pod->only_by);
}

static void find(struct schedule_pod *pod, size_t *next, struct schedule_tally *tally, struct found *found)
{
    struct census *census = pod->census;
    size_t wanted = nodes_to_find(census->order.count);
    for (size_t i = 0; i < census->order.count && found->count < wanted; i++) {
        *next = *next + 1 < census->order.count ? *next + 1 : 0;
        look_at(pod, census->order.items[*next], tally, found);
    }
}

static void add_scores(struct schedule_pod *pod, const struct schedule_plugin *plugin, const struct found *found,
                       int64_t *scores, int64_t *sums)
{
    for (size_t i = 0; i < found->count; i++)
        scores[i] = plugin->score(pod, found->items[i]);
    if (plugin->normalize)
        plugin->normalize(pod, scores, found->count);
    for (size_t i = 0; i < found->count; i++)
        sums[i] += scores[i] * plugin->weight;
}

static struct node_info *choose_best(struct schedule_pod *pod, struct env *env, const struct found *found)
{
    int64_t *scores = arena_alloc(pod->arena, found->count * sizeof(*scores));
    int64_t *sums = arena_alloc(pod->arena, found->count * sizeof(*sums));
    for (const struct schedule_plugin *p = schedule_plugins; p->name; p++)
        if (p->score && (!p->prescore || p->prescore(pod, found->items, found->count)))
            add_scores(pod, p, found, scores, sums);
    size_t best = 0;
    uint64_t equals = 1;
    for (size_t i = 1; i < found->count; i++) {
        if (sums[i] > sums[best]) {
            best = i;
            equals = 1;
        } else if (sums[i] == sums[best] && env_random(env) % ++equals == 0) {
            best = i;
        }
    }
    return found->items[best];
}

struct node_info *schedule_choose(struct schedule_pod *pod, struct env *env, size_t *next, struct schedule_tally *tally)
{
    struct node_info *promised = pod->nominated ? census_node_of(pod->census, pod->nominated) : NULL;
    struct schedule_verdict verdict;
    if (promised && promised->object && schedule_fits(pod, promised, &verdict, NULL))
        return promised;
    struct found found = {arena_alloc(pod->arena, (pod->census->order.count + 1) * sizeof(struct node_info *)), 0};
    if (pod->only)
        find_among_named(pod, tally, &found);
    else
        find(pod, next, tally, &found);
    return found.count > 1 ? choose_best(pod, env, &found) : found.count ? found.items[0] : NULL;
}
