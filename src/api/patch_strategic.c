/* Strategic merge patch: JSON merge patch that knows which lists are sets or maps. The keys and flags of the
 * description say how a list merges; directives in the patch overrule it:
 *
 *     $patch: replace | delete            in an object, or in an element of a list
 *     $retainKeys: [KEY...]               in an object: drop all other keys
 *     $deleteFromPrimitiveList/FIELD: []  values to take out of a set
 *     $setElementOrder/FIELD: []          the order of the merged list
 *
 * The order of a merged list is that of $setElementOrder, else of the patch; elements that are not in it keep
 * their place among the others. Errors are upstream's; those without a code of their own (EIO) are answered
 * with 500, as upstream answers them. */
#include <errno.h>
#include <string.h>

#include "api/field_error.h"
#include "api/patch.h"
#include "api/patch_kinds.h"

#define DIRECTIVE "$patch"
#define RETAIN_KEYS "$retainKeys"
#define DELETE_PREFIX "$deleteFromPrimitiveList"
#define ORDER_PREFIX "$setElementOrder"

/* Comparisons of elements: merging lists takes their product. More are refused. */
#define WORK_MAX 100000000

/* The element type of a map of scalars, which has no fields of its own. */
static const struct api_field map_value = {.kind = API_STRING};

struct merger {
    struct arena *arena;
    size_t work;
    struct error *err;
};

/* What the description says of the objects at a place: the fields of a struct, or a map of scalars. */
struct schema {
    const struct api_type *type; /* NULL: a map */
};

static int merge_object(struct merger *m, struct schema schema, struct json_tree **object, struct json_tree *patch);

static bool is_text(const struct json_tree *t, const char *text)
{
    return t && t->kind == TREE_STRING && strcmp(t->text, text) == 0;
}

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* How Go prints the type of a value. */
static const char *go_type(const struct json_tree *t)
{
    static const char *const names[] = {
        [TREE_NULL] = "%!s(<nil>)",
        [TREE_FALSE] = "bool",
        [TREE_TRUE] = "bool",
        [TREE_NUMBER] = "float64",
        [TREE_STRING] = "string",
        [TREE_ARRAY] = "[]interface {}",
        [TREE_OBJECT] = "map[string]interface {}",
    };
    if (t->kind == TREE_NUMBER && !strpbrk(t->text, ".eE"))
        return "int64";
    return names[t->kind];
}

static int bad_type(struct merger *m, enum json_tree_kind expected, const struct json_tree *actual)
{
    const struct json_tree sample = {.kind = expected};
    return error_set(m->err, EIO, "expected a %s, but received a %s", go_type(&sample), go_type(actual));
}

static const char *go_text(struct merger *m, struct json_tree *t)
{
    cleanup_buffer struct buffer text = {0};
    json_tree_write_go(t, &text);
    return arena_string_n(m->arena, text.data, text.size);
}

static int no_merge_key(struct merger *m, struct json_tree *object, const char *key)
{
    return error_set(m->err, EIO, "map: %s does not contain declared merge key: %s", go_text(m, object), key);
}

static int bad_patch_type(struct merger *m, struct json_tree *directive, struct json_tree *patch)
{
    return error_set(m->err, EIO, "unknown patch type: %s in map: %s", go_text(m, directive), go_text(m, patch));
}

static int bad_order_format(struct merger *m)
{
    return error_set(m->err, EBADMSG, "invalid patch format of setElementOrder list");
}

/* Counts a comparison. */
static int spend(struct merger *m)
{
    if (++m->work <= WORK_MAX)
        return 0;
    return error_set(m->err, E2BIG, "the patch merges lists that are too long");
}

/* Whether two values are equal where Go compares them with ==: scalars by value. */
static bool same(const struct json_tree *a, const struct json_tree *b)
{
    if (a->kind != b->kind || a->kind == TREE_ARRAY || a->kind == TREE_OBJECT)
        return false;
    return !a->text || strcmp(a->text, b->text) == 0;
}

/* The field of a key; a key of a map of scalars has none of its own. */
static int find_field(struct merger *m, struct schema schema, const char *key, const struct api_field **field)
{
    *field = schema.type ? api_type_field(schema.type, key, strlen(key)) : &map_value;
    if (*field)
        return 0;
    cleanup_buffer struct buffer quoted = {0};
    go_quote(&quoted, key);
    return error_set(m->err, EIO, "unable to find api field in struct %s for the json field %s", schema.type->name,
                     quoted.data);
}

static const char *merge_key(const struct api_field *f)
{
    return f->keys && !(f->flags & API_PATCH_ATOMIC) ? f->keys[0] : NULL;
}

static bool merges(const struct api_field *f)
{
    return f->shape == API_ARRAY && (merge_key(f) || f->flags & API_SET);
}

static struct schema schema_of(const struct api_field *f)
{
    return (struct schema){f->kind == API_STRUCT ? f->type : NULL};
}

/* Takes nulls and elements with directives out of a value that is new to the object. False: the value itself
 * goes. */
static bool strip(struct json_tree *t)
{
    if (t->kind == TREE_OBJECT) {
        if (json_tree_get(t, DIRECTIVE))
            return false;
        for (size_t i = 0, n = json_tree_members(t); i < n; i++)
            if (t->members[i].value->kind == TREE_NULL || !strip(t->members[i].value))
                t->members[i].value = NULL;
    } else if (t->kind == TREE_ARRAY) {
        size_t kept = 0;
        for (size_t i = 0; i < t->count; i++)
            if (strip(t->items[i]))
                t->items[kept++] = t->items[i];
        t->count = kept;
    }
    return true;
}

/* All elements have one type, and are no lists. *first is one of them, NULL if there is none. */
static int check_elements(struct merger *m, struct json_tree *a, struct json_tree *b, struct json_tree **first)
{
    struct json_tree *lists[] = {a, b};
    *first = NULL;
    for (int l = 0; l < 2; l++) {
        for (size_t i = 0; lists[l] && i < lists[l]->count; i++) {
            struct json_tree *t = lists[l]->items[i];
            if (!*first) {
                *first = t;
                if (t->kind == TREE_ARRAY)
                    return error_set(m->err, EINVAL, "lists of lists are not supported");
            } else if (strcmp(go_type(*first), go_type(t)) != 0) {
                const struct json_tree empty = {.kind = TREE_ARRAY};
                return error_set(m->err, EIO, "list element types are not identical: [%s %s]",
                                 go_text(m, a ? a : (struct json_tree *)&empty),
                                 go_text(m, b ? b : (struct json_tree *)&empty));
            }
        }
    }
    return *first ? 0 : error_set(m->err, EIO, "no elements in any of the given slices");
}

/* The index of the object with that key's value; -1 with *found false if there is none. */
static int find_element(struct merger *m, struct json_tree *list, const char *key, struct json_tree *value,
                        size_t *index, bool *found)
{
    *found = false;
    for (size_t i = 0; i < list->count; i++) {
        if (spend(m) < 0)
            return -1;
        if (list->items[i]->kind != TREE_OBJECT)
            return error_set(m->err, EIO, "value for key %zu is not a map", i);
        struct json_tree *other = json_tree_get(list->items[i], key);
        if (other && same(other, value)) {
            *index = i;
            *found = true;
            return 0;
        }
    }
    return 0;
}

/* As find_element for lists of scalars, or of objects if key is not NULL, by an element. */
static int find_like(struct merger *m, struct json_tree *list, const char *key, struct json_tree *element,
                     size_t *index, bool *found)
{
    if (key) {
        struct json_tree *value = element->kind == TREE_OBJECT ? json_tree_get(element, key) : NULL;
        if (element->kind != TREE_OBJECT)
            return bad_type(m, TREE_OBJECT, element);
        return value ? find_element(m, list, key, value, index, found) : no_merge_key(m, element, key);
    }
    *found = false;
    for (*index = 0; *index < list->count; ++*index) {
        if (spend(m) < 0)
            return -1;
        if (same(list->items[*index], element)) {
            *found = true;
            return 0;
        }
    }
    return 0;
}

/* Orders what was merged: elements that `order` has come in its order; the others keep their place relative to
 * the neighbours that they had in `original`. */
static int order_elements(struct merger *m, struct json_tree *merged, struct json_tree *order,
                          struct json_tree *original, const char *key)
{
    struct json_tree *listed = json_tree_new(m->arena, TREE_ARRAY), *others = json_tree_new(m->arena, TREE_ARRAY);
    struct json_tree *result = json_tree_new(m->arena, TREE_ARRAY);
    size_t index;
    bool found;
    for (size_t i = 0; i < merged->count; i++) {
        if (find_like(m, order, key, merged->items[i], &index, &found) < 0)
            return -1;
        struct json_tree *into = found ? listed : others;
        json_tree_insert(m->arena, into, into->count, merged->items[i]);
    }
    for (size_t i = 0; i < order->count; i++) {
        if (find_like(m, listed, key, order->items[i], &index, &found) < 0)
            return -1;
        if (found) {
            json_tree_insert(m->arena, result, result->count, listed->items[index]);
            json_tree_remove_at(listed, index);
        }
    }
    /* Elements with one key, of which the order names fewer. */
    for (size_t i = 0; i < listed->count; i++)
        json_tree_insert(m->arena, result, result->count, listed->items[i]);
    listed = result;
    result = json_tree_new(m->arena, TREE_ARRAY);
    size_t l = 0, o = 0;
    while (l < listed->count && o < others->count) {
        size_t left = 0, right = 0;
        bool left_found = false, right_found = false;
        if (find_like(m, original, key, listed->items[l], &left, &left_found) < 0 ||
            find_like(m, original, key, others->items[o], &right, &right_found) < 0)
            return -1;
        /* An element that is new comes before those of the server. */
        bool take_other = left_found && right_found && right < left;
        json_tree_insert(m->arena, result, result->count, take_other ? others->items[o++] : listed->items[l++]);
    }
    while (l < listed->count)
        json_tree_insert(m->arena, result, result->count, listed->items[l++]);
    while (o < others->count)
        json_tree_insert(m->arena, result, result->count, others->items[o++]);
    *merged = *result;
    return 0;
}

/* A copy of the list itself, not of its elements. */
static struct json_tree *shallow_copy(struct merger *m, const struct json_tree *list)
{
    struct json_tree *copy = json_tree_new(m->arena, TREE_ARRAY);
    copy->items = arena_copy(m->arena, list->items, list->count * sizeof(*list->items));
    copy->count = copy->capacity = list->count;
    return copy;
}

/* The patch's scalars behind those of the list, each once. */
static int merge_scalars(struct merger *m, struct json_tree *list, struct json_tree *patch)
{
    struct json_tree *merged = json_tree_new(m->arena, TREE_ARRAY);
    struct json_tree *lists[] = {list, patch};
    size_t index;
    bool found;
    for (int l = 0; l < 2; l++) {
        for (size_t i = 0; i < lists[l]->count; i++) {
            if (find_like(m, merged, NULL, lists[l]->items[i], &index, &found) < 0)
                return -1;
            if (!found)
                json_tree_insert(m->arena, merged, merged->count, lists[l]->items[i]);
        }
    }
    *list = *merged;
    return 0;
}

static int delete_scalars(struct merger *m, struct json_tree *list, struct json_tree *patch)
{
    size_t kept = 0, index;
    bool found;
    for (size_t i = 0; i < list->count; i++) {
        if (find_like(m, patch, NULL, list->items[i], &index, &found) < 0)
            return -1;
        if (!found)
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
    return 0;
}

/* Applies the elements that have a $patch directive, and takes them out of the patch. */
static int apply_directives(struct merger *m, struct json_tree *list, struct json_tree *patch, const char *key)
{
    bool replace = false;
    size_t kept = 0, index;
    for (size_t i = 0; i < patch->count; i++) {
        struct json_tree *element = patch->items[i], *directive = json_tree_get(element, DIRECTIVE);
        if (!directive) {
            patch->items[kept++] = element;
            continue;
        }
        if (is_text(directive, "replace")) {
            replace = true;
        } else if (is_text(directive, "delete")) {
            struct json_tree *value = json_tree_get(element, key);
            bool found = true;
            if (!value)
                return no_merge_key(m, element, key);
            while (found) {
                if (find_element(m, list, key, value, &index, &found) < 0)
                    return -1;
                if (found)
                    json_tree_remove_at(list, index);
            }
        } else if (is_text(directive, "merge")) {
            return error_set(m->err, EIO, "merging lists cannot yet be specified in the patch");
        } else {
            return bad_patch_type(m, directive, element);
        }
    }
    patch->count = kept;
    if (replace) {
        *list = *shallow_copy(m, patch);
        patch->count = 0;
    }
    return 0;
}

static int merge_objects(struct merger *m, const struct api_field *f, struct json_tree *list, struct json_tree *patch)
{
    const char *key = merge_key(f);
    size_t index;
    bool found;
    if (!key)
        return error_set(m->err, EIO, "cannot merge lists without merge key for %s", f->name);
    if (apply_directives(m, list, patch, key) < 0)
        return -1;
    for (size_t i = 0; i < patch->count; i++) {
        struct json_tree *element = patch->items[i];
        if (find_like(m, list, key, element, &index, &found) < 0)
            return -1;
        if (found) {
            if (merge_object(m, schema_of(f), &list->items[index], element) < 0)
                return -1;
        } else if (strip(element)) {
            json_tree_insert(m->arena, list, list->count, element);
        }
    }
    return 0;
}

/* Merges a list into the one of the object. */
static int merge_list(struct merger *m, const struct api_field *f, struct json_tree *list, struct json_tree *patch,
                      bool deletes)
{
    struct json_tree *first;
    if (!list->count && !patch->count)
        return 0;
    if (check_elements(m, list, patch, &first) < 0)
        return -1;
    if (first->kind != TREE_OBJECT && deletes)
        return delete_scalars(m, list, patch);
    struct json_tree *original = shallow_copy(m, list);
    const char *key = first->kind == TREE_OBJECT ? merge_key(f) : NULL;
    if ((first->kind == TREE_OBJECT ? merge_objects(m, f, list, patch) : merge_scalars(m, list, patch)) < 0)
        return -1;
    return order_elements(m, list, patch, original, key);
}

/* The elements of the patch come in the order that the directive gives, and are all in it. */
static int check_order(struct merger *m, struct json_tree *patch, struct json_tree *order, const char *key)
{
    size_t p = 0, o = 0;
    if (!patch || !patch->count || !order->count)
        return 0;
    while (p < patch->count && o < order->count) {
        struct json_tree *left = patch->items[p], *right = order->items[o];
        if (left->kind == TREE_OBJECT && json_tree_get(left, DIRECTIVE)) {
            p++;
            continue;
        }
        if (key) {
            struct json_tree *objects[] = {left, right};
            for (int i = 0; i < 2; i++) {
                if (objects[i]->kind != TREE_OBJECT)
                    return bad_type(m, TREE_OBJECT, objects[i]);
                if (!json_tree_get(objects[i], key))
                    return no_merge_key(m, objects[i], key);
            }
            left = json_tree_get(left, key);
            right = json_tree_get(right, key);
        }
        p += same(left, right);
        o++;
    }
    while (p < patch->count && patch->items[p]->kind == TREE_OBJECT && json_tree_get(patch->items[p], DIRECTIVE))
        p++;
    if (p == patch->count)
        return 0;
    return error_set(m->err, EIO, "The order in patch list:\n%s\n doesn't match %s list:\n%s\n", go_text(m, patch),
                     ORDER_PREFIX, go_text(m, order));
}

/* Merges and orders the list of one $setElementOrder directive. */
static int apply_order(struct merger *m, struct schema schema, struct json_tree *object, struct json_tree *patch,
                       const char *directive, struct json_tree *order)
{
    const struct api_field *f;
    if (order->kind != TREE_ARRAY)
        return bad_type(m, TREE_ARRAY, order);
    if (directive[strlen(ORDER_PREFIX)] != '/')
        return bad_order_format(m);
    const char *name = directive + strlen(ORDER_PREFIX) + 1;
    struct json_tree *list = json_tree_get(object, name), *changes = json_tree_get(patch, name), *first;
    if (list && list->kind != TREE_ARRAY)
        return bad_type(m, TREE_ARRAY, list);
    if (changes && changes->kind != TREE_ARRAY)
        return bad_type(m, TREE_ARRAY, changes);
    if (find_field(m, schema, name, &f) < 0)
        return -1;
    const char *key = f->shape == API_ARRAY ? merge_key(f) : NULL;
    if (check_order(m, changes, order, key) < 0)
        return -1;
    if (!list && !changes)
        return 0;
    if (check_elements(m, list, changes, &first) < 0)
        return -1;
    struct json_tree *original = list ? shallow_copy(m, list) : json_tree_new(m->arena, TREE_ARRAY);
    if (list && changes && !merges(f))
        list = changes;
    else if (list && changes && merge_list(m, f, list, changes, false) < 0)
        return -1;
    else if (!list && strip(changes))
        list = changes;
    if (order_elements(m, list, order, original, key) < 0)
        return -1;
    json_tree_set(m->arena, object, name, list);
    json_tree_remove(patch, name);
    return 0;
}

static int apply_orders(struct merger *m, struct schema schema, struct json_tree *object, struct json_tree *patch)
{
    for (size_t i = 0; i < patch->count; i++) {
        struct json_tree_member member = patch->members[i];
        if (!member.value || !has_prefix(member.key, ORDER_PREFIX))
            continue;
        json_tree_remove(patch, member.key);
        if (apply_order(m, schema, object, patch, member.key, member.value) < 0)
            return -1;
    }
    return 0;
}

static int apply_retain_keys(struct merger *m, struct json_tree *object, struct json_tree *patch)
{
    struct json_tree *keys = json_tree_get(patch, RETAIN_KEYS);
    if (!keys)
        return 0;
    json_tree_remove(patch, RETAIN_KEYS);
    if (keys->kind != TREE_ARRAY)
        return error_set(m->err, EBADMSG, "invalid patch format of retainKeys");
    struct json_tree *set = json_tree_new(m->arena, TREE_OBJECT);
    for (size_t i = 0; i < keys->count; i++)
        if (keys->items[i]->kind == TREE_STRING)
            json_tree_set(m->arena, set, keys->items[i]->text, keys->items[i]);
    for (size_t i = 0, n = json_tree_members(patch); i < n; i++) {
        const struct json_tree_member *member = &patch->members[i];
        bool exempt = member->value->kind == TREE_NULL || has_prefix(member->key, DELETE_PREFIX) ||
                      has_prefix(member->key, ORDER_PREFIX);
        if (!exempt && !json_tree_get(set, member->key))
            return error_set(m->err, EBADMSG, "invalid patch format of retainKeys");
    }
    for (size_t i = 0, n = json_tree_members(object); i < n; i++)
        if (!json_tree_get(set, object->members[i].key))
            object->members[i].value = NULL;
    return 0;
}

/* Sets a member to a value of the patch, without its directives and nulls. */
static void put_new(struct merger *m, struct json_tree *object, const char *key, struct json_tree *value)
{
    if (strip(value))
        json_tree_set(m->arena, object, key, value);
    else
        json_tree_remove(object, key);
}

static int merge_member(struct merger *m, struct schema schema, struct json_tree *object, const char *key,
                        struct json_tree *change)
{
    bool deletes = has_prefix(key, DELETE_PREFIX);
    if (deletes) {
        if (key[strlen(DELETE_PREFIX)] != '/')
            return error_set(m->err, EBADMSG, "invalid patch format of primitive list");
        key += strlen(DELETE_PREFIX) + 1;
    }
    if (change->kind == TREE_NULL) {
        json_tree_remove(object, key);
        return 0;
    }
    struct json_tree *present = json_tree_get(object, key);
    if (!present || strcmp(go_type(present), go_type(change)) != 0) {
        if (!deletes)
            put_new(m, object, key, change);
        return 0;
    }
    const struct api_field *f;
    if (change->kind != TREE_OBJECT && change->kind != TREE_ARRAY) {
        json_tree_set(m->arena, object, key, change);
        return 0;
    }
    if (find_field(m, schema, key, &f) < 0)
        return -1;
    if (change->kind == TREE_OBJECT) {
        /* What is kept as JSON has no fields: it is replaced. */
        if (f->kind == API_RAW) {
            json_tree_set(m->arena, object, key, change);
            return 0;
        }
        if (merge_object(m, schema_of(f), &present, change) < 0)
            return -1;
        json_tree_set(m->arena, object, key, present);
        return 0;
    }
    if (merges(f))
        return merge_list(m, f, present, change, deletes);
    json_tree_set(m->arena, object, key, change);
    return 0;
}

static int merge_object(struct merger *m, struct schema schema, struct json_tree **object, struct json_tree *patch)
{
    struct json_tree *directive = json_tree_get(patch, DIRECTIVE);
    if (directive) {
        json_tree_remove(patch, DIRECTIVE);
        if (is_text(directive, "replace"))
            *object = patch;
        else if (is_text(directive, "delete"))
            *object = json_tree_new(m->arena, TREE_OBJECT);
        else
            return bad_patch_type(m, directive, patch);
        return 0;
    }
    if (apply_retain_keys(m, *object, patch) < 0 || apply_orders(m, schema, *object, patch) < 0)
        return -1;
    for (size_t i = 0, n = json_tree_members(patch); i < n; i++)
        if (merge_member(m, schema, *object, patch->members[i].key, patch->members[i].value) < 0)
            return -1;
    return 0;
}

int patch_strategic(struct arena *arena, const struct api_type *type, struct json_tree **object,
                    struct json_tree *patch, struct error *err)
{
    struct merger m = {.arena = arena, .err = err};
    if (patch->kind == TREE_NULL)
        return 0;
    if (patch->kind != TREE_OBJECT)
        return error_set(err, EBADMSG, "json: cannot unmarshal %s into Go value of type map[string]interface {}",
                         patch->kind == TREE_ARRAY    ? "array"
                         : patch->kind == TREE_STRING ? "string"
                         : patch->kind == TREE_NUMBER ? "number"
                                                      : "bool");
    if ((*object)->kind != TREE_OBJECT)
        return error_set(err, EBADMSG, "invalid JSON document");
    return merge_object(&m, (struct schema){type}, object, patch);
}
