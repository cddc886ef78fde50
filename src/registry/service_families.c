/* Address families of services: which they have, which they get, and when that may change, as upstream decides. */
#include <string.h>

#include "api/format.h"
#include "base/cleanup.h"
#include "registry/private.h"

/* The path to a field of the spec. */
#define SPEC(field) PATH(PATH(NULL, "spec"), field)

static bool has_family(const struct registry *registry, const char *family)
{
    return text_equal(family, "IPv6") ? registry->service_cidr6 != NULL : text_equal(family, "IPv4");
}

/* What validation will complain about is left to it. */
static bool is_well_formed(const struct service_spec *spec)
{
    static const char *const policies[] = {"SingleStack", "PreferDualStack", "RequireDualStack"};
    const struct string_array *families = &spec->ip_families, *ips = &spec->cluster_ips;
    bool good = !spec->ip_family_policy;
    for (size_t i = 0; i < ARRAY_COUNT(policies); i++)
        good |= text_equal(spec->ip_family_policy, policies[i]);
    for (size_t i = 0; i < families->count; i++)
        good &= text_equal(families->items[i], "IPv4") || text_equal(families->items[i], "IPv6");
    good &= families->count <= 2 && ips->count <= 2;
    good &= families->count < 2 || !text_equal(families->items[0], families->items[1]);
    for (size_t i = 0; good && i < ips->count; i++) {
        if (text_equal(ips->items[i], "None"))
            return ips->count == 1;
        int family = format_ip_family(ips->items[i]);
        bool v6 = family == 6;
        good = family && (i >= families->count || text_equal(families->items[i], v6 ? "IPv6" : "IPv4"));
    }
    return good && (ips->count < 2 || format_ip_family(ips->items[0]) != format_ip_family(ips->items[1]));
}

static bool prefers_both(const struct service_spec *spec)
{
    return text_equal(spec->ip_family_policy, "PreferDualStack");
}

/* A service that prefers both stays as it is when the cluster gets another family, or loses one. */
static bool stays_as_it_is(const struct service_spec *spec, const struct service_spec *old)
{
    return old && text_equal(spec->type, old->type) && prefers_both(spec) &&
           (!old->ip_family_policy || prefers_both(old)) && spec->ip_families.count &&
           string_array_equal(&spec->cluster_ips, &old->cluster_ips) &&
           string_array_equal(&spec->ip_families, &old->ip_families);
}

static bool is_free_form(const struct service_spec *spec)
{
    return text_equal(spec->cluster_ip, "None") && !spec->selector.count;
}

static void append(struct task *task, struct string_array *list, const char *text)
{
    list->items = arena_array_grow(task->arena, list->items, list->count, 1, sizeof(*list->items));
    list->items[list->count++] = text;
}

static void append_other(struct task *task, struct string_array *families)
{
    append(task, families, text_equal(families->items[0], "IPv4") ? "IPv6" : "IPv4");
}

/* One family: what an update leaves of the other is given up. */
static void downgrade(struct service_spec *spec, const struct service_spec *old)
{
    if (string_array_equal(&spec->cluster_ips, &old->cluster_ips) && spec->cluster_ips.count > 1)
        spec->cluster_ips.count = 1;
    if (string_array_equal(&spec->ip_families, &old->ip_families) && spec->ip_families.count > 1)
        spec->ip_families.count = 1;
}

static void check_policy(struct api_field_errors *errors, const struct service_spec *spec,
                         const struct service_spec *old)
{
    const struct api_path *path = SPEC("ipFamilyPolicy");
    const char *policy = spec->ip_family_policy;
    if (!text_equal(policy, "SingleStack")) {
        if (old && spec->cluster_ips.count && spec->cluster_ips.count < old->cluster_ips.count)
            field_invalid(errors, path, policy, "must be 'SingleStack' to release the secondary cluster IP");
        if (old && spec->ip_families.count && spec->ip_families.count < old->ip_families.count)
            field_invalid(errors, path, policy, "must be 'SingleStack' to release the secondary IP family");
        return;
    }
    if (spec->cluster_ips.count == 2)
        field_invalid(errors, path, policy,
                      "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified");
    if (spec->ip_families.count == 2)
        field_invalid(errors, path, policy,
                      "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified");
}

static void infer_families(struct task *task, struct api_field_errors *errors, struct service_spec *spec)
{
    for (size_t i = 0; i < spec->cluster_ips.count; i++) {
        const char *ip = spec->cluster_ips.items[i], *family = format_ip_family(ip) == 6 ? "IPv6" : "IPv4";
        if (text_equal(ip, "None"))
            return;
        if (i < spec->ip_families.count)
            continue;
        if (has_family(task->registry, family))
            append(task, &spec->ip_families, family);
        else
            field_invalid_strings(errors, PATH_INDEX(SPEC("clusterIPs"), i), &spec->cluster_ips,
                                  arena_printf(task->arena, "%s is not configured on this cluster", family));
    }
}

static void check_configured(struct task *task, struct api_field_errors *errors, const struct service_spec *spec)
{
    if (text_equal(spec->ip_family_policy, "RequireDualStack") && !task->registry->service_cidr6)
        field_invalid(errors, SPEC("ipFamilyPolicy"), spec->ip_family_policy,
                      "this cluster is not configured for dual-stack services");
    for (size_t i = 0; i < spec->ip_families.count; i++)
        if (!has_family(task->registry, spec->ip_families.items[i]))
            field_invalid(errors, PATH_INDEX(SPEC("ipFamilies"), i), spec->ip_families.items[i],
                          "not configured on this cluster");
}

static struct status *invalid(struct task *task, const struct service *service, const struct api_field_errors *errors)
{
    return api_status_invalid(task->arena, task->resource, service->metadata.name, errors);
}

struct status *service_choose_families(struct task *task, struct service *service, const struct service *before)
{
    struct service_spec *spec = &service->spec;
    const struct service_spec *old = before ? &before->spec : NULL;
    struct api_field_errors errors = {.arena = task->arena};
    if (text_equal(spec->type, "ExternalName") || !is_well_formed(spec) || stays_as_it_is(spec, old))
        return NULL;
    if (!spec->ip_family_policy)
        spec->ip_family_policy = old && old->ip_family_policy ? old->ip_family_policy
                                 : is_free_form(spec)         ? "RequireDualStack"
                                                              : "SingleStack";
    bool both = !text_equal(spec->ip_family_policy, "SingleStack");
    if (old && !both)
        downgrade(spec, old);
    check_policy(&errors, spec, old);
    infer_families(task, &errors, spec);
    if (errors.count)
        return invalid(task, service, &errors);
    /* Without a selector a headless service may have endpoints of any family. */
    if (!is_free_form(spec))
        check_configured(task, &errors, spec);
    if (errors.count)
        return invalid(task, service, &errors);
    if (!spec->ip_families.count)
        append(task, &spec->ip_families, "IPv4");
    if (both && spec->ip_families.count == 1 && (is_free_form(spec) || task->registry->service_cidr6))
        append_other(task, &spec->ip_families);
    return NULL;
}
