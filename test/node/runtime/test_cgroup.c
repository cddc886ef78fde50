/* Groups are made, limited, filled, emptied, measured and removed: on the kernel's own hierarchies where the machine
 * lets us, and on files like the kernel's for the other version. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "node/runtime/cgroup_internal.h"

static bool own_mounts(void)
{
    struct error err;
    return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           cgroup_prepare_mounts(&err) == 0;
}

/* A child that ends only when it is killed, with a child of its own. */
static pid_t start_pair(void)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        pid_t child = fork();
        if (child == 0)
            prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (child >= 0 && write(ready[1], "", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void count(void *context, pid_t pid)
{
    (*(int *)context)++;
}

static void read_text(const struct cgroup *cgroup, enum cgroup_controller controller, const char *name,
                      const char *file, char text[256])
{
    char path[PATH_MAX];
    struct error err;
    assert_int_equal(cgroup_path(cgroup, cgroup->controllers[controller], name, file, path, &err), 0);
    assert_int_equal(file_read_text(path, text, 256), 0);
    text[strcspn(text, "\n")] = 0;
}

static void kernel_takes_the_limits(void **state)
{
    struct error err;
    struct cgroup *cgroup = NULL;
    char parent[64], text[256];
    snprintf(parent, sizeof(parent), "/coracle-test/cgroup-%d", (int)getpid());
    if (geteuid() != 0 || cgroup_open(parent, &cgroup, &err) < 0) {
        printf("skipped: %s\n", geteuid() ? "not root" : err.text);
        skip();
    }
    struct cgroup_resources limits = {
        .cpu_shares = 512, .cpu_quota = 50000, .memory_limit = 64 << 20, .pids_limit = 77};
    if (cgroup_create(cgroup, "pod1", &limits, &err) < 0)
        fail_msg("%s", err.text);
    bool v2 = cgroup_version(cgroup) == 2;
    read_text(cgroup, CGROUP_CPU, "pod1", v2 ? "cpu.weight" : "cpu.shares", text);
    assert_string_equal(text, v2 ? "20" : "512");
    read_text(cgroup, CGROUP_CPU, "pod1", v2 ? "cpu.max" : "cpu.cfs_quota_us", text);
    assert_string_equal(text, v2 ? "50000 100000" : "50000");
    read_text(cgroup, CGROUP_MEMORY, "pod1", v2 ? "memory.max" : "memory.limit_in_bytes", text);
    assert_string_equal(text, "67108864");
    read_text(cgroup, CGROUP_PIDS, "pod1", "pids.max", text);
    assert_string_equal(text, "77");
    assert_int_equal(cgroup_update(cgroup, "pod1", &(struct cgroup_resources){.cpu_shares = 2}, &err), 0);
    read_text(cgroup, CGROUP_PIDS, "pod1", "pids.max", text);
    assert_string_equal(text, "max");

    struct cgroup_stats stats;
    assert_int_equal(cgroup_read_stats(cgroup, "pod1", &stats, &err), 0);
    assert_int_equal(stats.pids, 0);
    assert_int_equal(cgroup_read_stats(cgroup, "nosuch", &stats, &err), -1);
    assert_int_equal(err.code, ENOENT);
    assert_int_equal(cgroup_remove(cgroup, "", &err), 0);
    assert_int_equal(cgroup_remove(cgroup, "", &err), 0);
    cgroup_remove_ancestors(cgroup);
    cgroup_free(cgroup);
}

static void check_killing(struct cgroup *cgroup)
{
    struct error err;
    pid_t pid = start_pair();
    if (cgroup_attach(cgroup, "conmon", pid, &err) < 0)
        fail_msg("%s", err.text);
    int processes = 0;
    assert_int_equal(cgroup_each_process(cgroup, "", count, &processes, &err), 0);
    assert_int_equal(processes, 1); /* its child was there before */
    pid_t other = start_pair();
    assert_int_equal(cgroup_attach(cgroup, "deep/er/group", other, &err), 0);
    processes = 0;
    assert_int_equal(cgroup_each_process(cgroup, "", count, &processes, &err), 0);
    assert_int_equal(processes, 2);
    assert_int_equal(cgroup_remove(cgroup, "deep", &err), -1);
    assert_int_equal(err.code, EBUSY);
    assert_int_equal(cgroup_kill(cgroup, "", &err), 0);
    processes = 0;
    assert_int_equal(cgroup_each_process(cgroup, "", count, &processes, &err), 0);
    assert_int_equal(processes, 0);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(cgroup_kill(cgroup, "nosuch", &err), 0);
    assert_int_equal(cgroup_remove(cgroup, "", &err), 0);
}

static void killing_empties_a_tree(void **state)
{
    struct error err;
    struct cgroup *cgroup = NULL;
    char parent[64];
    snprintf(parent, sizeof(parent), "/coracle-test/kill-%d", (int)getpid());
    if (geteuid() != 0 || cgroup_open(parent, &cgroup, &err) < 0)
        skip();
    check_killing(cgroup);
    cgroup_remove_ancestors(cgroup);
    cgroup_free(cgroup);
}

/* cgroup.kill and friends work without any controller, so that a v2 mount will do where v1 has them all. */
static void killing_empties_a_tree_of_version_2(void **state)
{
    char directory[] = "/tmp/coracle-cgroup2-XXXXXX";
    assert_non_null(mkdtemp(directory));
    if (geteuid() != 0 || mount("cgroup2", directory, "cgroup2", 0, NULL) < 0) {
        rmdir(directory);
        skip();
    }
    struct cgroup cgroup = {.version = 2, .hierarchies = {directory}, .hierarchy_count = 1};
    snprintf(cgroup.parent, sizeof(cgroup.parent), "/coracle-test-%d", (int)getpid());
    const char *const groups[] = {"", "/conmon", "/deep", "/deep/er", "/deep/er/group"};
    for (size_t i = 0; i < ARRAY_COUNT(groups); i++) {
        char path[PATH_MAX * 2];
        snprintf(path, sizeof(path), "%s%s%s", directory, cgroup.parent, groups[i]);
        struct error err;
        assert_int_equal(file_make_directories(path, 0755, &err), 0);
    }
    check_killing(&cgroup);
    assert_int_equal(umount2(directory, MNT_DETACH), 0);
    rmdir(directory);
}

struct file {
    const char *name;
    const char *text;
};

/* A group of plain files. */
static void make_files(const char *directory, const char *name, const struct file *files, size_t count_)
{
    struct error err;
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/c/%s", directory, name);
    assert_int_equal(file_make_directories(path, 0755, &err), 0);
    for (size_t i = 0; i < count_; i++) {
        snprintf(path, sizeof(path), "%s/c/%s/%s", directory, name, files[i].name);
        assert_int_equal(file_write_atomic(path, files[i].text, strlen(files[i].text), 0644, &err), 0);
    }
}

static void usage_is_read_from_either_version(void **state)
{
    static const struct file v2[] = {
        {"cpu.stat", "usage_usec 1234567\nuser_usec 1\n"},
        {"memory.current", "10000\n"},
        {"memory.stat", "anon 5000\nfile 4000\nkernel 1\ninactive_anon 9\nactive_anon 8\ninactive_file 3000\n"},
        {"memory.events", "low 0\nhigh 0\nmax 4\noom 3\noom_kill 2\noom_group_kill 1\n"},
        {"pids.current", "7\n"},
    };
    static const struct file v1[] = {
        {"cpuacct.usage", "1234567000\n"},
        {"memory.usage_in_bytes", "10000\n"},
        {"memory.stat", "cache 4000\nrss 1\ninactive_file 1\ntotal_rss 5000\ntotal_inactive_file 3000\n"},
        {"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"},
        {"pids.current", "7\n"},
    };
    char directory[] = "/tmp/coracle-cgroup-XXXXXX";
    assert_non_null(mkdtemp(directory));
    make_files(directory, "v1", v1, ARRAY_COUNT(v1));
    make_files(directory, "v2", v2, ARRAY_COUNT(v2));
    for (int version = 1; version <= 2; version++) {
        struct error err;
        struct cgroup cgroup = {.version = version, .parent = "/c", .hierarchies = {directory}, .hierarchy_count = 1};
        struct cgroup_stats stats;
        if (cgroup_read_stats(&cgroup, version == 1 ? "v1" : "v2", &stats, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(stats.cpu_usage, 1234567000);
        assert_int_equal(stats.memory_usage, 10000);
        assert_int_equal(stats.memory_working_set, 7000);
        assert_int_equal(stats.memory_rss, 5000);
        assert_int_equal(stats.pids, 7);
        assert_int_equal(stats.oom_kills, 2);
    }
    struct error err;
    assert_int_equal(file_remove_tree(directory, &err), 0);
}

static void limits_are_written_as_version_2_wants_them(void **state)
{
    static const struct file files[] = {
        {"cpu.weight", ""}, {"cpu.max", ""}, {"memory.max", ""}, {"pids.max", ""}, {"cgroup.subtree_control", ""}};
    static const struct {
        struct cgroup_resources resources;
        const char *texts[4];
    } cases[] = {
        {{.cpu_shares = 1024, .cpu_quota = 150000, .memory_limit = 4096, .pids_limit = 5},
         {"39", "150000 100000", "4096", "5"}},
        {{.cpu_quota = 5000, .cpu_period = 50000}, {"", "5000 50000", "max", "max"}},
        {{.cpu_shares = 2}, {"1", "max 100000", "max", "max"}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char directory[] = "/tmp/coracle-cgroup-XXXXXX", text[256];
        struct error err;
        assert_non_null(mkdtemp(directory));
        make_files(directory, "g", files, ARRAY_COUNT(files));
        struct cgroup cgroup = {.version = 2, .parent = "/c", .hierarchies = {directory}, .hierarchy_count = 1};
        if (cgroup_update(&cgroup, "g", &cases[i].resources, &err) < 0)
            fail_msg("%s", err.text);
        for (size_t k = 0; k < ARRAY_COUNT(cases[i].texts); k++) {
            read_text(&cgroup, CGROUP_CPU, "g", files[k].name, text);
            assert_string_equal(text, cases[i].texts[k]);
        }
        assert_int_equal(file_remove_tree(directory, &err), 0);
    }
}

static void parent_must_be_a_plain_path(void **state)
{
    static const char *const bad[] = {"", "/", "x", "/x/", "/x//y", "/x/../y", "/./x"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct cgroup *cgroup;
        struct error err;
        assert_int_equal(cgroup_find(bad[i], &cgroup, &err), -1);
        assert_int_equal(err.code, EINVAL);
    }
}

int main(void)
{
    if (geteuid() == 0 && !own_mounts())
        printf("no mounts of our own\n");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernel_takes_the_limits),
        cmocka_unit_test(killing_empties_a_tree),
        cmocka_unit_test(killing_empties_a_tree_of_version_2),
        cmocka_unit_test(usage_is_read_from_either_version),
        cmocka_unit_test(limits_are_written_as_version_2_wants_them),
        cmocka_unit_test(parent_must_be_a_plain_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
