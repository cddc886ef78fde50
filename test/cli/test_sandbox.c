/* Sandboxes: made, crashed, found again, and gone without a trace. The program runs in a mount and a network namespace
 * of its own, whose /run is empty and whose mounts are shared, as on a machine run by systemd. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "cli/sandbox.h"
#include "network/namespace.h"
#include "network/netlink.h"

#define WAIT_MILLISECONDS 10000

static char name[32], other[32]; /* of clusters; cgroups are the machine's, so they hold our process number */

static void ok(int result, const struct error *err)
{
    if (result < 0)
        print_error("%s\n", err->text);
    assert_int_equal(result, 0);
}

/* ---- a cluster's process ---- */

struct report {
    int result;
    struct error error;
    bool reentered;
    ino_t network, mount;
    pid_t container;
};

struct member {
    pid_t process;
    struct report report;
};

static ino_t own(const char *kind)
{
    struct stat s;
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
    return stat(path, &s) == 0 ? s.st_ino : 0;
}

/* A process that outlives its parent: what conmon is to a cluster. It comes to exec only after its parent's end, as
 * may happen, and holds the parent's descriptors until then. With `apart`, in namespaces of its own. */
static pid_t start_container(bool apart)
{
    int fds[2], number;
    pid_t process = 0;
    sigset_t parent_ended;
    sigemptyset(&parent_ended);
    sigaddset(&parent_ended, SIGUSR1);
    if (pipe(fds) < 0)
        return 0;
    if (fork() == 0) {
        setsid();
        close(fds[0]);
        sigprocmask(SIG_BLOCK, &parent_ended, NULL);
        prctl(PR_SET_PDEATHSIG, SIGUSR1);
        if (apart && unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
            _exit(1);
        process = getpid();
        if (write(fds[1], &process, sizeof(process)) != sizeof(process))
            _exit(1);
        sigwait(&parent_ended, &number);
        close_range(3, ~0U, 0); /* as exec would */
        for (;;)
            pause();
    }
    close(fds[1]);
    if (read(fds[0], &process, sizeof(process)) != sizeof(process))
        process = 0;
    close(fds[0]);
    return process;
}

enum { CONTAINER = 1, CONTAINER_APART = 2 };

/* A test that fails must not leave processes that hold its output open. */
static void let_go_of_output(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2; fd++)
        dup2(null, fd);
}

/* Starts a process that enters the sandbox and stays. */
static struct member start(const struct sandbox_options *options, int flags)
{
    struct member m = {0};
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    m.process = fork();
    if (m.process == 0) {
        struct sandbox sandbox;
        struct report r = {0};
        let_go_of_output();
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        r.result = sandbox_enter(options, &sandbox, &r.error);
        r.reentered = r.result == 0 && sandbox.reentered;
        r.network = own("net");
        r.mount = own("mnt");
        if (r.result == 0 && flags)
            r.container = start_container(flags & CONTAINER_APART);
        if (write(fds[1], &r, sizeof(r)) != sizeof(r) || r.result < 0)
            _exit(1);
        for (;;)
            pause();
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &m.report, sizeof(m.report)), sizeof(m.report));
    close(fds[0]);
    if (m.report.result < 0)
        waitpid(m.process, NULL, 0);
    return m;
}

static void kill_member(struct member *m)
{
    kill(m->process, SIGKILL);
    waitpid(m->process, NULL, 0);
}

static bool is_alive(pid_t process)
{
    return kill(process, 0) == 0;
}

/* Orphans come to us, as they would to init. */
static void reap(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

/* Runs `what` in a process of its own; its result. */
static int in_child(int (*what)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(what());
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- what is on the machine ---- */

static char *mounts(void)
{
    struct buffer text = {0};
    struct error e = {0};
    ok(file_read("/proc/self/mountinfo", 1 << 20, &text, &e), &e);
    return buffer_steal(&text, NULL);
}

static const char *freezer(void)
{
    return access("/sys/fs/cgroup/freezer", F_OK) == 0  ? "/sys/fs/cgroup/freezer"
           : access("/sys/fs/cgroup/unified", F_OK) == 0 ? "/sys/fs/cgroup/unified"
                                                         : "/sys/fs/cgroup";
}

static bool has_cgroup(const char *cluster)
{
    cleanup_free char *path = mem_printf("%s/coracle/%s", freezer(), cluster);
    return access(path, F_OK) == 0;
}

/* Puts a process into coracle/CLUSTER/pod of one hierarchy. */
static void put_into_cgroup(const char *cluster, pid_t process, bool freeze)
{
    struct error e = {0};
    cleanup_free char *path = mem_printf("%s/coracle/%s/pod", freezer(), cluster);
    cleanup_free char *list = mem_printf("%s/cgroup.procs", path);
    cleanup_free char *number = mem_printf("%d", (int)process);
    ok(file_make_directories(path, 0755, &e), &e);
    ok(file_poke(list, number, &e), &e);
    if (!freeze)
        return;
    cleanup_free char *version_1 = mem_printf("%s/freezer.state", path);
    cleanup_free char *version_2 = mem_printf("%s/cgroup.freeze", path);
    bool is_1 = access(version_1, W_OK) == 0;
    ok(file_poke(is_1 ? version_1 : version_2, is_1 ? "FROZEN" : "1", &e), &e);
}

static void destroy(const char *cluster)
{
    struct error e = {0};
    ok(sandbox_destroy(cluster, &e), &e);
}

/* ---- promises ---- */

static void names_are_dns_labels(void **state)
{
    static const char *const bad[] = {"", "-a", "a-", "A", "a.b", "a/b", "..", "a b", "a_b"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(sandbox_name_check(bad[i], NULL), -1);
    char text[SANDBOX_NAME_MAX + 2];
    memset(text, 'a', sizeof(text));
    text[SANDBOX_NAME_MAX + 1] = 0;
    assert_int_equal(sandbox_name_check(text, NULL), -1);
    text[SANDBOX_NAME_MAX] = 0;
    assert_int_equal(sandbox_name_check(text, NULL), 0);
    assert_int_equal(sandbox_name_check("0-a", NULL), 0);
    struct error e;
    assert_int_equal(sandbox_destroy("../etc", &e), -1);
    assert_int_equal(e.code, EINVAL);
}

static void a_killed_cluster_is_found_again_and_then_nothing_is_left(void **state)
{
    cleanup_free char *before = mounts();
    const char *data = "/run/data/cluster";
    struct error e = {0};
    struct sandbox_options options = {.name = name, .isolated = true, .data_directory = data, .disposable = true};
    ok(file_make_directories("/run/data/cluster/store", 0700, &e), &e);
    struct member first = start(&options, CONTAINER);
    ok(first.report.result, &first.report.error);
    assert_false(first.report.reentered);
    assert_int_not_equal(first.report.network, own("net"));
    assert_int_not_equal(first.report.mount, own("mnt"));
    put_into_cgroup(name, first.report.container, false);
    kill_member(&first);
    assert_true(is_alive(first.report.container));

    enum sandbox_presence presence;
    pid_t process;
    ok(sandbox_find(name, &presence, &process, &e), &e);
    assert_int_equal(presence, SANDBOX_STOPPED);
    struct member second = start(&options, 0);
    ok(second.report.result, &second.report.error);
    assert_true(second.report.reentered);
    assert_int_equal(second.report.network, first.report.network);
    assert_int_equal(second.report.mount, first.report.mount);
    assert_true(is_alive(first.report.container));
    ok(sandbox_find(name, &presence, &process, &e), &e);
    assert_int_equal(presence, SANDBOX_RUNNING);
    assert_int_equal(process, second.process);

    destroy(name);
    reap();
    assert_false(is_alive(first.report.container));
    assert_false(is_alive(second.process));
    assert_false(has_cgroup(name));
    assert_int_equal(access(SANDBOX_RUN_DIRECTORY, F_OK), -1);
    assert_int_equal(access(data, F_OK), -1);
    assert_int_equal(access("/run/data", F_OK), 0);
    cleanup_free char *after = mounts();
    assert_string_equal(before, after);
    ok(sandbox_find(name, &presence, &process, &e), &e);
    assert_int_equal(presence, SANDBOX_ABSENT);
    destroy(name); /* again is fine */
}

static void a_second_up_of_the_same_name_is_told_why_it_cannot(void **state)
{
    struct sandbox_options options = {.name = name, .isolated = true};
    struct member first = start(&options, 0), second = start(&options, 0);
    char text[64];
    ok(first.report.result, &first.report.error);
    assert_int_equal(second.report.result, -1);
    assert_int_equal(second.report.error.code, EBUSY);
    snprintf(text, sizeof(text), "process %d", (int)first.process);
    assert_non_null(strstr(second.report.error.text, text));
    assert_non_null(strstr(second.report.error.text, "coracle down"));
    kill_member(&first);
    options.isolated = false; /* the sandbox is still there */
    second = start(&options, 0);
    assert_int_equal(second.report.result, -1);
    assert_int_equal(second.report.error.code, EEXIST);
    destroy(name);
}

/* Moves one end of a veth pair into the network namespace of a process. */
static void plant_link(const char *link, pid_t process)
{
    struct error e = {0};
    cleanup_netlink struct netlink netlink = NETLINK_CLOSED;
    cleanup_netlink_batch struct netlink_batch batch = {0};
    struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
    char peer[IF_NAMESIZE];
    snprintf(peer, sizeof(peer), "%s-in", link);
    ok(netlink_open(-1, NETLINK_ROUTE, &netlink, &e), &e);
    netlink_message(&batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof(header));
    netlink_add_string(&batch, IFLA_IFNAME, link);
    size_t info = netlink_nest(&batch, IFLA_LINKINFO);
    netlink_add_string(&batch, IFLA_INFO_KIND, "veth");
    size_t data = netlink_nest(&batch, IFLA_INFO_DATA);
    size_t end = netlink_nest(&batch, 1 /* VETH_INFO_PEER */);
    buffer_add(&batch.data, &header, sizeof(header));
    netlink_add_string(&batch, IFLA_IFNAME, peer);
    netlink_add_u32(&batch, IFLA_NET_NS_PID, (uint32_t)process);
    netlink_nest_end(&batch, end);
    netlink_nest_end(&batch, data);
    netlink_nest_end(&batch, info);
    ok(netlink_commit(&netlink, &batch, NULL, &e), &e);
}

/* A link whose other end dies with its namespace: waits for the kernel's message that it is gone. */
static void expect_link_to_go(int events, const char *link)
{
    struct pollfd poll_for = {events, POLLIN, 0};
    char data[16384];
    while (if_nametoindex(link)) {
        assert_int_equal(poll(&poll_for, 1, WAIT_MILLISECONDS), 1);
        assert_true(recv(events, data, sizeof(data), 0) > 0);
    }
}

static void sandboxes_live_side_by_side_and_end_one_by_one(void **state)
{
    struct sandbox_options a = {.name = name, .isolated = true}, b = {.name = other, .isolated = true};
    struct error e = {0};
    cleanup_close int events = network_namespace_socket(-1, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &e);
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    assert_int_equal(bind(events, (struct sockaddr *)&address, sizeof(address)), 0);
    struct member first = start(&a, CONTAINER), second = start(&b, CONTAINER);
    ok(first.report.result, &first.report.error);
    ok(second.report.result, &second.report.error);
    assert_int_not_equal(first.report.network, second.report.network);
    plant_link("in-first", first.process);
    plant_link("in-second", second.process);
    destroy(name);
    /* The second was made while the first was there, and must not keep it alive. */
    expect_link_to_go(events, "in-first");
    assert_true(if_nametoindex("in-second") > 0);
    assert_true(is_alive(second.process));
    assert_true(is_alive(second.report.container));
    destroy(other);
    expect_link_to_go(events, "in-second");
    reap();
    assert_false(is_alive(second.process));
    assert_int_equal(access(SANDBOX_RUN_DIRECTORY, F_OK), -1);
}

static int look_around(void)
{
    struct error e;
    struct sockaddr_in outside = {.sin_family = AF_INET, .sin_port = htons(9)}, node = outside;
    if (sandbox_join(name, &e) < 0)
        return 1;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "192.0.2.1", &outside.sin_addr);
    inet_pton(AF_INET, SANDBOX_NODE_ADDRESS, &node.sin_addr);
    if (connect(fd, (struct sockaddr *)&outside, sizeof(outside)) == 0 || errno != ENETUNREACH)
        return 2;
    if (connect(fd, (struct sockaddr *)&node, sizeof(node)) < 0 || !if_nametoindex(SANDBOX_NODE_LINK))
        return 3;
    node.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&node, sizeof(node)) < 0)
        return 4;
    if (mount("none", "/run/data", "tmpfs", 0, NULL) < 0)
        return 5;
    if (sandbox_destroy(name, &e) == 0 || !strstr(e.text, "from inside"))
        return 6;
    return 0;
}

static void enter_finds_a_node_without_a_way_out(void **state)
{
    struct sandbox_options options = {.name = name, .isolated = true};
    struct error e;
    assert_int_equal(sandbox_join(name, &e), -1);
    assert_int_equal(e.code, ENOENT);
    struct member m = start(&options, 0);
    ok(m.report.result, &m.report.error);
    cleanup_free char *before = mounts();
    assert_int_equal(in_child(look_around), 0);
    cleanup_free char *after = mounts();
    assert_string_equal(before, after); /* what is mounted inside stays inside */
    destroy(name);
}

static void without_isolation_only_the_mounts_are_apart(void **state)
{
    cleanup_free char *before = mounts();
    struct sandbox_options options = {.name = name, .data_directory = "/run/data"};
    struct member m = start(&options, CONTAINER);
    ok(m.report.result, &m.report.error);
    assert_int_equal(m.report.network, own("net"));
    assert_int_not_equal(m.report.mount, own("mnt"));
    kill_member(&m);
    m = start(&options, 0);
    ok(m.report.result, &m.report.error);
    assert_true(m.report.reentered);
    destroy(name);
    cleanup_free char *after = mounts();
    assert_string_equal(before, after);
    assert_int_equal(access("/run/data", F_OK), 0); /* not disposable */
}

static void containers_are_found_by_descent_and_by_cgroup(void **state)
{
    struct sandbox_options options = {.name = name, .isolated = true};
    struct member m = start(&options, CONTAINER_APART);
    ok(m.report.result, &m.report.error);
    destroy(name);
    reap();
    assert_false(is_alive(m.report.container));

    m = start(&options, CONTAINER_APART);
    ok(m.report.result, &m.report.error);
    put_into_cgroup(name, m.report.container, true);
    kill_member(&m); /* nothing but the cgroup leads to it now, and it is frozen */
    destroy(name);
    reap();
    assert_false(is_alive(m.report.container));
    assert_false(has_cgroup(name));
}

static void a_crash_while_entering_is_repaired(void **state)
{
    cleanup_free char *before = mounts();
    struct sandbox_options options = {.name = name, .isolated = true};
    struct error e = {0};
    struct member m = start(&options, 0);
    ok(m.report.result, &m.report.error);
    kill_member(&m);
    cleanup_free char *path = mem_printf(SANDBOX_RUN_DIRECTORY "/%s/ns/mnt", name);
    assert_int_equal(umount2(path, MNT_DETACH), 0); /* as if it had not come that far */
    m = start(&options, 0);
    ok(m.report.result, &m.report.error);
    assert_false(m.report.reentered);
    destroy(name);
    cleanup_free char *after = mounts();
    assert_string_equal(before, after);

    options.data_directory = "relative";
    m = start(&options, 0);
    assert_int_equal(m.report.result, -1);
    options.data_directory = "/a/../etc";
    m = start(&options, 0);
    assert_int_equal(m.report.result, -1);
    ok(sandbox_destroy(name, &e), &e);
}

static bool prepare(void)
{
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("run", "/run", "tmpfs", 0, NULL) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) < 0)
        return false;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    mkdir("/run/data", 0700);
    snprintf(name, sizeof(name), "test-%d", (int)getpid());
    snprintf(other, sizeof(other), "test-%d-b", (int)getpid());
    return true;
}

int main(void)
{
    if (!prepare())
        return 77;
    alarm(100);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_dns_labels),
        cmocka_unit_test(a_killed_cluster_is_found_again_and_then_nothing_is_left),
        cmocka_unit_test(a_second_up_of_the_same_name_is_told_why_it_cannot),
        cmocka_unit_test(sandboxes_live_side_by_side_and_end_one_by_one),
        cmocka_unit_test(enter_finds_a_node_without_a_way_out),
        cmocka_unit_test(without_isolation_only_the_mounts_are_apart),
        cmocka_unit_test(containers_are_found_by_descent_and_by_cgroup),
        cmocka_unit_test(a_crash_while_entering_is_repaired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
