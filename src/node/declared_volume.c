/* Volumes that an image declares. See declared_volume.h. */
#include "node/declared_volume.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/path.h"

static bool is_mounted(const struct runtime_mount *mounts, size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++)
        if (path_same(mounts[i].destination, path))
            return true;
    return false;
}

int declared_volumes_make(struct arena *arena, const struct image_strings *declared, const char *directory,
                          struct runtime_mount *mounts, size_t *count, struct error *err)
{
    const char *rootfs = arena_printf(arena, "%s/rootfs", directory);
    const char *volumes = arena_printf(arena, "%s/volumes", directory);
    /* An attempt that came to nothing may have left some. */
    if (!declared->count)
        return 0;
    if (file_remove_tree(volumes, err) < 0 || file_make_directories(volumes, 0711, err) < 0)
        return -1;
    for (size_t i = 0; i < declared->count; i++) {
        const char *path = declared->items[i];
        if (path_same(path, "/") || is_mounted(mounts, *count, path))
            continue;
        const char *source = arena_printf(arena, "%s/%zu", volumes, i);
        if (mkdir(source, 0755) < 0)
            return error_errno(err, "make %s", source);
        if (image_copy_up(rootfs, path, source, err) < 0)
            return -1;
        mounts[(*count)++] = (struct runtime_mount){
            .source = source, .destination = arena_printf(arena, "%s%s", *path == '/' ? "" : "/", path)};
    }
    return 0;
}
