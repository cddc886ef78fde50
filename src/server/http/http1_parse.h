/* HTTP/1.x message syntax (RFC 9112), without any I/O: where a head ends, what it says, how a chunked body
 * unfolds. Strict wherever two parsers could disagree about where a message ends, because that is what request
 * smuggling lives on: no bare CR or LF, no folded lines, no space before a colon, no Content-Length beside
 * Transfer-Encoding, no differing or signed lengths, no coding but a single "chunked". */
#ifndef CORACLE_SERVER_HTTP_HTTP1_PARSE_H
#define CORACLE_SERVER_HTTP_HTTP1_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/http/http.h"

/* Fields of a head, of a query. Fits VECTOR's macros. */
struct http_fields {
    struct http_field *items;
    size_t count;
    size_t capacity;
};

/* Empty lines tolerated before a request line, in bytes. */
#define HTTP1_LEADING_MAX 8
/* Framing bytes (sizes, extensions, trailers) that a chunked body may spend in a row without a byte of content. */
#define HTTP1_CHUNK_OVERHEAD_MAX 8192

/* ---- Finding the end of a head ---- */

/* Zero at the start of each message. */
struct http1_scan {
    size_t scanned;    /* bytes looked at */
    size_t line_start; /* of the line that goes on */
    bool started;      /* a line with something in it has been seen */
};

enum http1_scan_result { HTTP1_SCAN_MORE, HTTP1_SCAN_FOUND, HTTP1_SCAN_BAD };

/* Looks at data, which holds what it held at the last call and perhaps more. Found: *head_size bytes, with the empty
 * line, are the head. Bad: a line that does not end in CR LF. Never looks at a byte twice. */
enum http1_scan_result http1_scan(struct http1_scan *scan, const char *data, size_t size, size_t *head_size);

/* ---- Reading a head ---- */

struct http1_head {
    const char *method;
    char *target;     /* as sent */
    int minor;        /* HTTP/1.minor */
    const char *host; /* "" when there is none */
    bool keep_alive;
    bool chunked;
    bool has_length;
    bool expect_continue;
    uint64_t length;
};

/* Reads a complete head in place: names become lower-case, names and values are ended with NUL, and `fields` (emptied
 * first) points into text. Returns 0, or the status to refuse the request with and *reason in a few words. */
int http1_parse_head(char *text, size_t size, struct http_fields *fields, struct http1_head *head, const char **reason);

/* Whether a value that is a list, with commas between, holds the word, in any case. */
bool http_list_has(const char *list, const char *word);

/* ---- Chunked bodies ---- */

/* Zero at the start of each body. */
struct http1_chunks {
    int state;
    unsigned digits;
    size_t overhead;
    uint64_t left;
};

enum http1_chunk_result { HTTP1_CHUNK_MORE, HTTP1_CHUNK_DATA, HTTP1_CHUNK_END, HTTP1_CHUNK_BAD };

/* Consumes from the *size bytes at *data and moves both past that. DATA: *run and *run_size are content, call again.
 * MORE: all was consumed. END: the body is over, what remains is the next message. Trailers are checked, dropped. */
enum http1_chunk_result http1_chunks_next(struct http1_chunks *chunks, const char **data, size_t *size,
                                          const char **run, size_t *run_size);

/* Whether c may stand in a token (RFC 9110, 5.6.2). */
bool http_token_char(unsigned char c);

#endif
