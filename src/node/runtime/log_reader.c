/* Reading container logs.
 *
 * Reading is done in libuv's pool, one chunk at a time, when the receiver asks for it. A reader that follows and is at
 * the end of its file waits for an event in the log's directory, or for the end of the container; conmon tells that
 * only when all output is in the file. When the file has been rotated away, the rest of it is read first: conmon
 * creates the new file after its last write to the old one. */
#include "node/runtime/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "node/runtime/log_files.h"
#include "node/runtime/log_line.h"
#include "node/runtime/runtime_internal.h"

#define READ_BLOCK (16 << 10)
/* Output beyond this ends a chunk: one more block, and a line that was left from the one before, still fit. */
#define CHUNK_FULL (RUNTIME_LOG_CHUNK_MAX - READ_BLOCK - RUNTIME_LOG_LINE_MAX)

struct runtime_log_reader {
    struct list node;
    struct runtime *runtime;
    char *path;
    char *container_id;
    int64_t tail_lines;
    bool follow;
    struct log_filter filter;
    int fd;
    bool replaced;       /* the path names another file; this one is read to its end first */
    struct buffer input; /* read, not yet taken apart: at most a line */
    bool skipping;       /* in a line that is too long to be one */
    struct buffer output;
    struct watch *watch;

    bool working; /* in the pool */
    bool waiting; /* at the end of the file, for an event */
    bool event;   /* one came while the pool was at work */
    bool closed;
    bool at_end;       /* as the pool found it */
    bool finished;     /* nothing more will come */
    bool writer_ended; /* as the pool is told: nobody writes the file any more */
    int result;
    struct error err;
    runtime_log_chunk chunk;
    void *context;
};

static bool writer_ended(const struct runtime_log_reader *reader)
{
    if (!reader->container_id)
        return true;
    struct container *container = runtime_find_container(reader->runtime, reader->container_id);
    return !container || container->phase == PHASE_ENDED || container->phase == PHASE_GONE;
}

/* In the pool. */

static int open_file(struct runtime_log_reader *reader)
{
    reader->fd = open(reader->path, O_RDONLY | O_CLOEXEC);
    if (reader->fd < 0)
        return error_errno(&reader->err, "failed to try resolving symlinks in path \"%s\"", reader->path);
    if (reader->tail_lines < 0)
        return 0;
    off_t offset = log_tail_offset(reader->fd, reader->tail_lines);
    if (offset < 0 || lseek(reader->fd, offset, SEEK_SET) < 0)
        return error_errno(&reader->err, "read %s", reader->path);
    return 0;
}

/* Called at the end of the file. Whether there is more to read: when the path names another file by now, first what was
 * written to this one until then, and next time the file that followed it, which may have been rotated away as well. */
static bool follow_rotation(struct runtime_log_reader *reader)
{
    struct stat here, there;
    if (!reader->replaced) {
        reader->replaced = fstat(reader->fd, &here) == 0 && stat(reader->path, &there) == 0 &&
                           (here.st_ino != there.st_ino || here.st_dev != there.st_dev);
        return reader->replaced;
    }
    int fd = log_files_open_next(reader->path, reader->fd);
    if (fd < 0)
        return false;
    close(reader->fd);
    reader->fd = fd;
    reader->replaced = false;
    return true;
}

/* Gives out whole lines of the input. False when the limit has been reached. */
static bool take_lines(struct runtime_log_reader *reader)
{
    size_t at = 0;
    bool more = true;
    struct buffer *input = &reader->input;
    while (more && at < input->size) {
        char *newline = memchr(input->data + at, '\n', input->size - at);
        if (!newline)
            break;
        size_t size = (size_t)(newline - input->data) - at;
        if (!reader->skipping)
            more = log_filter_line(&reader->filter, input->data + at, size, &reader->output);
        reader->skipping = false;
        at += size + 1;
    }
    buffer_consume(input, at);
    if (input->size > RUNTIME_LOG_LINE_MAX) {
        buffer_clear(input);
        reader->skipping = true;
    }
    return more;
}

/* The last line may lack its newline when its writer was killed. */
static void take_rest(struct runtime_log_reader *reader)
{
    if (reader->input.size && !reader->skipping)
        log_filter_line(&reader->filter, reader->input.data, reader->input.size, &reader->output);
    buffer_clear(&reader->input);
}

static void read_chunk(struct runtime_log_reader *reader)
{
    reader->at_end = false;
    if (reader->finished || reader->result < 0)
        return;
    if (reader->fd < 0 && open_file(reader) < 0) {
        reader->result = -1;
        return;
    }
    while (reader->output.size < CHUNK_FULL) {
        char *to = buffer_reserve(&reader->input, READ_BLOCK);
        ssize_t n = read(reader->fd, to, READ_BLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            reader->result = error_errno(&reader->err, "read %s", reader->path);
            return;
        }
        if (n == 0 && reader->follow && follow_rotation(reader))
            continue;
        if (n == 0) {
            reader->at_end = true;
            reader->finished = !reader->follow || reader->writer_ended;
            if (reader->finished)
                take_rest(reader);
            return;
        }
        reader->input.size += (size_t)n;
        if (!take_lines(reader)) {
            reader->finished = true;
            return;
        }
    }
}

static void read_work(void *context)
{
    read_chunk(context);
}

/* On the loop. */

static void reader_free(struct runtime_log_reader *reader)
{
    struct runtime *runtime = reader->runtime;
    watch_remove(reader->watch);
    list_remove(&reader->node);
    close_and_forget(&reader->fd);
    buffer_free(&reader->input);
    buffer_free(&reader->output);
    free(reader->path);
    free(reader->container_id);
    free(reader);
    runtime_release(runtime);
}

static void answer(struct runtime_log_reader *reader)
{
    runtime_log_chunk chunk = steal_pointer(reader->chunk);
    struct buffer output = reader->output;
    reader->output = (struct buffer){0};
    /* The receiver may close the reader, or ask for the next chunk. */
    chunk(reader->context, output.size ? output.data : "", output.size, reader->result < 0 ? &reader->err : NULL);
    buffer_free(&output);
}

static void read_after(void *context);

static void start_reading(struct runtime_log_reader *reader)
{
    reader->waiting = false;
    reader->event = false;
    reader->working = true;
    reader->writer_ended = writer_ended(reader);
    runtime_work(reader->runtime, read_work, read_after, reader);
}

static void read_after(void *context)
{
    struct runtime_log_reader *reader = context;
    reader->working = false;
    if (reader->closed) {
        reader_free(reader);
        return;
    }
    if (reader->output.size || reader->finished || reader->result < 0) {
        answer(reader);
        return;
    }
    /* At the end of a file that is followed. What happened meanwhile may have been too late for the pool. */
    if (reader->event || !reader->at_end || writer_ended(reader))
        start_reading(reader);
    else
        reader->waiting = true;
}

static void on_file_event(void *context, const char *name)
{
    struct runtime_log_reader *reader = context;
    const char *file = strrchr(reader->path, '/') + 1;
    if (name && strcmp(name, file))
        return;
    reader->event = true;
    if (reader->waiting)
        start_reading(reader);
}

void log_readers_wake(struct runtime *runtime, const char *id)
{
    struct runtime_log_reader *reader;
    list_for_each(&runtime->log_readers, reader, node)
    {
        if (!reader->container_id || strcmp(reader->container_id, id))
            continue;
        reader->event = true;
        if (reader->waiting)
            start_reading(reader);
    }
}

struct runtime_log_reader *runtime_log_open(struct runtime *runtime, const char *path,
                                            const struct runtime_log_options *options)
{
    struct runtime_log_reader *reader = mem_zero(1, sizeof(*reader));
    reader->runtime = runtime;
    reader->path = mem_string(path);
    reader->container_id = options->container_id ? mem_string(options->container_id) : NULL;
    reader->tail_lines = options->tail_lines;
    reader->follow = options->follow;
    reader->filter = (struct log_filter){
        .since = options->since,
        .limit_bytes = options->limit_bytes,
        .timestamps = options->timestamps,
        .skip_stdout = options->skip_stdout,
        .skip_stderr = options->skip_stderr,
    };
    reader->fd = -1;
    list_append(&runtime->log_readers, &reader->node);
    runtime_hold(runtime);
    return reader;
}

void runtime_log_next(struct runtime_log_reader *reader, runtime_log_chunk chunk, void *context)
{
    assert(!reader->chunk && !reader->closed);
    reader->chunk = chunk;
    reader->context = context;
    /* The watch stands before the first read: no event is missed. */
    if (reader->follow && !reader->watch && !reader->finished) {
        struct error err;
        cleanup_free char *directory = mem_string(reader->path);
        char *slash = strrchr(directory, '/');
        if (slash)
            *slash = 0;
        /* If it cannot be watched, the log is read as far as it goes. */
        if (!slash || watch_add(reader->runtime->watcher, directory, on_file_event, reader, &reader->watch, &err) < 0) {
            log_debug("log %s: %s", reader->path, err.text);
            reader->follow = false;
        }
    }
    if (reader->filter.limit_bytes == 0)
        reader->finished = true;
    start_reading(reader);
}

void runtime_log_close(struct runtime_log_reader *reader)
{
    if (!reader)
        return;
    reader->closed = true;
    if (!reader->working)
        reader_free(reader);
}
