/* The production environment: libuv's clock and timers, getrandom(2).
 *
 * Deferred callbacks wait in a queue that a check handle drains after polling; an idle handle keeps the
 * loop from blocking while the queue is not empty, so an idle process sleeps. */
#include <stdbool.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <uv.h>

#include "base/cleanup.h"
#include "base/env.h"
#include "base/vector.h"

struct deferred {
    env_callback callback;
    void *context;
};

struct env_uv {
    struct env env;
    uv_loop_t *loop;
    uv_check_t check;
    uv_idle_t idle;
    VECTOR(struct deferred) queue;
    uint64_t pool[64]; /* random words drawn ahead */
    size_t pooled;
    int open_handles;
};

struct timer_uv {
    struct env_timer timer;
    uv_timer_t handle;
    env_callback callback;
    void *context;
};

static int64_t clock_read(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t now(struct env *env)
{
    (void)env;
    return clock_read(CLOCK_REALTIME);
}

static int64_t monotonic(struct env *env)
{
    (void)env;
    return clock_read(CLOCK_MONOTONIC);
}

static uint64_t next_random(struct env *base)
{
    struct env_uv *env = (struct env_uv *)base;
    if (!env->pooled) {
        if (getrandom(env->pool, sizeof(env->pool), 0) != sizeof(env->pool))
            abort(); /* cannot happen for 512 bytes or less once the pool is up, see getrandom(2) */
        env->pooled = ARRAY_COUNT(env->pool);
    }
    return env->pool[--env->pooled];
}

static struct env_timer *timer_new(struct env *base, env_callback callback, void *context)
{
    struct timer_uv *t = mem_zero(1, sizeof(*t));
    t->timer.env = base;
    t->callback = callback;
    t->context = context;
    uv_timer_init(((struct env_uv *)base)->loop, &t->handle);
    t->handle.data = t;
    return &t->timer;
}

static void timer_fired(uv_timer_t *handle)
{
    struct timer_uv *t = handle->data;
    t->callback(t->context);
}

static void timer_start(struct env_timer *timer, int64_t delay)
{
    struct timer_uv *t = (struct timer_uv *)timer;
    uv_update_time(t->handle.loop);
    uv_timer_start(&t->handle, timer_fired, delay <= 0 ? 0 : (uint64_t)(delay + 999) / 1000, 0);
}

static void timer_stop(struct env_timer *timer)
{
    uv_timer_stop(&((struct timer_uv *)timer)->handle);
}

static void timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void timer_free(struct env_timer *timer)
{
    uv_close((uv_handle_t *)&((struct timer_uv *)timer)->handle, timer_closed);
}

static void keep_awake(uv_idle_t *idle)
{
    (void)idle;
}

static void run_deferred(uv_check_t *check)
{
    struct env_uv *env = check->data;
    /* Only what was there at the start: a callback that defers again runs in the next turn. */
    struct deferred *items = env->queue.items;
    size_t count = env->queue.count;
    env->queue.items = NULL;
    env->queue.count = env->queue.capacity = 0;
    for (size_t i = 0; i < count; i++)
        items[i].callback(items[i].context);
    free(items);
    if (!env->queue.count)
        uv_idle_stop(&env->idle);
}

static void defer(struct env *base, env_callback callback, void *context)
{
    struct env_uv *env = (struct env_uv *)base;
    if (!env->queue.count)
        uv_idle_start(&env->idle, keep_awake);
    vector_push(&env->queue, (struct deferred){callback, context});
}

static const struct env_operations operations = {
    .now = now,
    .monotonic = monotonic,
    .random = next_random,
    .timer_new = timer_new,
    .timer_start = timer_start,
    .timer_stop = timer_stop,
    .timer_free = timer_free,
    .defer = defer,
};

struct env *env_uv_new(uv_loop_t *loop)
{
    struct env_uv *env = mem_zero(1, sizeof(*env));
    env->env.operations = &operations;
    env->loop = loop;
    uv_check_init(loop, &env->check);
    uv_idle_init(loop, &env->idle);
    env->check.data = env->idle.data = env;
    env->open_handles = 2;
    uv_check_start(&env->check, run_deferred);
    uv_unref((uv_handle_t *)&env->check);
    return &env->env;
}

static void env_closed(uv_handle_t *handle)
{
    struct env_uv *env = handle->data;
    if (--env->open_handles)
        return;
    vector_free(&env->queue);
    free(env);
}

void env_uv_free(struct env *base)
{
    struct env_uv *env = (struct env_uv *)base;
    uv_close((uv_handle_t *)&env->check, env_closed);
    uv_close((uv_handle_t *)&env->idle, env_closed);
}

uv_loop_t *env_uv_loop(struct env *env)
{
    return ((struct env_uv *)env)->loop;
}
