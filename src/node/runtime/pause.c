/*     maker (pool)       posix_spawn ---> helper: unshares its children's PID namespace, forks, tells the pid, ends
 *                                           '--> pause: process 1 of the namespace; waits for the sign on stdin
 *
 * The helper's end makes pause a child of the machine's init: who started it need not wait for it. */
#include "node/runtime/pause.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

/* nobody, as that of upstream's pause image. */
#define PAUSE_USER 65535

/* ---- The process ---- */

/* An empty file system takes the place of the root: whoever may look into this process finds nothing. */
static int leave_files(void)
{
    return unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
                   mount("pause", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=755") < 0 ||
                   chdir("/proc") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
                   chdir("/") < 0 || mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0
               ? -1
               : 0;
}

static int leave_privileges(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
                   setresgid(PAUSE_USER, PAUSE_USER, PAUSE_USER) < 0 ||
                   setresuid(PAUSE_USER, PAUSE_USER, PAUSE_USER) < 0
               ? -1
               : 0;
}

static int live(void)
{
    sigset_t children;
    char sign;
    setsid();
    /* Process 1 takes no signal of its namespace that it does not handle; SIGKILL from outside ends it. */
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_SETMASK, &children, NULL);
    if (read(STDIN_FILENO, &sign, 1) != 1 || leave_files() < 0 || leave_privileges() < 0)
        return EXIT_FAILURE;
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    close(STDERR_FILENO);
    for (;;) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        sigwaitinfo(&children, NULL);
    }
}

int pause_main(int argc, char **argv)
{
    close_range(STDERR_FILENO + 1, ~0U, 0);
    if (unshare(CLONE_NEWPID) < 0)
        return errno;
    pid_t pid = fork();
    if (pid < 0)
        return errno;
    if (pid == 0) {
        for (int i = 1; i < argc; i++)
            memset(argv[i], 0, strlen(argv[i]));
        return live();
    }
    return dprintf(STDOUT_FILENO, "%d\n", (int)pid) > 0 ? 0 : EIO;
}

/* ---- Its maker ---- */

static int spawn(int sign, int answer, pid_t *out)
{
    static char name[] = PAUSE_NAME;
    static char *const argv[] = {name, NULL}, *const env[] = {NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, sign, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, answer, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    int result = posix_spawn(out, "/proc/self/exe", &files, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return result;
}

static int read_pid(int fd, pid_t *pid)
{
    char text[16];
    size_t size = 0;
    for (ssize_t n; size < sizeof(text) - 1 && (n = read(fd, text + size, sizeof(text) - 1 - size)) > 0;) {
        size += (size_t)n;
        if (text[size - 1] == '\n')
            break;
    }
    text[size] = 0;
    *pid = (pid_t)atoi(text);
    return *pid > 0 ? 0 : -1;
}

int pause_start(struct pause *out, struct error *err)
{
    int sign[2], answer[2];
    if (pipe2(sign, O_CLOEXEC) < 0)
        return error_errno(err, "make a pipe");
    if (pipe2(answer, O_CLOEXEC) < 0) {
        close(sign[0]);
        close(sign[1]);
        return error_errno(err, "make a pipe");
    }
    pid_t helper = 0;
    int status = 0, failure = spawn(sign[0], answer[1], &helper);
    close(sign[0]);
    close(answer[1]);
    bool known = failure == 0 && read_pid(answer[0], &out->pid) == 0;
    close(answer[0]);
    if (failure == 0)
        while (waitpid(helper, &status, 0) < 0 && errno == EINTR)
            ;
    out->sign = sign[1];
    if (known)
        return 0;
    close(sign[1]);
    if (failure == 0)
        failure = WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : EIO;
    return error_set(err, failure, "start the first process of the pod: %s", strerror(failure));
}

void pause_release(struct pause *pause, bool go_on)
{
    /* A process that has ended meanwhile is noticed like any other. */
    ssize_t told = go_on ? write(pause->sign, "1", 1) : 0;
    (void)told;
    close(pause->sign);
    pause->sign = -1;
}
