/* The root CA publisher: every active namespace has a ConfigMap "kube-root-ca.crt" with the certificate by which pods
 * know the API server. Who changes or deletes it gets it back. */
#include <string.h>

#include "control/control.h"
#include "control/controller.h"

#define ROOT_CA_NAME "kube-root-ca.crt"
#define ROOT_CA_KEY "ca.crt"
#define DESCRIPTION_ANNOTATION "kubernetes.io/description"
/* In upstream's words: users compare it. */
#define DESCRIPTION                                                                                                    \
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "    \
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "  \
    "clusters."

static void namespace_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)old;
    if (change != INFORMER_DELETED)
        queue_add(((struct controller *)context)->queue, NULL, object->meta->name);
}

static void config_map_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)old;
    if (change != INFORMER_ADDED && strcmp(object->meta->name, ROOT_CA_NAME) == 0)
        queue_add(((struct controller *)context)->queue, NULL, object->meta->namespace);
}

static void start(struct controller *c)
{
    if (!c->options->root_ca)
        return;
    c->state = informer_set_get(c->informers, &api_resources[API_CONFIGMAPS]);
    informer_add_handler(informer_set_get(c->informers, &api_resources[API_NAMESPACES]), namespace_changed, c);
    informer_add_handler(c->state, config_map_changed, c);
}

static bool is_as_published(const struct controller *c, const struct config_map *map)
{
    const char *certificate = string_map_get(&map->data, ROOT_CA_KEY);
    const char *description = string_map_get(&map->metadata.annotations, DESCRIPTION_ANNOTATION);
    return map->data.count == 1 && certificate && strcmp(certificate, c->options->root_ca) == 0 && description &&
           *description;
}

static void fill(const struct controller *c, struct arena *arena, struct config_map *map)
{
    map->data = (struct string_map){0};
    string_map_set(arena, &map->data, ROOT_CA_KEY, c->options->root_ca);
    string_map_set(arena, &map->metadata.annotations, DESCRIPTION_ANNOTATION, DESCRIPTION);
}

static void answered(void *work, const struct client_result *result)
{
    if (controller_namespace_terminating(result))
        work_forgive(work);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    const char *name = work_name(work);
    struct object *namespace = informer_get(informer_set_get(c->informers, &api_resources[API_NAMESPACES]), NULL, name);
    if (!namespace || namespace->meta->deletion_timestamp)
        return;
    struct object *published = informer_get(c->state, name, ROOT_CA_NAME);
    if (!published) {
        struct config_map map = {.metadata = {.name = ROOT_CA_NAME, .namespace = name}};
        fill(c, work_arena(work), &map);
        work_create(work, &api_resources[API_CONFIGMAPS], name, &map, answered, work);
    } else if (!is_as_published(c, published->value)) {
        struct config_map *map = object_copy(work_arena(work), published);
        fill(c, work_arena(work), map);
        work_update(work, &api_resources[API_CONFIGMAPS], NULL, map, NULL, NULL);
    }
}

const struct controller_kind root_ca_publisher = {.name = "root-ca-certificate-publisher-controller",
                                                  .queue = "root_ca_cert_publisher",
                                                  .start = start,
                                                  .reconcile = reconcile};
