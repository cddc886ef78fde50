/* What the provisioner does about a claim or a volume: pure functions. */
#include <string.h>

#include "api/storage.h"
#include "base/text.h"
#include "node/provisioner.h"

/* The node that a volume was made on, as rancher's provisioner notes it. */
#define MADE_ON "local.path.provisioner/selected-node"

bool provisioner_decide_claim(const struct persistent_volume_claim *claim, const struct storage_class *class,
                              const char *node, const char **why)
{
    const struct string_map *annotations = &claim->metadata.annotations;
    const char *selected = string_map_get(annotations, STORAGE_SELECTED_NODE);
    bool waits = class && text_equal(class->volume_binding_mode, "WaitForFirstConsumer");
    *why = NULL;
    if (!class || !text_equal(class->provisioner, STORAGE_LOCAL_PROVISIONER) ||
        !text_equal(string_map_get(annotations, STORAGE_PROVISIONER), STORAGE_LOCAL_PROVISIONER) ||
        claim->metadata.deletion_timestamp || !text_equal(claim->spec.volume_name, NULL) ||
        (selected ? strcmp(selected, node) != 0 : waits))
        return false;
    if (text_equal(claim->spec.volume_mode, "Block"))
        *why = STORAGE_LOCAL_PROVISIONER " does not support block volume provisioning";
    else if (claim->spec.selector)
        *why = "claim.Spec.Selector is not supported";
    for (size_t i = 0; i < claim->spec.access_modes.count; i++)
        if (strncmp(claim->spec.access_modes.items[i], "ReadWriteOnce", 13) != 0)
            *why = "NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes";
    return true;
}

/* Of a volume that was made by hand; what may not be reclaimed is refused by the controller that binds. */
static enum provisioner_release decide_host_path(const struct persistent_volume *volume)
{
    const struct object_reference *owner = volume->spec.claim_ref;
    const char *policy = volume->spec.persistent_volume_reclaim_policy;
    if (!text_equal(volume->status.phase, "Released") || !owner || text_empty(owner->uid))
        return RELEASE_NOTHING;
    if (text_equal(policy, "Recycle"))
        return RELEASE_CONTENT;
    if (text_equal(policy, "Delete") && storage_is_temporary(volume->spec.host_path->path) &&
        !string_map_get(&volume->metadata.annotations, STORAGE_PROVISIONED_BY))
        return RELEASE_HOST_PATH;
    return RELEASE_NOTHING;
}

enum provisioner_release provisioner_decide_volume(const struct persistent_volume *volume, const char *node)
{
    const struct string_map *annotations = &volume->metadata.annotations;
    if (volume->spec.host_path)
        return decide_host_path(volume);
    bool deleted = volume->metadata.deletion_timestamp != 0, released = text_equal(volume->status.phase, "Released");
    if (!text_equal(string_map_get(annotations, STORAGE_PROVISIONED_BY), STORAGE_LOCAL_PROVISIONER) ||
        !text_equal(string_map_get(annotations, MADE_ON), node) || !volume->spec.local ||
        text_equal(volume->status.phase, "Bound"))
        return RELEASE_NOTHING;
    if (text_equal(volume->spec.persistent_volume_reclaim_policy, "Delete"))
        return deleted || released ? RELEASE_FOLDER : RELEASE_NOTHING;
    return deleted ? RELEASE_OBJECT : RELEASE_NOTHING;
}

static struct volume_node_affinity *only_on(struct arena *arena, const char *node)
{
    struct volume_node_affinity *affinity = arena_alloc(arena, sizeof(*affinity));
    struct node_selector_term *term = arena_alloc(arena, sizeof(*term));
    struct node_selector_requirement *r = arena_alloc(arena, sizeof(*r));
    const char **values = arena_alloc(arena, sizeof(*values));
    values[0] = node;
    *r = (struct node_selector_requirement){.key = "kubernetes.io/hostname", .operator= "In", .values = {values, 1}};
    term->match_expressions = (struct node_selector_requirement_array){r, 1};
    affinity->required = arena_alloc(arena, sizeof(*affinity->required));
    affinity->required->node_selector_terms = (struct node_selector_term_array){term, 1};
    return affinity;
}

struct persistent_volume *provisioner_make_volume(struct arena *arena, const struct persistent_volume_claim *claim,
                                                  const struct storage_class *class, const char *node,
                                                  const char *folder)
{
    struct persistent_volume *volume = arena_alloc(arena, sizeof(*volume));
    struct object_reference *reference = arena_alloc(arena, sizeof(*reference));
    const char **finalizers = arena_alloc(arena, sizeof(*finalizers));
    finalizers[0] = STORAGE_PROVISIONER_FINALIZER;
    *reference = (struct object_reference){.kind = "PersistentVolumeClaim",
                                           .api_version = "v1",
                                           .namespace = claim->metadata.namespace,
                                           .name = claim->metadata.name,
                                           .uid = claim->metadata.uid,
                                           .resource_version = claim->metadata.resource_version};
    volume->metadata.name = arena_printf(arena, "pvc-%s", claim->metadata.uid);
    volume->metadata.finalizers = (struct string_array){finalizers, 1};
    string_map_set(arena, &volume->metadata.annotations, STORAGE_PROVISIONED_BY, STORAGE_LOCAL_PROVISIONER);
    string_map_set(arena, &volume->metadata.annotations, MADE_ON, node);
    string_map_set(arena, &volume->spec.capacity, "storage",
                   string_map_get(&claim->spec.resources.requests, "storage"));
    volume->spec.access_modes = claim->spec.access_modes;
    volume->spec.claim_ref = reference;
    volume->spec.persistent_volume_reclaim_policy = class->reclaim_policy ? class->reclaim_policy : "Delete";
    volume->spec.storage_class_name = storage_claim_class(claim);
    volume->spec.mount_options = class->mount_options;
    volume->spec.volume_mode = "Filesystem";
    volume->spec.local = arena_alloc(arena, sizeof(*volume->spec.local));
    volume->spec.local->path = folder;
    volume->spec.node_affinity = only_on(arena, node);
    return volume;
}
