/* How a worker brings a container up: environment on the loop, root file system and mounts on the pool, then the
 * runtime. A predecessor that has ended is removed first. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/epoch.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "base/task.h"
#include "base/text.h"
#include "base/vector.h"
#include "node/cpu_manager.h"
#include "node/declared_volume.h"
#include "node/env_file.h"
#include "node/environment.h"
#include "node/limits.h"
#include "node/runtime/container.h"
#include "node/runtime/log.h"
#include "node/runtime/log_files.h"
#include "node/security.h"
#include "node/volume.h"
#include "node/worker.h"

/* A variable from a file, as it has been read. */
struct file_variable {
    const struct file_key_selector *selector;
    const char *value; /* NULL: left out */
    struct error err;
    bool failed;
};

/* A container on its way up: prepared on the pool, then created and started by the runtime. */
struct start {
    struct worker *worker;
    size_t container;
    struct arena *arena;
    struct environment environment;
    VECTOR(struct file_variable) files; /* that the environment is made of */
    const char *directory;              /* of the container */
    const char *image, *image_id;
    struct object *pod; /* keeps the spec while the pool reads it */
    const struct container *spec;
    struct runtime_container_config config;
    struct error err;
    const char *reason; /* upstream's, when it failed */
    bool too_long;      /* something could not be expanded: err says so */
    bool image_gone;    /* it has to be found or pulled again */
    char id[65];
};

/* `reason` NULL: it runs. */
static void start_over(struct start *s, const char *reason)
{
    struct worker *w = s->worker;
    struct container_observation *c = &w->state.seen.containers[s->container];
    if (c->phase != CONTAINER_RUNNING)
        cpu_manager_release(w->agent->cpus, s->id);
    if (reason) {
        c->phase = CONTAINER_EXITED;
        c->finished_at = env_now(w->agent->env);
        c->exit_code = 128;
        c->start_failed = true;
        if (s->image_gone)
            c->image = PART_NONE;
        free(w->state.records[s->container].id); /* there never was such a container */
        w->state.records[s->container].id = NULL;
        worker_event(w, c->spec, "Warning", "Failed", "Error: %s", s->err.text);
        worker_set_waiting(w, s->container, reason, s->err.text);
    }
    object_unref(s->pod);
    vector_free(&s->files);
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
    c->ran = true;
    r->restart_count = r->attempt; /* a run that ended at once */
    r->current.container_id = mem_string(s->id);
    r->current.reason = mem_string("StartError");
    r->current.message = mem_string(s->err.text);
    r->current.exit_code = 128;
    r->current.started_at = TIME_EPOCH; /* the runtime's zero, as upstream's kubelet shows it */
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
        free(r->user);
        r->user = mem_string(security_user_text(s->arena, &s->config));
        r->started_at = status->started_at;
        r->actual = s->config.resources;
        r->actual.cpus = NULL;
        cpu_manager_started(w->agent->cpus, s->id);
        /* Without probes a running container is ready; the first verdict of a probe decides otherwise. */
        c->started = !c->spec->startup_probe;
        r->ready = c->started && !c->spec->readiness_probe;
        worker_event(w, c->spec, "Normal", "Started", "Container started");
        worker_post_start(w, s->container);
        worker_actuate(w);
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
    w->state.records[s->container].restart_count = w->state.records[s->container].attempt;
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
    const char *out = environment_expand(s->arena, &s->environment, text, &s->err);
    s->too_long |= !out;
    return out ? out : "";
}

static const char *expand_path(void *context, const char *text, struct error *err)
{
    struct start *s = context;
    return environment_expand_path(s->arena, &s->environment, text, err);
}

/* Mounts of the files that every pod has, unless the container mounts its own there. Those that upstream's runtimes
 * make are as writable as the root file system is; the hosts file is the kubelet's, and always is. */
static void add_pod_files(struct start *s, struct runtime_mount *mounts, size_t *count)
{
    static const struct {
        const char *file, *destination;
        bool of_runtime;
    } files[] = {
        {"hosts", "/etc/hosts", false}, {"hostname", "/etc/hostname", true}, {"resolv.conf", "/etc/resolv.conf", true}};
    for (size_t f = 0; f < ARRAY_COUNT(files); f++) {
        bool own = false;
        for (size_t i = 0; i < s->spec->volume_mounts.count; i++)
            own |= path_same(s->spec->volume_mounts.items[i].mount_path, files[f].destination);
        if (!own)
            mounts[(*count)++] =
                (struct runtime_mount){.source = arena_printf(s->arena, "%s/%s", s->worker->directory, files[f].file),
                                       .destination = files[f].destination,
                                       .read_only = files[f].of_runtime && s->config.read_only_rootfs};
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
    if (s->too_long)
        return error_wrap(&s->err, "command or arguments");
    return s->config.arg_count ? 0 : error_set(&s->err, EINVAL, "no command specified");
}

static int set_user(struct start *s, const struct image *image)
{
    const struct pod *pod = s->pod->value;
    const char *home;
    if (security_check_non_root(pod, s->spec, image->config.user, &s->err) < 0) {
        s->reason = "CreateContainerConfigError";
        return -1;
    }
    if (security_resolve_user(s->arena, pod, s->spec, image->config.user, &s->config, &home, &s->err) < 0)
        return -1;
    if (!environment_get(&s->environment, "HOME")) {
        struct runtime_pair *env = arena_array_grow(s->arena, s->config.env, s->config.env_count, 1, sizeof(*env));
        env[s->config.env_count++] = (struct runtime_pair){"HOME", home};
        s->config.env = env;
    }
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
    s->image_gone = image_find(agent->images, s->image, &image, &s->err) < 0;
    if (s->image_gone)
        return;
    if (file_make_directories(s->directory, 0711, &s->err) < 0 ||
        image_mount_rootfs(agent->images, image, s->directory, &s->err) < 0)
        return;
    s->config.rootfs = arena_printf(s->arena, "%s/rootfs", s->directory);
    if (volume_resolve_mounts(s->arena, s->pod->value, s->spec, s->worker->directory, expand_path, s, &mounts, &count,
                              &s->err) < 0) {
        s->reason = "CreateContainerConfigError";
        return;
    }
    mounts = arena_array_grow(s->arena, mounts, count, 3 + image->config.volumes.count, sizeof(*mounts));
    add_pod_files(s, mounts, &count);
    if (declared_volumes_make(s->arena, &image->config.volumes, s->directory, mounts, &count, &s->err) < 0)
        return;
    s->config.mounts = mounts;
    s->config.mount_count = count;
    add_image_environment(s, image);
    if (set_user(s, image) < 0 || set_args(s, image) < 0 ||
        security_load_seccomp(s->arena, s->pod->value, s->spec, agent->options.data_directory, &s->config, &s->err) < 0)
        return;
    s->config.cwd = s->spec->working_dir && *s->spec->working_dir ? s->spec->working_dir
                    : *image->config.working_dir                  ? arena_string(s->arena, image->config.working_dir)
                                                                  : "/";
    struct runtime_pair *notes = arena_alloc(s->arena, 4 * sizeof(*notes));
    notes[0] = (struct runtime_pair){"image", s->image};
    notes[1] = (struct runtime_pair){"image-id", s->image_id};
    const struct lifecycle *lifecycle = s->spec->lifecycle;
    notes[2] = (struct runtime_pair){"stop-signal", lifecycle && lifecycle->stop_signal
                                                        ? lifecycle->stop_signal
                                                        : arena_string(s->arena, image->config.stop_signal)};
    notes[3] = (struct runtime_pair){"user", security_user_text(s->arena, &s->config)};
    s->config.annotations = notes;
    s->config.annotation_count = 4;
    s->reason = NULL;
}

static void set_resources(struct start *s)
{
    const struct worker *w = s->worker;
    struct container spec = *s->spec;
    spec.resources = w->state.records[s->container].allocated;
    s->config.resources = limits_of_container(&worker_pod(w)->spec, &spec.resources);
    s->config.huge_pages = limits_of_huge_pages(s->arena, &worker_pod(w)->spec, &spec.resources, &w->agent->huge_pages);
    s->config.huge_page_count = w->agent->huge_pages.count;
    s->config.oom_score_adj = limits_oom_score(worker_allocated_pod(w, s->arena), &spec, w->agent->memory);
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
        log_files_remove(r->old_log);
}

static int find_target(struct start *s);

static int file_value(void *context, const struct file_key_selector *selector, const char **out, struct error *err)
{
    const struct start *s = context;
    for (size_t i = 0; i < s->files.count; i++) {
        const struct file_variable *file = &s->files.items[i];
        if (file->selector != selector)
            continue;
        *out = file->value;
        return file->failed ? error_set(err, file->err.code, "%s", file->err.text) : 0;
    }
    return error_set(err, ENOENT, "couldn't parse env file");
}

/* On the loop: all that the environment is made of is known. */
static void build_environment(void *context)
{
    struct start *s = context;
    struct environment_source source = worker_source(s->worker);
    source.file = file_value;
    source.file_context = s;
    if (environment_build(s->arena, &source, s->spec, &s->environment, &s->err) < 0 || find_target(s) < 0)
        start_over(s, "CreateContainerConfigError");
    else
        task_run(s->worker->agent->env, prepare, prepared, s);
}

static void read_files(void *context)
{
    struct start *s = context;
    for (size_t i = 0; i < s->files.count; i++) {
        struct file_variable *file = &s->files.items[i];
        if (!file->failed)
            file->failed = env_file_read(s->arena, s->worker->directory, file->selector, &file->value, &file->err) < 0;
    }
}

static bool has_volume(const struct pod_spec *spec, const char *name)
{
    for (size_t i = 0; i < spec->volumes.count; i++)
        if (text_equal(spec->volumes.items[i].name, name))
            return true;
    return false;
}

static void add_file(struct start *s, const struct file_key_selector *selector)
{
    struct file_variable file = {.selector = selector};
    if (!has_volume(&worker_pod(s->worker)->spec, selector->volume_name))
        file.failed = error_set(&file.err, ENOENT, "cannot find the volume \"%s\" referenced by FileKeyRef",
                                text_or_empty(selector->volume_name)) < 0;
    vector_push(&s->files, file);
}

static void begin_start(struct start *s)
{
    for (size_t i = 0; i < s->spec->env.count; i++) {
        const struct env_var_source *from = s->spec->env.items[i].value_from;
        if (from && from->file_key_ref)
            add_file(s, from->file_key_ref);
    }
    if (s->files.count)
        task_run(s->worker->agent->env, read_files, build_environment, s);
    else
        build_environment(s);
}

static void predecessor_removed(void *context)
{
    struct removal *r = context;
    struct start *s = r->start;
    free(r->directory);
    free(r->old_log);
    free(r);
    begin_start(s);
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

struct environment_source worker_source(struct worker *w)
{
    const struct agent *agent = w->agent;
    return (struct environment_source){.pod = worker_pod(w),
                                       .pod_ip = worker_address(w),
                                       .pod_ip6 = worker_address6(w),
                                       .host_ip = agent->options.node_address,
                                       .host_ip6 = agent->options.node_address6,
                                       .node_cpu_milli = agent->cpu_milli,
                                       .node_memory = agent->memory,
                                       .node_disk = agent->disk,
                                       .config_map = worker_config_map,
                                       .secret = worker_secret,
                                       .services = services,
                                       .context = w};
}

/* The container whose processes an ephemeral one sees, unless all of the pod see each other's. */
static int find_target(struct start *s)
{
    const struct worker *w = s->worker;
    const struct pod_spec *spec = &worker_pod(w)->spec;
    const char *target = NULL;
    for (size_t i = 0; i < spec->ephemeral_containers.count; i++)
        if (strcmp(spec->ephemeral_containers.items[i].name, s->spec->name) == 0)
            target = spec->ephemeral_containers.items[i].target_container_name;
    bool shared = spec->share_process_namespace.set && spec->share_process_namespace.value;
    if (!target || !*target || spec->host_pid || shared)
        return 0;
    int i = pod_state_find(&w->state, target);
    if (i < 0 || w->state.seen.containers[i].phase != CONTAINER_RUNNING)
        return error_set(&s->err, ENOENT, "unable to find target container %s", target);
    s->config.target_id = arena_string(s->arena, w->state.records[i].id);
    return 0;
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
    /* That of an ephemeral container goes with the next snapshot, what it points to stays. */
    s->spec = c->ephemeral ? arena_copy(s->arena, c->spec, sizeof(*c->spec)) : c->spec;
    worker_hold(w);

    r->delayed = again && container_restart_at(c) ? c->restart.delay : 0;
    if (again)
        backoff_raise(&c->restart, now);
    bool replaces = again && !c->start_failed;
    char *dead = NULL; /* NULL though it replaces one: the runtime has forgotten that */
    int32_t dead_attempt = r->attempt;
    if (replaces) {
        dead = r->id;
        r->id = NULL;
        r->attempt++;
        free(r->last.container_id);
        free(r->last.reason);
        free(r->last.message);
        r->last = r->current;
        r->current = (struct container_termination){0};
    }
    c->phase = CONTAINER_STARTING;
    c->start_failed = c->earlier = false;
    c->stop_cause = STOP_NONE;
    c->started = r->ready = false;

    runtime_container_id(agent->env, s->id);
    free(r->id);
    r->id = mem_string(s->id);
    cleanup_free char *directory = container_directory(w, c->spec->name, r->attempt);
    s->directory = arena_string(s->arena, directory);
    s->image = arena_string(s->arena, r->image);
    s->image_id = arena_string(s->arena, r->image_id);
    s->config.id = s->id;
    s->config.pod_uid = worker_pod(w)->metadata.uid;
    s->config.name = s->spec->name;
    s->config.attempt = (uint32_t)r->attempt;
    s->config.termination_message_path = s->spec->termination_message_path;
    s->config.tty = s->spec->tty;
    s->config.stdin_open = s->spec->stdin;
    s->config.stdin_once = s->spec->stdin_once;
    set_resources(s);
    if (cpu_manager_assign(agent->cpus, w, i, s->id, s->arena, &s->config.resources.cpus, &s->err) < 0)
        s->reason = "CreateContainerError";
    security_configure(worker_pod(w), s->spec, &s->config);
    if (!replaces) {
        begin_start(s);
        return;
    }
    struct removal *removal = mem_zero(1, sizeof(*removal));
    removal->start = s;
    removal->images = agent->images;
    removal->directory = container_directory(w, c->spec->name, dead_attempt);
    if (dead_attempt > 0)
        removal->old_log = runtime_log_path(agent->runtime, s->pod->meta->namespace, s->pod->meta->name,
                                            s->pod->meta->uid, c->spec->name, (uint32_t)dead_attempt - 1);
    if (dead)
        runtime_container_delete(agent->runtime, dead, predecessor_deleted, removal);
    else
        predecessor_deleted(removal, NULL);
    free(dead);
}
