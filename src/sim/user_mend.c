/* The end of a history: users undo what could keep the cluster from coming to rest. */
#include <string.h>

#include "api/job.h"
#include "control/controller.h"
#include "control/rollout.h"
#include "sim/user_internal.h"

/* Few enough pods for every cluster that is simulated. */
#define MENDED_REPLICAS 4

/* Nothing that could keep pods from being placed. */
static bool is_good(const struct deployment *d)
{
    return !d->spec.template.spec.affinity && !d->spec.template.spec.topology_spread_constraints.count &&
           sim_image_of(d->spec.template.spec.containers.items[0].image) == SIM_IMAGE_GOOD && !d->spec.paused &&
           d->spec.replicas.value <= MENDED_REPLICAS;
}

static size_t mend_deployment(struct sim_user *u, struct object *object)
{
    if (is_good(object->value) || object->meta->deletion_timestamp)
        return 0;
    struct arena *arena = arena_new(0);
    struct deployment *d = object_copy(arena, object);
    struct container *container = &d->spec.template.spec.containers.items[0];
    if (sim_image_of(container->image) != SIM_IMAGE_GOOD)
        container->image = arena_printf(arena, "app:%u", ++u->image);
    if (d->spec.replicas.value > MENDED_REPLICAS)
        d->spec.replicas.value = MENDED_REPLICAS;
    d->spec.paused = false;
    d->spec.template.spec.affinity = NULL;
    d->spec.template.spec.topology_spread_constraints.count = 0;
    user_write_deployment(u, arena, d, "mends");
    return 1;
}

/* A Job that would never finish is made to, or goes. */
static size_t mend_job(struct sim_user *u, struct object *object)
{
    const struct job *job = object->value;
    const struct object_meta *meta = object->meta;
    if (job_is_finished(&job->status) || meta->deletion_timestamp)
        return 0;
    if (sim_image_of(job->spec.template.spec.containers.items[0].image) != SIM_IMAGE_DONE) {
        sim_history_note(u->history, "user removes job %s/%s", meta->namespace, meta->name);
        client_delete(u->client, object->resource, meta->namespace, meta->name, NULL, -1, "Background", NULL, NULL);
        return 1;
    }
    if (job->spec.parallelism.value && !job->spec.suspend.value)
        return 0;
    user_patch(u, object, "{\"spec\":{\"parallelism\":2,\"suspend\":false}}");
    return 1;
}

/* Pods that shun their successors, and stay until these are ready: such a rollout ends only if they go first. */
static size_t mend_rollout(struct sim_user *u, struct object *set)
{
    const struct replica_set *rs = set->value;
    const struct owner_reference *r = controller_of(set->meta);
    struct object *object =
        r && rs->spec.template.spec.affinity && rs->spec.replicas.value
            ? store_get(sim_cluster_store(u->cluster), &api_resources[API_DEPLOYMENTS], set->meta->namespace, r->name)
            : NULL;
    const struct deployment *d = object ? object->value : NULL;
    if (!d || object->meta->deletion_timestamp || !rollout_is_rolling(d))
        return 0;
    user_patch(u, object, "{\"spec\":{\"strategy\":{\"type\":\"Recreate\",\"rollingUpdate\":null}}}");
    return 1;
}

static bool owns(const struct object *object, enum api_resource_index owner)
{
    const struct owner_reference *r = controller_of(object->meta);
    return r && strcmp(r->kind, api_resources[owner].kind) == 0;
}

/* What no Deployment owns stays as it is, and could keep the cluster from coming to rest. */
static size_t remove_stray(struct sim_user *u, struct object *object, enum api_resource_index owner)
{
    if (owns(object, owner) || owns(object, API_JOBS) || object->meta->deletion_timestamp)
        return 0;
    sim_history_note(u->history, "user removes %s %s", object->resource->singular, object->meta->name);
    client_delete(u->client, object->resource, object->meta->namespace, object->meta->name, NULL, 0, "Background", NULL,
                  NULL);
    return 1;
}

static size_t mend_node(struct sim_user *u, struct object *object)
{
    if (!((const struct node *)object->value)->spec.unschedulable)
        return 0;
    user_patch(u, object, "{\"spec\":{\"unschedulable\":null}}");
    return 1;
}

size_t sim_user_mend(struct sim_user *u)
{
    static const enum api_resource_index kinds[] = {API_DEPLOYMENTS, API_JOBS, API_NODES, API_REPLICASETS, API_PODS};
    struct store *store = sim_cluster_store(u->cluster);
    struct user_objects o = {0};
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++)
        store_list(store, &api_resources[kinds[i]], NULL, NULL, NULL, user_collect, &o);
    for (size_t i = 0; i < o.items.count; i++) {
        struct object *object = o.items.items[i];
        switch (object->resource->index) {
        case API_DEPLOYMENTS:
            count += mend_deployment(u, object);
            break;
        case API_JOBS:
            count += mend_job(u, object);
            break;
        case API_NODES:
            count += mend_node(u, object);
            break;
        case API_REPLICASETS:
            count += remove_stray(u, object, API_DEPLOYMENTS) + mend_rollout(u, object);
            break;
        default:
            count += remove_stray(u, object, API_REPLICASETS);
            break;
        }
    }
    vector_free(&o.items);
    return count;
}
