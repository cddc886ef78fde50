/* What a worker does with containers that run: hooks, stopping them, seeing them end, probing them. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "node/hook.h"
#include "node/prober.h"
#include "node/runtime/container.h"
#include "node/worker.h"

/* Upstream's name for what a container waits for whose hook failed. */
#define POST_START_ERROR "PostStartHookError"

/* ---- Hooks, stop and end ---- */

static int stop_signal(const struct worker *w, size_t i)
{
    const struct runtime_container_status *status = runtime_container_get(w->agent->runtime, w->state.records[i].id);
    for (size_t a = 0; status && a < status->annotation_count; a++)
        if (strcmp(status->annotations[a].key, "stop-signal") == 0) {
            int number = runtime_signal_number(status->annotations[a].value);
            return number > 0 ? number : SIGTERM;
        }
    return SIGTERM;
}

/* What the event says, as upstream words it. */
static void announce_end(struct worker *w, size_t i)
{
    static const char *const causes[] = {[STOP_CHANGED] = "definition changed",
                                         [STOP_LIVENESS] = "failed liveness probe",
                                         [STOP_STARTUP] = "failed startup probe"};
    const struct container_observation *c = &w->state.seen.containers[i];
    const char *name = c->spec->name;
    struct container_observation ended = *c;
    ended.phase = CONTAINER_EXITED;
    if (!c->stop_cause || w->state.seen.terminating)
        worker_event(w, c->spec, "Normal", "Killing", "Stopping container %s", name);
    else if (c->stop_cause == STOP_RESIZED)
        worker_event(w, c->spec, "Normal", "Killing", "Container %s resize requires restart", name);
    else if (c->stop_cause == STOP_POST_START)
        worker_event(w, c->spec, "Normal", "Killing", "FailedPostStartHook");
    else if (c->init)
        worker_event(w, c->spec, "Normal", "Killing", "Init container %s %s", name, causes[c->stop_cause]);
    else
        worker_event(w, c->spec, "Normal", "Killing", "Container %s %s%s", name, causes[c->stop_cause],
                     container_should_restart(&w->state.seen, &ended) ? ", will be restarted" : "");
}

static void drop_hook(struct worker *w, size_t i)
{
    hook_cancel(w->hooks[i]);
    w->hooks[i] = NULL;
}

static void fell_back(void *context, const char *host)
{
    struct worker *w = ((struct worker_context *)context)->worker;
    worker_event(w, NULL, "Warning", "LifecycleHTTPFallback",
                 "request to HTTPS lifecycle hook %s got HTTP response, retry with HTTP succeeded", host);
}

static void run_hook(struct worker *w, size_t i, const struct lifecycle_handler *handler, hook_done done)
{
    const struct container_observation *c = &w->state.seen.containers[i];
    struct hook_options options = {.pod = w->state.pod,
                                   .handler = handler,
                                   .container = c->spec,
                                   .pod_ip = worker_address(w),
                                   .container_id = w->state.records[i].id,
                                   .fell_back = fell_back};
    w->hooks[i] = hook_start(w->agent, &options, done, w->contexts[i]);
}

static void post_started(void *context, const char *failure)
{
    struct worker *w = ((struct worker_context *)context)->worker;
    size_t i = ((struct worker_context *)context)->container;
    struct container_observation *c = &w->state.seen.containers[i];
    w->hooks[i] = NULL;
    c->post_start = failure ? PART_FAILED : PART_READY;
    if (failure) {
        /* The event does not say why: that may hold secrets. */
        worker_event(w, c->spec, "Warning", "FailedPostStartHook", "PostStartHook failed");
        worker_set_waiting(w, i, POST_START_ERROR, failure);
        c->stop_cause = STOP_POST_START;
    } else {
        worker_set_waiting(w, i, NULL, NULL);
    }
    worker_poke(w);
}

void worker_post_start(struct worker *w, size_t i)
{
    struct container_observation *c = &w->state.seen.containers[i];
    if (!c->spec->lifecycle || !c->spec->lifecycle->post_start)
        return;
    c->post_start = PART_BUSY;
    run_hook(w, i, c->spec->lifecycle->post_start, post_started);
}

static void pre_stopped(void *context, const char *failure)
{
    struct worker *w = ((struct worker_context *)context)->worker;
    size_t i = ((struct worker_context *)context)->container;
    struct container_observation *c = &w->state.seen.containers[i];
    w->hooks[i] = NULL;
    c->pre_stop = failure ? PART_FAILED : PART_READY;
    if (failure)
        worker_event(w, c->spec, "Warning", "FailedPreStopHook", "PreStopHook failed");
    worker_poke(w);
}

void worker_pre_stop(struct worker *w, size_t i, int64_t grace)
{
    struct container_observation *c = &w->state.seen.containers[i];
    announce_end(w, i);
    drop_hook(w, i); /* a postStart hook has no more sense */
    if (c->post_start == PART_BUSY)
        c->post_start = PART_NONE;
    c->ending = true;
    c->stop_by = env_now(w->agent->env) + grace;
    c->pre_stop = PART_READY;
    if (c->spec->lifecycle && c->spec->lifecycle->pre_stop && grace > 0) {
        c->pre_stop = PART_BUSY;
        run_hook(w, i, c->spec->lifecycle->pre_stop, pre_stopped);
    }
    worker_poke(w);
}

void worker_stop_container(struct worker *w, size_t i)
{
    struct container_observation *c = &w->state.seen.containers[i];
    struct error err;
    drop_hook(w, i);
    c->pre_stop = PART_READY;
    c->signalled_at = env_now(w->agent->env);
    if (runtime_container_kill(w->agent->runtime, w->state.records[i].id, stop_signal(w, i), &err) < 0)
        log_warning("Cannot stop container %s: %s", c->spec->name, err.text);
    worker_poke(w);
}

void worker_kill_container(struct worker *w, size_t i)
{
    struct container_observation *c = &w->state.seen.containers[i];
    struct error err;
    c->killed = true;
    if (runtime_container_kill(w->agent->runtime, w->state.records[i].id, SIGKILL, &err) < 0)
        log_warning("Cannot kill container %s: %s", c->spec->name, err.text);
}

struct ending {
    struct worker *worker;
    size_t container;
    char id[65];
};

static void last_words(void *context, const char *text, size_t size, const struct error *err)
{
    struct ending *e = context;
    struct worker *w = e->worker;
    struct container_observation *c = &w->state.seen.containers[e->container];
    struct container_record *r = &w->state.records[e->container];
    const struct runtime_container_status *s = runtime_container_get(w->agent->runtime, e->id);
    r->end_unread = false;
    if (s && r->id && strcmp(r->id, e->id) == 0 && c->phase != CONTAINER_EXITED) {
        drop_hook(w, e->container);
        c->phase = CONTAINER_EXITED;
        c->start_failed = false;
        c->exit_code = s->exit_code;
        c->finished_at = s->finished_at;
        c->ran = true;
        c->started = c->ending = c->killed = false;
        c->signalled_at = 0;
        c->post_start = c->pre_stop = PART_NONE;
        c->image = PART_NONE; /* the next start asks for it again, as imagePullPolicy says */
        r->ready = false;
        if (!container_should_restart(&w->state.seen, c))
            worker_set_waiting(w, e->container, NULL, NULL);
        r->current.container_id = mem_string(e->id);
        r->current.reason = mem_string(s->lost         ? "ContainerStatusUnknown"
                                       : s->oom_killed ? "OOMKilled"
                                       : s->exit_code  ? "Error"
                                                       : "Completed");
        if (!err && size)
            r->current.message = mem_string_n(text, size);
        r->current.exit_code = s->exit_code;
        r->current.started_at = s->started_at;
        r->current.finished_at = s->finished_at;
        if (!w->state.seen.terminating && container_should_restart(&w->state.seen, c) &&
            container_restart_at(c) > env_now(w->agent->env)) {
            const struct object_meta *meta = w->state.pod->meta;
            worker_event(w, c->spec, "Warning", "BackOff", "Back-off restarting failed container %s in pod %s_%s(%s)",
                         c->spec->name, meta->name, meta->namespace, meta->uid);
        }
    }
    free(e);
    worker_release(w);
}

void worker_container_ended(struct worker *w, const struct runtime_container_status *s)
{
    int i = pod_state_find(&w->state, s->name);
    if (i < 0 || !w->state.records[i].id || strcmp(w->state.records[i].id, s->id) != 0)
        return;
    const struct container *spec = w->state.seen.containers[i].spec;
    struct ending *e = mem_zero(1, sizeof(*e));
    e->worker = w;
    e->container = (size_t)i;
    memcpy(e->id, s->id, sizeof(e->id));
    worker_hold(w);
    bool fallback =
        spec->termination_message_policy && strcmp(spec->termination_message_policy, "FallbackToLogsOnError") == 0;
    runtime_container_termination_message(w->agent->runtime, s->id, fallback, last_words, e);
}

/* ---- Probes ---- */

static const char *const probe_names[] = {"Readiness", "Liveness", "Startup"};

static void probed(void *context, enum prober_kind kind, enum prober_result result, bool healthy, bool changed,
                   const char *text)
{
    struct worker *w = ((struct worker_context *)context)->worker;
    size_t i = ((struct worker_context *)context)->container;
    struct container_observation *c = &w->state.seen.containers[i];
    struct container_record *r = &w->state.records[i];
    if (text)
        worker_event(w, c->spec, "Warning", result == PROBER_WARNED ? "ProbeWarning" : "Unhealthy", "%s probe %s",
                     probe_names[kind], text);
    if (!changed)
        return;
    if (kind == PROBER_READINESS) {
        r->ready = healthy;
    } else if (!healthy) {
        c->stop_cause = kind == PROBER_STARTUP ? STOP_STARTUP : STOP_LIVENESS;
        r->ready = false; /* nobody new is sent to a container that is about to be stopped */
    } else if (kind == PROBER_STARTUP) {
        c->started = true;
        r->ready = !c->spec->readiness_probe;
    }
    w->status_dirty = true;
    worker_poke(w);
}

void worker_free_hooks(struct worker *w)
{
    for (size_t i = 0; i < w->state.seen.container_count; i++)
        drop_hook(w, i);
}

static void drop_prober(struct prober **at)
{
    prober_free(*at);
    *at = NULL;
}

void worker_sync_probes(struct worker *w, size_t i)
{
    struct container_observation *c = &w->state.seen.containers[i];
    struct container_record *r = &w->state.records[i];
    struct prober **probers = &w->probers[i * PROBER_KINDS];
    const struct probe *specs[PROBER_KINDS] = {[PROBER_READINESS] = c->spec->readiness_probe,
                                               [PROBER_LIVENESS] = c->spec->liveness_probe,
                                               [PROBER_STARTUP] = c->spec->startup_probe};
    for (int kind = 0; kind < PROBER_KINDS; kind++) {
        /* Until the startup probe has passed, it runs alone; a pod that is to end is not probed for life. */
        bool wanted = specs[kind] && c->phase == CONTAINER_RUNNING && c->post_start != PART_BUSY && !c->signalled_at &&
                      !c->stop_cause && (kind == PROBER_STARTUP) == !c->started &&
                      !(w->state.seen.terminating && kind != PROBER_READINESS);
        if (!wanted) {
            drop_prober(&probers[kind]);
        } else if (!probers[kind]) {
            struct prober_options options = {.kind = (enum prober_kind)kind,
                                             .pod = w->state.pod,
                                             .probe = specs[kind],
                                             .container = c->spec,
                                             .pod_ip = worker_address(w),
                                             .container_id = r->id,
                                             /* As upstream: readiness begins as failed, or as it was before the
                                              * agent restarted; startup as failed, liveness as healthy. */
                                             .healthy =
                                                 kind == PROBER_LIVENESS || (kind == PROBER_READINESS && r->ready),
                                             .since_start = env_now(w->agent->env) - r->started_at};
            probers[kind] = prober_new(w->agent, &options, probed, w->contexts[i]);
        }
    }
}

void worker_free_probes(struct worker *w)
{
    for (size_t i = 0; i < w->state.seen.container_count * PROBER_KINDS; i++)
        drop_prober(&w->probers[i]);
}

/* The turn after PostStartHookError has been reported: what follows is an ordinary backoff. */
void worker_show_restart_backoff(struct worker *w, size_t i)
{
    const struct container_observation *c = &w->state.seen.containers[i];
    const char *reason = w->state.records[i].waiting_reason;
    if (c->phase == CONTAINER_EXITED && reason && strcmp(reason, POST_START_ERROR) == 0)
        worker_set_waiting(w, i, NULL, NULL);
}
