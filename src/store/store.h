/* The store: revisioned objects, watch, durability.
 *
 * Objects are immutable snapshots (api/object.h). A write makes a new one and commits it by comparing the
 * revision that it was based on. Revisions count up by one for each write in the whole store, as etcd's do;
 * an object's resourceVersion is the revision of its last write.
 *
 * Every key has two states: its head, the newest write that was accepted, and its committed state, the newest
 * that the engine has made durable. Writers compare with the head; everybody else reads what is committed.
 * A write is answered, and its watch event sent, when it commits; events come in the order of revisions.
 *
 * Everything here runs on the store's one thread and never blocks: the engine does its I/O elsewhere and
 * reports back through the environment. Keys are resource, namespace ("" for cluster-scoped) and name. */
#ifndef CORACLE_STORE_STORE_H
#define CORACLE_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/object.h"
#include "base/env.h"
#include "base/error.h"

struct store;
struct store_engine;

/* Events kept for watches that start in the past, over all resources; older ones are forgotten, oldest first. */
#define STORE_HISTORY_MAX 16384
/* Memory that history may hold on to, measured by the arenas of its snapshots; older events are forgotten. */
#define STORE_HISTORY_BYTES_MAX (INT64_C(32) << 20)
/* Writes that may wait for the engine; further ones are refused with STORE_BUSY. */
#define STORE_PENDING_MAX 65536
/* Writes that the engine gets at once. */
#define STORE_BATCH_MAX 4096

enum store_outcome {
    STORE_OK,
    STORE_EXISTS,    /* expected no object, there is one */
    STORE_NOT_FOUND, /* expected an object, there is none */
    STORE_CONFLICT,  /* the head has another revision than expected */
    STORE_BUSY,      /* STORE_PENDING_MAX reached */
    STORE_FAILED     /* the engine could not make it durable (a full disk); the head is what it was before */
};

/* `object` is the new snapshot (of a delete: the last state, with the revision of the delete), borrowed for
 * the time of the call; NULL unless the outcome is STORE_OK. err is set when it is STORE_FAILED. */
typedef void (*store_done)(void *context, enum store_outcome outcome, struct object *object, const struct error *err);

/* Takes the engine over. The engine's content is read by store_open. */
struct store *store_new(struct env *env, struct store_engine *engine);
/* Reads everything that the engine holds. Blocks; called once at start. A file that is damaged or was made by
 * a newer version is refused with a text that says so, and is left as it is. */
int store_open(struct store *store, struct error *err);
/* Makes pending writes durable first (blocks) and answers them. No callback runs after this. NULL is fine. */
void store_free(struct store *store);

/* Creates (expected 0) or replaces (expected = revision of the head it is based on) an object. Takes the arena
 * that holds value; sets metadata.resourceVersion in it. Any outcome but STORE_OK is returned at once, and
 * done is not called then; after STORE_OK done is called exactly once, later. */
enum store_outcome store_put(struct store *store, const struct api_resource *resource, struct arena *arena, void *value,
                             uint64_t expected, store_done done, void *context);
/* Deletes the object whose head has revision `expected`. As store_put. */
enum store_outcome store_delete(struct store *store, const struct api_resource *resource, const char *namespace,
                                const char *name, uint64_t expected, store_done done, void *context);

/* The committed object, borrowed until the next turn of the loop, or NULL. */
struct object *store_get(const struct store *store, const struct api_resource *resource, const char *namespace,
                         const char *name);
/* The head, for writers; borrowed as above. */
struct object *store_head(const struct store *store, const struct api_resource *resource, const char *namespace,
                          const char *name);
/* The last committed revision. */
uint64_t store_revision(const struct store *store);
/* The revision of the last committed change to any object of a resource; 0: none since the store was opened. */
uint64_t store_changed_at(const struct store *store, const struct api_resource *resource);
/* Committed objects of a resource. */
size_t store_count(const struct store *store, const struct api_resource *resource);

/* Visits committed objects in the order of their keys (namespace, then name), starting behind the given key
 * (which need not exist); namespace NULL: all namespaces; after_name NULL: from the start; after_namespace
 * counts for namespaced resources. The order is that of upstream's etcd keys, bytes of "namespace/name". The
 * visitor returns false to stop, and must not write. */
typedef bool (*store_visit)(void *context, struct object *object);
void store_list(const struct store *store, const struct api_resource *resource, const char *namespace,
                const char *after_namespace, const char *after_name, store_visit visit, void *context);

/* As store_list, but as it was at a past revision, rebuilt from the history. -1 with err code ESTALE when the
 * history does not reach back that far. */
int store_list_at(const struct store *store, const struct api_resource *resource, const char *namespace,
                  const char *after_namespace, const char *after_name, uint64_t revision, store_visit visit,
                  void *context, struct error *err);
/* Visits the heads of a resource, in the order of keys: for writers that need to know what is taken. */
void store_list_heads(const struct store *store, const struct api_resource *resource, store_visit visit,
                      void *context);

enum store_event_kind { STORE_ADDED, STORE_MODIFIED, STORE_DELETED };

struct store_event {
    enum store_event_kind kind;
    struct object *object;   /* of a delete: the last state, with the revision of the delete */
    struct object *previous; /* NULL for an added object */
};

struct store_watch;
typedef void (*store_watch_callback)(void *context, const struct store_event *event);

/* Calls back for every later event of the resource (and namespace, unless NULL) with a revision above `from`;
 * events that are history already come first, from the loop. `from` older than the history: NULL with err
 * code ESTALE and upstream's text. `from` above store_revision: waits for the revisions to come. */
struct store_watch *store_watch_new(struct store *store, const struct api_resource *resource, const char *namespace,
                                    uint64_t from, store_watch_callback callback, void *context, struct error *err);
/* No callback runs after this. NULL is fine. */
void store_watch_free(struct store_watch *watch);

/* Figures for /metrics. */
struct store_figures {
    uint64_t revision, writes, failures, batches;
    size_t objects, pending, watches;
    int64_t commit_microseconds; /* total time from acceptance to durability */
};
void store_figures(const struct store *store, struct store_figures *out);

#endif
