/* Since when a change of endpoints was due: the state of each Service that was seen, and the times of its pods. */
#include <stdlib.h>
#include <string.h>

#include "api/pod_condition.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "control/endpoints.h"

struct trigger {
    int64_t service;
    struct map pods; /* name -> the time itself */
};

static void trigger_free(struct trigger *trigger)
{
    if (!trigger)
        return;
    map_free(&trigger->pods);
    free(trigger);
}

void endpoints_forget_trigger(struct service_watch *w, const char *namespace, const char *name)
{
    cleanup_free char *key = mem_printf("%s/%s", namespace, name);
    trigger_free(map_remove(&w->triggers, key));
}

void endpoints_watch_free(struct service_watch *w)
{
    for (struct map_slot *s = NULL; (s = map_next(&w->triggers, s));)
        trigger_free(s->value);
    map_free(&w->triggers);
}

struct look {
    const struct service *service;
    const struct map *before;
    struct map now;
    int64_t earliest; /* 0: none */
};

static void take_earlier(struct look *look, int64_t time)
{
    if (!look->earliest || time < look->earliest)
        look->earliest = time;
}

static bool look_at_pod(void *context, struct object *object)
{
    struct look *look = context;
    const struct pod *pod = object->value;
    const struct pod_condition *ready = pod_condition_find(&pod->status.conditions, "Ready");
    if (!ready || !ready->last_transition_time ||
        !string_map_contains(&object->meta->labels, &look->service->spec.selector))
        return true;
    int64_t time = ready->last_transition_time;
    map_set(&look->now, object->meta->name, (void *)(intptr_t)time);
    if (time > (intptr_t)map_get(look->before, object->meta->name))
        take_earlier(look, time);
    return true;
}

int64_t endpoints_trigger_time(struct service_watch *w, const struct service *service)
{
    cleanup_free char *key = mem_printf("%s/%s", service->metadata.namespace, service->metadata.name);
    struct trigger *trigger = map_get(&w->triggers, key);
    bool known = trigger != NULL;
    if (!known)
        map_set(&w->triggers, key, trigger = mem_zero(1, sizeof(*trigger)));
    struct look look = {.service = service, .before = &trigger->pods};
    informer_each(w->pods, service->metadata.namespace, look_at_pod, &look);
    if (service->metadata.creation_timestamp > trigger->service)
        take_earlier(&look, service->metadata.creation_timestamp);
    map_free(&trigger->pods);
    trigger->pods = look.now;
    trigger->service = service->metadata.creation_timestamp;
    return known ? look.earliest : trigger->service;
}

void endpoints_set_trigger_time(struct arena *arena, struct string_map *annotations, int64_t time)
{
    struct string_map kept = {arena_alloc(arena, (annotations->count + 1) * sizeof(*kept.items)), 0};
    char text[TIME_TEXT_MAX];
    for (size_t i = 0; i < annotations->count; i++)
        if (strcmp(annotations->items[i].key, TRIGGER_TIME_ANNOTATION) != 0)
            kept.items[kept.count++] = annotations->items[i];
    *annotations = kept;
    if (!time)
        return;
    time_format(time, text);
    string_map_set(arena, annotations, TRIGGER_TIME_ANNOTATION, arena_string(arena, text));
}
