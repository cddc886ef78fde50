/* What a worker does about images: asks for them and shows how that goes. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "node/puller.h"
#include "node/worker.h"

static void free_string(char **s)
{
    free(*s);
    *s = NULL;
}

struct image_wait {
    struct worker *worker;
    size_t container;
    char *image;
};

static void image_settled(void *context, const struct image_answer *answer)
{
    struct image_wait *wait = context;
    struct worker *w = wait->worker;
    size_t i = wait->container;
    struct container_observation *c = &w->state.seen.containers[i];
    struct container_record *r = &w->state.records[i];
    bool stale = strcmp(wait->image, c->spec->image) != 0;
    free(wait->image);
    free(wait);
    if (stale) {
        c->image = PART_NONE; /* the spec names another one meanwhile */
    } else if (answer->reason) {
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
    wait->image = mem_string(c->spec->image);
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
