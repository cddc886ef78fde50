/* Upstream's warnings about what is valid and does not do what its author may think: fields that the type of a Service
 * ignores, deprecated values, and addresses and ranges that are not written in their canonical form. */
#include <arpa/inet.h>
#include <string.h>

#include "api/format.h"
#include "api/well_known.h"
#include "base/ip_text.h"
#include "registry/private.h"

#define WARN(task, ...) registry_add_warning((task), arena_printf((task)->arena, __VA_ARGS__))

/* ---- Addresses ---- */

void warn_of_ip(struct task *task, const char *path, const char *text)
{
    struct ip_text ip;
    char canonical[IP_TEXT_MAX];
    if (!ip_text_parse(text, &ip))
        return;
    ip_text_write(&ip, canonical);
    if (ip.mapped || ip.padded)
        WARN(task,
             "%s: non-standard IP address \"%s\" will be considered invalid in a future Kubernetes release: use \"%s\"",
             path, text, canonical);
    else if (ip.family == 6 && strcmp(canonical, text) != 0)
        WARN(task, "%s: IPv6 address \"%s\" should be in RFC 5952 canonical format (\"%s\")", path, text, canonical);
}

static void warn_of_cidr(struct task *task, const char *path, const char *text)
{
    struct format_cidr cidr;
    char network[INET6_ADDRSTRLEN], address[INET6_ADDRSTRLEN];
    if (text_empty(text) || !format_cidr_parse(text, &cidr))
        return;
    bool v4 = cidr.family == 4 || cidr.mapped;
    int family = v4 ? AF_INET : AF_INET6, length = cidr.family == 4 ? 32 : 128;
    const unsigned char *from = cidr.address + (cidr.mapped ? 12 : 0);
    int bits = cidr.mapped && cidr.bits >= 96 ? cidr.bits - 96 : cidr.bits;
    inet_ntop(family, from, address, sizeof(address));
    format_cidr_mask(&cidr);
    inet_ntop(family, from, network, sizeof(network));
    bool ambiguous = strcmp(network, address) != 0;
    if (ambiguous)
        WARN(task, "%s: CIDR value \"%s\" is ambiguous in this context (should be \"%s/%d\" or \"%s/%d\"?)", path, text,
             network, bits, address, length);
    const char *canonical = arena_printf(task->arena, "%s/%d", network, bits);
    if (cidr.mapped || cidr.padded)
        WARN(task,
             "%s: non-standard CIDR value \"%s\" will be considered invalid in a future Kubernetes release: use \"%s\"",
             path, text, canonical);
    else if (!ambiguous && cidr.family == 6 && strcmp(canonical, text) != 0)
        WARN(task, "%s: IPv6 CIDR value \"%s\" should be in RFC 5952 canonical format (\"%s\")", path, text, canonical);
}

static void warn_of_ips(struct task *task, const char *path, const struct string_array *ips)
{
    for (size_t i = 0; i < ips->count; i++)
        warn_of_ip(task, arena_printf(task->arena, "%s[%zu]", path, i), ips->items[i]);
}

/* ---- Services ---- */

static void warn_of_headless(struct task *task, const struct service_spec *spec)
{
    if (!text_equal(spec->type, "ClusterIP") || !text_equal(spec->cluster_ip, "None"))
        return;
    if (!text_empty(spec->load_balancer_ip))
        WARN(task, "spec.loadBalancerIP is ignored for headless services");
    if (spec->external_ips.count)
        WARN(task, "spec.externalIPs is ignored for headless services");
    if (!text_equal(spec->session_affinity, "None"))
        WARN(task, "spec.SessionAffinity is ignored for headless services");
}

static void warn_of_service(struct task *task, const struct service *service)
{
    const struct service_spec *spec = &service->spec;
    bool is_name = text_equal(spec->type, "ExternalName");
    if (string_map_get(&service->metadata.annotations, HINTS_ANNOTATION))
        WARN(task, "annotation " HINTS_ANNOTATION " is deprecated, please use " TOPOLOGY_ANNOTATION " instead");
    warn_of_ips(task, "spec.clusterIPs", &spec->cluster_ips);
    warn_of_headless(task, spec);
    warn_of_ips(task, "spec.externalIPs", &spec->external_ips);
    warn_of_ip(task, "spec.loadBalancerIP", spec->load_balancer_ip);
    for (size_t i = 0; i < spec->load_balancer_source_ranges.count; i++)
        warn_of_cidr(task, arena_printf(task->arena, "spec.loadBalancerSourceRanges[%zu]", i),
                     spec->load_balancer_source_ranges.items[i]);
    if (is_name && spec->external_ips.count)
        WARN(task, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    if (!is_name && !text_empty(spec->external_name))
        WARN(task, "spec.externalName is ignored when spec.type is not \"ExternalName\"");
    if (text_equal(spec->traffic_distribution, "PreferClose"))
        WARN(task, "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
}

/* ---- Endpoints ---- */

static void warn_of_addresses(struct task *task, size_t subset, const char *field,
                              const struct endpoint_address_array *addresses)
{
    for (size_t i = 0; i < addresses->count; i++)
        warn_of_ip(task, arena_printf(task->arena, "subsets[%zu].%s[%zu].ip", subset, field, i),
                   addresses->items[i].ip);
}

/* What the controller writes is known to be good, as upstream knows it: by its label. */
static void warn_of_endpoints(struct task *task, const struct endpoints *endpoints)
{
    if (text_equal(string_map_get(&endpoints->metadata.labels, ENDPOINTS_MANAGED_BY_LABEL), ENDPOINTS_CONTROLLER))
        return;
    for (size_t i = 0; i < endpoints->subsets.count; i++) {
        warn_of_addresses(task, i, "addresses", &endpoints->subsets.items[i].addresses);
        warn_of_addresses(task, i, "notReadyAddresses", &endpoints->subsets.items[i].not_ready_addresses);
    }
}

static void warn_of_slice(struct task *task, const struct endpoint_slice *slice)
{
    for (size_t i = 0; !text_equal(slice->address_type, "FQDN") && i < slice->endpoints.count; i++)
        warn_of_ips(task, arena_printf(task->arena, "endpoints[%zu].addresses", i),
                    &slice->endpoints.items[i].addresses);
}

/* ---- Ingresses and network policies ---- */

static void warn_of_peers(struct task *task, const char *path, const struct network_policy_peer_array *peers)
{
    for (size_t i = 0; i < peers->count; i++) {
        const struct ip_block *block = peers->items[i].ip_block;
        if (!block)
            continue;
        const char *at = arena_printf(task->arena, "%s[%zu].ipBlock", path, i);
        warn_of_cidr(task, arena_printf(task->arena, "%s.cidr", at), block->cidr);
        for (size_t k = 0; k < block->except.count; k++)
            warn_of_cidr(task, arena_printf(task->arena, "%s.except[%zu]", at, k), block->except.items[k]);
    }
}

static void warn_of_policy(struct task *task, const struct network_policy_spec *spec)
{
    for (size_t i = 0; i < spec->ingress.count; i++)
        warn_of_peers(task, arena_printf(task->arena, "spec.ingress[%zu].from", i), &spec->ingress.items[i].from);
    for (size_t i = 0; i < spec->egress.count; i++)
        warn_of_peers(task, arena_printf(task->arena, "spec.egress[%zu].to", i), &spec->egress.items[i].to);
}

/* Before the default class is set. */
static void warn_of_annotation(struct task *task, const struct ingress *ingress)
{
    if (!ingress->spec.ingress_class_name && string_map_get(&ingress->metadata.annotations, INGRESS_CLASS_ANNOTATION))
        WARN(task,
             "annotation \"" INGRESS_CLASS_ANNOTATION "\" is deprecated, please use 'spec.ingressClassName' instead");
}

void network_warn_status(struct task *task, const void *value)
{
    if (task->resource->index == API_SERVICES) {
        const struct load_balancer_ingress_array *ingress =
            &((const struct service *)value)->status.load_balancer.ingress;
        for (size_t i = 0; i < ingress->count; i++)
            warn_of_ip(task, arena_printf(task->arena, "status.loadBalancer.ingress[%zu]", i), ingress->items[i].ip);
    } else if (task->resource->index == API_PODS) {
        const struct pod_status *status = &((const struct pod *)value)->status;
        for (size_t i = 0; i < status->pod_ips.count; i++)
            warn_of_ip(task, arena_printf(task->arena, "status.podIPs[%zu].ip", i), status->pod_ips.items[i].ip);
        for (size_t i = 0; i < status->host_ips.count; i++)
            warn_of_ip(task, arena_printf(task->arena, "status.hostIPs[%zu].ip", i), status->host_ips.items[i].ip);
    }
}

void network_warn(struct task *task, const void *value, bool created)
{
    switch (task->resource->index) {
    case API_SERVICES:
        warn_of_service(task, value);
        break;
    case API_ENDPOINTS:
        warn_of_endpoints(task, value);
        break;
    case API_ENDPOINTSLICES:
        warn_of_slice(task, value);
        break;
    case API_NETWORKPOLICIES:
        warn_of_policy(task, &((const struct network_policy *)value)->spec);
        break;
    case API_INGRESSES:
        if (created)
            warn_of_annotation(task, value);
        break;
    default:
        break;
    }
}
