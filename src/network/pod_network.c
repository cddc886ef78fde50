/* One lock covers the table of pods, the address pool and a netlink socket in the node's namespace: the kernel
 * serialises changes of links anyway. Removing a link takes the kernel some 20 ms, most of which it does not keep
 * others out, so removals have a socket and a lock of their own. Work inside a pod's namespace goes through a socket
 * made for it.
 *
 * Invariants: an address is taken in the pool exactly while a pod in the table has it; a pod's link on the node's
 * side is named after its address, so that two pods never want the same name; its hardware address follows from its
 * address too, so that an old neighbour entry is never wrong. */
#include "network/pod_network.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/veth.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/vector.h"
#include "network/conntrack.h"
#include "network/link.h"
#include "network/namespace.h"
#include "network/netlink.h"
#include "network/network_settings.h"

#define POD_LINK "eth0"

struct pod {
    struct in_addr address;
};

struct pod_network {
    pthread_mutex_t lock;
    struct netlink netlink; /* in the node's namespace */
    struct map pods;        /* key -> struct pod */
    struct address_pool pool;
    struct in_addr gateway;
    int bridge_index;
    int mtu;
    bool ipv6;   /* the kernel has it; for addresses it may be off nonetheless */
    bool detour; /* br_netfilter judges what is bridged, and may send what is for a service the short way */
    bool dual;   /* pods have IPv6 addresses */
    struct ip_prefix prefix6;
    char bridge[IF_NAMESIZE];

    pthread_mutex_t removal_lock; /* never taken while holding `lock` */
    struct netlink removal;
    struct netlink tracking; /* closed where the kernel tracks no connections */
};

/* ---- names ---- */

static void hardware_address(struct in_addr address, unsigned char out[LINK_ADDRESS_SIZE])
{
    out[0] = 0x0a; /* locally administered */
    out[1] = 0xc0;
    memcpy(out + 2, &address, 4);
}

static void link_name(struct in_addr address, char out[IF_NAMESIZE])
{
    snprintf(out, IF_NAMESIZE, "pod%08x", ntohl(address.s_addr));
}

/* ---- the bridge ---- */

static int make_bridge(struct pod_network *network, struct error *err)
{
    cleanup_netlink_batch struct netlink_batch batch = {0};
    unsigned char address[LINK_ADDRESS_SIZE];
    hardware_address(network->gateway, address);
    link_message(&batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, network->bridge, false);
    netlink_add(&batch, IFLA_ADDRESS, address, sizeof(address));
    size_t info = netlink_nest(&batch, IFLA_LINKINFO);
    netlink_add_string(&batch, IFLA_INFO_KIND, "bridge");
    size_t data = netlink_nest(&batch, IFLA_INFO_DATA);
    netlink_add_u8(&batch, IFLA_BR_MCAST_SNOOPING, 0);
    netlink_nest_end(&batch, data);
    netlink_nest_end(&batch, info);
    struct error e;
    if (netlink_commit(&network->netlink, &batch, NULL, &e) < 0 && e.code != EEXIST)
        return error_set(err, e.code, "make bridge %s: %s", network->bridge, e.text);
    return 0;
}

/* The bridge's address and the routes of a family. */
static void message_bridge_family(struct netlink_batch *batch, const struct pod_network *network,
                                  const struct ip_address *gateway, int length, const struct ip_prefix *services)
{
    link_message_address(batch, network->bridge_index, gateway, length);
    link_message_route(batch, network->bridge_index, services, NULL);
}

static int configure_bridge(struct pod_network *network, const struct pod_network_config *config,
                            const struct ip_prefix *services, const struct ip_prefix *services6, struct error *err)
{
    cleanup_netlink_batch struct netlink_batch batch = {0};
    struct link_view view;
    if (make_bridge(network, err) < 0)
        return -1;
    if (link_look(&network->netlink, network->bridge, 0, &view, err) < 0)
        return error_wrap(err, "bridge %s", network->bridge);
    if (!view.bridge)
        return error_set(err, EEXIST, "there is a link named %s already, and it is not a bridge", network->bridge);
    network->bridge_index = view.index;

    link_message_quiet(&batch, network->bridge, network->ipv6);
    link_message(&batch, RTM_SETLINK, 0, network->bridge, true);
    netlink_add_u32(&batch, IFLA_MTU, (uint32_t)network->mtu);
    struct ip_address gateway = ip_address_v4(network->gateway), gateway6;
    message_bridge_family(&batch, network, &gateway, network->pool.prefix.length, services);
    if (pod_network_address6(network, network->gateway, &gateway6))
        message_bridge_family(&batch, network, &gateway6, network->prefix6.length, services6);
    if (netlink_commit(&network->netlink, &batch, NULL, err) < 0)
        return error_wrap(err, "configure bridge %s", network->bridge);

    struct in_addr last;
    if (inet_pton(AF_INET, view.alias, &last) == 1)
        address_pool_continue(&network->pool, last);
    return network_settings_of_node(network->bridge, network->dual, config->own_namespace, &network->detour, err);
}

/* A port of the bridge with an alias "KEY ADDRESS" is a pod. */
static void see_port(void *context, const struct nlmsghdr *message)
{
    struct pod_network *network = context;
    char alias[LINK_ALIAS_SIZE];
    if (message->nlmsg_type != RTM_NEWLINK ||
        (int)netlink_u32(netlink_find(message, sizeof(struct ifinfomsg), IFLA_MASTER)) != network->bridge_index)
        return;
    netlink_text(netlink_find(message, sizeof(struct ifinfomsg), IFLA_IFALIAS), alias, sizeof(alias));
    char *space = strchr(alias, ' ');
    struct in_addr address;
    if (!space || inet_pton(AF_INET, space + 1, &address) != 1)
        return;
    *space = 0;
    if (map_has(&network->pods, alias) || !address_pool_claim(&network->pool, address))
        return;
    struct pod *pod = mem_zero(1, sizeof(*pod));
    pod->address = address;
    map_set(&network->pods, alias, pod);
}

static void forget_pods(struct pod_network *network)
{
    for (struct map_slot *s = NULL; (s = map_next(&network->pods, s));) {
        struct pod *pod = s->value;
        address_pool_release(&network->pool, pod->address);
        free(pod);
    }
    map_free(&network->pods);
}

static int find_pods(struct pod_network *network, struct error *err)
{
    struct error e;
    /* The list is read anew if it changes meanwhile; that ends, since links change only now and then. */
    for (int attempt = 0;; attempt++) {
        cleanup_netlink_batch struct netlink_batch batch = {0};
        struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
        netlink_message(&batch, RTM_GETLINK, NLM_F_DUMP, &header, sizeof(header));
        if (netlink_query(&network->netlink, &batch, see_port, network, &e) == 0)
            return 0;
        if (e.code != EINTR || attempt == 10)
            return error_set(err, e.code, "list links: %s", e.text);
        forget_pods(network);
    }
}

static int bridge_name(const struct pod_network_config *config, char out[IF_NAMESIZE], struct error *err)
{
    const char *name = config->bridge ? config->bridge : POD_NETWORK_BRIDGE;
    if (!*name || strlen(name) >= IF_NAMESIZE || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return error_set(err, EINVAL, "\"%s\" cannot be the name of a link", name);
    strcpy(out, name);
    return 0;
}

static int parse_prefix(const char *text, const char *otherwise, int family, struct ip_prefix *out, struct error *err)
{
    return ip_prefix_parse(text ? text : otherwise, out) && out->address.family == family
               ? 0
               : error_set(err, EINVAL, "\"%s\" is not a prefix of its family", text);
}

static bool is_switched_off(const char *setting)
{
    cleanup_buffer struct buffer now = {0};
    return file_read(setting, 16, &now, NULL) < 0 || !now.size || now.data[0] != '0';
}

static int open_in_namespace(struct pod_network *network, const struct pod_network_config *config, struct error *err)
{
    struct ipv4_prefix pods;
    struct ip_prefix services, services6;
    if (bridge_name(config, network->bridge, err) < 0 ||
        ipv4_prefix_parse(config->node_cidr ? config->node_cidr : POD_NETWORK_NODE_CIDR, &pods, err) < 0 ||
        parse_prefix(config->service_cidr, POD_NETWORK_SERVICE_CIDR, AF_INET, &services, err) < 0 ||
        parse_prefix(config->node_cidr6, POD_NETWORK_NODE_CIDR6, AF_INET6, &network->prefix6, err) < 0 ||
        parse_prefix(config->service_cidr6, POD_NETWORK_SERVICE_CIDR6, AF_INET6, &services6, err) < 0 ||
        address_pool_init(&network->pool, &pods, err) < 0)
        return -1;
    network->gateway = ipv4_prefix_at(&pods, 1);
    network->ipv6 = access("/proc/sys/net/ipv6", F_OK) == 0;
    network->dual = network->ipv6 && !is_switched_off("/proc/sys/net/ipv6/conf/all/disable_ipv6") &&
                    !is_switched_off("/proc/sys/net/ipv6/conf/default/disable_ipv6");
    if (netlink_open(-1, NETLINK_ROUTE, &network->netlink, err) < 0 ||
        netlink_open(-1, NETLINK_ROUTE, &network->removal, err) < 0)
        return -1;
    if (netlink_open(-1, NETLINK_NETFILTER, &network->tracking, NULL) < 0)
        network->tracking = NETLINK_CLOSED;
    network->mtu = config->mtu > 0 ? config->mtu : link_uplink_mtu(&network->netlink);
    if (configure_bridge(network, config, &services, &services6, err) < 0)
        return -1;
    return find_pods(network, err);
}

int pod_network_open(const struct pod_network_config *config, struct pod_network **out, struct error *err)
{
    int previous;
    *out = NULL;
    if (network_namespace_enter(config->namespace_fd, &previous, err) < 0)
        return -1;
    struct pod_network *network = mem_zero(1, sizeof(*network));
    pthread_mutex_init(&network->lock, NULL);
    pthread_mutex_init(&network->removal_lock, NULL);
    network->netlink = network->removal = network->tracking = NETLINK_CLOSED;
    int result = open_in_namespace(network, config, err);
    network_namespace_leave(&previous);
    if (result < 0) {
        pod_network_close(network);
        return error_wrap(err, "pod network");
    }
    *out = network;
    return 0;
}

void pod_network_close(struct pod_network *network)
{
    if (!network)
        return;
    if (network->pool.bits)
        forget_pods(network);
    netlink_close(&network->netlink);
    netlink_close(&network->removal);
    netlink_close(&network->tracking);
    pthread_mutex_destroy(&network->removal_lock);
    address_pool_free(&network->pool);
    pthread_mutex_destroy(&network->lock);
    free(network);
}

/* ---- attach ---- */

static void message_veth(struct netlink_batch *batch, const struct pod_network *network, const char *key,
                         struct in_addr address, int pod_namespace)
{
    char name[IF_NAMESIZE], alias[LINK_ALIAS_SIZE], text[INET_ADDRSTRLEN];
    unsigned char hardware[LINK_ADDRESS_SIZE];
    link_name(address, name);
    hardware_address(address, hardware);
    snprintf(alias, sizeof(alias), "%s %s", key, inet_ntop(AF_INET, &address, text, sizeof(text)));

    link_message(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, name, false);
    netlink_add_u32(batch, IFLA_MTU, (uint32_t)network->mtu);
    size_t info = netlink_nest(batch, IFLA_LINKINFO);
    netlink_add_string(batch, IFLA_INFO_KIND, "veth");
    size_t data = netlink_nest(batch, IFLA_INFO_DATA);
    size_t peer = netlink_nest(batch, VETH_INFO_PEER);
    /* The peer's attributes follow a header, as in a message of its own. */
    static const struct ifinfomsg peer_header;
    buffer_add(&batch->data, &peer_header, sizeof(peer_header));
    netlink_add_string(batch, IFLA_IFNAME, POD_LINK);
    netlink_add(batch, IFLA_ADDRESS, hardware, sizeof(hardware));
    netlink_add_u32(batch, IFLA_MTU, (uint32_t)network->mtu);
    netlink_add_u32(batch, IFLA_NET_NS_FD, (uint32_t)pod_namespace);
    netlink_nest_end(batch, peer);
    netlink_nest_end(batch, data);
    netlink_nest_end(batch, info);

    /* The alias makes it a pod for pod_network_open, together with the master: both come in one message. */
    link_message_quiet(batch, name, network->ipv6);
    netlink_add_u32(batch, IFLA_MASTER, (uint32_t)network->bridge_index);
    netlink_add_string(batch, IFLA_IFALIAS, alias);
    link_message(batch, RTM_NEWLINK, 0, name, true);
    info = netlink_nest(batch, IFLA_LINKINFO);
    netlink_add_string(batch, IFLA_INFO_SLAVE_KIND, "bridge");
    data = netlink_nest(batch, IFLA_INFO_SLAVE_DATA);
    netlink_add_u8(batch, IFLA_BRPORT_MODE, 1); /* hairpin */
    /* Ports hear the bridge alone, not each other: raw frames do not get around the node's rules. */
    if (!network->detour)
        netlink_add_u8(batch, IFLA_BRPORT_ISOLATED, 1);
    netlink_nest_end(batch, data);
    netlink_nest_end(batch, info);

    link_message(batch, RTM_SETLINK, 0, network->bridge, false);
    netlink_add_string(batch, IFLA_IFALIAS, text);
}

/* Opens the pod's namespace: its descriptor, a netlink socket in it, its settings made. */
static int open_pod(const struct pod_network *network, const char *path, int *fd, struct netlink *netlink,
                    struct error *err)
{
    int previous;
    cleanup_close int opened = network_namespace_open(path, err);
    if (opened < 0 || network_namespace_enter(opened, &previous, err) < 0)
        return -1;
    int result = network_settings_of_pod(network->dual, err);
    if (result == 0)
        result = netlink_open(-1, NETLINK_ROUTE, netlink, err);
    network_namespace_leave(&previous);
    if (result == 0)
        *fd = steal_fd(opened);
    return result;
}

/* A pod's own address and its way out, both through the bridge. */
static void message_pod_family(struct netlink_batch *batch, int link, const struct ip_address *address,
                               const struct ip_address *gateway)
{
    int bits = (int)ip_address_size(address->family) * 8;
    link_message_address(batch, link, address, bits);
    link_message_route(batch, link, &(struct ip_prefix){*gateway, bits}, NULL);
    link_message_route(batch, link, &(struct ip_prefix){{.family = address->family}, 0}, gateway);
}

/* The node's side of what IPv6 has to know of a pod. Addresses come back with the same hardware address: this never
 * becomes wrong. */
static int introduce(struct pod_network *network, struct in_addr address, struct error *err)
{
    cleanup_netlink_batch struct netlink_batch batch = {0};
    unsigned char hardware[LINK_ADDRESS_SIZE];
    struct ip_address address6;
    if (!pod_network_address6(network, address, &address6))
        return 0;
    hardware_address(address, hardware);
    link_message_neighbour(&batch, network->bridge_index, &address6, hardware);
    return netlink_commit(&network->netlink, &batch, NULL, err);
}

static int configure_pod(struct pod_network *network, struct netlink *netlink, struct in_addr address,
                         struct error *err)
{
    cleanup_netlink_batch struct netlink_batch batch = {0};
    struct ip_address own = ip_address_v4(address), gateway = ip_address_v4(network->gateway), own6, gateway6;
    unsigned char hardware[LINK_ADDRESS_SIZE];
    struct link_view view;
    if (link_look(netlink, POD_LINK, 0, &view, err) < 0)
        return error_wrap(err, "the pod's " POD_LINK);
    link_message(&batch, RTM_SETLINK, 0, "lo", true);
    link_message_quiet(&batch, POD_LINK, network->ipv6);
    link_message(&batch, RTM_SETLINK, 0, POD_LINK, true);
    message_pod_family(&batch, view.index, &own, &gateway);
    if (pod_network_address6(network, address, &own6) && pod_network_address6(network, network->gateway, &gateway6)) {
        hardware_address(network->gateway, hardware);
        link_message_neighbour(&batch, view.index, &gateway6, hardware);
        message_pod_family(&batch, view.index, &own6, &gateway6);
    }
    if (netlink_commit(netlink, &batch, NULL, err) < 0)
        return error_wrap(err, "configure the pod's " POD_LINK);
    return 0;
}

/* Whether the pod's namespace has the link of that address: then there is nothing to do. */
static bool is_attached(struct netlink *pod_netlink, struct in_addr address)
{
    struct link_view view;
    unsigned char hardware[LINK_ADDRESS_SIZE];
    hardware_address(address, hardware);
    return link_look(pod_netlink, POD_LINK, 0, &view, NULL) == 0 &&
           memcmp(view.address, hardware, LINK_ADDRESS_SIZE) == 0;
}

/* Deletes the node's side of a pod's link, and with it the other. */
static int delete_link(struct pod_network *network, struct in_addr address, struct error *err)
{
    cleanup_netlink_batch struct netlink_batch batch = {0};
    struct error e = {0};
    char name[IF_NAMESIZE];
    link_name(address, name);
    link_message(&batch, RTM_DELLINK, 0, name, false);
    pthread_mutex_lock(&network->removal_lock);
    int result = netlink_commit(&network->removal, &batch, NULL, &e);
    pthread_mutex_unlock(&network->removal_lock);
    return result < 0 && e.code != ENODEV ? error_set(err, e.code, "delete link %s: %s", name, e.text) : 0;
}

static bool is_of_pod(void *context, const struct conntrack_flow *flow)
{
    const struct ip_address *addresses = context;
    const struct ip_address *own = &addresses[flow->endpoint.family == AF_INET6];
    /* Of those that both sides have closed nothing is left but the memory that a new one replaces. */
    if (flow->tcp_state == TCP_CONNTRACK_TIME_WAIT)
        return false;
    return ip_address_equal(&flow->endpoint, own) || ip_address_equal(&flow->source, own);
}

/* The kernel leads a client who uses a port again the way that its last connection from there took, while it remembers
 * that: without this, into the void, or to whoever has the address next. */
static void forget_connections(struct pod_network *network, struct in_addr address)
{
    struct ip_address addresses[] = {ip_address_v4(address), {0}};
    struct error err;
    pod_network_address6(network, address, &addresses[1]);
    pthread_mutex_lock(&network->removal_lock);
    for (size_t i = 0; i < ARRAY_COUNT(addresses) && network->tracking.fd >= 0; i++)
        if (addresses[i].family &&
            conntrack_delete(&network->tracking, addresses[i].family, true, is_of_pod, addresses, &err) < 0)
            log_warning("Cannot forget the connections of a pod that has gone: %s", err.text);
    pthread_mutex_unlock(&network->removal_lock);
}

/* Makes the link of a new pod, with the address taken for it. */
static int attach_address(struct pod_network *network, const char *key, int pod_namespace, struct netlink *pod_netlink,
                          struct in_addr address, struct error *err)
{
    cleanup_netlink_batch struct netlink_batch batch = {0};
    message_veth(&batch, network, key, address, pod_namespace);
    if (netlink_commit(&network->netlink, &batch, NULL, err) < 0)
        return error_wrap(err, "make the pod's link");
    if (introduce(network, address, err) < 0 || configure_pod(network, pod_netlink, address, err) < 0)
        return -1;
    struct pod *pod = mem_zero(1, sizeof(*pod));
    pod->address = address;
    map_set(&network->pods, key, pod);
    return 0;
}

static int attach_new(struct pod_network *network, const char *key, int pod_namespace, struct netlink *pod_netlink,
                      struct in_addr *address, struct error *err)
{
    pthread_mutex_lock(&network->lock);
    int taken = map_has(&network->pods, key) ? error_set(err, EEXIST, "the pod is being attached already")
                                             : address_pool_take(&network->pool, address, err);
    int result = taken < 0 ? -1 : attach_address(network, key, pod_namespace, pod_netlink, *address, err);
    pthread_mutex_unlock(&network->lock);
    if (taken < 0 || result == 0)
        return result;
    delete_link(network, *address, NULL);
    pthread_mutex_lock(&network->lock);
    address_pool_release(&network->pool, *address);
    pthread_mutex_unlock(&network->lock);
    return -1;
}

static int check_key(const char *key, struct error *err)
{
    size_t n = strlen(key);
    bool good = n > 0 && n <= POD_NETWORK_KEY_MAX;
    for (size_t i = 0; good && i < n; i++)
        good = isgraph((unsigned char)key[i]);
    return good ? 0 : error_set(err, EINVAL, "a pod's network key is 1 to %d visible characters", POD_NETWORK_KEY_MAX);
}

int pod_network_attach(struct pod_network *network, const char *key, const char *namespace_path,
                       struct in_addr *address, struct error *err)
{
    cleanup_close int pod_namespace = -1;
    cleanup_netlink struct netlink pod_netlink = NETLINK_CLOSED;
    if (check_key(key, err) < 0 || open_pod(network, namespace_path, &pod_namespace, &pod_netlink, err) < 0)
        return error_wrap(err, "pod network");
    struct in_addr present;
    int result;
    if (pod_network_find(network, key, &present) && is_attached(&pod_netlink, present)) {
        *address = present;
        result = configure_pod(network, &pod_netlink, present, err);
    } else {
        result = pod_network_detach(network, key, err);
        if (result == 0)
            result = attach_new(network, key, pod_namespace, &pod_netlink, address, err);
    }
    return result < 0 ? error_wrap(err, "pod network") : 0;
}

int pod_network_detach(struct pod_network *network, const char *key, struct error *err)
{
    pthread_mutex_lock(&network->lock);
    struct pod *pod = map_remove(&network->pods, key);
    pthread_mutex_unlock(&network->lock);
    if (!pod)
        return 0;
    /* The address stays taken until the link is gone and nothing leads there. */
    int result = delete_link(network, pod->address, err);
    if (result == 0)
        forget_connections(network, pod->address);
    pthread_mutex_lock(&network->lock);
    if (result < 0 && !map_has(&network->pods, key)) {
        map_set(&network->pods, key, steal_pointer(pod));
    } else if (result == 0) {
        address_pool_release(&network->pool, pod->address);
    }
    pthread_mutex_unlock(&network->lock);
    free(pod);
    return result;
}

bool pod_network_find(struct pod_network *network, const char *key, struct in_addr *address)
{
    pthread_mutex_lock(&network->lock);
    struct pod *pod = map_get(&network->pods, key);
    if (pod)
        *address = pod->address;
    pthread_mutex_unlock(&network->lock);
    return pod != NULL;
}

void pod_network_each(struct pod_network *network,
                      void (*callback)(void *context, const char *key, struct in_addr address), void *context)
{
    pthread_mutex_lock(&network->lock);
    for (struct map_slot *s = NULL; (s = map_next(&network->pods, s));)
        callback(context, s->key, ((struct pod *)s->value)->address);
    pthread_mutex_unlock(&network->lock);
}

bool pod_network_has_ipv6(const struct pod_network *network)
{
    return network->dual;
}

bool pod_network_address6(const struct pod_network *network, struct in_addr address, struct ip_address *out)
{
    uint32_t offset = ntohl(address.s_addr) - ntohl(network->pool.prefix.address.s_addr);
    *out = network->dual ? ip_address_at(&network->prefix6.address, offset) : (struct ip_address){0};
    return network->dual;
}

struct in_addr pod_network_gateway(const struct pod_network *network)
{
    return network->gateway;
}

int pod_network_mtu(const struct pod_network *network)
{
    return network->mtu;
}

/* ---- destroy ---- */

struct ports {
    int bridge;
    VECTOR(int) links;
};

static void collect_port(void *context, const struct nlmsghdr *message)
{
    struct ports *ports = context;
    if (message->nlmsg_type == RTM_NEWLINK &&
        (int)netlink_u32(netlink_find(message, sizeof(struct ifinfomsg), IFLA_MASTER)) == ports->bridge)
        vector_push(&ports->links, ((const struct ifinfomsg *)NLMSG_DATA(message))->ifi_index);
}

static void remove_link(struct netlink *netlink, int index)
{
    cleanup_netlink_batch struct netlink_batch batch = {0};
    struct ifinfomsg header = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    netlink_message(&batch, RTM_DELLINK, 0, &header, sizeof(header));
    netlink_commit(netlink, &batch, NULL, NULL); /* it may be gone by itself */
}

int pod_network_destroy(const struct pod_network_config *config, struct error *err)
{
    cleanup_netlink struct netlink netlink = NETLINK_CLOSED;
    cleanup_netlink_batch struct netlink_batch batch = {0};
    char name[IF_NAMESIZE];
    struct link_view view;
    struct error e;
    if (bridge_name(config, name, err) < 0 || netlink_open(config->namespace_fd, NETLINK_ROUTE, &netlink, err) < 0)
        return -1;
    if (link_look(&netlink, name, 0, &view, &e) < 0)
        return e.code == ENODEV ? 0 : error_set(err, e.code, "bridge %s: %s", name, e.text);
    if (!view.bridge)
        return error_set(err, EEXIST, "the link %s is not a bridge: it is left alone", name);

    struct ports ports = {.bridge = view.index};
    struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
    netlink_message(&batch, RTM_GETLINK, NLM_F_DUMP, &header, sizeof(header));
    netlink_query(&netlink, &batch, collect_port, &ports, NULL);
    for (size_t i = 0; i < ports.links.count; i++)
        remove_link(&netlink, ports.links.items[i]);
    vector_free(&ports.links);
    remove_link(&netlink, view.index);
    return link_look(&netlink, name, 0, &view, NULL) < 0 ? 0
                                                         : error_set(err, EBUSY, "bridge %s cannot be removed", name);
}
