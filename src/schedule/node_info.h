/* What the scheduler knows of a node: its object, and what the pods on it have asked for. */
#ifndef CORACLE_SCHEDULE_NODE_INFO_H
#define CORACLE_SCHEDULE_NODE_INFO_H

#include <stdbool.h>

#include "api/object.h"
#include "base/list.h"
#include "base/map.h"

/* Amounts of the resources that every node has; others go by name. */
enum schedule_resource { RESOURCE_CPU, RESOURCE_MEMORY, RESOURCE_STORAGE, RESOURCE_KINDS };

/* cpu in thousandths, the rest in bytes. */
struct resource_amounts {
    int64_t of[RESOURCE_KINDS];
};

/* Sums of amounts of many pods: none overflows, and what was added can be taken away again. */
struct resource_sums {
    __int128 of[RESOURCE_KINDS];
};

struct node_info {
    struct object *object; /* NULL: only pods of it are known */
    const struct node *node;
    struct resource_amounts allocatable;
    struct resource_sums requested;
    struct resource_sums assumed_load; /* requested, with upstream's minimum for pods that ask for nothing */
    int64_t pods, pods_allocatable;
    struct map extended; /* name -> (intptr_t) amount requested of other resources */
    struct map ports;    /* "TCP/80/10.0.0.1" and "TCP/80" -> (intptr_t) how many pods have them on the node */
    /* The census's own: its place in arrays by node, its pods, and those nominated for it (struct placed). */
    int32_t slot;
    struct list residents, nominated;
};

/* What a pod asks for, or has been given, whichever is more (api/pod_resources.h). */
void pod_requests(const struct pod *pod, struct resource_amounts *out);
/* The amounts used in scores: 100m of cpu and 200 MiB of memory at least per container that asks for none. */
void pod_load(const struct pod *pod, struct resource_amounts *out);

/* Whether a pod of the node has that port; ip "0.0.0.0": at any address. */
bool node_info_has_port(const struct node_info *info, const struct container_port *port, const char *ip);

/* A resource other than those of enum schedule_resource. */
bool resource_is_extended(const char *name);

void node_info_set(struct node_info *info, struct object *node);
/* sign: 1 adds, -1 takes away. */
void node_info_add_pod(struct node_info *info, const struct pod *pod, int sign);
void node_info_free(struct node_info *info);

extern const char *const schedule_resource_names[RESOURCE_KINDS];

#endif
