/* The inside of a request. It is made by a protocol, filled in, dispatched to the handler, and over when its response
 * is sent or cannot be: then the connection gives up its reference, and the last reference returns it to the pool of
 * its I/O thread. */
#ifndef CORACLE_SERVER_HTTP_REQUEST_H
#define CORACLE_SERVER_HTTP_REQUEST_H

#include "base/http_reason.h"
#include "server/http/connection.h"
#include "server/http/http1_parse.h"
#include "server/http/output.h"

/* Memory that a pooled request keeps, per buffer. */
#define REQUEST_KEEP_MAX 4096

enum response_state { RESPONSE_NONE, RESPONSE_STREAMING, RESPONSE_COMPLETE };

struct request {
    struct http_request public; /* first */
    atomic_uint references;
    atomic_bool cancelled;
    struct io_thread *io;
    struct connection *connection; /* NULL once it is over */
    struct list node;              /* in connection->requests */
    struct peer *peer;
    struct deadline deadline;

    /* As it came */
    struct buffer text;    /* the head */
    struct buffer decoded; /* path and parameters */
    struct buffer body;
    struct http_fields headers;
    struct http_fields parameters;
    bool dispatched;

    /* A streamed body: with HTTP/2, `body` is what waits while it is paused. */
    http_body_data body_data; /* NULL: not wanted (yet) */
    void *body_context;
    bool body_paused;
    bool body_ended; /* the handler has been told of its end */

    /* The response */
    enum response_state state;
    bool finite;    /* it streams, but will end by itself: the server's stop lets it */
    bool head_only; /* HEAD */
    bool sized;     /* it streams, with so many bytes yet to come: */
    uint64_t left;
    int status;
    struct buffer response; /* "Name: value\r\n" ... */
    size_t response_headers;
    struct output *output; /* where its bytes queue up */
    env_callback cancel;
    void *cancel_context;
    env_callback drained;
    void *drained_context;
    size_t low_water;

    /* HTTP/2 */
    int32_t stream;
    struct output own_output;
    struct list drained_node;
    size_t header_bytes;
    bool remote_closed; /* the client has sent all of it */
    bool answered;      /* the whole response is sent */
    size_t discarded;   /* bytes of the body that came too late */
};

struct request *request_new(struct connection *connection);
/* The request is over for its connection: the response is sent, or will never be. */
void request_over(struct request *request);
/* As request_over, and the handler learns of it if it has not responded. */
void request_cancel(struct request *request);

/* Sets method, path, query and parameters. `target` must live as long as the request; it is changed. Returns 0 or a
 * status to refuse with. */
int request_set_target(struct request *request, const char *method, char *target, const char **reason);
/* Appends to the body. The fault, if it is too much. */
enum http_fault request_add_body(struct request *request, const char *data, size_t size);
/* Whether the body, which is not of a known short length (negative: unknown), is to be streamed. Then sets
 * public.streamed, and the request is to be dispatched. */
bool request_streams(struct request *request, int64_t length);
/* Whether the handler takes bytes of the streamed body now. */
static inline bool request_takes_body(const struct request *request)
{
    return request->body_data && !request->body_paused;
}
/* Hands over a piece; size 0: the end. With HTTP/1 the request may be gone afterwards. */
void request_hand_body(struct request *request, const char *data, size_t size);
/* Hands the request to the handler. */
void request_dispatch(struct request *request, enum http_fault fault);
/* Ends a response that would go on for ever, since the server stops. */
void request_stop(struct request *request);
/* Runs the drained callback if the queue is low enough. */
void request_check_drained(struct request *request);
/* Adds "Date" and, unless it is negative, "Content-Length". */
void request_finish_headers(struct request *request, int64_t length);

/* Ends HTTP/1.1 on the connection of the request: moves what is queued, and the head of a response 101, to `output`. */
void http1_hand_over(struct request *request, struct output *output);

/* A status that has no body. */
static inline bool status_has_no_body(int status)
{
    return status < 200 || status == 204 || status == 304;
}
/* "Not Found" for 404, "Unknown" for a number that nobody knows. */
static inline const char *status_reason(int status)
{
    const char *reason = http_reason(status);
    return reason ? reason : "Unknown";
}

/* Answers with the runs compressed (compress.c), if the client wants that and it is worth it. Otherwise false, and
 * nothing has been done. */
bool compress_respond(struct request *request, int status, const struct http_bytes *runs, size_t count, size_t total);

#endif
