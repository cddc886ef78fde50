/* What a node's agent itself answers through nodes/NAME/proxy: of what upstream's kubelet serves on its port, /healthz,
 * /pods, /stats/summary, /metrics, /metrics/resource and /metrics/cadvisor; anything else is 404 (/logs/ and /configz
 * too: there are no files and no settings of a kubelet). There is no such port here: agent and API share a process. */
#ifndef CORACLE_SERVER_NODE_PROXY_H
#define CORACLE_SERVER_NODE_PROXY_H

#include "base/buffer.h"
#include "client/client.h"
#include "server/http/http.h"
#include "server/node_stats.h"
#include "server/server.h"

/* Upstream's default of the kubelet's port. */
#define KUBELET_PORT 10250

struct node_answer {
    int status;
    const char *content_type;
    struct buffer body;
    env_callback done;
    void *context;
    const char *node;        /* where figures are asked for: whose, ... */
    node_stats_writer write; /* ... and how they are written */
};

/* Whether the port ("" when none is asked for) is that of the node's agent. */
bool node_proxy_is_agent(const struct node *node, const char *port);
/* Finds the answer, and calls answer->done(answer->context), at once or later; the caller frees the body. path: behind
 * /proxy, as sent; path and node live until the answer is there. On the client's thread. */
void node_proxy_answer(struct client *client, const struct server_node_access *access, const char *node,
                       enum http_method method, const char *path, struct node_answer *answer);

#endif
