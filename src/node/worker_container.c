/* What a worker does with containers: image, start, stop, end, probes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/pod_qos.h"
#include "api/quantity.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/task.h"
#include "base/timestamp.h"
#include "base/vector.h"
#include "node/environment.h"
#include "node/prober.h"
#include "node/puller.h"
#include "node/runtime/container.h"
#include "node/runtime/log.h"
#include "node/volume.h"
#include "node/worker.h"

static void free_string(char **s)
{
    free(*s);
    *s = NULL;
}

/* ---- Images ---- */

struct image_wait {
    struct worker *worker;
    size_t container;
    struct backoff backoff;
};

static void image_settled(void *context, const struct image_answer *answer)
{
    struct image_wait *wait = context;
    struct worker *w = wait->worker;
    size_t i = wait->container;
    struct container_observation *c = &w->state.seen.containers[i];
    struct container_record *r = &w->state.records[i];
    free(wait);
    if (answer->reason) {
        c->image = PART_FAILED;
        c->image_retry_at = 0;
        worker_event(w, c->spec, "Warning", "Failed", "%s", answer->event);
        worker_event(w, c->spec, "Warning", "Failed", "Error: %s", answer->reason);
        worker_set_waiting(w, i, answer->reason, answer->message);
        if (answer->retry) {
            backoff_raise(&c->image_backoff, env_now(w->agent->env));
            c->image_retry_at = env_now(w->agent->env) + c->image_backoff.delay;
        }
    } else {
        c->image = PART_READY;
        c->image_backoff = (struct backoff){0};
        free_string(&r->image);
        free_string(&r->image_id);
        r->image = mem_string(answer->name);
        r->image_id = mem_string(answer->id);
        if (answer->event)
            worker_event(w, c->spec, "Normal", "Pulled", "%s", answer->event);
        worker_set_waiting(w, i, NULL, NULL);
    }
    worker_release(w);
}

static void image_pulling(void *context)
{
    struct image_wait *wait = context;
    const struct container *spec = wait->worker->state.seen.containers[wait->container].spec;
    worker_event(wait->worker, spec, "Normal", "Pulling", "Pulling image \"%s\"", spec->image);
}

void worker_pull_image(struct worker *w, size_t i)
{
    struct container_observation *c = &w->state.seen.containers[i];
    struct image_wait *wait = mem_zero(1, sizeof(*wait));
    wait->worker = w;
    wait->container = i;
    c->image = PART_BUSY;
    worker_hold(w);
    puller_get(w->agent->puller, worker_pod(w), c->spec, image_pulling, image_settled, wait);
}

/* The turn after ErrImagePull has been reported: the pod now waits, as upstream shows it. */
void worker_show_image_backoff(struct worker *w, size_t i)
{
    struct container_observation *c = &w->state.seen.containers[i];
    struct container_record *r = &w->state.records[i];
    if (c->image != PART_FAILED || !c->image_retry_at || !r->waiting_reason ||
        strcmp(r->waiting_reason, "ErrImagePull") != 0)
        return;
    cleanup_free char *message =
        mem_printf("Back-off pulling image \"%s\": ErrImagePull: %s", c->spec->image, r->waiting_message);
    worker_event(w, c->spec, "Normal", "BackOff", "Back-off pulling image \"%s\"", c->spec->image);
    worker_event(w, c->spec, "Warning", "Failed", "Error: ImagePullBackOff");
    worker_set_waiting(w, i, "ImagePullBackOff", message);
}

/* ---- Start ---- */

/* A container on its way up: prepared on the pool, then created and started by the runtime. */
struct start {
    struct worker *worker;
    size_t container;
    struct arena *arena;
    struct environment environment;
    const char *directory; /* of the container */
    const char *image;
    struct object *pod; /* keeps the spec while the pool reads it */
    const struct container *spec;
    struct runtime_container_config config;
    struct error err;
    const char *reason; /* upstream's, when it failed */
    char id[65];
};

/* `reason` NULL: it runs. */
static void start_over(struct start *s, const char *reason)
{
    struct worker *w = s->worker;
    struct container_observation *c = &w->state.seen.containers[s->container];
    if (reason) {
        c->phase = CONTAINER_EXITED;
        c->finished_at = env_now(w->agent->env);
        c->exit_code = 128;
        c->start_failed = true;
        worker_event(w, c->spec, "Warning", "Failed", "Error: %s", s->err.text);
        worker_set_waiting(w, s->container, reason, s->err.text);
    }
    object_unref(s->pod);
    arena_free(s->arena);
    free(s);
    worker_release(w);
}

/* The runtime could not start the program: it counts as a run that ended at once, as upstream's StartError. */
static void start_refused(struct start *s)
{
    struct worker *w = s->worker;
    struct container_observation *c = &w->state.seen.containers[s->container];
    struct container_record *r = &w->state.records[s->container];
    c->phase = CONTAINER_EXITED;
    c->finished_at = env_now(w->agent->env);
    c->exit_code = 128;
    c->start_failed = false;
    r->current.container_id = mem_string(s->id);
    r->current.reason = mem_string("StartError");
    r->current.message = mem_string(s->err.text);
    r->current.exit_code = 128;
    r->current.finished_at = c->finished_at;
    worker_event(w, c->spec, "Warning", "Failed", "Error: %s", s->err.text);
    worker_set_waiting(w, s->container, NULL, NULL);
    start_over(s, NULL);
}

static void started(void *context, const struct error *err)
{
    struct start *s = context;
    struct worker *w = s->worker;
    struct container_observation *c = &w->state.seen.containers[s->container];
    struct container_record *r = &w->state.records[s->container];
    if (err && err->code != ECANCELED) {
        s->err = *err;
        start_refused(s);
        return;
    }
    const struct runtime_container_status *status = runtime_container_get(w->agent->runtime, s->id);
    if (c->phase == CONTAINER_STARTING && status) {
        c->phase = CONTAINER_RUNNING;
        r->started_at = status->started_at;
        /* Without probes a running container is ready; the first verdict of a probe decides otherwise. */
        r->started = !c->spec->startup_probe;
        r->ready = r->started && !c->spec->readiness_probe;
        worker_event(w, c->spec, "Normal", "Started", "Container started");
    }
    worker_set_waiting(w, s->container, NULL, NULL);
    start_over(s, NULL);
}

static void created(void *context, const struct error *err)
{
    struct start *s = context;
    struct worker *w = s->worker;
    if (err) {
        s->err = *err;
        start_refused(s);
        return;
    }
    worker_event(w, s->spec, "Normal", "Created", "Container created");
    runtime_container_start(w->agent->runtime, s->id, started, s);
}

static void prepared(void *context)
{
    struct start *s = context;
    struct worker *w = s->worker;
    if (s->reason) {
        start_over(s, s->reason);
        return;
    }
    runtime_container_create(w->agent->runtime, &s->config, created, s);
}

static const char *expand(void *context, const char *text)
{
    struct start *s = context;
    return environment_expand(s->arena, &s->environment, text);
}

/* Mounts of the files that every pod has, unless the container mounts its own there. */
static void add_pod_files(struct start *s, struct runtime_mount *mounts, size_t *count)
{
    static const struct {
        const char *file, *destination;
    } files[] = {{"hosts", "/etc/hosts"}, {"hostname", "/etc/hostname"}, {"resolv.conf", "/etc/resolv.conf"}};
    for (size_t f = 0; f < ARRAY_COUNT(files); f++) {
        bool own = false;
        for (size_t i = 0; i < s->spec->volume_mounts.count; i++)
            own |= strcmp(s->spec->volume_mounts.items[i].mount_path, files[f].destination) == 0;
        if (!own)
            mounts[(*count)++] = (struct runtime_mount){
                .source = arena_printf(s->arena, "%s/%s", s->worker->directory, files[f].file),
                .destination = files[f].destination};
    }
}

static void add_image_environment(struct start *s, const struct image *image)
{
    /* The image's variables come first; the pod's replace them. */
    VECTOR(struct runtime_pair) env = {0};
    for (size_t i = 0; i < image->config.env.count; i++) {
        const char *text = image->config.env.items[i], *equals = strchr(text, '=');
        if (!equals)
            continue;
        const char *key = arena_string_n(s->arena, text, (size_t)(equals - text));
        if (!environment_get(&s->environment, key))
            vector_push(&env, (struct runtime_pair){key, arena_string(s->arena, equals + 1)});
    }
    for (size_t i = 0; i < s->environment.count; i++)
        vector_push(&env, (struct runtime_pair){s->environment.items[i].key, s->environment.items[i].value});
    s->config.env = arena_copy(s->arena, env.items, env.count * sizeof(*env.items));
    s->config.env_count = env.count;
    vector_free(&env);
}

/* command and args replace the image's entry point and arguments as upstream documents it. */
static int set_args(struct start *s, const struct image *image)
{
    VECTOR(const char *) args = {0};
    const struct string_array *command = &s->spec->command, *given = &s->spec->args;
    if (command->count)
        for (size_t i = 0; i < command->count; i++)
            vector_push(&args, expand(s, command->items[i]));
    else
        for (size_t i = 0; i < image->config.entrypoint.count; i++)
            vector_push(&args, arena_string(s->arena, image->config.entrypoint.items[i]));
    if (given->count)
        for (size_t i = 0; i < given->count; i++)
            vector_push(&args, expand(s, given->items[i]));
    else if (!command->count)
        for (size_t i = 0; i < image->config.command.count; i++)
            vector_push(&args, arena_string(s->arena, image->config.command.items[i]));
    s->config.args = arena_copy(s->arena, args.items, args.count * sizeof(*args.items));
    s->config.arg_count = args.count;
    vector_free(&args);
    return s->config.arg_count ? 0 : error_set(&s->err, EINVAL, "no command specified");
}

static int set_user(struct start *s, const struct image *image)
{
    const struct security_context *own = s->spec->security_context;
    const struct pod_security_context *pod = ((const struct pod *)s->pod->value)->spec.security_context;
    struct opt_int64 uid = own && own->run_as_user.set ? own->run_as_user
                           : pod                       ? pod->run_as_user
                                                       : (struct opt_int64){0};
    struct opt_int64 gid = own && own->run_as_group.set ? own->run_as_group
                           : pod                        ? pod->run_as_group
                                                        : (struct opt_int64){0};
    struct image_user user = {0};
    cleanup_free char *number = uid.set ? mem_printf("%lld", (long long)uid.value) : NULL;
    if (image_user_resolve(s->config.rootfs, number ? number : image->config.user, &user, &s->err) < 0)
        return -1;
    s->config.uid = user.uid;
    s->config.gid = gid.set ? (uint32_t)gid.value : user.gid;
    size_t extra = pod ? pod->supplemental_groups.count : 0;
    uint32_t *groups = arena_alloc(s->arena, (user.group_count + extra) * sizeof(*groups));
    for (size_t i = 0; i < user.group_count; i++)
        groups[i] = user.groups[i];
    for (size_t i = 0; i < extra; i++)
        groups[user.group_count + i] = (uint32_t)pod->supplemental_groups.items[i];
    s->config.additional_gids = groups;
    s->config.additional_gid_count = user.group_count + extra;
    if (!environment_get(&s->environment, "HOME")) {
        struct runtime_pair *env = arena_array_grow(s->arena, s->config.env, s->config.env_count, 1, sizeof(*env));
        env[s->config.env_count++] = (struct runtime_pair){"HOME", arena_string(s->arena, user.home)};
        s->config.env = env;
    }
    image_user_free(&user);
    return 0;
}

/* On the pool: root file system, mounts, user. */
static void prepare(void *context)
{
    struct start *s = context;
    struct agent *agent = s->worker->agent;
    struct runtime_mount *mounts;
    size_t count;
    cleanup_image struct image *image = NULL;
    s->reason = "CreateContainerError";
    if (image_find(agent->images, s->image, &image, &s->err) < 0)
        return;
    if (file_make_directories(s->directory, 0711, &s->err) < 0 ||
        image_mount_rootfs(agent->images, image, s->directory, &s->err) < 0)
        return;
    s->config.rootfs = arena_printf(s->arena, "%s/rootfs", s->directory);
    if (volume_resolve_mounts(s->arena, s->pod->value, s->spec, s->worker->directory, expand, s, &mounts, &count,
                              &s->err) < 0) {
        s->reason = "CreateContainerConfigError";
        return;
    }
    mounts = arena_array_grow(s->arena, mounts, count, 3, sizeof(*mounts));
    add_pod_files(s, mounts, &count);
    s->config.mounts = mounts;
    s->config.mount_count = count;
    add_image_environment(s, image);
    if (set_user(s, image) < 0 || set_args(s, image) < 0)
        return;
    s->config.cwd = s->spec->working_dir && *s->spec->working_dir ? s->spec->working_dir
                    : *image->config.working_dir                  ? arena_string(s->arena, image->config.working_dir)
                                                                  : "/";
    struct runtime_pair *notes = arena_alloc(s->arena, 3 * sizeof(*notes));
    notes[0] = (struct runtime_pair){"image", s->worker->state.records[s->container].image};
    notes[1] = (struct runtime_pair){"image-id", s->worker->state.records[s->container].image_id};
    notes[2] = (struct runtime_pair){"stop-signal", arena_string(s->arena, image->config.stop_signal)};
    s->config.annotations = notes;
    s->config.annotation_count = 3;
    s->reason = NULL;
}

/* Upstream's: the more a container asks for, the less likely it is to be killed for memory. */
static int oom_score(const struct worker *w, const struct container *spec)
{
    const char *qos = api_pod_qos_class(&worker_pod(w)->spec);
    if (strcmp(qos, "Guaranteed") == 0)
        return -997;
    int64_t request = quantity_value(string_map_get(&spec->resources.requests, "memory"));
    if (strcmp(qos, "BestEffort") == 0 || !request)
        return 1000;
    int64_t score = 1000 - 1000 * request / w->agent->memory;
    return score < 3 ? 3 : score > 999 ? 999 : (int)score;
}

static void set_resources(struct start *s)
{
    const struct resource_requirements *r = &s->spec->resources;
    int64_t cpu_request = quantity_milli_value(string_map_get(&r->requests, "cpu"));
    int64_t cpu_limit = quantity_milli_value(string_map_get(&r->limits, "cpu"));
    s->config.resources = (struct cgroup_resources){
        .cpu_shares = cgroup_cpu_shares(cpu_request ? cpu_request : cpu_limit),
        .cpu_quota = cgroup_cpu_quota(cpu_limit, CGROUP_CPU_PERIOD),
        .cpu_period = CGROUP_CPU_PERIOD,
        .memory_limit = quantity_value(string_map_get(&r->limits, "memory")),
    };
    s->config.oom_score_adj = oom_score(s->worker, s->spec);
}

static void set_security(struct start *s)
{
    const struct security_context *c = s->spec->security_context;
    if (!c)
        return;
    s->config.privileged = c->privileged.set && c->privileged.value;
    s->config.read_only_rootfs = c->read_only_root_filesystem.set && c->read_only_root_filesystem.value;
    s->config.no_new_privileges = c->allow_privilege_escalation.set && !c->allow_privilege_escalation.value;
    s->config.unmasked_proc = c->proc_mount && strcmp(c->proc_mount, "Unmasked") == 0;
    if (c->capabilities) {
        s->config.add_capabilities = (const char *const *)c->capabilities->add.items;
        s->config.add_capability_count = c->capabilities->add.count;
        s->config.drop_capabilities = (const char *const *)c->capabilities->drop.items;
        s->config.drop_capability_count = c->capabilities->drop.count;
    }
}

static struct object *config_map(void *context, const char *name)
{
    struct worker *w = context;
    return informer_get(w->agent->config_maps, worker_pod(w)->metadata.namespace, name);
}

static struct object *secret(void *context, const char *name)
{
    struct worker *w = context;
    return informer_get(w->agent->secrets, worker_pod(w)->metadata.namespace, name);
}

struct service_visit {
    void (*visit)(void *visitor, const struct service *service);
    void *visitor;
};

static bool visit_service(void *context, struct object *object)
{
    struct service_visit *v = context;
    v->visit(v->visitor, object->value);
    return true;
}

static void services(void *context, const char *namespace, void (*visit)(void *visitor, const struct service *service),
                     void *visitor)
{
    struct worker *w = context;
    struct service_visit v = {visit, visitor};
    informer_each(w->agent->services, namespace, visit_service, &v);
}

/* The dead predecessor is removed; its log stays until its successor's successor. */
struct removal {
    struct start *start;
    char *directory;
    struct image_store *images;
    char *old_log;
};

static void remove_predecessor(void *context)
{
    struct removal *r = context;
    struct error err;
    if (image_unmount_rootfs(r->images, r->directory, &err) < 0 || file_remove_tree(r->directory, &err) < 0)
        log_warning("Cannot remove what an ended container left: %s", err.text);
    if (r->old_log)
        remove(r->old_log);
}

static void predecessor_removed(void *context)
{
    struct removal *r = context;
    struct start *s = r->start;
    free(r->directory);
    free(r->old_log);
    free(r);
    task_run(s->worker->agent->env, prepare, prepared, s);
}

static void predecessor_deleted(void *context, const struct error *err)
{
    struct removal *r = context;
    if (err)
        log_warning("Cannot delete an ended container: %s", err->text);
    task_run(r->start->worker->agent->env, remove_predecessor, predecessor_removed, r);
}

static char *container_directory(const struct worker *w, const char *name, int32_t attempt)
{
    return mem_printf("%s/containers/%s-%d", w->directory, name, attempt);
}

void worker_start_container(struct worker *w, size_t i)
{
    struct container_observation *c = &w->state.seen.containers[i];
    struct container_record *r = &w->state.records[i];
    struct agent *agent = w->agent;
    int64_t now = env_now(agent->env);
    bool again = c->phase == CONTAINER_EXITED;
    struct start *s = mem_zero(1, sizeof(*s));
    s->worker = w;
    s->container = i;
    s->arena = arena_new(8192);
    s->pod = object_ref(w->state.pod);
    s->spec = c->spec;
    worker_hold(w);

    if (again) {
        backoff_raise(&c->restart, now);
        worker_event(w, c->spec, "Normal", "Pulled",
                     "Container image \"%s\" already present on machine and can be accessed by the pod",
                     c->spec->image);
    }
    char *dead = NULL;
    int32_t dead_attempt = r->restart_count;
    if (again && !c->start_failed) {
        dead = r->id;
        r->id = NULL;
        r->restart_count++;
        free(r->last.container_id);
        free(r->last.reason);
        free(r->last.message);
        r->last = r->current;
        r->current = (struct container_termination){0};
    }
    c->phase = CONTAINER_STARTING;
    c->start_failed = c->stopping = c->killed = c->must_restart = false;
    r->ready = r->started = false;

    struct environment_source source = {.pod = worker_pod(w),
                                        .pod_ip = w->state.ip,
                                        .host_ip = agent->options.node_address,
                                        .node_cpu_milli = agent->cpu_milli,
                                        .node_memory = agent->memory,
                                        .config_map = config_map,
                                        .secret = secret,
                                        .services = services,
                                        .context = w};
    runtime_container_id(agent->env, s->id);
    free(r->id);
    r->id = mem_string(s->id);
    cleanup_free char *directory = container_directory(w, c->spec->name, r->restart_count);
    s->directory = arena_string(s->arena, directory);
    s->image = arena_string(s->arena, r->image);
    s->config.id = s->id;
    s->config.pod_uid = worker_pod(w)->metadata.uid;
    s->config.name = s->spec->name;
    s->config.attempt = (uint32_t)r->restart_count;
    s->config.termination_message_path = s->spec->termination_message_path;
    s->config.tty = s->spec->tty;
    s->config.stdin_open = s->spec->stdin;
    set_resources(s);
    set_security(s);
    if (environment_build(s->arena, &source, s->spec, &s->environment, &s->err) < 0) {
        free(dead);
        start_over(s, "CreateContainerConfigError");
        return;
    }
    if (!dead) {
        task_run(agent->env, prepare, prepared, s);
        return;
    }
    struct removal *removal = mem_zero(1, sizeof(*removal));
    removal->start = s;
    removal->images = agent->images;
    removal->directory = container_directory(w, c->spec->name, dead_attempt);
    if (dead_attempt > 0)
        removal->old_log = runtime_log_path(agent->runtime, s->pod->meta->namespace, s->pod->meta->name,
                                            s->pod->meta->uid, c->spec->name, (uint32_t)dead_attempt - 1);
    runtime_container_delete(agent->runtime, dead, predecessor_deleted, removal);
    free(dead);
}

/* ---- Stop and end ---- */

static int stop_signal(const struct worker *w, size_t i)
{
    const struct runtime_container_status *status =
        runtime_container_get(w->agent->runtime, w->state.records[i].id);
    for (size_t a = 0; status && a < status->annotation_count; a++)
        if (strcmp(status->annotations[a].key, "stop-signal") == 0) {
            int number = runtime_signal_number(status->annotations[a].value);
            return number > 0 ? number : SIGTERM;
        }
    return SIGTERM;
}

void worker_stop_container(struct worker *w, size_t i, int64_t grace)
{
    struct container_observation *c = &w->state.seen.containers[i];
    struct error err;
    c->stopping = true;
    c->kill_at = env_now(w->agent->env) + grace;
    if (c->must_restart)
        worker_event(w, c->spec, "Normal", "Killing", "Container %s failed liveness probe, will be restarted",
                     c->spec->name);
    else
        worker_event(w, c->spec, "Normal", "Killing", "Stopping container %s", c->spec->name);
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
    if (s && r->id && strcmp(r->id, e->id) == 0 && c->phase != CONTAINER_EXITED) {
        c->phase = CONTAINER_EXITED;
        c->start_failed = false;
        c->exit_code = s->exit_code;
        c->finished_at = s->finished_at;
        c->stopping = c->killed = c->must_restart = false;
        r->ready = r->started = false;
        r->current.container_id = mem_string(e->id);
        r->current.reason = mem_string(s->lost         ? "ContainerStatusUnknown"
                                       : s->oom_killed ? "OOMKilled"
                                       : s->exit_code  ? "Error"
                                                       : "Completed");
        if (!err && size)
            r->current.message = strndup(text, size);
        r->current.exit_code = s->exit_code;
        r->current.started_at = s->started_at;
        r->current.finished_at = s->finished_at;
        if (!w->state.seen.terminating && container_should_restart(&w->state.seen, c) &&
            container_restart_at(c) > env_now(w->agent->env)) {
            const struct object_meta *meta = w->state.pod->meta;
            worker_event(w, c->spec, "Warning", "BackOff",
                         "Back-off restarting failed container %s in pod %s_%s(%s)", c->spec->name, meta->name,
                         meta->namespace, meta->uid);
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
    bool fallback = spec->termination_message_policy &&
                    strcmp(spec->termination_message_policy, "FallbackToLogsOnError") == 0;
    runtime_container_termination_message(w->agent->runtime, s->id, fallback, last_words, e);
}

/* ---- Probes ---- */

static const char *const probe_names[] = {"Readiness", "Liveness", "Startup"};

struct probe_context {
    struct worker *worker;
    size_t container;
};

static void probed(void *context, enum prober_kind kind, bool healthy, bool changed, const char *output)
{
    struct worker *w = ((struct probe_context *)context)->worker;
    size_t i = ((struct probe_context *)context)->container;
    struct container_observation *c = &w->state.seen.containers[i];
    struct container_record *r = &w->state.records[i];
    if (output)
        worker_event(w, c->spec, "Warning", "Unhealthy", "%s probe failed: %s", probe_names[kind], output);
    if (!changed)
        return;
    if (kind == PROBER_READINESS)
        r->ready = healthy;
    else if (!healthy)
        c->must_restart = true;
    else if (kind == PROBER_STARTUP) {
        r->started = true;
        r->ready = !c->spec->readiness_probe;
    }
    w->status_dirty = true;
    worker_poke(w);
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
        bool wanted = specs[kind] && c->phase == CONTAINER_RUNNING && !c->stopping && !c->must_restart &&
                      (kind == PROBER_STARTUP) == !r->started &&
                      !(w->state.seen.terminating && kind != PROBER_READINESS);
        if (!wanted) {
            drop_prober(&probers[kind]);
        } else if (!probers[kind]) {
            struct prober_options options = {.kind = (enum prober_kind)kind,
                                             .pod = w->state.pod,
                                             .probe = specs[kind],
                                             .container = c->spec,
                                             .pod_ip = worker_pod(w)->spec.host_network
                                                           ? w->agent->options.node_address
                                                           : w->state.ip,
                                             .container_id = r->id,
                                             .since_start = env_now(w->agent->env) - r->started_at};
            if (!w->probe_contexts)
                w->probe_contexts = mem_zero(w->state.seen.container_count, sizeof(*w->probe_contexts));
            w->probe_contexts[i] = (struct probe_context){w, i};
            probers[kind] = prober_new(w->agent, &options, probed, &w->probe_contexts[i]);
        }
    }
}

void worker_free_probes(struct worker *w)
{
    for (size_t i = 0; i < w->state.seen.container_count * PROBER_KINDS; i++)
        drop_prober(&w->probers[i]);
}
