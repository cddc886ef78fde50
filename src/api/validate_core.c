/* Rules for namespaces, nodes, Secrets, ConfigMaps and Leases. */
#include <errno.h>
#include <stdlib.h>

#include "api/json.h"
#include "api/json_text.h"
#include "api/validate_parts.h"
#include "base/cleanup.h"

void validate_namespace(struct api_field_errors *errors, const void *value)
{
    const struct namespace *n = value;
    const struct api_path *path = PATH(PATH(NULL, "spec"), "finalizers");
    for (size_t i = 0; i < n->spec.finalizers.count; i++) {
        field_format(errors, path, n->spec.finalizers.items[i], format_qualified_name);
        validate_finalizer(errors, path, n->spec.finalizers.items[i]);
    }
}

void validate_namespace_status_update(struct api_field_errors *errors, const void *value, const void *old)
{
    (void)old;
    const struct namespace *n = value;
    bool ends = n->metadata.deletion_timestamp != 0;
    if (!text_equal(n->status.phase, ends ? "Terminating" : "Active"))
        field_invalid(errors, PATH(PATH(NULL, "status"), "Phase"), n->status.phase,
                      ends ? "may only be 'Terminating' if `deletionTimestamp` is not empty"
                           : "may only be 'Active' if `deletionTimestamp` is empty");
}

static void validate_quantities(struct api_field_errors *errors, const struct api_path *path,
                                const struct string_map *map)
{
    for (size_t i = 0; i < map->count; i++)
        validate_resource_quantity(errors, PATH(path, map->items[i].key), map->items[i].key, map->items[i].value);
}

/* One range, or one of each family. */
static void validate_pod_cidrs(struct api_field_errors *errors, const struct api_path *path,
                               const struct string_array *cidrs)
{
    struct format_cidr a, b;
    for (size_t i = 0; i < cidrs->count; i++)
        validate_cidr(errors, PATH_INDEX(path, i), cidrs->items[i]);
    if (cidrs->count < 2)
        return;
    bool dual_stack =
        format_cidr_parse(cidrs->items[0], &a) && format_cidr_parse(cidrs->items[1], &b) && a.family != b.family;
    if (!dual_stack || cidrs->count > 2)
        field_invalid_strings(errors, path, cidrs, "may specify no more than one CIDR for each IP family");
    cleanup_name_set struct name_set seen = {0};
    for (size_t i = 0; i < cidrs->count; i++)
        if (!name_set_add_format(&seen, "%s", cidrs->items[i]))
            field_duplicate(errors, PATH_INDEX(path, i), cidrs->items[i]);
}

void validate_node(struct api_field_errors *errors, const void *value)
{
    const struct node *n = value;
    const struct api_path *status = PATH(NULL, "status"), *cidrs = PATH(PATH(NULL, "spec"), "podCIDRs");
    validate_taints(errors, PATH(PATH(NULL, "metadata"), "taints"), &n->spec.taints);
    validate_quantities(errors, PATH(status, "capacity"), &n->status.capacity);
    validate_quantities(errors, PATH(status, "allocatable"), &n->status.allocatable);
    validate_pod_cidrs(errors, cidrs, &n->spec.pod_cidrs);
}

void validate_node_update(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct node *n = value, *old = old_value;
    const struct api_path *spec = PATH(NULL, "spec");
    const struct api_path *addresses = PATH(PATH(NULL, "status"), "addresses");
    cleanup_name_set struct name_set seen = {0};
    for (size_t i = 0; i < n->status.addresses.count; i++) {
        const struct node_address *a = &n->status.addresses.items[i];
        if (!name_set_add_format(&seen, "%s/%s", a->type ? a->type : "", a->address ? a->address : ""))
            field_duplicate_struct(errors, PATH_INDEX(addresses, i), &api_type_node_address, a, NULL);
    }
    bool same = n->spec.pod_cidrs.count == old->spec.pod_cidrs.count;
    for (size_t i = 0; same && i < old->spec.pod_cidrs.count; i++)
        same = text_equal(n->spec.pod_cidrs.items[i], old->spec.pod_cidrs.items[i]);
    if (old->spec.pod_cidrs.count && !same)
        field_forbidden(errors, PATH(spec, "podCIDRs"),
                        "node updates may not change podCIDR except from \"\" to valid");
    if (!text_empty(old->spec.provider_id) && !text_equal(n->spec.provider_id, old->spec.provider_id))
        field_forbidden(errors, PATH(spec, "providerID"),
                        "node updates may not change providerID except from \"\" to valid");
    if (!text_equal(n->spec.external_id, old->spec.external_id))
        field_forbidden(errors, PATH(spec, "externalID"), "may not be updated");
}

static const struct bytes *find_data(const struct secret *s, const char *key)
{
    for (size_t i = 0; i < s->data.count; i++)
        if (text_equal(s->data.items[i].key, key))
            return &s->data.items[i].value;
    return NULL;
}

static void require_data(struct api_field_errors *errors, const struct secret *s, const char *key)
{
    if (!find_data(s, key))
        field_required(errors, PATH_KEY(PATH(NULL, "data"), key), NULL);
}

/* What Go calls a JSON value that does not fit into a map, by its first character; NULL: it does, as null does too. */
static const char *misfit(char first)
{
    switch (first) {
    case '{':
    case 'n':
        return NULL;
    case '[':
        return "array";
    case '"':
        return "string";
    case 't':
    case 'f':
        return "bool";
    default:
        return "number";
    }
}

static void require_json_object(struct api_field_errors *errors, const struct secret *s, const char *key)
{
    const struct bytes *data = find_data(s, key);
    require_data(errors, s, key);
    if (!data)
        return;
    struct error problem;
    const char *text = (const char *)data->data, *kind = NULL;
    if (json_check_syntax(text, data->size, &problem) == 0) {
        kind = misfit(text[strspn(text, " \t\r\n")]);
        if (!kind)
            return;
        error_set(&problem, EINVAL, "json: cannot unmarshal %s into Go value of type map[string]interface {}", kind);
    }
    field_invalid(errors, PATH_KEY(PATH(NULL, "data"), key), "<secret contents redacted>", problem.text);
}

/* What the types that upstream knows demand of the data. */
static void validate_secret_type(struct api_field_errors *errors, const struct secret *s)
{
    static const char account[] = "kubernetes.io/service-account.name";
    if (text_equal(s->type, "kubernetes.io/service-account-token")) {
        if (text_empty(string_map_get(&s->metadata.annotations, account)))
            field_required(errors, PATH_KEY(PATH(PATH(NULL, "metadata"), "annotations"), account), NULL);
    } else if (text_equal(s->type, "kubernetes.io/dockercfg")) {
        require_json_object(errors, s, ".dockercfg");
    } else if (text_equal(s->type, "kubernetes.io/dockerconfigjson")) {
        require_json_object(errors, s, ".dockerconfigjson");
    } else if (text_equal(s->type, "kubernetes.io/basic-auth")) {
        if (!find_data(s, "username") && !find_data(s, "password")) {
            require_data(errors, s, "username");
            require_data(errors, s, "password");
        }
    } else if (text_equal(s->type, "kubernetes.io/ssh-auth")) {
        const struct bytes *key = find_data(s, "ssh-privatekey");
        if (!key || !key->size)
            field_required(errors, PATH_KEY(PATH(NULL, "data"), "ssh-privatekey"), NULL);
    } else if (text_equal(s->type, "kubernetes.io/tls")) {
        require_data(errors, s, "tls.crt");
        require_data(errors, s, "tls.key");
    }
}

void validate_secret(struct api_field_errors *errors, const void *value)
{
    const struct secret *s = value;
    const struct api_path *data = PATH(NULL, "data");
    size_t total = 0;
    for (size_t i = 0; i < s->data.count; i++) {
        field_format(errors, PATH_KEY(data, s->data.items[i].key), s->data.items[i].key, format_config_key);
        total += s->data.items[i].value.size;
    }
    if (total > VALIDATE_DATA_MAX)
        field_too_long(errors, data, VALIDATE_DATA_MAX);
    validate_secret_type(errors, s);
}

static bool same_bytes(const struct bytes_map *a, const struct bytes_map *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct bytes_pair *x = &a->items[i], *y = &b->items[i];
        if (!text_equal(x->key, y->key) || x->value.size != y->value.size ||
            (x->value.size && memcmp(x->value.data, y->value.data, x->value.size) != 0))
            return false;
    }
    return true;
}

static const char when_immutable[] = "field is immutable when `immutable` is set";

void validate_secret_update(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct secret *s = value, *old = old_value;
    validate_string_unchanged(errors, PATH(NULL, "type"), s->type, old->type);
    if (!is_true(old->immutable))
        return;
    if (!is_true(s->immutable))
        field_forbidden(errors, PATH(NULL, "immutable"), when_immutable);
    if (!same_bytes(&s->data, &old->data))
        field_forbidden(errors, PATH(NULL, "data"), when_immutable);
}

void validate_config_map(struct api_field_errors *errors, const void *value)
{
    const struct config_map *c = value;
    size_t total = 0, k = 0;
    for (size_t i = 0; i < c->data.count; i++) {
        const struct string_pair *p = &c->data.items[i];
        const struct api_path *at = PATH_KEY(PATH(NULL, "data"), p->key);
        field_format(errors, at, p->key, format_config_key);
        while (k < c->binary_data.count && strcmp(c->binary_data.items[k].key, p->key) < 0)
            k++;
        if (k < c->binary_data.count && text_equal(c->binary_data.items[k].key, p->key))
            field_invalid(errors, at, p->key, "duplicate of key present in binaryData");
        total += p->value ? strlen(p->value) : 0;
    }
    for (size_t i = 0; i < c->binary_data.count; i++) {
        const struct bytes_pair *p = &c->binary_data.items[i];
        field_format(errors, PATH_KEY(PATH(NULL, "binaryData"), p->key), p->key, format_config_key);
        total += p->value.size;
    }
    if (total > VALIDATE_DATA_MAX)
        field_too_long(errors, PATH(NULL, ""), VALIDATE_DATA_MAX);
}

void validate_config_map_update(struct api_field_errors *errors, const void *value, const void *old_value)
{
    const struct config_map *c = value, *old = old_value;
    if (!is_true(old->immutable))
        return;
    if (!is_true(c->immutable))
        field_forbidden(errors, PATH(NULL, "immutable"), when_immutable);
    if (!string_map_equal(&c->data, &old->data))
        field_forbidden(errors, PATH(NULL, "data"), when_immutable);
    if (!same_bytes(&c->binary_data, &old->binary_data))
        field_forbidden(errors, PATH(NULL, "binaryData"), when_immutable);
}

void validate_lease(struct api_field_errors *errors, const void *value)
{
    const struct lease_spec *spec = &((const struct lease *)value)->spec;
    const struct api_path *path = PATH(NULL, "spec");
    if (spec->lease_duration_seconds.set && spec->lease_duration_seconds.value <= 0)
        field_invalid_int(errors, PATH(path, "leaseDurationSeconds"), spec->lease_duration_seconds.value,
                          "must be greater than 0");
    if (spec->lease_transitions.set)
        validate_nonnegative(errors, PATH(path, "leaseTransitions"), spec->lease_transitions.value);
    if (spec->preferred_holder && text_empty(spec->strategy))
        field_forbidden(errors, PATH(path, "preferredHolder"), "may only be specified when `strategy` is defined");
}
