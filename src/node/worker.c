/* The worker of one pod: observation, turn, status. What actions do is in the other worker_*.c
 * files. */
#include "node/worker.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/pod_condition.h"
#include "api/pod_containers.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/timestamp.h"
#include "node/prober.h"
#include "node/runtime/container.h"
#include "node/runtime/sandbox.h"
#include "node/static_pods.h"
#include "node/volume.h"

#define EVENT_TEXT_MAX 1024
/* How long a status or a delete that was refused waits before it is tried again. */
#define WRITE_RETRY (1 * SECOND)

const struct pod *worker_pod(const struct worker *w)
{
    return w->state.pod->value;
}

struct object *worker_config_map(void *context, const char *name)
{
    struct worker *w = context;
    return informer_get(w->agent->config_maps, worker_pod(w)->metadata.namespace, name);
}

struct object *worker_secret(void *context, const char *name)
{
    struct worker *w = context;
    return informer_get(w->agent->secrets, worker_pod(w)->metadata.namespace, name);
}

struct object *worker_claim(void *context, const char *name)
{
    struct worker *w = context;
    return informer_get(w->agent->claims, worker_pod(w)->metadata.namespace, name);
}

struct object *worker_persistent_volume(void *context, const char *name)
{
    struct worker *w = context;
    return informer_get(w->agent->volumes, NULL, name);
}

void worker_event(struct worker *w, const struct container *container, const char *type, const char *reason,
                  const char *format, ...)
{
    char text[EVENT_TEXT_MAX], path[128];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (container) {
        const struct container_observation *c = &w->state.seen.containers[pod_state_find(&w->state, container->name)];
        snprintf(path, sizeof(path), "spec.%s{%s}",
                 c->init        ? "initContainers"
                 : c->ephemeral ? "ephemeralContainers"
                                : "containers",
                 container->name);
    }
    recorder_event(w->agent->recorder, &api_resources[API_PODS], w->state.pod->meta, container ? path : NULL, type,
                   reason, "%s", text);
}

void worker_set_waiting(struct worker *w, size_t i, const char *reason, const char *message)
{
    struct container_record *r = &w->state.records[i];
    free(r->waiting_reason);
    free(r->waiting_message);
    r->waiting_reason = reason ? mem_string(reason) : NULL;
    r->waiting_message = message ? mem_string(message) : NULL;
    w->status_dirty = true;
}

static void free_termination(struct container_termination *t)
{
    free(t->container_id);
    free(t->reason);
    free(t->message);
    *t = (struct container_termination){0};
}

static void worker_free(struct worker *w)
{
    worker_free_probes(w);
    worker_free_hooks(w);
    env_timer_free(w->timer);
    worker_free_drain(w);
    if (!w->agent->stopping)
        worker_withhold(w, false);
    if (w->is_static)
        static_pods_worker_gone(w->agent->static_pods, w);
    object_unref(w->mirror);
    env_timer_free(w->usage);
    worker_forget_tokens(w);
    worker_forget_volume_images(w);
    for (size_t i = 0; i < w->state.seen.container_count; i++) {
        struct container_record *r = &w->state.records[i];
        free(r->id);
        free(r->image);
        free(r->image_id);
        free(r->user);
        free(r->waiting_reason);
        free(r->waiting_message);
        free_termination(&r->current);
        free_termination(&r->last);
        free(w->contexts[i]);
    }
    map_remove(&w->agent->workers, worker_pod(w)->metadata.uid);
    worker_free_allocation(w);
    agent_room_made(w->agent);
    free(w->state.seen.containers);
    free(w->state.records);
    free(w->state.ip);
    free(w->state.ip6);
    free(w->state.message);
    free(w->refused_for);
    free(w->makes_room_for);
    free(w->probers);
    free(w->hooks);
    free(w->contexts);
    free(w->ephemeral);
    free(w->directory);
    object_unref(w->state.pod);
    agent_settled(w->agent);
    free(w);
}

static bool may_go(const struct worker *w)
{
    return !w->pending && (w->agent->stopping || (w->gone && w->state.seen.torn_down));
}

void worker_hold(struct worker *w)
{
    w->pending++;
}

void worker_release(struct worker *w)
{
    w->pending--;
    worker_poke(w);
}

/* ---- Status ---- */

/* A write was refused: the next waits a while. After a conflict the informer brings the newer object, and what it
 * brings is written on top of at once. */
static void refused(struct worker *w, const struct client_result *result, const char *what)
{
    w->write_at = env_now(w->agent->env) + WRITE_RETRY;
    if (result->code != 404 && result->code != 409)
        log_warning("Cannot %s pod %s/%s: %s", what, w->state.pod->meta->namespace, w->state.pod->meta->name,
                    result->status ? result->status->message : "");
}

static void status_written(void *context, const struct client_result *result)
{
    struct worker *w = context;
    w->status_busy = false;
    if (!client_ok(result))
        refused(w, result, "write the status of");
    if (client_ok(result) && result->object && w->is_static)
        worker_mirror_changed(w, result->object);
    else if (client_ok(result) && result->object && result->object->revision > w->state.pod->revision)
        worker_update(w, result->object);
    for (size_t i = 0; client_ok(result) && i < w->state.seen.container_count; i++) {
        worker_show_image_backoff(w, i);
        worker_show_restart_backoff(w, i);
    }
    w->status_dirty = true;
    worker_release(w);
}

/* Writes the status if it differs from what the API has. That the pod is not ready any more is known to the data plane
 * of this node before it is written. */
static void write_status(struct worker *w, int64_t now)
{
    const struct object *shown = worker_reported(w);
    /* What is not known yet is not reported: it would contradict what the API remembers. */
    for (size_t i = 0; i < w->state.seen.container_count; i++)
        if (w->state.records[i].end_unread)
            return;
    if (!w->status_dirty || w->gone || w->finishing || w->frozen || w->agent->stopping || !shown || w->mirror_busy)
        return;
    struct arena *arena = arena_new(8192);
    struct pod *pod = arena_copy(arena, shown->value, sizeof(*pod));
    pod_status_build(arena, &w->state, shown->value, w->agent->options.node_address, w->agent->options.node_address6,
                     now, &pod->status);
    worker_withhold(w, !pod_is_ready(pod));
    if (w->status_busy || now < w->write_at) {
        arena_free(arena);
        return;
    }
    w->status_dirty = false;
    if (api_equal(&api_type_pod_status, &pod->status, &((const struct pod *)shown->value)->status)) {
        arena_free(arena);
        return;
    }
    /* The copy shares strings with the snapshot: deepen it, the snapshot may go first. */
    struct arena *own = arena_new(arena_size(arena) * 2);
    struct pod *copy = api_copy(own, &api_type_pod, pod);
    arena_free(arena);
    w->status_busy = true;
    worker_hold(w);
    client_update(w->agent->client, &api_resources[API_PODS], "status", own, copy, status_written, w);
}

/* ---- The end of the object ---- */

static void finished(void *context, const struct client_result *result)
{
    struct worker *w = context;
    w->finishing = false;
    if (client_ok(result) || result->code == 404 || result->code == 409)
        w->gone = true;
    else
        refused(w, result, "delete");
    worker_release(w);
}

static void finish(struct worker *w)
{
    if (w->finishing || w->gone || w->status_busy || env_now(w->agent->env) < w->write_at)
        return;
    if (!w->last_words) {
        w->last_words = w->status_dirty = true;
        write_status(w, env_now(w->agent->env)); /* how the containers ended */
        if (w->status_busy)
            return; /* the turn after it has been written, or refused, comes here again */
    }
    w->finishing = true;
    worker_hold(w);
    client_delete(w->agent->client, &api_resources[API_PODS], w->state.pod->meta->namespace, w->state.pod->meta->name,
                  w->state.pod->meta->uid, 0, NULL, finished, w);
}

/* ---- Turns ---- */

static void exceed_deadline(struct worker *w)
{
    static const char message[] = "Pod was active on the node longer than the specified deadline";
    const struct pod *pod = worker_pod(w);
    w->state.reason = "DeadlineExceeded";
    w->state.message = mem_string(message);
    worker_event(w, NULL, "Normal", "DeadlineExceeded", "%s", message);
    w->state.seen.terminating = true;
    w->state.seen.terminate_by =
        env_now(w->agent->env) + duration_of_seconds(pod->spec.termination_grace_period_seconds.value);
    worker_poke(w);
}

static void act(struct worker *w, const struct pod_action *action)
{
    switch (action->kind) {
    case ACTION_MOUNT_VOLUMES:
        worker_mount_volumes(w);
        break;
    case ACTION_CREATE_SANDBOX:
        worker_create_sandbox(w);
        break;
    case ACTION_PULL_IMAGE:
        worker_pull_image(w, action->container);
        break;
    case ACTION_START_CONTAINER:
        worker_start_container(w, action->container);
        break;
    case ACTION_PRE_STOP:
        worker_pre_stop(w, action->container, action->grace);
        break;
    case ACTION_STOP_CONTAINER:
        worker_stop_container(w, action->container);
        break;
    case ACTION_KILL_CONTAINER:
        worker_kill_container(w, action->container);
        break;
    case ACTION_EXCEED_DEADLINE:
        exceed_deadline(w);
        break;
    case ACTION_DRAIN:
        worker_drain(w);
        break;
    case ACTION_TEAR_DOWN:
        worker_tear_down(w);
        break;
    case ACTION_FINISH:
        finish(w);
        break;
    }
}

static void turn(void *context)
{
    struct worker *w = context;
    w->poked = false;
    if (may_go(w)) {
        worker_free(w);
        return;
    }
    if (w->agent->stopping || w->unsettled)
        return;
    if (worker_awaits_room(w)) {
        worker_sync_mirror(w); /* so that the scheduler gives the room to nobody else */
        return;
    }
    struct pod_observation *seen = &w->state.seen;
    size_t most = POD_ACTIONS_PER_CONTAINER * seen->container_count + POD_ACTIONS_EXTRA;
    cleanup_free struct pod_action *actions = mem_alloc(most * sizeof(*actions));
    struct pod_decision decision = {.actions = actions};
    /* One time for both: what is due to run again now is not shown as ended for good. */
    int64_t now = env_now(w->agent->env), wake_at;
    const struct object *shown = worker_reported(w);
    seen->end_untold = shown && !pod_has_ended(shown->value);
    pod_decide(seen, now, &decision);
    for (size_t i = 0; i < decision.count; i++)
        act(w, &actions[i]);
    for (size_t i = 0; i < seen->container_count; i++)
        worker_sync_probes(w, i);
    worker_sync_mirror(w);
    w->status_dirty = true;
    write_status(w, now);
    now = env_now(w->agent->env);
    wake_at = decision.wake_at;
    if (w->write_at > now && (!wake_at || w->write_at < wake_at))
        wake_at = w->write_at;
    if (wake_at)
        env_timer_start(w->timer, wake_at - now);
    else
        env_timer_stop(w->timer);
}

void worker_poke(struct worker *w)
{
    if (w->poked)
        return;
    w->poked = true;
    env_defer(w->agent->env, turn, w);
}

static void wake(void *context)
{
    worker_poke(context);
}

/* ---- The object ---- */

static void begin_end(struct worker *w)
{
    struct pod_observation *seen = &w->state.seen;
    const struct object_meta *meta = w->state.pod->meta;
    int64_t now = env_now(w->agent->env);
    int64_t grace = duration_of_seconds(meta->deletion_grace_period_seconds.value);
    int64_t by = w->gone ? now : now + grace;
    /* A second delete may shorten the grace period, never lengthen it. */
    if (!seen->terminating || by < seen->terminate_by)
        seen->terminate_by = by;
    seen->terminating = true;
}

/* Makes room for `count` containers. */
static void grow(struct worker *w, size_t count)
{
    size_t old = w->state.seen.container_count, added = count - old;
    w->state.seen.containers = mem_resize(w->state.seen.containers, count * sizeof(*w->state.seen.containers));
    w->state.records = mem_resize(w->state.records, count * sizeof(*w->state.records));
    w->probers = mem_resize(w->probers, count * PROBER_KINDS * sizeof(*w->probers));
    w->hooks = mem_resize(w->hooks, count * sizeof(*w->hooks));
    w->contexts = mem_resize(w->contexts, count * sizeof(*w->contexts));
    memset(w->state.seen.containers + old, 0, added * sizeof(*w->state.seen.containers));
    memset(w->state.records + old, 0, added * sizeof(*w->state.records));
    memset(w->probers + old * PROBER_KINDS, 0, added * PROBER_KINDS * sizeof(*w->probers));
    memset(w->hooks + old, 0, added * sizeof(*w->hooks));
    for (size_t i = old; i < count; i++) {
        w->contexts[i] = mem_zero(1, sizeof(**w->contexts));
        *w->contexts[i] = (struct worker_context){w, i};
    }
    w->state.seen.container_count = count;
}

/* They come, change places and never go: each is known by its name. */
static void look_at_ephemeral(struct worker *w, size_t first)
{
    const struct ephemeral_container_array *now = &worker_pod(w)->spec.ephemeral_containers;
    struct container *common = mem_zero(now->count + 1, sizeof(*common));
    for (size_t k = 0; k < now->count; k++) {
        size_t at = first;
        while (at < w->state.seen.container_count &&
               strcmp(w->state.seen.containers[at].spec->name, now->items[k].name) != 0)
            at++;
        if (at == w->state.seen.container_count)
            grow(w, at + 1);
        common[k] = api_ephemeral_common(&now->items[k]);
        w->state.seen.containers[at].spec = &common[k];
        w->state.seen.containers[at].ephemeral = true;
    }
    free(w->ephemeral);
    w->ephemeral = common;
}

/* Points the observation at the snapshot's containers. */
static void look_at_spec(struct worker *w)
{
    const struct pod *pod = worker_pod(w);
    size_t n = 0;
    for (size_t i = 0; i < pod->spec.init_containers.count; i++, n++) {
        w->state.seen.containers[n].spec = &pod->spec.init_containers.items[i];
        w->state.seen.containers[n].init = true;
    }
    for (size_t i = 0; i < pod->spec.containers.count; i++, n++)
        w->state.seen.containers[n].spec = &pod->spec.containers.items[i];
    look_at_ephemeral(w, n);
    w->state.seen.pod = pod;
}

/* A running container makes way for one of the new image; one that waits for its image waits for the new one. */
static void image_changed(struct worker *w, size_t i)
{
    struct container_observation *c = &w->state.seen.containers[i];
    if (c->image != PART_BUSY)
        c->image = PART_NONE;
    c->image_backoff = (struct backoff){0};
    if (c->phase == CONTAINER_STARTING || c->phase == CONTAINER_RUNNING) {
        c->stop_cause = STOP_CHANGED;
    }
}

static bool metadata_changed(const struct object_meta *old, const struct object_meta *now)
{
    return !string_map_equal(&old->labels, &now->labels) || !string_map_equal(&old->annotations, &now->annotations);
}

static bool resized(const struct pod *pod)
{
    return pod_condition_find(&pod->status.conditions, "PodResizeInProgress");
}

void worker_update(struct worker *w, struct object *pod)
{
    if (!pod) {
        w->gone = true;
    } else if (pod->revision > w->state.pod->revision) {
        struct object *old = w->state.pod;
        w->state.pod = object_ref(pod);
        w->write_at = 0;
        w->last_words = false;
        for (size_t i = 0; i < w->state.seen.container_count && !w->state.seen.containers[i].ephemeral; i++) {
            const char *image = w->state.seen.containers[i].spec->image;
            const struct pod *now = pod->value;
            size_t inits = now->spec.init_containers.count;
            const char *fresh =
                i < inits ? now->spec.init_containers.items[i].image : now->spec.containers.items[i - inits].image;
            if (strcmp(image, fresh) != 0)
                image_changed(w, i);
        }
        look_at_spec(w);
        worker_consider_resize(w);
        if (resized(old->value) && !resized(pod->value))
            agent_room_made(w->agent); /* what it had before counts no more */
        if (volume_shows_fields(worker_pod(w)) && metadata_changed(old->meta, pod->meta))
            worker_update_volumes(w);
        object_unref(old);
    }
    if (w->gone || worker_pod(w)->metadata.deletion_timestamp)
        begin_end(w);
    worker_poke(w);
}

/* ---- Taking up what runs ---- */

static bool any_running(const struct worker *w)
{
    for (size_t i = 0; i < w->state.seen.container_count; i++)
        if (w->state.seen.containers[i].phase == CONTAINER_RUNNING)
            return true;
    return false;
}

static void nothing(void *context)
{
    (void)context;
}

/* `shown`: the pod as the API has it. */
static struct worker *take_up(struct agent *agent, struct object *object, const struct pod *shown, bool is_static)
{
    const struct pod *pod = object->value;
    struct worker *w = mem_zero(1, sizeof(*w));
    w->agent = agent;
    w->is_static = is_static;
    w->directory = mem_printf("%s/pods/%s", agent->options.data_directory, pod->metadata.uid);
    w->timer = env_timer_new(agent->env, wake, w);
    w->state.pod = object_ref(object);
    w->known = shown->status.start_time;
    w->state.seen.start_time =
        shown->status.start_time ? shown->status.start_time : env_now(agent->env) / 1000000 * 1000000;
    size_t count = pod->spec.init_containers.count + pod->spec.containers.count;
    grow(w, count);
    look_at_spec(w);
    pod_state_restore(&w->state, shown);
    worker_restore_allocation(w, shown);
    worker_restore_containers(w);
    bool sandbox_lost = !runtime_sandbox_get(agent->runtime, pod->metadata.uid);
    pod_state_restore_lost(&w->state, shown, sandbox_lost, env_now(agent->env));
    worker_read_ends(w);
    if (!sandbox_lost) {
        struct in_addr address;
        w->state.restored = true;
        /* The agent before may have died before it was complete; making it again completes it. */
        w->state.seen.sandbox = any_running(w) ? PART_READY : PART_NONE;
        if (pod_network_find(agent->network, pod->metadata.uid, &address))
            worker_take_address(w, &address);
        if (w->state.seen.sandbox == PART_READY)
            worker_publish_ports(w, true);
        /* Its containers run already: nothing waits for it. */
        if (w->state.ip && agent->options.secure)
            agent->options.secure(agent->options.secure_context, pod, w->state.ip, w->state.ip6, nothing, NULL);
    }
    if (pod_has_ended(shown) && !w->state.restored)
        w->state.seen.torn_down = w->frozen = true;
    map_set(&agent->workers, pod->metadata.uid, w);
    if (pod->metadata.deletion_timestamp)
        begin_end(w);
    if (w->state.restored)
        worker_resume_eviction(w, shown);
    else if (!w->frozen)
        worker_admit(w);
    worker_consider_resize(w);
    worker_poke(w);
    return w;
}

struct worker *worker_new(struct agent *agent, struct object *pod)
{
    return take_up(agent, pod, pod->value, false);
}

struct worker *worker_new_static(struct agent *agent, struct object *pod, struct object *mirror)
{
    struct worker *w = take_up(agent, pod, mirror ? mirror->value : pod->value, true);
    w->mirror = mirror ? object_ref(mirror) : NULL;
    return w;
}

void worker_stop(struct worker *w)
{
    worker_free_probes(w);
    worker_free_hooks(w);
    worker_poke(w);
}
