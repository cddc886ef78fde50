/* A ring of deferred calls and a binary heap of timers, ordered by time and then by the order of starting. */
#include "sim/environment.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/vector.h"
#include "sim/random.h"

#define NOT_RUNNING SIZE_MAX

struct timer {
    struct env_timer timer;
    env_callback callback;
    void *context;
    int64_t at;
    uint64_t order;
    size_t place; /* in the heap; NOT_RUNNING */
};

struct deferred {
    env_callback callback;
    void *context;
};

struct environment {
    struct env env;
    int64_t start, clock;
    struct sim_random random;
    VECTOR(struct timer *) heap;
    VECTOR(struct deferred) deferred; /* in order; those before `next` have run */
    size_t next;
    uint64_t starts, steps, instant;
};

static struct environment *of(const struct env *env)
{
    return (struct environment *)(uintptr_t)env;
}

static int64_t now(struct env *env)
{
    return of(env)->start + of(env)->clock;
}

static int64_t monotonic(struct env *env)
{
    return of(env)->clock;
}

static uint64_t draw(struct env *env)
{
    return sim_random_next(&of(env)->random);
}

/* The heap. */

static bool before(const struct timer *a, const struct timer *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void put(struct environment *e, size_t place, struct timer *timer)
{
    e->heap.items[place] = timer;
    timer->place = place;
}

static void move_up(struct environment *e, struct timer *timer)
{
    size_t at = timer->place;
    for (; at > 0 && before(timer, e->heap.items[(at - 1) / 2]); at = (at - 1) / 2)
        put(e, at, e->heap.items[(at - 1) / 2]);
    put(e, at, timer);
}

static void move_down(struct environment *e, struct timer *timer)
{
    size_t at = timer->place, child;
    while ((child = 2 * at + 1) < e->heap.count) {
        if (child + 1 < e->heap.count && before(e->heap.items[child + 1], e->heap.items[child]))
            child++;
        if (!before(e->heap.items[child], timer))
            break;
        put(e, at, e->heap.items[child]);
        at = child;
    }
    put(e, at, timer);
}

static void heap_remove(struct environment *e, struct timer *timer)
{
    size_t at = timer->place;
    if (at == NOT_RUNNING)
        return;
    struct timer *last = e->heap.items[--e->heap.count];
    timer->place = NOT_RUNNING;
    if (last == timer)
        return;
    put(e, at, last);
    move_up(e, last);
    move_down(e, last);
}

/* Timers. */

static struct env_timer *timer_new(struct env *env, env_callback callback, void *context)
{
    struct timer *timer = mem_zero(1, sizeof(*timer));
    timer->timer.env = env;
    timer->callback = callback;
    timer->context = context;
    timer->place = NOT_RUNNING;
    return &timer->timer;
}

static void timer_start(struct env_timer *base, int64_t delay)
{
    struct timer *timer = (struct timer *)base;
    struct environment *e = of(base->env);
    heap_remove(e, timer);
    timer->at = e->clock + (delay > 0 ? delay : 0);
    timer->order = e->starts++;
    vector_push(&e->heap, timer);
    timer->place = e->heap.count - 1;
    move_up(e, timer);
}

static void timer_stop(struct env_timer *base)
{
    heap_remove(of(base->env), (struct timer *)base);
}

static void timer_free(struct env_timer *base)
{
    timer_stop(base);
    free(base);
}

static void defer(struct env *env, env_callback callback, void *context)
{
    vector_push(&of(env)->deferred, (struct deferred){callback, context});
}

static const struct env_operations operations = {
    .now = now,
    .monotonic = monotonic,
    .random = draw,
    .timer_new = timer_new,
    .timer_start = timer_start,
    .timer_stop = timer_stop,
    .timer_free = timer_free,
    .defer = defer,
};

struct env *sim_environment_new(uint64_t seed, int64_t start)
{
    struct environment *e = mem_zero(1, sizeof(*e));
    e->env.operations = &operations;
    e->start = start;
    e->random = sim_random_stream(seed, 0);
    return &e->env;
}

static bool run_deferred(struct environment *e)
{
    if (e->next == e->deferred.count)
        return false;
    struct deferred deferred = e->deferred.items[e->next++];
    if (e->next == e->deferred.count)
        e->next = e->deferred.count = 0;
    e->steps++;
    e->instant++;
    deferred.callback(deferred.context);
    return true;
}

bool sim_environment_step(struct env *env, int64_t until)
{
    struct environment *e = of(env);
    if (sim_environment_stuck(env))
        return false;
    if (run_deferred(e))
        return true;
    struct timer *timer = e->heap.count ? e->heap.items[0] : NULL;
    if (!timer || timer->at > until) {
        e->clock = until > e->clock ? until : e->clock;
        return false;
    }
    if (timer->at > e->clock) {
        e->clock = timer->at;
        e->instant = 0;
    }
    e->steps++;
    e->instant++;
    heap_remove(e, timer);
    timer->callback(timer->context);
    return true;
}

void sim_environment_run(struct env *env, int64_t duration)
{
    int64_t until = of(env)->clock + duration;
    while (sim_environment_step(env, until))
        ;
}

bool sim_environment_stuck(const struct env *env)
{
    return of(env)->instant > SIM_INSTANT_MAX;
}

uint64_t sim_environment_steps(const struct env *env)
{
    return of(env)->steps;
}

void sim_environment_free(struct env *env)
{
    struct environment *e = of(env);
    while (run_deferred(e))
        ;
    vector_free(&e->deferred);
    vector_free(&e->heap);
    free(e);
}
