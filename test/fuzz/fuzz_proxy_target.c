/* What clients and servers write of the proxy: names, paths, and where a link leads. A link that is rewritten
 * leads through the proxy, and rewriting it again changes nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "server/proxy_link.h"
#include "server/proxy_target.h"
#include "fuzz.h"

static void name(struct arena *arena, const char *text)
{
    struct proxy_name out;
    if (proxy_name_parse(arena, text, &out))
        CHECK(strlen(out.scheme) + strlen(out.name) + strlen(out.port) <= strlen(text));
}

static void path(struct arena *arena, const char *text)
{
    (void)arena;
    for (int namespaced = 0; namespaced < 2; namespaced++) {
        size_t prefix_size;
        const char *rest = proxy_path(text, namespaced, &prefix_size);
        CHECK(rest == text + prefix_size && prefix_size <= strlen(text) && (!*rest || *rest == '/'));
    }
}

static bool rewrite(const char *text, size_t size, bool markup, struct buffer *out)
{
    static const char prefix[] = "/api/v1/namespaces/n/pods/p/proxy";
    static const struct proxy_links links = {
        .prefix = prefix, .prefix_size = sizeof(prefix) - 1, .backend = "10.0.0.1:80", .host = "api"};
    return proxy_link_rewrite(&links, text, size, markup, out);
}

static void link(struct arena *arena, const char *text)
{
    (void)arena;
    for (int markup = 0; markup < 2; markup++) {
        cleanup_buffer struct buffer out = {0}, again = {0};
        if (!rewrite(text, strlen(text), markup, &out))
            CHECK(!out.size);
        else
            CHECK(strstr(out.data, "/proxy") && !rewrite(out.data, out.size, markup, &again) && !again.size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(struct arena * arena, const char *text) = {name, path, link};
    if (!size)
        return 0;
    cleanup_arena struct arena *arena = arena_new(0);
    readers[*data % 3](arena, arena_string_n(arena, (const char *)data + 1, size - 1));
    return 0;
}
