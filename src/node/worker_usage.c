/* Evicts a pod whose emptyDir volume on disk outgrows its sizeLimit, as upstream's eviction manager does. Only pods
 * that have such a volume are looked at; a volume in memory has its limit from its tmpfs. */
#include <ftw.h>
#include <stdlib.h>
#include <string.h>

#include "api/quantity.h"
#include "base/cleanup.h"
#include "base/task.h"
#include "base/timestamp.h"
#include "node/worker.h"

/* Upstream's monitoring period, and the grace period of an eviction that cannot wait. */
#define USAGE_PERIOD (10 * SECOND)
#define EVICTION_GRACE (1 * SECOND)
#define WALK_DESCRIPTORS 16
#define BLOCK_BYTES 512

static bool is_limited(const struct volume *volume)
{
    const struct empty_dir_volume_source *e = volume->empty_dir;
    return e && quantity_value(e->size_limit) > 0 && !(e->medium && strcmp(e->medium, "Memory") == 0);
}

/* One look at all limited volumes. Off the loop it reads its own copies and counts. */
struct usage {
    struct worker *worker;
    struct object *pod;
    char *directory;
    const struct volume *over; /* of the pod: the first that is too large */
};

static _Thread_local int64_t walked_bytes;

static int count_bytes(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)path, (void)walk;
    if (type != FTW_NS)
        walked_bytes += (int64_t)info->st_blocks * BLOCK_BYTES;
    return 0;
}

static void measure(void *context)
{
    struct usage *u = context;
    const struct pod *pod = u->pod->value;
    for (size_t i = 0; i < pod->spec.volumes.count && !u->over; i++) {
        const struct volume *volume = &pod->spec.volumes.items[i];
        if (!is_limited(volume))
            continue;
        cleanup_free char *path = mem_printf("%s/volumes/%s", u->directory, volume->name);
        walked_bytes = 0;
        /* Files that come and go meanwhile are the container's business. */
        nftw(path, count_bytes, WALK_DESCRIPTORS, FTW_PHYS | FTW_MOUNT);
        if (walked_bytes > quantity_value(volume->empty_dir->size_limit))
            u->over = volume;
    }
}

static void evict(struct worker *w, const struct volume *volume)
{
    struct pod_observation *seen = &w->state.seen;
    w->state.reason = "Evicted";
    w->state.message = mem_printf("Usage of EmptyDir volume \"%s\" exceeds the limit \"%s\". ", volume->name,
                                  volume->empty_dir->size_limit);
    worker_event(w, NULL, "Warning", "Evicted", "%s", w->state.message);
    seen->terminating = true;
    seen->terminate_by = env_now(w->agent->env) + EVICTION_GRACE;
}

static void measured(void *context)
{
    struct usage *u = context;
    struct worker *w = u->worker;
    if (!w->state.seen.terminating && !w->state.seen.torn_down && !w->agent->stopping) {
        if (u->over)
            evict(w, u->over);
        else
            env_timer_start(w->usage, USAGE_PERIOD);
    }
    object_unref(u->pod);
    free(u->directory);
    free(u);
    worker_release(w);
}

static void look(void *context)
{
    struct worker *w = context;
    if (w->state.seen.terminating || w->state.seen.torn_down || w->agent->stopping)
        return;
    struct usage *u = mem_zero(1, sizeof(*u));
    u->worker = w;
    u->pod = object_ref(w->state.pod);
    u->directory = mem_string(w->directory);
    worker_hold(w);
    task_run(w->agent->env, measure, measured, u);
}

void worker_watch_usage(struct worker *w)
{
    const struct pod *pod = worker_pod(w);
    for (size_t i = 0; i < pod->spec.volumes.count && !w->usage; i++)
        if (is_limited(&pod->spec.volumes.items[i])) {
            w->usage = env_timer_new(w->agent->env, look, w);
            env_timer_start(w->usage, USAGE_PERIOD);
        }
}
