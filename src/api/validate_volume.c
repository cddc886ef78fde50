/* Rules for volumes and for where containers mount them. */
#include <stdlib.h>

#include "api/quantity.h"
#include "api/validate_parts.h"
#include "base/map.h"

#define TOKEN_EXPIRATION_MIN 600
#define TOKEN_EXPIRATION_MAX (INT64_C(1) << 32)

#define MODE_MESSAGE "must be a number between 0 and 0777 (octal), both inclusive"

static const char *const host_path_types[] = {"",     "BlockDevice",  "CharDevice", "Directory", "DirectoryOrCreate",
                                              "File", "FileOrCreate", "Socket",     NULL};
static const char *const mount_propagations[] = {"Bidirectional", "HostToContainer", "None", NULL};
static const char *const recursive_read_only[] = {"Disabled", "Enabled", "IfPossible", NULL};
static const char *const pull_policies[] = {"Always", "IfNotPresent", "Never", NULL};

static bool has_backstep(const char *text)
{
    for (const char *at = text; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || !at[2]))
            return true;
    }
    return false;
}

void validate_no_backsteps(struct api_field_errors *errors, const struct api_path *path, const char *text)
{
    if (has_backstep(text))
        field_invalid(errors, path, text, "must not contain '..'");
}

void validate_relative_path(struct api_field_errors *errors, const struct api_path *path, const char *text)
{
    if (text[0] == '/')
        field_invalid(errors, path, text, "must be a relative path");
    validate_no_backsteps(errors, path, text);
}

/* As above; names that begin with ".." belong to the atomic update of mounted files. */
static void validate_file_path(struct api_field_errors *errors, const struct api_path *path, const char *text)
{
    validate_relative_path(errors, path, text);
    if (strncmp(text, "..", 2) == 0 && strncmp(text, "../", 3) != 0 && text[2])
        field_invalid(errors, path, text, "must not start with '..'");
}

static void validate_mode(struct api_field_errors *errors, const struct api_path *path, const struct opt_int32 *mode)
{
    if (mode->set && (mode->value < 0 || mode->value > 0777))
        field_invalid_int(errors, path, mode->value, MODE_MESSAGE);
}

static void validate_name_required(struct api_field_errors *errors, const struct api_path *path, const char *value)
{
    if (text_empty(value))
        field_required(errors, path, NULL);
}

static void validate_items(struct api_field_errors *errors, const struct api_path *path,
                           const struct key_to_path_array *items)
{
    for (size_t i = 0; i < items->count; i++) {
        const struct key_to_path *item = &items->items[i];
        const struct api_path *at = PATH_INDEX(path, i);
        validate_name_required(errors, PATH(at, "key"), item->key);
        validate_name_required(errors, PATH(at, "path"), item->path);
        validate_file_path(errors, PATH(at, "path"), item->path ? item->path : "");
        validate_mode(errors, PATH(at, "mode"), &item->mode);
    }
}

static void validate_downward_file(struct api_field_errors *errors, const struct api_path *path,
                                   const struct downward_api_volume_file *file)
{
    validate_name_required(errors, PATH(path, "path"), file->path);
    validate_file_path(errors, PATH(path, "path"), file->path ? file->path : "");
    if (file->field_ref) {
        validate_field_selector(errors, PATH(path, "fieldRef"), file->field_ref, true);
        if (file->resource_field_ref)
            field_invalid(errors, path, "resource",
                          "fieldRef and resourceFieldRef can not be specified simultaneously");
    } else if (file->resource_field_ref) {
        validate_resource_field_selector(errors, PATH(path, "resourceFieldRef"), file->resource_field_ref, true);
    } else {
        field_required(errors, path, "one of fieldRef and resourceFieldRef is required");
    }
    validate_mode(errors, PATH(path, "mode"), &file->mode);
}

void validate_host_path(struct api_field_errors *errors, const struct api_path *path,
                        const struct host_path_volume_source *source)
{
    if (text_empty(source->path)) {
        field_required(errors, PATH(path, "path"), NULL);
        return;
    }
    validate_no_backsteps(errors, PATH(path, "path"), source->path);
    validate_optional_one_of(errors, PATH(path, "type"), source->type, host_path_types);
}

static void validate_empty_dir(struct api_field_errors *errors, const struct api_path *path,
                               const struct empty_dir_volume_source *source)
{
    if (source->size_limit && quantity_compare(source->size_limit, "0") < 0)
        field_forbidden(errors, PATH(path, "sizeLimit"), "SizeLimit field must be a valid resource quantity");
}

/* Notes a path in a projected volume; two sources may not write the same. */
static void claim_path(struct api_field_errors *errors, const struct api_path *path, struct map *seen, const char *text,
                       const char *shown)
{
    if (!text_empty(text) && map_set(seen, text, errors))
        field_invalid(errors, path, shown, "conflicting duplicate paths");
}

static void validate_token(struct api_field_errors *errors, const struct api_path *path,
                           const struct api_path *source_path, const struct service_account_token_projection *token)
{
    const struct api_path *seconds = PATH(source_path, "expirationSeconds");
    int64_t value = token->expiration_seconds.value;
    if (value < TOKEN_EXPIRATION_MIN)
        field_invalid_int(errors, seconds, value, "may not specify a duration less than 10 minutes");
    if (value > TOKEN_EXPIRATION_MAX)
        field_invalid_int(errors, seconds, value, "may not specify a duration larger than 2^32 seconds");
    if (text_empty(token->path))
        field_required(errors, PATH(path, "path"), NULL);
    else
        validate_file_path(errors, PATH(path, "path"), token->path);
}

static void validate_trust_bundle(struct api_field_errors *errors, const struct api_path *path,
                                  const struct cluster_trust_bundle_projection *bundle)
{
    if (bundle->name && bundle->signer_name)
        field_invalid_struct(errors, path, &api_type_cluster_trust_bundle_projection, bundle,
                             "only one of name and signerName may be used");
    else if (bundle->name && !*bundle->name)
        field_required(errors, PATH(path, "name"), "must be a valid object name");
    else if (bundle->signer_name && !*bundle->signer_name)
        field_required(errors, PATH(path, "signerName"), "must be a valid signer name");
    else if (!bundle->name && !bundle->signer_name)
        field_required(errors, path, "either name or signerName must be specified");
    validate_label_selector(errors, PATH(path, "labelSelector"), bundle->label_selector);
    validate_name_required(errors, PATH(path, "path"), bundle->path);
    validate_file_path(errors, PATH(path, "path"), bundle->path ? bundle->path : "");
}

static void validate_projection(struct api_field_errors *errors, const struct api_path *path,
                                const struct api_path *source_path, const struct volume_projection *s, struct map *seen)
{
    int sources = 0;
    if (s->secret && ++sources) {
        const struct api_path *at = PATH(source_path, "secret");
        validate_name_required(errors, PATH(at, "name"), s->secret->name);
        validate_items(errors, PATH(at, "items"), &s->secret->items);
        for (size_t i = 0; i < s->secret->items.count; i++)
            claim_path(errors, path, seen, s->secret->items.items[i].path, s->secret->name);
    }
    if (s->config_map && ++sources) {
        const struct api_path *at = PATH(source_path, "configMap");
        validate_name_required(errors, PATH(at, "name"), s->config_map->name);
        validate_items(errors, PATH(at, "items"), &s->config_map->items);
        for (size_t i = 0; i < s->config_map->items.count; i++)
            claim_path(errors, path, seen, s->config_map->items.items[i].path, s->config_map->name);
    }
    if (s->downward_api && ++sources)
        for (size_t i = 0; i < s->downward_api->items.count; i++) {
            const struct downward_api_volume_file *file = &s->downward_api->items.items[i];
            validate_downward_file(errors, PATH(source_path, "downwardAPI"), file);
            claim_path(errors, path, seen, file->path, file->path);
        }
    if (s->service_account_token && ++sources)
        validate_token(errors, path, PATH(source_path, "serviceAccountToken"), s->service_account_token);
    if (s->cluster_trust_bundle && ++sources) {
        validate_trust_bundle(errors, PATH(source_path, "clusterTrustBundle"), s->cluster_trust_bundle);
        claim_path(errors, path, seen, s->cluster_trust_bundle->path, s->cluster_trust_bundle->path);
    }
    if (s->pod_certificate && ++sources) {
        const struct api_path *at = PATH(source_path, "podCertificate");
        validate_name_required(errors, PATH(at, "signerName"), s->pod_certificate->signer_name);
        validate_name_required(errors, PATH(at, "keyType"), s->pod_certificate->key_type);
    }
    if (sources > 1)
        field_forbidden(errors, source_path, "may not specify more than 1 volume type per source");
}

static void validate_projected(struct api_field_errors *errors, const struct api_path *path,
                               const struct projected_volume_source *source)
{
    struct map seen = {0};
    validate_mode(errors, PATH(path, "defaultMode"), &source->default_mode);
    for (size_t i = 0; i < source->sources.count; i++)
        validate_projection(errors, path, PATH_INDEX(PATH(path, "sources"), i), &source->sources.items[i], &seen);
    map_free(&seen);
}

static void validate_claim_template(struct api_field_errors *errors, const struct api_path *path,
                                    const struct persistent_volume_claim_template *template)
{
    const struct api_path *at = PATH(path, "volumeClaimTemplate");
    if (template)
        validate_claim_spec(errors, PATH(at, "spec"), &template->spec);
    else
        field_required(errors, at, NULL);
}

static void validate_csi(struct api_field_errors *errors, const struct api_path *path,
                         const struct csi_volume_source *source)
{
    validate_name_required(errors, PATH(path, "driver"), source->driver);
    if (source->node_publish_secret_ref)
        validate_name_required(errors, PATH(PATH(path, "nodePublishSecretRef"), "name"),
                               source->node_publish_secret_ref->name);
}

void validate_nfs(struct api_field_errors *errors, const struct api_path *path, const struct nfs_volume_source *source)
{
    validate_name_required(errors, PATH(path, "server"), source->server);
    validate_name_required(errors, PATH(path, "path"), source->path);
    if (text_empty(source->path) || source->path[0] != '/')
        field_invalid(errors, PATH(path, "path"), source->path, "must be an absolute path");
}

static void validate_iscsi(struct api_field_errors *errors, const struct api_path *path,
                           const struct iscsi_volume_source *source)
{
    validate_name_required(errors, PATH(path, "targetPortal"), source->target_portal);
    validate_name_required(errors, PATH(path, "iqn"), source->iqn);
    if (!text_empty(source->iqn) && strncmp(source->iqn, "iqn", 3) != 0 && strncmp(source->iqn, "eui", 3) != 0 &&
        strncmp(source->iqn, "naa", 3) != 0)
        field_invalid(errors, PATH(path, "iqn"), source->iqn, "must be valid format starting with iqn, eui, or naa");
    validate_range(errors, PATH(path, "lun"), source->lun, 0, 255);
    if ((source->chap_auth_discovery || source->chap_auth_session) && !source->secret_ref)
        field_required(errors, PATH(path, "secretRef"), NULL);
}

void validate_foreign_source(struct api_field_errors *errors, const struct api_path *path, const struct api_type *type,
                             const void *source)
{
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct api_field *f = &type->fields[i];
        if (!(f->flags & API_REQUIRED))
            continue;
        const char *at = (const char *)source + f->offset;
        bool missing = f->shape == API_ARRAY      ? !((const struct any_array *)(const void *)at)->count
                       : f->kind == API_STRING    ? text_empty(*(const char *const *)(const void *)at)
                       : f->shape == API_OPTIONAL ? !*(void *const *)(const void *)at
                                                  : false;
        if (missing)
            field_required(errors, PATH(path, f->name), NULL);
    }
}

/* Checks the one source that is set: the first in the order of the description. */
static void validate_source(struct api_field_errors *errors, const struct api_path *path, const struct volume *v)
{
    if (v->empty_dir)
        validate_empty_dir(errors, PATH(path, "emptyDir"), v->empty_dir);
    if (v->host_path)
        validate_host_path(errors, PATH(path, "hostPath"), v->host_path);
    if (v->config_map) {
        const struct api_path *at = PATH(path, "configMap");
        validate_name_required(errors, PATH(at, "name"), v->config_map->name);
        validate_mode(errors, PATH(at, "defaultMode"), &v->config_map->default_mode);
        validate_items(errors, PATH(at, "items"), &v->config_map->items);
    }
    if (v->secret) {
        const struct api_path *at = PATH(path, "secret");
        validate_name_required(errors, PATH(at, "secretName"), v->secret->secret_name);
        validate_mode(errors, PATH(at, "defaultMode"), &v->secret->default_mode);
        validate_items(errors, PATH(at, "items"), &v->secret->items);
    }
    if (v->downward_api) {
        const struct api_path *at = PATH(path, "downwardAPI");
        validate_mode(errors, PATH(at, "defaultMode"), &v->downward_api->default_mode);
        for (size_t i = 0; i < v->downward_api->items.count; i++)
            validate_downward_file(errors, at, &v->downward_api->items.items[i]);
    }
    if (v->projected)
        validate_projected(errors, PATH(path, "projected"), v->projected);
    if (v->persistent_volume_claim)
        validate_name_required(errors, PATH(PATH(path, "persistentVolumeClaim"), "claimName"),
                               v->persistent_volume_claim->claim_name);
    if (v->ephemeral)
        validate_claim_template(errors, PATH(path, "ephemeral"), v->ephemeral->volume_claim_template);
    if (v->csi)
        validate_csi(errors, PATH(path, "csi"), v->csi);
    if (v->nfs)
        validate_nfs(errors, PATH(path, "nfs"), v->nfs);
    if (v->iscsi)
        validate_iscsi(errors, PATH(path, "iscsi"), v->iscsi);
    if (v->image) {
        const struct api_path *at = PATH(path, "image");
        if (text_empty(v->image->reference))
            field_required(errors, PATH(at, "reference"), NULL);
        if (v->image->pull_policy)
            validate_one_of(errors, PATH(at, "pullPolicy"), v->image->pull_policy, pull_policies);
    }
    if (v->git_repo) {
        validate_name_required(errors, PATH(PATH(path, "gitRepo"), "repository"), v->git_repo->repository);
        validate_relative_path(errors, PATH(PATH(path, "gitRepo"), "directory"),
                               v->git_repo->directory ? v->git_repo->directory : "");
    }
}

static const char *const sources_with_rules[] = {
    "emptyDir",  "hostPath", "configMap", "secret", "downwardAPI", "projected", "persistentVolumeClaim",
    "ephemeral", "csi",      "nfs",       "iscsi",  "image",       "gitRepo",   NULL};

static void validate_volume(struct api_field_errors *errors, const struct api_path *path, const struct volume *v)
{
    int sources = 0;
    for (uint32_t i = 0; i < api_type_volume.field_count; i++) {
        const struct api_field *f = &api_type_volume.fields[i];
        if (f->kind != API_STRUCT)
            continue;
        const void *source = *(void *const *)(const void *)((const char *)v + f->offset);
        if (!source)
            continue;
        if (sources++)
            field_forbidden(errors, PATH(path, f->name), "may not specify more than 1 volume type");
        else if (!validate_is_one_of(f->name, sources_with_rules))
            validate_foreign_source(errors, PATH(path, f->name), f->type, source);
    }
    if (!sources)
        field_required(errors, path, "must specify a volume type");
    if (sources == 1)
        validate_source(errors, path, v);
}

void validate_volumes(struct api_field_errors *errors, const struct api_path *path, const struct volume_array *volumes)
{
    cleanup_name_set struct name_set names = {0};
    for (size_t i = 0; i < volumes->count; i++) {
        const struct volume *v = &volumes->items[i];
        const struct api_path *at = PATH_INDEX(path, i);
        validate_volume(errors, at, v);
        if (text_empty(v->name))
            field_required(errors, PATH(at, "name"), NULL);
        else if (field_format(errors, PATH(at, "name"), v->name, format_dns_label) && !name_set_add(&names, v->name))
            field_duplicate(errors, PATH(at, "name"), v->name);
    }
}

static void validate_mount_propagation(struct api_field_errors *errors, const struct api_path *path,
                                       const struct volume_mount *mount, const struct container *container)
{
    if (!mount->mount_propagation)
        return;
    validate_optional_one_of(errors, path, mount->mount_propagation, mount_propagations);
    bool privileged = container->security_context && is_true(container->security_context->privileged);
    if (text_equal(mount->mount_propagation, "Bidirectional") && !privileged)
        field_forbidden(errors, path, "Bidirectional mount propagation is available only to privileged containers");
}

static void validate_recursive_read_only(struct api_field_errors *errors, const struct api_path *path,
                                         const struct volume_mount *mount)
{
    if (!mount->recursive_read_only || text_equal(mount->recursive_read_only, "Disabled"))
        return;
    if (!validate_is_one_of(mount->recursive_read_only, recursive_read_only)) {
        field_not_supported(errors, path, mount->recursive_read_only, recursive_read_only);
        return;
    }
    if (!mount->read_only)
        field_forbidden(errors, path, "may only be specified when readOnly is true");
    if (mount->mount_propagation && !text_equal(mount->mount_propagation, "None"))
        field_forbidden(errors, path, "may only be specified when mountPropagation is None or not specified");
}

void validate_volume_mounts(struct api_field_errors *errors, const struct api_path *path,
                            const struct container *container, const struct map *volumes)
{
    const struct volume_mount_array *mounts = &container->volume_mounts;
    cleanup_name_set struct name_set paths = {0}, device_names = {0}, device_paths = {0};
    for (size_t i = 0; i < container->volume_devices.count; i++) {
        name_set_add(&device_names, container->volume_devices.items[i].name);
        name_set_add(&device_paths, container->volume_devices.items[i].device_path);
    }
    for (size_t i = 0; i < mounts->count; i++) {
        const struct volume_mount *m = &mounts->items[i];
        const struct api_path *at = PATH_INDEX(path, i);
        const struct volume *volume = map_get(volumes, m->name ? m->name : "");
        if (text_empty(m->name))
            field_required(errors, PATH(at, "name"), NULL);
        if (!volume)
            field_not_found(errors, PATH(at, "name"), m->name);
        if (text_empty(m->mount_path))
            field_required(errors, PATH(at, "mountPath"), NULL);
        if (!name_set_add(&paths, m->mount_path))
            field_invalid(errors, PATH(at, "mountPath"), m->mount_path, "must be unique");
        if (name_set_has(&device_names, m->name))
            field_invalid(errors, PATH(at, "name"), m->name, "must not already exist in volumeDevices");
        if (name_set_has(&device_paths, m->mount_path))
            field_invalid(errors, PATH(at, "mountPath"), m->mount_path,
                          "must not already exist as a path in volumeDevices");
        if (!text_empty(m->sub_path))
            validate_relative_path(errors, PATH(path, "subPath"), m->sub_path);
        if (!text_empty(m->sub_path_expr)) {
            if (!text_empty(m->sub_path))
                field_invalid(errors, PATH(at, "subPathExpr"), m->sub_path_expr,
                              "subPathExpr and subPath are mutually exclusive");
            validate_relative_path(errors, PATH(path, "subPathExpr"), m->sub_path_expr);
        }
        validate_mount_propagation(errors, PATH(path, "mountPropagation"), m, container);
        validate_recursive_read_only(errors, PATH(path, "recursiveReadOnly"), m);
    }
}

void validate_volume_devices(struct api_field_errors *errors, const struct api_path *path,
                             const struct container *container, const struct map *volumes)
{
    const struct volume_device_array *devices = &container->volume_devices;
    cleanup_name_set struct name_set names = {0}, paths = {0}, mount_names = {0}, mount_paths = {0};
    for (size_t i = 0; devices->count && i < container->volume_mounts.count; i++) {
        name_set_add(&mount_names, container->volume_mounts.items[i].name);
        name_set_add(&mount_paths, container->volume_mounts.items[i].mount_path);
    }
    for (size_t i = 0; i < devices->count; i++) {
        const struct volume_device *d = &devices->items[i];
        const struct api_path *at = PATH_INDEX(path, i);
        const struct volume *volume = map_get(volumes, d->name ? d->name : "");
        if (text_empty(d->name))
            field_required(errors, PATH(at, "name"), NULL);
        if (!text_empty(d->name) && !name_set_add(&names, d->name))
            field_invalid(errors, PATH(at, "name"), d->name, "must be unique");
        if (!name_set_add(&paths, d->device_path))
            field_invalid(errors, PATH(at, "devicePath"), d->device_path, "must be unique");
        if (volume && !volume->persistent_volume_claim && !volume->ephemeral)
            field_invalid(errors, PATH(at, "name"), d->name,
                          "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
        if (!volume)
            field_not_found(errors, PATH(at, "name"), d->name);
        if (text_empty(d->device_path))
            field_required(errors, PATH(at, "devicePath"), NULL);
        else if (has_backstep(d->device_path))
            field_invalid(errors, PATH(at, "devicePath"), d->device_path, "can not contain backsteps ('..')");
        if (name_set_has(&mount_names, d->name))
            field_invalid(errors, PATH(at, "name"), d->name, "must not already exist in volumeMounts");
        if (name_set_has(&mount_paths, d->device_path))
            field_invalid(errors, PATH(at, "devicePath"), d->device_path,
                          "must not already exist as a path in volumeMounts");
    }
}
