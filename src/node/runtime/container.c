/* Containers: the objects, starting, signalling and deleting them. Creation is container_create.c, what happens when
 * they end is container_end.c. */
#include "node/runtime/container.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/timestamp.h"
#include "node/runtime/runtime_internal.h"

char *container_path(const struct runtime *runtime, const char *id, const char *file)
{
    return mem_printf("%s/containers/%s%s%s", runtime->run, id, file ? "/" : "", file ? file : "");
}

char *container_exit_path(const struct runtime *runtime, const char *id)
{
    return mem_printf("%s/exits/%s", runtime->run, id);
}

char *container_crun_path(const struct runtime *runtime, const char *id, const char *file)
{
    return mem_printf("%s/crun/%s%s%s", runtime->run, id, file ? "/" : "", file ? file : "");
}

struct container *container_new(struct runtime *runtime)
{
    struct container *container = mem_zero(1, sizeof(*container));
    container->runtime = runtime;
    container->arena = arena_new(0);
    container->pidfd = container->conmon_pidfd = -1;
    list_init(&container->node);
    return container;
}

void container_free(struct container *container)
{
    pidfd_watch_stop(container->conmon_watch);
    env_timer_free(container->signal_timer);
    close_and_forget(&container->pidfd);
    close_and_forget(&container->conmon_pidfd);
    vector_free(&container->deleters);
    arena_free(container->arena);
    free(container);
}

void container_insert(struct container *container)
{
    map_set(&container->runtime->containers, container->status.id, container);
    list_append(&container->runtime->container_list, &container->node);
}

void container_remove(struct container *container)
{
    map_remove(&container->runtime->containers, container->status.id);
    list_remove(&container->node);
}

bool sandbox_has_containers(struct runtime *runtime, const char *pod_uid)
{
    struct container *container;
    bool found = false;
    list_for_each(&runtime->container_list, container, node)
    {
        found |= !strcmp(container->status.pod_uid, pod_uid);
    }
    return found;
}

bool container_is_visible(const struct container *container)
{
    return container->phase != PHASE_CREATING && container->phase != PHASE_GONE;
}

const struct runtime_container_status *runtime_container_get(struct runtime *runtime, const char *id)
{
    struct container *container = runtime_find_container(runtime, id);
    return container && container_is_visible(container) ? &container->status : NULL;
}

void runtime_container_each(struct runtime *runtime, const char *pod_uid,
                            void (*visit)(void *context, const struct runtime_container_status *container),
                            void *context)
{
    struct container *container;
    list_for_each(&runtime->container_list, container, node)
    {
        if (container_is_visible(container) && (!pod_uid || !strcmp(pod_uid, container->status.pod_uid)))
            visit(context, &container->status);
    }
}

#define GROUP_NAME_MAX (RUNTIME_POD_CGROUP_MAX + RUNTIME_NAME_MAX + 2)

static void group_name(const char *pod_uid, const char *id, char out[GROUP_NAME_MAX])
{
    char pod[RUNTIME_POD_CGROUP_MAX] = "";
    if (pod_uid)
        runtime_pod_cgroup(pod_uid, pod);
    snprintf(out, GROUP_NAME_MAX, "%s%s%s", pod, id ? "/" : "", id ? id : "");
}

int runtime_read_stats(const struct runtime *runtime, const char *pod_uid, const char *id, struct cgroup_stats *out,
                       struct error *err)
{
    char name[GROUP_NAME_MAX];
    group_name(pod_uid, id, name);
    return cgroup_read_stats(runtime->cgroup, name, out, err);
}

int runtime_apply_limits(const struct runtime *runtime, const char *pod_uid, const char *id,
                         const struct cgroup_resources *resources, struct error *err)
{
    char name[GROUP_NAME_MAX];
    group_name(pod_uid, id, name);
    return cgroup_update(runtime->cgroup, name, resources, err);
}

int runtime_apply_cpus(const struct runtime *runtime, const char *pod_uid, const char *id, const char *cpus,
                       struct error *err)
{
    char name[GROUP_NAME_MAX];
    group_name(pod_uid, id, name);
    return cgroup_set_cpus(runtime->cgroup, name, cpus, err);
}

int runtime_read_cpus(const struct runtime *runtime, const char *pod_uid, const char *id, char *out, size_t size,
                      struct error *err)
{
    char name[GROUP_NAME_MAX];
    group_name(pod_uid, id, name);
    return cgroup_read_cpus(runtime->cgroup, name, out, size, err);
}

int runtime_read_limits(const struct runtime *runtime, const char *pod_uid, const char *id,
                        struct cgroup_resources *out, struct error *err)
{
    char name[GROUP_NAME_MAX];
    group_name(pod_uid, id, name);
    return cgroup_read_limits(runtime->cgroup, name, out, err);
}

/* Start. crun's container waits for a byte in a fifo; `crun start` would write it, at the cost of a process. */

struct start {
    struct container *container;
    runtime_done done;
    void *context;
    int64_t started_at;
    int result;
    struct error err;
};

static int release_fifo(const char *path, struct error *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, "open %s", path);
    if (write(fd, "", 1) != 1)
        return error_errno(err, "write to %s", path);
    return unlink(path) < 0 ? error_errno(err, "remove %s", path) : 0;
}

static void start_work(void *context)
{
    struct start *start = context;
    const struct runtime *runtime = start->container->runtime;
    const char *id = start->container->status.id;
    cleanup_free char *mark = container_path(runtime, id, "started");
    cleanup_free char *fifo = container_crun_path(runtime, id, "exec.fifo");
    /* The mark comes first: a container that runs has one, whenever this process may end. */
    cleanup_close int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        start->result = error_errno(&start->err, "create %s", mark);
    else
        start->result = release_fifo(fifo, &start->err);
}

static void start_after(void *context)
{
    struct start *start = context;
    struct container *container = start->container;
    container->busy = false;
    if (container->phase == PHASE_STARTING) {
        container->phase = start->result == 0 ? PHASE_RUNNING : PHASE_CREATED;
        container->status.state = start->result == 0 ? RUNTIME_RUNNING : RUNTIME_CREATED;
        if (start->result == 0)
            container->status.started_at = env_now(container->runtime->env);
    }
    start->done(start->context, start->result < 0 ? &start->err : NULL);
    free(start);
    container_check_exit(container);
    container_idle(container);
}

void runtime_container_start(struct runtime *runtime, const char *id, runtime_done done, void *context)
{
    struct container *container = runtime_find_container(runtime, id);
    struct error err;
    if (!container || !container_is_visible(container))
        error_set(&err, ENOENT, "container %s is not there", id);
    else if (runtime->closing)
        error_set(&err, ECANCELED, "the container runtime is closing");
    else if (container->phase != PHASE_CREATED || container->busy)
        error_set(&err, EBUSY, "container %s has been started", id);
    else
        err.code = 0;
    if (err.code) {
        runtime_answer(runtime, done, context, &err);
        return;
    }
    assert(container);
    struct start *start = mem_zero(1, sizeof(*start));
    *start = (struct start){.container = container, .done = done, .context = context};
    container->phase = PHASE_STARTING;
    container->busy = true;
    runtime_work(runtime, start_work, start_after, start);
}

/* Deletion. */

struct deletion {
    struct container *container;
    int result;
    struct error err;
};

static void delete_work(void *context)
{
    struct deletion *deletion = context;
    struct container *container = deletion->container;
    const struct runtime *runtime = container->runtime;
    const char *id = container->status.id;
    deletion->result = container_kill_all(runtime, id, container->cgroup, container->conmon, &deletion->err);
    if (deletion->result == 0)
        deletion->result = container_remove_files(runtime, id, container->cgroup, &deletion->err);
}

static void delete_after(void *context)
{
    struct deletion *deletion = context;
    struct container *container = deletion->container;
    waiter_list waiters = container->deleters;
    container->deleters = (waiter_list){0};
    container->busy = false;
    if (deletion->result == 0) {
        container_remove(container);
        container_free(container);
    } else {
        log_warning("container %s is left behind: %s", container->status.id, deletion->err.text);
    }
    waiters_answer(&waiters, deletion->result < 0 ? &deletion->err : NULL);
    free(deletion);
}

void container_idle(struct container *container)
{
    if (container->busy || !container->deleters.count)
        return;
    struct runtime *runtime = container->runtime;
    bool ended = container->phase == PHASE_ENDED;
    container->phase = PHASE_GONE;
    container->busy = true;
    pidfd_watch_stop(steal_pointer(container->conmon_watch));
    execs_cancel(runtime, container->status.id);
    if (!ended)
        log_readers_wake(runtime, container->status.id);
    struct deletion *deletion = mem_zero(1, sizeof(*deletion));
    deletion->container = container;
    runtime_work(runtime, delete_work, delete_after, deletion);
}

void runtime_container_delete(struct runtime *runtime, const char *id, runtime_done done, void *context)
{
    struct container *container = runtime_find_container(runtime, id);
    if (!container) {
        runtime_answer(runtime, done, context, NULL);
        return;
    }
    vector_push(&container->deleters, (struct waiter){done, context});
    container_idle(container);
}

/* Killing and clearing away, in libuv's pool. */

/* Its conmon, and a crun that still creates for it: by their names and the id in their command lines. In the middle of
 * exec a process has no command line, but it works in the bundle's directory already. One that has not come to exec
 * still holds the lock of the cluster that forked it, and so there is no next one yet. */
struct search {
    const char *id;
    struct stat bundle; /* st_ino 0: not there */
    int found;          /* a pidfd of one that was killed; -1 */
};

static bool is_helper(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    return !strcmp(name, "conmon") || !strcmp(name, "crun");
}

static bool works_in_bundle(const struct search *search, pid_t pid)
{
    char path[32];
    struct stat directory;
    snprintf(path, sizeof(path), "/proc/%d/cwd", (int)pid);
    return search->bundle.st_ino && stat(path, &directory) == 0 && directory.st_ino == search->bundle.st_ino &&
           directory.st_dev == search->bundle.st_dev;
}

static void kill_if_of_container(void *context, pid_t pid)
{
    struct search *search = context;
    char path[32], line[8192];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    cleanup_close int process = (int)syscall(SYS_pidfd_open, pid, 0);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = process < 0 || fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
    if (n < 0)
        return;
    line[n] = 0;
    if (n == 0 ? !works_in_bundle(search, pid)
               : !is_helper(line) || !memmem(line, (size_t)n, search->id, strlen(search->id)))
        return;
    if (syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0) == 0 && search->found < 0)
        search->found = steal_fd(process);
}

static int search_everywhere(struct search *search, struct error *err)
{
    DIR *d = opendir("/proc");
    if (!d)
        return error_errno(err, "open /proc");
    for (struct dirent *entry; (entry = readdir(d));)
        if (atoi(entry->d_name) > 0)
            kill_if_of_container(search, atoi(entry->d_name));
    closedir(d);
    return 0;
}

static bool await_process(int fd, int milliseconds)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;
    while ((n = poll(&p, 1, milliseconds)) < 0 && errno == EINTR)
        ;
    return n > 0;
}

static int kill_conmon(const struct runtime *runtime, const char *id, bool everywhere, struct error *err)
{
    cleanup_free char *bundle = container_path(runtime, id, NULL);
    /* Each round but the last two ends at least one process; a conmon has a handful. Two, since conmon goes on in a child
     * once: that one is not in a list from before the fork, and its parent may be gone when its turn comes. */
    for (int round = 0, quiet = 0; round < 16; round++) {
        struct search search = {.id = id, .found = -1};
        if (stat(bundle, &search.bundle) < 0)
            search.bundle.st_ino = 0;
        if (everywhere ? search_everywhere(&search, err) < 0
                       : cgroup_each_process(runtime->cgroup, "conmon", kill_if_of_container, &search, err) < 0)
            return -1;
        if (search.found >= 0) {
            await_process(search.found, RUNTIME_CONMON_EXIT_WAIT);
            close_and_forget(&search.found);
            quiet = 0;
        } else if (++quiet == 2) {
            return 0;
        }
    }
    return error_set(err, ETIMEDOUT, "the conmon of container %s does not end", id);
}

int container_kill_all(const struct runtime *runtime, const char *id, const char *cgroup, pid_t conmon,
                       struct error *err)
{
    if (cgroup_kill(runtime->cgroup, cgroup, err) < 0)
        return -1;
    cleanup_close int fd = conmon > 0 ? (int)syscall(SYS_pidfd_open, conmon, 0) : -1;
    if (conmon > 0 && (fd < 0 || await_process(fd, RUNTIME_CONMON_EXIT_WAIT)))
        return 0;
    /* It hangs, or its pid is not known. A crun that creates may put a process into the container's group meanwhile. */
    return kill_conmon(runtime, id, conmon == CONMON_ANYWHERE, err) < 0 || cgroup_kill(runtime->cgroup, cgroup, err) < 0
               ? -1
               : 0;
}

int container_remove_files(const struct runtime *runtime, const char *id, const char *cgroup, struct error *err)
{
    cleanup_free char *crun = container_crun_path(runtime, id, NULL);
    cleanup_free char *exit_file = container_exit_path(runtime, id);
    cleanup_free char *bundle = container_path(runtime, id, NULL);
    /* The bundle goes last: it is what recovery looks for. */
    if (cgroup_remove(runtime->cgroup, cgroup, err) < 0 || file_remove_tree(crun, err) < 0)
        return -1;
    if (unlink(exit_file) < 0 && errno != ENOENT)
        return error_errno(err, "remove %s", exit_file);
    return file_remove_tree(bundle, err);
}
