#include "network/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

int network_namespace_open(const char *path, struct error *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, "open network namespace %s", path);
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return error_errno(err, "%s", path);
    if (fs.f_type != NSFS_MAGIC)
        return error_set(err, EINVAL, "%s is not a network namespace", path);
    return steal_fd(fd);
}

int network_namespace_self(struct error *err)
{
    return network_namespace_open("/proc/thread-self/ns/net", err);
}

int network_namespace_enter(int fd, int *previous, struct error *err)
{
    *previous = -1;
    if (fd < 0)
        return 0;
    cleanup_close int self = network_namespace_self(err);
    if (self < 0)
        return -1;
    if (setns(fd, CLONE_NEWNET) < 0)
        return error_errno(err, "enter a network namespace");
    *previous = steal_fd(self);
    return 0;
}

int network_namespace_enter_new(int *previous, struct error *err)
{
    *previous = -1;
    cleanup_close int self = network_namespace_self(err);
    if (self < 0)
        return -1;
    if (unshare(CLONE_NEWNET) < 0)
        return error_errno(err, "make a network namespace");
    *previous = steal_fd(self);
    return 0;
}

void network_namespace_leave(int *previous)
{
    if (*previous < 0)
        return;
    if (setns(*previous, CLONE_NEWNET) < 0) {
        log_error("A thread cannot return to its network namespace: %s", strerror(errno));
        abort();
    }
    cleanup_close_fd(previous);
    *previous = -1;
}

int network_namespace_socket(int fd, int domain, int type, int protocol, struct error *err)
{
    int previous;
    if (network_namespace_enter(fd, &previous, err) < 0)
        return -1;
    int made = socket(domain, type | SOCK_CLOEXEC, protocol);
    if (made < 0)
        error_errno(err, "make a socket");
    network_namespace_leave(&previous);
    return made;
}

bool network_namespace_equal(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

struct creation {
    const char *path;
    int result;
    struct error error;
};

static int loopback_up(struct error *err)
{
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        return error_errno(err, "bring the loopback up");
    return 0;
}

/* Runs on a thread that ends with it: nobody else sees the change of namespace. */
static int create(const char *path, struct error *err)
{
    if (unshare(CLONE_NEWNET) < 0)
        return error_errno(err, "make a network namespace");
    if (loopback_up(err) < 0)
        return -1;
    if (mount("/proc/thread-self/ns/net", path, NULL, MS_BIND, NULL) < 0)
        return error_errno(err, "bind a network namespace to %s", path);
    return 0;
}

static void *run_create(void *context)
{
    struct creation *creation = context;
    creation->result = create(creation->path, &creation->error);
    return NULL;
}

int network_namespace_create(const char *path, struct error *err)
{
    cleanup_close int fd = open(path, O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0444);
    if (fd < 0)
        return error_errno(err, "create %s", path);
    struct creation creation = {.path = path};
    pthread_t thread;
    int failure = pthread_create(&thread, NULL, run_create, &creation);
    if (failure) {
        creation.result = error_set(&creation.error, failure, "make a thread: %s", strerror(failure));
    } else {
        pthread_join(thread, NULL);
    }
    if (creation.result < 0) {
        unlink(path);
        return error_set(err, creation.error.code, "%s", creation.error.text);
    }
    return 0;
}

int network_namespace_remove(const char *path, struct error *err)
{
    if (umount2(path, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
        return error_errno(err, "unbind %s", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_errno(err, "remove %s", path);
    return 0;
}
