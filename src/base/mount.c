#include "base/mount.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "base/vector.h"

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

int mount_detach_below(const char *directory, size_t *count, struct error *err)
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
