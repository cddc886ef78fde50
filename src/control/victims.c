/* Ranks are computed once per pod, then sorted. */
#include "control/victims.h"

#include <stdlib.h>
#include <string.h>

#include "api/pod_containers.h"
#include "api/pod_resources.h"
#include "base/map.h"
#include "base/text.h"
#include "control/controller.h"

struct rank {
    struct object *pod;
    int assigned, phase, ready, available;
    int64_t cost;
    intptr_t crowd; /* related pods on its node */
    int64_t ready_at, created_at;
    int64_t ready_age, age; /* logarithmic, see below */
    int32_t restarts, sidecar_restarts;
};

static int phase_order(const char *phase)
{
    return !phase || strcmp(phase, "Pending") == 0 ? 0 : strcmp(phase, "Unknown") == 0 ? 1 : 2;
}

/* floor(log2) of an age in nanoseconds, as upstream rounds it: -1 for what is yet to come, -2 for what never was. */
static int64_t log_age(int64_t since, int64_t now)
{
    if (!since)
        return -2;
    int64_t age = (now - since) * 1000;
    return age < 1 ? -1 : 63 - __builtin_clzll((unsigned long long)age);
}

/* What is no number of 32 bits, or is written with a plus sign or with zeros in front, counts as 0. */
static int64_t deletion_cost(const struct pod *pod)
{
    const char *text = string_map_get(&pod->metadata.annotations, "controller.kubernetes.io/pod-deletion-cost");
    char *end = NULL;
    if (text_empty(text) || !(*text == '-' || (*text >= '1' && *text <= '9')))
        return 0;
    long long cost = strtoll(text, &end, 10);
    return *end || cost < INT32_MIN || cost > INT32_MAX ? 0 : cost;
}

static int64_t ready_since(const struct pod *pod)
{
    for (size_t i = 0; i < pod->status.conditions.count; i++) {
        const struct pod_condition *c = &pod->status.conditions.items[i];
        if (strcmp(c->type, "Ready") == 0 && strcmp(c->status, "True") == 0)
            return c->last_transition_time;
    }
    return 0;
}

static int32_t restarts(const struct pod *pod)
{
    int32_t most = 0;
    for (size_t i = 0; i < pod->status.container_statuses.count; i++)
        if (pod->status.container_statuses.items[i].restart_count > most)
            most = pod->status.container_statuses.items[i].restart_count;
    return most;
}

static int32_t sidecar_restarts(const struct pod *pod)
{
    int32_t most = 0;
    for (size_t i = 0; i < pod->spec.init_containers.count; i++) {
        const struct container *c = &pod->spec.init_containers.items[i];
        const struct container_status *s = api_is_sidecar(c) ? pod_container_status(&pod->status, c->name) : NULL;
        if (s && s->restart_count > most)
            most = s->restart_count;
    }
    return most;
}

static struct rank rank_of(struct object *object, const struct map *crowds, int32_t min_ready_seconds, int64_t now)
{
    const struct pod *pod = object->value;
    const char *node = pod->spec.node_name ? pod->spec.node_name : "";
    return (struct rank){.pod = object,
                         .assigned = *node != 0,
                         .phase = phase_order(pod->status.phase),
                         .ready = pod_is_ready(pod),
                         .available = pod_is_available(pod, min_ready_seconds, now, NULL),
                         .cost = deletion_cost(pod),
                         .crowd = (intptr_t)map_get(crowds, node),
                         .ready_at = ready_since(pod),
                         .ready_age = log_age(ready_since(pod), now),
                         .restarts = restarts(pod),
                         .sidecar_restarts = sidecar_restarts(pod),
                         .created_at = pod->metadata.creation_timestamp,
                         .age = log_age(pod->metadata.creation_timestamp, now)};
}

#define ORDER(a, b) ((a) < (b) ? -1 : (a) > (b))

/* By times that differ: within one power of two the uids decide, and nothing that would come after. */
static int by_age(const struct rank *a, const struct rank *b, int64_t left, int64_t right, int order)
{
    return left == right ? 0 : order ? order : strcmp(a->pod->meta->uid, b->pod->meta->uid);
}

static int compare(const void *left, const void *right)
{
    const struct rank *a = left, *b = right;
    int by[] = {
        ORDER(a->assigned, b->assigned),
        ORDER(a->phase, b->phase),
        ORDER(a->ready, b->ready),
        ORDER(a->available, b->available),
        ORDER(a->cost, b->cost),
        ORDER(b->crowd, a->crowd),
        a->ready ? by_age(a, b, a->ready_at, b->ready_at, ORDER(a->ready_age, b->ready_age)) : 0,
        ORDER(b->restarts, a->restarts),
        ORDER(b->sidecar_restarts, a->sidecar_restarts),
        by_age(a, b, a->created_at, b->created_at, ORDER(a->age, b->age)),
        strcmp(a->pod->meta->uid, b->pod->meta->uid),
    };
    for (size_t i = 0; i < sizeof(by) / sizeof(by[0]); i++)
        if (by[i])
            return by[i];
    return 0;
}

void victims_sort(struct arena *arena, struct object **pods, size_t count, struct object *const *related,
                  size_t related_count, int32_t min_ready_seconds, int64_t now)
{
    struct map crowds = {0};
    for (size_t i = 0; i < related_count; i++) {
        const struct pod *pod = related[i]->value;
        const char *node = pod->spec.node_name ? pod->spec.node_name : "";
        map_set(&crowds, node, (void *)((intptr_t)map_get(&crowds, node) + 1));
    }
    struct rank *ranks = arena_alloc(arena, count * sizeof(*ranks));
    for (size_t i = 0; i < count; i++)
        ranks[i] = rank_of(pods[i], &crowds, min_ready_seconds, now);
    qsort(ranks, count, sizeof(*ranks), compare);
    for (size_t i = 0; i < count; i++)
        pods[i] = ranks[i].pod;
    map_free(&crowds);
}
