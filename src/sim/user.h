/* Simulated users: what people and pipelines do to Deployments and Jobs, at random. Requests may be refused or lost; nobody tries
 * again, except at the end, when every Deployment is left in a state that can be reached. */
#ifndef CORACLE_SIM_USER_H
#define CORACLE_SIM_USER_H

#include "sim/cluster.h"
#include "sim/history.h"

/* Deployments have at most so many pods, but for those of large histories. */
#define SIM_REPLICAS_MAX 12
#define SIM_REPLICAS_MAX_LARGE 250
/* Jobs have at most so many at once, and twice as many completions. */
#define SIM_PARALLELISM_MAX 3

struct sim_user;

/* replicas_max: of a Deployment. */
struct sim_user *sim_user_new(struct sim_cluster *cluster, struct sim_history *history, struct sim_random random,
                              int32_t replicas_max);
void sim_user_free(struct sim_user *user);
/* Does one thing. */
void sim_user_act(struct sim_user *user);
/* Mends what users broke: every Deployment runs, with an image that is good and pods that fit; Jobs
 * can finish; nodes take pods. Submits
 * the requests and returns how many; call again until it returns 0, letting time pass between. */
size_t sim_user_mend(struct sim_user *user);

#endif
