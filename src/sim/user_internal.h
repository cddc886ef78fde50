/* A simulated user. Private to user.c, which acts, and user_mend.c, which brings what was made to rest. */
#ifndef CORACLE_SIM_USER_INTERNAL_H
#define CORACLE_SIM_USER_INTERNAL_H

#include "base/vector.h"
#include "sim/user.h"

struct sim_user {
    struct sim_cluster *cluster;
    struct sim_history *history;
    struct sim_random random;
    struct client *client;
    int32_t replicas_max;
    unsigned image; /* counts up: every rollout has a new one, unless it goes back */
};

struct user_objects {
    VECTOR(struct object *) items; /* borrowed */
};

/* For store_list; context: struct user_objects. */
bool user_collect(void *context, struct object *object);
/* A merge patch. */
void user_patch(struct sim_user *u, const struct object *object, const char *text);
/* Takes the arena over; what: a verb for the history. */
void user_write_deployment(struct sim_user *u, struct arena *arena, struct deployment *d, const char *what);

#endif
