/* Keeps the node from running out of memory, disk and processes: watches what is left, says so in the node's
 * conditions, gives back what it can of disk (node/reclaim.h), and ends one pod after the other until there is enough.
 * Decisions are those of node/eviction.h.
 *
 * A look costs the reading of three small files; there is one every PRESSURE_PERIOD, and more often when little is
 * left. */
#ifndef CORACLE_NODE_PRESSURE_H
#define CORACLE_NODE_PRESSURE_H

#include "node/eviction.h"
#include "node/node.h"

/* Upstream's monitoring interval, and how often it is looked when less than twice the threshold is left, or at most
 * PRESSURE_CLOSE bytes above it. */
#define PRESSURE_PERIOD (10 * INT64_C(1000000))
#define PRESSURE_PERIOD_CLOSE (500 * INT64_C(1000))
#define PRESSURE_CLOSE (INT64_C(1) << 30)
/* How long the end of one victim is waited for before the next is chosen. */
#define PRESSURE_VICTIM_WAIT (30 * INT64_C(1000000))

struct pressure;

struct pressure *pressure_new(struct agent *agent, const struct eviction_thresholds *thresholds, int64_t transition);
void pressure_start(struct pressure *pressure);
void pressure_stop(struct pressure *pressure);
void pressure_free(struct pressure *pressure);

/* What the node's conditions say: EVICTION_CONDITIONS flags, which live as long as this does. */
const bool *pressure_shown(const struct pressure *pressure);
/* A pod has been torn down: it may have been the victim. */
void pressure_pod_ended(struct pressure *pressure, const char *uid);

#endif
