/* A record per Job and per pod of a Job. */
#include "sim/audit_job.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/index_set.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/vector.h"
#include "control/controller.h"
#include "control/job.h"

#define TEXT_MAX 400

/* What parallelism was, until it was something else. */
struct limit {
    int64_t until; /* INT64_MAX: now */
    int32_t most;
};

struct record {
    struct object *object;
    VECTOR(struct limit) limits;
    struct map pods;      /* uid -> struct object */
    struct map succeeded; /* uid, and "#<index>", of pods that have succeeded */
    int32_t pods_succeeded;
    int32_t clean; /* ... while they were to be counted */
};

struct job_audit {
    int64_t window;
    void (*report)(void *context, const char *text);
    void *context;
    struct map jobs; /* uid -> struct record */
};

struct job_audit *job_audit_new(int64_t window, void (*report)(void *context, const char *text), void *context)
{
    struct job_audit *audit = mem_zero(1, sizeof(*audit));
    audit->window = window;
    audit->report = report;
    audit->context = context;
    return audit;
}

static void record_free(struct record *r)
{
    for (struct map_slot *s = NULL; (s = map_next(&r->pods, s));)
        object_unref(s->value);
    map_free(&r->pods);
    map_free(&r->succeeded);
    vector_free(&r->limits);
    object_unref(r->object);
    free(r);
}

void job_audit_free(struct job_audit *audit)
{
    if (!audit)
        return;
    for (struct map_slot *s = NULL; (s = map_next(&audit->jobs, s));)
        record_free(s->value);
    map_free(&audit->jobs);
    free(audit);
}

static void __attribute__((format(printf, 2, 3))) wrong(struct job_audit *audit, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    audit->report(audit->context, text);
}

static const struct job *job_of(const struct record *r)
{
    return r->object->value;
}

/* ---- Jobs ---- */

static void add_limit(struct job_audit *audit, struct record *r, int32_t most, int64_t now)
{
    if (r->limits.count) {
        struct limit *last = &r->limits.items[r->limits.count - 1];
        if (last->most == most)
            return;
        last->until = now;
    }
    while (r->limits.count && r->limits.items[0].until < now - audit->window)
        vector_remove(&r->limits, 0);
    vector_push(&r->limits, (struct limit){INT64_MAX, most});
}

static void check_indexes(struct job_audit *audit, const struct record *r, const struct job *before,
                          const struct job *now)
{
    cleanup_arena struct arena *arena = arena_new(0);
    int32_t completions = now->spec.completions.value;
    struct index_set was = index_set_parse(arena, before->status.completed_indexes, completions);
    struct index_set is = index_set_parse(arena, now->status.completed_indexes, INT32_MAX);
    if (now->status.succeeded != index_set_total(&is))
        wrong(audit, "job %s counts %d succeeded pods, and the indexes %s", now->metadata.name, now->status.succeeded,
              now->status.completed_indexes ? now->status.completed_indexes : "none");
    if (index_set_common(&was, &is) != index_set_total(&was))
        wrong(audit, "job %s has succeeded in the indexes %s, and before in %s", now->metadata.name,
              now->status.completed_indexes, before->status.completed_indexes);
    for (size_t i = 0; i < is.count; i++) {
        for (int32_t index = is.items[i].first; index <= is.items[i].last; index++) {
            char key[24];
            snprintf(key, sizeof(key), "#%d", index);
            if (!map_has(&r->succeeded, key))
                wrong(audit, "index %d of job %s is counted, and no pod of it has succeeded", index,
                      now->metadata.name);
        }
    }
}

static void check_counters(struct job_audit *audit, const struct record *r, const struct job *before,
                           const struct job *now)
{
    const struct job_status *s = &now->status, *old = &before->status;
    const struct uncounted_terminated_pods *uncounted = s->uncounted_terminated_pods;
    int32_t succeeded = s->succeeded + (uncounted ? (int32_t)uncounted->succeeded.count : 0);
    if (s->failed < old->failed)
        wrong(audit, "job %s has %d failed pods, after %d", now->metadata.name, s->failed, old->failed);
    if (job_is_indexed(&now->spec)) {
        /* A Job that has just been made smaller is counted anew. */
        if (now->metadata.generation == before->metadata.generation)
            check_indexes(audit, r, before, now);
        return;
    }
    if (s->succeeded < old->succeeded)
        wrong(audit, "job %s has %d succeeded pods, after %d", now->metadata.name, s->succeeded, old->succeeded);
    if (succeeded > r->pods_succeeded)
        wrong(audit, "job %s counts %d succeeded pods, and %d have succeeded", now->metadata.name, succeeded,
              r->pods_succeeded);
    if (now->spec.completions.set && succeeded > now->spec.completions.value)
        wrong(audit, "job %s counts %d succeeded pods of %d", now->metadata.name, succeeded,
              now->spec.completions.value);
}

void job_audit_job(struct job_audit *audit, struct object *object, int64_t now)
{
    struct record *r = map_get(&audit->jobs, object->meta->uid);
    const struct job *job = object->value;
    if (!r) {
        r = mem_zero(1, sizeof(*r));
        map_set(&audit->jobs, object->meta->uid, r);
    } else {
        check_counters(audit, r, job_of(r), job);
        if (job_is_finished(&job_of(r)->status) && !job_is_finished(&job->status))
            wrong(audit, "job %s has finished no longer", object->meta->name);
    }
    object_unref(r->object);
    r->object = object_ref(object);
    add_limit(audit, r, job->spec.parallelism.value, now);
}

/* ---- Pods ---- */

static void check_new_pod(struct job_audit *audit, const struct record *r, const struct object *object, int64_t now)
{
    int32_t active = 0, most = 0;
    for (struct map_slot *s = NULL; (s = map_next(&r->pods, s));)
        active += pod_is_active(((const struct object *)s->value)->value);
    for (size_t i = 0; i < r->limits.count; i++)
        if (r->limits.items[i].until >= now - audit->window && r->limits.items[i].most > most)
            most = r->limits.items[i].most;
    if (active > most)
        wrong(audit, "job %s has %d active pods, with a parallelism of %d", r->object->meta->name, active, most);
    if (job_is_finished(&job_of(r)->status))
        wrong(audit, "pod %s was made for job %s after it has finished", object->meta->name, r->object->meta->name);
}

static void pod_succeeded(struct job_audit *audit, struct record *r, const struct object *object)
{
    const struct job *job = job_of(r);
    const char *index = string_map_get(&object->meta->annotations, JOB_COMPLETION_INDEX);
    if (map_has(&r->succeeded, object->meta->uid))
        return;
    map_set(&r->succeeded, object->meta->uid, r);
    r->pods_succeeded++;
    if (index) {
        cleanup_free char *key = mem_printf("#%s", index);
        map_set(&r->succeeded, key, r);
        return;
    }
    r->clean += job_is_tracked(object) && !object->meta->deletion_timestamp;
    if (job->spec.completions.set && r->clean > job->spec.completions.value)
        wrong(audit, "job %s ran %d pods to success, of %d that it asks for", job->metadata.name, r->clean,
              job->spec.completions.value);
}

void job_audit_pod(struct job_audit *audit, struct object *object, int64_t now, bool fresh)
{
    const struct owner_reference *owner = controller_of(object->meta);
    struct record *r = owner ? map_get(&audit->jobs, owner->uid) : NULL;
    const char *phase = ((const struct pod *)object->value)->status.phase;
    if (!r)
        return;
    struct object *old = map_set(&r->pods, object->meta->uid, object_ref(object));
    if (!old && fresh)
        check_new_pod(audit, r, object, now);
    object_unref(old);
    if (phase && strcmp(phase, "Succeeded") == 0)
        pod_succeeded(audit, r, object);
}

void job_audit_deleted(struct job_audit *audit, const struct object *object)
{
    if (object->resource->index == API_JOBS) {
        struct record *r = map_remove(&audit->jobs, object->meta->uid);
        if (r)
            record_free(r);
        return;
    }
    for (struct map_slot *s = NULL; (s = map_next(&audit->jobs, s));)
        object_unref(map_remove(&((struct record *)s->value)->pods, object->meta->uid));
}
