/* A cluster in one process and in simulated time: the store on a simulated disk, the registry, the controllers and the
 * scheduler as they are in production, and simulated nodes. Users, controllers and nodes each have a link of their own
 * to the API. */
#ifndef CORACLE_SIM_CLUSTER_H
#define CORACLE_SIM_CLUSTER_H

#include "client/informer.h"
#include "control/control.h"
#include "registry/registry.h"
#include "schedule/schedule.h"
#include "sim/disk.h"
#include "sim/environment.h"
#include "sim/link.h"
#include "sim/node.h"

/* When every simulation begins. */
#define SIM_START INT64_C(1767225600000000) /* 2026-01-01T00:00:00Z */

#define SIM_NODES_MAX 64

/* All zero: no delay and no fault. Taken over by value; each part may be changed through the functions below. */
struct sim_cluster_options {
    uint64_t seed;
    struct sim_disk_options disk;
    struct sim_link_options control_link, node_link, user_link;
    struct sim_behaviour behaviour;
    const struct address_ranges *balancer_pool; /* as in struct control_options; must outlive the cluster */
};

struct sim_cluster;

/* Called when a store has been opened: at the start and after each crash. */
typedef void (*sim_cluster_opened)(void *context, struct sim_cluster *cluster);
/* Called before the store is freed. */
typedef void (*sim_cluster_closing)(void *context, struct sim_cluster *cluster);

/* Starts the control plane; runs until the namespaces are there. No nodes yet. The environment is a simulated one, and
 * is not taken over. */
struct sim_cluster *sim_cluster_new(struct env *env, const struct sim_cluster_options *options,
                                    sim_cluster_opened opened, sim_cluster_closing closing, void *context);
void sim_cluster_free(struct sim_cluster *cluster);

/* NULL while the control plane is down. */
struct store *sim_cluster_store(struct sim_cluster *cluster);
/* What the controllers see; NULL while the control plane is down. */
struct informer_set *sim_cluster_informers(struct sim_cluster *cluster);
struct control *sim_cluster_control(struct sim_cluster *cluster);
struct scheduler *sim_cluster_scheduler(struct sim_cluster *cluster);
/* The link of the controllers and the scheduler, and that of users. They live as long as the cluster. */
struct sim_link *sim_cluster_control_link(struct sim_cluster *cluster);
struct sim_link *sim_cluster_user_link(struct sim_cluster *cluster);
struct sim_disk *sim_cluster_disk(struct sim_cluster *cluster);
struct sim_behaviour *sim_cluster_behaviour(struct sim_cluster *cluster);

/* The process that holds store, registry, controllers and scheduler ends at this instant. */
void sim_cluster_crash(struct sim_cluster *cluster);
/* It is started again, and finds what the disk holds. */
void sim_cluster_restart(struct sim_cluster *cluster);

/* Adds a node; options->number is given by the cluster. Returns its place. */
size_t sim_cluster_add_node(struct sim_cluster *cluster, const struct sim_node_options *options);
size_t sim_cluster_node_count(const struct sim_cluster *cluster);
struct sim_node *sim_cluster_node(struct sim_cluster *cluster, size_t place);
struct sim_link *sim_cluster_node_link(struct sim_cluster *cluster, size_t place);
void sim_cluster_crash_node(struct sim_cluster *cluster, size_t place, bool reboot);
void sim_cluster_return_node(struct sim_cluster *cluster, size_t place);

/* No delay and no fault from here on; what is down comes back. */
void sim_cluster_calm(struct sim_cluster *cluster);

#endif
