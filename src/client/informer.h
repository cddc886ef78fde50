/* Informers: a local, indexed copy of what a list and watch deliver, and a callback for each change. In
 * process the copy shares the store's snapshots; nothing is duplicated. An informer lists, watches, and lists
 * again by itself when the watch breaks or its revision has gone (410), with backoff. */
#ifndef CORACLE_CLIENT_INFORMER_H
#define CORACLE_CLIENT_INFORMER_H

#include <stdbool.h>
#include <stdint.h>

#include "client/client.h"

struct informer;

enum informer_change { INFORMER_ADDED, INFORMER_UPDATED, INFORMER_DELETED };

/* old is NULL when added; object is the last known state when deleted. Both borrowed. Called from the loop. */
typedef void (*informer_callback)(void *context, enum informer_change change, struct object *object,
                                  struct object *old);

/* A key that objects are found by besides their name, such as the node of a pod or the uid of the controlling
 * owner. Writes the key into out (at most size bytes with NUL) and returns true, or returns false: not indexed. */
typedef bool (*informer_index_key)(struct object *object, char *out, size_t size);

/* Selectors may be NULL and must outlive the informer; namespace NULL: all. It starts with informer_start. */
struct informer *informer_new(struct client *client, const struct api_resource *resource, const char *namespace,
                              const struct selector *label_selector, const struct field_selector *field_selector);
/* Handlers and indexes are added before the start. An index is known by the number that this returns; adding
 * the same key function again gives the same one. */
void informer_add_handler(struct informer *informer, informer_callback callback, void *context);
int informer_add_index(struct informer *informer, informer_index_key key);
/* Several users may share one informer; each calls start, the first one counts. */
void informer_start(struct informer *informer);
/* Not from a handler. NULL is fine. */
void informer_free(struct informer *informer);

/* True once the first list has been delivered entirely. */
bool informer_synced(const struct informer *informer);
/* Calls done from the loop when that is so; one callback per informer, set before the start. */
void informer_on_synced(struct informer *informer, void (*done)(void *context), void *context);
/* The revision up to which the copy is known to be complete. */
uint64_t informer_revision(const struct informer *informer);
/* The object, borrowed until the next turn of the loop, or NULL. namespace NULL or "": cluster-scoped. */
struct object *informer_get(const struct informer *informer, const char *namespace, const char *name);
size_t informer_count(const struct informer *informer);
/* Visits all, or those of an index key, in the order of namespace and name. The visitor must not change the
 * informer; it returns false to stop. */
typedef bool (*informer_visit)(void *context, struct object *object);
void informer_each(const struct informer *informer, const char *namespace, informer_visit visit, void *context);
void informer_each_indexed(const struct informer *informer, int index, const char *key, informer_visit visit,
                           void *context);

/* Informers shared by resource among the users of one client: one list and watch for all of them. */
struct informer_set;
struct informer_set *informer_set_new(struct client *client);
/* The shared informer (all namespaces, no selectors) of a resource, made on first use; belongs to the set. */
struct informer *informer_set_get(struct informer_set *set, const struct api_resource *resource);
/* Starts all and calls done once every one is synced. */
void informer_set_start(struct informer_set *set, void (*done)(void *context), void *context);
/* Calls done(context) once all are synced, later in any case; informer_set_forget takes it back. */
void informer_set_when_synced(struct informer_set *set, void (*done)(void *context), void *context);
void informer_set_forget(struct informer_set *set, void *context);
void informer_set_free(struct informer_set *set);

#endif
