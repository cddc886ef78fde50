/* Volumes that an image declares (VOLUME): a directory of the container's own each, which starts with what the image
 * has there and goes with the container. As upstream's containerd. */
#ifndef CORACLE_NODE_DECLARED_VOLUME_H
#define CORACLE_NODE_DECLARED_VOLUME_H

#include "base/arena.h"
#include "node/image/image.h"
#include "node/runtime/container.h"

/* Makes DIRECTORY/volumes/N anew for every declared path, from what is mounted on DIRECTORY/rootfs, and adds it to the
 * mounts, which have room for all. A path on which something is mounted already, however either is written, is left
 * out; one above or below it is not. Strings of the mounts live in the arena. Blocks. */
int declared_volumes_make(struct arena *arena, const struct image_strings *declared, const char *directory,
                          struct runtime_mount *mounts, size_t *count, struct error *err);

#endif
