/* The engine that keeps nothing: a batch is done in the next turn of the loop. */
#include <stdbool.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "store/engine.h"

struct engine_memory {
    struct store_engine engine;
    struct env *env;
    engine_done done; /* NULL: no batch runs */
    void *context;
    unsigned deferred; /* calls of turn that are to come */
    bool freed;
};

static int memory_load(struct store_engine *engine, engine_visit visit, void *context, uint64_t *revision,
                       struct error *err)
{
    *revision = 0;
    return 0;
}

static void memory_wait(struct store_engine *base)
{
    struct engine_memory *engine = (struct engine_memory *)base;
    engine_done done = steal_pointer(engine->done);
    if (done)
        done(engine->context, NULL);
}

static void turn(void *context)
{
    struct engine_memory *engine = context;
    engine->deferred--;
    if (!engine->freed)
        memory_wait(&engine->engine);
    else if (!engine->deferred)
        free(engine);
}

static void memory_commit(struct store_engine *base, const struct engine_write *writes, size_t count,
                          engine_done done, void *context)
{
    struct engine_memory *engine = (struct engine_memory *)base;
    engine->done = done;
    engine->context = context;
    engine->deferred++;
    env_defer(engine->env, turn, engine);
}

static void memory_free(struct store_engine *base)
{
    struct engine_memory *engine = (struct engine_memory *)base;
    engine->freed = true;
    if (!engine->deferred)
        free(engine);
}

static const struct store_engine_operations operations = {
    .load = memory_load,
    .commit = memory_commit,
    .wait = memory_wait,
    .free = memory_free,
};

struct store_engine *engine_memory_new(struct env *env)
{
    struct engine_memory *engine = mem_zero(1, sizeof(*engine));
    engine->engine.operations = &operations;
    engine->env = env;
    return &engine->engine;
}
