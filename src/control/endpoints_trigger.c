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

static void take_earlier(struct trigger_look *look, int64_t time)
{
    if (!look->earliest || time < look->earliest)
        look->earliest = time;
}

void endpoints_trigger_begin(struct service_watch *w, const struct service *service, struct trigger_look *look)
{
    cleanup_free char *key = mem_printf("%s/%s", service->metadata.namespace, service->metadata.name);
    struct trigger *trigger = map_get(&w->triggers, key);
    *look = (struct trigger_look){.service = service, .known = trigger != NULL};
    if (!trigger)
        map_set(&w->triggers, key, trigger = mem_zero(1, sizeof(*trigger)));
    look->trigger = trigger;
}

void endpoints_trigger_pod(struct trigger_look *look, const struct pod *pod)
{
    const struct pod_condition *ready = pod_condition_find(&pod->status.conditions, "Ready");
    int64_t time = ready ? ready->last_transition_time : 0;
    if (!time)
        return;
    map_set(&look->now, pod->metadata.name, (void *)(intptr_t)time);
    if (time > (intptr_t)map_get(&look->trigger->pods, pod->metadata.name))
        take_earlier(look, time);
}

int64_t endpoints_trigger_end(struct trigger_look *look)
{
    struct trigger *trigger = look->trigger;
    int64_t created = look->service->metadata.creation_timestamp;
    if (created > trigger->service)
        take_earlier(look, created);
    map_free(&trigger->pods);
    trigger->pods = look->now;
    trigger->service = created;
    return look->known ? look->earliest : created;
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
