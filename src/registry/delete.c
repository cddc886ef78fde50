/* Delete, as upstream's generic registry does it (registry/generic/registry/store.go, registry/rest/delete.go):
 *
 *   grace      only pods have a grace period. The first delete sets deletionTimestamp (now + grace) and
 *              deletionGracePeriodSeconds; later ones may only shorten it; 0 removes the object. More than 292 years
 *              (Go's longest duration, which upstream's sum wraps around at) count as that much.
 *   finalizers an object that has some is only marked (grace 0) and goes when the last one is taken away
 *              (update.c). A propagation policy adds or removes "orphan" and "foregroundDeletion" first.
 *   namespaces turn Terminating and go when both their metadata and their spec have no finalizer left. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "registry/private.h"

#define FINALIZER_ORPHAN "orphan"
#define FINALIZER_FOREGROUND "foregroundDeletion"

static const struct delete_options no_options;

static const struct delete_options *options_of(const struct task *task)
{
    return task->request->delete_options ? task->request->delete_options : &no_options;
}

/* Options. */

struct status *registry_check_delete_options(struct task *task)
{
    static const struct api_resource kind = {.group = "meta.k8s.io", .kind = "DeleteOptions", .plural = ""};
    static const char *const policies[] = {"Background", "Foreground", "Orphan", NULL};
    const struct delete_options *options = options_of(task);
    struct api_field_errors errors = {.arena = task->arena};
    const char *policy = options->propagation_policy;
    if (options->orphan_dependents.set && policy) {
        field_invalid(&errors, PATH(NULL, "propagationPolicy"), policy,
                      "orphanDependents and deletionPropagation cannot be both set");
    } else if (policy) {
        bool known = false;
        for (size_t i = 0; policies[i]; i++)
            known = known || strcmp(policies[i], policy) == 0;
        if (!known)
            field_not_supported(&errors, PATH(NULL, "propagationPolicy"), policy, policies);
    }
    return errors.count ? api_status_invalid(task->arena, &kind, "", &errors) : NULL;
}

/* Upstream names the kind here, not the resource. */
static struct status *check_preconditions(struct task *task)
{
    const struct preconditions *wanted = options_of(task)->preconditions;
    const struct object_meta *meta = task->old->meta;
    struct api_resource kind = *task->resource;
    kind.plural = kind.kind;
    if (wanted && wanted->uid && !text_equal(wanted->uid, meta->uid))
        return api_status_conflict(
            task->arena, &kind, meta->name,
            arena_printf(task->arena,
                         "the UID in the precondition (%s) does not match the UID in record (%s). The object might "
                         "have been deleted and then recreated",
                         wanted->uid, meta->uid));
    if (wanted && wanted->resource_version && !text_equal(wanted->resource_version, meta->resource_version))
        return api_status_conflict(
            task->arena, &kind, meta->name,
            arena_printf(task->arena,
                         "the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record "
                         "(%s). The object might have been modified",
                         wanted->resource_version, meta->resource_version));
    return NULL;
}

/* Finalizers of garbage collection. */

static bool has(const struct string_array *array, const char *text)
{
    for (size_t i = 0; i < array->count; i++)
        if (strcmp(array->items[i], text) == 0)
            return true;
    return false;
}

static bool wants_orphan(const struct delete_options *options, const struct string_array *finalizers)
{
    if (options->orphan_dependents.set)
        return options->orphan_dependents.value;
    if (options->propagation_policy)
        return strcmp(options->propagation_policy, "Orphan") == 0;
    return has(finalizers, FINALIZER_ORPHAN);
}

static bool wants_foreground(const struct delete_options *options, const struct string_array *finalizers)
{
    if (options->orphan_dependents.set)
        return false;
    if (options->propagation_policy)
        return strcmp(options->propagation_policy, "Foreground") == 0;
    return !has(finalizers, FINALIZER_ORPHAN) && has(finalizers, FINALIZER_FOREGROUND);
}

/* Gives the finalizers that the options ask for; returns whether they differ from the present ones. */
static bool set_finalizers(struct task *task, struct object_meta *meta)
{
    if (registry_strategy(task->resource)->no_garbage_collection)
        return false;
    const struct string_array *old = &meta->finalizers;
    bool orphan = wants_orphan(options_of(task), old), foreground = wants_foreground(options_of(task), old);
    if (orphan == has(old, FINALIZER_ORPHAN) && foreground == has(old, FINALIZER_FOREGROUND))
        return false;
    struct string_array fresh = {arena_alloc(task->arena, (old->count + 2) * sizeof(char *)), 0};
    for (size_t i = 0; i < old->count; i++)
        if (strcmp(old->items[i], FINALIZER_ORPHAN) != 0 && strcmp(old->items[i], FINALIZER_FOREGROUND) != 0)
            fresh.items[fresh.count++] = old->items[i];
    if (orphan)
        fresh.items[fresh.count++] = FINALIZER_ORPHAN;
    if (foreground)
        fresh.items[fresh.count++] = FINALIZER_FOREGROUND;
    meta->finalizers = fresh;
    return true;
}

/* Grace. */

/* Upstream's pod strategy: the seconds that a pod gets to end. */
static int64_t pod_grace(const struct pod *pod, const struct delete_options *options)
{
    int64_t grace = options->grace_period_seconds.set              ? options->grace_period_seconds.value
                    : pod->spec.termination_grace_period_seconds.set ? pod->spec.termination_grace_period_seconds.value
                                                                     : 0;
    if (text_empty(pod->spec.node_name) || text_equal(pod->status.phase, "Failed") ||
        text_equal(pod->status.phase, "Succeeded"))
        grace = 0;
    return grace < 0 ? 1 : grace > DURATION_SECONDS_MAX ? DURATION_SECONDS_MAX : grace;
}

/* The instant itself stays writable, too, whatever the clock says. */
static int64_t deadline(int64_t from, int64_t seconds)
{
    int64_t at = from + duration_of_seconds(seconds);
    return at > TIME_MAX ? TIME_MAX / SECOND * SECOND : at;
}

enum grace {
    GRACE_NONE,    /* no graceful deletion: mark for finalizers, or remove */
    GRACE_SET,     /* the metadata has a (new, shorter) deadline */
    GRACE_PENDING, /* deletion is under way already; nothing changes */
};

static enum grace apply_grace(struct task *task, const void *value, struct object_meta *meta, int64_t now)
{
    const struct delete_options *options = options_of(task);
    if (!registry_strategy(task->resource)->graceful)
        return GRACE_NONE;
    struct opt_int64 wanted = options->grace_period_seconds;
    if (wanted.set && wanted.value < 0)
        wanted.value = 1;
    if (meta->deletion_timestamp) {
        if (!meta->deletion_grace_period_seconds.set)
            return GRACE_NONE;
        int64_t present = meta->deletion_grace_period_seconds.value;
        /* Its end was written, but not its removal: the store failed in between. */
        if (present == 0 && !meta->finalizers.count)
            return GRACE_NONE;
        if (!wanted.set || wanted.value >= present)
            return GRACE_PENDING;
        meta->deletion_timestamp = deadline(meta->deletion_timestamp, wanted.value - present);
        meta->deletion_grace_period_seconds = wanted;
        return GRACE_SET;
    }
    int64_t grace = pod_grace(value, options);
    meta->deletion_timestamp = deadline(now, grace);
    meta->deletion_grace_period_seconds = opt_int64(grace);
    if (meta->generation > 0)
        meta->generation++;
    return GRACE_SET;
}

/* Of what has finalizers and no grace period. */
static void mark_as_deleting(struct object_meta *meta, int64_t now)
{
    if (!meta->deletion_timestamp && meta->generation > 0)
        meta->generation++;
    if (!meta->deletion_timestamp || meta->deletion_timestamp > now)
        meta->deletion_timestamp = now;
    meta->deletion_grace_period_seconds = opt_int64(0);
}

/* Deleting. */

/* Nothing to do: deletion is under way. Upstream answers as for an object that has gone. */
static void answer_pending(struct task *task)
{
    if (task->evicts) {
        registry_answer(task, &(struct client_result){.code = task->code,
                                                      .status = api_status_success(task->arena, NULL, NULL, NULL),
                                                      .remaining = -1});
        return;
    }
    if (registry_strategy(task->resource)->returns_deleted) {
        registry_answer_object(task, 200, task->old);
        return;
    }
    const struct object_meta *meta = task->old->meta;
    struct status *status = api_status_success(task->arena, task->resource, meta->name, meta->uid);
    status->code = 200;
    registry_answer(task, &(struct client_result){.code = 200, .status = status, .remaining = -1});
}

/* A change of the metadata only: parts of the old value are shared until the store copies it. */
static void *shallow_copy(struct task *task)
{
    assert(task->old);
    return arena_copy(task->arena, task->old->value, task->resource->type->size);
}

static void put_marked(struct task *task, const void *value)
{
    task->answer_status = task->evicts;
    if (registry_unchanged(task, value) && !task->evicts)
        registry_answer_object(task, 200, task->old);
    else
        registry_put(task, value, task->old->revision);
}

/* A graceful object without grace left: its last state carries the deletion time, and it goes. */
static void put_and_remove(struct task *task, const void *value)
{
    if (task->request->dry_run) {
        registry_remove(task, task->old->meta, task->old->revision);
        return;
    }
    struct arena *arena = arena_new(0);
    const void *stored = registry_convert(task->arena, task->resource, task->stored, value);
    void *copy = api_copy(arena, task->stored->type, stored);
    const struct object_meta *meta = task->old->meta;
    enum store_outcome outcome =
        store_put(task->registry->store, task->stored, arena, copy, task->old->revision, NULL, NULL);
    struct object *head = store_head(task->registry->store, task->stored, meta->namespace, meta->name);
    registry_remove(task, meta, outcome == STORE_OK ? head->revision : task->old->revision);
}

void registry_delete_value(struct task *task, void *value)
{
    int64_t now = env_now(task->registry->env) / SECOND * SECOND;
    struct object_meta *meta = api_meta(task->resource, value);
    enum grace grace = apply_grace(task, value, meta, now);
    if (grace == GRACE_PENDING) {
        answer_pending(task);
        return;
    }
    set_finalizers(task, meta);
    if (grace == GRACE_SET && (meta->finalizers.count || meta->deletion_grace_period_seconds.value > 0)) {
        put_marked(task, value);
    } else if (grace == GRACE_SET) {
        put_and_remove(task, value);
    } else if (meta->finalizers.count) {
        mark_as_deleting(meta, now);
        put_marked(task, value);
    } else {
        registry_remove(task, task->old->meta, task->old->revision);
    }
}

static void delete_namespace(struct task *task)
{
    assert(task->old);
    if (task->old->meta->deletion_timestamp) {
        const struct namespace *namespace = task->old->value;
        if (namespace->spec.finalizers.count)
            registry_answer_object(task, 200, task->old);
        else
            registry_delete_value(task, shallow_copy(task));
        return;
    }
    struct namespace *namespace = shallow_copy(task);
    namespace->metadata.deletion_timestamp = env_now(task->registry->env) / SECOND * SECOND;
    namespace->status.phase = "Terminating";
    set_finalizers(task, &namespace->metadata);
    put_marked(task, namespace);
}

bool registry_begin_delete(struct task *task)
{
    struct status *refused = registry_check_delete_options(task);
    if (!refused)
        refused = registry_admit_delete(task, task->request->name);
    if (!refused) {
        task->old = registry_head(task, task->request->namespace, task->request->name);
        refused = task->old ? check_preconditions(task)
                            : api_status_not_found(task->arena, task->resource, task->request->name);
    }
    if (refused)
        registry_answer_status(task, refused);
    return !refused;
}

void registry_delete(struct task *task)
{
    task->code = 200;
    task->answer_status = !registry_strategy(task->resource)->returns_deleted;
    if (!registry_begin_delete(task))
        return;
    if (task->resource->index == API_NAMESPACES)
        delete_namespace(task);
    else
        registry_delete_value(task, shallow_copy(task));
}

/* Deleting many: one request per object, and an answer that lists them once all have been answered. */

struct collection {
    struct task *task;
    struct object **items; /* held: what the list found */
    size_t count;
    size_t waiting;
    struct status *failed; /* the first that was refused, but for what had gone already */
};

static void collection_end(struct collection *collection)
{
    struct task *task = collection->task;
    struct client_result result = {
        .code = collection->failed ? collection->failed->code : 200,
        .status = collection->failed,
        .items = collection->failed ? NULL : collection->items,
        .count = collection->failed ? 0 : collection->count,
        .revision = store_revision(task->registry->store),
        .remaining = -1,
    };
    struct object **items = collection->items;
    size_t count = collection->count;
    registry_answer(task, &result);
    for (size_t i = 0; i < count; i++)
        object_unref(items[i]);
    free(items);
    free(collection);
}

static void item_deleted(void *context, const struct client_result *result)
{
    struct collection *collection = context;
    if (!client_ok(result) && result->code != 404 && !collection->failed)
        collection->failed = api_copy(collection->task->arena, &api_type_status, result->status);
    if (!--collection->waiting)
        collection_end(collection);
}

static bool collect(void *context, struct object *object)
{
    struct collection *collection = context;
    struct task *task = collection->task;
    cleanup_object struct object *view = registry_view(task->resource, object);
    if (!registry_matches(task->request->label_selector, task->request->field_selector, task->resource, view))
        return true;
    collection->items = mem_resize(collection->items, (collection->count + 1) * sizeof(*collection->items));
    collection->items[collection->count++] = steal_pointer(view);
    return !task->request->limit || collection->count < (size_t)task->request->limit;
}

void registry_delete_collection(struct task *task)
{
    if (registry_strategy(task->resource)->no_collection) {
        registry_unsupported(task);
        return;
    }
    struct status *refused = registry_check_delete_options(task);
    if (refused) {
        registry_answer_status(task, refused);
        return;
    }
    struct collection *collection = mem_zero(1, sizeof(*collection));
    collection->task = task;
    const char *namespace = text_empty(task->request->namespace) ? NULL : task->request->namespace;
    store_list(task->registry->store, task->stored, namespace, NULL, NULL, collect, collection);
    collection->waiting = collection->count;
    if (!collection->count) {
        collection_end(collection);
        return;
    }
    for (size_t i = 0; i < collection->count; i++) {
        const struct object_meta *meta = collection->items[i]->meta;
        struct client_request *request =
            client_request_new(CLIENT_DELETE, task->resource, meta->namespace, meta->name);
        request->dry_run = task->request->dry_run;
        if (task->request->delete_options)
            request->delete_options =
                api_copy(request->arena, &api_type_delete_options, task->request->delete_options);
        registry_submit(task->registry, request, true, item_deleted, collection);
    }
}
