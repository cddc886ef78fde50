/* Around a pod's end: before its processes are told to stop, nobody is sent to it any more and nobody waits to be let in;
 * after they have ended and before their network goes, what they have said has been taken.
 *
 *     WITHDRAWING --data plane confirms--> SETTLING --nobody is arriving--> over
 *                                            ^  |
 *                                            +--+ somebody still is
 */
#include <stdlib.h>

#include "api/pod_condition.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/task.h"
#include "base/timestamp.h"
#include "network/pod_sockets.h"
#include "node/runtime/sandbox.h"
#include "node/worker.h"

/* How long the data plane may take to confirm: half of the grace period, and at most this. */
#define WITHDRAW_MAX (10 * SECOND)
/* After the confirmation: packets that the rules before it have sent on their way arrive within this time. */
#define SETTLE_TIME (20 * MILLISECOND)
/* Then clients may be in their handshake, or wait to be accepted; how often to look, and for how long. A client further
 * away than this takes its handshake to nobody. */
#define SETTLE_LOOK (5 * MILLISECOND)
#define SETTLE_MAX (1 * SECOND)
/* While the last bytes of ended connections are taken, by clients as slow as they are: how often to look, how long without
 * any progress, and how long at all where the grace period is over. */
#define FLUSH_LOOK (10 * MILLISECOND)
#define FLUSH_STALLED (300 * MILLISECOND)
#define FLUSH_MIN (1 * SECOND)

/* One look at a pod's sockets, on another thread. */
struct look {
    char *path; /* the pod's network namespace */
    struct pod_sockets sockets;
    struct error err;
    bool failed;
};

static void look(struct look *l)
{
    l->failed = pod_sockets_count(l->path, &l->sockets, &l->err) < 0;
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

struct drain {
    struct worker *worker;
    struct env_timer *timer;
    enum { WITHDRAWING, SETTLING, OVER } state;
    int64_t end; /* of the state, in env_monotonic's time */
    struct look look;
};

static void drain_over(struct drain *d)
{
    d->state = OVER;
    env_timer_stop(d->timer);
    d->worker->state.seen.drain = PART_READY;
    worker_poke(d->worker);
}

static void drain_looked(void *context)
{
    struct drain *d = context;
    struct worker *w = d->worker;
    if (d->look.failed)
        log_warning("Pod %s ends without a look at its connections: %s", w->state.pod->meta->name, d->look.err.text);
    if (d->look.failed || !d->look.sockets.arriving || env_monotonic(w->agent->env) >= d->end)
        drain_over(d);
    else if (!w->agent->stopping)
        env_timer_start(d->timer, SETTLE_LOOK);
    free(d->look.path);
    d->look.path = NULL;
    worker_release(w);
}

static void drain_look(void *context)
{
    look(&((struct drain *)context)->look);
}

static void drain_timer(void *context)
{
    struct drain *d = context;
    struct worker *w = d->worker;
    if (d->state == SETTLING)
        d->look.path = network_of(w);
    if (!d->look.path) {
        drain_over(d);
        return;
    }
    worker_hold(w);
    task_run(w->agent->env, drain_look, drain_looked, d);
}

void worker_data_plane_changed(struct worker *w)
{
    const struct agent_options *o = &w->agent->options;
    struct drain *d = w->drain;
    if (!d || d->state != WITHDRAWING || (o->drained && !o->drained(o->context, worker_pod(w))))
        return;
    if (!o->drained || !pod_is_ready(worker_pod(w))) {
        drain_over(d);
        return;
    }
    d->state = SETTLING;
    d->end = env_monotonic(w->agent->env) + SETTLE_MAX;
    env_timer_start(d->timer, SETTLE_TIME);
}

void worker_drain(struct worker *w)
{
    struct drain *d = mem_zero(1, sizeof(*d));
    int64_t left = w->state.seen.terminate_by - env_now(w->agent->env);
    d->worker = w;
    d->timer = env_timer_new(w->agent->env, drain_timer, d);
    w->drain = d;
    w->state.seen.drain = PART_BUSY;
    env_timer_start(d->timer, left / 2 < WITHDRAW_MAX ? left / 2 : WITHDRAW_MAX);
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
    free(f->look.path);
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
