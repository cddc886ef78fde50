/* Upstream's ServiceAccount plugin of admission: the account that a pod names must be there, its secrets for pulling
 * images are the pod's unless it names others, and each container finds a token of it, beside the certificate and the
 * namespace that clients in the cluster look for. "default" is taken on trust: every namespace gets it, if a moment
 * after its first pod. */
#include <string.h>

#include "api/static_pod.h"
#include "registry/private.h"

#define TOKEN_DIRECTORY "/var/run/secrets/kubernetes.io/serviceaccount"
#define TOKEN_VOLUME "kube-api-access-"
#define TOKEN_VOLUME_RANDOM 5
#define TOKEN_MODE 0644
/* An hour, and seven seconds by which upstream tells these tokens from others. */
#define TOKEN_SECONDS 3607

/* What the mirror of a static pod may not hold. */
static const char *why_no_mirror(const struct pod_spec *spec)
{
    bool secrets = spec->image_pull_secrets.count > 0;
    for (size_t i = 0; i < spec->volumes.count; i++) {
        const struct projected_volume_source *projected = spec->volumes.items[i].projected;
        secrets |= spec->volumes.items[i].secret != NULL;
        for (size_t k = 0; projected && k < projected->sources.count; k++)
            if (projected->sources.items[k].service_account_token)
                return "a mirror pod may not use ServiceAccountToken volume projections";
    }
    return !text_empty(spec->service_account_name) ? "a mirror pod may not reference service accounts"
           : secrets                               ? "a mirror pod may not reference secrets"
                                                   : NULL;
}

static void copy_pull_secrets(struct arena *arena, const struct service_account *account, struct pod_spec *spec)
{
    const struct local_object_reference_array *secrets = &account->image_pull_secrets;
    spec->image_pull_secrets.items = arena_alloc(arena, (secrets->count + 1) * sizeof(*secrets->items));
    spec->image_pull_secrets.count = secrets->count;
    for (size_t i = 0; i < secrets->count; i++)
        spec->image_pull_secrets.items[i].name = arena_string(arena, secrets->items[i].name);
}

static struct volume_projection_array token_sources(struct arena *arena)
{
    struct volume_projection *sources = arena_alloc(arena, 3 * sizeof(*sources));
    struct service_account_token_projection *token = arena_alloc(arena, sizeof(*token));
    struct config_map_projection *authority = arena_alloc(arena, sizeof(*authority));
    struct downward_api_projection *fields = arena_alloc(arena, sizeof(*fields));
    struct key_to_path *certificate = arena_alloc(arena, sizeof(*certificate));
    struct downward_api_volume_file *namespace = arena_alloc(arena, sizeof(*namespace));
    struct object_field_selector *of_pod = arena_alloc(arena, sizeof(*of_pod));
    *token = (struct service_account_token_projection){.path = "token", .expiration_seconds = opt_int64(TOKEN_SECONDS)};
    *certificate = (struct key_to_path){.key = "ca.crt", .path = "ca.crt"};
    *authority = (struct config_map_projection){.name = "kube-root-ca.crt", .items = {certificate, 1}};
    *of_pod = (struct object_field_selector){.api_version = "v1", .field_path = "metadata.namespace"};
    *namespace = (struct downward_api_volume_file){.path = "namespace", .field_ref = of_pod};
    *fields = (struct downward_api_projection){.items = {namespace, 1}};
    sources[0] = (struct volume_projection){.service_account_token = token};
    sources[1] = (struct volume_projection){.config_map = authority};
    sources[2] = (struct volume_projection){.downward_api = fields};
    return (struct volume_projection_array){sources, 3};
}

/* The name of the volume that shows the token: one that has the name of such a volume is taken for it. */
static const char *token_volume(struct task *task, const struct volume_array *volumes, bool *found)
{
    for (size_t i = 0; i < volumes->count; i++)
        if (strncmp(volumes->items[i].name, TOKEN_VOLUME, strlen(TOKEN_VOLUME)) == 0) {
            *found = true;
            return volumes->items[i].name;
        }
    char random[TOKEN_VOLUME_RANDOM + 1];
    env_random_name(task->registry->env, random, TOKEN_VOLUME_RANDOM);
    *found = false;
    return arena_printf(task->arena, TOKEN_VOLUME "%s", random);
}

/* Mounts the volume in each container that has nothing there. True when one needs it. */
static bool mount_token(struct arena *arena, struct container_array *containers, const char *volume)
{
    bool needed = false;
    for (size_t i = 0; i < containers->count; i++) {
        struct volume_mount_array *mounts = &containers->items[i].volume_mounts;
        bool taken = false;
        for (size_t m = 0; m < mounts->count; m++)
            taken |= text_equal(mounts->items[m].mount_path, TOKEN_DIRECTORY);
        if (taken)
            continue;
        mounts->items = arena_array_grow(arena, mounts->items, mounts->count, 1, sizeof(*mounts->items));
        mounts->items[mounts->count++] =
            (struct volume_mount){.name = volume, .mount_path = TOKEN_DIRECTORY, .read_only = true};
        needed = true;
    }
    return needed;
}

static void add_token(struct task *task, struct pod_spec *spec)
{
    struct volume_array *volumes = &spec->volumes;
    bool found;
    const char *name = token_volume(task, volumes, &found);
    bool needed = mount_token(task->arena, &spec->init_containers, name);
    needed |= mount_token(task->arena, &spec->containers, name);
    if (found || !needed)
        return;
    struct projected_volume_source *projected = arena_alloc(task->arena, sizeof(*projected));
    *projected =
        (struct projected_volume_source){.default_mode = opt_int32(TOKEN_MODE), .sources = token_sources(task->arena)};
    volumes->items = arena_array_grow(task->arena, volumes->items, volumes->count, 1, sizeof(*volumes->items));
    volumes->items[volumes->count++] = (struct volume){.name = name, .projected = projected};
}

/* The pod's own wish comes first, then the account's. */
static bool wants_token(const struct pod_spec *spec, const struct service_account *account)
{
    if (spec->automount_service_account_token.set)
        return spec->automount_service_account_token.value;
    return !account || !account->automount_service_account_token.set || account->automount_service_account_token.value;
}

struct status *service_account_admit_create(struct task *task, struct pod *pod)
{
    const char *name = pod->spec.service_account_name, *namespace = pod->metadata.namespace;
    if (string_map_get(&pod->metadata.annotations, POD_MIRROR_ANNOTATION)) {
        const char *why = why_no_mirror(&pod->spec);
        return why ? api_status_forbidden(task->arena, task->resource, pod->metadata.name, why) : NULL;
    }
    const struct object *object =
        text_empty(name) ? NULL
                         : store_get(task->registry->store, &api_resources[API_SERVICEACCOUNTS], namespace, name);
    if (!object && !text_empty(name) && strcmp(name, "default") != 0)
        return api_status_forbidden(task->arena, task->resource, pod->metadata.name,
                                    arena_printf(task->arena,
                                                 "error looking up service account %s/%s: serviceaccount \"%s\" not "
                                                 "found",
                                                 namespace, name, name));
    const struct service_account *account = object ? object->value : NULL;
    if (wants_token(&pod->spec, account))
        add_token(task, &pod->spec);
    if (account && !pod->spec.image_pull_secrets.count)
        copy_pull_secrets(task->arena, account, &pod->spec);
    return NULL;
}
