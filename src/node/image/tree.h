/* Directory trees that outsiders shaped: no operation follows a link out of them, and none needs a path longer or a
 * stack deeper than the tree's author allows. */
#ifndef CORACLE_NODE_IMAGE_TREE_H
#define CORACLE_NODE_IMAGE_TREE_H

#include <stdint.h>
#include <sys/types.h>

/* openat2(2) below root as if root were "/": absolute links and ".." stay inside, magic links are refused.
 * Returns the descriptor, or -1 with errno. */
int image_tree_open(int root, const char *path, int flags);
/* openat2(2) below root that fails with ELOOP at any link. */
int image_tree_open_plain(int root, const char *path, int flags);
/* rm -rf of parent/name, of any depth, without following links. Returns 0, or -1 with errno; what is not there is
 * fine. */
int image_tree_remove(int parent, const char *name);
/* image_tree_remove by path. */
int image_tree_remove_path(const char *path);

#endif
