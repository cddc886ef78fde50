/* A snapshot: one revision of one object, immutable, shared by reference between the store, watchers,
 * controllers and answers. Reference counts are atomic: any thread may hold, read and release a snapshot.
 *
 *     struct object *o = ...;                 // got with a reference
 *     const struct pod *pod = o->value;
 *     object_unref(o);
 *
 * To change an object, copy what changes into an arena of your own (object_copy) and submit that. */
#ifndef CORACLE_API_OBJECT_H
#define CORACLE_API_OBJECT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "api/type.h"
#include "api/types.h"
#include "base/arena.h"

struct object {
    const struct api_resource *resource;
    const void *value;              /* the root struct of resource->type */
    const struct object_meta *meta; /* inside value */
    uint64_t revision;              /* meta->resource_version as a number; 0 before it is stored */
    /* Private from here on. */
    atomic_uint references;
    struct arena *arena;
    _Atomic(struct object_bytes *) bytes;
};

/* Serialized forms, made once and shared. */
struct object_bytes {
    size_t size;
    char json[]; /* NUL-terminated */
};

/* Takes over the arena that holds value; one reference. */
struct object *object_new(const struct api_resource *resource, struct arena *arena, const void *value);
struct object *object_ref(struct object *object);
/* NULL is fine. */
void object_unref(struct object *object);
/* The object as JSON, made on first use; valid as long as the object. */
const char *object_json(struct object *object, size_t *size);
/* Bytes of memory that the object holds on to. */
size_t object_size(const struct object *object);
/* Reads JSON that this program wrote (from a store or a server). NULL with err set when it does not parse. */
struct error;
struct object *object_from_json(const struct api_resource *resource, const char *json, size_t size,
                                struct error *err);
/* A deep, changeable copy of the object's value in an arena. */
void *object_copy(struct arena *arena, const struct object *object);

void cleanup_unref_object(struct object **object);
#define cleanup_object __attribute__((cleanup(cleanup_unref_object)))

#endif
