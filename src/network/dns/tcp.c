/* Questions over TCP: each message after its length, any number on a connection, answered as they are ready. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/vector.h"
#include "network/dns/internal.h"

#define LENGTH_SIZE 2
#define LISTEN_BACKLOG 128

struct connection {
    uv_tcp_t handle; /* first: the handle is the connection */
    struct list link;
    struct dns_server *server;
    struct env_timer *idle;
    uint8_t in[LENGTH_SIZE + DNS_QUESTION_MAX];
    size_t in_size;
    size_t questions; /* that wait for others */
    bool reading, closing;
};

struct sending {
    uv_write_t request;
    uint8_t data[];
};

static void closed(uv_handle_t *handle)
{
    free((struct connection *)handle);
}

static void close_connection(struct connection *connection)
{
    struct dns_server *server = connection->server;
    struct dns_pending *pending;
    if (connection->closing)
        return;
    connection->closing = true;
    list_for_each(&server->waiting, pending, link)
    {
        if (pending->connection == connection)
            pending->connection = NULL;
    }
    list_remove(&connection->link);
    server->connection_count--;
    env_timer_free(connection->idle);
    uv_close((uv_handle_t *)&connection->handle, closed);
}

static void idle(void *context)
{
    close_connection(context);
}

static void allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct connection *connection = (struct connection *)handle;
    *out = uv_buf_init((char *)connection->in + connection->in_size,
                       (unsigned)(sizeof(connection->in) - connection->in_size));
}

static void received(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer);

static void pace(struct connection *connection)
{
    bool read = connection->handle.write_queue_size < DNS_CONNECTION_BACKLOG_MAX;
    if (connection->closing || read == connection->reading)
        return;
    connection->reading = read;
    if (read)
        uv_read_start((uv_stream_t *)&connection->handle, allocate, received);
    else
        uv_read_stop((uv_stream_t *)&connection->handle);
}

static void written(uv_write_t *request, int status)
{
    struct connection *connection = request->handle->data;
    free(request);
    if (status < 0)
        close_connection(connection);
    else
        pace(connection);
}

static void send_message(struct connection *connection, const uint8_t *data, size_t size)
{
    struct sending *sending = mem_alloc(sizeof(*sending) + LENGTH_SIZE + size);
    dns_put16(sending->data, (uint16_t)size);
    memcpy(sending->data + LENGTH_SIZE, data, size);
    uv_buf_t out = uv_buf_init((char *)sending->data, (unsigned)(LENGTH_SIZE + size));
    if (uv_write(&sending->request, (uv_stream_t *)&connection->handle, &out, 1, written) < 0) {
        free(sending);
        close_connection(connection);
        return;
    }
    pace(connection);
}

void dns_tcp_send(struct connection *connection, const uint8_t *data, size_t size)
{
    connection->questions--;
    send_message(connection, data, size);
}

static void take(struct connection *connection, const uint8_t *data, size_t size)
{
    struct dns_server *server = connection->server;
    struct dns_pending pending = {.server = server, .connection = connection, .tcp = true};
    int parsed = dns_query_parse(data, size, &pending.query);
    if (parsed == DNS_DROP) {
        server->count.dropped++;
        close_connection(connection);
        return;
    }
    if (!parsed && connection->questions >= DNS_CONNECTION_QUESTIONS_MAX)
        parsed = DNS_SERVFAIL;
    server->count.tcp++;
    cleanup_free uint8_t *out = mem_alloc(DNS_MESSAGE_MAX);
    size_t written_size = dns_server_answer(server, &pending, parsed, out, DNS_MESSAGE_MAX);
    if (written_size)
        send_message(connection, out, written_size);
    else
        connection->questions++;
}

static void received(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct connection *connection = (struct connection *)stream;
    struct dns_server *server = connection->server;
    if (size < 0) {
        close_connection(connection);
        return;
    }
    connection->in_size += (size_t)size;
    list_remove(&connection->link);
    list_append(&server->connections, &connection->link);
    env_timer_start(connection->idle, DNS_CONNECTION_IDLE);
    size_t at = 0;
    while (!connection->closing && connection->in_size - at >= LENGTH_SIZE) {
        size_t length = dns_get16(connection->in + at);
        if (length > DNS_QUESTION_MAX) {
            close_connection(connection);
            return;
        }
        if (connection->in_size - at < LENGTH_SIZE + length)
            break;
        take(connection, connection->in + at + LENGTH_SIZE, length);
        at += LENGTH_SIZE + length;
    }
    memmove(connection->in, connection->in + at, connection->in_size - at);
    connection->in_size -= at;
}

static void release_refused(uv_handle_t *handle)
{
    free(handle);
}

static void connected(uv_stream_t *listener, int status)
{
    struct dns_server *server = listener->data;
    struct sockaddr_in client = {0};
    int size = sizeof(client);
    if (status < 0)
        return;
    struct connection *connection = mem_zero(1, sizeof(*connection));
    uv_tcp_init(&server->loop, &connection->handle);
    connection->handle.data = connection;
    if (uv_accept(listener, (uv_stream_t *)&connection->handle) < 0 ||
        uv_tcp_getpeername(&connection->handle, (struct sockaddr *)&client, &size) < 0 ||
        !dns_server_allows(server, client.sin_addr)) {
        server->count.dropped++;
        uv_close((uv_handle_t *)&connection->handle, release_refused);
        return;
    }
    if (server->connection_count >= DNS_CONNECTIONS_MAX)
        close_connection(list_entry(server->connections.next, struct connection, link));
    connection->server = server;
    connection->idle = env_timer_new(server->env, idle, connection);
    env_timer_start(connection->idle, DNS_CONNECTION_IDLE);
    list_append(&server->connections, &connection->link);
    server->connection_count++;
    pace(connection);
}

/* Connections queue from here on; they are taken from dns_tcp_begin on. */
int dns_tcp_listen(struct dns_server *server, struct error *err)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = server->address, .sin_port = htons(server->port)};
    int one = 1;
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
        return error_errno(err, "listen for DNS on TCP port %u", server->port);
    uv_tcp_init(&server->loop, &server->tcp);
    server->tcp.data = server;
    uv_tcp_open(&server->tcp, steal_fd(fd));
    return 0;
}

void dns_tcp_begin(struct dns_server *server)
{
    uv_listen((uv_stream_t *)&server->tcp, LISTEN_BACKLOG, connected);
}

void dns_tcp_end(struct dns_server *server)
{
    while (!list_empty(&server->connections))
        close_connection(list_entry(server->connections.next, struct connection, link));
    if (server->tcp.loop)
        uv_close((uv_handle_t *)&server->tcp, NULL);
}
