/* Signals to containers.
 *
 * The kernel drops a signal that the first process of a PID namespace neither catches nor blocks. A program that has just
 * been started, and is told to end before it comes to install its handler, would never hear of it and be killed at the end
 * of its grace period. So within CONTAINER_YOUNG of its start, such a signal is sent again as soon as the program listens;
 * /proc says when. One that ignores the signal has decided, and is left alone. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "base/timestamp.h"
#include "node/runtime/runtime_internal.h"

#define CONTAINER_YOUNG (5 * SECOND)
#define LISTEN_AGAIN (10 * MILLISECOND)
#define PROC_STATUS_MAX 8192

/* The mask of a line such as "SigCgt:\t0000000000014003". */
static unsigned long long signal_mask(const char *status, const char *key)
{
    const char *line = strstr(status, key);
    return line ? strtoull(line + strlen(key), NULL, 16) : 0;
}

enum hearing { HEARS, DOES_NOT_HEAR, GONE };

static enum hearing hearing(pid_t pid, int signal)
{
    char path[64], status[PROC_STATUS_MAX];
    unsigned long long bit = 1ull << (signal - 1);
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    if (file_read_text(path, status, sizeof(status)) < 0)
        return GONE;
    unsigned long long heard =
        signal_mask(status, "\nSigCgt:") | signal_mask(status, "\nSigBlk:") | signal_mask(status, "\nSigIgn:");
    return heard & bit ? HEARS : DOES_NOT_HEAR;
}

static int send_signal(struct container *container, int signal, struct error *err)
{
    if (container->pidfd < 0 || syscall(SYS_pidfd_send_signal, container->pidfd, signal, NULL, 0) == 0 ||
        errno == ESRCH)
        return 0;
    return error_errno(err, "send signal %d to container %s", signal, container->status.id);
}

static void send_again(void *context)
{
    struct container *container = context;
    struct runtime *runtime = container->runtime;
    if (container->phase == PHASE_ENDED || container->pidfd < 0)
        return;
    enum hearing now = hearing(container->status.pid, container->unheard_signal);
    if (now == HEARS)
        send_signal(container, container->unheard_signal, NULL);
    else if (now == DOES_NOT_HEAR && env_now(runtime->env) < container->status.started_at + CONTAINER_YOUNG)
        env_timer_start(container->signal_timer, LISTEN_AGAIN);
}

/* Sent in vain? Looked at after the fact, so that no program gets it twice. */
static void care_for_the_young(struct container *container, int signal)
{
    struct env *env = container->runtime->env;
    if (env_now(env) >= container->status.started_at + CONTAINER_YOUNG || !container->status.pid ||
        hearing(container->status.pid, signal) != DOES_NOT_HEAR)
        return;
    container->unheard_signal = signal;
    if (!container->signal_timer)
        container->signal_timer = env_timer_new(env, send_again, container);
    env_timer_start(container->signal_timer, LISTEN_AGAIN);
}

int runtime_container_kill(struct runtime *runtime, const char *id, int signal, struct error *err)
{
    struct container *container = runtime_find_container(runtime, id);
    if (!container || !container_is_visible(container))
        return error_set(err, ENOENT, "container %s is not there", id);
    if (container->phase == PHASE_ENDED)
        return 0;
    if (signal == SIGKILL && container->shares_pids)
        return cgroup_kill_once(runtime->cgroup, container->cgroup, err);
    if (send_signal(container, signal, err) < 0)
        return -1;
    if (signal != SIGKILL)
        care_for_the_young(container, signal);
    return 0;
}
