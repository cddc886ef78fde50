/* Label and field selectors: what is read and written again reads the same and selects the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/selector.h"
#include "api/types.h"
#include "base/cleanup.h"
#include "fuzz.h"

static void check_labels(struct arena *arena, const char *text)
{
    static struct string_pair some[] = {{"a", "b"}, {"n", "5"}, {"x/y", ""}};
    static const struct string_map maps[] = {{0}, {some, 1}, {some, 3}};
    const struct selector *first, *second;
    struct error err = {0};
    if (selector_parse(arena, text, &first, &err) < 0) {
        CHECK(err.code && *err.text);
        return;
    }
    const char *canonical = selector_text(arena, first);
    CHECK(selector_parse(arena, canonical, &second, &err) == 0);
    CHECK(strcmp(selector_text(arena, second), canonical) == 0);
    CHECK(selector_is_empty(first) == selector_is_empty(second));
    for (size_t i = 0; i < ARRAY_COUNT(maps); i++)
        CHECK(selector_matches(first, &maps[i]) == selector_matches(second, &maps[i]));
}

static void check_fields(struct arena *arena, const char *text)
{
    const struct field_selector *selector;
    struct error err = {0};
    if (field_selector_parse(arena, text, &selector, &err) < 0) {
        CHECK(err.code && *err.text);
        return;
    }
    for (size_t i = 0; i < api_resource_count; i++) {
        const struct api_resource *resource = &api_resources[i];
        const void *value = arena_alloc(arena, resource->type->size);
        if (field_selector_check(selector, resource, NULL) < 0)
            continue;
        bool matches = field_selector_matches(selector, resource, value);
        const char *name = field_selector_required(selector, "metadata.name");
        CHECK(!name || !*name || !matches);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    const char *text = arena_string_n(arena, (const char *)data, size);
    check_labels(arena, text);
    check_fields(arena, text);
    arena_free(arena);
    return 0;
}
