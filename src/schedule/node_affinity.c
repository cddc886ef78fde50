/* NodeAffinity: nodeSelector, and the required and the preferred terms of node affinity. */
#include <stdlib.h>
#include <string.h>

#include "api/node_selector.h"
#include "base/arena.h"
#include "schedule/plugin.h"

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool has_name(const struct string_array *values, const char *name)
{
    for (size_t i = 0; i < values->count; i++)
        if (strcmp(values->items[i], name) == 0)
            return true;
    return false;
}

/* Adds the names that a term allows: those that are in all of its metadata.name In (...). False when it has none. */
static bool add_names(const struct node_selector_term *term, const char **names, size_t *count)
{
    const struct node_selector_requirement *first = NULL;
    for (size_t i = 0; i < term->match_fields.count; i++) {
        const struct node_selector_requirement *r = &term->match_fields.items[i];
        if (strcmp(r->key, "metadata.name") == 0 && strcmp(r->operator, "In") == 0 && !first)
            first = r;
    }
    for (size_t v = 0; first && v < first->values.count; v++) {
        bool allowed = true;
        for (size_t i = 0; allowed && i < term->match_fields.count; i++) {
            const struct node_selector_requirement *r = &term->match_fields.items[i];
            allowed = strcmp(r->operator, "In") != 0 || has_name(&r->values, first->values.items[v]);
        }
        if (allowed)
            names[(*count)++] = first->values.items[v];
    }
    return first;
}

/* When every term names nodes, no others have to be looked at. */
static void narrow(struct schedule_pod *pod, const struct node_selector *terms, struct schedule_verdict *verdict)
{
    size_t most = 0, count = 0, kept = 0;
    for (size_t i = 0; i < terms->node_selector_terms.count; i++)
        for (size_t f = 0; f < terms->node_selector_terms.items[i].match_fields.count; f++)
            most += terms->node_selector_terms.items[i].match_fields.items[f].values.count;
    const char **names = arena_alloc(pod->arena, most * sizeof(*names));
    for (size_t i = 0; i < terms->node_selector_terms.count; i++)
        if (!add_names(&terms->node_selector_terms.items[i], names, &count))
            return;
    if (!count) {
        schedule_object(verdict, "pod affinity terms conflict", true);
        return;
    }
    qsort(names, count, sizeof(*names), by_text);
    for (size_t i = 0; i < count; i++)
        if (!kept || strcmp(names[kept - 1], names[i]) != 0)
            names[kept++] = names[i];
    pod->only = names;
    pod->only_count = kept;
}

bool prefilter_node_affinity(struct schedule_pod *pod, struct schedule_verdict *verdict)
{
    const struct node_selector *terms = pod_node_terms(pod->pod);
    pod->only = NULL;
    pod->only_count = 0;
    if (terms && terms->node_selector_terms.count)
        narrow(pod, terms, verdict);
    return pod_has_node_requirements(pod->pod);
}

void filter_node_affinity(const struct schedule_pod *pod, const struct node_info *node,
                          struct schedule_verdict *verdict)
{
    if (!pod_requires_node(pod->pod, node->object->meta))
        schedule_object(verdict, "node(s) didn't match Pod's node affinity/selector", true);
}

static const struct preferred_scheduling_term_array *preferred_terms(const struct pod *pod)
{
    static const struct preferred_scheduling_term_array none;
    const struct affinity *a = pod->spec.affinity;
    return a && a->node_affinity ? &a->node_affinity->preferred_during_scheduling_ignored_during_execution : &none;
}

bool prescore_node_affinity(struct schedule_pod *pod, struct node_info *const *nodes, size_t count)
{
    (void)nodes, (void)count;
    return preferred_terms(pod->pod)->count;
}

int64_t score_node_affinity(const struct schedule_pod *pod, const struct node_info *node)
{
    const struct preferred_scheduling_term_array *terms = preferred_terms(pod->pod);
    int64_t sum = 0;
    for (size_t i = 0; i < terms->count; i++)
        if (node_selector_term_matches(&terms->items[i].preference, node->object->meta))
            sum += terms->items[i].weight;
    return sum;
}

bool hint_node_affinity(const struct census *census, const struct pod *pod, const struct schedule_change *change)
{
    (void)census;
    return pod_requires_node(pod, change->node->object->meta);
}
