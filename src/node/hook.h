/* Lifecycle hooks: exec, httpGet and sleep, as upstream runs them. An HTTP answer counts whatever its status, and
 * over http too where https was asked for. A hook
 * has no time limit of its own; whoever started it cancels it. On the loop's thread; nothing blocks. */
#ifndef CORACLE_NODE_HOOK_H
#define CORACLE_NODE_HOOK_H

#include "api/object.h"

struct agent;
struct hook;

/* failure NULL: it succeeded; otherwise upstream's sentence, valid during the call. The hook is gone then. */
typedef void (*hook_done)(void *context, const char *failure);

struct hook_options {
    struct object *pod; /* the snapshot that holds handler and container; the hook keeps a reference */
    const struct lifecycle_handler *handler;
    const struct container *container;
    const char *pod_ip;       /* the default host; copied */
    const char *container_id; /* where exec runs; copied */
    /* A server that was to be asked over https speaks http, and has been asked so. `host` is "10.0.0.1:80". Called
     * before done, with the same context. */
    void (*fell_back)(void *context, const char *host);
};

/* done runs later, once, unless the hook is cancelled. */
struct hook *hook_start(struct agent *agent, const struct hook_options *options, hook_done done, void *context);
/* done will not run; a command is killed. NULL is fine. */
void hook_cancel(struct hook *hook);

#endif
