/* The chain of a log's files. */
#include "node/runtime/log_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Looks at a directory that changes meanwhile. */
#define LOOKS_MAX 16

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void log_files_find(const char *path, struct log_files *files)
{
    cleanup_free char *directory = mem_string(path);
    char *file = strrchr(directory, '/');
    *file++ = 0;
    size_t length = strlen(file);
    *files = (struct log_files){0};
    DIR *d = opendir(directory);
    if (!d)
        return;
    for (struct dirent *entry; (entry = readdir(d));)
        /* LOG.tmp is one that conmon is about to put in the place of LOG. */
        if (!strncmp(entry->d_name, file, length) && entry->d_name[length] == '.' &&
            strcmp(entry->d_name + length, ".tmp"))
            vector_push(&files->paths, mem_printf("%s/%s", directory, entry->d_name));
    closedir(d);
    if (files->paths.count)
        qsort(files->paths.items, files->paths.count, sizeof(files->paths.items[0]), by_name);
}

void log_files_free(struct log_files *files)
{
    for (size_t i = 0; i < files->paths.count; i++)
        free(files->paths.items[i]);
    vector_free(&files->paths);
}

void log_files_remove(const char *path)
{
    struct log_files files;
    log_files_find(path, &files);
    for (size_t i = 0; i < files.paths.count; i++)
        unlink(files.paths.items[i]);
    unlink(path);
    log_files_free(&files);
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* One look. LOG is opened before the directory is read: when it is rotated in between, it is found among the older
 * files, with those that came between. False: a file was removed before it could be opened. */
static bool look(const char *path, const struct stat *here, int *out)
{
    struct stat info, newest;
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    *out = -1;
    if (fd < 0 || fstat(fd, &newest) < 0 || same(&newest, here))
        return true;
    struct log_files files;
    log_files_find(path, &files);
    /* After the last name of this file, or from the oldest on when it has none left. */
    size_t next = 0;
    for (size_t i = 0; i < files.paths.count; i++)
        if (stat(files.paths.items[i], &info) == 0 && same(&info, here))
            next = i + 1;
    bool found = true;
    if (next < files.paths.count) {
        int older = open(files.paths.items[next], O_RDONLY | O_CLOEXEC);
        found = older >= 0;
        cleanup_close_fd(&fd);
        fd = older;
    }
    log_files_free(&files);
    *out = steal_fd(fd);
    return found;
}

int log_files_open_next(const char *path, int fd)
{
    struct stat here;
    int next = -1;
    if (fstat(fd, &here) < 0)
        return -1;
    for (int i = 0; i < LOOKS_MAX && !look(path, &here, &next); i++)
        ;
    return next;
}
