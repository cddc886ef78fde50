/* Answers load balancers that ask whether this node has endpoints of a Service with externalTrafficPolicy Local, on the
 * Service's healthCheckNodePort, as upstream's kube-proxy does: 200 with endpoints, 503 without, and the number of them.
 *
 * Threads: all functions belong to the loop's thread. */
#ifndef CORACLE_NETWORK_HEALTH_CHECK_H
#define CORACLE_NETWORK_HEALTH_CHECK_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* Connections over all Services; further ones are closed at once. */
#define HEALTH_CHECK_CONNECTIONS_MAX 256
/* Longest request, and how long one may take (milliseconds). */
#define HEALTH_CHECK_REQUEST_MAX 8192
#define HEALTH_CHECK_WAIT 5000

struct health_check;

/* Listens in the network namespace of the thread. */
struct health_check *health_check_new(uv_loop_t *loop);
/* Closes everything; the loop has to run until it is done with it. NULL is fine. */
void health_check_free(struct health_check *health_check);

/* Serves the Service on that port, on every address of the node. A port that cannot be opened is tried again with the
 * next call; a warning names it. */
void health_check_set(struct health_check *health_check, const char *namespace, const char *name, uint16_t port,
                      size_t local_endpoints);
/* key: "namespace/name". One that is not served is fine. */
void health_check_remove(struct health_check *health_check, const char *key);

#endif
