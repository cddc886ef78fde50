/* What the cgroup files share. */
#ifndef CORACLE_NODE_RUNTIME_CGROUP_INTERNAL_H
#define CORACLE_NODE_RUNTIME_CGROUP_INTERNAL_H

#include <limits.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "node/runtime/cgroup.h"

#define CGROUP_MOUNT "/sys/fs/cgroup"
#define CGROUP_UNIFIED_MOUNT CGROUP_MOUNT "/unified"

/* The controller of huge pages, which a kernel may do without. */
#define CGROUP_HUGE_PAGES "hugetlb"
/* More hierarchies than any kernel has. */
#define CGROUP_HIERARCHIES_MAX 16

/* Controllers by number: the place of their hierarchy in struct cgroup, on v1. */
enum cgroup_controller { CGROUP_CPU, CGROUP_CPUACCT, CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CONTROLLERS };

struct cgroup {
    int version;
    char parent[PATH_MAX];
    /* Mount points. v2 has one. */
    char *hierarchies[CGROUP_HIERARCHIES_MAX];
    size_t hierarchy_count;
    size_t primary;                         /* membership is judged here */
    size_t controllers[CGROUP_CONTROLLERS]; /* which hierarchy carries it; all 0 on v2 */
    bool limits_huge_pages;                 /* on v1: a hierarchy has that controller */
    /* On v1 beside a hidden v2, crun makes directories and files where v2 was mounted as if it still were. NULL: no. */
    const char *shadow;
};

/* Closes *fd unless it is negative, and makes it negative. */
static inline void close_and_forget(int *fd)
{
    cleanup_close_fd(fd);
    *fd = -1;
}

/* HIERARCHY + PARENT + "/" + name [+ "/" + file]. Fails when it would not fit PATH_MAX. */
int cgroup_path(const struct cgroup *cgroup, size_t hierarchy, const char *name, const char *file, char out[PATH_MAX],
                struct error *err);
/* As cgroup_open, but makes nothing. */
int cgroup_find(const char *parent, struct cgroup **out, struct error *err);
/* The number behind `key ` at the start of a line of text, or 0. */
uint64_t cgroup_flat_value(const char *text, const char *key);

#endif
