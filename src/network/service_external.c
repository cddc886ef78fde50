#include "network/service_external.h"

#include <string.h>

#include "api/load_balancer.h"
#include "api/well_known.h"
#include "base/cleanup.h"
#include "base/text.h"


/* What upstream takes from around a range. */
static const char blanks[] = " \t\r\n\v\f";

static void add_address(struct ip_address *list, size_t *count, const char *text, int family)
{
    if (*count < DATAPLANE_EXTERNAL_ADDRESSES_MAX && ip_address_parse(text, &list[*count]) &&
        list[*count].family == family)
        ++*count;
}

static void add_range(const char *text, struct service_external *to, struct dataplane_service *out)
{
    struct ip_prefix range;
    text += strspn(text, blanks);
    cleanup_free char *word = mem_string_n(text, strcspn(text, blanks));
    if (out->source_range_count < DATAPLANE_SOURCE_RANGES_MAX && ip_prefix_parse(word, &range) &&
        range.address.family == out->family)
        to->ranges[out->source_range_count++] = range;
}

/* Whoever limits the sources closes the balancer to all that no range names: one of the other family alone, or that
 * cannot be read, opens nothing. */
static void add_ranges(const struct service *service, struct service_external *to, struct dataplane_service *out)
{
    const struct string_array *ranges = &service->spec.load_balancer_source_ranges;
    const char *annotation = string_map_get(&service->metadata.annotations, SOURCE_RANGES_ANNOTATION);
    bool annotated = !ranges->count && annotation && annotation[strspn(annotation, blanks)];
    out->source_limited = ranges->count || annotated;
    for (size_t i = 0; i < ranges->count; i++)
        add_range(ranges->items[i], to, out);
    cleanup_free char *list = annotated ? mem_string(annotation) : NULL;
    for (char *rest = list, *range; rest && (range = strsep(&rest, ","));)
        add_range(range, to, out);
    out->source_ranges = to->ranges;
}

/* A load balancer of mode Proxy sends to the node ports. */
void service_external_add(const struct service *service, const struct service_port *port, struct service_external *to,
                          struct dataplane_service *out)
{
    const struct service_spec *spec = &service->spec;
    const struct load_balancer_ingress_array *ingress = &service->status.load_balancer.ingress;
    for (size_t i = 0; i < spec->external_ips.count; i++)
        add_address(to->addresses, &out->external_address_count, spec->external_ips.items[i], out->family);
    out->external_addresses = to->addresses;
    for (size_t i = 0; text_equal(spec->type, "LoadBalancer") && i < ingress->count; i++)
        if (!text_equal(ingress->items[i].ip_mode, "Proxy") && !load_balancer_lacks_port(&ingress->items[i], port))
            add_address(to->balancers, &out->balancer_address_count, ingress->items[i].ip, out->family);
    out->balancer_addresses = to->balancers;
    if (out->balancer_address_count)
        add_ranges(service, to, out);
}
