/* VolumeBinding: claims that are bound bring the node affinity of their volumes; claims that wait for their first
 * consumer get a free volume that the node reaches, or have one made for it. VolumeRestrictions: ReadWriteOncePod. */
#include "schedule/volume_binding.h"

#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/quantity.h"
#include "api/storage.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/text.h"

void volume_book_init(struct volume_book *book, struct informer_set *informers)
{
    book->claims = informer_set_get(informers, &api_resources[API_PERSISTENTVOLUMECLAIMS]);
    book->volumes = informer_set_get(informers, &api_resources[API_PERSISTENTVOLUMES]);
    book->classes = informer_set_get(informers, &api_resources[API_STORAGECLASSES]);
}

static void empty(struct map *map)
{
    for (struct map_slot *slot = NULL; (slot = map_next(map, slot));)
        free(slot->value);
    map_free(map);
}

void volume_book_free(struct volume_book *book)
{
    empty(&book->taken);
    empty(&book->chosen);
}

bool volume_pod_has_claims(const struct pod *pod)
{
    for (size_t i = 0; i < pod->spec.volumes.count; i++)
        if (pod->spec.volumes.items[i].persistent_volume_claim || pod->spec.volumes.items[i].ephemeral)
            return true;
    return false;
}

static const struct storage_class *class_of(const struct volume_book *book, const struct persistent_volume_claim *claim)
{
    const char *name = storage_claim_class(claim);
    struct object *class = *name ? informer_get(book->classes, NULL, name) : NULL;
    return class ? class->value : NULL;
}

static bool waits_for_consumer(const struct storage_class *class)
{
    return class && text_equal(class->volume_binding_mode, "WaitForFirstConsumer");
}

/* ---- Before any node is looked at ---- */

/* NULL, or why no node will do as long as the claim is as it is. */
static const char *claim_objection(const struct schedule_pod *pod, const struct volume *volume, const char *name,
                                   struct object *object)
{
    const struct object_meta *meta = &pod->pod->metadata;
    const struct persistent_volume_claim *claim = object ? object->value : NULL;
    if (!claim)
        return arena_printf(pod->arena,
                            volume->ephemeral
                                ? "waiting for ephemeral volume controller to create the persistentvolumeclaim \"%s\""
                                : "persistentvolumeclaim \"%s\" not found",
                            name);
    if (text_equal(claim->status.phase, "Lost"))
        return arena_printf(pod->arena, "persistentvolumeclaim \"%s\" bound to non-existent persistentvolume \"%s\"",
                            name, text_or_empty(claim->spec.volume_name));
    if (claim->metadata.deletion_timestamp)
        return arena_printf(pod->arena, "persistentvolumeclaim \"%s\" is being deleted", name);
    if (volume->ephemeral && !storage_claim_is_of(object->meta, meta))
        return arena_printf(pod->arena, "PVC %s/%s was not created for pod %s/%s (pod is not owner)", meta->namespace,
                            name, meta->namespace, meta->name);
    if (!storage_claim_is_bound(claim) &&
        (!waits_for_consumer(class_of(pod->book, claim)) || (claim->spec.volume_name && *claim->spec.volume_name)))
        return "pod has unbound immediate PersistentVolumeClaims";
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    const struct persistent_volume_claim *x = (*(struct object *const *)a)->value,
                                         *y = (*(struct object *const *)b)->value;
    return quantity_compare(string_map_get(&x->spec.resources.requests, "storage"),
                            string_map_get(&y->spec.resources.requests, "storage"));
}

bool prefilter_volume_binding(struct schedule_pod *pod, struct schedule_verdict *verdict)
{
    const struct volume_array *volumes = &pod->pod->spec.volumes;
    const char *namespace = pod->pod->metadata.namespace;
    pod->claim_count = 0;
    if (!volume_pod_has_claims(pod->pod))
        return false;
    pod->claims = arena_alloc(pod->arena, volumes->count * sizeof(*pod->claims));
    for (size_t i = 0; i < volumes->count; i++) {
        const char *name = storage_claim_name(pod->arena, &pod->pod->metadata, &volumes->items[i]);
        if (!name)
            continue;
        struct object *claim = informer_get(pod->book->claims, namespace, name);
        const char *objection = claim_objection(pod, &volumes->items[i], name, claim);
        if (objection) {
            schedule_object(verdict, objection, true);
            return true;
        }
        bool known = false;
        for (size_t k = 0; k < pod->claim_count; k++)
            known |= pod->claims[k] == claim;
        if (!known)
            pod->claims[pod->claim_count++] = claim;
    }
    /* Small wishes first: the small volumes are for them. */
    qsort(pod->claims, pod->claim_count, sizeof(*pod->claims), by_size);
    return true;
}

bool prefilter_volume_restrictions(struct schedule_pod *pod, struct schedule_verdict *verdict)
{
    (void)verdict;
    return volume_pod_has_claims(pod->pod);
}

/* ---- Node by node ---- */

struct search {
    const struct volume_book *book;
    const struct persistent_volume_claim *claim;
    const struct object_meta *node;
    const struct selector *selector;
    const struct volume_plan *plan; /* what the pod's other claims take */
    struct object *best;
};

static bool is_taken(const struct search *s, const char *volume)
{
    const char *by = map_get(&s->book->taken, volume);
    if (by && strcmp(by, s->claim->metadata.uid) != 0)
        return true;
    for (size_t i = 0; i < s->plan->count; i++)
        if (s->plan->items[i].volume && strcmp(s->plan->items[i].volume->meta->name, volume) == 0)
            return true;
    return false;
}

static bool look_at(void *context, struct object *object)
{
    struct search *s = context;
    const struct persistent_volume *volume = object->value;
    if (volume->metadata.deletion_timestamp || volume->spec.claim_ref ||
        !text_equal(volume->status.phase, "Available") || storage_mismatch(volume, s->claim) ||
        !storage_volume_reaches(volume, s->node) ||
        (s->selector && !selector_matches(s->selector, &volume->metadata.labels)) || is_taken(s, volume->metadata.name))
        return true;
    const struct persistent_volume *best = s->best ? s->best->value : NULL;
    if (!best || quantity_compare(string_map_get(&volume->spec.capacity, "storage"),
                                  string_map_get(&best->spec.capacity, "storage")) < 0)
        s->best = object;
    return true;
}

static bool topology_allows(const struct storage_class *class, const struct object_meta *node)
{
    bool allowed = !class->allowed_topologies.count;
    for (size_t i = 0; !allowed && i < class->allowed_topologies.count; i++) {
        const struct topology_selector_label_requirement_array *all =
            &class->allowed_topologies.items[i].match_label_expressions;
        allowed = true;
        for (size_t k = 0; allowed && k < all->count; k++) {
            const char *value = string_map_get(&node->labels, all->items[k].key);
            allowed = false;
            for (size_t v = 0; value && !allowed && v < all->items[k].values.count; v++)
                allowed = strcmp(all->items[k].values.items[v], value) == 0;
        }
    }
    return allowed;
}

/* Finds what an unbound claim gets on the node. */
static bool choose(const struct schedule_pod *pod, struct object *object, const struct object_meta *node,
                   struct volume_plan *plan)
{
    const struct persistent_volume_claim *claim = object->value;
    const struct storage_class *class = class_of(pod->book, claim);
    const char *node_of_old = map_get(&pod->book->chosen, claim->metadata.uid);
    struct search search = {.book = pod->book, .claim = claim, .node = node, .plan = plan};
    if (!node_of_old)
        node_of_old = string_map_get(&claim->metadata.annotations, STORAGE_SELECTED_NODE);
    if (node_of_old && strcmp(node_of_old, node->name) != 0)
        return false;
    if (claim->spec.selector &&
        selector_from_label_selector(pod->arena, claim->spec.selector, &search.selector, NULL) < 0)
        return false;
    if (!node_of_old)
        informer_each(pod->book->volumes, NULL, look_at, &search);
    if (!search.best &&
        (!class || text_equal(class->provisioner, STORAGE_NO_PROVISIONER) || !topology_allows(class, node)))
        return false;
    plan->items[plan->count++] = (struct volume_choice){object, search.best};
    return true;
}

/* Returns whether every unbound claim gets something; *conflict and *missing tell what is wrong with bound ones. */
static bool make_plan(const struct schedule_pod *pod, const struct object_meta *node, struct volume_plan *plan,
                      bool *conflict, bool *missing)
{
    bool found = true;
    plan->items = arena_alloc(pod->arena, pod->claim_count * sizeof(*plan->items));
    plan->count = 0;
    for (size_t i = 0; i < pod->claim_count; i++) {
        const struct persistent_volume_claim *claim = pod->claims[i]->value;
        if (!storage_claim_is_bound(claim)) {
            found = found && choose(pod, pod->claims[i], node, plan);
            continue;
        }
        struct object *volume = informer_get(pod->book->volumes, NULL, claim->spec.volume_name);
        *missing |= !volume;
        *conflict |= volume && !storage_volume_reaches(volume->value, node);
    }
    return found;
}

void filter_volume_binding(const struct schedule_pod *pod, const struct node_info *node,
                           struct schedule_verdict *verdict)
{
    struct volume_plan plan;
    bool conflict = false, missing = false;
    if (!pod->claim_count)
        return;
    if (!make_plan(pod, node->object->meta, &plan, &conflict, &missing))
        schedule_object(verdict, "node(s) didn't find available persistent volumes to bind", true);
    if (conflict)
        schedule_object(verdict, "node(s) didn't match PersistentVolume's node affinity", true);
    if (missing)
        schedule_object(verdict, "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)", true);
}

void filter_volume_restrictions(const struct schedule_pod *pod, const struct node_info *node,
                                struct schedule_verdict *verdict)
{
    (void)node;
    for (size_t i = 0; i < pod->claim_count; i++) {
        const struct persistent_volume_claim *claim = pod->claims[i]->value;
        for (size_t m = 0; m < claim->spec.access_modes.count; m++)
            if (text_equal(claim->spec.access_modes.items[m], "ReadWriteOncePod") &&
                pod->book->in_use(pod->book->context, claim->metadata.namespace, claim->metadata.name,
                                  pod->pod->metadata.uid)) {
                schedule_object(verdict,
                                "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod "
                                "access mode",
                                false);
                return;
            }
    }
}

/* ---- When the node is chosen ---- */

void volume_plan_for(const struct schedule_pod *pod, const struct object_meta *node, struct volume_plan *out)
{
    bool conflict = false, missing = false;
    make_plan(pod, node, out, &conflict, &missing);
}

void volume_book_assume(struct volume_book *book, const struct volume_plan *plan, const char *node)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct volume_choice *c = &plan->items[i];
        if (c->volume)
            free(map_set(&book->taken, c->volume->meta->name, mem_string(c->claim->meta->uid)));
        else
            free(map_set(&book->chosen, c->claim->meta->uid, mem_string(node)));
    }
}

static void forget_claim(struct volume_book *book, const char *uid)
{
    free(map_remove(&book->chosen, uid));
    for (struct map_slot *slot = NULL; (slot = map_next(&book->taken, slot));)
        if (strcmp(slot->value, uid) == 0) {
            cleanup_free char *name = mem_string(slot->key);
            free(map_remove(&book->taken, name));
            return;
        }
}

void volume_book_forget(struct volume_book *book, const struct pod *pod)
{
    if (!book->taken.count && !book->chosen.count)
        return;
    cleanup_arena struct arena *arena = arena_new(0);
    for (size_t i = 0; i < pod->spec.volumes.count; i++) {
        const char *name = storage_claim_name(arena, &pod->metadata, &pod->spec.volumes.items[i]);
        struct object *claim = name ? informer_get(book->claims, pod->metadata.namespace, name) : NULL;
        if (claim)
            forget_claim(book, claim->meta->uid);
    }
}

/* A volume is bound as the controller of binding would, which finishes the rest. */
static void write_volume(struct client_request *r, const struct volume_choice *choice)
{
    struct persistent_volume *fresh = object_copy(r->arena, choice->volume);
    struct object_reference *reference = arena_alloc(r->arena, sizeof(*reference));
    const struct object_meta *claim = choice->claim->meta;
    *reference = (struct object_reference){.kind = choice->claim->resource->kind,
                                           .api_version = choice->claim->resource->api_version,
                                           .namespace = arena_string(r->arena, claim->namespace),
                                           .name = arena_string(r->arena, claim->name),
                                           .uid = arena_string(r->arena, claim->uid),
                                           .resource_version = arena_string(r->arena, claim->resource_version)};
    fresh->spec.claim_ref = reference;
    string_map_set(r->arena, &fresh->metadata.annotations, STORAGE_BOUND_BY_CONTROLLER, "yes");
    r->body = fresh;
}

struct client_request *volume_choice_request(const struct volume_choice *choice, const char *node)
{
    struct object *object = choice->volume ? choice->volume : choice->claim;
    struct client_request *r =
        client_request_new(CLIENT_UPDATE, object->resource, object->meta->namespace, object->meta->name);
    if (choice->volume) {
        write_volume(r, choice);
    } else {
        struct persistent_volume_claim *fresh = object_copy(r->arena, object);
        string_map_set(r->arena, &fresh->metadata.annotations, STORAGE_SELECTED_NODE, arena_string(r->arena, node));
        r->body = fresh;
    }
    return r;
}

struct promise {
    const struct persistent_volume_claim *claim;
    bool found;
};

static bool look_for_promise(void *context, struct object *object)
{
    struct promise *p = context;
    p->found = storage_volume_is_for(object->value, p->claim);
    return !p->found;
}

/* Whether a volume names the claim, which is then about to be bound. */
static bool is_promised(const struct volume_book *book, const struct persistent_volume_claim *claim)
{
    struct promise promise = {.claim = claim};
    informer_each(book->volumes, NULL, look_for_promise, &promise);
    return promise.found;
}

enum volume_progress volume_progress(const struct volume_book *book, const struct pod *pod,
                                     const struct object_meta *node, struct arena *arena, const char **why)
{
    enum volume_progress progress = VOLUMES_BOUND;
    for (size_t i = 0; i < pod->spec.volumes.count; i++) {
        const char *name = storage_claim_name(arena, &pod->metadata, &pod->spec.volumes.items[i]);
        struct object *object = name ? informer_get(book->claims, pod->metadata.namespace, name) : NULL;
        const struct persistent_volume_claim *claim = object ? object->value : NULL;
        if (!name)
            continue;
        if (!claim || claim->metadata.deletion_timestamp) {
            *why =
                arena_printf(arena, "persistentvolumeclaim \"%s\" %s", name, claim ? "is being deleted" : "not found");
            return VOLUMES_FAILED;
        }
        const char *chosen = string_map_get(&claim->metadata.annotations, STORAGE_SELECTED_NODE);
        if (!storage_claim_is_bound(claim)) {
            progress = VOLUMES_WAIT;
            /* The provisioner takes the annotation away when it cannot make the volume there. */
            if (!text_equal(chosen, node->name) && !is_promised(book, claim)) {
                *why = arena_printf(arena, "provisioning failed for PVC \"%s\"", name);
                return VOLUMES_FAILED;
            }
            continue;
        }
        struct object *volume = informer_get(book->volumes, NULL, claim->spec.volume_name);
        if (volume && !storage_volume_reaches(volume->value, node)) {
            *why = arena_printf(arena,
                                "pv \"%s\" node affinity doesn't match node \"%s\": no matching "
                                "NodeSelectorTerms",
                                volume->meta->name, node->name);
            return VOLUMES_FAILED;
        }
        if (!volume)
            progress = VOLUMES_WAIT;
    }
    return progress;
}
