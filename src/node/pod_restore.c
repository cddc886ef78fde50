/* What an agent that starts learns of a pod from its status in the API. */
#include <stdlib.h>
#include <string.h>

#include "api/pod_resources.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "node/pod_state.h"
#include "node/runtime/container.h"

/* Of a container whose end nobody saw, as upstream's kubelet says it. */
#define LOST_REASON "ContainerStatusUnknown"
#define LOST_MESSAGE "The container could not be located when the pod was deleted.  The container used to be Running"

/* Without the scheme of the runtime. */
static char *plain_id(const char *container_id)
{
    const char *id = container_id ? strstr(container_id, "://") : NULL;
    return mem_string(id ? id + 3 : "");
}

static struct container_termination termination_of(const struct container_state_terminated *t)
{
    return (struct container_termination){.container_id = plain_id(t->container_id),
                                          .reason = mem_string(text_or_empty(t->reason)),
                                          .message = t->message ? mem_string(t->message) : NULL,
                                          .exit_code = t->exit_code,
                                          .started_at = t->started_at,
                                          .finished_at = t->finished_at};
}

/* It has ended so; `earlier` as in node/decide.h. */
static void set_ended(struct pod_state *state, size_t i, struct container_termination end, bool earlier)
{
    struct container_observation *c = &state->seen.containers[i];
    state->records[i].current = end;
    c->phase = CONTAINER_EXITED;
    c->ran = true;
    c->earlier = earlier;
    c->exit_code = end.exit_code;
    c->finished_at = end.finished_at;
    c->started = state->records[i].ready = false;
}

/* An ephemeral container that has run does not run again, even if the runtime has forgotten it. */
static void restore_ephemeral(struct pod_state *state, size_t i, const struct container_status *s)
{
    static const struct container_state_terminated unknown = {.reason = LOST_REASON, .exit_code = RUNTIME_EXIT_UNKNOWN};
    if (state->seen.containers[i].ephemeral && (s->state.terminated || s->state.running))
        set_ended(state, i, termination_of(s->state.terminated ? s->state.terminated : &unknown), false);
}

static void restore(struct pod_state *state, size_t i, const struct container_status *s)
{
    struct container_record *r = &state->records[i];
    r->restart_count = r->attempt = s->restart_count;
    r->ready = s->ready;
    state->seen.containers[i].started = s->started.set && s->started.value;
    restore_ephemeral(state, i, s);
    if (!s->last_state.terminated)
        return;
    state->seen.containers[i].ran = true;
    r->last = termination_of(s->last_state.terminated);
}

void pod_state_restore(struct pod_state *state, const struct pod *shown)
{
    const struct container_status_array *lists[] = {&shown->status.init_container_statuses,
                                                    &shown->status.container_statuses,
                                                    &shown->status.ephemeral_container_statuses};
    for (size_t l = 0; l < ARRAY_COUNT(lists); l++)
        for (size_t i = 0; i < lists[l]->count; i++) {
            int at = pod_state_find(state, lists[l]->items[i].name);
            if (at >= 0)
                restore(state, (size_t)at, &lists[l]->items[i]);
        }
}

/* What ran has ended, nobody knows how. What waited for its next run had ended as its last state says. */
static void restore_lost(struct pod_state *state, size_t i, const struct container_status *s, bool earlier, int64_t now)
{
    struct container_record *r = &state->records[i];
    if (!text_empty(s->image_id)) {
        free(r->image);
        free(r->image_id);
        r->image = mem_string(s->image);
        r->image_id = mem_string(s->image_id);
    }
    if (s->state.terminated) {
        set_ended(state, i, termination_of(s->state.terminated), earlier);
    } else if (s->state.running) {
        struct container_termination end = {.container_id = plain_id(s->container_id),
                                            .reason = mem_string(LOST_REASON),
                                            .message = mem_string(LOST_MESSAGE),
                                            .exit_code = RUNTIME_EXIT_UNKNOWN,
                                            .started_at = s->state.running->started_at,
                                            .finished_at = now};
        set_ended(state, i, end, earlier);
    } else if (r->last.container_id) {
        struct container_termination end = r->last;
        r->last = (struct container_termination){0};
        set_ended(state, i, end, earlier);
    }
}

void pod_state_restore_lost(struct pod_state *state, const struct pod *shown, bool sandbox_lost, int64_t now)
{
    bool earlier = sandbox_lost && !text_equal(shown->spec.restart_policy, "Never");
    for (size_t i = 0; i < state->seen.container_count; i++) {
        const struct container_observation *c = &state->seen.containers[i];
        const struct container_status *s = pod_container_status(&shown->status, c->spec->name);
        if (s && !c->ephemeral && !state->records[i].id)
            restore_lost(state, i, s, earlier, now);
    }
}
