/* What the files of the store share. */
#ifndef CORACLE_STORE_PRIVATE_H
#define CORACLE_STORE_PRIVATE_H

#include "base/buffer.h"
#include "base/list.h"
#include "base/tree.h"
#include "base/vector.h"
#include "store/engine.h"
#include "store/store.h"

/* One key. It is in its table's tree as long as it has a head, a committed state or writes under way. */
struct store_entry {
    struct tree_node node; /* key: "NAMESPACE/NAME", or "NAME" */
    struct object *head;
    struct object *committed;
    uint64_t head_created; /* see engine_write.created */
    uint64_t committed_created;
    uint32_t writes; /* accepted, not yet answered */
    char key[];
};

/* All objects of a resource. */
struct store_table {
    struct tree entries;
    size_t committed;
    uint64_t changed;    /* the revision of the last event */
    struct list watches; /* struct store_watch, those that have caught up */
};

/* A write between acceptance and answer. */
struct store_write {
    struct store_entry *entry;
    const struct api_resource *resource;
    struct object *object; /* of a delete: the last state, with the revision of the delete */
    uint64_t revision;
    uint64_t created;
    int64_t accepted;
    bool is_delete;
    store_done done;
    void *context;
};

struct store_past {
    struct store_event event;
    uint64_t revision;
    int64_t weight;
};

/* The newest events, oldest first, in a ring. Complete for revisions above `forgotten`. */
struct store_history {
    struct store_past *ring; /* STORE_HISTORY_MAX elements */
    size_t first, count;
    int64_t weight;
    uint64_t forgotten;
};

struct store {
    struct env *env;
    struct store_engine *engine;
    struct store_table *tables; /* by api_resource.index */
    uint64_t revision;          /* last committed */
    uint64_t accepted;          /* last given to a write */
    VECTOR(struct store_write) pending;
    VECTOR(struct store_write) running; /* given to the engine; empty: it is idle */
    VECTOR(struct engine_write) batch;  /* the engine's view of running */
    struct buffer keys;
    bool flush_deferred, free_when_flushed;
    struct store_history history;
    struct list lagging; /* watches that have events of the past to come */
    bool catch_up_deferred;
    int delivering; /* depth; watches freed meanwhile are unlinked at once and released afterwards */
    struct list released;
    struct store_figures figures;
};

struct store_table *store_table_of(const struct store *store, const struct api_resource *resource);
/* Writes "NAMESPACE/NAME" or "NAME" (STORE_KEY_MAX bytes); false when it is longer than a key can be. */
bool store_entry_key(char *out, const struct api_resource *resource, const char *namespace, const char *name);
static inline struct store_past *store_past_at(const struct store_history *history, size_t i)
{
    return &history->ring[(history->first + i) % STORE_HISTORY_MAX];
}
/* The place of the first event in the history that is above the revision. */
size_t store_history_after(const struct store_history *history, uint64_t revision);
/* Remembers the event and delivers it to the watches that have caught up. */
void store_deliver(struct store *store, const struct api_resource *resource, const struct store_event *event);
void store_history_free(struct store *store);

#endif
