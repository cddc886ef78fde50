/* Pulling from registries that behave, misbehave and refuse: the promises of pull.c, registry.c, download.c and http.c.
 * Runs as root. */
#include "support.h"

#include <archive_entry.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fake_registry.h"
#include "node/image/tree.h"

/* base64 of user:secret */
#define BASIC "dXNlcjpzZWNyZXQ="

static struct image_credential good[] = {{"user", "secret"}};
static struct image_credential wrong[] = {{"user", "guess"}};

struct place {
    char *top;
    struct image_store *store;
    struct fake_registry *registry;
    struct test_image image;
    char reference[64];
    char layer_path[4][256];
};

static char content[200000]; /* of a layer that is worth resuming */

static int set_up(void **state)
{
    struct place *place = mem_zero(1, sizeof(*place));
    unsigned seed = 1;
    for (size_t i = 0; i < sizeof(content) - 1; i++) {
        seed = seed * 1103515245 + 12345;
        content[i] = (char)(1 + (seed >> 16) % 255);
    }
    const struct test_entry layers[4][1] = {{{"big", AE_IFREG, .data = content}},
                                            {{"one", AE_IFREG, .data = "1"}},
                                            {{"two", AE_IFREG, .data = "2"}},
                                            {{"three", AE_IFREG, .data = "3"}}};
    place->top = test_directory();
    assert_ok(image_store_open(place->top, NULL, &place->store, &err));
    place->registry = fake_registry_start();
    snprintf(place->reference, sizeof(place->reference), "%s/team/app:v1", place->registry->host);
    for (size_t i = 0; i < 4; i++)
        test_image_add_layer(&place->image, layers[i], 1, TEST_GZIP);
    test_image_finish(&place->image);
    fake_registry_add(place->registry, &place->image, "v1");
    for (size_t i = 0; i < 4; i++)
        snprintf(place->layer_path[i], sizeof(place->layer_path[i]), "/v2/team/app/blobs/%s",
                 place->image.layer_digests[i]);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    fake_registry_stop(place->registry);
    image_store_close(place->store);
    test_image_free(&place->image);
    assert_int_equal(test_count("%s/temporary", place->top), 0);
    test_directory_free(place->top);
    free(place);
    return 0;
}

static int pull(struct place *place, const struct image_credential *credential, struct error *err)
{
    const struct image_pull_options options = {
        .credentials = credential, .credential_count = credential ? 1 : 0, .retry_milliseconds = 1, .stall_seconds = 5};
    return image_pull(place->store, place->reference, &options, NULL, err);
}

static void assert_whole(struct place *place)
{
    cleanup_image struct image *image = NULL;
    assert_ok(image_find(place->store, place->reference, &image, &err));
    assert_string_equal(image->id, place->image.id);
    assert_int_equal(image->layers.count, 4);
    assert_true(test_exists("%s/layers/%s/big", place->top, image->layers.items[0]));
    assert_true(test_exists("%s/layers/%s/three", place->top, image->layers.items[3]));
    assert_int_equal(test_count("%s/partial", place->top), 0);
}

struct seen {
    size_t done, calls;
    uint64_t bytes;
};

static void on_progress(const struct image_progress *progress, void *context)
{
    struct seen *seen = context;
    seen->calls++;
    seen->done += progress->state == IMAGE_PROGRESS_DONE;
    if (progress->layer == 0 && progress->state == IMAGE_PROGRESS_DOWNLOADING)
        seen->bytes = progress->done;
    assert_int_equal(progress->layer_count, 4);
    assert_true(progress->done <= progress->total);
}

static void an_image_is_pulled_whole_and_known_by_name_and_digest(void **state)
{
    struct place *place = *state;
    struct seen seen = {0};
    cleanup_image struct image *image = NULL, *by_digest = NULL;
    const struct image_pull_options options = {.progress = on_progress, .context = &seen};
    assert_ok(image_pull(place->store, place->reference, &options, &image, &err));
    assert_whole(place);
    cleanup_free char *digest = mem_printf("%s/team/app@%s", place->registry->host, place->image.manifest_digest);
    assert_string_equal(image->names.items[0], place->reference);
    assert_string_equal(image_status_id(image), digest);
    assert_ok(image_find(place->store, digest, &by_digest, &err));
    assert_int_equal(seen.done, 4);
    assert_int_equal(seen.bytes, place->image.layers[0].size);
    uint64_t size = place->image.manifest.size + place->image.config_blob.size;
    for (size_t i = 0; i < 4; i++)
        size += place->image.layers[i].size;
    assert_int_equal(image->size, size);

    /* Again: the tag is asked for, nothing is fetched. */
    size_t before = place->registry->request_count;
    assert_ok(pull(place, NULL, &err));
    assert_int_equal(place->registry->request_count, before + 1);
    assert_string_equal(place->registry->requests[before].method, "HEAD");
}

static void a_registry_that_says_no_digest_is_believed_what_it_sends(void **state)
{
    struct place *place = *state;
    place->registry->no_digest = true;
    assert_ok(pull(place, NULL, &err));
    assert_whole(place);
}

static void an_index_gives_the_image_for_this_machine(void **state)
{
    struct place *place = *state;
    cleanup_buffer struct buffer index = {0};
    char digest[DIGEST_TEXT_SIZE], path[256];
    const char *config = place->image.config_blob.data;
    char architecture[32];
    assert_int_equal(sscanf(strstr(config, "\"architecture\""), "\"architecture\":\"%31[^\"]", architecture), 1);
    buffer_printf(&index, "{\"schemaVersion\":2,\"manifests\":[");
    for (int i = 0; i < 3; i++)
        buffer_printf(&index,
                      "%s{\"mediaType\":\"m\",\"digest\":\"sha256:%064d\",\"size\":1,\"platform\":{\"os\":"
                      "\"%s\",\"architecture\":\"%s\",\"variant\":\"%s\"}}",
                      i ? "," : "", i,
                      i == 0   ? "windows"
                      : i == 1 ? "unknown"
                               : "linux",
                      i == 2 ? "mips64" : architecture, i == 2 ? "v9" : "");
    size_t without = index.size;
    buffer_printf(&index,
                  ",{\"mediaType\":\"m\",\"digest\":\"%s\",\"size\":%zu,\"platform\":{\"os\":\"linux\","
                  "\"architecture\":\"%s\"}}]}",
                  place->image.manifest_digest, place->image.manifest.size, architecture);
    image_digest_of(index.data, index.size, digest);
    snprintf(path, sizeof(path), "/v2/team/app/manifests/%s", digest);
    fake_registry_add_body(place->registry, "/v2/team/app/manifests/multi", "application/vnd.oci.image.index.v1+json",
                           index.data, index.size);
    fake_registry_add_body(place->registry, path, "application/vnd.oci.image.index.v1+json", index.data, index.size);
    snprintf(place->reference, sizeof(place->reference), "%s/team/app:multi", place->registry->host);
    assert_ok(pull(place, NULL, &err));
    assert_whole(place);
    cleanup_image struct image *image = NULL;
    assert_ok(image_find(place->store, place->reference, &image, &err));
    assert_non_null(strstr(image_status_id(image), digest));

    index.size = without;
    buffer_printf(&index, "]}");
    image_digest_of(index.data, index.size, digest);
    snprintf(path, sizeof(path), "/v2/team/app/manifests/%s", digest);
    fake_registry_add_body(place->registry, path, "application/vnd.oci.image.index.v1+json", index.data, index.size);
    cleanup_free char *reference = mem_printf("%s/team/app@%s", place->registry->host, digest);
    assert_fails(image_pull(place->store, reference, NULL, NULL, &err), ENOENT, "no match for platform in manifest");
}

static void failures_are_worded_as_containerd_words_them(void **state)
{
    struct place *place = *state;
    char text[512];
    struct error failure = {0};
    cleanup_free char *missing = mem_printf("%s/team/app:v9", place->registry->host);
    snprintf(text, sizeof(text),
             "failed to pull and unpack image \"%s\": failed to resolve reference \"%s\": %s: not found", missing,
             missing, missing);
    assert_int_equal(image_pull(place->store, missing, NULL, NULL, &failure), -1);
    assert_string_equal(failure.text, text);
    assert_int_equal(failure.code, ENOENT);
    assert_string_equal(image_error_grpc_code(&failure), "NotFound");

    assert_fails(image_pull(place->store, "127.0.0.1:1/a:v1", NULL, NULL, &err), EHOSTUNREACH,
                 "failed to pull and unpack image \"127.0.0.1:1/a:v1\": failed to resolve reference "
                 "\"127.0.0.1:1/a:v1\": failed to do request: Head \"http://127.0.0.1:1/v2/a/manifests/v1\": dial tcp: "
                 "connect: Connection refused");
    assert_fails(
        image_pull(place->store, "Bad", NULL, NULL, &err), EINVAL,
        "failed to parse image reference \"Bad\": invalid reference format: repository name (library/Bad) must "
        "be lowercase");
}

static void tokens_are_fetched_and_used(void **state)
{
    struct place *place = *state;
    place->registry->token = "t0ken";
    assert_ok(pull(place, NULL, &err));
    assert_whole(place);
    assert_int_equal(fake_registry_count(place->registry, "/token?"), 1);
    assert_int_equal(
        fake_registry_count(place->registry, "/token?scope=repository%3Ateam%2Fapp%3Apull&service=fake%20registry"), 1);
}

static void a_token_server_gets_the_credentials(void **state)
{
    struct place *place = *state;
    place->registry->token = "t0ken";
    place->registry->basic = BASIC;
    assert_fails(pull(place, NULL, &err), EACCES,
                 "failed to authorize: failed to fetch anonymous token: unexpected "
                 "status from GET request to http://127.0.0.1:");
    assert_fails(pull(place, wrong, &err), EACCES,
                 "failed to authorize: failed to fetch oauth token: unexpected status");
    assert_ok(pull(place, good, &err));
    assert_whole(place);
}

static void a_refused_token_is_reported_with_the_registrys_reason(void **state)
{
    struct place *place = *state;
    place->registry->token = "t0ken";
    place->registry->deny = true;
    assert_fails(pull(place, NULL, &err), EACCES,
                 "pull access denied, repository does not exist or may require authorization: server message: "
                 "insufficient_scope: authorization failed");
}

static void basic_credentials_are_sent_when_asked_for(void **state)
{
    struct place *place = *state;
    place->registry->basic = BASIC;
    assert_fails(pull(place, NULL, &err), EACCES,
                 "pull access denied, repository does not exist or may require authorization: authorization failed: no "
                 "basic auth credentials");
    assert_fails(pull(place, wrong, &err), EACCES, ": 401 Unauthorized");
    const struct image_credential both[] = {wrong[0], good[0]};
    const struct image_pull_options options = {.credentials = both, .credential_count = 2};
    assert_ok(image_pull(place->store, place->reference, &options, NULL, &err));
    assert_whole(place);
    assert_string_equal(place->registry->requests[0].authorization, "");
}

static void a_token_with_line_breaks_never_reaches_a_header(void **state)
{
    struct place *place = *state;
    place->registry->token = "a\\r\\nX-Evil: 1";
    assert_fails(pull(place, NULL, &err), EPROTO, "did not include a token");
}

static void a_cut_download_goes_on_where_it_was_cut(void **state)
{
    struct place *place = *state;
    size_t size = place->image.layers[0].size;
    place->registry->cut_after = size / 3;
    place->registry->cuts = 2;
    assert_ok(pull(place, NULL, &err));
    assert_whole(place);
    uint64_t largest = 0;
    for (size_t i = 0; i < place->registry->request_count; i++)
        if (strcmp(place->registry->requests[i].path, place->layer_path[0]) == 0 &&
            place->registry->requests[i].from > largest)
            largest = place->registry->requests[i].from;
    assert_true(largest >= size / 3);
}

static void a_later_pull_takes_up_what_an_earlier_one_left(void **state)
{
    struct place *place = *state;
    size_t size = place->image.layers[0].size;
    place->registry->cut_after = 1;
    place->registry->cuts = 1000000;
    assert_fails(pull(place, NULL, &err), EPROTO, "failed to copy");
    assert_true(test_count("%s/partial", place->top) > 0);
    assert_int_equal(test_count("%s/layers", place->top), 0);

    /* Pretend that half of the large layer came. */
    cleanup_free char *path = mem_printf("%s/partial/%s", place->top, image_digest_hex(place->image.layer_digests[0]));
    test_write(path, place->image.layers[0].data, size / 2);
    place->registry->cuts = 0;
    size_t before = place->registry->request_count;
    assert_ok(pull(place, NULL, &err));
    assert_whole(place);
    bool resumed = false;
    for (size_t i = before; i < place->registry->request_count; i++)
        resumed = resumed || (strcmp(place->registry->requests[i].path, place->layer_path[0]) == 0 &&
                              place->registry->requests[i].from == size / 2);
    assert_true(resumed);
}

static void a_damaged_partial_download_is_fetched_anew(void **state)
{
    struct place *place = *state;
    cleanup_free char *path = mem_printf("%s/partial/%s", place->top, image_digest_hex(place->image.layer_digests[0]));
    test_write(path, "rubbish", 7);
    assert_ok(pull(place, NULL, &err));
    assert_whole(place);
}

static void a_server_without_ranges_is_taken_from_the_start(void **state)
{
    struct place *place = *state;
    place->registry->no_range = true;
    place->registry->cut_after = 5000;
    place->registry->cuts = 2;
    assert_ok(pull(place, NULL, &err));
    assert_whole(place);
}

static void passing_failures_are_retried_lasting_ones_are_not(void **state)
{
    struct place *place = *state;
    place->registry->unavailable = 2;
    assert_ok(pull(place, NULL, &err));
    assert_whole(place);
    assert_ok(image_remove(place->store, place->reference, &err));
    place->registry->unavailable = 1000;
    size_t before = place->registry->request_count;
    assert_fails(pull(place, NULL, &err), EPROTO, ": 503 Service Unavailable");
    assert_int_equal(place->registry->request_count - before, 5);
}

/* An empty store again. */
static void start_afresh(struct place *place)
{
    image_store_close(place->store);
    assert_int_equal(image_tree_remove_path(place->top), 0);
    assert_ok(image_store_open(place->top, NULL, &place->store, &err));
}

static void content_that_does_not_match_its_digest_is_refused(void **state)
{
    struct place *place = *state;
    fake_registry_body(place->registry, place->layer_path[1])->data[20] ^= 1;
    assert_fails(pull(place, NULL, &err), EBADMSG, "unexpected commit digest sha256:");
    fake_registry_body(place->registry, place->layer_path[1])->data[20] ^= 1;

    start_afresh(place);
    buffer_add(fake_registry_body(place->registry, place->layer_path[2]), "more", 4);
    assert_fails(pull(place, NULL, &err), EBADMSG, "larger than");
    fake_registry_body(place->registry, place->layer_path[2])->size -= 4;

    char path[256];
    snprintf(path, sizeof(path), "/v2/team/app/blobs/%s", place->image.id);
    fake_registry_body(place->registry, path)->data[3] ^= 1;
    assert_fails(pull(place, NULL, &err), EBADMSG, "image configuration: unexpected commit digest");
    fake_registry_body(place->registry, path)->data[3] ^= 1;

    snprintf(path, sizeof(path), "/v2/team/app/manifests/%s", place->image.manifest_digest);
    fake_registry_body(place->registry, path)->data[3] ^= 1;
    assert_fails(pull(place, NULL, &err), EBADMSG, "unexpected commit digest");
    fake_registry_body(place->registry, path)->data[3] ^= 1;

    struct image *none;
    assert_fails(image_find(place->store, place->reference, &none, &err), ENOENT, "");
    assert_ok(pull(place, NULL, &err));
    assert_whole(place);
}

static void a_manifest_larger_than_the_limit_is_refused(void **state)
{
    struct place *place = *state;
    cleanup_free char *large = mem_zero(1, IMAGE_MANIFEST_MAX + 1);
    memset(large, ' ', IMAGE_MANIFEST_MAX + 1);
    place->registry->no_digest = true;
    fake_registry_add_body(place->registry, "/v2/team/app/manifests/large", "x", large, IMAGE_MANIFEST_MAX + 1);
    snprintf(place->reference, sizeof(place->reference), "%s/team/app:large", place->registry->host);
    assert_fails(pull(place, NULL, &err), E2BIG, "larger than 4194304 bytes");
}

static void credentials_do_not_follow_a_redirect(void **state)
{
    struct place *place = *state;
    struct fake_registry *other = fake_registry_start();
    fake_registry_add(other, &place->image, NULL);
    place->registry->basic = BASIC;
    place->registry->redirect_host = other->host;
    assert_ok(pull(place, good, &err));
    assert_whole(place);
    assert_int_equal(other->request_count, 4);
    for (size_t i = 0; i < other->request_count; i++)
        assert_string_equal(other->requests[i].authorization, "");
    fake_registry_stop(other);
}

static void three_layers_come_at_once(void **state)
{
    struct place *place = *state;
    place->registry->gather = IMAGE_PARALLEL_DOWNLOADS;
    assert_ok(pull(place, NULL, &err));
    assert_whole(place);
    assert_int_equal(place->registry->most_waiting, IMAGE_PARALLEL_DOWNLOADS);
}

struct puller {
    struct place *place;
    int result;
    struct error err;
};

static void *pull_in_thread(void *context)
{
    struct puller *puller = context;
    puller->result = pull(puller->place, NULL, &puller->err);
    return NULL;
}

static void pulls_of_one_image_at_once_fetch_it_once(void **state)
{
    struct place *place = *state;
    struct puller pullers[4];
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_COUNT(pullers); i++) {
        pullers[i] = (struct puller){.place = place};
        assert_int_equal(pthread_create(&threads[i], NULL, pull_in_thread, &pullers[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_COUNT(pullers); i++) {
        pthread_join(threads[i], NULL);
        if (pullers[i].result < 0)
            fail_msg("%s", pullers[i].err.text);
    }
    assert_whole(place);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(fake_registry_count(place->registry, place->layer_path[i]), 1);
}

static void a_pull_can_be_cancelled_while_the_registry_is_silent(void **state)
{
    struct place *place = *state;
    atomic_bool cancel = false;
    const struct image_pull_options options = {.cancel = &cancel};
    place->registry->cancel = &cancel;
    assert_fails(image_pull(place->store, place->reference, &options, NULL, &err), ECANCELED, "context canceled");
}

static void hostile_documents_are_refused(void **state)
{
    static const struct {
        const char *text;
        const char *error;
    } cases[] = {
        {"", "manifest is not JSON"},
        {"[]", "manifest is not an object"},
        {"{\"schemaVersion\":1}", "schema 1"},
        {"{\"schemaVersion\":2}", "config: not an object"},
        {"{\"manifests\":[],\"layers\":[]}", "both an index and an image"},
        {"{\"manifests\":[]}", "no match for platform"},
        {"{\"config\":{\"digest\":\"sha256:../../etc/passwd\",\"size\":1},\"layers\":[]}", "is not a sha256 digest"},
        {"{\"config\":{\"digest\":\"md5:00\",\"size\":1},\"layers\":[]}", "is not a sha256 digest"},
        {"{\"config\":{\"digest\":\"x\",\"size\":-1},\"layers\":[]}", "size is not a number of bytes"},
    };
    struct place *place = *state;
    place->registry->no_digest = true;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char path[256], digest[DIGEST_TEXT_SIZE];
        image_digest_of(cases[i].text, strlen(cases[i].text), digest);
        snprintf(path, sizeof(path), "/v2/team/app/manifests/%s", digest);
        fake_registry_add_body(place->registry, path, "x", cases[i].text, strlen(cases[i].text));
        snprintf(path, sizeof(path), "/v2/team/app/manifests/bad%zu", i);
        fake_registry_add_body(place->registry, path, "x", cases[i].text, strlen(cases[i].text));
        snprintf(place->reference, sizeof(place->reference), "%s/team/app:bad%zu", place->registry->host, i);
        struct error err = {0};
        assert_int_equal(pull(place, NULL, &err), -1);
        if (!strstr(err.text, cases[i].error))
            fail_msg("%s", err.text);
    }
}

struct elsewhere {
    int result;
    struct error err;
};

/* A registry and a pull in a network namespace that only this thread and its children are in. */
static void *pull_elsewhere(void *context)
{
    struct elsewhere *elsewhere = context;
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    void *state;
    if (unshare(CLONE_NEWNET) < 0)
        return NULL;
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (ioctl(fd, SIOCSIFFLAGS, &loopback) < 0)
        return NULL;
    set_up(&state);
    struct place *place = state;
    elsewhere->result = pull(place, NULL, &elsewhere->err);
    tear_down(&state);
    return NULL;
}

static void a_pull_goes_through_the_network_namespace_of_its_thread(void **state)
{
    struct elsewhere elsewhere = {.result = -1, .err.text = "no network namespace"};
    pthread_t thread;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, pull_elsewhere, &elsewhere), 0);
    pthread_join(thread, NULL);
    if (elsewhere.result < 0)
        fail_msg("%s", elsewhere.err.text);
}

#define with_place(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_place(an_image_is_pulled_whole_and_known_by_name_and_digest),
        with_place(a_registry_that_says_no_digest_is_believed_what_it_sends),
        with_place(an_index_gives_the_image_for_this_machine),
        with_place(failures_are_worded_as_containerd_words_them),
        with_place(tokens_are_fetched_and_used),
        with_place(a_token_server_gets_the_credentials),
        with_place(a_refused_token_is_reported_with_the_registrys_reason),
        with_place(basic_credentials_are_sent_when_asked_for),
        with_place(a_token_with_line_breaks_never_reaches_a_header),
        with_place(a_cut_download_goes_on_where_it_was_cut),
        with_place(a_later_pull_takes_up_what_an_earlier_one_left),
        with_place(a_damaged_partial_download_is_fetched_anew),
        with_place(a_server_without_ranges_is_taken_from_the_start),
        with_place(passing_failures_are_retried_lasting_ones_are_not),
        with_place(content_that_does_not_match_its_digest_is_refused),
        with_place(a_manifest_larger_than_the_limit_is_refused),
        with_place(credentials_do_not_follow_a_redirect),
        with_place(three_layers_come_at_once),
        with_place(pulls_of_one_image_at_once_fetch_it_once),
        with_place(a_pull_can_be_cancelled_while_the_registry_is_silent),
        with_place(hostile_documents_are_refused),
        cmocka_unit_test(a_pull_goes_through_the_network_namespace_of_its_thread),
    };
    if (geteuid() != 0)
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
