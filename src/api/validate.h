/* Validation: upstream's rules with upstream's messages (pkg/apis/.../validation). The value has its defaults
 * (api/defaults.h) and, when new, went through admission; nothing here changes it. Every error found is
 * appended; errors->count == 0 means valid. Thread-safe. */
#ifndef CORACLE_API_VALIDATE_H
#define CORACLE_API_VALIDATE_H

#include "api/field_error.h"
#include "api/types.h"

/* A new root value of the resource, its name and namespace filled in. */
void api_validate_create(const struct api_resource *resource, const void *value, struct api_field_errors *errors);

/* A changed root value against the stored one. subresource is NULL for the object itself, else "status",
 * "finalize", ...: what the other half of the object may hold has been put back by then. */
void api_validate_update(const struct api_resource *resource, const void *value, const void *old,
                         const char *subresource, struct api_field_errors *errors);

/* The target of a Binding, and a Scale (old may be NULL). */
void api_validate_binding(const struct binding *binding, struct api_field_errors *errors);
void api_validate_scale(const struct scale *scale, struct api_field_errors *errors);
/* The messages of a bad name for this resource ("must be ..."): appended at path. generated: the text is a
 * generateName, which may end in '-'. */
void api_validate_name(const struct api_resource *resource, const struct api_path *path, const char *name,
                       bool generated, struct api_field_errors *errors);

/* A pod as the subresource resize takes it: the old one with the new resources of its containers. */
void api_prepare_pod_resize(struct arena *arena, struct pod *pod, const struct pod *old);

#endif
