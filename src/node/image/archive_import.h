/* An import of an archive while it goes on. Private to archive.c, which reads the archive, and archive_plan.c, which
 * reads its documents. */
#ifndef CORACLE_NODE_IMAGE_ARCHIVE_IMPORT_H
#define CORACLE_NODE_IMAGE_ARCHIVE_IMPORT_H

#include "node/image/store.h"
#include "node/image/unpack.h"

struct document {
    char *data;
    size_t size;
};

/* A layer of one image: an entry of the archive that becomes layers/<chain>. */
struct wanted_layer {
    const char *path;   /* in the archive */
    const char *digest; /* of the entry's bytes; "" where the archive does not say */
    const char *diff_id;
    char chain[DIGEST_TEXT_SIZE];
    char *temporary; /* where it is unpacked, or NULL */
    bool present;    /* in the store */
    uint64_t size;
    struct unpack_result result;
};

struct wanted_image {
    struct record record;
    const char *config;
    size_t config_size;
    struct wanted_layer *layers;
    size_t layer_count;
    struct unpack_budget budget;
};

struct import {
    struct image_store *store;
    const char *path;
    const char *name;
    struct cancel cancel;
    struct arena *arena;
    struct map documents; /* path -> struct document */
    struct map links;     /* path -> target path */
    struct map sizes;     /* path -> uint64_t, of every file */
    size_t document_bytes;
    VECTOR(struct wanted_image *) images;
};

/* Follows the archive's links from a name to the file meant. */
const char *image_archive_resolve(struct import *import, const char *name);
/* Fills import->images with what the documents that were read say: of each layer, which entry it is. */
int image_archive_plan(struct import *import, struct error *err);

#endif
