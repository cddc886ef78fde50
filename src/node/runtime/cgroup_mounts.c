/* Where the cgroup hierarchies are mounted, and which of them this machine uses. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "node/runtime/cgroup_internal.h"

/* The PID namespace of the machine itself, as the kernel numbers it. */
#define FIRST_PID_NAMESPACE "pid:[4026531836]"

static bool is_cgroup2(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static bool same_namespace(const char *a, const char *b)
{
    struct stat sa, sb;
    return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static bool in_first_pid_namespace(void)
{
    char name[64];
    ssize_t n = readlink("/proc/self/ns/pid", name, sizeof(name) - 1);
    if (n < 0)
        return true;
    name[n] = 0;
    return !strcmp(name, FIRST_PID_NAMESPACE);
}

int cgroup_prepare_mounts(struct error *err)
{
    if (is_cgroup2(CGROUP_MOUNT) || !is_cgroup2(CGROUP_UNIFIED_MOUNT))
        return 0;
    if (in_first_pid_namespace() && same_namespace("/proc/self/ns/mnt", "/proc/1/ns/mnt"))
        return error_set(err, EPERM, "%s has to be hidden from crun, and that needs a mount namespace of our own",
                         CGROUP_UNIFIED_MOUNT);
    if (mount(NULL, CGROUP_MOUNT, NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_errno(err, "make %s private", CGROUP_MOUNT);
    if (umount2(CGROUP_UNIFIED_MOUNT, MNT_DETACH) < 0)
        return error_errno(err, "unmount %s", CGROUP_UNIFIED_MOUNT);
    /* crun makes its directories there all the same: they shall be in a place of our own. */
    if (mount("tmpfs", CGROUP_UNIFIED_MOUNT, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64m,mode=755") < 0)
        return error_errno(err, "mount over %s", CGROUP_UNIFIED_MOUNT);
    return 0;
}

/* Whether the comma-separated list holds the word. */
static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ',') && (!p[n] || p[n] == ',' || p[n] == '\n'))
            return true;
    return false;
}

static int find_v1(struct cgroup *cgroup, struct error *err)
{
    static const char *const names[CGROUP_CONTROLLERS] = {"cpu", "cpuacct", "memory", "pids"};
    bool found[CGROUP_CONTROLLERS] = {0};
    cleanup_file FILE *mounts = fopen("/proc/self/mounts", "re");
    if (!mounts)
        return error_errno(err, "open /proc/self/mounts");
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, mounts) > 0 && cgroup->hierarchy_count < CGROUP_HIERARCHIES_MAX) {
        char *rest = line;
        strsep(&rest, " ");
        char *point = strsep(&rest, " "), *type = strsep(&rest, " "), *options = strsep(&rest, " ");
        if (!options || strcmp(type, "cgroup"))
            continue;
        for (size_t i = 0; i < CGROUP_CONTROLLERS; i++)
            if (!found[i] && has_word(options, names[i])) {
                found[i] = true;
                cgroup->controllers[i] = cgroup->hierarchy_count;
            }
        cgroup->limits_huge_pages |= has_word(options, CGROUP_HUGE_PAGES);
        cgroup->hierarchies[cgroup->hierarchy_count++] = mem_string(point);
    }
    free(line);
    for (size_t i = 0; i < CGROUP_CONTROLLERS; i++)
        if (!found[i])
            return error_set(err, ENOENT, "cgroup controller %s is not mounted (see /proc/self/mounts)", names[i]);
    cgroup->primary = cgroup->controllers[CGROUP_PIDS];
    if (access(CGROUP_UNIFIED_MOUNT, F_OK) == 0 && !is_cgroup2(CGROUP_UNIFIED_MOUNT))
        cgroup->shadow = CGROUP_UNIFIED_MOUNT;
    return 0;
}

static int find_v2(struct cgroup *cgroup, struct error *err)
{
    static const char *const needed[] = {"cpu", "memory", "pids"};
    char text[512];
    if (file_read_text(CGROUP_MOUNT "/cgroup.controllers", text, sizeof(text)) < 0)
        return error_errno(err, "read %s/cgroup.controllers", CGROUP_MOUNT);
    for (char *p = text; *p; p++)
        if (*p == ' ' || *p == '\n')
            *p = ',';
    for (size_t i = 0; i < ARRAY_COUNT(needed); i++)
        if (!has_word(text, needed[i]))
            return error_set(err, ENOENT, "cgroup controller %s is not available (see %s/cgroup.controllers)",
                             needed[i], CGROUP_MOUNT);
    cgroup->hierarchies[cgroup->hierarchy_count++] = mem_string(CGROUP_MOUNT);
    return 0;
}

int cgroup_find(const char *parent, struct cgroup **out, struct error *err)
{
    size_t length = strlen(parent);
    if (parent[0] != '/' || length < 2 || parent[length - 1] == '/' || strstr(parent, "//") || strstr(parent, "/.") ||
        length >= PATH_MAX / 2)
        return error_set(err, EINVAL, "cgroup parent '%s' is not an absolute path below the root", parent);
    struct cgroup *cgroup = mem_zero(1, sizeof(*cgroup));
    memcpy(cgroup->parent, parent, length + 1);
    cgroup->version = is_cgroup2(CGROUP_MOUNT) ? 2 : 1;
    int result = cgroup->version == 2 ? find_v2(cgroup, err) : find_v1(cgroup, err);
    if (result < 0) {
        cgroup_free(cgroup);
        return -1;
    }
    *out = cgroup;
    return 0;
}

int cgroup_open(const char *parent, struct cgroup **out, struct error *err)
{
    struct cgroup *cgroup;
    if (cgroup_find(parent, &cgroup, err) < 0)
        return -1;
    if (cgroup_create(cgroup, "", NULL, err) < 0) {
        cgroup_free(cgroup);
        return -1;
    }
    *out = cgroup;
    return 0;
}

void cgroup_free(struct cgroup *cgroup)
{
    if (!cgroup)
        return;
    for (size_t i = 0; i < cgroup->hierarchy_count; i++)
        free(cgroup->hierarchies[i]);
    free(cgroup);
}

int cgroup_version(const struct cgroup *cgroup)
{
    return cgroup->version;
}

const char *cgroup_parent(const struct cgroup *cgroup)
{
    return cgroup->parent;
}
