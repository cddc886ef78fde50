/* Looks, conditions and victims. */
#include "node/pressure.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "api/pod_resources.h"
#include "base/cleanup.h"
#include "node/machine.h"
#include "node/reclaim.h"
#include "node/registration.h"
#include "node/runtime/container.h"
#include "node/worker.h"

/* More processes than any pod has. */
#define PIDS_GRANTED (INT64_C(1) << 40)

struct pressure {
    struct agent *agent;
    struct eviction_thresholds thresholds;
    int64_t transition;
    struct env_timer *timer;
    int64_t seen[EVICTION_CONDITIONS]; /* when something of it was last short, monotonic; 0: never */
    bool shown[EVICTION_CONDITIONS];
    char *victim; /* uid; NULL: none is awaited */
    int64_t victim_since;
    bool reclaiming;      /* what the node can give back is on its way */
    int64_t reclaimed_at; /* when it was last, with no victim since, monotonic; 0: never */
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

static void look_at_disk(const char *directory, bool inodes, struct eviction_shortage *s)
{
    struct statvfs disk;
    if (statvfs(directory, &disk) < 0)
        return;
    /* A file system that makes inodes as it needs them says that it has none. */
    s->capacity = inodes ? (int64_t)disk.f_files : (int64_t)disk.f_blocks * (int64_t)disk.f_frsize;
    s->available = inodes ? (int64_t)disk.f_favail : (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
}

static void look_at_processes(struct eviction_shortage *s)
{
    struct machine_processes processes;
    machine_processes(&processes);
    shortage(s, processes.most, processes.running);
}

static void look_at(const struct pressure *p, struct eviction_shortage *s)
{
    const char *data = p->agent->options.data_directory;
    cleanup_free char *images = mem_printf("%s/images", data);
    switch (s->signal) {
    case EVICTION_MEMORY:
        look_at_memory(p, s);
        break;
    case EVICTION_PIDS:
        look_at_processes(s);
        break;
    case EVICTION_DISK:
    case EVICTION_INODES:
        look_at_disk(data, s->signal == EVICTION_INODES, s);
        break;
    default:
        look_at_disk(images, s->signal == EVICTION_IMAGE_INODES, s);
    }
}

static bool has_threshold(const struct eviction_threshold *t)
{
    return t->quantity || t->part > 0;
}

/* Whether it is short; *close: that may be soon. */
static bool is_short(const struct eviction_shortage *s, bool *close)
{
    int64_t least = eviction_amount(s->threshold, s->capacity);
    *close |= s->available < 2 * least || (!eviction_is_counted(s->signal) && s->available - least < PRESSURE_CLOSE);
    return s->available < least;
}

/* ---- Conditions ---- */

static const struct {
    const char *begins, *ends;
} reasons[EVICTION_CONDITIONS] = {[EVICTION_MEMORY_PRESSURE] = {"NodeHasInsufficientMemory", "NodeHasSufficientMemory"},
                                  [EVICTION_DISK_PRESSURE] = {"NodeHasDiskPressure", "NodeHasNoDiskPressure"},
                                  [EVICTION_PID_PRESSURE] = {"NodeHasInsufficientPID", "NodeHasSufficientPID"}};

static void node_event(const struct pressure *p, const char *type, const char *reason, const char *text)
{
    const char *name = p->agent->options.node_name;
    struct object_meta meta = {.name = name, .uid = name}; /* upstream's kubelet knows no other uid either */
    recorder_event(p->agent->recorder, &api_resources[API_NODES], &meta, NULL, type, reason, "%s", text);
}

static void show(struct pressure *p, enum eviction_condition condition, bool short_now, int64_t now)
{
    if (short_now)
        p->seen[condition] = now;
    bool shown = p->seen[condition] && (short_now || now - p->seen[condition] < p->transition);
    if (shown == p->shown[condition])
        return;
    p->shown[condition] = shown;
    const char *reason = shown ? reasons[condition].begins : reasons[condition].ends;
    cleanup_free char *text = mem_printf("Node %s status is now: %s", p->agent->options.node_name, reason);
    node_event(p, "Normal", reason, text);
    registration_poke(p->agent->registration);
}

const bool *pressure_shown(const struct pressure *p)
{
    return p->shown;
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

static int64_t usage_of(const struct worker *w, size_t i, enum eviction_signal signal, bool *measured)
{
    struct cgroup_stats stats;
    struct error err;
    const struct container_observation *c = &w->state.seen.containers[i];
    if (c->phase != CONTAINER_RUNNING)
        return 0;
    if (runtime_read_stats(w->agent->runtime, worker_pod(w)->metadata.uid, w->state.records[i].id, &stats, &err) < 0)
        return 0;
    *measured = true;
    return signal == EVICTION_PIDS ? (int64_t)stats.pids : (int64_t)stats.memory_working_set;
}

/* What a pod uses of disk is not known here: those that asked for nothing and have the least priority go first. Nobody
 * asks for processes, and so nobody has more than he asked for. */
static void measure(struct arena *arena, struct worker *w, enum eviction_signal signal, struct eviction_pod *out)
{
    const char *resource = eviction_resource(signal);
    bool known = signal == EVICTION_MEMORY || signal == EVICTION_PIDS;
    size_t count = w->state.seen.container_count;
    *out = (struct eviction_pod){.pod = worker_pod(w), .context = w, .measured = !known};
    out->request = signal == EVICTION_PIDS ? PIDS_GRANTED : pod_resource_request(out->pod, resource, POD_COUNT_SPEC, 0);
    out->containers = arena_alloc(arena, count * sizeof(*out->containers));
    for (size_t i = 0; i < count; i++) {
        const struct container *spec = w->state.seen.containers[i].spec;
        struct eviction_container *c = &out->containers[out->count++];
        c->name = spec->name;
        c->request = signal == EVICTION_PIDS ? PIDS_GRANTED : pod_resource_amount(&spec->resources.requests, resource);
        c->usage = known ? usage_of(w, i, signal, &out->measured) : 0;
        out->usage += c->usage;
    }
}

static bool images_share_disk(const struct pressure *p)
{
    const char *data = p->agent->options.data_directory;
    cleanup_free char *images = mem_printf("%s/images", data);
    struct stat a, b;
    return stat(data, &a) == 0 && stat(images, &b) == 0 && a.st_dev == b.st_dev;
}

static void reclaimed(void *context)
{
    struct pressure *p = context;
    p->reclaiming = false;
    p->reclaimed_at = env_monotonic(p->agent->env);
    /* Some file systems take a moment to count what they have freed. */
    if (!p->stopped)
        env_timer_start(p->timer, PRESSURE_PERIOD_CLOSE);
}

static void evict_one(struct pressure *p, const struct eviction_shortage *s)
{
    struct arena *arena = arena_new(4096);
    struct eviction_pod *pods = arena_alloc(arena, (p->agent->workers.count + 1) * sizeof(*pods));
    size_t count = 0;
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
        p->reclaimed_at = 0;
        worker_evict(w, eviction_message(arena, s, &pods[0]), true);
    }
    arena_free(arena);
}

/* Before each victim the node gives what it can; where nobody can go, not at every look. */
static void act_on(struct pressure *p, const struct eviction_shortage *s, int64_t now)
{
    bool reclaims = eviction_reclaims(s->signal, images_share_disk(p));
    bool reclaimed_now = reclaims && p->reclaimed_at && now - p->reclaimed_at < PRESSURE_PERIOD;
    if (!reclaimed_now) {
        cleanup_free char *text = mem_printf("Attempting to reclaim %s", eviction_resource(s->signal));
        node_event(p, "Warning", "EvictionThresholdMet", text);
    }
    if (!reclaims || reclaimed_now) {
        evict_one(p, s);
        return;
    }
    p->reclaiming = true;
    reclaim_disk(p->agent, reclaimed, p);
}

/* ---- Looks ---- */

static void look(void *context)
{
    struct pressure *p = context;
    int64_t now = env_monotonic(p->agent->env);
    bool close = false, acting = false, short_now[EVICTION_CONDITIONS] = {false};
    if (p->stopped)
        return;
    if (p->victim && now - p->victim_since >= PRESSURE_VICTIM_WAIT)
        free(steal_pointer(p->victim));
    for (int i = 0; i < EVICTION_SIGNALS; i++) {
        struct eviction_shortage s = {.signal = (enum eviction_signal)i, .threshold = &p->thresholds.of[i]};
        if (!has_threshold(s.threshold))
            continue;
        look_at(p, &s);
        if (!s.capacity || !is_short(&s, &close))
            continue;
        enum eviction_condition condition = eviction_condition(s.signal);
        short_now[condition] = true;
        show(p, condition, true, now);
        if (!acting && !p->victim && !p->reclaiming) {
            acting = true;
            act_on(p, &s, now);
        }
    }
    bool shown = false;
    for (int i = 0; i < EVICTION_CONDITIONS; i++) {
        show(p, (enum eviction_condition)i, short_now[i], now);
        shown |= p->shown[i];
    }
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
