/* Resources that change under a running pod: whether the node has room for them, the groups that follow, and containers
 * that start again because they asked for that. As the kubelet's allocation manager. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/pod_qos.h"
#include "api/quantity.h"
#include "base/cleanup.h"
#include "base/task.h"
#include "base/timestamp.h"
#include "node/limits.h"
#include "node/runtime/container.h"
#include "node/worker.h"

/* A change that the kernel refused is tried again. */
#define RETRY (10 * SECOND)

static bool resizable(const struct container_observation *c)
{
    return !c->ephemeral && (!c->init || container_is_sidecar(c));
}

/* ---- What has been allotted ---- */

static void allot(struct worker *w, size_t i, const struct resource_requirements *r)
{
    struct container_record *record = &w->state.records[i];
    struct arena *arena = arena_new(512);
    record->allocated = *(const struct resource_requirements *)api_copy(arena, &api_type_resource_requirements, r);
    arena_free(record->allocated_arena);
    record->allocated_arena = arena;
}

/* Only the API remembers what an earlier agent had allotted. */
void worker_restore_allocation(struct worker *w, const struct pod *shown)
{
    for (size_t i = 0; i < w->state.seen.container_count; i++) {
        const struct container_observation *c = &w->state.seen.containers[i];
        const struct container_status *s = resizable(c) ? pod_container_status(&shown->status, c->spec->name) : NULL;
        struct resource_requirements known = c->spec->resources;
        struct arena *arena = arena_new(512);
        if (s && s->resources)
            limits_restore(arena, &c->spec->resources, s, &known);
        allot(w, i, &known);
        arena_free(arena);
    }
}

void worker_free_allocation(struct worker *w)
{
    for (size_t i = 0; i < w->state.seen.container_count; i++)
        arena_free(w->state.records[i].allocated_arena);
    free(w->state.resize.message);
    free(w->state.resize.error);
    env_timer_free(w->resize_timer);
}

/* The pod with what has been allotted to it instead of what it asks for. */
struct pod *worker_allocated_pod(const struct worker *w, struct arena *arena)
{
    struct pod *pod = arena_copy(arena, worker_pod(w), sizeof(*pod));
    struct container_array *lists[] = {&pod->spec.init_containers, &pod->spec.containers};
    for (size_t l = 0, at = 0; l < ARRAY_COUNT(lists); l++) {
        lists[l]->items = arena_copy(arena, lists[l]->items, lists[l]->count * sizeof(*lists[l]->items));
        for (size_t i = 0; i < lists[l]->count; i++, at++)
            lists[l]->items[i].resources = w->state.records[at].allocated;
    }
    return pod;
}

static bool wants_change(const struct worker *w)
{
    for (size_t i = 0; i < w->state.seen.container_count; i++) {
        const struct container_observation *c = &w->state.seen.containers[i];
        if (resizable(c) && !limits_equal(&c->spec->resources, &w->state.records[i].allocated))
            return true;
    }
    return false;
}

/* ---- Telling ---- */

/* {"containers":[{"name":...,"resources":...}],"generation":1}, as upstream's events have it. */
static void tell(struct worker *w, const char *type, const char *reason, const char *what, const char *error)
{
    const struct pod *pod = worker_pod(w);
    const struct container_array *lists[] = {&pod->spec.init_containers, &pod->spec.containers};
    static const char *const names[] = {"initContainers", "containers"};
    cleanup_buffer struct buffer text = {0};
    buffer_add_char(&text, '{');
    for (size_t l = 0; l < ARRAY_COUNT(lists); l++) {
        for (size_t i = 0; i < lists[l]->count; i++) {
            if (i)
                buffer_add_string(&text, ",{\"name\":");
            else
                buffer_printf(&text, "\"%s\":[{\"name\":", names[l]);
            json_encode_string(&text, lists[l]->items[i].name);
            buffer_add_string(&text, ",\"resources\":");
            json_encode(&api_type_resource_requirements, &lists[l]->items[i].resources, &text);
            buffer_add_char(&text, '}');
        }
        if (lists[l]->count)
            buffer_add_string(&text, "],");
    }
    buffer_printf(&text, "\"generation\":%lld", (long long)pod->metadata.generation);
    if (error) {
        buffer_add_string(&text, ",\"error\":");
        json_encode_string(&text, error);
    }
    buffer_add_char(&text, '}');
    worker_event(w, NULL, type, reason, "Pod resize %s: %s", what, text.data);
}

static void set_pending(struct worker *w, const char *reason, const char *message)
{
    struct pod_resize *z = &w->state.resize;
    bool changed = reason && (!z->pending || strcmp(z->pending, reason) != 0 || strcmp(z->message, message) != 0);
    if (changed) {
        free(z->message);
        z->message = mem_string(message);
        bool infeasible = strcmp(reason, "Infeasible") == 0;
        tell(w, "Warning", infeasible ? "ResizeInfeasible" : "ResizeDeferred", reason, message);
    }
    z->pending = reason;
    w->status_dirty = true;
}

static void set_error(struct worker *w, const char *error)
{
    struct pod_resize *z = &w->state.resize;
    if (error && (!z->error || strcmp(z->error, error) != 0))
        tell(w, "Warning", "ResizeError", "error", error);
    free(z->error);
    z->error = error ? mem_string(error) : NULL;
    w->status_dirty = true;
}

/* ---- Carrying it out ---- */

/* One container, or the pod. */
struct step {
    char id[65]; /* "": the pod */
    char name[64];
    size_t container;
    struct cgroup_resources before, limits;
};

struct change {
    struct worker *worker;
    char *uid;
    struct cgroup_resources pod_before, pod_after;
    struct step *steps;
    size_t count;
    struct error err;
    bool failed;
};

/* Where memory is taken away, not more is in use than is left. */
static int check_memory(const struct change *c, const struct step *s, struct error *err)
{
    struct cgroup_stats stats;
    int64_t limit = s->limits.memory_limit;
    if (!limit || (s->before.memory_limit && limit >= s->before.memory_limit) ||
        runtime_read_stats(c->worker->agent->runtime, c->uid, s->id, &stats, err) < 0)
        return 0;
    if ((int64_t)stats.memory_usage <= limit)
        return 0;
    return error_set(err, EBUSY,
                     "cannot decrease memory limits: attempting to set container %s memory limit (%lld) below current "
                     "usage (%lld)",
                     s->name, (long long)limit, (long long)stats.memory_usage);
}

static int64_t wider(int64_t a, int64_t b)
{
    return !a || !b ? 0 : a > b ? a : b; /* 0 is no limit */
}

/* The pod's group is never narrower than what is in it. */
static int carry_out(struct change *c)
{
    const struct runtime *runtime = c->worker->agent->runtime;
    struct cgroup_resources between = c->pod_after;
    between.cpu_quota = wider(c->pod_before.cpu_quota, c->pod_after.cpu_quota);
    between.memory_limit = wider(c->pod_before.memory_limit, c->pod_after.memory_limit);
    for (size_t i = 0; i < c->count; i++)
        if (check_memory(c, &c->steps[i], &c->err) < 0)
            return -1;
    if (runtime_apply_limits(runtime, c->uid, NULL, &between, &c->err) < 0)
        return -1;
    for (size_t i = 0; i < c->count; i++)
        if (runtime_apply_limits(runtime, c->uid, c->steps[i].id, &c->steps[i].limits, &c->err) < 0)
            return -1;
    return runtime_apply_limits(runtime, c->uid, NULL, &c->pod_after, &c->err);
}

static void change(void *context)
{
    struct change *c = context;
    struct error ignored;
    if (runtime_read_limits(c->worker->agent->runtime, c->uid, NULL, &c->pod_before, &ignored) < 0)
        c->pod_before = c->pod_after;
    c->failed = carry_out(c) < 0;
    for (size_t i = 0; i < c->count; i++)
        if (runtime_read_limits(c->worker->agent->runtime, c->uid, c->steps[i].id, &c->steps[i].limits, &ignored) < 0)
            c->steps[i].id[0] = 0; /* it has ended meanwhile */
}

static bool same_limits(const struct cgroup_resources *a, const struct cgroup_resources *b)
{
    return a->cpu_shares == b->cpu_shares && a->cpu_quota == b->cpu_quota && a->memory_limit == b->memory_limit;
}

static struct cgroup_resources wanted_limits(const struct worker *w, size_t i)
{
    return limits_of_container(&worker_pod(w)->spec, &w->state.records[i].allocated);
}

/* On v2 the kernel rounds shares to weights: what it made of them is as wanted. */
static bool in_force(const struct worker *w, size_t i)
{
    struct cgroup_resources wanted = wanted_limits(w, i);
    const struct cgroup_resources *actual = &w->state.records[i].actual;
    return same_limits(&wanted, actual) ||
           (wanted.cpu_quota == actual->cpu_quota && wanted.memory_limit == actual->memory_limit &&
            cgroup_cpu_weight(wanted.cpu_shares) == cgroup_cpu_weight(actual->cpu_shares));
}

static void changed(void *context)
{
    struct change *c = context;
    struct worker *w = c->worker;
    w->resizing = false;
    for (size_t i = 0; i < c->count; i++) {
        struct container_record *r = &w->state.records[c->steps[i].container];
        if (*c->steps[i].id && r->id && strcmp(r->id, c->steps[i].id) == 0)
            r->actual = c->steps[i].limits;
    }
    set_error(w, c->failed ? c->err.text : NULL);
    if (c->failed && !w->agent->stopping)
        env_timer_start(w->resize_timer, RETRY);
    else
        worker_actuate(w);
    free(c->steps);
    free(c->uid);
    free(c);
    worker_release(w);
}

/* Owns the steps from here on. */
static void begin_change(struct worker *w, struct step *steps, size_t count)
{
    struct arena *arena = arena_new(4096);
    struct change *c = mem_zero(1, sizeof(*c));
    c->worker = w;
    c->uid = mem_string(worker_pod(w)->metadata.uid);
    c->steps = steps;
    c->count = count;
    c->pod_after = limits_of_pod(worker_allocated_pod(w, arena));
    arena_free(arena);
    w->resizing = true;
    worker_hold(w);
    task_run(w->agent->env, change, changed, c);
}

void worker_actuate(struct worker *w)
{
    struct pod_observation *seen = &w->state.seen;
    size_t count = 0, restarting = 0;
    if (!w->state.resize.in_progress || w->resizing || seen->terminating || seen->sandbox != PART_READY)
        return;
    cleanup_free struct step *steps = mem_zero(seen->container_count, sizeof(*steps));
    for (size_t i = 0; i < seen->container_count; i++) {
        struct container_observation *c = &seen->containers[i];
        struct container_record *r = &w->state.records[i];
        restarting +=
            c->phase == CONTAINER_STARTING || (c->phase == CONTAINER_RUNNING && c->stop_cause == STOP_RESIZED);
        if (!resizable(c) || c->phase != CONTAINER_RUNNING || c->stop_cause || in_force(w, i))
            continue;
        struct step *s = &steps[count++];
        memcpy(s->id, r->id, strnlen(r->id, sizeof(s->id) - 1));
        memcpy(s->name, c->spec->name, strnlen(c->spec->name, sizeof(s->name) - 1));
        s->container = i;
        s->before = r->actual;
        s->limits = wanted_limits(w, i);
    }
    if (count || w->resize_pod) {
        w->resize_pod = false;
        begin_change(w, steal_pointer(steps), count);
    } else if (!restarting) {
        w->state.resize.in_progress = false;
        set_error(w, NULL);
        tell(w, "Normal", "ResizeCompleted", "completed", NULL);
        agent_room_made(w->agent);
        worker_poke(w);
    }
}

static void retry(void *context)
{
    worker_actuate(context);
}

/* What is allotted becomes what is asked for. */
static void take_up(struct worker *w)
{
    for (size_t i = 0; i < w->state.seen.container_count; i++) {
        struct container_observation *c = &w->state.seen.containers[i];
        if (!resizable(c))
            continue;
        if ((c->phase == CONTAINER_RUNNING || c->phase == CONTAINER_STARTING) && !c->stop_cause &&
            limits_want_restart(c->spec, &w->state.records[i].allocated, &c->spec->resources))
            c->stop_cause = STOP_RESIZED;
        allot(w, i, &c->spec->resources);
    }
    set_pending(w, NULL, NULL);
    set_error(w, NULL);
    w->state.resize.in_progress = w->resize_pod = true;
    w->state.resize.generation = worker_pod(w)->metadata.generation;
    tell(w, "Normal", "ResizeStarted", "started", NULL);
    worker_actuate(w);
}

void worker_consider_resize(struct worker *w)
{
    const char *message;
    if (w->state.seen.terminating || w->state.seen.torn_down || w->frozen || w->agent->stopping)
        return;
    if (!w->resize_timer)
        w->resize_timer = env_timer_new(w->agent->env, retry, w);
    if (!wants_change(w)) {
        if (w->state.resize.pending)
            set_pending(w, NULL, NULL);
        return;
    }
    struct arena *arena = arena_new(1024);
    const char *refused = worker_refuses_resize(w, arena, &message);
    /* Who has CPUs for himself keeps them. */
    if (w->agent->cpus && strcmp(api_pod_qos_class(&worker_pod(w)->spec), "Guaranteed") == 0) {
        refused = "Infeasible";
        message = "Resize is infeasible for Guaranteed Pods alongside CPU Manager static policy";
    }
    if (refused)
        set_pending(w, refused, message);
    else
        take_up(w);
    arena_free(arena);
    worker_poke(w);
}

/* ---- Those who wait for room ---- */

static int64_t priority(const struct worker *w)
{
    return worker_pod(w)->spec.priority.value;
}

/* As upstream orders them: by priority, then Guaranteed first, then who has waited longest. */
static int by_claim(const void *a, const void *b)
{
    const struct worker *x = *(struct worker *const *)a, *y = *(struct worker *const *)b;
    bool gx = strcmp(api_pod_qos_class(&worker_pod(x)->spec), "Guaranteed") == 0;
    bool gy = strcmp(api_pod_qos_class(&worker_pod(y)->spec), "Guaranteed") == 0;
    if (priority(x) != priority(y))
        return priority(x) > priority(y) ? -1 : 1;
    if (gx != gy)
        return gx ? -1 : 1;
    return x->state.pod->revision < y->state.pod->revision ? -1 : 1;
}

static void give_room(void *context)
{
    struct agent *agent = context;
    size_t count = 0;
    cleanup_free struct worker **waiting = mem_alloc((agent->workers.count + 1) * sizeof(*waiting));
    agent->room_made = false;
    for (struct map_slot *s = NULL; !agent->stopping && (s = map_next(&agent->workers, s));) {
        struct worker *w = s->value;
        if (w->state.resize.pending && strcmp(w->state.resize.pending, "Deferred") == 0)
            waiting[count++] = w;
    }
    if (count)
        qsort(waiting, count, sizeof(*waiting), by_claim);
    for (size_t i = 0; i < count; i++)
        worker_consider_resize(waiting[i]);
    agent_settled(agent);
}

void agent_room_made(struct agent *agent)
{
    if (agent->room_made || agent->stopping)
        return;
    agent->room_made = true;
    env_defer(agent->env, give_room, agent);
}
