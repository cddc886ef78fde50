/* The cells of a pod: above all its status, which sums up phase, conditions, init containers and containers
 * in upstream's order of precedence. */
#include <stdio.h>
#include <string.h>

#include "api/pod_containers.h"
#include "api/table_cells.h"
#include "base/cleanup.h"
#include "base/text.h"

#define STATUS_TEXT_MAX 256

struct summary {
    char status[STATUS_TEXT_MAX];
    int ready, total;
    int64_t restarts;
    int64_t last_restart; /* 0: never */
};

static const struct pod_condition *find_condition(const struct pod *pod, const char *type)
{
    for (size_t i = 0; i < pod->status.conditions.count; i++)
        if (text_equal(pod->status.conditions.items[i].type, type))
            return &pod->status.conditions.items[i];
    return NULL;
}

static bool is_true(const struct pod_condition *condition)
{
    return condition && text_equal(condition->status, "True");
}

/* An init container that goes on running beside the others. */
static bool is_sidecar(const struct pod *pod, const char *name)
{
    for (size_t i = 0; i < pod->spec.init_containers.count; i++)
        if (text_equal(pod->spec.init_containers.items[i].name, name))
            return api_is_sidecar(&pod->spec.init_containers.items[i]);
    return false;
}

static void count_restarts(const struct container_status *c, int64_t *restarts, int64_t *last)
{
    *restarts += c->restart_count;
    if (c->last_state.terminated && c->last_state.terminated->finished_at > *last)
        *last = c->last_state.terminated->finished_at;
}

static void say(struct summary *s, const char *prefix, const char *text)
{
    snprintf(s->status, sizeof(s->status), "%s%s", prefix, text ? text : "");
}

static void say_ended(struct summary *s, const char *prefix, const struct container_state_terminated *t)
{
    if (!text_empty(t->reason))
        say(s, prefix, t->reason);
    else
        snprintf(s->status, sizeof(s->status), t->signal ? "%sSignal:%d" : "%sExitCode:%d", prefix,
                 t->signal ? t->signal : t->exit_code);
}

/* Returns whether an init container still has to end. */
static bool sum_up_init_containers(const struct pod *pod, struct summary *s, int64_t *sidecar_restarts,
                                   int64_t *sidecar_last)
{
    const struct container_status_array *statuses = &pod->status.init_container_statuses;
    for (size_t i = 0; i < statuses->count; i++) {
        const struct container_status *c = &statuses->items[i];
        const struct container_state_terminated *ended = c->state.terminated;
        bool sidecar = is_sidecar(pod, c->name);
        count_restarts(c, &s->restarts, &s->last_restart);
        if (sidecar)
            count_restarts(c, sidecar_restarts, sidecar_last);
        if (ended && ended->exit_code == 0)
            continue;
        if (sidecar && c->started.set && c->started.value) {
            s->ready += c->ready;
            continue;
        }
        if (ended)
            say_ended(s, "Init:", ended);
        else if (c->state.waiting && !text_empty(c->state.waiting->reason) &&
                 !text_equal(c->state.waiting->reason, "PodInitializing"))
            say(s, "Init:", c->state.waiting->reason);
        else
            snprintf(s->status, sizeof(s->status), "Init:%zu/%zu", i, pod->spec.init_containers.count);
        return true;
    }
    return false;
}

static void sum_up_containers(const struct pod *pod, struct summary *s)
{
    const struct container_status_array *statuses = &pod->status.container_statuses;
    bool running = false;
    for (size_t i = statuses->count; i-- > 0;) {
        const struct container_status *c = &statuses->items[i];
        count_restarts(c, &s->restarts, &s->last_restart);
        if (c->state.waiting && !text_empty(c->state.waiting->reason)) {
            say(s, "", c->state.waiting->reason);
        } else if (c->state.terminated) {
            say_ended(s, "", c->state.terminated);
        } else if (c->ready && c->state.running) {
            running = true;
            s->ready++;
        }
    }
    if (running && text_equal(s->status, "Completed"))
        say(s, "", is_true(find_condition(pod, "Ready")) ? "Running" : "NotReady");
}

static struct summary sum_up(const struct pod *pod)
{
    struct summary s = {.total = (int)pod->spec.containers.count};
    const struct pod_condition *scheduled = find_condition(pod, "PodScheduled");
    say(&s, "", text_empty(pod->status.reason) ? pod->status.phase : pod->status.reason);
    if (scheduled && text_equal(scheduled->reason, "SchedulingGated"))
        say(&s, "", "SchedulingGated");
    for (size_t i = 0; i < pod->spec.init_containers.count; i++)
        s.total += api_is_sidecar(&pod->spec.init_containers.items[i]);
    int64_t restarts = 0, last = 0;
    bool initializing = sum_up_init_containers(pod, &s, &restarts, &last);
    if (!initializing || is_true(find_condition(pod, "Initialized"))) {
        s.restarts = restarts;
        s.last_restart = last;
        sum_up_containers(pod, &s);
    }
    bool ended = text_equal(pod->status.phase, "Succeeded") || text_equal(pod->status.phase, "Failed");
    if (pod->metadata.deletion_timestamp && text_equal(pod->status.reason, "NodeLost"))
        say(&s, "", "Unknown");
    else if (pod->metadata.deletion_timestamp && !ended)
        say(&s, "", "Terminating");
    return s;
}

void pod_status_text(const struct pod *pod, char *out, size_t size)
{
    struct summary s = sum_up(pod);
    snprintf(out, size, "%s", s.status);
}

static void readiness_gates_cell(struct cells *cells, const struct pod *pod)
{
    const struct pod_readiness_gate_array *gates = &pod->spec.readiness_gates;
    size_t open = 0;
    for (size_t i = 0; i < gates->count; i++)
        open += is_true(find_condition(pod, gates->items[i].condition_type ? gates->items[i].condition_type : ""));
    if (gates->count)
        cell_format(cells, "%zu/%zu", open, gates->count);
    else
        cell_text(cells, "<none>");
}

void pod_cells(struct cells *cells, const void *value)
{
    const struct pod *pod = value;
    struct summary s = sum_up(pod);
    cell_text(cells, pod->metadata.name);
    cell_format(cells, "%d/%d", s.ready, s.total);
    cell_text(cells, s.status);
    char since[HUMAN_DURATION_MAX];
    if (s.restarts && s.last_restart)
        cell_format(cells, "%lld (%s ago)", (long long)s.restarts, age_text(cells, s.last_restart, since));
    else
        cell_format(cells, "%lld", (long long)s.restarts);
    cell_age(cells, pod->metadata.creation_timestamp);
    cell_text_or(cells, pod->status.pod_ips.count ? pod->status.pod_ips.items[0].ip : NULL, "<none>");
    cell_text_or(cells, pod->spec.node_name, "<none>");
    cell_text_or(cells, pod->status.nominated_node_name, "<none>");
    readiness_gates_cell(cells, pod);
}

const struct table_row_condition *pod_row_condition(const void *value)
{
    static const struct table_row_condition ends[] = {
        {"Completed", "True", "Succeeded", "The pod has completed successfully."},
        {"Completed", "True", "Failed", "The pod failed."}};
    const struct pod *pod = value;
    for (size_t i = 0; i < ARRAY_COUNT(ends); i++)
        if (text_equal(pod->status.phase, ends[i].reason))
            return &ends[i];
    return NULL;
}
