/* Addresses and node ports of services. What is taken follows from the store alone: every cluster IP and node
 * port that a service's head or committed state names. The two sets are made from the store when they are first
 * needed and kept up with each write: taken when the store accepts it, given back when the write that drops
 * them is durable. A failed write makes the sets void; they are made anew.
 *
 * As upstream's allocators, free ones are drawn at random, from the upper part of the range first: the lower
 * part is left to those that are asked for by value. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/format.h"
#include "base/cleanup.h"
#include "base/ip_text.h"
#include "base/map.h"
#include "registry/private.h"
#include "registry/service.h"

/* Addresses of one family. The first is never given out, nor the last of IPv4. */
struct range {
    const char *cidr; /* NULL: none */
    int family;
    struct in6_addr first; /* of IPv4 the first four bytes */
    uint32_t size;         /* 0: none */
};

struct service_addresses {
    struct registry *registry;
    bool valid;
    struct range ranges[2]; /* of IPv4, of IPv6 */
    struct map taken;       /* "10.96.0.1", "TCP:30080" -> how many states name it */
};

/* What is taken. */

static void count(struct map *taken, const char *key, intptr_t change)
{
    intptr_t now = (intptr_t)map_get(taken, key) + change;
    if (now > 0)
        map_set(taken, key, (void *)now);
    else
        map_remove(taken, key);
}

static void port_key(char out[32], const char *protocol, int port)
{
    snprintf(out, 32, "%.16s:%d", text_empty(protocol) ? "TCP" : protocol, port);
}

static bool is_address(const char *ip)
{
    return !text_empty(ip) && strcmp(ip, "None") != 0;
}

/* One address may be written in several ways; returns `out`. */
static const char *canonical_address(const char *ip, char out[IP_TEXT_MAX])
{
    struct ip_text parsed;
    ip_text_parse(ip, &parsed);
    return ip_text_write(&parsed, out);
}

static bool names_address(const struct service *service, const char *ip)
{
    char wanted[IP_TEXT_MAX], has[IP_TEXT_MAX];
    canonical_address(ip, wanted);
    for (size_t i = 0; service && i < service->spec.cluster_ips.count; i++)
        if (text_equal(canonical_address(service->spec.cluster_ips.items[i], has), wanted))
            return true;
    return false;
}

static bool names_port(const struct service *service, const char *protocol, int port)
{
    for (size_t i = 0; service && i < service->spec.ports.count; i++)
        if (service->spec.ports.items[i].node_port == port &&
            text_equal(service->spec.ports.items[i].protocol, protocol))
            return true;
    return service && text_equal(protocol, "TCP") && service->spec.health_check_node_port == port;
}

/* Counts what `service` names and `other` (may be NULL) does not. */
static void count_all(struct map *taken, const struct service *service, const struct service *other, intptr_t change)
{
    if (!service)
        return;
    const struct service_spec *spec = &service->spec;
    char address[IP_TEXT_MAX];
    for (size_t i = 0; i < spec->cluster_ips.count; i++)
        if (is_address(spec->cluster_ips.items[i]) && !names_address(other, spec->cluster_ips.items[i]))
            count(taken, canonical_address(spec->cluster_ips.items[i], address), change);
    for (size_t i = 0; i < spec->ports.count; i++) {
        const struct service_port *port = &spec->ports.items[i];
        char key[32];
        port_key(key, port->protocol, port->node_port);
        if (port->node_port && !names_port(other, port->protocol, port->node_port))
            count(taken, key, change);
    }
    if (spec->health_check_node_port && !names_port(other, "TCP", spec->health_check_node_port)) {
        char key[32];
        port_key(key, "TCP", spec->health_check_node_port);
        count(taken, key, change);
    }
}

struct scan {
    struct service_addresses *addresses;
    bool heads;
};

static bool scan(void *context, struct object *object)
{
    struct scan *scan = context;
    struct registry *registry = scan->addresses->registry;
    const struct service *other = NULL;
    if (!scan->heads) {
        /* What the head names is counted already. */
        const struct object *head =
            store_head(registry->store, object->resource, object->meta->namespace, object->meta->name);
        other = head ? head->value : NULL;
    }
    count_all(&scan->addresses->taken, object->value, other, 1);
    return true;
}

static void make_valid(struct service_addresses *addresses)
{
    if (addresses->valid)
        return;
    const struct api_resource *services = &api_resources[API_SERVICES];
    map_free(&addresses->taken);
    store_list_heads(addresses->registry->store, services, scan, &(struct scan){addresses, true});
    store_list(addresses->registry->store, services, NULL, NULL, NULL, scan, &(struct scan){addresses, false});
    addresses->valid = true;
}

void service_accepted(struct registry *registry, const struct service *service, const struct service *old)
{
    if (registry->addresses->valid)
        count_all(&registry->addresses->taken, service, old, 1);
}

void service_settled(struct registry *registry, const struct service *now, const struct service *old, bool failed)
{
    if (failed)
        registry->addresses->valid = false;
    else if (registry->addresses->valid)
        count_all(&registry->addresses->taken, old, now, -1);
}

static size_t family_size(int family)
{
    return family == AF_INET6 ? sizeof(struct in6_addr) : sizeof(struct in_addr);
}

static struct range read_range(const char *cidr, int family)
{
    struct range range = {.cidr = cidr, .family = family};
    int most = (int)family_size(family) * 8;
    const char *slash = cidr ? strchr(cidr, '/') : NULL;
    if (!slash)
        return range;
    cleanup_free char *network = mem_string_n(cidr, (size_t)(slash - cidr));
    int bits = atoi(slash + 1);
    if (bits > most - 31 && bits <= most && inet_pton(family, network, &range.first) == 1)
        range.size = UINT32_C(1) << (most - bits);
    return range;
}

/* The last four bytes of an address, as a number. */
static uint32_t low_part(const struct in6_addr *address, int family)
{
    uint32_t low;
    memcpy(&low, (const char *)address + family_size(family) - sizeof(low), sizeof(low));
    return ntohl(low);
}

/* How far behind the first address it is; UINT32_MAX: not in the range. */
static uint32_t offset_in(const struct range *range, const char *ip)
{
    struct ip_text parsed;
    struct in6_addr address;
    size_t high = family_size(range->family) - sizeof(uint32_t);
    if (!range->size || !ip_text_parse(ip, &parsed) || (parsed.family == 6) != (range->family == AF_INET6))
        return UINT32_MAX;
    memcpy(&address, parsed.address, sizeof(address));
    if (memcmp(&address, &range->first, high) != 0)
        return UINT32_MAX;
    uint32_t offset = low_part(&address, range->family) - low_part(&range->first, range->family);
    return offset < range->size ? offset : UINT32_MAX;
}

/* How many addresses can be given out, from the second on. */
static uint32_t usable(const struct range *range)
{
    uint32_t lost = range->family == AF_INET6 ? 1 : 2;
    return range->size > lost ? range->size - lost : 0;
}

static const struct range *range_of(const struct service_addresses *addresses, const char *ip)
{
    return &addresses->ranges[format_ip_family(ip) == 6];
}

struct service_addresses *service_addresses_new(struct registry *registry)
{
    struct service_addresses *addresses = mem_zero(1, sizeof(*addresses));
    addresses->registry = registry;
    addresses->ranges[0] = read_range(registry->service_cidr, AF_INET);
    addresses->ranges[1] = read_range(registry->service_cidr6, AF_INET6);
    return addresses;
}

void service_addresses_free(struct service_addresses *addresses)
{
    map_free(&addresses->taken);
    free(addresses);
}

/* Drawing. */

/* Upstream's size of the lower part: min(max(16, size / 16), 256) for addresses, min(max(16, size / 32), 128)
 * for ports. Small ranges have none. */
static uint32_t lower_part(uint32_t size, uint32_t divisor, uint32_t most)
{
    if (size <= 16)
        return 0;
    uint32_t part = size / divisor;
    return part < 16 ? 16 : part > most ? most : part;
}

typedef bool (*is_free)(const struct service_addresses *addresses, uint32_t offset, void *context);

/* A free offset in [first, end), starting at a random one; UINT32_MAX: none. */
static uint32_t draw_from(const struct service_addresses *addresses, uint32_t first, uint32_t end, is_free test,
                          void *context)
{
    uint32_t size = end - first;
    if (first >= end)
        return UINT32_MAX;
    uint32_t begin = (uint32_t)(env_random(addresses->registry->env) % size);
    for (uint32_t i = 0; i < size; i++) {
        uint32_t offset = first + (begin + i) % size;
        if (test(addresses, offset, context))
            return offset;
    }
    return UINT32_MAX;
}

static uint32_t draw(const struct service_addresses *addresses, uint32_t size, uint32_t lower, is_free test,
                     void *context)
{
    uint32_t offset = draw_from(addresses, lower, size, test, context);
    return offset == UINT32_MAX ? draw_from(addresses, 0, lower, test, context) : offset;
}

struct drawing {
    const struct range *range;
    char text[INET6_ADDRSTRLEN];
};

/* The address at an offset among those that can be given out. */
static void address_text(struct drawing *drawing, uint32_t offset)
{
    const struct range *range = drawing->range;
    struct in6_addr address = range->first;
    uint32_t low = htonl(low_part(&range->first, range->family) + 1 + offset);
    memcpy((char *)&address + family_size(range->family) - sizeof(low), &low, sizeof(low));
    inet_ntop(range->family, &address, drawing->text, sizeof(drawing->text));
}

static bool address_is_free(const struct service_addresses *addresses, uint32_t offset, void *context)
{
    struct drawing *drawing = context;
    address_text(drawing, offset);
    return !map_has(&addresses->taken, drawing->text);
}

static const char *const protocols[] = {"TCP", "UDP", "SCTP"};

/* A number is one Service's for all protocols, as with upstream's allocator. */
static bool port_is_taken(const struct service_addresses *addresses, int port)
{
    char key[32];
    for (size_t i = 0; i < ARRAY_COUNT(protocols); i++) {
        port_key(key, protocols[i], port);
        if (map_has(&addresses->taken, key))
            return true;
    }
    return false;
}

bool service_has_node_port(const struct service *service, int port)
{
    for (size_t i = 0; service && i < service->spec.ports.count; i++)
        if (service->spec.ports.items[i].node_port == port)
            return true;
    return false;
}

static bool port_is_free(const struct service_addresses *addresses, uint32_t offset, void *context)
{
    const struct service *service = context;
    int port = addresses->registry->node_port_first + (int)offset;
    return !port_is_taken(addresses, port) && !service_has_node_port(service, port) &&
           service->spec.health_check_node_port != port;
}

/* Preparing a service. */

bool service_needs_cluster_ip(const struct service_spec *spec)
{
    return !text_equal(spec->type, "ExternalName");
}

bool service_may_have_node_ports(const struct service_spec *spec)
{
    return text_equal(spec->type, "NodePort") || text_equal(spec->type, "LoadBalancer");
}

bool service_needs_node_ports(const struct service_spec *spec)
{
    return service_may_have_node_ports(spec) &&
           !(text_equal(spec->type, "LoadBalancer") && spec->allocate_load_balancer_node_ports.set &&
             !spec->allocate_load_balancer_node_ports.value);
}

bool service_has_health_port(const struct service_spec *spec)
{
    return text_equal(spec->type, "LoadBalancer") && text_equal(spec->external_traffic_policy, "Local");
}

static struct status *invalid(struct task *task, const struct service *service, const struct api_field_errors *errors)
{
    return api_status_invalid(task->arena, task->resource, service->metadata.name, errors);
}

static struct status *refuse_ip(struct task *task, const struct service *service, const char *ip, const char *why)
{
    struct api_field_errors errors = {.arena = task->arena};
    field_invalid_strings(&errors, PATH(PATH(NULL, "spec"), "clusterIPs"), &service->spec.cluster_ips,
                          arena_printf(task->arena, "failed to allocate IP %s: %s", ip, why));
    return invalid(task, service, &errors);
}

static struct status *claim_ip(struct task *task, const struct service *service, const char *ip)
{
    const struct service_addresses *addresses = task->registry->addresses;
    const struct range *range = range_of(addresses, ip);
    uint32_t offset = offset_in(range, ip);
    char canonical[IP_TEXT_MAX];
    if (offset == UINT32_MAX)
        return refuse_ip(task, service, ip, "the provided network does not match the current range");
    if (offset == 0 || offset > usable(range))
        return refuse_ip(task, service, ip,
                         arena_printf(task->arena,
                                      "the provided IP (%s) is not in the valid range. The range of valid IPs is %s",
                                      ip, range->cidr));
    return map_has(&addresses->taken, canonical_address(ip, canonical))
               ? refuse_ip(task, service, ip, "provided IP is already allocated")
               : NULL;
}

/* A free address of the family; NULL with *refused set if there is none. */
static const char *draw_ip(struct task *task, const char *family, struct status **refused)
{
    const struct service_addresses *addresses = task->registry->addresses;
    struct drawing drawing = {.range = &addresses->ranges[text_equal(family, "IPv6")]};
    uint32_t offset =
        draw(addresses, usable(drawing.range), lower_part(drawing.range->size, 16, 256), address_is_free, &drawing);
    if (offset == UINT32_MAX) {
        *refused = api_status_internal_error(task->arena, "failed to allocate a serviceIP: range is full");
        return NULL;
    }
    address_text(&drawing, offset);
    return arena_string(task->arena, drawing.text);
}

/* Addresses that are asked for are taken first, so that none of them is drawn for another family. */
static struct status *prepare_ip(struct task *task, struct service *service, const struct service *old)
{
    struct service_spec *spec = &service->spec;
    struct status *refused = NULL;
    if (!service_needs_cluster_ip(spec) || text_equal(spec->cluster_ip, "None"))
        return NULL;
    const char **ips = arena_alloc(task->arena, (spec->ip_families.count + 1) * sizeof(*ips));
    for (size_t i = 0; i < spec->ip_families.count; i++) {
        const char *ip = i < spec->cluster_ips.count ? spec->cluster_ips.items[i] : NULL;
        if (!text_empty(ip) && !names_address(old, ip))
            refused = claim_ip(task, service, ip);
        if (refused)
            return refused;
        ips[i] = text_empty(ip) ? NULL : ip;
    }
    for (size_t i = 0; i < spec->ip_families.count; i++)
        if (!ips[i] && !(ips[i] = draw_ip(task, spec->ip_families.items[i], &refused)))
            return refused;
    spec->cluster_ips = (struct string_array){ips, spec->ip_families.count};
    spec->cluster_ip = ips[0];
    return NULL;
}

/* Whether one of the first `count` ports has the number. */
static bool is_among_first(const struct service *service, size_t count, int port)
{
    for (size_t i = 0; i < count; i++)
        if (service->spec.ports.items[i].node_port == port)
            return true;
    return false;
}

/* Takes a number for port i of the service, whose earlier ports have theirs. */
static struct status *claim_port(struct task *task, const struct service *service, size_t i, int port)
{
    const struct registry *registry = task->registry;
    const struct api_path *path = PATH(PATH_INDEX(PATH(PATH(NULL, "spec"), "ports"), i), "nodePort");
    struct api_field_errors errors = {.arena = task->arena};
    if (port < registry->node_port_first || port > registry->node_port_last)
        field_invalid_int(&errors, path, port,
                          arena_printf(task->arena,
                                       "provided port is not in the valid range. The range of valid ports is %d-%d",
                                       registry->node_port_first, registry->node_port_last));
    else if (port_is_taken(registry->addresses, port) || is_among_first(service, i, port))
        field_invalid_int(&errors, path, port, "provided port is already allocated");
    return errors.count ? invalid(task, service, &errors) : NULL;
}

/* A free port of the range; 0: none is left. */
static int draw_port(const struct registry *registry, struct service *service)
{
    uint32_t size = (uint32_t)(registry->node_port_last - registry->node_port_first + 1);
    uint32_t offset = draw(registry->addresses, size, lower_part(size, 32, 128), port_is_free, service);
    return offset == UINT32_MAX ? 0 : registry->node_port_first + (int)offset;
}

static struct status *draw_port_for(struct task *task, struct service *service, struct service_port *port)
{
    port->node_port = draw_port(task->registry, service);
    return port->node_port ? NULL
                           : api_status_internal_error(task->arena, "failed to allocate a nodePort: range is full");
}

/* The node port of the first of the first `count` ports that has this port's number; 0: none. */
static int port_of_same_number(const struct service *service, size_t count, const struct service_port *port)
{
    for (size_t i = 0; i < count; i++)
        if (service->spec.ports.items[i].port == port->port && service->spec.ports.items[i].node_port)
            return service->spec.ports.items[i].node_port;
    return 0;
}

/* Of a new service, as upstream: ports with one number and different protocols share a node port, be it drawn or asked
 * for by any of them; other ports may not ask for one that the service has already. */
static struct status *prepare_first_ports(struct task *task, struct service *service)
{
    struct service_spec *spec = &service->spec;
    struct status *refused = NULL;
    for (size_t i = 0; !refused && i < spec->ports.count; i++) {
        struct service_port *port = &spec->ports.items[i];
        if (!port->node_port && !service_needs_node_ports(spec))
            continue;
        int shared = port_of_same_number(service, i, port);
        if (shared && (!port->node_port || port->node_port == shared)) {
            port->node_port = shared;
            continue;
        }
        int wanted = port->node_port ? port->node_port : port_of_same_number(service, spec->ports.count, port);
        refused = wanted ? claim_port(task, service, i, wanted) : draw_port_for(task, service, port);
        if (wanted)
            port->node_port = wanted;
    }
    return refused;
}

/* Of a service that is changed, as upstream: ports may ask for what the service has, or for the same as another of
 * them; those that ask for nothing get one of their own. */
static struct status *prepare_changed_ports(struct task *task, struct service *service, const struct service *old)
{
    struct service_spec *spec = &service->spec;
    struct status *refused = NULL;
    for (size_t i = 0; !refused && i < spec->ports.count; i++) {
        struct service_port *port = &spec->ports.items[i];
        if (!port->node_port && service_needs_node_ports(spec))
            refused = draw_port_for(task, service, port);
        else if (port->node_port && !service_has_node_port(old, port->node_port) &&
                 !is_among_first(service, i, port->node_port))
            refused = claim_port(task, service, i, port->node_port);
    }
    return refused;
}

static struct status *prepare_ports(struct task *task, struct service *service, const struct service *old)
{
    if (!service_may_have_node_ports(&service->spec))
        return NULL;
    return old ? prepare_changed_ports(task, service, old) : prepare_first_ports(task, service);
}

/* Upstream does not call this one invalid. */
static struct status *claim_health_port(struct task *task, const struct service *service)
{
    int port = service->spec.health_check_node_port;
    const struct registry *registry = task->registry;
    const char *why = NULL;
    if (port < registry->node_port_first || port > registry->node_port_last)
        why = arena_printf(task->arena, "provided port is not in the valid range. The range of valid ports is %d-%d",
                           registry->node_port_first, registry->node_port_last);
    else if (port_is_taken(registry->addresses, port) || service_has_node_port(service, port))
        why = "provided port is already allocated";
    return why ? api_status_internal_error(
                     task->arena,
                     arena_printf(task->arena, "failed to allocate requested HealthCheck NodePort %d: %s", port, why))
               : NULL;
}

/* Where the load balancer asks whether this node has endpoints. */
static struct status *prepare_health_port(struct task *task, struct service *service, const struct service *old)
{
    struct service_spec *spec = &service->spec;
    if (!service_has_health_port(spec) ||
        (old && spec->health_check_node_port == old->spec.health_check_node_port && spec->health_check_node_port))
        return NULL;
    if (spec->health_check_node_port)
        return claim_health_port(task, service);
    spec->health_check_node_port = draw_port(task->registry, service);
    return spec->health_check_node_port
               ? NULL
               : api_status_internal_error(task->arena, "failed to allocate a HealthCheck NodePort 0: range is full");
}

struct status *service_prepare(struct task *task, struct service *service, const struct service *old)
{
    make_valid(task->registry->addresses);
    struct status *refused = prepare_ip(task, service, old);
    if (!refused)
        refused = prepare_ports(task, service, old);
    return refused ? refused : prepare_health_port(task, service, old);
}
