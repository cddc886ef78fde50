/* Opening and removing inside hostile trees.
 *
 * Removal is flat: the directories inside a directory that cannot be removed at once are renamed up into the top, so
 * that neither descriptors nor stack grow with depth. */
#include "node/image/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

/* The kernel answers EAGAIN when a rename elsewhere made it lose track of "..". */
#define OPEN_ATTEMPTS_MAX 64

static int open_resolved(int root, const char *path, int flags, uint64_t resolve)
{
    struct open_how how = {.flags = (uint64_t)flags | O_CLOEXEC, .resolve = resolve};
    for (int i = 0;; i++) {
        long fd = syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || i == OPEN_ATTEMPTS_MAX)
            return (int)fd;
    }
}

int image_tree_open(int root, const char *path, int flags)
{
    return open_resolved(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int image_tree_open_plain(int root, const char *path, int flags)
{
    return open_resolved(root, path, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

/* Moves the directory `name` of `from` into `top` under a name that is free there. */
static int move_up(int from, const char *name, int top, uint64_t *counter)
{
    for (;;) {
        char fresh[32];
        snprintf(fresh, sizeof(fresh), ".removed-%llu", (unsigned long long)(*counter)++);
        if (renameat2(from, name, top, fresh, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno != EEXIST)
            return -1;
    }
}

/* Removes what it can of a directory's entries; directories that are not empty go up into top, or, when the directory
 * is top itself (top < 0), stay. *left counts those that stay. */
static int empty_directory(int directory, int top, uint64_t *counter, size_t *left)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    if (!stream) {
        cleanup_close_fd(&copy);
        return -1;
    }
    int result = 0;
    struct dirent *entry;
    while (result == 0 && (errno = 0, entry = readdir(stream))) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || unlinkat(directory, name, 0) == 0 ||
            unlinkat(directory, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            continue;
        if (errno != ENOTEMPTY && errno != EEXIST)
            result = -1;
        else if (top >= 0)
            result = move_up(directory, name, top, counter);
        else
            (*left)++;
    }
    if (errno && result == 0)
        result = -1;
    int code = errno;
    closedir(stream);
    errno = code;
    return result;
}

/* Empties each directory that is directly in top. */
static int flatten(int top, uint64_t *counter)
{
    int copy = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    if (!stream) {
        cleanup_close_fd(&copy);
        return -1;
    }
    int result = 0, code = 0;
    struct dirent *entry;
    while (result == 0 && (entry = readdir(stream))) {
        size_t left = 0;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        cleanup_close int fd = openat(top, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
            continue;
        if (fd < 0 || empty_directory(fd, top, counter, &left) < 0) {
            code = errno;
            result = -1;
        }
    }
    closedir(stream);
    errno = code;
    return result;
}

int image_tree_remove(int parent, const char *name)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -1;
    cleanup_close int top = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (top < 0)
        return -1;
    uint64_t counter = 0;
    for (;;) {
        size_t left = 0;
        if (empty_directory(top, -1, &counter, &left) < 0)
            return -1;
        if (left == 0)
            return unlinkat(parent, name, AT_REMOVEDIR);
        if (flatten(top, &counter) < 0)
            return -1;
    }
}

int image_tree_remove_path(const char *path)
{
    return image_tree_remove(AT_FDCWD, path);
}
