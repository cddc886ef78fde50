/* The announcer on a link: what it hears, and what it leaves behind. */
#include <dirent.h>
#include <linux/capability.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "network/announce.h"
#include "network/fixture.h"
#include "network/namespace.h"
#include "network/pod_network.h"

static struct ip_address numbered(const char *prefix, unsigned i)
{
    char text[IP_ADDRESS_TEXT_MAX];
    struct ip_address address;
    snprintf(text, sizeof(text), "%s%x", prefix, i);
    assert_true(ip_address_parse(text, &address));
    return address;
}

static unsigned flags_of(const char *link)
{
    char path[64];
    unsigned flags = 0;
    snprintf(path, sizeof(path), "/sys/class/net/%s/flags", link);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%x", &flags), 1);
    fclose(file);
    return flags;
}

/* Waits until the node has told the pod that it has the address: by then it is a member of what it could join. */
static void wait_for_announcement(int fd, const struct ip_address *address)
{
    unsigned char frame[256];
    const int target = 14 + 40 + 8; /* of a neighbour advertisement */
    struct pollfd ready = {fd, POLLIN, 0};
    for (;;) {
        assert_int_equal(poll(&ready, 1, 20000), 1);
        ssize_t n = recv(fd, frame, sizeof(frame), 0);
        if (n >= target + 16 && frame[14 + 40] == 136 && memcmp(frame + target, &address->v6, 16) == 0)
            return;
    }
}

static void more_addresses_than_a_socket_can_join_groups_for_are_heard_all_the_same(void **state)
{
    static struct ip_address addresses[ANNOUNCE_ADDRESSES_MAX];
    struct pod_network_config config = {.namespace_fd = -1, .own_namespace = true};
    struct pod_network *network;
    struct announcer *announcer;
    struct in_addr unused;
    char path[128];
    check_ok(pod_network_open(&config, &network, err));
    int pod = fixture_pod_namespace("pod", path);
    check_ok(pod_network_attach(network, "pod", path, &unused, err));
    for (unsigned i = 0; i < ANNOUNCE_ADDRESSES_MAX; i++)
        addresses[i] = numbered("fd00:10:89::1:", i);
    struct error e = {0};
    int fd = network_namespace_socket(pod, AF_PACKET, SOCK_RAW, __builtin_bswap16(ETH_P_IPV6), &e), room = 8 << 20;
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
    check_ok(announcer_start("none", &announcer, err));
    announcer_set(announcer, addresses, 2);
    wait_for_announcement(fd, &addresses[1]);
    assert_false(flags_of(POD_NETWORK_BRIDGE) & IFF_ALLMULTI); /* groups are enough */
    announcer_set(announcer, addresses, ANNOUNCE_ADDRESSES_MAX);
    wait_for_announcement(fd, &addresses[ANNOUNCE_ADDRESSES_MAX - 1]);
    assert_true(flags_of(POD_NETWORK_BRIDGE) & IFF_ALLMULTI);
    announcer_stop(announcer);
    assert_false(flags_of(POD_NETWORK_BRIDGE) & IFF_ALLMULTI);
    close(fd);
    close(pod);
    pod_network_close(network);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static void set_raw_sockets(bool allowed)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    assert_int_equal(syscall(SYS_capget, &header, data), 0);
    data[0].effective &= ~(1u << CAP_NET_RAW);
    data[0].effective |= (unsigned)allowed << CAP_NET_RAW;
    assert_int_equal(syscall(SYS_capset, &header, data), 0);
}

static void without_raw_sockets_nothing_leaks(void **state)
{
    struct ip_address address = numbered("192.0.2.", 7);
    struct announcer *announcer;
    set_raw_sockets(false);
    check_ok(announcer_start("none", &announcer, err)); /* its thread has the rights of this one now */
    set_raw_sockets(true);
    unsigned before = open_descriptors();
    for (int i = 0; i < 1000; i++) {
        announcer_set(announcer, &address, 1);
        sched_yield();
    }
    assert_in_range(open_descriptors(), before, before + 4);
    announcer_stop(announcer);
}

int main(void)
{
    if (!fixture_enter() || mount("sysfs", "/sys", "sysfs", 0, NULL) < 0)
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_addresses_than_a_socket_can_join_groups_for_are_heard_all_the_same),
        cmocka_unit_test(without_raw_sockets_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
