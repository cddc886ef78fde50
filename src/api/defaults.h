/* Defaulting: what upstream fills in before it validates and stores an object (pkg/apis/.../defaults.go and
 * the defaults that its conversions and strategies set). Applied to what clients send, on create and on
 * update; applying it twice changes nothing. The value is changed in place, what it gains comes from the
 * arena. */
#ifndef CORACLE_API_DEFAULTS_H
#define CORACLE_API_DEFAULTS_H

#include "api/types.h"
#include "base/arena.h"

/* `value` is a root value of the resource. */
void api_set_defaults(struct arena *arena, const struct api_resource *resource, void *value);
/* A pod's specification alone, as templates hold it. */
void api_set_pod_spec_defaults(struct arena *arena, struct pod_spec *spec);

/* The tag of an image reference as defaulting understands it: "latest" when it has neither tag nor digest,
 * "" when it has only a digest. In `out`, cut to its size. */
void api_image_tag(const char *image, char *out, size_t size);

#endif
