/* Figures of controllers and scheduler for /metrics. */
#ifndef CORACLE_CLI_FIGURES_H
#define CORACLE_CLI_FIGURES_H

#include "base/buffer.h"
#include "control/control.h"
#include "schedule/schedule.h"

/* Appends workqueue_depth and scheduler_pending_pods in Prometheus' text format. Either part may be NULL while the
 * cluster starts. Called on the core thread, where both live. */
void figures_write(const struct control *control, const struct scheduler *scheduler, struct buffer *out);

#endif
