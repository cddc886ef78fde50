/* The end of a cluster, whatever state it is in: kill, unbind, remove. Each step is safe to repeat, and the run
 * directory goes last, so that a destroy that was cut short is taken up by the next.
 *
 * A process belongs to the cluster if it is in one of its cgroups or in one of its namespaces, or descends from one
 * that is. The descendants are there for containers whose cgroups are gone: they have namespaces of their own. */
#include "cli/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/map.h"
#include "base/vector.h"
#include "cli/sandbox_internal.h"

#define CGROUP_NAME "coracle"
#define MOUNTS_MAX (16 * 1024 * 1024)
#define PROCESS_LIST_MAX (16 * 1024 * 1024)
/* Processes and cgroups end on their own time; how often to look, in milliseconds. */
#define LOOK_AGAIN 2
/* Groups inside each other; deeper ones are left, and reported as busy. */
#define CGROUP_DEPTH_MAX 64

typedef VECTOR(pid_t) process_vector;
typedef VECTOR(char *) path_vector;

struct destruction {
    const struct sandbox_paths *paths;
    struct sandbox_state state;
    const bool *remove_data; /* NULL: as the state says */
    path_vector cgroups; /* MOUNT/coracle/NAME in every hierarchy, whether it is there or not */
    struct stat network; /* st_ino 0: none to look for */
    struct stat mount;
    int64_t deadline; /* milliseconds of CLOCK_MONOTONIC */
};

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool wait_a_little(const struct destruction *d)
{
    struct timespec t = {.tv_nsec = LOOK_AGAIN * 1000000};
    if (now() >= d->deadline)
        return false;
    nanosleep(&t, NULL);
    return true;
}

/* ---- cgroups ---- */

static int find_cgroups(struct destruction *d, const char *name, struct error *err)
{
    cleanup_buffer struct buffer mounts = {0};
    if (file_read("/proc/self/mounts", MOUNTS_MAX, &mounts, err) < 0)
        return -1;
    char *rest = mounts.data;
    for (char *line; (line = strsep(&rest, "\n"));) {
        strsep(&line, " ");
        char *point = strsep(&line, " "), *type = strsep(&line, " ");
        if (type && (strcmp(type, "cgroup") == 0 || strcmp(type, "cgroup2") == 0))
            vector_push(&d->cgroups, mem_printf("%s/" CGROUP_NAME "/%s", point, name));
    }
    return 0;
}

typedef void (*cgroup_visitor)(void *context, const char *path);

/* Calls back for the group and all below it, the deepest first. */
static void visit_cgroups(const char *path, int depth, cgroup_visitor visit, void *context)
{
    DIR *directory = depth < CGROUP_DEPTH_MAX ? opendir(path) : NULL;
    if (!directory)
        return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        cleanup_free char *below = mem_printf("%s/%s", path, entry->d_name);
        visit_cgroups(below, depth + 1, visit, context);
    }
    closedir(directory);
    visit(context, path);
}

static void collect_from_cgroup(void *context, const char *path)
{
    process_vector *processes = context;
    cleanup_free char *list = mem_printf("%s/cgroup.procs", path);
    cleanup_buffer struct buffer text = {0};
    if (file_read(list, PROCESS_LIST_MAX, &text, NULL) < 0)
        return;
    char *rest = text.data;
    for (char *line; (line = strsep(&rest, "\n"));) {
        long process = strtol(line, NULL, 10);
        if (process > 1)
            vector_push(processes, (pid_t)process);
    }
}

/* A frozen process of version 1 does not die before it is thawed. */
static void thaw(void *context, const char *path)
{
    cleanup_free char *version_1 = mem_printf("%s/freezer.state", path);
    cleanup_free char *version_2 = mem_printf("%s/cgroup.freeze", path);
    if (access(version_1, W_OK) == 0)
        file_poke(version_1, "THAWED", NULL);
    if (access(version_2, W_OK) == 0)
        file_poke(version_2, "0", NULL);
}

static void remove_cgroup(void *context, const char *path)
{
    bool *left = context;
    if (rmdir(path) < 0 && errno != ENOENT)
        *left = true;
}

static int remove_cgroups(struct destruction *d, struct error *err)
{
    for (;;) {
        size_t stubborn = d->cgroups.count; /* none */
        for (size_t i = 0; i < d->cgroups.count; i++) {
            bool left = false;
            visit_cgroups(d->cgroups.items[i], 0, remove_cgroup, &left);
            if (left)
                stubborn = i;
        }
        if (stubborn == d->cgroups.count)
            break;
        if (!wait_a_little(d))
            return error_set(err, EBUSY, "cgroup %s cannot be removed: it does not become empty",
                             d->cgroups.items[stubborn]);
    }
    for (size_t i = 0; i < d->cgroups.count; i++) {
        *strrchr(d->cgroups.items[i], '/') = 0;
        rmdir(d->cgroups.items[i]); /* the parent of all clusters, if this was the last */
    }
    return 0;
}

/* ---- processes ---- */

static bool is_in(pid_t process, const char *kind, const struct stat *wanted)
{
    char path[64];
    struct stat found;
    snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)process, kind);
    return wanted->st_ino && stat(path, &found) == 0 && found.st_ino == wanted->st_ino &&
           found.st_dev == wanted->st_dev;
}

static pid_t parent_of(pid_t process)
{
    char path[64];
    cleanup_buffer struct buffer text = {0};
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)process);
    if (file_read(path, 8192, &text, NULL) < 0 || !text.data)
        return 0;
    char *after_name = strrchr(text.data, ')'); /* the name may hold anything */
    char state;
    int parent;
    return after_name && sscanf(after_name + 1, " %c %d", &state, &parent) == 2 ? parent : 0;
}

static void all_processes(process_vector *out)
{
    DIR *directory = opendir("/proc");
    if (!directory)
        return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        long process = strtol(entry->d_name, NULL, 10);
        if (process > 1)
            vector_push(out, (pid_t)process);
    }
    closedir(directory);
}

static void mark(struct map *marked, process_vector *out, pid_t process)
{
    char key[16];
    snprintf(key, sizeof(key), "%d", (int)process);
    if (process == getpid() || map_set(marked, key, out))
        return;
    vector_push(out, process);
}

static bool is_marked(const struct map *marked, pid_t process)
{
    char key[16];
    snprintf(key, sizeof(key), "%d", (int)process);
    return process > 1 && map_has(marked, key);
}

/* All processes of the cluster, each once. */
static void find_processes(const struct destruction *d, process_vector *out)
{
    struct map marked = {0};
    process_vector all = {0}, grouped = {0};
    for (size_t i = 0; i < d->cgroups.count; i++)
        visit_cgroups(d->cgroups.items[i], 0, collect_from_cgroup, &grouped);
    for (size_t i = 0; i < grouped.count; i++)
        mark(&marked, out, grouped.items[i]);
    all_processes(&all);
    for (size_t i = 0; i < all.count; i++)
        if (is_in(all.items[i], "net", &d->network) || is_in(all.items[i], "mnt", &d->mount))
            mark(&marked, out, all.items[i]);
    pid_t holder = sandbox_lock_holder(d->paths);
    if (holder)
        mark(&marked, out, holder);
    /* Descendants: a pass for each generation, and no more once nothing is added. */
    for (size_t before = 0; out->count && before != out->count;) {
        before = out->count;
        for (size_t i = 0; i < all.count; i++)
            if (is_marked(&marked, parent_of(all.items[i])))
                mark(&marked, out, all.items[i]);
    }
    vector_free(&all);
    vector_free(&grouped);
    map_free(&marked);
}

static bool is_zombie(pid_t process)
{
    char path[64];
    cleanup_buffer struct buffer text = {0};
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)process);
    if (file_read(path, 8192, &text, NULL) < 0 || !text.data)
        return true;
    char *after_name = strrchr(text.data, ')');
    return !after_name || after_name[1] != ' ' || after_name[2] == 'Z' || after_name[2] == 'X';
}

static int kill_processes(struct destruction *d, struct error *err)
{
    for (;;) {
        process_vector processes = {0};
        pid_t alive = 0;
        find_processes(d, &processes);
        for (size_t i = 0; i < processes.count; i++) {
            if (is_zombie(processes.items[i]))
                continue; /* it is its parent's to bury */
            alive = processes.items[i];
            kill(alive, SIGKILL);
        }
        vector_free(&processes);
        if (!alive)
            return 0;
        for (size_t i = 0; i < d->cgroups.count; i++)
            visit_cgroups(d->cgroups.items[i], 0, thaw, NULL);
        if (!wait_a_little(d))
            return error_set(err, ETIMEDOUT, "process %d does not end", (int)alive);
    }
}

/* ---- all of it ---- */

static void look_at_namespace(const char *path, struct stat *out)
{
    if (!sandbox_is_bound(path) || stat(path, out) < 0)
        out->st_ino = 0;
}

/* Nobody may begin while this ends: with the processes dead the lock is free, and then it is ours. */
static int take_lock(struct destruction *d, int *lock, struct error *err)
{
    struct error e = {0};
    while ((*lock = sandbox_lock(d->paths, &e)) < 0) {
        if (e.code != EBUSY || !wait_a_little(d))
            return error_set(err, e.code, "%s", e.text);
    }
    return 0;
}

static int remove_files(struct destruction *d, struct error *err)
{
    bool remove_data = d->remove_data ? *d->remove_data : d->state.disposable;
    if (remove_data && d->state.data_directory[0] == '/' && d->state.data_directory[1] &&
        file_remove_tree(d->state.data_directory, err) < 0)
        return -1;
    if (file_remove_tree(d->paths->run, err) < 0)
        return -1;
    rmdir(SANDBOX_RUN_DIRECTORY); /* if this was the last cluster */
    return 0;
}

static int destroy(struct destruction *d, const char *name, struct error *err)
{
    cleanup_close int lock = -1;
    bool known = access(d->paths->run, F_OK) == 0;
    if (find_cgroups(d, name, err) < 0)
        return -1;
    if (known) {
        struct error e = {0};
        if (sandbox_state_read(d->paths, &d->state, &e) < 0 && e.code != ENOENT)
            return error_set(err, e.code, "%s", e.text);
        look_at_namespace(d->paths->network, &d->network);
        look_at_namespace(d->paths->mount, &d->mount);
        if (sandbox_is_inside(d->paths))
            return error_set(err, EBUSY, "it cannot be ended from inside");
    }
    if (kill_processes(d, err) < 0)
        return -1;
    if (known && (take_lock(d, &lock, err) < 0 || kill_processes(d, err) < 0 || sandbox_unbind(d->paths, err) < 0))
        return -1;
    if (remove_cgroups(d, err) < 0)
        return -1;
    return known ? remove_files(d, err) : 0;
}

static int destroy_with(const char *name, const bool *remove_data, struct error *err)
{
    struct sandbox_paths paths;
    if (sandbox_name_check(name, err) < 0)
        return -1;
    sandbox_paths_of(name, &paths);
    struct destruction d = {.paths = &paths, .remove_data = remove_data, .deadline = now() + SANDBOX_DESTROY_WAIT};
    int result = destroy(&d, name, err);
    for (size_t i = 0; i < d.cgroups.count; i++)
        free(d.cgroups.items[i]);
    vector_free(&d.cgroups);
    return result < 0 ? error_wrap(err, "end cluster \"%s\"", name) : 0;
}

int sandbox_destroy(const char *name, struct error *err)
{
    return destroy_with(name, NULL, err);
}

int sandbox_undo(const char *name, bool data_was_made, struct error *err)
{
    return destroy_with(name, &data_was_made, err);
}
