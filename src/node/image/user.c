/* Reading the files that an image's USER is resolved against. */
#include "node/image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "node/image/account.h"
#include "node/image/tree.h"

#define ACCOUNT_FILE_MAX ((size_t)8 << 20) /* bytes of /etc/passwd and of /etc/group */

/* Reads a file of the root file system; one that is missing reads as empty. */
static int read_inside(int root, const char *path, struct buffer *out, struct error *err)
{
    struct stat info;
    /* First without opening it for real: it may be a device, or a pipe that nobody writes to. */
    cleanup_close int place = image_tree_open(root, path, O_PATH);
    if (place < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : error_errno(err, "open %s", path);
    cleanup_close int fd = -1;
    if (fstat(place, &info) < 0)
        return error_errno(err, "open %s", path);
    if (!S_ISREG(info.st_mode))
        return error_set(err, EBADMSG, "%s is no file", path);
    if ((fd = image_tree_open(root, path, O_RDONLY | O_NONBLOCK)) < 0)
        return error_errno(err, "open %s", path);
    if (file_read_rest(fd, ACCOUNT_FILE_MAX, out) == 0)
        return 0;
    if (errno == EFBIG)
        return error_set(err, E2BIG, "%s is larger than %zu bytes", path, ACCOUNT_FILE_MAX);
    return error_errno(err, "read %s", path);
}

int image_user_resolve(const char *rootfs, const char *user, struct image_user *out, struct error *err)
{
    cleanup_buffer struct buffer passwd = {0}, group = {0};
    *out = (struct image_user){.home = "/"};
    cleanup_close int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return error_errno(err, "open %s", rootfs);
    if (read_inside(root, "etc/passwd", &passwd, err) < 0 || read_inside(root, "etc/group", &group, err) < 0)
        return -1;
    return image_user_find(user, passwd.data, group.data, out, err);
}

void image_user_free(struct image_user *user)
{
    free(user->groups);
    user->groups = NULL;
    user->group_count = 0;
}
