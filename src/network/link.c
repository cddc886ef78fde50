#include "network/link.h"

#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <string.h>

/* IN6_ADDR_GEN_MODE_NONE: no link-local address, hence no neighbour discovery chatter on every new link. */
#define ADDRESS_GENERATION_NONE 1

/* ---- messages ---- */

void link_message(struct netlink_batch *batch, uint16_t type, uint16_t flags, const char *name, bool up)
{
    struct ifinfomsg header = {.ifi_family = AF_UNSPEC, .ifi_flags = up ? IFF_UP : 0, .ifi_change = up ? IFF_UP : 0};
    netlink_message(batch, type, flags, &header, sizeof(header));
    netlink_add_string(batch, IFLA_IFNAME, name);
}

void link_message_quiet(struct netlink_batch *batch, const char *name, bool ipv6)
{
    link_message(batch, RTM_SETLINK, 0, name, false);
    if (!ipv6)
        return;
    size_t families = netlink_nest(batch, IFLA_AF_SPEC | NLA_F_NESTED);
    size_t inet6 = netlink_nest(batch, AF_INET6 | NLA_F_NESTED);
    netlink_add_u8(batch, IFLA_INET6_ADDR_GEN_MODE, ADDRESS_GENERATION_NONE);
    netlink_nest_end(batch, inet6);
    netlink_nest_end(batch, families);
}

void link_message_address(struct netlink_batch *batch, int link, const struct ip_address *address, int length)
{
    /* Nobody else can have such an address: it is not asked for first. */
    struct ifaddrmsg header = {.ifa_family = (uint8_t)address->family,
                               .ifa_prefixlen = (uint8_t)length,
                               .ifa_flags = address->family == AF_INET6 ? IFA_F_NODAD : 0,
                               .ifa_index = (uint32_t)link};
    netlink_message(batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &header, sizeof(header));
    netlink_add(batch, IFA_LOCAL, &address->v6, ip_address_size(address->family));
    netlink_add(batch, IFA_ADDRESS, &address->v6, ip_address_size(address->family));
    if (address->family == AF_INET && length < 31) {
        struct in_addr broadcast = {address->v4.s_addr | htonl(UINT32_MAX >> length)};
        netlink_add(batch, IFA_BROADCAST, &broadcast, sizeof(broadcast));
    }
}

void link_message_route(struct netlink_batch *batch, int link, const struct ip_prefix *to,
                        const struct ip_address *gateway)
{
    struct rtmsg header = {.rtm_family = (uint8_t)to->address.family,
                           .rtm_dst_len = (uint8_t)to->length,
                           .rtm_table = RT_TABLE_MAIN,
                           .rtm_protocol = RTPROT_STATIC,
                           .rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                           .rtm_type = RTN_UNICAST};
    netlink_message(batch, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &header, sizeof(header));
    if (to->length)
        netlink_add(batch, RTA_DST, &to->address.v6, ip_address_size(to->address.family));
    if (gateway)
        netlink_add(batch, RTA_GATEWAY, &gateway->v6, ip_address_size(gateway->family));
    netlink_add_u32(batch, RTA_OIF, (uint32_t)link);
}

void link_message_neighbour(struct netlink_batch *batch, int link, const struct ip_address *address,
                            const unsigned char hardware[LINK_ADDRESS_SIZE])
{
    struct ndmsg header = {.ndm_family = AF_INET6, .ndm_ifindex = link, .ndm_state = NUD_PERMANENT};
    netlink_message(batch, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &header, sizeof(header));
    netlink_add(batch, NDA_DST, &address->v6, sizeof(address->v6));
    netlink_add(batch, NDA_LLADDR, hardware, LINK_ADDRESS_SIZE);
}

/* ---- looking at links ---- */

static void see_link(void *context, const struct nlmsghdr *message)
{
    struct link_view *view = context;
    const struct ifinfomsg *header = NLMSG_DATA(message);
    if (message->nlmsg_type != RTM_NEWLINK)
        return;
    char kind[16];
    const struct nlattr *address = netlink_find(message, sizeof(*header), IFLA_ADDRESS);
    view->index = header->ifi_index;
    view->mtu = (int)netlink_u32(netlink_find(message, sizeof(*header), IFLA_MTU));
    if (address && netlink_size(address) == LINK_ADDRESS_SIZE)
        memcpy(view->address, netlink_data(address), LINK_ADDRESS_SIZE);
    netlink_text(netlink_find(message, sizeof(*header), IFLA_IFALIAS), view->alias, sizeof(view->alias));
    netlink_text(netlink_find_in(netlink_find(message, sizeof(*header), IFLA_LINKINFO), IFLA_INFO_KIND), kind,
                   sizeof(kind));
    view->bridge = strcmp(kind, "bridge") == 0;
}

int link_look(struct netlink *netlink, const char *name, int index, struct link_view *view, struct error *err)
{
    cleanup_netlink_batch struct netlink_batch batch = {0};
    struct ifinfomsg header = {.ifi_family = AF_UNSPEC, .ifi_index = index};
    netlink_message(&batch, RTM_GETLINK, 0, &header, sizeof(header));
    if (name)
        netlink_add_string(&batch, IFLA_IFNAME, name);
    *view = (struct link_view){0};
    return netlink_query(netlink, &batch, see_link, view, err);
}

static void see_route(void *context, const struct nlmsghdr *message)
{
    int *link = context;
    const struct rtmsg *header = NLMSG_DATA(message);
    if (message->nlmsg_type == RTM_NEWROUTE && header->rtm_dst_len == 0 && header->rtm_table == RT_TABLE_MAIN &&
        header->rtm_type == RTN_UNICAST && *link == 0)
        *link = (int)netlink_u32(netlink_find(message, sizeof(*header), RTA_OIF));
}

int link_uplink_mtu(struct netlink *netlink)
{
    cleanup_netlink_batch struct netlink_batch batch = {0};
    struct rtmsg header = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN};
    struct link_view view;
    int link = 0;
    netlink_message(&batch, RTM_GETROUTE, NLM_F_DUMP, &header, sizeof(header));
    if (netlink_query(netlink, &batch, see_route, &link, NULL) < 0 || link == 0 ||
        link_look(netlink, NULL, link, &view, NULL) < 0 || view.mtu < 576)
        return LINK_MTU_DEFAULT;
    return view.mtu;
}
