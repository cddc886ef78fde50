/* What a terminating namespace says stands in the way of its end, in upstream's words: a pure function. */
#ifndef CORACLE_CONTROL_NAMESPACE_CONDITIONS_H
#define CORACLE_CONTROL_NAMESPACE_CONDITIONS_H

#include "api/object.h"
#include "base/arena.h"

/* What one look at the content of a namespace has found. */
struct namespace_remains {
    struct arena *arena;
    size_t *of_resource; /* objects that are still there, by api_resource_index; NULL: none */
    struct namespace_finalizer {
        const char *name;
        size_t count; /* objects that it holds */
    } * finalizers;
    size_t finalizer_count;
    size_t left;           /* objects in all */
    const char **failures; /* messages of requests that failed */
    size_t failure_count;
};

/* Counts an object that is still there; its texts are copied. */
void namespace_remains_add(struct namespace_remains *remains, const struct object *object);
void namespace_remains_fail(struct namespace_remains *remains, const char *message);
/* The conditions that follow, made in the arena. An aspect that has not changed its status keeps its transition time.
 * False when all are as they were. */
bool namespace_conditions(const struct namespace_remains *remains, const struct namespace_condition_array *old,
                          int64_t now, struct namespace_condition_array *out);

#endif
