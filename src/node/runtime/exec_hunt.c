/* A process that has a signal pending cannot fork: once one has been stopped, its children are all that it will have.
 * Being stopped, it does not wait for them either, so that their pids stay theirs. */
#include "node/runtime/exec_hunt.h"

#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "node/runtime/runtime_internal.h"

/* Rounds of looking for what has lost its parents. */
#define KILL_ROUNDS_MAX 8
/* Deeper trees and more sessions than this are left to the container's end. */
#define TREE_DEPTH_MAX 64
#define SESSIONS_MAX 64

struct hunt {
    pid_t sessions[SESSIONS_MAX]; /* met so far, crun's own not among them */
    size_t session_count;
    pid_t crun_session;
    size_t killed; /* in this round */
};

static pid_t session_of(pid_t pid)
{
    char path[32], text[512];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (file_read_text(path, text, sizeof(text)) < 0)
        return 0;
    int session = 0;
    const char *behind_name = strrchr(text, ')');
    return behind_name && sscanf(behind_name, ") %*c %*d %*d %d", &session) == 1 ? session : 0;
}

static bool knows_session(const struct hunt *hunt, pid_t session)
{
    for (size_t i = 0; i < hunt->session_count; i++)
        if (hunt->sessions[i] == session)
            return true;
    return false;
}

static void note_session(struct hunt *hunt, pid_t session)
{
    if (session > 0 && session != hunt->crun_session && !knows_session(hunt, session) &&
        hunt->session_count < SESSIONS_MAX)
        hunt->sessions[hunt->session_count++] = session;
}

static void kill_tree(struct hunt *hunt, pid_t pid, int depth)
{
    if (kill(pid, SIGSTOP) < 0)
        return;
    note_session(hunt, session_of(pid));
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *tasks = depth < TREE_DEPTH_MAX ? opendir(path) : NULL;
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        snprintf(path, sizeof(path), "/proc/%d/task/%.16s/children", (int)pid, task->d_name);
        cleanup_file FILE *children = fopen(path, "re");
        for (int child; children && fscanf(children, "%d", &child) == 1;)
            kill_tree(hunt, child, depth + 1);
    }
    if (tasks)
        closedir(tasks);
    kill(pid, SIGKILL);
}

/* What is no longer crun's descendant because a parent in between has ended. */
static void kill_if_of_session(void *context, pid_t pid)
{
    struct hunt *hunt = context;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return;
    if (knows_session(hunt, session_of(pid)) && syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0)
        hunt->killed++;
    close(fd);
}

void exec_hunt_down(struct cgroup *cgroup, const char *group, pid_t crun, int pidfd)
{
    struct hunt hunt = {.crun_session = crun};
    struct error ignored;
    /* If crun is not there any more, its pid may be another's. */
    if (syscall(SYS_pidfd_send_signal, pidfd, SIGSTOP, NULL, 0) == 0)
        kill_tree(&hunt, crun, 0);
    for (int round = 0; round < KILL_ROUNDS_MAX; round++) {
        hunt.killed = 0;
        if (cgroup_each_process(cgroup, group, kill_if_of_session, &hunt, &ignored) < 0 || !hunt.killed)
            break;
    }
}
