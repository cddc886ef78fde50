/* Images that volumes show: found or pulled before the volumes are made, as imagePullPolicy has it for containers. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "node/puller.h"
#include "node/worker.h"

/* All that one round asks for. */
struct round {
    struct worker *worker;
    size_t left;
    worker_images_done done;
    void *context;
    struct error err; /* of the first that is not to be had */
    char *reason;     /* upstream's, for it; NULL: all are here */
};

struct wait {
    struct round *round;
    char *volume, *reference;
};

const char *worker_volume_image(void *worker, const char *volume)
{
    struct worker *w = worker;
    return map_get(&w->volume_images, volume);
}

void worker_forget_volume_images(struct worker *w)
{
    for (struct map_slot *s = NULL; (s = map_next(&w->volume_images, s));)
        free(s->value);
    map_free(&w->volume_images);
}

static void round_over(struct round *r)
{
    struct worker *w = r->worker;
    /* Upstream shows it at the containers, none of which can start. */
    for (size_t i = 0; i < w->state.seen.container_count; i++)
        worker_set_waiting(w, i, r->reason, r->reason ? r->err.text : NULL);
    r->done(r->context, r->reason ? &r->err : NULL);
    free(r->reason);
    free(r);
}

static void got(void *context, const struct image_answer *answer)
{
    struct wait *wait = context;
    struct round *r = wait->round;
    struct worker *w = r->worker;
    if (!answer->reason) {
        free(map_set(&w->volume_images, wait->volume, mem_string(answer->id)));
        if (answer->event)
            worker_event(w, NULL, "Normal", "Pulled", "%s", answer->event);
    } else {
        worker_event(w, NULL, "Warning", "Failed", "%s", answer->event);
        if (!r->reason) {
            error_set(&r->err, ENOENT, "%s", answer->message);
            r->reason = mem_string(answer->reason);
        }
    }
    free(wait->volume);
    free(wait->reference);
    free(wait);
    if (--r->left == 0)
        round_over(r);
}

static void pulling(void *context)
{
    const struct wait *wait = context;
    worker_event(wait->round->worker, NULL, "Normal", "Pulling", "Pulling image \"%s\"", wait->reference);
}

bool worker_fetch_volume_images(struct worker *w, worker_images_done done, void *context)
{
    const struct pod *pod = worker_pod(w);
    struct round *r = mem_zero(1, sizeof(*r));
    *r = (struct round){.worker = w, .left = 1, .done = done, .context = context};
    for (size_t i = 0; i < pod->spec.volumes.count; i++) {
        const struct volume *volume = &pod->spec.volumes.items[i];
        if (!volume->image || map_has(&w->volume_images, volume->name))
            continue;
        struct container as_asked = {.image = volume->image->reference,
                                     .image_pull_policy = volume->image->pull_policy};
        struct wait *wait = mem_zero(1, sizeof(*wait));
        *wait = (struct wait){r, mem_string(volume->name), mem_string(volume->image->reference)};
        r->left++;
        puller_get(w->agent->puller, pod, &as_asked, pulling, got, wait);
    }
    if (--r->left == 0) {
        free(r);
        return false;
    }
    return true;
}
