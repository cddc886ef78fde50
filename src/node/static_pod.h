/* A static pod: from the text of a manifest file to the pod that the node runs, as upstream's kubelet reads it. Pure.
 *
 * The name gets the node's behind it, the uid is a hash of what the file says (so a changed file is another pod), and
 * annotations tell where it came from. */
#ifndef CORACLE_NODE_STATIC_POD_H
#define CORACLE_NODE_STATIC_POD_H

#include "api/object.h"
#include "base/error.h"

/* A larger file is refused, as upstream does. */
#define STATIC_POD_FILE_MAX (10 << 20)

struct static_pod_source {
    const char *path; /* of the file: part of the uid */
    const char *node_name;
    int64_t seen; /* when the file was read */
};

/* YAML or JSON, decoded leniently as upstream's kubelet does: of a key that is set twice the last one counts, unknown
 * fields are passed over. NULL with err set, in upstream's words where it has some: not a pod, not a valid one, or one that
 * refers to what only the API has ("static pods may not reference configmaps"). */
struct object *static_pod_read(const char *text, size_t size, const struct static_pod_source *source,
                               struct error *err);
/* The mirror to be created for it; owner_uid: of the node's object. In the arena. */
struct pod *static_pod_mirror(struct arena *arena, const struct object *pod, const char *node_name,
                              const char *owner_uid);
/* Whether the mirror shows this very pod. */
bool static_pod_is_shown(const struct object *pod, const struct object *mirror);
bool static_pod_is_mirror(const struct object *pod);
/* The uid of the pod that a mirror shows. */
const char *static_pod_shown_uid(const struct object *mirror);

#endif
