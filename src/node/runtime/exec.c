/* Commands in running containers, by `crun exec`.
 *
 * crun runs in a session of its own and hands it on to the command, which it puts into the container's cgroup. To kill
 * a command is therefore to kill every process of that session in that cgroup: its descendants with it, also those
 * whose parents are gone. crun then reports the end; while there is no such process yet, crun itself is killed. */
#include "node/runtime/exec.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/timestamp.h"
#include "node/runtime/process.h"
#include "node/runtime/runtime_internal.h"

/* Rounds of killing before crun itself is killed. */
#define KILL_ROUNDS_MAX 8
/* How long crun may take to notice that its command has been killed. */
#define KILL_WAIT SECOND

struct runtime_exec {
    struct list node; /* in runtime.execs or runtime.exec_queue */
    struct runtime *runtime;
    char *id;
    char cgroup[RUNTIME_POD_CGROUP_MAX + RUNTIME_NAME_MAX + 2];
    const char **args;
    size_t output_limit;
    struct process *process;
    pid_t session; /* crun's pid, too */
    int pidfd;     /* of crun */
    struct env_timer *timer;
    bool killing; /* the pool is at it */
    bool over;    /* crun has ended */
    bool timed_out;
    bool canceled;
    struct process_result result;
    char *output;
    struct error err;
    runtime_exec_done done;
    void *context;
};

static void start_waiting(struct runtime *runtime);

static void exec_free(struct runtime_exec *exec)
{
    list_remove(&exec->node);
    env_timer_free(exec->timer);
    for (size_t i = 0; exec->args[i]; i++)
        free((char *)exec->args[i]);
    free(exec->args);
    close_and_forget(&exec->pidfd);
    free(exec->id);
    free(exec->output);
    free(exec);
}

static void finish(struct runtime_exec *exec)
{
    struct runtime *runtime = exec->runtime;
    if (exec->canceled)
        error_set(&exec->err, ECANCELED, "the command was canceled");
    if (exec->err.code) {
        exec->done(exec->context, NULL, &exec->err);
    } else {
        struct runtime_exec_result result = {
            .exit_code = exec->result.exit_code,
            .timed_out = exec->timed_out,
            .truncated = exec->result.truncated,
            .output = exec->output,
            .output_size = exec->result.output_size,
        };
        exec->done(exec->context, &result, NULL);
    }
    exec_free(exec);
    start_waiting(runtime);
    runtime_release(runtime);
}

static void finish_later(void *context)
{
    finish(context);
}

/* Killing. */

struct search {
    pid_t session;
    pid_t crun;
    size_t killed;
};

static pid_t session_of(pid_t pid)
{
    char path[32], text[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (cgroup_read_file(path, text, sizeof(text)) < 0)
        return 0;
    int session = 0;
    const char *behind_name = strrchr(text, ')');
    return behind_name && sscanf(behind_name, ") %*c %*d %*d %d", &session) == 1 ? session : 0;
}

static void kill_if_of_session(void *context, pid_t pid)
{
    struct search *search = context;
    if (pid == search->crun)
        return;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return;
    if (session_of(pid) == search->session && syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0)
        search->killed++;
    close(fd);
}

static void kill_work(void *context)
{
    struct runtime_exec *exec = context;
    struct error ignored;
    size_t total = 0;
    for (int round = 0; round < KILL_ROUNDS_MAX; round++) {
        struct search search = {.session = exec->session, .crun = exec->session};
        if (cgroup_each_process(exec->runtime->cgroup, exec->cgroup, kill_if_of_session, &search, &ignored) < 0 ||
            !search.killed)
            break;
        total += search.killed;
    }
    /* Until the command runs, crun and its children are one process group. */
    if (!total && syscall(SYS_pidfd_send_signal, exec->pidfd, 0, NULL, 0) == 0)
        kill(-exec->session, SIGKILL);
}

static void kill_after(void *context)
{
    struct runtime_exec *exec = context;
    exec->killing = false;
    if (exec->over)
        finish(exec);
}

static void kill_command(struct runtime_exec *exec)
{
    if (exec->killing || exec->over)
        return;
    exec->killing = true;
    env_timer_start(exec->timer, KILL_WAIT);
    runtime_work(exec->runtime, kill_work, kill_after, exec);
}

static void on_timeout(void *context)
{
    struct runtime_exec *exec = context;
    if (!exec->process) { /* still in line */
        exec->timed_out = true;
        exec->over = true;
        exec->output = mem_string("");
        finish(exec);
        return;
    }
    if (exec->timed_out || exec->canceled) {
        process_kill(exec->process); /* crun does not see that its command has gone */
        return;
    }
    exec->timed_out = true;
    kill_command(exec);
}

/* Running. */

static void on_ended(void *context, const struct process_result *result)
{
    struct runtime_exec *exec = context;
    exec->runtime->exec_count--;
    exec->over = true;
    exec->result = *result;
    exec->output = mem_alloc(result->output_size + 1);
    memcpy(exec->output, result->output, result->output_size + 1);
    env_timer_stop(exec->timer);
    exec->process = NULL;
    if (!exec->killing)
        finish(exec);
}

static void run(struct runtime_exec *exec)
{
    struct runtime *runtime = exec->runtime;
    static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
    struct process_options options = {.args = exec->args, .env = env, .output_limit = exec->output_limit};
    list_remove(&exec->node);
    list_append(&runtime->execs, &exec->node);
    struct container *container = runtime_find_container(runtime, exec->id);
    if (!container || container->phase != PHASE_RUNNING)
        error_set(&exec->err, ESRCH, "container %s is not running", exec->id);
    else
        exec->process = process_start(runtime->loop, &options, on_ended, exec, &exec->err);
    if (!exec->process) {
        exec->over = true;
        env_defer(runtime->env, finish_later, exec);
        return;
    }
    exec->session = process_id(exec->process);
    exec->pidfd = (int)syscall(SYS_pidfd_open, exec->session, 0);
    runtime->exec_count++;
}

static void start_waiting(struct runtime *runtime)
{
    while (runtime->exec_count < RUNTIME_EXEC_PARALLEL_MAX && !list_empty(&runtime->exec_queue))
        run(list_entry(runtime->exec_queue.next, struct runtime_exec, node));
}

struct runtime_exec *runtime_exec(struct runtime *runtime, const char *container_id,
                                  const struct runtime_exec_options *options, runtime_exec_done done, void *context)
{
    struct runtime_exec *exec = mem_zero(1, sizeof(*exec));
    list_init(&exec->node);
    exec->runtime = runtime;
    exec->pidfd = -1;
    exec->id = mem_string(container_id);
    exec->done = done;
    exec->context = context;
    exec->output_limit = options->output_limit ? options->output_limit : RUNTIME_EXEC_OUTPUT_DEFAULT;
    if (exec->output_limit > RUNTIME_EXEC_OUTPUT_MAX)
        exec->output_limit = RUNTIME_EXEC_OUTPUT_MAX;
    exec->timer = env_timer_new(runtime->env, on_timeout, exec);
    runtime_hold(runtime);

    const char *head[] = {runtime->crun, NULL, "exec", container_id};
    cleanup_free char *root = mem_printf("--root=%s/crun", runtime->run);
    head[1] = root;
    exec->args = mem_zero(ARRAY_COUNT(head) + options->arg_count + 1, sizeof(char *));
    for (size_t i = 0; i < ARRAY_COUNT(head) + options->arg_count; i++)
        exec->args[i] = mem_string(i < ARRAY_COUNT(head) ? head[i] : options->args[i - ARRAY_COUNT(head)]);

    struct container *container = runtime_find_container(runtime, container_id);
    if (runtime->closing)
        error_set(&exec->err, ECANCELED, "the container runtime is closing");
    else if (!options->arg_count)
        error_set(&exec->err, EINVAL, "no command specified");
    else if (!container || container->phase == PHASE_CREATING || container->phase == PHASE_GONE)
        error_set(&exec->err, ENOENT, "container %s is not there", container_id);
    if (exec->err.code) {
        exec->over = true;
        list_append(&runtime->execs, &exec->node);
        env_defer(runtime->env, finish_later, exec);
        return exec;
    }
    memcpy(exec->cgroup, container->cgroup, sizeof(exec->cgroup));
    if (options->timeout > 0)
        env_timer_start(exec->timer, options->timeout);
    list_append(&runtime->exec_queue, &exec->node);
    start_waiting(runtime);
    return exec;
}

void runtime_exec_cancel(struct runtime_exec *exec)
{
    if (exec->canceled || exec->over)
        return;
    exec->canceled = true;
    if (exec->process) {
        kill_command(exec);
        return;
    }
    exec->over = true;
    env_timer_stop(exec->timer);
    list_remove(&exec->node);
    list_append(&exec->runtime->execs, &exec->node);
    env_defer(exec->runtime->env, finish_later, exec);
}

void execs_cancel(struct runtime *runtime, const char *container_id)
{
    struct list *lists[] = {&runtime->execs, &runtime->exec_queue};
    struct runtime_exec *exec;
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++)
        list_for_each(lists[i], exec, node)
        {
            if (!container_id || !strcmp(exec->id, container_id))
                runtime_exec_cancel(exec);
        }
}
