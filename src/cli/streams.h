/* From the API server's request for a process to talk to, to the node's containers. */
#ifndef CORACLE_CLI_STREAMS_H
#define CORACLE_CLI_STREAMS_H

#include "node/agent.h"
#include "server/server.h"

/* As server_node_access.exec. *agent is NULL when there is none yet, or none any more. */
struct server_exec *streams_exec(struct env *env, struct agent *const *agent, const struct server_exec_request *request,
                                 const struct server_exec_events *events, void *context, struct error *err);

#endif
