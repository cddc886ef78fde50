/* Volumes of a pod. See volume.h for the layout on disk. */
#include "node/volume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/quantity.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"

/* Size of the tmpfs of a Secret: its object has at most a few MiB. */
#define SECRET_TMPFS_BYTES (8 << 20)
#define FILE_MODE_DEFAULT 0644

struct volume_file {
    const char *path; /* relative */
    const void *data;
    size_t size;
    mode_t mode;
};

enum volume_action { VOLUME_DIRECTORY, VOLUME_TMPFS, VOLUME_FILES, VOLUME_HOST_PATH };

struct volume_item {
    enum volume_action action;
    const char *name;
    const char *path;
    int64_t size_limit;
    bool tmpfs; /* of VOLUME_FILES */
    struct volume_file *files;
    size_t file_count;
    const char *host_type; /* of VOLUME_HOST_PATH */
};

struct volume_plan {
    const char *directory;
    struct volume_item *items;
    size_t count;
};

/* ---- The plan ---- */

static const char *volume_path(struct arena *arena, const char *directory, const struct volume *volume)
{
    if (volume->host_path)
        return volume->host_path->path;
    return arena_printf(arena, "%s/volumes/%s", directory, volume->name);
}

struct content {
    const char *key;
    const void *data;
    size_t size;
};

/* All of the content, or the chosen items at their paths. */
static int choose_files(struct arena *arena, const struct content *content, size_t count,
                        const struct key_to_path_array *items, struct opt_int32 default_mode, bool optional,
                        const char *what, struct volume_item *out, struct error *err)
{
    mode_t mode = default_mode.set ? (mode_t)default_mode.value : FILE_MODE_DEFAULT;
    size_t wanted = items->count ? items->count : count;
    out->action = VOLUME_FILES;
    out->files = arena_alloc(arena, wanted * sizeof(*out->files));
    for (size_t i = 0; i < wanted; i++) {
        const struct content *from = items->count ? NULL : &content[i];
        const struct key_to_path *item = items->count ? &items->items[i] : NULL;
        const char *key = item ? item->key : content[i].key;
        for (size_t c = 0; item && c < count; c++)
            if (strcmp(content[c].key, key) == 0)
                from = &content[c];
        if (!from) {
            if (optional)
                continue;
            return error_set(err, ENOENT, "%s references non-existent key: %s", what, key);
        }
        out->files[out->file_count++] = (struct volume_file){
            .path = arena_string(arena, item ? item->path : from->key),
            .data = arena_copy(arena, from->data, from->size),
            .size = from->size,
            .mode = item && item->mode.set ? (mode_t)item->mode.value : mode,
        };
    }
    return 0;
}

static int plan_config_map(struct arena *arena, const struct pod *pod, const struct config_map_volume_source *from,
                           const struct volume_source *source, struct volume_item *out, struct error *err)
{
    bool optional = from->optional.set && from->optional.value;
    struct object *o = source->config_map(source->context, from->name);
    if (!o && !optional)
        return error_set(err, ENOENT, "configmap \"%s\" not found", from->name);
    const struct config_map *map = o ? o->value : NULL;
    size_t count = map ? map->data.count + map->binary_data.count : 0, n = 0;
    struct content *content = arena_alloc(arena, count * sizeof(*content));
    for (size_t i = 0; map && i < map->data.count; i++)
        content[n++] = (struct content){map->data.items[i].key, map->data.items[i].value,
                                        strlen(map->data.items[i].value)};
    for (size_t i = 0; map && i < map->binary_data.count; i++)
        content[n++] = (struct content){map->binary_data.items[i].key, map->binary_data.items[i].value.data,
                                        map->binary_data.items[i].value.size};
    const char *what = arena_printf(arena, "configmap \"%s/%s\"", pod->metadata.namespace, from->name);
    return choose_files(arena, content, n, &from->items, from->default_mode, optional || !o, what, out, err);
}

static int plan_secret(struct arena *arena, const struct pod *pod, const struct secret_volume_source *from,
                       const struct volume_source *source, struct volume_item *out, struct error *err)
{
    bool optional = from->optional.set && from->optional.value;
    struct object *o = source->secret(source->context, from->secret_name);
    if (!o && !optional)
        return error_set(err, ENOENT, "secret \"%s\" not found", from->secret_name);
    const struct secret *secret = o ? o->value : NULL;
    size_t count = secret ? secret->data.count : 0;
    struct content *content = arena_alloc(arena, count * sizeof(*content));
    for (size_t i = 0; i < count; i++)
        content[i] = (struct content){secret->data.items[i].key, secret->data.items[i].value.data,
                                      secret->data.items[i].value.size};
    const char *what = arena_printf(arena, "secret \"%s/%s\"", pod->metadata.namespace, from->secret_name);
    out->tmpfs = true;
    return choose_files(arena, content, count, &from->items, from->default_mode, optional || !o, what, out, err);
}

static int plan_item(struct arena *arena, const struct pod *pod, const struct volume *volume,
                     const struct volume_source *source, struct volume_item *out, struct error *err)
{
    if (volume->config_map)
        return plan_config_map(arena, pod, volume->config_map, source, out, err);
    if (volume->secret)
        return plan_secret(arena, pod, volume->secret, source, out, err);
    if (volume->host_path) {
        out->action = VOLUME_HOST_PATH;
        out->host_type = volume->host_path->type;
        return 0;
    }
    if (volume->empty_dir) {
        bool memory = volume->empty_dir->medium && strcmp(volume->empty_dir->medium, "Memory") == 0;
        out->action = memory ? VOLUME_TMPFS : VOLUME_DIRECTORY;
        out->size_limit = quantity_value(volume->empty_dir->size_limit);
        return 0;
    }
    return error_set(err, ENOTSUP, "this kind of volume is not supported yet");
}

int volume_plan_new(struct arena *arena, const struct pod *pod, const char *directory,
                    const struct volume_source *source, struct volume_plan **out, struct error *err)
{
    struct volume_plan *plan = arena_alloc(arena, sizeof(*plan));
    plan->directory = arena_string(arena, directory);
    plan->items = arena_alloc(arena, pod->spec.volumes.count * sizeof(*plan->items));
    for (size_t i = 0; i < pod->spec.volumes.count; i++) {
        const struct volume *volume = &pod->spec.volumes.items[i];
        struct volume_item *item = &plan->items[plan->count++];
        item->name = arena_string(arena, volume->name);
        item->path = arena_string(arena, volume_path(arena, directory, volume));
        if (plan_item(arena, pod, volume, source, item, err) < 0)
            return error_wrap(err, "MountVolume.SetUp failed for volume \"%s\" ", volume->name);
    }
    *out = plan;
    return 0;
}

bool volume_uses(const struct pod *pod, const struct api_resource *resource, const char *name)
{
    for (size_t i = 0; i < pod->spec.volumes.count; i++) {
        const struct volume *v = &pod->spec.volumes.items[i];
        if (resource->index == API_CONFIGMAPS && v->config_map && strcmp(v->config_map->name, name) == 0)
            return true;
        if (resource->index == API_SECRETS && v->secret && strcmp(v->secret->secret_name, name) == 0)
            return true;
    }
    return false;
}

/* ---- Carrying it out ---- */

static bool is_mount_point(const char *path)
{
    struct stat own, parent;
    cleanup_free char *up = mem_printf("%s/..", path);
    return lstat(path, &own) == 0 && lstat(up, &parent) == 0 && own.st_dev != parent.st_dev;
}

static int make_tmpfs(const char *path, int64_t size, mode_t mode, struct error *err)
{
    char options[64];
    if (file_make_directories(path, 0755, err) < 0)
        return -1;
    if (is_mount_point(path))
        return 0;
    int n = snprintf(options, sizeof(options), "mode=%04o", mode);
    if (size)
        snprintf(options + n, sizeof(options) - (size_t)n, ",size=%lld", (long long)size);
    if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
        return error_errno(err, "mount a tmpfs on %s", path);
    return 0;
}

static int write_file(const char *path, const struct volume_file *file, struct error *err)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, "create %s", path);
    for (size_t done = 0; done < file->size;) {
        ssize_t n = write(fd, (const char *)file->data + done, file->size - done);
        if (n < 0 && errno != EINTR)
            return error_errno(err, "write %s", path);
        done += n > 0 ? (size_t)n : 0;
    }
    if (fchmod(fd, file->mode) < 0)
        return error_errno(err, "set the mode of %s", path);
    return 0;
}

/* The first component of a relative path. */
static char *top(const char *path)
{
    return mem_string_n(path, strcspn(path, "/"));
}

/* Writes the files as a new version and turns ..data to it with one rename; then user-visible links. */
static int write_files(const struct volume_item *item, struct error *err)
{
    cleanup_free char *data = mem_printf("%s/..data", item->path);
    cleanup_free char *fresh_link = mem_printf("%s/..data_tmp", item->path);
    cleanup_free char *version = mem_printf("%s/..version_XXXXXX", item->path);
    char old[256];
    ssize_t old_size = readlink(data, old, sizeof(old) - 1);
    if (!mkdtemp(version) || chmod(version, 0755) < 0)
        return error_errno(err, "make a directory in %s", item->path);
    for (size_t i = 0; i < item->file_count; i++) {
        cleanup_free char *path = mem_printf("%s/%s", version, item->files[i].path);
        cleanup_free char *parent = mem_string_n(path, (size_t)(strrchr(path, '/') - path));
        if (file_make_directories(parent, 0755, err) < 0 || write_file(path, &item->files[i], err) < 0)
            return -1;
    }
    unlink(fresh_link);
    if (symlink(strrchr(version, '/') + 1, fresh_link) < 0 || rename(fresh_link, data) < 0)
        return error_errno(err, "turn %s to the new version", data);
    for (size_t i = 0; i < item->file_count; i++) {
        cleanup_free char *name = top(item->files[i].path);
        cleanup_free char *link = mem_printf("%s/%s", item->path, name);
        cleanup_free char *target = mem_printf("..data/%s", name);
        if (symlink(target, link) < 0 && errno != EEXIST)
            return error_errno(err, "link %s", link);
    }
    if (old_size <= 0)
        return 0;
    old[old_size] = 0;
    cleanup_free char *old_version = mem_printf("%s/%s", item->path, old);
    return file_remove_tree(old_version, err);
}

/* Removes links into ..data that lead nowhere any more: keys that went. */
static void drop_stale_links(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory)
        return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct stat info;
        if (entry->d_type == DT_LNK && strcmp(entry->d_name, "..data") != 0 &&
            fstatat(dirfd(directory), entry->d_name, &info, 0) < 0 && errno == ENOENT)
            unlinkat(dirfd(directory), entry->d_name, 0);
    }
    closedir(directory);
}

static int check_host_path(const struct volume_item *item, struct error *err)
{
    static const struct {
        const char *type;
        mode_t mode;
    } kinds[] = {{"Directory", S_IFDIR}, {"File", S_IFREG},       {"Socket", S_IFSOCK},
                 {"CharDevice", S_IFCHR}, {"BlockDevice", S_IFBLK}};
    const char *type = item->host_type;
    struct stat info;
    if (!type || !*type) {
        /* No check; what is not there becomes a directory, as container runtimes have it. */
        if (stat(item->path, &info) < 0 && errno == ENOENT)
            return file_make_directories(item->path, 0755, err);
        return 0;
    }
    if (strcmp(type, "DirectoryOrCreate") == 0)
        return file_make_directories(item->path, 0755, err);
    if (strcmp(type, "FileOrCreate") == 0) {
        int fd = open(item->path, O_CREAT | O_RDONLY | O_CLOEXEC, 0644);
        if (fd < 0)
            return error_errno(err, "create %s", item->path);
        close(fd);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++)
        if (strcmp(type, kinds[i].type) == 0) {
            if (stat(item->path, &info) < 0 || (info.st_mode & S_IFMT) != kinds[i].mode)
                return error_set(err, ENOENT, "hostPath type check failed: %s is not a %s", item->path,
                                 strcmp(type, "Directory") == 0         ? "directory"
                                 : strcmp(type, "File") == 0            ? "file"
                                 : strcmp(type, "Socket") == 0          ? "socket file"
                                 : strcmp(type, "CharDevice") == 0      ? "character device"
                                                                        : "block device");
            return 0;
        }
    return 0;
}

static int apply_item(const struct volume_item *item, struct error *err)
{
    switch (item->action) {
    case VOLUME_DIRECTORY:
        if (file_make_directories(item->path, 0755, err) < 0)
            return -1;
        return chmod(item->path, 0777) < 0 ? error_errno(err, "open %s to all", item->path) : 0;
    case VOLUME_TMPFS:
        return make_tmpfs(item->path, item->size_limit, 01777, err);
    case VOLUME_FILES:
        if (item->tmpfs ? make_tmpfs(item->path, SECRET_TMPFS_BYTES, 01777, err) < 0
                        : file_make_directories(item->path, 0755, err) < 0)
            return -1;
        if (write_files(item, err) < 0)
            return -1;
        drop_stale_links(item->path);
        return 0;
    case VOLUME_HOST_PATH:
        return check_host_path(item, err);
    }
    return 0;
}

int volume_apply(const struct volume_plan *plan, struct error *err)
{
    if (file_make_directories(plan->directory, 0755, err) < 0)
        return -1;
    for (size_t i = 0; i < plan->count; i++)
        if (apply_item(&plan->items[i], err) < 0)
            return error_wrap(err, "MountVolume.SetUp failed for volume \"%s\" ", plan->items[i].name);
    return 0;
}

/* ---- Files of every pod ---- */

static int write_text(const char *directory, const char *name, const char *text, size_t size, struct error *err)
{
    cleanup_free char *path = mem_printf("%s/%s", directory, name);
    struct volume_file file = {.data = text, .size = size, .mode = 0644};
    return write_file(path, &file, err);
}

int volume_write_pod_files(const char *directory, const struct pod *pod, const char *hostname, const char *pod_ip,
                           struct error *err)
{
    cleanup_buffer struct buffer hosts = {0};
    if (file_make_directories(directory, 0755, err) < 0)
        return -1;
    if (pod->spec.host_network) {
        file_read("/etc/hosts", 1 << 20, &hosts, NULL);
    } else {
        buffer_add_string(&hosts, "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost "
                                  "ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nfe00::\tip6-mcastprefix\n"
                                  "fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
        const char *subdomain = pod->spec.subdomain;
        if (pod_ip && subdomain && *subdomain)
            buffer_printf(&hosts, "%s\t%s.%s.%s.svc.cluster.local\t%s\n", pod_ip, hostname, subdomain,
                          pod->metadata.namespace, hostname);
        else if (pod_ip)
            buffer_printf(&hosts, "%s\t%s\n", pod_ip, hostname);
    }
    if (pod->spec.host_aliases.count)
        buffer_add_string(&hosts, "\n# Entries added by HostAliases.\n");
    for (size_t i = 0; i < pod->spec.host_aliases.count; i++) {
        const struct host_alias *alias = &pod->spec.host_aliases.items[i];
        buffer_add_string(&hosts, alias->ip);
        for (size_t n = 0; n < alias->hostnames.count; n++)
            buffer_printf(&hosts, "\t%s", alias->hostnames.items[n]);
        buffer_add_char(&hosts, '\n');
    }
    cleanup_buffer struct buffer name = {0}, resolv = {0};
    buffer_printf(&name, "%s\n", hostname);
    /* Until the cluster has a DNS server of its own, names resolve as on the node. */
    file_read("/etc/resolv.conf", 1 << 20, &resolv, NULL);
    if (write_text(directory, "hosts", hosts.data, hosts.size, err) < 0 ||
        write_text(directory, "hostname", name.data, name.size, err) < 0 ||
        write_text(directory, "resolv.conf", resolv.data ? resolv.data : "", resolv.size, err) < 0)
        return -1;
    return 0;
}

/* ---- Mounts of a container ---- */

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

/* Binds the subPath of a volume to a place of its own, so that what the container does to the volume later cannot
 * lead the mount elsewhere. A missing directory is made, as upstream does. */
static int bind_sub_path(const char *volume, const char *sub_path, const char *target, struct error *err)
{
    cleanup_close int root = open(volume, O_PATH | O_CLOEXEC);
    if (root < 0)
        return error_errno(err, "open %s", volume);
    cleanup_close int at = open_beneath(root, sub_path, O_PATH);
    if (at < 0 && errno == ENOENT) {
        /* Component by component, each resolved inside the volume. */
        cleanup_free char *copy = mem_string(sub_path);
        for (char *slash = copy;; slash++) {
            slash = strchrnul(slash, '/');
            char saved = *slash;
            *slash = 0;
            const char *last = strrchr(copy, '/');
            cleanup_free char *parent = last ? mem_string_n(copy, (size_t)(last - copy)) : mem_string(".");
            const char *name = last ? last + 1 : copy;
            cleanup_close int in = open_beneath(root, *parent ? parent : ".", O_PATH | O_DIRECTORY);
            if (in < 0 || (*name && mkdirat(in, name, 0750) < 0 && errno != EEXIST))
                return error_errno(err, "failed to create subPath directory for volumeMount \"%s\"", sub_path);
            *slash = saved;
            if (!saved)
                break;
        }
        at = open_beneath(root, sub_path, O_PATH);
    }
    struct stat info;
    if (at < 0 || fstat(at, &info) < 0)
        return error_errno(err, "failed to prepare subPath %s", sub_path);
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
        return error_errno(err, "bind subPath %s", sub_path);
    return 0;
}

int volume_resolve_mounts(struct arena *arena, const struct pod *pod, const struct container *container,
                          const char *directory, const char *(*expand)(void *context, const char *text), void *context,
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
        to->read_only = m->read_only || volume->config_map || volume->secret || volume->downward_api || volume->projected;
        if (m->mount_propagation)
            to->propagation = strcmp(m->mount_propagation, "Bidirectional") == 0      ? RUNTIME_PROPAGATION_SHARED
                              : strcmp(m->mount_propagation, "HostToContainer") == 0 ? RUNTIME_PROPAGATION_SLAVE
                                                                                      : RUNTIME_PROPAGATION_PRIVATE;
        const char *sub_path = m->sub_path_expr && *m->sub_path_expr ? expand(context, m->sub_path_expr)
                               : m->sub_path && *m->sub_path         ? m->sub_path
                                                                     : NULL;
        if (!sub_path)
            continue;
        const char *target = arena_printf(arena, "%s/subpaths/%s/%zu", directory, container->name, i);
        if (bind_sub_path(to->source, sub_path, target, err) < 0)
            return -1;
        to->source = target;
    }
    return 0;
}
