/* From a request's path to what it is about: /api/v1/..., /apis/GROUP/VERSION/..., as upstream's
 * RequestInfoFactory reads it. */
#ifndef CORACLE_SERVER_ROUTE_H
#define CORACLE_SERVER_ROUTE_H

#include <stdbool.h>

#include "api/type.h"
#include "base/arena.h"

/* Segments of a path that are looked at; one with more leads nowhere, but for what is behind /proxy. */
#define ROUTE_SEGMENTS_MAX 12

struct route {
    const struct api_resource *resource; /* NULL: no such resource */
    const char *namespace;               /* NULL: none in the path */
    const char *name;
    const char *subresource;
    bool watch;    /* the older form, with /watch/ before the resource */
    bool bindings; /* namespaces/NS/bindings: what pods/NAME/binding is, with the pod's name in the body */
};

/* True when the path is below the /api/VERSION/ or /apis/GROUP/VERSION/ of an API that is served; strings live in the
 * arena. */
bool route_parse(struct arena *arena, const char *path, struct route *out);

#endif
