/* The mirror of a static pod: the object that shows it in the API. It is made when it is not there, and made again when
 * it shows another pod or is being deleted; it goes when the pod has ended for good. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/timestamp.h"
#include "node/static_pod.h"
#include "node/worker.h"

/* How long a mirror that was refused waits before it is tried again. */
#define MIRROR_RETRY (1 * SECOND)

struct object *worker_reported(const struct worker *w)
{
    return w->is_static ? w->mirror : w->state.pod;
}

struct worker *worker_find(struct agent *agent, const struct object *pod)
{
    const char *of = static_pod_is_mirror(pod) ? static_pod_shown_uid(pod) : pod->meta->uid;
    return of ? map_get(&agent->workers, of) : NULL;
}

static void set_mirror(struct worker *w, struct object *mirror)
{
    /* The data plane knows pods by the uid of what shows them. */
    if (w->mirror && (!mirror || strcmp(mirror->meta->uid, w->mirror->meta->uid) != 0))
        worker_withhold(w, false);
    if (mirror)
        object_ref(mirror);
    object_unref(w->mirror);
    w->mirror = mirror;
    w->write_at = 0;
}

void worker_mirror_changed(struct worker *w, struct object *mirror)
{
    bool older = mirror && w->mirror && strcmp(mirror->meta->uid, w->mirror->meta->uid) == 0 &&
                 mirror->revision <= w->mirror->revision;
    if (older)
        return;
    set_mirror(w, mirror);
    w->status_dirty = true;
    worker_poke(w);
}

void worker_leave(struct worker *w)
{
    struct pod_observation *seen = &w->state.seen;
    if (w->leaving)
        return;
    w->leaving = true;
    seen->terminate_by =
        env_now(w->agent->env) + duration_of_seconds(worker_pod(w)->spec.termination_grace_period_seconds.value);
    seen->terminating = true;
    worker_poke(w);
}

static void answered(struct worker *w, const struct client_result *result, const char *what)
{
    w->mirror_busy = false;
    if (!client_ok(result) && result->code != 404 && result->code != 409) {
        log_warning("Cannot %s the mirror of static pod %s/%s: %s", what, w->state.pod->meta->namespace,
                    w->state.pod->meta->name, result->status ? result->status->message : "");
        w->write_at = env_now(w->agent->env) + MIRROR_RETRY;
    }
}

static void created(void *context, const struct client_result *result)
{
    struct worker *w = context;
    answered(w, result, "create");
    if (result->code == 409) /* the informer will show what is there */
        w->write_at = env_now(w->agent->env) + MIRROR_RETRY;
    if (client_ok(result))
        worker_mirror_changed(w, result->object);
    worker_release(w);
}

static void deleted(void *context, const struct client_result *result)
{
    struct worker *w = context;
    answered(w, result, "delete");
    if (client_ok(result) || result->code == 404 || result->code == 409)
        set_mirror(w, NULL);
    worker_release(w);
}

static void create(struct worker *w)
{
    const struct agent *agent = w->agent;
    struct arena *arena = arena_new(8192);
    struct pod *pod = static_pod_mirror(arena, w->state.pod, agent->options.node_name, agent->node_uid);
    w->mirror_busy = true;
    worker_hold(w);
    client_create(agent->client, &api_resources[API_PODS], pod->metadata.namespace, arena, pod, created, w);
}

static void delete (struct worker *w)
{
    w->mirror_busy = true;
    worker_hold(w);
    client_delete(w->agent->client, &api_resources[API_PODS], w->mirror->meta->namespace, w->mirror->meta->name,
                  w->mirror->meta->uid, 0, NULL, deleted, w);
}

void worker_sync_mirror(struct worker *w)
{
    if (!w->is_static || w->mirror_busy || w->status_busy || w->gone)
        return;
    bool over = w->leaving && w->state.seen.torn_down;
    bool wrong =
        w->mirror && (over || w->mirror->meta->deletion_timestamp || !static_pod_is_shown(w->state.pod, w->mirror));
    if (over && !w->mirror) {
        w->gone = true;
        worker_poke(w);
    }
    if (w->gone || !w->agent->node_uid || env_now(w->agent->env) < w->write_at)
        return;
    if (wrong)
        delete (w);
    else if (!w->mirror && !w->leaving)
        create(w);
}
