/* Pages that backends write: any bytes, cut anywhere, become the same page; what holds no tag passes byte for byte; a
 * page that has been rewritten is not rewritten again. Those that say that they are packed end the same way, however
 * they are cut. The first byte says which; the rest is the page. */
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "server/proxy_page.h"
#include "fuzz.h"

/* Of each page, about so many are made. */
#define CUTS 8

static const char prefix[] = "/api/v1/namespaces/n/services/s:http/proxy";
static const struct proxy_links links = {
    .prefix = prefix, .prefix_size = sizeof(prefix) - 1, .backend = "10.0.0.1:80", .host = "api"};

/* In pieces of that size, the first of `first`; -1: it is not packed as it says. */
static int pass(const char *coding, const char *data, size_t size, size_t first, size_t piece, struct buffer *out)
{
    struct http_field fields[] = {{"content-type", "text/html"}, {"content-encoding", coding}};
    struct proxy_page *page = proxy_page_new(fields, 2, &links);
    int result = 0;
    for (size_t i = 0, n = first; i < size && result == 0; i += n, n = piece) {
        n = size - i < n ? size - i : n;
        result = proxy_page_feed(page, data + i, n, out);
    }
    if (result == 0)
        result = proxy_page_end(page, out);
    proxy_page_free(page);
    return result;
}

static bool same(const struct buffer *a, const char *data, size_t size)
{
    return a->size == size && (!size || memcmp(a->data, data, size) == 0);
}

static void plain(const char *data, size_t size)
{
    cleanup_buffer struct buffer whole = {0}, bytes = {0}, again = {0};
    pass("", data, size, size, 1, &whole);
    pass("", data, size, 1, 1, &bytes);
    CHECK(same(&bytes, whole.data, whole.size));
    for (size_t cut = 1; cut < size; cut += 1 + size / CUTS) {
        cleanup_buffer struct buffer two = {0};
        pass("", data, size, cut, size, &two);
        CHECK(same(&two, whole.data, whole.size));
    }
    CHECK(memchr(data, '<', size) || same(&whole, data, size));
    pass("", whole.data, whole.size, whole.size, 1, &again);
    CHECK(same(&again, whole.data, whole.size));
}

static void packed(const char *coding, const char *data, size_t size)
{
    cleanup_buffer struct buffer whole = {0}, bytes = {0};
    int result = pass(coding, data, size, size, 1, &whole);
    CHECK(pass(coding, data, size, 1, 1, &bytes) == result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    const char *page = (const char *)data + 1;
    if (*data % 8 == 7)
        packed("gzip", page, size - 1);
    else if (*data % 8 == 6)
        packed("deflate", page, size - 1);
    else
        plain(page, size - 1);
    return 0;
}
