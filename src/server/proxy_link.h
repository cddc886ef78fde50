/* Links as the client of a proxy has to see them: one that leads to the same host by an absolute path gets the path of
 * the proxy in front. The rules are those of upstream's proxy transport (apimachinery, util/proxy, rewriteURL):
 *
 *     /x, //HOST/x, http://HOST/x    lead through the proxy; HOST is the backend, or what the client calls us
 *     another host, a relative path, no path at all, what is no URL    stay
 *     a path that begins with the proxy's stays, and loses a host that is the backend's
 *
 * Where upstream writes the URL anew, here all of it that stays is as it was written: an escaped slash remains one. And
 * no ".." leads out of the proxy's path, since none would lead out of the backend's root. */
#ifndef CORACLE_SERVER_PROXY_LINK_H
#define CORACLE_SERVER_PROXY_LINK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

/* A longer link stays as it is; bytes. */
#define PROXY_LINK_MAX 4096

/* What links are about. The strings belong to the caller. */
struct proxy_links {
    const char *prefix; /* the path of the proxy with /proxy, as the client has sent it: no character of it means
                         * anything in HTML */
    size_t prefix_size;
    const char *backend; /* HOST:PORT, an IPv6 address in brackets */
    const char *host;    /* the client's name for us; "" if it said none */
};

/* Whether the link has to change; then it is appended to `out`. `markup`: it is the value of an attribute in HTML, in
 * which "&#47;" is a slash, and goes back into one, within the same quotes. */
bool proxy_link_rewrite(const struct proxy_links *links, const char *link, size_t size, bool markup,
                        struct buffer *out);

#endif
