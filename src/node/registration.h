/* The node's own objects: its Node (capacity, addresses, conditions, system information, images) and the Lease
 * in kube-node-lease that says it is alive. */
#ifndef CORACLE_NODE_REGISTRATION_H
#define CORACLE_NODE_REGISTRATION_H

#include "node/node.h"

/* Upstream's: the lease is renewed every 10 s and lasts 40 s; the status is written when it changes, and every
 * 5 minutes. */
#define REGISTRATION_RENEW (10 * INT64_C(1000000))
#define REGISTRATION_LEASE_SECONDS 40
#define REGISTRATION_STATUS (300 * INT64_C(1000000))
/* Images listed in the node's status, the largest first, as upstream. */
#define REGISTRATION_IMAGES_MAX 50

struct node_registration;

/* Reads what the machine is: blocks for a millisecond. */
struct node_registration *registration_new(struct agent *agent);
/* Registers the node; ready runs once it has been reported Ready. Retries until it succeeds. */
void registration_start(struct node_registration *registration, env_callback ready, void *context);
/* Writes the status soon: something it shows has changed. */
void registration_poke(struct node_registration *registration);
/* The node's object has changed: what others declare in its capacity is given to pods. */
void registration_node_changed(struct node_registration *registration, const struct node *node);
/* The node as it is registered when the API has none, and what pods may have of it (pods, cpu, memory,
 * ephemeral-storage, huge pages); in the arena and in the registration. */
struct node *registration_node(const struct node_registration *registration, struct arena *arena);
struct string_map registration_allocatable(const struct node_registration *registration, struct arena *arena);
/* Begins nothing more; registration_idle tells when nothing is under way, and then it may be freed. */
void registration_stop(struct node_registration *registration);
bool registration_idle(const struct node_registration *registration);
void registration_free(struct node_registration *registration);

#endif
