/* $(VAR) and the paths of pod fields: no text makes more than an expansion may come to, and what holds no '$' stays. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "node/environment.h"
#include "fuzz.h"

static void expand(struct arena *arena, const char *text)
{
    struct string_pair items[] = {{"A", "$(A)$(B)"}, {"B", ""}, {"LONG", "0123456789abcdef0123456789abcdef"}};
    struct environment environment = {.items = items, .count = ARRAY_COUNT(items)};
    struct error err;
    const char *out = environment_expand(arena, &environment, text, &err);
    if (out && (strlen(out) > ENVIRONMENT_VALUE_MAX || (!strchr(text, '$') && strcmp(out, text) != 0)))
        abort();
}

static void look_up(struct arena *arena, const char *path)
{
    struct string_pair labels[] = {{"a", "1"}, {"b/c", "2"}};
    struct pod pod = {.metadata = {.name = "p", .namespace = "n", .labels = {.items = labels, .count = 2}}};
    struct environment_source source = {.pod = &pod, .pod_ip = "10.0.0.1"};
    struct error err;
    const char *value = NULL;
    if (pod_field_value(arena, &source, path, &value, &err) == 0 && !value)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    cleanup_arena struct arena *arena = arena_new(0);
    const char *text = arena_string_n(arena, (const char *)data + 1, size - 1);
    (*data & 1 ? expand : look_up)(arena, text);
    return 0;
}
