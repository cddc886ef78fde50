/* Rules for resource names and quantities. */
#include <stdio.h>

#include "api/pod_resources.h"
#include "api/quantity.h"
#include "api/resource_name.h"
#include "api/validate_parts.h"

static const char *const standard[] = {"cpu",
                                       "memory",
                                       "ephemeral-storage",
                                       "requests.cpu",
                                       "requests.memory",
                                       "requests.ephemeral-storage",
                                       "limits.cpu",
                                       "limits.memory",
                                       "limits.ephemeral-storage",
                                       "pods",
                                       "resourcequotas",
                                       "services",
                                       "replicationcontrollers",
                                       "secrets",
                                       "configmaps",
                                       "persistentvolumeclaims",
                                       "storage",
                                       "requests.storage",
                                       "services.nodeports",
                                       "services.loadbalancers",
                                       NULL};
static const char *const of_containers[] = {"cpu", "ephemeral-storage", "memory", NULL};
static const char *const of_pods[] = {"cpu", "hugepages-", "memory", NULL};

static bool allows_overcommit(const char *name)
{
    return resource_name_is_native(name) && !resource_name_is_huge_page(name);
}

static void validate_name(struct api_field_errors *errors, const struct api_path *path, const char *name, bool of_pod)
{
    if (!field_format(errors, path, name, format_qualified_name) && of_pod)
        return;
    bool plain = !strchr(name, '/');
    if (plain && !validate_is_one_of(name, standard) && !resource_name_is_huge_page(name)) {
        field_invalid(errors, path, name, "must be a standard resource type or fully qualified");
        if (of_pod)
            return;
    }
    if (of_pod) {
        if (!text_equal(name, "cpu") && !text_equal(name, "memory") && !resource_name_is_huge_page(name))
            field_not_supported(errors, path, name, of_pods);
    } else if (plain) {
        if (!validate_is_one_of(name, of_containers) && !resource_name_is_huge_page(name))
            field_invalid(errors, path, name, "must be a standard resource for containers");
    } else if (!resource_name_is_native(name) && !resource_name_is_extended(name)) {
        field_invalid(errors, path, name, "doesn't follow extended resource name standard");
    }
}

void validate_resource_quantity(struct api_field_errors *errors, const struct api_path *path, const char *resource,
                                const char *quantity)
{
    if (quantity_compare(quantity, "0") < 0)
        field_invalid(errors, path, quantity, "must be greater than or equal to 0");
    if ((text_equal(resource, "pods") || resource_name_is_extended(resource)) &&
        quantity_milli_value(quantity) % 1000 != 0)
        field_invalid(errors, path, quantity, "must be an integer");
}

/* "hugepages-2Mi": a multiple of the page. */
static void validate_huge_pages(struct api_field_errors *errors, const struct api_path *path, const char *name,
                                const char *quantity)
{
    if (!resource_name_is_huge_page(name))
        return;
    int64_t page = quantity_value(name + strlen(HUGE_PAGE_PREFIX)), value = quantity_value(quantity);
    if (page <= 0 || value <= 0 || value % page != 0)
        field_invalid(errors, path, quantity,
                      arena_printf(errors->arena, "%s is not positive integer multiple of %s", quantity, name));
}

static void validate_claims(struct api_field_errors *errors, const struct api_path *path,
                            const struct resource_claim_array *claims, const struct pod_names *pod)
{
    /* A claim as a whole ("name/") overlaps each of its requests ("name/request"). */
    cleanup_name_set struct name_set names = {0}, entries = {0};
    for (size_t i = 0; i < claims->count; i++) {
        const struct resource_claim *c = &claims->items[i];
        const struct api_path *at = PATH_INDEX(path, i);
        if (text_empty(c->name)) {
            field_required(errors, at, NULL);
            continue;
        }
        if (!text_empty(c->request))
            field_format(errors, PATH(at, "request"), c->request, format_dns_label);
        bool known = !name_set_add(&names, c->name);
        bool whole = known && name_set_has(&entries, arena_printf(errors->arena, "%s/", c->name));
        bool added = name_set_add_format(&entries, "%s/%s", c->name, c->request ? c->request : "");
        if (whole || !added || (known && text_empty(c->request)))
            field_duplicate(errors, at, c->name);
        if (!name_set_has(&pod->claims, c->name))
            field_not_found(errors, at, c->name);
    }
}

static void validate_request(struct api_field_errors *errors, const struct api_path *path,
                             const struct string_pair *request, const struct resource_requirements *resources)
{
    const struct api_path *requests = PATH(path, "requests");
    const char *limit = string_map_get(&resources->limits, request->key);
    if (!limit) {
        if (!allows_overcommit(request->key))
            field_required(errors, PATH(path, "limits"), "Limit must be set for non overcommitable resources");
        return;
    }
    int order = quantity_compare(request->value, limit);
    if (order != 0 && !allows_overcommit(request->key))
        field_invalid(errors, requests, request->value,
                      arena_printf(errors->arena, "must be equal to %s limit of %s", request->key, limit));
    else if (order > 0)
        field_invalid(errors, requests, request->value,
                      arena_printf(errors->arena, "must be less than or equal to %s limit of %s", request->key, limit));
}

static bool has_huge_pages(const struct string_map *map)
{
    for (size_t i = 0; i < map->count; i++)
        if (resource_name_is_huge_page(map->items[i].key))
            return true;
    return false;
}

static bool has_compute(const struct string_map *map)
{
    return string_map_get(map, "cpu") || string_map_get(map, "memory");
}

void validate_resources(struct api_field_errors *errors, const struct api_path *path,
                        const struct resource_requirements *resources, const struct pod_names *pod, bool of_pod)
{
    const struct api_path *limits = PATH(path, "limits"), *requests = PATH(path, "requests");
    for (size_t i = 0; i < resources->limits.count; i++) {
        const struct string_pair *p = &resources->limits.items[i];
        const struct api_path *at = PATH_KEY(limits, p->key);
        validate_name(errors, at, p->key, of_pod);
        validate_resource_quantity(errors, at, p->key, p->value);
        validate_huge_pages(errors, at, p->key, p->value);
    }
    for (size_t i = 0; i < resources->requests.count; i++) {
        const struct string_pair *p = &resources->requests.items[i];
        const struct api_path *at = PATH_KEY(requests, p->key);
        validate_name(errors, at, p->key, of_pod);
        validate_resource_quantity(errors, at, p->key, p->value);
        validate_request(errors, path, p, resources);
        validate_huge_pages(errors, at, p->key, p->value);
    }
    if ((has_huge_pages(&resources->limits) || has_huge_pages(&resources->requests)) &&
        !has_compute(&resources->limits) && !has_compute(&resources->requests))
        field_forbidden(errors, path, "HugePages require cpu or memory");
    if (!of_pod)
        validate_claims(errors, PATH(path, "claims"), &resources->claims, pod);
}

/* What the pod has as a whole has to do for the sum of its containers. What it does not name is not held against them.
 */
static void validate_sum(struct api_field_errors *errors, const struct api_path *path, const struct string_pair *whole,
                         const struct pod_spec *spec, bool limits)
{
    const char *sum = pod_containers_sum(errors->arena, spec, whole->key, limits);
    if (sum && quantity_compare(sum, whole->value) > 0)
        field_invalid(errors, PATH_KEY(path, whole->key), whole->value,
                      arena_printf(errors->arena, "must be greater than or equal to aggregate container %s of %s",
                                   limits ? "limits" : "requests", sum));
}

/* The path that upstream gives leads from the pod's resources to the container. */
static void validate_container_limits(struct api_field_errors *errors, const struct api_path *path,
                                      const struct string_map *limits, const struct string_map *of_pod_limits)
{
    for (size_t i = 0; i < limits->count; i++) {
        const struct string_pair *limit = &limits->items[i];
        const char *most = string_map_get(of_pod_limits, limit->key);
        if (most && quantity_compare(limit->value, most) > 0)
            field_invalid(errors, PATH(PATH_KEY(path, limit->key), "limits"), limit->value,
                          arena_printf(errors->arena, "must be less than or equal to pod limits of %s", most));
    }
}

void validate_pod_resources(struct api_field_errors *errors, const struct api_path *path, const struct pod_names *pod)
{
    const struct pod_spec *spec = pod->spec;
    const struct resource_requirements *whole = spec->resources;
    const struct api_path *requests = PATH(path, "requests"), *limits = PATH(path, "limits");
    const struct api_path *containers = PATH(path, "containers");
    if (spec->os && text_equal(spec->os->name, "windows")) {
        field_forbidden(errors, path, "may not be set for a windows pod");
        return;
    }
    if (whole->claims.count)
        field_forbidden(errors, PATH(path, "claims"), "claims cannot be set for Resources at pod-level");
    validate_resources(errors, path, whole, pod, true);
    for (size_t i = 0; i < whole->requests.count; i++)
        validate_sum(errors, requests, &whole->requests.items[i], spec, false);
    for (size_t i = 0; i < whole->limits.count; i++)
        if (resource_name_is_huge_page(whole->limits.items[i].key))
            validate_sum(errors, limits, &whole->limits.items[i], spec, true);
    for (size_t i = 0; i < spec->containers.count; i++)
        validate_container_limits(errors, PATH_INDEX(containers, i), &spec->containers.items[i].resources.limits,
                                  &whole->limits);
}
