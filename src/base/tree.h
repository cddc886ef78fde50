/* An ordered tree of text keys, intrusive: the caller embeds a node and owns its memory and its key. Finding,
 * inserting and removing take O(log n) comparisons (strcmp), stepping to the next node is one pointer. The
 * shape depends only on the history of insertions and removals, so simulated runs repeat.
 *
 *     for (struct tree_node *n = tree_first(&tree); n; n = n->next)
 *         use(tree_entry(n, struct thing, node)); */
#ifndef CORACLE_BASE_TREE_H
#define CORACLE_BASE_TREE_H

#include <stddef.h>
#include <stdint.h>

struct tree_node {
    const char *key; /* set by the caller before tree_insert; must not change while in the tree */
    /* The neighbours in the order of keys. */
    struct tree_node *next, *previous;
    /* Private. */
    struct tree_node *left, *right;
    uint32_t level;
};

/* All zero bytes is an empty tree. */
struct tree {
    struct tree_node *root;
    struct tree_node *first;
    size_t count;
};

#define tree_entry(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

/* Puts the node in and returns NULL, or returns the node that has its key already. */
struct tree_node *tree_insert(struct tree *tree, struct tree_node *node);
/* Takes out a node that is in the tree. */
void tree_remove(struct tree *tree, struct tree_node *node);
/* The node of the key, or NULL. */
struct tree_node *tree_find(const struct tree *tree, const char *key);
/* The first node whose key is not below `key`, or NULL. */
struct tree_node *tree_at_least(const struct tree *tree, const char *key);
/* The first node whose key is above `key`, or NULL. */
struct tree_node *tree_after(const struct tree *tree, const char *key);

static inline struct tree_node *tree_first(const struct tree *tree)
{
    return tree->first;
}

#endif
