/* The cgroup tree: making, limiting, filling, emptying and removing groups. See cgroup.h for the layout. */
#include "node/runtime/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "node/runtime/cgroup_internal.h"

/* Groups nest no deeper below one of ours (a container may make its own). */
#define CGROUP_DEPTH_MAX 16
/* Another cluster's end may remove a common ancestor while it is empty; then it is made again. */
#define CREATE_TRIES 10
/* A removal that meets processes on their way out is tried again this often, a millisecond apart. */
#define CGROUP_REMOVE_TRIES 200

int cgroup_path(const struct cgroup *cgroup, size_t hierarchy, const char *name, const char *file, char out[PATH_MAX],
                struct error *err)
{
    int n = snprintf(out, PATH_MAX, "%s%s%s%s%s%s", cgroup->hierarchies[hierarchy], cgroup->parent, *name ? "/" : "",
                     name, file ? "/" : "", file ? file : "");
    if (n < 0 || n >= PATH_MAX)
        return error_set(err, ENAMETOOLONG, "cgroup path of %s is too long", name);
    return 0;
}

static int write_value(const struct cgroup *cgroup, size_t hierarchy, const char *name, const char *file,
                       const char *value, struct error *err)
{
    char path[PATH_MAX];
    if (cgroup_path(cgroup, hierarchy, name, file, path, err) < 0)
        return -1;
    return file_poke(path, value, err);
}

/* Hands the controllers that limits need on to the children of a v2 group. */
static int enable_controllers(const char *directory, struct error *err)
{
    static const char *const controllers[] = {"+cpu", "+memory", "+pids"};
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/cgroup.subtree_control", directory) >= (int)sizeof(path))
        return error_set(err, ENAMETOOLONG, "cgroup path %s is too long", directory);
    for (size_t i = 0; i < ARRAY_COUNT(controllers); i++)
        if (file_poke(path, controllers[i], err) < 0)
            return error_wrap(err, "enable the %s controller", controllers[i] + 1);
    struct error ignored;
    file_poke(path, "+" CGROUP_HUGE_PAGES, &ignored); /* not every kernel has it */
    return 0;
}

bool cgroup_limits_huge_pages(const struct cgroup *cgroup)
{
    char path[PATH_MAX], text[512];
    struct error ignored;
    if (cgroup->version == 1)
        return cgroup->limits_huge_pages;
    return cgroup_path(cgroup, 0, "", "cgroup.controllers", path, &ignored) == 0 &&
           file_read_text(path, text, sizeof(text)) >= 0 && strstr(text, CGROUP_HUGE_PAGES);
}

/* mkdir -p from the mount point down; on v2 every group on the way hands its controllers on. */
static int make_path(const struct cgroup *cgroup, size_t hierarchy, char *path, bool hand_on, struct error *err)
{
    if (cgroup->version == 1)
        return file_make_directories(path, 0755, err);
    for (char *p = path + strlen(cgroup->hierarchies[hierarchy]); p;) {
        char saved = *p;
        *p = 0;
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return error_errno(err, "create cgroup %s", path);
        if ((saved || hand_on) && enable_controllers(path, err) < 0)
            return -1;
        *p = saved;
        p = saved ? strchrnul(p + 1, '/') : NULL;
    }
    return 0;
}

static int make_group(const struct cgroup *cgroup, size_t hierarchy, const char *name, bool hand_on, struct error *err)
{
    char path[PATH_MAX];
    struct error failure;
    for (int i = 0; i < CREATE_TRIES; i++) {
        if (cgroup_path(cgroup, hierarchy, name, NULL, path, err) < 0)
            return -1;
        if (make_path(cgroup, hierarchy, path, hand_on, &failure) == 0)
            return 0;
        if (failure.code != ENOENT)
            break;
    }
    return error_set(err, failure.code, "%s", failure.text);
}

/* Where swap is accounted for, memory and swap together have the limit of memory: neither may pass the other on the way
 * there. */
static int limit_memory_v1(const struct cgroup *cgroup, const char *name, int64_t limit, struct error *err)
{
    static const char memory[] = "memory.limit_in_bytes", both[] = "memory.memsw.limit_in_bytes";
    size_t hierarchy = cgroup->controllers[CGROUP_MEMORY];
    struct error failure;
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)(limit > 0 ? limit : -1));
    if (write_value(cgroup, hierarchy, name, memory, text, &failure) == 0) {
        write_value(cgroup, hierarchy, name, both, text, &failure);
        return 0;
    }
    if (failure.code != EINVAL || write_value(cgroup, hierarchy, name, both, text, &failure) < 0)
        return error_set(err, failure.code, "%s", failure.text);
    return write_value(cgroup, hierarchy, name, memory, text, err);
}

static int apply_v1(const struct cgroup *cgroup, const char *name, const struct cgroup_resources *r, struct error *err)
{
    char text[32];
    size_t cpu = cgroup->controllers[CGROUP_CPU];
    if (r->cpu_shares) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)r->cpu_shares);
        if (write_value(cgroup, cpu, name, "cpu.shares", text, err) < 0)
            return -1;
    }
    snprintf(text, sizeof(text), "%llu", (unsigned long long)(r->cpu_period ? r->cpu_period : CGROUP_CPU_PERIOD));
    if (r->cpu_quota && write_value(cgroup, cpu, name, "cpu.cfs_period_us", text, err) < 0)
        return -1;
    snprintf(text, sizeof(text), "%lld", (long long)(r->cpu_quota > 0 ? r->cpu_quota : -1));
    if (write_value(cgroup, cpu, name, "cpu.cfs_quota_us", text, err) < 0)
        return -1;
    if (limit_memory_v1(cgroup, name, r->memory_limit, err) < 0)
        return -1;
    snprintf(text, sizeof(text), "%lld", (long long)r->pids_limit);
    return write_value(cgroup, cgroup->controllers[CGROUP_PIDS], name, "pids.max", r->pids_limit > 0 ? text : "max",
                       err);
}

static int apply_v2(const struct cgroup *cgroup, const char *name, const struct cgroup_resources *r, struct error *err)
{
    char text[64];
    if (r->cpu_shares) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)cgroup_cpu_weight(r->cpu_shares));
        if (write_value(cgroup, 0, name, "cpu.weight", text, err) < 0)
            return -1;
    }
    unsigned long long period = r->cpu_period ? r->cpu_period : CGROUP_CPU_PERIOD;
    if (r->cpu_quota > 0)
        snprintf(text, sizeof(text), "%lld %llu", (long long)r->cpu_quota, period);
    else
        snprintf(text, sizeof(text), "max %llu", period);
    if (write_value(cgroup, 0, name, "cpu.max", text, err) < 0)
        return -1;
    snprintf(text, sizeof(text), "%lld", (long long)r->memory_limit);
    if (write_value(cgroup, 0, name, "memory.max", r->memory_limit > 0 ? text : "max", err) < 0)
        return -1;
    snprintf(text, sizeof(text), "%lld", (long long)r->pids_limit);
    return write_value(cgroup, 0, name, "pids.max", r->pids_limit > 0 ? text : "max", err);
}

int cgroup_update(const struct cgroup *cgroup, const char *name, const struct cgroup_resources *resources,
                  struct error *err)
{
    int result = cgroup->version == 1 ? apply_v1(cgroup, name, resources, err) : apply_v2(cgroup, name, resources, err);
    return result < 0 ? error_wrap(err, "limit cgroup %s/%s", cgroup->parent, name) : 0;
}

/* The hierarchy that has CPU sets for this group: one of its own on v1. */
static int cpus_path(const struct cgroup *cgroup, const char *name, char path[PATH_MAX], struct error *err)
{
    for (size_t i = 0; i < cgroup->hierarchy_count; i++) {
        if (cgroup_path(cgroup, i, name, "cpuset.cpus", path, err) < 0)
            return -1;
        if (access(path, F_OK) == 0)
            return 0;
    }
    return error_set(err, ENOENT, "cgroup %s/%s has no CPU set", cgroup->parent, name);
}

int cgroup_set_cpus(const struct cgroup *cgroup, const char *name, const char *cpus, struct error *err)
{
    char path[PATH_MAX];
    return cpus_path(cgroup, name, path, err) < 0 ? -1 : file_poke(path, cpus, err);
}

int cgroup_read_cpus(const struct cgroup *cgroup, const char *name, char *out, size_t size, struct error *err)
{
    char path[PATH_MAX];
    if (cpus_path(cgroup, name, path, err) < 0)
        return -1;
    return file_read_text(path, out, size) < 0 ? error_errno(err, "read %s", path) : 0;
}

int cgroup_create(const struct cgroup *cgroup, const char *name, const struct cgroup_resources *resources,
                  struct error *err)
{
    if (cgroup->version == 2) {
        if (make_group(cgroup, 0, name, true, err) < 0)
            return -1;
    } else {
        for (size_t i = 0; i < CGROUP_CONTROLLERS; i++)
            if (make_group(cgroup, cgroup->controllers[i], name, true, err) < 0)
                return -1;
    }
    return resources ? cgroup_update(cgroup, name, resources, err) : 0;
}

int cgroup_attach(const struct cgroup *cgroup, const char *name, pid_t pid, struct error *err)
{
    char text[16];
    struct error first;
    snprintf(text, sizeof(text), "%d", (int)pid);
    if (write_value(cgroup, cgroup->primary, name, "cgroup.procs", text, &first) == 0)
        return 0;
    if (first.code == ENOENT && make_group(cgroup, cgroup->primary, name, false, err) < 0)
        return -1;
    return write_value(cgroup, cgroup->primary, name, "cgroup.procs", text, err);
}

/* Calls visit with each group below `path` (which holds PATH_MAX bytes), deepest first, and with it last.
 * A group that vanishes meanwhile is passed over. */
static int walk(char *path, int depth, int (*visit)(const char *path, void *context, struct error *err), void *context,
                struct error *err)
{
    if (depth > CGROUP_DEPTH_MAX)
        return error_set(err, ELOOP, "cgroup %s is nested too deeply", path);
    DIR *directory = opendir(path);
    if (!directory)
        return errno == ENOENT ? 0 : error_errno(err, "open cgroup %s", path);
    int result = 0;
    size_t length = strlen(path);
    for (struct dirent *entry; result == 0 && (entry = readdir(directory));) {
        if (entry->d_type != DT_DIR || !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (length + 1 + strlen(entry->d_name) >= PATH_MAX)
            continue;
        snprintf(path + length, PATH_MAX - length, "/%s", entry->d_name);
        result = walk(path, depth + 1, visit, context, err);
        path[length] = 0;
    }
    closedir(directory);
    return result == 0 ? visit(path, context, err) : result;
}

static int walk_group(const struct cgroup *cgroup, size_t hierarchy, const char *name,
                      int (*visit)(const char *path, void *context, struct error *err), void *context,
                      struct error *err)
{
    char path[PATH_MAX];
    if (cgroup_path(cgroup, hierarchy, name, NULL, path, err) < 0)
        return -1;
    return walk(path, 0, visit, context, err);
}

struct process_visit {
    void (*visit)(void *context, pid_t pid);
    void *context;
};

static int visit_processes(const char *path, void *context, struct error *err)
{
    struct process_visit *v = context;
    char file[PATH_MAX + 16];
    snprintf(file, sizeof(file), "%s/cgroup.procs", path);
    cleanup_file FILE *f = fopen(file, "re");
    if (!f)
        return errno == ENOENT || errno == ENODEV ? 0 : error_errno(err, "open %s", file);
    /* A process of another PID namespace reads as 0. */
    for (int pid; fscanf(f, "%d", &pid) == 1;)
        if (pid > 0)
            v->visit(v->context, pid);
    return 0;
}

int cgroup_each_process(const struct cgroup *cgroup, const char *name, void (*visit)(void *context, pid_t pid),
                        void *context, struct error *err)
{
    struct process_visit v = {visit, context};
    return walk_group(cgroup, cgroup->primary, name, visit_processes, &v, err);
}

struct kill_state {
    int waiting; /* a pidfd of one that was killed, to wait for; -1 */
    size_t killed;
};

static void kill_process(void *context, pid_t pid)
{
    struct kill_state *state = context;
    if (pid == getpid())
        return;
    cleanup_close int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0 || syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0)
        return;
    state->killed++;
    if (state->waiting < 0)
        state->waiting = steal_fd(fd);
}

static int kill_pass(const struct cgroup *cgroup, const char *name, struct kill_state *state, struct error *err)
{
    if (cgroup->version == 2) {
        char path[PATH_MAX];
        struct error ignored;
        /* Takes the whole subtree at once, forks under way included; older kernels have no such file. */
        if (cgroup_path(cgroup, 0, name, "cgroup.kill", path, &ignored) == 0)
            file_poke(path, "1", &ignored);
    }
    return cgroup_each_process(cgroup, name, kill_process, state, err);
}

int cgroup_kill_once(const struct cgroup *cgroup, const char *name, struct error *err)
{
    struct kill_state state = {.waiting = -1};
    int result = kill_pass(cgroup, name, &state, err);
    close_and_forget(&state.waiting);
    return result;
}

static int64_t monotonic_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int cgroup_kill(const struct cgroup *cgroup, const char *name, struct error *err)
{
    int64_t deadline = monotonic_now() + CGROUP_KILL_WAIT;
    for (;;) {
        struct kill_state state = {.waiting = -1};
        if (kill_pass(cgroup, name, &state, err) < 0)
            return -1;
        if (!state.killed)
            return 0;
        int64_t left = deadline - monotonic_now();
        struct pollfd poll_fd = {.fd = state.waiting, .events = POLLIN};
        if (left > 0)
            poll(&poll_fd, 1, (int)(left / 1000) + 1);
        close_and_forget(&state.waiting);
        if (left <= 0)
            return error_set(err, ETIMEDOUT, "processes in cgroup %s/%s do not end", cgroup->parent, name);
    }
}

static int remove_group(const char *path, void *context, struct error *err)
{
    int *tries = context;
    while (rmdir(path) < 0) {
        if (errno == ENOENT)
            return 0;
        if (errno != EBUSY || --*tries <= 0)
            return error_errno(err, "remove cgroup %s", path);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return 0;
}

int cgroup_remove(const struct cgroup *cgroup, const char *name, struct error *err)
{
    int result = 0;
    int tries = CGROUP_REMOVE_TRIES;
    for (size_t i = 0; i < cgroup->hierarchy_count; i++)
        if (walk_group(cgroup, i, name, remove_group, &tries, err) < 0)
            result = -1;
    if (cgroup->shadow) {
        cleanup_free char *path = mem_printf("%s%s%s%s", cgroup->shadow, cgroup->parent, *name ? "/" : "", name);
        if (file_remove_tree(path, err) < 0)
            result = -1;
    }
    return result;
}

static void remove_ancestors(const char *root, const char *parent)
{
    cleanup_free char *path = mem_printf("%s%s", root, parent);
    /* The first that is in use ends it. */
    for (char *slash = strrchr(path, '/'); slash > path + strlen(root) && (*slash = 0, rmdir(path) == 0);)
        slash = strrchr(path, '/');
}

void cgroup_remove_ancestors(const struct cgroup *cgroup)
{
    for (size_t i = 0; i < cgroup->hierarchy_count; i++)
        remove_ancestors(cgroup->hierarchies[i], cgroup->parent);
    if (cgroup->shadow)
        remove_ancestors(cgroup->shadow, cgroup->parent);
}
