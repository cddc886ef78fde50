/* Events have two APIs over one set of objects: core v1 (as stored) and events.k8s.io/v1, whose fields have
 * other names. As upstream's conversion in pkg/apis/events/v1. */
#include "api/json.h"
#include "base/cleanup.h"
#include "registry/private.h"

static struct event_series *series_to_core(struct arena *arena, const struct events_event_series *from)
{
    if (!from)
        return NULL;
    struct event_series *to = arena_alloc(arena, sizeof(*to));
    to->count = from->count;
    to->last_observed_time = from->last_observed_time;
    return to;
}

static struct events_event_series *series_from_core(struct arena *arena, const struct event_series *from)
{
    if (!from)
        return NULL;
    struct events_event_series *to = arena_alloc(arena, sizeof(*to));
    to->count = from->count;
    to->last_observed_time = from->last_observed_time;
    return to;
}

static void *to_core(struct arena *arena, const struct events_event *from)
{
    struct event *to = arena_alloc(arena, sizeof(*to));
    *to = (struct event){
        .kind = "Event",
        .api_version = "v1",
        .metadata = from->metadata,
        .action = from->action,
        .count = from->deprecated_count,
        .event_time = from->event_time,
        .first_timestamp = from->deprecated_first_timestamp,
        .involved_object = from->regarding,
        .last_timestamp = from->deprecated_last_timestamp,
        .message = from->note,
        .reason = from->reason,
        .related = from->related,
        .reporting_component = from->reporting_controller,
        .reporting_instance = from->reporting_instance,
        .series = series_to_core(arena, from->series),
        .source = from->deprecated_source,
        .type = from->type,
    };
    return to;
}

static void *from_core(struct arena *arena, const struct event *from)
{
    struct events_event *to = arena_alloc(arena, sizeof(*to));
    *to = (struct events_event){
        .kind = "Event",
        .api_version = "events.k8s.io/v1",
        .metadata = from->metadata,
        .action = from->action,
        .deprecated_count = from->count,
        .event_time = from->event_time,
        .deprecated_first_timestamp = from->first_timestamp,
        .regarding = from->involved_object,
        .deprecated_last_timestamp = from->last_timestamp,
        .note = from->message,
        .reason = from->reason,
        .related = from->related,
        .reporting_controller = from->reporting_component,
        .reporting_instance = from->reporting_instance,
        .series = series_from_core(arena, from->series),
        .deprecated_source = from->source,
        .type = from->type,
    };
    return to;
}

void *registry_convert(struct arena *arena, const struct api_resource *from, const struct api_resource *to,
                       const void *value)
{
    if (from == to)
        return (void *)(uintptr_t)value;
    return to->index == API_EVENTS ? to_core(arena, value) : from_core(arena, value);
}

struct object *registry_view(const struct api_resource *resource, struct object *object)
{
    if (object->resource == resource)
        return object_ref(object);
    /* The converted struct borrows from the original: the copy makes it a snapshot of its own. */
    cleanup_arena struct arena *scratch = arena_new(0);
    const void *value = registry_convert(scratch, object->resource, resource, object->value);
    struct arena *arena = arena_new(0);
    return object_new(resource, arena, api_copy(arena, resource->type, value));
}
