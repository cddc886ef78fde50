/* Whether the node takes in a pod that is new to it, and one that asks for more. */
#include <stdlib.h>
#include <string.h>

#include "api/pod_condition.h"
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "node/admission.h"
#include "node/pod_sysctls.h"
#include "node/preemption.h"
#include "node/pressure.h"
#include "node/registration.h"
#include "node/worker.h"

/* A pod waits no less for others to end for it. */
#define PATIENCE_LEAST (10 * SECOND)

/* Those that upstream's kubelet counts: taken in, and not known to have ended. The scheduler counts a pod no longer
 * than until its object has ended or gone, and this node hears of that before it hears of a pod that is bound to the
 * room: so a pod whose object has ended or is about to go does not count here either. The room of one that ends for
 * another is that other's, which counts while it waits. */
static bool counts(const struct worker *other)
{
    return !other->unsettled && !other->gone && !other->finishing && !other->makes_room_for &&
           !other->state.seen.torn_down && !pod_is_over(&other->state.seen) && !pod_has_ended(worker_pod(other));
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

/* What is asked of the node when it is asked to take the pod: the others are those that count. */
struct question {
    struct admission_request request;
    struct worker **workers; /* of the others */
};

static struct question ask(const struct worker *w, struct arena *arena, const struct pod *pod,
                           const struct object *node)
{
    const struct map *workers = &w->agent->workers;
    struct worker **found = arena_alloc(arena, (workers->count + 1) * sizeof(*found));
    const struct pod **others = arena_alloc(arena, (workers->count + 1) * sizeof(*others));
    size_t count = 0;
    for (struct map_slot *s = NULL; (s = map_next(workers, s));) {
        struct worker *other = s->value;
        if (other == w || !counts(other))
            continue;
        found[count] = other;
        others[count++] = worker_allocated_pod(other, arena);
    }
    return (struct question){.request = {.pod = pod,
                                         .node = node_with_room(w, arena, node),
                                         .others = others,
                                         .count = count,
                                         .known = w->known},
                             .workers = found};
}

static void reject(struct worker *w, const struct admission_refusal *refusal)
{
    w->refused_for = mem_string(refusal->reason);
    worker_reject(w, w->refused_for, refusal->message);
}

static int64_t grace_of(const struct worker *w)
{
    return duration_of_seconds(worker_pod(w)->spec.termination_grace_period_seconds.value);
}

/* They end all at once, and it waits for all of them. */
static void await(struct worker *w, struct worker *const *victims, size_t count)
{
    int64_t longest = PATIENCE_LEAST;
    for (size_t i = 0; i < count; i++) {
        int64_t patience = grace_of(victims[i]) + grace_of(victims[i]) / 2;
        longest = patience > longest ? patience : longest;
        worker_preempt(victims[i], w);
    }
    w->awaited = count;
    w->awaited_until = env_now(w->agent->env) + longest;
}

static void make_room(struct worker *w, struct arena *arena, const struct question *question,
                      const struct admission_shortages *shortages)
{
    size_t *chosen = arena_alloc(arena, question->request.count * sizeof(*chosen)), count = 0;
    const char *failure = preemption_choose(arena, &question->request, shortages, chosen, &count);
    if (failure) {
        reject(w, &(struct admission_refusal){PREEMPTION_FAILED, failure});
        return;
    }
    struct worker **victims = arena_alloc(arena, count * sizeof(struct worker *));
    for (size_t i = 0; i < count; i++)
        victims[i] = question->workers[chosen[i]];
    await(w, victims, count);
}

/* Takes the pod to the node with these labels. False: it has been refused, as `out` says. */
static bool take_in(struct worker *w, struct arena *arena, const struct object *node, struct admission_refusal *out)
{
    struct question question = ask(w, arena, worker_allocated_pod(w, arena), node);
    if (admission_refuses(arena, &question.request, out))
        return false;
    struct admission_shortages shortages = admission_shortages(arena, &question.request);
    if (shortages.count)
        make_room(w, arena, &question, &shortages);
    return true;
}

bool worker_awaits_room(struct worker *w)
{
    int64_t now = env_now(w->agent->env);
    if (w->awaited && !w->state.seen.terminating && now < w->awaited_until) {
        env_timer_start(w->timer, w->awaited_until - now);
        return true;
    }
    w->awaited = 0;
    return false;
}

void worker_made_room(struct worker *w)
{
    struct worker *waiting = w->makes_room_for ? map_get(&w->agent->workers, w->makes_room_for) : NULL;
    if (waiting && waiting->awaited && --waiting->awaited == 0)
        worker_poke(waiting);
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
        if (!take_in(w, arena, client_ok(result) ? result->object : known_node(w->agent), &refusal))
            reject(w, &refusal);
    }
    worker_release(w);
}

static void admit_to_node(struct worker *w)
{
    struct agent *agent = w->agent;
    cleanup_arena struct arena *arena = arena_new(4096);
    struct admission_refusal refusal;
    if (take_in(w, arena, known_node(agent), &refusal))
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

const char *worker_refuses_resize(const struct worker *w, struct arena *arena, const char **message)
{
    struct question question = ask(w, arena, worker_pod(w), known_node(w->agent));
    return admission_refuses_resize(arena, &question.request, message);
}
