/* Mounts of this process's mount namespace. */
#ifndef CORACLE_BASE_MOUNT_H
#define CORACLE_BASE_MOUNT_H

#include <stddef.h>

#include "base/error.h"

/* Unmounts, lazily and the last first, what is mounted below the directory; not what is mounted on it. *count tells how
 * many mounts there were: one that another hid shows only when this is asked again. What has gone meanwhile is no
 * error, and what cannot be unmounted does not keep the rest. -1: err is about the last that could not. */
int mount_detach_below(const char *directory, size_t *count, struct error *err);

#endif
