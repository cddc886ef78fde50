/* Admission of ingresses, as upstream's plugin DefaultIngressClass does it, and upstream's warnings about ingresses and
 * network policies. */
#include <arpa/inet.h>
#include <string.h>

#include "api/format.h"
#include "registry/private.h"

#define CLASS_ANNOTATION "kubernetes.io/ingress.class"
#define DEFAULT_CLASS_ANNOTATION "ingressclass.kubernetes.io/is-default-class"

struct default_class {
    const char *name;
    size_t count;
};

static bool look_at_class(void *context, struct object *object)
{
    struct default_class *found = context;
    if (!text_equal(string_map_get(&object->meta->annotations, DEFAULT_CLASS_ANNOTATION), "true"))
        return true;
    found->name = object->meta->name;
    found->count++;
    return true;
}

struct status *networking_admit_create(struct task *task, void *value)
{
    struct ingress *ingress = value;
    struct default_class found = {0};
    if (task->resource->index != API_INGRESSES || ingress->spec.ingress_class_name ||
        string_map_get(&ingress->metadata.annotations, CLASS_ANNOTATION))
        return NULL;
    store_list(task->registry->store, &api_resources[API_INGRESSCLASSES], NULL, NULL, NULL, look_at_class, &found);
    if (found.count > 1)
        return api_status_forbidden(
            task->arena, task->resource, ingress->metadata.name,
            arena_printf(task->arena, "Internal error occurred: %zu default IngressClasses were found, only 1 allowed",
                         found.count));
    if (found.count)
        ingress->spec.ingress_class_name = arena_string(task->arena, found.name);
    return NULL;
}

static void warn_of_cidr(struct task *task, const char *direction, size_t rule, const char *peers, size_t peer,
                         const char *field, const char *text)
{
    struct format_cidr cidr;
    char network[INET6_ADDRSTRLEN], address[INET6_ADDRSTRLEN];
    if (!format_cidr_parse(text, &cidr))
        return;
    int family = cidr.family == 4 ? AF_INET : AF_INET6, length = cidr.family == 4 ? 32 : 128;
    inet_ntop(family, cidr.address, address, sizeof(address));
    format_cidr_mask(&cidr);
    inet_ntop(family, cidr.address, network, sizeof(network));
    if (strcmp(network, address) != 0)
        registry_add_warning(
            task,
            arena_printf(task->arena,
                         "spec.%s[%zu].%s[%zu].ipBlock.%s: CIDR value \"%s\" is ambiguous in this context (should "
                         "be \"%s/%d\" or \"%s/%d\"?)",
                         direction, rule, peers, peer, field, text, network, cidr.bits, address, length));
}

static void warn_of_peers(struct task *task, const char *direction, size_t rule, const char *name,
                          const struct network_policy_peer_array *peers)
{
    for (size_t i = 0; i < peers->count; i++) {
        const struct ip_block *block = peers->items[i].ip_block;
        if (!block || text_empty(block->cidr))
            continue;
        warn_of_cidr(task, direction, rule, name, i, "cidr", block->cidr);
        for (size_t k = 0; k < block->except.count; k++)
            warn_of_cidr(task, direction, rule, name, i, arena_printf(task->arena, "except[%zu]", k),
                         block->except.items[k]);
    }
}

/* Before the default class is set. */
static void warn_of_annotation(struct task *task, const struct ingress *ingress)
{
    if (!ingress->spec.ingress_class_name && string_map_get(&ingress->metadata.annotations, CLASS_ANNOTATION))
        registry_add_warning(task, "annotation \"" CLASS_ANNOTATION
                                   "\" is deprecated, please use 'spec.ingressClassName' instead");
}

void networking_warn(struct task *task, const void *value, bool created)
{
    if (task->resource->index == API_INGRESSES && created)
        warn_of_annotation(task, value);
    if (task->resource->index != API_NETWORKPOLICIES)
        return;
    const struct network_policy_spec *spec = &((const struct network_policy *)value)->spec;
    for (size_t i = 0; i < spec->ingress.count; i++)
        warn_of_peers(task, "ingress", i, "from", &spec->ingress.items[i].from);
    for (size_t i = 0; i < spec->egress.count; i++)
        warn_of_peers(task, "egress", i, "to", &spec->egress.items[i].to);
}
