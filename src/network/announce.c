/* The thread sleeps in poll on what it is told (an eventfd), what is asked on the links, and news of links. Everything
 * but `given` belongs to it. */
#include "network/announce.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/vector.h"
#include "network/announce_packet.h"
#include "network/netlink.h"

#define FRAME_MAX 512
/* Questions that are answered in one go before the thread looks at anything else. */
#define TURN_MAX 64

struct announced {
    struct ip_address address;
    int repeats; /* how often it is still to be announced unasked */
};

struct link {
    int index;
    unsigned char hardware[HARDWARE_ADDRESS_SIZE];
};

struct announcer {
    pthread_t thread;
    int wake;
    char bridge[IF_NAMESIZE];

    pthread_mutex_t lock; /* over the next three */
    VECTOR(struct ip_address) given;
    bool changed, stop;

    VECTOR(struct announced) addresses; /* sorted */
    VECTOR(struct link) links;
    VECTOR(int) wide;                 /* links of which `discovery` hears all groups */
    int arp, discovery, groups, news; /* -1: closed. groups: the socket that is a member of multicast groups */
    bool complained, deaf;            /* that was logged */
};

/* ---- Links ---- */

struct look {
    struct announcer *announcer;
    int bridge;
};

static void see_link(void *context, const struct nlmsghdr *message)
{
    struct look *look = context;
    const struct ifinfomsg *header = NLMSG_DATA(message);
    if (message->nlmsg_type != RTM_NEWLINK)
        return;
    const struct nlattr *hardware = netlink_find(message, sizeof(*header), IFLA_ADDRESS);
    bool is_port = netlink_find(message, sizeof(*header), IFLA_MASTER) != NULL;
    if (is_port || header->ifi_index == look->bridge || !(header->ifi_flags & IFF_UP) ||
        header->ifi_flags & (IFF_LOOPBACK | IFF_NOARP) || !hardware || netlink_size(hardware) != HARDWARE_ADDRESS_SIZE)
        return;
    struct link link = {.index = header->ifi_index};
    memcpy(link.hardware, netlink_data(hardware), HARDWARE_ADDRESS_SIZE);
    vector_push(&look->announcer->links, link);
}

static void look_at_links(struct announcer *a)
{
    cleanup_netlink struct netlink netlink = NETLINK_CLOSED;
    cleanup_netlink_batch struct netlink_batch batch = {0};
    struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
    struct look look = {a, (int)if_nametoindex(a->bridge)};
    a->links.count = 0;
    if (netlink_open(-1, NETLINK_ROUTE, &netlink, NULL) < 0)
        return;
    netlink_message(&batch, RTM_GETLINK, NLM_F_DUMP, &header, sizeof(header));
    netlink_query(&netlink, &batch, see_link, &look, NULL);
}

static const struct link *find_link(const struct announcer *a, int index)
{
    for (size_t i = 0; i < a->links.count; i++)
        if (a->links.items[i].index == index)
            return &a->links.items[i];
    return NULL;
}

/* A socket can be a member of so many groups; a link can be told to take in all. */
static void hear_all_groups(struct announcer *a, int link, int why)
{
    struct packet_mreq all = {.mr_ifindex = link, .mr_type = PACKET_MR_ALLMULTI};
    for (size_t i = 0; i < a->wide.count; i++)
        if (a->wide.items[i] == link)
            return;
    if (setsockopt(a->discovery, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) == 0) {
        vector_push(&a->wide, link);
    } else if (!a->deaf) {
        a->deaf = true;
        log_warning("Not all addresses of load balancers are found over IPv6: %s", strerror(why));
    }
}

/* Solicitations come to a multicast group that the address names. */
static void change_group(struct announcer *a, const struct ip_address *address, int option)
{
    struct ipv6_mreq group;
    if (address->family != AF_INET6 || a->groups < 0)
        return;
    inet_pton(AF_INET6, "ff02::1:ff00:0", &group.ipv6mr_multiaddr);
    memcpy((unsigned char *)&group.ipv6mr_multiaddr + 13, (const unsigned char *)&address->v6 + 13, 3);
    for (size_t i = 0; i < a->links.count; i++) {
        group.ipv6mr_interface = (unsigned)a->links.items[i].index;
        /* A member already is as good; what is left on a link that is gone is left. */
        if (setsockopt(a->groups, IPPROTO_IPV6, option, &group, sizeof(group)) < 0 && option == IPV6_JOIN_GROUP &&
            errno != EADDRINUSE)
            hear_all_groups(a, a->links.items[i].index, errno);
    }
}

/* ---- Sockets ---- */

/* Of IPv6 only neighbour solicitations. */
static int filter_solicitations(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 14 + 6),  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 14 + 40), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ND_NEIGHBOR_SOLICIT, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, FRAME_MAX),        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {ARRAY_COUNT(code), code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

static int open_packets(uint16_t protocol)
{
    /* Without a protocol nothing arrives before the filter is there. */
    cleanup_close int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_ll all = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol)};
    if (fd < 0 || (protocol == ETH_P_IPV6 && filter_solicitations(fd) < 0) ||
        bind(fd, (const struct sockaddr *)&all, sizeof(all)) < 0)
        return -1;
    return steal_fd(fd);
}

static int open_news(void)
{
    cleanup_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    struct sockaddr_nl groups = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    if (fd < 0 || bind(fd, (const struct sockaddr *)&groups, sizeof(groups)) < 0)
        return -1;
    return steal_fd(fd);
}

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_sockets(struct announcer *a)
{
    close_one(&a->arp);
    close_one(&a->discovery);
    close_one(&a->groups);
    close_one(&a->news);
    a->wide.count = 0;
}

/* Opens what is not open; what cannot be is tried again with the next change. */
static void open_sockets(struct announcer *a)
{
    bool ipv6 = access("/proc/sys/net/ipv6", F_OK) == 0, failed = false;
    int why = 0;
    if (a->news < 0)
        failed |= (a->news = open_news()) < 0 && (why = errno);
    if (a->arp < 0)
        failed |= (a->arp = open_packets(ETH_P_ARP)) < 0 && (why = errno);
    if (ipv6 && a->discovery < 0)
        failed |= (a->discovery = open_packets(ETH_P_IPV6)) < 0 && (why = errno);
    if (ipv6 && a->groups < 0)
        failed |= (a->groups = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0 && (why = errno);
    if (failed && !a->complained)
        log_warning("Addresses of load balancers are not announced everywhere: %s", strerror(why));
    a->complained = failed;
}

/* ---- Saying ---- */

static void send_frame(const struct announcer *a, int link, const unsigned char *frame, size_t size)
{
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = link, .sll_halen = HARDWARE_ADDRESS_SIZE};
    memcpy(to.sll_addr, frame, HARDWARE_ADDRESS_SIZE);
    if (sendto(a->arp, frame, size, 0, (const struct sockaddr *)&to, sizeof(to)) < 0)
        log_debug("Announce on link %d: %s", link, strerror(errno));
}

static void announce(struct announcer *a, const struct ip_address *address)
{
    unsigned char frame[ANNOUNCE_PACKET_MAX];
    for (size_t i = 0; i < a->links.count; i++) {
        size_t size = announce_unasked(address, a->links.items[i].hardware, frame);
        send_frame(a, a->links.items[i].index, frame, size);
    }
}

/* Returns whether there is more to announce later. */
static bool announce_new(struct announcer *a)
{
    bool more = false;
    for (size_t i = 0; i < a->addresses.count; i++) {
        struct announced *one = &a->addresses.items[i];
        if (!one->repeats)
            continue;
        announce(a, &one->address);
        more |= --one->repeats > 0;
    }
    return more;
}

static int compare(const void *left, const void *right)
{
    return ip_address_compare(&((const struct announced *)left)->address, &((const struct announced *)right)->address);
}

static bool is_announced(const struct announcer *a, const struct ip_address *address)
{
    struct announced key = {.address = *address};
    return a->addresses.count && bsearch(&key, a->addresses.items, a->addresses.count, sizeof(key), compare) != NULL;
}

static void answer_questions(struct announcer *a, int fd)
{
    unsigned char frame[FRAME_MAX], answer[ANNOUNCE_PACKET_MAX];
    for (int turn = 0; turn < TURN_MAX; turn++) {
        struct sockaddr_ll from = {0};
        struct announce_question question;
        socklen_t size = sizeof(from);
        ssize_t n = recvfrom(fd, frame, sizeof(frame), 0, (struct sockaddr *)&from, &size);
        if (n < 0)
            return;
        const struct link *link = from.sll_pkttype == PACKET_OUTGOING ? NULL : find_link(a, from.sll_ifindex);
        if (link && announce_read(frame, (size_t)n, &question) && is_announced(a, &question.target))
            send_frame(a, link->index, answer, announce_answer(&question, link->hardware, answer));
    }
}

/* ---- The thread ---- */

/* Takes over what is to be announced; what is new among it is announced a few times. */
static bool take_given(struct announcer *a)
{
    VECTOR(struct announced) next = {0};
    pthread_mutex_lock(&a->lock);
    bool stop = a->stop, changed = a->changed;
    a->changed = false;
    for (size_t i = 0; changed && i < a->given.count; i++)
        vector_push(&next, (struct announced){.address = a->given.items[i]});
    pthread_mutex_unlock(&a->lock);
    if (!changed)
        return !stop;
    for (size_t i = 0; i < next.count; i++)
        next.items[i].repeats = is_announced(a, &next.items[i].address) ? 0 : ANNOUNCE_REPEATS;
    if (next.count) {
        qsort(next.items, next.count, sizeof(next.items[0]), compare);
        open_sockets(a);
        look_at_links(a);
    }
    for (size_t i = 0; i < a->addresses.count; i++)
        change_group(a, &a->addresses.items[i].address, IPV6_LEAVE_GROUP);
    for (size_t i = 0; i < next.count; i++)
        change_group(a, &next.items[i].address, IPV6_JOIN_GROUP);
    vector_free(&a->addresses);
    memcpy(&a->addresses, &next, sizeof(next));
    if (!a->addresses.count)
        close_sockets(a);
    return !stop;
}

/* Links came, went or changed: everything is told to those that are new. */
static void hear_news(struct announcer *a)
{
    char data[8192];
    while (recv(a->news, data, sizeof(data), 0) > 0)
        ;
    size_t count = a->links.count;
    cleanup_free struct link *before = mem_alloc((count + 1) * sizeof(*before));
    if (count)
        memcpy(before, a->links.items, count * sizeof(*before));
    look_at_links(a);
    bool same = count == a->links.count && (!count || memcmp(before, a->links.items, count * sizeof(*before)) == 0);
    for (size_t i = 0; !same && i < a->addresses.count; i++) {
        change_group(a, &a->addresses.items[i].address, IPV6_JOIN_GROUP);
        a->addresses.items[i].repeats = ANNOUNCE_REPEATS;
    }
}

static void *run(void *context)
{
    struct announcer *a = context;
    while (take_given(a)) {
        bool more = announce_new(a);
        struct pollfd fds[] = {
            {a->wake, POLLIN, 0}, {a->arp, POLLIN, 0}, {a->discovery, POLLIN, 0}, {a->news, POLLIN, 0}};
        struct timespec until, now;
        clock_gettime(CLOCK_MONOTONIC, &until);
        /* Questions are answered meanwhile; the rest waits for its time, or for something to be told. */
        for (int64_t left = ANNOUNCE_INTERVAL; !more || left > 0;) {
            if (poll(fds, ARRAY_COUNT(fds), more ? (int)(left / MILLISECOND) + 1 : -1) < 0 && errno != EINTR)
                break;
            if (fds[1].revents)
                answer_questions(a, a->arp);
            if (fds[2].revents)
                answer_questions(a, a->discovery);
            if (fds[3].revents)
                hear_news(a);
            if (fds[0].revents || fds[3].revents)
                break;
            clock_gettime(CLOCK_MONOTONIC, &now);
            left = ANNOUNCE_INTERVAL - ((now.tv_sec - until.tv_sec) * SECOND + (now.tv_nsec - until.tv_nsec) / 1000);
        }
        uint64_t told;
        if (fds[0].revents && read(a->wake, &told, sizeof(told)) < 0)
            log_debug("Announcements: %s", strerror(errno));
    }
    close_sockets(a);
    return NULL;
}

static void poke(struct announcer *a)
{
    uint64_t one = 1;
    if (write(a->wake, &one, sizeof(one)) < 0)
        log_debug("Announcements: %s", strerror(errno));
}

int announcer_start(const char *bridge, struct announcer **out, struct error *err)
{
    struct announcer *a = mem_zero(1, sizeof(*a));
    *out = NULL;
    a->arp = a->discovery = a->groups = a->news = -1;
    snprintf(a->bridge, sizeof(a->bridge), "%s", bridge);
    pthread_mutex_init(&a->lock, NULL);
    a->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int failure = a->wake < 0 ? errno : pthread_create(&a->thread, NULL, run, a);
    if (failure) {
        close_one(&a->wake);
        pthread_mutex_destroy(&a->lock);
        free(a);
        return error_set(err, failure, "announce addresses: %s", strerror(failure));
    }
    *out = a;
    return 0;
}

void announcer_set(void *announcer, const struct ip_address *addresses, size_t count)
{
    struct announcer *a = announcer;
    if (count > ANNOUNCE_ADDRESSES_MAX)
        log_warning("%zu addresses of load balancers; only %d of them are announced", count, ANNOUNCE_ADDRESSES_MAX);
    pthread_mutex_lock(&a->lock);
    a->given.count = 0;
    for (size_t i = 0; i < count && i < ANNOUNCE_ADDRESSES_MAX; i++)
        vector_push(&a->given, addresses[i]);
    a->changed = true;
    pthread_mutex_unlock(&a->lock);
    poke(a);
}

void announcer_stop(struct announcer *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_mutex_unlock(&a->lock);
    poke(a);
    pthread_join(a->thread, NULL);
    close(a->wake);
    pthread_mutex_destroy(&a->lock);
    vector_free(&a->given);
    vector_free(&a->addresses);
    vector_free(&a->links);
    vector_free(&a->wide);
    free(a);
}
