/* JSON merge patch, and the way into the three kinds of patches. */
#include "api/patch.h"

#include <errno.h>

#include "api/json_tree.h"
#include "api/patch_kinds.h"

/* RFC 7386 with one habit of upstream: nulls inside of what is new are dropped too. */
static struct json_tree *merge(struct arena *arena, struct json_tree *object, struct json_tree *patch)
{
    if (patch->kind != TREE_OBJECT)
        return patch;
    if (!object || object->kind != TREE_OBJECT)
        object = json_tree_new(arena, TREE_OBJECT);
    for (size_t i = 0, n = json_tree_members(patch); i < n; i++) {
        const char *key = patch->members[i].key;
        struct json_tree *value = patch->members[i].value;
        if (value->kind == TREE_NULL)
            json_tree_remove(object, key);
        else
            json_tree_set(arena, object, key, merge(arena, json_tree_get(object, key), value));
    }
    return object;
}

static int merge_patch(struct arena *arena, struct json_tree **object, struct json_tree *patch, struct error *err)
{
    if (patch->kind != TREE_OBJECT)
        return error_set(err, EBADMSG, "Invalid JSON Patch");
    *object = merge(arena, *object, patch);
    return 0;
}

int patch_apply(enum patch_kind kind, const struct api_type *type, const char *object, size_t object_size,
                const char *patch, size_t patch_size, struct buffer *out, struct error *err)
{
    struct error scratch = {0};
    if (!err)
        err = &scratch;
    cleanup_arena struct arena *arena = arena_new(object_size + patch_size);
    struct json_tree *value = json_tree_parse(arena, object, object_size, err);
    if (!value)
        return error_wrap(err, "the present object");
    struct json_tree *change = json_tree_parse(arena, patch, patch_size, err);
    if (!change) {
        /* A patch that cannot be read is a bad request, whatever is wrong with it. */
        if (err->code == EINVAL)
            err->code = EBADMSG;
        return -1;
    }
    int result = kind == PATCH_JSON    ? patch_json(arena, &value, change, err)
                 : kind == PATCH_MERGE ? merge_patch(arena, &value, change, err)
                                       : patch_strategic(arena, type, &value, change, err);
    if (result == 0)
        json_tree_write(value, out);
    return result;
}
