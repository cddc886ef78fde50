/* Connections that leave HTTP: a request that asked for an upgrade is answered with 101, and from then on its
 * connection carries bytes of another protocol, both ways (RFC 9110, 7.8). HTTP/1.1 only: HTTP/2 has no upgrade.
 *
 * Everything here is for the I/O thread of the request. Events never come from inside a call of the tunnel's user. The
 * kernel looks after peers that vanish without a word (TCP keep-alive), the connection's write timeout after those that
 * take nothing of what is due to them. */
#ifndef CORACLE_SERVER_HTTP_TUNNEL_H
#define CORACLE_SERVER_HTTP_TUNNEL_H

#include "server/http/http.h"

struct uv_loop_s;
struct http_tunnel;

struct http_tunnel_events {
    /* Bytes of the client. All of them are taken. */
    void (*data)(void *context, const char *data, size_t size);
    /* Bytes have gone to the socket: http_tunnel_queued is smaller than it was. May be NULL. */
    void (*drained)(void *context);
    /* The connection is gone, and the tunnel with this call. Not after http_tunnel_close. */
    void (*closed)(void *context);
};

/* Answers with 101, "Connection: Upgrade" and the response headers set before, and takes the connection over. The
 * request is complete by that; a reference to it stays what it was. NULL when the client has gone, or speaks HTTP/2. */
struct http_tunnel *http_tunnel_open(struct http_request *request, const struct http_tunnel_events *events,
                                     void *context);
/* Queues bytes, which are copied. They begin a TLS record of their own and end one: some clients (Python's) look
 * whether their socket is readable before they read a message, and would not find one that came in the record of
 * another. */
void http_tunnel_write(struct http_tunnel *tunnel, const void *data, size_t size);
/* Bytes queued and not yet handed to the socket. */
size_t http_tunnel_queued(const struct http_tunnel *tunnel);
/* Stops and resumes reading. What has been read already still comes as data. */
void http_tunnel_pause(struct http_tunnel *tunnel, bool pause);
/* Closes the connection when all that is queued is sent; no event follows. */
void http_tunnel_close(struct http_tunnel *tunnel);

/* Whether the request may be upgraded: "Connection: upgrade" and an Upgrade header, over HTTP/1.1. */
bool http_request_wants_upgrade(const struct http_request *request);
/* Whether the header, a list with commas between, names the token, in any case. */
bool http_request_has_token(const struct http_request *request, const char *header, const char *token);
/* The loop of the request's I/O thread. Whatever is made on it has to be closed before the last reference to the
 * request is released. */
struct uv_loop_s *http_request_loop(const struct http_request *request);

#endif
