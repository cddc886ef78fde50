/* A running container's streams, by its conmon's attach socket, and the size of its terminal. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "node/runtime/runtime_internal.h"

/* Major numbers of Unix98 terminals. */
#define TERMINAL_MAJOR_FIRST 136
#define TERMINAL_MAJOR_LAST 143

int runtime_container_attach(struct runtime *runtime, const char *id, struct error *err)
{
    struct container *container = runtime_find_container(runtime, id);
    if (!container || container->phase != PHASE_RUNNING)
        return error_set(err, ESRCH, "container %s is not running", id);
    cleanup_free char *folder = container_path(runtime, id, NULL);
    cleanup_close int directory = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    /* The path may be longer than an address takes. */
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/attach", directory);
    if (directory < 0 || fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return error_errno(err, "attach to container %s", id);
    return steal_fd(fd);
}

/* The container's terminal stands at /dev/console inside. The container may have put something else there: nothing is
 * opened before it is known to be a terminal. -1: there is none. conmon's control fifo would do as well, but conmon
 * loses the second of two sizes that come quickly, as kubectl attach sends them. */
static int open_terminal(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
    cleanup_close int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS};
    cleanup_close int place = root < 0 ? -1 : (int)syscall(SYS_openat2, root, "dev/console", &how, sizeof(how));
    struct stat info;
    if (place < 0 || fstat(place, &info) < 0 || !S_ISCHR(info.st_mode) || major(info.st_rdev) < TERMINAL_MAJOR_FIRST ||
        major(info.st_rdev) > TERMINAL_MAJOR_LAST)
        return -1;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", place);
    return open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
}

void runtime_container_resize(struct runtime *runtime, const char *id, uint16_t columns, uint16_t rows)
{
    struct container *container = runtime_find_container(runtime, id);
    if (!container || container->phase != PHASE_RUNNING || container->status.pid <= 0)
        return;
    cleanup_close int fd = open_terminal(container->status.pid);
    struct winsize size = {.ws_col = columns, .ws_row = rows};
    if (fd >= 0)
        ioctl(fd, TIOCSWINSZ, &size);
}
