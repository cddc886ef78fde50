/* A pod is a small state machine, driven by one timer for its containers and one for its readiness. All containers of
 * a pod go through the same states together. The status is written whenever it differs from what the API has. */
#include "sim/pod.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/pod_condition.h"
#include "base/cleanup.h"
#include "base/timestamp.h"

/* As upstream: image pulls and restarts back off from 10 s. Capped lower, to keep simulated runs short. */
#define BACKOFF_FIRST (10 * SECOND)
#define BACKOFF_MAX (40 * SECOND)
/* A write that failed is tried again after so long, unless an event comes first. */
#define RETRY SECOND
/* Faults of a container come within so long of its start. */
#define FAULT_WITHIN MINUTE
/* A container that does its work and ends takes so long at most. */
#define WORK_WITHIN (4 * SECOND)
/* As after SIGKILL. */
#define KILLED 137

/* ENDED: all containers have ended and are not restarted. */
enum state { PULLING, PULL_FAILED, STARTING, RUNNING, CRASHED, STOPPING, STOPPED, ENDED };

struct sim_pod {
    struct sim_node_context *node;
    struct object *object; /* the newest that is known */
    enum state state;
    bool ready, ever_ready;
    bool works; /* this time its container succeeds */
    int32_t exit_code;
    int failures; /* pulls or crashes in a row */
    int32_t restarts;
    int64_t started_at, ready_since, ended_at; /* whole seconds */
    char address[16];
    struct env_timer *timer, *probe, *retry;
    bool writing;
    bool inherited; /* had ended before this kubelet came: its status is as it is */
    bool deleting; /* nothing is left to do but to wait for the end */
    bool gone;     /* the API has it no more; freed when the answer has come */
};

enum sim_image sim_image_of(const char *name)
{
    static const struct {
        const char *prefix;
        enum sim_image image;
    } table[] = {
        {"missing", SIM_IMAGE_MISSING}, {"crashing", SIM_IMAGE_CRASHING}, {"unready", SIM_IMAGE_UNREADY},
        {"done", SIM_IMAGE_DONE}};
    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (strncmp(name, table[i].prefix, strlen(table[i].prefix)) == 0)
            return table[i].image;
    return SIM_IMAGE_GOOD;
}

static const struct pod *value_of(const struct sim_pod *pod)
{
    return pod->object->value;
}

static enum sim_image image_of(const struct sim_pod *pod)
{
    return sim_image_of(value_of(pod)->spec.containers.items[0].image);
}

static bool policy_is(const struct sim_pod *pod, const char *policy)
{
    const char *own = value_of(pod)->spec.restart_policy;
    return own && strcmp(own, policy) == 0;
}

static int64_t whole_seconds(const struct sim_pod *pod)
{
    return env_now(pod->node->env) / SECOND * SECOND;
}

static int64_t draw(struct sim_pod *pod, int64_t most)
{
    return sim_random_between(&pod->node->random, 0, most);
}

static bool chance(struct sim_pod *pod, unsigned permille)
{
    return sim_random_chance(&pod->node->random, permille);
}

static int64_t backoff(const struct sim_pod *pod)
{
    int64_t delay = BACKOFF_FIRST;
    for (int i = 1; i < pod->failures && delay < BACKOFF_MAX; i++)
        delay *= 2;
    return delay < BACKOFF_MAX ? delay : BACKOFF_MAX;
}

/* The status. */

static void set_condition(struct arena *arena, struct pod_condition_array *list, const char *type, bool status,
                          int64_t since, const char *reason)
{
    size_t i = 0;
    while (i < list->count && strcmp(list->items[i].type, type) != 0)
        i++;
    if (i == list->count) {
        list->items = arena_array_grow(arena, list->items, list->count, 1, sizeof(*list->items));
        list->count++;
    }
    struct pod_condition *c = &list->items[i];
    const char *text = status ? "True" : "False";
    if (c->status && strcmp(c->status, text) == 0)
        since = c->last_transition_time;
    *c = (struct pod_condition){.type = type, .status = text, .last_transition_time = since, .reason = reason};
}

static void set_waiting(const struct sim_pod *pod, struct arena *arena, struct container_status *out)
{
    static const char *const reasons[] = {
        [PULL_FAILED] = "ImagePullBackOff", [CRASHED] = "CrashLoopBackOff", [STOPPED] = NULL};
    out->state.waiting = arena_alloc(arena, sizeof(*out->state.waiting));
    out->state.waiting->reason = reasons[pod->state] ? reasons[pod->state] : "ContainerCreating";
}

static void set_container(const struct sim_pod *pod, struct arena *arena, const struct container *container,
                          struct container_status *out)
{
    out->name = container->name;
    out->image = container->image;
    out->image_id = "";
    out->restart_count = pod->restarts;
    out->ready = pod->ready;
    out->started = opt_bool(pod->state == RUNNING || pod->state == STOPPING);
    if (pod->state == RUNNING || pod->state == STOPPING) {
        out->state.running = arena_alloc(arena, sizeof(*out->state.running));
        out->state.running->started_at = pod->started_at;
    } else if (pod->state == STOPPED || pod->state == ENDED) {
        out->state.terminated = arena_alloc(arena, sizeof(*out->state.terminated));
        out->state.terminated->finished_at = pod->state == ENDED ? pod->ended_at : whole_seconds(pod);
        out->state.terminated->exit_code = pod->exit_code;
        out->state.terminated->reason = pod->exit_code ? "Error" : "Completed";
    } else {
        set_waiting(pod, arena, out);
    }
}

static void describe(const struct sim_pod *pod, struct arena *arena, struct pod_status *status)
{
    const struct pod_spec *spec = &value_of(pod)->spec;
    const char *why_not = pod->ready ? NULL : "ContainersNotReady";
    bool begun = pod->started_at != 0;
    bool ended = pod->state == ENDED || (pod->state == STOPPED && !policy_is(pod, "Always"));
    status->phase = ended ? pod->exit_code ? "Failed" : "Succeeded" : begun ? "Running" : "Pending";
    status->host_ip = "192.0.2.10";
    status->start_time = status->start_time ? status->start_time : whole_seconds(pod);
    if (begun) {
        unsigned a, b, c, d;
        status->pod_ip = arena_string(arena, pod->address);
        status->pod_ips.items = arena_alloc(arena, 2 * sizeof(*status->pod_ips.items));
        status->pod_ips.items[0].ip = status->pod_ip;
        status->pod_ips.count = 1;
        /* The address of IPv6 follows from the other, as on a real node. */
        if (sscanf(pod->address, "%u.%u.%u.%u", &a, &b, &c, &d) == 4)
            status->pod_ips.items[status->pod_ips.count++].ip = arena_printf(arena, "fd00::%x:%x", a << 8 | b, c << 8 | d);
    }
    set_condition(arena, &status->conditions, "Initialized", true, status->start_time, NULL);
    set_condition(arena, &status->conditions, "Ready", pod->ready, pod->ready_since, why_not);
    set_condition(arena, &status->conditions, "ContainersReady", pod->ready, pod->ready_since, why_not);
    status->container_statuses.items = arena_alloc(arena, spec->containers.count * sizeof(struct container_status));
    status->container_statuses.count = spec->containers.count;
    for (size_t i = 0; i < spec->containers.count; i++)
        set_container(pod, arena, &spec->containers.items[i], &status->container_statuses.items[i]);
}

/* Writing. */

static void sync(struct sim_pod *pod);
static void pod_free(struct sim_pod *pod);

static void retry_due(void *context)
{
    sync(context);
}

static void learn(struct sim_pod *pod, struct object *object)
{
    if (object->revision <= pod->object->revision)
        return;
    object_unref(pod->object);
    pod->object = object_ref(object);
}

static void written(void *context, const struct client_result *result)
{
    struct sim_pod *pod = context;
    pod->writing = false;
    if (pod->gone) {
        pod_free(pod);
    } else if (client_ok(result)) {
        learn(pod, result->object);
        sync(pod);
    } else if (result->code != 404) {
        env_timer_start(pod->retry, RETRY);
    }
}

static void removed(void *context, const struct client_result *result)
{
    struct sim_pod *pod = context;
    pod->writing = false;
    if (pod->gone)
        pod_free(pod);
    else if (!client_ok(result) && result->code != 404)
        env_timer_start(pod->retry, RETRY);
    else if (client_ok(result))
        pod->deleting = true; /* finalizers may hold it back */
}

static void sync(struct sim_pod *pod)
{
    const struct api_resource *resource = &api_resources[API_PODS];
    struct client *client = pod->node->client;
    if (pod->writing || pod->deleting)
        return;
    if (!pod->inherited) {
        struct arena *arena = arena_new(0);
        struct pod *fresh = object_copy(arena, pod->object);
        describe(pod, arena, &fresh->status);
        if (!api_equal(&api_type_pod_status, &fresh->status, &value_of(pod)->status)) {
            pod->writing = true;
            client_update(client, resource, "status", arena, fresh, written, pod);
            return;
        }
        arena_free(arena);
    }
    if (pod->state != STOPPED && !(pod->state == ENDED && pod->object->meta->deletion_timestamp))
        return;
    const struct object_meta *meta = pod->object->meta;
    pod->writing = true;
    client_delete(client, resource, meta->namespace, meta->name, meta->uid, 0, NULL, removed, pod);
}

/* States. */

static void set_ready(struct sim_pod *pod, bool ready)
{
    if (pod->ready != ready)
        pod->ready_since = whole_seconds(pod);
    pod->ready = ready;
}

static void enter(struct sim_pod *pod, enum state state);

static void run_container(struct sim_pod *pod)
{
    const struct sim_behaviour *b = pod->node->behaviour;
    enum sim_image image = image_of(pod);
    pod->started_at = whole_seconds(pod);
    pod->works = false;
    if (image == SIM_IMAGE_CRASHING) {
        env_timer_start(pod->timer, SECOND);
    } else if (image == SIM_IMAGE_DONE) {
        pod->works = !chance(pod, b->crashes);
        env_timer_start(pod->timer, draw(pod, WORK_WITHIN));
    } else if (chance(pod, b->crashes)) {
        env_timer_start(pod->timer, draw(pod, FAULT_WITHIN));
    }
    if (image != SIM_IMAGE_UNREADY && image != SIM_IMAGE_CRASHING)
        env_timer_start(pod->probe, draw(pod, b->ready_max));
}

static void enter(struct sim_pod *pod, enum state state)
{
    const struct sim_behaviour *b = pod->node->behaviour;
    pod->state = state;
    env_timer_stop(pod->timer);
    env_timer_stop(pod->probe);
    if (state != STOPPING)
        set_ready(pod, false);
    switch (state) {
    case PULLING:
        env_timer_start(pod->timer, draw(pod, b->pull_max));
        break;
    case STARTING:
        env_timer_start(pod->timer, draw(pod, b->start_max));
        break;
    case RUNNING:
        run_container(pod);
        break;
    case PULL_FAILED:
    case CRASHED:
        pod->failures++;
        env_timer_start(pod->timer, backoff(pod));
        break;
    case STOPPING: {
        const struct opt_int64 *grace = &pod->object->meta->deletion_grace_period_seconds;
        int64_t most = grace->set && grace->value * SECOND < b->stop_max ? grace->value * SECOND : b->stop_max;
        env_timer_start(pod->timer, draw(pod, most));
        break;
    }
    case STOPPED:
        break;
    case ENDED:
        pod->ended_at = whole_seconds(pod);
        break;
    }
    sync(pod);
}

/* A container has ended by itself, or with its machine: what comes next is for the restart policy to say. */
static void container_ended(struct sim_pod *pod, int32_t code)
{
    bool restarts = policy_is(pod, "Always") || (code && policy_is(pod, "OnFailure"));
    pod->exit_code = code;
    enter(pod, restarts ? CRASHED : ENDED);
}

static void state_over(void *context)
{
    struct sim_pod *pod = context;
    const struct sim_behaviour *b = pod->node->behaviour;
    switch (pod->state) {
    case PULLING:
        enter(pod, image_of(pod) == SIM_IMAGE_MISSING || chance(pod, b->pull_fails) ? PULL_FAILED : STARTING);
        break;
    case PULL_FAILED:
        enter(pod, PULLING);
        break;
    case STARTING:
        if (chance(pod, b->start_fails))
            container_ended(pod, 128);
        else
            enter(pod, RUNNING);
        break;
    case RUNNING:
        container_ended(pod, pod->works ? 0 : 1);
        break;
    case CRASHED:
        pod->restarts++;
        enter(pod, STARTING);
        break;
    default:
        pod->exit_code = KILLED;
        enter(pod, STOPPED);
        break;
    }
}

/* The readiness probe turns: sometimes it fails again for a while. */
static void probed(void *context)
{
    struct sim_pod *pod = context;
    bool flaps = chance(pod, pod->node->behaviour->flaps);
    set_ready(pod, !pod->ready);
    if (!pod->ready || flaps)
        env_timer_start(pod->probe, SECOND + draw(pod, FAULT_WITHIN / 2));
    sync(pod);
}

/* Coming and going. */

static struct sim_pod *pod_new(struct sim_node_context *node, struct object *object)
{
    struct sim_pod *pod = mem_zero(1, sizeof(*pod));
    pod->node = node;
    pod->object = object_ref(object);
    pod->timer = env_timer_new(node->env, state_over, pod);
    pod->probe = env_timer_new(node->env, probed, pod);
    pod->retry = env_timer_new(node->env, retry_due, pod);
    unsigned address = ++node->addresses;
    snprintf(pod->address, sizeof(pod->address), "10.%u.%u.%u", 1 + (unsigned)node->number % 250,
             address / 250 % 250, 1 + address % 250);
    map_set(&node->pods, object->meta->uid, pod);
    return pod;
}

static void pod_free(struct sim_pod *pod)
{
    map_remove(&pod->node->pods, pod->object->meta->uid);
    env_timer_free(pod->timer);
    env_timer_free(pod->probe);
    env_timer_free(pod->retry);
    object_unref(pod->object);
    free(pod);
}

/* A pod that was here before the kubelet: its containers run on, unless the machine was started anew. */
static void recover(struct sim_pod *pod)
{
    const struct pod_status *status = &value_of(pod)->status;
    const struct container_status *container =
        status->container_statuses.count ? &status->container_statuses.items[0] : NULL;
    pod->restarts = container ? container->restart_count : 0;
    if (!container || !status->pod_ip) {
        enter(pod, PULLING);
        return;
    }
    bool running = container->state.running && container->state.running->started_at >= pod->node->rebooted_at;
    pod->started_at = container->state.running ? container->state.running->started_at : status->start_time;
    snprintf(pod->address, sizeof(pod->address), "%s", status->pod_ip);
    if (!running) {
        container_ended(pod, KILLED);
        return;
    }
    pod->state = RUNNING;
    pod->ready = container->ready;
    if (!pod->ready || image_of(pod) == SIM_IMAGE_CRASHING || image_of(pod) == SIM_IMAGE_DONE) {
        int64_t started_at = pod->started_at;
        enter(pod, RUNNING);
        pod->started_at = started_at;
    }
}

void sim_pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct sim_node_context *node = context;
    struct sim_pod *pod = map_get(&node->pods, object->meta->uid);
    if (change == INFORMER_DELETED) {
        if (pod && pod->writing) {
            pod->gone = pod->deleting = true;
            env_timer_stop(pod->timer);
            env_timer_stop(pod->probe);
            env_timer_stop(pod->retry);
        } else if (pod) {
            pod_free(pod);
        }
        return;
    }
    if (!pod) {
        pod = pod_new(node, object);
        pod->inherited = pod_has_ended(object->value);
        if (pod->inherited)
            pod->state = ENDED;
        else
            recover(pod);
    } else {
        learn(pod, object);
    }
    bool stops = pod->state == STOPPING || pod->state == STOPPED || pod->state == ENDED;
    if (pod->object->meta->deletion_timestamp && !stops) {
        pod->exit_code = KILLED;
        enter(pod, pod->state == RUNNING ? STOPPING : STOPPED);
    } else {
        sync(pod);
    }
}

void sim_pods_free(struct sim_node_context *node)
{
    for (struct map_slot *slot; (slot = map_next(&node->pods, NULL));)
        pod_free(slot->value);
    map_free(&node->pods);
}
