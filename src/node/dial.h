/* A TCP connection to a host by name or address. The addresses of a name are tried one after the other, as Go's dialer
 * does: "localhost" may be an address of IPv6 that nobody listens at. On the loop's thread; nothing blocks. */
#ifndef CORACLE_NODE_DIAL_H
#define CORACLE_NODE_DIAL_H

#include <uv.h>

struct dial;

/* Either `socket`, connected, which is the receiver's to uv_close and then to free; or `failure` in the words of Go's
 * dialer, "dial tcp 10.0.0.1:80: connect: connection refused", valid during the call. The dial is gone then. */
typedef void (*dial_done)(void *context, uv_tcp_t *socket, const char *failure);

/* done runs later, once. There is no time limit. */
struct dial *dial_start(uv_loop_t *loop, const char *host, int port, dial_done done, void *context);
/* done will not run. NULL is fine. The loop has to turn once more before it can be closed. */
void dial_cancel(struct dial *dial);

#endif
