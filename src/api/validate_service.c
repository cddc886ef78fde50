/* Rules for Services and Endpoints. */
#include <stdio.h>
#include <stdlib.h>

#include "api/json.h"
#include "api/validate_parts.h"
#include "api/well_known.h"
#include "base/cleanup.h"

#define CLIENT_IP_TIMEOUT_MAX 86400
#define CLUSTER_IP_MAX 2

static const char *const types[] = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort", NULL};
static const char *const affinities[] = {"ClientIP", "None", NULL};
static const char *const traffic_policies[] = {"Cluster", "Local", NULL};
static const char *const families[] = {"IPv4", "IPv6", NULL};
static const char *const family_policies[] = {"PreferDualStack", "RequireDualStack", "SingleStack", NULL};
static const char *const distributions[] = {"PreferClose", "PreferSameNode", "PreferSameZone", NULL};
static const char *const ip_modes[] = {"Proxy", "VIP", NULL};
static const char only_for_load_balancers[] = "may only be used when `type` is 'LoadBalancer'";

/* Without the blanks around it. */
static const char *trim(struct arena *arena, const char *text)
{
    static const char blanks[] = " \t\r\n\v\f";
    size_t before = strspn(text, blanks), n = strlen(text);
    while (n > before && strchr(blanks, text[n - 1]))
        n--;
    return arena_string_n(arena, text + before, n - before);
}

static bool is_headless(const struct service_spec *spec)
{
    return spec->cluster_ips.count == 1 && text_equal(spec->cluster_ips.items[0], "None");
}

static bool is_externally_accessible(const struct service_spec *spec)
{
    return text_equal(spec->type, "LoadBalancer") || text_equal(spec->type, "NodePort") ||
           (text_equal(spec->type, "ClusterIP") && spec->external_ips.count);
}

static bool needs_health_check(const struct service_spec *spec)
{
    return text_equal(spec->type, "LoadBalancer") && text_equal(spec->external_traffic_policy, "Local");
}

static void validate_type(struct api_field_errors *errors, const struct api_path *path, const struct service_spec *spec)
{
    const struct api_path *ips = PATH(path, "clusterIPs");
    if (!spec->ports.count && !is_headless(spec) && !text_equal(spec->type, "ExternalName"))
        field_required(errors, PATH(path, "ports"), NULL);
    if (is_headless(spec) && (text_equal(spec->type, "LoadBalancer") || text_equal(spec->type, "NodePort")))
        field_invalid(errors, PATH_INDEX(ips, 0), "None",
                      arena_printf(errors->arena, "may not be set to 'None' for %s services", spec->type));
    if (!text_equal(spec->type, "ExternalName"))
        return;
    static const char message[] = "may not be set for ExternalName services";
    if (spec->cluster_ips.count)
        field_forbidden(errors, ips, message);
    if (spec->ip_families.count)
        field_forbidden(errors, PATH(path, "ipFamilies"), message);
    if (spec->ip_family_policy)
        field_forbidden(errors, PATH(path, "ipFamilyPolicy"), message);
    const char *name = spec->external_name ? spec->external_name : "";
    size_t n = strlen(name);
    if (n && name[n - 1] == '.')
        name = arena_string_n(errors->arena, name, n - 1);
    if (*name)
        field_format(errors, PATH(path, "externalName"), name, format_dns_subdomain);
    else
        field_required(errors, PATH(path, "externalName"), NULL);
}

static void validate_service_port(struct api_field_errors *errors, const struct api_path *path,
                                  const struct service_port *p, bool several, struct name_set *names)
{
    if (several && text_empty(p->name)) {
        field_required(errors, PATH(path, "name"), NULL);
    } else if (!text_empty(p->name)) {
        field_format(errors, PATH(path, "name"), p->name, format_dns_label);
        if (!name_set_add(names, p->name))
            field_duplicate(errors, PATH(path, "name"), p->name);
    }
    validate_port_number(errors, PATH(path, "port"), p->port);
    validate_one_of(errors, PATH(path, "protocol"), p->protocol, validate_protocols);
    validate_port(errors, PATH(path, "targetPort"), &p->target_port);
    if (p->app_protocol)
        field_format(errors, PATH(path, "appProtocol"), p->app_protocol, format_qualified_name);
}

/* No two ports with the same number and protocol, neither of the service nor of the nodes. */
static void validate_port_pairs(struct api_field_errors *errors, const struct api_path *path,
                                const struct service_spec *spec)
{
    const struct service_port_array *ports = &spec->ports;
    for (size_t i = 0; text_equal(spec->type, "ClusterIP") && i < ports->count; i++)
        if (ports->items[i].node_port)
            field_forbidden(errors, PATH(PATH_INDEX(path, i), "nodePort"),
                            "may not be used when `type` is 'ClusterIP'");
    if (ports->count < 2)
        return;
    cleanup_name_set struct name_set of_nodes = {0}, of_service = {0};
    for (size_t i = 0; i < ports->count; i++) {
        const struct service_port *p = &ports->items[i];
        if (p->node_port && !name_set_add_format(&of_nodes, "%d/%s", p->node_port, p->protocol ? p->protocol : ""))
            field_duplicate_json(errors, PATH(PATH_INDEX(path, i), "nodePort"),
                                 arena_printf(errors->arena, "%d", p->node_port));
    }
    for (size_t i = 0; i < ports->count; i++) {
        const struct service_port *p = &ports->items[i];
        if (!name_set_add_format(&of_service, "%d/%s", p->port, p->protocol ? p->protocol : ""))
            field_duplicate_json(errors, PATH_INDEX(path, i),
                                 arena_printf(errors->arena,
                                              "{\"Name\":\"\",\"Protocol\":\"%s\",\"AppProtocol\":null,\"Port\":%d,"
                                              "\"TargetPort\":0,\"NodePort\":0}",
                                              p->protocol ? p->protocol : "", p->port));
    }
}

static void validate_affinity(struct api_field_errors *errors, const struct api_path *path,
                              const struct service_spec *spec)
{
    static const char when[] = "when session affinity type is ClientIP";
    const struct session_affinity_config *config = spec->session_affinity_config;
    const struct api_path *at = PATH(path, "sessionAffinityConfig"), *client_ip = PATH(at, "clientIP");
    const struct api_path *seconds = PATH(client_ip, "timeoutSeconds");
    validate_one_of(errors, PATH(path, "sessionAffinity"), spec->session_affinity, affinities);
    if (text_equal(spec->session_affinity, "None") && config) {
        field_forbidden(errors, at, "must not be set when session affinity is None");
    } else if (text_equal(spec->session_affinity, "ClientIP")) {
        if (!config)
            field_required(errors, at, when);
        else if (!config->client_ip)
            field_required(errors, client_ip, when);
        else if (!config->client_ip->timeout_seconds.set)
            field_required(errors, seconds, when);
        else if (config->client_ip->timeout_seconds.value <= 0 ||
                 config->client_ip->timeout_seconds.value > CLIENT_IP_TIMEOUT_MAX)
            field_invalid_int(errors, seconds, config->client_ip->timeout_seconds.value,
                              "must be greater than 0 and less than 86400");
    }
}

static bool has_ip_of_family(const char *ip, const char *family)
{
    return (format_ip_family(ip) == 6) == text_equal(family, "IPv6");
}

static void validate_cluster_ips(struct api_field_errors *errors, const struct api_path *path,
                                 const struct service_spec *spec)
{
    const struct string_array *ips = &spec->cluster_ips;
    const struct api_path *at = PATH(path, "clusterIPs"), *family_path = PATH(path, "ipFamilies");
    if (text_equal(spec->type, "ExternalName"))
        return;
    if (!text_empty(spec->cluster_ip) && !ips->count)
        field_required(errors, at, NULL);
    else if (!text_empty(spec->cluster_ip) && !text_equal(ips->items[0], spec->cluster_ip))
        field_invalid_strings(errors, at, ips, "first value must match `clusterIP`");
    else if (text_empty(spec->cluster_ip) && ips->count)
        field_invalid_strings(errors, at, ips, "must be empty when `clusterIP` is not specified");
    cleanup_name_set struct name_set seen = {0};
    for (size_t i = 0; i < spec->ip_families.count; i++) {
        const char *family = spec->ip_families.items[i];
        validate_optional_one_of(errors, PATH_INDEX(family_path, i), family ? family : "", families);
        if (!name_set_add(&seen, family))
            field_duplicate(errors, PATH_INDEX(family_path, i), family);
    }
    validate_optional_one_of(errors, PATH(path, "ipFamilyPolicy"), spec->ip_family_policy, family_policies);
    bool valid = true;
    for (size_t i = 0; i < ips->count; i++) {
        if (i == 0 && text_equal(ips->items[0], "None")) {
            if (ips->count > 1)
                field_invalid_strings(errors, at, ips, "'None' must be the first and only value");
            valid &= ips->count == 1;
            continue;
        }
        valid &= field_format(errors, PATH_INDEX(at, i), ips->items[i], format_ip);
    }
    if (ips->count > CLUSTER_IP_MAX)
        field_invalid_strings(errors, at, ips, "may only hold up to 2 values");
    if (!valid)
        return;
    if (ips->count == 2 && format_ip_family(ips->items[0]) == format_ip_family(ips->items[1]))
        field_invalid_strings(errors, at, ips, "may specify no more than one IP for each IP family");
    for (size_t i = 0; !is_headless(spec) && i < ips->count && i < spec->ip_families.count; i++)
        if (!has_ip_of_family(ips->items[i], spec->ip_families.items[i]))
            field_invalid(errors, PATH_INDEX(at, i), ips->items[i],
                          arena_printf(errors->arena, "expected an %s value as indicated by `ipFamilies[%zu]`",
                                       spec->ip_families.items[i], i));
}

/* The field comes first; the annotation counts where there is none. */
static void validate_source_ranges(struct api_field_errors *errors, const struct service *service)
{
    const struct string_array *fields = &service->spec.load_balancer_source_ranges;
    const char *annotation = string_map_get(&service->metadata.annotations, SOURCE_RANGES_ANNOTATION);
    bool is_load_balancer = text_equal(service->spec.type, "LoadBalancer");
    if (fields->count) {
        const struct api_path *path = PATH(PATH(NULL, "spec"), "LoadBalancerSourceRanges");
        if (!is_load_balancer)
            field_forbidden(errors, path, only_for_load_balancers);
        for (size_t i = 0; i < fields->count; i++)
            validate_cidr(errors, PATH_INDEX(path, i), trim(errors->arena, fields->items[i]));
        return;
    }
    if (!annotation)
        return;
    const struct api_path *path = PATH_KEY(PATH(PATH(NULL, "metadata"), "annotations"), SOURCE_RANGES_ANNOTATION);
    if (!is_load_balancer)
        field_forbidden(errors, path, only_for_load_balancers);
    cleanup_free char *list = mem_string(trim(errors->arena, annotation));
    for (char *rest = *list ? list : NULL, *range; (range = strsep(&rest, ","));)
        validate_cidr(errors, path, trim(errors->arena, range));
}

static void validate_load_balancer(struct api_field_errors *errors, const struct api_path *path,
                                   const struct service_spec *spec)
{
    bool is_load_balancer = text_equal(spec->type, "LoadBalancer");
    if (spec->allocate_load_balancer_node_ports.set && !is_load_balancer)
        field_forbidden(errors, PATH(path, "allocateLoadBalancerNodePorts"), only_for_load_balancers);
    if (spec->load_balancer_class) {
        if (!is_load_balancer)
            field_forbidden(errors, PATH(path, "loadBalancerClass"), only_for_load_balancers);
        else
            field_format(errors, PATH(path, "loadBalancerClass"), spec->load_balancer_class, format_qualified_name);
    }
}

static void validate_traffic(struct api_field_errors *errors, const struct api_path *path,
                             const struct service_spec *spec)
{
    const struct api_path *external = PATH(path, "externalTrafficPolicy");
    const struct api_path *health = PATH(path, "healthCheckNodePort");
    if (is_externally_accessible(spec))
        validate_one_of(errors, external, spec->external_traffic_policy, traffic_policies);
    else if (!text_empty(spec->external_traffic_policy))
        field_invalid(errors, external, spec->external_traffic_policy,
                      "may only be set for externally-accessible services");
    if (!needs_health_check(spec)) {
        if (spec->health_check_node_port)
            field_invalid_int(errors, health, spec->health_check_node_port,
                              "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
    } else if (spec->health_check_node_port) {
        validate_port_number(errors, health, spec->health_check_node_port);
    }
    if (spec->internal_traffic_policy)
        validate_optional_one_of(errors, PATH(path, "internalTrafficPolicy"), spec->internal_traffic_policy,
                                 traffic_policies);
    else if (!text_equal(spec->type, "ExternalName"))
        field_required(errors, PATH(path, "internalTrafficPolicy"), NULL);
    validate_optional_one_of(errors, PATH(path, "trafficDistribution"), spec->traffic_distribution, distributions);
}

/* The older name of the annotation for hints may stand beside the newer one, but not against it. */
static void validate_topology(struct api_field_errors *errors, const struct string_map *annotations)
{
    const char *mode = string_map_get(annotations, TOPOLOGY_ANNOTATION);
    const char *older = string_map_get(annotations, HINTS_ANNOTATION);
    if (mode && older && strcmp(mode, older) != 0)
        field_invalid(errors, PATH_KEY(PATH(PATH(NULL, "metadata"), "annotations"), TOPOLOGY_ANNOTATION), mode,
                      "must match annotations[" HINTS_ANNOTATION "] when both are specified");
}

void validate_service(struct api_field_errors *errors, const void *value)
{
    const struct service_spec *spec = &((const struct service *)value)->spec;
    const struct api_path *path = PATH(NULL, "spec"), *ports = PATH(path, "ports");
    cleanup_name_set struct name_set names = {0};
    validate_topology(errors, &((const struct service *)value)->metadata.annotations);
    validate_type(errors, path, spec);
    for (size_t i = 0; i < spec->ports.count; i++)
        validate_service_port(errors, PATH_INDEX(ports, i), &spec->ports.items[i], spec->ports.count > 1, &names);
    validate_labels(errors, PATH(path, "selector"), &spec->selector);
    validate_affinity(errors, path, spec);
    validate_cluster_ips(errors, path, spec);
    for (size_t i = 0; i < spec->external_ips.count; i++) {
        const struct api_path *at = PATH_INDEX(PATH(path, "externalIPs"), i);
        if (field_format(errors, at, spec->external_ips.items[i], format_ip))
            validate_ordinary_ip(errors, at, spec->external_ips.items[i]);
    }
    validate_one_of(errors, PATH(path, "type"), spec->type, types);
    validate_port_pairs(errors, ports, spec);
    validate_source_ranges(errors, value);
    validate_load_balancer(errors, path, spec);
    validate_traffic(errors, path, spec);
}

static void validate_addresses_kept(struct api_field_errors *errors, const struct api_path *path,
                                    const struct service_spec *spec, const struct service_spec *old)
{
    const struct api_path *ips = PATH(path, "clusterIPs");
    if (old->cluster_ips.count && !spec->cluster_ips.count)
        field_invalid_strings(errors, PATH_INDEX(ips, 0), &spec->cluster_ips, "primary clusterIP can not be unset");
    for (size_t i = 0; i < old->cluster_ips.count && i < spec->cluster_ips.count; i++)
        if (!text_equal(old->cluster_ips.items[i], spec->cluster_ips.items[i]))
            field_invalid_strings(errors, PATH_INDEX(ips, i), &spec->cluster_ips, "may not change once set");
    if (old->cluster_ips.count == 2 && spec->cluster_ips.count == 1 &&
        !text_equal(spec->ip_family_policy, "SingleStack"))
        field_invalid(errors, PATH(path, "ipFamilyPolicy"), spec->ip_family_policy,
                      "must be set to 'SingleStack' when releasing the secondary clusterIP");
}

/* As upstream, each change is told of the first place. */
static void validate_families_kept(struct api_field_errors *errors, const struct api_path *path,
                                   const struct service_spec *spec, const struct service_spec *old)
{
    for (size_t i = 0; i < old->ip_families.count && i < spec->ip_families.count; i++)
        if (!text_equal(old->ip_families.items[i], spec->ip_families.items[i]))
            field_invalid_strings(errors, PATH_INDEX(PATH(path, "ipFamilies"), 0), &spec->ip_families,
                                  "may not change once set");
}

static void validate_class_kept(struct api_field_errors *errors, const struct api_path *path,
                                const struct service_spec *spec, const struct service_spec *old)
{
    const char *now = spec->load_balancer_class, *before = old->load_balancer_class;
    if (!text_equal(spec->type, "LoadBalancer") || !text_equal(old->type, "LoadBalancer") ||
        (!now == !before && text_equal(now, before)))
        return;
    field_invalid(errors, PATH(path, "loadBalancerClass"), now ? now : FIELD_NULL, "may not change once set");
}

/* What changes is looked at first, then the Service as a new one. */
void validate_service_update(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct service_spec *spec = &((const struct service *)value)->spec;
    const struct service_spec *old = &((const struct service *)old_value)->spec;
    const struct api_path *path = PATH(NULL, "spec");
    if (!text_equal(spec->type, "ExternalName") && !text_equal(old->type, "ExternalName")) {
        if (!is_headless(spec) || !is_headless(old))
            validate_addresses_kept(errors, path, spec, old);
        if (!is_headless(spec) && !is_headless(old))
            validate_families_kept(errors, path, spec, old);
    }
    validate_class_kept(errors, path, spec, old);
    if (needs_health_check(spec) && needs_health_check(old) &&
        spec->health_check_node_port != old->health_check_node_port)
        field_forbidden(errors, PATH(path, "healthCheckNodePort"), FIELD_IS_IMMUTABLE);
    validate_service(errors, value);
}

void validate_service_status_update(struct api_field_errors *errors, const void *value, const void *old)
{
    (void)old;
    const struct service *service = value;
    const struct api_path *path = PATH(PATH(PATH(NULL, "status"), "loadBalancer"), "ingress");
    const struct load_balancer_ingress_array *ingress = &service->status.load_balancer.ingress;
    if (!text_equal(service->spec.type, "LoadBalancer") && ingress->count) {
        field_forbidden(errors, path, "may only be used when `spec.type` is 'LoadBalancer'");
        return;
    }
    for (size_t i = 0; i < ingress->count; i++) {
        const struct load_balancer_ingress *in = &ingress->items[i];
        const struct api_path *at = PATH_INDEX(path, i), *mode = PATH(at, "ipMode");
        if (!text_empty(in->ip))
            field_format(errors, PATH(at, "ip"), in->ip, format_ip);
        if (!in->ip_mode && !text_empty(in->ip))
            field_required(errors, mode, "must be specified when `ip` is set");
        else if (in->ip_mode && text_empty(in->ip))
            field_forbidden(errors, mode, "may not be specified when `ip` is not set");
        else
            validate_optional_one_of(errors, mode, in->ip_mode, ip_modes);
        if (!text_empty(in->hostname)) {
            field_format(errors, PATH(at, "hostname"), in->hostname, format_dns_subdomain);
            if (format_ip_family(in->hostname))
                field_invalid(errors, PATH(at, "hostname"), in->hostname, "must be a DNS name, not an IP address");
        }
    }
}

static void validate_address(struct api_field_errors *errors, const struct api_path *path,
                             const struct endpoint_address *a)
{
    field_format(errors, PATH(path, "ip"), a->ip, format_ip);
    if (!text_empty(a->hostname))
        field_format(errors, PATH(path, "hostname"), a->hostname, format_dns_label);
    if (a->node_name)
        field_format(errors, PATH(path, "nodeName"), a->node_name, format_dns_subdomain);
    validate_ordinary_ip(errors, PATH(path, "ip"), a->ip ? a->ip : "");
}

static void validate_subset(struct api_field_errors *errors, const struct api_path *path,
                            const struct endpoint_subset *s)
{
    if (!s->addresses.count && !s->not_ready_addresses.count)
        field_required(errors, path, "must specify `addresses` or `notReadyAddresses`");
    for (size_t i = 0; i < s->addresses.count; i++)
        validate_address(errors, PATH_INDEX(PATH(path, "addresses"), i), &s->addresses.items[i]);
    for (size_t i = 0; i < s->not_ready_addresses.count; i++)
        validate_address(errors, PATH_INDEX(PATH(path, "notReadyAddresses"), i), &s->not_ready_addresses.items[i]);
    for (size_t i = 0; i < s->ports.count; i++) {
        const struct endpoint_port *p = &s->ports.items[i];
        const struct api_path *at = PATH_INDEX(PATH(path, "ports"), i);
        if (s->ports.count > 1 && text_empty(p->name))
            field_required(errors, PATH(at, "name"), NULL);
        else if (!text_empty(p->name))
            field_format(errors, PATH(at, "name"), p->name, format_dns_label);
        validate_port_number(errors, PATH(at, "port"), p->port);
        validate_one_of(errors, PATH(at, "protocol"), p->protocol, validate_protocols);
        if (p->app_protocol)
            field_format(errors, PATH(at, "appProtocol"), p->app_protocol, format_qualified_name);
    }
}

void validate_endpoints(struct api_field_errors *errors, const void *value)
{
    const struct endpoints *e = value;
    for (size_t i = 0; i < e->subsets.count; i++)
        validate_subset(errors, PATH_INDEX(PATH(NULL, "subsets"), i), &e->subsets.items[i]);
}
