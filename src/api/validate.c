/* Which rules belong to which kind, and the rules for single values. */
#include "api/validate.h"

#include <stdio.h>

#include "api/validate_parts.h"
#include "base/ip_text.h"

const char *const validate_protocols[] = {"SCTP", "TCP", "UDP", NULL};

struct rules {
    format_rule name;
    /* The whole object but for its metadata; on create, and on update unless update says more. */
    void (*object)(struct api_field_errors *errors, const void *value);
    void (*create)(struct api_field_errors *errors, const void *value); /* instead of object, metadata included */
    /* What a change may not do, and the whole object if `object` has not to be called for it. */
    void (*update)(struct api_field_errors *errors, const void *value, const void *old);
    void (*status_update)(struct api_field_errors *errors, const void *value, const void *old);
};

static const struct rules rules[API_RESOURCE_COUNT] = {
    [API_NAMESPACES] = {.name = format_dns_label,
                        .object = validate_namespace,
                        .status_update = validate_namespace_status_update},
    [API_NODES] = {.name = format_dns_subdomain,
                   .object = validate_node,
                   .update = validate_node_update,
                   .status_update = validate_node_update},
    [API_PODS] = {.name = format_dns_subdomain,
                  .create = validate_pod_create,
                  .update = validate_pod_update,
                  .status_update = validate_pod_status_update},
    [API_SERVICES] = {.name = format_dns1035_label,
                      .create = validate_service,
                      .update = validate_service_update,
                      .status_update = validate_service_status_update},
    [API_ENDPOINTS] = {.name = format_dns_subdomain, .object = validate_endpoints},
    [API_CONFIGMAPS] = {.name = format_dns_subdomain,
                        .object = validate_config_map,
                        .update = validate_config_map_update},
    [API_SECRETS] = {.name = format_dns_subdomain, .object = validate_secret, .update = validate_secret_update},
    [API_SERVICEACCOUNTS] = {.name = format_dns_subdomain},
    [API_EVENTS] = {.name = format_dns_subdomain, .object = validate_event},
    [API_REPLICASETS] = {.name = format_dns_subdomain,
                         .object = validate_replica_set,
                         .update = validate_replica_set_update,
                         .status_update = validate_replica_set_status_update},
    [API_DEPLOYMENTS] = {.name = format_dns_subdomain,
                         .object = validate_deployment,
                         .update = validate_deployment_update,
                         .status_update = validate_deployment_status_update},
    [API_JOBS] = {.name = format_dns_subdomain,
                  .object = validate_job,
                  .update = validate_job_update,
                  .status_update = validate_job_status_update},
    [API_CRONJOBS] = {.name = format_dns_subdomain,
                      .create = validate_cron_job_create,
                      .update = validate_cron_job_update},
    [API_ENDPOINTSLICES] = {.name = format_dns_subdomain,
                            .object = validate_endpoint_slice,
                            .update = validate_endpoint_slice_update},
    [API_EVENTS_EVENTS] = {.name = format_dns_subdomain,
                           .object = validate_events_event,
                           .update = validate_events_event_update},
    [API_ROLES] = {.name = format_path_segment, .object = validate_role},
    [API_CLUSTERROLES] = {.name = format_path_segment, .object = validate_cluster_role},
    [API_ROLEBINDINGS] = {.name = format_path_segment,
                          .object = validate_role_binding,
                          .update = validate_role_binding_update},
    [API_CLUSTERROLEBINDINGS] = {.name = format_path_segment,
                                 .object = validate_cluster_role_binding,
                                 .update = validate_cluster_role_binding_update},
    [API_LEASES] = {.name = format_dns_subdomain, .object = validate_lease},
    [API_PERSISTENTVOLUMES] = {.name = format_dns_subdomain,
                               .object = validate_persistent_volume,
                               .update = validate_persistent_volume_update},
    [API_PERSISTENTVOLUMECLAIMS] = {.name = format_dns_subdomain,
                                    .object = validate_persistent_volume_claim,
                                    .update = validate_persistent_volume_claim_update,
                                    .status_update = validate_persistent_volume_claim_status_update},
    [API_PRIORITYCLASSES] = {.name = format_dns_subdomain,
                             .object = validate_priority_class,
                             .update = validate_priority_class_update},
    [API_STORAGECLASSES] = {.name = format_dns_subdomain,
                            .object = validate_storage_class,
                            .update = validate_storage_class_update},
    [API_INGRESSES] = {.name = format_dns_subdomain,
                       .create = validate_ingress_create,
                       .update = validate_ingress_update,
                       .status_update = validate_ingress_status_update},
    [API_INGRESSCLASSES] = {.name = format_dns_subdomain,
                            .create = validate_ingress_class,
                            .update = validate_ingress_class_update},
    [API_NETWORKPOLICIES] = {.name = format_dns_subdomain, .object = validate_network_policy},
};

void api_validate_create(const struct api_resource *resource, const void *value, struct api_field_errors *errors)
{
    const struct rules *r = &rules[resource->index];
    validate_meta(errors, PATH(NULL, "metadata"), api_meta(resource, value), resource->namespaced, r->name);
    if (r->create)
        r->create(errors, value);
    else if (r->object)
        r->object(errors, value);
}

void api_validate_update(const struct api_resource *resource, const void *value, const void *old,
                         const char *subresource, struct api_field_errors *errors)
{
    const struct rules *r = &rules[resource->index];
    validate_meta_update(errors, PATH(NULL, "metadata"), api_meta(resource, value), api_meta(resource, old));
    if (subresource && strcmp(subresource, "resize") == 0) {
        validate_pod_resize(errors, value, old);
        return;
    }
    if (subresource && strcmp(subresource, "status") == 0) {
        if (r->status_update)
            r->status_update(errors, value, old);
        return;
    }
    if (subresource && strcmp(subresource, "ephemeralcontainers") == 0) {
        validate_pod_ephemeral_update(errors, value, old);
        return;
    }
    if (r->object)
        r->object(errors, value);
    if (r->update)
        r->update(errors, value, old);
}

void api_validate_name(const struct api_resource *resource, const struct api_path *path, const char *name,
                       bool generated, struct api_field_errors *errors)
{
    if (generated)
        validate_generate_name(errors, path, name, rules[resource->index].name);
    else
        field_format(errors, path, name, rules[resource->index].name);
}

void api_validate_binding(const struct binding *binding, struct api_field_errors *errors)
{
    static const char *const kinds[] = {"Node", "<empty>", NULL};
    const struct api_path *target = PATH(NULL, "target");
    if (!text_empty(binding->target.kind) && !text_equal(binding->target.kind, "Node"))
        field_not_supported(errors, PATH(target, "kind"), binding->target.kind, kinds);
    if (text_empty(binding->target.name))
        field_required(errors, PATH(target, "name"), NULL);
}

void api_validate_scale(const struct scale *scale, struct api_field_errors *errors)
{
    validate_meta(errors, PATH(NULL, "metadata"), &scale->metadata, true, format_dns_subdomain);
    if (scale->spec.replicas < 0)
        field_invalid_int(errors, PATH(PATH(NULL, "spec"), "replicas"), scale->spec.replicas,
                          "must be greater than or equal to 0");
}

void validate_nonnegative(struct api_field_errors *errors, const struct api_path *path, int64_t value)
{
    if (value < 0)
        field_invalid_int(errors, path, value, "must be greater than or equal to 0");
}

void validate_positive(struct api_field_errors *errors, const struct api_path *path, int64_t value)
{
    if (value <= 0)
        field_invalid_int(errors, path, value, "must be greater than zero");
}

void validate_range(struct api_field_errors *errors, const struct api_path *path, int64_t value, int64_t low,
                    int64_t high)
{
    if (value >= low && value <= high)
        return;
    char detail[80];
    snprintf(detail, sizeof(detail), "must be between %lld and %lld, inclusive", (long long)low, (long long)high);
    field_invalid_int(errors, path, value, detail);
}

void validate_port_number(struct api_field_errors *errors, const struct api_path *path, int64_t port)
{
    validate_range(errors, path, port, 1, 65535);
}

void validate_port(struct api_field_errors *errors, const struct api_path *path, const struct int_or_string *port)
{
    if (port->kind == INT_OR_STRING_STRING)
        field_format(errors, path, port->text, format_port_name);
    else
        validate_port_number(errors, path, port->kind == INT_OR_STRING_INT ? port->number : 0);
}

bool validate_is_one_of(const char *value, const char *const *values)
{
    for (; *values; values++)
        if (text_equal(value, *values))
            return true;
    return false;
}

void validate_one_of(struct api_field_errors *errors, const struct api_path *path, const char *value,
                     const char *const *values)
{
    if (text_empty(value))
        field_required(errors, path, NULL);
    else if (!validate_is_one_of(value, values))
        field_not_supported(errors, path, value, values);
}

void validate_optional_one_of(struct api_field_errors *errors, const struct api_path *path, const char *value,
                              const char *const *values)
{
    if (value && !validate_is_one_of(value, values))
        field_not_supported(errors, path, value, values);
}

void validate_string_unchanged(struct api_field_errors *errors, const struct api_path *path, const char *value,
                               const char *old)
{
    if (!text_equal(value, old))
        field_invalid(errors, path, value, FIELD_IS_IMMUTABLE);
}

void validate_cidr(struct api_field_errors *errors, const struct api_path *path, const char *text)
{
    struct format_cidr cidr;
    if (!format_cidr_parse(text, &cidr))
        field_invalid(errors, path, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
}

void validate_ordinary_ip(struct api_field_errors *errors, const struct api_path *path, const char *ip)
{
    static const char *const problems[] = {
        [IP_LOOPBACK] = "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        [IP_LINK_LOCAL] = "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        [IP_LINK_LOCAL_MULTICAST] = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        [IP_BROADCAST] = NULL, /* the last one: all others are fine */
    };
    struct ip_text parsed;
    if (!ip_text_parse(ip, &parsed)) {
        field_invalid(errors, path, ip, "must be a valid IP address");
        return;
    }
    enum ip_class class = ip_text_class(&parsed);
    if (class == IP_UNSPECIFIED)
        field_invalid(errors, path, ip, arena_printf(errors->arena, "may not be unspecified (%s)", ip));
    else if (problems[class])
        field_invalid(errors, path, ip, problems[class]);
}
