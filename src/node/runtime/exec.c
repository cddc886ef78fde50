/* Commands in running containers, by `crun exec`.
 *
 *     pool   the process description, from the container's own and the command, in a memory file
 *     loop   crun runs; its output is taken
 *     pool   when time is up: crun and all its descendants are killed
 *
 * A command that a user talks to has pipes or a terminal instead, whose other ends are handed out. The terminal's comes
 * from crun by a socket. */
#include "node/runtime/exec.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "node/runtime/exec_hunt.h"
#include "node/runtime/process.h"
#include "node/runtime/runtime_internal.h"

/* How long crun may take to hand a terminal over, and to start a command with streams; milliseconds. */
#define START_TIMEOUT 10000

struct runtime_exec {
    struct list node; /* in runtime.execs or runtime.exec_queue */
    struct runtime *runtime;
    char *id;
    char cgroup[RUNTIME_POD_CGROUP_MAX + RUNTIME_NAME_MAX + 2];
    char **args; /* of the command; NULL-terminated */
    size_t output_limit;
    struct process *process;
    pid_t crun;
    int pidfd;       /* of crun */
    int description; /* memory files; -1: for crun to read the process from, and to write the command's pid to */
    int pid_file;
    struct env_timer *timer;
    bool in, out, err_out, tty;
    void (*streams)(void *context, const struct runtime_exec_streams *streams);
    struct runtime_exec_streams ends;
    int console;  /* crun sends the terminal here; -1 */
    int terminal; /* its master, for its size; -1 */
    char *console_path;
    struct winsize size;
    int start;       /* a pipe that crun writes the pid to; -1 */
    bool started;    /* it has */
    bool starting;   /* the pool waits for the terminal, and for that */
    bool describing; /* the pool is at it */
    bool killing;    /* the pool is at it */
    bool over;       /* nothing runs */
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
        free(exec->args[i]);
    free(exec->args);
    close_and_forget(&exec->pidfd);
    close_and_forget(&exec->description);
    close_and_forget(&exec->pid_file);
    close_and_forget(&exec->start);
    close_and_forget(&exec->console);
    close_and_forget(&exec->terminal);
    close_and_forget(&exec->ends.in);
    close_and_forget(&exec->ends.out);
    close_and_forget(&exec->ends.err);
    if (exec->console_path)
        unlink(exec->console_path);
    free(exec->console_path);
    free(exec->id);
    free(exec->output);
    free(exec);
}

/* crun writes the pid when the command has been started, and exits with 255 and a sentence when it cannot be. */
static bool was_started(const struct runtime_exec *exec)
{
    struct stat info;
    if (exec->streams)
        return exec->started;
    return exec->pid_file < 0 || fstat(exec->pid_file, &info) < 0 || info.st_size > 0;
}

static const char *without_newline(char *text)
{
    text[strcspn(text, "\n")] = 0;
    return *text ? text : "crun ended without running the command";
}

static void finish(struct runtime_exec *exec)
{
    struct runtime *runtime = exec->runtime;
    if (exec->canceled)
        error_set(&exec->err, ECANCELED, "the command was canceled");
    else if (!exec->err.code && !exec->timed_out && !was_started(exec))
        error_set(&exec->err, ENOEXEC, "%s", without_newline(exec->output));
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

static void kill_work(void *context)
{
    const struct runtime_exec *exec = context;
    exec_hunt_down(exec->runtime->cgroup, exec->cgroup, exec->crun, exec->pidfd);
}

/* The command is over, and the pool has let go of it. */
static void finish_when_free(struct runtime_exec *exec)
{
    if (exec->over && !exec->killing && !exec->starting)
        finish(exec);
}

static void kill_after(void *context)
{
    struct runtime_exec *exec = context;
    exec->killing = false;
    finish_when_free(exec);
}

static void kill_command(struct runtime_exec *exec)
{
    if (exec->killing || exec->over)
        return;
    exec->killing = true;
    runtime_work(exec->runtime, kill_work, kill_after, exec);
}

static void on_timeout(void *context)
{
    struct runtime_exec *exec = context;
    if (exec->describing) {
        exec->timed_out = true;
        return;
    }
    if (!exec->process) { /* still in line */
        exec->timed_out = true;
        exec->over = true;
        exec->output = mem_string("");
        finish(exec);
        return;
    }
    exec->timed_out = true;
    kill_command(exec);
}

/* Running. */

static void leave_place(struct runtime_exec *exec)
{
    if (exec->streams)
        exec->runtime->exec_streams_count--;
    else
        exec->runtime->exec_count--;
    exec->over = true;
    env_timer_stop(exec->timer);
}

static void on_ended(void *context, const struct process_result *result)
{
    struct runtime_exec *exec = context;
    exec->result = *result;
    exec->output = mem_alloc(result->output_size + 1);
    memcpy(exec->output, result->output, result->output_size + 1);
    exec->process = NULL;
    leave_place(exec);
    finish_when_free(exec);
}

static void add_terminal_type(json_t *process)
{
    json_t *env = json_object_get(process, "env"), *variable;
    size_t i;
    json_array_foreach(env, i, variable)
    {
        if (strncmp(json_string_value(variable), "TERM=", 5) == 0)
            return;
    }
    json_array_append_new(env, json_string("TERM=xterm"));
}

/* A pipe, ours nonblocking; *theirs is for the command. */
static int make_pipe(int *ours, int *theirs, bool we_write, struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, "make a pipe");
    *ours = ends[we_write];
    *theirs = ends[!we_write];
    fcntl(*ours, F_SETFL, O_NONBLOCK);
    return 0;
}

/* A socket in the container's folder; its name may be longer than an address takes, its folder's descriptor is not. */
static int listen_for_console(struct runtime_exec *exec, struct error *err)
{
    cleanup_free char *folder = container_path(exec->runtime, exec->id, NULL);
    cleanup_close int directory = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = strrchr(exec->console_path, '/') + 1;
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", directory, name);
    if (directory < 0 || fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, 1) < 0)
        return error_errno(err, "listen for a terminal at %s", exec->console_path);
    exec->console = steal_fd(fd);
    return 0;
}

/* The container's own process, with other arguments, and with a terminal only if it is asked for. */
static int describe(struct runtime_exec *exec, struct error *err)
{
    cleanup_free char *path = container_path(exec->runtime, exec->id, "config.json");
    cleanup_buffer struct buffer text = {0};
    if (file_read(path, RUNTIME_RECORD_MAX, &text, err) < 0)
        return -1;
    json_t *root = json_loadb(text.data, text.size, 0, NULL), *process = json_object_get(root, "process");
    json_t *args = json_array();
    for (size_t i = 0; exec->args[i]; i++)
        if (json_array_append_new(args, json_string(exec->args[i])) < 0)
            error_set(err, EINVAL, "command is not valid UTF-8");
    json_object_set_new(process, "args", args);
    json_object_set_new(process, "terminal", json_boolean(exec->tty));
    if (exec->tty)
        add_terminal_type(process);
    cleanup_free char *description = process ? json_dumps(process, JSON_COMPACT) : NULL;
    json_decref(root);
    if (err->code)
        return -1;
    if (!description)
        return error_set(err, EINVAL, "%s is damaged", path);
    cleanup_close int fd = memfd_create("process.json", MFD_CLOEXEC);
    size_t size = strlen(description);
    if (fd < 0 || write(fd, description, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) < 0)
        return error_errno(err, "describe the command");
    if (exec->streams && make_pipe(&exec->start, &exec->pid_file, false, err) < 0)
        return -1;
    if (!exec->streams && (exec->pid_file = memfd_create("pid", MFD_CLOEXEC)) < 0)
        return error_errno(err, "describe the command");
    exec->description = steal_fd(fd);
    return exec->tty ? listen_for_console(exec, err) : 0;
}

static void describe_work(void *context)
{
    struct runtime_exec *exec = context;
    describe(exec, &exec->err);
}

/* Waits for a descriptor to be readable, as long as crun runs. */
static bool wait_for(const struct runtime_exec *exec, int fd)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = exec->pidfd, .events = POLLIN}};
    return poll(fds, 2, START_TIMEOUT) > 0 && fds[0].revents;
}

static void take_terminal(struct runtime_exec *exec)
{
    if (!wait_for(exec, exec->console))
        return;
    cleanup_close int fd = accept4(exec->console, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 || !wait_for(exec, fd))
        return;
    char name[64], room[CMSG_SPACE(sizeof(int))];
    struct iovec data = {name, sizeof(name)};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)};
    if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC) < 0)
        return;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len >= CMSG_LEN(sizeof(int)))
        memcpy(&exec->terminal, CMSG_DATA(header), sizeof(int));
}

/* Until the command runs, what is written to its streams are crun's words, which come another way. */
static void start_work(void *context)
{
    struct runtime_exec *exec = context;
    char pid[32];
    if (exec->tty)
        take_terminal(exec);
    exec->started = wait_for(exec, exec->start) && read(exec->start, pid, sizeof(pid)) > 0;
}

static void hand_out(struct runtime_exec *exec)
{
    struct runtime_exec_streams ends = exec->ends;
    exec->ends = (struct runtime_exec_streams){-1, -1, -1};
    exec->streams(exec->context, &ends);
}

static void set_size(struct runtime_exec *exec)
{
    if (exec->terminal >= 0 && exec->size.ws_col)
        ioctl(exec->terminal, TIOCSWINSZ, &exec->size);
}

static void start_after(void *context)
{
    struct runtime_exec *exec = context;
    exec->starting = false;
    if (exec->terminal >= 0) {
        set_size(exec);
        fcntl(exec->terminal, F_SETFL, O_NONBLOCK);
        exec->ends.in = fcntl(exec->terminal, F_DUPFD_CLOEXEC, 0);
    }
    if (exec->started && !exec->canceled)
        hand_out(exec);
    finish_when_free(exec);
}

void runtime_exec_resize(struct runtime_exec *exec, uint16_t columns, uint16_t rows)
{
    exec->size = (struct winsize){.ws_col = columns, .ws_row = rows};
    set_size(exec);
}

/* The command's ends of its streams. */
static int make_streams(struct runtime_exec *exec, int theirs[3])
{
    if (exec->tty)
        return 0;
    if ((exec->in && make_pipe(&exec->ends.in, &theirs[0], true, &exec->err) < 0) ||
        (exec->out && make_pipe(&exec->ends.out, &theirs[1], false, &exec->err) < 0) ||
        (exec->err_out && make_pipe(&exec->ends.err, &theirs[2], false, &exec->err) < 0))
        return -1;
    return 0;
}

/* With streams, crun's own words go to a descriptor of their own. */
static void spawn_with_streams(struct runtime_exec *exec)
{
    struct runtime *runtime = exec->runtime;
    cleanup_free char *root = mem_printf("--root=%s/crun", runtime->run);
    cleanup_free char *console = exec->tty ? mem_printf("--console-socket=%s", exec->console_path) : NULL;
    const char *args[] = {runtime->crun,
                          root,
                          "--log=/proc/self/fd/5",
                          "exec",
                          "--process=/proc/self/fd/3",
                          "--pid-file=/proc/self/fd/4",
                          console ? console : exec->id,
                          console ? exec->id : NULL,
                          NULL};
    static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
    int theirs[3] = {-1, -1, -1};
    struct process_options options = {.args = args,
                                      .env = env,
                                      .output_limit = exec->output_limit,
                                      .fds = {exec->description, exec->pid_file},
                                      .fd_count = 2,
                                      .stdio = theirs,
                                      .output_behind = true};
    if (make_streams(exec, theirs) == 0)
        exec->process = process_start(runtime->loop, &options, on_ended, exec, &exec->err);
    for (size_t i = 0; i < ARRAY_COUNT(theirs); i++)
        close_and_forget(&theirs[i]);
    if (!exec->process)
        return;
    exec->crun = process_id(exec->process);
    exec->pidfd = (int)syscall(SYS_pidfd_open, exec->crun, 0);
    close_and_forget(&exec->description);
    close_and_forget(&exec->pid_file);
    exec->starting = true;
    runtime_work(runtime, start_work, start_after, exec);
}

static void spawn(struct runtime_exec *exec)
{
    struct runtime *runtime = exec->runtime;
    cleanup_free char *root = mem_printf("--root=%s/crun", runtime->run);
    const char *args[] = {runtime->crun, root, "exec", "--process=/proc/self/fd/3", "--pid-file=/proc/self/fd/4",
                          exec->id,      NULL};
    static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};
    struct process_options options = {.args = args,
                                      .env = env,
                                      .output_limit = exec->output_limit,
                                      .fds = {exec->description, exec->pid_file},
                                      .fd_count = 2};
    exec->process = process_start(runtime->loop, &options, on_ended, exec, &exec->err);
    if (!exec->process)
        return;
    exec->crun = process_id(exec->process);
    exec->pidfd = (int)syscall(SYS_pidfd_open, exec->crun, 0);
    close_and_forget(&exec->description);
}

static void describe_after(void *context)
{
    struct runtime_exec *exec = context;
    struct container *container = runtime_find_container(exec->runtime, exec->id);
    exec->describing = false;
    if (!exec->err.code && !exec->canceled && !exec->timed_out) {
        if (!container || container->phase != PHASE_RUNNING)
            error_set(&exec->err, ESRCH, "container %s is not running", exec->id);
        else if (exec->streams)
            spawn_with_streams(exec);
        else
            spawn(exec);
    }
    if (!exec->process) {
        exec->output = mem_string("");
        leave_place(exec);
        finish(exec);
    }
}

static void run(struct runtime_exec *exec)
{
    list_remove(&exec->node);
    list_append(&exec->runtime->execs, &exec->node);
    if (exec->streams)
        exec->runtime->exec_streams_count++;
    else
        exec->runtime->exec_count++;
    exec->describing = true;
    runtime_work(exec->runtime, describe_work, describe_after, exec);
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
    exec->pidfd = exec->description = exec->pid_file = exec->start = exec->console = exec->terminal = -1;
    exec->ends = (struct runtime_exec_streams){-1, -1, -1};
    exec->streams = options->streams;
    exec->in = options->in;
    exec->out = options->out;
    exec->err_out = options->err;
    exec->tty = options->tty && options->streams;
    if (exec->tty)
        exec->console_path = mem_printf("%s/containers/%s/console-%llu", runtime->run, container_id,
                                        (unsigned long long)++runtime->consoles);
    exec->id = mem_string(container_id);
    exec->done = done;
    exec->context = context;
    exec->output_limit = options->output_limit ? options->output_limit : RUNTIME_EXEC_OUTPUT_DEFAULT;
    if (exec->output_limit > RUNTIME_EXEC_OUTPUT_MAX)
        exec->output_limit = RUNTIME_EXEC_OUTPUT_MAX;
    exec->timer = env_timer_new(runtime->env, on_timeout, exec);
    runtime_hold(runtime);

    exec->args = mem_zero(options->arg_count + 1, sizeof(char *));
    for (size_t i = 0; i < options->arg_count; i++)
        exec->args[i] = mem_string(options->args[i]);

    struct container *container = runtime_find_container(runtime, container_id);
    if (runtime->closing)
        error_set(&exec->err, ECANCELED, "the container runtime is closing");
    else if (!options->arg_count)
        error_set(&exec->err, EINVAL, "no command specified");
    else if (!container || container->phase == PHASE_CREATING || container->phase == PHASE_GONE)
        error_set(&exec->err, ENOENT, "container %s is not there", container_id);
    else if (exec->streams && runtime->exec_streams_count >= RUNTIME_EXEC_STREAMS_MAX)
        error_set(&exec->err, EAGAIN, "too many commands run in containers of this node");
    if (exec->err.code) {
        exec->over = true;
        list_append(&runtime->execs, &exec->node);
        env_defer(runtime->env, finish_later, exec);
        return exec;
    }
    assert(container);
    memcpy(exec->cgroup, container->cgroup, sizeof(exec->cgroup));
    if (options->timeout > 0)
        env_timer_start(exec->timer, options->timeout);
    if (exec->streams) {
        run(exec);
        return exec;
    }
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
    if (exec->describing)
        return;
    exec->over = true;
    env_timer_stop(exec->timer);
    list_remove(&exec->node);
    list_append(&exec->runtime->execs, &exec->node);
    env_defer(exec->runtime->env, finish_later, exec);
}

/* Of a container, or of every one (NULL); `all`: also what somebody follows and has begun. */
static void cancel_execs(struct runtime *runtime, const char *container_id, bool all)
{
    struct list *lists[] = {&runtime->execs, &runtime->exec_queue};
    struct runtime_exec *exec;
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++)
        list_for_each(lists[i], exec, node)
        {
            if ((!container_id || !strcmp(exec->id, container_id)) && (all || !exec->streams || !exec->process))
                runtime_exec_cancel(exec);
        }
}

void execs_cancel(struct runtime *runtime, const char *container_id)
{
    cancel_execs(runtime, container_id, true);
}

void execs_end(struct runtime *runtime, const char *container_id)
{
    cancel_execs(runtime, container_id, false);
}
