/* etcd key layout. Most resources are stored under their plural name; some kept an older name, and custom
 * resources have their group in front. */
#include "store/key.h"

#include <string.h>

#include "base/cleanup.h"

#define PREFIX "/registry/"

/* As upstream's kubeapiserver.SpecialDefaultResourcePrefixes has them. */
static const struct {
    const char *group;
    const char *plural;
    const char *prefix;
} exceptions[] = {
    {"", "nodes", "minions"},
    {"", "services", "services/specs"},
    {"", "endpoints", "services/endpoints"},
    {"", "replicationcontrollers", "controllers"},
    {"networking.k8s.io", "ingresses", "ingress"},
};

static const char *prefix_of(const struct api_resource *resource)
{
    for (size_t i = 0; i < ARRAY_COUNT(exceptions); i++)
        if (strcmp(exceptions[i].plural, resource->plural) == 0 && strcmp(exceptions[i].group, resource->group) == 0)
            return exceptions[i].prefix;
    return resource->plural;
}

void store_key(struct buffer *out, const struct api_resource *resource, const char *namespace, const char *name)
{
    buffer_add_string(out, PREFIX);
    buffer_add_string(out, prefix_of(resource));
    buffer_add_char(out, '/');
    if (resource->namespaced) {
        buffer_add_string(out, namespace);
        buffer_add_char(out, '/');
    }
    buffer_add_string(out, name);
}

static bool well_formed(const char *rest, bool namespaced)
{
    const char *slash = strchr(rest, '/');
    if (!namespaced)
        return *rest && !slash;
    return slash && slash != rest && slash[1] && !strchr(slash + 1, '/');
}

const struct api_resource *store_key_parse(const char *key, const char **rest)
{
    if (strncmp(key, PREFIX, strlen(PREFIX)) != 0)
        return NULL;
    key += strlen(PREFIX);
    for (size_t i = 0; i < api_resource_count; i++) {
        const struct api_resource *resource = &api_resources[i];
        const char *prefix = prefix_of(resource);
        size_t n = strlen(prefix);
        if (!api_is_stored(resource) || strncmp(key, prefix, n) != 0 || key[n] != '/')
            continue;
        if (!well_formed(key + n + 1, resource->namespaced))
            continue;
        *rest = key + n + 1;
        return resource;
    }
    return NULL;
}
