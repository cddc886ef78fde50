/* URLs as far as probes follow redirects: http and https. */
#ifndef CORACLE_NODE_HTTP_URL_H
#define CORACLE_NODE_HTTP_URL_H

#include <stdbool.h>

#include "base/arena.h"

/* Texts live in the arena that it was made in. */
struct http_url {
    const char *scheme;    /* lower case; not always one that can be asked */
    const char *host;      /* a name or an address, without brackets */
    int port;              /* the scheme's own, where none is given */
    const char *authority; /* host and port as they were given, for the Host header */
    const char *target;    /* path and query: begins with '/' */
};

/* Of an address or name, a port, and a path with its query; the path may lack its first '/'. */
void http_url_make(struct arena *arena, bool https, const char *host, int port, const char *path, struct http_url *out);
/* The URL that a Location header of an answer from `base` leads to, as RFC 3986 has it, without its fragment. -1: it is
 * none. */
int http_url_resolve(struct arena *arena, const struct http_url *base, const char *location, struct http_url *out);
/* Whether a location names a scheme. */
bool http_url_is_absolute(const char *location);
/* "http://10.0.0.1:80/healthz" */
const char *http_url_text(struct arena *arena, const struct http_url *url);

#endif
