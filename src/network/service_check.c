/* What a service of the data plane may be; see network/plan.h. */
#include <errno.h>

#include "network/plan.h"

static bool is_foreign(const struct ip_address *address, int family)
{
    return address->family && address->family != family;
}

static int check_families(const struct dataplane_service *s, struct error *err)
{
    int family = s->family ? s->family : AF_INET;
    bool foreign = is_foreign(&s->cluster_address, family);
    for (size_t i = 0; i < s->external_address_count; i++)
        foreign |= is_foreign(&s->external_addresses[i], family);
    for (size_t i = 0; i < s->balancer_address_count; i++)
        foreign |= is_foreign(&s->balancer_addresses[i], family);
    for (size_t i = 0; i < s->source_range_count; i++)
        foreign |= is_foreign(&s->source_ranges[i].address, family);
    for (size_t i = 0; i < s->endpoint_count; i++)
        foreign |= is_foreign(&s->endpoints[i].address, family);
    return foreign ? error_set(err, EINVAL, "service %s: an address is not of its family", s->name) : 0;
}

int dataplane_service_check(const struct dataplane_service *s, struct error *err)
{
    if (!s->name || !*s->name)
        return error_set(err, EINVAL, "a service needs a name");
    if (s->protocol != IPPROTO_TCP && s->protocol != IPPROTO_UDP && s->protocol != IPPROTO_SCTP)
        return error_set(err, EINVAL, "service %s: protocol %u is not TCP, UDP or SCTP", s->name, s->protocol);
    if (s->port == 0)
        return error_set(err, EINVAL, "service %s: the port is 0", s->name);
    if (s->affinity_seconds > DATAPLANE_AFFINITY_SECONDS_MAX)
        return error_set(err, EINVAL, "service %s: client affinity lasts at most %d seconds", s->name,
                         DATAPLANE_AFFINITY_SECONDS_MAX);
    if (s->external_address_count > DATAPLANE_EXTERNAL_ADDRESSES_MAX ||
        s->balancer_address_count > DATAPLANE_EXTERNAL_ADDRESSES_MAX)
        return error_set(err, EINVAL, "service %s: more than %d external addresses", s->name,
                         DATAPLANE_EXTERNAL_ADDRESSES_MAX);
    if (s->source_range_count > DATAPLANE_SOURCE_RANGES_MAX)
        return error_set(err, EINVAL, "service %s: more than %d source ranges", s->name, DATAPLANE_SOURCE_RANGES_MAX);
    return check_families(s, err);
}
