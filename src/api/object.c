/* Reference-counted snapshots and their serialized form. */
#include "api/object.h"

#include <stdlib.h>

#include "api/json.h"
#include "base/cleanup.h"

struct object *object_new(const struct api_resource *resource, struct arena *arena, const void *value)
{
    struct object *o = mem_zero(1, sizeof(*o));
    o->resource = resource;
    o->arena = arena;
    o->value = value;
    o->meta = api_meta(resource, value);
    o->revision = o->meta->resource_version ? strtoull(o->meta->resource_version, NULL, 10) : 0;
    atomic_init(&o->references, 1);
    atomic_init(&o->bytes, NULL);
    return o;
}

struct object *object_ref(struct object *object)
{
    atomic_fetch_add_explicit(&object->references, 1, memory_order_relaxed);
    return object;
}

void object_unref(struct object *object)
{
    if (!object || atomic_fetch_sub_explicit(&object->references, 1, memory_order_acq_rel) != 1)
        return;
    free(atomic_load(&object->bytes));
    arena_free(object->arena);
    free(object);
}

const char *object_json(struct object *object, size_t *size)
{
    struct object_bytes *bytes = atomic_load_explicit(&object->bytes, memory_order_acquire);
    if (!bytes) {
        cleanup_buffer struct buffer json = {0};
        json_encode(object->resource->type, object->value, &json);
        bytes = mem_alloc(sizeof(*bytes) + json.size + 1);
        bytes->size = json.size;
        memcpy(bytes->json, json.data, json.size + 1);
        struct object_bytes *other = NULL;
        /* Two threads may get here at once; the first one's bytes stay. */
        if (!atomic_compare_exchange_strong(&object->bytes, &other, bytes)) {
            free(bytes);
            bytes = other;
        }
    }
    if (size)
        *size = bytes->size;
    return bytes->json;
}

size_t object_size(const struct object *object)
{
    const struct object_bytes *bytes = atomic_load_explicit(&object->bytes, memory_order_acquire);
    return sizeof(*object) + arena_size(object->arena) + (bytes ? sizeof(*bytes) + bytes->size + 1 : 0);
}

struct object *object_from_json(const struct api_resource *resource, const char *json, size_t size, struct error *err)
{
    struct arena *arena = arena_new(size * 2);
    void *value = arena_alloc(arena, resource->type->size);
    if (json_decode_stored(resource->type, arena, json, size, value, err) < 0) {
        arena_free(arena);
        return NULL;
    }
    return object_new(resource, arena, value);
}

void *object_copy(struct arena *arena, const struct object *object)
{
    return api_copy(arena, object->resource->type, object->value);
}

void cleanup_unref_object(struct object **object)
{
    object_unref(*object);
}
