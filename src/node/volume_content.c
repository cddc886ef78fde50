/* Volumes whose files come from the API: ConfigMaps, Secrets, fields of the pod, tokens, and all of them projected into
 * one. Here is decided which files there are; volume_files.c writes them. */
#include <errno.h>
#include <string.h>

#include "api/field_error.h"
#include "base/cleanup.h"
#include "base/vector.h"
#include "node/volume_plan.h"

#define FILE_MODE_DEFAULT 0644
/* A token that the files' one reader alone may read, as upstream has it. */
#define TOKEN_MODE_OWNED 0600

/* The files of a volume while they are gathered. */
struct files {
    const struct volume_planner *planner;
    VECTOR(struct volume_file) list;
    mode_t mode; /* of files that do not say */
};

static mode_t mode_of(struct opt_int32 mode, mode_t otherwise)
{
    return mode.set ? (mode_t)mode.value : otherwise;
}

/* A later source replaces the file of an earlier one, as upstream's projection does. */
static void add_file(struct files *files, const char *path, const void *data, size_t size, mode_t mode, uid_t owner)
{
    struct arena *arena = files->planner->arena;
    struct volume_file file = {.path = arena_string(arena, path),
                               .data = arena_copy(arena, data, size),
                               .size = size,
                               .mode = mode,
                               .owner = owner};
    for (size_t i = 0; i < files->list.count; i++)
        if (strcmp(files->list.items[i].path, path) == 0) {
            files->list.items[i] = file;
            return;
        }
    vector_push(&files->list, file);
}

static int finish(struct files *files, int result, struct volume_item *out)
{
    out->action = VOLUME_FILES;
    out->file_count = files->list.count;
    out->files = arena_copy(files->planner->arena, files->list.items, files->list.count * sizeof(*out->files));
    vector_free(&files->list);
    return result;
}

/* ---- ConfigMaps and Secrets ---- */

struct content {
    const char *key;
    const void *data;
    size_t size;
};

static const struct content *find_content(const struct content *content, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(content[i].key, key) == 0)
            return &content[i];
    return NULL;
}

/* All of the content, or the chosen items at their paths. `lacks`: upstream's words before the key that is missing. */
static int add_content(struct files *files, const struct content *content, size_t count,
                       const struct key_to_path_array *items, bool optional, const char *lacks, struct error *err)
{
    for (size_t i = 0; !items->count && i < count; i++)
        add_file(files, content[i].key, content[i].data, content[i].size, files->mode, VOLUME_FILE_NO_OWNER);
    for (size_t i = 0; i < items->count; i++) {
        const struct key_to_path *item = &items->items[i];
        const struct content *from = find_content(content, count, item->key);
        if (from)
            add_file(files, item->path, from->data, from->size, mode_of(item->mode, files->mode), VOLUME_FILE_NO_OWNER);
        else if (!optional)
            return error_set(err, ENOENT, "%s key: %s", lacks, item->key);
    }
    return 0;
}

static int add_config_map(struct files *files, const char *name, const struct key_to_path_array *items,
                          struct opt_bool may_lack, struct error *err)
{
    const struct environment_source *source = files->planner->source->pod;
    struct arena *arena = files->planner->arena;
    bool optional = may_lack.set && may_lack.value;
    struct object *o = source->config_map(source->context, name);
    if (!o)
        return optional ? 0 : error_set(err, ENOENT, "configmap \"%s\" not found", name);
    const struct config_map *map = o->value;
    size_t count = map->data.count + map->binary_data.count, n = 0;
    struct content *content = arena_alloc(arena, count * sizeof(*content));
    for (size_t i = 0; i < map->data.count; i++)
        content[n++] =
            (struct content){map->data.items[i].key, map->data.items[i].value, strlen(map->data.items[i].value)};
    for (size_t i = 0; i < map->binary_data.count; i++)
        content[n++] = (struct content){map->binary_data.items[i].key, map->binary_data.items[i].value.data,
                                        map->binary_data.items[i].value.size};
    return add_content(files, content, n, items, optional, "configmap references non-existent config", err);
}

static int add_secret(struct files *files, const char *name, const struct key_to_path_array *items,
                      struct opt_bool may_lack, struct error *err)
{
    const struct environment_source *source = files->planner->source->pod;
    struct arena *arena = files->planner->arena;
    bool optional = may_lack.set && may_lack.value;
    struct object *o = source->secret(source->context, name);
    if (!o)
        return optional ? 0 : error_set(err, ENOENT, "secret \"%s\" not found", name);
    const struct secret *secret = o->value;
    size_t count = secret->data.count;
    struct content *content = arena_alloc(arena, count * sizeof(*content));
    for (size_t i = 0; i < count; i++)
        content[i] = (struct content){secret->data.items[i].key, secret->data.items[i].value.data,
                                      secret->data.items[i].value.size};
    return add_content(files, content, count, items, optional, "references non-existent secret", err);
}

int volume_plan_config_map(const struct volume_planner *planner, const struct volume *volume, struct volume_item *out,
                           struct error *err)
{
    const struct config_map_volume_source *from = volume->config_map;
    struct files files = {.planner = planner, .mode = mode_of(from->default_mode, FILE_MODE_DEFAULT)};
    return finish(&files, add_config_map(&files, from->name, &from->items, from->optional, err), out);
}

int volume_plan_secret(const struct volume_planner *planner, const struct volume *volume, struct volume_item *out,
                       struct error *err)
{
    const struct secret_volume_source *from = volume->secret;
    struct files files = {.planner = planner, .mode = mode_of(from->default_mode, FILE_MODE_DEFAULT)};
    out->tmpfs = true;
    return finish(&files, add_secret(&files, from->secret_name, &from->items, from->optional, err), out);
}

/* ---- Fields of the pod ---- */

/* One line per pair, key="value", as upstream formats labels and annotations. */
static const char *format_map(struct arena *arena, const struct string_map *map)
{
    cleanup_buffer struct buffer out = {0};
    for (size_t i = 0; i < map->count; i++) {
        buffer_printf(&out, "%s%s=", i ? "\n" : "", map->items[i].key);
        go_quote(&out, map->items[i].value);
    }
    return arena_string_n(arena, out.data ? out.data : "", out.size);
}

static int downward_value(const struct volume_planner *planner, const struct downward_api_volume_file *file,
                          const char **out, struct error *err)
{
    const struct environment_source *source = planner->source->pod;
    const struct object_meta *meta = &planner->pod->metadata;
    if (file->resource_field_ref) {
        const struct resource_field_selector *s = file->resource_field_ref;
        const struct container *container = pod_find_container(planner->pod, s->container_name);
        if (!container)
            return error_set(err, ENOENT, "container %s not found", s->container_name ? s->container_name : "");
        return pod_resource_value(planner->arena, source, container, s->resource, s->divisor, out, err);
    }
    const char *path = file->field_ref->field_path;
    bool labels = strcmp(path, "metadata.labels") == 0;
    if (!labels && strcmp(path, "metadata.annotations") != 0)
        return pod_field_value(planner->arena, source, path, out, err);
    *out = format_map(planner->arena, labels ? &meta->labels : &meta->annotations);
    return 0;
}

static int add_downward_api(struct files *files, const struct downward_api_volume_file_array *items, struct error *err)
{
    for (size_t i = 0; i < items->count; i++) {
        const struct downward_api_volume_file *item = &items->items[i];
        const char *value;
        if (downward_value(files->planner, item, &value, err) < 0)
            return -1;
        add_file(files, item->path, value, strlen(value), mode_of(item->mode, files->mode), VOLUME_FILE_NO_OWNER);
    }
    return 0;
}

int volume_plan_downward_api(const struct volume_planner *planner, const struct volume *volume, struct volume_item *out,
                             struct error *err)
{
    const struct downward_api_volume_source *from = volume->downward_api;
    struct files files = {.planner = planner, .mode = mode_of(from->default_mode, FILE_MODE_DEFAULT)};
    out->tmpfs = true;
    return finish(&files, add_downward_api(&files, &from->items, err), out);
}

/* ---- Tokens ---- */

/* The user that all containers run as, if the spec says so: the one reader of a token. */
static bool one_user(const struct pod *pod, uid_t *out)
{
    const struct pod_security_context *all = pod->spec.security_context;
    const struct container_array *lists[] = {&pod->spec.init_containers, &pod->spec.containers};
    bool any = false;
    for (size_t l = 0; l < ARRAY_COUNT(lists); l++)
        for (size_t i = 0; i < lists[l]->count; i++) {
            const struct security_context *own = lists[l]->items[i].security_context;
            struct opt_int64 user = own && own->run_as_user.set ? own->run_as_user
                                    : all                       ? all->run_as_user
                                                                : (struct opt_int64){0};
            if (!user.set || (any && (uid_t)user.value != *out))
                return false;
            *out = (uid_t)user.value;
            any = true;
        }
    return any;
}

static int add_token(struct files *files, const struct service_account_token_projection *from, struct error *err)
{
    const struct volume_source *source = files->planner->source;
    uid_t owner = VOLUME_FILE_NO_OWNER;
    const char *token = source->token ? source->token(source->context, from, err)
                                      : (error_set(err, ENOTSUP, "there is no issuer of tokens"), NULL);
    if (!token)
        return -1;
    bool owned = one_user(files->planner->pod, &owner);
    const struct pod_security_context *security = files->planner->pod->spec.security_context;
    bool grouped = security && security->fs_group.set; /* the group's right to read is added with the group */
    add_file(files, from->path, token, strlen(token), owned || grouped ? TOKEN_MODE_OWNED : files->mode, owner);
    return 0;
}

/* ---- Projections ---- */

static int add_projection(struct files *files, const struct volume_projection *from, struct error *err)
{
    if (from->config_map)
        return add_config_map(files, from->config_map->name, &from->config_map->items, from->config_map->optional, err);
    if (from->secret)
        return add_secret(files, from->secret->name, &from->secret->items, from->secret->optional, err);
    if (from->downward_api)
        return add_downward_api(files, &from->downward_api->items, err);
    if (from->service_account_token)
        return add_token(files, from->service_account_token, err);
    if (from->cluster_trust_bundle && from->cluster_trust_bundle->optional.set &&
        from->cluster_trust_bundle->optional.value)
        return 0;
    return error_set(err, ENOTSUP, "this kind of projection is not supported yet");
}

int volume_plan_projected(const struct volume_planner *planner, const struct volume *volume, struct volume_item *out,
                          struct error *err)
{
    const struct projected_volume_source *from = volume->projected;
    struct files files = {.planner = planner, .mode = mode_of(from->default_mode, FILE_MODE_DEFAULT)};
    int result = 0;
    for (size_t i = 0; i < from->sources.count && result == 0; i++)
        result = add_projection(&files, &from->sources.items[i], err);
    out->tmpfs = true;
    return finish(&files, result, out);
}
