/* Probes: httpGet, tcpSocket, grpc and exec, with upstream's delays, thresholds and texts. A prober works from
 * prober_new to prober_free on the loop's thread. Nothing blocks. */
#ifndef CORACLE_NODE_PROBER_H
#define CORACLE_NODE_PROBER_H

#include <stdbool.h>

#include "api/object.h"
#include "base/env.h"

struct agent;
struct prober;

enum prober_kind { PROBER_READINESS, PROBER_LIVENESS, PROBER_STARTUP, PROBER_KINDS };

/* Bytes of an answer or of a command's output that are kept for the event's text. */
#define PROBER_OUTPUT_MAX (10 * 1024)

enum prober_result {
    PROBER_SUCCEEDED,
    PROBER_WARNED, /* a success that the user should hear of */
    PROBER_FAILED,
    PROBER_ERRORED /* it could not be made: neither success nor failure */
};

/* One attempt has ended. `healthy` is the verdict after thresholds, `changed` whether it has just turned or, of a startup
 * probe, is the first. `text` is what upstream's event says behind "Readiness probe " ("failed: HTTP probe failed with
 * statuscode: 503"), NULL of a plain success. The callback may free the prober. */
typedef void (*prober_callback)(void *context, enum prober_kind kind, enum prober_result result, bool healthy,
                                bool changed, const char *text);

struct prober_options {
    enum prober_kind kind;
    struct object *pod;                /* the snapshot that holds probe and container; the prober keeps a reference */
    const struct probe *probe;
    const struct container *container; /* resolves named ports */
    const char *pod_ip;                /* the default host; copied */
    const char *container_id;          /* where exec runs; copied */
    bool healthy;                      /* the verdict until a threshold says otherwise */
    int64_t since_start;               /* microseconds that the container has been running: counts against the delay */
};

/* The number of a port given by number or by the container port's name; 0: there is none. */
int probe_port(const struct container *container, const struct int_or_string *port);

struct prober *prober_new(struct agent *agent, const struct prober_options *options, prober_callback callback,
                          void *context);
/* An attempt under way is dropped. NULL is fine. */
void prober_free(struct prober *prober);

#endif
