/* Rules for pods and pod templates as a whole; containers, volumes, security and scheduling have files of
 * their own. The order is upstream's ValidatePodSpec. */
#include <stdlib.h>

#include "api/static_pod.h"
#include "api/validate_parts.h"

#define DNS_NAMESERVER_MAX 3
#define DNS_SEARCH_MAX 32
#define DNS_SEARCH_CHARACTER_MAX 2048
/* Of the kernel. */
#define POD_HOSTNAME_MAX 64

static const char *const restart_policies[] = {"Always", "OnFailure", "Never", NULL};
static const char *const dns_policies[] = {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None", NULL};
static const char *const preemption_policies[] = {"PreemptLowerPriority", "Never", NULL};
static const char *const operating_systems[] = {"linux", "windows", NULL};

/* The annotations of pods and templates that have a meaning of their own. */
static void validate_pod_annotations(struct api_field_errors *errors, const struct api_path *path,
                                     const struct string_map *annotations, const struct pod_spec *spec)
{
    static const char cost[] = "controller.kubernetes.io/pod-deletion-cost";
    const char *value = string_map_get(annotations, POD_MIRROR_ANNOTATION);
    if (value && text_empty(spec->node_name))
        field_invalid(errors, PATH_KEY(path, POD_MIRROR_ANNOTATION), value,
                      "must set spec.nodeName if mirror pod annotation is set");
    value = string_map_get(annotations, cost);
    if (value) {
        char *end;
        long long number = strtoll(value, &end, 10);
        if (!*value || *end || *value == '+' || *value == ' ' || number != (int32_t)number)
            field_invalid(errors, PATH_KEY(path, cost), value, "must be a 32bit integer");
    }
}

static void validate_resource_claims(struct api_field_errors *errors, const struct api_path *path,
                                     const struct pod_resource_claim_array *claims, struct name_set *names)
{
    for (size_t i = 0; i < claims->count; i++) {
        const struct pod_resource_claim *c = &claims->items[i];
        const struct api_path *at = PATH_INDEX(path, i);
        if (text_empty(c->name))
            field_required(errors, PATH(at, "name"), NULL);
        else if (!name_set_add(names, c->name))
            field_duplicate(errors, PATH(at, "name"), c->name);
        else
            field_format(errors, PATH(at, "name"), c->name, format_dns_label);
        if (c->resource_claim_name && c->resource_claim_template_name)
            field_invalid_struct(errors, at, &api_type_pod_resource_claim, c,
                                 "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
        if (!c->resource_claim_name && !c->resource_claim_template_name)
            field_invalid_struct(errors, at, &api_type_pod_resource_claim, c,
                                 "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
        if (c->resource_claim_name)
            field_format(errors, PATH(at, "resourceClaimName"), c->resource_claim_name, format_dns_subdomain);
        if (c->resource_claim_template_name)
            field_format(errors, PATH(at, "resourceClaimTemplateName"), c->resource_claim_template_name,
                         format_dns_subdomain);
    }
}

/* On the node's network a container's port is the node's port. Templates may leave it to defaulting. */
static void validate_host_network(struct api_field_errors *errors, const struct api_path *path,
                                  const struct pod_spec *spec, bool is_pod)
{
    if (!spec->host_network)
        return;
    const struct api_path *containers = PATH(path, "containers");
    for (size_t i = 0; i < spec->containers.count; i++) {
        const struct api_path *ports = PATH(PATH_INDEX(containers, i), "ports");
        for (size_t k = 0; k < spec->containers.items[i].ports.count; k++) {
            const struct container_port *p = &spec->containers.items[i].ports.items[k];
            if ((is_pod || p->host_port) && p->host_port != p->container_port)
                field_invalid_int(errors, PATH(PATH_INDEX(ports, k), "hostPort"), p->host_port,
                                  "must match `containerPort` when `hostNetwork` is true");
        }
    }
}

static void validate_dns_config(struct api_field_errors *errors, const struct api_path *path,
                                const struct pod_dns_config *config, const char *policy)
{
    if (text_equal(policy, "None")) {
        if (!config) {
            field_required(errors, path, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if (!config->nameservers.count) {
            field_required(errors, PATH(path, "nameservers"),
                           "must provide at least one DNS nameserver when `dnsPolicy` is None");
            return;
        }
    }
    if (!config)
        return;
    const struct api_path *nameservers = PATH(path, "nameservers"), *searches = PATH(path, "searches");
    if (config->nameservers.count > DNS_NAMESERVER_MAX)
        field_invalid_strings(errors, nameservers, &config->nameservers, "must not have more than 3 nameservers");
    for (size_t i = 0; i < config->nameservers.count; i++)
        field_format(errors, PATH_INDEX(nameservers, i), config->nameservers.items[i], format_ip);
    if (config->searches.count > DNS_SEARCH_MAX)
        field_invalid_strings(errors, searches, &config->searches, "must not have more than 32 search paths");
    size_t characters = config->searches.count ? config->searches.count - 1 : 0;
    for (size_t i = 0; i < config->searches.count; i++)
        characters += strlen(config->searches.items[i]);
    if (characters > DNS_SEARCH_CHARACTER_MAX)
        field_invalid_strings(errors, searches, &config->searches,
                              "must not have more than 2048 characters (including spaces) in the search list");
    for (size_t i = 0; i < config->searches.count; i++) {
        const char *search = config->searches.items[i];
        size_t n = strlen(search);
        if (text_equal(search, "."))
            continue;
        if (n && search[n - 1] == '.')
            search = arena_string_n(errors->arena, search, n - 1);
        field_format(errors, PATH_INDEX(searches, i), search, format_dns_search);
    }
    for (size_t i = 0; i < config->options.count; i++)
        if (text_empty(config->options.items[i].name))
            field_required(errors, PATH_INDEX(PATH(path, "options"), i), "must not be empty");
}

static void validate_host_aliases(struct api_field_errors *errors, const struct api_path *path,
                                  const struct host_alias_array *aliases)
{
    for (size_t i = 0; i < aliases->count; i++) {
        const struct api_path *at = PATH_INDEX(path, i);
        const struct api_path *names = PATH(at, "hostnames");
        field_format(errors, PATH(at, "ip"), aliases->items[i].ip, format_ip);
        for (size_t k = 0; k < aliases->items[i].hostnames.count; k++)
            field_format(errors, PATH_INDEX(names, k), aliases->items[i].hostnames.items[k], format_dns_subdomain);
    }
}

static void validate_host_users(struct api_field_errors *errors, const struct api_path *path,
                                const struct pod_spec *spec)
{
    static const char message[] = "when `pod.Spec.HostUsers` is false";
    if (!spec->host_users.set || spec->host_users.value)
        return;
    if (spec->host_network)
        field_forbidden(errors, PATH(path, "hostNetwork"), message);
    if (spec->host_pid)
        field_forbidden(errors, PATH(path, "HostPID"), message);
    if (spec->host_ipc)
        field_forbidden(errors, PATH(path, "HostIPC"), message);
}

/* As upstream's API describes the field: it goes to the kernel as it is, and nothing else may name the pod. */
static void validate_hostname_override(struct api_field_errors *errors, const struct api_path *path,
                                       const struct pod_spec *spec)
{
    const struct api_path *at = PATH(path, "hostnameOverride");
    if (!spec->hostname_override)
        return;
    field_format(errors, at, spec->hostname_override, format_dns_subdomain);
    if (strlen(spec->hostname_override) > POD_HOSTNAME_MAX)
        field_too_long(errors, at, POD_HOSTNAME_MAX);
    if (spec->host_network)
        field_forbidden(errors, PATH(path, "hostNetwork"), "may not be true when `hostnameOverride` is set");
    if (is_true(spec->set_hostname_as_fqdn))
        field_forbidden(errors, PATH(path, "setHostnameAsFQDN"), "may not be true when `hostnameOverride` is set");
}

/* Fields whose text has to follow a rule when it is set. */
static void validate_pod_names(struct api_field_errors *errors, const struct api_path *path,
                               const struct pod_spec *spec)
{
    const struct {
        const char *name;
        const char *value;
        format_rule rule;
    } fields[] = {
        {"serviceAccountName", spec->service_account_name, format_dns_subdomain},
        {"nodeName", spec->node_name, format_dns_subdomain},
        {"hostname", spec->hostname, format_dns_label},
        {"subdomain", spec->subdomain, format_dns_label},
        {"priorityClassName", spec->priority_class_name, format_dns_subdomain},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (!text_empty(fields[i].value))
            field_format(errors, PATH(path, fields[i].name), fields[i].value, fields[i].rule);
    if (spec->runtime_class_name)
        field_format(errors, PATH(path, "runtimeClassName"), spec->runtime_class_name, format_dns_subdomain);
}

/* The containers of all three sorts, and what they refer to by name. */
static void validate_all_containers(struct api_field_errors *errors, const struct api_path *path,
                                    const struct pod_spec *spec)
{
    struct pod_names names = {.spec = spec};
    for (size_t i = 0; i < spec->volumes.count; i++)
        map_set(&names.volumes, spec->volumes.items[i].name ? spec->volumes.items[i].name : "",
                &spec->volumes.items[i]);
    for (size_t i = 0; i < spec->containers.count; i++)
        name_set_add(&names.containers, spec->containers.items[i].name);
    validate_resource_claims(errors, PATH(path, "resourceClaims"), &spec->resource_claims, &names.claims);
    validate_containers(errors, PATH(path, "containers"), &names);
    validate_init_containers(errors, PATH(path, "initContainers"), &names);
    validate_ephemeral_containers(errors, PATH(path, "ephemeralContainers"), &names);
    if (spec->resources)
        validate_pod_resources(errors, PATH(path, "resources"), &names);
    map_free(&names.volumes);
    name_set_free(&names.containers);
    name_set_free(&names.claims);
}

void validate_pod_spec(struct api_field_errors *errors, const struct api_path *path, const struct pod_spec *spec,
                       bool is_pod)
{
    if (!spec->termination_grace_period_seconds.set)
        field_required(errors, PATH(path, "terminationGracePeriodSeconds"), NULL);
    validate_volumes(errors, PATH(path, "volumes"), &spec->volumes);
    validate_all_containers(errors, path, spec);
    validate_host_network(errors, path, spec, is_pod);
    validate_one_of(errors, PATH(path, "restartPolicy"), spec->restart_policy, restart_policies);
    validate_one_of(errors, PATH(path, "dnsPolicy"), spec->dns_policy, dns_policies);
    validate_labels(errors, PATH(path, "nodeSelector"), &spec->node_selector);
    validate_pod_security_context(errors, PATH(path, "securityContext"), spec);
    validate_scheduling(errors, path, spec);
    validate_dns_config(errors, PATH(path, "dnsConfig"), spec->dns_config, spec->dns_policy);
    for (size_t i = 0; i < spec->readiness_gates.count; i++)
        field_format(errors, PATH(PATH_INDEX(PATH(path, "readinessGates"), i), "conditionType"),
                     spec->readiness_gates.items[i].condition_type, format_qualified_name);
    validate_host_users(errors, path, spec);
    validate_pod_names(errors, path, spec);
    validate_hostname_override(errors, path, spec);
    if (spec->active_deadline_seconds.set)
        validate_range(errors, PATH(path, "activeDeadlineSeconds"), spec->active_deadline_seconds.value, 1, INT32_MAX);
    validate_tolerations(errors, PATH(path, "tolerations"), &spec->tolerations);
    validate_host_aliases(errors, PATH(path, "hostAliases"), &spec->host_aliases);
    if (spec->preemption_policy)
        validate_one_of(errors, PATH(path, "preemptionPolicy"), spec->preemption_policy, preemption_policies);
    const struct api_path *overhead = PATH(path, "overhead");
    for (size_t i = 0; i < spec->overhead.count; i++)
        validate_resource_quantity(errors, PATH_KEY(overhead, spec->overhead.items[i].key), spec->overhead.items[i].key,
                                   spec->overhead.items[i].value);
    if (spec->os && text_empty(spec->os->name))
        field_required(errors, PATH(PATH(path, "os"), "name"), "cannot be empty");
    else if (spec->os && !validate_is_one_of(spec->os->name, operating_systems))
        field_not_supported(errors, PATH(path, "os"), spec->os->name, operating_systems);
    else if (spec->os)
        validate_os(errors, path, spec);
}

void validate_pod_template(struct api_field_errors *errors, const struct api_path *path,
                           const struct pod_template_spec *template)
{
    const struct api_path *spec = PATH(path, "spec"), *annotations = PATH(path, "annotations");
    validate_labels(errors, PATH(path, "labels"), &template->metadata.labels);
    validate_annotations(errors, annotations, &template->metadata.annotations);
    validate_pod_annotations(errors, annotations, &template->metadata.annotations, &template->spec);
    validate_pod_spec(errors, spec, &template->spec, false);
    if (template->spec.ephemeral_containers.count)
        field_forbidden(errors, PATH(spec, "ephemeralContainers"), "ephemeral containers not allowed in pod template");
}

static void validate_image_padding(struct api_field_errors *errors, const struct api_path *path, const char *image)
{
    size_t n = image ? strlen(image) : 0;
    if (n && (strchr(" \t\r\n\v\f", image[0]) || strchr(" \t\r\n\v\f", image[n - 1])))
        field_invalid(errors, PATH(path, "image"), image, "must not have leading or trailing whitespace");
}

static void validate_image_paddings(struct api_field_errors *errors, const struct api_path *path,
                                    const struct pod_spec *spec)
{
    for (size_t i = 0; i < spec->containers.count; i++)
        validate_image_padding(errors, PATH_INDEX(PATH(path, "containers"), i), spec->containers.items[i].image);
    for (size_t i = 0; i < spec->init_containers.count; i++)
        validate_image_padding(errors, PATH_INDEX(PATH(path, "initContainers"), i),
                               spec->init_containers.items[i].image);
    for (size_t i = 0; i < spec->ephemeral_containers.count; i++)
        validate_image_padding(errors, PATH_INDEX(PATH(path, "ephemeralContainers"), i),
                               spec->ephemeral_containers.items[i].image);
}

/* What holds for a pod whether it is new or changed (metadata's own rules apart). */
void validate_pod_metadata_and_spec(struct api_field_errors *errors, const struct pod *pod)
{
    const struct api_path *spec = PATH(NULL, "spec");
    validate_pod_annotations(errors, PATH(PATH(NULL, "metadata"), "annotations"), &pod->metadata.annotations,
                             &pod->spec);
    validate_pod_spec(errors, spec, &pod->spec, true);
    validate_image_paddings(errors, spec, &pod->spec);
}

void validate_pod_create(struct api_field_errors *errors, const void *value)
{
    const struct pod *pod = value;
    validate_pod_metadata_and_spec(errors, pod);
    const struct api_path *spec = PATH(NULL, "spec");
    if (pod->spec.ephemeral_containers.count)
        field_forbidden(errors, PATH(spec, "ephemeralContainers"), "cannot be set on create");
    if (!text_empty(pod->spec.node_name) && pod->spec.scheduling_gates.count)
        field_forbidden(errors, PATH(spec, "nodeName"), "cannot be set until all schedulingGates have been cleared");
}
