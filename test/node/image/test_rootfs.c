/* Root file systems and the users in them: the promises of rootfs.c and user.c. Runs as root, in a mount namespace and
 * on a tmpfs of its own. */
#include "support.h"

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "node/image/tree.h"

struct place {
    char *top;
    char *store_path;
    char *container;
    struct image_store *store;
};

static int set_up_at(void **state, const char *name)
{
    struct place *place = mem_zero(1, sizeof(*place));
    place->top = test_directory();
    if (mount("tmpfs", place->top, "tmpfs", 0, NULL) < 0)
        fail_msg("mount a tmpfs: %s", strerror(errno));
    place->store_path = mem_printf("%s/%s", place->top, name);
    place->container = mem_printf("%s/%s-container", place->top, name);
    assert_ok(image_store_open(place->store_path, NULL, &place->store, &err));
    assert_int_equal(mkdir(place->container, 0755), 0);
    *state = place;
    return 0;
}

static int set_up(void **state)
{
    return set_up_at(state, "store");
}

static int set_up_special(void **state)
{
    return set_up_at(state, "a:store,with\\all");
}

static int tear_down(void **state)
{
    struct place *place = *state;
    image_store_close(place->store);
    assert_int_equal(umount2(place->top, MNT_DETACH), 0);
    test_directory_free(place->top);
    free(place->store_path);
    free(place->container);
    free(place);
    return 0;
}

static struct image *import(struct place *place, struct test_image *image)
{
    cleanup_free char *path = mem_printf("%s/archive.tar", place->top);
    struct image *found;
    image->name = "app:v1";
    test_image_finish(image);
    test_write_archive(path, &image, 1, true);
    test_image_free(image);
    assert_ok(image_import(place->store, path, NULL, NULL, NULL, &err));
    assert_ok(image_find(place->store, "app:v1", &found, &err));
    return found;
}

#define ADD_LAYER(image, entries) test_image_add_layer(image, entries, sizeof(entries) / sizeof(entries[0]), TEST_PLAIN)

static const struct test_entry lower[] = {
    {"./", AE_IFDIR, 0711},
    {"etc/passwd", AE_IFREG, 0644,
     "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:44:Web:/srv/web:/bin/false\nnohome:x:50:51::\n"},
    {"etc/group", AE_IFREG, 0644, "root:x:0:\nweb:x:44:\nlogs:x:70:other,web\nmail:x:71:web\nweb2:x:44:web\n"},
    {"gone", AE_IFREG, .data = "x"},
    {"replaced/old", AE_IFREG, .data = "x"},
    {"stays", AE_IFREG, .data = "lower"},
    {"dev/kmsg", AE_IFCHR, 0666, .major = 1, .minor = 3},
};
static const struct test_entry upper[] = {
    {".wh.gone", AE_IFREG},
    {"replaced/.wh..wh..opq", AE_IFREG},
    {"replaced/new", AE_IFREG, .data = "y"},
    {"added", AE_IFREG, .data = "upper"},
};

static struct image *import_app(struct place *place)
{
    struct test_image image = {0};
    ADD_LAYER(&image, lower);
    ADD_LAYER(&image, upper);
    return import(place, &image);
}

static void a_container_sees_the_layers_merged_and_writes_its_own(void **state)
{
    struct place *place = *state;
    cleanup_image struct image *image = import_app(place);
    struct stat info;
    assert_ok(image_mount_rootfs(place->store, image, place->container, &err));
    assert_ok(image_mount_rootfs(place->store, image, place->container, &err));
    assert_false(test_exists("%s/rootfs/gone", place->container));
    assert_false(test_exists("%s/rootfs/replaced/old", place->container));
    assert_true(test_exists("%s/rootfs/replaced/new", place->container));
    assert_true(test_exists("%s/rootfs/stays", place->container));
    cleanup_free char *root = mem_printf("%s/rootfs", place->container);
    assert_int_equal(stat(root, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0711);
    cleanup_free char *path = mem_printf("%s/rootfs/stays", place->container);
    test_write(path, "changed", 7);
    assert_true(test_exists("%s/upper/stays", place->container));
    cleanup_free char *layer = mem_printf("%s/layers/%s/stays", place->store_path, image->layers.items[0]);
    assert_int_equal(stat(layer, &info), 0);
    assert_int_equal(info.st_size, 5);
    cleanup_free char *node = mem_printf("%s/rootfs/dev/kmsg", place->container);
    assert_int_equal(open(node, O_RDONLY), -1);
    assert_int_equal(errno, EACCES);
    assert_ok(image_unmount_rootfs(place->store, place->container, &err));
    assert_int_equal(test_count("%s/rootfs", place->container), 0);
    assert_ok(image_unmount_rootfs(place->store, place->container, &err));
}

/* ---- Volumes of an image ---- */

static const struct test_entry with_volume[] = {
    {"data", AE_IFDIR, 0750, .uid = 12, .gid = 34},
    {"data/deep/program", AE_IFREG, 04755, "program", .uid = 5, .xattr = "user.kind"},
    {"data/out", AE_IFLNK, .data = "/etc/shadow"},
    {"data/node", AE_IFCHR, 0666, .major = 1, .minor = 3},
    {"away", AE_IFLNK, .data = "/../../data"},
    {"file", AE_IFREG, .data = "x"},
};

static void a_volume_starts_with_what_the_image_has_there(void **state)
{
    struct place *place = *state;
    struct test_image made = {0};
    struct stat info;
    struct error error;
    char target[64] = {0}, value[8];
    ADD_LAYER(&made, with_volume);
    cleanup_image struct image *image = import(place, &made);
    assert_ok(image_mount_rootfs(place->store, image, place->container, &err));
    cleanup_free char *root = mem_printf("%s/rootfs", place->container), *to = mem_printf("%s/to", place->top);
    cleanup_free char *program = mem_printf("%s/deep/program", to), *link = mem_printf("%s/out", to);
    assert_int_equal(mkdir(to, 0755), 0);
    assert_ok(image_copy_up(root, "/nowhere", to, &err));
    assert_int_equal(test_count("%s", to), 0);
    assert_int_equal(image_copy_up(root, "/file", to, &error), -1);
    assert_int_equal(error.code, ENOTDIR);
    /* A link is followed inside the image. */
    assert_ok(image_copy_up(root, "/away", to, &err));
    assert_int_equal(stat(to, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0750);
    assert_true(info.st_uid == 12 && info.st_gid == 34);
    assert_int_equal(stat(program, &info), 0);
    assert_int_equal(info.st_mode & 07777, 04755);
    assert_true(info.st_size == 7 && info.st_uid == 5);
    assert_int_equal(getxattr(program, "user.kind", value, sizeof(value)), 5);
    assert_int_equal(readlink(link, target, sizeof(target) - 1), 11);
    assert_string_equal(target, "/etc/shadow");
    assert_false(test_exists("%s/node", to));
    assert_ok(image_unmount_rootfs(place->store, place->container, &err));
}

static void layers_outlive_their_image_while_they_are_mounted(void **state)
{
    struct place *place = *state;
    cleanup_image struct image *image = import_app(place);
    assert_ok(image_mount_rootfs(place->store, image, place->container, &err));
    assert_ok(image_remove(place->store, "app:v1", &err));
    assert_int_equal(test_count("%s/layers", place->store_path), 2);
    assert_true(test_exists("%s/rootfs/added", place->container));
    assert_ok(image_unmount_rootfs(place->store, place->container, &err));
    assert_int_equal(test_count("%s/layers", place->store_path), 0);
    assert_fails(image_mount_rootfs(place->store, image, place->container, &err), ENOENT, "is gone");
    assert_int_equal(test_count("%s/uses", place->store_path), 0);
}

static void a_container_directory_that_vanished_holds_no_layers(void **state)
{
    struct place *place = *state;
    cleanup_image struct image *image = import_app(place);
    cleanup_free char *root = mem_printf("%s/rootfs", place->container);
    assert_ok(image_mount_rootfs(place->store, image, place->container, &err));
    assert_int_equal(umount2(root, 0), 0);
    assert_int_equal(image_tree_remove_path(place->container), 0);
    assert_ok(image_remove(place->store, "app:v1", &err));
    assert_int_equal(test_count("%s/layers", place->store_path), 0);
    assert_int_equal(test_count("%s/uses", place->store_path), 0);
}

static void as_many_layers_as_allowed_can_be_mounted(void **state)
{
    struct place *place = *state;
    struct test_image many = {0};
    char names[IMAGE_LAYERS_MAX][16];
    for (size_t i = 0; i < IMAGE_LAYERS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "file%zu", i);
        const struct test_entry entries[] = {{names[i], AE_IFREG, .data = "x"}};
        ADD_LAYER(&many, entries);
    }
    cleanup_image struct image *image = import(place, &many);
    assert_ok(image_mount_rootfs(place->store, image, place->container, &err));
    assert_int_equal(test_count("%s/rootfs", place->container), IMAGE_LAYERS_MAX);
    assert_ok(image_unmount_rootfs(place->store, place->container, &err));
}

static void an_image_without_layers_can_be_mounted(void **state)
{
    struct place *place = *state;
    struct test_image none = {0};
    cleanup_image struct image *image = import(place, &none);
    assert_ok(image_mount_rootfs(place->store, image, place->container, &err));
    assert_int_equal(test_count("%s/rootfs", place->container), 0);
    assert_ok(image_unmount_rootfs(place->store, place->container, &err));
}

static void users_are_resolved_inside_the_root_file_system(void **state)
{
    static const struct {
        const char *user;
        uid_t uid;
        gid_t gid;
        const char *home;
        size_t groups;
    } cases[] = {
        {"", 0, 0, "/root", 0},        {"root", 0, 0, "/root", 0},          {"web", 33, 44, "/srv/web", 2},
        {"33", 33, 44, "/srv/web", 2}, {"web:mail", 33, 71, "/srv/web", 2}, {"web:9", 33, 9, "/srv/web", 3},
        {"1234", 1234, 0, "/", 0},     {"1234:logs", 1234, 70, "/", 0},     {"nohome", 50, 51, "/", 0},
        {"12:34", 12, 34, "/", 0},     {":mail", 0, 71, "/root", 0},
    };
    struct place *place = *state;
    cleanup_image struct image *image = import_app(place);
    cleanup_free char *root = mem_printf("%s/rootfs", place->container);
    struct image_user user;
    assert_ok(image_mount_rootfs(place->store, image, place->container, &err));
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_ok(image_user_resolve(root, cases[i].user, &user, &err));
        assert_int_equal(user.uid, cases[i].uid);
        assert_int_equal(user.gid, cases[i].gid);
        assert_string_equal(user.home, cases[i].home);
        assert_int_equal(user.group_count, cases[i].groups);
        image_user_free(&user);
    }
    assert_fails(image_user_resolve(root, "nobody", &user, &err), ENOENT, "unable to find user nobody");
    assert_fails(image_user_resolve(root, "web:none", &user, &err), ENOENT, "unable to find group none");
    assert_fails(image_user_resolve(root, "99999999999", &user, &err), ENOENT, "unable to find user");

    /* A link that leads out stays in, and a pipe does not block. */
    cleanup_free char *passwd = mem_printf("%s/etc/passwd", root);
    assert_int_equal(unlink(passwd), 0);
    assert_int_equal(symlink("/proc/self/environ", passwd), 0);
    assert_ok(image_user_resolve(root, "5", &user, &err));
    image_user_free(&user);
    assert_int_equal(unlink(passwd), 0);
    assert_int_equal(mkfifo(passwd, 0600), 0);
    assert_fails(image_user_resolve(root, "5", &user, &err), EBADMSG, "etc/passwd is no file");
    assert_ok(image_unmount_rootfs(place->store, place->container, &err));
}

#define with_place(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_place(a_volume_starts_with_what_the_image_has_there),
        with_place(a_container_sees_the_layers_merged_and_writes_its_own),
        cmocka_unit_test_setup_teardown(a_container_sees_the_layers_merged_and_writes_its_own, set_up_special,
                                        tear_down),
        with_place(layers_outlive_their_image_while_they_are_mounted),
        with_place(a_container_directory_that_vanished_holds_no_layers),
        with_place(as_many_layers_as_allowed_can_be_mounted),
        with_place(an_image_without_layers_can_be_mounted),
        with_place(users_are_resolved_inside_the_root_file_system),
    };
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
