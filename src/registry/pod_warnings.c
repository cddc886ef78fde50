/* Upstream's warnings about pods and templates of pods (pkg/api/pod/warnings.go): what is valid, and does not do what
 * its author may think. */
#include <stdint.h>
#include <string.h>

#include "api/quantity.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/text.h"
#include "registry/private.h"

#define WARN(w, ...) registry_add_warning((w)->task, arena_printf((w)->task->arena, __VA_ARGS__))

#define SECCOMP_POD "seccomp.security.alpha.kubernetes.io/pod"
#define SECCOMP_CONTAINER "container.seccomp.security.alpha.kubernetes.io/"
#define APPARMOR_CONTAINER "container.apparmor.security.beta.kubernetes.io/"

/* Earlier ports of one number that a port is compared with, where upstream compares with all. */
#define PORTS_COMPARED 16

struct pod_warner {
    struct task *task;
    const struct pod_spec *spec;
    const struct object_meta *meta;
    const char *at; /* before "spec" and "metadata": "", or "spec.template." */
};

/* ---- Labels and annotations ---- */

static const char *deprecated_label(const char *key)
{
    static const char *const labels[][2] = {
        {"beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
        {"beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"},
        {"failure-domain.beta.kubernetes.io/region",
         "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"},
        {"failure-domain.beta.kubernetes.io/zone",
         "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"},
        {"beta.kubernetes.io/instance-type",
         "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(labels); i++)
        if (text_equal(key, labels[i][0]))
            return labels[i][1];
    return NULL;
}

static void warn_of_term(const struct pod_warner *w, const struct node_selector_term *term, const char *path)
{
    for (size_t i = 0; i < term->match_expressions.count; i++) {
        const char *key = term->match_expressions.items[i].key, *message = deprecated_label(key);
        if (message)
            WARN(w, "%s.matchExpressions[%zu].key: %s is %s", path, i, key, message);
    }
}

static void warn_of_node_affinity(const struct pod_warner *w, const struct node_affinity *affinity)
{
    static const char required[] = "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
                      preferred[] = "preferredDuringSchedulingIgnoredDuringExecution";
    const struct node_selector *selector = affinity->required_during_scheduling_ignored_during_execution;
    const struct preferred_scheduling_term_array *terms =
        &affinity->preferred_during_scheduling_ignored_during_execution;
    for (size_t i = 0; selector && i < selector->node_selector_terms.count; i++)
        warn_of_term(w, &selector->node_selector_terms.items[i],
                     arena_printf(w->task->arena, "%sspec.affinity.nodeAffinity.%s[%zu]", w->at, required, i));
    for (size_t i = 0; i < terms->count; i++)
        warn_of_term(
            w, &terms->items[i].preference,
            arena_printf(w->task->arena, "%sspec.affinity.nodeAffinity.%s[%zu].preference", w->at, preferred, i));
}

static void warn_of_labels(const struct pod_warner *w)
{
    const struct pod_spec *spec = w->spec;
    for (size_t i = 0; i < spec->node_selector.count; i++) {
        const char *key = spec->node_selector.items[i].key, *message = deprecated_label(key);
        if (message)
            WARN(w, "%sspec.nodeSelector[%s]: %s", w->at, key, message);
    }
    if (spec->affinity && spec->affinity->node_affinity)
        warn_of_node_affinity(w, spec->affinity->node_affinity);
    for (size_t i = 0; i < spec->topology_spread_constraints.count; i++) {
        const struct topology_spread_constraint *c = &spec->topology_spread_constraints.items[i];
        const char *message = deprecated_label(c->topology_key);
        if (message)
            WARN(w, "%sspec.topologySpreadConstraints[%zu].topologyKey: %s is %s", w->at, i, c->topology_key, message);
        if (!c->label_selector)
            WARN(w,
                 "%sspec.topologySpreadConstraints[%zu].labelSelector: a null labelSelector results in matching no pod",
                 w->at, i);
    }
}

static bool is_annotated(const struct pod_warner *w, const char *key)
{
    return string_map_get(&w->meta->annotations, key) != NULL;
}

static void warn_of_annotations(const struct pod_warner *w)
{
    static const char *const annotations[][2] = {
        {"scheduler.alpha.kubernetes.io/critical-pod",
         "non-functional in v1.16+; use the \"priorityClassName\" field instead"},
        {"security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
        {"security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(annotations); i++)
        if (is_annotated(w, annotations[i][0]))
            WARN(w, "%smetadata.annotations[%s]: %s", w->at, annotations[i][0], annotations[i][1]);
}

static void warn_of_security_annotations(const struct pod_warner *w, const struct container *c)
{
    const struct security_context *own = c->security_context;
    const struct pod_security_context *of_pod = w->spec->security_context;
    const char *seccomp = arena_printf(w->task->arena, SECCOMP_CONTAINER "%s", c->name);
    const char *app_armor = arena_printf(w->task->arena, APPARMOR_CONTAINER "%s", c->name);
    if (!(own && own->seccomp_profile) && is_annotated(w, seccomp))
        WARN(w, "%smetadata.annotations[%s]: non-functional in v1.27+; use the \"seccompProfile\" field instead", w->at,
             seccomp);
    bool has_profile = (own && own->app_armor_profile) || (of_pod && of_pod->app_armor_profile);
    if (*w->at && !has_profile && is_annotated(w, app_armor))
        WARN(w, "%smetadata.annotations[%s]: deprecated since v1.30; use the \"appArmorProfile\" field instead", w->at,
             app_armor);
}

/* ---- Lists with doubles ---- */

static void warn_of_doubles(const struct pod_warner *w)
{
    const struct pod_spec *spec = w->spec;
    struct map known = {0};
    for (size_t i = 0; i < spec->host_aliases.count; i++) {
        const char *ip = text_or_empty(spec->host_aliases.items[i].ip);
        if (map_set(&known, ip, &known))
            WARN(w, "%sspec.hostAliases[%zu].ip: duplicate ip \"%s\"", w->at, i, ip);
    }
    map_free(&known);
    for (size_t i = 0; i < spec->image_pull_secrets.count; i++) {
        const char *name = text_or_empty(spec->image_pull_secrets.items[i].name);
        if (map_set(&known, name, &known))
            WARN(w, "%sspec.imagePullSecrets[%zu].name: duplicate name \"%s\"", w->at, i, name);
    }
    map_free(&known);
    for (size_t i = 0; i < spec->image_pull_secrets.count; i++)
        if (text_empty(spec->image_pull_secrets.items[i].name))
            WARN(w, "%sspec.imagePullSecrets[%zu].name: invalid empty name \"\"", w->at, i);
}

/* A later variable of the same name is fine where its value goes on from the earlier one. */
static bool goes_on(const struct pod_warner *w, const struct env_var *variable)
{
    const char *reference = arena_printf(w->task->arena, "$(%s)", variable->name);
    return !variable->value_from && !text_equal(variable->value, reference) &&
           strstr(text_or_empty(variable->value), reference);
}

static void warn_of_environment(const struct pod_warner *w, const struct env_var_array *env, const char *path)
{
    struct map known = {0};
    for (size_t i = 0; i < env->count; i++) {
        const struct env_var *variable = &env->items[i];
        if (map_set(&known, variable->name, &known) && !goes_on(w, variable))
            WARN(w, "%s.env[%zu]: hides previous definition of \"%s\", which may be dropped when using apply", path, i,
                 variable->name);
    }
    map_free(&known);
}

/* ---- Amounts ---- */

static void warn_of_fractions(const struct pod_warner *w, const struct string_map *amounts, const char *name,
                              const char *path)
{
    const char *text = string_map_get(amounts, name);
    if (text && quantity_milli_value(text) % 1000 != 0)
        WARN(w, "%s[%s]: fractional byte value \"%s\" is invalid, must be an integer", path, name, text);
}

static void warn_of_resources(const struct pod_warner *w, const struct resource_requirements *r, const char *path)
{
    static const char *const names[] = {"memory", "ephemeral-storage"};
    const char *limits = arena_printf(w->task->arena, "%s.resources.limits", path);
    const char *requests = arena_printf(w->task->arena, "%s.resources.requests", path);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        warn_of_fractions(w, &r->limits, names[i], limits);
        warn_of_fractions(w, &r->requests, names[i], requests);
    }
}

static void warn_of_overhead(const struct pod_warner *w)
{
    const char *path = arena_printf(w->task->arena, "%sspec.overhead", w->at);
    warn_of_fractions(w, &w->spec->overhead, "memory", path);
    warn_of_fractions(w, &w->spec->overhead, "ephemeral-storage", path);
}

/* ---- Ports ---- */

/* Ports of one number and protocol, over all containers. */
struct same_ports {
    size_t count;
    struct {
        const struct container_port *port;
        const char *path;
    } items[PORTS_COMPARED];
};

static const char *conflict(const struct container_port *a, const struct container_port *b)
{
    if (text_equal(a->host_ip, b->host_ip) && a->host_port == b->host_port)
        return "duplicate";
    if (!a->host_port || !b->host_port)
        return "overlapping";
    return a->host_port == b->host_port && text_empty(a->host_ip) != text_empty(b->host_ip) ? "dangerously ambiguous"
                                                                                            : NULL;
}

static void warn_of_port(const struct pod_warner *w, struct map *ports, const struct container_port *port,
                         const char *path)
{
    const char *protocol = text_empty(port->protocol) ? "TCP" : port->protocol;
    const char *key = arena_printf(w->task->arena, "%d/%s", port->container_port, protocol);
    struct same_ports *same = map_get(ports, key);
    if (!text_empty(port->host_ip) && !port->host_port)
        WARN(w, "%s: hostIP set without hostPort: {Name:%s HostPort:0 ContainerPort:%d Protocol:%s HostIP:%s}", path,
             text_or_empty(port->name), port->container_port, protocol, port->host_ip);
    if (!same) {
        same = arena_alloc(w->task->arena, sizeof(*same));
        map_set(ports, key, same);
    }
    for (size_t i = 0; i < same->count; i++) {
        const char *how = conflict(port, same->items[i].port);
        if (how)
            WARN(w, "%s: %s port definition with %s", path, how, same->items[i].path);
    }
    if (same->count < PORTS_COMPARED) {
        same->items[same->count].port = port;
        same->items[same->count++].path = path;
    }
}

static void warn_of_ports(const struct pod_warner *w, struct map *ports, const struct container_array *containers,
                          const char *list)
{
    for (size_t i = 0; i < containers->count; i++)
        for (size_t k = 0; k < containers->items[i].ports.count; k++)
            warn_of_port(w, ports, &containers->items[i].ports.items[k],
                         arena_printf(w->task->arena, "%sspec.%s[%zu].ports[%zu]", w->at, list, i, k));
}

/* ---- Affinity between pods ---- */

static void warn_of_pod_terms(const struct pod_warner *w, const struct pod_affinity_term_array *required,
                              const struct weighted_pod_affinity_term_array *preferred, const char *kind)
{
    static const char nothing[] = "a null labelSelector results in matching no pod";
    for (size_t i = 0; i < required->count; i++)
        if (!required->items[i].label_selector)
            WARN(w, "%sspec.affinity.%s.requiredDuringSchedulingIgnoredDuringExecution[%zu].labelSelector: %s", w->at,
                 kind, i, nothing);
    for (size_t i = 0; i < preferred->count; i++)
        if (!preferred->items[i].pod_affinity_term.label_selector)
            WARN(w,
                 "%sspec.affinity.%s.preferredDuringSchedulingIgnoredDuringExecution[%zu].podAffinityTerm."
                 "labelSelector: "
                 "%s",
                 w->at, kind, i, nothing);
}

static void warn_of_pod_affinity(const struct pod_warner *w, const struct affinity *affinity)
{
    const struct pod_affinity *near = affinity->pod_affinity;
    const struct pod_anti_affinity *apart = affinity->pod_anti_affinity;
    if (near)
        warn_of_pod_terms(w, &near->required_during_scheduling_ignored_during_execution,
                          &near->preferred_during_scheduling_ignored_during_execution, "podAffinity");
    if (apart)
        warn_of_pod_terms(w, &apart->required_during_scheduling_ignored_during_execution,
                          &apart->preferred_during_scheduling_ignored_during_execution, "podAntiAffinity");
}

/* ---- The whole ---- */

static void warn_of_containers(const struct pod_warner *w, const struct container_array *containers, const char *list)
{
    for (size_t i = 0; i < containers->count; i++) {
        const struct container *c = &containers->items[i];
        const char *path = arena_printf(w->task->arena, "%sspec.%s[%zu]", w->at, list, i);
        warn_of_security_annotations(w, c);
        warn_of_resources(w, &c->resources, path);
        warn_of_environment(w, &c->env, path);
    }
}

static void warn_of_addresses(const struct pod_warner *w)
{
    const struct pod_spec *spec = w->spec;
    struct arena *arena = w->task->arena;
    for (size_t i = 0; spec->dns_config && i < spec->dns_config->nameservers.count; i++)
        warn_of_ip(w->task, arena_printf(arena, "%sspec.dnsConfig.nameservers[%zu]", w->at, i),
                   spec->dns_config->nameservers.items[i]);
    for (size_t i = 0; i < spec->host_aliases.count; i++)
        warn_of_ip(w->task, arena_printf(arena, "%sspec.hostAliases[%zu].ip", w->at, i),
                   spec->host_aliases.items[i].ip);
}

static void warn_of_pod(const struct pod_warner *w)
{
    const struct pod_spec *spec = w->spec;
    struct map ports = {0};
    warn_of_labels(w);
    warn_of_annotations(w);
    warn_of_doubles(w);
    warn_of_overhead(w);
    if (!(spec->security_context && spec->security_context->seccomp_profile) && is_annotated(w, SECCOMP_POD))
        WARN(w,
             "%smetadata.annotations[" SECCOMP_POD
             "]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
             w->at);
    warn_of_containers(w, &spec->init_containers, "initContainers");
    warn_of_containers(w, &spec->containers, "containers");
    for (size_t i = 0; i < spec->ephemeral_containers.count; i++)
        warn_of_environment(w, &spec->ephemeral_containers.items[i].env,
                            arena_printf(w->task->arena, "%sspec.ephemeralContainers[%zu]", w->at, i));
    warn_of_ports(w, &ports, &spec->init_containers, "initContainers");
    warn_of_ports(w, &ports, &spec->containers, "containers");
    map_free(&ports);
    if (spec->termination_grace_period_seconds.set && spec->termination_grace_period_seconds.value < 0)
        WARN(w,
             "%sspec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
             w->at);
    if (spec->affinity)
        warn_of_pod_affinity(w, spec->affinity);
    warn_of_addresses(w);
}

static void warn_of_template(struct task *task, const struct pod_template_spec *template, const char *at)
{
    warn_of_pod(&(struct pod_warner){task, &template->spec, &template->metadata, at});
}

void pod_warn(struct task *task, const void *value)
{
    const struct pod *pod = value;
    switch (task->resource->index) {
    case API_PODS:
        warn_of_pod(&(struct pod_warner){task, &pod->spec, &pod->metadata, ""});
        break;
    case API_DEPLOYMENTS:
        warn_of_template(task, &((const struct deployment *)value)->spec.template, "spec.template.");
        break;
    case API_REPLICASETS:
        warn_of_template(task, &((const struct replica_set *)value)->spec.template, "spec.template.");
        break;
    case API_JOBS:
        warn_of_template(task, &((const struct job *)value)->spec.template, "spec.template.");
        break;
    case API_CRONJOBS:
        warn_of_template(task, &((const struct cron_job *)value)->spec.job_template.spec.template,
                         "spec.jobTemplate.spec.template.");
        break;
    default:
        break;
    }
}
