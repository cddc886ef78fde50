/* The part of the node lifecycle controller that taints: a node that is short of something, not ready or not to be
 * scheduled to says so by a NoSchedule taint, which the scheduler heeds. */
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "control/controller.h"

/* Upstream's table of conditions and taints. */
static const struct {
    const char *condition, *status, *taint;
} by_condition[] = {
    {"Ready", "False", "node.kubernetes.io/not-ready"},
    {"Ready", "Unknown", "node.kubernetes.io/unreachable"},
    {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
    {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
    {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
    {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"},
};
#define TAINT_UNSCHEDULABLE "node.kubernetes.io/unschedulable"
#define NO_SCHEDULE "NoSchedule"

static bool holds(const struct node *node, const char *condition, const char *status)
{
    for (size_t i = 0; i < node->status.conditions.count; i++) {
        const struct node_condition *c = &node->status.conditions.items[i];
        if (strcmp(c->type, condition) == 0)
            return strcmp(c->status, status) == 0;
    }
    return false;
}

static bool is_wanted(const struct node *node, const char *taint)
{
    if (strcmp(taint, TAINT_UNSCHEDULABLE) == 0)
        return node->spec.unschedulable;
    for (size_t i = 0; i < ARRAY_COUNT(by_condition); i++)
        if (strcmp(by_condition[i].taint, taint) == 0)
            return holds(node, by_condition[i].condition, by_condition[i].status);
    return false;
}

static bool is_ours(const struct taint *t)
{
    if (!t->effect || strcmp(t->effect, NO_SCHEDULE) != 0)
        return false;
    if (strcmp(t->key, TAINT_UNSCHEDULABLE) == 0)
        return true;
    for (size_t i = 0; i < ARRAY_COUNT(by_condition); i++)
        if (strcmp(by_condition[i].taint, t->key) == 0)
            return true;
    return false;
}

static bool has_taint(const struct taint_array *taints, const char *key)
{
    for (size_t i = 0; i < taints->count; i++)
        if (strcmp(taints->items[i].key, key) == 0 && taints->items[i].effect &&
            strcmp(taints->items[i].effect, NO_SCHEDULE) == 0)
            return true;
    return false;
}

static void add(struct taint_array *taints, const char *key, int64_t now)
{
    if (!has_taint(taints, key))
        taints->items[taints->count++] = (struct taint){.key = key, .effect = NO_SCHEDULE, .time_added = now};
}

/* The node's taints as they should be; false: they are. */
static bool set_taints(struct node *node, struct arena *arena, int64_t now)
{
    const struct taint_array old = node->spec.taints;
    struct taint_array fresh = {arena_alloc(arena, (old.count + ARRAY_COUNT(by_condition) + 1) * sizeof(*fresh.items)),
                                0};
    bool removed = false;
    for (size_t i = 0; i < old.count; i++) {
        if (is_ours(&old.items[i]) && !is_wanted(node, old.items[i].key))
            removed = true;
        else
            fresh.items[fresh.count++] = old.items[i];
    }
    size_t kept = fresh.count;
    for (size_t i = 0; i < ARRAY_COUNT(by_condition); i++)
        if (is_wanted(node, by_condition[i].taint))
            add(&fresh, by_condition[i].taint, now);
    if (node->spec.unschedulable)
        add(&fresh, TAINT_UNSCHEDULABLE, now);
    node->spec.taints = fresh;
    return removed || fresh.count != kept;
}

static void node_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)old;
    if (change != INFORMER_DELETED)
        controller_enqueue(context, object->meta);
}

static struct informer *nodes_of(struct controller *c)
{
    return informer_set_get(c->informers, &api_resources[API_NODES]);
}

static void start(struct controller *c)
{
    informer_add_handler(nodes_of(c), node_changed, c);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct object *object = informer_get(nodes_of(c), NULL, work_name(work));
    if (!object || object->meta->deletion_timestamp)
        return;
    struct arena *arena = work_arena(work);
    struct node *node = object_copy(arena, object);
    if (set_taints(node, arena, env_now(c->env) / SECOND * SECOND))
        work_update(work, &api_resources[API_NODES], NULL, node, NULL, NULL);
}

const struct controller_kind node_lifecycle_controller = {
    .name = "node-controller", .queue = "node_lifecycle_controller", .start = start, .reconcile = reconcile};
