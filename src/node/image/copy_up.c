/* What an image has where it declares a volume, copied for one container.
 *
 * The tree is the image's, and so hostile: the directory is looked for as if the root file system were "/", and below
 * it nothing is followed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "node/image/image.h"
#include "node/image/tree.h"

#define COPY_STEP ((size_t)1 << 30)
#define ATTRIBUTES_MAX 65536 /* the kernel's limit, of names and of a value */

static bool attribute_wanted(const char *name)
{
    return strcmp(name, "security.capability") == 0 || strncmp(name, "user.", 5) == 0;
}

static int copy_attributes(int from, int to)
{
    cleanup_free char *names = mem_alloc(ATTRIBUTES_MAX), *value = mem_alloc(ATTRIBUTES_MAX);
    ssize_t size = flistxattr(from, names, ATTRIBUTES_MAX);
    if (size < 0)
        return errno == ENOTSUP ? 0 : -1;
    for (const char *name = names; name < names + size; name += strlen(name) + 1) {
        if (!attribute_wanted(name))
            continue;
        ssize_t n = fgetxattr(from, name, value, ATTRIBUTES_MAX);
        if (n < 0 || (fsetxattr(to, name, value, (size_t)n, 0) < 0 && errno != ENOTSUP))
            return -1;
    }
    return 0;
}

/* The owner comes first: to change it clears set-user-ID bits and capabilities. */
static int finish(int from, int to, const struct stat *info)
{
    const struct timespec times[2] = {info->st_atim, info->st_mtim};
    return fchown(to, info->st_uid, info->st_gid) < 0 || fchmod(to, info->st_mode & 07777) < 0 ||
                   copy_attributes(from, to) < 0 || futimens(to, times) < 0
               ? -1
               : 0;
}

static int copy_file(int from, int to, const char *name, const struct stat *info)
{
    cleanup_close int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    cleanup_close int copy = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t n = 1;
    if (source < 0 || copy < 0)
        return -1;
    while (n > 0 || (n < 0 && errno == EINTR))
        n = sendfile(copy, source, NULL, COPY_STEP);
    return n < 0 ? -1 : finish(source, copy, info);
}

static int copy_link(int from, int to, const char *name, const struct stat *info)
{
    const struct timespec times[2] = {info->st_atim, info->st_mtim};
    char target[PATH_MAX];
    ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);
    if (n < 0)
        return -1;
    target[n] = 0;
    return symlinkat(target, to, name) < 0 || fchownat(to, name, info->st_uid, info->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
                   utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0
               ? -1
               : 0;
}

static int copy_fifo(int to, const char *name, const struct stat *info)
{
    return mkfifoat(to, name, 0600) < 0 || fchownat(to, name, info->st_uid, info->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
                   fchmodat(to, name, info->st_mode & 07777, 0) < 0
               ? -1
               : 0;
}

static int copy_directory(int from, int to, const struct stat *info);

static int copy_entry(int from, int to, const char *name)
{
    struct stat info;
    if (fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if (S_ISREG(info.st_mode))
        return copy_file(from, to, name, &info);
    if (S_ISLNK(info.st_mode))
        return copy_link(from, to, name, &info);
    if (S_ISFIFO(info.st_mode))
        return copy_fifo(to, name, &info);
    if (!S_ISDIR(info.st_mode))
        return 0;
    if (mkdirat(to, name, 0700) < 0)
        return -1;
    cleanup_close int source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    cleanup_close int copy = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return source < 0 || copy < 0 ? -1 : copy_directory(source, copy, &info);
}

static int copy_directory(int from, int to, const struct stat *info)
{
    int listed = fcntl(from, F_DUPFD_CLOEXEC, 0), result = 0;
    DIR *directory = listed >= 0 ? fdopendir(listed) : NULL;
    if (!directory) {
        cleanup_close_fd(&listed);
        return -1;
    }
    errno = 0;
    for (struct dirent *entry; !result && (entry = readdir(directory));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = copy_entry(from, to, entry->d_name);
        if (!result)
            errno = 0;
    }
    int error = errno;
    closedir(directory);
    errno = error;
    return error ? -1 : finish(from, to, info);
}

int image_copy_up(const char *rootfs, const char *path, const char *to, struct error *err)
{
    struct stat info;
    cleanup_close int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return error_errno(err, "open %s", rootfs);
    cleanup_close int from = image_tree_open(root, path, O_RDONLY | O_DIRECTORY);
    if (from < 0 && errno == ENOENT)
        return 0;
    if (from < 0 || fstat(from, &info) < 0)
        return error_errno(err, "open the image's volume %s", path);
    cleanup_close int copy = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0)
        return error_errno(err, "open %s", to);
    return copy_directory(from, copy, &info) < 0 ? error_errno(err, "copy the image's volume %s", path) : 0;
}
