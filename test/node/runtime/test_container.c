/* Real containers: created, started, signalled, ended, deleted, and taken up by another process. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "fixture.h"

/* Whether the process is there and more than a zombie, which is what its new parent may leave it for a while. */
static bool process_runs(pid_t pid)
{
    char path[32], text[512] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    const char *behind_name = n ? strrchr(text, ')') : NULL;
    return behind_name && behind_name[2] != 'Z' && behind_name[2] != 'X';
}

static void exit_code_and_output_are_kept(void **state)
{
    struct fixture *f = *state;
    char id[65];
    fixture_run(f, "pod-1", "main", "echo hello; echo oops >&2; exit 3", id, NULL);
    const struct runtime_container_status *status = fixture_await_end(f, id);
    assert_int_equal(status->exit_code, 3);
    assert_false(status->oom_killed);
    assert_false(status->lost);
    assert_true(status->created_at <= status->started_at);
    /* The end is read from a file's time, which may be a clock tick behind. */
    assert_true(status->started_at <= status->finished_at + 20000);
    assert_int_equal(f->ended, 1);
    assert_string_equal(f->last_ended, id);
    cleanup_buffer struct buffer out = {0};
    fixture_read_log(f, status->log_path, NULL, &out);
    assert_non_null(strstr(out.data, "hello\n"));
    assert_non_null(strstr(out.data, "oops\n"));
    char expected[256];
    snprintf(expected, sizeof(expected), "%s/default_pod_pod-1/main/0.log", f->logs);
    assert_string_equal(status->log_path, expected);
    fixture_delete(f, id);
}

/* No other test has a container with this profile. */
static void drop_chroot(struct runtime_container_config *config)
{
    static const char *const capabilities[] = {"SYS_CHROOT"};
    config->drop_capabilities = capabilities;
    config->drop_capability_count = 1;
}

static void seccomp_is_on_and_compiled_once(void **state)
{
    struct fixture *f = *state;
    struct buffer configs[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        char id[65], path[256];
        struct error err;
        fixture_run(f, "pod-1", "main", "grep -w Seccomp /proc/self/status; unshare -U true || echo refused", id,
                    drop_chroot);
        const struct runtime_container_status *status = fixture_await_end(f, id);
        cleanup_buffer struct buffer out = {0};
        fixture_read_log(f, status->log_path, NULL, &out);
        assert_non_null(strstr(out.data, "Seccomp:\t2\n"));
        assert_non_null(strstr(out.data, "refused"));
        snprintf(path, sizeof(path), "%s/containers/%s/config.json", f->run, id);
        assert_int_equal(file_read(path, 1 << 20, &configs[i], &err), 0);
        fixture_delete(f, id);
    }
    /* The second is not given the list again but what became of it. */
    assert_non_null(strstr(configs[0].data, "\"openat2\""));
    assert_null(strstr(configs[1].data, "\"openat2\""));
    assert_non_null(strstr(configs[1].data, "run.oci.seccomp_bpf_data"));
    buffer_free(&configs[0]);
    buffer_free(&configs[1]);
}

static void let_administer_network(struct runtime_container_config *config)
{
    static const char *const capabilities[] = {"NET_ADMIN"};
    config->add_capabilities = capabilities;
    config->add_capability_count = 1;
}

static void pod_shares_network_hostname_and_shm(void **state)
{
    struct fixture *f = *state;
    char first[65], second[65];
    fixture_run(f, "pod-1", "first",
                "echo from-first > /dev/shm/x; ip addr add 10.99.0.1/32 dev lo; hostname; "
                "ip addr show lo | grep 127.0.0.1; echo ready; sleep 1000",
                first, let_administer_network);
    fixture_await_log(f, first, "ready");
    fixture_run(f, "pod-1", "second",
                "cat /dev/shm/x; hostname; echo $HOSTNAME; cat /proc/1/comm; ip addr show lo | grep 10.99.0.1; true",
                second, NULL);
    const struct runtime_container_status *status = fixture_await_end(f, second);
    assert_int_equal(status->exit_code, 0);
    cleanup_buffer struct buffer out = {0};
    fixture_read_log(f, status->log_path, NULL, &out);
    assert_string_equal(out.data, "from-first\nthe-pod\nthe-pod\nsh\n    inet 10.99.0.1/32 scope global lo\n");
    buffer_clear(&out);
    fixture_read_log(f, runtime_container_get(f->runtime, first)->log_path, NULL, &out);
    assert_non_null(strstr(out.data, "inet 127.0.0.1"));
    fixture_delete(f, first);
    fixture_delete(f, second);
}

static void signals_arrive_and_kill_ends(void **state)
{
    struct fixture *f = *state;
    char id[65];
    struct error err;
    fixture_run(f, "pod-1", "main", "trap 'echo got-term; exit 7' TERM; echo ready; while :; do sleep 0.05; done", id,
                NULL);
    fixture_await_log(f, id, "ready");
    assert_int_equal(runtime_container_kill(f->runtime, id, SIGTERM, &err), 0);
    assert_int_equal(fixture_await_end(f, id)->exit_code, 7);
    assert_int_equal(runtime_container_kill(f->runtime, id, SIGTERM, &err), 0);
    fixture_delete(f, id);
    fixture_run(f, "pod-1", "main", "trap '' TERM; sleep 1000", id, NULL);
    assert_int_equal(runtime_container_kill(f->runtime, id, SIGKILL, &err), 0);
    assert_int_equal(fixture_await_end(f, id)->exit_code, 137);
    fixture_delete(f, id);
    assert_int_equal(runtime_container_kill(f->runtime, id, SIGKILL, &err), -1);
    assert_int_equal(err.code, ENOENT);
}

/* The kernel drops what the first process of a PID namespace has no handler for. */
static void a_signal_reaches_a_program_that_does_not_listen_yet(void **state)
{
    struct fixture *f = *state;
    char id[65];
    fixture_run(f, "pod-1", "main", "echo ready; sleep 0.3; trap 'exit 7' TERM; while :; do sleep 0.05; done", id, NULL);
    fixture_await_log(f, id, "ready");
    assert_int_equal(runtime_container_kill(f->runtime, id, SIGTERM, NULL), 0);
    assert_int_equal(fixture_await_end(f, id)->exit_code, 7);
    fixture_delete(f, id);
}

static void limit_memory(struct runtime_container_config *config)
{
    config->resources.memory_limit = 32 << 20;
}

static void memory_limit_kills_and_is_told(void **state)
{
    struct fixture *f = *state;
    char id[65];
    fixture_run(f, "pod-1", "main", "x=0123456789abcdef; while :; do x=$x$x; done", id, limit_memory);
    const struct runtime_container_status *status = fixture_await_end(f, id);
    assert_true(status->oom_killed);
    assert_int_equal(status->exit_code, 137);
    fixture_delete(f, id);
}

static void set_user(struct runtime_container_config *config)
{
    static const uint32_t gids[] = {5000};
    static const struct runtime_pair env[] = {{"A", "first"}, {"A", "1 2"}};
    config->uid = 1000;
    config->gid = 2000;
    config->additional_gids = gids;
    config->additional_gid_count = 1;
    config->env = env;
    config->env_count = 2;
    config->cwd = "/tmp";
    config->read_only_rootfs = true;
}

static void user_environment_and_directory_are_set(void **state)
{
    struct fixture *f = *state;
    char id[65];
    fixture_run(f, "pod-1", "main", "id -u; id -g; id -G; echo \"A=$A\"; echo $PWD; touch /x || echo read-only", id,
                set_user);
    cleanup_buffer struct buffer out = {0};
    fixture_read_log(f, fixture_await_end(f, id)->log_path, NULL, &out);
    assert_non_null(strstr(out.data, "1000\n2000\n2000 5000\nA=1 2\n/tmp\n"));
    assert_non_null(strstr(out.data, "read-only\n"));
    fixture_delete(f, id);
}

static void run_nothing(struct runtime_container_config *config)
{
    static const char *const args[] = {"nosuch"};
    config->args = args;
    config->arg_count = 1;
}

static void failed_creation_says_why_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    char id[65], path[256];
    struct reply reply;
    assert_int_not_equal(fixture_create(f, "pod-1", "main", "", id, run_nothing, &reply), 0);
    assert_string_equal(reply.err.text, "executable file `nosuch` not found in $PATH: No such file or directory");
    assert_null(runtime_container_get(f->runtime, id));
    snprintf(path, sizeof(path), "%s/containers/%s", f->run, id);
    assert_int_not_equal(access(path, F_OK), 0);
    snprintf(path, sizeof(path), "%s/crun/%s", f->run, id);
    assert_int_not_equal(access(path, F_OK), 0);
}

struct message_reply {
    int done;
    char text[RUNTIME_TERMINATION_MESSAGE_MAX + 1];
    size_t size;
};

static void on_message(void *context, const char *text, size_t size, const struct error *err)
{
    struct message_reply *reply = context;
    assert_null(err);
    assert_true(size <= RUNTIME_TERMINATION_MESSAGE_MAX);
    memcpy(reply->text, text, size + 1);
    reply->size = size;
    reply->done = 1;
}

static void last_words_are_read(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *script;
        bool fallback;
        const char *text;
        size_t size;
    } cases[] = {
        {"echo -n farewell > /dev/termination-log; echo x", true, "farewell", 8},
        {"echo only logs; exit 1", false, "", 0},
        {"echo only logs; exit 1", true, "only logs\n", 10},
        {"echo success needs no words", true, "", 0},
        {"yes | head -c 9000 > /dev/termination-log", false, NULL, RUNTIME_TERMINATION_MESSAGE_MAX},
        {"yes | head -c 9000; exit 1", true, NULL, 160},
        {"yes 0123456789012345678901234567890123456789 | head -n 1000; exit 1", true, NULL, RUNTIME_FALLBACK_LOG_BYTES},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char id[65];
        fixture_run(f, "pod-1", "main", cases[i].script, id, NULL);
        fixture_await_end(f, id);
        struct message_reply reply = {0};
        runtime_container_termination_message(f->runtime, id, cases[i].fallback, on_message, &reply);
        fixture_wait(f, &reply.done);
        if (cases[i].text)
            assert_string_equal(reply.text, cases[i].text);
        assert_int_equal(reply.size, cases[i].size);
        struct error err;
        char *log = mem_string(runtime_container_get(f->runtime, id)->log_path);
        fixture_delete(f, id);
        assert_int_equal(file_remove_tree(log, &err), 0);
        free(log);
    }
}

static void deleting_kills_what_runs(void **state)
{
    struct fixture *f = *state;
    char id[65];
    fixture_run(f, "pod-1", "main", "trap '' TERM; sleep 1000 & sleep 1000", id, NULL);
    pid_t pid = runtime_container_get(f->runtime, id)->pid;
    assert_true(pid > 0);
    assert_true(process_runs(pid));
    fixture_delete(f, id);
    assert_false(process_runs(pid));
    struct reply reply = {0};
    runtime_container_delete(f->runtime, id, fixture_reply, &reply);
    fixture_succeed(f, &reply);
}

static void usage_is_measured(void **state)
{
    struct fixture *f = *state;
    char id[65];
    struct error err;
    struct cgroup_stats stats;
    fixture_run(f, "pod-1", "main", "dd if=/dev/zero of=/dev/null bs=1M count=200; echo ready; sleep 1000", id, NULL);
    fixture_await_log(f, id, "ready");
    assert_int_equal(runtime_read_stats(f->runtime, "pod-1", id, &stats, &err), 0);
    assert_true(stats.cpu_usage > 1000000);
    assert_true(stats.memory_usage > 0 && stats.memory_working_set <= stats.memory_usage);
    assert_true(stats.pids >= 1);
    fixture_delete(f, id);
}

static void restarted_agent_finds_its_containers(void **state)
{
    struct fixture *f = *state;
    char running[65], ended[65], ends_meanwhile[65], half_made[65];
    struct reply reply;
    fixture_run(f, "pod-1", "running", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done", running, NULL);
    fixture_run(f, "pod-1", "ended", "exit 4", ended, NULL);
    fixture_await_end(f, ended);
    fixture_run(f, "pod-1", "meanwhile", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done", ends_meanwhile,
                NULL);
    fixture_await_log(f, running, "ready");
    fixture_await_log(f, ends_meanwhile, "ready");
    assert_int_equal(fixture_create(f, "pod-1", "half", "exit 0", half_made, NULL, &reply), 0);
    pid_t pid = runtime_container_get(f->runtime, running)->pid;
    pid_t meanwhile_pid = runtime_container_get(f->runtime, ends_meanwhile)->pid;
    pid_t half_pid = runtime_container_get(f->runtime, half_made)->pid;
    int64_t created = runtime_container_get(f->runtime, running)->created_at;
    fixture_close_runtime(f);

    kill(meanwhile_pid, SIGTERM);
    f->ended = 0;
    fixture_open_runtime(f);
    const struct runtime_container_status *status = runtime_container_get(f->runtime, running);
    assert_non_null(status);
    assert_int_equal(status->state, RUNTIME_RUNNING);
    assert_int_equal(status->pid, pid);
    assert_true(status->created_at == created && status->started_at >= created);
    assert_string_equal(status->name, "running");
    status = runtime_container_get(f->runtime, ended);
    assert_int_equal(status->state, RUNTIME_EXITED);
    assert_int_equal(status->exit_code, 4);
    assert_int_equal(fixture_await_end(f, ends_meanwhile)->exit_code, 5);
    assert_int_equal(f->ended, 1);
    assert_null(runtime_container_get(f->runtime, half_made));
    assert_false(process_runs(half_pid));
    assert_non_null(runtime_sandbox_get(f->runtime, "pod-1"));
    assert_string_equal(runtime_sandbox_get(f->runtime, "pod-1")->hostname, "the-pod");

    struct error err;
    assert_int_equal(runtime_container_kill(f->runtime, running, SIGTERM, &err), 0);
    assert_int_equal(fixture_await_end(f, running)->exit_code, 9);
    fixture_delete(f, running);
    fixture_delete(f, ended);
    fixture_delete(f, ends_meanwhile);
}

static void killed_conmon_loses_the_exit_code_but_not_the_container(void **state)
{
    struct fixture *f = *state;
    char id[65], path[256];
    cleanup_buffer struct buffer text = {0};
    struct error err;
    fixture_run(f, "pod-1", "main", "sleep 1000", id, NULL);
    pid_t pid = runtime_container_get(f->runtime, id)->pid;
    snprintf(path, sizeof(path), "%s/containers/%s/conmon.pid", f->run, id);
    assert_int_equal(file_read(path, 100, &text, &err), 0);
    kill(atoi(text.data), SIGKILL);
    const struct runtime_container_status *status = fixture_await_end(f, id);
    assert_true(status->lost);
    assert_int_equal(status->exit_code, RUNTIME_EXIT_UNKNOWN);
    fixture_delete(f, id);
    assert_false(process_runs(pid));
}

static void sandbox_goes_when_its_containers_are_gone(void **state)
{
    struct fixture *f = *state;
    char id[65], path[256];
    fixture_sandbox(f, "pod-2");
    fixture_run(f, "pod-2", "main", "sleep 1000", id, NULL);
    struct reply reply = {0};
    runtime_sandbox_remove(f->runtime, "pod-2", fixture_reply, &reply);
    fixture_wait(f, &reply.done);
    assert_int_equal(reply.err.code, EBUSY);
    reply = (struct reply){0};
    runtime_sandbox_annotate(f->runtime, "pod-2", "address", "10.0.0.2", fixture_reply, &reply);
    fixture_succeed(f, &reply);
    fixture_close_runtime(f);
    fixture_open_runtime(f);
    const struct runtime_sandbox_status *sandbox = runtime_sandbox_get(f->runtime, "pod-2");
    assert_int_equal(sandbox->annotation_count, 1);
    assert_string_equal(sandbox->annotations[0].value, "10.0.0.2");
    assert_int_equal(access(sandbox->network_namespace, F_OK), 0);
    fixture_delete(f, id);
    reply = (struct reply){0};
    runtime_sandbox_remove(f->runtime, "pod-2", fixture_reply, &reply);
    fixture_succeed(f, &reply);
    assert_null(runtime_sandbox_get(f->runtime, "pod-2"));
    snprintf(path, sizeof(path), "%s/pods/pod-2", f->run);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void begin_create(struct fixture *f, const char *id, struct reply *reply)
{
    static const char *const args[] = {"/bin/sleep", "100000"};
    struct runtime_container_config config = {
        .id = id, .pod_uid = "pod-1", .name = "many", .rootfs = f->rootfs, .args = args, .arg_count = 2};
    *reply = (struct reply){0};
    runtime_container_create(f->runtime, &config, fixture_reply, reply);
    assert_false(reply->done);
}

static void containers_are_made_and_removed_in_parallel(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 20 };
    char ids[COUNT][65];
    struct reply replies[COUNT];
    for (int i = 0; i < COUNT; i++) {
        runtime_container_id(f->env, ids[i]);
        begin_create(f, ids[i], &replies[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        fixture_succeed(f, &replies[i]);
        replies[i] = (struct reply){0};
        runtime_container_start(f->runtime, ids[i], fixture_reply, &replies[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        fixture_succeed(f, &replies[i]);
        replies[i] = (struct reply){0};
        runtime_container_delete(f->runtime, ids[i], fixture_reply, &replies[i]);
    }
    for (int i = 0; i < COUNT; i++)
        fixture_succeed(f, &replies[i]);
}

static void deletion_during_creation_waits_its_turn(void **state)
{
    struct fixture *f = *state;
    char id[65];
    struct reply created, deleted = {0}, again = {0}, twin;
    runtime_container_id(f->env, id);
    begin_create(f, id, &created);
    begin_create(f, id, &twin);
    runtime_container_delete(f->runtime, id, fixture_reply, &deleted);
    runtime_container_delete(f->runtime, id, fixture_reply, &again);
    fixture_wait(f, &deleted.done);
    assert_true(created.done);
    assert_int_equal(deleted.err.code, 0);
    fixture_succeed(f, &again);
    fixture_wait(f, &twin.done);
    assert_int_equal(twin.err.code, EEXIST);
    assert_null(runtime_container_get(f->runtime, id));
}

static void closing_answers_all_that_is_under_way(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 6 };
    char ids[COUNT][65], path[512];
    struct reply replies[COUNT];
    for (int i = 0; i < COUNT; i++) {
        runtime_container_id(f->env, ids[i]);
        begin_create(f, ids[i], &replies[i]);
        /* At different stages. */
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    fixture_close_runtime(f);
    for (int i = 0; i < COUNT; i++) {
        assert_true(replies[i].done);
        assert_true(replies[i].err.code == 0 || replies[i].err.code == ECANCELED);
    }
    fixture_open_runtime(f);
    for (int i = 0; i < COUNT; i++) {
        assert_null(runtime_container_get(f->runtime, ids[i]));
        snprintf(path, sizeof(path), "%s/containers/%s", f->run, ids[i]);
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

static void misuse_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *id, *pod_uid, *name;
        int code;
    } cases[] = {
        {"../x", "pod-1", "main", EINVAL},
        {"", "pod-1", "main", EINVAL},
        {"ok", "nosuch", "main", ENOENT},
        {"ok", "pod-1", "a/b", EINVAL},
    };
    static const char *const args[] = {"/bin/true"};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct runtime_container_config config = {.id = cases[i].id,
                                                  .pod_uid = cases[i].pod_uid,
                                                  .name = cases[i].name,
                                                  .rootfs = f->rootfs,
                                                  .args = args,
                                                  .arg_count = 1};
        struct reply reply = {0};
        runtime_container_create(f->runtime, &config, fixture_reply, &reply);
        fixture_wait(f, &reply.done);
        assert_int_equal(reply.err.code, cases[i].code);
    }
    static const struct runtime_pair foreign[] = {{"kernel.panic", "1"}};
    static const struct runtime_sandbox_config sandboxes[] = {
        {.pod_uid = "../x", .hostname = "h"},
        {.pod_uid = "x", .hostname = ""},
        {.pod_uid = "pod-1", .hostname = "h"},
        {.pod_uid = "x", .hostname = "h", .sysctls = foreign, .sysctl_count = 1},
    };
    static const int codes[] = {EINVAL, EINVAL, EEXIST, EPERM};
    for (size_t i = 0; i < ARRAY_COUNT(sandboxes); i++) {
        struct reply reply = {0};
        runtime_sandbox_create(f->runtime, &sandboxes[i], fixture_reply, &reply);
        fixture_wait(f, &reply.done);
        assert_int_equal(reply.err.code, codes[i]);
    }
    assert_null(runtime_sandbox_get(f->runtime, "x"));
    struct reply reply = {0};
    runtime_container_start(f->runtime, "nosuch", fixture_reply, &reply);
    fixture_wait(f, &reply.done);
    assert_int_equal(reply.err.code, ENOENT);
}

static void host_network_is_the_nodes(void **state)
{
    struct fixture *f = *state;
    struct runtime_sandbox_config config = {
        .pod_uid = "host", .pod_namespace = "default", .pod_name = "host", .host_network = true, .host_pid = true};
    struct reply reply = {0};
    runtime_sandbox_create(f->runtime, &config, fixture_reply, &reply);
    fixture_succeed(f, &reply);
    assert_null(runtime_sandbox_get(f->runtime, "host")->network_namespace);
    char id[65], mine[64] = "", hostname[65] = "", expected[256];
    fixture_run(f, "host", "main", "ls -l /proc/self/ns/net; hostname; sleep 2000 & echo pid $$; exit 0", id, NULL);
    cleanup_buffer struct buffer out = {0};
    fixture_read_log(f, fixture_await_end(f, id)->log_path, NULL, &out);
    assert_true(readlink("/proc/self/ns/net", mine, sizeof(mine) - 1) > 0);
    gethostname(hostname, sizeof(hostname) - 1);
    snprintf(expected, sizeof(expected), "%s\n%s\npid ", mine, hostname);
    if (!strstr(out.data, expected))
        fail_msg("%s", out.data);
    assert_null(strstr(out.data, "pid 1\n"));
    fixture_delete(f, id);
    reply = (struct reply){0};
    runtime_sandbox_remove(f->runtime, "host", fixture_reply, &reply);
    fixture_succeed(f, &reply);
}

static void make_privileged(struct runtime_container_config *config)
{
    config->privileged = true;
}

static void privileged_container_has_the_nodes_devices(void **state)
{
    struct fixture *f = *state;
    char id[65];
    fixture_run(f, "pod-1", "privileged",
                "mount -t tmpfs t /tmp || exit 2; for d in null zero kmsg; do ls /dev/$d; done; "
                "[ -w /proc/sys/kernel/hostname ] || exit 3; [ -c /dev/pts/ptmx ] || exit 4",
                id, make_privileged);
    const struct runtime_container_status *status = fixture_await_end(f, id);
    cleanup_buffer struct buffer out = {0};
    fixture_read_log(f, status->log_path, NULL, &out);
    assert_int_equal(status->exit_code, 0);
    if (access("/dev/kmsg", F_OK) == 0)
        assert_string_equal(out.data, "/dev/null\n/dev/zero\n/dev/kmsg\n");
    fixture_delete(f, id);
}

static void signal_names_are_known(void **state)
{
    assert_int_equal(runtime_signal_number("SIGTERM"), SIGTERM);
    assert_int_equal(runtime_signal_number("SIGIOT"), SIGABRT);
    assert_int_equal(runtime_signal_number("SIGCLD"), SIGCHLD);
    assert_int_equal(runtime_signal_number("quit"), SIGQUIT);
    assert_int_equal(runtime_signal_number("9"), 9);
    assert_int_equal(runtime_signal_number("SIGRTMIN+3"), SIGRTMIN + 3);
    assert_int_equal(runtime_signal_number("SIGRTMAX"), SIGRTMAX);
    assert_int_equal(runtime_signal_number("SIGNOSUCH"), -1);
    assert_int_equal(runtime_signal_number("0"), -1);
    assert_int_equal(runtime_signal_number("99"), -1);
    assert_int_equal(runtime_signal_number(""), -1);
}

int main(void)
{
    cmocka_set_test_filter(getenv("CORACLE_TEST_FILTER"));
    int result = fixture_enter();
    if (result)
        return result;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_code_and_output_are_kept),
        cmocka_unit_test(seccomp_is_on_and_compiled_once),
        cmocka_unit_test(pod_shares_network_hostname_and_shm),
        cmocka_unit_test(signals_arrive_and_kill_ends),
        cmocka_unit_test(a_signal_reaches_a_program_that_does_not_listen_yet),
        cmocka_unit_test(memory_limit_kills_and_is_told),
        cmocka_unit_test(user_environment_and_directory_are_set),
        cmocka_unit_test(failed_creation_says_why_and_leaves_nothing),
        cmocka_unit_test(last_words_are_read),
        cmocka_unit_test(deleting_kills_what_runs),
        cmocka_unit_test(usage_is_measured),
        cmocka_unit_test(restarted_agent_finds_its_containers),
        cmocka_unit_test(killed_conmon_loses_the_exit_code_but_not_the_container),
        cmocka_unit_test(sandbox_goes_when_its_containers_are_gone),
        cmocka_unit_test(containers_are_made_and_removed_in_parallel),
        cmocka_unit_test(deletion_during_creation_waits_its_turn),
        cmocka_unit_test(closing_answers_all_that_is_under_way),
        cmocka_unit_test(misuse_is_refused),
        cmocka_unit_test(host_network_is_the_nodes),
        cmocka_unit_test(privileged_container_has_the_nodes_devices),
        cmocka_unit_test(signal_names_are_known),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
