/* The zone: Services by "namespace/name", and what they and the Pods add to the maps of namespaces, Pod names and
 * reverse names. A name is looked up by its labels, from the right; no record is kept in a form of its own.
 *
 *     SERVICE.NAMESPACE.svc.DOMAIN                    A, AAAA, CNAME, and SRV of all its ports
 *     _PORT._PROTOCOL.SERVICE.NAMESPACE.svc.DOMAIN    SRV
 *     HOSTNAME.SERVICE.NAMESPACE.svc.DOMAIN           A, AAAA of one endpoint
 *     10-244-0-7.NAMESPACE.pod.DOMAIN                 A, AAAA of a Pod
 *     dns-version.DOMAIN                              TXT
 *     7.0.244.10.in-addr.arpa                         PTR */
#include "network/dns/zone.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "base/vector.h"

struct reverse {
    VECTOR(const char *) names; /* full names of Services and endpoints */
};

struct dns_zone {
    char *domain;
    struct ip_address server;
    struct ip_prefix networks[DNS_NETWORKS_MAX];
    size_t network_count;
    char *server_name, *mailbox_name;
    uint32_t serial;
    struct map services;   /* "namespace/name" -> struct dns_service */
    struct map namespaces; /* name -> not NULL */
    struct map reverses;   /* address -> struct reverse */
    struct map pods;       /* key of the Pod -> its "namespace/address" */
    struct map pod_names;  /* "namespace/address" -> number of Pods that have it, as a pointer */
};

#define ADDRESS_TEXT_MAX INET6_ADDRSTRLEN

static const char *address_text(const struct ip_address *address, char out[ADDRESS_TEXT_MAX])
{
    return inet_ntop(address->family, &address->v4, out, ADDRESS_TEXT_MAX);
}

/* ---- Services ---- */

static void set_reverse(struct dns_zone *zone, const struct ip_address *address, const char *name)
{
    char text[ADDRESS_TEXT_MAX];
    struct reverse *reverse = map_get(&zone->reverses, address_text(address, text));
    if (!reverse) {
        reverse = mem_zero(1, sizeof(*reverse));
        map_set(&zone->reverses, text, reverse);
    }
    vector_push(&reverse->names, name);
}

static void remove_reverse(struct dns_zone *zone, const struct ip_address *address, const char *name)
{
    char text[ADDRESS_TEXT_MAX];
    struct reverse *reverse = map_get(&zone->reverses, address_text(address, text));
    size_t i = 0;
    while (reverse->names.items[i] != name)
        i++;
    vector_remove(&reverse->names, i);
    if (reverse->names.count)
        return;
    vector_free(&reverse->names);
    free(map_remove(&zone->reverses, text));
}

static bool is_headless(const struct dns_service *service)
{
    return !service->address_count && !service->external_name;
}

/* Calls for each address that leads back to a name: the Service's own, or those of a headless one's endpoints. */
static void each_reverse(struct dns_zone *zone, const struct dns_service *service,
                         void (*call)(struct dns_zone *zone, const struct ip_address *address, const char *name))
{
    for (size_t i = 0; i < service->address_count; i++)
        call(zone, &service->addresses[i], service->full_name);
    for (size_t i = 0; is_headless(service) && i < service->endpoint_count; i++)
        call(zone, &service->endpoints[i].address, service->endpoints[i].full_name);
}

void dns_zone_remove_service(struct dns_zone *zone, const char *namespace, const char *name)
{
    cleanup_free char *key = mem_printf("%s/%s", namespace, name);
    struct dns_service *service = map_remove(&zone->services, key);
    if (!service)
        return;
    each_reverse(zone, service, remove_reverse);
    dns_service_free(service);
    zone->serial++;
}

void dns_zone_set_service(struct dns_zone *zone, struct dns_service *service)
{
    cleanup_free char *key = mem_printf("%s/%s", service->namespace, service->name);
    dns_zone_remove_service(zone, service->namespace, service->name);
    dns_service_merge_endpoints(service);
    service->full_name = mem_printf("%s.%s.svc.%s", service->name, service->namespace, zone->domain);
    for (size_t i = 0; i < service->endpoint_count; i++)
        service->endpoints[i].full_name = mem_printf("%s.%s", service->endpoints[i].hostname, service->full_name);
    map_set(&zone->services, key, service);
    each_reverse(zone, service, set_reverse);
    zone->serial++;
}

size_t dns_zone_service_count(const struct dns_zone *zone)
{
    return zone->services.count;
}

/* ---- Namespaces and Pods ---- */

void dns_zone_set_namespace(struct dns_zone *zone, const char *namespace, bool there)
{
    if (there)
        map_set(&zone->namespaces, namespace, zone);
    else
        map_remove(&zone->namespaces, namespace);
}

static void count_pod_name(struct dns_zone *zone, const char *name, int change)
{
    uintptr_t count = (uintptr_t)map_get(&zone->pod_names, name) + (uintptr_t)change;
    if (count)
        map_set(&zone->pod_names, name, (void *)count);
    else
        map_remove(&zone->pod_names, name);
}

void dns_zone_set_pod(struct dns_zone *zone, const char *key, const char *namespace, const struct ip_address *address)
{
    char text[ADDRESS_TEXT_MAX];
    cleanup_free char *old = map_remove(&zone->pods, key);
    if (old)
        count_pod_name(zone, old, -1);
    if (!address)
        return;
    char *name = mem_printf("%s/%s", namespace, address_text(address, text));
    map_set(&zone->pods, key, name);
    count_pod_name(zone, name, 1);
}

struct dns_zone *dns_zone_new(const struct dns_zone_config *config)
{
    struct dns_zone *zone = mem_zero(1, sizeof(*zone));
    zone->domain = mem_string(config->domain);
    zone->server = config->server;
    zone->server_name = mem_printf("ns.dns.%s", config->domain);
    zone->mailbox_name = mem_printf("hostmaster.%s", config->domain);
    zone->network_count = config->network_count < DNS_NETWORKS_MAX ? config->network_count : DNS_NETWORKS_MAX;
    for (size_t i = 0; i < zone->network_count; i++)
        zone->networks[i] = config->networks[i];
    zone->serial = 1;
    return zone;
}

void dns_zone_free(struct dns_zone *zone)
{
    if (!zone)
        return;
    for (struct map_slot *s = NULL; (s = map_next(&zone->services, s));)
        dns_service_free(s->value);
    for (struct map_slot *s = NULL; (s = map_next(&zone->pods, s));)
        free(s->value);
    for (struct map_slot *s = NULL; (s = map_next(&zone->reverses, s));) {
        struct reverse *reverse = s->value;
        vector_free(&reverse->names);
        free(reverse);
    }
    map_free(&zone->services);
    map_free(&zone->namespaces);
    map_free(&zone->reverses);
    map_free(&zone->pods);
    map_free(&zone->pod_names);
    free(zone->server_name);
    free(zone->mailbox_name);
    free(zone->domain);
    free(zone);
}

/* ---- Lookup ---- */

#define LABELS_MAX 6 /* of a name below the domain that may exist; one more shows that there are too many */

struct lookup {
    struct dns_zone *zone;
    struct dns_writer *writer;
    uint16_t type;
    size_t turn;       /* where lists of addresses begin */
    const char *name;  /* what is looked up: the question, then the targets of CNAMEs */
    bool exists;       /* the name has records of some type, or a name below it has */
    const char *alias; /* a CNAME was found: its target */
    const char *apex;  /* the name of the zone that denies what is not there */
};

static void answer_address(struct lookup *lookup, const struct ip_address *address)
{
    if (lookup->type == (address->family == AF_INET6 ? DNS_AAAA : DNS_A))
        dns_write_address(lookup->writer, DNS_ANSWER, lookup->name, DNS_TTL, address->family, &address->v4);
}

static bool matches(const struct dns_port *port, const char *name, const char *protocol)
{
    return !name || (port->name && strcmp(port->name, name) == 0 && strcmp(port->protocol, protocol) == 0);
}

/* An answer has each target with each number once. */
static bool is_told(const struct dns_port *port, const char *name)
{
    return name ? port->repeats : port->repeats_number;
}

/* SRV of the ports of that name and protocol; of all ports if name is NULL. Weights as CoreDNS has them. */
static void answer_ports(struct lookup *lookup, const struct dns_service *service, const char *name,
                         const char *protocol)
{
    bool asked = lookup->type == DNS_SRV;
    for (size_t i = 0; !is_headless(service) && i < service->port_count; i++) {
        if (!matches(&service->ports[i], name, protocol))
            continue;
        lookup->exists = true;
        if (asked && !is_told(&service->ports[i], name))
            dns_write_srv(lookup->writer, DNS_ANSWER, lookup->name, DNS_TTL, 0, 100, service->ports[i].number,
                          service->full_name);
    }
    for (size_t i = 0; is_headless(service) && i < service->endpoint_count; i++) {
        const struct dns_endpoint *endpoint = &service->endpoints[(i + lookup->turn) % service->endpoint_count];
        uint16_t weight = (uint16_t)(service->endpoint_count < 100 ? 100 / service->endpoint_count : 1);
        for (size_t n = 0; n < endpoint->port_count; n++) {
            if (!matches(&endpoint->ports[n], name, protocol))
                continue;
            lookup->exists = true;
            if (asked && !is_told(&endpoint->ports[n], name))
                dns_write_srv(lookup->writer, DNS_ANSWER, lookup->name, DNS_TTL, 0, weight, endpoint->ports[n].number,
                              endpoint->full_name);
        }
    }
}

static bool has_match(const struct dns_endpoint *endpoint, const char *name, const char *protocol)
{
    for (size_t i = 0; i < endpoint->port_count; i++)
        if (matches(&endpoint->ports[i], name, protocol))
            return true;
    return false;
}

/* The addresses of what the SRV records of answer_ports point to, so that the client need not ask for them. */
static void add_targets(struct lookup *lookup, const struct dns_service *service, const char *name,
                        const char *protocol)
{
    if (lookup->type != DNS_SRV || !lookup->writer->counts[DNS_ANSWER])
        return;
    for (size_t i = 0; i < service->address_count; i++)
        dns_write_address(lookup->writer, DNS_ADDITIONAL, service->full_name, DNS_TTL, service->addresses[i].family,
                          &service->addresses[i].v4);
    for (size_t i = 0; is_headless(service) && i < service->endpoint_count; i++) {
        const struct dns_endpoint *endpoint = &service->endpoints[(i + lookup->turn) % service->endpoint_count];
        if (has_match(endpoint, name, protocol))
            dns_write_address(lookup->writer, DNS_ADDITIONAL, endpoint->full_name, DNS_TTL, endpoint->address.family,
                              &endpoint->address.v4);
    }
}

/* An ExternalName has a CNAME and nothing else; one that is an address has not even that, as CoreDNS has it. */
static void answer_external(struct lookup *lookup, const struct dns_service *service)
{
    struct ip_address address;
    if (ip_address_parse(service->external_name, &address))
        return;
    lookup->exists = true;
    lookup->alias = service->external_name;
}

static void answer_service(struct lookup *lookup, const struct dns_service *service)
{
    /* A headless Service without endpoints has no records, and so no name. */
    lookup->exists = !is_headless(service) || service->endpoint_count;
    for (size_t i = 0; i < service->address_count; i++)
        answer_address(lookup, &service->addresses[i]);
    for (size_t i = 0; is_headless(service) && i < service->endpoint_count; i++) {
        const struct dns_endpoint *endpoint = &service->endpoints[(i + lookup->turn) % service->endpoint_count];
        if (!endpoint->repeats_address)
            answer_address(lookup, &endpoint->address);
    }
    if (lookup->type == DNS_SRV)
        answer_ports(lookup, service, NULL, NULL);
    add_targets(lookup, service, NULL, NULL);
}

/* HOSTNAME.SERVICE, or the _PROTOCOL that names of ports end in. */
static void answer_endpoint(struct lookup *lookup, const struct dns_service *service, const char *label)
{
    for (size_t i = 0; i < service->endpoint_count; i++) {
        if (strcmp(service->endpoints[i].hostname, label) != 0)
            continue;
        lookup->exists = true;
        answer_address(lookup, &service->endpoints[i].address);
    }
    for (size_t i = 0; *label == '_' && i < service->port_count; i++)
        lookup->exists |= service->ports[i].name && strcmp(service->ports[i].protocol, label + 1) == 0;
}

static struct dns_service *find_service(struct lookup *lookup, const char *namespace, const char *name)
{
    char key[DNS_NAME_TEXT_MAX];
    stpcpy(stpcpy(stpcpy(key, namespace), "/"), name);
    return map_get(&lookup->zone->services, key);
}

/* labels[0] is the rightmost one behind "svc". */
static void look_in_services(struct lookup *lookup, char *const *labels, size_t count)
{
    if (count <= 1) {
        lookup->exists = count == 0 || map_has(&lookup->zone->namespaces, labels[0]);
        return;
    }
    const struct dns_service *service = find_service(lookup, labels[0], labels[1]);
    if (!service)
        return;
    if (service->external_name) {
        if (count == 2)
            answer_external(lookup, service);
    } else if (count == 2) {
        answer_service(lookup, service);
    } else if (count == 3) {
        answer_endpoint(lookup, service, labels[2]);
    } else if (count == 4 && *labels[2] == '_' && *labels[3] == '_') {
        answer_ports(lookup, service, labels[3] + 1, labels[2] + 1);
        add_targets(lookup, service, labels[3] + 1, labels[2] + 1);
    }
}

/* "10-244-0-7", "fd00--7" */
static bool read_dashed(const char *label, struct ip_address *out)
{
    char text[DNS_LABEL_MAX + 1];
    strcpy(text, label);
    for (char *c = text; *c; c++)
        *c = *c == '-' ? '.' : *c;
    out->family = AF_INET;
    if (inet_pton(AF_INET, text, &out->v4) == 1)
        return true;
    for (char *c = text; *c; c++)
        *c = *c == '.' ? ':' : *c;
    out->family = AF_INET6;
    return inet_pton(AF_INET6, text, &out->v6) == 1;
}

static void look_in_pods(struct lookup *lookup, char *const *labels, size_t count)
{
    struct ip_address address;
    char key[DNS_NAME_TEXT_MAX + ADDRESS_TEXT_MAX], text[ADDRESS_TEXT_MAX];
    if (count <= 1) {
        lookup->exists = count == 0 || map_has(&lookup->zone->namespaces, labels[0]);
        return;
    }
    if (count > 2 || !read_dashed(labels[1], &address))
        return;
    stpcpy(stpcpy(stpcpy(key, labels[0]), "/"), address_text(&address, text));
    if (!map_has(&lookup->zone->pod_names, key))
        return;
    lookup->exists = true;
    answer_address(lookup, &address);
}

static void write_soa(struct lookup *lookup, enum dns_section section)
{
    const struct dns_zone *zone = lookup->zone;
    struct dns_soa soa = {.server = zone->server_name,
                          .mailbox = zone->mailbox_name,
                          .serial = zone->serial,
                          .refresh = 7200,
                          .retry = 1800,
                          .expire = 86400,
                          .minimum = DNS_TTL};
    dns_write_soa(lookup->writer, section, lookup->apex, DNS_TTL, &soa);
}

static void answer_apex(struct lookup *lookup)
{
    lookup->exists = true;
    if (lookup->type == DNS_SOA)
        write_soa(lookup, DNS_ANSWER);
    if (lookup->type == DNS_NS)
        dns_write_name(lookup->writer, DNS_ANSWER, lookup->name, DNS_NS, DNS_TTL, lookup->zone->server_name);
}

/* Names of one or two labels that are neither Services nor Pods. */
static void look_at_the_rest(struct lookup *lookup, char *const *labels, size_t count)
{
    if (count == 1 && strcmp(labels[0], "dns-version") == 0) {
        lookup->exists = true;
        if (lookup->type == DNS_TXT)
            dns_write_txt(lookup->writer, DNS_ANSWER, lookup->name, DNS_TTL, "1.1.0");
    } else if (strcmp(labels[0], "dns") == 0 && (count == 1 || (count == 2 && strcmp(labels[1], "ns") == 0))) {
        lookup->exists = true;
        if (count == 2)
            answer_address(lookup, &lookup->zone->server);
    }
}

/* The length of what is before the domain in the name, or -1: it is not in the domain. */
static int length_below(const char *name, const char *domain)
{
    size_t whole = strlen(name), tail = strlen(domain);
    if (whole == tail)
        return strcmp(name, domain) == 0 ? 0 : -1;
    return whole > tail + 1 && name[whole - tail - 1] == '.' && strcmp(name + whole - tail, domain) == 0
               ? (int)(whole - tail - 1)
               : -1;
}

/* Cuts the text into labels, the rightmost first; one more than LABELS_MAX if there are more. */
static size_t split(char *text, char *labels[LABELS_MAX + 1])
{
    size_t count = 0;
    char *dot;
    while (count < LABELS_MAX && (dot = strrchr(text, '.'))) {
        *dot = 0;
        labels[count++] = dot + 1;
    }
    labels[count++] = text;
    return count;
}

/* Looks the name up in the domain; false: it is not in it. */
static bool look_in_domain(struct lookup *lookup)
{
    char text[DNS_NAME_TEXT_MAX], *labels[LABELS_MAX + 1];
    int length = length_below(lookup->name, lookup->zone->domain);
    if (length < 0)
        return false;
    lookup->exists = false;
    lookup->alias = NULL;
    if (length == 0) {
        answer_apex(lookup);
        return true;
    }
    memcpy(text, lookup->name, (size_t)length);
    text[length] = 0;
    size_t count = split(text, labels);
    if (strcmp(labels[0], "svc") == 0)
        look_in_services(lookup, labels + 1, count - 1);
    else if (strcmp(labels[0], "pod") == 0)
        look_in_pods(lookup, labels + 1, count - 1);
    else
        look_at_the_rest(lookup, labels, count);
    return true;
}

/* ---- Reverse names ---- */

/* "7.0.244.10" of in-addr.arpa, or the 32 digits of ip6.arpa; false for what is no whole address. */
static bool read_reverse(const char *name, struct ip_address *out)
{
    char text[DNS_NAME_TEXT_MAX];
    int length = length_below(name, "in-addr.arpa");
    if (length > 0) {
        struct in_addr turned;
        memcpy(text, name, (size_t)length);
        text[length] = 0;
        out->family = AF_INET;
        if (inet_pton(AF_INET, text, &turned) != 1)
            return false;
        out->v4.s_addr = __builtin_bswap32(turned.s_addr);
        return true;
    }
    length = length_below(name, "ip6.arpa");
    if (length != 63)
        return false;
    out->family = AF_INET6;
    memset(&out->v6, 0, sizeof(out->v6));
    for (size_t i = 0; i < 32; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *digit = strchr(digits, name[2 * i]);
        if (!digit || !*digit || name[2 * i + 1] != '.')
            return false;
        out->v6.s6_addr[15 - i / 2] |= (uint8_t)((digit - digits) << (i % 2 ? 4 : 0));
    }
    return true;
}

/* False: others are to be asked. */
static bool look_in_reverses(struct lookup *lookup)
{
    struct ip_address address;
    char text[ADDRESS_TEXT_MAX];
    if (!read_reverse(lookup->name, &address))
        return false;
    const struct reverse *reverse = map_get(&lookup->zone->reverses, address_text(&address, text));
    bool own = reverse;
    for (size_t i = 0; !own && i < lookup->zone->network_count; i++)
        own = ip_prefix_contains(&lookup->zone->networks[i], &address);
    lookup->exists = reverse;
    lookup->apex = address.family == AF_INET ? "in-addr.arpa" : "ip6.arpa";
    for (size_t i = 0; reverse && lookup->type == DNS_PTR && i < reverse->names.count; i++)
        dns_write_name(lookup->writer, DNS_ANSWER, lookup->name, DNS_PTR, DNS_TTL, reverse->names.items[i]);
    return own;
}

/* ---- Answers ---- */

/* RFC 8482: a short answer to those who ask for everything. */
static void answer_any(struct lookup *lookup)
{
    static const uint8_t data[] = {7, 'R', 'F', 'C', '8', '4', '8', '2', 0};
    dns_write_raw(lookup->writer, DNS_ANSWER, lookup->name, DNS_HINFO, DNS_TTL, data, sizeof(data));
}

/* Follows CNAMEs as long as they stay in the domain. Returns where they lead out, or NULL. */
static const char *follow(struct lookup *lookup)
{
    for (size_t i = 0; i < DNS_CNAME_CHAIN_MAX && lookup->alias && lookup->type != DNS_ANY; i++) {
        const char *target = lookup->alias;
        dns_write_name(lookup->writer, DNS_ANSWER, lookup->name, DNS_CNAME, DNS_TTL, target);
        lookup->name = target;
        lookup->alias = NULL;
        if (lookup->type != DNS_CNAME && !look_in_domain(lookup))
            return target;
    }
    return NULL;
}

void dns_zone_answer(struct dns_zone *zone, const struct dns_query *query, uint64_t random, struct dns_writer *writer,
                     struct dns_result *result)
{
    struct lookup lookup = {.zone = zone,
                            .writer = writer,
                            .type = query->type,
                            .turn = (size_t)(random >> 1),
                            .name = query->name,
                            .apex = zone->domain};
    *result = (struct dns_result){.verdict = DNS_ANSWERED, .code = DNS_NOERROR, .authoritative = true};
    if (query->plain ? !look_in_domain(&lookup) && !look_in_reverses(&lookup)
                     : length_below(query->name, zone->domain) < 0) {
        result->verdict = DNS_FORWARD;
        return;
    }
    result->target = follow(&lookup);
    if (result->target) {
        result->verdict = DNS_FORWARD_TARGET;
        return;
    }
    if (lookup.exists && lookup.type == DNS_ANY)
        answer_any(&lookup);
    if (!lookup.exists)
        result->code = DNS_NXDOMAIN;
    /* A chain of CNAMEs without an end is an answer, too, if a useless one. */
    if (!lookup.exists || !writer->counts[DNS_ANSWER])
        write_soa(&lookup, DNS_AUTHORITY);
}
