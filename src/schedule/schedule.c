/* The scheduler: what it learns from informers, one attempt after the other, and bindings. An attempt filters and
 * scores nodes, assumes the pod on the best one, and binds it. A pod that fits nowhere is told why, may make others
 * leave, and waits for something that could help. */
#include "schedule/schedule.h"

#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/pod_condition.h"
#include "base/cleanup.h"
#include "base/env.h"
#include "base/text.h"
#include "schedule/private.h"

/* Attempts in one turn of the loop. */
#define TURN_MAX 256

static void turn(void *context);

void scheduler_arrange_turn(struct scheduler *s)
{
    if (s->turn_arranged || !s->open)
        return;
    s->turn_arranged = true;
    env_defer(s->env, turn, s);
}

/* ---- Events ---- */

static void pod_event(struct scheduler *s, enum schedule_event event, const struct object *object,
                      const struct object *old)
{
    if (!list_empty(&s->unschedulable))
        queue_stir(s, &(struct schedule_change){.event = event, .pod = object->value, .old = old ? old->value : NULL});
}

void scheduler_unplace(struct scheduler *s, const char *uid)
{
    const struct placed *p = map_get(&s->census.placed, uid);
    if (!p)
        return;
    cleanup_object struct object *pod = object_ref(p->pod);
    if (census_unplace(&s->census, uid))
        pod_event(s, EVENT_POD_GONE, pod, NULL);
}

void scheduler_forget(struct pending *p)
{
    evict_nominate(p, NULL);
    if (p->where == IN_CLAIMS)
        claims_give_up(p);
    pending_free(p);
}

static bool is_ours(const struct pod *pod)
{
    return !pod->spec.scheduler_name || strcmp(pod->spec.scheduler_name, SCHEDULER_NAME) == 0;
}

static const char *nominated_node(const struct object *pod)
{
    const char *name = ((const struct pod *)pod->value)->status.nominated_node_name;
    return name && *name ? name : NULL;
}

static void pod_waits(struct scheduler *s, struct object *object)
{
    struct pending *p = pending_of(s, object->meta->uid);
    if (!p) {
        queue_activate(pending_new(s, object));
        return;
    }
    cleanup_object struct object *old = p->pod;
    p->pod = object_ref(object);
    /* Somebody else may nominate, too. */
    if (!text_equal(nominated_node(old), nominated_node(object)))
        evict_nominate(p, nominated_node(object));
    if (old->meta->generation != object->meta->generation ||
        !string_map_equal(&old->meta->labels, &object->meta->labels))
        queue_requeue(p);
}

/* The pod counts on a node: what is new about it? */
static void pod_stays(struct scheduler *s, struct object *object, const char *node)
{
    const struct placed *p = map_get(&s->census.placed, object->meta->uid);
    cleanup_object struct object *was = p ? object_ref(p->pod) : NULL;
    census_place(&s->census, object, node, false);
    if (!was) {
        pod_event(s, EVENT_POD_ADDED, object, NULL);
        return;
    }
    if (!string_map_equal(&was->meta->labels, &object->meta->labels))
        pod_event(s, EVENT_POD_LABELS, object, was);
    if (!was->meta->deletion_timestamp && object->meta->deletion_timestamp)
        pod_event(s, EVENT_POD_ENDING, object, was);
    if (!list_empty(&s->unschedulable) && !census_same_requests(was->value, object->value))
        pod_event(s, EVENT_POD_SCALED, object, was);
}

static void pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct scheduler *s = context;
    const struct pod *pod = object->value;
    const char *node = pod->spec.node_name && *pod->spec.node_name ? pod->spec.node_name : NULL;
    bool gone = change == INFORMER_DELETED || pod_has_ended(pod);
    struct pending *p = pending_of(s, object->meta->uid);
    (void)old;
    if (gone || node) {
        if (p && p->where != IN_BINDING)
            scheduler_forget(p);
        if (!gone)
            pod_stays(s, object, node);
        else
            scheduler_unplace(s, object->meta->uid);
        return;
    }
    /* Bound already: this is news from before that. */
    if (!p && map_has(&s->census.placed, object->meta->uid))
        return;
    if (is_ours(pod) && !object->meta->deletion_timestamp && !pod->spec.scheduling_gates.count)
        pod_waits(s, object);
    else if (p && p->where != IN_BINDING)
        scheduler_forget(p);
}

static bool same_taints(const struct node *a, const struct node *b)
{
    bool same = a->spec.taints.count == b->spec.taints.count && a->spec.unschedulable == b->spec.unschedulable;
    for (size_t i = 0; same && i < a->spec.taints.count; i++)
        same = api_equal(&api_type_taint, &a->spec.taints.items[i], &b->spec.taints.items[i]);
    return same;
}

static void node_event(struct scheduler *s, enum schedule_event event, const char *name)
{
    if (!list_empty(&s->unschedulable))
        queue_stir(s, &(struct schedule_change){.event = event, .node = census_node_of(&s->census, name)});
}

/* Heartbeats help nobody: only what a plugin looks at does. */
static void node_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct scheduler *s = context;
    const char *name = object->meta->name;
    const struct node *now = object->value, *was = old ? old->value : NULL;
    census_node(&s->census, name, change == INFORMER_DELETED ? NULL : object);
    if (change == INFORMER_DELETED || !was) {
        node_event(s, change == INFORMER_DELETED ? EVENT_NODE_GONE : EVENT_NODE_ADDED, name);
        return;
    }
    if (!string_map_equal(&was->metadata.labels, &now->metadata.labels))
        node_event(s, EVENT_NODE_LABELS, name);
    if (!same_taints(was, now))
        node_event(s, EVENT_NODE_TAINTS, name);
    if (!string_map_equal(&was->status.allocatable, &now->status.allocatable))
        node_event(s, EVENT_NODE_ALLOCATABLE, name);
}

static void namespace_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct scheduler *s = context;
    if (change == INFORMER_UPDATED && old && string_map_equal(&old->meta->labels, &object->meta->labels))
        return;
    census_namespace_changed(&s->census);
    queue_stir_all(s, EVENT_NAMESPACE);
}

/* ---- Binding ---- */

static void bound(void *context, const struct client_result *result)
{
    struct pending *p = context;
    struct scheduler *s = p->scheduler;
    s->binding--;
    p->where = IN_NONE;
    if (client_ok(result)) {
        recorder_event(s->recorder, p->pod->resource, p->pod->meta, NULL, "Normal", "Scheduled",
                       "Successfully assigned %s/%s to %s", p->pod->meta->namespace, p->pod->meta->name, p->node);
        scheduler_forget(p);
        return;
    }
    const struct placed *placed = map_get(&s->census.placed, p->uid);
    if (placed && !placed->assumed) {
        scheduler_forget(p); /* the informer shows it bound */
        return;
    }
    scheduler_unplace(s, p->uid);
    if (result->code == 404 || result->code == 409) {
        /* Gone, or bound by somebody else: the informer brings what it is now. */
        struct object *now = informer_get(s->pods, p->pod->meta->namespace, p->pod->meta->name);
        bool waits = now && strcmp(now->meta->uid, p->uid) == 0 && !now->meta->deletion_timestamp &&
                     !((const struct pod *)now->value)->spec.node_name;
        if (!waits) {
            scheduler_forget(p);
            return;
        }
    }
    queue_retry(p);
}

void scheduler_bind(struct pending *p, const char *node)
{
    struct scheduler *s = p->scheduler;
    struct client_request *r =
        client_request_new(CLIENT_CREATE, p->pod->resource, p->pod->meta->namespace, p->pod->meta->name);
    struct binding *binding = arena_alloc(r->arena, sizeof(*binding));
    binding->metadata.namespace = arena_string(r->arena, p->pod->meta->namespace);
    binding->metadata.name = arena_string(r->arena, p->pod->meta->name);
    binding->metadata.uid = arena_string(r->arena, p->uid);
    binding->target.kind = "Node";
    binding->target.name = arena_string(r->arena, node);
    r->subresource = "binding";
    r->body = binding;
    list_remove(&p->link);
    p->where = IN_BINDING;
    free(p->node);
    p->node = mem_string(node);
    s->binding++;
    evict_nominate(p, NULL);
    census_place(&s->census, p->pod, node, true);
    pod_event(s, EVENT_POD_ADDED, p->pod, NULL);
    client_submit(s->client, r, bound, p);
}

/* ---- One attempt ---- */

static void fail(struct pending *p, struct schedule_pod *pod, const struct schedule_tally *tally)
{
    struct scheduler *s = p->scheduler;
    struct preemption preemption = {.node = NULL};
    bool nominated_changed = false;
    if (tally->nodes)
        preempt_decide(pod, s->env, tally, &preemption);
    queue_park(p, tally->rejected_by);
    if (preemption.node) {
        evict_begin(p, &preemption);
        nominated_changed = evict_nominate(p, preemption.node->object->meta->name);
    } else if (!preemption.keeps_node) {
        nominated_changed = evict_nominate(p, NULL);
    }
    report_failure(p, schedule_explain(pod->arena, tally, preemption.why), nominated_changed);
}

static void attempt(struct pending *p)
{
    struct scheduler *s = p->scheduler;
    cleanup_arena struct arena *arena = arena_new(0);
    struct schedule_pod pod = {.pod = p->pod->value,
                               .census = &s->census,
                               .book = &s->book,
                               .services = s->services,
                               .replica_sets = s->replica_sets,
                               .nominated = p->nominated,
                               .arena = arena};
    struct schedule_tally tally = {.nodes = 0};
    struct node_info *node = NULL;
    p->attempts++;
    census_refresh(&s->census);
    tally.nodes = s->census.order.count;
    if (schedule_prepare(&pod, &tally))
        node = schedule_choose(&pod, s->env, &s->next_node, &tally);
    if (node)
        claims_settle(p, &pod, node->object);
    else
        fail(p, &pod, &tally);
    schedule_tally_free(&tally);
}

static void scheduler_release(struct scheduler *s);

static void turn(void *context)
{
    struct scheduler *s = context;
    struct pending *p;
    s->turn_arranged = false;
    if (s->freed) {
        scheduler_release(s);
        return;
    }
    for (int n = 0; n < TURN_MAX && (p = queue_take(s)); n++)
        attempt(p);
    if (queue_has_more(s))
        scheduler_arrange_turn(s);
}

/* ---- */

static void open_queue(void *context)
{
    struct scheduler *s = context;
    s->open = true;
    if (queue_has_more(s))
        scheduler_arrange_turn(s);
}

struct scheduler *scheduler_new(struct client *client, struct informer_set *informers)
{
    struct scheduler *s = mem_zero(1, sizeof(*s));
    struct informer *namespaces = informer_set_get(informers, &api_resources[API_NAMESPACES]);
    s->client = client;
    s->env = client->env;
    s->recorder = recorder_new(client, SCHEDULER_NAME, NULL);
    list_init(&s->active);
    list_init(&s->backoff);
    list_init(&s->unschedulable);
    list_init(&s->waiting);
    s->informers = informers;
    informer_set_when_synced(informers, open_queue, s);
    s->pods = informer_set_get(informers, &api_resources[API_PODS]);
    s->nodes = informer_set_get(informers, &api_resources[API_NODES]);
    s->services = informer_set_get(informers, &api_resources[API_SERVICES]);
    s->replica_sets = informer_set_get(informers, &api_resources[API_REPLICASETS]);
    census_init(&s->census, namespaces);
    informer_add_handler(s->pods, pod_changed, s);
    informer_add_handler(s->nodes, node_changed, s);
    informer_add_handler(namespaces, namespace_changed, s);
    claims_start(s);
    return s;
}

static void scheduler_release(struct scheduler *s)
{
    volume_book_free(&s->book);
    s->book.taken = s->book.chosen = (struct map){0};
    for (struct map_slot *slot; (slot = map_next(&s->pendings, NULL));)
        pending_free(slot->value);
    map_free(&s->pendings);
    census_free(&s->census);
    recorder_free(s->recorder);
    free(s);
}

void scheduler_free(struct scheduler *s)
{
    if (!s)
        return;
    informer_set_forget(s->informers, s);
    /* A turn that is arranged still comes, and releases it then. */
    s->freed = true;
    if (!s->turn_arranged)
        scheduler_release(s);
}

size_t scheduler_depth(const struct scheduler *s)
{
    size_t n = s->binding;
    for (const struct list *l = s->active.next; l != &s->active; l = l->next)
        n++;
    return n;
}

static bool count_gated(void *context, struct object *object)
{
    struct scheduler_pending *out = context;
    const struct pod *pod = object->value;
    out->gated += is_ours(pod) && text_empty(pod->spec.node_name) && pod->spec.scheduling_gates.count > 0 &&
                  !pod_has_ended(pod) && !object->meta->deletion_timestamp;
    return true;
}

void scheduler_count(const struct scheduler *s, struct scheduler_pending *out)
{
    *out = (struct scheduler_pending){0};
    informer_each(s->pods, NULL, count_gated, out);
    for (struct map_slot *slot = NULL; (slot = map_next(&s->pendings, slot));) {
        enum where where = ((const struct pending *)slot->value)->where;
        out->active += where == IN_ACTIVE;
        out->backoff += where == IN_BACKOFF;
        out->unschedulable += where == IN_UNSCHEDULABLE;
    }
}
