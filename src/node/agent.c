/* The agent: informers in, workers out. */
#include "node/agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/task.h"
#include "base/timestamp.h"
#include "node/cpu_manager.h"
#include "node/http_probe.h"
#include "node/image_gc.h"
#include "node/node.h"
#include "node/pressure.h"
#include "node/provisioner.h"
#include "node/puller.h"
#include "node/registration.h"
#include "node/runtime/container.h"
#include "node/runtime/log.h"
#include "node/runtime/sandbox.h"
#include "node/static_pod.h"
#include "node/static_pods.h"
#include "node/usage.h"
#include "node/volume.h"
#include "node/worker.h"

/* How long static pods wait for the API when the agent starts. */
#define STATIC_WAIT (5 * SECOND)

struct agent_private {
    struct agent agent;
    struct arena *arena; /* the field selector */
    struct env_timer *rotate, *api_wait;
    env_callback ready, stopped;
    void *ready_context, *stopped_context;
    bool runtime_recovered; /* the runtime knows its containers */
    bool api_waited;        /* static pods have waited long enough for the API */
    bool static_started, manifests_read;
    bool recovered; /* and the workers have taken them up */
    bool rotating;
    bool looking; /* whether a stop is over, in the next turn */
};

static struct agent_private *private_of(struct agent *agent)
{
    return (struct agent_private *)agent;
}

struct runtime *agent_runtime(struct agent *agent)
{
    return agent->runtime;
}

/* ---- Pods ---- */

static void mirror_changed(struct agent *agent, enum informer_change change, struct object *mirror)
{
    static_pods_mirror_changed(agent->static_pods, change, mirror);
}

static void pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct agent *agent = context;
    (void)old;
    if (!private_of(agent)->recovered || agent->stopping)
        return;
    if (static_pod_is_mirror(object)) {
        mirror_changed(agent, change, object);
        return;
    }
    struct worker *w = map_get(&agent->workers, object->meta->uid);
    if (change == INFORMER_DELETED) {
        if (w)
            worker_update(w, NULL);
    } else if (w) {
        worker_update(w, object);
    } else {
        worker_new(agent, object);
    }
}

static void config_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct agent *agent = context;
    (void)change, (void)old;
    for (struct map_slot *s = NULL; (s = map_next(&agent->workers, s));) {
        struct worker *w = s->value;
        if (strcmp(worker_pod(w)->metadata.namespace, object->meta->namespace) == 0)
            worker_config_changed(w, object->resource, object->meta->name);
    }
}

static void node_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct agent *agent = context;
    (void)old;
    if (change != INFORMER_DELETED && !agent->stopping)
        registration_node_changed(agent->registration, object->value);
}

void agent_data_plane_changed(struct agent *agent)
{
    for (struct map_slot *s = NULL; (s = map_next(&agent->workers, s));)
        worker_data_plane_changed(s->value);
}

static void container_ended(void *context, const struct runtime_container_status *status)
{
    struct agent *agent = context;
    struct worker *w = map_get(&agent->workers, status->pod_uid);
    cpu_manager_release(agent->cpus, status->id);
    if (w)
        worker_container_ended(w, status);
}

/* ---- What has no pod any more ---- */

struct orphan {
    struct agent *agent;
    char *uid;
    struct orphan *next;
};

static void orphan_done(void *context)
{
    struct orphan *o = context;
    o->agent->removals--;
    agent_settled(o->agent);
    free(o->uid);
    free(o);
}

static void remove_orphan_files(void *context)
{
    struct orphan *o = context;
    struct error err;
    cleanup_free char *directory = mem_printf("%s/pods/%s", o->agent->options.data_directory, o->uid);
    if (pod_network_detach(o->agent->network, o->uid, &err) < 0 || volume_remove_all(directory, &err) < 0)
        log_warning("Cannot remove what pod %s left: %s", o->uid, err.text);
}

static void orphan_sandbox_removed(void *context, const struct error *err)
{
    struct orphan *o = context;
    if (err)
        log_warning("Cannot remove the sandbox of pod %s: %s", o->uid, err->text);
    task_run(o->agent->env, remove_orphan_files, orphan_done, o);
}

struct first_container {
    char id[65];
};

static void note_container(void *context, const struct runtime_container_status *status)
{
    struct first_container *first = context;
    if (!*first->id)
        memcpy(first->id, status->id, sizeof(first->id));
}

static void remove_orphan(void *context, const struct error *err)
{
    struct orphan *o = context;
    struct first_container first = {""};
    runtime_container_each(o->agent->runtime, o->uid, note_container, &first);
    if (*first.id && !err)
        runtime_container_delete(o->agent->runtime, first.id, remove_orphan, o);
    else
        runtime_sandbox_remove(o->agent->runtime, o->uid, orphan_sandbox_removed, o);
}

struct orphans {
    struct agent *agent;
    struct orphan *first;
};

static void find_orphan(void *context, const struct runtime_sandbox_status *sandbox)
{
    struct orphans *all = context;
    if (map_has(&all->agent->workers, sandbox->pod_uid))
        return;
    struct orphan *o = mem_zero(1, sizeof(*o));
    o->agent = all->agent;
    o->uid = mem_string(sandbox->pod_uid);
    o->next = all->first;
    all->first = o;
}

/* ---- Start ---- */

/* An earlier agent has taken it in: it has reported so, or has begun to make it. */
static bool is_known(const struct agent *agent, const struct object *object)
{
    return ((const struct pod *)object->value)->status.start_time ||
           runtime_sandbox_get(agent->runtime, object->meta->uid);
}

static bool take_up_known(void *context, struct object *object)
{
    struct agent *agent = context;
    if (static_pod_is_mirror(object))
        mirror_changed(agent, INFORMER_ADDED, object);
    else if (is_known(agent, object))
        worker_new(agent, object);
    return true;
}

static bool take_up_new(void *context, struct object *object)
{
    struct agent *agent = context;
    if (!static_pod_is_mirror(object) && !is_known(agent, object))
        worker_new(agent, object);
    return true;
}

static void begin(struct agent *agent)
{
    /* Pods that are new get what those leave that have been here before. */
    informer_each(agent->pods, NULL, take_up_known, agent);
    informer_each(agent->pods, NULL, take_up_new, agent);
    provisioner_start(agent->provisioner);
    struct orphans all = {.agent = agent};
    runtime_sandbox_each(agent->runtime, find_orphan, &all);
    for (struct orphan *o = all.first, *next; o; o = next) {
        next = o->next;
        agent->removals++;
        remove_orphan(o, NULL);
    }
    image_gc_start(agent->image_gc);
    pressure_start(agent->pressure);
    registration_start(agent->registration, private_of(agent)->ready, private_of(agent)->ready_context);
}

static void maybe_begin(void *context)
{
    struct agent *agent = context;
    struct agent_private *p = private_of(agent);
    if (agent->stopping || p->recovered || !p->runtime_recovered)
        return;
    bool synced = true;
    const struct informer *needed[] = {agent->pods,   agent->config_maps, agent->secrets, agent->services,
                                       agent->claims, agent->volumes,     agent->classes, agent->nodes};
    for (size_t i = 0; i < ARRAY_COUNT(needed); i++)
        synced &= informer_synced(needed[i]);
    /* What mirrors say of static pods that have ended is worth a moment, not more. */
    if ((synced || p->api_waited) && !p->static_started) {
        p->static_started = true;
        static_pods_start(agent->static_pods);
    }
    /* Where there is no folder, its manifests are read at once: then this is the outer of two calls. */
    if (!synced || !p->manifests_read || p->recovered)
        return;
    p->recovered = true;
    begin(agent);
}

static void api_waited(void *context)
{
    struct agent_private *p = context;
    p->api_waited = true;
    maybe_begin(&p->agent);
}

static void manifests_read(void *context)
{
    private_of(context)->manifests_read = true;
    maybe_begin(context);
}

static void recovered(void *context, const struct error *err)
{
    struct agent *agent = context;
    if (err)
        log_warning("Cannot take up all containers: %s", err->text);
    private_of(agent)->runtime_recovered = true;
    maybe_begin(agent);
    agent_settled(agent);
}

static void rotated(void *context, const struct error *err)
{
    struct agent_private *p = context;
    if (err)
        log_warning("Cannot rotate logs: %s", err->text);
    p->rotating = false;
    agent_settled(&p->agent);
    if (!p->agent.stopping)
        env_timer_start(p->rotate, RUNTIME_LOG_ROTATE_PERIOD);
}

static void rotate(void *context)
{
    struct agent_private *p = context;
    if (!p->agent.workers.count) {
        env_timer_start(p->rotate, RUNTIME_LOG_ROTATE_PERIOD);
        return;
    }
    p->rotating = true;
    runtime_log_rotate(p->agent.runtime, RUNTIME_LOG_ROTATE_BYTES, RUNTIME_LOG_ROTATE_FILES, rotated, p);
}

int agent_new(const struct agent_options *options, struct agent **out, struct error *err)
{
    struct agent_private *p = mem_zero(1, sizeof(*p));
    struct agent *agent = &p->agent;
    p->arena = arena_new(0);
    agent->options = *options;
    agent->options.node_name = arena_string(p->arena, options->node_name);
    agent->options.node_address = arena_string(p->arena, options->node_address);
    agent->options.node_address6 = arena_string(p->arena, options->node_address6);
    agent->options.pod_cidr = arena_string(p->arena, options->pod_cidr);
    agent->options.pod_cidr6 = arena_string(p->arena, options->pod_cidr6);
    agent->options.data_directory = arena_string(p->arena, options->data_directory);
    agent->options.cluster_domain = arena_string(p->arena, options->cluster_domain);
    agent->options.cluster_dns = arena_string(p->arena, options->cluster_dns);
    agent->env = options->env;
    agent->client = options->client;
    agent->images = options->images;
    agent->network = options->network;
    cleanup_free char *logs = mem_printf("%s/log", options->data_directory);
    struct runtime_options runtime = {.env = options->env,
                                      .run_directory = options->run_directory,
                                      .pods_log_directory = logs,
                                      .cgroup_parent = options->cgroup_parent,
                                      .container_ended = container_ended,
                                      .context = agent};
    const struct field_selector *mine, *itself;
    if (field_selector_parse(p->arena, arena_printf(p->arena, "spec.nodeName=%s", options->node_name), &mine, err) <
            0 ||
        field_selector_parse(p->arena, arena_printf(p->arena, "metadata.name=%s", options->node_name), &itself, err) <
            0 ||
        (options->static_cpus && !(agent->cpus = cpu_manager_new(agent, options->reserved.cpu_milli, err))) ||
        runtime_new(&runtime, &agent->runtime, err) < 0) {
        cpu_manager_free(agent->cpus);
        arena_free(p->arena);
        free(p);
        return -1;
    }
    agent->recorder = recorder_new(agent->client, "kubelet", agent->options.node_name);
    agent->puller = puller_new(agent);
    agent->http_prober = http_prober_new(agent->env);
    agent->registration = registration_new(agent);
    agent->pods = informer_new(agent->client, &api_resources[API_PODS], NULL, NULL, mine);
    agent->nodes = informer_new(agent->client, &api_resources[API_NODES], NULL, NULL, itself);
    agent->config_maps = informer_new(agent->client, &api_resources[API_CONFIGMAPS], NULL, NULL, NULL);
    agent->secrets = informer_new(agent->client, &api_resources[API_SECRETS], NULL, NULL, NULL);
    agent->services = informer_new(agent->client, &api_resources[API_SERVICES], NULL, NULL, NULL);
    informer_add_handler(agent->pods, pod_changed, agent);
    informer_add_handler(agent->nodes, node_changed, agent);
    informer_add_handler(agent->config_maps, config_changed, agent);
    informer_add_handler(agent->secrets, config_changed, agent);
    agent->claims = informer_new(agent->client, &api_resources[API_PERSISTENTVOLUMECLAIMS], NULL, NULL, NULL);
    agent->volumes = informer_new(agent->client, &api_resources[API_PERSISTENTVOLUMES], NULL, NULL, NULL);
    agent->classes = informer_new(agent->client, &api_resources[API_STORAGECLASSES], NULL, NULL, NULL);
    informer_add_handler(agent->claims, config_changed, agent);
    agent->provisioner = provisioner_new(agent);
    agent->image_gc = image_gc_new(agent);
    agent->static_pods = static_pods_new(agent, options->manifests, manifests_read, agent);
    p->api_wait = env_timer_new(agent->env, api_waited, p);
    agent->meter = usage_meter_new(agent);
    agent->pressure = pressure_new(agent, &options->eviction, options->pressure_transition);
    p->rotate = env_timer_new(agent->env, rotate, p);
    struct informer *needed[] = {agent->pods,   agent->config_maps, agent->secrets, agent->services,
                                 agent->claims, agent->volumes,     agent->classes, agent->nodes};
    for (size_t i = 0; i < ARRAY_COUNT(needed); i++)
        informer_on_synced(needed[i], maybe_begin, agent);
    *out = agent;
    return 0;
}

void agent_start(struct agent *agent, env_callback ready, void *context)
{
    struct agent_private *p = private_of(agent);
    p->ready = ready;
    p->ready_context = context;
    informer_start(agent->pods);
    informer_start(agent->nodes);
    informer_start(agent->config_maps);
    informer_start(agent->secrets);
    informer_start(agent->services);
    informer_start(agent->claims);
    informer_start(agent->volumes);
    informer_start(agent->classes);
    env_timer_start(p->rotate, RUNTIME_LOG_ROTATE_PERIOD);
    env_timer_start(p->api_wait, STATIC_WAIT);
    runtime_recover(agent->runtime, recovered, agent);
}

/* ---- Stop ---- */

static void runtime_closed(void *context)
{
    struct agent_private *p = context;
    struct agent *agent = &p->agent;
    env_callback stopped = p->stopped;
    void *stopped_context = p->stopped_context;
    puller_free(agent->puller);
    provisioner_free(agent->provisioner);
    static_pods_free(agent->static_pods);
    image_gc_free(agent->image_gc);
    free(agent->node_uid);
    usage_meter_free(agent->meter);
    pressure_free(agent->pressure);
    cpu_manager_free(agent->cpus);
    http_prober_free(agent->http_prober);
    registration_free(agent->registration);
    recorder_free(agent->recorder);
    map_free(&agent->workers);
    env_timer_free(p->rotate);
    env_timer_free(p->api_wait);
    arena_free(p->arena);
    free(p);
    if (stopped)
        stopped(stopped_context);
}

static void look_whether_over(void *context)
{
    struct agent_private *p = context;
    struct agent *agent = &p->agent;
    p->looking = false;
    if (!agent->workers.count && !agent->removals && !agent->room_made && !p->rotating &&
        registration_idle(agent->registration) && provisioner_idle(agent->provisioner) &&
        static_pods_idle(agent->static_pods) && image_gc_idle(agent->image_gc) && usage_meter_idle(agent->meter) &&
        cpu_manager_idle(agent->cpus)) {
        p->looking = true; /* for good */
        runtime_close(agent->runtime, runtime_closed, p);
    }
}

void agent_settled(struct agent *agent)
{
    struct agent_private *p = private_of(agent);
    if (!agent->stopping || p->looking)
        return;
    p->looking = true;
    env_defer(agent->env, look_whether_over, p);
}

void agent_stop(struct agent *agent, env_callback stopped, void *context)
{
    struct agent_private *p = private_of(agent);
    agent->stopping = true;
    p->stopped = stopped;
    p->stopped_context = context;
    puller_cancel(agent->puller);
    informer_free(agent->pods);
    informer_free(agent->nodes);
    informer_free(agent->config_maps);
    informer_free(agent->secrets);
    informer_free(agent->services);
    informer_free(agent->claims);
    informer_free(agent->volumes);
    informer_free(agent->classes);
    provisioner_stop(agent->provisioner);
    static_pods_stop(agent->static_pods);
    image_gc_stop(agent->image_gc);
    env_timer_stop(p->api_wait);
    usage_meter_stop(agent->meter);
    pressure_stop(agent->pressure);
    env_timer_stop(p->rotate);
    registration_stop(agent->registration);
    for (struct map_slot *s = NULL; (s = map_next(&agent->workers, s));)
        worker_stop(s->value);
    agent_settled(agent);
}

void agent_measure(struct agent *agent, usage_done done, void *context)
{
    usage_meter_ask(agent->meter, done, context);
}

int64_t agent_memory_used(struct agent *agent, const char *pod_uid, const char *container)
{
    const struct worker *w = map_get(&agent->workers, pod_uid);
    int i = w ? pod_state_find(&w->state, container) : -1;
    struct cgroup_stats stats;
    struct error err;
    if (i < 0 || w->state.seen.containers[i].phase != CONTAINER_RUNNING ||
        runtime_read_stats(agent->runtime, pod_uid, w->state.records[i].id, &stats, &err) < 0)
        return -1;
    return (int64_t)stats.memory_working_set;
}

/* ---- Logs ---- */

int agent_find_log(struct agent *agent, const char *namespace, const char *pod_name, const char *container,
                   bool previous, struct agent_log_source *out, struct error *err)
{
    struct object *object = informer_get(agent->pods, namespace, pod_name);
    if (!object)
        return error_set(err, ENOENT, "pods \"%s\" not found", pod_name);
    struct worker *w = worker_find(agent, object);
    int i = w ? pod_state_find(&w->state, container) : -1;
    if (i < 0)
        return error_set(err, EINVAL, "container \"%s\" in pod \"%s\" is not available", container, pod_name);
    const struct container_record *r = &w->state.records[i];
    const struct container_observation *c = &w->state.seen.containers[i];
    int32_t attempt = r->attempt - (previous ? 1 : 0);
    if (previous && !r->last.container_id)
        return error_set(err, EINVAL, "previous terminated container \"%s\" in pod \"%s\" not found", container,
                         pod_name);
    if (!previous && c->phase != CONTAINER_RUNNING && !r->current.container_id && !w->frozen) {
        /* Between two runs, the last one's log is what there is. */
        if (!r->last.container_id)
            return error_set(err, EAGAIN, "container \"%s\" in pod \"%s\" is waiting to start: %s", container, pod_name,
                             r->waiting_reason                           ? r->waiting_reason
                             : worker_pod(w)->spec.init_containers.count ? "PodInitializing"
                                                                         : "ContainerCreating");
        attempt--;
    }
    out->path =
        runtime_log_path(agent->runtime, namespace, pod_name, w->state.pod->meta->uid, container, (uint32_t)attempt);
    out->container_id[0] = 0;
    if (!previous && r->id && runtime_container_get(agent->runtime, r->id))
        memcpy(out->container_id, r->id, strlen(r->id) + 1);
    return 0;
}

/* ---- Containers ---- */

int agent_find_container(struct agent *agent, const char *namespace, const char *pod_name, const char *container,
                         bool attach, const char **id, struct error *err)
{
    struct object *object = informer_get(agent->pods, namespace, pod_name);
    if (!object)
        return error_set(err, ENOENT, "pod does not exist");
    struct worker *w = map_get(&agent->workers, object->meta->uid);
    int i = w ? pod_state_find(&w->state, container) : -1;
    const char *found = i < 0 ? NULL : w->state.records[i].id;
    const struct runtime_container_status *status = found ? runtime_container_get(agent->runtime, found) : NULL;
    if (!status || status->state != RUNTIME_RUNNING)
        return attach ? error_set(err, ENOENT, "container %s not found in pod %s_%s", container, pod_name, namespace)
                      : error_set(err, ENOENT, "container not found (\"%s\")", container);
    *id = status->id;
    return 0;
}
