/* The acting half of the provisioner. One job per claim or volume, known by its uid, from the decision until its
 * answer; a failed one stays, and is tried again later. */
#include "node/provisioner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "api/json.h"
#include "api/storage.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/task.h"

/* Between attempts: 15 s doubling to 5 min. */
#define RETRY_FIRST (15 * INT64_C(1000000))
#define RETRY_MAX (300 * INT64_C(1000000))

struct provisioner {
    struct agent *agent;
    struct recorder *recorder;
    struct recorder *reclaimer; /* of what upstream's controller says */
    struct map jobs;            /* uid -> struct provision_job */
    size_t running;
    bool started, stopping;
};

struct provision_job {
    struct provisioner *provisioner;
    char *uid;
    struct object *object; /* the claim or the volume as it was decided on */
    struct object *class;  /* of a claim */
    char *folder;          /* NULL: there is none to make or remove */
    bool running;
    bool waiting; /* for the next attempt */
    struct env_timer *timer;
    int failures;
    struct error err;
    bool failed;
};

static void consider(struct provisioner *p, struct object *object);

/* ---- Jobs ---- */

static struct informer *informer_of(const struct provisioner *p, const struct api_resource *resource)
{
    return resource->index == API_PERSISTENTVOLUMES ? p->agent->volumes : p->agent->claims;
}

static void job_free(struct provision_job *j)
{
    map_remove(&j->provisioner->jobs, j->uid);
    env_timer_free(j->timer);
    object_unref(j->object);
    object_unref(j->class);
    free(j->folder);
    free(j->uid);
    free(j);
}

/* Looks at the object as it is now; what has changed meanwhile counts. */
static void look_again(struct provision_job *j)
{
    struct object *now = informer_get(informer_of(j->provisioner, j->object->resource), j->object->meta->namespace,
                                      j->object->meta->name);
    if (now && strcmp(now->meta->uid, j->uid) == 0)
        consider(j->provisioner, now);
    else
        job_free(j);
}

static void retry(void *context)
{
    struct provision_job *j = context;
    j->waiting = false;
    if (!j->provisioner->stopping)
        look_again(j);
}

static void over(struct provision_job *j, bool failed)
{
    struct provisioner *p = j->provisioner;
    j->running = false;
    p->running--;
    if (p->stopping) {
        agent_settled(p->agent);
        return;
    }
    if (!failed) {
        job_free(j);
        return;
    }
    int64_t delay = RETRY_FIRST;
    for (int i = 0; i < j->failures && delay < RETRY_MAX; i++)
        delay *= 2;
    j->failures++;
    j->waiting = true;
    env_timer_start(j->timer, delay < RETRY_MAX ? delay : RETRY_MAX);
}

static struct provision_job *job_begin(struct provisioner *p, struct object *object)
{
    struct provision_job *j = map_get(&p->jobs, object->meta->uid);
    if (!j) {
        j = mem_zero(1, sizeof(*j));
        j->provisioner = p;
        j->uid = mem_string(object->meta->uid);
        j->timer = env_timer_new(p->agent->env, retry, j);
        map_set(&p->jobs, j->uid, j);
    }
    object_unref(j->object);
    object_unref(j->class);
    free(j->folder);
    j->object = object_ref(object);
    j->class = NULL;
    j->folder = NULL;
    j->running = true;
    j->waiting = false;
    j->failed = false;
    p->running++;
    env_timer_stop(j->timer);
    return j;
}

static char *storage_directory(const struct provisioner *p)
{
    return mem_printf("%s/storage", p->agent->options.data_directory);
}

/* ---- Making ---- */

static void give_back(void *context, const struct client_result *result)
{
    (void)result;
    over(context, true);
}

/* The scheduler may choose another node, or this one again. */
static void claim_failed(struct provision_job *j, const char *why)
{
    struct provisioner *p = j->provisioner;
    const struct object_meta *meta = j->object->meta;
    recorder_event(p->recorder, j->object->resource, meta, NULL, "Warning", "ProvisioningFailed",
                   "failed to provision volume with StorageClass \"%s\": %s", storage_claim_class(j->object->value),
                   why);
    client_patch(p->agent->client, j->object->resource, NULL, meta->namespace, meta->name, PATCH_MERGE,
                 "{\"metadata\":{\"annotations\":{\"" STORAGE_SELECTED_NODE "\":null}}}", give_back, j);
}

static void remove_folder(void *context)
{
    struct provision_job *j = context;
    j->failed = file_remove_tree(j->folder, &j->err) < 0;
}

static void folder_given_up(void *context)
{
    over(context, false);
}

/* Another node was faster: where a claim is bound at once, all of them try. */
static void volume_compared(void *context, const struct client_result *result)
{
    struct provision_job *j = context;
    const struct persistent_volume *volume = client_ok(result) ? result->object->value : NULL;
    const char *path = volume && volume->spec.local ? volume->spec.local->path : "";
    const struct volume_node_affinity *ours = volume ? volume->spec.node_affinity : NULL;
    struct object_meta node = {.name = j->provisioner->agent->options.node_name};
    struct string_pair label = {"kubernetes.io/hostname", node.name};
    node.labels = (struct string_map){&label, 1};
    if (!volume || (strcmp(path, j->folder) == 0 && (!ours || storage_volume_reaches(volume, &node))))
        over(j, !volume);
    else
        task_run(j->provisioner->agent->env, remove_folder, folder_given_up, j);
}

static void volume_created(void *context, const struct client_result *result)
{
    struct provision_job *j = context;
    struct provisioner *p = j->provisioner;
    cleanup_free char *name = mem_printf("pvc-%s", j->uid);
    if (client_ok(result)) {
        recorder_event(p->recorder, j->object->resource, j->object->meta, NULL, "Normal", "ProvisioningSucceeded",
                       "Successfully provisioned volume %s", name);
        over(j, false);
    } else if (result->code == 409) {
        client_get(p->agent->client, &api_resources[API_PERSISTENTVOLUMES], NULL, name, volume_compared, j);
    } else {
        claim_failed(j, result->status && result->status->message ? result->status->message : "not created");
    }
}

static void make_folder(void *context)
{
    struct provision_job *j = context;
    /* Whoever the pod's processes run as may write, as with rancher's provisioner. */
    j->failed = file_make_directories(j->folder, 0755, &j->err) < 0;
    if (!j->failed && chmod(j->folder, 0777) < 0)
        j->failed = error_errno(&j->err, "open %s to all", j->folder) < 0;
}

static void folder_made(void *context)
{
    struct provision_job *j = context;
    struct agent *agent = j->provisioner->agent;
    if (j->failed || j->provisioner->stopping) {
        if (j->provisioner->stopping)
            over(j, true);
        else
            claim_failed(j, j->err.text);
        return;
    }
    cleanup_arena struct arena *arena = arena_new(4096);
    struct persistent_volume *volume =
        provisioner_make_volume(arena, j->object->value, j->class->value, agent->options.node_name, j->folder);
    client_create(agent->client, &api_resources[API_PERSISTENTVOLUMES], NULL, NULL, volume, volume_created, j);
}

static void consider_claim(struct provisioner *p, struct object *object)
{
    const struct persistent_volume_claim *claim = object->value;
    const char *name = storage_claim_class(claim), *why;
    struct object *class = *name ? informer_get(p->agent->classes, NULL, name) : NULL;
    struct provision_job *j = map_get(&p->jobs, object->meta->uid);
    if (!provisioner_decide_claim(claim, class ? class->value : NULL, p->agent->options.node_name, &why)) {
        /* A failure is remembered until the claim is served: the next attempt comes through the scheduler. */
        bool served = claim->spec.volume_name && *claim->spec.volume_name;
        if (j && !j->running && served)
            job_free(j);
        return;
    }
    j = job_begin(p, object);
    j->class = object_ref(class);
    if (why) {
        claim_failed(j, why);
        return;
    }
    cleanup_free char *storage = storage_directory(p);
    j->folder = mem_printf("%s/pvc-%s_%s_%s", storage, object->meta->uid, object->meta->namespace, object->meta->name);
    recorder_event(p->recorder, object->resource, object->meta, NULL, "Normal", "Provisioning",
                   "External provisioner is provisioning volume for claim \"%s/%s\"", object->meta->namespace,
                   object->meta->name);
    task_run(p->agent->env, make_folder, folder_made, j);
}

/* ---- Removing ---- */

static void volume_gone(void *context, const struct client_result *result)
{
    over(context, !client_ok(result) && result->code != 404);
}

static void volume_released(void *context, const struct client_result *result)
{
    struct provision_job *j = context;
    if (client_ok(result))
        client_delete(j->provisioner->agent->client, j->object->resource, NULL, j->object->meta->name, j->uid, -1, NULL,
                      volume_gone, j);
    else
        over(j, result->code != 404);
}

/* Upstream's controller gives up what it cannot reclaim, and says why in the volume's status. */
static void reclaim_failed(struct provision_job *j, const char *reason, const char *message)
{
    struct persistent_volume fresh = *(const struct persistent_volume *)j->object->value;
    recorder_event(j->provisioner->reclaimer, j->object->resource, j->object->meta, NULL, "Warning", reason, "%s",
                   message);
    fresh.status.phase = "Failed";
    fresh.status.message = message;
    client_update(j->provisioner->agent->client, j->object->resource, "status", NULL, &fresh, volume_gone, j);
}

static void host_path_removed(void *context)
{
    struct provision_job *j = context;
    if (j->failed)
        reclaim_failed(j, "VolumeFailedDelete", j->err.text);
    else
        client_delete(j->provisioner->agent->client, j->object->resource, NULL, j->object->meta->name, j->uid, -1, NULL,
                      volume_gone, j);
}

static void empty_folder(void *context)
{
    struct provision_job *j = context;
    j->failed = file_empty_directory(j->folder, &j->err) < 0;
}

static void folder_emptied(void *context)
{
    struct provision_job *j = context;
    if (j->failed) {
        cleanup_free char *message = mem_printf("Recycle failed: %s", j->err.text);
        reclaim_failed(j, "VolumeFailedRecycle", message);
        return;
    }
    cleanup_arena struct arena *arena = arena_new(1024);
    struct persistent_volume fresh = *(const struct persistent_volume *)j->object->value;
    storage_volume_unbind(arena, &fresh);
    recorder_event(j->provisioner->reclaimer, j->object->resource, j->object->meta, NULL, "Normal", "VolumeRecycled",
                   "Volume recycled");
    client_update(j->provisioner->agent->client, j->object->resource, NULL, NULL, &fresh, volume_gone, j);
}

static void folder_removed(void *context)
{
    struct provision_job *j = context;
    const struct object_meta *meta = j->object->meta;
    if (j->failed) {
        recorder_event(j->provisioner->recorder, j->object->resource, meta, NULL, "Warning", "VolumeFailedDelete", "%s",
                       j->err.text);
        over(j, true);
        return;
    }
    cleanup_free char *patch = mem_printf(
        "{\"metadata\":{\"uid\":\"%s\",\"$deleteFromPrimitiveList/finalizers\":[\"" STORAGE_PROVISIONER_FINALIZER
        "\"]}}",
        j->uid);
    client_patch(j->provisioner->agent->client, j->object->resource, NULL, NULL, meta->name, PATCH_STRATEGIC, patch,
                 volume_released, j);
}

/* Only a folder of its own making is removed, whatever an object says. */
static bool is_own_folder(const struct provisioner *p, const char *path)
{
    cleanup_free char *storage = storage_directory(p);
    size_t n = strlen(storage);
    return strncmp(path, storage, n) == 0 && strncmp(path + n, "/pvc-", 5) == 0 && !strchr(path + n + 1, '/');
}

static void consider_volume(struct provisioner *p, struct object *object)
{
    const struct persistent_volume *volume = object->value;
    enum provisioner_release due = provisioner_decide_volume(volume, p->agent->options.node_name);
    struct provision_job *j = map_get(&p->jobs, object->meta->uid);
    if (due == RELEASE_NOTHING) {
        if (j && !j->running)
            job_free(j);
        return;
    }
    j = job_begin(p, object);
    j->folder = mem_string(volume->spec.host_path ? volume->spec.host_path->path : volume->spec.local->path);
    if (due == RELEASE_HOST_PATH) {
        task_run(p->agent->env, remove_folder, host_path_removed, j);
    } else if (due == RELEASE_CONTENT) {
        task_run(p->agent->env, empty_folder, folder_emptied, j);
    } else if (due == RELEASE_OBJECT) {
        folder_removed(j);
    } else if (is_own_folder(p, j->folder)) {
        task_run(p->agent->env, remove_folder, folder_removed, j);
    } else {
        j->failed = error_set(&j->err, EPERM, "%s is not a folder of this provisioner", j->folder) < 0;
        folder_removed(j);
    }
}

/* ---- */

static void consider(struct provisioner *p, struct object *object)
{
    const struct provision_job *j = map_get(&p->jobs, object->meta->uid);
    if (!p->started || p->stopping || (j && j->running))
        return;
    if (object->resource->index == API_PERSISTENTVOLUMES)
        consider_volume(p, object);
    else
        consider_claim(p, object);
}

static void changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct provisioner *p = context;
    struct provision_job *j = map_get(&p->jobs, object->meta->uid);
    (void)old;
    if (change == INFORMER_DELETED && j && !j->running)
        job_free(j);
    else if (change != INFORMER_DELETED && !(j && j->waiting)) /* not at once again, even if it is asked for anew */
        consider(p, object);
}

static bool visit(void *context, struct object *object)
{
    consider(context, object);
    return true;
}

static void class_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    struct provisioner *p = context;
    (void)object, (void)old;
    if (change == INFORMER_ADDED && p->started && !p->stopping)
        informer_each(p->agent->claims, NULL, visit, p);
}

struct provisioner *provisioner_new(struct agent *agent)
{
    struct provisioner *p = mem_zero(1, sizeof(*p));
    p->agent = agent;
    p->recorder = recorder_new(agent->client, STORAGE_LOCAL_PROVISIONER, agent->options.node_name);
    p->reclaimer = recorder_new(agent->client, "persistentvolume-controller", NULL);
    informer_add_handler(agent->claims, changed, p);
    informer_add_handler(agent->volumes, changed, p);
    informer_add_handler(agent->classes, class_changed, p);
    return p;
}

void provisioner_start(struct provisioner *p)
{
    p->started = true;
    informer_each(p->agent->claims, NULL, visit, p);
    informer_each(p->agent->volumes, NULL, visit, p);
}

void provisioner_stop(struct provisioner *p)
{
    p->stopping = true;
}

bool provisioner_idle(const struct provisioner *p)
{
    return !p->running;
}

void provisioner_free(struct provisioner *p)
{
    for (struct map_slot *s; (s = map_next(&p->jobs, NULL));)
        job_free(s->value);
    map_free(&p->jobs);
    recorder_free(p->recorder);
    recorder_free(p->reclaimer);
    free(p);
}
