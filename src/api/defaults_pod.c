/* Defaults of pods that depend on other fields. Those that do not are declared in the type descriptions. */
#include "api/defaults_pod.h"
#include "api/pod_resources.h"

#include <string.h>

#include "api/defaults.h"
#include "api/json.h"
#include "api/quantity.h"
#include "base/text.h"

/* Longer tags are no valid tags. */
#define IMAGE_TAG_MAX 130

void api_image_tag(const char *image, char *out, size_t size)
{
    const char *name = strrchr(image, '/');
    name = name ? name + 1 : image;
    const char *digest = strchr(name, '@');
    const char *tag = strchr(name, ':');
    out[0] = 0;
    if (tag && (!digest || tag < digest)) {
        size_t n = digest ? (size_t)(digest - tag - 1) : strlen(tag + 1);
        if (n >= size)
            n = size - 1;
        memcpy(out, tag + 1, n);
        out[n] = 0;
    } else if (!digest && *name) {
        strncpy(out, "latest", size - 1);
        out[size - 1] = 0;
    }
}

static const char *default_pull_policy(const char *image)
{
    char tag[IMAGE_TAG_MAX];
    api_image_tag(image ? image : "", tag, sizeof(tag));
    return strcmp(tag, "latest") == 0 ? "Always" : "IfNotPresent";
}

static void default_containers(struct container_array *containers)
{
    for (size_t i = 0; i < containers->count; i++) {
        struct container *c = &containers->items[i];
        if (text_empty(c->image_pull_policy))
            c->image_pull_policy = default_pull_policy(c->image);
    }
}

static void default_volumes(struct arena *arena, struct volume_array *volumes)
{
    for (size_t i = 0; i < volumes->count; i++) {
        struct volume *v = &volumes->items[i];
        const char *name = v->name;
        static const struct volume none;
        v->name = NULL;
        bool empty = memcmp(v, &none, sizeof(none)) == 0; /* nothing but pointers: no source is set */
        v->name = name;
        if (v->image && text_empty(v->image->pull_policy))
            v->image->pull_policy = default_pull_policy(v->image->reference);
        if (empty)
            v->empty_dir = arena_alloc(arena, sizeof(*v->empty_dir));
    }
}

void api_set_pod_spec_defaults(struct arena *arena, struct pod_spec *spec)
{
    api_set_declared_defaults(arena, &api_type_pod_spec, spec);
    if (!spec->security_context)
        spec->security_context = arena_alloc(arena, sizeof(*spec->security_context));
    default_containers(&spec->init_containers);
    default_containers(&spec->containers);
    for (size_t i = 0; i < spec->ephemeral_containers.count; i++) {
        struct ephemeral_container *c = &spec->ephemeral_containers.items[i];
        if (text_empty(c->image_pull_policy))
            c->image_pull_policy = default_pull_policy(c->image);
    }
    default_volumes(arena, &spec->volumes);
    /* serviceAccount is the old name of serviceAccountName: both always say the same. */
    if (text_empty(spec->service_account_name))
        spec->service_account_name = spec->service_account;
    spec->service_account = spec->service_account_name;
}

/* What has a limit and no request requests its limit. */
static void default_requests(struct arena *arena, struct resource_requirements *resources)
{
    const struct string_map *limits = &resources->limits, *requests = &resources->requests;
    if (!limits->count)
        return;
    struct string_map merged = {.items = arena_alloc(arena, (limits->count + requests->count) * sizeof(*merged.items))};
    for (size_t i = 0, k = 0; i < limits->count || k < requests->count;) {
        int order = i == limits->count     ? 1
                    : k == requests->count ? -1
                                           : strcmp(limits->items[i].key, requests->items[k].key);
        merged.items[merged.count++] = order < 0 ? limits->items[i] : requests->items[k];
        i += order <= 0;
        k += order >= 0;
    }
    resources->requests = merged;
}

/* A pod on the node's network occupies the ports of its containers on the node. */
static void default_host_ports(struct container_array *containers)
{
    for (size_t i = 0; i < containers->count; i++)
        for (size_t k = 0; k < containers->items[i].ports.count; k++) {
            struct container_port *port = &containers->items[i].ports.items[k];
            if (!port->host_port)
                port->host_port = port->container_port;
        }
}

void default_pod(struct arena *arena, void *value)
{
    struct pod_spec *spec = &((struct pod *)value)->spec;
    api_set_pod_spec_defaults(arena, spec);
    for (size_t i = 0; i < spec->containers.count; i++)
        default_requests(arena, &spec->containers.items[i].resources);
    for (size_t i = 0; i < spec->init_containers.count; i++)
        default_requests(arena, &spec->init_containers.items[i].resources);
    pod_resources_default(arena, spec);
    if (!spec->enable_service_links.set)
        spec->enable_service_links = opt_bool(true);
    if (spec->host_network) {
        default_host_ports(&spec->containers);
        default_host_ports(&spec->init_containers);
    }
}
