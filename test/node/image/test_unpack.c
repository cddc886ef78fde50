/* Layers, friendly and hostile: the promises of unpack.c, entry.c and tree.c. Runs as root. */
#include "support.h"

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "node/image/tree.h"
#include "node/image/unpack.h"

static const struct image_limits limits = {.layers = 10, .entries = 1000, .unpacked = 1 << 20};

struct memory {
    const char *data;
    size_t left;
    size_t step;
};

static ssize_t read_memory(void *context, const void **block, struct error *err)
{
    struct memory *memory = context;
    size_t n = memory->left < memory->step ? memory->left : memory->step;
    (void)err;
    *block = memory->data;
    memory->data += n;
    memory->left -= n;
    return (ssize_t)n;
}

static int unpack_blob(const void *data, size_t size, const char *directory, struct unpack_result *result,
                       struct error *err)
{
    struct memory memory = {data, size, 1000};
    const struct unpack_source source = {read_memory, &memory};
    const struct cancel cancel = {NULL, NULL};
    struct unpack_budget budget;
    image_unpack_budget_start(&budget, &limits);
    return image_unpack_layer(&source, directory, &budget, &cancel, result, err);
}

static int unpack(const struct test_entry *entries, size_t count, const char *directory, struct unpack_result *result,
                  struct error *err)
{
    cleanup_buffer struct buffer tar = test_tar(entries, count, TEST_PLAIN);
    return unpack_blob(tar.data, tar.size, directory, result, err);
}

static struct stat status(const char *directory, const char *name)
{
    struct stat info = {0};
    cleanup_free char *path = mem_printf("%s/%s", directory, name);
    if (lstat(path, &info) < 0)
        fail_msg("%s: %s", path, strerror(errno));
    return info;
}

static void a_layer_unpacks_with_all_its_attributes(void **state)
{
    static const struct test_entry entries[] = {
        {"./", AE_IFDIR, 0711},
        {"bin/", AE_IFDIR, 0755},
        {"bin/sh", AE_IFREG, 04755, "shell", .uid = 1, .gid = 2, .xattr = "user.note"},
        {"bin/bash", 'h', .data = "bin/sh"},
        {"bin/link", AE_IFLNK, .data = "/bin/sh", .uid = 5},
        {"dev/null", AE_IFCHR, 0666, .major = 1, .minor = 3},
        {"run/pipe", AE_IFIFO, 0600},
        {"sticky/", AE_IFDIR, 01777},
        {"sticky/empty", AE_IFREG, 0},
        {"caf\303\251", AE_IFREG, 0644, "utf-8"},
        {"\001/control", AE_IFREG, 0644, "any byte"},
        {"hole", AE_IFREG, 0644, .hole = 100000},
    };
    char *top = test_directory();
    cleanup_free char *directory = mem_printf("%s/layer", top);
    cleanup_unpack_result struct unpack_result result;
    char value[16] = "";
    (void)state;
    for (int compression = TEST_PLAIN; compression <= TEST_ZSTD; compression++) {
        cleanup_buffer struct buffer plain = TEST_TAR(entries, TEST_PLAIN), blob = TEST_TAR(entries, compression);
        char diff_id[DIGEST_TEXT_SIZE];
        image_digest_of(plain.data, plain.size, diff_id);
        assert_int_equal(image_tree_remove_path(directory), 0);
        assert_ok(unpack_blob(blob.data, blob.size, directory, &result, &err));
        assert_string_equal(result.diff_id, diff_id);
        if (compression != TEST_ZSTD)
            image_unpack_result_free(&result);
    }
    assert_int_equal(status(directory, ".").st_mode & 07777, 0711);
    struct stat shell = status(directory, "bin/sh"), bash = status(directory, "bin/bash");
    assert_int_equal(shell.st_mode & 07777, 04755);
    assert_int_equal(shell.st_uid, 1);
    assert_int_equal(shell.st_gid, 2);
    assert_int_equal(shell.st_mtime, 1700000000);
    assert_int_equal(shell.st_ino, bash.st_ino);
    assert_int_equal(status(directory, "bin").st_mtime, 1700000000);
    assert_int_equal(status(directory, "bin/link").st_uid, 5);
    assert_true(S_ISCHR(status(directory, "dev/null").st_mode));
    assert_int_equal(status(directory, "dev/null").st_rdev, makedev(1, 3));
    assert_true(S_ISFIFO(status(directory, "run/pipe").st_mode));
    assert_int_equal(status(directory, "sticky").st_mode & 07777, 01777);
    assert_int_equal(status(directory, "caf\303\251").st_size, 5);
    assert_int_equal(status(directory, "hole").st_size, 100000);
    cleanup_free char *path = mem_printf("%s/bin/sh", directory);
    assert_int_equal(getxattr(path, "user.note", value, sizeof(value)), 5);
    assert_true(map_has(&result.implied, "dev") && map_has(&result.implied, "run"));
    assert_false(map_has(&result.implied, ".") || map_has(&result.implied, "bin"));
    test_directory_free(top);
}

static void whiteouts_become_those_of_overlayfs(void **state)
{
    static const struct test_entry entries[] = {
        {"etc/.wh.gone", AE_IFREG},
        {"opaque/.wh..wh..opq", AE_IFREG},
        {".wh.later", AE_IFREG},
        {"later/new", AE_IFREG, .data = "x"},
        {"early/", AE_IFDIR},
        {".wh.early", AE_IFREG},
        {"file", AE_IFREG, .data = "kept"},
        {".wh.file", AE_IFREG},
        {".wh..wh.plnk/x", AE_IFREG},
    };
    char *top = test_directory(), value[8];
    cleanup_free char *directory = mem_printf("%s/layer", top);
    cleanup_unpack_result struct unpack_result result;
    (void)state;
    assert_ok(unpack(entries, ARRAY_COUNT(entries) - 1, directory, &result, &err));
    struct stat gone = status(directory, "etc/gone");
    assert_true(S_ISCHR(gone.st_mode));
    assert_int_equal(gone.st_rdev, makedev(0, 0));
    static const char *const opaque[] = {"opaque", "later", "early"};
    for (size_t i = 0; i < ARRAY_COUNT(opaque); i++) {
        cleanup_free char *path = mem_printf("%s/%s", directory, opaque[i]);
        assert_int_equal(getxattr(path, "trusted.overlay.opaque", value, sizeof(value)), 1);
        assert_memory_equal(value, "y", 1);
    }
    assert_true(S_ISREG(status(directory, "file").st_mode));
    assert_false(test_exists("%s/opaque/.wh..wh..opq", directory));
    test_directory_free(top);
}

static void later_entries_replace_earlier_ones(void **state)
{
    static const struct test_entry entries[] = {
        {"a/b/c/d", AE_IFREG, .data = "deep"},  {"a/b", AE_IFREG, .data = "file now"},
        {"x", AE_IFLNK, .data = "/etc"},        {"x/", AE_IFDIR, 0700},
        {"x/passwd", AE_IFREG, .data = "ours"}, {"y", AE_IFREG, .data = "1"},
        {"y", AE_IFREG, .data = "two"},
    };
    char *top = test_directory();
    cleanup_free char *directory = mem_printf("%s/layer", top);
    cleanup_unpack_result struct unpack_result result;
    (void)state;
    assert_ok(unpack(entries, ARRAY_COUNT(entries), directory, &result, &err));
    assert_int_equal(status(directory, "a/b").st_size, 8);
    assert_int_equal(status(directory, "x/passwd").st_size, 4);
    assert_int_equal(status(directory, "y").st_size, 3);
    test_directory_free(top);
}

static void links_never_lead_out_of_the_layer(void **state)
{
    char *top = test_directory();
    cleanup_free char *directory = mem_printf("%s/layer", top), *outside = mem_printf("%s/outside", top);
    cleanup_free char *relative = mem_printf("../outside"), *climbing = mem_printf("../../../../../../..%s", outside);
    const struct test_entry entries[] = {
        {"out1", AE_IFLNK, .data = outside},      {"out2", AE_IFLNK, .data = relative},
        {"out3", AE_IFLNK, .data = climbing},     {"inside/", AE_IFDIR},
        {"in", AE_IFLNK, .data = "/inside"},      {"in/file", AE_IFREG, .data = "lands in /inside of the layer"},
        {"up", AE_IFLNK, .data = "../../inside"}, {"up/file2", AE_IFREG, .data = "so does this"},
    };
    cleanup_unpack_result struct unpack_result result;
    (void)state;
    assert_int_equal(mkdir(outside, 0755), 0);
    assert_ok(unpack(entries, ARRAY_COUNT(entries), directory, &result, &err));
    assert_true(test_exists("%s/inside/file", directory) && test_exists("%s/inside/file2", directory));
    for (size_t i = 0; i < 3; i++) {
        struct test_entry through[4];
        cleanup_free char *path = mem_printf("%s/evil", entries[i].path);
        cleanup_free char *place = mem_printf("%s/layer%zu", top, i);
        memcpy(through, entries, sizeof(struct test_entry) * 3);
        through[3] = (struct test_entry){path, AE_IFREG, .data = "evil"};
        struct unpack_result ignored;
        struct error failure = {0};
        if (unpack(through, 4, place, &ignored, &failure) < 0)
            assert_int_equal(failure.code, EBADMSG);
        image_unpack_result_free(&ignored);
    }
    assert_int_equal(test_count("%s", outside), 0);
    test_directory_free(top);
}

static void hostile_layers_get_clear_errors(void **state)
{
    static const struct {
        struct test_entry entries[3];
        int code;
        const char *text;
    } cases[] = {
        {{{"../evil", AE_IFREG, .data = "x"}}, EBADMSG, "path \"../evil\" leads out of the layer"},
        {{{"a/../../evil", AE_IFREG, .data = "x"}}, EBADMSG, "leads out of the layer"},
        {{{"/../evil", AE_IFREG, .data = "x"}}, EBADMSG, "leads out of the layer"},
        {{{"dir/..", AE_IFDIR}}, EBADMSG, "leads out of the layer"},
        {{{"evil", 'h', .data = "../../etc/passwd"}}, EBADMSG, "leads out of the layer"},
        {{{"evil", 'h', .data = "/etc/passwd"}}, EBADMSG, "which the layer has not got"},
        {{{"l", AE_IFLNK, .data = "/etc"}, {"evil", 'h', .data = "l/passwd"}}, EBADMSG, "which the layer has not got"},
        {{{"d/", AE_IFDIR}, {"evil", 'h', .data = "d"}}, EBADMSG, "hard link to a directory"},
        {{{"f", AE_IFREG, .data = "x"}, {"f/below", AE_IFREG, .data = "x"}}, EBADMSG, "no directory of the layer"},
        {{{"loop", AE_IFLNK, .data = "loop"}, {"loop/x", AE_IFREG, .data = "x"}}, EBADMSG, "loop"},
        {{{"lost", AE_IFLNK, .data = "nowhere"}, {"lost/x", AE_IFREG, .data = "x"}}, EBADMSG, "no directory"},
        {{{".wh.", AE_IFREG}}, EBADMSG, "a whiteout of nothing"},
        {{{".wh...", AE_IFREG}}, EBADMSG, "a whiteout of nothing"},
        {{{"./", AE_IFREG, .data = "x"}}, EBADMSG, ""},
        {{{"big", AE_IFREG, .hole = (1 << 20) + 1}}, E2BIG, "larger than 1048576 bytes unpacked"},
    };
    char *top = test_directory();
    cleanup_free char *directory = mem_printf("%s/layer", top);
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        size_t count = 0;
        struct unpack_result result;
        while (count < 3 && cases[i].entries[count].path)
            count++;
        assert_fails(unpack(cases[i].entries, count, directory, &result, &err), cases[i].code, cases[i].text);
        image_unpack_result_free(&result);
        assert_int_equal(image_tree_remove_path(directory), 0);
        assert_int_equal(test_count("%s", top), 0);
    }
    test_directory_free(top);
}

static void the_attributes_of_overlayfs_cannot_be_smuggled_in(void **state)
{
    static const struct test_entry entries[] = {
        {"d/", AE_IFDIR, .xattr = "trusted.overlay.redirect"},
        {"e/", AE_IFDIR, .xattr = "user.overlay.opaque"},
    };
    char *top = test_directory(), value[64];
    cleanup_free char *directory = mem_printf("%s/layer", top);
    cleanup_unpack_result struct unpack_result result;
    (void)state;
    assert_ok(unpack(entries, ARRAY_COUNT(entries), directory, &result, &err));
    cleanup_free char *d = mem_printf("%s/d", directory), *e = mem_printf("%s/e", directory);
    assert_int_equal(listxattr(d, value, sizeof(value)), 0);
    assert_int_equal(listxattr(e, value, sizeof(value)), 0);
    test_directory_free(top);
}

static void bombs_stop_at_the_limits(void **state)
{
    char *top = test_directory();
    cleanup_free char *directory = mem_printf("%s/layer", top);
    static struct test_entry many[1001];
    static char names[1001][8];
    struct unpack_result result;
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        snprintf(names[i], sizeof(names[i]), "f%zu", i);
        many[i] = (struct test_entry){names[i], AE_IFREG};
    }
    assert_fails(unpack(many, ARRAY_COUNT(many), directory, &result, &err), E2BIG, "more than 1000 files");
    image_unpack_result_free(&result);
    assert_int_equal(image_tree_remove_path(directory), 0);

    /* 64 MiB of zeros behind the end of the archive, which compress to little. */
    cleanup_buffer struct buffer bomb = test_zeros(64 << 20);
    assert_true(bomb.size < (1 << 20));
    assert_fails(unpack_blob(bomb.data, bomb.size, directory, &result, &err), E2BIG, "larger than");
    image_unpack_result_free(&result);
    test_directory_free(top);
}

static void damaged_blobs_get_clear_errors_at_every_length(void **state)
{
    static const struct test_entry entries[] = {
        {"a/", AE_IFDIR}, {"a/file", AE_IFREG, .data = "some content"}, {"l", AE_IFLNK, .data = "a"}};
    char *top = test_directory();
    cleanup_free char *directory = mem_printf("%s/layer", top);
    cleanup_buffer struct buffer blob = TEST_TAR(entries, TEST_GZIP);
    cleanup_buffer struct buffer whole = TEST_TAR(entries, TEST_PLAIN);
    char diff_id[DIGEST_TEXT_SIZE];
    (void)state;
    image_digest_of(whole.data, whole.size, diff_id);
    /* The last 8 bytes are gzip's own checksum and size, which the digest makes superfluous. */
    for (size_t size = 0; size < blob.size - 8; size++) {
        struct unpack_result result;
        struct error failure = {0};
        if (unpack_blob(blob.data, size, directory, &result, &failure) == 0)
            assert_string_not_equal(result.diff_id, diff_id);
        else
            assert_int_equal(failure.code, EBADMSG);
        image_unpack_result_free(&result);
        assert_int_equal(image_tree_remove_path(directory), 0);
    }
    test_directory_free(top);
}

static void a_tree_of_any_depth_is_removed(void **state)
{
    char *top = test_directory();
    (void)state;
    int at = open(top, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 1500; i++) {
        assert_int_equal(mkdirat(at, "deeper-and-deeper", 0700), 0);
        int file = openat(at, "file", O_CREAT | O_WRONLY, 0600);
        close(file);
        int next = openat(at, "deeper-and-deeper", O_RDONLY | O_DIRECTORY);
        close(at);
        at = next;
    }
    close(at);
    cleanup_free char *link = mem_printf("%s/link", top);
    cleanup_free char *target = test_directory();
    cleanup_free char *inside = mem_printf("%s/keep", target);
    test_write(inside, "x", 1);
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(image_tree_remove_path(top), 0);
    assert_false(test_exists("%s", top));
    assert_true(test_exists("%s/keep", target));
    assert_int_equal(image_tree_remove_path(target), 0);
    free(top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layer_unpacks_with_all_its_attributes),
        cmocka_unit_test(whiteouts_become_those_of_overlayfs),
        cmocka_unit_test(later_entries_replace_earlier_ones),
        cmocka_unit_test(links_never_lead_out_of_the_layer),
        cmocka_unit_test(hostile_layers_get_clear_errors),
        cmocka_unit_test(the_attributes_of_overlayfs_cannot_be_smuggled_in),
        cmocka_unit_test(bombs_stop_at_the_limits),
        cmocka_unit_test(damaged_blobs_get_clear_errors_at_every_length),
        cmocka_unit_test(a_tree_of_any_depth_is_removed),
    };
    if (geteuid() != 0)
        return 77; /* owners and device nodes need root */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
