/* The meter: looks, and the differences between two of them. */
#include "node/usage.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/task.h"
#include "base/vector.h"
#include "node/environment.h"
#include "node/machine.h"
#include "node/runtime/container.h"
#include "node/worker.h"

/* A container in one look. */
struct reading {
    char id[65];
    const char *pod_uid, *name; /* in the look's arena */
    int64_t started_at;
    int64_t instant;
    struct cgroup_stats stats;
    bool failed; /* it ended before it could be looked at */
};

struct look {
    struct arena *arena;
    const struct runtime *runtime;
    VECTOR(struct reading) readings;
    int64_t instant;
    int64_t booted_at;
    int64_t cpu; /* of the machine */
    struct machine_memory memory;
};

struct asker {
    usage_done done;
    void *context;
};

struct usage_meter {
    struct agent *agent;
    struct look *before, *now; /* NULL: none yet */
    struct look *pending;      /* under way */
    struct env_timer *timer;   /* the next look */
    int64_t asked;             /* when somebody last did */
    VECTOR(struct asker) askers;
    bool stopped;
};

static void look_free(struct look *look)
{
    if (!look)
        return;
    vector_free(&look->readings);
    arena_free(look->arena);
    free(look);
}

/* ---- Taking a look ---- */

static void note(void *context, const struct runtime_container_status *s)
{
    struct look *look = context;
    struct reading r = {.started_at = s->started_at};
    if (s->state != RUNTIME_RUNNING)
        return;
    memcpy(r.id, s->id, strnlen(s->id, sizeof(r.id) - 1));
    r.pod_uid = arena_string(look->arena, s->pod_uid);
    r.name = arena_string(look->arena, s->name);
    vector_push(&look->readings, r);
}

/* Off the loop's thread. */
static int64_t clock_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec / 1000;
}

static int64_t instant(void)
{
    return clock_of(CLOCK_REALTIME);
}

static void measure(void *context)
{
    struct look *look = ((struct usage_meter *)context)->pending;
    struct error err;
    look->cpu = machine_cpu_usage();
    machine_memory(&look->memory);
    look->instant = instant();
    look->booted_at = look->instant - clock_of(CLOCK_BOOTTIME);
    for (size_t i = 0; i < look->readings.count; i++) {
        struct reading *r = &look->readings.items[i];
        r->failed = runtime_read_stats(look->runtime, r->pod_uid, r->id, &r->stats, &err) < 0;
        r->instant = instant();
    }
}

static void measured(void *context);

static void begin_look(void *context)
{
    struct usage_meter *m = context;
    struct look *look;
    if (m->pending || m->stopped)
        return;
    look = mem_zero(1, sizeof(*look));
    look->arena = arena_new(0);
    look->runtime = m->agent->runtime;
    m->pending = look;
    runtime_container_each(m->agent->runtime, NULL, note, look);
    task_run(m->agent->env, measure, measured, m);
}

/* ---- Between two looks ---- */

static const struct reading *find(const struct look *look, const char *id)
{
    for (size_t i = 0; i < look->readings.count; i++)
        if (strcmp(look->readings.items[i].id, id) == 0 && !look->readings.items[i].failed)
            return &look->readings.items[i];
    return NULL;
}

static int64_t rate(uint64_t from, uint64_t to, int64_t window)
{
    return to > from && window > 0 ? (int64_t)((double)(to - from) * SECOND / (double)window) : 0;
}

/* A container that the earlier look did not see had used nothing when it started. False: it has not run long enough. */
static bool figure_out(const struct usage_meter *m, const struct reading *now, struct container_usage *out,
                       int64_t *window)
{
    const struct reading *before = find(m->before, now->id);
    int64_t since = before ? before->instant : now->started_at;
    *window = now->instant - since;
    if (now->failed || (!before && *window < USAGE_WINDOW_FIRST))
        return false;
    out->name = now->name;
    out->figures.cpu = rate(before ? before->stats.cpu_usage : 0, now->stats.cpu_usage, *window);
    out->figures.cpu_time = (int64_t)now->stats.cpu_usage;
    out->figures.memory = (int64_t)now->stats.memory_working_set;
    out->started_at = now->started_at;
    return true;
}

static struct pod_usage *pod_of(struct arena *arena, const struct usage_meter *m, struct node_usage *usage,
                                const char *uid)
{
    const struct worker *w = map_get(&m->agent->workers, uid);
    for (size_t i = 0; i < usage->count; i++)
        if (strcmp(usage->pods[i].uid, uid) == 0)
            return &usage->pods[i];
    if (!w)
        return NULL;
    struct pod_usage *pod = &usage->pods[usage->count++];
    pod->namespace = worker_pod(w)->metadata.namespace;
    pod->name = worker_pod(w)->metadata.name;
    pod->uid = uid;
    pod->containers = arena_alloc(arena, w->state.seen.container_count * sizeof(*pod->containers));
    return pod;
}

static void report(const struct usage_meter *m, struct arena *arena, struct node_usage *usage)
{
    const struct look *now = m->now;
    usage->name = m->agent->options.node_name;
    usage->instant = now->instant;
    usage->window = now->instant - m->before->instant;
    usage->figures.cpu = rate((uint64_t)m->before->cpu, (uint64_t)now->cpu, usage->window);
    usage->figures.cpu_time = now->cpu;
    usage->figures.memory = now->memory.working_set;
    usage->memory_total = now->memory.total;
    usage->started_at = now->booted_at;
    usage->pods = arena_alloc(arena, now->readings.count * sizeof(*usage->pods));
    for (size_t i = 0; i < now->readings.count; i++) {
        const struct reading *r = &now->readings.items[i];
        struct container_usage container = {0};
        int64_t window;
        struct pod_usage *pod = figure_out(m, r, &container, &window) ? pod_of(arena, m, usage, r->pod_uid) : NULL;
        const struct worker *w = pod ? map_get(&m->agent->workers, r->pod_uid) : NULL;
        if (!w || pod->count == w->state.seen.container_count)
            continue;
        const struct container *spec = pod_find_container(worker_pod(w), r->name);
        container.image = spec ? spec->image : NULL;
        pod->containers[pod->count++] = container;
        /* As metrics-server: a pod was measured when the first of its containers was. */
        if (!pod->instant || r->instant < pod->instant) {
            pod->instant = r->instant;
            pod->window = window;
        }
    }
}

static void answer(struct usage_meter *m)
{
    struct arena *arena = arena_new(0);
    struct node_usage usage = {0};
    VECTOR(struct asker) askers = {m->askers.items, m->askers.count, m->askers.capacity};
    m->askers.items = NULL;
    m->askers.count = m->askers.capacity = 0;
    if (!m->stopped)
        report(m, arena, &usage);
    for (size_t i = 0; i < askers.count; i++)
        askers.items[i].done(askers.items[i].context, m->stopped ? NULL : &usage);
    vector_free(&askers);
    arena_free(arena);
}

static bool answerable(const struct usage_meter *m)
{
    return m->before && m->now;
}

static void forget(struct usage_meter *m)
{
    look_free(m->before);
    look_free(m->now);
    m->before = m->now = NULL;
}

static void measured(void *context)
{
    struct usage_meter *m = context;
    struct look *look = m->pending;
    m->pending = NULL;
    if (m->stopped) {
        look_free(look);
        agent_settled(m->agent);
        return;
    }
    look_free(m->before);
    m->before = m->now;
    m->now = look;
    if (m->askers.count && answerable(m))
        answer(m);
    if (!m->before)
        env_timer_start(m->timer, USAGE_WINDOW_FIRST);
    else if (env_monotonic(m->agent->env) - m->asked < USAGE_KEEP)
        env_timer_start(m->timer, USAGE_PERIOD);
    else
        forget(m);
}

/* ---- The interface ---- */

struct usage_meter *usage_meter_new(struct agent *agent)
{
    struct usage_meter *m = mem_zero(1, sizeof(*m));
    m->agent = agent;
    m->timer = env_timer_new(agent->env, begin_look, m);
    return m;
}

static void answer_later(void *context)
{
    struct usage_meter *m = context;
    if (m->askers.count && (m->stopped || answerable(m)))
        answer(m);
}

void usage_meter_ask(struct usage_meter *m, usage_done done, void *context)
{
    vector_push(&m->askers, ((struct asker){done, context}));
    m->asked = env_monotonic(m->agent->env);
    if (m->stopped || answerable(m))
        env_defer(m->agent->env, answer_later, m);
    else if (!m->now)
        begin_look(m);
}

void usage_meter_stop(struct usage_meter *m)
{
    m->stopped = true;
    env_timer_stop(m->timer);
    if (m->askers.count)
        answer(m);
}

bool usage_meter_idle(const struct usage_meter *m)
{
    return !m->pending;
}

void usage_meter_free(struct usage_meter *m)
{
    vector_free(&m->askers);
    forget(m);
    env_timer_free(m->timer);
    free(m);
}
