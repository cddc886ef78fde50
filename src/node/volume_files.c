/* Directories whose files change all at once, as upstream's atomic writer makes them:
 *
 *     VOLUME/..HASH/a        the files of one version; HASH is that of their paths, modes and contents
 *     VOLUME/..data       -> ..HASH
 *     VOLUME/a            -> ..data/a
 *
 * One rename of ..data turns every file. A version that is there already is not written again, so that who watches
 * ..data hears of changes only. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/map.h"
#include "node/volume_plan.h"

/* "..", 16 hexadecimal digits and a NUL. */
#define VERSION_NAME_SIZE 19

int volume_write_file(const char *path, const struct volume_file *file, struct error *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, "create %s", path);
    for (size_t done = 0; done < file->size;) {
        ssize_t n = write(fd, (const char *)file->data + done, file->size - done);
        if (n < 0 && errno != EINTR)
            return error_errno(err, "write %s", path);
        done += n > 0 ? (size_t)n : 0;
    }
    if (file->owner != VOLUME_FILE_NO_OWNER && fchown(fd, file->owner, (gid_t)-1) < 0)
        return error_errno(err, "set the owner of %s", path);
    if (fchmod(fd, file->mode) < 0)
        return error_errno(err, "set the mode of %s", path);
    return 0;
}

static void name_version(const struct volume_item *item, char out[VERSION_NAME_SIZE])
{
    cleanup_buffer struct buffer all = {0};
    for (size_t i = 0; i < item->file_count; i++) {
        const struct volume_file *f = &item->files[i];
        buffer_printf(&all, "%s\n%o %u %u %zu\n", f->path, f->mode, f->owner, item->group, f->size);
        buffer_add(&all, f->data, f->size);
    }
    snprintf(out, VERSION_NAME_SIZE, "..%016" PRIx64, hash_fnv64a(all.data, all.size));
}

static int write_version(const struct volume_item *item, const char *directory, struct error *err)
{
    /* What a process that died left behind may be half a version. */
    if (file_remove_tree(directory, err) < 0)
        return -1;
    if (mkdir(directory, 0755) < 0 || chmod(directory, 0755) < 0)
        return error_errno(err, "make %s", directory);
    for (size_t i = 0; i < item->file_count; i++) {
        cleanup_free char *path = mem_printf("%s/%s", directory, item->files[i].path);
        cleanup_free char *parent = mem_string_n(path, (size_t)(strrchr(path, '/') - path));
        if (file_make_directories(parent, 0755, err) < 0 || volume_write_file(path, &item->files[i], err) < 0)
            return -1;
    }
    return item->group == VOLUME_NO_GROUP ? 0 : volume_set_ownership(directory, item->group, true, false, err);
}

/* The links that users follow: the first component of each path. */
static int link_files(const struct volume_item *item, struct error *err)
{
    for (size_t i = 0; i < item->file_count; i++) {
        const char *path = item->files[i].path;
        cleanup_free char *name = mem_string_n(path, strcspn(path, "/"));
        cleanup_free char *link = mem_printf("%s/%s", item->path, name);
        cleanup_free char *target = mem_printf("..data/%s", name);
        if (symlink(target, link) < 0 && errno != EEXIST)
            return error_errno(err, "link %s", link);
    }
    return 0;
}

/* Removes links into ..data that lead nowhere any more: keys that went. */
static void drop_stale_links(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory)
        return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct stat info;
        if (entry->d_type == DT_LNK && strcmp(entry->d_name, "..data") != 0 &&
            fstatat(dirfd(directory), entry->d_name, &info, 0) < 0 && errno == ENOENT)
            unlinkat(dirfd(directory), entry->d_name, 0);
    }
    closedir(directory);
}

int volume_write_files(const struct volume_item *item, struct error *err)
{
    char version[VERSION_NAME_SIZE], old[256];
    name_version(item, version);
    cleanup_free char *data = mem_printf("%s/..data", item->path);
    cleanup_free char *fresh_link = mem_printf("%s/..data_tmp", item->path);
    cleanup_free char *directory = mem_printf("%s/%s", item->path, version);
    ssize_t old_size = readlink(data, old, sizeof(old) - 1);
    old[old_size > 0 ? old_size : 0] = 0;
    if (strcmp(old, version) == 0)
        return link_files(item, err);
    if (write_version(item, directory, err) < 0)
        return -1;
    unlink(fresh_link);
    if (symlink(version, fresh_link) < 0 || rename(fresh_link, data) < 0)
        return error_errno(err, "turn %s to the new version", data);
    if (link_files(item, err) < 0)
        return -1;
    if (*old) {
        cleanup_free char *old_version = mem_printf("%s/%s", item->path, old);
        drop_stale_links(item->path);
        return file_remove_tree(old_version, err);
    }
    return 0;
}
