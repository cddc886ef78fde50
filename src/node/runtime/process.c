/* Child processes with captured output.
 *
 * Output comes through one real pipe (not the socket that libuv would make: `/dev/stdout` cannot be opened on a
 * socket). When the child ends, what is in the pipe by then is taken and the pipe is let go, because a
 * descendant that holds it open must not hold us. */
#include "node/runtime/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/cleanup.h"

/* What a full pipe may hold when the child ends; more than that was not there at the time. */
#define DRAIN_MAX (1 << 20)

struct process {
    uv_process_t handle;
    uv_pipe_t pipe;
    struct buffer output;
    size_t limit;
    bool truncated;
    int exit_code;
    bool ended; /* and waited for: the pid may be another's by now */
    int open_handles;
    process_done done;
    void *context;
    char block[16 << 10];
};

static void take(struct process *process, const char *data, size_t size)
{
    size_t room = process->limit - process->output.size;
    if (size > room)
        process->truncated = true;
    buffer_add(&process->output, data, size < room ? size : room);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct process *process = handle->data;
    *buf = uv_buf_init(process->block, sizeof(process->block));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct process *process = stream->data;
    if (n > 0)
        take(process, buf->base, (size_t)n);
    else if (n < 0)
        uv_read_stop(stream);
}

static void on_closed(uv_handle_t *handle)
{
    struct process *process = handle->data;
    if (--process->open_handles)
        return;
    if (process->done) {
        buffer_reserve(&process->output, 1);
        process->output.data[process->output.size] = 0;
        struct process_result result = {
            .exit_code = process->exit_code,
            .output = process->output.data,
            .output_size = process->output.size,
            .truncated = process->truncated,
        };
        process->done(process->context, &result);
    }
    buffer_free(&process->output);
    free(process);
}

static void on_exit_status(uv_process_t *handle, int64_t status, int signal)
{
    struct process *process = handle->data;
    process->ended = true;
    process->exit_code = signal ? 128 + signal : (int)status;
    uv_read_stop((uv_stream_t *)&process->pipe);
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&process->pipe, &fd) == 0) {
        ssize_t n;
        for (size_t drained = 0; drained < DRAIN_MAX && (n = read(fd, process->block, sizeof(process->block))) > 0;
             drained += (size_t)n)
            take(process, process->block, (size_t)n);
    }
    uv_close((uv_handle_t *)&process->pipe, on_closed);
    uv_close((uv_handle_t *)&process->handle, on_closed);
}

struct process *process_start(struct uv_loop_s *loop, const struct process_options *options, process_done done,
                              void *context, struct error *err)
{
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        error_errno(err, "make a pipe");
        return NULL;
    }
    cleanup_close int write_end = pipe_fds[1];
    struct process *process = mem_zero(1, sizeof(*process));
    process->limit = options->output_limit;
    process->context = context;
    process->handle.data = process->pipe.data = process;
    process->open_handles = 2;
    uv_pipe_init(loop, &process->pipe, 0);
    uv_pipe_open(&process->pipe, pipe_fds[0]);

    uv_stdio_container_t stdio[3 + PROCESS_FDS_MAX + 1] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = write_end},
        {.flags = UV_INHERIT_FD, .data.fd = write_end},
    };
    for (size_t i = 0; i < options->fd_count; i++)
        stdio[3 + i] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = options->fds[i]};
    size_t fd_count = 3 + options->fd_count;
    for (size_t i = 0; options->stdio && i < 3; i++)
        stdio[i] = options->stdio[i] < 0 ? (uv_stdio_container_t){.flags = UV_IGNORE}
                                         : (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = options->stdio[i]};
    if (options->output_behind)
        stdio[fd_count++] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = write_end};
    uv_process_options_t spawn = {
        .exit_cb = on_exit_status,
        .file = options->args[0],
        .args = (char **)options->args,
        .env = (char **)options->env,
        .cwd = options->cwd,
        .flags = UV_PROCESS_DETACHED,
        .stdio_count = (int)fd_count,
        .stdio = stdio,
    };
    int result = uv_spawn(loop, &process->handle, &spawn);
    if (result < 0) {
        error_set(err, -result, "start %s: %s", options->args[0], uv_strerror(result));
        uv_close((uv_handle_t *)&process->pipe, on_closed);
        uv_close((uv_handle_t *)&process->handle, on_closed);
        return NULL;
    }
    process->done = done;
    uv_read_start((uv_stream_t *)&process->pipe, on_alloc, on_read);
    return process;
}

pid_t process_id(const struct process *process)
{
    return process->handle.pid;
}

void process_kill(struct process *process)
{
    if (!process->ended)
        uv_process_kill(&process->handle, SIGKILL);
}
