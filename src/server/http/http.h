/* The transport: TLS, HTTP/1.1 and HTTP/2 on a few I/O threads. It knows nothing of Kubernetes; what stands
 * behind a path is the business of one handler function, which the layer above provides.
 *
 * Threads. A server runs `threads` I/O threads, each with a libuv loop. A connection, and every request that
 * comes on it, belongs to one of them for life. The handler runs there and must not block. It may answer at
 * once, or take a reference, hand the request to another thread and answer later:
 *
 *     I/O thread   handler(request)        http_request_retain(request); mailbox_send(core, work, job);
 *     core thread  work(job)               ...; mailbox_send(http_request_mailbox(request), finish, job);
 *     I/O thread   finish(job)             http_respond(request, ...); http_request_release(request);
 *
 * Functions say "any thread" when any thread may call them; all others are for the request's I/O thread.
 * The fields of struct http_request do not change once the handler has it, so any thread that holds a
 * reference may read them.
 *
 * A client that goes away is no error: the cancel callback runs, and responding becomes a no-op that releases
 * what it was given.
 *
 * A request that asks for another protocol on its connection (exec, attach, port-forward) gets it by tunnel.h. */
#ifndef CORACLE_SERVER_HTTP_HTTP_H
#define CORACLE_SERVER_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/error.h"
#include "base/mailbox.h"

/* ---- Limits ---------------------------------------------------------------------------------------- */

/* Durations in microseconds (base/timestamp.h). A member that is 0 takes its default. */
struct http_limits {
    size_t header_bytes;    /* request line and headers; more is answered with 431. 64 KiB */
    size_t body_bytes;      /* of one request; more sets request.fault. 3 MiB, as upstream's resource limit */
    size_t body_total;      /* of all requests of one I/O thread; more sets request.fault. 256 MiB */
    size_t stream_bytes;    /* queued and unsent in one streaming response. 16 MiB */
    size_t connections;     /* open at once; further ones wait in the listen backlog. 16384 */
    unsigned streams;       /* open at once in an HTTP/2 connection. 250 */
    int64_t header_timeout; /* to finish the TLS handshake, and from a request's first byte to its last header. 32 s */
    int64_t body_timeout;   /* from a request's headers to the end of its body. 60 s */
    int64_t idle_timeout;   /* without a request. 90 s */
    int64_t write_timeout;  /* without the client taking a byte of what is due to it. 60 s */
    int64_t linger_timeout; /* for the client to read the last answer before its connection is closed. 2 s */
    int64_t shutdown_timeout; /* for requests in flight when the server stops. 10 s */
};

/* Request headers per request; more is answered with 431. */
#define HTTP_HEADERS_MAX 256
/* Response headers that a handler may set, and their bytes; further ones are dropped. More than upstream makes: it
 * warns of 100 fields at most. */
#define HTTP_RESPONSE_HEADERS_MAX 192
#define HTTP_RESPONSE_HEADER_BYTES (32 * 1024)
/* A whole body at least this long is compressed when the client accepts gzip, as upstream does. */
#define HTTP_GZIP_MIN (128 * 1024)
/* A request body of at most this length is read before the handler has the request, also where it takes streams. */
#define HTTP_BODY_WHOLE_MAX (64 * 1024)

/* ---- Server ---------------------------------------------------------------------------------------- */

struct http_server;
struct http_request;

/* Answers a request. Either responds, or retains the request and responds later. */
typedef void (*http_handler)(struct http_request *request, void *context);

/* Whether the body of a request, of which method, path and query are known, is to be streamed. */
typedef bool (*http_streams)(const struct http_request *request, void *context);

struct http_options {
    unsigned threads; /* I/O threads; 0: the cores, at most 4 */
    struct http_limits limits;
    http_handler handler;
    http_streams streams; /* NULL: no body is streamed */
    void *context;
};

/* What TLS needs, as PEM text. The server copies it. */
struct http_tls {
    const char *certificate; /* the server's, then any intermediates */
    const char *key;
    const char *client_ca; /* verifies client certificates; NULL: none is asked for */
};

struct http_statistics {
    uint64_t connections_accepted;
    uint64_t connections_open;
    uint64_t handshakes_failed;
    uint64_t requests; /* handed to the handler */
    uint64_t requests_in_flight;
    uint64_t bytes_received; /* on the wire */
    uint64_t bytes_sent;
};

/* Starts the I/O threads. Nothing is served before a listener is added. */
struct http_server *http_server_new(const struct http_options *options, struct error *err);
/* The certificates for connections that come from now on; may be called again to renew them. Any thread. */
int http_server_set_tls(struct http_server *server, const struct http_tls *tls, struct error *err);
/* Serves a socket that is bound and listening, of any address family and network namespace. The server owns fd
 * from here on, also when it fails. With `plain` it speaks HTTP without TLS, and HTTP/2 to a client that knows
 * that beforehand; otherwise http_server_set_tls must have been called. Any thread. */
int http_server_listen(struct http_server *server, int fd, bool plain, struct error *err);
/* Begins an orderly stop and returns: no new connections, idle ones close, streaming responses are ended and
 * cancelled, requests in flight have limits.shutdown_timeout before they are cancelled. Any thread. */
void http_server_stop(struct http_server *server);
/* Stops if need be, waits until all connections are closed and all references to requests are released, joins
 * the threads and releases everything. Not on an I/O thread, nor where a reference waits for this thread:
 * mind http_server_on_stopped. NULL is fine. */
void http_server_free(struct http_server *server);
/* callback(context) runs, on some I/O thread, when a stop is complete and http_server_free would not block.
 * Set before http_server_stop. Any thread. */
void http_server_on_stopped(struct http_server *server, env_callback callback, void *context);
/* Any thread. */
void http_server_statistics(struct http_server *server, struct http_statistics *out);

/* ---- Request --------------------------------------------------------------------------------------- */

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER_METHOD, /* see request.method_name */
};

/* A request that is well-formed but was not taken in whole. The handler is called at once, to word the answer;
 * the body is empty. */
enum http_fault {
    HTTP_FAULT_NONE,
    HTTP_FAULT_BODY_TOO_LARGE, /* more than limits.body_bytes: 413 */
    HTTP_FAULT_OVERLOADED,     /* bodies of this I/O thread exceed limits.body_total: 429 */
};

/* A name and its value. Header names are lower-case, whatever the client wrote. */
struct http_field {
    const char *name;
    const char *value;
};

enum http_certificate {
    HTTP_CERTIFICATE_NONE,     /* the client showed none */
    HTTP_CERTIFICATE_VERIFIED, /* issued by http_tls.client_ca, in date, for client use */
    HTTP_CERTIFICATE_REFUSED,  /* shown and not valid; as upstream, the connection lives and the request is refused */
};

/* The other end of a connection. Shared by its requests. */
struct http_peer {
    const char *address; /* "127.0.0.1", "fd00::1", "@" for a Unix socket */
    uint16_t port;
    bool tls;
    enum http_certificate certificate;
    const char *certificate_error;    /* why it was refused, or NULL */
    const char *common_name;          /* of the certificate: the user. "" when it has none, NULL without one */
    const char *const *organizations; /* its groups, organization_count of them */
    size_t organization_count;
    char fingerprint[65]; /* SHA-256 of the certificate, hexadecimal; "" without one */
};

struct http_request {
    enum http_method method;
    enum http_fault fault;
    const char *method_name;          /* as sent */
    const char *path;                 /* percent-decoded; "/" at least, or "*" */
    const char *raw_path;             /* as sent */
    const char *query;                /* as sent, without '?'; "" when there is none */
    const char *host;                 /* Host or :authority; "" when there is none */
    const struct http_field *headers; /* in the order sent */
    size_t header_count;
    const struct http_field *parameters; /* of the query, decoded, in order; malformed ones are left out, as in Go */
    size_t parameter_count;
    const char *body; /* never NULL, NUL-terminated for convenience */
    size_t body_size;
    bool http2;
    bool streamed; /* the body comes by http_body_begin; `body` is empty, and limits of bodies do not hold */
    const struct http_peer *peer;
    int64_t received; /* when its headers were complete: microseconds, monotonic as env_monotonic's */
    void *context;    /* the handler's own, NULL at first */
};

/* The first header of that (lower-case) name, or NULL. */
const char *http_request_header(const struct http_request *request, const char *name);
/* The first parameter of that name, or NULL. */
const char *http_request_parameter(const struct http_request *request, const char *name);

/* Takes or gives back a reference. Any thread. */
void http_request_retain(struct http_request *request);
void http_request_release(struct http_request *request);
/* The way to the request's I/O thread. Valid as long as a reference to any request of the thread is held. Any
 * thread. */
struct mailbox *http_request_mailbox(const struct http_request *request);
/* callback(context) runs once if the request ends before its response is complete: the client went away, reset the
 * stream or stalled, or the server stopped. It may release the last reference. It does not run from inside a call
 * of the handler's own, except here, when the request has been cancelled already. NULL takes it back. */
void http_request_on_cancel(struct http_request *request, env_callback callback, void *context);
bool http_request_cancelled(const struct http_request *request);

/* A piece of a streamed body; size 0: its end, which may come while it is paused. It is not called inside a call of the
 * handler's own. */
typedef void (*http_body_data)(void *context, const char *data, size_t size);
/* Asks for a streamed body, from the loop on. NULL: no more of it is wanted; what still comes is dropped once the
 * request is answered. A request that is answered before its body has come ends its connection (HTTP/1). */
void http_body_begin(struct http_request *request, http_body_data data, void *context);
/* While it is paused nothing is handed over, and the client is held back. */
void http_body_pause(struct http_request *request, bool paused);

/* ---- Response -------------------------------------------------------------------------------------- */

/* A run of bytes lent to the transport, which sends them without copying them first: the serialized form of a
 * snapshot, for example. They must stay as they are until release(owner) runs, once, on the request's I/O thread.
 * Without release they live for ever. Short runs may be copied and released at once. */
struct http_bytes {
    const void *data;
    size_t size;
    void (*release)(void *owner);
    void *owner;
};

/* The bytes of a string literal or static array. */
#define HTTP_STATIC(s) ((struct http_bytes){(s), sizeof(s) - 1, NULL, NULL})
/* Bytes from malloc, released with free. */
struct http_bytes http_bytes_owned(void *data, size_t size);

/* Adds a response header; the same name may come again. Before http_respond or http_stream_begin. `name` is as upstream
 * writes it ("Content-Type"); both are copied. The transport adds Date, Content-Length, Transfer-Encoding, Connection
 * and Content-Encoding itself. A value with control characters is cleaned of them. */
void http_response_header(struct http_request *request, const char *name, const char *value);

/* Answers completely: the body is the runs one after the other, whose ownership is taken in any case. HEAD is
 * taken care of: give it the body of the GET. */
void http_respond(struct http_request *request, int status, const struct http_bytes *runs, size_t count);
/* The same with a body that is copied. */
void http_respond_text(struct http_request *request, int status, const char *content_type, const char *body);

/* Answers with a body of unknown length: a watch, a log that is followed. Headers go out at once. */
void http_stream_begin(struct http_request *request, int status);
/* The same with a body whose length is known, and said to the client; for HEAD, that of the GET. Exactly as many bytes
 * are to be written: a body that ends before, also because the server stops, is broken off. */
void http_stream_begin_sized(struct http_request *request, int status, uint64_t size);
/* Queues more of the body; it goes out in the same turn of the loop. Takes ownership of the runs in any case.
 * False: the client has gone, or more than limits.stream_bytes would be queued, and these runs are dropped. */
bool http_stream_write(struct http_request *request, const struct http_bytes *runs, size_t count);
/* Bytes queued and not yet handed to the socket. */
size_t http_stream_queued(const struct http_request *request);
/* callback(context) runs once, from the loop, when the queue has fallen to low_water bytes or fewer; set it again
 * for the next time. It does not run when it is there already: ask http_stream_queued first. */
void http_stream_on_drained(struct http_request *request, size_t low_water, env_callback callback, void *context);
/* The end of the body. */
void http_stream_end(struct http_request *request);
/* Breaks the response off so that the client notices: the connection closes, or the stream is reset. */
void http_stream_abort(struct http_request *request);

#endif
