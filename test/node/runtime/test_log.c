/* Logs of real containers: read, followed, rotated. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/timestamp.h"
#include "fixture.h"
#include "node/runtime/log_files.h"

static const char *status_log(struct fixture *f, const char *id)
{
    return runtime_container_get(f->runtime, id)->log_path;
}

static void tail_since_and_limit_choose(void **state)
{
    struct fixture *f = *state;
    char id[65];
    fixture_run(f, "pod-1", "choose", "seq 1 1000; echo err >&2", id, NULL);
    fixture_await_end(f, id);
    cleanup_buffer struct buffer out = {0};
    struct runtime_log_options options = {.container_id = id, .tail_lines = 2, .limit_bytes = -1, .skip_stderr = true};
    fixture_read_log(f, status_log(f, id), &options, &out);
    assert_true(!strcmp(out.data, "1000\n") || !strcmp(out.data, "999\n1000\n"));
    buffer_clear(&out);
    options = (struct runtime_log_options){.tail_lines = -1, .limit_bytes = 11, .skip_stderr = true};
    fixture_read_log(f, status_log(f, id), &options, &out);
    assert_string_equal(out.data, "1\n2\n3\n4\n5\n6");
    buffer_clear(&out);
    options = (struct runtime_log_options){
        .tail_lines = -1, .limit_bytes = -1, .since = env_now(f->env) + HOUR, .timestamps = true};
    fixture_read_log(f, status_log(f, id), &options, &out);
    assert_int_equal(out.size, 0);
    options.since = env_now(f->env) - HOUR;
    fixture_read_log(f, status_log(f, id), &options, &out);
    assert_int_equal(out.data[19], '.');
    assert_memory_equal(out.data + 29, "Z 1\n", 4);
    fixture_delete(f, id);
}

static void long_lines_are_joined(void **state)
{
    struct fixture *f = *state;
    char id[65];
    fixture_run(f, "pod-1", "long", "yes 0123456789 | tr -d '\\n' | head -c 100000; echo; echo -n end", id, NULL);
    cleanup_buffer struct buffer out = {0};
    fixture_read_log(f, fixture_await_end(f, id)->log_path, NULL, &out);
    assert_int_equal(out.size, 100000 + 1 + 3);
    assert_null(memchr(out.data, '\n', 100000));
    assert_string_equal(out.data + 100000, "\nend");
    fixture_delete(f, id);
}

static void large_log_comes_in_chunks(void **state)
{
    struct fixture *f = *state;
    char id[65];
    fixture_run(f, "pod-1", "large", "seq 1 100000", id, NULL);
    cleanup_buffer struct buffer out = {0};
    fixture_read_log(f, fixture_await_end(f, id)->log_path, NULL, &out);
    char *at = out.data;
    for (long i = 1; i <= 100000; i++) {
        assert_int_equal(strtol(at, &at, 10), i);
        assert_int_equal(*at++, '\n');
    }
    fixture_delete(f, id);
}

static void follower_gets_all_and_ends_with_the_container(void **state)
{
    struct fixture *f = *state;
    char id[65];
    fixture_run(f, "pod-1", "follow",
                "i=0; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); sleep 0.002; done; exit 2", id, NULL);
    struct runtime_log_options options = {.container_id = id, .follow = true, .tail_lines = -1, .limit_bytes = -1};
    cleanup_buffer struct buffer out = {0};
    fixture_read_log(f, status_log(f, id), &options, &out);
    assert_int_equal(runtime_container_get(f->runtime, id)->state, RUNTIME_EXITED);
    char *at = out.data;
    for (long i = 0; i < 50; i++) {
        assert_memory_equal(at, "line ", 5);
        assert_int_equal(strtol(at + 5, &at, 10), i);
        at++;
    }
    assert_int_equal(*at, 0);
    fixture_delete(f, id);
}

static void follower_of_a_deleted_container_ends(void **state)
{
    struct fixture *f = *state;
    char id[65];
    fixture_run(f, "pod-1", "gone", "echo here; sleep 1000", id, NULL);
    struct runtime_log_options options = {.container_id = id, .follow = true, .tail_lines = -1, .limit_bytes = -1};
    fixture_await_log(f, id, "here");
    char *path = mem_string(status_log(f, id));
    struct reply reply = {0};
    runtime_container_delete(f->runtime, id, fixture_reply, &reply);
    cleanup_buffer struct buffer out = {0};
    fixture_read_log(f, path, &options, &out);
    assert_string_equal(out.data, "here\n");
    free(path);
    fixture_succeed(f, &reply);
}

/* The log's older files. Not the log itself and LOG.tmp, which conmon is at work on. */
static int count_rotated(const char *path)
{
    char *directory = mem_string(path);
    *strrchr(directory, '/') = 0;
    DIR *d = opendir(directory);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(d));)
        count += strstr(entry->d_name, ".log.2") != NULL;
    closedir(d);
    free(directory);
    return count;
}

struct sink {
    int done;
    int end;
    struct buffer out;
};

static void on_chunk(void *context, const char *data, size_t size, const struct error *err)
{
    struct sink *sink = context;
    assert_null(err);
    buffer_add(&sink->out, data, size);
    sink->done = 1;
    sink->end = !size;
}

static void rotate_all(struct fixture *f)
{
    struct reply reply = {0};
    runtime_log_rotate(f->runtime, 1, 5, fixture_reply, &reply);
    fixture_succeed(f, &reply);
}

/* "line 0" to "line N", then "last". */
static void assert_nothing_lost(const struct buffer *out)
{
    char *at = out->data;
    for (long i = 0; strncmp(at, "last", 4) != 0; i++) {
        assert_memory_equal(at, "line ", 5);
        assert_int_equal(strtol(at + 5, &at, 10), i);
        at++;
    }
    assert_string_equal(at, "last\n");
}

/* Runs a container that writes lines as fast as it can until stop_writing(), or for a few seconds if the test never comes
 * to that. */
static void run_writer(struct fixture *f, const char *name, char id[65])
{
    fixture_run(f, "pod-1", name,
                "i=0; while [ ! -e /tmp/stop ] && [ $i -lt 3000000 ]; do echo line $i; i=$((i+1)); done; echo last", id,
                NULL);
}

static void stop_writing(struct fixture *f, const char *id)
{
    char mark[128];
    struct error err;
    snprintf(mark, sizeof(mark), "%s/tmp/stop", f->rootfs);
    assert_int_equal(file_write_atomic(mark, "", 0, 0600, &err), 0);
    fixture_await_end(f, id);
    assert_int_equal(unlink(mark), 0);
}

/* Follows a log that is written to as fast as can be until it has been rotated: `rotations` times, each as soon as the
 * reader has got something, or all of them while the reader is not asked for more. */
static void follow_rotated(struct fixture *f, const char *name, int rotations, bool at_once)
{
    char id[65];
    run_writer(f, name, id);
    struct runtime_log_options options = {.container_id = id, .follow = true, .tail_lines = -1, .limit_bytes = -1};
    struct sink sink = {0};
    char *path = mem_string(status_log(f, id));
    struct runtime_log_reader *reader = runtime_log_open(f->runtime, path, &options);
    bool stopped = false;
    while (!sink.end) {
        sink.done = 0;
        runtime_log_next(reader, on_chunk, &sink);
        fixture_wait(f, &sink.done);
        /* A look does nothing while the one before has not been carried out. */
        while (!stopped && count_rotated(path) < rotations) {
            rotate_all(f);
            if (!at_once)
                break;
        }
        if (!stopped && count_rotated(path) >= rotations) {
            stopped = true;
            stop_writing(f, id);
        }
    }
    runtime_log_close(reader);
    assert_nothing_lost(&sink.out);
    assert_int_equal(count_rotated(path), rotations);
    buffer_free(&sink.out);
    free(path);
    fixture_delete(f, id);
}

static void follower_loses_nothing_when_the_log_is_rotated(void **state)
{
    follow_rotated(*state, "twice", 2, false);
}

static void follower_reads_every_file_that_was_rotated_meanwhile(void **state)
{
    follow_rotated(*state, "behind", 4, true);
}

/* Looks that come faster than conmon acts lose nothing: the files together hold every line. */
static void hasty_rotations_lose_nothing(void **state)
{
    struct fixture *f = *state;
    char id[65];
    run_writer(f, "hasty", id);
    char *path = mem_string(status_log(f, id));
    while (count_rotated(path) < 4)
        rotate_all(f);
    stop_writing(f, id);
    cleanup_buffer struct buffer out = {0};
    struct log_files files;
    log_files_find(path, &files);
    for (size_t i = 0; i < files.paths.count; i++)
        fixture_read_log(f, files.paths.items[i], NULL, &out);
    fixture_read_log(f, path, NULL, &out);
    assert_nothing_lost(&out);
    log_files_free(&files);
    free(path);
    fixture_delete(f, id);
}

static void old_rotated_files_are_removed(void **state)
{
    struct fixture *f = *state;
    char id[65], path[300];
    struct error err;
    fixture_run(f, "pod-1", "keep", "seq 1 100; echo ready; sleep 1000", id, NULL);
    fixture_await_log(f, id, "ready");
    for (int i = 1; i <= 6; i++) {
        snprintf(path, sizeof(path), "%s.20200101-00000%d", status_log(f, id), i);
        assert_int_equal(file_write_atomic(path, "", 0, 0600, &err), 0);
    }
    struct reply reply = {0};
    runtime_log_rotate(f->runtime, 1 << 20, 3, fixture_reply, &reply);
    fixture_succeed(f, &reply);
    assert_int_equal(count_rotated(path), 6); /* too small to be rotated */
    reply = (struct reply){0};
    runtime_log_rotate(f->runtime, 100, 3, fixture_reply, &reply);
    fixture_succeed(f, &reply);
    assert_int_equal(count_rotated(path), 2);
    assert_int_equal(access(path, F_OK), 0); /* the newest of the old */
    fixture_delete(f, id);
}

static void on_missing(void *context, const char *data, size_t size, const struct error *err)
{
    struct sink *sink = context;
    assert_non_null(err);
    assert_int_equal(err->code, ENOENT);
    assert_int_equal(size, 0);
    sink->done = 1;
}

static void missing_log_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct runtime_log_options options = {.tail_lines = -1, .limit_bytes = -1};
    struct sink sink = {0};
    struct runtime_log_reader *reader = runtime_log_open(f->runtime, "/nosuch/0.log", &options);
    runtime_log_next(reader, on_missing, &sink);
    fixture_wait(f, &sink.done);
    runtime_log_close(reader);
}

int main(void)
{
    cmocka_set_test_filter(getenv("CORACLE_TEST_FILTER"));
    int result = fixture_enter();
    if (result)
        return result;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tail_since_and_limit_choose),
        cmocka_unit_test(long_lines_are_joined),
        cmocka_unit_test(large_log_comes_in_chunks),
        cmocka_unit_test(follower_gets_all_and_ends_with_the_container),
        cmocka_unit_test(follower_of_a_deleted_container_ends),
        cmocka_unit_test(follower_loses_nothing_when_the_log_is_rotated),
        cmocka_unit_test(follower_reads_every_file_that_was_rotated_meanwhile),
        cmocka_unit_test(hasty_rotations_lose_nothing),
        cmocka_unit_test(old_rotated_files_are_removed),
        cmocka_unit_test(missing_log_is_an_error),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
