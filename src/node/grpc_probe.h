/* gRPC probes: one call of grpc.health.v1.Health/Check over cleartext HTTP/2, with upstream's sentences for what can go
 * wrong. A server that does not take the connection yet is tried again until the time is up, as upstream's client does.
 * On the loop's thread; memory is bounded whatever the server sends. */
#ifndef CORACLE_NODE_GRPC_PROBE_H
#define CORACLE_NODE_GRPC_PROBE_H

#include "base/env.h"

/* Longest answer that is read, and longest status message that is kept. */
#define GRPC_ANSWER_MAX 4096
#define GRPC_MESSAGE_MAX 512

struct grpc_probe;

/* failure NULL: the service serves. Valid during the call. */
typedef void (*grpc_probe_done)(void *context, const char *failure);

/* `host` is an IPv4 address; `service` may be "" (the server as a whole); timeout in microseconds. done runs later,
 * once. */
struct grpc_probe *grpc_probe_start(struct env *env, const char *host, int port, const char *service, int64_t timeout,
                                    grpc_probe_done done, void *context);
/* done will not run. NULL is fine. */
void grpc_probe_cancel(struct grpc_probe *probe);

#endif
