/* What the files that make OpenAPI documents share. */
#ifndef CORACLE_API_OPENAPI_PARTS_H
#define CORACLE_API_OPENAPI_PARTS_H

#include <stdbool.h>

#include "api/types.h"
#include "base/buffer.h"

/* A document being written; `version` is 2 or 3. */
struct openapi_writer {
    struct buffer *out;
    int version;
};

/* openapi_schema.c */
/* {"$ref": "..."} to a schema by its full name. */
void openapi_write_ref(struct openapi_writer *w, const char *name);
/* The members of definitions (version 2) or components.schemas: all that is reachable from the kinds of the
 * group version, or everything when it is NULL. */
void openapi_write_schemas(struct openapi_writer *w, const char *api_version);
/* "io.k8s.api.core.v1.PodList", in name. */
#define OPENAPI_NAME_MAX 128
const char *openapi_list_name(const struct api_resource *resource, char name[OPENAPI_NAME_MAX]);

/* openapi_paths.c */
/* The members of paths, of one group version or of all (NULL). */
void openapi_write_paths(struct openapi_writer *w, const char *api_version);

#endif
