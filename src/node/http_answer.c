/* One state per kind of thing that comes next; all but the body come in lines. */
#include "node/http_answer.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

enum { STATUS, HEADER, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER };

#define BROKEN "net/http: HTTP/1.x transport connection broken: "

static int refuse(char *failure, const char *text, const char *what)
{
    snprintf(failure, HTTP_ANSWER_FAILURE_MAX, text, what);
    return -1;
}

static int take_status(struct http_answer *a, char *failure)
{
    const char *line = a->line;
    if (strncmp(line, "HTTP/1.", 7) != 0 || !isdigit((unsigned char)line[7]) || line[8] != ' ')
        return refuse(failure, BROKEN "malformed HTTP response \"%.200s\"", line);
    for (int i = 9; i < 12; i++)
        if (!isdigit((unsigned char)line[i]))
            return refuse(failure, BROKEN "malformed HTTP status code \"%.3s\"", line + 9);
    a->status = atoi(line + 9);
    if (a->status < 100 || (line[12] && line[12] != ' '))
        return refuse(failure, BROKEN "malformed HTTP status code \"%.12s\"", line + 9);
    a->state = HEADER;
    a->chunked = a->sized = false;
    return 0;
}

static bool is_redirect(const struct http_answer *a)
{
    return a->status >= 300 && a->status < 400;
}

static bool number(const char *text, int base, uint64_t *out)
{
    char *end;
    if (!isxdigit((unsigned char)*text))
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, base);
    end += strspn(end, " \t");
    *out = value;
    return errno == 0 && (*end == 0 || (base == 16 && *end == ';'));
}

/* The empty line after the headers. */
static void begin_body(struct http_answer *a)
{
    bool none = a->status == 204 || a->status == 304;
    if (a->status < 200 && a->status != 101) {
        a->status = 0; /* interim */
        a->state = STATUS;
    } else if (a->status == 101 || none || (a->sized && !a->chunked && a->left == 0)) {
        a->complete = true;
    } else {
        a->state = a->chunked ? CHUNK_SIZE : BODY;
    }
}

static int take_header(struct http_answer *a, char *failure)
{
    char *colon = strchr(a->line, ':');
    if (!*a->line) {
        begin_body(a);
        return 0;
    }
    if (!colon && !isspace((unsigned char)*a->line))
        return refuse(failure, BROKEN "malformed MIME header line: %.200s", a->line);
    if (!colon)
        return 0;
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    *colon = 0;
    if (strcasecmp(a->line, "Content-Length") == 0) {
        if (!number(value, 10, &a->left))
            return refuse(failure, BROKEN "bad Content-Length \"%.200s\"", value);
        a->sized = true;
    } else if (strcasecmp(a->line, "Location") == 0) {
        if (is_redirect(a) && !a->location && a->line_size < sizeof(a->line) - 1)
            a->location = mem_string(value);
    } else if (strcasecmp(a->line, "Transfer-Encoding") == 0) {
        a->chunked = strncasecmp(value, "chunked", 7) == 0;
        if (!a->chunked)
            return refuse(failure, BROKEN "unsupported transfer encoding: \"%.200s\"", value);
    }
    return 0;
}

static int take_chunk_size(struct http_answer *a, char *failure)
{
    if (!number(a->line, 16, &a->left))
        return refuse(failure, "%s", "invalid byte in chunk length");
    a->state = a->left ? CHUNK : TRAILER;
    return 0;
}

static int take_line(struct http_answer *a, char *failure)
{
    switch (a->state) {
    case STATUS:
        return take_status(a, failure);
    case HEADER:
        return take_header(a, failure);
    case CHUNK_SIZE:
        return take_chunk_size(a, failure);
    case CHUNK_END:
        if (*a->line)
            return refuse(failure, "%s", "malformed chunked encoding");
        a->state = CHUNK_SIZE;
        return 0;
    default: /* TRAILER */
        a->complete = !*a->line;
        return 0;
    }
}

/* Passes over what is there of the body; returns how much. */
static size_t take_body(struct http_answer *a, const char *data, size_t size)
{
    bool until_close = a->state == BODY && !a->sized;
    size_t taken = until_close || size < a->left ? size : (size_t)a->left;
    size_t room = HTTP_ANSWER_BODY_MAX - a->text.size;
    if (is_redirect(a))
        buffer_add(&a->text, data, taken < room ? taken : room);
    a->body += taken;
    if (!until_close)
        a->left -= taken;
    if (a->body > HTTP_ANSWER_BODY_MAX || (a->state == BODY && a->sized && !a->left))
        a->complete = true;
    else if (a->state == CHUNK && !a->left)
        a->state = CHUNK_END;
    return taken;
}

int http_answer_feed(struct http_answer *a, const char *data, size_t size, char failure[HTTP_ANSWER_FAILURE_MAX])
{
    for (size_t i = 0; i < size && !a->complete;) {
        if (a->state == BODY || a->state == CHUNK) {
            i += take_body(a, data + i, size - i);
            continue;
        }
        char c = data[i++];
        if (++a->head > HTTP_ANSWER_HEAD_MAX)
            return refuse(failure, BROKEN "%s", "net/http: server response headers exceeded 65536 bytes; aborted");
        if (c != '\n') {
            if (a->line_size < sizeof(a->line) - 1)
                a->line[a->line_size++] = c;
            continue;
        }
        if (a->line_size && a->line[a->line_size - 1] == '\r')
            a->line_size--;
        a->line[a->line_size] = 0;
        int result = take_line(a, failure);
        a->line_size = 0;
        if (result < 0)
            return -1;
    }
    return 0;
}

int http_answer_end(struct http_answer *a, char failure[HTTP_ANSWER_FAILURE_MAX])
{
    if (a->complete || (a->state == BODY && !a->sized)) {
        a->complete = true;
        return 0;
    }
    return refuse(failure, "%s", a->head ? "unexpected EOF" : "EOF");
}

void http_answer_free(struct http_answer *a)
{
    free(a->location);
    buffer_free(&a->text);
}
