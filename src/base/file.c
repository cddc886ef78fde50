/* Whole-file operations. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define READ_STEP 65536
#define TREE_OPEN_MAX 64

int file_read(const char *path, size_t limit, struct buffer *out, struct error *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, "open %s", path);
    if (file_read_rest(fd, limit, out) == 0)
        return 0;
    if (errno == EFBIG)
        return error_set(err, EFBIG, "%s is larger than %zu bytes", path, limit);
    return error_errno(err, "read %s", path);
}

int file_read_rest(int fd, size_t limit, struct buffer *out)
{
    for (size_t left = limit;;) {
        char *to = buffer_reserve(out, READ_STEP);
        ssize_t n = read(fd, to, READ_STEP);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        size_t kept = (size_t)n < left ? (size_t)n : left;
        out->size += kept;
        out->data[out->size] = 0;
        left -= kept;
        if (kept < (size_t)n) {
            errno = EFBIG;
            return -1;
        }
        if (n == 0)
            return 0;
    }
}

int file_read_text(const char *path, char *out, size_t size)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t used = 0;
    while (used < size - 1) {
        ssize_t n = read(fd, out + used, size - 1 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        used += (size_t)n;
    }
    out[used] = 0;
    return 0;
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

int file_write_atomic(const char *path, const void *data, size_t size, mode_t mode, struct error *err)
{
    cleanup_free char *temporary = mem_printf("%s.XXXXXX", path);
    cleanup_close int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, "create a file beside %s", path);
    if (write_all(fd, data, size) < 0 || fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(temporary, path) < 0) {
        error_errno(err, "write %s", path);
        unlink(temporary);
        return -1;
    }
    return 0;
}

int file_poke(const char *path, const char *text, struct error *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, "open %s", path);
    if (write(fd, text, strlen(text)) < 0)
        return error_errno(err, "write '%s' to %s", text, path);
    return 0;
}

int file_make_directories(const char *path, mode_t mode, struct error *err)
{
    cleanup_free char *copy = mem_string(path);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return error_errno(err, "make directory %s", copy);
        *slash = '/';
    }
    if (mkdir(copy, mode) < 0 && errno != EEXIST)
        return error_errno(err, "make directory %s", copy);
    return 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

int file_empty_directory(const char *path, struct error *err)
{
    DIR *directory = opendir(path);
    int result = directory || errno == ENOENT ? 0 : error_errno(err, "open %s", path);
    for (struct dirent *entry; directory && !result && (entry = readdir(directory));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        cleanup_free char *inside = mem_printf("%s/%s", path, entry->d_name);
        result = file_remove_tree(inside, err);
    }
    if (directory)
        closedir(directory);
    return result;
}

int file_remove_tree(const char *path, struct error *err)
{
    struct stat info;
    if (lstat(path, &info) < 0 && errno == ENOENT)
        return 0;
    if (nftw(path, remove_entry, TREE_OPEN_MAX, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0)
        return error_errno(err, "remove %s", path);
    return 0;
}
