/* How volumes and claims find each other: upstream's rules. */
#include "api/storage.h"

#include <string.h>

#include "api/node_selector.h"
#include "api/quantity.h"
#include "base/text.h"

static const char *class_of(const struct object_meta *meta, const char *field)
{
    const char *annotated = string_map_get(&meta->annotations, STORAGE_CLASS_BETA);
    return text_or_empty(annotated ? annotated : field);
}

const char *storage_claim_class(const struct persistent_volume_claim *claim)
{
    return class_of(&claim->metadata, claim->spec.storage_class_name);
}

const char *storage_volume_class(const struct persistent_volume *volume)
{
    return class_of(&volume->metadata, volume->spec.storage_class_name);
}

bool storage_class_is_default(const struct storage_class *class)
{
    return text_equal(string_map_get(&class->metadata.annotations, STORAGE_DEFAULT_CLASS), "true") ||
           text_equal(string_map_get(&class->metadata.annotations, STORAGE_DEFAULT_CLASS_BETA), "true");
}

bool storage_volume_is_for(const struct persistent_volume *volume, const struct persistent_volume_claim *claim)
{
    const struct object_reference *r = volume->spec.claim_ref;
    return r && text_equal(r->name, claim->metadata.name) && text_equal(r->namespace, claim->metadata.namespace) &&
           (!*text_or_empty(r->uid) || text_equal(r->uid, claim->metadata.uid));
}

bool storage_claim_is_bound(const struct persistent_volume_claim *claim)
{
    return *text_or_empty(claim->spec.volume_name) &&
           string_map_get(&claim->metadata.annotations, STORAGE_BIND_COMPLETED);
}

static const char *mode_of(const char *mode)
{
    return *text_or_empty(mode) ? mode : "Filesystem";
}

static bool has_modes(const struct string_array *have, const struct string_array *wanted)
{
    for (size_t i = 0; i < wanted->count; i++) {
        bool found = false;
        for (size_t k = 0; k < have->count; k++)
            found |= text_equal(have->items[k], wanted->items[i]);
        if (!found)
            return false;
    }
    return true;
}

const char *storage_mismatch(const struct persistent_volume *volume, const struct persistent_volume_claim *claim)
{
    if (quantity_compare(string_map_get(&volume->spec.capacity, "storage"),
                         string_map_get(&claim->spec.resources.requests, "storage")) < 0)
        return "requested PV is too small";
    if (!text_equal(storage_volume_class(volume), storage_claim_class(claim)))
        return "storageClassName does not match";
    if (!text_equal(volume->spec.volume_attributes_class_name, claim->spec.volume_attributes_class_name))
        return "volumeAttributesClassName does not match";
    if (!text_equal(mode_of(volume->spec.volume_mode), mode_of(claim->spec.volume_mode)))
        return "incompatible volumeMode";
    if (!has_modes(&volume->spec.access_modes, &claim->spec.access_modes))
        return "incompatible accessMode";
    return NULL;
}

bool storage_volume_reaches(const struct persistent_volume *volume, const struct object_meta *node)
{
    const struct volume_node_affinity *affinity = volume->spec.node_affinity;
    return !affinity || !affinity->required || node_selector_matches(affinity->required, node);
}

bool storage_is_temporary(const char *path)
{
    const char *found = path ? strstr(path, "/tmp/") : NULL;
    return found && found[strlen("/tmp/")];
}

void storage_volume_unbind(struct arena *arena, struct persistent_volume *copy)
{
    struct string_map *annotations = &copy->metadata.annotations;
    if (string_map_get(annotations, STORAGE_BOUND_BY_CONTROLLER)) {
        struct string_map kept = {arena_alloc(arena, annotations->count * sizeof(*kept.items)), 0};
        for (size_t i = 0; i < annotations->count; i++)
            if (strcmp(annotations->items[i].key, STORAGE_BOUND_BY_CONTROLLER) != 0)
                kept.items[kept.count++] = annotations->items[i];
        *annotations = kept;
        copy->spec.claim_ref = NULL;
    } else if (copy->spec.claim_ref) {
        struct object_reference *reserved = arena_alloc(arena, sizeof(*reserved));
        *reserved = *copy->spec.claim_ref;
        reserved->uid = NULL;
        copy->spec.claim_ref = reserved;
    }
}

const char *storage_claim_name(struct arena *arena, const struct object_meta *pod, const struct volume *volume)
{
    if (volume->persistent_volume_claim)
        return volume->persistent_volume_claim->claim_name;
    return volume->ephemeral ? arena_printf(arena, "%s-%s", pod->name, volume->name) : NULL;
}

bool storage_pod_uses(const struct pod *pod, const char *claim)
{
    size_t n = strlen(pod->metadata.name);
    for (size_t i = 0; i < pod->spec.volumes.count; i++) {
        const struct volume *v = &pod->spec.volumes.items[i];
        if (v->persistent_volume_claim && text_equal(v->persistent_volume_claim->claim_name, claim))
            return true;
        if (v->ephemeral && strncmp(claim, pod->metadata.name, n) == 0 && claim[n] == '-' &&
            text_equal(claim + n + 1, v->name))
            return true;
    }
    return false;
}

bool storage_claim_is_of(const struct object_meta *claim, const struct object_meta *pod)
{
    for (size_t i = 0; i < claim->owner_references.count; i++) {
        const struct owner_reference *r = &claim->owner_references.items[i];
        if (r->controller.set && r->controller.value && text_equal(r->uid, pod->uid))
            return true;
    }
    return false;
}
