/* Evicts a pod that outgrows what it may keep on the node's disk, as upstream's eviction manager does: an emptyDir
 * volume its sizeLimit, a container (writable layer and logs) its limit of ephemeral-storage, the pod as a whole
 * (volumes too) the sum of them. Only pods with such a limit are looked at; a volume in memory has its limit from its
 * tmpfs. */
#include <ftw.h>
#include <stdlib.h>
#include <string.h>

#include "api/pod_resources.h"
#include "api/quantity.h"
#include "base/cleanup.h"
#include "base/task.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "node/eviction.h"
#include "node/runtime/log.h"
#include "node/worker.h"

/* Upstream's monitoring period. */
#define USAGE_PERIOD (10 * SECOND)
#define WALK_DESCRIPTORS 16
#define BLOCK_BYTES 512
#define STORAGE "ephemeral-storage"

static bool on_disk(const struct volume *volume)
{
    const struct empty_dir_volume_source *e = volume->empty_dir;
    return e && text_empty(e->medium);
}

static bool is_limited(const struct volume *volume)
{
    return on_disk(volume) && quantity_value(volume->empty_dir->size_limit) > 0;
}

/* One look. Off the loop it reads its own copies and counts. */
struct usage {
    struct worker *worker;
    struct object *pod;
    char *directory, *logs;
    char *message; /* why it has to go; NULL: it need not */
};

static _Thread_local int64_t walked_bytes;

static int count_bytes(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)path, (void)walk;
    if (type != FTW_NS)
        walked_bytes += (int64_t)info->st_blocks * BLOCK_BYTES;
    return 0;
}

/* Files that come and go meanwhile are the container's business. */
static int64_t size_of(const char *path)
{
    walked_bytes = 0;
    nftw(path, count_bytes, WALK_DESCRIPTORS, FTW_PHYS | FTW_MOUNT);
    return walked_bytes;
}

static int64_t measure_volumes(struct usage *u, const struct pod *pod)
{
    int64_t sum = 0;
    for (size_t i = 0; i < pod->spec.volumes.count; i++) {
        const struct volume *volume = &pod->spec.volumes.items[i];
        if (!on_disk(volume))
            continue;
        cleanup_free char *path = mem_printf("%s/volumes/%s", u->directory, volume->name);
        int64_t size = size_of(path);
        sum += size;
        if (is_limited(volume) && size > quantity_value(volume->empty_dir->size_limit) && !u->message)
            u->message = mem_printf("Usage of EmptyDir volume \"%s\" exceeds the limit \"%s\". ", volume->name,
                                    volume->empty_dir->size_limit);
    }
    return sum;
}

/* All that its runs have left: NAME-0, NAME-1 ... below containers/, and the logs. */
static int64_t measure_container(const struct usage *u, const struct container *c, int32_t attempts)
{
    cleanup_free char *logs = mem_printf("%s/%s", u->logs, c->name);
    int64_t sum = size_of(logs);
    for (int32_t i = attempts > 0 ? attempts - 1 : 0; i <= attempts; i++) {
        cleanup_free char *path = mem_printf("%s/containers/%s-%d", u->directory, c->name, i);
        sum += size_of(path);
    }
    return sum;
}

/* NULL: none, or it comes and goes before the others: the pod's limit holds for it. */
static const char *own_limit(const struct container *c, bool init)
{
    return init && !text_equal(c->restart_policy, "Always") ? NULL : string_map_get(&c->resources.limits, STORAGE);
}

static int64_t measure_containers(const struct usage *u, const struct pod *pod, const struct container_array *list,
                                  char **message)
{
    int64_t sum = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct container *c = &list->items[i];
        const struct container_status *s = pod_container_status(&pod->status, c->name);
        int64_t size = measure_container(u, c, s ? s->restart_count : 0);
        sum += size;
        const char *limit = own_limit(c, list == &pod->spec.init_containers);
        int64_t most = quantity_value(limit);
        if (most && size > most && !*message)
            *message = mem_printf("Container %s exceeded its local ephemeral storage limit \"%s\". ", c->name, limit);
    }
    return sum;
}

/* Of the pod as a whole; 0: there is none. */
static int64_t pod_limit(const struct pod *pod)
{
    int64_t limit;
    pod_resource_limit(&pod->spec, STORAGE, &limit);
    return limit;
}

/* In upstream's order: volumes, the pod as a whole, containers. */
static void measure(void *context)
{
    struct usage *u = context;
    const struct pod *pod = u->pod->value;
    cleanup_free char *of_container = NULL;
    int64_t limit = pod_limit(pod), used = measure_volumes(u, pod);
    used += measure_containers(u, pod, &pod->spec.init_containers, &of_container);
    used += measure_containers(u, pod, &pod->spec.containers, &of_container);
    if (!u->message && limit && used > limit) {
        struct arena *arena = arena_new(256);
        u->message = mem_printf("Pod ephemeral local storage usage exceeds the total limit of containers %s. ",
                                quantity_format(arena, (quantity_t)limit * 1000000000, true));
        arena_free(arena);
    }
    if (!u->message)
        u->message = steal_pointer(of_container);
}

static void measured(void *context)
{
    struct usage *u = context;
    struct worker *w = u->worker;
    if (!w->state.seen.terminating && !w->state.seen.torn_down && !w->agent->stopping) {
        if (u->message)
            worker_evict(w, u->message, false);
        else
            env_timer_start(w->usage, USAGE_PERIOD);
    }
    object_unref(u->pod);
    free(u->directory);
    free(u->logs);
    free(u->message);
    free(u);
    worker_release(w);
}

static void look(void *context)
{
    struct worker *w = context;
    if (w->state.seen.terminating || w->state.seen.torn_down || w->agent->stopping)
        return;
    const struct object_meta *meta = w->state.pod->meta;
    struct usage *u = mem_zero(1, sizeof(*u));
    u->worker = w;
    u->pod = object_ref(w->state.pod);
    u->directory = mem_string(w->directory);
    u->logs = runtime_pod_log_directory(w->agent->runtime, meta->namespace, meta->name, meta->uid);
    worker_hold(w);
    task_run(w->agent->env, measure, measured, u);
}

void worker_watch_usage(struct worker *w)
{
    const struct pod *pod = worker_pod(w);
    bool wanted = pod_limit(pod) > 0;
    for (size_t i = 0; i < pod->spec.volumes.count && !wanted; i++)
        wanted = is_limited(&pod->spec.volumes.items[i]);
    if (!wanted || w->usage || eviction_is_critical(pod))
        return;
    w->usage = env_timer_new(w->agent->env, look, w);
    env_timer_start(w->usage, USAGE_PERIOD);
}
