/* The answer to an HTTP/1.1 GET as far as a probe needs it: the status, where the body ends, and of a redirect where it
 * leads and what it says. Fed with bytes in pieces of any size. Malformed input is an error in the words of Go's
 * client. */
#ifndef CORACLE_NODE_HTTP_ANSWER_H
#define CORACLE_NODE_HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

#define HTTP_ANSWER_LINE_MAX 4096 /* of a longer line the rest does not matter; a longer location leads nowhere */
#define HTTP_ANSWER_HEAD_MAX (64 * 1024) /* bytes of status line, headers and chunk sizes */
#define HTTP_ANSWER_BODY_MAX (10 * 1024) /* the rest is not waited for, as upstream's probes read */
#define HTTP_ANSWER_FAILURE_MAX 512

struct http_answer {
    int status;    /* of the final answer; 0: not known yet */
    bool complete; /* nothing more is needed */
    char *location;     /* of a status from 300 to 399; NULL: none */
    struct buffer text; /* the body of such an answer, up to HTTP_ANSWER_BODY_MAX */
    /* Private. */
    int state;
    bool chunked, sized;
    uint64_t left; /* of the body or the chunk */
    size_t head, body;
    size_t line_size;
    char line[HTTP_ANSWER_LINE_MAX];
};

/* Begins with a zeroed answer; http_answer_free at its end. Returns 0, or -1 with the reason in `failure`. Bytes after
 * the end are passed over. */
int http_answer_feed(struct http_answer *answer, const char *data, size_t size, char failure[HTTP_ANSWER_FAILURE_MAX]);
/* The connection has ended. Returns 0 when that is how the answer ends. */
int http_answer_end(struct http_answer *answer, char failure[HTTP_ANSWER_FAILURE_MAX]);
void http_answer_free(struct http_answer *answer);

#endif
