/* Defaults that depend on other fields, for the served kinds but pods, which have a file of their own. Those
 * that do not are declared in the type descriptions (default=). */
#include "api/defaults.h"

#include <string.h>

#include "api/defaults_pod.h"
#include "api/json.h"
#include "base/text.h"

static void set_string(const char **field, const char *value)
{
    if (text_empty(*field))
        *field = value;
}

static void default_namespace(struct arena *arena, void *value)
{
    struct namespace *n = value;
    if (!text_empty(n->metadata.name))
        string_map_set(arena, &n->metadata.labels, "kubernetes.io/metadata.name", n->metadata.name);
}

/* The older field is the first range of the newer one, and counts where they differ, as in upstream's conversion. */
static void default_pod_cidrs(struct arena *arena, struct node_spec *spec)
{
    struct string_array *all = &spec->pod_cidrs;
    if (!text_empty(spec->pod_cidr) && (!all->count || !text_equal(all->items[0], spec->pod_cidr))) {
        all->items = arena_copy(arena, &spec->pod_cidr, sizeof(*all->items));
        all->count = 1;
    }
    spec->pod_cidr = all->count ? all->items[0] : NULL;
}

static void default_node(struct arena *arena, void *value)
{
    struct node *n = value;
    if (!n->status.allocatable.count)
        n->status.allocatable = n->status.capacity;
    default_pod_cidrs(arena, &n->spec);
}

static bool allocates_external(const struct service_spec *spec)
{
    return text_equal(spec->type, "LoadBalancer") || text_equal(spec->type, "NodePort") ||
           (text_equal(spec->type, "ClusterIP") && spec->external_ips.count);
}

static void default_service_port(struct service_port *port)
{
    struct int_or_string *target = &port->target_port;
    if (target->kind == INT_OR_STRING_UNSET || (target->kind == INT_OR_STRING_INT && target->number == 0) ||
        (target->kind == INT_OR_STRING_STRING && text_empty(target->text)))
        *target = (struct int_or_string){.kind = INT_OR_STRING_INT, .number = port->port};
}

static void default_service(struct arena *arena, void *value)
{
    struct service_spec *spec = &((struct service *)value)->spec;
    if (text_equal(spec->session_affinity, "None"))
        spec->session_affinity_config = NULL;
    if (text_equal(spec->session_affinity, "ClientIP")) {
        if (!spec->session_affinity_config)
            spec->session_affinity_config = arena_alloc(arena, sizeof(*spec->session_affinity_config));
        struct session_affinity_config *config = spec->session_affinity_config;
        if (!config->client_ip)
            config->client_ip = arena_alloc(arena, sizeof(*config->client_ip));
        api_set_declared_defaults(arena, &api_type_client_ip_config, config->client_ip);
    }
    for (size_t i = 0; i < spec->ports.count; i++)
        default_service_port(&spec->ports.items[i]);
    if (allocates_external(spec))
        set_string(&spec->external_traffic_policy, "Cluster");
    if (!spec->internal_traffic_policy && !text_equal(spec->type, "ExternalName"))
        spec->internal_traffic_policy = "Cluster";
    if (text_equal(spec->type, "LoadBalancer") && !spec->allocate_load_balancer_node_ports.set)
        spec->allocate_load_balancer_node_ports = opt_bool(true);
    if (!text_empty(spec->cluster_ip) && !spec->cluster_ips.count) {
        const char **ips = arena_alloc(arena, sizeof(*ips));
        ips[0] = spec->cluster_ip;
        spec->cluster_ips = (struct string_array){ips, 1};
    }
    struct load_balancer_status *status = &((struct service *)value)->status.load_balancer;
    for (size_t i = 0; i < status->ingress.count && text_equal(spec->type, "LoadBalancer"); i++)
        if (!text_empty(status->ingress.items[i].ip) && !status->ingress.items[i].ip_mode)
            status->ingress.items[i].ip_mode = "VIP";
}

/* stringData is for writing only: it overrides data and is never stored. */
static void default_secret(struct arena *arena, void *value)
{
    struct secret *s = value;
    const struct string_map *texts = &s->string_data;
    const struct bytes_map *data = &s->data;
    if (!texts->count)
        return;
    struct bytes_map merged = {.items = arena_alloc(arena, (texts->count + data->count) * sizeof(*merged.items))};
    for (size_t i = 0, k = 0; i < texts->count || k < data->count;) {
        int order = i == texts->count ? 1 : k == data->count ? -1 : strcmp(texts->items[i].key, data->items[k].key);
        if (order <= 0) {
            const char *text = texts->items[i].value ? texts->items[i].value : "";
            merged.items[merged.count++] = (struct bytes_pair){
                texts->items[i].key, {(const unsigned char *)arena_string(arena, text), strlen(text)}};
        } else {
            merged.items[merged.count++] = data->items[k];
        }
        i += order <= 0;
        k += order >= 0;
    }
    s->data = merged;
    s->string_data = (struct string_map){0};
}

static void default_replica_set(struct arena *arena, void *value)
{
    api_set_pod_spec_defaults(arena, &((struct replica_set *)value)->spec.template.spec);
}

static void default_deployment(struct arena *arena, void *value)
{
    struct deployment_spec *spec = &((struct deployment *)value)->spec;
    struct deployment_strategy *strategy = &spec->strategy;
    if (text_equal(strategy->type, "RollingUpdate") && !strategy->rolling_update) {
        strategy->rolling_update = arena_alloc(arena, sizeof(*strategy->rolling_update));
        api_set_declared_defaults(arena, &api_type_rolling_update_deployment, strategy->rolling_update);
    }
    api_set_pod_spec_defaults(arena, &spec->template.spec);
}

static void default_network_policy(struct arena *arena, void *value)
{
    struct network_policy_spec *spec = &((struct network_policy *)value)->spec;
    if (spec->policy_types.count)
        return;
    const char **types = arena_alloc(arena, 2 * sizeof(*types));
    types[0] = "Ingress";
    types[1] = "Egress";
    spec->policy_types = (struct string_array){types, spec->egress.count ? 2 : 1};
}

static void default_job(struct arena *arena, void *value)
{
    struct job *job = value;
    struct job_spec *spec = &job->spec;
    if (!spec->completions.set && !spec->parallelism.set)
        spec->completions = opt_int32(1);
    if (!spec->parallelism.set)
        spec->parallelism = opt_int32(1);
    /* Not declared with the type: what a CronJob holds is left as it is. */
    set_string(&spec->completion_mode, "NonIndexed");
    if (!spec->suspend.set)
        spec->suspend = opt_bool(false);
    if (!spec->manual_selector.set)
        spec->manual_selector = opt_bool(false);
    if (!spec->backoff_limit.set)
        spec->backoff_limit = opt_int32(spec->backoff_limit_per_index.set ? INT32_MAX : 6);
    if (!job->metadata.labels.count)
        job->metadata.labels = spec->template.metadata.labels;
    if (!spec->pod_replacement_policy)
        spec->pod_replacement_policy = spec->pod_failure_policy ? "Failed" : "TerminatingOrFailed";
    api_set_pod_spec_defaults(arena, &spec->template.spec);
}

static void default_cron_job(struct arena *arena, void *value)
{
    api_set_pod_spec_defaults(arena, &((struct cron_job *)value)->spec.job_template.spec.template.spec);
}

/* By index of the resource; the kinds that are not here have no defaults. */
static void (*const setters[API_RESOURCE_COUNT])(struct arena *arena, void *value) = {
    [API_NAMESPACES] = default_namespace,
    [API_NODES] = default_node,
    [API_PODS] = default_pod,
    [API_SERVICES] = default_service,
    [API_SECRETS] = default_secret,
    [API_REPLICASETS] = default_replica_set,
    [API_DEPLOYMENTS] = default_deployment,
    [API_NETWORKPOLICIES] = default_network_policy,
    [API_JOBS] = default_job,
    [API_CRONJOBS] = default_cron_job,
};

void api_set_defaults(struct arena *arena, const struct api_resource *resource, void *value)
{
    api_set_declared_defaults(arena, resource->type, value);
    if (setters[resource->index])
        setters[resource->index](arena, value);
}
