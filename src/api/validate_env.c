/* Rules for environment variables and the fields that they refer to. */
#include <ctype.h>

#include "api/quantity.h"
#include "api/validate_parts.h"

/* What fieldRef may name; the labels and annotations also with a subscript. */
static const char *const env_fields[] = {
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs", NULL};
static const char *const volume_fields[] = {"metadata.annotations", "metadata.labels", "metadata.name",
                                            "metadata.namespace",   "metadata.uid",    NULL};
static const char *const container_resources[] = {"limits.cpu",
                                                  "limits.ephemeral-storage",
                                                  "limits.memory",
                                                  "requests.cpu",
                                                  "requests.ephemeral-storage",
                                                  "requests.memory",
                                                  NULL};
static const char *const binary_divisors[] = {"1",   "1k",  "1M",  "1G",  "1T",  "1P",  "1E",
                                              "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei", NULL};
static const char *const cpu_divisors[] = {"1m", "1", NULL};

/* Splits "metadata.labels['key']". Returns whether there is a subscript. */
static bool split_subscript(struct arena *arena, const char *text, const char **path, const char **subscript)
{
    size_t n = strlen(text);
    const char *open = strstr(text, "['");
    if (!open || open == text || text + n < open + 4 || strcmp(text + n - 2, "']") != 0)
        return false;
    *path = arena_string_n(arena, text, (size_t)(open - text));
    *subscript = arena_string_n(arena, open + 2, (size_t)(text + n - 2 - (open + 2)));
    return true;
}

/* The fields that exist at all; upstream refuses others before it asks where they are used. */
static bool is_known_field(const char *path, bool has_subscript)
{
    static const char *const more[] = {"metadata.annotations", "metadata.labels",    "spec.restartPolicy",
                                       "status.phase",         "spec.schedulerName", NULL};
    if (has_subscript)
        return text_equal(path, "metadata.annotations") || text_equal(path, "metadata.labels");
    return validate_is_one_of(path, env_fields) || validate_is_one_of(path, more);
}

void validate_field_selector(struct api_field_errors *errors, const struct api_path *path,
                             const struct object_field_selector *selector, bool in_volume)
{
    const struct api_path *field = PATH(path, "fieldPath");
    if (text_empty(selector->api_version)) {
        field_required(errors, PATH(path, "apiVersion"), NULL);
        return;
    }
    if (text_empty(selector->field_path)) {
        field_required(errors, field, NULL);
        return;
    }
    const char *name = selector->field_path, *subscript = NULL;
    bool has_subscript = split_subscript(errors->arena, selector->field_path, &name, &subscript);
    if (!text_equal(selector->api_version, "v1")) {
        field_invalid(errors, field, selector->field_path,
                      arena_printf(errors->arena, "error converting fieldPath: unsupported pod version: %s",
                                   selector->api_version));
    } else if (!is_known_field(name, has_subscript)) {
        field_invalid(errors, field, selector->field_path,
                      arena_printf(errors->arena, "error converting fieldPath: field label not supported: %s",
                                   selector->field_path));
    } else if (has_subscript) {
        char *key = arena_string(errors->arena, subscript);
        for (char *c = key; text_equal(name, "metadata.annotations") && *c; c++)
            *c = (char)tolower((unsigned char)*c);
        field_format(errors, path, key, format_qualified_name);
    } else if (!validate_is_one_of(name, in_volume ? volume_fields : env_fields)) {
        field_not_supported(errors, field, name, in_volume ? volume_fields : env_fields);
    }
}

static void validate_divisor(struct api_field_errors *errors, const struct api_path *path, const char *resource,
                             const char *divisor)
{
    static const char binary_list[] = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    if (!divisor || quantity_compare(divisor, "0") == 0)
        return;
    const char *dot = strchr(resource, '.');
    const char *name = dot ? dot + 1 : "";
    const char *const *allowed = text_equal(name, "cpu") ? cpu_divisors : binary_divisors;
    const char *list = text_equal(name, "cpu") ? "1m and 1" : binary_list;
    const char *title = text_equal(name, "cpu") || text_equal(name, "memory") ? name
                        : text_equal(name, "ephemeral-storage")               ? "local ephemeral storage"
                        : strncmp(name, "hugepages-", 10) == 0                ? "hugepages"
                                                                              : NULL;
    if (title && !validate_is_one_of(divisor, allowed))
        field_invalid(
            errors, PATH(path, "divisor"), resource,
            arena_printf(errors->arena, "only divisor's values %s are supported with the %s resource", list, title));
}

void validate_resource_field_selector(struct api_field_errors *errors, const struct api_path *path,
                                      const struct resource_field_selector *selector, bool in_volume)
{
    const char *resource = selector->resource ? selector->resource : "";
    if (in_volume && text_empty(selector->container_name))
        field_required(errors, PATH(path, "containerName"), NULL);
    else if (!*resource)
        field_required(errors, PATH(path, "resource"), NULL);
    else if (!validate_is_one_of(resource, container_resources) && strncmp(resource, "requests.hugepages-", 19) != 0 &&
             strncmp(resource, "limits.hugepages-", 17) != 0)
        field_not_supported(errors, PATH(path, "resource"), resource, container_resources);
    validate_divisor(errors, path, resource, selector->divisor);
}

static void validate_key_selector(struct api_field_errors *errors, const struct api_path *path, const char *name,
                                  const char *key)
{
    field_format(errors, PATH(path, "name"), name, format_dns_subdomain);
    if (text_empty(key))
        field_required(errors, PATH(path, "key"), NULL);
    else
        field_format(errors, PATH(path, "key"), key, format_config_key);
}

/* What the file is in has to be there, and of a sort that lives no longer than the pod. */
static void validate_file_volume(struct api_field_errors *errors, const struct api_path *path, const char *name,
                                 const struct map *volumes)
{
    const struct volume *volume = map_get(volumes, name);
    field_format(errors, path, name, format_dns_label);
    if (!volume)
        field_not_found(errors, path, name);
    else if (!volume->empty_dir)
        field_invalid(errors, path, name, "referenced volume must be of type emptyDir");
}

static void validate_file_key(struct api_field_errors *errors, const struct api_path *path,
                              const struct file_key_selector *file, const struct map *volumes)
{
    if (text_empty(file->key))
        field_required(errors, PATH(path, "key"), NULL);
    else
        field_format(errors, PATH(path, "key"), file->key, format_env_name);
    if (text_empty(file->volume_name))
        field_required(errors, PATH(path, "volumeName"), NULL);
    else
        validate_file_volume(errors, PATH(path, "volumeName"), file->volume_name, volumes);
    if (text_empty(file->path))
        field_required(errors, PATH(path, "path"), NULL);
    else
        validate_relative_path(errors, PATH(path, "path"), file->path);
}

static void validate_value_from(struct api_field_errors *errors, const struct api_path *path,
                                const struct env_var *variable, const struct map *volumes)
{
    const struct env_var_source *from = variable->value_from;
    int sources = 0;
    if (!from)
        return;
    if (from->field_ref && ++sources)
        validate_field_selector(errors, PATH(path, "fieldRef"), from->field_ref, false);
    if (from->resource_field_ref && ++sources)
        validate_resource_field_selector(errors, PATH(path, "resourceFieldRef"), from->resource_field_ref, false);
    if (from->config_map_key_ref && ++sources)
        validate_key_selector(errors, PATH(path, "configMapKeyRef"), from->config_map_key_ref->name,
                              from->config_map_key_ref->key);
    if (from->secret_key_ref && ++sources)
        validate_key_selector(errors, PATH(path, "secretKeyRef"), from->secret_key_ref->name,
                              from->secret_key_ref->key);
    if (from->file_key_ref && ++sources)
        validate_file_key(errors, PATH(path, "fileKeyRef"), from->file_key_ref, volumes);
    if (!sources)
        field_invalid(errors, path, "",
                      "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or "
                      "`fileKeyRef`");
    else if (!text_empty(variable->value))
        field_invalid(errors, path, "", "may not be specified when `value` is not empty");
    else if (sources > 1)
        field_invalid(errors, path, "", "may not have more than one field specified at a time");
}

void validate_env(struct api_field_errors *errors, const struct api_path *path, const struct env_var_array *env,
                  const struct map *volumes)
{
    for (size_t i = 0; i < env->count; i++) {
        const struct api_path *at = PATH_INDEX(path, i);
        if (text_empty(env->items[i].name))
            field_required(errors, PATH(at, "name"), NULL);
        else
            field_format(errors, PATH(at, "name"), env->items[i].name, format_env_name);
        validate_value_from(errors, PATH(at, "valueFrom"), &env->items[i], volumes);
    }
}

static void validate_source_name(struct api_field_errors *errors, const struct api_path *path, const char *name)
{
    if (text_empty(name))
        field_required(errors, PATH(path, "name"), NULL);
    else
        validate_generate_name(errors, PATH(path, "name"), name, format_dns_subdomain);
}

void validate_env_from(struct api_field_errors *errors, const struct api_path *path,
                       const struct env_from_source_array *env_from)
{
    for (size_t i = 0; i < env_from->count; i++) {
        const struct env_from_source *e = &env_from->items[i];
        const struct api_path *at = PATH_INDEX(path, i);
        if (!text_empty(e->prefix))
            field_format(errors, PATH(at, "prefix"), e->prefix, format_env_name);
        if (e->config_map_ref)
            validate_source_name(errors, PATH(at, "configMapRef"), e->config_map_ref->name);
        if (e->secret_ref)
            validate_source_name(errors, PATH(at, "secretRef"), e->secret_ref->name);
        if (!e->config_map_ref && !e->secret_ref)
            field_invalid(errors, path, "", "must specify one of: `configMapRef` or `secretRef`");
        else if (e->config_map_ref && e->secret_ref)
            field_invalid(errors, path, "", "may not have more than one field specified at a time");
    }
}
