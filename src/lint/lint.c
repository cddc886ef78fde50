/* The table of checks, and how it is gone through. A Service is looked at through the workloads behind it: only the
 * checks that need a Service run then, and only for this one. */
#include "lint/lint.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "lint/private.h"

static const struct {
    struct lint_check check;
    lint_function *run;
    bool needs_service;
} table[] = {
    {{"readiness-probe-missing", "No readiness probe behind a Service",
      "the pod gets traffic as soon as its process runs, before it can answer",
      "give the container a readinessProbe that succeeds only when requests can be served"},
     lint_readiness_missing,
     true},
    {{"initial-delay", "A fixed delay of ten seconds or more, and no startup probe",
      "a fixed delay is a guess: too short when the model grows, wasted when it does not",
      "replace it with a startupProbe, which waits exactly as long as the start takes"},
     lint_initial_delay,
     false},
    {{"same-probes", "Liveness and readiness are the same check with the same thresholds",
      "a server that is merely busy is restarted at the moment at which it should only be spared traffic",
      "let the livenessProbe ask something cheaper, or fail later than the readinessProbe"},
     lint_same_probes,
     false},
    {{"grace-period-short", "The grace period is shorter than preStop plus the time of a request",
      "requests that are being served are cut off by SIGKILL; one is taken to last up to twice the longest "
      "timeoutSeconds of the container's probes",
      "raise terminationGracePeriodSeconds to the sum or more"},
     lint_grace_period,
     false},
    {{"one-replica", "One replica behind a Service",
      "whenever that pod is restarted or moved, nobody answers until the next one has loaded",
      "run at least 2 replicas"},
     lint_one_replica,
     true},
    {{"anti-affinity-nodes", "Required anti-affinity with more pods than nodes",
      "the pods beyond the number of nodes stay Pending for ever, during a rollout those of maxSurge too",
      "use preferredDuringSchedulingIgnoredDuringExecution or topologySpreadConstraints, or let maxUnavailable make "
      "room for a rollout"},
     lint_anti_affinity,
     false},
    {{"mutable-tag", "imagePullPolicy Always with an image that has no digest",
      "a restart may run another program than its neighbours do, and fails while the registry cannot be reached",
      "name the image by digest, or use a tag that never moves with imagePullPolicy IfNotPresent"},
     lint_mutable_tag,
     false},
    {{"max-unavailable-all", "maxUnavailable comes to all replicas",
      "a rollout may take every pod away before the first new one is ready",
      "lower maxUnavailable, or set it to 0 and maxSurge to 1"},
     lint_max_unavailable,
     false},
    {{"selector-overlap", "A selector that matches the pods of another workload",
      "two controllers count, adopt and delete each other's pods",
      "give each workload a label value of its own, in its selector and in its template"},
     lint_selector_overlap,
     false},
    {{"requests-missing", "A container without resource requests",
      "the scheduler takes it for free, and it is the first to go when the node runs out of memory",
      "set resources.requests for cpu and memory"},
     lint_requests_missing,
     false},
    {{"memory-limit-low", "A memory limit below what the running pods use",
      "the new pods are killed for memory as soon as they have loaded what the old ones have",
      "raise resources.limits.memory above what is in use, or make the program use less first"},
     lint_memory_limit,
     false},
};

const struct lint_check *const lint_checks[] = {
    &table[0].check, &table[1].check, &table[2].check, &table[3].check, &table[4].check,  &table[5].check,
    &table[6].check, &table[7].check, &table[8].check, &table[9].check, &table[10].check,
};
const size_t lint_check_count = ARRAY_COUNT(lint_checks);
_Static_assert(ARRAY_COUNT(lint_checks) == ARRAY_COUNT(table), "every check is listed");

/* Workloads and their neighbours. */

static const struct object_meta *meta_of(const struct lint_object *object)
{
    return api_meta(object->resource, object->value);
}

static bool has_controller(const struct object_meta *meta)
{
    for (size_t i = 0; i < meta->owner_references.count; i++)
        if (meta->owner_references.items[i].controller.value)
            return true;
    return false;
}

bool lint_workload_of(const struct lint_object *object, struct lint_workload *out)
{
    *out = (struct lint_workload){.object = object, .meta = meta_of(object), .spec_path = "spec.template.spec"};
    if (has_controller(out->meta))
        return false;
    switch (object->resource->index) {
    case API_DEPLOYMENTS: {
        const struct deployment *deployment = object->value;
        out->deployment = deployment;
        out->pod_meta = &deployment->spec.template.metadata;
        out->spec = &deployment->spec.template.spec;
        out->selector = deployment->spec.selector;
        out->replicas = deployment->spec.replicas.value;
        return true;
    }
    case API_REPLICASETS: {
        const struct replica_set *set = object->value;
        out->pod_meta = &set->spec.template.metadata;
        out->spec = &set->spec.template.spec;
        out->selector = set->spec.selector;
        out->replicas = set->spec.replicas.value;
        return true;
    }
    case API_PODS:
        out->pod_meta = out->meta;
        out->spec = &((const struct pod *)object->value)->spec;
        out->spec_path = "spec";
        out->replicas = 1;
        return true;
    default:
        return false;
    }
}

/* One object, or two states of it. */
static bool same_object(const struct lint_object *a, const struct lint_object *b)
{
    if (a->value == b->value)
        return true;
    const char *name = meta_of(a)->name, *other = meta_of(b)->name;
    return a->resource == b->resource && name && other && *name && strcmp(name, other) == 0;
}

bool lint_service_selects(const struct service *service, const struct lint_workload *workload)
{
    const struct string_map *selector = &service->spec.selector;
    if (!selector->count || (service->spec.type && strcmp(service->spec.type, "ExternalName") == 0))
        return false;
    for (size_t i = 0; i < selector->count; i++) {
        const char *value = string_map_get(&workload->pod_meta->labels, selector->items[i].key);
        if (!value || strcmp(value, selector->items[i].value ? selector->items[i].value : "") != 0)
            return false;
    }
    return true;
}

static bool is_silenced(const struct lint_check *check, const struct object_meta *meta)
{
    const char *list = string_map_get(&meta->annotations, LINT_IGNORE_ANNOTATION);
    size_t size = strlen(check->id);
    while (list && *list) {
        list += strspn(list, ", ");
        size_t word = strcspn(list, ", ");
        if (word == size && memcmp(list, check->id, size) == 0)
            return true;
        list += word;
    }
    return false;
}

const struct service *lint_next_service(const struct lint_run *run, const struct lint_workload *workload,
                                        size_t *position)
{
    const struct lint_object *items = run->service ? run->service : run->set->items;
    size_t count = run->service ? 1 : run->set->count;
    while (*position < count) {
        const struct lint_object *at = &items[(*position)++];
        if (at->resource->index == API_SERVICES && lint_service_selects(at->value, workload) &&
            !is_silenced(run->check, meta_of(at)))
            return at->value;
    }
    return NULL;
}

bool lint_next_workload(const struct lint_run *run, const struct lint_object *but, size_t *position,
                        struct lint_workload *out)
{
    while (*position < run->set->count) {
        const struct lint_object *at = &run->set->items[(*position)++];
        if (!(but && same_object(at, but)) && lint_workload_of(at, out))
            return true;
    }
    return false;
}

bool lint_selector_matches(const struct lint_run *run, const struct label_selector *selector,
                           const struct string_map *labels)
{
    const struct selector *parsed;
    return selector && selector_from_label_selector(run->findings->arena, selector, &parsed, NULL) == 0 &&
           selector_matches(parsed, labels);
}

/* Findings. */

static void find(struct lint_run *run, const struct lint_workload *workload, const char *field, const char *format,
                 va_list arguments)
{
    struct lint_findings *findings = run->findings;
    if (findings->count == LINT_FINDING_MAX) {
        findings->dropped++;
        return;
    }
    char problem[512];
    vsnprintf(problem, sizeof(problem), format, arguments);
    findings->items[findings->count++] = (struct lint_finding){
        .check = run->check,
        .object = workload->object,
        .field = arena_string(findings->arena, field),
        .problem = arena_string(findings->arena, problem),
    };
}

void lint_find(struct lint_run *run, const struct lint_workload *workload, const char *field, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    find(run, workload, field, format, arguments);
    va_end(arguments);
}

void lint_find_container(struct lint_run *run, const struct lint_workload *workload, const struct container *container,
                         const char *field, const char *format, ...)
{
    char path[128];
    va_list arguments;
    const struct container_array *list = &workload->spec->containers;
    bool sidecar = !list->count || container < list->items || container >= list->items + list->count;
    size_t index = (size_t)(container - (sidecar ? workload->spec->init_containers.items : list->items));
    snprintf(path, sizeof(path), "%s.%s[%zu]%s%s", workload->spec_path, sidecar ? "initContainers" : "containers",
             index, *field ? "." : "", field);
    va_start(arguments, format);
    find(run, workload, path, format, arguments);
    va_end(arguments);
}

bool lint_findings_have(const struct lint_findings *list, const struct lint_finding *finding)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct lint_finding *other = &list->items[i];
        if (other->check == finding->check && strcmp(other->field, finding->field) == 0 &&
            strcmp(other->problem, finding->problem) == 0 && same_object(other->object, finding->object))
            return true;
    }
    return false;
}

void lint_write(const struct lint_finding *finding, const struct lint_object *looked_at, struct buffer *out)
{
    if (looked_at && finding->object->value != looked_at->value) {
        const char *name = meta_of(finding->object)->name;
        buffer_printf(out, "%s \"%s\": ", finding->object->resource->kind, name ? name : "");
    }
    buffer_printf(out, "%s: %s: %s; %s [%s]", finding->field, finding->problem, finding->check->reason,
                  finding->check->remedy, finding->check->id);
}

/* Going through the table. */

static void check_workload(const struct lint_object *object, const struct lint_set *set,
                           const struct lint_object *service, struct lint_findings *findings)
{
    struct lint_workload workload;
    if (!lint_workload_of(object, &workload))
        return;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        struct lint_run run = {.check = &table[i].check, .set = set, .service = service, .findings = findings};
        if ((!service || table[i].needs_service) && !is_silenced(run.check, workload.meta))
            table[i].run(&run, &workload);
    }
}

void lint_object(const struct lint_object *object, const struct lint_set *set, struct lint_findings *findings)
{
    if (object->resource->index != API_SERVICES) {
        check_workload(object, set, NULL, findings);
        return;
    }
    for (size_t i = 0; i < set->count; i++)
        check_workload(&set->items[i], set, object, findings);
}

bool lint_needs(const struct api_resource *resource, const struct api_resource *neighbour)
{
    static const struct {
        enum api_resource_index resource;
        enum api_resource_index neighbours[5];
        size_t count;
    } needs[] = {
        {API_DEPLOYMENTS, {API_SERVICES, API_DEPLOYMENTS, API_REPLICASETS, API_NODES}, 4},
        {API_REPLICASETS, {API_SERVICES, API_DEPLOYMENTS, API_REPLICASETS, API_NODES}, 4},
        {API_PODS, {API_SERVICES, API_DEPLOYMENTS, API_REPLICASETS}, 3},
        {API_SERVICES, {API_DEPLOYMENTS, API_REPLICASETS, API_PODS}, 3},
    };
    for (size_t i = 0; i < ARRAY_COUNT(needs); i++)
        for (size_t n = 0; needs[i].resource == resource->index && n < needs[i].count; n++)
            if (needs[i].neighbours[n] == neighbour->index)
                return true;
    return false;
}

/* The first letter as a sentence has it. */
static void write_sentence(struct buffer *out, const char *text)
{
    char first = *text >= 'a' && *text <= 'z' ? (char)(*text - 'a' + 'A') : *text;
    buffer_printf(out, "%c%s.", first, text + 1);
}

void lint_write_table(struct buffer *out)
{
    buffer_add_string(out, "| id | found | why it matters | what to do |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < lint_check_count; i++) {
        const struct lint_check *check = lint_checks[i];
        buffer_printf(out, "| `%s` | ", check->id);
        write_sentence(out, check->title);
        buffer_add_string(out, " | ");
        write_sentence(out, check->reason);
        buffer_add_string(out, " | ");
        write_sentence(out, check->remedy);
        buffer_add_string(out, " |\n");
    }
}
