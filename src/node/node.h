/* Shared by the files of the agent, not for other rooms (those use node/agent.h): what every worker needs. */
#ifndef CORACLE_NODE_NODE_H
#define CORACLE_NODE_NODE_H

#include "base/map.h"
#include "client/informer.h"
#include "client/recorder.h"
#include "network/pod_network.h"
#include "node/agent.h"
#include "node/image/image.h"
#include "node/node_resources.h"
#include "node/runtime/runtime.h"

struct usage_meter;

struct agent {
    struct agent_options options; /* strings are owned */
    struct env *env;
    struct client *client;
    struct recorder *recorder;
    struct runtime *runtime;
    struct image_store *images;
    struct pod_network *network;
    struct informer *pods;  /* of this node */
    struct informer *nodes; /* this node */
    struct informer *config_maps;
    struct informer *secrets;
    struct informer *services;
    struct informer *claims;
    struct informer *volumes; /* PersistentVolumes */
    struct informer *classes;
    struct map workers; /* pod uid -> struct worker */
    struct static_pods *static_pods;
    char *node_uid; /* of the node's object; NULL: it is not registered yet */
    struct node_registration *registration;
    struct image_puller *puller;
    struct image_gc *image_gc;
    struct provisioner *provisioner;
    struct usage_meter *meter;
    struct pressure *pressure;
    struct cpu_manager *cpus; /* NULL: all containers share all CPUs */
    struct http_prober *http_prober;
    int64_t cpu_milli; /* of the machine */
    int64_t memory;
    int64_t disk; /* of the file system that holds the data directory */
    struct {
        int64_t cpu_milli, memory, disk;
    } allocatable;                  /* to pods */
    struct huge_pages huge_pages;   /* that the kernel had set aside when the agent began, as upstream looks at them */
    struct agent_reserved reserved; /* the rest but for what has to be left */
    bool room_made;                 /* deferred resizes are looked at in the next turn */
    bool stopping;
    size_t removals; /* sandboxes and containers without a pod that are being removed */
};

/* Something has ended that the agent's stop may be waiting for. */
void agent_settled(struct agent *agent);
/* A pod has ended or takes less: changes of resources that have to wait are looked at again. */
void agent_room_made(struct agent *agent);

#endif
