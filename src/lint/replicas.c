/* Checks of how many pods there are, where they may run, and whose they are. */
#include <limits.h>
#include <string.h>

#include "api/int_or_string.h"
#include "base/map.h"
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

/* Whether the pods of the workload keep each other out of a domain. */
static bool repels_itself(const struct lint_run *run, const struct lint_workload *workload,
                          const struct pod_affinity_term *term)
{
    const char *namespace = workload->meta->namespace;
    bool own = !term->namespaces.count;
    for (size_t i = 0; i < term->namespaces.count && namespace; i++)
        own |= strcmp(term->namespaces.items[i], namespace) == 0;
    return own && lint_selector_matches(run, term->label_selector, &workload->pod_meta->labels);
}

static bool may_run_on(const struct lint_workload *workload, const struct node *node)
{
    const struct string_map *wanted = &workload->spec->node_selector;
    for (size_t i = 0; i < wanted->count; i++) {
        const char *value = string_map_get(&node->metadata.labels, wanted->items[i].key);
        if (!value || strcmp(value, wanted->items[i].value ? wanted->items[i].value : "") != 0)
            return false;
    }
    return !node->spec.unschedulable;
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

/* Pods that have to be there at once for a rollout to go on. */
static int pods_at_once(const struct lint_workload *workload)
{
    int surge, unavailable;
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
        int domains = count_domains(run, workload, key), pods = pods_at_once(workload);
        if (pods <= domains || !domains) /* a cluster without nodes is only beginning */
            continue;
        const char *field = arena_printf(
            run->findings->arena,
            "%s.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[%zu]", workload->spec_path, i);
        lint_find(run, workload, field, "%d pods%s for %d values of %s", pods,
                  pods > workload->replicas ? " during a rollout" : "", domains, key);
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
