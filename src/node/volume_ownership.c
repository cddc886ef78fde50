/* Gives a volume to the pod's fsGroup, as upstream's SetVolumeOwnership does: every file and directory gets the group,
 * what it needs to be read (and written, unless the volume is read-only), and directories the setgid bit, so that what is
 * made in them later belongs to the group too.
 *
 * The volume may be in use by containers of other pods that mean no good: everything is opened relative to its directory
 * and no link is followed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "node/volume_plan.h"

/* Directories within directories; each takes a descriptor while what is below it is walked. */
#define DEPTH_MAX 256

struct walk {
    gid_t group;
    mode_t mask;      /* added to files */
    mode_t directory; /* added to directories besides */
};

static struct walk walk_for(gid_t group, bool read_only)
{
    return (struct walk){.group = group, .mask = read_only ? 0440 : 0660, .directory = S_ISGID | 0110};
}

/* Changes what fd, opened with O_PATH, stands for. Names of links have no mode. */
static int change(const struct walk *walk, int fd, const struct stat *info)
{
    char path[40];
    if (fchownat(fd, "", (uid_t)-1, walk->group, AT_EMPTY_PATH) < 0)
        return -1;
    if (S_ISLNK(info->st_mode))
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return chmod(path, (info->st_mode & 07777) | walk->mask | (S_ISDIR(info->st_mode) ? walk->directory : 0));
}

static int change_tree(const struct walk *walk, int fd, int depth);

static int change_entries(const struct walk *walk, int fd, int depth)
{
    if (depth == DEPTH_MAX) {
        errno = ELOOP;
        return -1;
    }
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = copy < 0 ? NULL : fdopendir(copy);
    if (!directory) {
        if (copy >= 0)
            close(copy);
        return -1;
    }
    int result = 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(directory));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        cleanup_close int inner = openat(fd, entry->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (inner >= 0)
            result = change_tree(walk, inner, depth + 1);
        else if (errno != ENOENT) /* one that has gone meanwhile needs no group */
            result = -1;
    }
    int saved = errno;
    closedir(directory);
    errno = saved;
    return result;
}

static int change_tree(const struct walk *walk, int fd, int depth)
{
    struct stat info;
    if (fstat(fd, &info) < 0 || change(walk, fd, &info) < 0)
        return -1;
    return S_ISDIR(info.st_mode) ? change_entries(walk, fd, depth) : 0;
}

static bool root_matches(const struct walk *walk, const struct stat *root)
{
    mode_t wanted = walk->mask | walk->directory;
    return root->st_gid == walk->group && (root->st_mode & wanted) == wanted;
}

int volume_set_ownership(const char *path, gid_t group, bool read_only, bool on_root_mismatch, struct error *err)
{
    struct walk walk = walk_for(group, read_only);
    struct stat root;
    cleanup_close int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &root) < 0)
        return error_errno(err, "open %s", path);
    if (on_root_mismatch && root_matches(&walk, &root))
        return 0;
    if (change_tree(&walk, fd, 0) < 0)
        return error_errno(err, "applyFSGroup failed for vol %s", path);
    return 0;
}
