/* A relayed TCP connection: two sockets, and a pipe for each direction while there are bytes on the way.
 *
 *     client --read--> pipe --write--> node          and the same back
 *
 * Bytes are read only into an empty pipe. The end of one side's data is passed on, as the end of the other's, when the
 * pipe is empty; when both directions have ended, or one side is reset, the connection is over. Events are
 * edge-triggered: a direction goes on until it would block or has had its turn. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "network/relay_internal.h"

struct direction {
    struct pipe pipe; /* -1: none */
    size_t held;
    bool ended;     /* nothing more comes from the source */
    bool passed_on; /* and the destination knows */
};

struct connection {
    struct owner owner;
    struct list ready;
    struct handle client, node;
    struct direction up, down; /* to the node, to the client */
    bool connected;
};

enum outcome { BLOCKED, MORE, BROKEN };

/* ---- pipes ---- */

static bool take_pipe(struct relay *relay, struct pipe *out)
{
    int fds[2];
    if (relay->spare.count) {
        *out = relay->spare.items[--relay->spare.count];
        return true;
    }
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return false;
    relay->pipes++;
    *out = (struct pipe){fds[1], fds[0]};
    return true;
}

static void close_pipe(struct relay *relay, struct pipe *pipe)
{
    if (pipe->in >= 0) {
        close(pipe->in);
        close(pipe->out);
        relay->pipes--;
    }
    *pipe = (struct pipe){-1, -1};
}

/* An empty one may serve others. */
static void give_pipe_back(struct relay *relay, struct pipe *pipe)
{
    if (pipe->in >= 0 && relay->spare.count < RELAY_SPARE_PIPES) {
        vector_push(&relay->spare, *pipe);
        *pipe = (struct pipe){-1, -1};
    } else {
        close_pipe(relay, pipe);
    }
}

/* ---- moving bytes ---- */

static bool would_block(void)
{
    return errno == EAGAIN || errno == EINTR;
}

static enum outcome fill(struct relay *relay, struct direction *d, int from)
{
    if (d->pipe.in < 0 && !take_pipe(relay, &d->pipe))
        return BROKEN;
    ssize_t n = splice(from, NULL, d->pipe.in, NULL, RELAY_PIPE_SIZE, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n < 0)
        return would_block() ? BLOCKED : BROKEN;
    if (n == 0)
        d->ended = true;
    d->held = (size_t)n;
    return MORE;
}

static enum outcome drain(struct direction *d, int to)
{
    ssize_t n = splice(d->pipe.out, NULL, to, NULL, d->held, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n < 0)
        return would_block() ? BLOCKED : BROKEN;
    d->held -= (size_t)n;
    return MORE;
}

static enum outcome pump(struct relay *relay, struct direction *d, int from, int to)
{
    enum outcome outcome = MORE;
    for (int i = 0; i < RELAY_SPLICES_PER_EVENT && outcome == MORE; i++) {
        if (d->held)
            outcome = drain(d, to);
        else if (!d->ended)
            outcome = fill(relay, d, from);
        else
            outcome = BLOCKED;
    }
    if (d->held == 0 && outcome != BROKEN)
        give_pipe_back(relay, &d->pipe);
    if (d->held == 0 && d->ended && !d->passed_on) {
        d->passed_on = true;
        if (shutdown(to, SHUT_WR) < 0)
            return BROKEN;
    }
    return outcome;
}

/* ---- connections ---- */

static void close_connection(struct relay *relay, struct connection *c, bool reset)
{
    struct linger linger = {.l_onoff = 1};
    if (reset) {
        setsockopt(c->client.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        if (c->node.fd >= 0)
            setsockopt(c->node.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    relay_unwatch(relay, &c->client);
    relay_unwatch(relay, &c->node);
    close_pipe(relay, &c->up.pipe);
    close_pipe(relay, &c->down.pipe);
    list_remove(&c->ready);
    relay_bury(relay, &c->owner);
    relay->connection_count--;
    relay_resume(relay);
}

void relay_close_connections(struct relay *relay)
{
    struct connection *c;
    list_for_each(&relay->connections, c, owner.link)
    {
        close_connection(relay, c, true);
    }
}

static int socket_error(int fd)
{
    int code = 0;
    socklen_t size = sizeof(code);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0 ? errno : code;
}

static void advance(struct relay *relay, struct connection *c)
{
    enum outcome up = pump(relay, &c->up, c->client.fd, c->node.fd);
    enum outcome down = up == BROKEN ? BROKEN : pump(relay, &c->down, c->node.fd, c->client.fd);
    if (down == BROKEN) {
        close_connection(relay, c, true);
    } else if (c->up.passed_on && c->down.passed_on) {
        close_connection(relay, c, false);
    } else if (up == MORE || down == MORE) {
        list_remove(&c->ready);
        list_append(&relay->ready, &c->ready);
    }
}

void relay_continue(struct relay *relay)
{
    struct list turn;
    if (list_empty(&relay->ready))
        return;
    /* Those that are put back have their next turn after the next look at events. */
    turn = relay->ready;
    turn.next->previous = turn.previous->next = &turn;
    list_init(&relay->ready);
    struct connection *c;
    list_for_each(&turn, c, ready)
    {
        list_remove(&c->ready);
        advance(relay, c);
    }
}

static void handle_event(struct relay *relay, void *owner, uint32_t events)
{
    struct connection *c = owner;
    if (!c->connected) {
        int code = socket_error(c->node.fd);
        if (code) {
            close_connection(relay, c, true);
            return;
        }
        struct tcp_info info;
        socklen_t size = sizeof(info);
        if (getsockopt(c->node.fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
            (info.tcpi_state == TCP_SYN_SENT || info.tcpi_state == TCP_SYN_RECV))
            return;
        c->connected = true;
    }
    advance(relay, c);
    /* A reset that no read or write has met: nobody reads from a side that has ended its data. */
    if (events & EPOLLERR && c->client.fd >= 0 && (socket_error(c->client.fd) || socket_error(c->node.fd)))
        close_connection(relay, c, true);
}

static void set_option(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof(value));
}

/* Makes the socket towards the node; the worker's namespace is the node's. */
static int connect_to_node(struct relay *relay, uint16_t port, bool *connected)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = relay->config.node_address, .sin_port = htons(port)};
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, RELAY_KEEPALIVE_IDLE);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, RELAY_KEEPALIVE_INTERVAL);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, RELAY_KEEPALIVE_COUNT);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    *connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    return *connected || errno == EINPROGRESS ? steal_fd(fd) : -1;
}

static void start_connection(struct relay *relay, int client, uint16_t port)
{
    struct connection *c = mem_zero(1, sizeof(*c));
    const uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    set_option(client, IPPROTO_TCP, TCP_NODELAY, 1);
    c->up.pipe = c->down.pipe = (struct pipe){-1, -1};
    c->client.fd = client;
    c->node.fd = -1;
    list_init(&c->ready);
    list_append(&relay->connections, &c->owner.link);
    relay->connection_count++;
    int node = connect_to_node(relay, port, &c->connected);
    if (node < 0 || relay_watch(relay, &c->node, node, handle_event, c, events) < 0) {
        close_connection(relay, c, true);
        return;
    }
    struct linger linger = {.l_onoff = 1};
    setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)); /* should watching fail and close it */
    if (relay_watch(relay, &c->client, client, handle_event, c, events) < 0) {
        close_connection(relay, c, true);
        return;
    }
    linger.l_onoff = 0;
    setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

void relay_accept(struct relay *relay, void *owner, uint32_t events)
{
    struct listener *listener = owner;
    for (int i = 0; i < RELAY_ACCEPTS_PER_EVENT; i++) {
        if (relay->connection_count >= RELAY_CONNECTIONS_MAX) {
            relay_pause(relay, 0); /* until one ends */
            return;
        }
        int fd = accept4(listener->handle.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            start_connection(relay, fd, listener->port.port);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            relay_pause(relay, relay_now() + RELAY_ACCEPT_PAUSE);
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}
