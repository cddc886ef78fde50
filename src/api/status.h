/* metav1.Status: the answers of an API server that did not do what was asked, for each of upstream's reasons,
 * in upstream's words (apimachinery, pkg/api/errors). The Status and all its texts live in the arena.
 *
 * `resource` may be NULL where the request named no resource; `name` may be NULL or "". */
#ifndef CORACLE_API_STATUS_H
#define CORACLE_API_STATUS_H

#include "api/field_error.h"
#include "api/types.h"
#include "base/arena.h"
#include "base/buffer.h"

/* Any failure: HTTP code, reason (NULL: none) and message. */
struct status *api_status(struct arena *arena, int code, const char *reason, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* {"status": "Success"}; details name what was deleted when resource is given. */
struct status *api_status_success(struct arena *arena, const struct api_resource *resource, const char *name,
                                  const char *uid);

/* 400 */
struct status *api_status_bad_request(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* 401: says no more than that. */
struct status *api_status_unauthorized(struct arena *arena);
/* 403: `pods "x" is forbidden: MESSAGE` */
struct status *api_status_forbidden(struct arena *arena, const struct api_resource *resource, const char *name,
                                    const char *message);
/* 404: `pods "x" not found` */
struct status *api_status_not_found(struct arena *arena, const struct api_resource *resource, const char *name);
/* 404 for a resource or path that is not served. */
struct status *api_status_no_resource(struct arena *arena);
/* 405: `VERB is not supported on resources of kind "pods"` */
struct status *api_status_method_not_supported(struct arena *arena, const struct api_resource *resource,
                                               const char *verb);
/* 405 where the path, not the kind, does not take the method. */
struct status *api_status_method_not_allowed(struct arena *arena);
/* 406; accepted is the list of media types, ", " between them. */
struct status *api_status_not_acceptable(struct arena *arena, const char *accepted);
/* 409 AlreadyExists: `pods "x" already exists` */
struct status *api_status_already_exists(struct arena *arena, const struct api_resource *resource, const char *name);
/* 409 AlreadyExists after a generated name met an existing one too often. */
struct status *api_status_generate_name_conflict(struct arena *arena, const struct api_resource *resource,
                                                 const char *name);
/* 409 Conflict: `Operation cannot be fulfilled on pods "x": MESSAGE`; message NULL: the object was modified. */
struct status *api_status_conflict(struct arena *arena, const struct api_resource *resource, const char *name,
                                   const char *message);
/* 409 Conflict when a uid or resourceVersion precondition does not hold. */
struct status *api_status_precondition_failed(struct arena *arena, const struct api_resource *resource,
                                              const char *name, const char *field, const char *wanted,
                                              const char *present);
/* 410 Expired: a resourceVersion or continue token that is too old. */
struct status *api_status_expired(struct arena *arena, const char *message);
/* 410 Expired of a watch or list from a revision that is compacted away. */
struct status *api_status_too_old_resource_version(struct arena *arena, uint64_t wanted, uint64_t oldest);
/* 413 */
struct status *api_status_request_entity_too_large(struct arena *arena, size_t limit);
/* 415; accepted as above. */
struct status *api_status_unsupported_media_type(struct arena *arena, const char *accepted);
/* 422: `Deployment.apps "x" is invalid: [a, b]` with one cause per error. */
struct status *api_status_invalid(struct arena *arena, const struct api_resource *resource, const char *name,
                                  const struct api_field_errors *errors);
/* 429 */
struct status *api_status_too_many_requests(struct arena *arena, const char *message, int retry_after_seconds);
/* 500 InternalError */
struct status *api_status_internal_error(struct arena *arena, const char *message);
/* 503 ServiceUnavailable */
struct status *api_status_service_unavailable(struct arena *arena, const char *message);
/* 504 Timeout: also of a resourceVersion that lies in the future. */
struct status *api_status_timeout(struct arena *arena, const char *message, int retry_after_seconds);
/* 504 of a list or watch at a revision that has not been written yet, with upstream's cause. */
struct status *api_status_too_large_resource_version(struct arena *arena, uint64_t wanted, uint64_t current);

/* The Status as JSON. */
void api_status_write(const struct status *status, struct buffer *out);
/* "deployments.apps", "pods". */
const char *api_qualified_resource(struct arena *arena, const struct api_resource *resource);

#endif
