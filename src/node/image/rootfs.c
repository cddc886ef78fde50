/* Root file systems: an image's layers under a writable one, by overlayfs. */
#include "node/image/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Options of mount(2) must fit in a page. */
#define MOUNT_OPTIONS_MAX 4095

static bool is_mounted(const char *path)
{
    struct statx info;
    return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &info) == 0 &&
           (info.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* Writes down that these layers are needed, if they are all there. A sweep that runs at the same time comes either
 * before the check or after the note. */
static int note_use(struct image_store *store, const struct image *image, const char *directory, struct error *err)
{
    cleanup_close int lock = -1;
    cleanup_free char *path = image_store_use_path(store, directory);
    cleanup_buffer struct buffer text = {0};
    if (image_store_lock(store, "lock", LOCK_SH, &lock, err) < 0)
        return -1;
    buffer_printf(&text, "%s\n", directory);
    for (size_t i = 0; i < image->layers.count; i++) {
        if (!image_store_has_layer(store, image->layers.items[i]))
            return error_set(err, ENOENT, "image %s: layer %s is gone", image->id, image->layers.items[i]);
        buffer_printf(&text, "%s\n", image->layers.items[i]);
    }
    /* Not synced: a crash of the machine ends the mount, too. */
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text.data, text.size) != (ssize_t)text.size) {
        error_errno(err, "write %s", path);
        unlink(path);
        return -1;
    }
    return 0;
}

/* Directories for the mount. The merged root shows owner and mode of `upper`: those of the image's top layer. */
static int make_directories(struct image_store *store, const struct image *image, const char *directory,
                            struct error *err)
{
    static const char *const names[] = {"upper", "work", "rootfs", "empty"};
    struct stat info = {.st_mode = S_IFDIR | 0755};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        cleanup_free char *path = mem_printf("%s/%s", directory, names[i]);
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return error_errno(err, "make directory %s", path);
    }
    cleanup_free char *upper = mem_printf("%s/upper", directory);
    if (image->layers.count) {
        cleanup_free char *top = image_store_path(store, "layers/%s", image->layers.items[image->layers.count - 1]);
        if (stat(top, &info) < 0)
            return error_errno(err, "open %s", top);
    }
    if (chown(upper, info.st_uid, info.st_gid) < 0 || chmod(upper, info.st_mode & 07777) < 0)
        return error_errno(err, "set owner and mode of %s", upper);
    return 0;
}

/* The paths of all layers, top first, then upper and work. */
struct overlay {
    VECTOR(char *) paths;
    VECTOR(int) fds; /* open for as long as their numbers are in the options */
};

static void overlay_free(struct overlay *overlay)
{
    for (size_t i = 0; i < overlay->paths.count; i++)
        free(overlay->paths.items[i]);
    for (size_t i = 0; i < overlay->fds.count; i++)
        close(overlay->fds.items[i]);
    vector_free(&overlay->paths);
    vector_free(&overlay->fds);
}
#define cleanup_overlay __attribute__((cleanup(overlay_free)))

static void write_options(const struct overlay *overlay, struct buffer *out)
{
    size_t lower = overlay->paths.count - 2;
    buffer_clear(out);
    for (size_t i = 0; i < lower; i++)
        buffer_printf(out, "%s%s", i ? ":" : "lowerdir=", overlay->paths.items[i]);
    buffer_printf(out, ",upperdir=%s,workdir=%s", overlay->paths.items[lower], overlay->paths.items[lower + 1]);
}

/* Short names for paths that are too long together or have characters that mean something in the options. */
static int shorten(struct overlay *overlay, struct error *err)
{
    for (size_t i = 0; i < overlay->paths.count; i++) {
        int fd = open(overlay->paths.items[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return error_errno(err, "open %s", overlay->paths.items[i]);
        vector_push(&overlay->fds, fd);
        free(overlay->paths.items[i]);
        overlay->paths.items[i] = mem_printf("/proc/self/fd/%d", fd);
    }
    return 0;
}

static int mount_overlay(struct image_store *store, const struct image *image, const char *directory, struct error *err)
{
    cleanup_overlay struct overlay overlay = {0};
    cleanup_buffer struct buffer options = {0};
    cleanup_free char *target = mem_printf("%s/rootfs", directory);
    for (size_t i = image->layers.count; i-- > 0;)
        vector_push(&overlay.paths, image_store_path(store, "layers/%s", image->layers.items[i]));
    if (image->layers.count == 0)
        vector_push(&overlay.paths, mem_printf("%s/empty", directory));
    vector_push(&overlay.paths, mem_printf("%s/upper", directory));
    vector_push(&overlay.paths, mem_printf("%s/work", directory));
    write_options(&overlay, &options);
    bool special = strpbrk(store->directory, ":,\\") || strpbrk(directory, ":,\\");
    if (special || options.size > MOUNT_OPTIONS_MAX) {
        if (shorten(&overlay, err) < 0)
            return -1;
        write_options(&overlay, &options);
    }
    if (options.size > MOUNT_OPTIONS_MAX)
        return error_set(err, E2BIG, "image %s has too many layers to mount", image->id);
    if (mount("overlay", target, "overlay", MS_NODEV, options.data) < 0)
        return error_errno(err, "mount overlay on %s", target);
    return 0;
}

int image_mount_rootfs(struct image_store *store, const struct image *image, const char *directory, struct error *err)
{
    cleanup_free char *target = mem_printf("%s/rootfs", directory);
    if (*directory != '/')
        return error_set(err, EINVAL, "%s is not an absolute path", directory);
    if (is_mounted(target))
        return 0;
    if (note_use(store, image, directory, err) < 0)
        return -1;
    if (make_directories(store, image, directory, err) == 0 && mount_overlay(store, image, directory, err) == 0)
        return 0;
    cleanup_free char *use = image_store_use_path(store, directory);
    unlink(use);
    return -1;
}

int image_unmount_rootfs(struct image_store *store, const char *directory, struct error *err)
{
    cleanup_free char *target = mem_printf("%s/rootfs", directory);
    cleanup_free char *use = image_store_use_path(store, directory);
    if (is_mounted(target) && umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
        return error_errno(err, "unmount %s", target);
    if (unlink(use) < 0 && errno != ENOENT)
        return error_errno(err, "remove %s", use);
    return image_store_sweep_if_due(store, err);
}
