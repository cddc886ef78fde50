/* For tests of src/api: from JSON to a value as the API server has it when it validates. */
#ifndef CORACLE_TEST_API_PREPARE_H
#define CORACLE_TEST_API_PREPARE_H

#include <string.h>

#include "api/admission.h"
#include "api/defaults.h"
#include "api/json.h"
#include "api/status.h"
#include "api/validate.h"

/* Single quotes in `json` stand for double ones. */
static inline void *decode(struct arena *arena, const struct api_resource *resource, const char *json)
{
    char *text = arena_string(arena, json);
    for (char *c = text; *c; c++)
        if (*c == '\'')
            *c = '"';
    void *value = arena_alloc(arena, resource->type->size);
    struct error err = {0};
    if (json_decode(resource->type, arena, text, strlen(text), value, NULL, &err) < 0)
        fail_msg("%s: %s", err.text, text);
    return value;
}

static inline void *prepare(struct arena *arena, const struct api_resource *resource, const char *json)
{
    void *value = decode(arena, resource, json);
    api_set_defaults(arena, resource, value);
    assert_null(api_admit_create(arena, resource, value));
    if (resource->index == API_PODS)
        api_admit_priority(arena, value, NULL);
    return value;
}

/* The message of the 422 answer to creating it, or "" when it is valid. */
static inline const char *create_message(struct arena *arena, const struct api_resource *resource, const char *json)
{
    void *value = prepare(arena, resource, json);
    struct api_field_errors errors = {.arena = arena};
    api_validate_create(resource, value, &errors);
    return errors.count ? api_status_invalid(arena, resource, api_meta(resource, value)->name, &errors)->message : "";
}

#endif
