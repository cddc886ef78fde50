/* Taking volumes away: unmounting everything below a pod's directory, then the files. */
#include <errno.h>

#include "base/file.h"
#include "base/mount.h"
#include "node/volume.h"

/* Rounds of unmounting: what is mounted over something else shows when that is gone. */
#define UNMOUNT_ROUNDS 8

int volume_remove_all(const char *directory, struct error *err)
{
    size_t left = 1;
    for (int round = 0; left && round < UNMOUNT_ROUNDS; round++)
        if (mount_detach_below(directory, &left, err) < 0)
            return -1;
    /* What is mounted here may be a user's data: nothing is removed through it. */
    if (left)
        return error_set(err, EBUSY, "there is still something mounted below %s", directory);
    return file_remove_tree(directory, err);
}
