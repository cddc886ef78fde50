/* Pod sandboxes: their records, and the order in which their parts are made and removed. */
#include "node/runtime/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "node/runtime/runtime_internal.h"

#define HOSTNAME_MAX 64

char *sandbox_path(const struct runtime *runtime, const char *pod_uid, const char *file)
{
    return mem_printf("%s/pods/%s%s%s", runtime->run, pod_uid, file ? "/" : "", file ? file : "");
}

void runtime_pod_cgroup(const char *pod_uid, char out[RUNTIME_POD_CGROUP_MAX])
{
    snprintf(out, RUNTIME_POD_CGROUP_MAX, "pod%s", pod_uid);
}

struct sandbox *sandbox_new(struct runtime *runtime)
{
    struct sandbox *sandbox = mem_zero(1, sizeof(*sandbox));
    sandbox->runtime = runtime;
    sandbox->arena = arena_new(0);
    list_init(&sandbox->node);
    return sandbox;
}

void sandbox_free(struct sandbox *sandbox)
{
    vector_free(&sandbox->waiters);
    arena_free(sandbox->arena);
    free(sandbox);
}

void sandbox_insert(struct sandbox *sandbox)
{
    map_set(&sandbox->runtime->sandboxes, sandbox->status.pod_uid, sandbox);
    list_append(&sandbox->runtime->sandbox_list, &sandbox->node);
}

static void sandbox_take_out(struct sandbox *sandbox)
{
    map_remove(&sandbox->runtime->sandboxes, sandbox->status.pod_uid);
    list_remove(&sandbox->node);
}

static struct sandbox *find_sandbox(struct runtime *runtime, const char *pod_uid)
{
    return map_get(&runtime->sandboxes, pod_uid);
}

const struct runtime_sandbox_status *runtime_sandbox_get(struct runtime *runtime, const char *pod_uid)
{
    struct sandbox *sandbox = find_sandbox(runtime, pod_uid);
    return sandbox && sandbox->ready && !sandbox->removing ? &sandbox->status : NULL;
}

void runtime_sandbox_each(struct runtime *runtime,
                          void (*visit)(void *context, const struct runtime_sandbox_status *sandbox), void *context)
{
    struct sandbox *sandbox;
    list_for_each(&runtime->sandbox_list, sandbox, node)
    {
        if (sandbox->ready && !sandbox->removing)
            visit(context, &sandbox->status);
    }
}

int sandbox_remove_parts(const struct runtime *runtime, const char *pod_uid, struct error *err)
{
    char group[RUNTIME_POD_CGROUP_MAX];
    runtime_pod_cgroup(pod_uid, group);
    cleanup_free char *directory = sandbox_path(runtime, pod_uid, NULL);
    if (cgroup_kill(runtime->cgroup, group, err) < 0 || cgroup_remove(runtime->cgroup, group, err) < 0 ||
        namespaces_remove(runtime, pod_uid, err) < 0 || file_remove_tree(directory, err) < 0)
        return error_wrap(err, "remove the sandbox of pod %s", pod_uid);
    return 0;
}

struct creation {
    struct sandbox *sandbox;
    struct runtime_sandbox_config config; /* its strings are in the sandbox's arena */
    runtime_done done;
    void *context;
    int result;
    struct error err;
};

static int create_parts(struct creation *creation)
{
    const struct runtime *runtime = creation->sandbox->runtime;
    const struct runtime_sandbox_config *config = &creation->config;
    char group[RUNTIME_POD_CGROUP_MAX];
    runtime_pod_cgroup(config->pod_uid, group);
    cleanup_free char *directory = sandbox_path(runtime, config->pod_uid, NULL);
    if (file_make_directories(directory, 0711, &creation->err) < 0 ||
        sandbox_record_write(runtime, &creation->sandbox->status, &creation->err) < 0 ||
        cgroup_create(runtime->cgroup, group, &config->resources, &creation->err) < 0)
        return -1;
    return namespaces_create(runtime, config, &creation->err);
}

static void create_work(void *context)
{
    struct creation *creation = context;
    struct error ignored;
    creation->result = create_parts(creation);
    if (creation->result < 0)
        sandbox_remove_parts(creation->sandbox->runtime, creation->config.pod_uid, &ignored);
}

static void remove_start(struct sandbox *sandbox);

static void create_after(void *context)
{
    struct creation *creation = context;
    struct sandbox *sandbox = creation->sandbox;
    sandbox->busy = false;
    sandbox->ready = creation->result == 0;
    if (creation->result < 0) {
        waiters_answer(&sandbox->waiters, NULL);
        sandbox_take_out(sandbox);
        sandbox_free(sandbox);
    } else if (sandbox->removing) {
        remove_start(sandbox);
    }
    creation->done(creation->context, creation->result < 0 ? &creation->err : NULL);
    free(creation);
}

static int check_config(struct runtime *runtime, const struct runtime_sandbox_config *config, struct error *err)
{
    if (!config->pod_uid || !runtime_name_valid(config->pod_uid) ||
        strlen(config->pod_uid) > RUNTIME_POD_CGROUP_MAX - sizeof("pod"))
        return error_set(err, EINVAL, "pod uid '%s' does not fit a file name", config->pod_uid ? config->pod_uid : "");
    if (!config->host_network && (!config->hostname || !*config->hostname || strlen(config->hostname) > HOSTNAME_MAX))
        return error_set(err, EINVAL, "hostname '%s' does not have 1 to %d characters",
                         config->hostname ? config->hostname : "", HOSTNAME_MAX);
    if (map_has(&runtime->sandboxes, config->pod_uid))
        return error_set(err, EEXIST, "pod %s has a sandbox", config->pod_uid);
    if (runtime->sandboxes.count >= RUNTIME_SANDBOXES_MAX)
        return error_set(err, ENOSPC, "there are %d sandboxes already", RUNTIME_SANDBOXES_MAX);
    return runtime->closing ? error_set(err, ECANCELED, "the container runtime is closing") : 0;
}

void runtime_sandbox_create(struct runtime *runtime, const struct runtime_sandbox_config *config, runtime_done done,
                            void *context)
{
    struct error err;
    if (check_config(runtime, config, &err) < 0) {
        runtime_answer(runtime, done, context, &err);
        return;
    }
    struct sandbox *sandbox = sandbox_new(runtime);
    struct arena *arena = sandbox->arena;
    struct creation *creation = mem_zero(1, sizeof(*creation));
    *creation = (struct creation){.sandbox = sandbox, .config = *config, .done = done, .context = context};
    creation->config.pod_uid = arena_string(arena, config->pod_uid);
    creation->config.hostname = arena_string(arena, config->hostname ? config->hostname : "");
    creation->config.sysctls = pairs_copy(arena, config->sysctls, config->sysctl_count);
    cleanup_free char *network = sandbox_path(runtime, config->pod_uid, "ns/net");
    sandbox->status = (struct runtime_sandbox_status){
        .pod_uid = creation->config.pod_uid,
        .pod_namespace = arena_string(arena, config->pod_namespace ? config->pod_namespace : ""),
        .pod_name = arena_string(arena, config->pod_name ? config->pod_name : ""),
        .hostname = creation->config.hostname,
        .host_network = config->host_network,
        .host_ipc = config->host_ipc,
        .host_pid = config->host_pid,
        .share_process_namespace = config->share_process_namespace,
        .network_namespace = config->host_network ? NULL : arena_string(arena, network),
        .created_at = env_now(runtime->env),
        .annotations = pairs_copy(arena, config->annotations, config->annotation_count),
        .annotation_count = config->annotation_count,
    };
    sandbox->busy = true;
    sandbox_insert(sandbox);
    runtime_work(runtime, create_work, create_after, creation);
}

struct removal {
    struct sandbox *sandbox;
    int result;
    struct error err;
};

static void remove_work(void *context)
{
    struct removal *removal = context;
    removal->result = sandbox_remove_parts(removal->sandbox->runtime, removal->sandbox->status.pod_uid, &removal->err);
}

static void remove_after(void *context)
{
    struct removal *removal = context;
    struct sandbox *sandbox = removal->sandbox;
    waiter_list waiters = sandbox->waiters;
    sandbox->waiters = (waiter_list){0};
    sandbox->busy = sandbox->removing = false;
    if (removal->result == 0) {
        sandbox_take_out(sandbox);
        sandbox_free(sandbox);
    }
    waiters_answer(&waiters, removal->result < 0 ? &removal->err : NULL);
    free(removal);
}

static void remove_start(struct sandbox *sandbox)
{
    struct removal *removal = mem_zero(1, sizeof(*removal));
    removal->sandbox = sandbox;
    sandbox->busy = true;
    runtime_work(sandbox->runtime, remove_work, remove_after, removal);
}

void runtime_sandbox_remove(struct runtime *runtime, const char *pod_uid, runtime_done done, void *context)
{
    struct sandbox *sandbox = find_sandbox(runtime, pod_uid);
    if (!sandbox) {
        runtime_answer(runtime, done, context, NULL);
        return;
    }
    if (sandbox_has_containers(runtime, pod_uid)) {
        struct error err;
        error_set(&err, EBUSY, "the sandbox of pod %s still has containers", pod_uid);
        runtime_answer(runtime, done, context, &err);
        return;
    }
    vector_push(&sandbox->waiters, (struct waiter){done, context});
    sandbox->removing = true;
    if (!sandbox->busy)
        remove_start(sandbox);
}

struct annotation {
    struct sandbox *sandbox;
    struct runtime_sandbox_status status; /* as it is to be */
    runtime_done done;
    void *context;
    int result;
    struct error err;
};

static void annotate_work(void *context)
{
    struct annotation *annotation = context;
    annotation->result = sandbox_record_write(annotation->sandbox->runtime, &annotation->status, &annotation->err);
}

static void annotate_after(void *context)
{
    struct annotation *annotation = context;
    struct sandbox *sandbox = annotation->sandbox;
    sandbox->busy = false;
    if (annotation->result == 0) {
        sandbox->status.annotations = annotation->status.annotations;
        sandbox->status.annotation_count = annotation->status.annotation_count;
    }
    if (sandbox->removing)
        remove_start(sandbox);
    annotation->done(annotation->context, annotation->result < 0 ? &annotation->err : NULL);
    free(annotation);
}

void runtime_sandbox_annotate(struct runtime *runtime, const char *pod_uid, const char *key, const char *value,
                              runtime_done done, void *context)
{
    struct sandbox *sandbox = find_sandbox(runtime, pod_uid);
    struct error err;
    if (!sandbox || !sandbox->ready || sandbox->removing || sandbox->busy) {
        error_set(&err, sandbox ? EBUSY : ENOENT, "the sandbox of pod %s %s", pod_uid,
                  sandbox ? "is being changed" : "is not there");
        runtime_answer(runtime, done, context, &err);
        return;
    }
    struct annotation *annotation = mem_zero(1, sizeof(*annotation));
    *annotation = (struct annotation){.sandbox = sandbox, .status = sandbox->status, .done = done, .context = context};
    size_t count = sandbox->status.annotation_count;
    struct runtime_pair *pairs =
        arena_array_grow(sandbox->arena, sandbox->status.annotations, count, 1, sizeof(*pairs));
    size_t at = 0;
    while (at < count && strcmp(pairs[at].key, key))
        at++;
    pairs[at] = (struct runtime_pair){arena_string(sandbox->arena, key), arena_string(sandbox->arena, value)};
    annotation->status.annotations = pairs;
    annotation->status.annotation_count = at == count ? count + 1 : count;
    sandbox->busy = true;
    runtime_work(runtime, annotate_work, annotate_after, annotation);
}
