/* Checks of how many pods there are, where they may run, and whose they are. */
#include <limits.h>
#include <string.h>

#include "api/int_or_string.h"
#include "api/node_selector.h"
#include "api/toleration.h"
#include "base/map.h"
#include "base/text.h"
#include "lint/private.h"

/* ReplicaSets that a Deployment made and lost (kubectl delete --cascade=orphan) are there to be adopted. */
#define HASH_LABEL "pod-template-hash"

static int replicas_behind(struct lint_run *run, const struct service *service, const struct lint_object *but)
{
    struct lint_workload other;
    size_t position = 0;
    int sum = 0;
    while (lint_next_workload(run, but, &position, &other))
        if (lint_service_selects(service, &other))
            sum += other.replicas;
    return sum;
}

void lint_one_replica(struct lint_run *run, const struct lint_workload *workload)
{
    size_t position = 0;
    const struct service *service;
    if (workload->replicas != 1 || !workload->selector)
        return;
    while ((service = lint_next_service(run, workload, &position)))
        if (!replicas_behind(run, service, workload->object))
            lint_find(run, workload, "spec.replicas", "1 behind Service \"%s\"", service->metadata.name);
}

/* The numbers of a rolling update, as upstream's deployment controller rounds them: surge up, unavailable down. */
static bool rolling_update(const struct lint_workload *workload, int *surge, int *unavailable)
{
    const struct deployment_strategy *strategy = workload->deployment ? &workload->deployment->spec.strategy : NULL;
    if (!strategy || !strategy->rolling_update ||
        int_or_string_scaled(&strategy->rolling_update->max_surge, workload->replicas, true, surge, NULL) < 0 ||
        int_or_string_scaled(&strategy->rolling_update->max_unavailable, workload->replicas, false, unavailable, NULL) <
            0)
        return false;
    if (*surge == 0 && *unavailable == 0)
        *unavailable = 1;
    return true;
}

void lint_max_unavailable(struct lint_run *run, const struct lint_workload *workload)
{
    int surge, unavailable;
    if (workload->replicas > 0 && rolling_update(workload, &surge, &unavailable) && unavailable >= workload->replicas)
        lint_find(run, workload, "spec.strategy.rollingUpdate.maxUnavailable", "%d of %d replicas", unavailable,
                  workload->replicas);
}

static bool names(const struct string_array *keys, const char *key)
{
    for (size_t i = 0; i < keys->count; i++)
        if (strcmp(keys->items[i], key) == 0)
            return true;
    return false;
}

/* Whether the pods of the workload have the label: as upstream, keys of labels that a pod lacks do not count. */
static bool has_label(const struct lint_workload *workload, const char *key)
{
    return string_map_get(&workload->pod_meta->labels, key) || (workload->deployment && strcmp(key, HASH_LABEL) == 0);
}

/* Whether the pods of the workload keep each other out of a domain: those of one template, at least. */
static bool repels_itself(const struct lint_run *run, const struct lint_workload *workload,
                          const struct pod_affinity_term *term)
{
    const char *namespace = workload->meta->namespace;
    bool own = !term->namespaces.count;
    for (size_t i = 0; i < term->namespaces.count && namespace; i++)
        own |= strcmp(term->namespaces.items[i], namespace) == 0;
    for (size_t i = 0; i < term->mismatch_label_keys.count && own; i++)
        own = !has_label(workload, term->mismatch_label_keys.items[i]);
    return own && lint_selector_matches(run, term->label_selector, &workload->pod_meta->labels);
}

/* The node's own state comes and goes (node.kubernetes.io/not-ready and its like): what its owner has tainted stays. */
static bool tolerates(const struct lint_workload *workload, const struct node *node)
{
    static const char passing[] = "node.kubernetes.io/";
    for (size_t i = 0; i < node->spec.taints.count; i++) {
        const struct taint *taint = &node->spec.taints.items[i];
        if (!text_equal(taint->effect, "PreferNoSchedule") &&
            strncmp(text_or_empty(taint->key), passing, sizeof(passing) - 1) != 0 &&
            !toleration_find(workload->spec, taint->key, taint->value, taint->effect))
            return false;
    }
    return true;
}

static bool may_run_on(const struct lint_workload *workload, const struct node *node)
{
    const struct affinity *affinity = workload->spec->affinity;
    const struct node_selector *required =
        affinity->node_affinity ? affinity->node_affinity->required_during_scheduling_ignored_during_execution : NULL;
    const struct string_map *wanted = &workload->spec->node_selector;
    for (size_t i = 0; i < wanted->count; i++) {
        const char *value = string_map_get(&node->metadata.labels, wanted->items[i].key);
        if (!value || !text_equal(value, wanted->items[i].value))
            return false;
    }
    return !node->spec.unschedulable && tolerates(workload, node) &&
           (!required || node_selector_matches(required, &node->metadata));
}

/* Different values of a label among the nodes that the workload may run on: how many pods that repel each other have
 * room. Nodes without the label are in no domain, so they take any number. */
static int count_domains(const struct lint_run *run, const struct lint_workload *workload, const char *key)
{
    struct map seen = {0};
    int count = 0;
    for (size_t i = 0; i < run->set->count; i++) {
        const struct node *node = run->set->items[i].value;
        if (run->set->items[i].resource->index != API_NODES || !may_run_on(workload, node))
            continue;
        const char *value = string_map_get(&node->metadata.labels, key);
        if (!value) {
            count = INT_MAX;
            break;
        }
        count += !map_set(&seen, value, &seen);
    }
    map_free(&seen);
    return count;
}

/* Pods that have to be there at once, and keep each other out, for a rollout to go on. */
static int pods_at_once(const struct lint_workload *workload, const struct pod_affinity_term *term)
{
    int surge, unavailable;
    if (names(&term->match_label_keys, HASH_LABEL)) /* pods of the old template are in nobody's way */
        return workload->replicas;
    return workload->replicas + (rolling_update(workload, &surge, &unavailable) && unavailable == 0);
}

void lint_anti_affinity(struct lint_run *run, const struct lint_workload *workload)
{
    const struct affinity *affinity = workload->spec->affinity;
    if (!run->set->nodes_known || !affinity || !affinity->pod_anti_affinity || workload->replicas < 2)
        return;
    const struct pod_affinity_term_array *terms =
        &affinity->pod_anti_affinity->required_during_scheduling_ignored_during_execution;
    for (size_t i = 0; i < terms->count; i++) {
        const char *key = terms->items[i].topology_key ? terms->items[i].topology_key : "";
        if (!repels_itself(run, workload, &terms->items[i]))
            continue;
        int domains = count_domains(run, workload, key), pods = pods_at_once(workload, &terms->items[i]);
        if (pods <= domains || !domains) /* a cluster without nodes is only beginning */
            continue;
        const char *field = arena_printf(
            run->findings->arena, "%s.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[%zu]",
            workload->spec_path, i);
        lint_find(run, workload, field, "%d pods%s for %d value%s of %s", pods,
                  pods > workload->replicas ? " during a rollout" : "", domains, domains == 1 ? "" : "s", key);
    }
}

void lint_selector_overlap(struct lint_run *run, const struct lint_workload *workload)
{
    struct lint_workload other;
    size_t position = 0;
    const struct string_map *labels = &workload->pod_meta->labels;
    while (lint_next_workload(run, workload->object, &position, &other)) {
        const struct string_map *theirs = &other.pod_meta->labels;
        if (!other.selector || string_map_get(theirs, HASH_LABEL) || string_map_get(labels, HASH_LABEL))
            continue;
        if (workload->selector && lint_selector_matches(run, workload->selector, theirs))
            lint_find(run, workload, "spec.selector", "matches the pods of %s \"%s\"", other.object->resource->kind,
                      other.meta->name);
        else if (lint_selector_matches(run, other.selector, labels))
            lint_find(run, workload, workload->selector ? "spec.template.metadata.labels" : "metadata.labels",
                      "match the selector of %s \"%s\"", other.object->resource->kind, other.meta->name);
    }
}
