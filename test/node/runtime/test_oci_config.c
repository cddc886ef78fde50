/* config.json holds what upstream's runtime would put there. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <linux/capability.h>

#include "base/cleanup.h"
#include "node/runtime/oci_config.h"

#define ALL_CAPABILITIES ((UINT64_C(1) << 41) - 1)

static const char *const args[] = {"/bin/server", "--port=80"};

static struct runtime_container_config simple(void)
{
    return (struct runtime_container_config){
        .id = "c1", .pod_uid = "p1", .name = "main", .rootfs = "/images/r", .args = args, .arg_count = 2};
}

static struct oci_surroundings around(void)
{
    return (struct oci_surroundings){
        .hostname = "the-pod",
        .network_namespace = "/ns/net",
        .ipc_namespace = "/ns/ipc",
        .uts_namespace = "/ns/uts",
        .shm = "/run/shm",
        .termination_log = "/run/last-words",
        .cgroup = "/coracle/x/podp1/c1",
        .cgroup_version = 1,
        .bounding_capabilities = ALL_CAPABILITIES,
        .oom_score_adj_min = -1000,
    };
}

static json_t *write_config(const struct runtime_container_config *config, const struct oci_surroundings *surroundings)
{
    cleanup_buffer struct buffer out = {0};
    struct error err;
    if (oci_config_write(config, surroundings, &out, &err) < 0)
        fail_msg("%s", err.text);
    json_t *root = json_loadb(out.data, out.size, 0, NULL);
    assert_non_null(root);
    return root;
}

/* Follows names and numbers: at(root, "process.user.uid"). */
static json_t *at(json_t *value, const char *path)
{
    char copy[128];
    strcpy(copy, path);
    for (char *rest = copy, *name; (name = strsep(&rest, "."));)
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(name)) : json_object_get(value, name);
    return value;
}

static const char *text_at(json_t *root, const char *path)
{
    const char *text = json_string_value(at(root, path));
    return text ? text : "(none)";
}

static bool has_text(json_t *array, const char *text)
{
    size_t i;
    json_t *item;
    json_array_foreach(array, i, item) if (!strcmp(json_string_value(item), text)) return true;
    return false;
}

static json_t *find(json_t *array, const char *key, const char *text)
{
    size_t i;
    json_t *item;
    json_array_foreach(array, i, item) if (!strcmp(json_string_value(json_object_get(item, key)), text)) return item;
    return NULL;
}

static void simple_container_gets_the_defaults(void **state)
{
    struct runtime_container_config config = simple();
    struct oci_surroundings surroundings = around();
    json_t *root = write_config(&config, &surroundings);
    assert_string_equal(text_at(root, "root.path"), "/images/r");
    assert_string_equal(text_at(root, "process.args.1"), "--port=80");
    assert_string_equal(text_at(root, "process.cwd"), "/");
    assert_true(has_text(at(root, "process.env"), "HOSTNAME=the-pod"));
    assert_true(has_text(at(root, "process.env"), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    assert_int_equal(json_array_size(at(root, "process.capabilities.bounding")), 14);
    assert_true(has_text(at(root, "process.capabilities.effective"), "CAP_NET_BIND_SERVICE"));
    assert_false(has_text(at(root, "process.capabilities.permitted"), "CAP_SYS_ADMIN"));
    assert_null(at(root, "process.capabilities.inheritable"));
    assert_string_equal(text_at(root, "linux.cgroupsPath"), "/coracle/x/podp1/c1");
    json_t *namespaces = at(root, "linux.namespaces");
    assert_string_equal(text_at(find(namespaces, "type", "network"), "path"), "/ns/net");
    assert_string_equal(text_at(find(namespaces, "type", "uts"), "path"), "/ns/uts");
    assert_non_null(find(namespaces, "type", "pid"));
    assert_null(find(namespaces, "type", "cgroup"));
    assert_string_equal(text_at(find(at(root, "mounts"), "destination", "/dev/shm"), "source"), "/run/shm");
    assert_true(has_text(at(find(at(root, "mounts"), "destination", "/sys"), "options"), "ro"));
    assert_true(has_text(at(root, "linux.maskedPaths"), "/proc/kcore"));
    assert_true(has_text(at(root, "linux.readonlyPaths"), "/proc/sys"));
    assert_null(at(root, "linux.resources.cpu"));
    assert_null(at(root, "linux.resources.memory"));
    json_decref(root);
}

static void what_is_shared_with_the_node_gets_no_namespace(void **state)
{
    struct runtime_container_config config = simple();
    struct oci_surroundings surroundings = around();
    surroundings.network_namespace = surroundings.uts_namespace = surroundings.ipc_namespace = NULL;
    surroundings.hostname = NULL;
    surroundings.host_pid = true;
    surroundings.cgroup_version = 2;
    json_t *root = write_config(&config, &surroundings);
    assert_int_equal(json_array_size(at(root, "linux.namespaces")), 2);
    assert_non_null(find(at(root, "linux.namespaces"), "type", "mount"));
    assert_non_null(find(at(root, "linux.namespaces"), "type", "cgroup"));
    assert_false(has_text(at(root, "process.env"), "HOSTNAME=the-pod"));
    assert_string_equal(json_string_value(json_object_get(at(root, "linux.resources.unified"), "memory.oom.group")),
                        "1");
    json_decref(root);
}

static void huge_pages_are_limited_where_the_kernel_can(void **state)
{
    static const struct runtime_huge_page_limit limits[] = {{"2MB", 4 << 20}, {"1GB", 0}};
    struct runtime_container_config config = simple();
    struct oci_surroundings surroundings = around();
    config.huge_pages = limits;
    config.huge_page_count = 2;
    for (int can = 0; can < 2; can++) {
        surroundings.limit_huge_pages = can;
        json_t *root = write_config(&config, &surroundings);
        json_t *pages = at(root, "linux.resources.hugepageLimits");
        assert_int_equal(json_array_size(pages), can ? 2 : 0);
        for (size_t i = 0; i < json_array_size(pages); i++) {
            json_t *page = json_array_get(pages, i);
            assert_string_equal(json_string_value(json_object_get(page, "pageSize")), limits[i].size);
            assert_int_equal(json_integer_value(json_object_get(page, "limit")), limits[i].limit);
        }
        json_decref(root);
    }
}

static void resources_are_limited(void **state)
{
    struct runtime_container_config config = simple();
    struct oci_surroundings surroundings = around();
    config.resources =
        (struct cgroup_resources){.cpu_shares = 512, .cpu_quota = 50000, .memory_limit = 64 << 20, .pids_limit = 100};
    surroundings.limit_swap = true;
    json_t *root = write_config(&config, &surroundings);
    assert_int_equal(json_integer_value(at(root, "linux.resources.cpu.shares")), 512);
    assert_int_equal(json_integer_value(at(root, "linux.resources.cpu.quota")), 50000);
    assert_int_equal(json_integer_value(at(root, "linux.resources.cpu.period")), 100000);
    assert_int_equal(json_integer_value(at(root, "linux.resources.memory.limit")), 64 << 20);
    assert_int_equal(json_integer_value(at(root, "linux.resources.memory.swap")), 64 << 20);
    assert_int_equal(json_integer_value(at(root, "linux.resources.pids.limit")), 100);
    json_decref(root);
}

static void capabilities_are_added_and_dropped(void **state)
{
    static const char *const net_admin[] = {"NET_ADMIN"}, *const all[] = {"all"}, *const chown_[] = {"CAP_CHOWN"};
    static const struct {
        const char *const *add, *const *drop;
        size_t count;
        const char *has, *lacks;
    } cases[] = {
        {net_admin, NULL, 15, "CAP_NET_ADMIN", "CAP_SYS_ADMIN"},
        {NULL, all, 0, NULL, "CAP_CHOWN"},
        {net_admin, all, 1, "CAP_NET_ADMIN", "CAP_CHOWN"},
        {all, chown_, 39, "CAP_SYS_ADMIN", "CAP_CHOWN"},
        {NULL, chown_, 13, "CAP_KILL", "CAP_CHOWN"},
    };
    struct oci_surroundings surroundings = around();
    /* What the node itself lacks, "all" does not mean. */
    surroundings.bounding_capabilities &= ~(UINT64_C(1) << CAP_SYS_RESOURCE);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct runtime_container_config config = simple();
        config.add_capabilities = cases[i].add;
        config.add_capability_count = cases[i].add != NULL;
        config.drop_capabilities = cases[i].drop;
        config.drop_capability_count = cases[i].drop != NULL;
        json_t *root = write_config(&config, &surroundings);
        json_t *set = at(root, "process.capabilities.bounding");
        assert_int_equal(json_array_size(set), cases[i].count);
        assert_true(!cases[i].has || has_text(set, cases[i].has));
        assert_false(has_text(set, cases[i].lacks));
        json_decref(root);
    }
}

static void mounts_keep_order_and_propagation(void **state)
{
    struct runtime_container_config config = simple();
    struct oci_surroundings surroundings = around();
    static const struct runtime_mount mounts[] = {
        {.source = "/volumes/a", .destination = "/data", .read_only = true, .propagation = RUNTIME_PROPAGATION_PRIVATE},
        {.source = "/volumes/b", .destination = "/data/b", .propagation = RUNTIME_PROPAGATION_SLAVE},
    };
    config.mounts = mounts;
    config.mount_count = 2;
    config.termination_message_path = "/dev/termination-log";
    json_t *root = write_config(&config, &surroundings);
    json_t *list = at(root, "mounts");
    json_t *first = json_array_get(list, json_array_size(list) - 4);
    assert_string_equal(text_at(first, "destination"), "/data");
    assert_true(has_text(at(first, "options"), "ro") && has_text(at(first, "options"), "rprivate"));
    json_t *second = json_array_get(list, json_array_size(list) - 2);
    assert_true(has_text(at(second, "options"), "rw") && has_text(at(second, "options"), "rslave"));
    assert_string_equal(text_at(find(list, "destination", "/dev/termination-log"), "source"), "/run/last-words");
    assert_string_equal(text_at(root, "linux.rootfsPropagation"), "rslave");
    json_decref(root);
}

static void no_mount_hides_one_below_it(void **state)
{
    struct runtime_container_config config = simple();
    struct oci_surroundings surroundings = around();
    static const struct runtime_mount mounts[] = {
        {.source = "/v/1", .destination = "/data/inner/"}, {.source = "/v/2", .destination = "//data/./cm"},
        {.source = "/v/3", .destination = "/data"},        {.source = "/v/4", .destination = "/dev"},
        {.source = "/v/5", .destination = "/dev/shm"},     {.source = "/v/6", .destination = "/"},
        {.source = "/v/7", .destination = "/a/../b"},
    };
    static const char *const expected[] = {"/v/6", "/v/3", "/v/4", "/v/7",           "/run/shm",
                                           "/v/1", "/v/2", "/v/5", "/run/last-words"};
    /* crun takes what ends in a slash for a directory, and it may be a file. */
    static const char *const places[] = {"/", "/data", "/dev", "/b", "/dev/shm", "/data/inner", "/data/cm"};
    config.mounts = mounts;
    config.mount_count = ARRAY_COUNT(mounts);
    config.termination_message_path = "/dev/termination-log";
    json_t *root = write_config(&config, &surroundings);
    json_t *list = at(root, "mounts");
    size_t before = json_array_size(list) - ARRAY_COUNT(expected);
    assert_string_equal(text_at(json_array_get(list, 0), "destination"), "/proc");
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++)
        assert_string_equal(text_at(json_array_get(list, before + i), "source"), expected[i]);
    for (size_t i = 0; i < ARRAY_COUNT(places); i++)
        assert_string_equal(text_at(json_array_get(list, before + i), "destination"), places[i]);
    json_decref(root);
}

static void privileged_container_is_not_fenced(void **state)
{
    struct runtime_container_config config = simple();
    struct oci_surroundings surroundings = around();
    config.privileged = true;
    config.seccomp = RUNTIME_SECCOMP_PROFILE;
    config.seccomp_profile = "{\"defaultAction\":\"SCMP_ACT_ERRNO\"}";
    json_t *root = write_config(&config, &surroundings);
    assert_int_equal(json_array_size(at(root, "process.capabilities.bounding")), 41);
    assert_null(at(root, "linux.maskedPaths"));
    assert_null(at(root, "linux.seccomp"));
    assert_false(has_text(at(find(at(root, "mounts"), "destination", "/sys"), "options"), "ro"));
    assert_true(json_is_true(at(root, "linux.resources.devices.0.allow")));
    json_decref(root);
}

static json_t *find_rule(json_t *profile, const char *call)
{
    size_t i;
    json_t *rule;
    json_array_foreach(at(profile, "syscalls"), i,
                       rule) if (has_text(json_object_get(rule, "names"), call)) return rule;
    return NULL;
}

/* What the default profile says of a call without regard to its arguments. */
enum verdict { ALLOWED, BY_ARGUMENTS, EPERM_ANSWER, UNKNOWN };

static enum verdict verdict(json_t *profile, const char *call)
{
    json_t *rule = find_rule(profile, call);
    if (!rule)
        return UNKNOWN;
    if (!strcmp(text_at(rule, "action"), "SCMP_ACT_ALLOW"))
        return json_object_get(rule, "args") ? BY_ARGUMENTS : ALLOWED;
    assert_string_equal(text_at(rule, "action"), "SCMP_ACT_ERRNO");
    assert_int_equal(json_integer_value(at(rule, "errnoRet")), EPERM);
    return EPERM_ANSWER;
}

static void system_calls_are_filtered_by_capabilities(void **state)
{
    static const char *const sys_admin[] = {"SYS_ADMIN"}, *const all[] = {"ALL"}, *const bpf[] = {"BPF"};
    static const struct {
        const char *const *add, *const *drop;
        const char *call;
        enum verdict verdict;
    } cases[] = {
        {NULL, NULL, "openat", ALLOWED},
        {NULL, NULL, "clone", BY_ARGUMENTS},
        {NULL, NULL, "socket", BY_ARGUMENTS},
        {NULL, NULL, "personality", BY_ARGUMENTS},
        {NULL, NULL, "clone3", UNKNOWN},
        {NULL, NULL, "mount", EPERM_ANSWER},
        {NULL, NULL, "unshare", EPERM_ANSWER},
        {NULL, NULL, "keyctl", EPERM_ANSWER},
        {NULL, NULL, "io_uring_setup", EPERM_ANSWER},
        {NULL, NULL, "chroot", ALLOWED}, /* the default set has SYS_CHROOT */
        {NULL, all, "chroot", EPERM_ANSWER},
        {sys_admin, NULL, "mount", ALLOWED},
        {sys_admin, NULL, "clone", ALLOWED},
        {sys_admin, NULL, "clone3", ALLOWED},
        {sys_admin, NULL, "bpf", ALLOWED},
        {bpf, NULL, "bpf", ALLOWED},
        {bpf, NULL, "mount", EPERM_ANSWER},
        {sys_admin, NULL, "keyctl", EPERM_ANSWER},
        {all, NULL, "init_module", ALLOWED},
    };
    struct oci_surroundings surroundings = around();
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct runtime_container_config config = simple();
        config.add_capabilities = cases[i].add;
        config.add_capability_count = cases[i].add != NULL;
        config.drop_capabilities = cases[i].drop;
        config.drop_capability_count = cases[i].drop != NULL;
        json_t *root = write_config(&config, &surroundings), *profile = at(root, "linux.seccomp");
        assert_string_equal(text_at(profile, "defaultAction"), "SCMP_ACT_ERRNO");
        assert_int_equal(json_integer_value(at(profile, "defaultErrnoRet")), ENOSYS);
        if (verdict(profile, cases[i].call) != cases[i].verdict)
            fail_msg("case %zu: %s", i, cases[i].call);
        json_decref(root);
    }
}

/* A call in two rules of different answers would make the profile depend on the order in which it is read. */
static void no_system_call_is_named_twice(void **state)
{
    static const char *const sets[][1] = {{"ALL"}, {"KILL"}, {"SYS_ADMIN"}};
    struct oci_surroundings surroundings = around();
    for (size_t s = 0; s < ARRAY_COUNT(sets); s++) {
        struct runtime_container_config config = simple();
        config.add_capabilities = sets[s];
        config.add_capability_count = 1;
        json_t *root = write_config(&config, &surroundings), *seen = json_object(), *rule, *name;
        size_t i, k;
        json_array_foreach(at(root, "linux.seccomp.syscalls"), i, rule)
        {
            json_array_foreach(json_object_get(rule, "names"), k, name)
            {
                const char *call = json_string_value(name);
                assert_true(*call);
                if (json_object_get(seen, call) && !json_object_get(rule, "args"))
                    fail_msg("%s is named twice", call);
                json_object_set_new(seen, call, json_true());
            }
        }
        json_decref(seen);
        json_decref(root);
    }
}

static void seccomp_profile_is_handed_on(void **state)
{
    struct runtime_container_config config = simple();
    struct oci_surroundings surroundings = around();
    config.seccomp = RUNTIME_SECCOMP_PROFILE;
    config.seccomp_profile = "{\"defaultAction\":\"SCMP_ACT_LOG\"}";
    json_t *root = write_config(&config, &surroundings);
    assert_string_equal(text_at(root, "linux.seccomp.defaultAction"), "SCMP_ACT_LOG");
    json_decref(root);
    config.seccomp = RUNTIME_SECCOMP_UNCONFINED;
    root = write_config(&config, &surroundings);
    assert_null(at(root, "linux.seccomp"));
    json_decref(root);
}

static void oom_score_is_kept_within_reach(void **state)
{
    struct runtime_container_config config = simple();
    struct oci_surroundings surroundings = around();
    config.oom_score_adj = -997;
    json_t *root = write_config(&config, &surroundings);
    assert_int_equal(json_integer_value(at(root, "process.oomScoreAdj")), -997);
    json_decref(root);
    surroundings.oom_score_adj_min = 0;
    root = write_config(&config, &surroundings);
    assert_int_equal(json_integer_value(at(root, "process.oomScoreAdj")), 0);
    json_decref(root);
    config.oom_score_adj = 1000;
    root = write_config(&config, &surroundings);
    assert_int_equal(json_integer_value(at(root, "process.oomScoreAdj")), 1000);
    json_decref(root);
}

static void last_of_equal_variables_wins(void **state)
{
    struct runtime_container_config config = simple();
    struct oci_surroundings surroundings = around();
    static const struct runtime_pair env[] = {{"PATH", "/a"}, {"X", "1"}, {"X", "2"}, {"HOSTNAME", "own"}};
    config.env = env;
    config.env_count = 4;
    json_t *root = write_config(&config, &surroundings);
    json_t *list = at(root, "process.env");
    assert_int_equal(json_array_size(list), 3);
    assert_true(has_text(list, "PATH=/a") && has_text(list, "X=2") && has_text(list, "HOSTNAME=own"));
    json_decref(root);
}

static void nonsense_is_refused(void **state)
{
    static const char *const unknown[] = {"FLY"};
    static const char *const not_text[] = {"\xff\xfe"};
    static const struct runtime_mount relative[] = {{"/a", "b", false, RUNTIME_PROPAGATION_PRIVATE}};
    struct oci_surroundings surroundings = around();
    struct runtime_container_config configs[5] = {simple(), simple(), simple(), simple(), simple()};
    configs[0].arg_count = 0;
    configs[1].add_capabilities = unknown;
    configs[1].add_capability_count = 1;
    configs[2].args = not_text;
    configs[2].arg_count = 1;
    configs[3].mounts = relative;
    configs[3].mount_count = 1;
    configs[4].seccomp = RUNTIME_SECCOMP_PROFILE;
    configs[4].seccomp_profile = "{";
    for (size_t i = 0; i < ARRAY_COUNT(configs); i++) {
        cleanup_buffer struct buffer out = {0};
        struct error err = {0};
        assert_int_equal(oci_config_write(&configs[i], &surroundings, &out, &err), -1);
        assert_int_equal(err.code, EINVAL);
        assert_true(strlen(err.text) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simple_container_gets_the_defaults),
        cmocka_unit_test(what_is_shared_with_the_node_gets_no_namespace),
        cmocka_unit_test(resources_are_limited),
        cmocka_unit_test(huge_pages_are_limited_where_the_kernel_can),
        cmocka_unit_test(capabilities_are_added_and_dropped),
        cmocka_unit_test(mounts_keep_order_and_propagation),
        cmocka_unit_test(no_mount_hides_one_below_it),
        cmocka_unit_test(privileged_container_is_not_fenced),
        cmocka_unit_test(system_calls_are_filtered_by_capabilities),
        cmocka_unit_test(no_system_call_is_named_twice),
        cmocka_unit_test(seccomp_profile_is_handed_on),
        cmocka_unit_test(oom_score_is_kept_within_reach),
        cmocka_unit_test(last_of_equal_variables_wins),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
