/* A connection: its socket, its TLS state, and the protocol that is spoken on it.
 *
 *     socket -> connection_readable -> TLS -> protocol->input -> handler
 *     socket <- send <- TLS <- connection_put <- protocol->produce <- output queues
 *
 * Invariants: a connection never closes inside a call of protocol->input, produce or a handler; those ask for it by
 * `closing` or `broken`, and connection_flush acts on it. `unsent` is only filled when the socket is full, and then
 * nothing more is produced: back-pressure reaches the queues, and through them whoever fills them. */
#ifndef CORACLE_SERVER_HTTP_CONNECTION_H
#define CORACLE_SERVER_HTTP_CONNECTION_H

#include "server/http/io.h"

struct ssl_st;
struct peer;

/* Bytes that a client may go on sending after an answer that did not wait for them; they are dropped. Beyond that the
 * connection is closed, or the stream reset. */
#define CONNECTION_LINGER_MAX (8 * 1024 * 1024)

/* How a connection is spoken to: HTTP/1.1, HTTP/2, or, after an upgrade, bytes of another protocol (tunnel.h), which
 * has no requests and none of the functions for them. */
struct protocol {
    /* Takes over a connection: sets connection->session. */
    void (*open)(struct connection *connection);
    /* Takes all of the plaintext. */
    void (*input)(struct connection *connection, const char *data, size_t size);
    /* Puts bytes that are due, until connection_room is 0 or there are none. */
    void (*produce)(struct connection *connection);
    /* What the connection waits for when nothing is unsent. */
    enum deadline_class (*waiting)(const struct connection *connection);
    /* The deadline of that has passed, of the connection or, if not NULL, of a request. */
    void (*expire)(struct connection *connection, struct request *request);
    /* The server stops: nothing new is to be started. */
    void (*stop)(struct connection *connection);
    /* Releases the session. The requests are gone. */
    void (*close)(struct connection *connection);

    /* The response has begun: request->status, request->response and request->state are set. */
    void (*respond)(struct request *request, const struct http_bytes *runs, size_t count, size_t total);
    void (*begin)(struct request *request);
    void (*write)(struct request *request, const struct http_bytes *runs, size_t count, size_t total);
    void (*end)(struct request *request);
    void (*abort)(struct request *request);

    /* More of a streamed body is wanted: to be handed over by the next produce. */
    void (*read_body)(struct request *request);
};

extern const struct protocol http1_protocol;
extern const struct protocol http2_protocol;

struct connection {
    uv_poll_t poll;
    struct io_thread *io;
    struct list node;
    struct list dirty;    /* in io->dirty, or alone */
    struct list requests; /* whose response is not complete or not sent */
    struct deadline deadline;
    struct ssl_st *ssl;              /* NULL: plain */
    const struct protocol *protocol; /* NULL until it is known */
    void *session;
    const struct protocol *successor; /* takes the connection over at the next flush, with its session; NULL: none */
    void *successor_session;
    struct peer *peer;
    struct buffer input;  /* plaintext that the protocol could not deal with yet */
    struct buffer unsent; /* what the socket did not take */
    int fd;
    size_t discarded; /* bytes that came while lingering */
    int events;       /* that are polled for */
    bool started;     /* a byte has come */
    bool paused;      /* the protocol takes no more input for now */
    bool restart;     /* what it waits for is a new one, though of the same class */
    bool moved;       /* bytes were sent since the deadline was set */
    bool end_of_input;
    bool closing;   /* to be closed when all is sent */
    bool broken;    /* to be closed at once */
    bool lingering; /* all is sent: waits for the client to close */
    bool closed;
    bool flushing;
};

/* Takes over a socket. Without tls it is a plain one. */
void connection_new(struct io_thread *io, const struct io_arrival *arrival, struct ssl_ctx_st *tls);
/* Cancels its requests and closes it. Not inside input, produce or a handler. */
void connection_close(struct connection *connection);
/* Makes the connection be flushed before the loop blocks. */
void connection_dirty(struct connection *connection);
/* Sends what is due. */
void connection_flush(struct connection *connection);
/* Its deadline, or one of its requests', has passed. */
void connection_expire(struct connection *connection, struct deadline *deadline);
/* The server stops. */
void connection_stop(struct connection *connection);

/* ---- For produce ---- */

/* Sends bytes; they are copied or encrypted before it returns. */
void connection_put(struct connection *connection, const char *data, size_t size);
/* What is put next begins a TLS record of its own. */
void connection_end_record(struct connection *connection);
/* Bytes that it makes sense to put before the next send; a little more does no harm. */
size_t connection_room(const struct connection *connection);

#endif
