/* Hands each event to what keeps the records, and looks at what a crash has left. */
#include "sim/audit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "sim/audit_record.h"

#define SLICE_ENDPOINTS_MAX 100

int64_t audit_now(const struct sim_audit *audit)
{
    return (audit->down_since < 0 ? env_monotonic(audit->env) : audit->down_since) - audit->down;
}

void audit_violated(struct sim_audit *audit, const char *format, ...)
{
    if (*audit->violation)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(audit->violation, sizeof(audit->violation), format, args);
    va_end(args);
    sim_history_note(audit->history, "VIOLATION: %s", audit->violation);
}

/* Events. */

static void check_meta(struct sim_audit *audit, const struct object *object)
{
    size_t controllers = 0;
    for (size_t i = 0; i < object->meta->owner_references.count; i++)
        controllers += object->meta->owner_references.items[i].controller.value;
    if (controllers > 1)
        audit_violated(audit, "%s %s has %zu controllers", object->resource->singular, object->meta->name, controllers);
}

/* A slice is written for a difference in what it says: never for the sake of writing. */
static void slice_written(struct sim_audit *audit, const struct object *object, const struct object *previous)
{
    const struct endpoint_slice *now = object->value;
    if (now->endpoints.count > SLICE_ENDPOINTS_MAX)
        audit_violated(audit, "slice %s has too many endpoints", object->meta->name);
    if (!previous || object->meta->deletion_timestamp)
        return;
    struct endpoint_slice same = *(const struct endpoint_slice *)previous->value;
    struct object_meta meta = same.metadata;
    same.metadata = now->metadata;
    same.metadata.labels = meta.labels;
    same.metadata.finalizers = meta.finalizers;
    same.metadata.owner_references = meta.owner_references;
    if (api_equal(&api_type_endpoint_slice, &same, now))
        audit_violated(audit, "slice %s was written and says what it said", object->meta->name);
}

static void written(struct sim_audit *audit, struct object *object, const struct object *previous)
{
    check_meta(audit, object);
    switch (object->resource->index) {
    case API_DEPLOYMENTS:
        audit_deployment_written(audit, object);
        break;
    case API_REPLICASETS:
        audit_replica_set_written(audit, object);
        break;
    case API_PODS:
        audit_pod_written(audit, object);
        job_audit_pod(audit->jobs, object, audit_now(audit), !audit->catching_up);
        break;
    case API_JOBS:
        job_audit_job(audit->jobs, object, audit_now(audit));
        break;
    case API_NODES:
        if (!map_has(&audit->nodes, object->meta->name))
            audit->unsettled_at = audit_now(audit);
        object_unref(map_set(&audit->nodes, object->meta->name, object_ref(object)));
        break;
    case API_ENDPOINTSLICES:
        slice_written(audit, object, previous);
        break;
    default:
        break;
    }
}

static void deleted(struct sim_audit *audit, const struct object *object)
{
    switch (object->resource->index) {
    case API_DEPLOYMENTS:
    case API_REPLICASETS:
        audit_owner_deleted(audit, object);
        break;
    case API_PODS:
        audit_pod_deleted(audit, object);
        job_audit_deleted(audit->jobs, object);
        break;
    case API_JOBS:
        job_audit_deleted(audit->jobs, object);
        break;
    case API_NODES:
        object_unref(map_remove(&audit->nodes, object->meta->name));
        break;
    default:
        break;
    }
}

static void committed(void *context, const struct store_event *event)
{
    struct sim_audit *audit = context;
    const struct api_resource *resource = event->object->resource;
    audit->revision = event->object->revision;
    audit->writes += resource->index != API_LEASES && resource->index != API_NODES;
    sim_history_write(audit->history, event);
    if (event->kind == STORE_DELETED)
        deleted(audit, event->object);
    else
        written(audit, event->object, event->previous);
}

void sim_audit_request(void *context, const struct client_request *request)
{
    struct sim_audit *audit = context;
    if (request->verb == CLIENT_CREATE && request->resource->index == API_PODS && request->subresource) {
        const char *uid = ((const struct binding *)request->body)->metadata.uid;
        struct audit_pod *bound = uid ? map_get(&audit->pods, uid) : NULL;
        if (bound)
            bound->binding_at = audit_now(audit) + 1;
        return;
    }
    if (request->verb != CLIENT_DELETE || request->resource->index != API_PODS || !request->delete_options)
        return;
    const struct preconditions *preconditions = request->delete_options->preconditions;
    struct audit_pod *r = preconditions && preconditions->uid ? map_get(&audit->pods, preconditions->uid) : NULL;
    if (!r)
        return;
    r->asked = true;
    r->asked_at = audit_now(audit);
}

/* After a crash: what the disk had, and what nobody was told of. */

static bool catch_up(void *context, struct object *object)
{
    written(context, object, NULL);
    return true;
}

static bool is_stored(struct store *store, const struct object *object)
{
    const struct object *now = store_get(store, object->resource, object->meta->namespace, object->meta->name);
    return now && strcmp(now->meta->uid, object->meta->uid) == 0;
}

/* What is there was acknowledged. The disk may have one batch more, of which nobody was told. */
static void check_kept(struct sim_audit *audit, struct store *store, const struct object *object)
{
    const struct object *now = store_get(store, object->resource, object->meta->namespace, object->meta->name);
    bool missing = !now || strcmp(now->meta->uid, object->meta->uid) != 0;
    if (missing ? store_revision(store) == audit->revision : now->revision < object->revision)
        audit_violated(audit, "revision %llu of %s %s was announced and is not on the disk",
                       (unsigned long long)object->revision, object->resource->singular, object->meta->name);
}

static void check_all_kept(struct sim_audit *audit, struct store *store)
{
    for (struct map_slot *s = NULL; (s = map_next(&audit->owners, s));)
        check_kept(audit, store, ((const struct audit_owner *)s->value)->object);
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));)
        check_kept(audit, store, ((const struct audit_pod *)s->value)->object);
    for (struct map_slot *s = NULL; (s = map_next(&audit->nodes, s));)
        check_kept(audit, store, s->value);
}

static void drop_missing(struct sim_audit *audit, struct store *store)
{
    VECTOR(struct object *) missing = {0};
    for (struct map_slot *s = NULL; (s = map_next(&audit->owners, s));)
        if (!is_stored(store, ((const struct audit_owner *)s->value)->object))
            vector_push(&missing, object_ref(((const struct audit_owner *)s->value)->object));
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));)
        if (!is_stored(store, ((const struct audit_pod *)s->value)->object))
            vector_push(&missing, object_ref(((const struct audit_pod *)s->value)->object));
    for (size_t i = 0; i < missing.count; i++) {
        deleted(audit, missing.items[i]);
        object_unref(missing.items[i]);
    }
    vector_free(&missing);
}

void sim_audit_opened(void *context, struct sim_cluster *cluster)
{
    static const enum api_resource_index looked_at[] = {API_DEPLOYMENTS, API_REPLICASETS, API_JOBS, API_PODS,
                                                        API_NODES};
    struct sim_audit *audit = context;
    struct store *store = sim_cluster_store(cluster);
    sim_history_note(audit->history, "the control plane starts at revision %llu",
                     (unsigned long long)store_revision(store));
    if (store_revision(store) < audit->revision)
        audit_violated(audit, "revision %llu was announced and is not on the disk",
                       (unsigned long long)audit->revision);
    if (audit->down_since >= 0)
        audit->down += env_monotonic(audit->env) - audit->down_since;
    audit->down_since = -1;
    audit->unsettled_at = audit_now(audit);
    check_all_kept(audit, store);
    audit->catching_up = true;
    drop_missing(audit, store);
    for (size_t i = 0; i < ARRAY_COUNT(looked_at); i++)
        store_list(store, &api_resources[looked_at[i]], NULL, NULL, NULL, catch_up, audit);
    audit->catching_up = false;
    for (size_t i = 0; i < API_RESOURCE_COUNT; i++)
        if (api_resources[i].storage == i)
            audit->watches[i] =
                store_watch_new(store, &api_resources[i], NULL, store_revision(store), committed, audit, NULL);
}

void sim_audit_closing(void *context, struct sim_cluster *cluster)
{
    struct sim_audit *audit = context;
    audit->down_since = env_monotonic(audit->env);
    for (size_t i = 0; i < API_RESOURCE_COUNT; i++)
        store_watch_free(steal_pointer(audit->watches[i]));
}

/* The interface. */

static void report(void *context, const char *text)
{
    audit_violated(context, "%s", text);
}

struct sim_audit *sim_audit_new(struct env *env, struct sim_history *history, int64_t window)
{
    struct sim_audit *audit = mem_zero(1, sizeof(*audit));
    audit->env = env;
    audit->history = history;
    audit->window = window;
    audit->down_since = -1;
    audit->jobs = job_audit_new(window, report, audit);
    return audit;
}

void sim_audit_free(struct sim_audit *audit)
{
    if (!audit)
        return;
    for (struct map_slot *s = NULL; (s = map_next(&audit->owners, s));)
        audit_owner_free(s->value);
    for (struct map_slot *s = NULL; (s = map_next(&audit->pods, s));) {
        object_unref(((struct audit_pod *)s->value)->object);
        free(s->value);
    }
    for (struct map_slot *s = NULL; (s = map_next(&audit->nodes, s));)
        object_unref(s->value);
    map_free(&audit->owners);
    map_free(&audit->pods);
    map_free(&audit->nodes);
    job_audit_free(audit->jobs);
    free(audit);
}

const char *sim_audit_violation(const struct sim_audit *audit)
{
    return *audit->violation ? audit->violation : NULL;
}

uint64_t sim_audit_writes(const struct sim_audit *audit)
{
    return audit->writes;
}
