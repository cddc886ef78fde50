/* A simulated disk and the engine on it: batches take a while, some fail, and a crash of the process keeps what was
 * durable and may or may not keep the batch that was being written. What is on the disk outlives stores. */
#ifndef CORACLE_SIM_DISK_H
#define CORACLE_SIM_DISK_H

#include "sim/random.h"
#include "store/engine.h"

struct sim_disk;

/* May be changed while the simulation runs. */
struct sim_disk_options {
    int64_t delay_min, delay_max; /* of a batch, microseconds */
    unsigned failing;             /* of a thousand batches */
    unsigned forgotten;           /* of a thousand batches: acknowledged and not kept, which no disk may do */
};

struct sim_disk *sim_disk_new(struct env *env, struct sim_random random, const struct sim_disk_options *options);
/* The stores on it must have been freed. */
void sim_disk_free(struct sim_disk *disk);
/* The options, to be changed in place. */
struct sim_disk_options *sim_disk_options(struct sim_disk *disk);
/* An engine for one store; at most one at a time. */
struct store_engine *sim_disk_engine(struct sim_disk *disk);
/* From here on the present engine makes nothing durable: its batches fail. */
void sim_disk_crash(struct sim_disk *disk);

#endif
