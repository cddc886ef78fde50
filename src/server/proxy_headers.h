/* Which header fields go through the proxy, as in upstream's (Go's ReverseProxy, and apimachinery's util/proxy). Names
 * are in lower case; `fields` are all of the message. */
#ifndef CORACLE_SERVER_PROXY_HEADERS_H
#define CORACLE_SERVER_PROXY_HEADERS_H

#include "server/http/http.h"

/* From the client to the backend: neither what is about this connection, nor who the client is, nor what the proxy says
 * itself. */
bool proxy_header_goes_in(const struct http_field *fields, size_t count, const char *name);
/* From the backend to the client: neither what is about that connection, nor leave for pages of other origins, which a
 * backend cannot give for the whole API. */
bool proxy_header_comes_out(const struct http_field *fields, size_t count, const char *name);

#endif
