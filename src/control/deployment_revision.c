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
    static const char *const own[] = {"kubectl.kubernetes.io/last-applied-configuration", ANNOTATION_REVISION,
                                      ANNOTATION_REVISION_HISTORY, ANNOTATION_DESIRED, ANNOTATION_MAX,
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

/* ---- The new ReplicaSet ---- */

struct creation {
    struct deployment_run run; /* of the work item, which is not over before this has been answered */
    struct object *object;
    char *name;
    int32_t replicas;
};

/* The name is taken: by this very template, and the informer will show it; or by another, and the hash has to change. */
static void collided(struct creation *creation)
{
    struct deployments *own = creation->run.controller->state;
    struct object *there = informer_get(own->replica_sets, creation->object->meta->namespace, creation->name);
    const struct owner_reference *owner = there ? controller_of(there->meta) : NULL;
    const struct deployment *d = creation->object->value;
    if (owner && strcmp(owner->uid, d->metadata.uid) == 0 &&
        rollout_same_template(&((const struct replica_set *)there->value)->spec.template, &d->spec.template))
        return;
    struct deployment fresh = *d;
    fresh.status.collision_count = opt_int32(d->status.collision_count.value + 1);
    work_update(creation->run.work, creation->object->resource, "status", &fresh, NULL, NULL);
}

static void created(void *context, const struct client_result *result)
{
    struct creation *creation = context;
    struct controller *c = creation->run.controller;
    if (client_ok(result)) {
        if (creation->replicas > 0)
            recorder_event(c->recorder, creation->object->resource, creation->object->meta, NULL, "Normal",
                           "ScalingReplicaSet", "Scaled up replica set %s from 0 to %d", creation->name,
                           creation->replicas);
    } else if (result->code == 409)
        collided(creation);
    else
        recorder_event(c->recorder, creation->object->resource, creation->object->meta, NULL, "Warning",
                       "ReplicaSetCreateError", "Failed to create new replica set \"%s\": %s", creation->name,
                       result->status ? result->status->message : "");
    object_unref(creation->object);
    free(creation->name);
    free(creation);
}

void deployment_create_replica_set(struct deployment_run *run, int32_t replicas)
{
    const struct deployment *d = run->deployment;
    struct owner_reference reference = controller_reference(run->object->resource, &d->metadata);
    const char *hash =
        api_hash_fnv(run->arena, &api_type_pod_template_spec, &d->spec.template, d->status.collision_count);
    struct replica_set rs = {0};
    struct label_selector selector = d->spec.selector ? *d->spec.selector : (struct label_selector){0};
    rs.metadata.name = arena_printf(run->arena, "%s-%s", d->metadata.name, hash);
    rs.metadata.namespace = d->metadata.namespace;
    rs.metadata.owner_references.items = &reference;
    rs.metadata.owner_references.count = 1;
    rs.spec.replicas = opt_int32(replicas);
    rs.spec.min_ready_seconds = d->spec.min_ready_seconds;
    rs.spec.template = d->spec.template;
    string_map_set(run->arena, &rs.spec.template.metadata.labels, LABEL_TEMPLATE_HASH, hash);
    rs.metadata.labels = rs.spec.template.metadata.labels;
    string_map_set(run->arena, &selector.match_labels, LABEL_TEMPLATE_HASH, hash);
    rs.spec.selector = &selector;
    deployment_set_annotations(run, &rs.metadata.annotations, deployment_next_revision(&run->rollout));
    int32_t wanted = deployment_replicas(d);
    string_map_set(run->arena, &rs.metadata.annotations, ANNOTATION_DESIRED, arena_printf(run->arena, "%d", wanted));
    string_map_set(run->arena, &rs.metadata.annotations, ANNOTATION_MAX,
                   arena_printf(run->arena, "%d", wanted + rollout_max_surge(d)));

    struct creation *creation = mem_zero(1, sizeof(*creation));
    creation->run = *run;
    creation->object = object_ref(run->object);
    creation->name = mem_string(rs.metadata.name);
    creation->replicas = replicas;
    run->progress_reason = "NewReplicaSetCreated";
    run->progress_message = arena_printf(run->arena, "Created new replica set \"%s\"", rs.metadata.name);
    work_create(run->work, &api_resources[API_REPLICASETS], d->metadata.namespace, &rs, created, creation);
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
    struct rollout_set *old[r->count + 1];
    size_t n = 0;
    if (!limit->set || limit->value == INT32_MAX)
        return;
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
