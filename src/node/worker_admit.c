/* Whether the node takes in a pod that is new to it. */
#include <stdlib.h>
#include <string.h>

#include "api/pod_condition.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "node/admission.h"
#include "node/pod_sysctls.h"
#include "node/pressure.h"
#include "node/registration.h"
#include "node/worker.h"

/* Those that upstream's kubelet counts: taken in, and not known to have ended. The scheduler counts a pod no longer
 * than until its object has ended or gone, and this node hears of that before it hears of a pod that is bound to the
 * room: so a pod whose object has ended or is about to go does not count here either. */
static bool counts(const struct worker *other)
{
    return !other->unsettled && !other->gone && !other->finishing && !other->state.seen.torn_down &&
           !pod_is_over(&other->state.seen) && !pod_has_ended(worker_pod(other));
}

/* The node as the API has it (NULL: it has none), with what this agent gives to pods. */
static const struct node *node_with_room(const struct worker *w, struct arena *arena, const struct object *shown)
{
    struct node_registration *registration = w->agent->registration;
    struct node *node = shown ? arena_copy(arena, shown->value, sizeof(*node)) : registration_node(registration, arena);
    struct string_map amounts = registration_allocatable(registration, arena);
    for (size_t i = 0; i < amounts.count; i++)
        string_map_set(arena, &node->status.allocatable, amounts.items[i].key, amounts.items[i].value);
    return node;
}

static bool refuses(const struct worker *w, struct arena *arena, const struct object *node,
                    struct admission_refusal *out)
{
    const struct map *workers = &w->agent->workers;
    const struct pod **others = arena_alloc(arena, (workers->count + 1) * sizeof(*others));
    struct admission_request request = {.pod = worker_allocated_pod(w, arena),
                                        .node = node_with_room(w, arena, node),
                                        .others = others,
                                        .known = w->known};
    for (struct map_slot *s = NULL; (s = map_next(workers, s));)
        if (s->value != w && counts(s->value))
            others[request.count++] = worker_allocated_pod(s->value, arena);
    return admission_refuses(arena, &request, out);
}

static void reject(struct worker *w, const struct admission_refusal *refusal)
{
    w->refused_for = mem_string(refusal->reason);
    worker_reject(w, w->refused_for, refusal->message);
}

static struct object *known_node(const struct agent *agent)
{
    return informer_get(agent->nodes, NULL, agent->options.node_name);
}

/* Labels that the scheduler has seen may not have come here yet: so the node is asked for once before a pod is refused
 * for want of them, as upstream's kubelet does. */
static void node_got(void *context, const struct client_result *result)
{
    struct worker *w = context;
    w->unsettled = false;
    if (!w->agent->stopping && !w->gone && !w->state.seen.terminating) {
        cleanup_arena struct arena *arena = arena_new(4096);
        struct admission_refusal refusal;
        if (refuses(w, arena, client_ok(result) ? result->object : known_node(w->agent), &refusal))
            reject(w, &refusal);
    }
    worker_release(w);
}

static void admit_to_node(struct worker *w)
{
    struct agent *agent = w->agent;
    cleanup_arena struct arena *arena = arena_new(4096);
    struct admission_refusal refusal;
    if (!refuses(w, arena, known_node(agent), &refusal))
        return;
    if (strcmp(refusal.reason, ADMISSION_NODE_AFFINITY) != 0) {
        reject(w, &refusal);
        return;
    }
    w->unsettled = true;
    worker_hold(w);
    client_get(agent->client, &api_resources[API_NODES], NULL, agent->options.node_name, node_got, w);
}

void worker_admit(struct worker *w)
{
    const bool *shown = pressure_shown(w->agent->pressure);
    cleanup_free char *sysctls = pod_sysctls_refusal(&worker_pod(w)->spec, w->agent->options.unsafe_sysctls);
    cleanup_arena struct arena *arena = arena_new(256);
    if (!eviction_admits(worker_pod(w), shown))
        worker_reject(w, EVICTION_REASON, eviction_refusal(arena, shown));
    else if (sysctls)
        worker_reject(w, POD_SYSCTLS_FORBIDDEN, sysctls);
    else if (!w->state.seen.terminating)
        admit_to_node(w);
}
