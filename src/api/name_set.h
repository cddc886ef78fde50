/* The names that a list has held so far, to find duplicates in one pass however long the list is. A set of one
 * name, the usual case, takes no memory. Zero it to begin with; the names have to stay valid.
 *
 *     cleanup_name_set struct name_set seen = {0};
 *     if (!name_set_add(&seen, c->name))
 *         ... c->name was there before
 */
#ifndef CORACLE_API_NAME_SET_H
#define CORACLE_API_NAME_SET_H

#include <stdbool.h>

#include "base/map.h"

struct name_set {
    struct map map;    /* empty as long as there is one name */
    const char *first; /* NULL: no name yet */
};

/* Adds a name (NULL = ""). Returns false when the set had it. */
bool name_set_add(struct name_set *set, const char *name);
bool name_set_has(const struct name_set *set, const char *name);
/* As name_set_add, of a text made by printf. */
bool name_set_add_format(struct name_set *set, const char *format, ...) __attribute__((format(printf, 2, 3)));
void name_set_free(struct name_set *set);

#define cleanup_name_set __attribute__((cleanup(name_set_free)))

#endif
