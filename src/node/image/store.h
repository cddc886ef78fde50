/* The store on disk; private to src/node/image.
 *
 *     lock              flock'd exclusively for every change of index.json and of the set of layers
 *     lease             flock'd shared by whoever adds layers that no image refers to yet; a sweep takes it exclusively
 *     index.json        all images: the only file that changes, replaced in one step
 *     blobs/sha256/HEX  configurations as they came
 *     layers/HEX        unpacked layers by chain ID, each ready as a lower directory of overlayfs
 *     uses/HEX          which layers a mounted root file system needs, by the SHA-256 of its directory
 *     partial/HEX       blobs that are being downloaded; kept for PARTIAL_AGE_MAX so that a pull can resume
 *     temporary/SESSION half-done work of one opener, which holds a flock on the directory; removed when it is free
 *     sweep             exists when layers may be unreferenced
 *
 * Invariants: a layer is complete and on disk before it has its name in layers/; all layers and the configuration of an
 * image are there before index.json names it. A crash leaves at most unreferenced layers (swept at the next open) and a
 * dead session. */
#ifndef CORACLE_NODE_IMAGE_STORE_H
#define CORACLE_NODE_IMAGE_STORE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/map.h"
#include "base/vector.h"
#include "node/image/digest.h"
#include "node/image/image.h"

#define INDEX_SIZE_MAX ((size_t)64 << 20) /* bytes of index.json */
#define USE_SIZE_MAX ((size_t)64 << 10)   /* bytes of a file in uses/ */
#define PARTIAL_AGE_MAX (24 * 60 * 60)    /* seconds that a partial download is kept */

struct image_store {
    char *directory;
    char *session; /* path of this opener's directory in temporary/ */
    int session_lock;
    struct image_limits limits;
    atomic_uint next; /* numbers names in the session */
};

/* One image in index.json. */
struct record {
    char *id;
    VECTOR(char *) names; /* strings are the index's */
    VECTOR(char *) digests;
    struct image_strings layers; /* chain IDs in hexadecimal, lowest first */
    uint64_t size;
    int64_t stored;
};

struct index {
    struct arena *arena;
    VECTOR(struct record) records;
};

void image_index_free(struct index *index);
#define cleanup_index __attribute__((cleanup(image_index_free)))
int image_index_load(struct image_store *store, struct index *out, struct error *err);
/* The caller holds the store's lock exclusively. */
int image_index_save(struct image_store *store, const struct index *index, struct error *err);
struct record *image_index_find_id(struct index *index, const char *id);

/* A path in the store, to be released with free(). */
char *image_store_path(const struct image_store *store, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Takes a flock (LOCK_SH, LOCK_EX, LOCK_NB) on a file of the store; closing *fd lets go. With LOCK_NB a lock that is
 * held fails with EWOULDBLOCK. */
int image_store_lock(struct image_store *store, const char *file, int operation, int *fd, struct error *err);
/* A path in the session that nothing has yet. */
char *image_store_temporary(struct image_store *store);
/* Stores a small document under its digest. */
int image_store_blob_write(struct image_store *store, const char *digest, const void *data, size_t size,
                           struct error *err);
int image_store_blob_read(struct image_store *store, const char *digest, size_t limit, struct buffer *out,
                          struct error *err);
int image_store_sync_directory(struct image_store *store, const char *name, struct error *err);

/* Whether the layer with this chain ID (hexadecimal) is there. */
bool image_store_has_layer(struct image_store *store, const char *chain);
/* Makes an unpacked layer permanent: gives the directories that its archive only implied (keys of `implied`) the
 * attributes that they have in the layers below, syncs it and moves it to its name. `lower` are the chain IDs below,
 * lowest first. Fine when another was faster. */
int image_store_layer_commit(struct image_store *store, const char *temporary, const struct map *implied,
                             char *const *lower, size_t lower_count, const char *chain, struct error *err);
/* Adds a record, or adds its names and digests to the record with its ID. Names move here from other images. */
int image_store_image_commit(struct image_store *store, const struct record *record, struct error *err);
/* Removes layers, blobs and old partial downloads that nothing refers to, unless somebody is adding layers just now:
 * then it is left to them. */
int image_store_sweep(struct image_store *store, struct error *err);
/* Sweeps if somebody could not. */
int image_store_sweep_if_due(struct image_store *store, struct error *err);
/* The name in uses/ for a root file system's directory. */
char *image_store_use_path(struct image_store *store, const char *directory);
/* An image from its record. */
int image_store_image_load(struct image_store *store, const struct record *record, struct image **out,
                           struct error *err);
void image_list_add(struct image_list *list, struct image *image);

#endif
