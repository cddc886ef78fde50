/* Layers on disk: making them permanent, and sweeping those that nothing needs. */
#include "node/image/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "node/image/tree.h"

bool image_store_has_layer(struct image_store *store, const char *chain)
{
    cleanup_free char *path = image_store_path(store, "layers/%s", chain);
    return access(path, F_OK) == 0;
}

char *image_store_use_path(struct image_store *store, const char *directory)
{
    char digest[DIGEST_TEXT_SIZE];
    image_digest_of(directory, strlen(directory), digest);
    return image_store_path(store, "uses/%s", image_digest_hex(digest));
}

/* Copies owner, mode and times of the directory `path` from the highest layer below that has it. A layer where the path
 * is something else hides those below it. */
static int inherit(int layer, const char *path, const int *lower, size_t lower_count)
{
    struct stat info;
    size_t i = lower_count;
    for (;;) {
        if (i-- == 0)
            return 0;
        cleanup_close int from = image_tree_open_plain(lower[i], path, O_PATH | O_DIRECTORY);
        if (from >= 0 && fstat(from, &info) == 0)
            break;
        if (errno != ENOENT)
            return 0;
    }
    cleanup_close int to = image_tree_open_plain(layer, path, O_RDONLY | O_DIRECTORY);
    const struct timespec times[2] = {info.st_atim, info.st_mtim};
    if (to < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1; /* replaced later in the archive */
    return fchown(to, info.st_uid, info.st_gid) < 0 || fchmod(to, info.st_mode & 07777) < 0 || futimens(to, times) < 0
               ? -1
               : 0;
}

static int inherit_all(struct image_store *store, int layer, const struct map *implied, char *const *lower,
                       size_t lower_count, struct error *err)
{
    int fds[IMAGE_LAYERS_MAX];
    size_t opened = 0;
    int result = 0;
    for (; opened < lower_count && result == 0; opened++) {
        cleanup_free char *path = image_store_path(store, "layers/%s", lower[opened]);
        fds[opened] = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fds[opened] < 0)
            result = error_errno(err, "open layer %s", path);
    }
    for (struct map_slot *slot = NULL; result == 0 && (slot = map_next(implied, slot));)
        if (inherit(layer, slot->key, fds, lower_count) < 0)
            result = error_errno(err, "set the attributes of %s", slot->key);
    while (opened-- > 0)
        cleanup_close_fd(&fds[opened]);
    return result;
}

int image_store_layer_commit(struct image_store *store, const char *temporary, const struct map *implied,
                             char *const *lower, size_t lower_count, const char *chain, struct error *err)
{
    cleanup_free char *path = image_store_path(store, "layers/%s", chain);
    cleanup_close int layer = open(temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (layer < 0)
        return error_errno(err, "open %s", temporary);
    if (inherit_all(store, layer, implied, lower, lower_count, err) < 0)
        return -1;
    if (syncfs(layer) < 0)
        return error_errno(err, "sync %s", temporary);
    if (rename(temporary, path) < 0) {
        if (errno != ENOTEMPTY && errno != EEXIST)
            return error_errno(err, "rename %s to %s", temporary, path);
        if (image_tree_remove_path(temporary) < 0)
            return error_errno(err, "remove %s", temporary);
        return 0;
    }
    return image_store_sync_directory(store, "layers", err);
}

/* ---- Sweeping ---- */

/* A set as a map whose values are all this. */
static char member;

/* Adds the layers of one mounted root file system, and sets *only when nothing else needs one of them; forgets a root
 * file system whose directory is gone. The file holds the directory and the chain IDs, one a line. */
static int use_load(int uses, const char *name, const char *path, struct map *needed, bool *only, struct error *err)
{
    cleanup_buffer struct buffer text = {0};
    cleanup_free char *file = mem_printf("%s/%s", path, name);
    if (file_read(file, USE_SIZE_MAX, &text, err) < 0)
        return -1;
    char *rest = text.data, *directory = rest ? strsep(&rest, "\n") : NULL, *line;
    if (!directory || (access(directory, F_OK) < 0 && errno == ENOENT)) {
        unlinkat(uses, name, 0);
        return 0;
    }
    while ((line = strsep(&rest, "\n")))
        if (*line && !map_has(needed, line)) {
            map_set(needed, line, &member);
            *only = true;
        }
    return 0;
}

static int uses_load(struct image_store *store, struct map *needed, bool *only, struct error *err)
{
    cleanup_free char *path = image_store_path(store, "uses");
    DIR *stream = opendir(path);
    struct dirent *entry;
    int result = 0;
    if (!stream)
        return error_errno(err, "open %s", path);
    while (result == 0 && (entry = readdir(stream)))
        if (entry->d_name[0] != '.')
            result = use_load(dirfd(stream), entry->d_name, path, needed, only, err);
    closedir(stream);
    return result;
}

/* Moves the entries of a directory that are not needed into `grave`. */
static int bury(struct image_store *store, const char *directory, const struct map *needed, const char *grave,
                struct error *err)
{
    cleanup_free char *path = image_store_path(store, "%s", directory);
    DIR *stream = opendir(path);
    struct dirent *entry;
    int result = 0;
    if (!stream)
        return error_errno(err, "open %s", path);
    while (result == 0 && (entry = readdir(stream))) {
        if (entry->d_name[0] == '.' || map_has(needed, entry->d_name))
            continue;
        cleanup_free char *to = mem_printf("%s/%s.%u", grave, entry->d_name, atomic_fetch_add(&store->next, 1));
        if (renameat(dirfd(stream), entry->d_name, AT_FDCWD, to) < 0)
            result = error_errno(err, "move %s/%s away", path, entry->d_name);
    }
    closedir(stream);
    return result;
}

static void drop_old_partials(struct image_store *store)
{
    cleanup_free char *path = image_store_path(store, "partial");
    DIR *stream = opendir(path);
    struct dirent *entry;
    struct stat info;
    while (stream && (entry = readdir(stream))) {
        if (entry->d_name[0] == '.' || fstatat(dirfd(stream), entry->d_name, &info, 0) < 0 ||
            info.st_mtime > time(NULL) - PARTIAL_AGE_MAX)
            continue;
        cleanup_close int fd = openat(dirfd(stream), entry->d_name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            unlinkat(dirfd(stream), entry->d_name, 0);
    }
    if (stream)
        closedir(stream);
}

/* With both locks held: decides what goes and moves it into the grave. Sets *more when there will be more to sweep once
 * a root file system is unmounted. */
static int sweep_locked(struct image_store *store, const char *grave, bool *more, struct error *err)
{
    cleanup_index struct index index;
    struct map layers = {0}, blobs = {0};
    int result = image_index_load(store, &index, err);
    for (size_t i = 0; i < index.records.count && result == 0; i++) {
        const struct record *record = &index.records.items[i];
        map_set(&blobs, image_digest_hex(record->id), &member);
        for (size_t k = 0; k < record->layers.count; k++)
            map_set(&layers, record->layers.items[k], &member);
    }
    if (result == 0)
        result = uses_load(store, &layers, more, err);
    if (result == 0)
        result = bury(store, "layers", &layers, grave, err);
    if (result == 0)
        result = bury(store, "blobs/sha256", &blobs, grave, err);
    map_free(&layers);
    map_free(&blobs);
    return result;
}

int image_store_sweep(struct image_store *store, struct error *err)
{
    cleanup_close int lock = -1, lease = -1;
    cleanup_free char *due = image_store_path(store, "sweep"), *grave = image_store_temporary(store);
    struct error busy = {0};
    if (image_store_lock(store, "lock", LOCK_EX, &lock, err) < 0)
        return -1;
    if (image_store_lock(store, "lease", LOCK_EX | LOCK_NB, &lease, &busy) < 0) {
        if (busy.code != EWOULDBLOCK)
            return error_set(err, busy.code, "%s", busy.text);
        return file_write_atomic(due, "", 0, 0600, err);
    }
    if (mkdir(grave, 0700) < 0)
        return error_errno(err, "make %s", grave);
    drop_old_partials(store);
    bool more = false;
    int result = sweep_locked(store, grave, &more, err);
    if (result == 0 && more)
        result = file_write_atomic(due, "", 0, 0600, err);
    else if (result == 0)
        unlink(due);
    /* What is in the grave has no name any more: it can be removed without the locks. */
    cleanup_close_fd(&lease);
    cleanup_close_fd(&lock);
    lease = lock = -1;
    if (image_tree_remove_path(grave) < 0)
        log_warning("Cannot remove %s: %s", grave, strerror(errno));
    return result;
}

int image_store_sweep_if_due(struct image_store *store, struct error *err)
{
    cleanup_free char *due = image_store_path(store, "sweep");
    return access(due, F_OK) == 0 ? image_store_sweep(store, err) : 0;
}
