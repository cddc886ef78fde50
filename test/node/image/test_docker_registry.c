/* Against programs that others wrote: images pushed by skopeo are pulled from docker-registry (open, with basic
 * authentication, with TLS), and archives written by skopeo are imported. Runs as root; skips where the two programs
 * are not installed. */
#include "support.h"

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

#define START_MILLISECONDS 20000
#define COMMAND_SECONDS "60"

extern char **environ;

/* user:secret */
#define HTPASSWD "user:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"

static struct image_credential good[] = {{"user", "secret"}};

struct place {
    char *top;
    char *archive;
    struct image_store *store;
    struct test_image image;
    pid_t server;
    int log;
    int port;
};

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
    char command[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("%s", command);
}

/* Reads the server's log until it says where it listens. */
static void wait_for_port(struct place *place)
{
    cleanup_buffer struct buffer log = {0};
    const char *found = NULL;
    while (!found) {
        struct pollfd poll_fd = {.fd = place->log, .events = POLLIN};
        if (poll(&poll_fd, 1, START_MILLISECONDS) <= 0)
            fail_msg("docker-registry does not start: %s", log.data ? log.data : "");
        ssize_t n = read(place->log, buffer_reserve(&log, 4096), 4096);
        if (n <= 0)
            fail_msg("docker-registry ended: %s", log.data ? log.data : "");
        log.size += (size_t)n;
        log.data[log.size] = 0;
        found = strstr(log.data, "listening on 127.0.0.1:");
        if (found && !strpbrk(found, ",\"\n"))
            found = NULL;
    }
    place->port = atoi(found + strlen("listening on 127.0.0.1:"));
    assert_true(place->port > 0);
}

static void start_registry(struct place *place, const char *more)
{
    cleanup_free char *config = mem_printf("%s/config.yml", place->top);
    cleanup_buffer struct buffer text = {0};
    int pipe_fds[2];
    buffer_printf(&text,
                  "version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp:\n  "
                  "addr: 127.0.0.1:0\n%s",
                  place->top, more);
    test_write(config, text.data, text.size);
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    char *argv[] = {"docker-registry", "serve", config, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 1);
    posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 2);
    assert_int_equal(posix_spawnp(&place->server, argv[0], &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_fds[1]);
    place->log = pipe_fds[0];
    wait_for_port(place);
}

static int set_up(void **state)
{
    static const struct test_entry base[] = {{"./", AE_IFDIR}, {"bin/app", AE_IFREG, 0755, "program"}};
    static const struct test_entry top[] = {{"etc/.wh.gone", AE_IFREG}, {"data", AE_IFREG, .data = "more"}};
    struct place *place = mem_zero(1, sizeof(*place));
    place->log = -1;
    place->top = test_directory();
    place->archive = mem_printf("%s/archive.tar", place->top);
    cleanup_free char *store = mem_printf("%s/store", place->top);
    assert_ok(image_store_open(store, NULL, &place->store, &err));
    place->image = (struct test_image){.name = "local/model-server:v1", .config = "\"Env\":[\"A=1\"]"};
    test_image_add_layer(&place->image, base, 2, TEST_PLAIN);
    test_image_add_layer(&place->image, top, 2, TEST_PLAIN);
    test_image_finish(&place->image);
    test_write_archive(place->archive, (struct test_image *[]){&place->image}, 1, false);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    if (place->server > 0) {
        kill(place->server, SIGKILL);
        waitpid(place->server, NULL, 0);
    }
    cleanup_close_fd(&place->log);
    image_store_close(place->store);
    test_image_free(&place->image);
    test_directory_free(place->top);
    free(place->archive);
    free(place);
    return 0;
}

static void push(struct place *place, const char *options, const char *destination)
{
    run("timeout " COMMAND_SECONDS " skopeo copy --quiet --insecure-policy --dest-tls-verify=false %s "
        "docker-archive:%s docker://127.0.0.1:%d/%s",
        options, place->archive, place->port, destination);
}

static void assert_pulled(struct place *place, const char *name, const struct image_credential *credential)
{
    cleanup_free char *reference = mem_printf("127.0.0.1:%d/%s", place->port, name);
    cleanup_image struct image *image = NULL;
    const struct image_pull_options options = {.credentials = credential, .credential_count = credential ? 1 : 0};
    assert_ok(image_pull(place->store, reference, &options, &image, &err));
    assert_string_equal(image->names.items[0], reference);
    assert_int_equal(image->digests.count, 1);
    assert_string_equal(image->config.env.items[0], "A=1");
    assert_int_equal(image->layers.count, 2);
    assert_true(test_exists("%s/store/layers/%s/bin/app", place->top, image->layers.items[0]));
    assert_true(test_exists("%s/store/layers/%s/etc/gone", place->top, image->layers.items[1]));
    assert_ok(image_pull(place->store, image->digests.items[0], &options, NULL, &err));
}

static void images_of_both_formats_are_pulled(void **state)
{
    struct place *place = *state;
    start_registry(place, "");
    push(place, "--format v2s2", "team/app:docker");
    push(place, "--format oci", "team/app:oci");
    push(place, "--format oci --dest-compress-format zstd", "team/app:zstd");
    assert_pulled(place, "team/app:docker", NULL);
    assert_ok(image_remove(place->store, place->image.id, &err));
    assert_pulled(place, "team/app:zstd", NULL);
    assert_fails(image_pull(place->store, "127.0.0.1:1/team/app", NULL, NULL, &err), EHOSTUNREACH, "refused");
    cleanup_free char *missing = mem_printf("127.0.0.1:%d/team/none:v1", place->port);
    assert_fails(image_pull(place->store, missing, NULL, NULL, &err), ENOENT, ": not found");
}

static void a_registry_with_passwords_wants_the_right_one(void **state)
{
    struct place *place = *state;
    struct image_credential wrong[] = {{"user", "guess"}};
    const struct image_pull_options with_wrong = {.credentials = wrong, .credential_count = 1};
    cleanup_free char *htpasswd = mem_printf("%s/htpasswd", place->top);
    cleanup_free char *more = mem_printf("auth: {htpasswd: {realm: test, path: %s}}\n", htpasswd);
    test_write(htpasswd, HTPASSWD, strlen(HTPASSWD));
    start_registry(place, more);
    push(place, "--dest-creds user:secret", "team/app:v1");
    cleanup_free char *reference = mem_printf("127.0.0.1:%d/team/app:v1", place->port);
    assert_fails(image_pull(place->store, reference, NULL, NULL, &err), EACCES, "no basic auth credentials");
    assert_fails(image_pull(place->store, reference, &with_wrong, NULL, &err), EACCES, "401 Unauthorized");
    assert_pulled(place, "team/app:v1", good);
}

static void a_registry_on_loopback_may_speak_tls_with_its_own_certificate(void **state)
{
    struct place *place = *state;
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s/key.pem -out %s/cert.pem "
        "-subj /CN=test -days 2 >/dev/null 2>&1",
        place->top, place->top);
    cleanup_free char *more =
        mem_printf("  tls: {certificate: %s/cert.pem, key: %s/key.pem}\n", place->top, place->top);
    start_registry(place, more);
    push(place, "", "team/app:v1");
    assert_pulled(place, "team/app:v1", NULL);
}

static void archives_that_skopeo_writes_are_imported(void **state)
{
    static const char *const kinds[] = {"docker-archive", "oci-archive"};
    struct place *place = *state;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        cleanup_free char *path = mem_printf("%s/%s.tar", place->top, kinds[i]);
        cleanup_image struct image *image = NULL;
        run("timeout " COMMAND_SECONDS
            " skopeo copy --quiet --insecure-policy docker-archive:%s %s:%s:local/again:v%zu",
            place->archive, kinds[i], path, i);
        assert_ok(image_import(place->store, path, NULL, NULL, NULL, &err));
        cleanup_free char *reference = mem_printf("local/again:v%zu", i);
        assert_ok(image_find(place->store, reference, &image, &err));
        assert_int_equal(image->layers.count, 2);
        assert_true(test_exists("%s/store/layers/%s/bin/app", place->top, image->layers.items[0]));
    }
}

#define with_place(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_place(images_of_both_formats_are_pulled),
        with_place(a_registry_with_passwords_wants_the_right_one),
        with_place(a_registry_on_loopback_may_speak_tls_with_its_own_certificate),
        with_place(archives_that_skopeo_writes_are_imported),
    };
    if (geteuid() != 0 || system("command -v docker-registry >/dev/null && command -v skopeo >/dev/null") != 0)
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
