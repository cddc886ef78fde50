/* Taint eviction: pods on a node with a NoExecute taint that they do not tolerate are deleted, at once, or when the
 * shortest tolerationSeconds of the tolerations that they use are over. The clock of a pod starts when its node gets the
 * taint, and is not set anew by further taints. */
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/toleration.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/timestamp.h"
#include "control/controller.h"

#define NO_EXECUTE "NoExecute"
#define EVENT "TaintManagerEviction"

struct taint_eviction {
    int by_node; /* index of pods */
    struct map planned; /* pod uid -> struct planned */
};

/* A pod that has to go. */
struct planned {
    int64_t at; /* monotonic */
    bool done;  /* it is being deleted */
};

static struct informer *pods_of(struct controller *c)
{
    return informer_set_get(c->informers, &api_resources[API_PODS]);
}

static struct informer *nodes_of(struct controller *c)
{
    return informer_set_get(c->informers, &api_resources[API_NODES]);
}

static const char *node_name(const struct object *pod)
{
    const char *name = ((const struct pod *)pod->value)->spec.node_name;
    return name && *name ? name : NULL;
}

static bool index_by_node(struct object *object, char *out, size_t size)
{
    const char *name = node_name(object);
    if (!name || strlen(name) >= size)
        return false;
    strcpy(out, name);
    return true;
}

static bool is_no_execute(const struct taint *t)
{
    return t->effect && strcmp(t->effect, NO_EXECUTE) == 0;
}

static bool has_no_execute(const struct node *node)
{
    for (size_t i = 0; i < node->spec.taints.count; i++)
        if (is_no_execute(&node->spec.taints.items[i]))
            return true;
    return false;
}

static bool enqueue(void *context, struct object *object)
{
    controller_enqueue(context, object->meta);
    return true;
}

static bool same_taints(const struct node *a, const struct node *b)
{
    bool same = a->spec.taints.count == b->spec.taints.count;
    for (size_t i = 0; same && i < a->spec.taints.count; i++)
        same = api_equal(&api_type_taint, &a->spec.taints.items[i], &b->spec.taints.items[i]);
    return same;
}

static void node_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    const struct node *now = object->value, *was = old ? old->value : NULL;
    if (change == INFORMER_UPDATED && was && same_taints(was, now))
        return;
    if (has_no_execute(now) || (was && has_no_execute(was)))
        informer_each_indexed(pods_of(c), ((struct taint_eviction *)c->state)->by_node, object->meta->name, enqueue, c);
}

static void pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct controller *c = context;
    struct taint_eviction *state = c->state;
    const char *node = node_name(object);
    if (change == INFORMER_DELETED) {
        free(map_remove(&state->planned, object->meta->uid));
        return;
    }
    /* A pod's tolerations are part of its spec. */
    if (!node || (old && node_name(old) && old->meta->generation == object->meta->generation))
        return;
    const struct object *on = informer_get(nodes_of(c), NULL, node);
    if (map_has(&state->planned, object->meta->uid) || (on && has_no_execute(on->value)))
        controller_enqueue(c, object->meta);
}

static void start(struct controller *c)
{
    struct taint_eviction *state = c->state = mem_zero(1, sizeof(*state));
    state->by_node = informer_add_index(pods_of(c), index_by_node);
    informer_add_handler(pods_of(c), pod_changed, c);
    informer_add_handler(nodes_of(c), node_changed, c);
}

static void stop(struct controller *c)
{
    struct taint_eviction *state = c->state;
    for (struct map_slot *s = NULL; (s = map_next(&state->planned, s));)
        free(s->value);
    map_free(&state->planned);
    free(state);
}

/* How long the pod may stay, in microseconds: -1 for good. */
static int64_t time_left(const struct pod *pod, const struct node *node)
{
    int64_t least = INT64_MAX;
    for (size_t i = 0; node && i < node->spec.taints.count; i++) {
        const struct taint *t = &node->spec.taints.items[i];
        if (!is_no_execute(t))
            continue;
        const struct toleration *by = toleration_find(&pod->spec, t->key, t->value, t->effect);
        if (!by)
            return 0;
        if (by->toleration_seconds.set)
            least = by->toleration_seconds.value < least ? by->toleration_seconds.value : least;
    }
    if (least == INT64_MAX)
        return -1;
    return least <= 0 ? 0 : least > INT64_MAX / SECOND / 2 ? -1 : least * SECOND;
}

static void tell(struct controller *c, const struct object_meta *pod, const char *what)
{
    recorder_event(c->recorder, &api_resources[API_PODS], pod, NULL, "Normal", EVENT, "%s Pod %s/%s", what,
                   pod->namespace, pod->name);
}

static void cancel(struct controller *c, const struct object_meta *pod)
{
    struct taint_eviction *state = c->state;
    struct planned *planned = map_get(&state->planned, pod->uid);
    if (!planned || planned->done)
        return;
    free(map_remove(&state->planned, pod->uid));
    tell(c, pod, "Cancelling deletion of");
}

struct departure {
    struct work *work;
    const struct object *pod;
};

static void marked(void *context, const struct client_result *result)
{
    const struct departure *e = context;
    if (client_ok(result))
        work_delete(e->work, e->pod->resource, e->pod->meta, NULL, NULL, NULL);
}

static void evict(struct controller *c, struct work *work, struct object *pod)
{
    struct arena *arena = work_arena(work);
    struct departure *e = arena_alloc(arena, sizeof(*e));
    char time[TIME_TEXT_MAX];
    *e = (struct departure){work, pod};
    work_hold(work, pod);
    time_format(env_now(c->env), time);
    work_patch(work, pod->resource, "status", pod->meta, PATCH_STRATEGIC,
               arena_printf(arena,
                            "{\"status\":{\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":"
                            "\"DeletionByTaintManager\",\"message\":\"Taint manager: deleting due to NoExecute taint\","
                            "\"observedGeneration\":%lld,\"lastTransitionTime\":\"%s\"}]}}",
                            (long long)pod->meta->generation, time),
               marked, e);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct taint_eviction *state = c->state;
    struct object *pod = informer_get(pods_of(c), work_namespace(work), work_name(work));
    const char *name = pod ? node_name(pod) : NULL;
    if (!name || pod->meta->deletion_timestamp)
        return;
    const struct object *node = informer_get(nodes_of(c), NULL, name);
    int64_t left = time_left(pod->value, node ? node->value : NULL), now = env_monotonic(c->env);
    if (left < 0) {
        cancel(c, pod->meta);
        return;
    }
    struct planned *planned = map_get(&state->planned, pod->meta->uid);
    if (left == 0 && planned && planned->at > now)
        cancel(c, pod->meta);
    planned = map_get(&state->planned, pod->meta->uid);
    if (!planned) {
        planned = mem_zero(1, sizeof(*planned));
        planned->at = now + left;
        map_set(&state->planned, pod->meta->uid, planned);
    }
    if (planned->at > now) {
        work_again_after(work, planned->at - now);
        return;
    }
    if (!planned->done)
        tell(c, pod->meta, "Marking for deletion");
    planned->done = true;
    evict(c, work, pod);
}

const struct controller_kind taint_eviction_controller = {.name = "taint-eviction-controller",
                                                          .queue = "noexec_taint_pod",
                                                          .start = start,
                                                          .reconcile = reconcile,
                                                          .stop = stop};
