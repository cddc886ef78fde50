/* HTTP GETs of probes and hooks, many at once on the loop. Certificates are not checked. Redirects are followed, but
 * only to the same host, whatever the port and the scheme. */
#ifndef CORACLE_NODE_HTTP_PROBE_H
#define CORACLE_NODE_HTTP_PROBE_H

#include "api/types.h"
#include "base/env.h"

/* Of one probe, redirected each time; as Go's client. */
#define HTTP_PROBE_REQUESTS_MAX 10

struct http_prober;
struct http_probe;

struct http_prober *http_prober_new(struct env *env);
/* Call when no probe is under way. The loop has to turn once more for the handles of the last ones to close. */
void http_prober_free(struct http_prober *prober);

struct http_probe_options {
    const char *host; /* name or address; copied */
    int port;
    int64_t timeout;        /* microseconds, with all redirects; 0: none */
    const char *user_agent; /* unless the action's headers name one; copied */
    bool any_status;        /* every answer is a success, as for hooks; otherwise 200 to 399 */
    bool plain;             /* http whatever the action says, and no Authorization */
};

enum http_probe_outcome {
    HTTP_PROBE_SUCCEEDED,
    HTTP_PROBE_WARNED, /* it counts as a success; `text` says what is the matter: a redirect that is not followed */
    HTTP_PROBE_FAILED,
    HTTP_PROBE_UNENCRYPTED /* a failure: the server was asked over https and speaks http */
};

/* `text` is upstream's, valid during the call; NULL of a plain success. The probe is gone after
 * the call. */
typedef void (*http_probe_done)(void *context, enum http_probe_outcome outcome, const char *text);
/* done runs later, once. `get` has to live as long as the probe. */
struct http_probe *http_probe_start(struct http_prober *prober, const struct http_get_action *get,
                                    const struct http_probe_options *options, http_probe_done done, void *context);
/* "10.0.0.1:80": whom the probe asks, or asked last. Lives as long as the probe. */
const char *http_probe_authority(const struct http_probe *probe);
/* done will not run. NULL is fine. */
void http_probe_cancel(struct http_probe *probe);

#endif
