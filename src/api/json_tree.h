/* JSON as a tree, for what cannot be typed: patches. All of a tree lives in one arena. Numbers keep their
 * spelling, strings are valid UTF-8 without NUL, and the members of an object are found by binary search, so
 * that no text makes an operation on it slow. Private to api/. */
#ifndef CORACLE_API_JSON_TREE_H
#define CORACLE_API_JSON_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"

/* A text with more values is refused. */
#define TREE_VALUE_MAX 1000000

enum json_tree_kind { TREE_NULL, TREE_FALSE, TREE_TRUE, TREE_NUMBER, TREE_STRING, TREE_ARRAY, TREE_OBJECT };

struct json_tree_member {
    const char *key;
    struct json_tree *value; /* NULL: removed */
};

struct json_tree {
    enum json_tree_kind kind;
    const char *text; /* of a string, or of a number as it was written */
    union {
        struct json_tree **items;         /* of an array */
        struct json_tree_member *members; /* of an object: `sorted` ones by key, then the latest ones */
    };
    size_t count; /* with removed members */
    size_t sorted;
    size_t capacity;
};

/* Reads one value. Of repeated keys the last counts. Errors as json_decode gives them: EBADMSG with the words of
 * Go's scanner. */
struct json_tree *json_tree_parse(struct arena *arena, const char *json, size_t size, struct error *err);
struct json_tree *json_tree_new(struct arena *arena, enum json_tree_kind kind);
/* Appends the value as compact JSON; members come in the order of their keys. */
void json_tree_write(struct json_tree *tree, struct buffer *out);
/* As Go prints the value with %v: map[a:1 b:[x y]]. */
void json_tree_write_go(struct json_tree *tree, struct buffer *out);
struct json_tree *json_tree_copy(struct arena *arena, struct json_tree *tree);
/* 0 for a scalar, 1 for an array of scalars. */
size_t json_tree_depth(struct json_tree *tree);
bool json_tree_equal(struct json_tree *a, struct json_tree *b);

/* The member of an object, or NULL. */
struct json_tree *json_tree_get(const struct json_tree *object, const char *key);
void json_tree_set(struct arena *arena, struct json_tree *object, const char *key, struct json_tree *value);
/* Whether there was such a member. */
bool json_tree_remove(struct json_tree *object, const char *key);
/* How many members an object has; and makes them all sorted, so that members[0..n) are they, until the next
 * json_tree_set or json_tree_remove. */
size_t json_tree_members(struct json_tree *object);

/* Inserts at index <= count. */
void json_tree_insert(struct arena *arena, struct json_tree *array, size_t index, struct json_tree *value);
void json_tree_remove_at(struct json_tree *array, size_t index);

#endif
