/* Responses of HTTP/1.x servers as the proxy reads them: the head, and where the body ends. No I/O. */
#ifndef CORACLE_SERVER_PROXY_RESPONSE_H
#define CORACLE_SERVER_PROXY_RESPONSE_H

#include "base/buffer.h"
#include "server/http/http1_parse.h"

/* A longer head is no answer. */
#define PROXY_HEAD_MAX (64 * 1024)

struct proxy_response {
    struct buffer head;
    struct http_fields fields; /* names in lower case; into head */
    bool has_head;
    bool over; /* the body has been read to its end */
    int status;
    bool chunked, has_length;
    uint64_t left; /* of the body, with has_length */
    struct http1_chunks chunks;
};

enum proxy_event { PROXY_MORE, PROXY_HEAD, PROXY_BODY, PROXY_END, PROXY_BAD };

/* Consumes from the *size bytes at *data and moves both past that. HEAD: status and fields are there. BODY: *run and
 * *run_size are content. END: nothing more belongs to it. MORE: all was consumed. `no_body`: the request was HEAD. A
 * body without length or chunks ends with the connection: whoever reads it sees that. */
enum proxy_event proxy_response_next(struct proxy_response *response, bool no_body, const char **data, size_t *size,
                                     const char **run, size_t *run_size);
void proxy_response_free(struct proxy_response *response);

#endif
