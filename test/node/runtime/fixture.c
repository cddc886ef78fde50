#include "fixture.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

static const char busybox[] = "/bin/busybox";
static const char *const applets[] = {"sh", "cat",  "echo", "sleep", "true", "hostname", "id",  "dd",  "head",   "tail",
                                      "ls", "kill", "ip",   "touch", "grep", "mount",    "seq", "yes", "setsid", "tr"};

static int pass_over(const char *why)
{
    printf("skipped: %s\n", why);
    return 77;
}

int fixture_enter(void)
{
    struct error err;
    if (geteuid() != 0)
        return pass_over("not root");
    if (access(busybox, X_OK) < 0 || access("/usr/bin/conmon", X_OK) < 0 || access("/usr/bin/crun", X_OK) < 0)
        return pass_over("busybox, conmon or crun is not installed");
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return pass_over("no mount namespace of our own");
    if (cgroup_prepare_mounts(&err) < 0)
        return pass_over(err.text);
    if (getenv("CORACLE_TEST_DEBUG"))
        log_set_level(LOG_DEBUG);
    return 0;
}

static void on_ended(void *context, const struct runtime_container_status *status)
{
    struct fixture *f = context;
    f->ended++;
    snprintf(f->last_ended, sizeof(f->last_ended), "%s", status->id);
}

void fixture_open_runtime(struct fixture *f)
{
    struct error err;
    struct runtime_options options = {
        .env = f->env,
        .run_directory = f->run,
        .pods_log_directory = f->logs,
        .cgroup_parent = f->cgroup_parent,
        .container_ended = on_ended,
        .context = f,
    };
    if (runtime_new(&options, &f->runtime, &err) < 0)
        fail_msg("%s", err.text);
    struct reply reply = {0};
    runtime_recover(f->runtime, fixture_reply, &reply);
    fixture_succeed(f, &reply);
}

static void on_closed(void *context)
{
    *(int *)context = 1;
}

void fixture_close_runtime(struct fixture *f)
{
    int closed = 0;
    runtime_close(f->runtime, on_closed, &closed);
    fixture_wait(f, &closed);
    f->runtime = NULL;
}

static void make_rootfs(struct fixture *f)
{
    static const char *const directories[] = {"bin", "proc", "dev", "sys", "tmp", "etc"};
    cleanup_buffer struct buffer binary = {0};
    char path[256];
    struct error err;
    for (size_t i = 0; i < ARRAY_COUNT(directories); i++) {
        snprintf(path, sizeof(path), "%s/%s", f->rootfs, directories[i]);
        assert_int_equal(file_make_directories(path, 0755, &err), 0);
    }
    assert_int_equal(file_read(busybox, 16 << 20, &binary, &err), 0);
    snprintf(path, sizeof(path), "%s/bin/busybox", f->rootfs);
    assert_int_equal(file_write_atomic(path, binary.data, binary.size, 0755, &err), 0);
    for (size_t i = 0; i < ARRAY_COUNT(applets); i++) {
        snprintf(path, sizeof(path), "%s/bin/%s", f->rootfs, applets[i]);
        assert_int_equal(symlink("busybox", path), 0);
    }
}

static void on_watchdog(uv_timer_t *timer)
{
    fprintf(stderr, "nothing happened for %d ms\n", FIXTURE_TIMEOUT_MS);
    abort();
}

void fixture_open(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    strcpy(f->directory, "/tmp/coracle-runtime-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    assert_int_equal(chmod(f->directory, 0755), 0);
    snprintf(f->run, sizeof(f->run), "%s/run", f->directory);
    snprintf(f->logs, sizeof(f->logs), "%s/logs", f->directory);
    snprintf(f->rootfs, sizeof(f->rootfs), "%s/rootfs", f->directory);
    snprintf(f->cgroup_parent, sizeof(f->cgroup_parent), "/coracle-test/%d", (int)getpid());
    make_rootfs(f);
    uv_loop_init(&f->loop);
    uv_timer_init(&f->loop, &f->watchdog);
    uv_unref((uv_handle_t *)&f->watchdog);
    f->env = env_uv_new(&f->loop);
    fixture_open_runtime(f);
}

void fixture_close(struct fixture *f)
{
    struct error err;
    if (f->runtime)
        fixture_close_runtime(f);
    if (runtime_destroy(f->run, f->cgroup_parent, &err) < 0)
        fail_msg("%s", err.text);
    env_uv_free(f->env);
    uv_close((uv_handle_t *)&f->watchdog, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_not_equal(access(f->run, F_OK), 0);
    assert_int_equal(file_remove_tree(f->directory, &err), 0);
}

int fixture_set_up(void **state)
{
    struct fixture *f = malloc(sizeof(*f));
    fixture_open(f);
    fixture_sandbox(f, "pod-1");
    *state = f;
    return 0;
}

int fixture_tear_down(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    free(f);
    return 0;
}

void fixture_wait(struct fixture *f, const int *flag)
{
    uv_timer_start(&f->watchdog, on_watchdog, FIXTURE_TIMEOUT_MS, 0);
    while (!*flag)
        uv_run(&f->loop, UV_RUN_ONCE);
    uv_timer_stop(&f->watchdog);
}

void fixture_reply(void *context, const struct error *err)
{
    struct reply *reply = context;
    assert_false(reply->done);
    reply->done = 1;
    reply->err = err ? *err : (struct error){0};
}

void fixture_succeed(struct fixture *f, struct reply *reply)
{
    fixture_wait(f, &reply->done);
    if (reply->err.code)
        fail_msg("%s", reply->err.text);
}

void fixture_sandbox(struct fixture *f, const char *pod_uid)
{
    struct runtime_sandbox_config config = {
        .pod_uid = pod_uid, .pod_namespace = "default", .pod_name = "pod", .hostname = "the-pod"};
    struct reply reply = {0};
    runtime_sandbox_create(f->runtime, &config, fixture_reply, &reply);
    fixture_succeed(f, &reply);
}

int fixture_create(struct fixture *f, const char *pod_uid, const char *name, const char *script, char id[65],
                   void (*change)(struct runtime_container_config *config), struct reply *reply)
{
    runtime_container_id(f->env, id);
    const char *args[] = {"/bin/sh", "-c", script};
    struct runtime_container_config config = {
        .id = id,
        .pod_uid = pod_uid,
        .name = name,
        .rootfs = f->rootfs,
        .args = args,
        .arg_count = 3,
        .termination_message_path = "/dev/termination-log",
    };
    if (change)
        change(&config);
    *reply = (struct reply){0};
    runtime_container_create(f->runtime, &config, fixture_reply, reply);
    fixture_wait(f, &reply->done);
    return reply->err.code;
}

void fixture_run(struct fixture *f, const char *pod_uid, const char *name, const char *script, char id[65],
                 void (*change)(struct runtime_container_config *config))
{
    struct reply reply;
    if (fixture_create(f, pod_uid, name, script, id, change, &reply))
        fail_msg("%s", reply.err.text);
    reply = (struct reply){0};
    runtime_container_start(f->runtime, id, fixture_reply, &reply);
    fixture_succeed(f, &reply);
}

const struct runtime_container_status *fixture_await_end(struct fixture *f, const char *id)
{
    uv_timer_start(&f->watchdog, on_watchdog, FIXTURE_TIMEOUT_MS, 0);
    const struct runtime_container_status *status;
    while ((status = runtime_container_get(f->runtime, id)) && status->state != RUNTIME_EXITED)
        uv_run(&f->loop, UV_RUN_ONCE);
    uv_timer_stop(&f->watchdog);
    assert_non_null(status);
    return status;
}

void fixture_delete(struct fixture *f, const char *id)
{
    struct reply reply = {0};
    runtime_container_delete(f->runtime, id, fixture_reply, &reply);
    fixture_succeed(f, &reply);
    assert_null(runtime_container_get(f->runtime, id));
}

struct log_reply {
    int done;
    int end;
    struct error err;
    struct buffer *out;
};

static void on_chunk(void *context, const char *data, size_t size, const struct error *err)
{
    struct log_reply *reply = context;
    assert_true(size <= RUNTIME_LOG_CHUNK_MAX);
    buffer_add(reply->out, data, size);
    reply->done = 1;
    reply->end = !size;
    if (err)
        reply->err = *err;
}

void fixture_read_log(struct fixture *f, const char *path, const struct runtime_log_options *options,
                      struct buffer *out)
{
    struct runtime_log_options all = {.tail_lines = -1, .limit_bytes = -1};
    struct log_reply reply = {.out = out};
    struct runtime_log_reader *reader = runtime_log_open(f->runtime, path, options ? options : &all);
    while (!reply.end) {
        reply.done = 0;
        runtime_log_next(reader, on_chunk, &reply);
        fixture_wait(f, &reply.done);
    }
    runtime_log_close(reader);
    if (reply.err.code)
        fail_msg("%s", reply.err.text);
    buffer_add(out, "", 0);
}

void fixture_await_log(struct fixture *f, const char *id, const char *text)
{
    struct runtime_log_options options = {.container_id = id, .follow = true, .tail_lines = -1, .limit_bytes = -1};
    cleanup_buffer struct buffer out = {0};
    struct log_reply reply = {.out = &out};
    struct runtime_log_reader *reader =
        runtime_log_open(f->runtime, runtime_container_get(f->runtime, id)->log_path, &options);
    while (!out.size || !strstr(out.data, text)) {
        reply.done = 0;
        runtime_log_next(reader, on_chunk, &reply);
        fixture_wait(f, &reply.done);
        if (reply.end)
            fail_msg("the log ends without \"%s\": %s", text, out.size ? out.data : "");
    }
    runtime_log_close(reader);
}
