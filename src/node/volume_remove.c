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

/* Rounds of unmounting: what is mounted over something else shows when that is gone. */
#define UNMOUNT_ROUNDS 8

/* Takes the octal escapes of mountinfo out, in place. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *c = text; *c; c++) {
        unsigned int octal;
        if (*c == '\\' && sscanf(c + 1, "%3o", &octal) == 1) {
            *to++ = (char)octal;
            c += 3;
        } else {
            *to++ = *c;
        }
    }
    *to = 0;
}

/* Unmounts what is mounted below the directory, last first; *count tells how much there was. */
static int unmount_below(const char *directory, size_t *count, struct error *err)
{
    cleanup_file FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (!mounts)
        return error_errno(err, "open /proc/self/mountinfo");
    VECTOR(char *) points = {0};
    cleanup_free char *line = NULL;
    size_t room = 0, length = strlen(directory);
    while (getline(&line, &room, mounts) > 0) {
        char point[4096];
        if (sscanf(line, "%*s %*s %*s %*s %4095s", point) != 1)
            continue;
        unescape(point);
        if (strncmp(point, directory, length) == 0 && point[length] == '/')
            vector_push(&points, mem_string(point));
    }
    *count = points.count;
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
    size_t left = 1;
    for (int round = 0; left && round < UNMOUNT_ROUNDS; round++)
        if (unmount_below(directory, &left, err) < 0)
            return -1;
    /* What is mounted here may be a user's data: nothing is removed through it. */
    if (left)
        return error_set(err, EBUSY, "there is still something mounted below %s", directory);
    return file_remove_tree(directory, err);
}
