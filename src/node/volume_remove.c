/* Taking volumes away: unmounting everything below a pod's directory, then the files. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/vector.h"
#include "node/volume.h"

/* Mount points below the directory, in the order in which they were made. */
static int unmount_below(const char *directory, struct error *err)
{
    cleanup_file FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (!mounts)
        return error_errno(err, "open /proc/self/mountinfo");
    VECTOR(char *) points = {0};
    cleanup_free char *line = NULL;
    size_t room = 0, length = strlen(directory);
    while (getline(&line, &room, mounts) > 0) {
        char point[4096];
        if (sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1 && strncmp(point, directory, length) == 0 &&
            point[length] == '/')
            vector_push(&points, mem_string(point));
    }
    int result = 0;
    for (size_t i = points.count; i-- > 0;) {
        if (umount2(points.items[i], MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
            result = error_errno(err, "unmount %s", points.items[i]);
        free(points.items[i]);
    }
    vector_free(&points);
    return result;
}

int volume_remove_all(const char *directory, struct error *err)
{
    if (unmount_below(directory, err) < 0)
        return -1;
    return file_remove_tree(directory, err);
}
