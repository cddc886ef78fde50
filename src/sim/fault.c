/* A table of faults. Each looks for one kind of request, or object, and bends it; all else passes as it is. */
#include "sim/fault.h"

#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "control/controller.h"
#include "control/job.h"

static bool writes(const struct client_request *request, enum client_verb verb, enum api_resource_index resource,
                   const char *subresource)
{
    return request->verb == verb && request->resource->index == resource &&
           strcmp(request->subresource ? request->subresource : "", subresource) == 0;
}

static struct object *stored(struct sim_cluster *cluster, const struct client_request *request)
{
    struct store *store = sim_cluster_store(cluster);
    return store ? store_get(store, request->resource, request->namespace, request->name) : NULL;
}

/* By how much the request makes a ReplicaSet larger; 0 for other requests. */
static int32_t growth(struct sim_cluster *cluster, const struct client_request *request)
{
    const struct replica_set *fresh = request->body;
    if (writes(request, CLIENT_CREATE, API_REPLICASETS, ""))
        return fresh->spec.replicas.value;
    if (!writes(request, CLIENT_UPDATE, API_REPLICASETS, ""))
        return 0;
    const struct object *object = stored(cluster, request);
    return object ? fresh->spec.replicas.value - ((const struct replica_set *)object->value)->spec.replicas.value : 0;
}

/* The Deployment controller. */

static bool surge_by_one(struct sim_cluster *cluster, struct client_request *request)
{
    if (growth(cluster, request) > 0)
        ((struct replica_set *)request->body)->spec.replicas.value++;
    return true;
}

static bool take_one_more(struct sim_cluster *cluster, struct client_request *request)
{
    struct replica_set *rs = request->body;
    if (growth(cluster, request) < 0 && rs->spec.replicas.value)
        rs->spec.replicas.value--;
    return true;
}

static bool make_twins(struct sim_cluster *cluster, struct client_request *request)
{
    if (!writes(request, CLIENT_CREATE, API_REPLICASETS, ""))
        return true;
    struct arena *arena = arena_new(0);
    struct replica_set *twin = api_copy(arena, &api_type_replica_set, request->body);
    twin->metadata.name = arena_printf(arena, "%s-twin", twin->metadata.name);
    client_create(sim_link_client(sim_cluster_user_link(cluster)), request->resource, request->namespace, arena, twin,
                  NULL, NULL);
    return true;
}

static bool run_ahead(struct sim_cluster *cluster, struct client_request *request)
{
    if (writes(request, CLIENT_UPDATE, API_DEPLOYMENTS, "status"))
        ((struct deployment *)request->body)->status.observed_generation++;
    return true;
}

/* A pod that is to go counts as gone. */
static struct object *show_ended(struct object *object)
{
    if (object->resource->index != API_PODS || !object->meta->deletion_timestamp)
        return NULL;
    struct arena *arena = arena_new(0);
    struct pod *pod = object_copy(arena, object);
    pod->status.phase = "Failed";
    return object_new(object->resource, arena, pod);
}

static struct object *show_resumed(struct object *object)
{
    if (object->resource->index != API_DEPLOYMENTS || !((const struct deployment *)object->value)->spec.paused)
        return NULL;
    struct arena *arena = arena_new(0);
    struct deployment *d = object_copy(arena, object);
    d->spec.paused = false;
    return object_new(object->resource, arena, d);
}

/* The ReplicaSet controller. */

static bool count_unready(struct sim_cluster *cluster, struct client_request *request)
{
    if (writes(request, CLIENT_UPDATE, API_REPLICASETS, "status")) {
        struct replica_set_status *status = &((struct replica_set *)request->body)->status;
        status->ready_replicas = status->available_replicas = status->replicas;
    }
    return true;
}

struct search {
    const struct owner_reference *owner;
    struct object *found;
};

static bool find_available(void *context, struct object *object)
{
    struct search *search = context;
    const struct owner_reference *r = controller_of(object->meta);
    if (r && strcmp(r->uid, search->owner->uid) == 0 && pod_is_active(object->value) && pod_is_ready(object->value))
        search->found = object;
    return !search->found;
}

static bool take_the_ready(struct sim_cluster *cluster, struct client_request *request)
{
    struct object *victim = writes(request, CLIENT_DELETE, API_PODS, "") ? stored(cluster, request) : NULL;
    struct search search = {.owner = victim ? controller_of(victim->meta) : NULL};
    if (!search.owner)
        return true;
    store_list(sim_cluster_store(cluster), request->resource, request->namespace, NULL, NULL, find_available, &search);
    if (search.found) {
        request->name = arena_string(request->arena, search.found->meta->name);
        request->delete_options->preconditions->uid = arena_string(request->arena, search.found->meta->uid);
    }
    return true;
}

static bool lose_deletions(struct sim_cluster *cluster, struct client_request *request)
{
    bool chosen = request->name && (unsigned char)request->name[strlen(request->name) - 1] % 3 == 0;
    return !(chosen && writes(request, CLIENT_DELETE, API_PODS, ""));
}

static bool find_other_set(void *context, struct object *object)
{
    struct search *search = context;
    if (strcmp(object->meta->uid, search->owner->uid) != 0)
        search->found = object;
    return !search->found;
}

static bool give_away(struct sim_cluster *cluster, struct client_request *request)
{
    if (!writes(request, CLIENT_CREATE, API_PODS, "") || !sim_cluster_store(cluster))
        return true;
    struct owner_reference *r = ((struct pod *)request->body)->metadata.owner_references.items;
    struct search search = {.owner = r};
    store_list(sim_cluster_store(cluster), &api_resources[API_REPLICASETS], request->namespace, NULL, NULL,
               find_other_set, &search);
    if (search.found) {
        r->name = arena_string(request->arena, search.found->meta->name);
        r->uid = arena_string(request->arena, search.found->meta->uid);
    }
    return true;
}

static bool never_release(struct sim_cluster *cluster, struct client_request *request)
{
    return !(writes(request, CLIENT_PATCH, API_PODS, "") && strstr(request->patch, "$patch"));
}

static bool never_adopt(struct sim_cluster *cluster, struct client_request *request)
{
    return !(request->verb == CLIENT_PATCH && strstr(request->patch, "blockOwnerDeletion"));
}

/* The job controller. */

static bool is_of_job(const struct object_meta *meta)
{
    const struct owner_reference *r = controller_of(meta);
    return r && strcmp(r->kind, "Job") == 0;
}

static bool run_one_more(struct sim_cluster *cluster, struct client_request *request)
{
    if (!writes(request, CLIENT_CREATE, API_PODS, "") || !is_of_job(&((struct pod *)request->body)->metadata))
        return true;
    struct arena *arena = arena_new(0);
    client_create(sim_link_client(sim_cluster_user_link(cluster)), request->resource, request->namespace, arena,
                  api_copy(arena, &api_type_pod, request->body), NULL, NULL);
    return true;
}

static struct job_status *job_status_in(struct client_request *request)
{
    return writes(request, CLIENT_UPDATE, API_JOBS, "status") ? &((struct job *)request->body)->status : NULL;
}

static bool count_twice(struct sim_cluster *cluster, struct client_request *request)
{
    struct job_status *status = job_status_in(request);
    if (status && status->succeeded && !job_is_indexed(&((struct job *)request->body)->spec))
        status->succeeded++;
    return true;
}

static bool count_index_0(struct sim_cluster *cluster, struct client_request *request)
{
    struct job_status *status = job_status_in(request);
    if (status && !status->succeeded && job_is_indexed(&((struct job *)request->body)->spec)) {
        status->succeeded = 1;
        status->completed_indexes = "0";
    }
    return true;
}

/* What is answered as written, and is not: the pods lose their finalizers, and nobody has noted them. */
static bool forget_ended(struct sim_cluster *cluster, struct client_request *request)
{
    const struct job_status *status = job_status_in(request);
    const struct uncounted_terminated_pods *uncounted = status ? status->uncounted_terminated_pods : NULL;
    return !(uncounted && uncounted->succeeded.count);
}

static bool keep_finalizers(struct sim_cluster *cluster, struct client_request *request)
{
    return !(writes(request, CLIENT_PATCH, API_PODS, "") && strstr(request->patch, JOB_TRACKING_FINALIZER) &&
             strstr(request->patch, "delete"));
}

static struct object *show_unfinished(struct object *object)
{
    if (object->resource->index != API_JOBS || !job_is_finished(&((const struct job *)object->value)->status))
        return NULL;
    struct arena *arena = arena_new(0);
    struct job *job = object_copy(arena, object);
    job->status = (struct job_status){0};
    return object_new(object->resource, arena, job);
}

/* The others. */

static bool is_there(struct sim_cluster *cluster, const struct object *object)
{
    const struct owner_reference *r = controller_of(object->meta);
    const struct api_resource *resource = r ? api_resource_of_kind(r->api_version, r->kind) : NULL;
    struct object *owner =
        resource ? store_get(sim_cluster_store(cluster), resource, object->meta->namespace, r->name) : NULL;
    return !r || (owner && strcmp(owner->meta->uid, r->uid) == 0);
}

static bool leave_orphans(struct sim_cluster *cluster, struct client_request *request)
{
    struct object *object = writes(request, CLIENT_DELETE, API_REPLICASETS, "") ? stored(cluster, request) : NULL;
    return !object || is_there(cluster, object);
}

static bool take_first(void *context, struct object *object)
{
    *(struct object **)context = object;
    return false;
}

static bool fill_one_node(struct sim_cluster *cluster, struct client_request *request)
{
    struct object *node = NULL;
    if (!writes(request, CLIENT_CREATE, API_PODS, "binding") || !sim_cluster_store(cluster))
        return true;
    store_list(sim_cluster_store(cluster), &api_resources[API_NODES], NULL, NULL, NULL, take_first, &node);
    if (node)
        ((struct binding *)request->body)->target.name = arena_string(request->arena, node->meta->name);
    return true;
}

static struct object *first_node(struct sim_cluster *cluster)
{
    struct object *node = NULL;
    store_list(sim_cluster_store(cluster), &api_resources[API_NODES], NULL, NULL, NULL, take_first, &node);
    return node;
}

static bool forget_anti_affinity(struct sim_cluster *cluster, struct client_request *request)
{
    const struct object *pod = writes(request, CLIENT_CREATE, API_PODS, "binding") ? stored(cluster, request) : NULL;
    const struct object *node = pod && ((const struct pod *)pod->value)->spec.affinity ? first_node(cluster) : NULL;
    if (node)
        ((struct binding *)request->body)->target.name = arena_string(request->arena, node->meta->name);
    return true;
}

static bool forget_spreading(struct sim_cluster *cluster, struct client_request *request)
{
    const struct object *pod = writes(request, CLIENT_CREATE, API_PODS, "binding") ? stored(cluster, request) : NULL;
    bool spreads = pod && ((const struct pod *)pod->value)->spec.topology_spread_constraints.count;
    const struct object *node = spreads ? first_node(cluster) : NULL;
    if (node)
        ((struct binding *)request->body)->target.name = arena_string(request->arena, node->meta->name);
    return true;
}

static bool publish_unready(struct sim_cluster *cluster, struct client_request *request)
{
    if (writes(request, CLIENT_UPDATE, API_ENDPOINTSLICES, "") ||
        writes(request, CLIENT_CREATE, API_ENDPOINTSLICES, "")) {
        struct endpoint_slice *slice = request->body;
        /* Not another write for another time of the change, when the controller tries to put it right. */
        slice->metadata.annotations.count = 0;
        for (size_t i = 0; i < slice->endpoints.count; i++)
            slice->endpoints.items[i].conditions.ready = opt_bool(!slice->endpoints.items[i].conditions.ready.value);
    }
    return true;
}

/* A slice that is full takes one more. */
static bool overfill(struct sim_cluster *cluster, struct client_request *request)
{
    if (!writes(request, CLIENT_UPDATE, API_ENDPOINTSLICES, "") &&
        !writes(request, CLIENT_CREATE, API_ENDPOINTSLICES, ""))
        return true;
    struct endpoint_array *list = &((struct endpoint_slice *)request->body)->endpoints;
    if (list->count >= 100) {
        list->items = arena_array_grow(request->arena, list->items, list->count, 1, sizeof(*list->items));
        list->items[list->count] = list->items[list->count - 1];
        list->count++;
    }
    return true;
}

/* Planting. */

const struct sim_fault sim_faults[] = {
    {"surge", "ReplicaSets that grow get a pod more than maxSurge allows", "allowed", .request = surge_by_one},
    {"unavailable", "ReplicaSets that shrink lose a pod more than maxUnavailable allows", "promised",
     .request = take_one_more},
    {"twins", "each new ReplicaSet is made twice", "have one template", .request = make_twins},
    {"generation", "observedGeneration is one ahead", "ahead of generation", .request = run_ahead},
    {"recreate", "Recreate does not wait for pods that are being deleted", "under Recreate", .show = show_ended},
    {"paused", "a Deployment that is paused is rolled out", "which is paused", .show = show_resumed},
    {"status", "pods that are not ready are counted as available", "promised", .request = count_unready},
    {"victim", "a ReplicaSet that shrinks loses a ready pod first", "promised", .request = take_the_ready},
    {"deletion", "some deletions of pods are lost", "asks for", .request = lose_deletions},
    {"owner", "pods are made for another ReplicaSet than the one that lacks them", "does not select it",
     .request = give_away},
    {"release", "pods that match no more are not released", "asks for", .request = never_release},
    {"adoption", "what matches is not adopted", "has no replica set of its template", .request = never_adopt},
    {"orphan", "what a deleted Deployment leaves is not collected", "which is gone", .request = leave_orphans},
    {"node", "all pods are bound to one node", "more pods than fit", .request = fill_one_node},
    {"affinity", "pods with affinity are bound to one node", "against required anti-affinity",
     .request = forget_anti_affinity},
    {"spread", "pods that should be spread are bound to one node", "with a skew of", .request = forget_spreading},
    {"endpoint", "endpoints are ready when their pods are not", "that is not true", .request = publish_unready},
    {"slice", "a full slice takes one endpoint more", "has too many endpoints", .request = overfill},
    {"parallelism", "a Job gets two pods for each that it lacks", "with a parallelism of", .request = run_one_more},
    {"recount", "a succeeded pod is counted once more", "have succeeded", .request = count_twice},
    {"index", "index 0 of a Job is counted before it has succeeded", "no pod of it has succeeded",
     .request = count_index_0},
    {"forgotten", "pods are let go before it is noted that they have succeeded", "to success", .request = forget_ended},
    {"finalizer", "pods that are counted keep their finalizer", "at rest after", .request = keep_finalizers},
    {"reopened", "a Job that has finished begins anew", "after it has finished", .show = show_unfinished},
    {"disk", "some writes are acknowledged and not on the disk", "not on the disk", .forgotten = 30},
};
const size_t sim_fault_count = ARRAY_COUNT(sim_faults);

const struct sim_fault *sim_fault_find(const char *name)
{
    for (size_t i = 0; i < sim_fault_count; i++)
        if (strcmp(sim_faults[i].name, name) == 0)
            return &sim_faults[i];
    return NULL;
}

void sim_fault_plant(struct sim_cluster *cluster, const struct sim_fault *fault)
{
    sim_link_distort(sim_cluster_control_link(cluster), fault->request, fault->show, cluster);
    sim_disk_options(sim_cluster_disk(cluster))->forgotten = fault->forgotten;
}
