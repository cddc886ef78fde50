/* From the API server's request for a log to the node's log files. */
#ifndef CORACLE_CLI_LOGS_H
#define CORACLE_CLI_LOGS_H

#include "node/agent.h"
#include "server/server.h"

struct server_log *logs_open(struct agent *agent, const struct server_log_request *request, struct error *err);

#endif
