/* Revisions: names and annotations of ReplicaSets, and how many old ones are kept. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/hash.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "control/deployment.h"

/* The longest history that is kept in the annotation, as upstream's maxRevHistoryLengthInChars. */
#define HISTORY_MAX 2000
/* What a name may be long; a Deployment's is cut where its hash would not fit. */
#define NAME_MAX_LENGTH 253

int64_t deployment_next_revision(const struct rollout *r)
{
    int64_t most = 0;
    for (size_t i = 0; i < r->count; i++)
        if (&r->sets[i] != r->fresh && rollout_revision(r->sets[i].object->meta) > most)
            most = rollout_revision(r->sets[i].object->meta);
    int64_t own = r->fresh ? rollout_revision(r->fresh->object->meta) : 0;
    return own > most ? own : most + 1;
}

/* Annotations that describe one object and are not handed down. */
static bool stays(const char *key)
{
    static const char *const own[] = {"kubectl.kubernetes.io/last-applied-configuration",
                                      ANNOTATION_REVISION,
                                      ANNOTATION_REVISION_HISTORY,
                                      ANNOTATION_DESIRED,
                                      ANNOTATION_MAX,
                                      "deprecated.deployment.rollback.to"};
    for (size_t i = 0; i < ARRAY_COUNT(own); i++)
        if (strcmp(key, own[i]) == 0)
            return true;
    return false;
}

/* Appends the revision that is left behind, dropping the oldest when it gets long. */
static void remember_revision(struct deployment_run *run, struct string_map *annotations, const char *old)
{
    const char *history = string_map_get(annotations, ANNOTATION_REVISION_HISTORY);
    while (history && strlen(history) + strlen(old) + 1 > HISTORY_MAX) {
        history = strchr(history, ',');
        history = history ? history + 1 : NULL;
    }
    string_map_set(run->arena, annotations, ANNOTATION_REVISION_HISTORY,
                   history && *history ? arena_printf(run->arena, "%s,%s", history, old) : old);
}

void deployment_set_annotations(struct deployment_run *run, struct string_map *annotations, int64_t revision)
{
    const struct string_map *from = &run->deployment->metadata.annotations;
    for (size_t i = 0; i < from->count; i++)
        if (!stays(from->items[i].key))
            string_map_set(run->arena, annotations, from->items[i].key, from->items[i].value);
    const char *old = string_map_get(annotations, ANNOTATION_REVISION);
    const char *fresh = arena_printf(run->arena, "%lld", (long long)revision);
    if (old && strcmp(old, fresh) == 0)
        return;
    if (old && strtoll(old, NULL, 10) < revision)
        remember_revision(run, annotations, old);
    string_map_set(run->arena, annotations, ANNOTATION_REVISION, fresh);
}

void deployment_set_counts(struct deployment_run *run, struct string_map *annotations)
{
    int32_t wanted = deployment_replicas(run->deployment), most = rollout_most(run->deployment);
    string_map_set(run->arena, annotations, ANNOTATION_DESIRED, arena_printf(run->arena, "%d", wanted));
    string_map_set(run->arena, annotations, ANNOTATION_MAX, arena_printf(run->arena, "%d", most));
}

/* ---- The new ReplicaSet ---- */

struct creation {
    struct deployment_run *run;
    const struct replica_set *replica_set;
};

static void set_progress(struct deployment_run *run, const char *status, const char *reason, const char *message)
{
    run->progress_status = status;
    run->progress_reason = reason;
    run->progress_message = message;
}

/* The name is taken: by this very template, and the informer will show it; or by another, and the hash has to change.
 */
static void collided(const struct creation *creation)
{
    struct deployment_run *run = creation->run;
    const struct deployments *own = run->controller->state;
    const struct object_meta *meta = &creation->replica_set->metadata;
    const struct deployment *d = run->deployment;
    struct object *there = informer_get(own->replica_sets, meta->namespace, meta->name);
    const struct owner_reference *owner = there ? controller_of(there->meta) : NULL;
    bool ours = owner && strcmp(owner->uid, d->metadata.uid) == 0 &&
                rollout_same_template(&((const struct replica_set *)there->value)->spec.template, &d->spec.template);
    if (!there || ours) {
        work_retry(run->work);
        return;
    }
    struct deployment fresh = *d;
    fresh.status.collision_count = opt_int32(d->status.collision_count.value + 1);
    work_update(run->work, run->object->resource, "status", &fresh, NULL, NULL);
}

static void created(void *context, const struct client_result *result)
{
    const struct creation *creation = context;
    struct deployment_run *run = creation->run;
    struct recorder *recorder = run->controller->recorder;
    const struct object *o = run->object;
    const char *name = creation->replica_set->metadata.name;
    if (client_ok(result)) {
        int32_t replicas = creation->replica_set->spec.replicas.value;
        if (replicas > 0)
            recorder_event(recorder, o->resource, o->meta, NULL, "Normal", "ScalingReplicaSet",
                           "Scaled up replica set %s from 0 to %d", name, replicas);
        set_progress(run, "True", "NewReplicaSetCreated",
                     arena_printf(run->arena, "Created new replica set \"%s\"", name));
        deployment_write_status(run);
    } else if (result->code == 409) {
        collided(creation);
    } else if (!controller_namespace_terminating(result)) {
        const char *message = arena_printf(run->arena, "Failed to create new replica set \"%s\": %s", name,
                                           result->status ? result->status->message : "");
        recorder_event(recorder, o->resource, o->meta, NULL, "Warning", "ReplicaSetCreateError", "%s", message);
        set_progress(run, "False", "ReplicaSetCreateError", message);
        deployment_write_status(run);
    }
}

void deployment_create_replica_set(struct deployment_run *run, int32_t replicas)
{
    const struct deployment *d = run->deployment;
    struct arena *arena = run->arena;
    const char *hash = api_hash_fnv(arena, &api_type_pod_template_spec, &d->spec.template, d->status.collision_count);
    struct owner_reference *reference = arena_alloc(arena, sizeof(*reference));
    struct label_selector *selector = arena_alloc(arena, sizeof(*selector));
    struct replica_set *rs = arena_alloc(arena, sizeof(*rs));
    *reference = controller_reference(run->object->resource, &d->metadata);
    *selector = *d->spec.selector;
    string_map_set(arena, &selector->match_labels, LABEL_TEMPLATE_HASH, hash);
    rs->metadata.name =
        arena_printf(arena, "%.*s-%s", (int)(NAME_MAX_LENGTH - 1 - strlen(hash)), d->metadata.name, hash);
    rs->metadata.namespace = d->metadata.namespace;
    rs->metadata.owner_references.items = reference;
    rs->metadata.owner_references.count = 1;
    rs->spec.replicas = opt_int32(replicas);
    rs->spec.min_ready_seconds = d->spec.min_ready_seconds;
    rs->spec.template = d->spec.template;
    string_map_set(arena, &rs->spec.template.metadata.labels, LABEL_TEMPLATE_HASH, hash);
    rs->metadata.labels = rs->spec.template.metadata.labels;
    rs->spec.selector = selector;
    deployment_set_annotations(run, &rs->metadata.annotations, deployment_next_revision(&run->rollout));
    deployment_set_counts(run, &rs->metadata.annotations);

    struct creation *creation = arena_alloc(arena, sizeof(*creation));
    *creation = (struct creation){run, rs};
    work_create(run->work, &api_resources[API_REPLICASETS], d->metadata.namespace, rs, created, creation);
}

/* ---- Cleaning up ---- */

static int lowest_revision_first(const void *a, const void *b)
{
    int64_t x = rollout_revision((*(struct rollout_set *const *)a)->object->meta);
    int64_t y = rollout_revision((*(struct rollout_set *const *)b)->object->meta);
    return x < y ? -1 : x > y;
}

void deployment_clean_up(struct deployment_run *run)
{
    struct rollout *r = &run->rollout;
    const struct opt_int32 *limit = &run->deployment->spec.revision_history_limit;
    if (!limit->set || limit->value == INT32_MAX)
        return;
    cleanup_free struct rollout_set **old = mem_alloc((r->count + 1) * sizeof(*old));
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        if (&r->sets[i] != r->fresh && !r->sets[i].object->meta->deletion_timestamp)
            old[n++] = &r->sets[i];
    if (n <= (size_t)limit->value)
        return;
    qsort(old, n, sizeof(old[0]), lowest_revision_first);
    for (size_t i = 0; i < n - (size_t)limit->value; i++) {
        const struct replica_set *rs = old[i]->rs;
        if (rs->status.replicas || old[i]->replicas || old[i]->target ||
            rs->metadata.generation > rs->status.observed_generation)
            continue;
        work_delete(run->work, old[i]->object->resource, old[i]->object->meta, NULL, NULL, NULL);
    }
}
