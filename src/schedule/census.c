/* Nodes, their slots and images, and the pods on them. A slot is a small number that a node keeps as long as it or a
 * pod on it is known: counts are arrays by slot. */
#include "schedule/census.h"

#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"

void census_init(struct census *census, struct informer *namespaces)
{
    *census = (struct census){.namespaces = namespaces};
    list_init(&census->recent);
}

static int32_t free_slot(struct census *census)
{
    for (size_t i = 0; i < census->slots.count; i++)
        if (!census->slots.items[i])
            return (int32_t)i;
    vector_push(&census->slots, NULL);
    return (int32_t)census->slots.count - 1;
}

static struct node_info *info_of(struct census *census, const char *name)
{
    struct node_info *info = map_get(&census->infos, name);
    if (!info) {
        info = mem_zero(1, sizeof(*info));
        list_init(&info->residents);
        list_init(&info->nominated);
        info->slot = free_slot(census);
        census->slots.items[info->slot] = info;
        map_set(&census->infos, name, info);
        census_topologies_stale(census);
    }
    return info;
}

struct node_info *census_node_of(struct census *census, const char *name)
{
    return map_get(&census->infos, name);
}

/* A node that is gone is remembered as long as there are pods on it. */
static void forget_node(struct census *census, struct node_info *info, const char *name)
{
    if (info->object || !list_empty(&info->residents) || !list_empty(&info->nominated))
        return;
    census->slots.items[info->slot] = NULL;
    map_remove(&census->infos, name);
    node_info_free(info);
}

/* ---- Images ---- */

char *census_image_name(const char *name)
{
    const char *colon = strrchr(name, ':'), *slash = strrchr(name, '/');
    bool tagged = colon && (!slash || colon > slash);
    return tagged ? mem_string(name) : mem_printf("%s:latest", name);
}

static void forget_image(struct census *census, struct node_info *info, const char *name)
{
    char *normal = census_image_name(name);
    struct census_image *image = map_get(&census->images, normal);
    if (image && (size_t)info->slot < image->room && image->on[info->slot]) {
        image->on[info->slot] = 0;
        if (!--image->nodes) {
            map_remove(&census->images, normal);
            free(image->on);
            free(image);
        }
    }
    free(normal);
}

static void note_image(struct census *census, struct node_info *info, const char *name, int64_t size)
{
    char *normal = census_image_name(name);
    struct census_image *image = map_get(&census->images, normal);
    if (!image) {
        image = mem_zero(1, sizeof(*image));
        map_set(&census->images, normal, image);
    }
    if ((size_t)info->slot >= image->room) {
        size_t room = census->slots.count + census->slots.count / 2;
        image->on = mem_resize(image->on, room);
        memset(image->on + image->room, 0, room - image->room);
        image->room = room;
    }
    image->nodes += !image->on[info->slot];
    image->on[info->slot] = 1;
    image->size = size;
    free(normal);
}

static bool same_images(const struct object *a, const struct object *b)
{
    const struct container_image_array *x = &((const struct node *)a->value)->status.images;
    const struct container_image_array *y = &((const struct node *)b->value)->status.images;
    bool same = x->count == y->count;
    for (size_t i = 0; same && i < x->count; i++)
        same = api_equal(&api_type_container_image, &x->items[i], &y->items[i]);
    return same;
}

static void each_image(struct census *census, struct node_info *info, const struct object *node, bool add)
{
    const struct container_image_array *images = &((const struct node *)node->value)->status.images;
    for (size_t i = 0; i < images->count; i++)
        for (size_t n = 0; n < images->items[i].names.count; n++) {
            if (add)
                note_image(census, info, images->items[i].names.items[n], images->items[i].size_bytes);
            else
                forget_image(census, info, images->items[i].names.items[n]);
        }
}

static void update_images(struct census *census, struct node_info *info, struct object *old, struct object *fresh)
{
    if (old && fresh && same_images(old, fresh))
        return;
    if (old)
        each_image(census, info, old, false);
    if (fresh)
        each_image(census, info, fresh, true);
}

const struct census_image *census_image(const struct census *census, const char *name)
{
    return map_get(&census->images, name);
}

/* ---- Nodes ---- */

static bool same_labels(const struct object *a, const struct object *b)
{
    const struct string_map *x = &a->meta->labels, *y = &b->meta->labels;
    bool same = x->count == y->count;
    for (size_t i = 0; same && i < x->count; i++)
        same = strcmp(x->items[i].key, y->items[i].key) == 0 && strcmp(x->items[i].value, y->items[i].value) == 0;
    return same;
}

void census_node(struct census *census, const char *name, struct object *node)
{
    struct node_info *info = info_of(census, name);
    cleanup_object struct object *old = info->object ? object_ref(info->object) : NULL;
    update_images(census, info, old, node);
    node_info_set(info, node);
    if (!old != !node)
        census->order_stale = true;
    if (!old != !node || (node && !same_labels(old, node)))
        census_topologies_stale(census);
    if (!node)
        forget_node(census, info, name);
}

static int by_name(const void *a, const void *b)
{
    const struct node_info *const *x = a, *const *y = b;
    return strcmp((*x)->object->meta->name, (*y)->object->meta->name);
}

void census_refresh(struct census *census)
{
    census_topologies_sweep(census);
    if (!census->order_stale)
        return;
    census->order_stale = false;
    census->order.count = 0;
    for (size_t i = 0; i < census->slots.count; i++)
        if (census->slots.items[i] && census->slots.items[i]->object)
            vector_push(&census->order, census->slots.items[i]);
    if (census->order.count)
        qsort(census->order.items, census->order.count, sizeof(*census->order.items), by_name);
}

/* ---- Pods ---- */

static void take_out(struct census *census, struct placed *p)
{
    node_info_add_pod(p->node, p->pod->value, -1);
    census_count_pod(census, p, -1);
    list_remove(&p->link);
}

static void put_in(struct census *census, struct placed *p)
{
    node_info_add_pod(p->node, p->pod->value, 1);
    census_count_pod(census, p, 1);
    list_append(&p->node->residents, &p->link);
}

static struct placed *placed_new(struct census *census, struct object *pod, const char *node)
{
    struct placed *p = mem_zero(1, sizeof(*p));
    list_init(&p->link);
    p->pod = object_ref(pod);
    p->node = info_of(census, node);
    p->node_name = mem_string(node);
    census_carry(census, p);
    return p;
}

/* It counts no more. */
static void placed_free(struct census *census, struct placed *p)
{
    list_remove(&p->link);
    census_drop(census, p);
    forget_node(census, p->node, p->node_name);
    object_unref(p->pod);
    vector_free(&p->carries);
    free(p->node_name);
    free(p);
}

bool census_unplace(struct census *census, const char *uid)
{
    struct placed *p = map_remove(&census->placed, uid);
    if (!p)
        return false;
    take_out(census, p);
    placed_free(census, p);
    return true;
}

bool census_same_requests(const struct pod *a, const struct pod *b)
{
    struct resource_amounts x, y;
    pod_requests(a, &x);
    pod_requests(b, &y);
    for (int kind = 0; kind < RESOURCE_KINDS; kind++)
        if (x.of[kind] != y.of[kind])
            return false;
    return true;
}

/* Nothing that is counted, which is most of what happens to a pod on a node. */
static bool counts_alike(const struct object *a, const struct object *b)
{
    return a->meta->generation == b->meta->generation && !a->meta->deletion_timestamp == !b->meta->deletion_timestamp &&
           same_labels(a, b) && census_same_requests(a->value, b->value);
}

void census_place(struct census *census, struct object *pod, const char *node, bool assumed)
{
    struct placed *p = map_get(&census->placed, pod->meta->uid);
    if (p && strcmp(p->node_name, node) == 0 && counts_alike(p->pod, pod)) {
        struct object *old = p->pod;
        p->pod = object_ref(pod);
        p->assumed = assumed;
        object_unref(old);
        return;
    }
    census_unplace(census, pod->meta->uid);
    p = placed_new(census, pod, node);
    p->assumed = assumed;
    map_set(&census->placed, pod->meta->uid, p);
    put_in(census, p);
}

void census_nominate(struct census *census, struct object *pod, const char *node)
{
    struct placed *p = map_remove(&census->nominated, pod->meta->uid);
    if (p)
        placed_free(census, p);
    if (!node)
        return;
    p = placed_new(census, pod, node);
    p->suspended = true;
    list_append(&p->node->nominated, &p->link);
    map_set(&census->nominated, pod->meta->uid, p);
}

void census_suspend(struct census *census, struct placed *p)
{
    if (p->suspended)
        return;
    p->suspended = true;
    take_out(census, p);
    if (map_get(&census->nominated, p->pod->meta->uid) == p)
        list_append(&p->node->nominated, &p->link);
}

void census_resume(struct census *census, struct placed *p)
{
    if (!p->suspended)
        return;
    p->suspended = false;
    list_remove(&p->link);
    put_in(census, p);
}

void census_free(struct census *census)
{
    for (struct map_slot *slot; (slot = map_next(&census->placed, NULL));) {
        cleanup_free char *uid = mem_string(slot->key);
        census_unplace(census, uid);
    }
    for (struct map_slot *slot; (slot = map_next(&census->nominated, NULL));) {
        struct placed *p = slot->value;
        map_remove(&census->nominated, p->pod->meta->uid);
        placed_free(census, p);
    }
    for (struct map_slot *slot = NULL; (slot = map_next(&census->infos, slot));)
        node_info_free(slot->value);
    for (struct map_slot *slot = NULL; (slot = map_next(&census->images, slot));) {
        free(((struct census_image *)slot->value)->on);
        free(slot->value);
    }
    census_count_free(census);
    map_free(&census->placed);
    map_free(&census->nominated);
    map_free(&census->infos);
    map_free(&census->images);
    vector_free(&census->slots);
    vector_free(&census->order);
}
