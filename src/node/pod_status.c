/* From the agent's state of a pod to its status: container states, conditions, phase. */
#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "api/pod_condition.h"
#include "api/pod_containers.h"
#include "api/pod_qos.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "node/limits.h"
#include "node/pod_state.h"
#include "node/security.h"

/* Upstream prefixes ids with the runtime's name. */
#define ID_SCHEME "crun://"
/* Conditions that the agent writes, and those that it keeps of others. */
#define CONDITIONS_MAX 32

int pod_state_find(const struct pod_state *state, const char *name)
{
    for (size_t i = 0; i < state->seen.container_count; i++)
        if (strcmp(state->seen.containers[i].spec->name, name) == 0)
            return (int)i;
    return -1;
}

static struct container_state_terminated *terminated(struct arena *arena, const struct container_termination *from)
{
    struct container_state_terminated *t = arena_alloc(arena, sizeof(*t));
    t->container_id = from->container_id ? arena_printf(arena, ID_SCHEME "%s", from->container_id) : NULL;
    t->exit_code = from->exit_code;
    t->reason = arena_string(arena, from->reason);
    t->message = arena_string(arena, from->message);
    t->started_at = from->started_at;
    t->finished_at = from->finished_at;
    return t;
}

/* The backoff that a container waits for, or was waiting for when its next run was begun: upstream shows it until that
 * one runs. 0: none. */
static int64_t restart_delay(const struct container_observation *seen, const struct container_record *record)
{
    if (seen->phase == CONTAINER_STARTING)
        return record->delayed;
    return seen->phase == CONTAINER_EXITED && container_restart_at(seen) ? seen->restart.delay : 0;
}

/* The state of a container that is not running but is to run again. */
static void set_waiting(struct arena *arena, const struct pod_state *state, size_t i, struct container_status *out)
{
    const struct container_observation *seen = &state->seen.containers[i];
    const struct container_record *record = &state->records[i];
    const struct pod *pod = state->pod->value;
    struct container_state_waiting *w = arena_alloc(arena, sizeof(*w));
    out->state.waiting = w;
    int64_t backoff = restart_delay(seen, record);
    if (record->waiting_reason) {
        w->reason = arena_string(arena, record->waiting_reason);
        w->message = arena_string(arena, record->waiting_message);
    } else if (backoff) {
        char delay[TIME_TEXT_MAX];
        duration_format(backoff, delay);
        w->reason = "CrashLoopBackOff";
        w->message = arena_printf(arena, "back-off %s restarting failed container=%s pod=%s_%s(%s)", delay,
                                  seen->spec->name, pod->metadata.name, pod->metadata.namespace, pod->metadata.uid);
    } else {
        w->reason = pod->spec.init_containers.count ? "PodInitializing" : "ContainerCreating";
    }
    if (record->current.container_id)
        out->last_state.terminated = terminated(arena, &record->current);
}

/* What the node has allotted, and what is in force. */
static void set_resources(struct arena *arena, const struct pod_state *state, size_t i, struct container_status *out)
{
    const struct container_observation *seen = &state->seen.containers[i];
    const struct container_record *record = &state->records[i];
    const struct pod *pod = state->pod->value;
    struct resource_requirements *shown = arena_alloc(arena, sizeof(*shown));
    const struct resource_requirements *allocated =
        api_copy(arena, &api_type_resource_requirements, &record->allocated);
    *shown = *allocated;
    if (seen->phase == CONTAINER_RUNNING)
        limits_shown(arena, &pod->spec, allocated, &record->actual, shown);
    out->resources = shown;
    out->allocated_resources = allocated->requests;
}

static void set_mounts(struct arena *arena, const struct container *spec, struct volume_mount_status_array *out)
{
    out->count = spec->volume_mounts.count;
    out->items = arena_alloc(arena, (out->count + 1) * sizeof(*out->items));
    for (size_t i = 0; i < out->count; i++) {
        const struct volume_mount *m = &spec->volume_mounts.items[i];
        bool recursively = m->recursive_read_only && strcmp(m->recursive_read_only, "Disabled") != 0;
        out->items[i] = (struct volume_mount_status){.name = m->name,
                                                     .mount_path = m->mount_path,
                                                     .read_only = m->read_only,
                                                     .recursive_read_only = !m->read_only ? NULL
                                                                            : recursively ? "Enabled"
                                                                                          : "Disabled"};
    }
}

/* How the run before the one that is being made ended, or NULL. An init container that had succeeded begins anew. */
static const struct container_termination *end_before(const struct pod_state *state, size_t i)
{
    const struct container_observation *seen = &state->seen.containers[i];
    const struct container_termination *last = &state->records[i].last;
    bool anew = seen->init && !container_is_sidecar(seen) && last->exit_code == 0;
    return last->container_id && !anew ? last : NULL;
}

/* How the last run of a container that does not run ended, or NULL when that is not its state: there is none, or it
 * waits. One that runs again at once is shown as ended until it does. The API lets one that has been shown so run again
 * only as its rules and policies say: what runs again for another reason, such as a new image, waits meanwhile. */
static const struct container_termination *end_shown(const struct pod_state *state, const char *phase, size_t i)
{
    const struct container_observation *seen = &state->seen.containers[i];
    const struct container_record *record = &state->records[i];
    const struct pod *pod = state->pod->value;
    const struct container_termination *end = seen->phase == CONTAINER_EXITED     ? &record->current
                                              : seen->phase == CONTAINER_STARTING ? end_before(state, i)
                                                                                  : NULL;
    if (end == &record->current) {
        bool final = state->seen.terminating || pod_is_over(&state->seen) || text_equal(phase, "Failed");
        if (final ? !seen->start_failed || end->container_id : !container_should_restart(&state->seen, seen))
            return end;
    }
    bool at_once = !seen->start_failed && !record->waiting_reason && !restart_delay(seen, record);
    return end && at_once && api_container_should_restart(seen->spec, &pod->spec, end->exit_code) ? end : NULL;
}

static void set_status(struct arena *arena, const struct pod_state *state, const char *phase, size_t i,
                       struct container_status *out)
{
    const struct container_observation *seen = &state->seen.containers[i];
    const struct container_record *record = &state->records[i];
    const struct container_termination *end = end_shown(state, phase, i);
    bool running = container_is_up(seen), starting = seen->phase == CONTAINER_STARTING;
    out->name = seen->spec->name;
    out->image = arena_string(arena, record->image ? record->image : seen->spec->image);
    out->image_id = arena_string(arena, record->image_id ? record->image_id : "");
    /* One that the runtime has forgotten is shown as it was. */
    const char *id = record->id ? record->id : seen->phase == CONTAINER_EXITED ? record->current.container_id : NULL;
    if (starting && record->last.container_id)
        id = record->last.container_id;
    out->container_id = !text_empty(id) ? arena_printf(arena, ID_SCHEME "%s", id) : NULL;
    out->user = record->id && record->user ? security_user_read(arena, record->user) : NULL;
    out->restart_count = record->restart_count;
    if (!seen->ephemeral)
        set_resources(arena, state, i, out);
    set_mounts(arena, seen->spec, &out->volume_mounts);
    if (seen->spec->lifecycle)
        out->stop_signal = seen->spec->lifecycle->stop_signal;
    out->ready = seen->init && !container_is_sidecar(seen) ? container_init_done(seen)
                                                           : running && seen->started && record->ready;
    out->ready &= !seen->ephemeral;
    if (!seen->ephemeral)
        out->started = opt_bool(running && seen->started);
    if (record->last.container_id && end != &record->last)
        out->last_state.terminated = terminated(arena, &record->last);
    if (running) {
        out->state.running = arena_alloc(arena, sizeof(*out->state.running));
        out->state.running->started_at = record->started_at;
    } else if (end) {
        out->state.terminated = terminated(arena, end);
    } else {
        set_waiting(arena, state, i, out);
    }
}

/* One that the API has as ended for good may be running once more, such as an init container after the machine has
 * started again. The API takes no status that says so: it stays as it was shown until it ends. */
static void keep_end(const struct pod_spec *spec, const struct container_observation *seen,
                     const struct container_status *shown, struct container_status *out)
{
    const struct container_state_terminated *end = shown ? shown->state.terminated : NULL;
    if (end && !out->state.terminated && !api_container_should_restart(seen->spec, spec, end->exit_code))
        out->state = shown->state;
}

struct conditions {
    struct arena *arena;
    const struct pod_condition_array *old;
    struct pod_condition items[CONDITIONS_MAX];
    size_t count;
    int64_t generation;
    int64_t now;
};

static void add_condition(struct conditions *c, const char *type, bool value, const char *reason, const char *message)
{
    const struct pod_condition *old = pod_condition_find(c->old, type);
    struct pod_condition *out = &c->items[c->count++];
    *out = (struct pod_condition){.type = type,
                                  .status = value ? "True" : "False",
                                  .reason = value ? NULL : reason,
                                  .message = value ? NULL : message,
                                  .observed_generation = c->generation,
                                  .last_transition_time = c->now};
    if (old && strcmp(old->status, out->status) == 0 && old->last_transition_time)
        out->last_transition_time = old->last_transition_time;
}

/* "containers with unready status: [a b]", or NULL when all are as they should be. */
static const char *unready_containers(struct arena *arena, const struct pod_state *state,
                                      const struct container_status *statuses)
{
    cleanup_buffer struct buffer out = {0};
    for (size_t i = 0; i < state->seen.container_count; i++) {
        const struct container_observation *c = &state->seen.containers[i];
        if ((container_is_main(c) || container_is_sidecar(c)) && !statuses[i].ready)
            buffer_printf(&out, "%s%s", out.size ? " " : "", statuses[i].name);
    }
    return out.size ? arena_printf(arena, "containers with unready status: [%s]", out.data) : NULL;
}

/* The same of init containers that have not succeeded and sidecars that have not started; once the containers have
 * been started, all of them are forgiven. */
static const char *incomplete_containers(struct arena *arena, const struct pod_state *state,
                                         const struct container_status *statuses)
{
    cleanup_buffer struct buffer out = {0};
    for (size_t i = 0; i < state->seen.container_count; i++) {
        const struct container_observation *c = &state->seen.containers[i];
        const struct container_status *s = &statuses[i];
        if (container_is_main(c) && (s->state.running || s->state.terminated))
            return NULL;
        if (c->init && !(container_is_sidecar(c) ? s->started.value : s->ready))
            buffer_printf(&out, "%s%s", out.size ? " " : "", s->name);
    }
    return out.size ? arena_printf(arena, "containers with incomplete status: [%s]", out.data) : NULL;
}

/* The readiness gates' conditions are set by others; a missing one counts as False. */
static const char *unmet_gates(struct arena *arena, const struct pod *pod)
{
    cleanup_buffer struct buffer out = {0};
    for (size_t i = 0; i < pod->spec.readiness_gates.count; i++) {
        const char *type = pod->spec.readiness_gates.items[i].condition_type;
        const struct pod_condition *c = pod_condition_find(&pod->status.conditions, type);
        const char *comma = out.size ? ", " : "";
        if (!c)
            buffer_printf(&out, "%scorresponding condition of pod readiness gate \"%s\" does not exist.", comma, type);
        else if (strcmp(c->status, "True") != 0)
            buffer_printf(&out, "%sthe status of pod readiness gate \"%s\" is not \"True\", but %s", comma, type,
                          c->status);
    }
    return out.size ? arena_string(arena, out.data) : NULL;
}

static bool ours(const char *type)
{
    static const char *const types[] = {"PodReadyToStartContainers", "Initialized",      "Ready",
                                        "ContainersReady",           "PodResizePending", "PodResizeInProgress"};
    for (size_t i = 0; i < ARRAY_COUNT(types); i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

/* `phase`: what the pod comes to, which out->phase may not say yet. */
static void set_conditions(struct arena *arena, const struct pod_state *state, const struct pod *pod, const char *phase,
                           const struct container_status *statuses, int64_t now, struct pod_status *out)
{
    struct conditions c = {
        .arena = arena, .old = &pod->status.conditions, .generation = pod->metadata.generation, .now = now};
    bool succeeded = text_equal(phase, "Succeeded"), failed = text_equal(phase, "Failed");
    bool disrupted = state->disruption && text_equal(out->phase, "Failed");
    const char *initializing = incomplete_containers(arena, state, statuses);
    const char *unready = unready_containers(arena, state, statuses);
    const char *gates = unmet_gates(arena, pod);
    const char *over = succeeded ? "PodCompleted" : failed ? "PodFailed" : NULL;

    add_condition(&c, "PodReadyToStartContainers", state->seen.sandbox == PART_READY, NULL, NULL);
    add_condition(&c, "Initialized", !initializing || succeeded, "ContainersNotInitialized", initializing);
    add_condition(&c, "Ready", !over && !unready && !gates,
                  over      ? over
                  : unready ? "ContainersNotReady"
                            : "ReadinessGatesNotReady",
                  over      ? NULL
                  : unready ? unready
                            : gates);
    add_condition(&c, "ContainersReady", !over && !unready, over ? over : "ContainersNotReady", over ? NULL : unready);
    if (succeeded)
        c.items[1].reason = over;
    if (disrupted) {
        add_condition(&c, "DisruptionTarget", true, NULL, NULL);
        c.items[c.count - 1].reason = "TerminationByKubelet";
        c.items[c.count - 1].message = arena_string(arena, state->disruption);
    }
    const struct pod_resize *resize = &state->resize;
    if (resize->pending) {
        add_condition(&c, "PodResizePending", true, NULL, NULL);
        c.items[c.count - 1].reason = resize->pending;
        c.items[c.count - 1].message = arena_string(arena, resize->message);
    }
    if (resize->in_progress) {
        add_condition(&c, "PodResizeInProgress", true, NULL, NULL);
        c.items[c.count - 1].observed_generation = resize->generation;
        c.items[c.count - 1].reason = resize->error ? "Error" : NULL;
        c.items[c.count - 1].message = arena_string(arena, resize->error);
    }
    for (size_t i = 0; i < pod->status.conditions.count && c.count < CONDITIONS_MAX; i++)
        if (!ours(pod->status.conditions.items[i].type) &&
            !(disrupted && strcmp(pod->status.conditions.items[i].type, "DisruptionTarget") == 0))
            c.items[c.count++] = pod->status.conditions.items[i];
    out->conditions.items = arena_copy(arena, c.items, c.count * sizeof(c.items[0]));
    out->conditions.count = c.count;
}

/* Whether a container of it runs, or may be about to. */
static bool may_run(const struct pod_observation *seen)
{
    for (size_t i = 0; i < seen->container_count; i++)
        if (seen->containers[i].phase == CONTAINER_STARTING || seen->containers[i].phase == CONTAINER_RUNNING)
            return true;
    return false;
}

/* A pod is over for the API, which gives what it held to others, when the last of its containers has ended: until then
 * it shows the phase and the reason that it had. Once over it stays so, as upstream's status manager sees to, whatever
 * an agent that has just started knows of its containers. Returns what it comes to. */
static const char *set_phase(struct arena *arena, const struct pod_state *state, const struct pod *pod,
                             struct pod_status *out)
{
    const char *phase = state->reason ? "Failed" : pod_phase(&state->seen);
    bool ends = text_equal(phase, "Failed") || text_equal(phase, "Succeeded");
    if (pod_has_ended(pod))
        return pod->status.phase;
    if (ends && may_run(&state->seen))
        return phase;
    out->phase = phase;
    out->reason = state->reason;
    out->message = arena_string(arena, state->message);
    return phase;
}

void pod_status_build(struct arena *arena, const struct pod_state *state, const struct pod *pod, const char *host_ip,
                      const char *host_ip6, int64_t now, struct pod_status *out)
{
    /* What others own (nominated node, resize...) stays as it is. */
    *out = pod->status;
    const char *phase = set_phase(arena, state, pod, out);
    out->qos_class = api_pod_qos_class(&pod->spec);
    out->observed_generation = pod->metadata.generation;
    out->start_time = state->seen.start_time;
    out->host_ip = arena_string(arena, host_ip);
    const char *host_ips[] = {out->host_ip, arena_string(arena, host_ip6)};
    out->host_ips.items = arena_copy(arena, host_ips, sizeof(host_ips));
    out->host_ips.count = host_ip6 ? 2 : 1;
    const char *ip = pod->spec.host_network ? host_ip : state->ip;
    const char *ip6 = pod->spec.host_network ? host_ip6 : state->ip6;
    if (ip) {
        out->pod_ip = arena_string(arena, ip);
        const char *ips[] = {out->pod_ip, arena_string(arena, ip6)};
        out->pod_ips.items = arena_copy(arena, ips, sizeof(ips));
        out->pod_ips.count = ip6 ? 2 : 1;
    }

    if (state->rejected) {
        /* There never was anything of it here. */
        out->init_container_statuses.count = out->container_statuses.count = 0;
        out->init_container_statuses.items = out->container_statuses.items = NULL;
        return;
    }
    size_t inits = 0, mains = 0, count = state->seen.container_count;
    struct container_status *statuses = arena_alloc(arena, count * sizeof(*statuses));
    for (size_t i = 0; i < count; i++) {
        const struct container_observation *seen = &state->seen.containers[i];
        set_status(arena, state, pod->status.phase, i, &statuses[i]);
        if (!seen->ephemeral)
            keep_end(&pod->spec, seen, pod_container_status(&pod->status, seen->spec->name), &statuses[i]);
        inits += state->seen.containers[i].init;
        mains += container_is_main(&state->seen.containers[i]);
    }
    out->init_container_statuses.items = inits ? statuses : NULL;
    out->init_container_statuses.count = inits;
    out->container_statuses.items = statuses + inits;
    out->container_statuses.count = mains;
    out->ephemeral_container_statuses.items = count > inits + mains ? statuses + inits + mains : NULL;
    out->ephemeral_container_statuses.count = count - inits - mains;
    set_conditions(arena, state, pod, phase, statuses, now, out);
}
