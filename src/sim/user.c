/* A table of actions with weights; each builds one request, mostly a patch, from what the store shows. */
#include "sim/user.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/job.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "control/controller.h"
#include "control/rollout.h"
#include "sim/user_internal.h"

#define NAMESPACES 2
#define NAMES 3
#define NODE_LABEL "kubernetes.io/hostname"
#define ZONE_LABEL "topology.kubernetes.io/zone"

static const char *const namespaces[NAMESPACES] = {"default", "extra"};
static const char *const names[NAMES] = {"web", "api", "db"};

static uint64_t below(struct sim_user *u, uint64_t n)
{
    return sim_random_below(&u->random, n);
}

static bool chance(struct sim_user *u, unsigned permille)
{
    return sim_random_chance(&u->random, permille);
}

/* What there is. */

bool user_collect(void *context, struct object *object)
{
    struct user_objects *o = context;
    vector_push(&o->items, object);
    return true;
}

static struct object *pick(struct sim_user *u, enum api_resource_index resource)
{
    struct user_objects o = {0};
    struct store *store = sim_cluster_store(u->cluster);
    if (!store)
        return NULL;
    store_list(store, &api_resources[resource], NULL, NULL, NULL, user_collect, &o);
    struct object *picked = o.items.count ? o.items.items[below(u, o.items.count)] : NULL;
    vector_free(&o.items);
    return picked;
}

/* Requests. */

void user_patch(struct sim_user *u, const struct object *object, const char *text)
{
    const struct object_meta *meta = object->meta;
    sim_history_note(u->history, "user patches %s %s %s", object->resource->singular, meta->name, text);
    client_patch(u->client, object->resource, NULL, meta->namespace, meta->name, PATCH_MERGE, text, NULL, NULL);
}

static const char *new_image(struct sim_user *u, struct arena *arena)
{
    static const char *const kinds[] = {"app", "app", "app", "app", "app", "app", "missing", "crashing", "unready"};
    return arena_printf(arena, "%s:%u", kinds[below(u, ARRAY_COUNT(kinds))], ++u->image);
}

/* A number or a percentage, often at the edges. */
static struct int_or_string amount(struct sim_user *u, struct arena *arena, bool may_be_zero)
{
    static const int percentages[] = {0, 1, 10, 25, 33, 50, 75, 99, 100};
    struct int_or_string out = {0};
    if (chance(u, 500)) {
        out.kind = INT_OR_STRING_INT;
        out.number = (int32_t)below(u, 5);
        if (!out.number && !may_be_zero)
            out.number = 1;
        return out;
    }
    int percentage = percentages[below(u, ARRAY_COUNT(percentages))];
    out.kind = INT_OR_STRING_STRING;
    out.text = arena_printf(arena, "%d%%", percentage ? percentage : may_be_zero ? 0 : 1);
    return out;
}

static bool is_zero(const struct int_or_string *amount)
{
    return amount->kind == INT_OR_STRING_INT ? amount->number == 0 : strcmp(amount->text, "0%") == 0;
}

static void set_strategy(struct sim_user *u, struct arena *arena, struct deployment_strategy *strategy)
{
    if (chance(u, 200)) {
        strategy->type = "Recreate";
        strategy->rolling_update = NULL;
        return;
    }
    strategy->type = "RollingUpdate";
    strategy->rolling_update = arena_alloc(arena, sizeof(*strategy->rolling_update));
    strategy->rolling_update->max_surge = amount(u, arena, true);
    strategy->rolling_update->max_unavailable = amount(u, arena, !is_zero(&strategy->rolling_update->max_surge));
}

static struct label_selector *select_app(struct arena *arena, const char *name)
{
    struct label_selector *selector = arena_alloc(arena, sizeof(*selector));
    string_map_set(arena, &selector->match_labels, "app", name);
    return selector;
}

/* Replicas that shun each other, or would rather. */
static void set_anti_affinity(struct sim_user *u, struct arena *arena, struct pod_spec *spec, const char *name)
{
    struct pod_affinity_term term = {.label_selector = select_app(arena, name),
                                     .topology_key = chance(u, 700) ? NODE_LABEL : ZONE_LABEL};
    struct affinity *a = spec->affinity = arena_alloc(arena, sizeof(*a));
    a->pod_anti_affinity = arena_alloc(arena, sizeof(*a->pod_anti_affinity));
    if (chance(u, 600)) {
        struct pod_affinity_term_array *out =
            &a->pod_anti_affinity->required_during_scheduling_ignored_during_execution;
        out->items = arena_copy(arena, &term, sizeof(term));
        out->count = 1;
        return;
    }
    struct weighted_pod_affinity_term weighted = {.weight = 100, .pod_affinity_term = term};
    struct weighted_pod_affinity_term_array *out =
        &a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution;
    out->items = arena_copy(arena, &weighted, sizeof(weighted));
    out->count = 1;
}

static void set_spread(struct sim_user *u, struct arena *arena, struct pod_spec *spec, const char *name)
{
    struct topology_spread_constraint c = {
        .max_skew = 1 + (int32_t)below(u, 2),
        .topology_key = chance(u, 700) ? ZONE_LABEL : NODE_LABEL,
        .when_unsatisfiable = chance(u, 700) ? "DoNotSchedule" : "ScheduleAnyway",
        .label_selector = select_app(arena, name),
    };
    spec->topology_spread_constraints.items = arena_copy(arena, &c, sizeof(c));
    spec->topology_spread_constraints.count = 1;
}

/* Actions. */

static void create_deployment(struct sim_user *u)
{
    struct arena *arena = arena_new(0);
    const char *name = names[below(u, NAMES)], *namespace = namespaces[below(u, NAMESPACES)];
    struct deployment *d = arena_alloc(arena, sizeof(*d));
    struct container *container = arena_alloc(arena, sizeof(*container));
    struct container_port *port = arena_alloc(arena, sizeof(*port));
    d->metadata.name = name;
    d->spec.replicas = opt_int32((int32_t)below(u, (uint64_t)u->replicas_max + 1));
    d->spec.min_ready_seconds = chance(u, 200) ? (int32_t)below(u, 10) : 0;
    d->spec.revision_history_limit = opt_int32((int32_t)below(u, 6));
    d->spec.progress_deadline_seconds = opt_int32(60 + (int32_t)below(u, 600));
    set_strategy(u, arena, &d->spec.strategy);
    d->spec.selector = arena_alloc(arena, sizeof(*d->spec.selector));
    string_map_set(arena, &d->spec.selector->match_labels, "app", name);
    string_map_set(arena, &d->spec.template.metadata.labels, "app", name);
    *port = (struct container_port){.name = "http", .container_port = 8080};
    *container = (struct container){.name = "main", .image = new_image(u, arena), .ports = {port, 1}};
    string_map_set(arena, &container->resources.requests, "cpu", arena_printf(arena, "%dm", 50 * (int)below(u, 8)));
    d->spec.template.spec.containers.items = container;
    d->spec.template.spec.containers.count = 1;
    d->spec.template.spec.termination_grace_period_seconds = opt_int64((int64_t)below(u, 31));
    if (chance(u, 250))
        set_anti_affinity(u, arena, &d->spec.template.spec, name);
    if (chance(u, 250))
        set_spread(u, arena, &d->spec.template.spec, name);
    sim_history_note(u->history, "user creates deployment %s/%s with %d replicas of %s", namespace, name,
                     d->spec.replicas.value, container->image);
    client_create(u->client, &api_resources[API_DEPLOYMENTS], namespace, arena, d, NULL, NULL);
}

static void create_service(struct sim_user *u)
{
    struct arena *arena = arena_new(0);
    const char *name = names[below(u, NAMES)], *namespace = namespaces[below(u, NAMESPACES)];
    struct service *service = arena_alloc(arena, sizeof(*service));
    struct service_port *port = arena_alloc(arena, sizeof(*port));
    service->metadata.name = name;
    string_map_set(arena, &service->spec.selector, "app", name);
    *port = (struct service_port){.port = 80};
    if (chance(u, 500))
        port->target_port = (struct int_or_string){.kind = INT_OR_STRING_STRING, .text = "http"};
    service->spec.ports.items = port;
    service->spec.ports.count = 1;
    service->spec.publish_not_ready_addresses = chance(u, 200);
    service->spec.cluster_ip = chance(u, 300) ? "None" : NULL;
    service->spec.ip_family_policy = chance(u, 300) ? "PreferDualStack" : NULL;
    sim_history_note(u->history, "user creates service %s/%s", namespace, name);
    client_create(u->client, &api_resources[API_SERVICES], namespace, arena, service, NULL, NULL);
}

static void create_namespace(struct sim_user *u)
{
    struct namespace namespace = {.metadata.name = namespaces[1]};
    sim_history_note(u->history, "user creates namespace %s", namespace.metadata.name);
    client_create(u->client, &api_resources[API_NAMESPACES], NULL, NULL, &namespace, NULL, NULL);
}

static void delete_namespace(struct sim_user *u)
{
    sim_history_note(u->history, "user deletes namespace %s", namespaces[1]);
    client_delete(u->client, &api_resources[API_NAMESPACES], NULL, namespaces[1], NULL, -1, NULL, NULL, NULL);
}

static void scale(struct sim_user *u)
{
    struct object *object = pick(u, API_DEPLOYMENTS);
    char text[64];
    snprintf(text, sizeof(text), "{\"spec\":{\"replicas\":%d}}", (int)below(u, (uint64_t)u->replicas_max + 1));
    if (object)
        user_patch(u, object, text);
}

static void pause_or_resume(struct sim_user *u)
{
    struct object *object = pick(u, API_DEPLOYMENTS);
    if (!object)
        return;
    bool paused = ((const struct deployment *)object->value)->spec.paused;
    user_patch(u, object, paused ? "{\"spec\":{\"paused\":false}}" : "{\"spec\":{\"paused\":true}}");
}

void user_write_deployment(struct sim_user *u, struct arena *arena, struct deployment *d, const char *what)
{
    sim_history_note(u->history, "user %s deployment %s/%s: image %s", what, d->metadata.namespace, d->metadata.name,
                     d->spec.template.spec.containers.items[0].image);
    client_update(u->client, &api_resources[API_DEPLOYMENTS], NULL, arena, d, NULL, NULL);
}

static void set_image(struct sim_user *u)
{
    struct object *object = pick(u, API_DEPLOYMENTS);
    if (!object)
        return;
    struct arena *arena = arena_new(0);
    struct deployment *d = object_copy(arena, object);
    d->spec.template.spec.containers.items[0].image = new_image(u, arena);
    user_write_deployment(u, arena, d, "rolls out");
}

static void change_strategy(struct sim_user *u)
{
    struct object *object = pick(u, API_DEPLOYMENTS);
    if (!object)
        return;
    struct arena *arena = arena_new(0);
    struct deployment *d = object_copy(arena, object);
    set_strategy(u, arena, &d->spec.strategy);
    user_write_deployment(u, arena, d, "changes the strategy of");
}

/* When a pod counts as available, and when a rollout as stuck. */
static void change_patience(struct sim_user *u)
{
    struct object *object = pick(u, API_DEPLOYMENTS);
    char text[96];
    int ready = chance(u, 500) ? (int)below(u, 15) : 0;
    snprintf(text, sizeof(text), "{\"spec\":{\"minReadySeconds\":%d,\"progressDeadlineSeconds\":%d}}", ready,
             ready + 1 + (int)below(u, 300));
    if (object)
        user_patch(u, object, text);
}

/* The template of one of its ReplicaSets, as `kubectl rollout undo` does it. */
static void undo(struct sim_user *u)
{
    struct object *set = pick(u, API_REPLICASETS);
    const struct owner_reference *owner = set ? controller_of(set->meta) : NULL;
    struct object *object = owner ? store_get(sim_cluster_store(u->cluster), &api_resources[API_DEPLOYMENTS],
                                              set->meta->namespace, owner->name)
                                  : NULL;
    if (!object)
        return;
    struct arena *arena = arena_new(0);
    struct deployment *d = object_copy(arena, object);
    const struct replica_set *rs = object_copy(arena, set);
    struct string_map labels = d->spec.template.metadata.labels;
    d->spec.template = rs->spec.template;
    d->spec.template.metadata.labels = labels;
    user_write_deployment(u, arena, d, "undoes");
}

static void delete_deployment(struct sim_user *u)
{
    static const char *const policies[] = {"Background", "Background", "Foreground", "Orphan"};
    struct object *object = pick(u, API_DEPLOYMENTS);
    if (!object)
        return;
    const char *policy = policies[below(u, ARRAY_COUNT(policies))];
    sim_history_note(u->history, "user deletes deployment %s/%s: %s", object->meta->namespace, object->meta->name,
                     policy);
    client_delete(u->client, object->resource, object->meta->namespace, object->meta->name, NULL, -1, policy, NULL,
                  NULL);
}

/* ---- Jobs ---- */

static struct pod_failure_policy *failure_policy(struct sim_user *u, struct arena *arena, bool per_index)
{
    static const char *const choices[] = {"FailJob", "Ignore", "Count", "FailIndex"};
    static int32_t one[] = {1};
    struct pod_failure_policy *policy = arena_alloc(arena, sizeof(*policy));
    struct pod_failure_policy_rule *rule = arena_alloc(arena, sizeof(*rule));
    rule->action = choices[below(u, per_index ? 4 : 3)];
    rule->on_exit_codes = arena_alloc(arena, sizeof(*rule->on_exit_codes));
    *rule->on_exit_codes = (struct pod_failure_policy_on_exit_codes_requirement){.operator= "In", .values = {one, 1}};
    policy->rules.items = rule;
    policy->rules.count = 1;
    return policy;
}

static struct success_policy *success_policy(struct sim_user *u, struct arena *arena)
{
    struct success_policy *policy = arena_alloc(arena, sizeof(*policy));
    struct success_policy_rule *rule = arena_alloc(arena, sizeof(*rule));
    if (chance(u, 500))
        rule->succeeded_count = opt_int32(1);
    else
        rule->succeeded_indexes = "0";
    policy->rules.items = rule;
    policy->rules.count = 1;
    return policy;
}

static void set_job_policies(struct sim_user *u, struct arena *arena, struct job_spec *spec)
{
    bool indexed = spec->completions.set && chance(u, 500), per_index = indexed && chance(u, 300);
    if (indexed)
        spec->completion_mode = "Indexed";
    if (per_index) {
        spec->backoff_limit_per_index = opt_int32((int32_t)below(u, 3));
        if (chance(u, 300))
            spec->max_failed_indexes = opt_int32((int32_t)below(u, (uint64_t)spec->completions.value + 1));
    } else {
        spec->backoff_limit = opt_int32((int32_t)below(u, 5));
    }
    if (indexed && chance(u, 200))
        spec->success_policy = success_policy(u, arena);
    if (chance(u, 200))
        spec->pod_failure_policy = failure_policy(u, arena, per_index);
    else if (chance(u, 300))
        spec->pod_replacement_policy = "Failed";
    spec->template.spec.restart_policy = spec->pod_failure_policy || chance(u, 700) ? "Never" : "OnFailure";
    if (chance(u, 100))
        spec->active_deadline_seconds = opt_int64(10 + (int64_t)below(u, 300));
    if (chance(u, 150))
        spec->ttl_seconds_after_finished = opt_int32((int32_t)below(u, 60));
    spec->suspend = opt_bool(chance(u, 100));
}

static void create_job(struct sim_user *u)
{
    static const char *const images[] = {"done", "done", "done", "done", "done", "done", "crashing", "app", "missing"};
    struct arena *arena = arena_new(0);
    const char *name = names[below(u, NAMES)], *namespace = namespaces[below(u, NAMESPACES)];
    struct job *job = arena_alloc(arena, sizeof(*job));
    struct container *container = arena_alloc(arena, sizeof(*container));
    job->metadata.name = name;
    job->spec.parallelism = opt_int32((int32_t)below(u, SIM_PARALLELISM_MAX + 1));
    if (chance(u, 850))
        job->spec.completions = opt_int32(1 + (int32_t)below(u, 2 * SIM_PARALLELISM_MAX));
    set_job_policies(u, arena, &job->spec);
    *container = (struct container){.name = "main", .image = images[below(u, ARRAY_COUNT(images))]};
    string_map_set(arena, &container->resources.requests, "cpu", "50m");
    job->spec.template.spec.containers.items = container;
    job->spec.template.spec.containers.count = 1;
    job->spec.template.spec.termination_grace_period_seconds = opt_int64((int64_t)below(u, 31));
    sim_history_note(u->history, "user creates job %s/%s of %s", namespace, name, container->image);
    client_create(u->client, &api_resources[API_JOBS], namespace, arena, job, NULL, NULL);
}

static void change_job(struct sim_user *u)
{
    struct object *object = pick(u, API_JOBS);
    if (!object)
        return;
    const struct job_spec *spec = &((const struct job *)object->value)->spec;
    char text[96];
    int size = (int)below(u, SIM_PARALLELISM_MAX + 1);
    if (chance(u, 500))
        snprintf(text, sizeof(text), "{\"spec\":{\"suspend\":%s}}", spec->suspend.value ? "false" : "true");
    else if (job_is_indexed(spec) && chance(u, 500))
        snprintf(text, sizeof(text), "{\"spec\":{\"parallelism\":%d,\"completions\":%d}}", size, size);
    else
        snprintf(text, sizeof(text), "{\"spec\":{\"parallelism\":%d}}", size);
    user_patch(u, object, text);
}

static void delete_job(struct sim_user *u)
{
    static const char *const policies[] = {"Background", "Background", "Foreground", "Orphan"};
    struct object *object = pick(u, API_JOBS);
    if (!object)
        return;
    const char *policy = policies[below(u, ARRAY_COUNT(policies))];
    sim_history_note(u->history, "user deletes job %s/%s: %s", object->meta->namespace, object->meta->name, policy);
    client_delete(u->client, object->resource, object->meta->namespace, object->meta->name, NULL, -1, policy, NULL,
                  NULL);
}

static void delete_pod(struct sim_user *u)
{
    struct object *object = pick(u, API_PODS);
    if (!object)
        return;
    bool force = chance(u, 300);
    sim_history_note(u->history, "user deletes pod %s%s", object->meta->name, force ? " by force" : "");
    client_delete(u->client, object->resource, object->meta->namespace, object->meta->name, NULL, force ? 0 : -1, NULL,
                  NULL, NULL);
}

/* The pod leaves its ReplicaSet, as when somebody wants to look into it. */
static void relabel_pod(struct sim_user *u)
{
    struct object *object = pick(u, API_PODS);
    if (object)
        user_patch(u, object, "{\"metadata\":{\"labels\":{\"app\":\"debug\"}}}");
}

static void delete_service(struct sim_user *u)
{
    struct object *object = pick(u, API_SERVICES);
    if (!object || strcmp(object->meta->name, "kubernetes") == 0)
        return;
    sim_history_note(u->history, "user deletes service %s", object->meta->name);
    client_delete(u->client, object->resource, object->meta->namespace, object->meta->name, NULL, -1, NULL, NULL, NULL);
}

static void cordon(struct sim_user *u)
{
    struct object *object = pick(u, API_NODES);
    if (!object)
        return;
    bool closed = ((const struct node *)object->value)->spec.unschedulable;
    user_patch(u, object, closed ? "{\"spec\":{\"unschedulable\":null}}" : "{\"spec\":{\"unschedulable\":true}}");
}

static const struct {
    void (*act)(struct sim_user *user);
    unsigned weight;
} actions[] = {
    {create_deployment, 12}, {create_service, 8},  {scale, 16},          {set_image, 20},       {undo, 8},
    {pause_or_resume, 6},    {change_strategy, 6}, {change_patience, 6}, {delete_pod, 6},       {delete_deployment, 6},
    {relabel_pod, 2},        {delete_service, 2},  {cordon, 3},          {create_namespace, 3}, {delete_namespace, 1},
    {create_job, 12},        {change_job, 6},      {delete_job, 2},
};

/* The interface. */

struct sim_user *sim_user_new(struct sim_cluster *cluster, struct sim_history *history, struct sim_random random,
                              int32_t replicas_max)
{
    struct sim_user *u = mem_zero(1, sizeof(*u));
    u->cluster = cluster;
    u->history = history;
    u->random = random;
    u->replicas_max = replicas_max;
    u->client = sim_link_client(sim_cluster_user_link(cluster));
    return u;
}

void sim_user_free(struct sim_user *u)
{
    free(u);
}

void sim_user_act(struct sim_user *u)
{
    unsigned sum = 0;
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++)
        sum += actions[i].weight;
    unsigned at = (unsigned)below(u, sum);
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++) {
        if (at < actions[i].weight) {
            actions[i].act(u);
            return;
        }
        at -= actions[i].weight;
    }
}
