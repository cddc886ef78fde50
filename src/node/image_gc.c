#include "node/image_gc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/task.h"
#include "base/vector.h"
#include "node/registration.h"
#include "node/runtime/watch.h"
#include "node/worker.h"

/* The file of the store that every change of the set of images replaces. */
#define IMAGE_INDEX "index.json"

/* What is remembered of an image. */
struct sighting {
    int64_t detected, used;
    bool here;
};

struct image_gc {
    struct agent *agent;
    struct env_timer *timer;
    struct watch *watch;
    char *directory;
    struct map sightings; /* id -> struct sighting */
    bool started, busy, again, stopped;
    bool by_timer; /* of the look under way: what cannot be helped is said at these only */
    bool failed_before;
    bool everything;   /* the look under way is for everything that nobody uses, however much room there is */
    env_callback done; /* who asked for that; NULL: nobody waits */
    void *context;
};

/* ---- Looking ---- */

struct look {
    struct image_gc *gc;
    char *directory;
    struct image_list images;
    int64_t capacity, available;
    struct error err;
    bool failed;
};

static void look(void *context)
{
    struct look *l = context;
    struct statvfs disk;
    l->failed = image_list(l->gc->agent->images, &l->images, &l->err) < 0;
    if (!l->failed && statvfs(l->directory, &disk) < 0) {
        l->failed = true;
        error_errno(&l->err, "look at the disk of %s", l->directory);
    }
    if (l->failed)
        return;
    l->capacity = (int64_t)disk.f_blocks * (int64_t)disk.f_frsize;
    l->available = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
}

static bool in_use(const struct agent *agent, const struct image *image)
{
    for (struct map_slot *s = NULL; (s = map_next(&agent->workers, s));) {
        const struct worker *w = s->value;
        for (struct map_slot *v = NULL; (v = map_next(&w->volume_images, v));)
            if (strcmp(v->value, image_status_id(image)) == 0 || strcmp(v->value, image->id) == 0)
                return true;
        for (size_t i = 0; i < w->state.seen.container_count && !w->state.seen.torn_down; i++) {
            const char *id = w->state.records[i].image_id;
            if (id && (strcmp(id, image_status_id(image)) == 0 || strcmp(id, image->id) == 0))
                return true;
        }
    }
    return false;
}

/* Writes down who is here and in use. */
static void detect(struct image_gc *gc, const struct image_list *images, struct image_gc_record *records)
{
    int64_t now = env_now(gc->agent->env);
    for (struct map_slot *s = NULL; (s = map_next(&gc->sightings, s));)
        ((struct sighting *)s->value)->here = false;
    for (size_t i = 0; i < images->count; i++) {
        const struct image *image = images->items[i];
        struct sighting *seen = map_get(&gc->sightings, image->id);
        if (!seen) {
            seen = mem_zero(1, sizeof(*seen));
            seen->detected = gc->started ? now : 0;
            map_set(&gc->sightings, image->id, seen);
        }
        seen->here = true;
        bool used = in_use(gc->agent, image);
        if (used)
            seen->used = now;
        records[i] = (struct image_gc_record){.id = image->id,
                                              .size = image->size,
                                              .detected = seen->detected,
                                              .used = seen->used,
                                              .in_use = used,
                                              .pinned = !image->digests.count};
    }
    gc->started = true;
    VECTOR(char *) gone = {0};
    for (struct map_slot *s = NULL; (s = map_next(&gc->sightings, s));)
        if (!((struct sighting *)s->value)->here)
            vector_push(&gone, mem_string(s->key));
    for (size_t i = 0; i < gone.count; i++) {
        free(map_remove(&gc->sightings, gone.items[i]));
        free(gone.items[i]);
    }
    vector_free(&gone);
}

/* ---- Removing ---- */

struct removal {
    struct image_gc *gc;
    VECTOR(char *) ids; /* the first is the first to go */
    VECTOR(uint64_t) sizes;
    int64_t wanted, freed;
};

static void begin(struct image_gc *gc, bool by_timer);

static void over(struct image_gc *gc)
{
    gc->busy = false;
    if (gc->done && (gc->everything || gc->stopped)) {
        env_callback done = gc->done;
        gc->done = NULL;
        done(gc->context);
    }
    if (gc->stopped)
        agent_settled(gc->agent);
    else if (gc->again)
        begin(gc, false);
}

static void complain(struct image_gc *gc, const struct removal *r)
{
    const struct agent *agent = gc->agent;
    struct object_meta node = {.name = agent->options.node_name, .uid = agent->options.node_name};
    char text[256];
    snprintf(text, sizeof(text),
             "Failed to garbage collect required amount of images. Attempted to free %lld bytes, but only found %lld "
             "bytes eligible to free.",
             (long long)r->wanted, (long long)r->freed);
    log_warning("%s", text);
    recorder_event(agent->recorder, &api_resources[API_NODES], &node, NULL, "Warning", "FreeDiskSpaceFailed", "%s",
                   text);
    if (gc->failed_before)
        recorder_event(agent->recorder, &api_resources[API_NODES], &node, NULL, "Warning", "ImageGCFailed", "%s", text);
    gc->failed_before = true;
}

static void removed(void *context)
{
    struct removal *r = context;
    struct image_gc *gc = r->gc;
    if (r->freed >= r->wanted)
        gc->failed_before = false;
    else if (gc->by_timer && !gc->everything && !gc->stopped)
        complain(gc, r);
    for (size_t i = 0; i < r->ids.count; i++)
        free(r->ids.items[i]);
    vector_free(&r->ids);
    vector_free(&r->sizes);
    free(r);
    over(gc);
}

static void remove_images(void *context)
{
    struct removal *r = context;
    for (size_t i = 0; i < r->ids.count && r->freed < r->wanted; i++) {
        struct error err;
        if (image_remove(r->gc->agent->images, r->ids.items[i], &err) < 0)
            log_warning("Cannot remove image %s: %s", r->ids.items[i], err.text);
        else
            r->freed += (int64_t)r->sizes.items[i];
    }
}

static void looked(void *context)
{
    struct look *l = context;
    struct image_gc *gc = l->gc;
    cleanup_free struct image_gc_record *records = mem_zero(l->images.count + 1, sizeof(*records));
    struct removal *removal = NULL;
    if (l->failed)
        log_warning("Images are not looked through: %s", l->err.text);
    if (!l->failed && !gc->stopped) {
        detect(gc, &l->images, records);
        int64_t excess = gc->everything ? INT64_MAX : image_gc_excess(l->capacity, l->available);
        size_t going = excess ? image_gc_order(records, l->images.count, env_now(gc->agent->env)) : 0;
        if (excess && (going || gc->by_timer)) {
            removal = mem_zero(1, sizeof(*removal));
            removal->gc = gc;
            removal->wanted = excess;
        }
        for (size_t i = 0; i < going; i++) {
            vector_push(&removal->ids, mem_string(records[i].id));
            vector_push(&removal->sizes, records[i].size);
        }
    }
    image_list_free(&l->images);
    free(l->directory);
    free(l);
    if (removal)
        task_run(gc->agent->env, remove_images, removed, removal);
    else
        over(gc);
}

static void begin(struct image_gc *gc, bool by_timer)
{
    gc->again = gc->busy;
    if (gc->busy)
        return;
    struct look *l = mem_zero(1, sizeof(*l));
    l->gc = gc;
    l->directory = mem_string(gc->directory);
    gc->busy = true;
    gc->by_timer = by_timer;
    gc->everything = gc->done != NULL;
    task_run(gc->agent->env, look, looked, l);
}

/* ---- */

static void due(void *context)
{
    struct image_gc *gc = context;
    begin(gc, true);
    env_timer_start(gc->timer, IMAGE_GC_PERIOD);
}

static void store_changed(void *context, const char *name)
{
    struct image_gc *gc = context;
    if (name && strcmp(name, IMAGE_INDEX) != 0)
        return;
    begin(gc, false);
    registration_poke(gc->agent->registration);
}

struct image_gc *image_gc_new(struct agent *agent)
{
    struct image_gc *gc = mem_zero(1, sizeof(*gc));
    gc->agent = agent;
    gc->directory = mem_printf("%s/images", agent->options.data_directory);
    gc->timer = env_timer_new(agent->env, due, gc);
    return gc;
}

void image_gc_start(struct image_gc *gc)
{
    struct error err;
    if (watch_add_whole(runtime_watcher(gc->agent->runtime), gc->directory, store_changed, gc, &gc->watch, &err) < 0)
        log_warning("Changes of images are not seen at once: %s", err.text);
    begin(gc, false);
    env_timer_start(gc->timer, IMAGE_GC_PERIOD);
}

void image_gc_stop(struct image_gc *gc)
{
    gc->stopped = true;
    env_timer_stop(gc->timer);
    watch_remove(gc->watch);
    gc->watch = NULL;
}

void image_gc_remove_unused(struct image_gc *gc, env_callback done, void *context)
{
    if (gc->stopped) {
        done(context);
        return;
    }
    gc->done = done;
    gc->context = context;
    begin(gc, false);
}

bool image_gc_idle(const struct image_gc *gc)
{
    return !gc->busy;
}

void image_gc_free(struct image_gc *gc)
{
    for (struct map_slot *s = NULL; (s = map_next(&gc->sightings, s));)
        free(s->value);
    map_free(&gc->sightings);
    env_timer_free(gc->timer);
    free(gc->directory);
    free(gc);
}
