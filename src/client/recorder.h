/* Events that users read in `kubectl describe`. Equal events (same object, reason, message, type) are counted
 * up instead of repeated, as upstream's correlator does, and made anew with their count where the server has forgotten
 * them; a flood about one object is cut off. Belongs to one thread. */
#ifndef CORACLE_CLIENT_RECORDER_H
#define CORACLE_CLIENT_RECORDER_H

#include "client/client.h"

/* Events about one object: a burst, then one per refill period, as upstream's spam filter. */
#define RECORDER_BURST 25
#define RECORDER_REFILL (300 * INT64_C(1000000))
/* Events remembered for counting up. */
#define RECORDER_CACHE_MAX 4096

struct recorder;

/* component and host become the event's source: "kubelet" and the node, "deployment-controller" and NULL. */
/* The client is borrowed. */
struct recorder *recorder_new(struct client *client, const char *component, const char *host);
void recorder_free(struct recorder *recorder);

/* type is "Normal" or "Warning". field_path: the part that it is about, as
 * "spec.containers{model-server}", or NULL. */
void recorder_event(struct recorder *recorder, const struct api_resource *resource, const struct object_meta *about,
                    const char *field_path, const char *type, const char *reason, const char *format, ...)
    __attribute__((format(printf, 7, 8)));

#endif
