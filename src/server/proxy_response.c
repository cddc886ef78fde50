#include "server/proxy_response.h"

#include <stdlib.h>
#include <strings.h>

#include "base/vector.h"

static bool read_length(struct proxy_response *r, const char *value)
{
    char *end;
    if (*value < '0' || *value > '9' || strlen(value) > 18)
        return false;
    uint64_t length = strtoull(value, &end, 10);
    if (*end || (r->has_length && r->left != length))
        return false;
    r->has_length = true;
    r->left = length;
    return true;
}

static bool read_field(struct proxy_response *r, char *line, char *end)
{
    char *colon = memchr(line, ':', (size_t)(end - line)), *value;
    if (!colon || colon == line || r->fields.count == HTTP_HEADERS_MAX)
        return false;
    value = colon + 1;
    for (char *c = line; c < colon; c++) {
        if (!http_token_char((unsigned char)*c))
            return false;
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
    }
    *colon = 0;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    *end = 0;
    if (memchr(value, '\0', (size_t)(end - value)))
        return false;
    vector_push(&r->fields, (struct http_field){line, value});
    if (strcmp(line, "content-length") == 0)
        return read_length(r, value);
    if (strcmp(line, "transfer-encoding") == 0)
        r->chunked = strcasecmp(value, "chunked") == 0;
    return true;
}

/* The head is whole, and ends with an empty line. */
static bool read_head(struct proxy_response *r)
{
    char *at = r->head.data, *end = r->head.data + r->head.size, *newline;
    if (strncmp(at, "HTTP/1.", 7) != 0 || (at[7] != '0' && at[7] != '1') || at[8] != ' ')
        return false;
    for (int i = 9; i < 12; i++)
        if (at[i] < '0' || at[i] > '9')
            return false;
    r->status = (at[9] - '0') * 100 + (at[10] - '0') * 10 + at[11] - '0';
    newline = memchr(at, '\n', (size_t)(end - at));
    for (at = newline + 1; at < end && *at != '\r' && *at != '\n'; at = newline + 1) {
        newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline || !read_field(r, at, newline))
            return false;
    }
    return r->status >= 100;
}

/* Gathers the head byte by byte: it ends with the first empty line. */
static enum proxy_event gather_head(struct proxy_response *r, bool no_body, const char **data, size_t *size)
{
    while (*size) {
        char c = **data;
        ++*data;
        --*size;
        if (r->head.size == PROXY_HEAD_MAX)
            return PROXY_BAD;
        buffer_add_char(&r->head, c);
        const char *t = r->head.data + r->head.size;
        bool empty =
            c == '\n' && r->head.size >= 2 && (t[-2] == '\n' || (r->head.size >= 3 && t[-2] == '\r' && t[-3] == '\n'));
        if (!empty)
            continue;
        if (!read_head(r))
            return PROXY_BAD;
        if (r->status < 200 && r->status != 101) { /* 100 and the like: the real one follows */
            buffer_clear(&r->head);
            r->fields.count = 0;
            r->chunked = r->has_length = false;
            continue;
        }
        r->has_head = true;
        if (r->chunked)
            r->has_length = false;
        r->over = no_body || r->status == 204 || r->status == 304 || (r->has_length && !r->left);
        return PROXY_HEAD;
    }
    return PROXY_MORE;
}

enum proxy_event proxy_response_next(struct proxy_response *r, bool no_body, const char **data, size_t *size,
                                     const char **run, size_t *run_size)
{
    if (!r->has_head)
        return gather_head(r, no_body, data, size);
    if (r->over)
        return PROXY_END;
    if (r->chunked) {
        switch (http1_chunks_next(&r->chunks, data, size, run, run_size)) {
        case HTTP1_CHUNK_DATA:
            return PROXY_BODY;
        case HTTP1_CHUNK_END:
            r->over = true;
            return PROXY_END;
        case HTTP1_CHUNK_BAD:
            return PROXY_BAD;
        case HTTP1_CHUNK_MORE:
            return PROXY_MORE;
        }
    }
    if (!*size)
        return PROXY_MORE;
    *run = *data;
    *run_size = r->has_length && r->left < *size ? (size_t)r->left : *size;
    *data += *run_size;
    *size -= *run_size;
    r->left -= r->has_length ? *run_size : 0;
    r->over = r->has_length && !r->left;
    return PROXY_BODY;
}

void proxy_response_free(struct proxy_response *r)
{
    buffer_free(&r->head);
    vector_free(&r->fields);
}
