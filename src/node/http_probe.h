/* HTTP GETs of probes and hooks, many at once on the loop. Certificates are not checked and
 * redirects are not followed: their status counts as success. */
#ifndef CORACLE_NODE_HTTP_PROBE_H
#define CORACLE_NODE_HTTP_PROBE_H

#include "api/types.h"
#include "base/env.h"

struct http_prober;
struct http_probe;

struct http_prober *http_prober_new(struct env *env);
/* Call when no probe is under way. The loop has to turn once more for the handles of the last ones to close. */
void http_prober_free(struct http_prober *prober);

struct http_probe_options {
    const char *host; /* name or address; copied */
    int port;
    int64_t timeout;        /* microseconds; 0: none */
    const char *user_agent; /* unless the action's headers name one; copied */
    bool any_status;        /* every answer is a success, as for hooks; otherwise 200 to 399 */
};

/* failure NULL: the answer was a success. Valid during the call. */
typedef void (*http_probe_done)(void *context, const char *failure);
/* done runs later, once. */
struct http_probe *http_probe_start(struct http_prober *prober, const struct http_get_action *get,
                                    const struct http_probe_options *options, http_probe_done done, void *context);
/* done will not run. NULL is fine. */
void http_probe_cancel(struct http_probe *probe);

#endif
