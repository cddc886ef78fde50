/* Shared by the files that plan and make volumes, not for others (those use node/volume.h): one row per kind of volume
 * in volume.c says how it is planned; what has to be done is a volume_item. */
#ifndef CORACLE_NODE_VOLUME_PLAN_H
#define CORACLE_NODE_VOLUME_PLAN_H

#include <sys/types.h>

#include "node/volume.h"

/* Whom a file belongs to when nobody is named. */
#define VOLUME_FILE_NO_OWNER ((uid_t)-1)

/* There is no fsGroup. */
#define VOLUME_NO_GROUP ((gid_t)-1)

struct volume_file {
    const char *path; /* relative */
    const void *data;
    size_t size;
    mode_t mode;
    uid_t owner; /* VOLUME_FILE_NO_OWNER: root */
};

enum volume_action {
    VOLUME_DIRECTORY,
    VOLUME_TMPFS,
    VOLUME_HUGE_PAGES,
    VOLUME_FILES,
    VOLUME_HOST_PATH,
    VOLUME_BIND,
    VOLUME_IMAGE
};

/* What is to be done for one volume; all that it points to lives in the plan's arena. */
struct volume_item {
    enum volume_action action;
    const char *name; /* of the volume, or of the PersistentVolume, as errors call it */
    const char *step; /* of planning, as errors call it; NULL: MountVolume.SetUp of the name */
    const char *path;
    int64_t size; /* bytes: of VOLUME_TMPFS (0: as the kernel has it), of a page of VOLUME_HUGE_PAGES */
    bool tmpfs;   /* of VOLUME_FILES */
    struct volume_file *files;
    size_t file_count;
    const char *host_type; /* of VOLUME_HOST_PATH and VOLUME_BIND; NULL: no check */
    const char *source; /* of VOLUME_BIND: the path on the node that is mounted at `path`; of VOLUME_IMAGE: the image */
    struct image_store *images; /* of VOLUME_IMAGE */
    unsigned long mount_flags;
    gid_t group;       /* fsGroup of the pod, VOLUME_NO_GROUP: none; a hostPath keeps its own */
    bool group_always; /* fsGroupChangePolicy is Always */
};

/* What planning a volume may look at. */
struct volume_planner {
    struct arena *arena;
    const struct pod *pod;
    const struct volume_source *source;
};

/* Completes the item, whose name and path are set. An error's text is the reason alone. */
typedef int volume_planning(const struct volume_planner *planner, const struct volume *volume, struct volume_item *out,
                            struct error *err);

/* volume_content.c: files from the API. */
volume_planning volume_plan_config_map, volume_plan_secret, volume_plan_downward_api, volume_plan_projected;

/* volume_claim.c: claims, and generic ephemeral volumes. */
volume_planning volume_plan_claim;
/* Whether the source is there, or is mounted already. */
int volume_find_source(const struct volume_item *item, struct error *err);
/* Mounts source at path, unless something is mounted there. Blocks. */
int volume_bind(const struct volume_item *item, struct error *err);
/* Whether path is where something is mounted, if only another folder of the same file system. */
bool volume_is_mount_point(const char *path);

/* volume_files.c: makes the files of the item the content of its directory, which is there: all of them at once, by one
 * rename, and only if they differ from what is there. Blocks. */
int volume_write_files(const struct volume_item *item, struct error *err);
/* Writes one file that nobody reads yet. Blocks. */
int volume_write_file(const char *path, const struct volume_file *file, struct error *err);

/* volume_ownership.c: gives a volume to a group as upstream's SetVolumeOwnership does. on_root_mismatch: only if its
 * topmost directory does not have group and mode yet (fsGroupChangePolicy). Blocks for a walk through the volume. */
int volume_set_ownership(const char *path, gid_t group, bool read_only, bool on_root_mismatch, struct error *err);

#endif
