/* Dispatch to the implementation, and what every implementation shares. */
#include "base/env.h"

#include <stdio.h>

int64_t env_now(struct env *env)
{
    return env->operations->now(env);
}

int64_t env_monotonic(struct env *env)
{
    return env->operations->monotonic(env);
}

uint64_t env_random(struct env *env)
{
    return env->operations->random(env);
}

struct env_timer *env_timer_new(struct env *env, env_callback callback, void *context)
{
    return env->operations->timer_new(env, callback, context);
}

void env_timer_start(struct env_timer *timer, int64_t delay)
{
    timer->env->operations->timer_start(timer, delay);
}

void env_timer_stop(struct env_timer *timer)
{
    timer->env->operations->timer_stop(timer);
}

void env_timer_free(struct env_timer *timer)
{
    if (timer)
        timer->env->operations->timer_free(timer);
}

void env_defer(struct env *env, env_callback callback, void *context)
{
    env->operations->defer(env, callback, context);
}

void env_random_name(struct env *env, char *out, size_t n)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % 12 == 0)
            bits = env_random(env);
        out[i] = alphabet[bits % (sizeof(alphabet) - 1)];
        bits /= sizeof(alphabet) - 1;
    }
    out[n] = 0;
}

void env_random_uuid(struct env *env, char out[37])
{
    uint64_t a = env_random(env), b = env_random(env);
    a = (a & ~UINT64_C(0xf000)) | 0x4000;
    b = (b & ~(UINT64_C(3) << 62)) | (UINT64_C(2) << 62);
    snprintf(out, 37, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16) & 0xffff,
             (unsigned)a & 0xffff, (unsigned)(b >> 48), (unsigned long long)(b & 0xffffffffffffull));
}
