#include "network/network_settings.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

/* Writes only where the value is another: some settings reset others when written. */
static int set_sysctl(const char *path, const char *value, struct error *err)
{
    cleanup_buffer struct buffer now = {0};
    if (file_read(path, 64, &now, NULL) == 0 && now.size >= strlen(value) &&
        memcmp(now.data, value, strlen(value)) == 0 && (now.size == strlen(value) || now.data[strlen(value)] == '\n'))
        return 0;
    return file_poke(path, value, err);
}

/* A router does not listen to other routers, unless a link is told to: those that did go on. */
static int forward_ipv6(struct error *err)
{
    static const char links[] = "/proc/sys/net/ipv6/conf", forwarding[] = "/proc/sys/net/ipv6/conf/all/forwarding";
    cleanup_buffer struct buffer now = {0};
    if (file_read(forwarding, 16, &now, NULL) == 0 && now.size && now.data[0] == '1')
        return 0;
    DIR *directory = opendir(links);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        cleanup_free char *path = mem_printf("%s/%s/accept_ra", links, entry->d_name);
        buffer_clear(&now);
        if (entry->d_name[0] != '.' && file_read(path, 16, &now, NULL) == 0 && now.size && now.data[0] == '1')
            set_sysctl(path, "2", NULL);
    }
    if (directory)
        closedir(directory);
    return set_sysctl(forwarding, "1", err);
}

static bool is_on(const char *path)
{
    cleanup_buffer struct buffer now = {0};
    return file_read(path, 64, &now, NULL) == 0 && now.size && now.data[0] != '0';
}

int network_settings_of_node(const char *bridge, bool ipv6, bool own_namespace, bool *detour, struct error *err)
{
    static const char *const detours[] = {"/proc/sys/net/bridge/bridge-nf-call-iptables",
                                          "/proc/sys/net/bridge/bridge-nf-call-ip6tables"};
    char path[128];
    if (set_sysctl("/proc/sys/net/ipv4/ip_forward", "1", err) < 0 || (ipv6 && forward_ipv6(err) < 0))
        return -1;
    for (size_t i = 0; own_namespace && i < ARRAY_COUNT(detours); i++)
        if (access(detours[i], F_OK) == 0 && set_sysctl(detours[i], "0", err) < 0)
            return -1;
    for (size_t i = 0; i < ARRAY_COUNT(detours); i++)
        *detour |= is_on(detours[i]);
    if (own_namespace && set_sysctl("/proc/sys/net/ipv4/tcp_tw_reuse", "1", err) < 0)
        return -1;
    if (set_sysctl("/proc/sys/net/ipv4/conf/all/send_redirects", "0", err) < 0)
        return -1;
    snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/send_redirects", bridge);
    if (set_sysctl(path, "0", err) < 0)
        return -1;
    snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/route_localnet", bridge);
    return set_sysctl(path, "1", err);
}

int network_settings_of_pod(bool ipv6, struct error *err)
{
    static const char *const settings6[][2] = {
        {"/proc/sys/net/ipv6/conf/default/disable_ipv6", "0"},
        {"/proc/sys/net/ipv6/conf/default/accept_ra", "0"},
        {"/proc/sys/net/ipv6/conf/default/accept_redirects", "0"},
        {"/proc/sys/net/ipv6/conf/lo/disable_ipv6", "0"},
    };
    static const char *const settings[][2] = {
        {"/proc/sys/net/ipv4/conf/all/accept_redirects", "0"},
        {"/proc/sys/net/ipv4/conf/default/accept_redirects", "0"},
        {"/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"},
        {"/proc/sys/net/ipv4/ping_group_range", "0 2147483647"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(settings); i++)
        if (file_poke(settings[i][0], settings[i][1], err) < 0)
            return -1;
    for (size_t i = 0; ipv6 && i < ARRAY_COUNT(settings6); i++)
        if (set_sysctl(settings6[i][0], settings6[i][1], err) < 0)
            return -1;
    return 0;
}
