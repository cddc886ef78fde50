/* Objects as the API server takes them: the first line names the kind's type, the rest is two JSON texts with a NUL
 * between them, a new object and a change of it. Whatever decodes goes through defaulting, admission,
 * validation, warnings, lint and the table, which must end and must not reach outside. What is valid must stay valid
 * when it is set to the same again, and defaulting must find nothing more to do. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/admission.h"
#include "api/defaults.h"
#include "api/json.h"
#include "api/status.h"
#include "api/table.h"
#include "api/validate.h"
#include "api/warnings.h"
#include "lint/lint.h"
#include "fuzz.h"
#include "fuzz_type.h"

static void *read_object(struct arena *arena, const struct api_resource *r, const char *json, size_t size)
{
    void *value = arena_alloc(arena, r->type->size);
    if (json_decode(r->type, arena, json, size, value, NULL, NULL) < 0)
        return NULL;
    struct api_warnings warnings = {.arena = arena};
    api_warn_inert(r->type, value, NULL, &warnings);
    api_set_defaults(arena, r, value);
    return value;
}

static void show(const struct api_resource *r, const void *value)
{
    cleanup_buffer struct buffer out = {0};
    struct table_options options = {.api_version = "meta.k8s.io/v1", .include = TABLE_INCLUDE_METADATA, .now = 1};
    table_row(r, &options, value, NULL, 0, 0, &out);
}

static void answer(struct arena *arena, const struct api_resource *r, const struct api_field_errors *errors)
{
    cleanup_buffer struct buffer out = {0};
    api_status_write(api_status_invalid(arena, r, "x", errors), &out);
}

/* The object beside itself and its change. */
static void lint(struct arena *arena, const struct api_resource *r, const void *value, const void *now)
{
    struct lint_object items[] = {{r, value}, {r, now}};
    struct lint_set set = {.items = items, .count = now ? 2 : 1, .nodes_known = true};
    struct lint_findings findings = {.arena = arena};
    cleanup_buffer struct buffer out = {0};
    lint_object(&items[0], &set, &findings);
    for (size_t i = 0; i < findings.count; i++)
        lint_write(&findings.items[i], &items[0], &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct api_resource *r = fuzz_resource(&data, &size);
    if (!r || r->computed || r->create_only) /* what is no object to keep has no rules of one */
        return 0;
    const char *first = (const char *)data, *end = first + size;
    const char *cut = size ? memchr(first, 0, size) : NULL;
    cleanup_arena struct arena *arena = arena_new(0);
    void *value = read_object(arena, r, first, (size_t)((cut ? cut : end) - first));
    if (!value)
        return 0;
    cleanup_buffer struct buffer once = {0}, twice = {0};
    json_encode(r->type, value, &once);
    api_set_defaults(arena, r, value);
    json_encode(r->type, value, &twice);
    if (once.size != twice.size || memcmp(once.data, twice.data, once.size) != 0)
        abort();
    struct status *refused = api_admit_create(arena, r, value);
    struct api_field_errors created = {.arena = arena}, unchanged = {.arena = arena}, changed = {.arena = arena};
    api_validate_create(r, value, &created);
    answer(arena, r, &created);
    show(r, value);
    if (!refused && !created.count) {
        api_meta(r, value)->resource_version = "1";
        if (r->index == API_NODES) /* as upstream: a node may come with an address twice, and then not change */
            ((struct node *)value)->status.addresses.count = 0;
        api_validate_update(r, value, value, NULL, &unchanged);
        if (unchanged.count)
            abort();
    }
    void *now = cut ? read_object(arena, r, cut + 1, (size_t)(end - cut - 1)) : NULL;
    if (!created.count)
        lint(arena, r, value, now);
    if (now) {
        api_validate_update(r, now, value, NULL, &changed);
        api_validate_update(r, now, value, "status", &changed);
        answer(arena, r, &changed);
    }
    return 0;
}
