/* Acts on what preempt.c has decided: victims get the condition DisruptionTarget and are deleted as a user would delete
 * them, with their grace period; the pod is nominated for the node, and tried again when they are gone. */
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/env.h"
#include "base/timestamp.h"
#include "schedule/private.h"

/* One victim; in the arena of the request that is under way. */
struct departure {
    struct scheduler *scheduler;
    const char *preemptor; /* uid */
    const char *node;
    struct object_meta victim;
};

bool evict_nominate(struct pending *p, const char *node)
{
    if ((!node && !p->nominated) || (node && p->nominated && strcmp(node, p->nominated) == 0))
        return false;
    free(p->nominated);
    p->nominated = node ? mem_string(node) : NULL;
    census_nominate(&p->scheduler->census, p->pod, node);
    return true;
}

static struct departure *departure_copy(struct arena *arena, const struct departure *from)
{
    struct departure *e = arena_alloc(arena, sizeof(*e));
    *e = (struct departure){
        .scheduler = from->scheduler,
        .preemptor = arena_string(arena, from->preemptor),
        .node = arena_string(arena, from->node),
        .victim = {.namespace = arena_string(arena, from->victim.namespace),
                   .name = arena_string(arena, from->victim.name),
                   .uid = arena_string(arena, from->victim.uid),
                   .resource_version = arena_string(arena, from->victim.resource_version)},
    };
    return e;
}

static void ended(const struct departure *e, bool failed)
{
    struct pending *p = pending_of(e->scheduler, e->preemptor);
    if (!p || !p->evictions)
        return;
    p->missed |= failed;
    if (--p->evictions || !p->missed)
        return;
    p->missed = false;
    queue_requeue(p);
}

static void deleted(void *context, const struct client_result *result)
{
    const struct departure *e = context;
    if (client_ok(result))
        recorder_event(e->scheduler->recorder, &api_resources[API_PODS], &e->victim, NULL, "Normal", "Preempted",
                       "Preempted by pod %s on node %s", e->preemptor, e->node);
    ended(e, !client_ok(result) && result->code != 404);
}

static void marked(void *context, const struct client_result *result)
{
    const struct departure *e = context;
    if (!client_ok(result)) {
        ended(e, result->code != 404);
        return;
    }
    struct client_request *r =
        client_request_new(CLIENT_DELETE, &api_resources[API_PODS], e->victim.namespace, e->victim.name);
    struct delete_options *options = arena_alloc(r->arena, sizeof(*options));
    struct departure *copy = departure_copy(r->arena, e);
    options->preconditions = arena_alloc(r->arena, sizeof(*options->preconditions));
    options->preconditions->uid = copy->victim.uid;
    r->delete_options = options;
    client_submit(e->scheduler->client, r, deleted, copy);
}

static void evict(struct pending *p, const struct placed *victim, const char *node)
{
    struct scheduler *s = p->scheduler;
    const struct object_meta *meta = victim->pod->meta;
    const char *name = ((const struct pod *)p->pod->value)->spec.scheduler_name;
    char time[TIME_TEXT_MAX];
    if (meta->deletion_timestamp)
        return;
    time_format(env_now(s->env), time);
    struct client_request *r = client_request_new(CLIENT_PATCH, victim->pod->resource, meta->namespace, meta->name);
    r->subresource = "status";
    r->patch_kind = PATCH_STRATEGIC;
    r->patch = arena_printf(
        r->arena,
        "{\"metadata\":{\"uid\":\"%s\"},\"status\":{\"conditions\":[{\"type\":\"" PREEMPT_CONDITION
        "\",\"status\":\"True\",\"reason\":\"" PREEMPT_REASON "\",\"observedGeneration\":%lld,"
        "\"lastTransitionTime\":\"%s\",\"message\":\"%s: preempting to accommodate a higher priority pod\"}]}}",
        meta->uid, (long long)meta->generation, time, name && *name ? name : SCHEDULER_NAME);
    r->patch_size = strlen(r->patch);
    struct departure departure = {.scheduler = s, .preemptor = p->uid, .node = node, .victim = *meta};
    p->evictions++;
    client_submit(s->client, r, marked, departure_copy(r->arena, &departure));
}

/* Pods of lower priority that were promised the node look for another one. */
static void withdraw_promises(struct pending *p, const struct node_info *node)
{
    struct scheduler *s = p->scheduler;
    for (struct list *l = node->nominated.next, *next; l != &node->nominated; l = next) {
        struct placed *other = list_entry(l, struct placed, link);
        struct pending *loser = pending_of(s, other->pod->meta->uid);
        const struct pod *pod = other->pod->value;
        next = l->next;
        if (!loser || loser == p ||
            pod->spec.priority.value >= ((const struct pod *)p->pod->value)->spec.priority.value)
            continue;
        const struct object_meta *meta = loser->pod->meta;
        evict_nominate(loser, NULL);
        client_patch(s->client, loser->pod->resource, "status", meta->namespace, meta->name, PATCH_STRATEGIC,
                     "{\"status\":{\"nominatedNodeName\":null}}", NULL, NULL);
        queue_requeue(loser);
    }
}

void evict_begin(struct pending *p, const struct preemption *decision)
{
    cleanup_free char *node = mem_string(decision->node->object->meta->name);
    withdraw_promises(p, decision->node);
    for (size_t i = 0; i < decision->victim_count; i++)
        evict(p, decision->victims[i], node);
}
