/* One HTTP/1.1 request over a connection of its own, in the clear or over TLS whose certificate is not checked. On the
 * loop's thread; nothing blocks. */
#ifndef CORACLE_NODE_HTTP_EXCHANGE_H
#define CORACLE_NODE_HTTP_EXCHANGE_H

#include <uv.h>

#include "node/http_answer.h"

/* What Go's client says when a server of https talks http. */
#define HTTP_EXCHANGE_PLAIN "http: server gave HTTP response to HTTPS client"

/* What exchanges of one loop share. */
struct http_client;
struct http_exchange;

struct http_client *http_client_new(uv_loop_t *loop);
/* Call when no exchange is under way. The loop has to turn once more for the handles of the last ones to close. */
void http_client_free(struct http_client *client);

/* Either the complete answer, or why there is none, in the words of Go's client; valid during the call. The exchange is
 * gone then. */
typedef void (*http_exchange_done)(void *context, const struct http_answer *answer, const char *failure);

/* `request` is sent as it is; copied. done runs later, once. There is no time limit. */
struct http_exchange *http_exchange_start(struct http_client *client, bool https, const char *host, int port,
                                          const char *request, http_exchange_done done, void *context);
/* The status of the answer; 0: its head has not come yet. */
int http_exchange_status(const struct http_exchange *exchange);
/* done will not run. NULL is fine. */
void http_exchange_cancel(struct http_exchange *exchange);

#endif
