/* Measures what the machine and its containers use: on request, and in the background only for as long as somebody
 * asks. CPU is an average between two looks. The first request takes one look, and the second USAGE_WINDOW_FIRST later,
 * before it is answered; then looks go on every USAGE_PERIOD, until nobody has asked for USAGE_KEEP. */
#ifndef CORACLE_NODE_USAGE_H
#define CORACLE_NODE_USAGE_H

#include "api/usage.h"
#include "base/timestamp.h"
#include "node/node.h"

#define USAGE_WINDOW_FIRST (1 * SECOND)
/* metrics-server's resolution. */
#define USAGE_PERIOD (15 * SECOND)
#define USAGE_KEEP (60 * SECOND)

struct usage_meter;

struct usage_meter *usage_meter_new(struct agent *agent);
/* done runs once, never inside this call. */
void usage_meter_ask(struct usage_meter *meter, usage_done done, void *context);
/* Answers who waits with NULL. A look that is under way ends by itself; agent_settled follows. */
void usage_meter_stop(struct usage_meter *meter);
bool usage_meter_idle(const struct usage_meter *meter);
void usage_meter_free(struct usage_meter *meter);

#endif
