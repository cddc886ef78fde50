/* The node's devices, for privileged containers: upstream's runtime gives them all that there are. */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "node/runtime/oci_internal.h"

/* Deeper in /dev there are only links. */
#define DEPTH_MAX 4
/* A node with more is not one that we know. */
#define DEVICES_MAX 4096

/* What every container has of its own, or what would lead out of it. */
static const char *const passed_over[] = {"pts",    "shm",     "fd",  "mqueue", "console", "null", "zero",       "full",
                                          "random", "urandom", "tty", "ptmx",   ".udev",   ".lxc", ".lxd-mounts"};

static bool is_passed_over(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(passed_over); i++)
        if (!strcmp(name, passed_over[i]))
            return true;
    return false;
}

static void add_device(json_t *devices, const char *path, const struct stat *info)
{
    json_array_append_new(devices,
                          json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:i}", "path", path, "type",
                                    S_ISCHR(info->st_mode) ? "c" : "b", "major", (int)major(info->st_rdev), "minor",
                                    (int)minor(info->st_rdev), "fileMode", (int)(info->st_mode & 07777), "uid",
                                    (int)info->st_uid, "gid", (int)info->st_gid));
}

static void add_directory(json_t *devices, const char *directory, int depth)
{
    DIR *d = opendir(directory);
    if (!d)
        return;
    for (struct dirent *entry; (entry = readdir(d)) && json_array_size(devices) < DEVICES_MAX;) {
        struct stat info;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || (!depth && is_passed_over(entry->d_name)))
            continue;
        cleanup_free char *path = mem_printf("%s/%s", directory, entry->d_name);
        if (lstat(path, &info) < 0)
            continue;
        if (S_ISDIR(info.st_mode) && depth < DEPTH_MAX)
            add_directory(devices, path, depth + 1);
        else if (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode))
            add_device(devices, path, &info);
    }
    closedir(d);
}

json_t *oci_node_devices(void)
{
    json_t *devices = json_array();
    add_directory(devices, "/dev", 0);
    return devices;
}
