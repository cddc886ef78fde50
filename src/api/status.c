/* Builders of metav1.Status. */
#include "api/status.h"

#include <stdarg.h>
#include <stdlib.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/map.h"

static struct status *new_status(struct arena *arena, int code, const char *reason, char *message)
{
    struct status *s = arena_alloc(arena, sizeof(*s));
    s->kind = "Status";
    s->api_version = "v1";
    s->status = "Failure";
    s->code = code;
    s->reason = reason;
    s->message = message;
    return s;
}

static char *format_text(struct arena *arena, const char *format, va_list list)
{
    char *text = NULL;
    if (vasprintf(&text, format, list) < 0)
        abort();
    char *copy = arena_string(arena, text);
    free(text);
    return copy;
}

struct status *api_status(struct arena *arena, int code, const char *reason, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    char *text = format_text(arena, format, list);
    va_end(list);
    return new_status(arena, code, reason, text);
}

/* details of a failure: upstream puts the plural resource name under "kind". */
static struct status_details *details(struct arena *arena, struct status *s, const struct api_resource *resource,
                                      const char *name)
{
    s->details = arena_alloc(arena, sizeof(*s->details));
    if (resource) {
        s->details->group = resource->group;
        s->details->kind = resource->plural;
    }
    s->details->name = arena_string(arena, name);
    return s->details;
}

static void add_cause(struct arena *arena, struct status_details *d, const char *reason, const char *message,
                      const char *field)
{
    d->causes.items = arena_array_grow(arena, d->causes.items, d->causes.count, 1, sizeof(*d->causes.items));
    d->causes.items[d->causes.count++] =
        (struct status_cause){.reason = reason, .message = arena_string(arena, message), .field = field};
}

const char *api_qualified_resource(struct arena *arena, const struct api_resource *resource)
{
    return *resource->group ? arena_printf(arena, "%s.%s", resource->plural, resource->group) : resource->plural;
}

/* `pods "x"` */
static const char *subject(struct arena *arena, const struct api_resource *resource, const char *name)
{
    cleanup_buffer struct buffer b = {0};
    buffer_printf(&b, "%s ", api_qualified_resource(arena, resource));
    go_quote(&b, name ? name : "");
    return arena_string_n(arena, b.data, b.size);
}

struct status *api_status_success(struct arena *arena, const struct api_resource *resource, const char *name,
                                  const char *uid)
{
    struct status *s = new_status(arena, 0, NULL, NULL);
    s->status = "Success";
    if (resource) {
        details(arena, s, resource, name)->uid = arena_string(arena, uid);
    }
    return s;
}

struct status *api_status_bad_request(struct arena *arena, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    char *text = format_text(arena, format, list);
    va_end(list);
    return new_status(arena, 400, "BadRequest", text);
}

struct status *api_status_unauthorized(struct arena *arena)
{
    return api_status(arena, 401, "Unauthorized", "Unauthorized");
}

struct status *api_status_forbidden(struct arena *arena, const struct api_resource *resource, const char *name,
                                    const char *message)
{
    struct status *s;
    if (!resource)
        s = api_status(arena, 403, "Forbidden", "forbidden: %s", message);
    else if (!name || !*name)
        s = api_status(arena, 403, "Forbidden", "%s is forbidden: %s", api_qualified_resource(arena, resource),
                       message);
    else
        s = api_status(arena, 403, "Forbidden", "%s is forbidden: %s", subject(arena, resource, name), message);
    details(arena, s, resource, name);
    return s;
}

struct status *api_status_not_found(struct arena *arena, const struct api_resource *resource, const char *name)
{
    struct status *s = api_status(arena, 404, "NotFound", "%s not found", subject(arena, resource, name));
    details(arena, s, resource, name);
    return s;
}

struct status *api_status_no_resource(struct arena *arena)
{
    struct status *s = api_status(arena, 404, "NotFound", "the server could not find the requested resource");
    details(arena, s, NULL, NULL);
    return s;
}

struct status *api_status_method_not_supported(struct arena *arena, const struct api_resource *resource,
                                               const char *verb)
{
    struct status *s = api_status(arena, 405, "MethodNotAllowed", "%s is not supported on resources of kind \"%s\"",
                                  verb, api_qualified_resource(arena, resource));
    details(arena, s, resource, NULL);
    return s;
}

struct status *api_status_method_not_allowed(struct arena *arena)
{
    struct status *s = api_status(arena, 405, "MethodNotAllowed",
                                  "the server does not allow this method on the requested resource");
    details(arena, s, NULL, NULL);
    return s;
}

struct status *api_status_not_acceptable(struct arena *arena, const char *accepted)
{
    return api_status(arena, 406, "NotAcceptable", "only the following media types are accepted: %s", accepted);
}

struct status *api_status_already_exists(struct arena *arena, const struct api_resource *resource, const char *name)
{
    struct status *s = api_status(arena, 409, "AlreadyExists", "%s already exists", subject(arena, resource, name));
    details(arena, s, resource, name);
    return s;
}

struct status *api_status_generate_name_conflict(struct arena *arena, const struct api_resource *resource,
                                                 const char *name)
{
    struct status *s = api_status(arena, 409, "AlreadyExists",
                                  "%s already exists, the server was not able to generate a unique name for the object",
                                  subject(arena, resource, name));
    details(arena, s, resource, name);
    return s;
}

struct status *api_status_conflict(struct arena *arena, const struct api_resource *resource, const char *name,
                                   const char *message)
{
    if (!message)
        message = "the object has been modified; please apply your changes to the latest version and try again";
    struct status *s = api_status(arena, 409, "Conflict", "Operation cannot be fulfilled on %s: %s",
                                  subject(arena, resource, name), message);
    details(arena, s, resource, name);
    return s;
}

struct status *api_status_precondition_failed(struct arena *arena, const struct api_resource *resource,
                                              const char *name, const char *field, const char *wanted,
                                              const char *present)
{
    const char *message =
        arena_printf(arena, "Precondition failed: %s in precondition: %s, %s in object meta: %s", field, wanted, field,
                     present ? present : "");
    return api_status_conflict(arena, resource, name, message);
}

struct status *api_status_expired(struct arena *arena, const char *message)
{
    return api_status(arena, 410, "Expired", "%s", message);
}

struct status *api_status_too_old_resource_version(struct arena *arena, uint64_t wanted, uint64_t oldest)
{
    return api_status(arena, 410, "Expired", "too old resource version: %llu (%llu)", (unsigned long long)wanted,
                      (unsigned long long)oldest);
}

struct status *api_status_request_entity_too_large(struct arena *arena, size_t limit)
{
    return api_status(arena, 413, "RequestEntityTooLarge", "Request entity too large: limit is %zu", limit);
}

struct status *api_status_unsupported_media_type(struct arena *arena, const char *accepted)
{
    return api_status(arena, 415, "UnsupportedMediaType",
                      "the body of the request was in an unknown format - accepted media types include: %s", accepted);
}

/* The errors as one line: alone as it is, several as "[a, b]", equal ones once. */
static void aggregate(const struct api_field_errors *errors, struct buffer *out)
{
    struct map seen = {0};
    struct buffer line = {0}, all = {0};
    size_t count = 0;
    for (size_t i = 0; i < errors->count; i++) {
        buffer_clear(&line);
        buffer_printf(&line, "%s: %s", errors->items[i].field, errors->items[i].detail);
        if (map_set(&seen, line.data, &line))
            continue;
        buffer_printf(&all, "%s%s", count++ ? ", " : "", line.data);
    }
    if (errors->dropped)
        buffer_printf(&all, ", and %zu more", errors->dropped);
    buffer_printf(out, count > 1 ? "[%s]" : "%s", all.data ? all.data : "");
    buffer_free(&line);
    buffer_free(&all);
    map_free(&seen);
}

struct status *api_status_invalid(struct arena *arena, const struct api_resource *resource, const char *name,
                                  const struct api_field_errors *errors)
{
    cleanup_buffer struct buffer text = {0};
    buffer_printf(&text, *resource->group ? "%s.%s " : "%s%s ", resource->kind, resource->group);
    go_quote(&text, name ? name : "");
    buffer_add_string(&text, " is invalid");
    if (errors->count) {
        buffer_add_string(&text, ": ");
        aggregate(errors, &text);
    }
    struct status *s = api_status(arena, 422, "Invalid", "%s", text.data);
    struct status_details *d = details(arena, s, resource, name);
    d->kind = resource->kind;
    d->causes.items = arena_alloc(arena, (errors->count + 1) * sizeof(*d->causes.items));
    for (size_t i = 0; i < errors->count; i++) {
        const struct api_field_error *e = &errors->items[i];
        d->causes.items[d->causes.count++] = (struct status_cause){
            .reason = api_field_error_reason(e->type), .message = e->detail, .field = e->field};
    }
    return s;
}

struct status *api_status_too_many_requests(struct arena *arena, const char *message, int retry_after_seconds)
{
    struct status *s = api_status(arena, 429, "TooManyRequests", "%s", message);
    details(arena, s, NULL, NULL)->retry_after_seconds = retry_after_seconds;
    return s;
}

struct status *api_status_internal_error(struct arena *arena, const char *message)
{
    struct status *s = api_status(arena, 500, "InternalError", "Internal error occurred: %s", message);
    add_cause(arena, details(arena, s, NULL, NULL), NULL, message, NULL);
    return s;
}

struct status *api_status_service_unavailable(struct arena *arena, const char *message)
{
    return api_status(arena, 503, "ServiceUnavailable", "%s", message);
}

struct status *api_status_timeout(struct arena *arena, const char *message, int retry_after_seconds)
{
    struct status *s = api_status(arena, 504, "Timeout", "Timeout: %s", message);
    details(arena, s, NULL, NULL)->retry_after_seconds = retry_after_seconds;
    return s;
}

struct status *api_status_too_large_resource_version(struct arena *arena, uint64_t wanted, uint64_t current)
{
    const char *message = arena_printf(arena, "Too large resource version: %llu, current: %llu",
                                       (unsigned long long)wanted, (unsigned long long)current);
    struct status *s = api_status_timeout(arena, message, 1);
    add_cause(arena, s->details, "ResourceVersionTooLarge", "Too large resource version", NULL);
    return s;
}

void api_status_write(const struct status *status, struct buffer *out)
{
    json_encode(&api_type_status, status, out);
}
