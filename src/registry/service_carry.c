/* What an update of a Service leaves out and keeps all the same, and what it repeats and loses: clients that send again
 * what they once created mean no change of what they were given. As upstream does before it validates. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "registry/private.h"
#include "registry/service.h"

/* Reached from outside the cluster: the type, or addresses that lead here. */
static bool is_external(const struct service_spec *spec)
{
    return text_equal(spec->type, "NodePort") || text_equal(spec->type, "LoadBalancer") || spec->external_ips.count;
}

/* The port of that name has kept its node port, whatever else of it has changed. */
static int old_node_port(const struct service_spec *old, const char *name)
{
    int number = 0;
    for (size_t i = 0; i < old->ports.count; i++)
        if (text_equal(old->ports.items[i].name, name))
            number = old->ports.items[i].node_port;
    return number;
}

/* Ports that ask for nothing keep what they have, unless others of the service ask for it. */
static void carry_node_ports(struct service *service, const struct service_spec *old)
{
    struct service_port_array *ports = &service->spec.ports;
    cleanup_free int *kept = mem_zero(ports->count + 1, sizeof(*kept));
    for (size_t i = 0; i < ports->count; i++)
        if (!ports->items[i].node_port)
            kept[i] = old_node_port(old, ports->items[i].name);
    for (size_t i = 0; i < ports->count; i++)
        if (service_has_node_port(service, kept[i]))
            kept[i] = 0;
    for (size_t i = 0; i < ports->count; i++)
        if (kept[i])
            ports->items[i].node_port = kept[i];
}

static void drop_addresses(struct service_spec *spec, const struct service_spec *old)
{
    if (text_equal(spec->cluster_ip, old->cluster_ip) && string_array_equal(&spec->cluster_ips, &old->cluster_ips)) {
        spec->cluster_ip = NULL;
        spec->cluster_ips = (struct string_array){0};
    }
    if (string_array_equal(&spec->ip_families, &old->ip_families))
        spec->ip_families = (struct string_array){0};
    if (text_equal(spec->ip_family_policy, old->ip_family_policy))
        spec->ip_family_policy = NULL;
}

/* Nothing new is asked for. */
static void drop_node_ports(struct service_spec *spec, const struct service *old)
{
    for (size_t i = 0; i < spec->ports.count; i++)
        if (spec->ports.items[i].node_port && !service_has_node_port(old, spec->ports.items[i].node_port))
            return;
    for (size_t i = 0; i < spec->ports.count; i++)
        spec->ports.items[i].node_port = 0;
}

/* Upstream's dropTypeDependentFields: what the new type has no use for goes, when the client only repeats it. */
static void drop_unneeded(struct service_spec *spec, const struct service *before)
{
    const struct service_spec *old = &before->spec;
    bool was_balanced = text_equal(old->type, "LoadBalancer"), is_balanced = text_equal(spec->type, "LoadBalancer");
    if (service_needs_cluster_ip(old) && !service_needs_cluster_ip(spec))
        drop_addresses(spec, old);
    if (service_may_have_node_ports(old) && !service_may_have_node_ports(spec))
        drop_node_ports(spec, before);
    if (service_has_health_port(old) && !service_has_health_port(spec) &&
        spec->health_check_node_port == old->health_check_node_port)
        spec->health_check_node_port = 0;
    if (was_balanced && !is_balanced) {
        const struct opt_bool *now = &spec->allocate_load_balancer_node_ports,
                              *earlier = &old->allocate_load_balancer_node_ports;
        if (now->set == earlier->set && now->value == earlier->value)
            spec->allocate_load_balancer_node_ports = (struct opt_bool){0};
        if (text_equal(spec->load_balancer_class, old->load_balancer_class))
            spec->load_balancer_class = NULL;
    }
    if (is_external(old) && !is_external(spec) &&
        text_equal(spec->external_traffic_policy, old->external_traffic_policy))
        spec->external_traffic_policy = NULL;
}

void service_carry(struct service *service, const struct service *before)
{
    struct service_spec *spec = &service->spec;
    const struct service_spec *old = &before->spec;
    /* Clients that know clusterIP alone clear or set it, and repeat the list. */
    if (!text_equal(spec->cluster_ip, old->cluster_ip) && string_array_equal(&spec->cluster_ips, &old->cluster_ips))
        spec->cluster_ips = (struct string_array){text_empty(spec->cluster_ip) ? NULL : &spec->cluster_ip,
                                                  !text_empty(spec->cluster_ip)};
    if (service_needs_cluster_ip(spec) && service_needs_cluster_ip(old) && text_empty(spec->cluster_ip))
        spec->cluster_ip = old->cluster_ip;
    if (service_needs_cluster_ip(old) && !spec->cluster_ips.count && text_equal(spec->cluster_ip, old->cluster_ip))
        spec->cluster_ips = old->cluster_ips;
    if (service_has_health_port(spec) && service_has_health_port(old) && !spec->health_check_node_port)
        spec->health_check_node_port = old->health_check_node_port;
    if (service_needs_node_ports(spec) && service_needs_node_ports(old))
        carry_node_ports(service, old);
    drop_unneeded(spec, before);
    /* The address of a load balancer goes with the type, whoever gave it. */
    if (!text_equal(spec->type, "LoadBalancer"))
        service->status.load_balancer = (struct load_balancer_status){0};
}
