/* The scheduler. Pods without a node wait in the active list, by priority and age; one attempt filters and scores all
 * nodes, assumes the pod there, and binds it. A pod that fits nowhere is told why and waits for a change: a node that
 * changed, a pod that went. */
#include "schedule/schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/pod_condition.h"
#include "api/storage.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/env.h"
#include "base/list.h"
#include "base/timestamp.h"
#include "base/vector.h"
#include "client/recorder.h"
#include "schedule/plugin.h"
#include "schedule/volume_binding.h"

#define NAME "default-scheduler"
/* Upstream's backoff between attempts: 1 s doubling to 10 s. */
#define BACKOFF_FIRST (1 * INT64_C(1000000))
#define BACKOFF_MAX (10 * INT64_C(1000000))
/* Unschedulable pods are tried again after so long, even if nothing has changed. */
#define UNSCHEDULABLE_MAX (300 * INT64_C(1000000))
/* Of clusters with more nodes, at least so many that fit are compared. */
#define NODES_TO_FIND_MIN 100
/* A pod that has a node waits so long for its claims to be bound there, as upstream's bindTimeout. */
#define CLAIMS_TIMEOUT (600 * INT64_C(1000000))
/* Attempts in one turn of the loop. */
#define TURN_MAX 256

enum where { IN_NONE, IN_ACTIVE, IN_UNSCHEDULABLE, IN_CLAIMS, IN_BINDING };

/* A pod without a node. */
struct pending {
    struct list link;
    struct scheduler *scheduler;
    struct object *pod;
    char *uid;
    enum where where;
    struct env_timer *timer; /* backoff, or the end of UNSCHEDULABLE_MAX or CLAIMS_TIMEOUT */
    int attempts;
    int64_t backoff_until; /* monotonic: not tried again before */
    char *node;            /* where it is being bound */
    /* Of IN_CLAIMS: writes that are not answered, and the newest revisions of the others. */
    size_t claims_unwritten;
    uint64_t claims_revision, volumes_revision;
};

/* A pod that counts on a node, bound or assumed. */
struct placed {
    struct object *pod;
    char *node;
    bool assumed;
};

struct scheduler {
    struct client *client;
    struct env *env;
    struct recorder *recorder;
    struct informer *pods, *nodes;
    struct map infos;   /* node name -> struct node_info */
    struct map placed;  /* pod uid -> struct placed */
    struct map pendings; /* pod uid -> struct pending */
    VECTOR(struct node_info *) order; /* nodes that have an object, in the order of their names */
    struct list active, unschedulable;
    struct list waiting; /* for their claims, on a node that has been chosen */
    struct volume_book book;
    size_t next_node; /* in order: where the last attempt ended */
    bool open;        /* the informers are synced */
    bool turn_arranged, freed, order_stale;
    struct informer_set *informers;
    size_t binding;
};

/* ---- Nodes and what is on them ---- */

static struct node_info *info_of(struct scheduler *s, const char *name)
{
    struct node_info *info = map_get(&s->infos, name);
    if (!info) {
        info = mem_zero(1, sizeof(*info));
        map_set(&s->infos, name, info);
    }
    return info;
}

/* A node that is gone is remembered as long as there are pods on it. */
static void forget_node(struct scheduler *s, struct node_info *info, const char *name)
{
    if (info->object || info->pods)
        return;
    map_remove(&s->infos, name);
    node_info_free(info);
}

static void unplace(struct scheduler *s, const char *uid)
{
    struct placed *p = map_remove(&s->placed, uid);
    if (!p)
        return;
    struct node_info *info = info_of(s, p->node);
    node_info_add_pod(info, p->pod->value, -1);
    forget_node(s, info, p->node);
    object_unref(p->pod);
    free(p->node);
    free(p);
}

static void place(struct scheduler *s, struct object *pod, const char *node, bool assumed)
{
    unplace(s, pod->meta->uid);
    struct placed *p = mem_zero(1, sizeof(*p));
    p->pod = object_ref(pod);
    p->node = mem_string(node);
    p->assumed = assumed;
    map_set(&s->placed, pod->meta->uid, p);
    node_info_add_pod(info_of(s, node), pod->value, 1);
}

static int by_name(const void *a, const void *b)
{
    const struct node_info *const *x = a, *const *y = b;
    return strcmp((*x)->object->meta->name, (*y)->object->meta->name);
}

static void refresh_order(struct scheduler *s)
{
    if (!s->order_stale)
        return;
    s->order_stale = false;
    s->order.count = 0;
    for (struct map_slot *slot = NULL; (slot = map_next(&s->infos, slot));)
        if (((struct node_info *)slot->value)->object)
            vector_push(&s->order, slot->value);
    if (s->order.count)
        qsort(s->order.items, s->order.count, sizeof(*s->order.items), by_name);
}

/* ---- The queue ---- */

static void turn(void *context);

static void arrange_turn(struct scheduler *s)
{
    if (s->turn_arranged || !s->open)
        return;
    s->turn_arranged = true;
    env_defer(s->env, turn, s);
}

static int32_t priority(const struct pending *p)
{
    return ((const struct pod *)p->pod->value)->spec.priority.value;
}

static void activate(struct pending *p)
{
    struct scheduler *s = p->scheduler;
    struct list *before = &s->active;
    if (p->where == IN_BINDING || p->where == IN_ACTIVE || p->where == IN_CLAIMS)
        return;
    list_remove(&p->link);
    p->where = IN_ACTIVE;
    /* Behind all of at least its priority. Most pods have the same, so the walk is short. */
    while (before->previous != &s->active && priority(list_entry(before->previous, struct pending, link)) < priority(p))
        before = before->previous;
    list_append(before, &p->link);
    arrange_turn(s);
}

static void claims_failed(struct pending *p, const char *why);

static void timer_fired(void *context)
{
    struct pending *p = context;
    if (p->where == IN_CLAIMS)
        claims_failed(p, "timed out waiting for the condition");
    else
        activate(p);
}

static int64_t backoff(const struct pending *p)
{
    int64_t delay = BACKOFF_FIRST;
    for (int i = 1; i < p->attempts && delay < BACKOFF_MAX; i++)
        delay *= 2;
    return delay < BACKOFF_MAX ? delay : BACKOFF_MAX;
}

/* Not to be tried again for a while after this attempt. */
static void back_off(struct pending *p)
{
    p->backoff_until = env_monotonic(p->scheduler->env) + backoff(p);
}

static int64_t backoff_left(const struct pending *p)
{
    int64_t left = p->backoff_until - env_monotonic(p->scheduler->env);
    return left > 0 ? left : 0;
}

/* The node that was promised is free again. */
static void give_up_claims(struct pending *p)
{
    volume_book_forget(&p->scheduler->book, p->pod->value);
    unplace(p->scheduler, p->uid);
    p->where = IN_NONE;
}

static void forget(struct pending *p)
{
    struct scheduler *s = p->scheduler;
    if (p->where == IN_CLAIMS)
        give_up_claims(p);
    list_remove(&p->link);
    map_remove(&s->pendings, p->uid);
    env_timer_free(p->timer);
    object_unref(p->pod);
    free(p->uid);
    free(p->node);
    free(p);
}

static void park(struct pending *p, int64_t delay)
{
    list_remove(&p->link);
    p->where = IN_UNSCHEDULABLE;
    list_append(&p->scheduler->unschedulable, &p->link);
    env_timer_start(p->timer, delay);
}

/* Something has changed for the better: those that fitted nowhere are tried again, after their backoff. */
static void stir(struct scheduler *s)
{
    struct pending *p;
    list_for_each(&s->unschedulable, p, link) env_timer_start(p->timer, backoff_left(p));
}

/* ---- Events ---- */

static bool is_ours(const struct pod *pod)
{
    return !pod->spec.scheduler_name || strcmp(pod->spec.scheduler_name, NAME) == 0;
}

static void pod_waits(struct scheduler *s, struct object *object)
{
    struct pending *p = map_get(&s->pendings, object->meta->uid);
    if (!p) {
        p = mem_zero(1, sizeof(*p));
        p->scheduler = s;
        p->uid = mem_string(object->meta->uid);
        p->timer = env_timer_new(s->env, timer_fired, p);
        list_init(&p->link);
        p->pod = object_ref(object);
        map_set(&s->pendings, p->uid, p);
        activate(p);
        return;
    }
    const struct object_meta *old = p->pod->meta;
    bool changed = old->generation != object->meta->generation;
    object_unref(p->pod);
    p->pod = object_ref(object);
    if (changed && p->where == IN_UNSCHEDULABLE)
        env_timer_start(p->timer, backoff_left(p));
}

static void pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct scheduler *s = context;
    const struct pod *pod = object->value;
    const char *node = pod->spec.node_name && *pod->spec.node_name ? pod->spec.node_name : NULL;
    bool gone = change == INFORMER_DELETED || pod_has_ended(pod);
    struct pending *p = map_get(&s->pendings, object->meta->uid);
    (void)old;
    if (gone || node) {
        if (p && p->where != IN_BINDING)
            forget(p);
        if (!gone) {
            place(s, object, node, false);
        } else if (map_has(&s->placed, object->meta->uid)) {
            unplace(s, object->meta->uid);
            stir(s);
        }
        return;
    }
    /* Bound already: this is news from before that. */
    if (!p && map_has(&s->placed, object->meta->uid))
        return;
    if (is_ours(pod) && !object->meta->deletion_timestamp && !pod->spec.scheduling_gates.count)
        pod_waits(s, object);
    else if (p && p->where != IN_BINDING)
        forget(p);
}

/* True when the change may make room for a pod: not for heartbeats. As upstream's queueing hints. */
static bool node_differs(const struct node *a, const struct node *b)
{
    bool taints = a->spec.taints.count == b->spec.taints.count;
    for (size_t i = 0; taints && i < a->spec.taints.count; i++)
        taints = api_equal(&api_type_taint, &a->spec.taints.items[i], &b->spec.taints.items[i]);
    return !taints || a->spec.unschedulable != b->spec.unschedulable ||
           !string_map_equal(&a->status.allocatable, &b->status.allocatable) ||
           !string_map_equal(&a->metadata.labels, &b->metadata.labels);
}

static void node_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct scheduler *s = context;
    struct node_info *info = info_of(s, object->meta->name);
    node_info_set(info, change == INFORMER_DELETED ? NULL : object);
    s->order_stale |= change != INFORMER_UPDATED;
    if (change == INFORMER_DELETED)
        forget_node(s, info, object->meta->name);
    else if (!old || node_differs(old->value, object->value))
        stir(s);
}

/* ---- One attempt ---- */

struct tally {
    struct map reasons;   /* text -> count */
    const char *of_all;   /* why no node will do, whichever it is */
    size_t nodes, unresolvable;
};

static void count_reasons(struct tally *tally, const struct schedule_verdict *verdict)
{
    for (size_t i = 0; i < verdict->count; i++)
        map_set(&tally->reasons, verdict->reasons[i],
                (void *)((intptr_t)map_get(&tally->reasons, verdict->reasons[i]) + 1));
    tally->unresolvable += verdict->unresolvable;
}

/* Completes the pod. False when no node will do. */
static bool prepare(struct schedule_pod *pod, struct tally *tally)
{
    schedule_pod_prepare(pod);
    for (const struct schedule_plugin *p = schedule_plugins; p->name; p++) {
        struct schedule_verdict verdict = {.count = 0};
        if (p->prefilter)
            p->prefilter(pod, &verdict);
        if (verdict.count) {
            tally->of_all = verdict.reasons[0];
            return false;
        }
    }
    return true;
}

static bool fits(const struct schedule_pod *pod, const struct node_info *node, struct tally *tally)
{
    for (const struct schedule_plugin *p = schedule_plugins; p->name; p++) {
        struct schedule_verdict verdict = {.count = 0};
        if (!p->filter)
            continue;
        p->filter(pod, node, &verdict);
        if (verdict.count) {
            count_reasons(tally, &verdict);
            return false;
        }
    }
    return true;
}

static int64_t score(const struct schedule_pod *pod, const struct node_info *node)
{
    int64_t sum = 0;
    for (const struct schedule_plugin *p = schedule_plugins; p->name; p++)
        if (p->score)
            sum += p->score(pod, node) * p->weight;
    return sum;
}

/* So many nodes that fit are enough to choose from: upstream's adaptive percentageOfNodesToScore. */
static size_t nodes_to_find(size_t nodes)
{
    size_t percentage = nodes / 125 < 45 ? 50 - nodes / 125 : 5;
    size_t wanted = nodes * percentage / 100;
    return nodes < NODES_TO_FIND_MIN ? nodes : wanted < NODES_TO_FIND_MIN ? NODES_TO_FIND_MIN : wanted;
}

/* The best node of those that are looked at, one at random among equals, or NULL with the tally of reasons. The next
 * attempt starts where this one ends, so that all nodes have their turn. */
static struct node_info *choose(struct scheduler *s, const struct schedule_pod *pod, struct tally *tally)
{
    struct node_info *best = NULL;
    int64_t best_score = -1;
    uint64_t equals = 0;
    size_t left = nodes_to_find(s->order.count);
    for (size_t i = 0; i < s->order.count && left; i++) {
        s->next_node = s->next_node + 1 < s->order.count ? s->next_node + 1 : 0;
        struct node_info *node = s->order.items[s->next_node];
        if (!fits(pod, node, tally))
            continue;
        left--;
        int64_t now = score(pod, node);
        if (now > best_score) {
            best = node;
            best_score = now;
            equals = 1;
        } else if (now == best_score && env_random(s->env) % ++equals == 0) {
            best = node;
        }
    }
    return best;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Upstream's sentence: counts per reason, sorted, and what preemption could do about it. */
static const char *explain(struct arena *arena, const struct tally *tally)
{
    if (!tally->nodes)
        return "no nodes available to schedule pods";
    cleanup_buffer struct buffer out = {0};
    char *parts[tally->reasons.count + 1];
    size_t n = 0;
    for (struct map_slot *slot = NULL; (slot = map_next(&tally->reasons, slot));)
        parts[n++] = arena_printf(arena, "%ld %s", (long)(intptr_t)slot->value, slot->key);
    qsort(parts, n, sizeof(parts[0]), by_text);
    buffer_printf(&out, "0/%zu nodes are available: %s", tally->nodes, tally->of_all ? tally->of_all : "");
    for (size_t i = 0; i < n; i++)
        buffer_printf(&out, "%s%s", i ? ", " : "", parts[i]);
    buffer_printf(&out, ". no new claims to deallocate, preemption: 0/%zu nodes are available: ", tally->nodes);
    size_t resolvable = tally->nodes - tally->unresolvable;
    if (resolvable)
        buffer_printf(&out, "%zu No preemption victims found for incoming pod%s", resolvable,
                      tally->unresolvable ? ", " : "");
    if (tally->unresolvable)
        buffer_printf(&out, "%zu Preemption is not helpful for scheduling", tally->unresolvable);
    buffer_add_char(&out, '.');
    return arena_string(arena, out.data);
}

/* ---- Reporting ---- */

/* Writes the condition PodScheduled, unless it says so already, by a patch that touches nothing else. */
static void report(struct pending *p, const char *message)
{
    struct scheduler *s = p->scheduler;
    const struct object_meta *meta = p->pod->meta;
    const struct pod_condition_array *conditions = &((const struct pod *)p->pod->value)->status.conditions;
    int64_t since = env_now(s->env);
    recorder_event(s->recorder, p->pod->resource, meta, NULL, "Warning", "FailedScheduling", "%s", message);
    for (size_t i = 0; i < conditions->count; i++) {
        const struct pod_condition *c = &conditions->items[i];
        if (strcmp(c->type, "PodScheduled") != 0 || strcmp(c->status, "False") != 0)
            continue;
        if (c->message && strcmp(c->message, message) == 0)
            return;
        since = c->last_transition_time;
    }
    char time[TIME_TEXT_MAX];
    time_format(since, time);
    cleanup_buffer struct buffer patch = {0};
    buffer_printf(&patch, "{\"metadata\":{\"uid\":\"%s\"},\"status\":{\"conditions\":[{\"type\":\"PodScheduled\","
                  "\"status\":\"False\",\"reason\":\"Unschedulable\",\"observedGeneration\":%lld,"
                  "\"lastTransitionTime\":\"%s\",\"message\":",
                  p->uid, (long long)meta->generation, time);
    json_encode_string(&patch, message);
    buffer_add_string(&patch, "}]}}");
    client_patch(s->client, p->pod->resource, "status", meta->namespace, meta->name, PATCH_STRATEGIC, patch.data, NULL,
                 NULL);
}

static void bound(void *context, const struct client_result *result)
{
    struct pending *p = context;
    struct scheduler *s = p->scheduler;
    s->binding--;
    p->where = IN_NONE;
    if (client_ok(result)) {
        recorder_event(s->recorder, p->pod->resource, p->pod->meta, NULL, "Normal", "Scheduled",
                       "Successfully assigned %s/%s to %s", p->pod->meta->namespace, p->pod->meta->name, p->node);
        forget(p);
        return;
    }
    const struct placed *placed = map_get(&s->placed, p->uid);
    if (placed && !placed->assumed) {
        forget(p); /* the informer shows it bound */
        return;
    }
    unplace(s, p->uid);
    if (result->code == 404 || result->code == 409) {
        /* Gone, or bound by somebody else: the informer brings what it is now. */
        struct object *now = informer_get(s->pods, p->pod->meta->namespace, p->pod->meta->name);
        bool waits = now && strcmp(now->meta->uid, p->uid) == 0 && !now->meta->deletion_timestamp &&
                     !((const struct pod *)now->value)->spec.node_name;
        if (!waits) {
            forget(p);
            return;
        }
    }
    back_off(p);
    park(p, backoff_left(p));
}

static void bind(struct pending *p, const char *node)
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
    place(s, p->pod, node, true);
    client_submit(s->client, r, bound, p);
}

/* ---- Claims that are bound with the pod ---- */

static void claims_failed(struct pending *p, const char *why)
{
    cleanup_arena struct arena *arena = arena_new(0);
    const char *message = arena_printf(arena, "running PreBind plugin \"VolumeBinding\": binding volumes: %s", why);
    give_up_claims(p);
    back_off(p);
    park(p, backoff_left(p));
    report(p, message);
}

/* Binds the pod once its claims are bound on the node. */
static void look_at_claims(struct pending *p)
{
    struct scheduler *s = p->scheduler;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct node_info *node = map_get(&s->infos, p->node);
    const char *why = NULL;
    if (p->claims_unwritten || informer_revision(s->book.claims) < p->claims_revision ||
        informer_revision(s->book.volumes) < p->volumes_revision)
        return;
    if (!node || !node->object) {
        claims_failed(p, arena_printf(arena, "node \"%s\" not found", p->node));
        return;
    }
    switch (volume_progress(&s->book, p->pod->value, node->object->meta, arena, &why)) {
    case VOLUMES_WAIT:
        break;
    case VOLUMES_BOUND:
        volume_book_forget(&s->book, p->pod->value);
        bind(p, node->object->meta->name);
        break;
    case VOLUMES_FAILED:
        claims_failed(p, why);
        break;
    }
}

struct claim_write {
    struct scheduler *scheduler;
    const char *uid; /* of the pod */
};

static void claim_written(void *context, const struct client_result *result)
{
    const struct claim_write *write = context;
    struct pending *p = map_get(&write->scheduler->pendings, write->uid);
    if (!p || p->where != IN_CLAIMS)
        return;
    if (!client_ok(result)) {
        claims_failed(p, result->status && result->status->message ? result->status->message : "not written");
        return;
    }
    p->claims_unwritten -= p->claims_unwritten > 0;
    bool of_claim = result->object->resource->index == API_PERSISTENTVOLUMECLAIMS;
    uint64_t *newest = of_claim ? &p->claims_revision : &p->volumes_revision;
    if (result->revision > *newest)
        *newest = result->revision;
    look_at_claims(p);
}

/* The node is chosen. What the pod's claims need there is written first; their events bring the rest. */
static void settle(struct pending *p, const struct schedule_pod *pod, struct object *node)
{
    struct scheduler *s = p->scheduler;
    struct volume_plan plan = {0};
    if (pod->claim_count)
        volume_plan_for(pod, node->meta, &plan);
    if (!plan.count) {
        bind(p, node->meta->name);
        return;
    }
    volume_book_assume(&s->book, &plan, node->meta->name);
    place(s, p->pod, node->meta->name, true);
    list_remove(&p->link);
    p->where = IN_CLAIMS;
    list_append(&s->waiting, &p->link);
    free(p->node);
    p->node = mem_string(node->meta->name);
    p->claims_unwritten = plan.count;
    p->claims_revision = p->volumes_revision = 0;
    env_timer_start(p->timer, CLAIMS_TIMEOUT);
    for (size_t i = 0; i < plan.count; i++) {
        struct client_request *r = volume_choice_request(&plan.items[i], p->node);
        struct claim_write *write = arena_alloc(r->arena, sizeof(*write));
        *write = (struct claim_write){s, arena_string(r->arena, p->uid)};
        client_submit(s->client, r, claim_written, write);
    }
}

/* A claim, a volume or a class: pods that have claims may have waited for it. */
static void storage_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct scheduler *s = context;
    struct pending *p;
    (void)change, (void)object, (void)old;
    list_for_each(&s->unschedulable, p, link) if (volume_pod_has_claims(p->pod->value))
        env_timer_start(p->timer, backoff_left(p));
    for (struct list *l = s->waiting.next, *next; l != &s->waiting; l = next) {
        next = l->next;
        look_at_claims(list_entry(l, struct pending, link));
    }
}

static bool claim_in_use(void *context, const char *namespace, const char *claim, const char *except)
{
    const struct scheduler *s = context;
    for (struct map_slot *slot = NULL; (slot = map_next(&s->placed, slot));) {
        const struct pod *pod = ((const struct placed *)slot->value)->pod->value;
        if (strcmp(pod->metadata.namespace, namespace) == 0 && strcmp(pod->metadata.uid, except) != 0 &&
            storage_pod_uses(pod, claim))
            return true;
    }
    return false;
}

static void attempt(struct pending *p)
{
    struct scheduler *s = p->scheduler;
    cleanup_arena struct arena *arena = arena_new(0);
    struct schedule_pod pod = {.pod = p->pod->value, .book = &s->book, .arena = arena};
    struct tally tally = {.nodes = 0};
    struct node_info *node = NULL;
    p->attempts++;
    refresh_order(s);
    tally.nodes = s->order.count;
    if (prepare(&pod, &tally))
        node = choose(s, &pod, &tally);
    else
        tally.unresolvable = tally.nodes;
    if (node) {
        settle(p, &pod, node->object);
    } else {
        back_off(p);
        park(p, UNSCHEDULABLE_MAX);
        report(p, explain(arena, &tally));
    }
    map_free(&tally.reasons);
}

static void scheduler_release(struct scheduler *s);

static void turn(void *context)
{
    struct scheduler *s = context;
    s->turn_arranged = false;
    if (s->freed) {
        scheduler_release(s);
        return;
    }
    for (int n = 0; n < TURN_MAX && !list_empty(&s->active); n++)
        attempt(list_entry(s->active.next, struct pending, link));
    if (!list_empty(&s->active))
        arrange_turn(s);
}

/* ---- */

static void open_queue(void *context)
{
    struct scheduler *s = context;
    s->open = true;
    if (!list_empty(&s->active))
        arrange_turn(s);
}

struct scheduler *scheduler_new(struct client *client, struct informer_set *informers)
{
    struct scheduler *s = mem_zero(1, sizeof(*s));
    s->client = client;
    s->env = client->env;
    s->recorder = recorder_new(client, NAME, NULL);
    list_init(&s->active);
    list_init(&s->unschedulable);
    list_init(&s->waiting);
    s->informers = informers;
    informer_set_when_synced(informers, open_queue, s);
    s->pods = informer_set_get(informers, &api_resources[API_PODS]);
    s->nodes = informer_set_get(informers, &api_resources[API_NODES]);
    informer_add_handler(s->pods, pod_changed, s);
    informer_add_handler(s->nodes, node_changed, s);
    volume_book_init(&s->book, informers);
    s->book.in_use = claim_in_use;
    s->book.context = s;
    informer_add_handler(s->book.claims, storage_changed, s);
    informer_add_handler(s->book.volumes, storage_changed, s);
    informer_add_handler(s->book.classes, storage_changed, s);
    return s;
}

static void scheduler_release(struct scheduler *s)
{
    volume_book_free(&s->book);
    s->book.taken = s->book.chosen = (struct map){0};
    for (struct map_slot *slot; (slot = map_next(&s->pendings, NULL));)
        forget(slot->value);
    for (struct map_slot *slot; (slot = map_next(&s->placed, NULL));) {
        cleanup_free char *uid = mem_string(slot->key);
        unplace(s, uid);
    }
    for (struct map_slot *slot = NULL; (slot = map_next(&s->infos, slot));)
        node_info_free(slot->value);
    map_free(&s->pendings);
    map_free(&s->placed);
    map_free(&s->infos);
    vector_free(&s->order);
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
