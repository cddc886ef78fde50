/* The environment: time, randomness and deferral, handed in to all code that decides (store, control,
 * schedule, the deciding half of node). Production runs on libuv (env_uv_new), simulation on a clock of its
 * own; the code cannot tell.
 *
 * An environment and everything made from it belong to one thread. Callbacks run on that thread, from its
 * loop, never from inside the call that arranged them. */
#ifndef CORACLE_BASE_ENV_H
#define CORACLE_BASE_ENV_H

#include <stddef.h>
#include <stdint.h>

struct env;
struct env_timer;
typedef void (*env_callback)(void *context);

/* Wall clock, microseconds since the epoch: for timestamps that users read. */
int64_t env_now(struct env *env);
/* Microseconds that never go back: for deadlines and measuring. */
int64_t env_monotonic(struct env *env);
/* 64 random bits. */
uint64_t env_random(struct env *env);

/* A timer, not running. */
struct env_timer *env_timer_new(struct env *env, env_callback callback, void *context);
/* Runs the callback once, `delay` microseconds from now; a timer that runs already is set anew. */
void env_timer_start(struct env_timer *timer, int64_t delay);
void env_timer_stop(struct env_timer *timer);
/* Stops and releases. NULL is fine. */
void env_timer_free(struct env_timer *timer);

/* Runs the callback in a later turn of the loop, in the order of the calls. Cannot be taken back. */
void env_defer(struct env *env, env_callback callback, void *context);

/* What stands behind an environment. An implementation embeds struct env as its first member, and
 * struct env_timer as the first member of its timers. */
struct env_operations {
    int64_t (*now)(struct env *env);
    int64_t (*monotonic)(struct env *env);
    uint64_t (*random)(struct env *env);
    struct env_timer *(*timer_new)(struct env *env, env_callback callback, void *context);
    void (*timer_start)(struct env_timer *timer, int64_t delay);
    void (*timer_stop)(struct env_timer *timer);
    void (*timer_free)(struct env_timer *timer);
    void (*defer)(struct env *env, env_callback callback, void *context);
};

struct env {
    const struct env_operations *operations;
};

struct env_timer {
    struct env *env;
};

/* The environment of a libuv loop. The loop must outlive it. */
struct uv_loop_s;
struct env *env_uv_new(struct uv_loop_s *loop);
/* All timers must have been freed. Handles close in later turns: run the loop until it is empty. */
void env_uv_free(struct env *env);
/* The loop of an environment made by env_uv_new. */
struct uv_loop_s *env_uv_loop(struct env *env);

/* n characters that are easy to read and cannot spell words, as upstream's rand.String draws them:
 * for generateName and pod names. Writes n characters and a NUL. */
void env_random_name(struct env *env, char *out, size_t n);
/* A random UUID, version 4: 36 characters and a NUL. */
void env_random_uuid(struct env *env, char out[37]);

#endif
