/* TLS: the server's settings, the way between OpenSSL and the thread's memory, who the peer is. */
#ifndef CORACLE_SERVER_HTTP_TLS_H
#define CORACLE_SERVER_HTTP_TLS_H

#include "base/arena.h"
#include "server/http/connection.h"

/* A peer's identity; the strings live in the arena. Counted by one thread only. */
struct peer {
    struct http_peer public; /* first */
    unsigned references;
    char address[INET6_ADDRSTRLEN];
    struct arena *arena; /* NULL without a certificate */
};

/* TLS 1.2 and later, ALPN h2 and http/1.1, client certificates if a CA is given, resumption by tickets. */
struct ssl_ctx_st *tls_context_new(const struct http_tls *tls, struct error *err);
/* A TLS state that reads connection->io->incoming and writes connection->io->outgoing. */
void tls_attach(struct ssl_st *ssl, struct connection *connection);
/* Whether the client chose HTTP/2. The handshake is complete. */
bool tls_chose_http2(struct ssl_st *ssl);
/* Fills in what the client's certificate says. The handshake is complete. */
void tls_identify(struct ssl_st *ssl, struct peer *peer);

struct peer *peer_new(const struct io_arrival *arrival);
void peer_release(struct peer *peer);

#endif
