/* A simulated connection between one client and the API: requests, answers and watch events take their time; a watch
 * keeps the order of its own events, while nothing orders different watches or answers. A connection can be cut, as
 * by a crash at either end: what is under way is then answered with 503, whether or not it was carried out. */
#ifndef CORACLE_SIM_LINK_H
#define CORACLE_SIM_LINK_H

#include "base/env.h"
#include "client/client.h"
#include "sim/random.h"

/* May be changed while the simulation runs. Times in microseconds. */
struct sim_link_options {
    int64_t request_max;  /* on the way there: 0 to so much */
    int64_t answer_max;   /* on the way back */
    int64_t event_max;    /* of a watch event; each watch draws its own bound below this one */
    unsigned lost_before; /* of a thousand requests: answered 503, never carried out */
    unsigned lost_after;  /* of a thousand requests: carried out, and answered 503 */
    unsigned broken;      /* of a thousand watch events: the watch breaks before it, sometimes with 410 */
};

struct sim_cluster;
struct sim_link;

/* Sees each request when it is made, before any delay. */
typedef void (*sim_link_observer)(void *context, const struct client_request *request);

struct sim_link *sim_link_new(struct env *env, struct sim_random random, const struct sim_link_options *options);
/* After its users and its target. */
void sim_link_free(struct sim_link *link);
struct sim_link_options *sim_link_options(struct sim_link *link);
/* What users of the connection hold. */
struct client *sim_link_client(struct sim_link *link);
/* Where it leads; NULL: nowhere, and every request is answered 503. */
void sim_link_connect(struct sim_link *link, struct client *target);
void sim_link_observe(struct sim_link *link, sim_link_observer observer, void *context);
/* Bends what passes, as if the user of the link were wrong; see sim/fault.h. Either may be NULL. */
typedef bool (*sim_link_request_bender)(struct sim_cluster *cluster, struct client_request *request);
typedef struct object *(*sim_link_object_bender)(struct object *object);
void sim_link_distort(struct sim_link *link, sim_link_request_bender request, sim_link_object_bender show,
                      struct sim_cluster *cluster);
/* Refuses creates of a resource with 403 and this message, as a quota does; NULL: no longer. The text is borrowed. */
void sim_link_refuse(struct sim_link *link, const struct api_resource *resource, const char *message);
/* Answers everything under way with 503, and breaks all watches, before it returns; the link then leads nowhere. Call
 * it from the loop. Answers that the target gives later are dropped. */
void sim_link_cut(struct sim_link *link);
/* The target has been freed and gives no more answers: forgets what it held. */
void sim_link_target_gone(struct sim_link *link);
/* Requests and watches with something under way. */
size_t sim_link_depth(const struct sim_link *link);

#endif
