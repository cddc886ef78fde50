/* The containers of a pod that an agent before this one has made: they are found in the runtime, and taken up. */
#include "node/worker.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "node/cpu_manager.h"
#include "node/runtime/container.h"

static const char *annotation(const struct runtime_container_status *s, const char *key)
{
    for (size_t i = 0; i < s->annotation_count; i++)
        if (strcmp(s->annotations[i].key, key) == 0)
            return s->annotations[i].value;
    return NULL;
}

static void restore_container(void *context, const struct runtime_container_status *s)
{
    struct worker *w = context;
    int i = pod_state_find(&w->state, s->name);
    if (i < 0)
        return;
    struct container_record *r = &w->state.records[i];
    if (r->id && (int32_t)s->attempt < r->restart_count)
        return;
    free(r->id);
    r->id = mem_string(s->id);
    r->restart_count = r->attempt = (int32_t)s->attempt;
    r->started_at = s->started_at;
    w->state.restored = true;
    struct container_observation *c = &w->state.seen.containers[i];
    const char *image = annotation(s, "image"), *image_id = annotation(s, "image-id"), *user = annotation(s, "user");
    free(r->image);
    free(r->image_id);
    free(r->user);
    r->user = user ? mem_string(user) : NULL;
    r->image = image ? mem_string(image) : NULL;
    r->image_id = image_id ? mem_string(image_id) : NULL;
    c->image = PART_READY;
    /* An ended one is reported through worker_container_ended as well, which completes this. */
    c->phase = s->state == RUNTIME_EXITED ? CONTAINER_STARTING : CONTAINER_RUNNING;
    /* The status that the API remembers may be older than the container. */
    struct error err;
    if (c->phase == CONTAINER_RUNNING &&
        runtime_read_limits(w->agent->runtime, s->pod_uid, s->id, &r->actual, &err) < 0)
        log_warning("Cannot read the limits of container %s: %s", s->name, err.text);
    if (c->phase == CONTAINER_RUNNING)
        cpu_manager_restore(w->agent->cpus, w, (size_t)i, s->id);
    c->started |= !c->spec->startup_probe;
    r->ready |= c->started && !c->spec->readiness_probe;
}

void worker_restore_containers(struct worker *w)
{
    runtime_container_each(w->agent->runtime, w->state.pod->meta->uid, restore_container, w);
}

void worker_read_ends(struct worker *w)
{
    for (size_t i = 0; i < w->state.seen.container_count; i++) {
        const char *id = w->state.records[i].id;
        const struct runtime_container_status *s = id ? runtime_container_get(w->agent->runtime, id) : NULL;
        if (!s || s->state != RUNTIME_EXITED)
            continue;
        w->state.records[i].end_unread = true;
        worker_container_ended(w, s);
    }
}
