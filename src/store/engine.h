/* What makes a store durable. An engine holds key, revision and JSON bytes; it knows nothing of types.
 * Keys are laid out as upstream lays them out in etcd: /registry/pods/NAMESPACE/NAME,
 * /registry/services/specs/..., /registry/events/... */
#ifndef CORACLE_STORE_ENGINE_H
#define CORACLE_STORE_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/error.h"

/* One write: json NULL deletes the key. Borrowed until the batch is done. */
struct engine_write {
    const char *key;
    uint64_t revision;
    const char *json;
    size_t size;
};

typedef int (*engine_visit)(void *context, const char *key, uint64_t revision, const char *json, size_t size,
                            struct error *err);
/* err NULL: the batch is durable. */
typedef void (*engine_done)(void *context, const struct error *err);

struct store_engine;

struct store_engine_operations {
    /* Visits all that is stored and gives the last revision. Blocks. */
    int (*load)(struct store_engine *engine, engine_visit visit, void *context, uint64_t *revision, struct error *err);
    /* Makes a batch durable, all or nothing, and calls done on the store's thread, from its loop. One batch at
     * a time: the store gathers what comes meanwhile into the next one. */
    void (*commit)(struct store_engine *engine, const struct engine_write *writes, size_t count, engine_done done,
                   void *context);
    /* Finishes the running batch and releases the engine. Blocks. */
    void (*free)(struct store_engine *engine);
};

struct store_engine {
    const struct store_engine_operations *operations;
    int wants_bytes; /* 0: writes carry no JSON (the memory engine) */
};

/* Keeps nothing: durable as soon as the loop turns. For simulation and tests. */
struct store_engine *engine_memory_new(struct env *env);

/* SQLite in WAL mode, synchronous=FULL: each batch is one transaction and one fsync, on a thread of its own. The env must be one
 * of a libuv loop. Opens or creates the file; a damaged file, or one made by a newer version, is refused. */
struct store_engine *engine_sqlite_new(struct env *env, const char *path, struct error *err);

#endif
