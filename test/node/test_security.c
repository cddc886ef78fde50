/* What the security contexts of pods and containers come to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "node/security.h"
#include "node/volume_plan.h"

struct world {
    char root[64];
    struct arena *arena;
};

static void write_file(const struct world *w, const char *path, const char *text)
{
    struct error err;
    cleanup_free char *full = mem_printf("%s/%s", w->root, path);
    cleanup_free char *parent = mem_string_n(full, (size_t)(strrchr(full, '/') - full));
    assert_int_equal(file_make_directories(parent, 0755, &err), 0);
    assert_int_equal(file_write_atomic(full, text, strlen(text), 0644, &err), 0);
}

static int set_up(void **state)
{
    struct world *w = mem_zero(1, sizeof(*w));
    *state = w;
    w->arena = arena_new(0);
    strcpy(w->root, "/tmp/coracle-security-XXXXXX");
    assert_non_null(mkdtemp(w->root));
    write_file(w, "etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:100::/home/ann:/bin/sh\n");
    write_file(w, "etc/group", "root:x:0:\nusers:x:100:\nstaff:x:50:ann,bob\naudio:x:29:ann\n");
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    struct error err;
    file_remove_tree(w->root, &err);
    arena_free(w->arena);
    free(w);
    return 0;
}

/* A pod with one container; both contexts with ' for ". */
static struct object *read_pod(const char *context, const char *pod_context)
{
    struct error err;
    cleanup_free char *text =
        mem_printf("{'metadata':{'name':'p','namespace':'n','uid':'u'},'spec':{'securityContext':%s,'containers':"
                   "[{'name':'c','securityContext':%s}]}}",
                   pod_context, context);
    for (char *c = text; *c; c++)
        if (*c == '\'')
            *c = '"';
    struct object *pod = object_from_json(&api_resources[API_PODS], text, strlen(text), &err);
    if (!pod)
        fail_msg("%s", err.text);
    return pod;
}

static const struct container *container_of(const struct object *pod)
{
    return &((const struct pod *)pod->value)->spec.containers.items[0];
}

static void users_and_groups_come_from_spec_and_image(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *context, *pod_context, *image_user;
        const char *user; /* uid, gid, groups */
        const char *home;
    } cases[] = {
        {"{}", "{}", "", "0 0 0", "/root"},
        {"{}", "{}", "ann", "1000 100 100 50 29", "/home/ann"},
        {"{}", "{}", "1000:7", "1000 7 7 50 29", "/home/ann"},
        {"{}", "{'runAsUser':1000}", "", "1000 100 100 50 29", "/home/ann"},
        {"{'runAsUser':5}", "{'runAsUser':1000}", "ann", "5 0 0", "/"},
        {"{'runAsGroup':8}", "{'runAsGroup':7}", "ann", "1000 8 8 50 29", "/home/ann"},
        {"{}", "{'runAsGroup':7,'supplementalGroups':[60,50]}", "ann", "1000 7 7 50 29 60", "/home/ann"},
        {"{}", "{'fsGroup':2000,'supplementalGroups':[60]}", "ann", "1000 100 100 50 29 2000 60", "/home/ann"},
        {"{}", "{'supplementalGroups':[60],'supplementalGroupsPolicy':'Merge'}", "ann", "1000 100 100 50 29 60",
         "/home/ann"},
        {"{}", "{'fsGroup':2000,'supplementalGroups':[60],'supplementalGroupsPolicy':'Strict'}", "ann",
         "1000 100 100 2000 60", "/home/ann"},
        {"{'runAsUser':2147483647}", "{}", "", "2147483647 0 0", "/"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cleanup_object struct object *pod = read_pod(cases[i].context, cases[i].pod_context);
        struct runtime_container_config config = {.rootfs = w->root};
        const char *home;
        struct error err;
        if (security_resolve_user(w->arena, pod->value, container_of(pod), cases[i].image_user, &config, &home, &err) <
            0)
            fail_msg("case %zu: %s", i, err.text);
        assert_string_equal(security_user_text(w->arena, &config), cases[i].user);
        assert_string_equal(home, cases[i].home);
    }
    cleanup_object struct object *pod = read_pod("{}", "{}");
    struct runtime_container_config config = {.rootfs = w->root};
    const char *home;
    struct error err;
    assert_int_equal(security_resolve_user(w->arena, pod->value, container_of(pod), "eve", &config, &home, &err), -1);
    assert_non_null(strstr(err.text, "unable to find user eve: no matching entries in passwd file"));
}

static void user_text_is_read_back(void **state)
{
    struct world *w = *state;
    struct container_user *user = security_user_read(w->arena, "1000 100 100 50");
    assert_int_equal(user->linux_->uid, 1000);
    assert_int_equal(user->linux_->gid, 100);
    assert_int_equal(user->linux_->supplemental_groups.count, 2);
    assert_int_equal(user->linux_->supplemental_groups.items[1], 50);
    static const char *const nonsense[] = {"", "1000", "a b", "1 2x", "1,2,3"};
    for (size_t i = 0; i < ARRAY_COUNT(nonsense); i++)
        assert_null(security_user_read(w->arena, nonsense[i]));
}

static void root_is_refused_where_it_must_not_be(void **state)
{
    static const struct {
        const char *context, *pod_context, *image_user;
        const char *complaint; /* NULL: it may run */
    } cases[] = {
        {"{}", "{}", "", NULL},
        {"{'runAsNonRoot':false}", "{'runAsNonRoot':true}", "", NULL},
        {"{'runAsNonRoot':true}", "{}", "1000", NULL},
        {"{'runAsNonRoot':true}", "{}", "1000:0", NULL},
        {"{'runAsUser':3}", "{'runAsNonRoot':true}", "ann", NULL},
        {"{'runAsNonRoot':true}", "{}", "",
         "container has runAsNonRoot and image will run as root (pod: \"p_n(u)\", container: c)"},
        {"{}", "{'runAsNonRoot':true}", "0:0",
         "container has runAsNonRoot and image will run as root (pod: \"p_n(u)\", container: c)"},
        {"{}", "{'runAsNonRoot':true}", "ann:users",
         "container has runAsNonRoot and image has non-numeric user (ann), cannot verify user is non-root (pod: "
         "\"p_n(u)\", container: c)"},
        {"{'runAsUser':0}", "{'runAsNonRoot':true,'runAsUser':7}", "ann",
         "container's runAsUser breaks non-root policy (pod: \"p_n(u)\", container: c)"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cleanup_object struct object *pod = read_pod(cases[i].context, cases[i].pod_context);
        struct error err = {0};
        int result = security_check_non_root(pod->value, container_of(pod), cases[i].image_user, &err);
        assert_int_equal(result, cases[i].complaint ? -1 : 0);
        if (cases[i].complaint)
            assert_string_equal(err.text, cases[i].complaint);
    }
}

static void container_settings_reach_the_runtime(void **state)
{
    static const struct {
        const char *context, *pod_context;
        enum runtime_seccomp seccomp;
        bool privileged, read_only, no_new_privileges;
        size_t add, drop;
    } cases[] = {
        {"{}", "{}", RUNTIME_SECCOMP_DEFAULT, 0, 0, 0, 0, 0},
        {"{'privileged':true}", "{}", RUNTIME_SECCOMP_DEFAULT, 1, 0, 0, 0, 0},
        {"{'readOnlyRootFilesystem':true}", "{}", RUNTIME_SECCOMP_DEFAULT, 0, 1, 0, 0, 0},
        {"{'allowPrivilegeEscalation':false}", "{}", RUNTIME_SECCOMP_DEFAULT, 0, 0, 1, 0, 0},
        {"{'allowPrivilegeEscalation':true}", "{}", RUNTIME_SECCOMP_DEFAULT, 0, 0, 0, 0, 0},
        {"{'capabilities':{'add':['A','B'],'drop':['ALL']}}", "{}", RUNTIME_SECCOMP_DEFAULT, 0, 0, 0, 2, 1},
        {"{'seccompProfile':{'type':'Unconfined'}}", "{}", RUNTIME_SECCOMP_UNCONFINED, 0, 0, 0, 0, 0},
        {"{}", "{'seccompProfile':{'type':'Unconfined'}}", RUNTIME_SECCOMP_UNCONFINED, 0, 0, 0, 0, 0},
        {"{'seccompProfile':{'type':'Localhost','localhostProfile':'f'}}", "{'seccompProfile':{'type':'Unconfined'}}",
         RUNTIME_SECCOMP_PROFILE, 0, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cleanup_object struct object *pod = read_pod(cases[i].context, cases[i].pod_context);
        struct runtime_container_config config = {0};
        security_configure(pod->value, container_of(pod), &config);
        assert_int_equal(config.seccomp, cases[i].seccomp);
        assert_int_equal(config.privileged, cases[i].privileged);
        assert_int_equal(config.read_only_rootfs, cases[i].read_only);
        assert_int_equal(config.no_new_privileges, cases[i].no_new_privileges);
        assert_int_equal(config.add_capability_count, cases[i].add);
        assert_int_equal(config.drop_capability_count, cases[i].drop);
    }
}

/* ---- fsGroup ---- */

static void expect_group(const struct world *w, const char *path, mode_t mode, gid_t group)
{
    cleanup_free char *full = mem_printf("%s/%s", w->root, path);
    struct stat info;
    assert_int_equal(lstat(full, &info), 0);
    assert_int_equal(info.st_gid, group);
    if (mode)
        assert_int_equal(info.st_mode & 07777, mode);
}

static void make_tree(const struct world *w)
{
    write_file(w, "v/file", "x");
    write_file(w, "v/in/private", "x");
    write_file(w, "outside", "x");
    cleanup_free char *link = mem_printf("%s/v/link", w->root), *file = mem_printf("%s/v/in/private", w->root);
    assert_int_equal(symlink("../outside", link), 0);
    assert_int_equal(chmod(file, 0700), 0);
}

static void a_volume_is_given_to_its_group(void **state)
{
    struct world *w = *state;
    struct error err;
    if (geteuid() != 0)
        skip();
    make_tree(w);
    cleanup_free char *volume = mem_printf("%s/v", w->root);
    assert_int_equal(volume_set_ownership(volume, 2000, false, false, &err), 0);
    expect_group(w, "v", 02775, 2000);
    expect_group(w, "v/file", 0664, 2000);
    expect_group(w, "v/in", 02775, 2000);
    expect_group(w, "v/in/private", 0760, 2000);
    expect_group(w, "v/link", 0, 2000);
    /* No link is followed. */
    expect_group(w, "outside", 0644, 0);
}

static void a_read_only_volume_is_not_made_writable(void **state)
{
    struct world *w = *state;
    struct error err;
    if (geteuid() != 0)
        skip();
    make_tree(w);
    cleanup_free char *volume = mem_printf("%s/v", w->root);
    assert_int_equal(volume_set_ownership(volume, 2000, true, false, &err), 0);
    expect_group(w, "v", 02755, 2000);
    expect_group(w, "v/file", 0644, 2000);
    expect_group(w, "v/in/private", 0740, 2000);
}

static void a_volume_whose_root_matches_is_left_alone_if_so_asked(void **state)
{
    struct world *w = *state;
    struct error err;
    if (geteuid() != 0)
        skip();
    make_tree(w);
    cleanup_free char *volume = mem_printf("%s/v", w->root);
    assert_int_equal(chown(volume, 0, 2000), 0);
    assert_int_equal(chmod(volume, 02770), 0);
    assert_int_equal(volume_set_ownership(volume, 2000, false, true, &err), 0);
    expect_group(w, "v/file", 0644, 0);
    /* The group alone is not enough: the setgid bit is missing. */
    assert_int_equal(chmod(volume, 0770), 0);
    assert_int_equal(volume_set_ownership(volume, 2000, false, true, &err), 0);
    expect_group(w, "v/file", 0664, 2000);
}

static void too_deep_a_volume_is_an_error(void **state)
{
    struct world *w = *state;
    struct error err;
    if (geteuid() != 0)
        skip();
    cleanup_free char *volume = mem_printf("%s/v", w->root);
    assert_int_equal(mkdir(volume, 0755), 0);
    int at = open(volume, O_PATH | O_DIRECTORY);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(mkdirat(at, "d", 0755), 0);
        int inner = openat(at, "d", O_PATH | O_DIRECTORY);
        close(at);
        at = inner;
    }
    close(at);
    assert_int_equal(volume_set_ownership(volume, 2000, false, false, &err), -1);
    assert_int_equal(err.code, ELOOP);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(users_and_groups_come_from_spec_and_image),
        TEST(user_text_is_read_back),
        TEST(root_is_refused_where_it_must_not_be),
        TEST(container_settings_reach_the_runtime),
        TEST(a_volume_is_given_to_its_group),
        TEST(a_read_only_volume_is_not_made_writable),
        TEST(a_volume_whose_root_matches_is_left_alone_if_so_asked),
        TEST(too_deep_a_volume_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
