/* A simulated node: a kubelet without containers. It registers the Node, renews its Lease, and for the pods that are
 * bound to it writes the status that a kubelet would: images are pulled, containers start, become ready, crash and are
 * restarted; a pod that is being deleted stops within its grace period and is then removed.
 *
 * What an image does is in its name (see sim_image): so that a rollout to a broken image stays broken, while random
 * faults come from the behaviour and go when that is calm. */
#ifndef CORACLE_SIM_NODE_H
#define CORACLE_SIM_NODE_H

#include "sim/link.h"

/* Shared by the nodes; may be changed while the simulation runs. Times in microseconds, chances of a thousand. */
struct sim_behaviour {
    int64_t pull_max, start_max, ready_max, stop_max;
    unsigned pull_fails;  /* per pull */
    unsigned start_fails; /* per start of a container */
    unsigned crashes;     /* per second of a running container */
    unsigned flaps;       /* per second of a ready container: its readiness probe fails for a while */
};

/* What becomes of images, by how their names begin. */
enum sim_image {
    SIM_IMAGE_GOOD,     /* any other name */
    SIM_IMAGE_MISSING,  /* "missing...": can never be pulled */
    SIM_IMAGE_CRASHING, /* "crashing...": its container ends after a second, every time */
    SIM_IMAGE_UNREADY,  /* "unready...": runs and never becomes ready */
    SIM_IMAGE_DONE,     /* "done...": its container ends within some seconds, and has succeeded */
};
enum sim_image sim_image_of(const char *name);

struct sim_node_options {
    const char *name; /* copied */
    int number;       /* 1 to 65535: pods get addresses in 10.(number/256).(number%256).0 and above */
    const char *zone; /* NULL: none */
    const char *cpu, *memory, *pods; /* allocatable */
    int64_t heartbeat;               /* between renewals of the Lease; 0: none */
    int64_t status_period;           /* between heartbeats in the Node's status; 0: none */
};

struct sim_node;

/* Neither env, link nor behaviour is taken over. Starts at once. */
struct sim_node *sim_node_new(struct env *env, struct sim_link *link, struct sim_random random,
                              const struct sim_behaviour *behaviour, const struct sim_node_options *options);
void sim_node_free(struct sim_node *node);
/* The kubelet is gone; with `reboot` the containers too. Cut the link first. */
void sim_node_crash(struct sim_node *node, bool reboot);
/* It is back and looks at what the API says about its pods. Connect the link first. */
void sim_node_return(struct sim_node *node);
bool sim_node_up(const struct sim_node *node);
const char *sim_node_name(const struct sim_node *node);

#endif
