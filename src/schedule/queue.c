/* The scheduling queue: pods to be tried now, by priority and age; pods that something has happened for, until their
 * backoff is over or nobody else waits; and pods that fit nowhere, until something happens that could help. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/env.h"
#include "schedule/private.h"

/* Upstream's backoff between attempts: 1 s doubling to 10 s. */
#define BACKOFF_FIRST (1 * INT64_C(1000000))
#define BACKOFF_MAX (10 * INT64_C(1000000))
/* Unschedulable pods are tried again after so long, even if nothing has happened. */
#define UNSCHEDULABLE_MAX (300 * INT64_C(1000000))

static void timer_fired(void *context)
{
    struct pending *p = context;
    if (p->where == IN_CLAIMS)
        claims_timed_out(p);
    else
        queue_activate(p);
}

struct pending *pending_new(struct scheduler *s, struct object *pod)
{
    const char *nominated = ((const struct pod *)pod->value)->status.nominated_node_name;
    struct pending *p = mem_zero(1, sizeof(*p));
    p->scheduler = s;
    p->uid = mem_string(pod->meta->uid);
    p->timer = env_timer_new(s->env, timer_fired, p);
    p->pod = object_ref(pod);
    list_init(&p->link);
    map_set(&s->pendings, p->uid, p);
    if (nominated && *nominated)
        evict_nominate(p, nominated);
    return p;
}

struct pending *pending_of(const struct scheduler *s, const char *uid)
{
    return map_get(&s->pendings, uid);
}

void pending_free(struct pending *p)
{
    list_remove(&p->link);
    map_remove(&p->scheduler->pendings, p->uid);
    env_timer_free(p->timer);
    object_unref(p->pod);
    free(p->uid);
    free(p->node);
    free(p->nominated);
    free(p);
}

static int32_t priority(const struct pending *p)
{
    return ((const struct pod *)p->pod->value)->spec.priority.value;
}

void queue_activate(struct pending *p)
{
    struct scheduler *s = p->scheduler;
    struct list *before = &s->active;
    if (p->where == IN_BINDING || p->where == IN_ACTIVE || p->where == IN_CLAIMS)
        return;
    list_remove(&p->link);
    env_timer_stop(p->timer);
    p->where = IN_ACTIVE;
    p->failed = false;
    /* Behind all of at least its priority. Most pods have the same, so the walk is short. */
    while (before->previous != &s->active && priority(list_entry(before->previous, struct pending, link)) < priority(p))
        before = before->previous;
    list_append(before, &p->link);
    scheduler_arrange_turn(s);
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

static void wait_for_backoff(struct pending *p, int64_t left)
{
    struct scheduler *s = p->scheduler;
    struct list *before = &s->backoff;
    list_remove(&p->link);
    p->where = IN_BACKOFF;
    while (before->previous != &s->backoff &&
           list_entry(before->previous, struct pending, link)->backoff_until > p->backoff_until)
        before = before->previous;
    list_append(before, &p->link);
    env_timer_start(p->timer, left);
    if (!p->failed)
        scheduler_arrange_turn(s);
}

void queue_requeue(struct pending *p)
{
    int64_t left = p->backoff_until - env_monotonic(p->scheduler->env);
    if (p->where != IN_UNSCHEDULABLE && p->where != IN_NONE)
        return;
    if (p->evictions) {
        p->missed = true;
        return;
    }
    if (left > 0)
        wait_for_backoff(p, left);
    else
        queue_activate(p);
}

void queue_park(struct pending *p, uint32_t rejected_by)
{
    back_off(p);
    list_remove(&p->link);
    p->where = IN_UNSCHEDULABLE;
    p->rejected_by = rejected_by;
    list_append(&p->scheduler->unschedulable, &p->link);
    env_timer_start(p->timer, UNSCHEDULABLE_MAX);
}

void queue_retry(struct pending *p)
{
    back_off(p);
    p->failed = true;
    wait_for_backoff(p, backoff(p));
}

/* As upstream's queueing hints: whether one of those that rejected the pod may think otherwise now. */
static bool may_help(const struct pending *p, const struct schedule_change *change)
{
    if (!p->rejected_by)
        return true;
    for (size_t i = 0; schedule_plugins[i].name; i++) {
        const struct schedule_plugin *plugin = &schedule_plugins[i];
        if ((p->rejected_by >> i & 1) && (plugin->events & change->event) &&
            (!plugin->hint || plugin->hint(&p->scheduler->census, p->pod->value, change)))
            return true;
    }
    return false;
}

void queue_stir(struct scheduler *s, const struct schedule_change *change)
{
    struct pending *p;
    list_for_each(&s->unschedulable, p, link) if (may_help(p, change)) queue_requeue(p);
}

void queue_stir_all(struct scheduler *s, enum schedule_event event)
{
    struct pending *p;
    list_for_each(&s->unschedulable, p, link)
    {
        bool asked_for = !p->rejected_by;
        for (size_t i = 0; schedule_plugins[i].name; i++)
            asked_for |= (p->rejected_by >> i & 1) && (schedule_plugins[i].events & event);
        if (asked_for)
            queue_requeue(p);
    }
}

/* With nothing else to do, backoff spares nobody anything. */
static struct pending *first_of_backoff(const struct scheduler *s)
{
    for (const struct list *l = s->backoff.next; l != &s->backoff; l = l->next)
        if (!list_entry(l, struct pending, link)->failed)
            return list_entry(l, struct pending, link);
    return NULL;
}

struct pending *queue_take(struct scheduler *s)
{
    struct pending *p = list_empty(&s->active) ? first_of_backoff(s) : list_entry(s->active.next, struct pending, link);
    if (!p)
        return NULL;
    env_timer_stop(p->timer);
    list_remove(&p->link);
    p->where = IN_NONE;
    return p;
}

bool queue_has_more(const struct scheduler *s)
{
    return !list_empty(&s->active) || first_of_backoff(s);
}
