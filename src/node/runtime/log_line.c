/* The CRI log format. */
#include "node/runtime/log_line.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/timestamp.h"

#define TAIL_BLOCK 16384

/* The word up to the next space; NULL when there is none. */
static const char *word(const char **at, const char *end, size_t *size)
{
    const char *start = *at;
    const char *space = memchr(start, ' ', (size_t)(end - start));
    if (!space)
        return NULL;
    *size = (size_t)(space - start);
    *at = space + 1;
    return start;
}

static bool is(const char *text, size_t size, const char *wanted)
{
    return size == strlen(wanted) && !memcmp(text, wanted, size);
}

int log_line_read(const char *line, size_t size, struct log_line *out)
{
    const char *at = line, *end = line + size;
    size_t stream_size, tag_size;
    char text[TIME_TEXT_MAX];
    out->time = word(&at, end, &out->time_size);
    if (!out->time || out->time_size >= sizeof(text))
        return -1;
    memcpy(text, out->time, out->time_size);
    text[out->time_size] = 0;
    if (strlen(text) != out->time_size || time_parse(text, &out->instant) < 0)
        return -1;
    const char *stream = word(&at, end, &stream_size);
    if (!stream || (!is(stream, stream_size, "stdout") && !is(stream, stream_size, "stderr")))
        return -1;
    out->is_stderr = stream[3] == 'e';
    /* Tags are separated by ':'; the first tells whether the line is whole. An empty text may come without its space.
     */
    const char *tags = word(&at, end, &tag_size);
    if (!tags) {
        tags = at;
        tag_size = (size_t)(end - at);
        at = end;
    }
    const char *colon = memchr(tags, ':', tag_size);
    if (colon)
        tag_size = (size_t)(colon - tags);
    if (!is(tags, tag_size, "F") && !is(tags, tag_size, "P"))
        return -1;
    out->partial = *tags == 'P';
    out->text = at;
    out->text_size = (size_t)(end - at);
    return 0;
}

static bool add(struct log_filter *filter, const char *data, size_t size, struct buffer *out)
{
    if (filter->limit_bytes >= 0 && (int64_t)size >= filter->limit_bytes) {
        buffer_add(out, data, (size_t)filter->limit_bytes);
        filter->limit_bytes = 0;
        return false;
    }
    if (filter->limit_bytes >= 0)
        filter->limit_bytes -= (int64_t)size;
    buffer_add(out, data, size);
    return true;
}

/* The time as `kubectl logs --timestamps` shows it: UTC is written Z. */
static bool add_time(struct log_filter *filter, const struct log_line *line, struct buffer *out)
{
    static const char utc[] = "+00:00";
    size_t size = line->time_size;
    bool is_utc = size > sizeof(utc) && !memcmp(line->time + size - strlen(utc), utc, strlen(utc));
    return add(filter, line->time, is_utc ? size - strlen(utc) : size, out) && add(filter, "Z ", is_utc ? 2 : 0, out) &&
           add(filter, " ", is_utc ? 0 : 1, out);
}

bool log_filter_line(struct log_filter *filter, const char *text, size_t size, struct buffer *out)
{
    struct log_line line;
    if (filter->limit_bytes == 0)
        return false;
    if (log_line_read(text, size, &line) < 0)
        return true;
    if (line.instant < filter->since || (line.is_stderr ? filter->skip_stderr : filter->skip_stdout))
        return true;
    if (filter->timestamps && !filter->in_line && !add_time(filter, &line, out))
        return false;
    filter->in_line = line.partial;
    return add(filter, line.text, line.text_size, out) && (line.partial || add(filter, "\n", 1, out));
}

off_t log_tail_offset(int fd, int64_t lines)
{
    struct stat info;
    if (fstat(fd, &info) < 0)
        return -1;
    off_t end = info.st_size;
    char block[TAIL_BLOCK];
    int64_t newlines = 0;
    if (lines <= 0)
        return end;
    for (off_t at = end; at > 0;) {
        size_t size = at < TAIL_BLOCK ? (size_t)at : TAIL_BLOCK;
        at -= (off_t)size;
        ssize_t n = pread(fd, block, size, at);
        if (n < 0)
            return -1;
        for (ssize_t i = n; i-- > 0;)
            /* The newline that ends the file begins no line. */
            if (block[i] == '\n' && at + i + 1 < end && ++newlines == lines)
                return at + i + 1;
    }
    return 0;
}
