/* The body of an HTML page on its way through the proxy: unpacked, its links rewritten, and packed as it came. Content
 * passes as it arrives; nothing waits for the end of the page. */
#ifndef CORACLE_SERVER_PROXY_PAGE_H
#define CORACLE_SERVER_PROXY_PAGE_H

#include "server/html_links.h"
#include "server/http/http.h"

struct proxy_page;

/* A page, if an answer with these header fields (names in lower case) is one: as upstream's transport, text/html
 * without a Location, of the codings gzip, deflate and none. NULL: the body is to pass as it is. The links are copied,
 * but for their strings, which must stay. To be released with proxy_page_free. */
struct proxy_page *proxy_page_new(const struct http_field *fields, size_t count, const struct proxy_links *links);
/* Appends to `out` what of the page can go on. -1: what came is not packed as the header says; the page ends here. */
int proxy_page_feed(struct proxy_page *page, const char *data, size_t size, struct buffer *out);
/* The body is over: appends the rest. -1: it was cut off. */
int proxy_page_end(struct proxy_page *page, struct buffer *out);
/* NULL is fine. */
void proxy_page_free(struct proxy_page *page);

#endif
