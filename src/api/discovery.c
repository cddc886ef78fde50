/* Discovery documents from the table of resources. */
#include "api/discovery.h"

#include <assert.h>
#include <string.h>

#include "api/json.h"
#include "api/types.h"
#include "base/cleanup.h"

static const char *const verbs[] = {"create", "delete", "deletecollection", "get", "list", "patch", "update",
                                    "watch",  NULL};
/* Namespaces are deleted one by one: each has to be emptied. */
static const char *const namespace_verbs[] = {"create", "delete", "get", "list", "patch", "update", "watch", NULL};
static const char *const half_verbs[] = {"get", "patch", "update", NULL};
static const char *const create_verbs[] = {"create", NULL};
static const char *const read_verbs[] = {"get", "list", NULL};
static const char *const get_verbs[] = {"get", NULL};
static const char *const connect_verbs[] = {"create", "get", NULL};
static const char *const proxy_verbs[] = {"create", "delete", "get", "patch", "update", NULL};
static const char *const update_verbs[] = {"update", NULL};

static const struct api_subresource subresources[] = {
    {"attach", NULL, NULL, "PodAttachOptions", connect_verbs, .connect = true},
    {"binding", NULL, NULL, "Binding", create_verbs, &api_type_binding},
    {"ephemeralcontainers", NULL, NULL, NULL, half_verbs},
    {"eviction", "policy", "v1", "Eviction", create_verbs, &api_type_eviction, "policy/v1beta1"},
    {"exec", NULL, NULL, "PodExecOptions", connect_verbs, .connect = true},
    {"finalize", NULL, NULL, NULL, update_verbs},
    {"log", NULL, NULL, NULL, get_verbs},
    {"portforward", NULL, NULL, "PodPortForwardOptions", connect_verbs, .connect = true},
    {"proxy", NULL, NULL, "ProxyOptions", proxy_verbs, .connect = true},
    {"resize", NULL, NULL, NULL, half_verbs},
    {"scale", "autoscaling", "v1", "Scale", half_verbs, &api_type_scale},
    {"status", NULL, NULL, NULL, half_verbs},
    {"token", "authentication.k8s.io", "v1", "TokenRequest", create_verbs, &api_type_token_request},
};

const struct api_subresource *api_subresource_find(const char *name)
{
    for (size_t i = 0; i < sizeof(subresources) / sizeof(subresources[0]); i++)
        if (strcmp(subresources[i].name, name) == 0)
            return &subresources[i];
    return NULL;
}

const char *const *api_resource_verbs(const struct api_resource *resource)
{
    if (resource->create_only)
        return create_verbs;
    if (resource->computed)
        return read_verbs;
    return strcmp(resource->plural, "namespaces") == 0 ? namespace_verbs : verbs;
}

/* ,"name":["a","b"]; nothing when there are none. */
static void write_strings(const char *name, const char *const *strings, struct buffer *out)
{
    if (!strings[0])
        return;
    buffer_printf(out, ",\"%s\":[", name);
    for (size_t i = 0; strings[i]; i++) {
        if (i)
            buffer_add_char(out, ',');
        json_encode_string(out, strings[i]);
    }
    buffer_add_char(out, ']');
}

static bool first_of_group(size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(api_resources[k].group, api_resources[i].group) == 0)
            return false;
    return true;
}

void discovery_write_versions(const char *server_address, struct buffer *out)
{
    buffer_add_string(out, "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],\"serverAddressByClientCIDRs\":[{"
                           "\"clientCIDR\":\"0.0.0.0/0\",\"serverAddress\":");
    json_encode_string(out, server_address);
    buffer_add_string(out, "}]}");
}

/* The members of a group: name, versions, the preferred one (the first). */
static void write_group_members(const char *group, struct buffer *out)
{
    const struct api_resource *preferred = NULL;
    buffer_printf(out, "\"name\":\"%s\",\"versions\":[", group);
    for (size_t i = 0; i < api_resource_count; i++) {
        const struct api_resource *r = &api_resources[i];
        if (strcmp(r->group, group) != 0 || !api_resource_is_first_of_version(i))
            continue;
        buffer_printf(out, "%s{\"groupVersion\":\"%s\",\"version\":\"%s\"}", preferred ? "," : "", r->api_version,
                      r->version);
        preferred = preferred ? preferred : r;
    }
    assert(preferred); /* callers only ask for groups that exist */
    buffer_printf(out, "],\"preferredVersion\":{\"groupVersion\":\"%s\",\"version\":\"%s\"}", preferred->api_version,
                  preferred->version);
}

void discovery_write_groups(struct buffer *out)
{
    bool any = false;
    buffer_add_string(out, "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[");
    for (size_t i = 0; i < api_resource_count; i++) {
        if (!*api_resources[i].group || !first_of_group(i))
            continue;
        buffer_add_string(out, any ? ",{" : "{");
        write_group_members(api_resources[i].group, out);
        buffer_add_char(out, '}');
        any = true;
    }
    buffer_add_string(out, "]}");
}

bool discovery_write_group(const char *group, struct buffer *out)
{
    size_t i = 0;
    while (i < api_resource_count && strcmp(api_resources[i].group, group) != 0)
        i++;
    if (!*group || i == api_resource_count)
        return false;
    buffer_add_string(out, "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",");
    write_group_members(group, out);
    buffer_add_char(out, '}');
    return true;
}

/* The options of a proxy have a kind of their own for each resource: PodProxyOptions. */
static const char *kind_prefix(const struct api_resource *r, const struct api_subresource *s)
{
    return strcmp(s->name, "proxy") == 0 ? r->kind : "";
}

static void write_resource(const struct api_resource *r, struct buffer *out)
{
    const char *namespaced = r->namespaced ? "true" : "false";
    buffer_printf(out, "{\"name\":\"%s\",\"singularName\":\"%s\",\"namespaced\":%s,\"kind\":\"%s\"", r->plural,
                  r->singular, namespaced, r->kind);
    write_strings("verbs", api_resource_verbs(r), out);
    write_strings("shortNames", r->short_names, out);
    write_strings("categories", r->categories, out);
    buffer_add_char(out, '}');
    for (size_t i = 0; r->subresources[i]; i++) {
        const struct api_subresource *s = api_subresource_find(r->subresources[i]);
        if (!s)
            continue;
        buffer_printf(out, ",{\"name\":\"%s/%s\",\"singularName\":\"\",\"namespaced\":%s", r->plural, s->name,
                      namespaced);
        if (s->group)
            buffer_printf(out, ",\"group\":\"%s\",\"version\":\"%s\"", s->group, s->version);
        buffer_printf(out, ",\"kind\":\"%s%s\"", kind_prefix(r, s), s->kind ? s->kind : r->kind);
        write_strings("verbs", s->verbs, out);
        buffer_add_char(out, '}');
    }
}

bool discovery_write_resources(const char *group, const char *version, struct buffer *out)
{
    bool any = false;
    for (size_t i = 0; i < api_resource_count; i++) {
        const struct api_resource *r = &api_resources[i];
        if (strcmp(r->group, group) != 0 || strcmp(r->version, version) != 0)
            continue;
        if (!any)
            buffer_printf(out, "{\"kind\":\"APIResourceList\"%s,\"groupVersion\":\"%s\",\"resources\":[",
                          *group ? ",\"apiVersion\":\"v1\"" : "", r->api_version);
        else
            buffer_add_char(out, ',');
        write_resource(r, out);
        any = true;
    }
    if (any && !*group)
        buffer_add_string(out, ",{\"name\":\"bindings\",\"singularName\":\"binding\",\"namespaced\":true,\"kind\":"
                               "\"Binding\",\"verbs\":[\"create\"]}");
    if (any)
        buffer_add_string(out, "]}");
    return any;
}

static void write_response_kind(const char *group, const char *version, const char *kind, struct buffer *out)
{
    buffer_printf(out, "\"responseKind\":{\"group\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"}", group, version, kind);
}

static void write_aggregated_resource(const struct api_resource *r, struct buffer *out)
{
    buffer_printf(out, "{\"resource\":\"%s\",", r->plural);
    write_response_kind(r->group, r->version, r->kind, out);
    buffer_printf(out, ",\"scope\":\"%s\",\"singularResource\":\"%s\"", r->namespaced ? "Namespaced" : "Cluster",
                  r->singular);
    write_strings("verbs", api_resource_verbs(r), out);
    write_strings("shortNames", r->short_names, out);
    write_strings("categories", r->categories, out);
    bool any = false;
    for (size_t i = 0; r->subresources[i]; i++) {
        const struct api_subresource *s = api_subresource_find(r->subresources[i]);
        if (!s)
            continue;
        buffer_printf(out, "%s{\"subresource\":\"%s\",", any ? "," : ",\"subresources\":[", s->name);
        cleanup_free char *kind = mem_printf("%s%s", kind_prefix(r, s), s->kind ? s->kind : r->kind);
        write_response_kind(s->group ? s->group : r->group, s->version ? s->version : r->version, kind, out);
        write_strings("verbs", s->verbs, out);
        buffer_add_char(out, '}');
        any = true;
    }
    buffer_add_string(out, any ? "]}" : "}");
}

static void write_aggregated_group(const char *group, struct buffer *out)
{
    bool any_version = false;
    buffer_add_string(out, "{\"metadata\":{");
    if (*group)
        buffer_printf(out, "\"name\":\"%s\",", group);
    buffer_add_string(out, "\"creationTimestamp\":null},\"versions\":[");
    for (size_t i = 0; i < api_resource_count; i++) {
        if (strcmp(api_resources[i].group, group) != 0 || !api_resource_is_first_of_version(i))
            continue;
        buffer_printf(out, "%s{\"version\":\"%s\",\"resources\":[", any_version ? "," : "", api_resources[i].version);
        bool any = false;
        for (size_t k = i; k < api_resource_count; k++) {
            if (strcmp(api_resources[k].api_version, api_resources[i].api_version) != 0)
                continue;
            if (any)
                buffer_add_char(out, ',');
            write_aggregated_resource(&api_resources[k], out);
            any = true;
        }
        if (!*group)
            buffer_add_string(out, ",{\"resource\":\"bindings\",\"responseKind\":{\"group\":\"\",\"version\":\"v1\","
                                   "\"kind\":\"Binding\"},\"scope\":\"Namespaced\",\"singularResource\":\"binding\","
                                   "\"verbs\":[\"create\"]}");
        buffer_add_string(out, "],\"freshness\":\"Current\"}");
        any_version = true;
    }
    buffer_add_string(out, "]}");
}

void discovery_write_aggregated(bool core, const char *version, struct buffer *out)
{
    bool any = false;
    buffer_printf(out,
                  "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/%s\",\"metadata\":{},"
                  "\"items\":[",
                  version);
    for (size_t i = 0; i < api_resource_count; i++) {
        if (core != !*api_resources[i].group || !first_of_group(i))
            continue;
        if (any)
            buffer_add_char(out, ',');
        write_aggregated_group(api_resources[i].group, out);
        any = true;
    }
    buffer_add_string(out, "]}");
}
