/* Volumes of a pod: emptyDir, image, configMap, secret, downwardAPI, projected, hostPath, claims, and the files that every pod
 * gets (/etc/hosts, /etc/hostname, /etc/resolv.conf).
 *
 *     DATA/pods/UID/volumes/NAME/            an emptyDir; tmpfs for medium Memory, hugetlbfs for HugePages
 *     DATA/pods/UID/volumes/NAME/rootfs      the content of an image, mounted there
 *     DATA/pods/UID/volumes/NAME             what a claim is bound to, mounted there
 *     DATA/pods/UID/volumes/NAME/..data ->   files from the API: a link to the present version, so that all files of
 *                                            one version appear at once; tmpfs, but for a configMap
 *     DATA/pods/UID/subpaths/CONTAINER/N     a bind mount of a subPath, resolved so that no link leads outside
 *     DATA/pods/UID/{hosts,hostname,resolv.conf}
 *
 * The plan is made on the loop's thread from snapshots and owns copies of all it needs; applying it blocks and
 * runs on any thread. Applying twice is harmless: that is how mounted ConfigMaps follow their objects. */
#ifndef CORACLE_NODE_VOLUME_H
#define CORACLE_NODE_VOLUME_H

#include "api/object.h"
#include "base/arena.h"
#include "base/error.h"
#include "node/environment.h"
#include "node/runtime/container.h"

struct volume_source {
    const struct environment_source *pod; /* its fields, ConfigMaps and Secrets */
    /* The token that a projection asks for, borrowed, or NULL with err set. NULL: there are none. */
    const char *(*token)(void *context, const struct service_account_token_projection *wanted, struct error *err);
    /* The claim of the pod's namespace and the PersistentVolume of that name, borrowed, or NULL. NULL: no claims. */
    struct object *(*claim)(void *context, const char *name);
    struct object *(*persistent_volume)(void *context, const char *name);
    /* The image of a volume of that name, which is in the store: anything that finds it; NULL: none. NULL: no images. */
    const char *(*image)(void *context, const char *volume);
    struct image_store *images;
    void *context;
};

struct volume_plan;

/* Collects what the volumes of the pod need. Fails with upstream's text when a reference cannot be resolved:
 * `MountVolume.SetUp failed for volume "v" : configmap "x" not found`. Belongs to the arena. */
int volume_plan_new(struct arena *arena, const struct pod *pod, const char *directory,
                    const struct volume_source *source, struct volume_plan **out, struct error *err);
/* Makes or updates all volumes. Blocks. */
int volume_apply(const struct volume_plan *plan, struct error *err);
/* Resolves the mounts of one container: sources exist afterwards, subPaths are bound. `expand` gives the value of
 * a subPathExpr, or NULL with err set. The result lives in the arena. Blocks. */
int volume_resolve_mounts(struct arena *arena, const struct pod *pod, const struct container *container,
                          const char *directory,
                          const char *(*expand)(void *context, const char *text, struct error *err), void *context,
                          struct runtime_mount **out, size_t *count, struct error *err);
/* Unmounts and removes everything below the pod's directory. Blocks. Fine when it is not there. */
int volume_remove_all(const char *directory, struct error *err);
/* True when a volume of the pod shows the ConfigMap or Secret of that name. */
bool volume_uses(const struct pod *pod, const struct api_resource *resource, const char *name);
/* True when a volume of the pod shows fields of the pod itself, which may change. */
bool volume_shows_fields(const struct pod *pod);

#endif
