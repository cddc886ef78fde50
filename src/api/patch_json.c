/* JSON patch (RFC 6902), with the errors and the leniency of the library that upstream uses: indexes may be
 * negative, "add" and "replace" without a value put null, "replace" adds a key that is missing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/field_error.h"
#include "api/json.h"
#include "api/patch.h"
#include "api/patch_kinds.h"

/* The bytes that "copy" operations may add in total: 10,000 of them could double a document as many times. */
#define COPY_MAX (3 << 20)

struct change {
    struct arena *arena;
    struct json_tree *root;
    struct json_tree *operation;
    size_t copied;
    struct error *err;
};

/* Where a path leads: a container and a key in it. */
struct place {
    struct json_tree *container;
    const char *key;
    size_t depth; /* of what is put there */
};

static int fails(struct change *c, const char *format, const char *path) __attribute__((format(printf, 2, 0)));

static int fails(struct change *c, const char *format, const char *path)
{
    char *text = arena_printf(c->arena, format, path);
    return error_set(c->err, EINVAL, "%s", text);
}

/* ~1 is "/", ~0 is "~". */
static const char *decode_key(struct arena *arena, const char *key, size_t n)
{
    char *out = arena_string_n(arena, key, n), *to = out;
    for (const char *p = out; *p; p++) {
        bool escape = p[0] == '~' && (p[1] == '0' || p[1] == '1');
        *to++ = escape ? (p[1] == '1' ? '/' : '~') : *p;
        p += escape;
    }
    *to = 0;
    return out;
}

static int bad_index(struct change *c, long long index)
{
    return error_set(c->err, EINVAL, "Unable to access invalid index: %lld: invalid index referenced", index);
}

/* A number as strconv.Atoi reads it. */
static int parse_index(struct change *c, const char *key, long long *index)
{
    const char *digits = key + (*key == '-' || *key == '+');
    const char *wrong = *digits && strspn(digits, "0123456789") == strlen(digits) ? NULL : "invalid syntax";
    errno = 0;
    *index = strtoll(key, NULL, 10);
    if (!wrong && errno)
        wrong = "value out of range";
    if (!wrong)
        return 0;
    cleanup_buffer struct buffer quoted = {0};
    go_quote(&quoted, key);
    return error_set(c->err, EINVAL, "strconv.Atoi: parsing %s: %s", quoted.data, wrong);
}

/* An index below `size`, counted from the end if negative. */
static int find_index(struct change *c, const char *key, size_t size, size_t *out)
{
    long long index;
    if (parse_index(c, key, &index) < 0)
        return -1;
    if (index >= (long long)size || index < -(long long)size)
        return bad_index(c, index);
    *out = (size_t)(index < 0 ? index + (long long)size : index);
    return 0;
}

/* 0 with *value, which is NULL for a key that an object does not have. */
static int get(struct change *c, const struct place *at, struct json_tree **value)
{
    size_t index;
    if (at->container->kind == TREE_OBJECT) {
        *value = json_tree_get(at->container, at->key);
        return 0;
    }
    if (find_index(c, at->key, at->container->count, &index) < 0)
        return -1;
    *value = at->container->items[index];
    return 0;
}

static int add(struct change *c, const struct place *at, struct json_tree *value)
{
    struct json_tree *t = at->container;
    if (value && at->depth + json_tree_depth(value) > JSON_DEPTH_MAX)
        return error_set(c->err, EINVAL, "exceeded max depth");
    if (t->kind == TREE_OBJECT) {
        json_tree_set(c->arena, t, at->key, value);
        return 0;
    }
    size_t index = t->count;
    long long ignored;
    if (strcmp(at->key, "-") != 0) {
        if (parse_index(c, at->key, &ignored) < 0)
            return error_wrap(c->err, "value was not a proper array index: '%s'", at->key);
        if (find_index(c, at->key, t->count + 1, &index) < 0)
            return -1;
    }
    json_tree_insert(c->arena, t, index, value);
    return 0;
}

static int take_out(struct change *c, const struct place *at)
{
    size_t index;
    if (at->container->kind == TREE_OBJECT) {
        if (json_tree_remove(at->container, at->key))
            return 0;
        return fails(c, "Unable to remove nonexistent key: %s: missing value", at->key);
    }
    if (find_index(c, at->key, at->container->count, &index) < 0)
        return -1;
    json_tree_remove_at(at->container, index);
    return 0;
}

/* The place of a path; false if there is none. */
static bool find_place(struct change *c, const char *path, struct place *out)
{
    struct json_tree *t = c->root;
    const char *p = strchr(path, '/');
    if (!p)
        return false;
    p++;
    for (size_t depth = 1;; depth++) {
        size_t n = strcspn(p, "/");
        struct place here = {t, decode_key(c->arena, p, n), depth};
        if (!p[n]) {
            *out = here;
            return true;
        }
        if (get(c, &here, &t) < 0 || !t || (t->kind != TREE_OBJECT && t->kind != TREE_ARRAY))
            return false;
        p += n + 1;
    }
}

/* "path" or "from" of the operation; NULL if there is none. */
static const char *text_of(struct change *c, const char *name)
{
    struct json_tree *t = json_tree_get(c->operation, name);
    return t && t->kind == TREE_STRING ? t->text : NULL;
}

/* The value of the operation; a missing one is null. */
static struct json_tree *value_of(struct change *c)
{
    struct json_tree *value = json_tree_get(c->operation, "value");
    return value ? json_tree_copy(c->arena, value) : json_tree_new(c->arena, TREE_NULL);
}

static int apply_add(struct change *c)
{
    const char *path = text_of(c, "path");
    struct place at;
    if (!path)
        return fails(c, "add operation failed to decode path: missing value%s", "");
    if (!find_place(c, path, &at))
        return fails(c, "add operation does not apply: doc is missing path: \"%s\": missing value", path);
    return add(c, &at, value_of(c)) < 0 ? error_wrap(c->err, "error in add for path: '%s'", path) : 0;
}

static int apply_remove(struct change *c)
{
    const char *path = text_of(c, "path");
    struct place at;
    if (!path)
        return fails(c, "remove operation failed to decode path: missing value%s", "");
    if (!find_place(c, path, &at))
        return fails(c, "remove operation does not apply: doc is missing path: \"%s\": missing value", path);
    return take_out(c, &at) < 0 ? error_wrap(c->err, "error in remove for path: '%s'", path) : 0;
}

static int apply_replace(struct change *c)
{
    const char *path = text_of(c, "path");
    struct place at;
    size_t index;
    if (!path)
        return fails(c, "replace operation failed to decode path: operation missing path field: missing value%s", "");
    struct json_tree *value = value_of(c);
    if (!*path) {
        if (value->kind != TREE_OBJECT && value->kind != TREE_ARRAY)
            return fails(c, "replace operation value must be object or array%s", "");
        c->root = value;
        return 0;
    }
    if (!find_place(c, path, &at))
        return fails(c, "replace operation does not apply: doc is missing path: %s: missing value", path);
    if (at.container->kind == TREE_OBJECT)
        return add(c, &at, value);
    if (find_index(c, at.key, at.container->count, &index) < 0)
        return fails(c, "replace operation does not apply: doc is missing key: %s: missing value", path);
    if (at.depth + json_tree_depth(value) > JSON_DEPTH_MAX)
        return error_set(c->err, EINVAL, "exceeded max depth");
    at.container->items[index] = value;
    return 0;
}

static int apply_move(struct change *c)
{
    const char *from = text_of(c, "from"), *path = text_of(c, "path");
    struct place at;
    struct json_tree *value;
    if (!from)
        return fails(c, "move operation failed to decode from: operation, missing from field: missing value%s", "");
    if (!find_place(c, from, &at))
        return fails(c, "move operation does not apply: doc is missing from path: %s: missing value", from);
    if (get(c, &at, &value) < 0 || take_out(c, &at) < 0 || !value)
        return error_wrap(c->err, "error in move for path: '%s'", at.key);
    if (!path)
        return fails(c, "move operation failed to decode path: operation missing path field: missing value%s", "");
    if (!find_place(c, path, &at))
        return fails(c, "move operation does not apply: doc is missing destination path: %s: missing value", path);
    return add(c, &at, value) < 0 ? error_wrap(c->err, "error in move for path: '%s'", path) : 0;
}

static int apply_copy(struct change *c)
{
    const char *from = text_of(c, "from"), *path = text_of(c, "path");
    struct place at;
    struct json_tree *value;
    if (!from)
        return fails(c, "copy operation failed to decode from: operation, missing from field: missing value%s", "");
    if (!find_place(c, from, &at))
        return fails(c, "copy operation does not apply: doc is missing from path: %s: missing value", from);
    if (get(c, &at, &value) < 0)
        return error_wrap(c->err, "error in copy for from: '%s'", from);
    if (!path)
        return fails(c, "copy operation failed to decode path: missing value%s", "");
    if (!find_place(c, path, &at))
        return fails(c, "copy operation does not apply: doc is missing destination path: %s: missing value", path);
    cleanup_buffer struct buffer text = {0};
    if (!value)
        value = json_tree_new(c->arena, TREE_NULL);
    json_tree_write(value, &text);
    c->copied += text.size;
    if (c->copied > COPY_MAX)
        return error_set(
            c->err, EINVAL,
            "Unable to complete the copy, the accumulated size increase of copy is %zu, exceeding the limit "
            "%d",
            c->copied, COPY_MAX);
    if (add(c, &at, json_tree_copy(c->arena, value)) < 0)
        return error_wrap(c->err, "error while adding value during copy");
    return 0;
}

static int apply_test(struct change *c)
{
    const char *path = text_of(c, "path");
    struct place at;
    struct json_tree *value = c->root, *wanted = value_of(c);
    if (!path)
        return fails(c, "test operation failed to decode path: operation missing path field: missing value%s", "");
    if (*path) {
        if (!find_place(c, path, &at))
            return fails(c, "test operation does not apply: is missing path: %s: missing value", path);
        if (get(c, &at, &value) < 0)
            return error_wrap(c->err, "error in test for path: '%s'", path);
    }
    bool same = value ? json_tree_equal(value, wanted) : wanted->kind == TREE_NULL;
    return same ? 0 : fails(c, "testing value %s failed: test failed", path);
}

static const struct {
    const char *name;
    int (*apply)(struct change *c);
} operations[] = {
    {"add", apply_add},   {"remove", apply_remove}, {"replace", apply_replace},
    {"move", apply_move}, {"test", apply_test},     {"copy", apply_copy},
};

static int apply(struct change *c)
{
    struct json_tree *op = json_tree_get(c->operation, "op");
    const char *name = op && op->kind == TREE_STRING ? op->text : "unknown";
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
        if (strcmp(operations[i].name, name) == 0)
            return operations[i].apply(c);
    return fails(c, "Unexpected kind: %s", name);
}

static const char *go_token(const struct json_tree *t)
{
    static const char *const names[] = {"null", "bool", "bool", "number", "string", "array", "object"};
    return names[t->kind];
}

int patch_json(struct arena *arena, struct json_tree **object, struct json_tree *patch, struct error *err)
{
    struct change c = {.arena = arena, .root = *object, .err = err};
    if (patch->kind != TREE_ARRAY && patch->kind != TREE_NULL)
        return error_set(err, EBADMSG, "json: cannot unmarshal %s into Go value of type jsonpatch.Patch",
                         go_token(patch));
    for (size_t i = 0; i < patch->count; i++)
        if (patch->items[i]->kind != TREE_OBJECT)
            return error_set(err, EBADMSG, "json: cannot unmarshal %s into Go value of type jsonpatch.Operation",
                             go_token(patch->items[i]));
    if (patch->count > PATCH_OPERATION_MAX)
        return error_set(err, E2BIG, "The allowed maximum operations in a JSON patch is %d, got %zu",
                         PATCH_OPERATION_MAX, patch->count);
    for (size_t i = 0; i < patch->count; i++) {
        c.operation = patch->items[i];
        if (apply(&c) < 0)
            return -1;
    }
    *object = c.root;
    return 0;
}
