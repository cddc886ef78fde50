/* Watches that ask for one value of one field (a node's pods, one object by name) are found by that value, so
 * that an event costs what its own watchers cost, however many others there are. As upstream's watch cache does
 * with its trigger functions. */
#ifndef CORACLE_REGISTRY_TRIGGER_H
#define CORACLE_REGISTRY_TRIGGER_H

#include "registry/private.h"

struct triggers;
struct trigger_entry;

struct triggers *triggers_new(struct store *store);
/* No entry is left. */
void triggers_free(struct triggers *triggers);

/* An entry for the selector, called back for each later event of an object that has, or had, the value that the
 * selector demands; other events may come too. NULL when the selector demands none. From within a callback,
 * entries may be removed, not added. */
struct trigger_entry *triggers_add(struct triggers *triggers, const struct api_resource *resource,
                                   const struct field_selector *selector, store_watch_callback callback,
                                   void *context);
/* No callback runs after this. NULL is fine. */
void triggers_remove(struct trigger_entry *entry);

#endif
