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

enum tree_kind { TREE_NULL, TREE_FALSE, TREE_TRUE, TREE_NUMBER, TREE_STRING, TREE_ARRAY, TREE_OBJECT };

struct tree_member {
    const char *key;
    struct tree *value; /* NULL: removed */
};

struct tree {
    enum tree_kind kind;
    const char *text; /* of a string, or of a number as it was written */
    union {
        struct tree **items;         /* of an array */
        struct tree_member *members; /* of an object: `sorted` ones by key, then the latest ones */
    };
    size_t count; /* with removed members */
    size_t sorted;
    size_t capacity;
};

/* Reads one value. Of repeated keys the last counts. Errors as json_decode gives them: EBADMSG with the words of
 * Go's scanner. */
struct tree *tree_parse(struct arena *arena, const char *json, size_t size, struct error *err);
struct tree *tree_new(struct arena *arena, enum tree_kind kind);
/* Appends the value as compact JSON; members come in the order of their keys. */
void tree_write(struct tree *tree, struct buffer *out);
/* As Go prints the value with %v: map[a:1 b:[x y]]. */
void tree_write_go(struct tree *tree, struct buffer *out);
struct tree *tree_copy(struct arena *arena, struct tree *tree);
/* 0 for a scalar, 1 for an array of scalars. */
size_t tree_depth(struct tree *tree);
bool tree_equal(struct tree *a, struct tree *b);

/* The member of an object, or NULL. */
struct tree *tree_get(const struct tree *object, const char *key);
void tree_set(struct arena *arena, struct tree *object, const char *key, struct tree *value);
/* Whether there was such a member. */
bool tree_remove(struct tree *object, const char *key);
/* How many members an object has; and makes them all sorted, so that members[0..n) are they, until the next
 * tree_set or tree_remove. */
size_t tree_members(struct tree *object);

/* Inserts at index <= count. */
void tree_insert(struct arena *arena, struct tree *array, size_t index, struct tree *value);
void tree_remove_at(struct tree *array, size_t index);

#endif
