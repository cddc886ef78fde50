/* HTTP/1.x syntax. A head is found first and then read in one go: lines are split at LF, which the scan has made sure
 * follows a CR, so the reader never meets a line without an end. */
#include "server/http/http1_parse.h"

#include <string.h>
#include <strings.h>

#include "base/encode.h"
#include "base/vector.h"

/* What a byte may be part of. */
enum { TOKEN = 1, FIELD = 2, TARGET = 4 };

#define T (TOKEN | FIELD | TARGET)
#define V (FIELD | TARGET)
static const unsigned char classes[256] = {
    ['\t'] = FIELD, [' '] = FIELD, ['!'] = T, ['"'] = V,           ['#'] = T,         ['$'] = T,         ['%'] = T,
    ['&'] = T,      ['\''] = T,    ['('] = V, [')'] = V,           ['*'] = T,         ['+'] = T,         [','] = V,
    ['-'] = T,      ['.'] = T,     ['/'] = V, ['0' ... '9'] = T,   [':' ... '@'] = V, ['A' ... 'Z'] = T, ['['] = V,
    ['\\'] = V,     [']'] = V,     ['^'] = T, ['_'] = T,           ['`'] = T,         ['a' ... 'z'] = T, ['{'] = V,
    ['|'] = T,      ['}'] = V,     ['~'] = T, [0x80 ... 0xff] = V,
};
#undef T
#undef V

bool http_token_char(unsigned char c)
{
    return classes[c] & TOKEN;
}

enum http1_scan_result http1_scan(struct http1_scan *scan, const char *data, size_t size, size_t *head_size)
{
    while (scan->scanned < size) {
        const char *newline = memchr(data + scan->scanned, '\n', size - scan->scanned);
        if (!newline) {
            scan->scanned = size;
            break;
        }
        size_t at = (size_t)(newline - data);
        if (at == scan->line_start || data[at - 1] != '\r')
            return HTTP1_SCAN_BAD;
        bool empty = at - 1 == scan->line_start;
        scan->scanned = scan->line_start = at + 1;
        if (empty && scan->started) {
            *head_size = at + 1;
            return HTTP1_SCAN_FOUND;
        }
        /* An empty line before anything else belongs to the message before it, sent by a careless client. */
        if (empty && at >= HTTP1_LEADING_MAX)
            return HTTP1_SCAN_BAD;
        scan->started = !empty;
    }
    return HTTP1_SCAN_MORE;
}

static int refuse(int status, const char **reason, const char *text)
{
    *reason = text;
    return status;
}

/* The token at *at, which must be followed by `end`; moves past that. NULL if it is not one. */
static char *take_token(char **at, char end)
{
    char *start = *at, *c = start;
    while (http_token_char((unsigned char)*c))
        c++;
    if (c == start || *c != end)
        return NULL;
    *c = 0;
    *at = c + 1;
    return start;
}

static int parse_request_line(char *line, size_t size, struct http1_head *head, const char **reason)
{
    char *at = line, *end = line + size;
    head->method = take_token(&at, ' ');
    if (!head->method)
        return refuse(400, reason, "malformed HTTP method");
    head->target = at;
    while (at < end && classes[(unsigned char)*at] & TARGET)
        at++;
    if (at == head->target || *at != ' ')
        return refuse(400, reason, "malformed request target");
    *at++ = 0;
    if (end - at != 8 || memcmp(at, "HTTP/", 5) != 0 || at[5] < '0' || at[5] > '9' || at[6] != '.' || at[7] < '0' ||
        at[7] > '9')
        return refuse(400, reason, "malformed HTTP version");
    if (at[5] != '1' || at[7] > '1')
        return refuse(505, reason, "unsupported protocol version");
    head->minor = at[7] - '0';
    head->keep_alive = head->minor == 1;
    return 0;
}

static int parse_length(const char *value, struct http1_head *head, const char **reason)
{
    uint64_t length = 0;
    size_t digits = strlen(value);
    if (digits == 0 || digits > 18 || strspn(value, "0123456789") != digits)
        return refuse(400, reason, "bad Content-Length");
    for (const char *c = value; *c; c++)
        length = length * 10 + (uint64_t)(*c - '0');
    if (head->has_length && head->length != length)
        return refuse(400, reason, "differing Content-Length headers");
    head->has_length = true;
    head->length = length;
    return 0;
}

static int parse_transfer_encoding(const char *value, struct http1_head *head, const char **reason)
{
    if (head->chunked)
        return refuse(400, reason, "too many transfer encodings");
    if (strcasecmp(value, "chunked") != 0)
        return refuse(501, reason, "unsupported transfer encoding");
    if (head->minor == 0)
        return refuse(400, reason, "Transfer-Encoding in HTTP/1.0");
    head->chunked = true;
    return 0;
}

bool http_list_has(const char *list, const char *word)
{
    size_t n = strlen(word);
    while (*list) {
        list += strspn(list, " \t,");
        size_t item = strcspn(list, ", \t");
        if (item == n && strncasecmp(list, word, n) == 0)
            return true;
        list += item;
    }
    return false;
}

static int parse_connection(const char *value, struct http1_head *head, const char **reason)
{
    (void)reason;
    if (http_list_has(value, "close"))
        head->keep_alive = false;
    else if (head->minor == 0 && http_list_has(value, "keep-alive"))
        head->keep_alive = true;
    return 0;
}

static int parse_host(const char *value, struct http1_head *head, const char **reason)
{
    if (head->host)
        return refuse(400, reason, "too many Host headers");
    if (strpbrk(value, " \t/@?#\\\"<>{}|^`"))
        return refuse(400, reason, "malformed Host header");
    head->host = value;
    return 0;
}

static int parse_expect(const char *value, struct http1_head *head, const char **reason)
{
    if (strcasecmp(value, "100-continue") != 0)
        return refuse(417, reason, "unknown expectation");
    head->expect_continue = head->minor > 0;
    return 0;
}

/* The headers that say how to read the message. */
static const struct {
    const char *name;
    int (*parse)(const char *value, struct http1_head *head, const char **reason);
} framing[] = {
    {"connection", parse_connection},
    {"content-length", parse_length},
    {"expect", parse_expect},
    {"host", parse_host},
    {"transfer-encoding", parse_transfer_encoding},
};

static int parse_field(char *line, char *end, struct http_fields *fields, struct http1_head *head, const char **reason)
{
    if (fields->count == HTTP_HEADERS_MAX)
        return refuse(431, reason, "too many headers");
    char *at = line, *name = take_token(&at, ':');
    if (!name)
        return refuse(400, reason, "malformed header");
    for (char *c = name; *c; c++)
        *c |= *c >= 'A' && *c <= 'Z' ? 0x20 : 0;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    for (char *c = at; c < end; c++)
        if (!(classes[(unsigned char)*c] & FIELD))
            return refuse(400, reason, "malformed header value");
    *end = 0;
    vector_push(fields, (struct http_field){name, at});
    for (size_t i = 0; i < ARRAY_COUNT(framing); i++)
        if (strcmp(framing[i].name, name) == 0)
            return framing[i].parse(at, head, reason);
    return 0;
}

int http1_parse_head(char *text, size_t size, struct http_fields *fields, struct http1_head *head, const char **reason)
{
    *head = (struct http1_head){0};
    fields->count = 0;
    char *at = text, *end = text + size;
    while (end - at >= 2 && at[0] == '\r' && at[1] == '\n')
        at += 2;
    bool first = true;
    while (at < end) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline || newline == at || newline[-1] != '\r')
            return refuse(400, reason, "malformed line");
        char *stop = newline - 1;
        if (stop == at)
            break;
        int status = first ? parse_request_line(at, (size_t)(stop - at), head, reason)
                           : parse_field(at, stop, fields, head, reason);
        if (status)
            return status;
        first = false;
        at = newline + 1;
    }
    if (first)
        return refuse(400, reason, "malformed request line");
    if (head->chunked && head->has_length)
        return refuse(400, reason, "Content-Length beside Transfer-Encoding");
    if (head->minor == 1 && !head->host)
        return refuse(400, reason, "missing required Host header");
    if (!head->host)
        head->host = "";
    return 0;
}

/* What the next byte of a chunked body is. */
enum chunk_state {
    SIZE,          /* a digit of a chunk's size */
    EXTENSION,     /* part of a chunk extension, which is ignored */
    SIZE_LF,       /* the LF behind the size line */
    CONTENT,       /* of the chunk */
    CONTENT_CR,    /* the line end behind the content */
    CONTENT_LF,    /**/
    TRAILER_START, /* the first of a trailer line, or the end */
    TRAILER_NAME,  /**/
    TRAILER_VALUE, /**/
    TRAILER_LF,    /* the LF behind a trailer */
    END_LF,        /* the last one */
    OVER,
};

/* The state after framing byte c, or -1. */
static int chunk_step(struct http1_chunks *k, char c)
{
    int digit;
    switch ((enum chunk_state)k->state) {
    case SIZE:
        if ((digit = hex_value(c)) >= 0) {
            if (k->digits++ >= 15)
                return -1;
            k->left = k->left << 4 | (uint64_t)digit;
            return SIZE;
        }
        if (!k->digits)
            return -1;
        return c == '\r' ? SIZE_LF : c == ';' ? EXTENSION : -1;
    case EXTENSION:
        return c == '\r' ? SIZE_LF : classes[(unsigned char)c] & FIELD ? EXTENSION : -1;
    case SIZE_LF:
        k->digits = 0;
        return c != '\n' ? -1 : k->left ? CONTENT : TRAILER_START;
    case CONTENT_CR:
        return c == '\r' ? CONTENT_LF : -1;
    case CONTENT_LF:
        return c == '\n' ? SIZE : -1;
    case TRAILER_START:
        return c == '\r' ? END_LF : http_token_char((unsigned char)c) ? TRAILER_NAME : -1;
    case TRAILER_NAME:
        return c == ':' ? TRAILER_VALUE : http_token_char((unsigned char)c) ? TRAILER_NAME : -1;
    case TRAILER_VALUE:
        return c == '\r' ? TRAILER_LF : classes[(unsigned char)c] & FIELD ? TRAILER_VALUE : -1;
    case TRAILER_LF:
        return c == '\n' ? TRAILER_START : -1;
    case END_LF:
        return c == '\n' ? OVER : -1;
    case CONTENT:
    case OVER:
        break;
    }
    return -1;
}

enum http1_chunk_result http1_chunks_next(struct http1_chunks *chunks, const char **data, size_t *size,
                                          const char **run, size_t *run_size)
{
    while (*size) {
        if (chunks->state == CONTENT) {
            size_t n = chunks->left < *size ? (size_t)chunks->left : *size;
            *run = *data;
            *run_size = n;
            *data += n;
            *size -= n;
            chunks->left -= n;
            chunks->overhead = 0;
            if (!chunks->left)
                chunks->state = CONTENT_CR;
            return HTTP1_CHUNK_DATA;
        }
        int next = ++chunks->overhead > HTTP1_CHUNK_OVERHEAD_MAX ? -1 : chunk_step(chunks, **data);
        if (next < 0)
            return HTTP1_CHUNK_BAD;
        chunks->state = next;
        ++*data;
        --*size;
        if (next == OVER)
            return HTTP1_CHUNK_END;
    }
    return HTTP1_CHUNK_MORE;
}
