/* A listener for each Service, a connection for each question; the answer is the same whatever is asked for. */
#include "network/health_check.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"

#define BACKLOG 64

struct health_check {
    uv_loop_t *loop;
    struct map listeners; /* "namespace/name" -> struct listener */
    struct list connections;
    size_t connection_count;
};

struct listener {
    uv_tcp_t tcp;
    struct health_check *owner;
    char *namespace, *name;
    uint16_t port;
    size_t endpoints;
    bool open;
};

struct connection {
    struct list link;
    struct health_check *owner;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_write_t write;
    int open_handles;
    char *namespace, *name; /* a Service may go while its answer is on the way */
    size_t endpoints;
    bool answered;
    size_t size;
    char request[HEALTH_CHECK_REQUEST_MAX];
    struct buffer answer;
};

/* ---- connections ---- */

static void connection_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    if (--c->open_handles)
        return;
    buffer_free(&c->answer);
    free(c->namespace);
    free(c->name);
    free(c);
}

static void close_connection(struct connection *c)
{
    if (uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    list_remove(&c->link);
    c->owner->connection_count--;
    uv_close((uv_handle_t *)&c->tcp, connection_closed);
    uv_close((uv_handle_t *)&c->timer, connection_closed);
}

static void took_too_long(uv_timer_t *timer)
{
    close_connection(timer->data);
}

static void written(uv_write_t *write, int status)
{
    (void)status;
    close_connection(write->data);
}

static void write_answer(struct connection *c)
{
    cleanup_buffer struct buffer body = {0};
    buffer_printf(&body,
                  "{\n\t\"service\": {\n\t\t\"namespace\": \"%s\",\n\t\t\"name\": \"%s\"\n\t},\n"
                  "\t\"localEndpoints\": %zu,\n\t\"serviceProxyHealthy\": true\n}",
                  c->namespace, c->name, c->endpoints);
    buffer_printf(&c->answer,
                  "HTTP/1.1 %s\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
                  "X-Load-Balancing-Endpoint-Weight: %zu\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                  c->endpoints ? "200 OK" : "503 Service Unavailable", c->endpoints, body.size);
    if (strncmp(c->request, "HEAD ", 5) != 0)
        buffer_add(&c->answer, body.data, body.size);
    uv_buf_t buffer = uv_buf_init(c->answer.data, (unsigned)c->answer.size);
    c->answered = true;
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &buffer, 1, written) < 0)
        close_connection(c);
}

static void offer_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct connection *c = handle->data;
    (void)suggested;
    *out = uv_buf_init(c->request + c->size, (unsigned)(sizeof(c->request) - 1 - c->size));
}

static void heard(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct connection *c = stream->data;
    (void)buffer;
    if (n < 0) {
        close_connection(c);
        return;
    }
    c->size += (size_t)n;
    c->request[c->size] = 0;
    if (c->answered)
        c->size = 0; /* what follows is not read for its sense */
    else if (strstr(c->request, "\r\n\r\n") || strstr(c->request, "\n\n"))
        write_answer(c);
    else if (c->size == sizeof(c->request) - 1)
        close_connection(c);
}

static void arrived(uv_stream_t *stream, int status)
{
    struct listener *l = stream->data;
    struct health_check *h = l->owner;
    if (status < 0)
        return;
    struct connection *c = mem_zero(1, sizeof(*c));
    c->owner = h;
    c->open_handles = 2;
    c->namespace = mem_string(l->namespace);
    c->name = mem_string(l->name);
    c->endpoints = l->endpoints;
    uv_tcp_init(h->loop, &c->tcp);
    uv_timer_init(h->loop, &c->timer);
    c->tcp.data = c->timer.data = c;
    list_append(&h->connections, &c->link);
    h->connection_count++;
    if (uv_accept(stream, (uv_stream_t *)&c->tcp) < 0 || h->connection_count > HEALTH_CHECK_CONNECTIONS_MAX) {
        close_connection(c);
        return;
    }
    uv_timer_start(&c->timer, took_too_long, HEALTH_CHECK_WAIT, 0);
    uv_read_start((uv_stream_t *)&c->tcp, offer_room, heard);
}

/* ---- listeners ---- */

static void listener_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    free(l->namespace);
    free(l->name);
    free(l);
}

static int bind_port(struct listener *l)
{
    struct sockaddr_in6 any6;
    struct sockaddr_in any;
    uv_ip6_addr("::", l->port, &any6);
    uv_ip4_addr("0.0.0.0", l->port, &any);
    int result = uv_tcp_bind(&l->tcp, (const struct sockaddr *)&any6, 0);
    /* A kernel without IPv6. */
    return result == UV_EAFNOSUPPORT ? uv_tcp_bind(&l->tcp, (const struct sockaddr *)&any, 0) : result;
}

static struct listener *listen_on(struct health_check *h, const char *namespace, const char *name, uint16_t port)
{
    struct listener *l = mem_zero(1, sizeof(*l));
    l->owner = h;
    l->namespace = mem_string(namespace);
    l->name = mem_string(name);
    l->port = port;
    uv_tcp_init(h->loop, &l->tcp);
    l->tcp.data = l;
    int result = bind_port(l);
    if (result == 0)
        result = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, arrived);
    l->open = result == 0;
    if (!l->open)
        log_warning("Service %s/%s: nobody can ask for its health on port %u: %s", namespace, name, port,
                    uv_strerror(result));
    return l;
}

void health_check_set(struct health_check *h, const char *namespace, const char *name, uint16_t port, size_t endpoints)
{
    cleanup_free char *key = mem_printf("%s/%s", namespace, name);
    struct listener *l = map_get(&h->listeners, key);
    if (!l || l->port != port || !l->open) {
        health_check_remove(h, key);
        l = listen_on(h, namespace, name, port);
        map_set(&h->listeners, key, l);
    }
    l->endpoints = endpoints;
}

void health_check_remove(struct health_check *h, const char *key)
{
    struct listener *l = map_remove(&h->listeners, key);
    if (l)
        uv_close((uv_handle_t *)&l->tcp, listener_closed);
}

struct health_check *health_check_new(uv_loop_t *loop)
{
    struct health_check *h = mem_zero(1, sizeof(*h));
    h->loop = loop;
    list_init(&h->connections);
    return h;
}

static void released(uv_handle_t *handle)
{
    free(handle->data);
    free(handle);
}

void health_check_free(struct health_check *h)
{
    if (!h)
        return;
    for (struct map_slot *s = NULL; (s = map_next(&h->listeners, s));)
        uv_close((uv_handle_t *)&((struct listener *)s->value)->tcp, listener_closed);
    map_free(&h->listeners);
    struct connection *c;
    list_for_each(&h->connections, c, link)
    {
        close_connection(c);
    }
    /* Writes that are cut off still call back; closing one more handle comes after them. */
    uv_idle_t *last = mem_zero(1, sizeof(*last));
    uv_idle_init(h->loop, last);
    last->data = h;
    uv_close((uv_handle_t *)last, released);
}
