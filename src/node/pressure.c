/* Looks, conditions and victims. */
#include "node/pressure.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "api/pod_resources.h"
#include "base/cleanup.h"
#include "node/machine.h"
#include "node/registration.h"
#include "node/runtime/container.h"
#include "node/worker.h"

struct pressure {
    struct agent *agent;
    struct eviction_thresholds thresholds;
    int64_t transition;
    struct env_timer *timer;
    int64_t seen[EVICTION_SIGNALS]; /* when it was last short, monotonic; 0: never */
    bool shown[EVICTION_SIGNALS];   /* as a condition */
    char *victim;                   /* uid; NULL: none is awaited */
    int64_t victim_since;
    bool stopped;
};

/* ---- What is left ---- */

static void shortage(struct eviction_shortage *s, int64_t capacity, int64_t used)
{
    s->capacity = capacity;
    s->available = capacity > used ? capacity - used : 0;
}

/* Of the machine, and of what is set aside for pods: the one that has less left counts. */
static void look_at_memory(const struct pressure *p, struct eviction_shortage *s)
{
    struct machine_memory machine;
    struct cgroup_stats pods;
    struct error err;
    int64_t for_pods = p->agent->memory - p->agent->reserved.memory;
    machine_memory(&machine);
    shortage(s, machine.total, machine.working_set);
    if (runtime_read_stats(p->agent->runtime, NULL, NULL, &pods, &err) < 0)
        return;
    struct eviction_shortage of_pods = *s;
    shortage(&of_pods, for_pods, (int64_t)pods.memory_working_set);
    if (of_pods.available < s->available)
        *s = of_pods;
}

static void look_at_disk(const struct pressure *p, struct eviction_shortage *s)
{
    struct statvfs disk;
    if (statvfs(p->agent->options.data_directory, &disk) < 0)
        return;
    s->capacity = (int64_t)disk.f_blocks * (int64_t)disk.f_frsize;
    s->available = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
}

static bool has_threshold(const struct eviction_threshold *t)
{
    return t->quantity || t->percent;
}

/* Whether it is short; *close: that may be soon. */
static bool is_short(const struct eviction_shortage *s, bool *close)
{
    int64_t least = eviction_bytes(s->threshold, s->capacity);
    *close |= s->available < 2 * least || s->available - least < PRESSURE_CLOSE;
    return s->available < least;
}

/* ---- Conditions ---- */

static const struct {
    const char *begins, *ends;
} reasons[EVICTION_SIGNALS] = {[EVICTION_MEMORY] = {"NodeHasInsufficientMemory", "NodeHasSufficientMemory"},
                               [EVICTION_DISK] = {"NodeHasDiskPressure", "NodeHasNoDiskPressure"}};

static void node_event(const struct pressure *p, const char *type, const char *reason, const char *text)
{
    const char *name = p->agent->options.node_name;
    struct object_meta meta = {.name = name, .uid = name}; /* upstream's kubelet knows no other uid either */
    recorder_event(p->agent->recorder, &api_resources[API_NODES], &meta, NULL, type, reason, "%s", text);
}

static void show(struct pressure *p, enum eviction_signal signal, bool short_now, int64_t now)
{
    if (short_now)
        p->seen[signal] = now;
    bool shown = p->seen[signal] && (short_now || now - p->seen[signal] < p->transition);
    if (shown == p->shown[signal])
        return;
    p->shown[signal] = shown;
    const char *reason = shown ? reasons[signal].begins : reasons[signal].ends;
    cleanup_free char *text = mem_printf("Node %s status is now: %s", p->agent->options.node_name, reason);
    node_event(p, "Normal", reason, text);
    registration_poke(p->agent->registration);
}

bool pressure_of_memory(const struct pressure *p)
{
    return p->shown[EVICTION_MEMORY];
}

bool pressure_of_disk(const struct pressure *p)
{
    return p->shown[EVICTION_DISK];
}

/* ---- Victims ---- */

static bool may_go(const struct worker *w)
{
    const struct pod_observation *seen = &w->state.seen;
    bool running = false;
    for (size_t i = 0; i < seen->container_count; i++)
        running |= seen->containers[i].phase == CONTAINER_RUNNING;
    return running && !seen->terminating && !seen->torn_down;
}

static int64_t usage_of(const struct worker *w, size_t i, bool *measured)
{
    struct cgroup_stats stats;
    struct error err;
    const struct container_observation *c = &w->state.seen.containers[i];
    if (c->phase != CONTAINER_RUNNING)
        return 0;
    if (runtime_read_stats(w->agent->runtime, worker_pod(w)->metadata.uid, w->state.records[i].id, &stats, &err) < 0)
        return 0;
    *measured = true;
    return (int64_t)stats.memory_working_set;
}

/* What a pod uses of disk is not known here: those that asked for nothing and have the least priority go first. */
static void measure(struct arena *arena, struct worker *w, enum eviction_signal signal, struct eviction_pod *out)
{
    static const char *const names[EVICTION_SIGNALS] = {"memory", "ephemeral-storage"};
    size_t count = w->state.seen.container_count;
    *out = (struct eviction_pod){.pod = worker_pod(w), .context = w, .measured = signal == EVICTION_DISK};
    out->request = pod_resource_request(out->pod, names[signal], POD_COUNT_SPEC, 0);
    out->containers = arena_alloc(arena, count * sizeof(*out->containers));
    for (size_t i = 0; i < count; i++) {
        const struct container *spec = w->state.seen.containers[i].spec;
        struct eviction_container *c = &out->containers[out->count++];
        c->name = spec->name;
        c->request = pod_resource_amount(&spec->resources.requests, names[signal]);
        c->usage = signal == EVICTION_MEMORY ? usage_of(w, i, &out->measured) : 0;
        out->usage += c->usage;
    }
}

static void evict_one(struct pressure *p, const struct eviction_shortage *s)
{
    static const char *const attempts[EVICTION_SIGNALS] = {"Attempting to reclaim memory",
                                                           "Attempting to reclaim ephemeral-storage"};
    struct arena *arena = arena_new(4096);
    struct eviction_pod *pods = arena_alloc(arena, (p->agent->workers.count + 1) * sizeof(*pods));
    size_t count = 0;
    node_event(p, "Warning", "EvictionThresholdMet", attempts[s->signal]);
    for (struct map_slot *slot = NULL; (slot = map_next(&p->agent->workers, slot));) {
        struct worker *w = slot->value;
        if (may_go(w) && !eviction_is_critical(worker_pod(w)))
            measure(arena, w, s->signal, &pods[count++]);
    }
    eviction_rank(pods, count);
    if (count) {
        struct worker *w = pods[0].context;
        free(p->victim);
        p->victim = mem_string(worker_pod(w)->metadata.uid);
        p->victim_since = env_monotonic(p->agent->env);
        worker_evict(w, eviction_message(arena, s, &pods[0]), true);
    }
    arena_free(arena);
}

/* ---- Looks ---- */

static void look(void *context)
{
    struct pressure *p = context;
    struct eviction_shortage s[EVICTION_SIGNALS] = {0};
    int64_t now = env_monotonic(p->agent->env);
    bool close = false, evicting = false;
    if (p->stopped)
        return;
    if (p->victim && now - p->victim_since >= PRESSURE_VICTIM_WAIT)
        free(steal_pointer(p->victim));
    for (int i = 0; i < EVICTION_SIGNALS; i++) {
        s[i].signal = (enum eviction_signal)i;
        s[i].threshold = &p->thresholds.of[i];
        if (!has_threshold(s[i].threshold))
            continue;
        if (i == EVICTION_MEMORY)
            look_at_memory(p, &s[i]);
        else
            look_at_disk(p, &s[i]);
        bool short_now = s[i].capacity && is_short(&s[i], &close);
        show(p, s[i].signal, short_now, now);
        if (short_now && !evicting && !p->victim) {
            evicting = true;
            evict_one(p, &s[i]);
        }
    }
    bool shown = p->shown[EVICTION_MEMORY] || p->shown[EVICTION_DISK];
    env_timer_start(p->timer, close || shown ? PRESSURE_PERIOD_CLOSE : PRESSURE_PERIOD);
}

void pressure_pod_ended(struct pressure *p, const char *uid)
{
    if (!p->victim || strcmp(p->victim, uid) != 0 || p->stopped)
        return;
    free(steal_pointer(p->victim));
    env_timer_start(p->timer, 0);
}

struct pressure *pressure_new(struct agent *agent, const struct eviction_thresholds *thresholds, int64_t transition)
{
    struct pressure *p = mem_zero(1, sizeof(*p));
    p->agent = agent;
    p->thresholds = *thresholds;
    p->transition = transition;
    p->timer = env_timer_new(agent->env, look, p);
    return p;
}

void pressure_start(struct pressure *p)
{
    bool any = false;
    for (int i = 0; i < EVICTION_SIGNALS; i++)
        any |= has_threshold(&p->thresholds.of[i]);
    if (any)
        look(p);
}

void pressure_stop(struct pressure *p)
{
    p->stopped = true;
    env_timer_stop(p->timer);
}

void pressure_free(struct pressure *p)
{
    env_timer_free(p->timer);
    free(p->victim);
    free(p);
}
