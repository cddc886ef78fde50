/* Importing, finding and removing images: the promises of archive.c, store.c, layers.c and catalogue.c. Runs as root.
 */
#include "support.h"

#include <archive_entry.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

/* Each test has a store and a place for archives. */
struct place {
    char *top;
    char *store_path;
    char *archive;
    struct image_store *store;
};

static int set_up(void **state)
{
    struct place *place = mem_zero(1, sizeof(*place));
    place->top = test_directory();
    place->store_path = mem_printf("%s/store", place->top);
    place->archive = mem_printf("%s/archive.tar", place->top);
    assert_ok(image_store_open(place->store_path, NULL, &place->store, &err));
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    image_store_close(place->store);
    assert_int_equal(test_count("%s/temporary", place->store_path), 0);
    test_directory_free(place->top);
    free(place->store_path);
    free(place->archive);
    free(place);
    return 0;
}

static const struct test_entry base_layer[] = {{"./", AE_IFDIR},
                                               {"etc/", AE_IFDIR, 0750, .uid = 3},
                                               {"etc/passwd", AE_IFREG, 0644, "root:x:0:0::/root:/bin/sh\n"}};
static const struct test_entry app_layer[] = {{"app", AE_IFREG, 0755, "version 1"}};
static const struct test_entry other_layer[] = {{"etc/other", AE_IFREG, 0644, "version 2"}};

#define ADD_LAYER(image, entries, compression)                                                                         \
    test_image_add_layer(image, entries, sizeof(entries) / sizeof(entries[0]), compression)

/* Two images upon one base. */
static void make_two(struct test_image *one, struct test_image *two, enum test_compression compression)
{
    *one = (struct test_image){.name = "local/model-server:v1",
                               .config = "\"Env\":[\"A=1\",\"B=2\"],\"Entrypoint\":[\"/app\"],\"Cmd\":[\"-x\"],"
                                         "\"User\":\"1000:1000\",\"WorkingDir\":\"/srv\",\"StopSignal\":\"SIGQUIT\","
                                         "\"ExposedPorts\":{\"8080/tcp\":{}},\"Volumes\":{\"/data\":{}},"
                                         "\"Labels\":{\"k\":\"v\"}"};
    *two = (struct test_image){.name = "local/model-server:v2"};
    ADD_LAYER(one, base_layer, compression);
    ADD_LAYER(one, app_layer, compression);
    ADD_LAYER(two, base_layer, compression);
    ADD_LAYER(two, other_layer, compression);
    test_image_finish(one);
    test_image_finish(two);
}

static void write_two(const char *path, bool oci, enum test_compression compression)
{
    struct test_image one, two;
    make_two(&one, &two, compression);
    test_write_archive(path, (struct test_image *[]){&one, &two}, 2, oci);
    test_image_free(&one);
    test_image_free(&two);
}

static void archives_of_both_kinds_are_imported_with_all_their_images(void **state)
{
    struct place *place = *state;
    for (int oci = 0; oci < 2; oci++) {
        cleanup_image_list struct image_list list = {0};
        cleanup_image struct image *image = NULL;
        write_two(place->archive, oci, oci ? TEST_GZIP : TEST_PLAIN);
        assert_ok(image_import(place->store, place->archive, NULL, NULL, &list, &err));
        assert_int_equal(list.count, 2);
        assert_ok(image_find(place->store, "local/model-server:v1", &image, &err));
        assert_string_equal(image->id, list.items[0]->id);
        assert_int_equal(image->names.count, 1);
        assert_string_equal(image->names.items[0], "docker.io/local/model-server:v1");
        assert_string_equal(image_status_id(image), image->id);
        assert_string_equal(image->config.env.items[1], "B=2");
        assert_null(image->config.env.items[2]);
        assert_string_equal(image->config.entrypoint.items[0], "/app");
        assert_string_equal(image->config.command.items[0], "-x");
        assert_string_equal(image->config.user, "1000:1000");
        assert_string_equal(image->config.working_dir, "/srv");
        assert_string_equal(image->config.stop_signal, "SIGQUIT");
        assert_string_equal(image->config.exposed_ports.items[0], "8080/tcp");
        assert_string_equal(image->config.volumes.items[0], "/data");
        assert_string_equal(image->config.labels[0].value, "v");
        assert_true(image->size > 0 && image->stored > 0);
        assert_string_equal(list.items[1]->config.user, "");
        assert_int_equal(test_count("%s/layers", place->store_path), 3);
        assert_int_equal(test_count("%s/temporary", place->store_path), 1);
    }
}

static void directories_that_a_layer_only_implies_look_as_below(void **state)
{
    struct place *place = *state;
    cleanup_image struct image *image = NULL;
    struct stat info;
    write_two(place->archive, false, TEST_PLAIN);
    assert_ok(image_import(place->store, place->archive, NULL, NULL, NULL, &err));
    assert_ok(image_find(place->store, "local/model-server:v2", &image, &err));
    cleanup_free char *etc = mem_printf("%s/layers/%s/etc", place->store_path, image->layers.items[1]);
    assert_int_equal(stat(etc, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0750);
    assert_int_equal(info.st_uid, 3);
}

static void images_are_found_by_every_reference(void **state)
{
    struct place *place = *state;
    cleanup_image_list struct image_list list = {0};
    write_two(place->archive, false, TEST_PLAIN);
    assert_ok(image_import(place->store, place->archive, NULL, NULL, &list, &err));
    assert_ok(image_tag(place->store, "local/model-server:v1", "short", &err));
    char prefix[13];
    snprintf(prefix, sizeof(prefix), "%s", list.items[0]->id + 7);
    const char *const references[] = {"docker.io/local/model-server:v1",
                                      "short",
                                      "docker.io/library/short:latest",
                                      list.items[0]->id,
                                      list.items[0]->id + 7,
                                      prefix};
    for (size_t i = 0; i < ARRAY_COUNT(references); i++) {
        cleanup_image struct image *image = NULL;
        assert_ok(image_find(place->store, references[i], &image, &err));
        assert_string_equal(image->id, list.items[0]->id);
    }
    struct image *none;
    assert_fails(image_find(place->store, "local/model-server:v3", &none, &err), ENOENT,
                 "image \"docker.io/local/model-server:v3\": not found");
    assert_fails(image_find(place->store, "Bad Name", &none, &err), EINVAL, "invalid reference format");
    assert_fails(image_tag(place->store, "short", "Bad", &err), EINVAL, "must be lowercase");
}

static void a_name_moves_to_the_newer_image(void **state)
{
    struct place *place = *state;
    cleanup_image struct image *one = NULL, *two = NULL;
    cleanup_image_list struct image_list list = {0};
    write_two(place->archive, false, TEST_PLAIN);
    assert_ok(image_import(place->store, place->archive, NULL, NULL, NULL, &err));
    assert_ok(image_tag(place->store, "local/model-server:v2", "local/model-server:v1", &err));
    assert_ok(image_find(place->store, "local/model-server:v1", &one, &err));
    assert_ok(image_find(place->store, "local/model-server:v2", &two, &err));
    assert_string_equal(one->id, two->id);
    assert_ok(image_list(place->store, &list, &err));
    assert_int_equal(list.count, 2);
    assert_int_equal(list.items[0]->names.count, 0);
}

static void shared_layers_stay_until_their_last_image_goes(void **state)
{
    struct place *place = *state;
    write_two(place->archive, false, TEST_PLAIN);
    assert_ok(image_import(place->store, place->archive, NULL, NULL, NULL, &err));
    assert_ok(image_tag(place->store, "local/model-server:v1", "second", &err));
    assert_ok(image_remove(place->store, "local/model-server:v1", &err));
    assert_int_equal(test_count("%s/layers", place->store_path), 3);
    assert_ok(image_remove(place->store, "second", &err));
    assert_int_equal(test_count("%s/layers", place->store_path), 2);
    assert_int_equal(test_count("%s/blobs/sha256", place->store_path), 1);
    assert_ok(image_remove(place->store, "local/model-server:v2", &err));
    assert_int_equal(test_count("%s/layers", place->store_path), 0);
    assert_int_equal(test_count("%s/blobs/sha256", place->store_path), 0);
    assert_fails(image_remove(place->store, "local/model-server:v2", &err), ENOENT, "not found");
}

static void what_a_dead_process_left_is_cleaned_at_the_next_open(void **state)
{
    struct place *place = *state;
    cleanup_free char *session = mem_printf("%s/temporary/dead/0/deep", place->store_path);
    cleanup_free char *layer = mem_printf("%s/layers/%064d", place->store_path, 1);
    struct image_store *second;
    assert_ok(file_make_directories(session, 0700, &err));
    assert_int_equal(mkdir(layer, 0755), 0);
    assert_ok(image_store_open(place->store_path, NULL, &second, &err));
    assert_int_equal(test_count("%s/layers", place->store_path), 0);
    /* The sessions of the living stay. */
    assert_int_equal(test_count("%s/temporary", place->store_path), 2);
    image_store_close(second);
    write_two(place->archive, false, TEST_PLAIN);
    assert_ok(image_import(place->store, place->archive, NULL, NULL, NULL, &err));
}

static void a_damaged_index_is_refused_not_guessed(void **state)
{
    static const char *const contents[] = {"",
                                           "{",
                                           "[]",
                                           "{\"version\":2,\"images\":[]}",
                                           "{\"version\":1}",
                                           "{\"version\":1,\"images\":[{\"id\":\"x\"}]}",
                                           "{\"version\":1,\"images\":[{\"id\":\"sha256:../../x\",\"layers\":[]}]}"};
    struct place *place = *state;
    cleanup_free char *path = mem_printf("%s/index.json", place->store_path);
    for (size_t i = 0; i < ARRAY_COUNT(contents); i++) {
        struct image_store *store;
        test_write(path, contents[i], strlen(contents[i]));
        assert_fails(image_store_open(place->store_path, NULL, &store, &err), EBADMSG, "index.json");
    }
}

struct import_thread {
    struct place *place;
    int result;
    struct error err;
};

static void *import_once(void *context)
{
    struct import_thread *thread = context;
    struct image_store *store;
    thread->result = image_store_open(thread->place->store_path, NULL, &store, &thread->err);
    if (thread->result == 0) {
        thread->result = image_import(store, thread->place->archive, NULL, NULL, NULL, &thread->err);
        image_store_close(store);
    }
    return NULL;
}

static void openers_side_by_side_do_not_disturb_each_other(void **state)
{
    struct place *place = *state;
    struct import_thread threads[4];
    pthread_t ids[4];
    int status;
    write_two(place->archive, false, TEST_PLAIN);
    pid_t child = fork();
    if (child == 0) {
        struct import_thread mine = {.place = place};
        import_once(&mine);
        _exit(mine.result == 0 ? 0 : 1);
    }
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        threads[i] = (struct import_thread){.place = place};
        assert_int_equal(pthread_create(&ids[i], NULL, import_once, &threads[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        struct error failure = {0};
        if (image_remove(place->store, "local/model-server:v1", &failure) < 0)
            assert_int_equal(failure.code, ENOENT);
    }
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        pthread_join(ids[i], NULL);
        if (threads[i].result < 0)
            fail_msg("%s", threads[i].err.text);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_ok(image_import(place->store, place->archive, NULL, NULL, NULL, &err));
    cleanup_image_list struct image_list list = {0};
    assert_ok(image_list(place->store, &list, &err));
    assert_int_equal(list.count, 2);
    for (size_t i = 0; i < list.count; i++)
        for (size_t k = 0; k < list.items[i]->layers.count; k++)
            assert_true(test_exists("%s/layers/%s", place->store_path, list.items[i]->layers.items[k]));
}

/* Imports an archive of one image that `damage` has had its hands on. */
static int import_damaged(struct place *place, bool oci, void (*damage)(struct test_image *), struct error *err)
{
    struct test_image one, two;
    make_two(&one, &two, TEST_PLAIN);
    damage(&one);
    test_write_archive(place->archive, (struct test_image *[]){&one}, 1, oci);
    test_image_free(&one);
    test_image_free(&two);
    return image_import(place->store, place->archive, NULL, NULL, NULL, err);
}

static void change_layer(struct test_image *image)
{
    char *found = memmem(image->layers[1].data, image->layers[1].size, "version 1", 9);
    assert_non_null(found);
    found[0] = 'V';
}

static void change_config(struct test_image *image)
{
    char *found = strstr(image->config_blob.data, "/srv");
    assert_non_null(found);
    found[1] = 'S';
}

static void drop_layer(struct test_image *image)
{
    buffer_free(&image->layers[--image->layer_count]);
}

static void climb(struct test_image *image)
{
    static const struct test_entry entries[] = {{"../../evil", AE_IFREG, .data = "x"}};
    buffer_free(&image->layers[1]);
    image->layers[1] = TEST_TAR(entries, TEST_PLAIN);
    test_image_finish(image);
}

static void archives_with_wrong_checksums_or_hostile_paths_are_refused(void **state)
{
    struct place *place = *state;
    struct image *none;
    assert_fails(import_damaged(place, false, change_layer, &err), EBADMSG, "does not match its digest");
    assert_fails(import_damaged(place, true, change_layer, &err), EBADMSG, "has no layer");
    assert_fails(import_damaged(place, false, change_config, &err), EBADMSG, "does not match its digest");
    assert_fails(import_damaged(place, true, change_config, &err), EBADMSG, "has no document");
    assert_fails(import_damaged(place, false, drop_layer, &err), EBADMSG, "has 1 layers, the configuration 2");
    assert_fails(import_damaged(place, false, climb, &err), EBADMSG, "path \"../../evil\" leads out of the layer");
    assert_fails(import_damaged(place, true, climb, &err), EBADMSG, "path \"../../evil\" leads out of the layer");
    assert_fails(image_find(place->store, "local/model-server:v1", &none, &err), ENOENT, "");
    assert_int_equal(test_count("%s/layers", place->store_path), 0);
    assert_int_equal(test_count("%s/temporary", place->store_path), 1);
}

static void what_is_no_image_archive_is_refused(void **state)
{
    struct place *place = *state;
    static const struct test_entry plain[] = {{"hello", AE_IFREG, .data = "{}"}};
    static const struct test_entry empty[] = {{"manifest.json", AE_IFREG, .data = "[]"}};
    static const struct test_entry lost[] = {
        {"manifest.json", AE_IFREG, .data = "[{\"Config\":\"a.json\",\"Layers\":[]}]"}};
    static const struct test_entry wrong[] = {{"manifest.json", AE_IFREG, .data = "{\"a\":}"}};
    static const struct test_entry climbing[] = {
        {"manifest.json", AE_IFREG, .data = "[{\"Config\":\"../../../etc/passwd\",\"Layers\":[]}]"}};
    const struct {
        struct buffer tar;
        const char *text;
    } cases[] = {
        {TEST_TAR(plain, TEST_PLAIN), "neither manifest.json nor index.json"},
        {TEST_TAR(empty, TEST_PLAIN), "has no image"},
        {TEST_TAR(lost, TEST_GZIP), "has no image configuration \"a.json\""},
        {TEST_TAR(wrong, TEST_ZSTD), "manifest.json is not JSON"},
        {TEST_TAR(climbing, TEST_PLAIN), "has no image configuration"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        test_write(place->archive, cases[i].tar.data, cases[i].tar.size);
        assert_fails(image_import(place->store, place->archive, NULL, NULL, NULL, &err), EBADMSG, cases[i].text);
        free(cases[i].tar.data);
    }
    test_write(place->archive, "not a tar file at all", 21);
    assert_fails(image_import(place->store, place->archive, NULL, NULL, NULL, &err), EBADMSG, "is not a readable tar");
    assert_fails(image_import(place->store, "/nonexistent.tar", NULL, NULL, NULL, &err), ENOENT, "/nonexistent.tar");
}

static void the_limit_on_layers_holds(void **state)
{
    struct place *place = *state;
    struct test_image image = {.name = "many"};
    for (size_t i = 0; i < IMAGE_LAYERS_MAX + 1; i++)
        ADD_LAYER(&image, app_layer, TEST_PLAIN);
    test_image_finish(&image);
    test_write_archive(place->archive, (struct test_image *[]){&image}, 1, false);
    test_image_free(&image);
    assert_fails(image_import(place->store, place->archive, NULL, NULL, NULL, &err), E2BIG,
                 "129 entries, at most 128 are allowed");
}

static void the_same_layer_may_lie_at_several_heights(void **state)
{
    struct place *place = *state;
    struct test_image image = {0};
    cleanup_image struct image *found = NULL;
    for (int i = 0; i < 3; i++)
        ADD_LAYER(&image, app_layer, TEST_PLAIN);
    test_image_finish(&image);
    test_write_archive(place->archive, (struct test_image *[]){&image}, 1, true);
    test_image_free(&image);
    assert_ok(image_import(place->store, place->archive, "named/by-us:v9", NULL, NULL, &err));
    assert_ok(image_find(place->store, "named/by-us:v9", &found, &err));
    assert_int_equal(found->layers.count, 3);
    assert_int_equal(test_count("%s/layers", place->store_path), 3);
}

static void an_import_can_be_cancelled(void **state)
{
    struct place *place = *state;
    atomic_bool cancel = true;
    write_two(place->archive, false, TEST_PLAIN);
    assert_fails(image_import(place->store, place->archive, NULL, &cancel, NULL, &err), ECANCELED, "cancel");
    assert_int_equal(test_count("%s/layers", place->store_path), 0);
}

#define with_place(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_place(archives_of_both_kinds_are_imported_with_all_their_images),
        with_place(directories_that_a_layer_only_implies_look_as_below),
        with_place(images_are_found_by_every_reference),
        with_place(a_name_moves_to_the_newer_image),
        with_place(shared_layers_stay_until_their_last_image_goes),
        with_place(what_a_dead_process_left_is_cleaned_at_the_next_open),
        with_place(a_damaged_index_is_refused_not_guessed),
        with_place(openers_side_by_side_do_not_disturb_each_other),
        with_place(archives_with_wrong_checksums_or_hostile_paths_are_refused),
        with_place(what_is_no_image_archive_is_refused),
        with_place(the_limit_on_layers_holds),
        with_place(the_same_layer_may_lie_at_several_heights),
        with_place(an_import_can_be_cancelled),
    };
    if (geteuid() != 0)
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
