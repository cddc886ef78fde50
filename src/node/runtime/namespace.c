/* Making and pinning a pod's namespaces.
 *
 * A thread of its own leaves the process's namespaces, sets the new ones up, pins them by bind mounts on files in the
 * run directory, and ends. The mount namespace stays shared with the process, so the pins are where everyone sees
 * them. A namespace lives as long as it is pinned or has a process in it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "node/runtime/pause.h"
#include "node/runtime/runtime_internal.h"

#ifndef NSFS_MAGIC
#define NSFS_MAGIC 0x6e736673
#endif

struct namespace_kind {
    const char *name; /* in /proc/PID/ns and below RUN/pods/UID/ns */
    int flag;
    enum { WITH_NETWORK, WITH_IPC, WITH_PROCESSES } part; /* of what it is a pod's own together with */
};

static const struct namespace_kind kinds[] = {
    {"net", CLONE_NEWNET, WITH_NETWORK},
    {"ipc", CLONE_NEWIPC, WITH_IPC},
    {"uts", CLONE_NEWUTS, WITH_NETWORK},
    {"pid", CLONE_NEWPID, WITH_PROCESSES},
};

/* What a pod may set for itself: the kernel keeps these per namespace. */
static const char *const sysctl_prefixes[] = {"net.", "kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."};

/* As containerd: a process without privileges may listen on any port and send pings. */
static const struct runtime_pair default_sysctls[] = {
    {"net.ipv4.ip_unprivileged_port_start", "0"},
    {"net.ipv4.ping_group_range", "0 2147483647"},
};

/* What is not pinned is the node's, or each container's own. */
static bool is_pinned(const struct namespace_kind *kind, bool host_network, bool host_ipc, bool shared_processes)
{
    return kind->part == WITH_NETWORK ? !host_network : kind->part == WITH_IPC ? !host_ipc : shared_processes;
}

static bool is_pinned_of(const struct namespace_kind *kind, const struct runtime_sandbox_status *status)
{
    return is_pinned(kind, status->host_network, status->host_ipc, status->share_process_namespace);
}

static char *pin_path(const struct runtime *runtime, const char *pod_uid, const struct namespace_kind *kind)
{
    char file[16];
    snprintf(file, sizeof(file), "ns/%s", kind->name);
    return sandbox_path(runtime, pod_uid, file);
}

static int loopback_up(struct error *err)
{
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo"};
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
        return error_errno(err, "look at the pod's loopback interface");
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? error_errno(err, "bring up the pod's loopback interface") : 0;
}

/* "net.ipv4.conf.eth0/1.forwarding" -> "/proc/sys/net/ipv4/conf/eth0.1/forwarding": dots and slashes change places. */
static int set_sysctl(const char *name, const char *value, struct error *err)
{
    bool allowed = false;
    for (size_t i = 0; i < ARRAY_COUNT(sysctl_prefixes); i++)
        allowed |= !strncmp(name, sysctl_prefixes[i], strlen(sysctl_prefixes[i]));
    if (!allowed || strlen(name) > 200 || strstr(name, "..") || strstr(name, "//"))
        return error_set(err, EPERM, "sysctl \"%s\" is not one of a pod's own", name);
    char path[256];
    snprintf(path, sizeof(path), "/proc/sys/%s", name);
    for (char *p = path + strlen("/proc/sys/"); *p; p++)
        *p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
    return file_poke(path, value, err) < 0 ? error_wrap(err, "sysctl \"%s\"", name) : 0;
}

struct creation {
    const struct runtime *runtime;
    const struct runtime_sandbox_config *config;
    struct error *err;
    int result;
};

static int set_up(struct creation *creation)
{
    const struct runtime_sandbox_config *config = creation->config;
    struct error *err = creation->err, ignored;
    int flags = 0;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++)
        if (kinds[i].part != WITH_PROCESSES && is_pinned(&kinds[i], config->host_network, config->host_ipc, false))
            flags |= kinds[i].flag;
    if (flags && unshare(flags) < 0)
        return error_errno(err, "create the pod's namespaces");
    if (!config->host_network) {
        if (loopback_up(err) < 0)
            return -1;
        if (sethostname(config->hostname, strlen(config->hostname)) < 0)
            return error_errno(err, "set the pod's hostname to '%s'", config->hostname);
        for (size_t i = 0; i < ARRAY_COUNT(default_sysctls); i++)
            if (set_sysctl(default_sysctls[i].key, default_sysctls[i].value, &ignored) < 0)
                log_debug("%s", ignored.text);
    }
    for (size_t i = 0; i < config->sysctl_count; i++) {
        bool of_network = !strncmp(config->sysctls[i].key, "net.", 4);
        if (of_network ? config->host_network : config->host_ipc)
            return error_set(err, EPERM, "sysctl \"%s\" cannot be set: the pod shares it with the node",
                             config->sysctls[i].key);
        if (set_sysctl(config->sysctls[i].key, config->sysctls[i].value, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        if (!(kinds[i].flag & flags))
            continue;
        char source[48];
        snprintf(source, sizeof(source), "/proc/thread-self/ns/%s", kinds[i].name);
        cleanup_free char *path = pin_path(creation->runtime, config->pod_uid, &kinds[i]);
        if (mount(source, path, NULL, MS_BIND, NULL) < 0)
            return error_errno(err, "pin %s", path);
    }
    return 0;
}

static void *set_up_thread(void *context)
{
    struct creation *creation = context;
    creation->result = set_up(creation);
    return NULL;
}

static int mount_shm(const struct runtime *runtime, const char *pod_uid, struct error *err)
{
    cleanup_free char *path = sandbox_path(runtime, pod_uid, "shm");
    char options[64];
    snprintf(options, sizeof(options), "mode=1777,size=%d", RUNTIME_SHM_BYTES);
    if (mkdir(path, 01777) < 0 && errno != EEXIST)
        return error_errno(err, "make directory %s", path);
    if (mount("shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0)
        return error_errno(err, "mount %s", path);
    return 0;
}

static int make_pin_files(const struct runtime *runtime, const char *pod_uid, struct error *err)
{
    cleanup_free char *directory = sandbox_path(runtime, pod_uid, "ns");
    if (file_make_directories(directory, 0711, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        cleanup_free char *path = pin_path(runtime, pod_uid, &kinds[i]);
        cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
        if (fd < 0)
            return error_errno(err, "create %s", path);
    }
    return 0;
}

/* A PID namespace lives as long as its first process: that is put into the pod's cgroup, where its end will find it. */
static int share_processes(const struct runtime *runtime, const char *pod_uid, struct error *err)
{
    char group[RUNTIME_POD_CGROUP_MAX], name[RUNTIME_POD_CGROUP_MAX + 8], source[48];
    const struct cgroup_resources unlimited = {0};
    const struct namespace_kind *kind = &kinds[0];
    while (kind->part != WITH_PROCESSES)
        kind++;
    cleanup_free char *path = pin_path(runtime, pod_uid, kind);
    struct pause pause;
    runtime_pod_cgroup(pod_uid, group);
    snprintf(name, sizeof(name), "%s/pause", group);
    if (cgroup_create(runtime->cgroup, name, &unlimited, err) < 0 || pause_start(&pause, err) < 0)
        return -1;
    snprintf(source, sizeof(source), "/proc/%d/ns/pid", (int)pause.pid);
    int result = cgroup_attach(runtime->cgroup, name, pause.pid, err);
    if (result == 0 && mount(source, path, NULL, MS_BIND, NULL) < 0)
        result = error_errno(err, "pin %s", path);
    pause_release(&pause, result == 0);
    return result;
}

int namespaces_create(const struct runtime *runtime, const struct runtime_sandbox_config *config, struct error *err)
{
    if (make_pin_files(runtime, config->pod_uid, err) < 0)
        return -1;
    struct creation creation = {.runtime = runtime, .config = config, .err = err};
    pthread_t thread;
    int result = pthread_create(&thread, NULL, set_up_thread, &creation);
    if (result)
        return error_set(err, result, "start a thread: %s", strerror(result));
    pthread_join(thread, NULL);
    if (creation.result < 0 ||
        (config->share_process_namespace && share_processes(runtime, config->pod_uid, err) < 0))
        return -1;
    return config->host_ipc ? 0 : mount_shm(runtime, config->pod_uid, err);
}

int namespaces_remove(const struct runtime *runtime, const char *pod_uid, struct error *err)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds) + 1; i++) {
        cleanup_free char *path =
            i < ARRAY_COUNT(kinds) ? pin_path(runtime, pod_uid, &kinds[i]) : sandbox_path(runtime, pod_uid, "shm");
        while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
            ;
        if (errno != EINVAL && errno != ENOENT)
            return error_errno(err, "unmount %s", path);
    }
    return 0;
}

static bool is_file_system(const char *path, long type)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && fs.f_type == type;
}

static bool is_mount_point(const char *path)
{
    struct stat here, above;
    cleanup_free char *parent = mem_printf("%s/..", path);
    return stat(path, &here) == 0 && stat(parent, &above) == 0 && here.st_dev != above.st_dev;
}

bool namespaces_present(const struct runtime *runtime, const struct runtime_sandbox_status *status)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        cleanup_free char *path = pin_path(runtime, status->pod_uid, &kinds[i]);
        if (is_pinned_of(&kinds[i], status) && !is_file_system(path, NSFS_MAGIC))
            return false;
    }
    cleanup_free char *shm = sandbox_path(runtime, status->pod_uid, "shm");
    return status->host_ipc || is_mount_point(shm);
}

int namespaces_repin(const struct runtime *runtime, const struct runtime_sandbox_status *status, pid_t pid,
                     struct error *err)
{
    if (make_pin_files(runtime, status->pod_uid, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        if (!is_pinned_of(&kinds[i], status))
            continue;
        cleanup_free char *path = pin_path(runtime, status->pod_uid, &kinds[i]);
        char source[48];
        snprintf(source, sizeof(source), "/proc/%d/ns/%s", (int)pid, kinds[i].name);
        if (!is_file_system(path, NSFS_MAGIC) && mount(source, path, NULL, MS_BIND, NULL) < 0)
            return error_errno(err, "pin %s again", path);
    }
    cleanup_free char *shm = sandbox_path(runtime, status->pod_uid, "shm");
    return status->host_ipc || is_mount_point(shm) ? 0 : mount_shm(runtime, status->pod_uid, err);
}
