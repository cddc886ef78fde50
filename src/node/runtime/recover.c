/* Taking over from an earlier process: what the files, the kernel and conmon say of each container.
 *
 *     record     started mark   conmon, exit file          verdict
 *     missing or damaged                                   cleared away
 *     there      no             any                        half made: killed and cleared away
 *     there      yes            ended.json                 ended, known
 *     there      yes            exit file                  ended, to be taken up
 *     there      yes            conmon lives               running; a start that stopped half-way is completed
 *     there      yes            conmon gone, no file       ended, exit code lost
 *     there, of an earlier boot, started                   ended, exit code lost
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "node/runtime/runtime_internal.h"

struct recovery {
    struct runtime *runtime;
    runtime_done done;
    void *context;
    VECTOR(struct container *) containers;
    VECTOR(struct sandbox *) sandboxes;
    int result;
    struct error err;
};

/* The names in RUN/directory that may be ours. */
static int list_names(struct recovery *recovery, const char *directory, void (*visit)(struct recovery *, const char *))
{
    cleanup_free char *path = mem_printf("%s/%s", recovery->runtime->run, directory);
    DIR *d = opendir(path);
    if (!d)
        return error_errno(&recovery->err, "open %s", path);
    VECTOR(char *) names = {0};
    for (struct dirent *entry; (entry = readdir(d));)
        if (runtime_name_valid(entry->d_name))
            vector_push(&names, mem_string(entry->d_name));
    closedir(d);
    for (size_t i = 0; i < names.count; i++) {
        visit(recovery, names.items[i]);
        free(names.items[i]);
    }
    vector_free(&names);
    return 0;
}

static pid_t read_pid(const char *path)
{
    char text[32];
    return file_read_text(path, text, sizeof(text)) == 0 ? (pid_t)atoi(text) : 0;
}

/* A pidfd of the process, provided that /proc/PID/file speaks of the container: pids are used again. */
static int open_process(pid_t pid, const char *file, const char *id)
{
    char path[40], text[8192];
    if (pid <= 0)
        return -1;
    cleanup_close int process = (int)syscall(SYS_pidfd_open, pid, 0);
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    cleanup_close int fd = process < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
    return n > 0 && memmem(text, (size_t)n, id, strlen(id)) ? steal_fd(process) : -1;
}

static void clear_away(struct recovery *recovery, const char *id, const char *cgroup, const char *why)
{
    struct error err;
    log_info("container %s is cleared away: %s", id, why);
    if ((*cgroup && container_kill_all(recovery->runtime, id, cgroup, CONMON_ANYWHERE, &err) < 0) ||
        container_remove_files(recovery->runtime, id, *cgroup ? cgroup : "no-such-group", &err) < 0)
        log_warning("container %s is left behind: %s", id, err.text);
}

static bool read_start(struct container *container)
{
    cleanup_free char *mark = container_path(container->runtime, container->status.id, "started");
    struct stat info;
    if (stat(mark, &info) < 0)
        return false;
    container->status.started_at = (int64_t)info.st_mtim.tv_sec * 1000000 + info.st_mtim.tv_nsec / 1000;
    return true;
}

/* The mark was set, the byte may not have been written: if the fifo is there, write it (again). */
static void complete_start(struct container *container)
{
    cleanup_free char *fifo = container_crun_path(container->runtime, container->status.id, "exec.fifo");
    cleanup_close int fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && write(fd, "", 1) < 0)
        log_debug("complete the start of container %s: %s", container->status.id, strerror(errno));
    unlink(fifo);
}

static void lose(struct container *container)
{
    struct error err;
    container->status.exit_code = RUNTIME_EXIT_UNKNOWN;
    container->status.lost = true;
    container->status.finished_at = env_now(container->runtime->env);
    container->phase = PHASE_ENDED;
    if (container_end_write(container, &err) < 0)
        log_warning("container %s: %s", container->status.id, err.text);
}

/* Finds out where a container with a good record stands. False: it was half made. */
static bool classify(struct container *container, bool same_boot)
{
    struct runtime_container_status *status = &container->status;
    const struct runtime *runtime = container->runtime;
    const char *id = status->id;
    if (container_end_read(container) == 0) {
        container->phase = PHASE_ENDED;
        return true;
    }
    if (!read_start(container))
        return false;
    container->phase = PHASE_RUNNING;
    if (!same_boot) {
        lose(container);
        return true;
    }
    cleanup_free char *conmon_file = container_path(runtime, id, "conmon.pid");
    cleanup_free char *pid_file = container_path(runtime, id, "pid");
    container->conmon = read_pid(conmon_file);
    container->conmon_pidfd = open_process(container->conmon, "cmdline", id);
    if (container->conmon_pidfd < 0)
        container->conmon = 0;
    status->pid = read_pid(pid_file);
    container->pidfd = open_process(status->pid, "cgroup", id);
    if (container->pidfd < 0)
        status->pid = 0;
    complete_start(container);
    return true;
}

static void visit_container(struct recovery *recovery, const char *id)
{
    struct runtime *runtime = recovery->runtime;
    struct container *container = container_new(runtime);
    struct error err;
    bool same_boot = false;
    if (container_record_read(container, id, &same_boot, &err) < 0) {
        clear_away(recovery, id, "", err.text);
        container_free(container);
        return;
    }
    if (!classify(container, same_boot)) {
        clear_away(recovery, id, container->cgroup, "it had not been started");
        container_free(container);
        return;
    }
    if (container->phase == PHASE_ENDED) {
        /* Clearing up may have been interrupted. */
        cleanup_free char *crun = container_crun_path(runtime, id, NULL);
        cleanup_free char *exit_file = container_exit_path(runtime, id);
        if (container_kill_all(runtime, id, container->cgroup, 0, &err) < 0 ||
            cgroup_remove(runtime->cgroup, container->cgroup, &err) < 0 || file_remove_tree(crun, &err) < 0)
            log_warning("container %s: %s", id, err.text);
        unlink(exit_file);
    }
    container->status.state = container->phase == PHASE_ENDED ? RUNTIME_EXITED : RUNTIME_RUNNING;
    vector_push(&recovery->containers, container);
}

static pid_t process_of_pod(struct recovery *recovery, const char *pod_uid)
{
    for (size_t i = 0; i < recovery->containers.count; i++)
        if (recovery->containers.items[i]->status.pid > 0 &&
            !strcmp(recovery->containers.items[i]->status.pod_uid, pod_uid))
            return recovery->containers.items[i]->status.pid;
    return 0;
}

static void visit_sandbox(struct recovery *recovery, const char *pod_uid)
{
    struct runtime *runtime = recovery->runtime;
    struct sandbox *sandbox = sandbox_new(runtime);
    struct error err;
    bool usable = sandbox_record_read(sandbox, pod_uid, &err) == 0;
    if (usable && !namespaces_present(runtime, &sandbox->status)) {
        pid_t pid = process_of_pod(recovery, pod_uid);
        if (pid)
            usable = namespaces_repin(runtime, &sandbox->status, pid, &err) == 0;
        else
            usable = error_set(&err, ENOENT, "its namespaces are gone") == 0;
    }
    if (usable) {
        sandbox->ready = true;
        vector_push(&recovery->sandboxes, sandbox);
        return;
    }
    log_info("the sandbox of pod %s is cleared away: %s", pod_uid, err.text);
    sandbox_free(sandbox);
    if (sandbox_remove_parts(runtime, pod_uid, &err) < 0)
        log_warning("%s", err.text);
}

/* A conmon that was killed while it wrote leaves ID.XXXXXX. */
static void visit_exit(struct recovery *recovery, const char *name)
{
    for (size_t i = 0; i < recovery->containers.count; i++) {
        const char *id = recovery->containers.items[i]->status.id;
        if (!strncmp(name, id, strlen(id)) && recovery->containers.items[i]->phase == PHASE_RUNNING)
            return;
    }
    cleanup_free char *path = container_exit_path(recovery->runtime, name);
    unlink(path);
}

static void recover_work(void *context)
{
    struct recovery *recovery = context;
    if (list_names(recovery, "containers", visit_container) < 0 || list_names(recovery, "exits", visit_exit) < 0 ||
        list_names(recovery, "pods", visit_sandbox) < 0)
        recovery->result = -1;
}

static int older_container(const void *a, const void *b)
{
    const struct container *x = *(struct container *const *)a, *y = *(struct container *const *)b;
    return (x->status.created_at > y->status.created_at) - (x->status.created_at < y->status.created_at);
}

static int older_sandbox(const void *a, const void *b)
{
    const struct sandbox *x = *(struct sandbox *const *)a, *y = *(struct sandbox *const *)b;
    return (x->status.created_at > y->status.created_at) - (x->status.created_at < y->status.created_at);
}

static void recover_after(void *context)
{
    struct recovery *recovery = context;
    struct runtime *runtime = recovery->runtime;
    if (recovery->sandboxes.count)
        qsort(recovery->sandboxes.items, recovery->sandboxes.count, sizeof(recovery->sandboxes.items[0]),
              older_sandbox);
    for (size_t i = 0; i < recovery->sandboxes.count; i++)
        sandbox_insert(recovery->sandboxes.items[i]);
    if (recovery->containers.count)
        qsort(recovery->containers.items, recovery->containers.count, sizeof(recovery->containers.items[0]),
              older_container);
    for (size_t i = 0; i < recovery->containers.count; i++) {
        container_insert(recovery->containers.items[i]);
        if (recovery->containers.items[i]->conmon_pidfd >= 0)
            container_watch_conmon(recovery->containers.items[i]);
    }
    recovery->done(recovery->context, recovery->result < 0 ? &recovery->err : NULL);
    containers_check_exit(runtime, NULL);
    vector_free(&recovery->containers);
    vector_free(&recovery->sandboxes);
    free(recovery);
}

void runtime_recover(struct runtime *runtime, runtime_done done, void *context)
{
    struct recovery *recovery = mem_zero(1, sizeof(*recovery));
    *recovery = (struct recovery){.runtime = runtime, .done = done, .context = context};
    runtime_work(runtime, recover_work, recover_after, recovery);
}
