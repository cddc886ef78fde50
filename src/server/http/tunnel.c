/* The third protocol of a connection: bytes as they come. */
#include "server/http/tunnel.h"

#include <assert.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "server/http/request.h"

/* A peer that says nothing is asked after that many seconds whether it is there, and given up after so many questions.
 */
#define KEEP_ALIVE_IDLE 60
#define KEEP_ALIVE_INTERVAL 15
#define KEEP_ALIVE_PROBES 4

struct http_tunnel {
    struct connection *connection; /* NULL: it has gone, or is to be closed without further ado */
    struct http_tunnel_events events;
    void *context;
    struct output output;
    bool closing;
};

/* ---- The protocol ---- */

static void tunnel_open(struct connection *c)
{
    (void)c; /* http_tunnel_open has made the session */
}

static void give(struct http_tunnel *t, const char *data, size_t size)
{
    if (!t->closing && size)
        t->events.data(t->context, data, size);
}

static void tunnel_input(struct connection *c, const char *data, size_t size)
{
    give(c->session, data, size);
}

static void tunnel_produce(struct connection *c)
{
    struct http_tunnel *t = c->session;
    if (c->io->stopping) {
        c->broken = true;
        return;
    }
    if (c->input.size) { /* it came while the connection still spoke HTTP */
        struct buffer first = c->input;
        c->input = (struct buffer){0};
        give(t, first.data, first.size);
        buffer_free(&first);
    }
    size_t put = 0, room, first;
    while ((room = connection_room(c)) && (first = output_first(&t->output))) {
        put += output_put(&t->output, c, first < room ? first : room);
        connection_end_record(c);
    }
    if (put && !t->closing && t->events.drained)
        t->events.drained(t->context);
    if (t->closing && !t->output.size)
        c->closing = true;
}

static enum deadline_class tunnel_waiting(const struct connection *c)
{
    return c->closing ? DEADLINE_LINGER : DEADLINE_NONE;
}

static void tunnel_expire(struct connection *c, struct request *request)
{
    (void)request;
    c->broken = true;
}

static void tunnel_stop(struct connection *c)
{
    c->broken = true;
}

static void tunnel_close(struct connection *c)
{
    struct http_tunnel *t = c->session;
    bool closing = t->closing;
    output_free(&t->output);
    t->connection = NULL;
    if (!closing)
        t->events.closed(t->context);
    free(t);
}

static const struct protocol tunnel_protocol = {
    .open = tunnel_open,
    .input = tunnel_input,
    .produce = tunnel_produce,
    .waiting = tunnel_waiting,
    .expire = tunnel_expire,
    .stop = tunnel_stop,
    .close = tunnel_close,
};

/* ---- The user's side ---- */

static void keep_alive(int fd)
{
    static const int on = 1, idle = KEEP_ALIVE_IDLE, interval = KEEP_ALIVE_INTERVAL, probes = KEEP_ALIVE_PROBES;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)); /* a Unix socket has no use for it */
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

struct http_tunnel *http_tunnel_open(struct http_request *request, const struct http_tunnel_events *events,
                                     void *context)
{
    struct request *r = (struct request *)request;
    struct connection *c = r->connection;
    if (!c || request->http2 || r->io->stopping)
        return NULL;
    assert(r->state == RESPONSE_NONE);
    struct http_tunnel *t = mem_zero(1, sizeof(*t));
    t->connection = c;
    t->events = *events;
    t->context = context;
    keep_alive(c->fd);
    r->state = RESPONSE_COMPLETE;
    r->status = 101;
    r->cancel = NULL;
    http1_hand_over(r, &t->output);
    c->successor = &tunnel_protocol;
    c->successor_session = t;
    connection_dirty(c);
    return t;
}

void http_tunnel_write(struct http_tunnel *t, const void *data, size_t size)
{
    assert(!t->closing);
    if (!size)
        return;
    void *copy = mem_alloc(size);
    memcpy(copy, data, size);
    struct http_bytes run = http_bytes_owned(copy, size);
    output_add_apart(&t->output, &run);
    connection_dirty(t->connection);
}

size_t http_tunnel_queued(const struct http_tunnel *t)
{
    return t->output.size + t->connection->unsent.size;
}

void http_tunnel_pause(struct http_tunnel *t, bool pause)
{
    if (t->connection->paused == pause)
        return;
    t->connection->paused = pause;
    connection_dirty(t->connection);
}

void http_tunnel_close(struct http_tunnel *t)
{
    assert(!t->closing);
    t->closing = true;
    t->connection->paused = false; /* what still comes is dropped */
    connection_dirty(t->connection);
}

/* ---- Requests ---- */

bool http_request_has_token(const struct http_request *request, const char *header, const char *token)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (strcmp(request->headers[i].name, header) == 0 && http_list_has(request->headers[i].value, token))
            return true;
    return false;
}

bool http_request_wants_upgrade(const struct http_request *request)
{
    return !request->http2 && http_request_has_token(request, "connection", "upgrade") &&
           http_request_header(request, "upgrade");
}

struct uv_loop_s *http_request_loop(const struct http_request *request)
{
    return &((struct request *)request)->io->loop;
}
