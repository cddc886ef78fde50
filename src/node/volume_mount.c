/* What a container mounts of the pod's volumes: whole volumes, and subPaths that no link leads out of. */
#include "node/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"

static const char *volume_path(struct arena *arena, const char *directory, const struct volume *volume)
{
    if (volume->host_path)
        return volume->host_path->path;
    return arena_printf(arena, "%s/volumes/%s%s", directory, volume->name, volume->image ? "/rootfs" : "");
}

/* crun gives the container's mount the flags that it is told, and takes the others away: what the node's mount has is
 * told again, so that mountOptions hold inside. */
static int keep_flags(struct runtime_mount *to, struct error *err)
{
    static const struct {
        unsigned long seen, flag;
    } kept[] = {{ST_NOSUID, MS_NOSUID},
                {ST_NODEV, MS_NODEV},
                {ST_NOEXEC, MS_NOEXEC},
                {ST_NOATIME, MS_NOATIME},
                {ST_NODIRATIME, MS_NODIRATIME}};
    struct statvfs info;
    if (statvfs(to->source, &info) < 0)
        return error_errno(err, "look at %s", to->source);
    for (size_t i = 0; i < ARRAY_COUNT(kept); i++)
        if (info.f_flag & kept[i].seen)
            to->flags |= kept[i].flag;
    to->read_only |= (info.f_flag & ST_RDONLY) != 0;
    return 0;
}

static const struct volume *find_volume(const struct pod *pod, const char *name)
{
    for (size_t i = 0; i < pod->spec.volumes.count; i++)
        if (strcmp(pod->spec.volumes.items[i].name, name) == 0)
            return &pod->spec.volumes.items[i];
    return NULL;
}

static int open_beneath(int root, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* Makes one directory of a subPath; *made is it then, in place of what was made before it. */
static int make_component(int in, const char *name, mode_t mode, int *made)
{
    if (!*name)
        return 0;
    if (mkdirat(in, name, mode) < 0)
        return errno == EEXIST ? 0 : -1;
    if (*made >= 0)
        close(*made);
    *made = open_beneath(in, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    return *made < 0 ? -1 : 0;
}

/* Makes a missing subPath, component by component, each resolved inside the volume. Whoever may write to the volume may
 * write there: it gets the mode of the volume's root, as upstream has it, whatever the umask is. Those between keep to
 * the umask, which is upstream's way too. */
static int make_sub_path(int root, const char *sub_path)
{
    cleanup_close int made = -1;
    struct stat info;
    if (fstat(root, &info) < 0)
        return -1;
    mode_t mode = info.st_mode & 07777;
    cleanup_free char *copy = mem_string(sub_path);
    for (char *slash = copy;; slash++) {
        slash = strchrnul(slash, '/');
        char saved = *slash;
        *slash = 0;
        const char *last = strrchr(copy, '/');
        cleanup_free char *parent = last ? mem_string_n(copy, (size_t)(last - copy)) : mem_string(".");
        cleanup_close int in = open_beneath(root, *parent ? parent : ".", O_PATH | O_DIRECTORY);
        if (in < 0 || make_component(in, last ? last + 1 : copy, mode & 0777, &made) < 0)
            return -1;
        *slash = saved;
        if (!saved)
            break;
    }
    return made >= 0 ? fchmod(made, mode) : 0;
}

/* The subPath of a volume, opened; it is made when it is missing. The pod is told what upstream tells it: no errno,
 * which would say something about the node's files. */
static int open_sub_path(const char *volume, const char *sub_path, const struct volume_mount *mount,
                         const struct container *container, struct error *err)
{
    cleanup_close int root = open(volume, O_PATH | O_CLOEXEC);
    if (root < 0)
        return error_errno(err, "open %s", volume);
    int at = open_beneath(root, sub_path, O_PATH);
    if (at >= 0)
        return at;
    if (errno == ENOENT && make_sub_path(root, sub_path) < 0) {
        log_warning("Cannot make subPath %s of %s: %s", sub_path, volume, strerror(errno));
        return error_set(err, EIO, "failed to create subPath directory for volumeMount \"%s\" of container \"%s\"",
                         mount->name, container->name);
    }
    if ((at = open_beneath(root, sub_path, O_PATH)) >= 0)
        return at;
    log_warning("Cannot open subPath %s of %s: %s", sub_path, volume, strerror(errno));
    return error_set(err, EIO, "failed to prepare subPath for volumeMount \"%s\" of container \"%s\"", mount->name,
                     container->name);
}

/* Binds what is open to a place of its own, so that what the container does to the volume later cannot lead the mount
 * elsewhere. */
static int bind_sub_path(int at, const char *target, struct error *err)
{
    struct stat info;
    if (fstat(at, &info) < 0)
        return error_errno(err, "look at subPath %s", target);
    cleanup_free char *parent = mem_string_n(target, (size_t)(strrchr(target, '/') - target));
    if (file_make_directories(parent, 0750, err) < 0)
        return -1;
    umount2(target, MNT_DETACH); /* of an earlier run of the container */
    if (S_ISDIR(info.st_mode)) {
        if (mkdir(target, 0750) < 0 && errno != EEXIST)
            return error_errno(err, "make %s", target);
    } else {
        int fd = open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0640);
        if (fd < 0)
            return error_errno(err, "make %s", target);
        close(fd);
    }
    cleanup_free char *source = mem_printf("/proc/self/fd/%d", at);
    if (mount(source, target, NULL, MS_BIND | MS_REC, NULL) < 0)
        return error_errno(err, "bind subPath %s", target);
    return 0;
}

int volume_resolve_mounts(struct arena *arena, const struct pod *pod, const struct container *container,
                          const char *directory,
                          const char *(*expand)(void *context, const char *text, struct error *err), void *context,
                          struct runtime_mount **out, size_t *count, struct error *err)
{
    *count = container->volume_mounts.count;
    *out = arena_alloc(arena, *count * sizeof(**out));
    for (size_t i = 0; i < *count; i++) {
        const struct volume_mount *m = &container->volume_mounts.items[i];
        const struct volume *volume = find_volume(pod, m->name);
        struct runtime_mount *to = &(*out)[i];
        if (!volume)
            return error_set(err, ENOENT, "volume \"%s\" not found", m->name);
        to->source = volume_path(arena, directory, volume);
        to->destination = *m->mount_path == '/' ? m->mount_path : arena_printf(arena, "/%s", m->mount_path);
        /* What the agent writes is never the container's to change, as upstream has it. */
        to->flags = volume->image ? MS_NOEXEC : 0;
        to->read_only = m->read_only || volume->image || volume->config_map || volume->secret || volume->downward_api ||
                        volume->projected ||
                        (volume->persistent_volume_claim && volume->persistent_volume_claim->read_only);
        /* IfPossible is possible: crun and the kernel know how. */
        to->recursively = m->read_only && m->recursive_read_only && strcmp(m->recursive_read_only, "Disabled") != 0;
        if ((volume->persistent_volume_claim || volume->ephemeral || volume->host_path) && keep_flags(to, err) < 0)
            return -1;
        if (m->mount_propagation)
            to->propagation = strcmp(m->mount_propagation, "Bidirectional") == 0     ? RUNTIME_PROPAGATION_SHARED
                              : strcmp(m->mount_propagation, "HostToContainer") == 0 ? RUNTIME_PROPAGATION_SLAVE
                                                                                     : RUNTIME_PROPAGATION_PRIVATE;
        const char *sub_path = m->sub_path;
        if (!text_empty(m->sub_path_expr) && !(sub_path = expand(context, m->sub_path_expr, err)))
            return -1;
        if (text_empty(sub_path))
            continue;
        const char *target = arena_printf(arena, "%s/subpaths/%s/%zu", directory, container->name, i);
        cleanup_close int at = open_sub_path(to->source, sub_path, m, container, err);
        if (at < 0 || bind_sub_path(at, target, err) < 0)
            return -1;
        to->source = target;
    }
    return 0;
}
