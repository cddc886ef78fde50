#include "node/static_pod.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/defaults.h"
#include "api/json.h"
#include "api/pod_containers.h"
#include "api/static_pod.h"
#include "api/validate.h"
#include "api/yaml.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "node/image/digest.h"

#define UID_DIGITS 32

/* ---- What only the API has ---- */

static const char *reference_of_env(const struct env_var_array *env, const struct env_from_source_array *from)
{
    for (size_t i = 0; i < env->count; i++) {
        const struct env_var_source *source = env->items[i].value_from;
        if (source && source->secret_key_ref)
            return "secrets";
        if (source && source->config_map_key_ref)
            return "configmaps";
    }
    for (size_t i = 0; i < from->count; i++)
        if (from->items[i].secret_ref || from->items[i].config_map_ref)
            return from->items[i].secret_ref ? "secrets" : "configmaps";
    return NULL;
}

static const char *reference_of_projection(const struct projected_volume_source *projected)
{
    for (size_t i = 0; i < projected->sources.count; i++) {
        const struct volume_projection *s = &projected->sources.items[i];
        if (s->config_map || s->secret)
            return s->secret ? "secrets" : "configmaps";
        if (s->service_account_token)
            return "serviceaccounts (via projected volumes)";
        if (s->cluster_trust_bundle || s->pod_certificate)
            return s->cluster_trust_bundle ? "clustertrustbundles" : "podcertificates";
    }
    return NULL;
}

static const char *reference_of_volume(const struct volume *v)
{
    if (v->projected)
        return reference_of_projection(v->projected);
    return v->secret                    ? "secrets"
           : v->config_map              ? "configmaps"
           : v->csi                     ? "csidrivers (via CSI volumes)"
           : v->glusterfs               ? "endpoints (via glusterFS volumes)"
           : v->persistent_volume_claim ? "persistentvolumeclaims"
           : v->ephemeral               ? "persistentvolumeclaims (via ephemeral volumes)"
           : v->azure_file              ? "secrets"
                                        : NULL;
}

/* Upstream's HasAPIObjectReference. */
static const char *reference_of(const struct pod_spec *spec)
{
    const char *found = NULL;
    if (spec->service_account_name && *spec->service_account_name)
        return "serviceaccounts";
    if (spec->image_pull_secrets.count)
        return "secrets";
    for (size_t i = 0; i < spec->init_containers.count && !found; i++)
        found = reference_of_env(&spec->init_containers.items[i].env, &spec->init_containers.items[i].env_from);
    for (size_t i = 0; i < spec->containers.count && !found; i++)
        found = reference_of_env(&spec->containers.items[i].env, &spec->containers.items[i].env_from);
    if (!found && spec->resource_claims.count)
        found = "resourceclaims";
    for (size_t i = 0; i < spec->volumes.count && !found; i++)
        found = reference_of_volume(&spec->volumes.items[i]);
    return found;
}

/* ---- Reading ---- */

static void annotate(struct arena *arena, struct object_meta *meta, const char *key, const char *value)
{
    struct string_map *map = &meta->annotations;
    size_t at = 0;
    while (at < map->count && strcmp(map->items[at].key, key) < 0)
        at++;
    if (at < map->count && strcmp(map->items[at].key, key) == 0) {
        map->items[at].value = value;
        return;
    }
    map->items = arena_array_grow(arena, map->items, map->count, 1, sizeof(*map->items));
    memmove(&map->items[at + 1], &map->items[at], (map->count - at) * sizeof(*map->items));
    map->items[at] = (struct string_pair){key, value};
    map->count++;
}

/* Its own node's troubles do not evict it. */
static void tolerate(struct arena *arena, struct toleration_array *tolerations)
{
    tolerations->items =
        arena_array_grow(arena, tolerations->items, tolerations->count, 1, sizeof(*tolerations->items));
    tolerations->items[tolerations->count++] = (struct toleration){.operator= "Exists", .effect = "NoExecute"};
}

static const char *hash(struct arena *arena, const struct pod *pod, const struct static_pod_source *source)
{
    cleanup_buffer struct buffer text = {0};
    char digest[DIGEST_TEXT_SIZE];
    json_encode(&api_type_pod, pod, &text);
    buffer_printf(&text, "host:%s\nfile:%s\n", source->node_name, source->path);
    image_digest_of(text.data, text.size, digest);
    return arena_string_n(arena, image_digest_hex(digest), UID_DIGITS);
}

static int check_kind(const struct pod *pod, struct error *err)
{
    const char *kind = pod->kind ? pod->kind : "", *version = pod->api_version ? pod->api_version : "";
    if (!*kind)
        return error_set(err, EINVAL, "Object 'Kind' is missing");
    if (strcmp(kind, "Pod") != 0 || strcmp(version, "v1") != 0)
        return error_set(err, EINVAL, "invalid pod: it is %s, Kind=%s", version, kind);
    if (!pod->metadata.name || !*pod->metadata.name)
        return error_set(err, EINVAL, "invalid pod: name is needed for the pod");
    return 0;
}

/* All that the node adds to what the file says. */
static void complete(struct arena *arena, struct pod *pod, const struct static_pod_source *source)
{
    struct object_meta *meta = &pod->metadata;
    char seen[TIME_TEXT_MAX];
    if (!meta->uid || !*meta->uid)
        meta->uid = hash(arena, pod, source);
    char *node = arena_string(arena, source->node_name);
    for (char *c = node; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    meta->name = arena_printf(arena, "%s-%s", meta->name, node);
    if (!meta->namespace || !*meta->namespace)
        meta->namespace = "default";
    pod->kind = "Pod";
    pod->api_version = "v1";
    pod->spec.node_name = arena_string(arena, source->node_name);
    tolerate(arena, &pod->spec.tolerations);
    time_format_micro(source->seen, seen);
    annotate(arena, meta, POD_SOURCE_ANNOTATION, "file");
    annotate(arena, meta, POD_HASH_ANNOTATION, meta->uid);
    annotate(arena, meta, POD_SEEN_ANNOTATION, arena_string(arena, seen));
    pod->status = (struct pod_status){.phase = "Pending"};
}

static int check(struct arena *arena, const struct pod *pod, struct error *err)
{
    struct api_field_errors errors = {.arena = arena};
    api_validate_create(&api_resources[API_PODS], pod, &errors);
    if (errors.count)
        return error_set(err, EINVAL, "invalid pod: %s: %s", errors.items[0].field, errors.items[0].detail);
    const char *reference = reference_of(&pod->spec);
    return reference ? error_set(err, EINVAL, "static pods may not reference %s", reference) : 0;
}

static struct pod *read_pod(struct arena *arena, const char *text, size_t size, const struct static_pod_source *source,
                            struct error *err)
{
    cleanup_buffer struct buffer json = {0};
    struct pod *pod = arena_alloc(arena, sizeof(*pod));
    /* Keys that are set twice and fields that there are not are no complaint: upstream's kubelet decodes leniently. */
    if (yaml_to_json(text, size, &json, NULL, err) < 0 ||
        json_decode(&api_type_pod, arena, json.data, json.size, pod, NULL, err) < 0 || check_kind(pod, err) < 0)
        return NULL;
    api_set_defaults(arena, &api_resources[API_PODS], pod);
    complete(arena, pod, source);
    return check(arena, pod, err) < 0 ? NULL : pod;
}

struct object *static_pod_read(const char *text, size_t size, const struct static_pod_source *source, struct error *err)
{
    struct arena *arena = arena_new(8192);
    const struct pod *pod = read_pod(arena, text, size, source, err);
    if (!pod) {
        arena_free(arena);
        return NULL;
    }
    return object_new(&api_resources[API_PODS], arena, pod);
}

/* ---- Mirrors ---- */

struct pod *static_pod_mirror(struct arena *arena, const struct object *object, const char *node_name,
                              const char *owner_uid)
{
    struct pod *pod = object_copy(arena, object);
    annotate(arena, &pod->metadata, POD_MIRROR_ANNOTATION, pod->metadata.uid);
    struct owner_reference *owner = arena_alloc(arena, sizeof(*owner));
    *owner = (struct owner_reference){.api_version = "v1",
                                      .kind = "Node",
                                      .name = arena_string(arena, node_name),
                                      .uid = arena_string(arena, owner_uid),
                                      .controller = opt_bool(true)};
    pod->metadata.owner_references.items = owner;
    pod->metadata.owner_references.count = 1;
    pod->metadata.uid = NULL;
    return pod;
}

const char *static_pod_shown_uid(const struct object *mirror)
{
    return string_map_get(&mirror->meta->annotations, POD_MIRROR_ANNOTATION);
}

bool static_pod_is_mirror(const struct object *pod)
{
    return static_pod_shown_uid(pod) != NULL;
}

bool static_pod_is_shown(const struct object *pod, const struct object *mirror)
{
    const char *shown = static_pod_shown_uid(mirror);
    return shown && strcmp(shown, pod->meta->uid) == 0;
}
