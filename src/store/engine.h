/* What makes a store durable. An engine holds keys, revisions and JSON bytes; it knows nothing of types.
 * Keys are laid out as upstream lays them out in etcd: /registry/pods/NAMESPACE/NAME,
 * /registry/services/specs/..., /registry/events/... (store/key.h) */
#ifndef CORACLE_STORE_ENGINE_H
#define CORACLE_STORE_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#include "api/object.h"
#include "base/env.h"
#include "base/error.h"

/* One write. Borrowed until the batch is done. */
struct engine_write {
    const char *key;
    uint64_t revision;
    /* The revision that the key was created at, as etcd's create_revision: no two keys share one, and an
     * object keeps it until it is deleted. Equal to revision: a new key. */
    uint64_t created;
    /* NULL: delete. The bytes are object_json's; engines make them on their own thread. */
    struct object *object;
};

/* Something that is stored. json is borrowed for the time of the call. */
struct engine_record {
    const char *key;
    uint64_t revision;
    uint64_t created;
    const char *json;
    size_t size;
};

typedef int (*engine_visit)(void *context, const struct engine_record *record, struct error *err);
/* err NULL: the batch is durable. */
typedef void (*engine_done)(void *context, const struct error *err);

struct store_engine;

struct store_engine_operations {
    /* Visits all that is stored and gives the last revision (0: nothing was ever stored). Blocks. */
    int (*load)(struct store_engine *engine, engine_visit visit, void *context, uint64_t *revision, struct error *err);
    /* Makes a batch durable, all or nothing, and calls done on the store's thread, from its loop. One batch at
     * a time: the store gathers what comes meanwhile into the next one. After a failed batch the engine holds
     * what it held before, and takes further batches. */
    void (*commit)(struct store_engine *engine, const struct engine_write *writes, size_t count, engine_done done,
                   void *context);
    /* Blocks until the running batch has finished, and calls its done. Nothing to do when none runs. */
    void (*wait)(struct store_engine *engine);
    /* Releases the engine; no batch runs. */
    void (*free)(struct store_engine *engine);
};

struct store_engine {
    const struct store_engine_operations *operations;
};

/* Keeps nothing: durable as soon as the loop turns. For simulation and tests. */
struct store_engine *engine_memory_new(struct env *env);

/* SQLite in WAL mode, synchronous=FULL: each batch is one transaction and one fsync, on a thread of its own.
 * The env must be one of a libuv loop. Opens or creates the file, which no other process may have open; a file
 * that is damaged, was made by a newer version or is not a store is refused and left as it is. */
struct store_engine *engine_sqlite_new(struct env *env, const char *path, struct error *err);

#endif
