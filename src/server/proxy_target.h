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
};

/* Upstream's choice for a pod: the port that is asked for, or the first that its containers name. */
struct status *proxy_target_pod(struct arena *arena, const struct pod *pod, const struct proxy_name *name,
                                struct proxy_target *out);
/* Upstream's choice among the ready addresses of a service; service is needed when the port is a number, else it may be
 * NULL. endpoints NULL: there are none. `random` picks one. */
struct status *proxy_target_service(struct arena *arena, const struct service *service,
                                    const struct endpoints *endpoints, const struct proxy_name *name, uint64_t random,
                                    struct proxy_target *out);

/* The part of a raw path behind /proxy, "" or with its slash, and the length of what is before it. */
const char *proxy_path(const char *raw_path, bool namespaced, size_t *prefix_size);

#endif
