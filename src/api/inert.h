/* Fields that are accepted and kept but do not act yet (inert= in the type descriptions): found in a value, so
 * that the answer can carry a Warning for each. */
#ifndef CORACLE_API_INERT_H
#define CORACLE_API_INERT_H

#include "api/type.h"

/* Longer paths are cut. */
#define INERT_PATH_MAX 256
/* Deeper values are not looked at; the decoder's limit is the same. */
#define INERT_DEPTH_MAX 100

/* path: "spec.containers[0].lifecycle"; reason: the description's. Both for the time of the call. */
typedef void (*inert_visit)(void *context, const char *path, const char *reason);

/* Visits every inert field that is set in the value. A field that is set below an inert one is not visited. */
void api_each_inert(const struct api_type *type, const void *value, inert_visit visit, void *context);

#endif
