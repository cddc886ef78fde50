/* JSON trees.
 *
 * The members of an object are a sorted run and a short tail of the latest ones, which is sorted in when it
 * grows beyond the square root of the whole: n insertions and lookups take O(n * sqrt(n)) at worst, without a
 * hash that an adversary could aim at. */
#include "api/json_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/json_text.h"

#define TAIL_MIN 16

/* The reader works on text that json_check_syntax has passed, so it checks nothing again. */
struct reader {
    struct arena *arena;
    struct string_pool strings;
    const char *p;
    const char *end;
    size_t values;
    struct error *err;
    struct buffer text;
};

struct json_tree *json_tree_new(struct arena *arena, enum json_tree_kind kind)
{
    struct json_tree *t = arena_alloc(arena, sizeof(*t));
    t->kind = kind;
    return t;
}

static void grow(struct arena *arena, struct json_tree *t, size_t element)
{
    if (t->count < t->capacity)
        return;
    size_t room = t->capacity ? t->capacity : 4;
    t->items = arena_array_grow(arena, t->items, t->count, room, element);
    t->capacity = t->count + room;
}

static int by_key(const void *a, const void *b)
{
    const struct json_tree_member *x = a, *y = b;
    return strcmp(x->key, y->key);
}

static struct json_tree_member *find(const struct json_tree *t, const char *key)
{
    size_t low = 0, high = t->sorted;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(key, t->members[middle].key);
        if (order == 0)
            return &t->members[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    for (size_t i = t->sorted; i < t->count; i++)
        if (strcmp(key, t->members[i].key) == 0)
            return &t->members[i];
    return NULL;
}

size_t json_tree_members(struct json_tree *t)
{
    size_t kept = 0;
    bool sorted = t->sorted == t->count;
    for (size_t i = 0; i < t->count; i++)
        if (t->members[i].value)
            t->members[kept++] = t->members[i];
    t->count = t->sorted = kept;
    if (!sorted)
        qsort(t->members, kept, sizeof(*t->members), by_key);
    return kept;
}

struct json_tree *json_tree_get(const struct json_tree *t, const char *key)
{
    const struct json_tree_member *m = find(t, key);
    return m ? m->value : NULL;
}

void json_tree_set(struct arena *arena, struct json_tree *t, const char *key, struct json_tree *value)
{
    struct json_tree_member *m = find(t, key);
    if (m) {
        m->value = value;
        return;
    }
    grow(arena, t, sizeof(struct json_tree_member));
    bool in_order = t->sorted == t->count && (!t->count || strcmp(t->members[t->count - 1].key, key) < 0);
    t->members[t->count++] = (struct json_tree_member){key, value};
    if (in_order)
        t->sorted = t->count;
    size_t tail = t->count - t->sorted;
    if (tail > TAIL_MIN && tail * tail > t->sorted)
        json_tree_members(t);
}

bool json_tree_remove(struct json_tree *t, const char *key)
{
    struct json_tree_member *m = find(t, key);
    if (!m || !m->value)
        return false;
    m->value = NULL;
    return true;
}

void json_tree_insert(struct arena *arena, struct json_tree *t, size_t index, struct json_tree *value)
{
    grow(arena, t, sizeof(struct json_tree *));
    memmove(t->items + index + 1, t->items + index, (t->count - index) * sizeof(*t->items));
    t->items[index] = value;
    t->count++;
}

void json_tree_remove_at(struct json_tree *t, size_t index)
{
    memmove(t->items + index, t->items + index + 1, (t->count - index - 1) * sizeof(*t->items));
    t->count--;
}

static void blanks(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t'))
        r->p++;
}

/* The string behind the opening quote. */
static const char *read_text(struct reader *r)
{
    const char *text = NULL;
    size_t n = 0;
    if (json_read_string(&r->p, r->end, &r->text, &text, &n) < 0)
        return NULL;
    if (memchr(text, 0, n)) {
        error_set(r->err, EINVAL, "strings with a NUL character are not supported");
        return NULL;
    }
    return string_pool_copy(&r->strings, text, n);
}

static struct json_tree *read_value(struct reader *r);

static struct json_tree *read_array(struct reader *r)
{
    struct json_tree *t = json_tree_new(r->arena, TREE_ARRAY);
    for (r->p++, blanks(r); *r->p != ']'; blanks(r)) {
        if (*r->p == ',')
            r->p++;
        blanks(r);
        struct json_tree *value = read_value(r);
        if (!value)
            return NULL;
        json_tree_insert(r->arena, t, t->count, value);
    }
    r->p++;
    return t;
}

static struct json_tree *read_object(struct reader *r)
{
    struct json_tree *t = json_tree_new(r->arena, TREE_OBJECT);
    for (r->p++, blanks(r); *r->p != '}'; blanks(r)) {
        if (*r->p == ',')
            r->p++;
        blanks(r);
        r->p++;
        const char *key = read_text(r);
        blanks(r);
        r->p++;
        blanks(r);
        struct json_tree *value = key ? read_value(r) : NULL;
        if (!value)
            return NULL;
        json_tree_set(r->arena, t, key, value);
    }
    r->p++;
    return t;
}

static struct json_tree *read_value(struct reader *r)
{
    if (++r->values > TREE_VALUE_MAX) {
        error_set(r->err, E2BIG, "the JSON text has more than %d values", TREE_VALUE_MAX);
        return NULL;
    }
    static const char *const words[] = {[TREE_NULL] = "null", [TREE_FALSE] = "false", [TREE_TRUE] = "true"};
    char c = *r->p;
    if (c == '{')
        return read_object(r);
    if (c == '[')
        return read_array(r);
    if (c == '"') {
        r->p++;
        struct json_tree *t = json_tree_new(r->arena, TREE_STRING);
        t->text = read_text(r);
        return t->text ? t : NULL;
    }
    for (int kind = TREE_NULL; kind <= TREE_TRUE; kind++) {
        if (c == words[kind][0]) {
            r->p += strlen(words[kind]);
            return json_tree_new(r->arena, (enum json_tree_kind)kind);
        }
    }
    const char *start = r->p;
    while (r->p < r->end && *r->p && strchr("+-.0123456789eE", *r->p))
        r->p++;
    struct json_tree *t = json_tree_new(r->arena, TREE_NUMBER);
    t->text = string_pool_copy(&r->strings, start, (size_t)(r->p - start));
    return t;
}

struct json_tree *json_tree_parse(struct arena *arena, const char *json, size_t size, struct error *err)
{
    if (json_check_syntax(json, size, err) < 0)
        return NULL;
    struct reader r = {.arena = arena, .p = json, .end = json + size, .err = err};
    r.strings.arena = arena;
    blanks(&r);
    struct json_tree *t = read_value(&r);
    buffer_free(&r.text);
    return t;
}

void json_tree_write(struct json_tree *t, struct buffer *out)
{
    switch (t->kind) {
    case TREE_NULL:
        buffer_add_string(out, "null");
        break;
    case TREE_FALSE:
        buffer_add_string(out, "false");
        break;
    case TREE_TRUE:
        buffer_add_string(out, "true");
        break;
    case TREE_NUMBER:
        buffer_add_string(out, t->text);
        break;
    case TREE_STRING:
        json_encode_string(out, t->text);
        break;
    case TREE_ARRAY:
        buffer_add_char(out, '[');
        for (size_t i = 0; i < t->count; i++) {
            if (i)
                buffer_add_char(out, ',');
            json_tree_write(t->items[i], out);
        }
        buffer_add_char(out, ']');
        break;
    case TREE_OBJECT:
        buffer_add_char(out, '{');
        for (size_t i = 0, n = json_tree_members(t); i < n; i++) {
            if (i)
                buffer_add_char(out, ',');
            json_encode_string(out, t->members[i].key);
            buffer_add_char(out, ':');
            json_tree_write(t->members[i].value, out);
        }
        buffer_add_char(out, '}');
        break;
    }
}

void json_tree_write_go(struct json_tree *t, struct buffer *out)
{
    switch (t->kind) {
    case TREE_NULL:
        buffer_add_string(out, "<nil>");
        break;
    case TREE_FALSE:
    case TREE_TRUE:
        json_tree_write(t, out);
        break;
    case TREE_NUMBER:
    case TREE_STRING:
        buffer_add_string(out, t->text);
        break;
    case TREE_ARRAY:
        buffer_add_char(out, '[');
        for (size_t i = 0; i < t->count; i++) {
            if (i)
                buffer_add_char(out, ' ');
            json_tree_write_go(t->items[i], out);
        }
        buffer_add_char(out, ']');
        break;
    case TREE_OBJECT:
        buffer_add_string(out, "map[");
        for (size_t i = 0, n = json_tree_members(t); i < n; i++) {
            buffer_printf(out, "%s%s:", i ? " " : "", t->members[i].key);
            json_tree_write_go(t->members[i].value, out);
        }
        buffer_add_char(out, ']');
        break;
    }
}

struct json_tree *json_tree_copy(struct arena *arena, struct json_tree *t)
{
    struct json_tree *copy = json_tree_new(arena, t->kind);
    copy->text = t->text;
    if (t->kind == TREE_ARRAY) {
        copy->items = arena_alloc(arena, t->count * sizeof(*t->items));
        copy->count = copy->capacity = t->count;
        for (size_t i = 0; i < t->count; i++)
            copy->items[i] = json_tree_copy(arena, t->items[i]);
    } else if (t->kind == TREE_OBJECT) {
        size_t n = json_tree_members(t);
        copy->members = arena_alloc(arena, n * sizeof(*t->members));
        copy->count = copy->sorted = copy->capacity = n;
        for (size_t i = 0; i < n; i++)
            copy->members[i] = (struct json_tree_member){t->members[i].key, json_tree_copy(arena, t->members[i].value)};
    }
    return copy;
}

size_t json_tree_depth(struct json_tree *t)
{
    size_t deepest = 0;
    if (t->kind != TREE_ARRAY && t->kind != TREE_OBJECT)
        return 0;
    size_t n = t->kind == TREE_OBJECT ? json_tree_members(t) : t->count;
    for (size_t i = 0; i < n; i++) {
        size_t depth = json_tree_depth(t->kind == TREE_OBJECT ? t->members[i].value : t->items[i]);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

bool json_tree_equal(struct json_tree *a, struct json_tree *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == TREE_NUMBER || a->kind == TREE_STRING)
        return strcmp(a->text, b->text) == 0;
    if (a->kind == TREE_ARRAY) {
        if (a->count != b->count)
            return false;
        for (size_t i = 0; i < a->count; i++)
            if (!json_tree_equal(a->items[i], b->items[i]))
                return false;
    } else if (a->kind == TREE_OBJECT) {
        size_t n = json_tree_members(a);
        if (n != json_tree_members(b))
            return false;
        for (size_t i = 0; i < n; i++)
            if (strcmp(a->members[i].key, b->members[i].key) != 0 ||
                !json_tree_equal(a->members[i].value, b->members[i].value))
                return false;
    }
    return true;
}
