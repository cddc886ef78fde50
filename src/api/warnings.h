/* Warnings about fields that are accepted and stored but do not act yet: what makes sure that nothing is
 * ignored in silence. */
#ifndef CORACLE_API_WARNINGS_H
#define CORACLE_API_WARNINGS_H

#include <stddef.h>

#include "api/type.h"
#include "base/arena.h"

struct api_warnings {
    struct arena *arena; /* the texts live here */
    const char **items;
    size_t count;
};

/* Appends one text per inert field that is set in `value`, to something else than its default or a harmless
 * value: `spec.affinity: stored, but without effect: the scheduler does not weigh affinity yet`. The value is
 * best what the client sent, before defaulting. `old`, if not NULL, is the value that it changes: fields that
 * it has set alike are not mentioned again. */
void api_warn_inert(const struct api_type *type, const void *value, const void *old, struct api_warnings *warnings);

#endif
