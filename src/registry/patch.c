/* Patch: the head as JSON, patched, read again, and from there on an update. The patch applies to the head
 * itself, so it only conflicts when it names a resourceVersion or uid that is not the head's. */
#include <errno.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "registry/private.h"

/* A Status whose message has no kind, as upstream makes it where no object is known to be at fault. */
static const struct api_resource no_kind = {.group = "", .kind = "", .plural = ""};

static struct status *patch_error(struct task *task, const struct error *err)
{
    switch (err->code) {
    case EBADMSG:
        return api_status_bad_request(task->arena, "%s", err->text);
    case E2BIG:
        return api_status(task->arena, 413, "RequestEntityTooLarge", "%s", err->text);
    default:
        return api_status(task->arena, 422, "Invalid", "%s", err->text);
    }
}

static struct status *invalid_result(struct task *task, const struct buffer *json, const char *detail)
{
    struct api_field_errors errors = {.arena = task->arena};
    field_invalid(&errors, PATH(NULL, "patch"), json->data, detail);
    return api_status_invalid(task->arena, &no_kind, "", &errors);
}

static const char *problem_text(struct arena *arena, const struct json_problem *problem)
{
    return arena_printf(arena, "%s field \"%s\"", problem->kind == JSON_UNKNOWN_FIELD ? "unknown" : "duplicate",
                        problem->path);
}

/* What strict decoding found: an error or warnings, as the client asked. */
static struct status *report(struct task *task, const struct buffer *json, const struct json_report *found)
{
    if (!found->count || task->request->field_validation == CLIENT_VALIDATE_IGNORE)
        return NULL;
    cleanup_buffer struct buffer text = {0};
    buffer_add_string(&text, "strict decoding error: ");
    for (size_t i = 0; i < found->count; i++) {
        const char *problem = problem_text(task->arena, &found->items[i]);
        if (task->request->field_validation == CLIENT_VALIDATE_WARN)
            registry_add_warning(task, problem);
        buffer_printf(&text, "%s%s", i ? ", " : "", problem);
    }
    return task->request->field_validation == CLIENT_VALIDATE_STRICT ? invalid_result(task, json, text.data) : NULL;
}

/* Applies the request's patch to a value of `type`; NULL with *refused set when it does not apply. */
static void *apply(struct task *task, const struct api_type *type, const char *json, size_t size,
                   struct status **refused)
{
    const struct client_request *request = task->request;
    struct error err = {0};
    cleanup_buffer struct buffer patched = {0};
    if (patch_apply(request->patch_kind, type, json, size, request->patch, request->patch_size, &patched, &err) < 0) {
        *refused = patch_error(task, &err);
        return NULL;
    }
    struct json_report *found = arena_alloc(task->arena, sizeof(*found));
    void *value = arena_alloc(task->arena, type->size);
    if (json_decode(type, task->arena, patched.data, patched.size, value, found, &err) < 0)
        *refused = invalid_result(task, &patched, err.text);
    else
        *refused = report(task, &patched, found);
    return *refused ? NULL : value;
}

/* The fields kind and apiVersion that the patch has left. */
static const char *type_field(const struct api_type *type, const void *value, const char *name)
{
    const struct api_field *field = api_type_field(type, name, strlen(name));
    return *(const char *const *)((const char *)value + field->offset);
}

/* NULL, or what refuses a patch that makes another kind of the object. A strategic one cannot: upstream applies it to
 * the typed object, whose kind is not among what is read. */
static struct status *refuse_other_kind(struct task *task, const void *value)
{
    const struct api_resource *resource = task->resource;
    const char *kind = type_field(resource->type, value, "kind");
    const char *version = type_field(resource->type, value, "apiVersion");
    if (task->request->patch_kind == PATCH_STRATEGIC || text_empty(kind) || text_empty(version) ||
        (text_equal(kind, resource->kind) && text_equal(version, resource->api_version)))
        return NULL;
    cleanup_buffer struct buffer json = {0};
    json_encode(resource->type, value, &json);
    return invalid_result(task, &json,
                          api_why_not_converted(task->arena, version, kind, resource->api_version, resource->kind));
}

static void patch_scale(struct task *task)
{
    cleanup_buffer struct buffer json = {0};
    json_encode(&api_type_scale, registry_scale_of(task->arena, task->old), &json);
    struct status *refused = NULL;
    struct scale *scale = apply(task, &api_type_scale, json.data, json.size, &refused);
    if (refused)
        registry_answer_status(task, refused);
    else
        registry_apply_scale(task, scale);
}

void registry_patch(struct task *task)
{
    task->old = registry_head(task, task->request->namespace, task->request->name);
    if (!task->old) {
        registry_answer_status(task, api_status_not_found(task->arena, task->resource, task->request->name));
        return;
    }
    if (text_equal(task->request->subresource, "scale")) {
        patch_scale(task);
        return;
    }
    size_t size;
    const char *json = object_json(task->old, &size);
    struct status *refused = NULL;
    void *value = apply(task, task->resource->type, json, size, &refused);
    if (!refused)
        refused = refuse_other_kind(task, value);
    if (!refused)
        refused = registry_match_url(task, api_meta(task->resource, value));
    if (refused)
        registry_answer_status(task, refused);
    else
        registry_replace(task, value);
}
