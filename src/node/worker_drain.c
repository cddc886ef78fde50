/* Around a pod's end: before its processes are told to stop, nobody is sent to it any more and nobody waits to be let
 * in (node/drain.h decides when that is so); after they have ended and before their network goes, what they have said
 * has been taken. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/task.h"
#include "base/timestamp.h"
#include "network/pod_sockets.h"
#include "node/drain.h"
#include "node/runtime/sandbox.h"
#include "node/worker.h"

/* While the last bytes of ended connections are taken, by clients as slow as they are: how often to look, how long
 * without any progress, and how long at all where the grace period is over. */
#define FLUSH_LOOK (10 * MILLISECOND)
#define FLUSH_STALLED (300 * MILLISECOND)
#define FLUSH_MIN (1 * SECOND)

/* One look at a pod's sockets, on another thread. */
struct look {
    char *path; /* the pod's network namespace; NULL: the node's, and only the sockets of these ports */
    uint16_t *ports;
    size_t port_count;
    struct pod_sockets sockets;
    struct error err;
    bool failed;
};

static void look(struct look *l)
{
    const struct pod_sockets_scope scope = {l->path, l->ports, l->port_count};
    l->failed = pod_sockets_count(&scope, &l->sockets, &l->err) < 0;
}

static void look_free(struct look *l)
{
    free(l->path);
    free(l->ports);
    *l = (struct look){0};
}

/* NULL: the node's network, or none. */
static char *network_of(const struct worker *w)
{
    const struct runtime_sandbox_status *s = runtime_sandbox_get(w->agent->runtime, w->state.pod->meta->uid);
    return s && s->network_namespace ? mem_string(s->network_namespace) : NULL;
}

/* ---- Readiness ---- */

void worker_withhold(struct worker *w, bool withhold)
{
    const struct agent_options *o = &w->agent->options;
    const struct object *shown = worker_reported(w);
    if (w->withheld == withhold || !shown)
        return;
    w->withheld = withhold;
    if (o->withhold)
        o->withhold(o->context, shown->value, withhold);
}

/* ---- Before the signal ---- */

struct worker_drain {
    struct worker *worker;
    struct env_timer *timer;
    struct drain drain;
    struct look look;
};

static void add_ports(const struct container_array *containers, uint16_t *ports, size_t *count)
{
    for (size_t i = 0; i < containers->count; i++)
        for (size_t k = 0; k < containers->items[i].ports.count; k++, ++*count)
            if (ports)
                ports[*count] = (uint16_t)containers->items[i].ports.items[k].container_port;
}

/* The ports at which a pod in the node's network says that it listens. */
static uint16_t *declared_ports(const struct pod *pod, size_t *count)
{
    uint16_t *ports = NULL;
    for (int filling = 0; filling < 2; filling++) {
        *count = 0;
        add_ports(&pod->spec.init_containers, ports, count);
        add_ports(&pod->spec.containers, ports, count);
        if (!filling)
            ports = mem_zero(*count + 1, sizeof(*ports));
    }
    return ports;
}

/* Waits until something is due, or ends. */
static void drain_proceed(struct worker_drain *d)
{
    struct worker *w = d->worker;
    if (d->drain.phase != DRAIN_OVER) {
        int64_t wait = d->drain.due - env_monotonic(w->agent->env);
        if (!w->agent->stopping)
            env_timer_start(d->timer, wait > 0 ? wait : 0);
        return;
    }
    env_timer_stop(d->timer);
    w->state.seen.drain = PART_READY;
    worker_poke(w);
}

static void drain_have_looked(void *context)
{
    struct worker_drain *d = context;
    struct worker *w = d->worker;
    if (d->look.failed)
        log_warning("Pod %s ends without a look at its connections: %s", w->state.pod->meta->name, d->look.err.text);
    drain_looked(&d->drain, env_monotonic(w->agent->env), d->look.failed ? 0 : d->look.sockets.arriving);
    look_free(&d->look);
    drain_proceed(d);
    worker_release(w);
}

static void drain_look(void *context)
{
    look(&((struct worker_drain *)context)->look);
}

static void drain_timer(void *context)
{
    struct worker_drain *d = context;
    struct worker *w = d->worker;
    if (!drain_due(&d->drain)) {
        drain_proceed(d);
        return;
    }
    d->look.path = network_of(w);
    if (!d->look.path)
        d->look.ports = declared_ports(worker_pod(w), &d->look.port_count);
    worker_hold(w);
    task_run(w->agent->env, drain_look, drain_have_looked, d);
}

void worker_data_plane_changed(struct worker *w)
{
    const struct agent_options *o = &w->agent->options;
    struct worker_drain *d = w->drain;
    if (!d || d->drain.phase != DRAIN_WITHDRAWING || (o->drained && !o->drained(o->context, worker_pod(w))))
        return;
    drain_confirmed(&d->drain, env_monotonic(w->agent->env));
    drain_proceed(d);
}

void worker_drain(struct worker *w)
{
    const struct agent_options *o = &w->agent->options;
    struct worker_drain *d = mem_zero(1, sizeof(*d));
    /* Without a data plane nobody was ever sent here. */
    bool reachable = o->drained && runtime_sandbox_get(w->agent->runtime, w->state.pod->meta->uid);
    d->worker = w;
    d->timer = env_timer_new(w->agent->env, drain_timer, d);
    w->drain = d;
    w->state.seen.drain = PART_BUSY;
    drain_begin(&d->drain, env_monotonic(w->agent->env), w->state.seen.terminate_by - env_now(w->agent->env),
                reachable);
    drain_proceed(d);
    worker_data_plane_changed(w);
}

void worker_free_drain(struct worker *w)
{
    if (!w->drain)
        return;
    env_timer_free(w->drain->timer);
    free(w->drain);
    w->drain = NULL;
}

/* ---- After the end ---- */

struct flush {
    struct worker *worker;
    struct env_timer *timer;
    int64_t end, progress; /* in env_monotonic's time */
    uint64_t unsent;
    size_t leaving;
    struct look look;
    env_callback done;
    void *context;
};

static void flush_look(void *context)
{
    look(&((struct flush *)context)->look);
}

static void flush_looked(void *context)
{
    struct flush *f = context;
    int64_t now = env_monotonic(f->worker->agent->env);
    const struct pod_sockets *s = &f->look.sockets;
    if (s->unsent < f->unsent || s->leaving < f->leaving)
        f->progress = now;
    f->unsent = s->unsent;
    f->leaving = s->leaving;
    if (!f->look.failed && s->leaving && now < f->end && now - f->progress < FLUSH_STALLED &&
        !f->worker->agent->stopping) {
        env_timer_start(f->timer, FLUSH_LOOK);
        return;
    }
    f->done(f->context);
    env_timer_free(f->timer);
    look_free(&f->look);
    free(f);
}

static void flush_timer(void *context)
{
    struct flush *f = context;
    task_run(f->worker->agent->env, flush_look, flush_looked, f);
}

void worker_flush(struct worker *w, env_callback done, void *context)
{
    char *path = network_of(w);
    if (!path) {
        done(context);
        return;
    }
    struct flush *f = mem_zero(1, sizeof(*f));
    struct env *env = w->agent->env;
    int64_t left = w->state.seen.terminating ? w->state.seen.terminate_by - env_now(env) : 0;
    *f = (struct flush){.worker = w, .look = {.path = path}, .done = done, .context = context};
    f->progress = env_monotonic(env);
    f->end = f->progress + (left > FLUSH_MIN ? left : FLUSH_MIN);
    f->timer = env_timer_new(env, flush_timer, f);
    flush_timer(f);
}
