/* Reads the store, not the informers: what a user would see. */
#include "sim/converge.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/well_known.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/vector.h"
#include "control/controller.h"
#include "control/endpoints.h"
#include "control/job.h"
#include "control/rollout.h"

struct inspection {
    struct store *store;
    char *why;
    size_t size;
    bool fine;
    /* of the deployment that is looked at */
    const struct deployment *deployment;
    const struct replica_set *fresh;
    size_t old_sets;
    int64_t highest;
    /* of the ReplicaSet */
    const struct replica_set *set;
    int32_t pods, ready;
    /* of the Service */
    const struct service *service;
    struct map wanted; /* pod uid -> object, those that have an address */
    size_t in_slices, slices, ready_wanted; /* the first over both families */
};

static bool __attribute__((format(printf, 2, 3))) wrong(struct inspection *in, const char *format, ...)
{
    va_list args;
    if (!in->fine)
        return false;
    in->fine = false;
    va_start(args, format);
    vsnprintf(in->why, in->size, format, args);
    va_end(args);
    return false;
}

static void each(struct inspection *in, enum api_resource_index resource, store_visit visit)
{
    if (in->fine)
        store_list(in->store, &api_resources[resource], NULL, NULL, NULL, visit, in);
}

static bool is_owned_by(const struct object *object, const char *uid)
{
    const struct owner_reference *r = controller_of(object->meta);
    return r && strcmp(r->uid, uid) == 0;
}

/* Nothing is left behind. */

struct owner_search {
    const char *uid;
    bool found;
};

static bool is_owner(void *context, struct object *object)
{
    struct owner_search *search = context;
    search->found = search->found || strcmp(object->meta->uid, search->uid) == 0;
    return !search->found;
}

static bool check_owners(void *context, struct object *object)
{
    struct inspection *in = context;
    const struct object_meta *meta = object->meta;
    if (meta->deletion_timestamp)
        return wrong(in, "%s %s is still being deleted", object->resource->singular, meta->name);
    for (size_t i = 0; i < meta->owner_references.count; i++) {
        struct owner_search search = {.uid = meta->owner_references.items[i].uid};
        const struct api_resource *owner = api_resource_of_kind(meta->owner_references.items[i].api_version,
                                                                meta->owner_references.items[i].kind);
        store_list(in->store, owner, NULL, NULL, NULL, is_owner, &search);
        if (!search.found)
            return wrong(in, "%s %s is owned by %s, which is gone", object->resource->singular, meta->name,
                         meta->owner_references.items[i].name);
    }
    return true;
}

/* ReplicaSets. */

static bool count_pod(void *context, struct object *object)
{
    struct inspection *in = context;
    if (!is_owned_by(object, in->set->metadata.uid) || !pod_is_active(object->value))
        return true;
    in->pods++;
    in->ready += pod_is_ready(object->value);
    return true;
}

static bool check_replica_set(void *context, struct object *object)
{
    struct inspection *in = context;
    const struct replica_set *rs = in->set = object->value;
    const struct replica_set_status *s = &rs->status;
    in->pods = in->ready = 0;
    each(in, API_PODS, count_pod);
    if (in->pods != rs->spec.replicas.value)
        return wrong(in, "replica set %s asks for %d pods and has %d", rs->metadata.name, rs->spec.replicas.value,
                     in->pods);
    if (in->ready != in->pods)
        return wrong(in, "replica set %s has %d ready pods of %d", rs->metadata.name, in->ready, in->pods);
    if (s->replicas != in->pods || s->ready_replicas != in->pods || s->available_replicas != in->pods ||
        s->fully_labeled_replicas != in->pods || s->terminating_replicas.value ||
        s->observed_generation != rs->metadata.generation || s->conditions.count)
        return wrong(in, "the status of replica set %s is not true", rs->metadata.name);
    return true;
}

/* Deployments. */

static bool look_at_set(void *context, struct object *object)
{
    struct inspection *in = context;
    const struct replica_set *rs = object->value;
    if (!is_owned_by(object, in->deployment->metadata.uid))
        return true;
    if (rollout_revision(&rs->metadata) > in->highest)
        in->highest = rollout_revision(&rs->metadata);
    if (rollout_same_template(&rs->spec.template, &in->deployment->spec.template)) {
        if (in->fresh)
            return wrong(in, "replica sets %s and %s have one template", in->fresh->metadata.name, rs->metadata.name);
        in->fresh = rs;
        return true;
    }
    in->old_sets++;
    if (rs->spec.replicas.value)
        return wrong(in, "old replica set %s still asks for %d pods", rs->metadata.name, rs->spec.replicas.value);
    return true;
}

static const struct deployment_condition *condition(const struct deployment *d, const char *type)
{
    for (size_t i = 0; i < d->status.conditions.count; i++)
        if (strcmp(d->status.conditions.items[i].type, type) == 0)
            return &d->status.conditions.items[i];
    return NULL;
}

static bool check_conditions(struct inspection *in)
{
    const struct deployment *d = in->deployment;
    const struct deployment_condition *available = condition(d, "Available"), *progressing = condition(d, "Progressing");
    if (!available || strcmp(available->status, "True") != 0)
        return wrong(in, "deployment %s is not Available", d->metadata.name);
    if (condition(d, "ReplicaFailure"))
        return wrong(in, "deployment %s has a ReplicaFailure", d->metadata.name);
    bool has_deadline =
        d->spec.progress_deadline_seconds.set && d->spec.progress_deadline_seconds.value != INT32_MAX;
    if (has_deadline && (!progressing || strcmp(progressing->reason, "NewReplicaSetAvailable") != 0))
        return wrong(in, "deployment %s has Progressing %s", d->metadata.name,
                     progressing ? progressing->reason : "missing");
    return true;
}

static bool check_deployment(void *context, struct object *object)
{
    struct inspection *in = context;
    const struct deployment *d = in->deployment = object->value;
    const struct deployment_status *s = &d->status;
    int32_t wanted = d->spec.replicas.value;
    in->fresh = NULL;
    in->old_sets = 0;
    in->highest = 0;
    each(in, API_REPLICASETS, look_at_set);
    if (!in->fine)
        return false;
    if (!in->fresh)
        return wrong(in, "deployment %s has no replica set of its template", d->metadata.name);
    if (in->fresh->spec.replicas.value != wanted)
        return wrong(in, "deployment %s wants %d pods, its replica set asks for %d", d->metadata.name, wanted,
                     in->fresh->spec.replicas.value);
    if (s->observed_generation != d->metadata.generation || s->replicas != wanted || s->updated_replicas != wanted ||
        s->ready_replicas != wanted || s->available_replicas != wanted || s->unavailable_replicas ||
        s->terminating_replicas.value)
        return wrong(in, "the status of deployment %s is not true", d->metadata.name);
    if (rollout_revision(&d->metadata) != in->highest || rollout_revision(&in->fresh->metadata) != in->highest)
        return wrong(in, "deployment %s has revision %lld, its new replica set %lld, the highest is %lld",
                     d->metadata.name, (long long)rollout_revision(&d->metadata),
                     (long long)rollout_revision(&in->fresh->metadata), (long long)in->highest);
    if (d->spec.revision_history_limit.set && in->old_sets > (size_t)d->spec.revision_history_limit.value)
        return wrong(in, "deployment %s keeps %zu old replica sets", d->metadata.name, in->old_sets);
    return check_conditions(in);
}

/* Jobs. */

static bool check_tracked(void *context, struct object *object)
{
    struct inspection *in = context;
    if (job_is_tracked(object))
        return wrong(in, "pod %s is still tracked by a job", object->meta->name);
    return true;
}

static bool check_job(void *context, struct object *object)
{
    struct inspection *in = context;
    const struct job *job = object->value;
    const struct job_spec *spec = &job->spec;
    const struct job_status *s = &job->status;
    const struct uncounted_terminated_pods *uncounted = s->uncounted_terminated_pods;
    bool complete = job_condition_is_true(s, "Complete");
    if (!job_is_finished(s))
        return wrong(in, "job %s has not finished", object->meta->name);
    if (spec->ttl_seconds_after_finished.set)
        return wrong(in, "job %s has not been deleted yet", object->meta->name);
    if (s->active || s->ready.value || s->terminating.value ||
        (uncounted && uncounted->succeeded.count + uncounted->failed.count))
        return wrong(in, "the status of job %s is not true", object->meta->name);
    if (!job_condition_is_true(s, complete ? "SuccessCriteriaMet" : "FailureTarget"))
        return wrong(in, "job %s has finished without a reason", object->meta->name);
    /* An Indexed Job may have been made larger since. */
    if (complete && spec->completions.set && !job_is_indexed(spec) && s->succeeded < spec->completions.value)
        return wrong(in, "job %s is complete with %d pods of %d", object->meta->name, s->succeeded,
                     spec->completions.value);
    return true;
}

/* Services. */

static bool is_selected(const struct service *service, const struct object *object)
{
    cleanup_arena struct arena *arena = arena_new(0);
    return strcmp(object->meta->namespace, service->metadata.namespace) == 0 &&
           selector_matches(selector_from_map(arena, &service->spec.selector), &object->meta->labels);
}

static bool want_pod(void *context, struct object *object)
{
    struct inspection *in = context;
    const struct pod *pod = object->value;
    if (pod_is_active(pod) && pod->status.pod_ip && is_selected(in->service, object)) {
        map_set(&in->wanted, pod->metadata.uid, object);
        in->ready_wanted += pod_is_ready(pod) || in->service->spec.publish_not_ready_addresses;
    }
    return true;
}

static bool check_endpoint(struct inspection *in, const struct endpoint *e, const char *family)
{
    const struct object *object = e->target_ref ? map_get(&in->wanted, e->target_ref->uid) : NULL;
    if (!object)
        return wrong(in, "service %s has an endpoint %s of no pod", in->service->metadata.name, e->addresses.items[0]);
    const struct pod *pod = object->value;
    bool ready = pod_is_ready(pod), publish = in->service->spec.publish_not_ready_addresses;
    if (e->conditions.ready.value != (ready || publish) || e->conditions.serving.value != ready ||
        e->conditions.terminating.value || !endpoints_pod_address(pod, family) ||
        strcmp(e->addresses.items[0], endpoints_pod_address(pod, family)) != 0)
        return wrong(in, "service %s has an endpoint of pod %s that is not true", in->service->metadata.name,
                     pod->metadata.name);
    in->in_slices++;
    return true;
}

static bool check_slice(void *context, struct object *object)
{
    struct inspection *in = context;
    const struct endpoint_slice *slice = object->value;
    const char *name = string_map_get(&object->meta->labels, SERVICE_NAME_LABEL);
    if (!name || strcmp(name, in->service->metadata.name) != 0 ||
        strcmp(object->meta->namespace, in->service->metadata.namespace) != 0)
        return true;
    in->slices++;
    for (size_t i = 0; i < slice->endpoints.count; i++)
        if (!check_endpoint(in, &slice->endpoints.items[i], slice->address_type))
            return false;
    return true;
}

static bool check_old_form(struct inspection *in)
{
    const struct object_meta *meta = &in->service->metadata;
    const struct object *object = store_get(in->store, &api_resources[API_ENDPOINTS], meta->namespace, meta->name);
    if (!object)
        return wrong(in, "service %s has no endpoints", meta->name);
    const struct endpoints *e = object->value;
    size_t ready = 0, not_ready = 0;
    for (size_t i = 0; i < e->subsets.count; i++) {
        ready += e->subsets.items[i].addresses.count;
        not_ready += e->subsets.items[i].not_ready_addresses.count;
    }
    if (ready != in->ready_wanted || ready + not_ready != in->wanted.count)
        return wrong(in, "service %s has %zu and %zu addresses, of %zu ready pods of %zu", meta->name, ready, not_ready,
                     in->ready_wanted, in->wanted.count);
    return true;
}

static bool check_service(void *context, struct object *object)
{
    struct inspection *in = context;
    in->service = object->value;
    if (!endpoints_managed(in->service))
        return true;
    in->in_slices = in->slices = in->ready_wanted = 0;
    each(in, API_PODS, want_pod);
    each(in, API_ENDPOINTSLICES, check_slice);
    size_t families = in->service->spec.ip_families.count;
    if (in->fine && in->in_slices != in->wanted.count * families)
        wrong(in, "service %s has %zu endpoints of %zu pods in %zu families", object->meta->name, in->in_slices,
              in->wanted.count, families);
    if (in->fine && !in->slices)
        wrong(in, "service %s has no slice", object->meta->name);
    if (in->fine)
        check_old_form(in);
    map_free(&in->wanted);
    return in->fine;
}

static bool check_namespace(void *context, struct object *object)
{
    struct inspection *in = context;
    if (object->meta->deletion_timestamp)
        return wrong(in, "namespace %s is still being deleted", object->meta->name);
    if (!store_get(in->store, &api_resources[API_SERVICEACCOUNTS], object->meta->name, "default"))
        return wrong(in, "namespace %s has no default service account", object->meta->name);
    return true;
}

bool sim_converged(struct sim_cluster *cluster, char *why, size_t size)
{
    static const enum api_resource_index dependents[] = {API_DEPLOYMENTS, API_REPLICASETS, API_JOBS, API_PODS, API_ENDPOINTSLICES,
                                                         API_ENDPOINTS, API_SERVICES};
    struct inspection in = {.store = sim_cluster_store(cluster), .why = why, .size = size, .fine = true};
    if (!in.store)
        return wrong(&in, "the control plane is down");
    for (size_t i = 0; i < ARRAY_COUNT(dependents); i++)
        each(&in, dependents[i], check_owners);
    each(&in, API_NAMESPACES, check_namespace);
    each(&in, API_REPLICASETS, check_replica_set);
    each(&in, API_DEPLOYMENTS, check_deployment);
    each(&in, API_JOBS, check_job);
    each(&in, API_PODS, check_tracked);
    each(&in, API_SERVICES, check_service);
    if (in.fine && control_depth(sim_cluster_control(cluster)))
        wrong(&in, "controllers have work to do");
    if (in.fine && scheduler_depth(sim_cluster_scheduler(cluster)))
        wrong(&in, "the scheduler has work to do");
    return in.fine;
}
