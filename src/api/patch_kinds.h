/* The kinds of patches that have a file of their own. Each changes *object, and may use up the patch. Errors are
 * those of patch_apply. Private to api/. */
#ifndef CORACLE_API_PATCH_KINDS_H
#define CORACLE_API_PATCH_KINDS_H

#include "api/json_tree.h"
#include "api/type.h"

int patch_json(struct arena *arena, struct json_tree **object, struct json_tree *patch, struct error *err);
int patch_strategic(struct arena *arena, const struct api_type *type, struct json_tree **object,
                    struct json_tree *patch, struct error *err);

#endif
