/* Commands in running containers. */
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
#include "base/timestamp.h"
#include "fixture.h"

struct answer {
    int done;
    struct runtime_exec_result result;
    char output[4096];
    struct error err;
};

static void on_done(void *context, const struct runtime_exec_result *result, const struct error *err)
{
    struct answer *answer = context;
    answer->done = 1;
    assert_true(!result != !err);
    if (err) {
        answer->err = *err;
        return;
    }
    answer->result = *result;
    assert_int_equal(strlen(result->output), result->output_size);
    snprintf(answer->output, sizeof(answer->output), "%s", result->output);
}

static struct runtime_exec *begin(struct fixture *f, const char *id, const char *script, int64_t timeout, size_t limit,
                                  struct answer *answer)
{
    const char *args[] = {"/bin/sh", "-c", script};
    struct runtime_exec_options options = {.args = args, .arg_count = 3, .timeout = timeout, .output_limit = limit};
    *answer = (struct answer){0};
    struct runtime_exec *exec = runtime_exec(f->runtime, id, &options, on_done, answer);
    assert_false(answer->done);
    return exec;
}

static void run(struct fixture *f, const char *id, const char *script, int64_t timeout, size_t limit,
                struct answer *answer)
{
    begin(f, id, script, timeout, limit, answer);
    fixture_wait(f, &answer->done);
}

struct setting {
    struct fixture fixture;
    char id[65];
};

static void set_environment(struct runtime_container_config *config)
{
    static const struct runtime_pair env[] = {{"COLOR", "blue"}};
    config->env = env;
    config->env_count = 1;
    config->uid = 1000;
    config->gid = 1000;
    config->cwd = "/tmp";
}

static int open_setting(void **state)
{
    struct setting *s = malloc(sizeof(*s));
    fixture_open(&s->fixture);
    fixture_sandbox(&s->fixture, "pod-1");
    fixture_run(&s->fixture, "pod-1", "main", "echo ready; while :; do sleep 1000; done", s->id, set_environment);
    fixture_await_log(&s->fixture, s->id, "ready");
    *state = s;
    return 0;
}

static int close_setting(void **state)
{
    struct setting *s = *state;
    fixture_close(&s->fixture);
    free(s);
    return 0;
}

/* How many processes of the container have the word in their command line. */
static int count_processes(struct setting *s, const char *word)
{
    struct answer answer;
    char script[256];
    snprintf(script, sizeof(script),
             "n=0; for p in /proc/[0-9]*; do { tr '\\0' ' ' < $p/cmdline; } 2>/dev/null | "
             "grep -q '^sleep %s' && n=$((n+1)); done; echo $n",
             word);
    run(&s->fixture, s->id, script, 0, 0, &answer);
    assert_int_equal(answer.err.code, 0);
    int count;
    char end;
    assert_int_equal(sscanf(answer.output, "%d%c", &count, &end), 2); /* and not a word of the shell's */
    assert_int_equal(end, '\n');
    return count;
}

static void exit_code_and_output_come_back(void **state)
{
    struct setting *s = *state;
    struct answer answer;
    run(&s->fixture, s->id, "echo out; echo err >&2; exit 3", SECOND * 10, 0, &answer);
    assert_int_equal(answer.result.exit_code, 3);
    assert_string_equal(answer.output, "out\nerr\n");
    assert_false(answer.result.timed_out);
    run(&s->fixture, s->id, "kill -9 $$", 0, 0, &answer);
    assert_int_equal(answer.result.exit_code, 137);
    run(&s->fixture, s->id, "echo to-the-device > /dev/stdout", 0, 0, &answer);
    assert_string_equal(answer.output, "to-the-device\n");
}

static void command_has_the_containers_surroundings(void **state)
{
    struct setting *s = *state;
    struct answer answer;
    run(&s->fixture, s->id, "echo $COLOR $(id -u) $PWD $(hostname)", 0, 0, &answer);
    assert_string_equal(answer.output, "blue 1000 /tmp the-pod\n");
}

static void output_is_bounded(void **state)
{
    struct setting *s = *state;
    struct answer answer;
    run(&s->fixture, s->id, "yes | head -c 3000000; exit 5", 0, 1000, &answer);
    assert_int_equal(answer.result.exit_code, 5);
    assert_int_equal(answer.result.output_size, 1000);
    assert_true(answer.result.truncated);
}

static void timeout_kills(void **state)
{
    struct setting *s = *state;
    struct answer answer;
    run(&s->fixture, s->id, "sleep 2222", SECOND / 3, 0, &answer);
    assert_int_equal(answer.err.code, 0);
    assert_true(answer.result.timed_out);
    assert_int_equal(count_processes(s, "2222"), 0);
}

static void killing_takes_the_whole_tree(void **state)
{
    struct setting *s = *state;
    struct answer answer;
    struct runtime_exec *exec = begin(
        &s->fixture, s->id,
        "sleep 3333 & (sleep 3333 &); sh -c 'sleep 3333; true' & echo grown > /proc/1/fd/1; sleep 3333", 0, 0, &answer);
    fixture_await_log(&s->fixture, s->id, "grown");
    assert_int_equal(count_processes(s, "1000"), 1);
    runtime_exec_cancel(exec);
    fixture_wait(&s->fixture, &answer.done);
    assert_int_equal(answer.err.code, ECANCELED);
    assert_int_equal(count_processes(s, "3333"), 0);
    /* The container itself is not touched. */
    assert_int_equal(count_processes(s, "1000"), 1);
    assert_int_equal(runtime_container_get(s->fixture.runtime, s->id)->state, RUNTIME_RUNNING);
}

static void immediate_timeout_leaves_nothing(void **state)
{
    struct setting *s = *state;
    for (int delay = 0; delay < 12; delay++) {
        struct answer answer;
        run(&s->fixture, s->id, "sleep 4444", 1 + delay * MILLISECOND, 0, &answer);
        assert_true(answer.result.timed_out);
    }
    assert_int_equal(count_processes(s, "4444"), 0);
}

static void canceled_command_is_killed(void **state)
{
    struct setting *s = *state;
    struct answer answer, other;
    struct runtime_exec *exec = begin(&s->fixture, s->id, "sleep 5555", 0, 0, &answer);
    run(&s->fixture, s->id, "true", 0, 0, &other);
    runtime_exec_cancel(exec);
    runtime_exec_cancel(exec);
    fixture_wait(&s->fixture, &answer.done);
    assert_int_equal(answer.err.code, ECANCELED);
    assert_int_equal(count_processes(s, "5555"), 0);
}

static void background_process_does_not_hold_the_answer(void **state)
{
    struct setting *s = *state;
    struct answer answer;
    run(&s->fixture, s->id, "sleep 6666 & until grep -q ^sleep /proc/$!/cmdline; do :; done; echo started", 10 * SECOND,
        0, &answer);
    assert_int_equal(answer.result.exit_code, 0);
    assert_false(answer.result.timed_out);
    assert_string_equal(answer.output, "started\n");
    assert_int_equal(count_processes(s, "6666"), 1);
}

static void missing_program_is_told(void **state)
{
    struct setting *s = *state;
    struct answer answer = {0};
    const char *args[] = {"nosuch"};
    struct runtime_exec_options options = {.args = args, .arg_count = 1};
    runtime_exec(s->fixture.runtime, s->id, &options, on_done, &answer);
    fixture_wait(&s->fixture, &answer.done);
    assert_int_equal(answer.err.code, ENOEXEC);
    assert_string_equal(answer.err.text, "executable file `nosuch` not found in $PATH: No such file or directory");
    run(&s->fixture, s->id, "exit 255", 0, 0, &answer);
    assert_int_equal(answer.result.exit_code, 255);
}

static void many_wait_in_line(void **state)
{
    struct setting *s = *state;
    enum { COUNT = RUNTIME_EXEC_PARALLEL_MAX + 40 };
    struct answer *answers = calloc(COUNT, sizeof(*answers));
    for (int i = 0; i < COUNT; i++)
        begin(&s->fixture, s->id, "exit 6", 0, 0, &answers[i]);
    for (int i = 0; i < COUNT; i++) {
        fixture_wait(&s->fixture, &answers[i].done);
        assert_int_equal(answers[i].result.exit_code, 6);
    }
    free(answers);
}

static void ended_container_takes_no_command(void **state)
{
    struct setting *s = *state;
    struct answer answer, during;
    char id[65], unknown[65];
    fixture_run(&s->fixture, "pod-1", "short", "echo ready; sleep 1000", id, NULL);
    fixture_await_log(&s->fixture, id, "ready");
    begin(&s->fixture, id, "echo begun > /proc/1/fd/1; sleep 7777", 0, 0, &during);
    fixture_await_log(&s->fixture, id, "begun");
    run(&s->fixture, id, "exit 0", 0, 0, &answer);
    assert_int_equal(answer.err.code, 0);
    struct error err;
    assert_int_equal(runtime_container_kill(s->fixture.runtime, id, 9, &err), 0);
    fixture_await_end(&s->fixture, id);
    fixture_wait(&s->fixture, &during.done);
    assert_true(during.err.code == ECANCELED || during.result.exit_code == 137);
    run(&s->fixture, id, "true", 0, 0, &answer);
    assert_int_equal(answer.err.code, ESRCH);
    runtime_container_id(s->fixture.env, unknown);
    run(&s->fixture, unknown, "true", 0, 0, &answer);
    assert_int_equal(answer.err.code, ENOENT);
    fixture_delete(&s->fixture, id);
}

int main(void)
{
    cmocka_set_test_filter(getenv("CORACLE_TEST_FILTER"));
    int result = fixture_enter();
    if (result)
        return result;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_code_and_output_come_back),
        cmocka_unit_test(command_has_the_containers_surroundings),
        cmocka_unit_test(output_is_bounded),
        cmocka_unit_test(timeout_kills),
        cmocka_unit_test(killing_takes_the_whole_tree),
        cmocka_unit_test(immediate_timeout_leaves_nothing),
        cmocka_unit_test(canceled_command_is_killed),
        cmocka_unit_test(background_process_does_not_hold_the_answer),
        cmocka_unit_test(missing_program_is_told),
        cmocka_unit_test(many_wait_in_line),
        cmocka_unit_test(ended_container_takes_no_command),
    };
    return cmocka_run_group_tests(tests, open_setting, close_setting);
}
