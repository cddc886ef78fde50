/* Where a request through the proxy of a pod or service goes. */
#ifndef CORACLE_SERVER_PROXY_TARGET_H
#define CORACLE_SERVER_PROXY_TARGET_H

#include "server/private.h"

/* What a proxy's name says: [SCHEME:]NAME[:PORT]. */
struct proxy_name {
    const char *scheme; /* "http" or "https"; "" when it is not said */
    const char *name;
    const char *port; /* a number or a name; "" when it is not said */
};

/* False: it is none. Strings live in the arena. */
bool proxy_name_parse(struct arena *arena, const char *text, struct proxy_name *out);

struct proxy_target {
    const char *address;
    int port;
    bool no_port;    /* nobody has named one: it is the scheme's, and does not show in links */
    const char *pod; /* of a service: who has to have the address */
};

/* Whether the server may be made to connect to it: not to itself, nor to what answers on a link. As upstream's
 * IsProxyableIP. NULL and what is no address are not. */
bool proxy_target_is_proxyable(const char *address);
/* Upstream's choice for a pod: the port that is asked for, or the first that its containers name. */
struct status *proxy_target_pod(struct arena *arena, const struct pod *pod, const struct proxy_name *name,
                                struct proxy_target *out);
/* Upstream's choice among the ready addresses of a service: one that names a pod of the service's namespace, from a
 * place that `random` picks. If it is not its pod's, the next `attempt`, from 0 on, is another one. `id` is the name of
 * the service as the client has sent it. */
struct status *proxy_target_service(struct arena *arena, const struct service *service,
                                    const struct endpoints *endpoints, const char *id, const struct proxy_name *name,
                                    uint64_t random, size_t attempt, struct proxy_target *out);
/* Whether the target's address is the pod's. */
bool proxy_target_is_pods(const struct proxy_target *target, const struct pod *pod);

/* The part of a raw path behind /proxy, "" or with its slash, and the length of what is before it. */
const char *proxy_path(const char *raw_path, bool namespaced, size_t *prefix_size);

#endif
