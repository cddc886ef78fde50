/* Unpacking a layer: from its blob (a tar file, plain, gzip or zstd) into a directory that overlayfs can use. */
#ifndef CORACLE_NODE_IMAGE_UNPACK_H
#define CORACLE_NODE_IMAGE_UNPACK_H

#include <stdatomic.h>

#include "base/map.h"
#include "node/image/digest.h"
#include "node/image/image.h"

#define ENTRY_DEPTH_MAX 512 /* components of an entry's path */

/* What the layers of one image may still take, shared by the threads that unpack them. */
struct unpack_budget {
    atomic_ullong entries;
    atomic_ullong files;  /* bytes of files, holes included */
    atomic_ullong stream; /* bytes of the uncompressed tar files */
    struct image_limits limits;
};
void image_unpack_budget_start(struct unpack_budget *budget, const struct image_limits *limits);

/* Work stops soon after one of these flags is set; NULL never is. */
struct cancel {
    const atomic_bool *caller;
    const atomic_bool *sibling;
};

static inline bool cancelled(const struct cancel *cancel)
{
    return (cancel->caller && atomic_load(cancel->caller)) || (cancel->sibling && atomic_load(cancel->sibling));
}

/* Where a blob's bytes come from: *block is set to the next ones, which stay valid until the next call. Returns how
 * many, 0 at the end, -1 with err filled. */
struct unpack_source {
    ssize_t (*read)(void *context, const void **block, struct error *err);
    void *context;
};

struct unpack_result {
    char diff_id[DIGEST_TEXT_SIZE];
    /* Paths of directories that the archive has not got although it has entries in them; "." is the layer itself.
     * image_store_layer_commit gives them their attributes. */
    struct map implied;
};
void image_unpack_result_free(struct unpack_result *result);
#define cleanup_unpack_result __attribute__((cleanup(image_unpack_result_free)))

/* Unpacks into `directory`, which is made. On failure what is there already stays, for the caller to remove.
 *
 * Whiteouts become overlayfs's: ".wh.NAME" a character device 0/0, ".wh..wh..opq" the attribute
 * trusted.overlay.opaque. Refused with EBADMSG: paths and hard links with "..", hard links to what the layer has not
 * got, entries below something that is no directory, unknown kinds of entries, damaged archives. Links inside the layer
 * are followed as if it were the root directory. Device nodes are made as upstream makes them; rootfs.c mounts them
 * dead. Extended attributes other than user.* and security.capability are left out: overlayfs's own ones would let
 * an image reach into other layers. */
int image_unpack_layer(const struct unpack_source *source, const char *directory, struct unpack_budget *budget,
                       const struct cancel *cancel, struct unpack_result *result, struct error *err);

#endif
