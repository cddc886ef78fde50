/* The promises of base/tree.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/tree.h"

#define KEYS 2000

struct thing {
    struct tree_node node;
    char key[16];
    int in;
};

static struct thing things[KEYS];

/* Invariants of AA trees; returns the number of nodes. */
static size_t check(const struct tree_node *n)
{
    if (!n)
        return 0;
    uint32_t left = n->left ? n->left->level : 0, right = n->right ? n->right->level : 0;
    assert_int_equal(left, n->level - 1);
    assert_true(right == n->level || right == n->level - 1);
    if (n->right && n->right->right)
        assert_true(n->right->right->level < n->level);
    if (n->left)
        assert_true(strcmp(n->left->key, n->key) < 0);
    if (n->right)
        assert_true(strcmp(n->right->key, n->key) > 0);
    return check(n->left) + 1 + check(n->right);
}

static void check_all(const struct tree *tree)
{
    assert_int_equal(check(tree->root), tree->count);
    size_t seen = 0;
    const struct tree_node *previous = NULL;
    for (struct tree_node *n = tree_first(tree); n; n = n->next) {
        assert_ptr_equal(n->previous, previous);
        if (previous)
            assert_true(strcmp(previous->key, n->key) < 0);
        previous = n;
        seen++;
    }
    assert_int_equal(seen, tree->count);
}

static void a_tree_stays_ordered_and_balanced_through_any_history(void **state)
{
    struct tree tree = {0};
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < KEYS; i++) {
        snprintf(things[i].key, sizeof(things[i].key), "k%04d", i);
        things[i].node.key = things[i].key;
    }
    for (int step = 0; step < 20000; step++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        struct thing *t = &things[random % KEYS];
        if (t->in)
            tree_remove(&tree, &t->node);
        else
            assert_null(tree_insert(&tree, &t->node));
        t->in = !t->in;
        if (step % 500 == 0)
            check_all(&tree);
    }
    for (int i = 0; i < KEYS; i++) {
        struct tree_node *found = tree_find(&tree, things[i].key), *after = tree_after(&tree, things[i].key);
        assert_ptr_equal(found, things[i].in ? &things[i].node : NULL);
        int k = i + 1;
        while (k < KEYS && !things[k].in)
            k++;
        assert_ptr_equal(after, k < KEYS ? &things[k].node : NULL);
        assert_ptr_equal(tree_at_least(&tree, things[i].key), found ? found : after);
    }
    while (tree.count)
        tree_remove(&tree, tree_first(&tree));
    assert_null(tree.root);
}

static void a_key_is_in_a_tree_once(void **state)
{
    struct tree tree = {0};
    struct tree_node a = {.key = "a"}, b = {.key = "a"};
    assert_null(tree_insert(&tree, &a));
    assert_ptr_equal(tree_insert(&tree, &b), &a);
    assert_int_equal(tree.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_stays_ordered_and_balanced_through_any_history),
        cmocka_unit_test(a_key_is_in_a_tree_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
