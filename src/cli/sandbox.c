/* Namespaces are made in this order, so that a crash in between leaves nothing that the next attempt cannot undo:
 * lock, state file, private mount at ns/, network namespace (configured, then bound), mount namespace (bound). Both
 * being bound is what makes a sandbox one to re-enter. */
#include "cli/sandbox.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/vector.h"
#include "cli/sandbox_internal.h"
#include "network/address.h"
#include "network/namespace.h"
#include "network/netlink.h"
#include "node/runtime/cgroup.h"

#define STATE_MAX (8 * 1024)
#define MOUNTS_MAX (16 * 1024 * 1024)
/* Attempts to lock a run directory that is being removed at the same time. */
#define LOCK_ATTEMPTS 10
/* A killed process's children hold its lock until they have come to exec: how often to look, 2 ms apart. */
#define LOCK_LOOKS 2500

int sandbox_name_check(const char *name, struct error *err)
{
    size_t n = strlen(name);
    bool good = n > 0 && n <= SANDBOX_NAME_MAX && name[0] != '-' && name[n - 1] != '-';
    for (size_t i = 0; good && i < n; i++)
        good = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') || name[i] == '-';
    return good ? 0
                : error_set(err, EINVAL,
                            "\"%s\" cannot be the name of a cluster: lower-case letters, digits and '-' inside, at "
                            "most %d characters",
                            name, SANDBOX_NAME_MAX);
}

void sandbox_paths_of(const char *name, struct sandbox_paths *paths)
{
    snprintf(paths->run, SANDBOX_PATH_MAX, SANDBOX_RUN_DIRECTORY "/%s", name);
    snprintf(paths->lock, SANDBOX_PATH_MAX, SANDBOX_RUN_DIRECTORY "/%s/lock", name);
    snprintf(paths->state, SANDBOX_PATH_MAX, SANDBOX_RUN_DIRECTORY "/%s/state", name);
    snprintf(paths->identity, SANDBOX_PATH_MAX, SANDBOX_RUN_DIRECTORY "/%s/identity", name);
    snprintf(paths->namespaces, SANDBOX_PATH_MAX, SANDBOX_RUN_DIRECTORY "/%s/ns", name);
    snprintf(paths->network, SANDBOX_PATH_MAX, SANDBOX_RUN_DIRECTORY "/%s/ns/net", name);
    snprintf(paths->mount, SANDBOX_PATH_MAX, SANDBOX_RUN_DIRECTORY "/%s/ns/mnt", name);
}

/* ---- lock ---- */

static pid_t written_process(const struct sandbox_paths *paths)
{
    cleanup_buffer struct buffer text = {0};
    if (file_read(paths->lock, 64, &text, NULL) < 0 || !text.data)
        return 0;
    long process = strtol(text.data, NULL, 10);
    return process > 1 ? (pid_t)process : 0;
}

static bool is_same_file(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int sandbox_lock(const struct sandbox_paths *paths, struct error *err)
{
    for (int attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
        if (file_make_directories(paths->run, 0700, err) < 0)
            return -1;
        cleanup_close int fd = open(paths->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0)
            return error_errno(err, "open %s", paths->lock);
        if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
            if (errno == EAGAIN || errno == EACCES)
                return error_set(err, EBUSY, "another process holds %s", paths->lock);
            return error_errno(err, "lock %s", paths->lock);
        }
        if (!is_same_file(fd, paths->lock))
            continue; /* it was removed between open and lock */
        char text[32];
        int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
        if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
            return error_errno(err, "write %s", paths->lock);
        return steal_fd(fd);
    }
    return error_set(err, EAGAIN, "%s comes and goes", paths->run);
}

/* Whether the process has the file open: its number may have been given to another since it was written. */
static bool has_open(pid_t process, const char *path)
{
    char directory_path[32], link[64 + 256], target[SANDBOX_PATH_MAX];
    snprintf(directory_path, sizeof(directory_path), "/proc/%d/fd", (int)process);
    DIR *directory = opendir(directory_path);
    bool found = false;
    for (struct dirent *entry; directory && !found && (entry = readdir(directory));) {
        snprintf(link, sizeof(link), "%s/%s", directory_path, entry->d_name);
        ssize_t n = readlink(link, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = 0;
        found = strcmp(target, path) == 0;
    }
    if (directory)
        closedir(directory);
    return found;
}

pid_t sandbox_lock_holder(const struct sandbox_paths *paths)
{
    cleanup_close int fd = open(paths->lock, O_RDWR | O_CLOEXEC);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fd < 0 || fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        return 0;
    pid_t process = written_process(paths);
    return process && has_open(process, paths->lock) ? process : 0;
}

/* ---- state ---- */

static int write_state(const struct sandbox_paths *paths, const struct sandbox_options *options, struct error *err)
{
    cleanup_buffer struct buffer text = {0};
    buffer_printf(&text, "isolated %d\ndisposable %d\ndata %s\n", options->isolated, options->disposable,
                  options->data_directory ? options->data_directory : "");
    return file_write_atomic(paths->state, text.data, text.size, 0600, err);
}

int sandbox_state_read(const struct sandbox_paths *paths, struct sandbox_state *state, struct error *err)
{
    cleanup_buffer struct buffer text = {0};
    int isolated, disposable;
    *state = (struct sandbox_state){0};
    if (file_read(paths->state, STATE_MAX, &text, err) < 0)
        return -1;
    if (sscanf(text.data, "isolated %d\ndisposable %d\ndata %4095[^\n]", &isolated, &disposable,
               state->data_directory) < 2)
        return error_set(err, EINVAL, "%s is damaged", paths->state);
    state->isolated = isolated;
    state->disposable = disposable;
    return 0;
}

static unsigned long inode_of(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (unsigned long)info.st_ino : 0;
}

/* A number of 0 stands for a namespace that is not the cluster's own. */
static int write_identity(const struct sandbox_paths *paths, bool isolated, struct error *err)
{
    cleanup_buffer struct buffer text = {0};
    buffer_printf(&text, "network %lu\nmount %lu\n", isolated ? inode_of("/proc/self/ns/net") : 0,
                  inode_of("/proc/self/ns/mnt"));
    return file_write_atomic(paths->identity, text.data, text.size, 0600, err);
}

bool sandbox_is_inside(const struct sandbox_paths *paths)
{
    cleanup_buffer struct buffer text = {0};
    unsigned long network, mounts;
    if (file_read(paths->identity, STATE_MAX, &text, NULL) < 0 ||
        sscanf(text.data, "network %lu\nmount %lu", &network, &mounts) != 2)
        return false;
    return (network && network == inode_of("/proc/self/ns/net")) || mounts == inode_of("/proc/self/ns/mnt");
}

/* The paths are written one a line and removed as root: nothing else will do. */
static int check_data_directory(const char *path, struct error *err)
{
    if (!path)
        return 0;
    if (path[0] != '/' || strlen(path) < 2 || strlen(path) >= 4096 || strchr(path, '\n') || strstr(path, "/../") ||
        (strlen(path) >= 3 && strcmp(path + strlen(path) - 3, "/..") == 0))
        return error_set(err, EINVAL, "the data directory has to be an absolute path without \"..\", not \"%s\"", path);
    return 0;
}

/* ---- bound namespaces ---- */

bool sandbox_is_bound(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

static int unbind(const char *path, struct error *err)
{
    /* More than once if several were bound over each other by a crash and its repair. */
    while (umount2(path, MNT_DETACH) == 0)
        ;
    return errno == EINVAL || errno == ENOENT ? 0 : error_errno(err, "unmount %s", path);
}

int sandbox_unbind(const struct sandbox_paths *paths, struct error *err)
{
    if (unbind(paths->network, err) < 0 || unbind(paths->mount, err) < 0)
        return -1;
    return unbind(paths->namespaces, err);
}

static int touch(const char *path, struct error *err)
{
    cleanup_close int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0400);
    return fd < 0 ? error_errno(err, "create %s", path) : 0;
}

/* A mount of its own that is private: the kernel binds mount namespaces nowhere else, and nothing of it spreads. */
static int prepare_namespaces(const struct sandbox_paths *paths, struct error *err)
{
    if (sandbox_unbind(paths, err) < 0)
        return -1;
    if (mkdir(paths->namespaces, 0700) < 0 && errno != EEXIST)
        return error_errno(err, "make %s", paths->namespaces);
    if (mount(paths->namespaces, paths->namespaces, NULL, MS_BIND, NULL) < 0 ||
        mount(NULL, paths->namespaces, NULL, MS_PRIVATE, NULL) < 0)
        return error_errno(err, "mount %s", paths->namespaces);
    if (touch(paths->network, err) < 0 || touch(paths->mount, err) < 0)
        return -1;
    return 0;
}

/* ---- network ---- */

static int message_result(struct netlink *netlink, struct netlink_batch *batch, const char *what, struct error *err)
{
    return netlink_commit(netlink, batch, NULL, err) < 0 ? error_wrap(err, "%s", what) : 0;
}

static void message_address(struct netlink_batch *batch, const char *text, int length)
{
    struct ip_address address;
    ip_address_parse(text, &address);
    struct ifaddrmsg header = {.ifa_family = (uint8_t)address.family,
                               .ifa_prefixlen = (uint8_t)length,
                               .ifa_flags = address.family == AF_INET6 ? IFA_F_NODAD : 0,
                               .ifa_index = if_nametoindex(SANDBOX_NODE_LINK)};
    netlink_message(batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &header, sizeof(header));
    netlink_add(batch, IFA_LOCAL, &address.v6, ip_address_size(address.family));
    netlink_add(batch, IFA_ADDRESS, &address.v6, ip_address_size(address.family));
}

static int configure_network(struct error *err)
{
    cleanup_netlink struct netlink netlink = NETLINK_CLOSED;
    cleanup_netlink_batch struct netlink_batch batch = {0};
    if (netlink_open(-1, NETLINK_ROUTE, &netlink, err) < 0)
        return -1;
    struct ifinfomsg up = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    netlink_message(&batch, RTM_SETLINK, 0, &up, sizeof(up));
    netlink_add_string(&batch, IFLA_IFNAME, "lo");
    /* An empty bridge serves as a link that is always there; every kernel that can run pods has it. */
    netlink_message(&batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &up, sizeof(up));
    netlink_add_string(&batch, IFLA_IFNAME, SANDBOX_NODE_LINK);
    size_t info = netlink_nest(&batch, IFLA_LINKINFO);
    netlink_add_string(&batch, IFLA_INFO_KIND, "bridge");
    netlink_nest_end(&batch, info);
    if (message_result(&netlink, &batch, "make link " SANDBOX_NODE_LINK, err) < 0)
        return -1;

    message_address(&batch, SANDBOX_NODE_ADDRESS, SANDBOX_NODE_PREFIX);
    if (access("/proc/sys/net/ipv6", F_OK) == 0)
        message_address(&batch, SANDBOX_NODE_ADDRESS6, SANDBOX_NODE_PREFIX6);
    return message_result(&netlink, &batch, "address of " SANDBOX_NODE_LINK, err);
}

static int make_network(const struct sandbox_paths *paths, struct error *err)
{
    if (unshare(CLONE_NEWNET) < 0)
        return error_errno(err, "make a network namespace");
    if (configure_network(err) < 0)
        return -1;
    if (mount("/proc/self/ns/net", paths->network, NULL, MS_BIND, NULL) < 0)
        return error_errno(err, "bind the network namespace to %s", paths->network);
    return 0;
}

/* ---- mounts ---- */

/* The copies of other clusters' bound namespaces would keep those alive after they are destroyed. */
static int drop_copies(struct error *err)
{
    cleanup_buffer struct buffer mounts = {0};
    VECTOR(char *) points = {0};
    if (file_read("/proc/self/mountinfo", MOUNTS_MAX, &mounts, err) < 0)
        return -1;
    char *rest = mounts.data;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *point = NULL;
        for (int field = 0; field < 5; field++)
            point = strsep(&line, " ");
        if (point && strncmp(point, SANDBOX_RUN_DIRECTORY "/", strlen(SANDBOX_RUN_DIRECTORY) + 1) == 0) {
            char *name = point + strlen(SANDBOX_RUN_DIRECTORY) + 1, *slash = strchr(name, '/');
            if (slash && (strcmp(slash, "/ns") == 0 || strncmp(slash, "/ns/", 4) == 0))
                vector_push(&points, point);
        }
    }
    while (points.count)
        umount2(points.items[--points.count], MNT_DETACH); /* the last mounted first */
    vector_free(&points);
    return 0;
}

/* Inside the new mount namespace: what the host mounts still comes in, nothing goes out. */
static int separate_mounts(struct error *err)
{
    /* From the host, not to it; and shared with containers that ask for it (mountPropagation). */
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) < 0)
        return error_errno(err, "separate the mounts from the host's");
    if (drop_copies(err) < 0)
        return -1;
    return cgroup_prepare_mounts(err);
}

/* In a child that stayed in the host's mount namespace: a namespace can only be bound from outside. Binds the parent's
 * each time that it is asked to. */
static void bind_from_outside(pid_t process, const char *path, int request_fd, int result_fd)
{
    char source[64], request;
    snprintf(source, sizeof(source), "/proc/%d/ns/mnt", (int)process);
    while (read(request_fd, &request, 1) == 1) {
        int code = mount(source, path, NULL, MS_BIND, NULL) < 0 ? errno : 0;
        if (write(result_fd, &code, sizeof(code)) != sizeof(code))
            break;
    }
    _exit(0);
}

/* Makes a mount namespace and has it bound. Returns 0, an errno value, or -1 with err filled. */
static int bind_new_mounts(int request_fd, int result_fd, struct error *err)
{
    int code;
    if (unshare(CLONE_NEWNS) < 0)
        return error_errno(err, "make a mount namespace");
    if (write(request_fd, "", 1) != 1 || read(result_fd, &code, sizeof(code)) != sizeof(code))
        return error_set(err, EPIPE, "bind the mount namespace: the helper process died");
    return code;
}

/* The kernel binds a mount namespace only in an older one, which it tells by their numbers; Linux 6.18 gives each
 * processor a supply of numbers of its own. So it may take the right processor: one of them made the older one. */
static int bind_mounts(int request_fd, int result_fd, const char *path, struct error *err)
{
    cpu_set_t allowed, one;
    int code = bind_new_mounts(request_fd, result_fd, err);
    bool try_each = code == EINVAL && sched_getaffinity(0, sizeof(allowed), &allowed) == 0;
    for (int cpu = 0; try_each && code == EINVAL && cpu < CPU_SETSIZE; cpu++) {
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (CPU_ISSET(cpu, &allowed) && sched_setaffinity(0, sizeof(one), &one) == 0)
            code = bind_new_mounts(request_fd, result_fd, err);
    }
    if (try_each)
        sched_setaffinity(0, sizeof(allowed), &allowed);
    return code > 0 ? error_set(err, code, "bind the mount namespace to %s: %s", path, strerror(code)) : code;
}

static int make_mounts(const struct sandbox_paths *paths, struct error *err)
{
    int request[2], done[2];
    if (pipe2(request, O_CLOEXEC) < 0)
        return error_errno(err, "make a pipe");
    if (pipe2(done, O_CLOEXEC) < 0) {
        close(request[0]);
        close(request[1]);
        return error_errno(err, "make a pipe");
    }
    pid_t self = getpid(), child = fork();
    if (child == 0) {
        close(request[1]);
        bind_from_outside(self, paths->mount, request[0], done[1]);
    }
    close(request[0]);
    close(done[1]);
    int result = child < 0 ? error_errno(err, "fork") : bind_mounts(request[1], done[0], paths->mount, err);
    close(request[1]);
    close(done[0]);
    if (child > 0)
        waitpid(child, NULL, 0);
    return result < 0 ? -1 : separate_mounts(err);
}

/* ---- enter ---- */

static int make_namespaces(const struct sandbox_paths *paths, const struct sandbox_options *options, struct error *err)
{
    if (prepare_namespaces(paths, err) < 0)
        return -1;
    if ((options->isolated && make_network(paths, err) < 0) || make_mounts(paths, err) < 0) {
        /* From inside, this reaches the host's mounts only if the mount namespace was not made yet; what stays
         * otherwise is undone by the next attempt or by sandbox_destroy. */
        sandbox_unbind(paths, NULL);
        return -1;
    }
    return 0;
}

static int open_bound(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? error_errno(err, "open namespace %s", path) : fd;
}

/* Network first: the file of the mount namespace is only seen from outside. */
static int enter_bound(const struct sandbox_paths *paths, bool isolated, struct error *err)
{
    cleanup_close int mounts = open_bound(paths->mount, err);
    cleanup_close int network = mounts >= 0 && isolated ? open_bound(paths->network, err) : -1;
    if (mounts < 0 || (isolated && network < 0))
        return -1;
    if (isolated && setns(network, CLONE_NEWNET) < 0)
        return error_errno(err, "enter the network namespace %s", paths->network);
    if (setns(mounts, CLONE_NEWNS) < 0)
        return error_errno(err, "enter the mount namespace %s", paths->mount);
    return 0;
}

static bool is_there(const struct sandbox_paths *paths, bool isolated)
{
    return sandbox_is_bound(paths->mount) && (!isolated || sandbox_is_bound(paths->network));
}

static int enter_locked(const struct sandbox_paths *paths, const struct sandbox_options *options,
                        struct sandbox *sandbox, struct error *err)
{
    struct sandbox_state state;
    bool known = sandbox_state_read(paths, &state, NULL) == 0;
    sandbox->reentered = known && is_there(paths, state.isolated);
    if (sandbox->reentered && state.isolated != options->isolated)
        return error_set(err, EEXIST,
                         "cluster \"%s\" is there %s a sandbox of its own; to start it anew: coracle down --name %s",
                         options->name, state.isolated ? "in" : "without", options->name);
    const char *data = options->data_directory ? options->data_directory : "";
    if (known && state.disposable && strcmp(state.data_directory, data) != 0)
        return error_set(err, EEXIST, "cluster \"%s\" has its data in %s; to start it anew: coracle down --name %s",
                         options->name, state.data_directory, options->name);
    sandbox->made = !known;
    sandbox->host_network_fd = network_namespace_self(err);
    if (sandbox->host_network_fd < 0 || write_state(paths, options, err) < 0)
        return -1;
    int entered = sandbox->reentered ? enter_bound(paths, options->isolated, err) : make_namespaces(paths, options, err);
    if (entered < 0 || write_identity(paths, options->isolated, err) < 0)
        return -1;
    sandbox->network_fd = network_namespace_self(err);
    sandbox->mount_fd = open_bound("/proc/self/ns/mnt", err);
    return sandbox->network_fd < 0 || sandbox->mount_fd < 0 ? -1 : 0;
}

/* Waits while the lock is held, but not by a process that runs the cluster. */
static int lock_or_wait(const struct sandbox_paths *paths, struct error *err)
{
    for (int look = 0;; look++) {
        int fd = sandbox_lock(paths, err);
        if (fd >= 0 || err->code != EBUSY || look == LOCK_LOOKS || sandbox_lock_holder(paths))
            return fd;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

int sandbox_enter(const struct sandbox_options *options, struct sandbox *out, struct error *err)
{
    struct sandbox_paths paths;
    struct error e = {0};
    *out = (struct sandbox){
        .isolated = options->isolated, .lock_fd = -1, .host_network_fd = -1, .network_fd = -1, .mount_fd = -1};
    if (sandbox_name_check(options->name, err) < 0 || check_data_directory(options->data_directory, err) < 0)
        return -1;
    sandbox_paths_of(options->name, &paths);
    strcpy(out->name, options->name);
    snprintf(out->run_directory, sizeof(out->run_directory), "%s", paths.run);
    out->lock_fd = lock_or_wait(&paths, &e);
    if (out->lock_fd < 0 && e.code == EBUSY)
        return error_set(err, EBUSY,
                         "cluster \"%s\" is running already, as process %d; to stop it: coracle down --name %s",
                         options->name, (int)written_process(&paths), options->name);
    if (out->lock_fd < 0)
        return error_set(err, e.code, "%s", e.text);
    if (enter_locked(&paths, options, out, err) < 0) {
        sandbox_close(out);
        return error_wrap(err, "cluster \"%s\"", options->name);
    }
    return 0;
}

void sandbox_close(struct sandbox *sandbox)
{
    int *fds[] = {&sandbox->mount_fd, &sandbox->network_fd, &sandbox->host_network_fd, &sandbox->lock_fd};
    for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
        cleanup_close_fd(fds[i]);
        *fds[i] = -1;
    }
}

/* ---- from outside ---- */

int sandbox_join(const char *name, struct error *err)
{
    struct sandbox_paths paths;
    struct sandbox_state state;
    if (sandbox_name_check(name, err) < 0)
        return -1;
    sandbox_paths_of(name, &paths);
    if (sandbox_state_read(&paths, &state, NULL) < 0 || !is_there(&paths, state.isolated))
        return error_set(err, ENOENT, "there is no cluster \"%s\"", name);
    return enter_bound(&paths, state.isolated, err);
}

int sandbox_find(const char *name, enum sandbox_presence *presence, pid_t *process, struct error *err)
{
    struct sandbox_paths paths;
    struct sandbox_state state;
    *presence = SANDBOX_ABSENT;
    *process = 0;
    if (sandbox_name_check(name, err) < 0)
        return -1;
    sandbox_paths_of(name, &paths);
    *process = sandbox_lock_holder(&paths);
    if (*process)
        *presence = SANDBOX_RUNNING;
    else if (sandbox_state_read(&paths, &state, NULL) == 0)
        *presence = SANDBOX_STOPPED;
    return 0;
}

int sandbox_data_directory(const char *name, char **out, struct error *err)
{
    struct sandbox_paths paths;
    struct sandbox_state state;
    struct error e = {0};
    if (sandbox_name_check(name, err) < 0)
        return -1;
    sandbox_paths_of(name, &paths);
    bool known = sandbox_state_read(&paths, &state, &e) == 0;
    if (!known && e.code != ENOENT)
        return error_set(err, e.code, "%s", e.text);
    if (!known || !state.data_directory[0])
        return error_set(err, ENOENT, "there is no cluster \"%s\"", name);
    *out = mem_string(state.data_directory);
    return 0;
}

bool sandbox_is_isolated(const char *name)
{
    struct sandbox_paths paths;
    struct sandbox_state state;
    sandbox_paths_of(name, &paths);
    return sandbox_state_read(&paths, &state, NULL) < 0 || state.isolated;
}
