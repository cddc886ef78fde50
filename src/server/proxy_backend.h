/* A connection to what stands behind the proxy, plain or with TLS. As upstream's proxy transport, it believes any
 * certificate: a pod's name says nothing about who is there. All of it on the loop's thread. */
#ifndef CORACLE_SERVER_PROXY_BACKEND_H
#define CORACLE_SERVER_PROXY_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

/* How long a backend may take to accept the connection, and for its part of the TLS handshake: upstream's dial and
 * handshake timeouts; milliseconds. */
#define PROXY_DIAL_TIMEOUT 30000
#define PROXY_HANDSHAKE_TIMEOUT 10000

struct proxy_backend;

/* Each may free the backend; none comes afterwards, and none inside a call of the functions below. */
struct proxy_backend_events {
    void (*connected)(void *context);
    /* Nothing more will come: `why` in the words of Go's net and tls packages; valid during the call. */
    void (*failed)(void *context, const char *why);
    void (*data)(void *context, const char *data, size_t size);
    /* All that was written is on its way. */
    void (*drained)(void *context);
    /* The backend has ended the connection. */
    void (*ended)(void *context);
};

/* Begins to connect. address: an IP address, copied. */
struct proxy_backend *proxy_backend_new(uv_loop_t *loop, const char *address, int port, bool tls,
                                        const struct proxy_backend_events *events, void *context);
/* Queues bytes, without limit: mind proxy_backend_queued. What the backend does not take any more is dropped; what it
 * has answered may tell why. */
void proxy_backend_write(struct proxy_backend *backend, const char *data, size_t size);
size_t proxy_backend_queued(const struct proxy_backend *backend);
/* While it is paused nothing is read. */
void proxy_backend_pause(struct proxy_backend *backend, bool paused);
/* No event comes any more, except closed(context), from the loop, when nothing of it is left there. */
void proxy_backend_free(struct proxy_backend *backend, void (*closed)(void *context));

#endif
