/* What a node's agent itself answers through nodes/NAME/proxy: of what upstream's kubelet serves on its port, /healthz
 * and /pods; anything else is 404. There is no such port here: agent and API share a process. */
#ifndef CORACLE_SERVER_NODE_PROXY_H
#define CORACLE_SERVER_NODE_PROXY_H

#include "base/buffer.h"
#include "client/client.h"
#include "server/http/http.h"

/* Upstream's default of the kubelet's port. */
#define KUBELET_PORT 10250

struct node_answer {
    int status;
    const char *content_type;
    struct buffer body;
    env_callback done;
    void *context;
};

/* Whether the port ("" when none is asked for) is that of the node's agent. */
bool node_proxy_is_agent(const struct node *node, const char *port);
/* Finds the answer, and calls answer->done(answer->context), at once or later; the caller frees the body. path: behind
 * /proxy, as sent. On the client's thread. */
void node_proxy_answer(struct client *client, const char *node, enum http_method method, const char *path,
                       struct node_answer *answer);

#endif
