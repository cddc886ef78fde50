/* The end of containers.
 *
 * conmon writes a container's exit code into RUN/exits/ID when all its output is in the log; one inotify watch on
 * that directory tells. A conmon that ends without having written it was killed: then the container is ended too, and
 * its exit code is lost.
 *
 * What is then known goes to RUN/containers/ID/ended.json, and what is left in the kernel (cgroups) and in crun's
 * directory is removed, in the background. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "node/runtime/runtime_internal.h"

int container_read_exit(struct container *container)
{
    cleanup_free char *path = container_exit_path(container->runtime, container->status.id);
    char text[16];
    struct stat info;
    if (file_read_text(path, text, sizeof(text)) < 0 || !text[0] || stat(path, &info) < 0)
        return -1;
    container->status.exit_code = atoi(text);
    container->status.finished_at = (int64_t)info.st_mtim.tv_sec * 1000000 + info.st_mtim.tv_nsec / 1000;
    return 0;
}

static bool was_oom_killed(struct container *container)
{
    if (cgroup_oom_kills(container->runtime->cgroup, container->cgroup) > 0)
        return true;
    cleanup_free char *mark = container_path(container->runtime, container->status.id, "oom");
    return access(mark, F_OK) == 0;
}

struct settlement {
    struct container *container;
    pid_t conmon;
};

static void settle_work(void *context)
{
    struct settlement *settlement = context;
    struct container *container = settlement->container;
    const struct runtime *runtime = container->runtime;
    const char *id = container->status.id;
    struct error err;
    cleanup_free char *crun = container_crun_path(runtime, id, NULL);
    cleanup_free char *exit_file = container_exit_path(runtime, id);
    if (container_end_write(container, &err) < 0) {
        log_warning("container %s: %s", id, err.text);
        return;
    }
    if (container_kill_all(runtime, id, container->cgroup, settlement->conmon, &err) < 0 ||
        cgroup_remove(runtime->cgroup, container->cgroup, &err) < 0 || file_remove_tree(crun, &err) < 0)
        log_warning("container %s: %s", id, err.text);
    unlink(exit_file);
}

static void settle_after(void *context)
{
    struct settlement *settlement = context;
    struct container *container = settlement->container;
    container->busy = false;
    container->conmon = 0;
    free(settlement);
    container_idle(container);
}

/* All is known: tell it, keep it, clear the rest away. */
static void end(struct container *container)
{
    struct runtime *runtime = container->runtime;
    struct runtime_container_status *status = &container->status;
    if (!status->finished_at)
        status->finished_at = env_now(runtime->env);
    status->oom_killed = was_oom_killed(container);
    status->state = RUNTIME_EXITED;
    status->pid = 0;
    container->phase = PHASE_ENDED;
    container->busy = true;
    pidfd_watch_stop(steal_pointer(container->conmon_watch));
    close_and_forget(&container->conmon_pidfd);
    close_and_forget(&container->pidfd);
    struct settlement *settlement = mem_zero(1, sizeof(*settlement));
    *settlement = (struct settlement){.container = container, .conmon = container->conmon};
    runtime_work(runtime, settle_work, settle_after, settlement);
    execs_end(runtime, status->id);
    log_readers_wake(runtime, status->id);
    if (runtime->container_ended && !runtime->closing)
        runtime->container_ended(runtime->context, status);
}

void container_check_exit(struct container *container)
{
    if (container->busy || container->phase == PHASE_ENDED || container->phase == PHASE_GONE)
        return;
    if (container_read_exit(container) == 0) {
        end(container);
        return;
    }
    /* conmon has ended, and its file would be there. */
    if (container->conmon_pidfd < 0) {
        container->status.exit_code = RUNTIME_EXIT_UNKNOWN;
        container->status.lost = true;
        end(container);
    }
}

void containers_check_exit(void *context, const char *id)
{
    struct runtime *runtime = context;
    if (id) {
        struct container *container = runtime_find_container(runtime, id);
        if (container && container_read_exit(container) == 0)
            container_check_exit(container);
        return;
    }
    struct container *container;
    list_for_each(&runtime->container_list, container, node)
    {
        container_check_exit(container);
    }
}

static void on_conmon_ended(void *context)
{
    struct container *container = context;
    pidfd_watch_stop(steal_pointer(container->conmon_watch));
    close_and_forget(&container->conmon_pidfd);
    container->conmon = 0;
    container_check_exit(container);
}

void container_watch_conmon(struct container *container)
{
    container->conmon_watch =
        pidfd_watch_start(container->runtime->loop, container->conmon_pidfd, on_conmon_ended, container);
}
