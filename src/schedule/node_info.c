/* Requests of pods and sums per node. */
#include "schedule/node_info.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/host_port.h"
#include "api/pod_resources.h"
#include "api/quantity.h"
#include "base/cleanup.h"

/* Upstream's stand-ins for a container without a request, in scores. */
#define DEFAULT_MILLI_CPU 100
#define DEFAULT_MEMORY (200 * 1024 * 1024)

const char *const schedule_resource_names[RESOURCE_KINDS] = {"cpu", "memory", "ephemeral-storage"};

/* What a container that asks for nothing counts as, in scores. */
static int64_t stand_in(int kind)
{
    return kind == RESOURCE_CPU ? DEFAULT_MILLI_CPU : kind == RESOURCE_MEMORY ? DEFAULT_MEMORY : 0;
}

void pod_requests(const struct pod *pod, struct resource_amounts *out)
{
    for (int kind = 0; kind < RESOURCE_KINDS; kind++)
        out->of[kind] = pod_resource_request(pod, schedule_resource_names[kind], POD_COUNT_STATUS, 0);
}

void pod_load(const struct pod *pod, struct resource_amounts *out)
{
    for (int kind = 0; kind < RESOURCE_KINDS; kind++)
        out->of[kind] = pod_resource_request(pod, schedule_resource_names[kind], POD_COUNT_STATUS, stand_in(kind));
}

void node_info_set(struct node_info *info, struct object *node)
{
    object_unref(info->object);
    info->object = node ? object_ref(node) : NULL;
    info->node = node ? node->value : NULL;
    const struct string_map *allocatable = node ? &info->node->status.allocatable : NULL;
    for (int kind = 0; kind < RESOURCE_KINDS; kind++)
        info->allocatable.of[kind] = allocatable ? pod_resource_amount(allocatable, schedule_resource_names[kind]) : 0;
    info->pods_allocatable = allocatable ? quantity_value(string_map_get(allocatable, "pods")) : 0;
}

bool resource_is_extended(const char *name)
{
    for (int kind = 0; kind < RESOURCE_KINDS; kind++)
        if (strcmp(name, schedule_resource_names[kind]) == 0)
            return false;
    return true;
}

static void add_extended(struct node_info *info, const struct pod *pod, int sign)
{
    for (size_t i = 0; i < pod->spec.containers.count; i++) {
        const struct string_map *requests = &pod->spec.containers.items[i].resources.requests;
        for (size_t r = 0; r < requests->count; r++) {
            const char *name = requests->items[r].key;
            if (resource_is_extended(name))
                map_set(&info->extended, name,
                        (void *)((intptr_t)map_get(&info->extended, name) +
                                 sign * (intptr_t)quantity_value(requests->items[r].value)));
        }
    }
}

/* ---- Ports of the node ---- */

#define PORT_KEY_MAX 96

/* ip NULL: at whatever address. */
static void port_key(char out[PORT_KEY_MAX], const struct container_port *port, const char *ip)
{
    snprintf(out, PORT_KEY_MAX, "%s/%d%s%s", port->protocol && *port->protocol ? port->protocol : "TCP",
             port->host_port, ip ? "/" : "", ip ? ip : "");
}

struct port_count {
    struct node_info *info;
    int sign;
};

static void count_key(const struct port_count *count, const char *key)
{
    intptr_t now = (intptr_t)map_get(&count->info->ports, key) + count->sign;
    if (now)
        map_set(&count->info->ports, key, (void *)now);
    else
        map_remove(&count->info->ports, key);
}

static bool count_port(void *context, const struct container_port *port, const char *ip)
{
    char key[PORT_KEY_MAX];
    port_key(key, port, ip);
    count_key(context, key);
    port_key(key, port, NULL);
    count_key(context, key);
    return true;
}

bool node_info_has_port(const struct node_info *info, const struct container_port *port, const char *ip)
{
    char key[PORT_KEY_MAX];
    bool anywhere = strcmp(ip, HOST_PORT_ANY_ADDRESS) == 0;
    port_key(key, port, anywhere ? NULL : ip);
    if (map_has(&info->ports, key) || anywhere)
        return map_has(&info->ports, key);
    port_key(key, port, HOST_PORT_ANY_ADDRESS);
    return map_has(&info->ports, key);
}

void node_info_add_pod(struct node_info *info, const struct pod *pod, int sign)
{
    struct resource_amounts asked, load;
    pod_requests(pod, &asked);
    pod_load(pod, &load);
    for (int kind = 0; kind < RESOURCE_KINDS; kind++) {
        info->requested.of[kind] += sign * asked.of[kind];
        info->assumed_load.of[kind] += sign * load.of[kind];
    }
    info->pods += sign;
    add_extended(info, pod, sign);
    struct port_count count = {info, sign};
    pod_host_ports(&pod->spec, count_port, &count);
}

void node_info_free(struct node_info *info)
{
    object_unref(info->object);
    map_free(&info->extended);
    map_free(&info->ports);
    free(info);
}
