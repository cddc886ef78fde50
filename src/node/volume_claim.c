/* Claims as volumes: what a claim is bound to is mounted at the volume's place below the pod's directory, with the
 * options that the PersistentVolume names, and from there into the containers. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/storage.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "node/volume_plan.h"

/* What a mount of a folder can be told, beside what its file system was told. */
static const struct {
    const char *name;
    unsigned long set, clear;
} options[] = {
    {"defaults", 0, 0},
    {"ro", MS_RDONLY, 0},
    {"rw", 0, MS_RDONLY},
    {"nosuid", MS_NOSUID, 0},
    {"suid", 0, MS_NOSUID},
    {"nodev", MS_NODEV, 0},
    {"dev", 0, MS_NODEV},
    {"noexec", MS_NOEXEC, 0},
    {"exec", 0, MS_NOEXEC},
    {"noatime", MS_NOATIME, MS_STRICTATIME | MS_RELATIME},
    {"atime", 0, MS_NOATIME},
    {"nodiratime", MS_NODIRATIME, 0},
    {"diratime", 0, MS_NODIRATIME},
    {"relatime", MS_RELATIME, MS_NOATIME | MS_STRICTATIME},
    {"strictatime", MS_STRICTATIME, MS_NOATIME | MS_RELATIME},
};

static int read_options(const struct string_array *names, unsigned long *flags, struct error *err)
{
    *flags = 0;
    for (size_t i = 0; i < names->count; i++) {
        size_t k = 0;
        while (k < ARRAY_COUNT(options) && strcmp(options[k].name, names->items[i]) != 0)
            k++;
        if (k == ARRAY_COUNT(options))
            return error_set(err, EINVAL, "mount failed: unknown mount option \"%s\"", names->items[i]);
        *flags = (*flags & ~options[k].clear) | options[k].set;
    }
    return 0;
}

/* The volume that the claim is bound to, after upstream's checks. */
static const struct persistent_volume *find_volume(const struct volume_planner *planner, const char *name,
                                                   bool ephemeral, struct error *err)
{
    const struct object_meta *pod = &planner->pod->metadata;
    const struct volume_source *source = planner->source;
    struct object *object = source->claim ? source->claim(source->context, name) : NULL;
    const struct persistent_volume_claim *claim = object ? object->value : NULL;
    const char *phase = claim && claim->status.phase ? claim->status.phase : "";
    const char *why = NULL;
    const struct persistent_volume *volume = NULL;
    if (!claim) {
        why = arena_printf(planner->arena,
                           "failed to fetch PVC from API server: persistentvolumeclaims \"%s\" not found", name);
    } else if (ephemeral && !storage_claim_is_of(object->meta, pod)) {
        why = "PVC is not owned by the pod";
    } else if (strcmp(phase, "Bound") != 0 || !claim->spec.volume_name || !*claim->spec.volume_name) {
        why = "PVC is not bound";
    } else {
        struct object *found = source->persistent_volume(source->context, claim->spec.volume_name);
        volume = found ? found->value : NULL;
        if (!volume)
            why = arena_printf(planner->arena,
                               "failed to fetch PV %s from API server: persistentvolumes \"%s\" not found",
                               claim->spec.volume_name, claim->spec.volume_name);
        else if (!storage_volume_is_for(volume, claim) || !volume->spec.claim_ref->uid)
            why = arena_printf(planner->arena, "PV %s is bound to another claim", volume->metadata.name);
        else if (volume->spec.volume_mode && strcmp(volume->spec.volume_mode, "Block") == 0)
            why = "volume has volumeMode Block, but is specified in volumeMounts";
    }
    if (!why)
        return volume;
    error_set(err, EAGAIN, "error processing PVC %s/%s: %s", pod->namespace, name, why);
    return NULL;
}

int volume_plan_claim(const struct volume_planner *planner, const struct volume *volume, struct volume_item *out,
                      struct error *err)
{
    const char *name = storage_claim_name(planner->arena, &planner->pod->metadata, volume);
    out->step = arena_printf(planner->arena,
                             "Unable to attach or mount volumes: unmounted volumes=[%s], unattached volumes=[], failed "
                             "to process volumes=[%s]",
                             volume->name, volume->name);
    const struct persistent_volume *found = find_volume(planner, name, volume->ephemeral != NULL, err);
    if (!found)
        return -1;
    out->step = NULL;
    out->action = VOLUME_BIND;
    out->name = arena_string(planner->arena, found->metadata.name);
    if (found->spec.host_path && found->spec.mount_options.count) {
        out->step =
            arena_printf(planner->arena, "MountVolume.MountOptionSupport check failed for volume \"%s\" ", out->name);
        return error_set(err, ENOTSUP, "mount options are not supported for this volume type");
    }
    if (found->spec.host_path) {
        out->source = arena_string(planner->arena, found->spec.host_path->path);
        out->host_type = arena_string(planner->arena, text_or_empty(found->spec.host_path->type));
    } else if (found->spec.local) {
        out->source = arena_string(planner->arena, found->spec.local->path);
    } else {
        return error_set(err, ENOTSUP, "this kind of volume is not supported yet");
    }
    if (read_options(&found->spec.mount_options, &out->mount_flags, err) < 0)
        return -1;
    if (volume->persistent_volume_claim && volume->persistent_volume_claim->read_only)
        out->mount_flags |= MS_RDONLY;
    return 0;
}

bool volume_is_mount_point(const char *path)
{
    struct statx info;
    return statx(AT_FDCWD, path, AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW, 0, &info) == 0 &&
           (info.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* Something to mount on: a folder for a folder, a file for anything else. */
static int make_target(const char *path, bool directory, struct error *err)
{
    if (directory)
        return file_make_directories(path, 0750, err);
    cleanup_free char *parent = mem_string_n(path, (size_t)(strrchr(path, '/') - path));
    if (file_make_directories(parent, 0755, err) < 0)
        return -1;
    cleanup_close int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0640);
    return fd < 0 ? error_errno(err, "make %s", path) : 0;
}

int volume_find_source(const struct volume_item *item, struct error *err)
{
    if (volume_is_mount_point(item->path) || access(item->source, F_OK) == 0)
        return 0;
    return errno == ENOENT ? error_set(err, ENOENT, "path \"%s\" does not exist", item->source)
                           : error_errno(err, "look at %s", item->source);
}

int volume_bind(const struct volume_item *item, struct error *err)
{
    struct stat info;
    if (volume_is_mount_point(item->path))
        return 0;
    if (stat(item->source, &info) < 0)
        return error_errno(err, "look at %s", item->source);
    if (make_target(item->path, S_ISDIR(info.st_mode), err) < 0)
        return -1;
    if (mount(item->source, item->path, NULL, MS_BIND | MS_REC, NULL) < 0)
        return error_errno(err, "mount %s", item->source);
    if (item->mount_flags && mount(NULL, item->path, NULL, MS_BIND | MS_REMOUNT | item->mount_flags, NULL) < 0) {
        error_errno(err, "mount %s with its options", item->source);
        umount2(item->path, MNT_DETACH | UMOUNT_NOFOLLOW);
        return -1;
    }
    return 0;
}
