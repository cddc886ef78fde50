/* The last words of a container. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "node/runtime/log_line.h"
#include "node/runtime/runtime_internal.h"

/* More than the lines of a fallback ever take in the log file. */
#define FALLBACK_READ_MAX (1 << 20)

struct message {
    struct runtime *runtime;
    char *file; /* NULL: no termination message file */
    char *log;  /* NULL: no fallback */
    struct buffer text;
    int result;
    struct error err;
    runtime_message_done done;
    void *context;
};

/* What is beyond the limit is left out. */
static int read_some(int fd, struct buffer *out, size_t limit)
{
    return file_read_rest(fd, limit, out) < 0 && errno != EFBIG ? -1 : 0;
}

static int read_file(struct message *message)
{
    /* The container may have put anything there; only a plain file is read. */
    cleanup_close int fd = open(message->file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || read_some(fd, &message->text, RUNTIME_TERMINATION_MESSAGE_MAX) < 0)
        return error_errno(&message->err, "read %s", message->file);
    return 0;
}

static int read_log(struct message *message)
{
    cleanup_buffer struct buffer input = {0};
    cleanup_close int fd = open(message->log, O_RDONLY | O_CLOEXEC);
    off_t offset = fd < 0 ? -1 : log_tail_offset(fd, RUNTIME_FALLBACK_LOG_LINES);
    if (offset < 0 || lseek(fd, offset, SEEK_SET) < 0 || read_some(fd, &input, FALLBACK_READ_MAX) < 0)
        return error_errno(&message->err, "read %s", message->log);
    struct log_filter filter = {.limit_bytes = -1};
    for (size_t at = 0; at < input.size;) {
        char *newline = memchr(input.data + at, '\n', input.size - at);
        size_t size = newline ? (size_t)(newline - input.data) - at : input.size - at;
        log_filter_line(&filter, input.data + at, size, &message->text);
        at += size + 1;
    }
    if (message->text.size > RUNTIME_FALLBACK_LOG_BYTES)
        buffer_consume(&message->text, message->text.size - RUNTIME_FALLBACK_LOG_BYTES);
    return 0;
}

static void read_work(void *context)
{
    struct message *message = context;
    if (message->file && read_file(message) < 0)
        message->result = -1;
    else if (!message->text.size && message->log)
        message->result = read_log(message);
}

static void read_after(void *context)
{
    struct message *message = context;
    if (message->result < 0) {
        message->done(message->context, NULL, 0, &message->err);
    } else {
        buffer_reserve(&message->text, 1);
        message->text.data[message->text.size] = 0;
        message->done(message->context, message->text.data, message->text.size, NULL);
    }
    buffer_free(&message->text);
    free(message->file);
    free(message->log);
    free(message);
}

void runtime_container_termination_message(struct runtime *runtime, const char *id, bool fallback_to_logs,
                                           runtime_message_done done, void *context)
{
    struct message *message = mem_zero(1, sizeof(*message));
    *message = (struct message){.runtime = runtime, .done = done, .context = context};
    const struct runtime_container_status *status = runtime_container_get(runtime, id);
    if (!status)
        message->result = error_set(&message->err, ENOENT, "container %s is not there", id);
    else if (status->termination_message_path)
        message->file = container_path(runtime, id, "termination-log");
    if (status && fallback_to_logs && status->exit_code)
        message->log = mem_string(status->log_path);
    runtime_work(runtime, read_work, read_after, message);
}
