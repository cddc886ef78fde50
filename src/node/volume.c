/* Volumes of a pod. See volume.h for the layout on disk. */
#include "node/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/pod_resources.h"
#include "api/quantity.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "node/image/image.h"
#include "node/volume_plan.h"

/* Size of the tmpfs of files from the API: two versions of some objects, each of which has at most a few MiB. */
#define CONTENT_TMPFS_BYTES (64 << 20)

struct volume_plan {
    const char *directory;
    struct volume_item *items;
    size_t count;
};

/* ---- The plan ---- */

static int plan_host_path(const struct volume_planner *planner, const struct volume *volume, struct volume_item *out,
                          struct error *err)
{
    (void)err;
    out->action = VOLUME_HOST_PATH;
    out->path = arena_string(planner->arena, volume->host_path->path);
    out->host_type = arena_string(planner->arena, volume->host_path->type);
    return 0;
}

/* As upstream's calculateEmptyDirMemorySize: the least of the volume's own limit, the pod's memory and what the node
 * gives to pods, of those that are known. 0: none is. */
static int64_t memory_size(const struct volume_planner *planner, const struct volume *volume)
{
    int64_t of_pod, own = quantity_value(volume->empty_dir->size_limit), size = planner->source->pod->node_memory;
    if (pod_resource_limit(&planner->pod->spec, "memory", &of_pod) && of_pod > 0 && (!size || of_pod < size))
        size = of_pod;
    return own > 0 && (!size || own < size) ? own : size;
}

/* The size of the pages that the requests name: the medium's, or any, which then has to be the same for all of them. */
static int find_page_size(const struct string_map *requests, const char *medium, int64_t wanted, int64_t *found,
                          struct error *err)
{
    for (size_t i = 0; i < requests->count; i++) {
        if (strncmp(requests->items[i].key, "hugepages-", 10) != 0)
            continue;
        int64_t size = quantity_value(requests->items[i].key + 10);
        if (!wanted && *found && *found != size)
            return error_set(err, EINVAL, "medium: %s can't be used if container requests multiple huge page sizes",
                             medium);
        if (!wanted || size == wanted)
            *found = size;
    }
    return 0;
}

static int plan_huge_pages(const struct pod_spec *spec, const char *medium, int64_t *size, struct error *err)
{
    const struct container_array *lists[] = {&spec->containers, &spec->init_containers};
    int64_t wanted = medium[9] ? quantity_value(medium + 10) : 0;
    if (medium[9] && wanted <= 0)
        return error_set(err, EINVAL, "medium: %s is not a size of huge pages", medium);
    if (spec->resources && find_page_size(&spec->resources->requests, medium, wanted, size, err) < 0)
        return -1;
    for (size_t l = 0; l < ARRAY_COUNT(lists); l++)
        for (size_t i = 0; i < lists[l]->count; i++)
            if (find_page_size(&lists[l]->items[i].resources.requests, medium, wanted, size, err) < 0)
                return -1;
    return *size ? 0
                 : error_set(err, EINVAL,
                             "medium %s: hugePages storage requested, but there is no resource request for huge pages",
                             medium);
}

static int plan_empty_dir(const struct volume_planner *planner, const struct volume *volume, struct volume_item *out,
                          struct error *err)
{
    const char *medium = text_or_empty(volume->empty_dir->medium);
    out->action = VOLUME_DIRECTORY;
    if (!*medium)
        return 0;
    if (text_equal(medium, "Memory")) {
        out->action = VOLUME_TMPFS;
        out->size = memory_size(planner, volume);
        return 0;
    }
    if (strncmp(medium, "HugePages", 9) != 0 || (medium[9] && medium[9] != '-'))
        return error_set(err, EINVAL, "unknown storage medium \"%s\"", medium);
    out->action = VOLUME_HUGE_PAGES;
    return plan_huge_pages(&planner->pod->spec, medium, &out->size, err);
}

static int plan_image(const struct volume_planner *planner, const struct volume *volume, struct volume_item *out,
                      struct error *err)
{
    const struct volume_source *source = planner->source;
    const char *image = source->image ? source->image(source->context, volume->name) : NULL;
    out->action = VOLUME_IMAGE;
    out->source = arena_string(planner->arena, image);
    out->images = source->images;
    return image ? 0 : error_set(err, ENOENT, "image \"%s\" is not there", volume->image->reference);
}

/* Every kind of volume that there is. */
static const struct volume_kind {
    size_t offset; /* of its source in struct volume */
    volume_planning *plan;
} volume_kinds[] = {
    {offsetof(struct volume, config_map), volume_plan_config_map},
    {offsetof(struct volume, downward_api), volume_plan_downward_api},
    {offsetof(struct volume, empty_dir), plan_empty_dir},
    {offsetof(struct volume, ephemeral), volume_plan_claim},
    {offsetof(struct volume, host_path), plan_host_path},
    {offsetof(struct volume, image), plan_image},
    {offsetof(struct volume, persistent_volume_claim), volume_plan_claim},
    {offsetof(struct volume, projected), volume_plan_projected},
    {offsetof(struct volume, secret), volume_plan_secret},
};

static volume_planning *planning_of(const struct volume *volume)
{
    for (size_t i = 0; i < ARRAY_COUNT(volume_kinds); i++)
        if (*(void *const *)(const void *)((const char *)volume + volume_kinds[i].offset))
            return volume_kinds[i].plan;
    return NULL;
}

int volume_plan_new(struct arena *arena, const struct pod *pod, const char *directory,
                    const struct volume_source *source, struct volume_plan **out, struct error *err)
{
    struct volume_planner planner = {.arena = arena, .pod = pod, .source = source};
    struct volume_plan *plan = arena_alloc(arena, sizeof(*plan));
    const struct pod_security_context *security = pod->spec.security_context;
    gid_t group = security && security->fs_group.set ? (gid_t)security->fs_group.value : VOLUME_NO_GROUP;
    plan->directory = arena_string(arena, directory);
    plan->items = arena_alloc(arena, pod->spec.volumes.count * sizeof(*plan->items));
    for (size_t i = 0; i < pod->spec.volumes.count; i++) {
        const struct volume *volume = &pod->spec.volumes.items[i];
        struct volume_item *item = &plan->items[plan->count++];
        volume_planning *planning = planning_of(volume);
        item->name = arena_string(arena, volume->name);
        item->group = group;
        item->group_always = !security || !security->fs_group_change_policy ||
                             strcmp(security->fs_group_change_policy, "OnRootMismatch") != 0;
        item->path = arena_printf(arena, "%s/volumes/%s", directory, volume->name);
        if (planning ? planning(&planner, volume, item, err) < 0
                     : error_set(err, ENOTSUP, "this kind of volume is not supported yet") < 0)
            return item->step ? error_wrap(err, "%s", item->step)
                              : error_wrap(err, "MountVolume.SetUp failed for volume \"%s\" ", item->name);
    }
    *out = plan;
    return 0;
}

bool volume_uses(const struct pod *pod, const struct api_resource *resource, const char *name)
{
    bool map = resource->index == API_CONFIGMAPS, secret = resource->index == API_SECRETS;
    for (size_t i = 0; i < pod->spec.volumes.count; i++) {
        const struct volume *v = &pod->spec.volumes.items[i];
        if (map && v->config_map && strcmp(v->config_map->name, name) == 0)
            return true;
        if (secret && v->secret && strcmp(v->secret->secret_name, name) == 0)
            return true;
        for (size_t k = 0; v->projected && k < v->projected->sources.count; k++) {
            const struct volume_projection *p = &v->projected->sources.items[k];
            if (map && p->config_map && strcmp(p->config_map->name, name) == 0)
                return true;
            if (secret && p->secret && strcmp(p->secret->name, name) == 0)
                return true;
        }
    }
    return false;
}

static bool shows_fields(const struct downward_api_volume_file_array *files)
{
    for (size_t i = 0; i < files->count; i++)
        if (files->items[i].field_ref)
            return true;
    return false;
}

bool volume_shows_fields(const struct pod *pod)
{
    for (size_t i = 0; i < pod->spec.volumes.count; i++) {
        const struct volume *v = &pod->spec.volumes.items[i];
        if (v->downward_api && shows_fields(&v->downward_api->items))
            return true;
        for (size_t k = 0; v->projected && k < v->projected->sources.count; k++)
            if (v->projected->sources.items[k].downward_api &&
                shows_fields(&v->projected->sources.items[k].downward_api->items))
                return true;
    }
    return false;
}

/* ---- Carrying it out ---- */

static int make_tmpfs(const char *path, int64_t size, mode_t mode, struct error *err)
{
    char options[64];
    if (file_make_directories(path, 0755, err) < 0)
        return -1;
    if (volume_is_mount_point(path))
        return 0;
    int n = snprintf(options, sizeof(options), "mode=%04o", mode);
    if (size)
        snprintf(options + n, sizeof(options) - (size_t)n, ",size=%lld", (long long)size);
    if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
        return error_errno(err, "mount a tmpfs on %s", path);
    return 0;
}

static int mount_huge_pages(const char *path, int64_t page_size, struct error *err)
{
    char options[64];
    if (file_make_directories(path, 0755, err) < 0)
        return -1;
    if (volume_is_mount_point(path))
        return 0;
    snprintf(options, sizeof(options), "pagesize=%lld", (long long)page_size);
    if (mount("hugetlbfs", path, "hugetlbfs", MS_NOSUID | MS_NODEV, options) < 0)
        return error_errno(err, "mount huge pages of %lld bytes on %s", (long long)page_size, path);
    return 0;
}

static int make_file(const char *path, struct error *err)
{
    int fd = open(path, O_CREAT | O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0644);
    if (fd < 0)
        return error_errno(err, "create %s", path);
    close(fd);
    return 0;
}

static int check_host_path(const char *path, const char *type, struct error *err)
{
    static const struct {
        const char *type;
        mode_t mode;
    } kinds[] = {{"Directory", S_IFDIR},
                 {"File", S_IFREG},
                 {"Socket", S_IFSOCK},
                 {"CharDevice", S_IFCHR},
                 {"BlockDevice", S_IFBLK}};
    struct stat info;
    if (!type || !*type) {
        /* No check; what is not there becomes a directory, as container runtimes have it. */
        if (stat(path, &info) < 0 && errno == ENOENT)
            return file_make_directories(path, 0755, err);
        return 0;
    }
    /* What is there already has to be of the kind. */
    bool missing = stat(path, &info) < 0 && errno == ENOENT;
    if (strcmp(type, "DirectoryOrCreate") == 0) {
        if (missing)
            return file_make_directories(path, 0755, err);
        type = "Directory";
    } else if (strcmp(type, "FileOrCreate") == 0) {
        if (missing)
            return make_file(path, err);
        type = "File";
    }
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++)
        if (strcmp(type, kinds[i].type) == 0) {
            if (stat(path, &info) < 0 || (info.st_mode & S_IFMT) != kinds[i].mode)
                return error_set(err, ENOENT, "hostPath type check failed: %s is not a %s", path,
                                 strcmp(type, "Directory") == 0    ? "directory"
                                 : strcmp(type, "File") == 0       ? "file"
                                 : strcmp(type, "Socket") == 0     ? "socket file"
                                 : strcmp(type, "CharDevice") == 0 ? "character device"
                                                                   : "block device");
            return 0;
        }
    return 0;
}

/* A directory for everyone. Its mode is set once, later it is the containers' to change; mode 0 is one that an earlier
 * agent did not get to set. */
static int make_directory(const char *path, struct error *err)
{
    struct stat info;
    cleanup_free char *parent = mem_string_n(path, (size_t)(strrchr(path, '/') - path));
    if (file_make_directories(parent, 0755, err) < 0)
        return -1;
    if ((mkdir(path, 0) < 0 && errno != EEXIST) || stat(path, &info) < 0)
        return error_errno(err, "make directory %s", path);
    if (!(info.st_mode & 07777) && chmod(path, 0777) < 0)
        return error_errno(err, "open %s to all", path);
    return 0;
}

static int mount_image(const struct volume_item *item, struct error *err)
{
    cleanup_image struct image *image = NULL;
    if (image_find(item->images, item->source, &image, err) < 0 || file_make_directories(item->path, 0711, err) < 0)
        return -1;
    return image_mount_rootfs(item->images, image, item->path, err);
}

static int make_item(const struct volume_item *item, struct error *err)
{
    switch (item->action) {
    case VOLUME_DIRECTORY:
        return make_directory(item->path, err);
    case VOLUME_TMPFS:
        return make_tmpfs(item->path, item->size, 01777, err);
    case VOLUME_HUGE_PAGES:
        return mount_huge_pages(item->path, item->size, err);
    case VOLUME_FILES:
        if (item->tmpfs ? make_tmpfs(item->path, CONTENT_TMPFS_BYTES, 01777, err) < 0
                        : file_make_directories(item->path, 0755, err) < 0)
            return -1;
        return volume_write_files(item, err);
    case VOLUME_IMAGE:
        return mount_image(item, err);
    case VOLUME_HOST_PATH:
        return check_host_path(item->path, item->host_type, err);
    case VOLUME_BIND:
        if (item->host_type && check_host_path(item->source, item->host_type, err) < 0)
            return -1;
        return volume_bind(item, err);
    }
    return 0;
}

/* Directories of the pod's own belong to the fsGroup from the start: what is in them later inherits it. A claim's
 * volume may come from elsewhere: the policy says how far it is looked at. What is the node's own keeps its owner. */
static bool takes_group(const struct volume_item *item)
{
    if (item->group == VOLUME_NO_GROUP || item->action == VOLUME_HOST_PATH || item->action == VOLUME_IMAGE)
        return false;
    return item->action != VOLUME_BIND || (!item->host_type && !(item->mount_flags & MS_RDONLY));
}

static int apply_item(const struct volume_item *item, struct error *err)
{
    if (make_item(item, err) < 0)
        return -1;
    if (!takes_group(item))
        return 0;
    bool on_root_mismatch = item->action != VOLUME_BIND || !item->group_always;
    return volume_set_ownership(item->path, item->group, item->action == VOLUME_FILES, on_root_mismatch, err);
}

int volume_apply(const struct volume_plan *plan, struct error *err)
{
    if (file_make_directories(plan->directory, 0755, err) < 0)
        return -1;
    for (size_t i = 0; i < plan->count; i++) {
        const struct volume_item *item = &plan->items[i];
        /* Upstream looks for the folder of a local volume before anything is set up. */
        if (item->action == VOLUME_BIND && !item->host_type && volume_find_source(item, err) < 0)
            return error_wrap(err, "MountVolume.NewMounter initialization failed for volume \"%s\" ", item->name);
        if (apply_item(item, err) < 0)
            return error_wrap(err, "MountVolume.SetUp failed for volume \"%s\" ", item->name);
    }
    return 0;
}
