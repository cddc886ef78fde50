/* One line of a container log in upstream's CRI format: `TIME STREAM TAG TEXT`. */
#ifndef CORACLE_NODE_RUNTIME_LOG_LINE_H
#define CORACLE_NODE_RUNTIME_LOG_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buffer.h"

struct log_line {
    const char *time; /* as written; RFC 3339 with nanoseconds */
    size_t time_size;
    int64_t instant; /* microseconds since the epoch */
    bool is_stderr;
    bool partial; /* the next line of the same stream goes on with it */
    const char *text;
    size_t text_size;
};

/* Reads a line without its newline. Returns 0, or -1 when it is not of the format. The result points into the line. */
int log_line_read(const char *line, size_t size, struct log_line *out);

/* What is given out of a log, and how far that has come. */
struct log_filter {
    int64_t since;
    int64_t limit_bytes; /* left; negative: no limit */
    bool timestamps;
    bool skip_stdout;
    bool skip_stderr;
    bool in_line; /* the last thing given out was a partial line */
};

/* Appends what the filter lets through of the line. Returns false when the limit has been reached. A line that is not
 * of the format is passed over, as upstream does. */
bool log_filter_line(struct log_filter *filter, const char *line, size_t size, struct buffer *out);

/* Where the last `lines` lines of the file begin. A last line without newline counts. -1 with errno. Blocks. */
off_t log_tail_offset(int fd, int64_t lines);

#endif
