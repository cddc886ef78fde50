/* An I/O thread: its loop, the connections that live on it, the memory that they share, its clock.
 *
 * Everything in struct io_thread belongs to its thread, except what says otherwise. Connections own no buffers while
 * they are idle: bytes are received, decrypted, gathered and encrypted in memory of the thread, and only what
 * cannot be dealt with at once is copied into the connection.
 *
 * Output goes out once per turn of the loop: whatever makes bytes due marks the connection as dirty, and a prepare
 * handle, which runs before the loop blocks, flushes the dirty ones. So all that happened in a turn (pipelined
 * requests, frames of many streams, watch events) leaves in as few TLS records and system calls as possible. */
#ifndef CORACLE_SERVER_HTTP_IO_H
#define CORACLE_SERVER_HTTP_IO_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/list.h"
#include "base/mailbox.h"
#include "server/http/http.h"

struct connection;
struct request;
struct ssl_ctx_st;

/* Bytes per recv(2). */
#define IO_RECEIVE_MAX (64 * 1024)
/* What a TLS record may carry. */
#define IO_RECORD_MAX (16 * 1024)
/* Room for what one recv gives when decrypted, with a record that was begun before. */
#define IO_PLAIN_MAX (IO_RECEIVE_MAX + 2 * IO_RECORD_MAX)
/* Plaintext gathered for one send(2), about. */
#define IO_BATCH_MAX (128 * 1024)
/* Finished requests kept for reuse. */
#define IO_POOL_MAX 64

/* Why a connection or a request may not stay as it is for ever. All entries of a class take equally long, so each
 * class is a list in order of time, and one timer watches the heads. */
enum deadline_class {
    DEADLINE_HEADER,
    DEADLINE_BODY,
    DEADLINE_IDLE,
    DEADLINE_WRITE,
    DEADLINE_LINGER,
    DEADLINE_CLASSES,
    DEADLINE_NONE = DEADLINE_CLASSES,
};

struct deadline {
    struct list node;
    uint64_t at; /* milliseconds of uv_now */
    enum deadline_class class;
    struct connection *connection;
    struct request *request; /* NULL: it is the connection's own */
};

/* Written by the thread, read by any; `open` is counted up by the thread that accepts. */
struct io_counters {
    _Atomic uint64_t accepted, open, handshakes_failed, requests, in_flight, received, sent;
};

struct io_thread {
    struct http_server *server;
    const struct http_limits *limits;
    unsigned index;
    pthread_t self;
    uv_loop_t loop;
    struct mailbox *mailbox;
    uv_prepare_t flush;
    uv_timer_t clock;
    uv_timer_t shutdown;
    struct list connections;
    struct list dirty;
    struct list deadlines[DEADLINE_CLASSES];
    bool stopping;
    bool finished;

    char *received;       /* IO_RECEIVE_MAX: as it came from the socket */
    const char *incoming; /* the part of it that TLS has not taken yet */
    size_t incoming_size;
    char *plain;   /* IO_PLAIN_MAX: decrypted */
    char *staging; /* IO_RECORD_MAX: gathered plaintext of the next record */
    size_t staged;
    struct buffer outgoing; /* for the socket */
    struct buffer head;     /* a response head that is being written */

    struct request *pool; /* linked by their context pointers */
    size_t pooled;
    size_t live;       /* requests out of the pool */
    size_t body_bytes; /* that all requests hold */

    time_t date_second;
    char date[64]; /* "Date: ...\r\n" */
    size_t date_size;

    struct io_counters counters;
};

/* A new connection on its way to its thread. */
struct io_arrival {
    struct io_thread *io;
    int fd;
    bool plain;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } address;
};

/* ---- Life ---- */

int io_init(struct io_thread *io, struct http_server *server, const struct http_limits *limits, unsigned index,
            struct error *err);
/* Releases what io_init made, when the thread never ran. */
void io_destroy(struct io_thread *io);
/* The thread's main function: runs until it has stopped. */
void io_run(struct io_thread *io);
/* Mailbox message: a struct io_arrival, which it releases. */
void io_adopt(void *arrival);
/* Mailbox message: the thread begins to stop. */
void io_stop(void *io);
/* Ends the loop if the thread is stopping and nothing is left. */
void io_check_finished(struct io_thread *io);

/* ---- Deadlines ---- */

void io_deadline_init(struct deadline *deadline, struct connection *connection, struct request *request);
/* Sets it anew. DEADLINE_NONE takes it back. */
void io_deadline_set(struct io_thread *io, struct deadline *deadline, enum deadline_class class);

/* ---- Odds and ends ---- */

/* "Date: Sat, 03 Jan 2026 15:04:05 GMT\r\n". */
const char *io_date(struct io_thread *io, size_t *size);

/* Adds to a counter that only this thread writes. */
static inline void io_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* ---- What the threads need of the server (server.c); any thread ---- */

/* The TLS settings for a new connection, with a reference, or NULL. */
struct ssl_ctx_st *server_tls(struct http_server *server);
http_handler server_handler(struct http_server *server, void **context);
http_streams server_streams(struct http_server *server, void **context);
/* A connection of the thread has closed: there may be room for another. */
void server_connection_closed(struct io_thread *io);
/* A thread has nothing left to do. */
void server_thread_finished(struct http_server *server);

#endif
