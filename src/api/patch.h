/* Patches: RFC 6902 (JSON patch), RFC 7386 (merge patch) and Kubernetes' strategic merge patch, which follows
 * the keys and flags of the type description. All take the present object as JSON and give the new one. */
#ifndef CORACLE_API_PATCH_H
#define CORACLE_API_PATCH_H

#include "api/type.h"
#include "base/buffer.h"
#include "base/error.h"

/* More operations in one JSON patch are refused, as upstream refuses them. */
#define PATCH_OPERATION_MAX 10000

enum patch_kind { PATCH_JSON, PATCH_MERGE, PATCH_STRATEGIC };

/* Applies the patch. On failure err->code tells the HTTP answer: EINVAL is 422 (the patch does not apply),
 * EBADMSG 400 (not a patch), E2BIG 413, anything else 500; the text is upstream's. */
int patch_apply(enum patch_kind kind, const struct api_type *type, const char *object, size_t object_size,
                const char *patch, size_t patch_size, struct buffer *out, struct error *err);

#endif
