/* Options of the node, named and spelled as the kubelet's. */
#ifndef CORACLE_CLI_NODE_OPTIONS_H
#define CORACLE_CLI_NODE_OPTIONS_H

#include "cli/options.h"
#include "node/agent.h"

/* Reads them into the agent's options; texts live in the arena. Fails with a sentence for people. */
int node_options_read(struct arena *arena, const struct up_options *up, struct agent_options *out, struct error *err);

#endif
