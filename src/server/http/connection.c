/* A connection between its socket and its protocol. */
#include "server/http/connection.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "server/http/request.h"
#include "server/http/tls.h"

/* recv(2) calls, and rounds of produce and send, before others have their turn. */
#define READS_PER_TURN 4
#define SENDS_PER_TURN 8
/* Memory that the thread's output buffer keeps. */
#define OUTGOING_KEEP_MAX (4 * IO_BATCH_MAX)

static const char http_on_https[] = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
static const char http2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* ---- Life ---- */

static void on_poll(uv_poll_t *poll, int status, int events);

/* Polls for what the connection can make use of. A paused one still learns that the client is gone. */
static void update_events(struct connection *c)
{
    int events = c->unsent.size ? UV_WRITABLE : 0;
    if (!c->end_of_input)
        events |= c->paused ? UV_DISCONNECT : UV_READABLE;
    if (events == c->events)
        return;
    c->events = events;
    if (events)
        uv_poll_start(&c->poll, events, on_poll);
    else
        uv_poll_stop(&c->poll);
}

/* Sets the deadline for what the connection waits for now. */
static void update_deadline(struct connection *c)
{
    enum deadline_class class = c->unsent.size ? DEADLINE_WRITE
                                : c->lingering ? DEADLINE_LINGER
                                : c->protocol  ? c->protocol->waiting(c)
                                               : DEADLINE_HEADER;
    if (class != c->deadline.class || c->restart || (class == DEADLINE_WRITE && c->moved))
        io_deadline_set(c->io, &c->deadline, class);
    c->restart = c->moved = false;
}

/* After an upgrade: a protocol never changes inside a call of its own. */
static void hand_over(struct connection *c)
{
    c->protocol->close(c);
    c->protocol = c->successor;
    c->session = c->successor_session;
    c->successor = NULL;
    c->paused = false;
}

static void set_protocol(struct connection *c, const struct protocol *protocol)
{
    c->protocol = protocol;
    protocol->open(c);
}

void connection_new(struct io_thread *io, const struct io_arrival *arrival, SSL_CTX *tls)
{
    struct connection *c = mem_zero(1, sizeof(*c));
    c->io = io;
    c->fd = arrival->fd;
    c->poll.data = c;
    list_append(&io->connections, &c->node);
    list_init(&c->dirty);
    list_init(&c->requests);
    io_deadline_init(&c->deadline, c, NULL);
    c->peer = peer_new(arrival);
    if (tls) {
        c->ssl = SSL_new(tls);
        if (!c->ssl)
            abort(); /* out of memory */
        tls_attach(c->ssl, c);
    }
    io_count(&io->counters.accepted, 1);
    if (uv_poll_init(&io->loop, &c->poll, c->fd) < 0)
        abort(); /* the fd is a fresh socket, and the loop is in order */
    update_events(c);
    update_deadline(c);
}

static void poll_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void connection_close(struct connection *c)
{
    if (c->closed)
        return;
    c->closed = true;
    while (!list_empty(&c->requests))
        request_cancel(list_entry(c->requests.next, struct request, node));
    if (c->successor)
        hand_over(c);
    if (c->protocol)
        c->protocol->close(c);
    list_remove(&c->node);
    list_remove(&c->dirty);
    list_remove(&c->deadline.node);
    SSL_free(c->ssl);
    peer_release(c->peer);
    buffer_free(&c->input);
    buffer_free(&c->unsent);
    uv_poll_stop(&c->poll);
    uv_close((uv_handle_t *)&c->poll, poll_closed);
    close(c->fd);
    server_connection_closed(c->io);
    io_check_finished(c->io);
}

void connection_dirty(struct connection *c)
{
    if (!c->flushing && !c->closed && list_empty(&c->dirty))
        list_append(&c->io->dirty, &c->dirty);
}

void connection_stop(struct connection *c)
{
    if (!c->protocol)
        c->broken = true;
    else
        c->protocol->stop(c);
    connection_dirty(c);
}

void connection_expire(struct connection *c, struct deadline *deadline)
{
    if (deadline->request)
        c->protocol->expire(c, deadline->request);
    else if (c->unsent.size || c->lingering || !c->protocol)
        c->broken = true;
    else
        c->protocol->expire(c, NULL);
    connection_dirty(c);
}

/* ---- Output ---- */

/* Sends what the thread has gathered for the connection; what the socket does not take waits in `unsent`. */
static void send_outgoing(struct connection *c)
{
    struct buffer *out = &c->io->outgoing;
    size_t at = 0;
    while (at < out->size && !c->unsent.size && !c->broken) {
        ssize_t n = send(c->fd, out->data + at, out->size - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0) {
            c->broken = true;
            break;
        }
        io_count(&c->io->counters.sent, (uint64_t)n);
        at += (size_t)n;
        if (at < out->size)
            break; /* the socket is full */
    }
    if (at < out->size && !c->broken)
        buffer_add(&c->unsent, out->data + at, out->size - at);
    if (out->capacity > OUTGOING_KEEP_MAX)
        buffer_free(out);
    else
        buffer_clear(out);
}

/* Sends what waits; whether all of it is gone. */
static bool send_unsent(struct connection *c)
{
    size_t at = 0;
    while (at < c->unsent.size) {
        ssize_t n = send(c->fd, c->unsent.data + at, c->unsent.size - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            c->broken = errno != EAGAIN && errno != EWOULDBLOCK;
            break;
        }
        io_count(&c->io->counters.sent, (uint64_t)n);
        at += (size_t)n;
        c->moved = true;
    }
    if (at == c->unsent.size) {
        buffer_free(&c->unsent);
        return true;
    }
    if (at)
        buffer_consume(&c->unsent, at);
    return false;
}

static void seal(struct connection *c, const char *data, size_t size)
{
    if (!c->ssl) {
        buffer_add(&c->io->outgoing, data, size);
        return;
    }
    ERR_clear_error();
    if (SSL_write(c->ssl, data, (int)size) != (int)size) /* our BIO takes everything: the TLS state is broken */
        c->broken = true;
}

static void seal_staged(struct connection *c)
{
    if (c->io->staged)
        seal(c, c->io->staging, c->io->staged);
    c->io->staged = 0;
}

void connection_put(struct connection *c, const char *data, size_t size)
{
    struct io_thread *io = c->io;
    while (size) {
        if (!io->staged && size >= IO_RECORD_MAX) {
            seal(c, data, IO_RECORD_MAX);
            data += IO_RECORD_MAX;
            size -= IO_RECORD_MAX;
            continue;
        }
        size_t n = IO_RECORD_MAX - io->staged;
        if (n > size)
            n = size;
        memcpy(io->staging + io->staged, data, n);
        io->staged += n;
        data += n;
        size -= n;
        if (io->staged == IO_RECORD_MAX)
            seal_staged(c);
    }
}

void connection_end_record(struct connection *c)
{
    seal_staged(c);
}

size_t connection_room(const struct connection *c)
{
    size_t used = c->io->outgoing.size + c->io->staged;
    return used < IO_BATCH_MAX && !c->broken ? IO_BATCH_MAX - used : 0;
}

/* All is sent and no more will be. The client must be able to read it, so the connection is not closed under bytes
 * that may still be on their way from the client: that would reset it. */
static void linger(struct connection *c)
{
    if (c->ssl && SSL_is_init_finished(c->ssl)) {
        ERR_clear_error();
        SSL_shutdown(c->ssl);
        send_outgoing(c);
    }
    shutdown(c->fd, SHUT_WR);
    c->lingering = true;
    c->paused = false;
}

void connection_flush(struct connection *c)
{
    c->flushing = true;
    if (c->successor)
        hand_over(c);
    for (int round = 0; !c->broken; round++) {
        if (c->unsent.size && !send_unsent(c))
            break;
        if (c->lingering || !c->protocol)
            break;
        c->protocol->produce(c);
        seal_staged(c);
        if (!c->io->outgoing.size)
            break;
        if (round == SENDS_PER_TURN) { /* the rest when the loop comes round, which it does at once */
            buffer_add(&c->unsent, c->io->outgoing.data, c->io->outgoing.size);
            buffer_clear(&c->io->outgoing);
            break;
        }
        send_outgoing(c);
    }
    c->io->staged = 0;
    buffer_clear(&c->io->outgoing);
    c->flushing = false;
    if (!c->broken && c->closing && !c->unsent.size && !c->lingering && !c->end_of_input)
        linger(c);
    if (c->broken || (c->end_of_input && !c->unsent.size)) {
        connection_close(c);
        return;
    }
    update_events(c);
    update_deadline(c);
}

/* ---- Input ---- */

static bool shake_hands(struct connection *c)
{
    if (SSL_is_init_finished(c->ssl))
        return true;
    ERR_clear_error();
    int n = SSL_do_handshake(c->ssl);
    bool failed = n != 1 && SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ;
    send_outgoing(c); /* also the alert, when it has failed */
    if (failed) {
        io_count(&c->io->counters.handshakes_failed, 1);
        ERR_clear_error();
        c->closing = true;
    }
    if (n != 1)
        return false;
    tls_identify(c->ssl, c->peer);
    set_protocol(c, tls_chose_http2(c->ssl) ? &http2_protocol : &http1_protocol);
    return true;
}

/* Tells HTTP/2 from HTTP/1 on a plain connection, where the client just begins. */
static void sniff(struct connection *c, const char *data, size_t size)
{
    buffer_add(&c->input, data, size);
    size_t n = c->input.size < sizeof(http2_preface) - 1 ? c->input.size : sizeof(http2_preface) - 1;
    bool same = memcmp(c->input.data, http2_preface, n) == 0;
    if (same && n < sizeof(http2_preface) - 1)
        return;
    struct buffer first = c->input;
    c->input = (struct buffer){0};
    set_protocol(c, same ? &http2_protocol : &http1_protocol);
    c->protocol->input(c, first.data, first.size);
    buffer_free(&first);
}

static void plaintext(struct connection *c, const char *data, size_t size)
{
    if (!c->protocol)
        sniff(c, data, size);
    else
        c->protocol->input(c, data, size);
}

/* Decrypts all that has been received. */
static void ciphertext(struct connection *c, const char *data, size_t size)
{
    struct io_thread *io = c->io;
    io->incoming = data;
    io->incoming_size = size;
    size_t plain = 0;
    if (shake_hands(c)) {
        ERR_clear_error();
        int n;
        while ((n = SSL_read(c->ssl, io->plain + plain, (int)(IO_PLAIN_MAX - plain))) > 0) {
            plain += (size_t)n;
            if (plain > IO_PLAIN_MAX - IO_RECORD_MAX) {
                plaintext(c, io->plain, plain);
                plain = 0;
            }
        }
        int reason = SSL_get_error(c->ssl, n);
        if (io->outgoing.size) /* a session ticket, an answer to a key update, an alert */
            send_outgoing(c);
        if (reason == SSL_ERROR_ZERO_RETURN)
            c->end_of_input = true;
        else if (reason != SSL_ERROR_WANT_READ)
            c->broken = true;
        if (plain)
            plaintext(c, io->plain, plain);
    }
    io->incoming_size = 0;
}

static bool begins_with_method(const char *data, size_t size)
{
    static const char *const methods[] = {"GET ", "HEAD ", "POST ", "PUT ", "PATCH ", "DELETE ", "OPTIONS "};
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++)
        if (size >= strlen(methods[i]) && memcmp(data, methods[i], strlen(methods[i])) == 0)
            return true;
    return false;
}

static void received(struct connection *c, const char *data, size_t size)
{
    io_count(&c->io->counters.received, size);
    if (c->lingering || (c->closing && !c->protocol)) {
        c->discarded += size;
        c->broken |= c->discarded > CONNECTION_LINGER_MAX;
        return;
    }
    bool first = !c->started;
    c->started = true;
    if (!c->ssl) {
        plaintext(c, data, size);
    } else if (first && begins_with_method(data, size)) {
        buffer_add(&c->io->outgoing, http_on_https, sizeof(http_on_https) - 1);
        send_outgoing(c);
        c->closing = true;
    } else {
        ciphertext(c, data, size);
    }
}

static void connection_readable(struct connection *c)
{
    for (int i = 0; i < READS_PER_TURN && !c->paused && !c->broken && !c->end_of_input; i++) {
        ssize_t n = recv(c->fd, c->io->received, IO_RECEIVE_MAX, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0)
            c->broken = true;
        else if (n == 0)
            c->end_of_input = true;
        else
            received(c, c->io->received, (size_t)n);
        if (n < IO_RECEIVE_MAX)
            break; /* no more for now */
    }
    connection_dirty(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct connection *c = poll->data;
    if (status < 0 || (events & UV_DISCONNECT))
        c->broken = true;
    else if (events & UV_READABLE)
        connection_readable(c);
    connection_dirty(c);
}
