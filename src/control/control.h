/* The controllers: each watches some kinds and moves the cluster towards what they ask for. They know only the
 * client; one thread, that of the client's environment. One file per controller, one table of all of them. */
#ifndef CORACLE_CONTROL_CONTROL_H
#define CORACLE_CONTROL_CONTROL_H

#include "client/informer.h"

#include "base/address_range.h"

struct control;

struct control_options {
    /* Where Services of type LoadBalancer get their addresses; NULL: they get those of the nodes. Must outlive it. */
    const struct address_ranges *balancer_pool;
    /* The certificate, as PEM text, by which pods know the API server; NULL: it is not published. Must outlive it. */
    const char *root_ca;
};

/* All controllers (options NULL: none), on informers that are shared with others of the same client (the scheduler).
 * Nothing is taken over. They begin once the informers are synced. */
struct control *control_new(struct client *client, struct informer_set *informers,
                            const struct control_options *options);
/* Call when the client answers no more. */
void control_free(struct control *control);
/* Keys that wait or are being worked on, over all controllers: 0 when they have nothing to do. */
size_t control_depth(const struct control *control);
/* Tells of each controller's work queue how many keys wait in it, under the name that upstream's metrics give it. */
void control_queues(const struct control *control, void (*tell)(void *context, const char *queue, size_t waiting),
                    void *context);

#endif
