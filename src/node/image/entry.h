/* Placing the entries of a layer's tar file below a directory; the second half of unpack.h, which has the rules. */
#ifndef CORACLE_NODE_IMAGE_ENTRY_H
#define CORACLE_NODE_IMAGE_ENTRY_H

#include <limits.h>
#include <time.h>

#include "base/vector.h"
#include "node/image/unpack.h"

struct archive;
struct archive_entry;

/* Directories get their times when everything is in them. */
struct directory_time {
    char *path;
    struct timespec time;
};

struct placer {
    int root;
    struct archive *tar;
    struct unpack_budget *budget;
    struct map *implied;
    VECTOR(struct directory_time) times;
    /* The parent of the last entry: entries of one directory mostly follow each other. */
    char parent_path[PATH_MAX];
    int parent; /* -1: none yet */
};

void image_placer_start(struct placer *placer, int root, struct archive *tar, struct unpack_budget *budget,
                        struct map *implied);
int image_placer_add(struct placer *placer, struct archive_entry *entry, struct error *err);
int image_placer_finish(struct placer *placer, struct error *err);
void image_placer_discard(struct placer *placer);

#endif
