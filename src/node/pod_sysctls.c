#include "node/pod_sysctls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/sysctl.h"
#include "base/cleanup.h"

/* What one pod sets here changes nothing for another pod or for the node. */
static const char *const safe[] = {
    "kernel.shm_rmid_forced",           "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",        "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",     "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",      "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",          "net.ipv4.tcp_wmem",
};

/* The next of a list: moves `list` behind it and returns its length, or 0 at the end. */
static size_t next_pattern(const char **list, const char **pattern)
{
    *list += strspn(*list, ",");
    *pattern = *list;
    size_t length = strcspn(*list, ",");
    *list += length;
    return length;
}

int pod_sysctls_check_list(const char *list, struct error *err)
{
    const char *pattern;
    for (size_t n; list && (n = next_pattern(&list, &pattern));) {
        cleanup_free char *text = mem_string_n(pattern, n);
        cleanup_free char *name = sysctl_normal(text);
        const char *star = strchr(name, '*');
        if ((star && star[1]) || sysctl_scope_of(name) == SYSCTL_OF_NODE)
            return error_set(err, EINVAL, "the sysctls \"%s\" are not known to be namespaced", text);
    }
    return 0;
}

static bool is_allowed(const char *name, const char *list)
{
    const char *pattern;
    for (size_t i = 0; i < ARRAY_COUNT(safe); i++)
        if (strcmp(name, safe[i]) == 0)
            return true;
    for (size_t n; list && (n = next_pattern(&list, &pattern));) {
        cleanup_free char *text = mem_string_n(pattern, n);
        cleanup_free char *allowed = sysctl_normal(text);
        size_t length = strlen(allowed);
        if (allowed[length - 1] == '*' ? strncmp(name, allowed, length - 1) == 0 : strcmp(name, allowed) == 0)
            return true;
    }
    return false;
}

char *pod_sysctls_refusal(const struct pod_spec *spec, const char *unsafe_allowed)
{
    const struct pod_security_context *security = spec->security_context;
    for (size_t i = 0; security && i < security->sysctls.count; i++) {
        cleanup_free char *name = sysctl_normal(security->sysctls.items[i].name);
        enum sysctl_scope scope = sysctl_scope_of(name);
        if (!is_allowed(name, unsafe_allowed))
            return mem_printf("forbidden sysctl: \"%s\" not allowlisted", name);
        if (spec->host_network && scope == SYSCTL_OF_NETWORK)
            return mem_printf("forbidden sysctl: \"%s\" not allowed with host net enabled", name);
        if (spec->host_ipc && scope == SYSCTL_OF_IPC)
            return mem_printf("forbidden sysctl: \"%s\" not allowed with host ipc enabled", name);
    }
    return NULL;
}
