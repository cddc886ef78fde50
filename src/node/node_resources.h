/* What a node has and what pods may have of it: what it knows itself, the kernel's huge pages among it, and what others
 * have declared in its status. */
#ifndef CORACLE_NODE_NODE_RESOURCES_H
#define CORACLE_NODE_NODE_RESOURCES_H

#include <stddef.h>
#include <stdint.h>

#include "api/types.h"
#include "base/arena.h"

#define HUGE_PAGES_DIRECTORY "/sys/kernel/mm/hugepages"

/* Pages of one size that the kernel has set aside. */
struct huge_page {
    int64_t size;         /* of one, bytes */
    int64_t total;        /* of all, bytes; 0: there are none now */
    const char *resource; /* "hugepages-2Mi" */
    const char *kernel;   /* "2MB", as control groups call the size */
};

struct huge_pages {
    struct huge_page *items;
    size_t count;
};

/* The sizes that the kernel has, in the arena; none where the folder is not there or does not look like the kernel's.
 * Blocks for the reading of small files. */
struct huge_pages huge_pages_read(struct arena *arena, const char *directory);
/* Of all sizes together, bytes. */
int64_t huge_pages_total(const struct huge_pages *pages);

struct node_amounts {
    struct string_map capacity, allocatable;
};

/* `own` is what the node says of itself; the answer is what its status is to say, in the arena and in both. As
 * upstream's kubelet: what others have put into the shown capacity stays, such as extended resources, and pods may have
 * all of it; extended resources that they have taken out of the capacity go from what pods may have, and so do sizes of
 * huge pages that the node has not. */
struct node_amounts node_resources_merge(struct arena *arena, const struct node_status *shown,
                                         const struct node_amounts *own);

#endif
