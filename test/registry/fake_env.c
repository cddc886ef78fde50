/* A list of timers and a queue of deferred calls. */
#include "fake_env.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/vector.h"

struct call {
    env_callback callback;
    void *context;
};

struct fake_env {
    struct env env;
    int64_t now;
    uint64_t random;
    VECTOR(struct call) queue;
    struct list timers;
};

struct fake_timer {
    struct env_timer timer;
    struct list node;
    struct call call;
    int64_t due; /* negative: not running */
};

static int64_t now(struct env *env)
{
    return ((struct fake_env *)env)->now;
}

static uint64_t next_random(struct env *base)
{
    struct fake_env *env = (struct fake_env *)base;
    env->random ^= env->random << 13, env->random ^= env->random >> 7, env->random ^= env->random << 17;
    return env->random;
}

static struct env_timer *timer_new(struct env *base, env_callback callback, void *context)
{
    struct fake_timer *timer = mem_zero(1, sizeof(*timer));
    timer->timer.env = base;
    timer->call = (struct call){callback, context};
    timer->due = -1;
    list_append(&((struct fake_env *)base)->timers, &timer->node);
    return &timer->timer;
}

static void timer_start(struct env_timer *timer, int64_t delay)
{
    ((struct fake_timer *)timer)->due = now(timer->env) + delay;
}

static void timer_stop(struct env_timer *timer)
{
    ((struct fake_timer *)timer)->due = -1;
}

static void timer_free(struct env_timer *base)
{
    struct fake_timer *timer = (struct fake_timer *)base;
    list_remove(&timer->node);
    free(timer);
}

static void defer(struct env *base, env_callback callback, void *context)
{
    vector_push(&((struct fake_env *)base)->queue, (struct call){callback, context});
}

static const struct env_operations operations = {now, now, next_random, timer_new, timer_start, timer_stop,
                                                 timer_free, defer};

struct env *fake_env_new(int64_t start)
{
    struct fake_env *env = mem_zero(1, sizeof(*env));
    env->env.operations = &operations;
    env->now = start;
    env->random = 88172645463325252u;
    list_init(&env->timers);
    return &env->env;
}

/* The timer that is due first, at `until` or before. */
static struct fake_timer *next_due(struct fake_env *env, int64_t until)
{
    struct fake_timer *timer, *first = NULL;
    list_for_each(&env->timers, timer, node)
        if (timer->due >= 0 && timer->due <= until && (!first || timer->due < first->due))
            first = timer;
    return first;
}

static void run_queue(struct fake_env *env)
{
    for (size_t i = 0; i < env->queue.count; i++)
        env->queue.items[i].callback(env->queue.items[i].context);
    env->queue.count = 0;
}

void fake_env_advance(struct env *base, int64_t micros)
{
    struct fake_env *env = (struct fake_env *)base;
    int64_t end = env->now + micros;
    struct fake_timer *timer;
    run_queue(env);
    while ((timer = next_due(env, end))) {
        if (timer->due > env->now)
            env->now = timer->due;
        timer->due = -1;
        timer->call.callback(timer->call.context);
        run_queue(env);
    }
    env->now = end;
}

void fake_env_settle(struct env *env)
{
    fake_env_advance(env, 0);
}

void fake_env_free(struct env *base)
{
    struct fake_env *env = (struct fake_env *)base;
    run_queue(env);
    vector_free(&env->queue);
    free(env);
}
