/* Image garbage collection, as upstream's kubelet does it: when the disk that holds the images fills up beyond a
 * threshold, images that no container uses go, the one that was used longest ago first, until it is below a second one.
 * An image that came from an archive stays: nobody could pull it again.
 *
 * It looks when the set of images changes and every IMAGE_GC_PERIOD: one statvfs. Loop's thread; images are listed and
 * removed on the pool. */
#ifndef CORACLE_NODE_IMAGE_GC_H
#define CORACLE_NODE_IMAGE_GC_H

#include "base/env.h"
#include "base/timestamp.h"
#include "node/node.h"

/* Upstream's imageGCHighThresholdPercent, imageGCLowThresholdPercent and imageMinimumGCAge, and the period. */
#define IMAGE_GC_HIGH_PERCENT 85
#define IMAGE_GC_LOW_PERCENT 80
#define IMAGE_GC_MINIMUM_AGE (120 * SECOND)
#define IMAGE_GC_PERIOD (300 * SECOND)

struct image_gc;

struct image_gc *image_gc_new(struct agent *agent);
/* The workers know what they use. */
void image_gc_start(struct image_gc *gc);
void image_gc_stop(struct image_gc *gc);
/* Removes every image that no container uses, but those that are too young or from an archive, and calls done; at once
 * when it has been stopped. One at a time. */
void image_gc_remove_unused(struct image_gc *gc, env_callback done, void *context);
bool image_gc_idle(const struct image_gc *gc);
void image_gc_free(struct image_gc *gc);

/* ---- What to do: pure ---- */

struct image_gc_record {
    const char *id;
    uint64_t size;
    int64_t detected; /* when it was first seen; 0: before the agent started */
    int64_t used;     /* when a container last used it; 0: never seen so */
    bool in_use;
    bool pinned;
};

/* Bytes to be freed on a disk; 0: there is room enough. */
int64_t image_gc_excess(int64_t capacity, int64_t available);
/* Puts those that may go to the front, in the order in which they go, and returns how many they are. */
size_t image_gc_order(struct image_gc_record *records, size_t count, int64_t now);

#endif
