/* AA trees (Andersson, 1993), whose nodes are also linked in the order of their keys.
 *
 * Invariants: a leaf has level 1; a left child is one level below its parent; a right child is on its parent's
 * level or one below; a right grandchild is below its grandparent; a node above level 1 has two children. */
#include "base/tree.h"

#include <string.h>

static struct tree_node *skew(struct tree_node *n)
{
    struct tree_node *l = n->left;
    if (!l || l->level != n->level)
        return n;
    n->left = l->right;
    l->right = n;
    return l;
}

static struct tree_node *split(struct tree_node *n)
{
    struct tree_node *r = n->right;
    if (!r || !r->right || r->right->level != n->level)
        return n;
    n->right = r->left;
    r->left = n;
    r->level++;
    return r;
}

static struct tree_node *insert_below(struct tree_node *n, struct tree_node *fresh)
{
    if (!n)
        return fresh;
    if (strcmp(fresh->key, n->key) < 0)
        n->left = insert_below(n->left, fresh);
    else
        n->right = insert_below(n->right, fresh);
    return split(skew(n));
}

struct tree_node *tree_insert(struct tree *tree, struct tree_node *node)
{
    struct tree_node *before = NULL, *behind = NULL;
    for (struct tree_node *n = tree->root; n;) {
        int order = strcmp(node->key, n->key);
        if (order == 0)
            return n;
        if (order < 0) {
            behind = n;
            n = n->left;
        } else {
            before = n;
            n = n->right;
        }
    }
    node->left = node->right = NULL;
    node->level = 1;
    node->next = behind;
    node->previous = before;
    if (behind)
        behind->previous = node;
    if (before)
        before->next = node;
    else
        tree->first = node;
    tree->root = insert_below(tree->root, node);
    tree->count++;
    return NULL;
}

static uint32_t level_of(const struct tree_node *n)
{
    return n ? n->level : 0;
}

/* Restores the invariants at n after a child may have sunk by one level. */
static struct tree_node *lower(struct tree_node *n)
{
    uint32_t left = level_of(n->left), right = level_of(n->right);
    uint32_t should = (left < right ? left : right) + 1;
    if (should < n->level) {
        n->level = should;
        if (right > should)
            n->right->level = should;
    }
    n = skew(n);
    if (n->right) {
        n->right = skew(n->right);
        if (n->right->right)
            n->right->right = skew(n->right->right);
    }
    n = split(n);
    if (n->right)
        n->right = split(n->right);
    return n;
}

static struct tree_node *remove_below(struct tree_node *n, struct tree_node *gone)
{
    if (n != gone) {
        if (strcmp(gone->key, n->key) < 0)
            n->left = remove_below(n->left, gone);
        else
            n->right = remove_below(n->right, gone);
        return lower(n);
    }
    if (!n->left && !n->right)
        return NULL;
    /* A neighbour in the order takes its place: it is the nearest leaf of the subtree on that side. */
    struct tree_node *heir;
    if (n->left) {
        heir = n->previous;
        heir->left = remove_below(n->left, heir);
        heir->right = n->right;
    } else {
        heir = n->next;
        struct tree_node *right = remove_below(n->right, heir);
        heir->left = NULL;
        heir->right = right;
    }
    heir->level = n->level;
    return lower(heir);
}

void tree_remove(struct tree *tree, struct tree_node *node)
{
    tree->root = remove_below(tree->root, node);
    if (node->previous)
        node->previous->next = node->next;
    else
        tree->first = node->next;
    if (node->next)
        node->next->previous = node->previous;
    tree->count--;
}

struct tree_node *tree_find(const struct tree *tree, const char *key)
{
    struct tree_node *n = tree->root;
    while (n) {
        int order = strcmp(key, n->key);
        if (order == 0)
            break;
        n = order < 0 ? n->left : n->right;
    }
    return n;
}

/* The first node for which strcmp(key, node->key) < bound. */
static struct tree_node *first_with(const struct tree *tree, const char *key, int bound)
{
    struct tree_node *best = NULL;
    for (struct tree_node *n = tree->root; n;) {
        if (strcmp(key, n->key) < bound) {
            best = n;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

struct tree_node *tree_at_least(const struct tree *tree, const char *key)
{
    return first_with(tree, key, 1);
}

struct tree_node *tree_after(const struct tree *tree, const char *key)
{
    return first_with(tree, key, 0);
}
