/* Placing one entry of a layer after the other.
 *
 * Every path is taken apart first (no "..", no absurd lengths); its parent directory is opened as if the layer were
 * "/" (image_tree_open), and the last component is created in that directory without following anything. So no sequence
 * of entries reaches out of the layer, whatever links it makes. */
#include "node/image/entry.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "node/image/tree.h"

#define WHITEOUT_PREFIX ".wh."
#define WHITEOUT_META_PREFIX ".wh..wh." /* of aufs; all but the opaque mark mean nothing here */
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define OPAQUE_ATTRIBUTE "trusted.overlay.opaque"

static char implied_mark;

void image_placer_start(struct placer *placer, int root, struct archive *tar, struct unpack_budget *budget,
                        struct map *implied)
{
    *placer = (struct placer){.root = root, .tar = tar, .budget = budget, .implied = implied, .parent = -1};
    map_set(implied, ".", &implied_mark);
}

static void forget_parent(struct placer *placer)
{
    cleanup_close_fd(&placer->parent);
    placer->parent = -1;
}

void image_placer_discard(struct placer *placer)
{
    forget_parent(placer);
    for (size_t i = 0; i < placer->times.count; i++)
        free(placer->times.items[i].path);
    vector_free(&placer->times);
}

/* ---- Paths ---- */

/* Writes the path without leading, doubled and trailing slashes and without "."; "." for the top itself. */
static int clean_path(const char *raw, char out[PATH_MAX], struct error *err)
{
    size_t n = 0, depth = 0;
    for (const char *p = raw; *p;) {
        size_t size = strcspn(p, "/");
        const char *next = p + size + (p[size] == '/');
        if (size == 2 && p[0] == '.' && p[1] == '.')
            return error_set(err, EBADMSG, "path \"%.200s\" leads out of the layer", raw);
        if (size > NAME_MAX || n + size + 2 > PATH_MAX || depth == ENTRY_DEPTH_MAX)
            return error_set(err, EBADMSG, "path \"%.200s...\" is too long", raw);
        if (size && !(size == 1 && p[0] == '.')) {
            if (n)
                out[n++] = '/';
            memcpy(out + n, p, size);
            n += size;
            depth++;
        }
        p = next;
    }
    if (!n)
        out[n++] = '.';
    out[n] = 0;
    return 0;
}

/* Splits a clean path that is not "." in place: returns the last component, *parent is what is before it or ".". */
static char *split_path(char *path, const char **parent)
{
    char *slash = strrchr(path, '/');
    *parent = slash ? path : ".";
    if (!slash)
        return path;
    *slash = 0;
    return slash + 1;
}

static bool is_whiteout(const struct stat *info)
{
    return S_ISCHR(info->st_mode) && info->st_rdev == makedev(0, 0);
}

/* Descriptors opened with O_PATH cannot carry attributes. */
static int mark_opaque(int parent, const char *name, struct error *err)
{
    cleanup_close int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fsetxattr(fd, OPAQUE_ATTRIBUTE, "y", 1, 0) < 0)
        return error_errno(err, "mark directory %s opaque", name);
    return 0;
}

/* Makes the directory parent/name unless there is one. A whiteout of the same layer gives way and leaves its meaning:
 * nothing of the layers below shows through. */
static int make_directory(int parent, const char *name, struct error *err)
{
    struct stat info;
    bool hidden = false;
    if (fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISDIR(info.st_mode))
            return 0;
        hidden = is_whiteout(&info);
        if (unlinkat(parent, name, 0) < 0)
            return error_errno(err, "replace %s", name);
    }
    if (mkdirat(parent, name, 0755) < 0)
        return error_errno(err, "make directory %s", name);
    return hidden ? mark_opaque(parent, name, err) : 0;
}

/* Makes the directory `path`, whose parent is open as `parent`, because entries below it need one. */
static int imply_directory(struct placer *placer, int parent, const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    struct stat info;
    if (fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && !is_whiteout(&info))
        return error_set(err, EBADMSG, "\"%.200s\" is no directory of the layer, yet there are entries below it", path);
    if (make_directory(parent, name, err) < 0)
        return -1;
    map_set(placer->implied, path, &implied_mark);
    return 0;
}

/* Opens a directory of the layer, making it and its parents where they are missing. Returns -1 with err filled. */
static int open_directory(struct placer *placer, const char *path, struct error *err)
{
    int fd = image_tree_open(placer->root, path, O_PATH | O_DIRECTORY);
    if (fd >= 0)
        return fd;
    if (errno != ENOENT && errno != ENOTDIR)
        return error_set(err, EBADMSG, "path \"%.200s\": %s", path, strerror(errno));
    char prefix[PATH_MAX];
    cleanup_close int at = image_tree_open(placer->root, ".", O_PATH | O_DIRECTORY);
    for (const char *end = path; at >= 0; end++) {
        end += strcspn(end, "/");
        memcpy(prefix, path, (size_t)(end - path));
        prefix[end - path] = 0;
        int next = image_tree_open(placer->root, prefix, O_PATH | O_DIRECTORY);
        if (next < 0 && (errno == ENOENT || errno == ENOTDIR)) {
            if (imply_directory(placer, at, prefix, err) < 0)
                return -1;
            next = image_tree_open(placer->root, prefix, O_PATH | O_DIRECTORY);
        }
        cleanup_close_fd(&at);
        at = next;
        if (!*end && at >= 0)
            return steal_fd(at);
    }
    return error_set(err, EBADMSG, "path \"%.200s\": %s", path, strerror(errno));
}

/* The parent directory of an entry, from the cache if possible. The cache owns the descriptor. */
static int open_parent(struct placer *placer, const char *path, struct error *err)
{
    if (placer->parent >= 0 && strcmp(placer->parent_path, path) == 0)
        return placer->parent;
    int fd = open_directory(placer, path, err);
    if (fd < 0)
        return -1;
    forget_parent(placer);
    placer->parent = fd;
    snprintf(placer->parent_path, sizeof(placer->parent_path), "%s", path);
    return fd;
}

/* ---- Attributes ---- */

static bool attribute_wanted(const char *name)
{
    return strcmp(name, "security.capability") == 0 ||
           (strncmp(name, "user.", 5) == 0 && strncmp(name, "user.overlay.", 13) != 0);
}

static int set_attributes(int fd, struct archive_entry *entry, struct error *err)
{
    const char *name;
    const void *value;
    size_t size;
    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
        if (name && attribute_wanted(name) && fsetxattr(fd, name, value, size, 0) < 0 && errno != ENOTSUP)
            return error_errno(err, "set attribute %.100s", name);
    return 0;
}

static int get_owner(struct archive_entry *entry, uid_t *uid, gid_t *gid, struct error *err)
{
    int64_t u = archive_entry_uid(entry), g = archive_entry_gid(entry);
    if (u < 0 || u >= UINT32_MAX || g < 0 || g >= UINT32_MAX)
        return error_set(err, EBADMSG, "owner %lld:%lld does not exist", (long long)u, (long long)g);
    *uid = (uid_t)u;
    *gid = (gid_t)g;
    return 0;
}

static struct timespec get_time(struct archive_entry *entry)
{
    return (struct timespec){archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)};
}

/* Owner first: changing it clears set-user-ID bits and capabilities. */
static int finish_descriptor(int fd, struct archive_entry *entry, bool times, struct error *err)
{
    const struct timespec stamps[2] = {get_time(entry), get_time(entry)};
    uid_t uid;
    gid_t gid;
    if (get_owner(entry, &uid, &gid, err) < 0)
        return -1;
    if (fchown(fd, uid, gid) < 0 || fchmod(fd, archive_entry_perm(entry) & 07777) < 0)
        return error_errno(err, "set owner and mode");
    if (set_attributes(fd, entry, err) < 0)
        return -1;
    if (times && futimens(fd, stamps) < 0)
        return error_errno(err, "set times");
    return 0;
}

/* For what cannot be opened: links and nodes. */
static int finish_name(int parent, const char *name, struct archive_entry *entry, bool mode, struct error *err)
{
    const struct timespec stamps[2] = {get_time(entry), get_time(entry)};
    uid_t uid;
    gid_t gid;
    if (get_owner(entry, &uid, &gid, err) < 0)
        return -1;
    if (fchownat(parent, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        (mode && fchmodat(parent, name, archive_entry_perm(entry) & 07777, 0) < 0) ||
        utimensat(parent, name, stamps, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, "set owner, mode and times");
    return 0;
}

/* ---- Kinds of entries ---- */

/* Makes way for an entry that is no directory. */
static int make_way(int parent, const char *name, struct error *err)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (image_tree_remove(parent, name) < 0)
        return error_errno(err, "replace %s", name);
    return 0;
}

static int place_content(struct placer *placer, int fd, int64_t size, struct error *err)
{
    const void *block;
    size_t block_size;
    la_int64_t offset;
    for (;;) {
        int got = archive_read_data_block(placer->tar, &block, &block_size, &offset);
        if (got == ARCHIVE_EOF)
            break;
        if (got < ARCHIVE_WARN)
            return error_set(err, EBADMSG, "%s", archive_error_string(placer->tar));
        if (offset < 0 || offset > size || (int64_t)block_size > size - offset)
            return error_set(err, EBADMSG, "content beyond the end of the file");
        for (size_t done = 0; done < block_size;) {
            ssize_t n = pwrite(fd, (const char *)block + done, block_size - done, offset + (la_int64_t)done);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                return error_errno(err, "write");
            done += (size_t)n;
        }
    }
    return ftruncate(fd, size) < 0 ? error_errno(err, "set the size") : 0;
}

static int place_file(struct placer *placer, int parent, const char *name, struct archive_entry *entry,
                      struct error *err)
{
    int64_t size = archive_entry_size(entry);
    uint64_t limit = placer->budget->limits.unpacked;
    if (size < 0)
        return error_set(err, EBADMSG, "negative size");
    if ((uint64_t)size > limit || atomic_fetch_add(&placer->budget->files, (uint64_t)size) + (uint64_t)size > limit)
        return error_set(err, E2BIG, "the image is larger than %llu bytes unpacked", (unsigned long long)limit);
    if (make_way(parent, name, err) < 0)
        return -1;
    cleanup_close int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, "create");
    if (place_content(placer, fd, size, err) < 0)
        return -1;
    return finish_descriptor(fd, entry, true, err);
}

static int place_directory(struct placer *placer, const char *path, int parent, const char *name,
                           struct archive_entry *entry, struct error *err)
{
    if (make_directory(parent, name, err) < 0)
        return -1;
    cleanup_close int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, "open");
    map_remove(placer->implied, path);
    vector_push(&placer->times, (struct directory_time){mem_string(path), get_time(entry)});
    return finish_descriptor(fd, entry, false, err);
}

static int place_link(int parent, const char *name, struct archive_entry *entry, struct error *err)
{
    const char *target = archive_entry_symlink(entry);
    if (!target || !*target)
        return error_set(err, EBADMSG, "a symbolic link without a target");
    if (make_way(parent, name, err) < 0)
        return -1;
    if (symlinkat(target, parent, name) < 0)
        return error_errno(err, "make symbolic link");
    return finish_name(parent, name, entry, false, err);
}

static int place_hard_link(struct placer *placer, int parent, const char *name, const char *target, struct error *err)
{
    char path[PATH_MAX];
    const char *target_parent;
    struct stat old, present;
    if (clean_path(target, path, err) < 0)
        return error_wrap(err, "hard link");
    if (strcmp(path, ".") == 0)
        return error_set(err, EBADMSG, "hard link to a directory");
    char *target_name = split_path(path, &target_parent);
    cleanup_close int from = image_tree_open(placer->root, target_parent, O_PATH | O_DIRECTORY);
    if (from < 0 || fstatat(from, target_name, &old, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set(err, EBADMSG, "hard link to \"%.200s\", which the layer has not got", target);
    if (S_ISDIR(old.st_mode))
        return error_set(err, EBADMSG, "hard link to a directory");
    if (fstatat(parent, name, &present, AT_SYMLINK_NOFOLLOW) == 0 && present.st_ino == old.st_ino)
        return 0;
    if (make_way(parent, name, err) < 0)
        return -1;
    if (linkat(from, target_name, parent, name, 0) < 0)
        return error_errno(err, "hard link to \"%.200s\"", target);
    return 0;
}

static int place_node(int parent, const char *name, struct archive_entry *entry, struct error *err)
{
    mode_t type = archive_entry_filetype(entry);
    dev_t device = type == AE_IFIFO ? 0 : makedev(archive_entry_rdevmajor(entry), archive_entry_rdevminor(entry));
    if (make_way(parent, name, err) < 0)
        return -1;
    if (mknodat(parent, name, type | 0600, device) < 0)
        return error_errno(err, "make device node %u:%u", major(device), minor(device));
    return finish_name(parent, name, entry, true, err);
}

/* ".wh.NAME": NAME of the layers below is gone. What this layer itself has under the name stays. */
static int place_whiteout(int parent, const char *name, struct error *err)
{
    const char *hidden = name + strlen(WHITEOUT_PREFIX);
    struct stat info;
    if (strcmp(name, WHITEOUT_OPAQUE) == 0)
        return mark_opaque(parent, ".", err);
    if (strncmp(name, WHITEOUT_META_PREFIX, strlen(WHITEOUT_META_PREFIX)) == 0)
        return 0;
    if (!*hidden || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0)
        return error_set(err, EBADMSG, "a whiteout of nothing");
    if (fstatat(parent, hidden, &info, AT_SYMLINK_NOFOLLOW) == 0)
        return S_ISDIR(info.st_mode) ? mark_opaque(parent, hidden, err) : 0;
    if (mknodat(parent, hidden, S_IFCHR, makedev(0, 0)) < 0)
        return error_errno(err, "make whiteout");
    return 0;
}

static int place_top(struct placer *placer, struct archive_entry *entry, struct error *err)
{
    if (archive_entry_hardlink(entry) || archive_entry_filetype(entry) != AE_IFDIR)
        return error_set(err, EBADMSG, "the top of the layer is no directory");
    map_remove(placer->implied, ".");
    vector_push(&placer->times, (struct directory_time){mem_string("."), get_time(entry)});
    return finish_descriptor(placer->root, entry, false, err);
}

static int place(struct placer *placer, const char *path, struct archive_entry *entry, struct error *err)
{
    char copy[PATH_MAX];
    const char *parent_path;
    if (strcmp(path, ".") == 0)
        return place_top(placer, entry, err);
    memcpy(copy, path, strlen(path) + 1);
    char *name = split_path(copy, &parent_path);
    int parent = open_parent(placer, parent_path, err);
    if (parent < 0)
        return -1;
    if (strncmp(name, WHITEOUT_PREFIX, strlen(WHITEOUT_PREFIX)) == 0)
        return place_whiteout(parent, name, err);
    const char *target = archive_entry_hardlink(entry);
    if (target)
        return place_hard_link(placer, parent, name, target, err);
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        return place_file(placer, parent, name, entry, err);
    case AE_IFDIR:
        return place_directory(placer, path, parent, name, entry, err);
    case AE_IFLNK:
        return place_link(parent, name, entry, err);
    case AE_IFCHR:
    case AE_IFBLK:
    case AE_IFIFO:
        return place_node(parent, name, entry, err);
    default:
        return error_set(err, EBADMSG, "neither file, directory, link nor node");
    }
}

int image_placer_add(struct placer *placer, struct archive_entry *entry, struct error *err)
{
    char path[PATH_MAX];
    const char *raw = archive_entry_pathname(entry);
    if (!raw)
        return error_set(err, EBADMSG, "an entry without a name");
    if (atomic_fetch_add(&placer->budget->entries, 1) >= placer->budget->limits.entries)
        return error_set(err, E2BIG, "the image has more than %llu files",
                         (unsigned long long)placer->budget->limits.entries);
    if (clean_path(raw, path, err) < 0)
        return -1;
    if (place(placer, path, entry, err) < 0)
        return error_wrap(err, "\"%.200s\"", path);
    return 0;
}

int image_placer_finish(struct placer *placer, struct error *err)
{
    forget_parent(placer);
    for (size_t i = placer->times.count; i-- > 0;) {
        const struct directory_time *at = &placer->times.items[i];
        const struct timespec stamps[2] = {at->time, at->time};
        cleanup_close int fd = image_tree_open_plain(placer->root, at->path, O_RDONLY | O_DIRECTORY);
        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
            continue; /* replaced by a later entry, or reached through a link */
        if (fd < 0 || futimens(fd, stamps) < 0)
            return error_errno(err, "set the times of \"%.200s\"", at->path);
    }
    return 0;
}
