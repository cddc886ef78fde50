/* What clients and servers write of the proxy: names, paths, and where a Location leads. A Location that is turned
 * leads through the proxy, and turning it again changes nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
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

static void location(struct arena *arena, const char *text)
{
    static const char prefix[] = "/api/v1/namespaces/n/pods/p/proxy";
    const char *out = proxy_location(arena, text, "10.0.0.1:80", "api", prefix, sizeof(prefix) - 1);
    CHECK(strcmp(out, text) == 0 || strncmp(out, prefix, sizeof(prefix) - 1) == 0);
    if (strcmp(out, text) != 0)
        CHECK(strcmp(proxy_location(arena, out, "10.0.0.1:80", "api", prefix, sizeof(prefix) - 1), out) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(struct arena * arena, const char *text) = {name, path, location};
    if (!size)
        return 0;
    cleanup_arena struct arena *arena = arena_new(0);
    readers[*data % 3](arena, arena_string_n(arena, (const char *)data + 1, size - 1));
    return 0;
}
