/* Environment variables, in upstream's order: service variables, envFrom, env; each may refer to those before
 * it. */
#include "node/environment.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/quantity.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/text.h"
#include "base/vector.h"

struct builder {
    struct arena *arena;
    VECTOR(struct string_pair) variables;
    struct map index; /* name -> position + 1 */
    size_t bytes;
    bool full;
};

static void set(struct builder *b, const char *name, const char *value)
{
    uintptr_t at = (uintptr_t)map_get(&b->index, name);
    b->bytes += strlen(name) + strlen(value);
    if (b->bytes > ENVIRONMENT_BYTES_MAX) {
        b->full = true;
        return;
    }
    if (at) {
        b->variables.items[at - 1].value = arena_string(b->arena, value);
        return;
    }
    if (b->variables.count == ENVIRONMENT_MAX) {
        b->full = true;
        return;
    }
    vector_push(&b->variables, (struct string_pair){arena_string(b->arena, name), arena_string(b->arena, value)});
    map_set(&b->index, name, (void *)(uintptr_t)b->variables.count);
}

/* A service's or port's name as part of a variable's name. */
static const char *variable_name(struct arena *arena, const char *name)
{
    char *out = arena_string(arena, name);
    for (char *c = out; *c; c++)
        *c = (char)(*c == '-' ? '_' : toupper((unsigned char)*c));
    return out;
}

/* The variables of one service, as upstream and, before it, Docker links name them. */
static void add_service(void *context, const struct service *service)
{
    struct builder *b = context;
    const char *ip = service->spec.cluster_ip;
    if (!ip || !*ip || strcmp(ip, "None") == 0 || !service->spec.ports.count)
        return;
    const char *prefix = variable_name(b->arena, service->metadata.name);
    set(b, arena_printf(b->arena, "%s_SERVICE_HOST", prefix), ip);
    for (size_t i = 0; i < service->spec.ports.count; i++) {
        const struct service_port *port = &service->spec.ports.items[i];
        const char *number = arena_printf(b->arena, "%d", port->port);
        const char *protocol = port->protocol ? port->protocol : "TCP";
        char *lower = arena_string(b->arena, protocol);
        for (char *c = lower; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        const char *url = strchr(ip, ':') ? arena_printf(b->arena, "%s://[%s]:%d", lower, ip, port->port)
                                          : arena_printf(b->arena, "%s://%s:%d", lower, ip, port->port);
        if (i == 0) {
            set(b, arena_printf(b->arena, "%s_SERVICE_PORT", prefix), number);
            set(b, arena_printf(b->arena, "%s_PORT", prefix), url);
        }
        if (port->name && *port->name)
            set(b, arena_printf(b->arena, "%s_SERVICE_PORT_%s", prefix, variable_name(b->arena, port->name)), number);
        const char *base = arena_printf(b->arena, "%s_PORT_%d_%s", prefix, port->port, protocol);
        set(b, base, url);
        set(b, arena_printf(b->arena, "%s_PROTO", base), lower);
        set(b, arena_printf(b->arena, "%s_PORT", base), number);
        set(b, arena_printf(b->arena, "%s_ADDR", base), ip);
    }
}

static void add_kubernetes(void *context, const struct service *service)
{
    if (strcmp(service->metadata.name, "kubernetes") == 0)
        add_service(context, service);
}

static bool optional(struct opt_bool flag)
{
    return flag.set && flag.value;
}

/* envFrom of one ConfigMap or Secret. */
static int add_from(struct builder *b, const struct environment_source *source, const struct env_from_source *from,
                    struct error *err)
{
    const char *prefix = from->prefix ? from->prefix : "";
    if (from->config_map_ref) {
        const char *name = from->config_map_ref->name;
        struct object *o = source->config_map(source->context, name);
        if (!o)
            return optional(from->config_map_ref->optional)
                       ? 0
                       : error_set(err, ENOENT, "configmap \"%s\" not found", name);
        const struct config_map *map = o->value;
        for (size_t i = 0; i < map->data.count; i++)
            set(b, arena_printf(b->arena, "%s%s", prefix, map->data.items[i].key), map->data.items[i].value);
    }
    if (from->secret_ref) {
        const char *name = from->secret_ref->name;
        struct object *o = source->secret(source->context, name);
        if (!o)
            return optional(from->secret_ref->optional) ? 0 : error_set(err, ENOENT, "secret \"%s\" not found", name);
        const struct secret *secret = o->value;
        for (size_t i = 0; i < secret->data.count; i++) {
            const struct bytes_pair *pair = &secret->data.items[i];
            set(b, arena_printf(b->arena, "%s%s", prefix, pair->key),
                arena_string_n(b->arena, (const char *)pair->value.data, pair->value.size));
        }
    }
    return 0;
}

static const char *both(struct arena *arena, const char *ip, const char *ip6)
{
    return ip && ip6 ? arena_printf(arena, "%s,%s", ip, ip6) : ip;
}

int pod_field_value(struct arena *arena, const struct environment_source *source, const char *path, const char **out,
                    struct error *err)
{
    const struct pod *pod = source->pod;
    const struct {
        const char *path;
        const char *value;
    } plain[] = {
        {"metadata.name", pod->metadata.name},
        {"metadata.namespace", pod->metadata.namespace},
        {"metadata.uid", pod->metadata.uid},
        {"spec.nodeName", pod->spec.node_name},
        {"spec.serviceAccountName", pod->spec.service_account_name},
        {"status.hostIP", source->host_ip},
        {"status.hostIPs", both(arena, source->host_ip, source->host_ip6)},
        {"status.podIP", source->pod_ip},
        {"status.podIPs", both(arena, source->pod_ip, source->pod_ip6)},
    };
    for (size_t i = 0; i < ARRAY_COUNT(plain); i++)
        if (strcmp(path, plain[i].path) == 0) {
            *out = plain[i].value ? plain[i].value : "";
            return 0;
        }
    static const char labels[] = "metadata.labels['", annotations[] = "metadata.annotations['";
    const struct string_map *map = NULL;
    size_t skip = 0;
    if (strncmp(path, labels, sizeof(labels) - 1) == 0)
        map = &pod->metadata.labels, skip = sizeof(labels) - 1;
    else if (strncmp(path, annotations, sizeof(annotations) - 1) == 0)
        map = &pod->metadata.annotations, skip = sizeof(annotations) - 1;
    size_t size = strlen(path);
    if (!map || size < skip + 2 || strcmp(path + size - 2, "']") != 0)
        return error_set(err, EINVAL, "unsupported fieldPath: %s", path);
    const char *value = string_map_get(map, arena_string_n(arena, path + skip, size - skip - 2));
    *out = value ? value : "";
    return 0;
}

const struct container *pod_find_container(const struct pod *pod, const char *name)
{
    const struct container_array *lists[] = {&pod->spec.containers, &pod->spec.init_containers};
    for (size_t l = 0; name && l < ARRAY_COUNT(lists); l++)
        for (size_t i = 0; i < lists[l]->count; i++)
            if (strcmp(lists[l]->items[i].name, name) == 0)
                return &lists[l]->items[i];
    return NULL;
}

int pod_resource_value(struct arena *arena, const struct environment_source *source, const struct container *container,
                       const char *resource, const char *divisor, const char **out, struct error *err)
{
    const char *dot = strchr(resource, '.');
    bool limits = strncmp(resource, "limits.", 7) == 0;
    if (!dot || (!limits && strncmp(resource, "requests.", 9) != 0))
        return error_set(err, EINVAL, "unsupported container resource : %s", resource);
    bool cpu = strcmp(dot + 1, "cpu") == 0;
    const char *text =
        string_map_get(limits ? &container->resources.limits : &container->resources.requests, dot + 1);
    quantity_t value = 0, unit = 0;
    if (text)
        quantity_parse(text, strlen(text), &value);
    else if (limits && cpu)
        value = (quantity_t)source->node_cpu_milli * 1000000;
    else if (limits && strcmp(dot + 1, "memory") == 0)
        value = (quantity_t)source->node_memory * 1000000000;
    else if (limits && strcmp(dot + 1, "ephemeral-storage") == 0)
        value = (quantity_t)source->node_disk * 1000000000;
    if (divisor && strcmp(divisor, "0") != 0)
        quantity_parse(divisor, strlen(divisor), &unit);
    if (unit <= 0)
        unit = 1000000000;
    *out = arena_printf(arena, "%lld", (long long)((value + unit - 1) / unit));
    return 0;
}

static struct environment view(const struct builder *b)
{
    return (struct environment){b->variables.items, b->variables.count};
}

/* The value of env[].valueFrom. *found is false for an optional reference to nothing. */
static int value_from(struct builder *b, const struct environment_source *source, const struct container *container,
                      const struct env_var_source *from, const char **out, bool *found, struct error *err)
{
    const char *namespace = source->pod->metadata.namespace;
    *found = true;
    if (from->field_ref)
        return pod_field_value(b->arena, source, from->field_ref->field_path, out, err);
    if (from->resource_field_ref) {
        const struct resource_field_selector *s = from->resource_field_ref;
        const struct container *of = s->container_name && *s->container_name
                                         ? pod_find_container(source->pod, s->container_name)
                                         : container;
        if (!of)
            return error_set(err, ENOENT, "container %s not found", s->container_name);
        return pod_resource_value(b->arena, source, of, s->resource, s->divisor, out, err);
    }
    if (from->config_map_key_ref) {
        const struct config_map_key_selector *s = from->config_map_key_ref;
        struct object *o = source->config_map(source->context, s->name);
        *found = false;
        if (!o)
            return optional(s->optional) ? 0 : error_set(err, ENOENT, "configmap \"%s\" not found", s->name);
        *out = string_map_get(&((const struct config_map *)o->value)->data, s->key);
        if (*out)
            *found = true;
        else if (!optional(s->optional))
            return error_set(err, ENOENT, "couldn't find key %s in ConfigMap %s/%s", s->key, namespace, s->name);
        return 0;
    }
    if (from->secret_key_ref) {
        const struct secret_key_selector *s = from->secret_key_ref;
        struct object *o = source->secret(source->context, s->name);
        *found = false;
        if (!o)
            return optional(s->optional) ? 0 : error_set(err, ENOENT, "secret \"%s\" not found", s->name);
        const struct secret *secret = o->value;
        for (size_t i = 0; i < secret->data.count; i++)
            if (strcmp(secret->data.items[i].key, s->key) == 0) {
                const struct bytes *v = &secret->data.items[i].value;
                *out = arena_string_n(b->arena, (const char *)v->data, v->size);
                *found = true;
                return 0;
            }
        return optional(s->optional)
                   ? 0
                   : error_set(err, ENOENT, "couldn't find key %s in Secret %s/%s", s->key, namespace, s->name);
    }
    if (from->file_key_ref && source->file) {
        if (source->file(source->file_context, from->file_key_ref, out, err) < 0)
            return -1;
        *found = *out != NULL;
        return 0;
    }
    return error_set(err, EINVAL, "this source of an environment variable is not known");
}

static int build(struct builder *b, const struct environment_source *source, const struct container *container,
                 struct error *err)
{
    const struct pod *pod = source->pod;
    if (!pod->spec.enable_service_links.set || pod->spec.enable_service_links.value)
        source->services(source->context, pod->metadata.namespace, add_service, b);
    source->services(source->context, "default", add_kubernetes, b);
    for (size_t i = 0; i < container->env_from.count; i++)
        if (add_from(b, source, &container->env_from.items[i], err) < 0)
            return -1;
    for (size_t i = 0; i < container->env.count; i++) {
        const struct env_var *variable = &container->env.items[i];
        const char *value = "";
        bool found = true;
        struct environment so_far = view(b);
        if (variable->value_from) {
            if (value_from(b, source, container, variable->value_from, &value, &found, err) < 0)
                return -1;
        } else if (variable->value) {
            value = environment_expand(b->arena, &so_far, variable->value, err);
            if (!value)
                return error_wrap(err, "environment variable %s", variable->name);
        }
        if (found)
            set(b, variable->name, value);
    }
    return b->full ? error_set(err, E2BIG, "more than %d environment variables, or more than %d bytes of them", ENVIRONMENT_MAX,
                               ENVIRONMENT_BYTES_MAX) : 0;
}

int environment_build(struct arena *arena, const struct environment_source *source, const struct container *container,
                      struct environment *out, struct error *err)
{
    struct builder b = {.arena = arena};
    int result = build(&b, source, container, err);
    out->count = b.variables.count;
    out->items = arena_copy(arena, b.variables.items, b.variables.count * sizeof(*b.variables.items));
    vector_free(&b.variables);
    map_free(&b.index);
    return result;
}

const char *environment_get(const struct environment *environment, const char *name)
{
    for (size_t i = environment->count; i-- > 0;)
        if (strcmp(environment->items[i].key, name) == 0)
            return environment->items[i].value;
    return NULL;
}

/* Names of variables without a value that a text refers to. */
struct missing {
    VECTOR(const char *) names;
};

static const char *expand(struct arena *arena, const struct environment *environment, const char *text,
                          struct missing *missing, struct error *err)
{
    const char *last = strrchr(text, ')');
    if (!strchr(text, '$'))
        return text;
    cleanup_buffer struct buffer out = {0};
    for (const char *p = text; *p; p++) {
        if (out.size > ENVIRONMENT_VALUE_MAX) {
            error_set(err, E2BIG, "more than %d bytes when it is expanded", ENVIRONMENT_VALUE_MAX);
            return NULL;
        }
        if (*p != '$' || !p[1]) {
            buffer_add_char(&out, *p);
        } else if (p[1] == '$') {
            buffer_add_char(&out, '$');
            p++;
        } else if (p[1] == '(' && last && p < last) {
            const char *end = strchr(p, ')');
            const char *name = arena_string_n(arena, p + 2, (size_t)(end - p - 2));
            const char *value = environment_get(environment, name);
            if (missing && text_empty(value))
                vector_push(&missing->names, name);
            if (value)
                buffer_add_string(&out, value);
            else
                buffer_add(&out, p, (size_t)(end - p) + 1);
            p = end;
        } else {
            buffer_add_char(&out, *p);
        }
    }
    return arena_string_n(arena, out.data ? out.data : "", out.size);
}

const char *environment_expand(struct arena *arena, const struct environment *environment, const char *text,
                               struct error *err)
{
    return expand(arena, environment, text, NULL, err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *environment_expand_path(struct arena *arena, const struct environment *environment, const char *text,
                                    struct error *err)
{
    struct missing missing = {0};
    const char *out = expand(arena, environment, text, &missing, err);
    size_t count = missing.names.count;
    if (out && count) {
        cleanup_buffer struct buffer list = {0};
        const char **names = missing.names.items;
        qsort(names, count, sizeof(*names), by_name);
        for (size_t i = 0; i < count; i++)
            if (!i || strcmp(names[i], names[i - 1]) != 0)
                buffer_printf(&list, "%s%s", i ? ", " : "", names[i]);
        error_set(err, ENOENT, "missing value for %s", list.data);
        out = NULL;
    }
    vector_free(&missing.names);
    return out;
}
