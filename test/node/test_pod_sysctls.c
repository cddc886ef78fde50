/* Which kernel settings a node lets a pod have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "node/pod_sysctls.h"

static char *refusal(const char *name, bool host_network, bool host_ipc, const char *allowed)
{
    struct sysctl setting = {.name = (char *)name, .value = "1"};
    struct pod_security_context context = {.sysctls = {.items = &setting, .count = 1}};
    struct pod_spec spec = {.security_context = &context, .host_network = host_network, .host_ipc = host_ipc};
    return pod_sysctls_refusal(&spec, allowed);
}

static void safe_ones_and_allowed_ones_pass(void **state)
{
    static const struct {
        const char *name, *allowed, *complaint;
        bool host_network, host_ipc;
    } cases[] = {
        {.name = "net.ipv4.tcp_syncookies"},
        {.name = "net/ipv4/tcp_syncookies"},
        {.name = "kernel.shm_rmid_forced"},
        {.name = "kernel.shmmax", .complaint = "forbidden sysctl: \"kernel.shmmax\" not allowlisted"},
        {.name = "net/core/somaxconn", .complaint = "forbidden sysctl: \"net.core.somaxconn\" not allowlisted"},
        {.name = "vm.swappiness", .complaint = "forbidden sysctl: \"vm.swappiness\" not allowlisted"},
        {.name = "kernel.shmmax", .allowed = "net.core.somaxconn,kernel.shm*"},
        {.name = "net.core.somaxconn", .allowed = "net/core/somaxconn,kernel.shm*"},
        {.name = "net.core.somaxconn2",
         .allowed = "net.core.somaxconn,kernel.shm*",
         .complaint = "forbidden sysctl: \"net.core.somaxconn2\" not allowlisted"},
        {.name = "net.ipv4.tcp_rmem",
         .host_network = true,
         .complaint = "forbidden sysctl: \"net.ipv4.tcp_rmem\" not allowed with host net enabled"},
        {.name = "kernel.shm_rmid_forced",
         .host_ipc = true,
         .complaint = "forbidden sysctl: \"kernel.shm_rmid_forced\" not allowed with host ipc enabled"},
        {.name = "net.ipv4.tcp_rmem", .host_ipc = true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cleanup_free char *said = refusal(cases[i].name, cases[i].host_network, cases[i].host_ipc, cases[i].allowed);
        if (cases[i].complaint)
            assert_string_equal(said, cases[i].complaint);
        else
            assert_null(said);
    }
    struct pod_spec plain = {0};
    assert_null(pod_sysctls_refusal(&plain, NULL));
}

static void only_what_namespaces_keep_can_be_allowed(void **state)
{
    struct error err;
    assert_int_equal(pod_sysctls_check_list(NULL, &err), 0);
    assert_int_equal(pod_sysctls_check_list("", &err), 0);
    assert_int_equal(pod_sysctls_check_list("net.*,kernel.msgmax,fs/mqueue/queues_max", &err), 0);
    assert_int_equal(pod_sysctls_check_list("net.*,vm.swappiness", &err), -1);
    assert_string_equal(err.text, "the sysctls \"vm.swappiness\" are not known to be namespaced");
    assert_int_equal(pod_sysctls_check_list("*", &err), -1);
    assert_int_equal(pod_sysctls_check_list("net.*x", &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safe_ones_and_allowed_ones_pass),
        cmocka_unit_test(only_what_namespaces_keep_can_be_allowed),
    };
    return cmocka_run_group_tests_name("pod sysctls", tests, NULL, NULL);
}
