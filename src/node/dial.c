#include "node/dial.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define FAILURE_MAX 512

struct dial {
    uv_loop_t *loop;
    char *host;
    int port;
    uv_getaddrinfo_t lookup;
    struct addrinfo *found;          /* NULL: the host is an address, or is not known */
    struct addrinfo *next;           /* of found, to be tried when the present one fails */
    struct sockaddr_storage address; /* the present one */
    uv_tcp_t *socket;                /* NULL: there is none yet */
    uv_connect_t connect;
    char failure[FAILURE_MAX]; /* the first */
    dial_done done;            /* NULL: cancelled */
    void *context;
};

static void connect_to(struct dial *d, const struct sockaddr *address);

static void dial_free(struct dial *d)
{
    uv_freeaddrinfo(d->found);
    free(d->host);
    free(d);
}

static void try_next(struct dial *d)
{
    const struct sockaddr *address = d->next->ai_addr;
    d->next = d->next->ai_next;
    connect_to(d, address);
}

/* An attempt is over, or there could be none. */
static void socket_closed(uv_handle_t *handle)
{
    struct dial *d = handle->data;
    free(d->socket);
    d->socket = NULL;
    if (d->done && d->next) {
        try_next(d);
        return;
    }
    if (d->done)
        d->done(d->context, NULL, d->failure);
    dial_free(d);
}

static void open_socket(struct dial *d)
{
    d->socket = mem_zero(1, sizeof(*d->socket));
    uv_tcp_init(d->loop, d->socket);
    d->socket->data = d;
}

/* Closing is what makes it later. */
static void give_up(struct dial *d)
{
    uv_close((uv_handle_t *)d->socket, socket_closed);
}

static void remember(struct dial *d, int status)
{
    char text[INET6_ADDRSTRLEN] = "";
    const char *why = strerror(-status);
    bool six = d->address.ss_family == AF_INET6;
    if (six)
        uv_ip6_name((const struct sockaddr_in6 *)&d->address, text, sizeof(text));
    else
        uv_ip4_name((const struct sockaddr_in *)&d->address, text, sizeof(text));
    if (!*d->failure)
        snprintf(d->failure, sizeof(d->failure), "dial tcp %s%s%s:%d: connect: %c%s", six ? "[" : "", text,
                 six ? "]" : "", d->port, tolower((unsigned char)*why), why + 1);
}

static void connected(uv_connect_t *connect, int status)
{
    struct dial *d = connect->data;
    if (!d->done)
        return; /* socket_closed follows */
    if (status < 0) {
        remember(d, status);
        give_up(d);
        return;
    }
    d->done(d->context, steal_pointer(d->socket), NULL);
    dial_free(d);
}

static void connect_to(struct dial *d, const struct sockaddr *address)
{
    open_socket(d);
    memcpy(&d->address, address,
           address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    d->connect.data = d;
    int status = uv_tcp_connect(&d->connect, d->socket, address, connected);
    if (status < 0) {
        remember(d, status);
        give_up(d);
    }
}

static void not_found(struct dial *d)
{
    snprintf(d->failure, sizeof(d->failure), "dial tcp: lookup %s: no such host", d->host);
    open_socket(d);
    give_up(d);
}

static void looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    struct dial *d = lookup->data;
    d->found = d->next = found;
    if (!d->done)
        dial_free(d);
    else if (status < 0 || !found)
        not_found(d);
    else
        try_next(d);
}

struct dial *dial_start(uv_loop_t *loop, const char *host, int port, dial_done done, void *context)
{
    struct dial *d = mem_zero(1, sizeof(*d));
    struct sockaddr_storage address;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char service[16];
    d->loop = loop;
    d->host = mem_string(host);
    d->port = port;
    d->done = done;
    d->context = context;
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&address) == 0 ||
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address) == 0) {
        connect_to(d, (const struct sockaddr *)&address);
        return d;
    }
    snprintf(service, sizeof(service), "%d", port);
    d->lookup.data = d;
    if (uv_getaddrinfo(loop, &d->lookup, looked_up, host, service, &hints) < 0)
        not_found(d);
    return d;
}

void dial_cancel(struct dial *d)
{
    if (!d)
        return;
    d->done = NULL;
    if (!d->socket)
        uv_cancel((uv_req_t *)&d->lookup); /* looked_up follows, cancelled or not */
    else if (!uv_is_closing((uv_handle_t *)d->socket))
        give_up(d);
}
