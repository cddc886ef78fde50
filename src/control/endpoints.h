/* Shared by the controllers of EndpointSlices and Endpoints: which pods stand behind a Service, at which ports. */
#ifndef CORACLE_CONTROL_ENDPOINTS_H
#define CORACLE_CONTROL_ENDPOINTS_H

#include "base/map.h"
#include "control/controller.h"

#define HEADLESS_LABEL "service.kubernetes.io/headless"

/* When what endpoints were last changed for had happened, as upstream writes it, for those who measure how long it
 * takes. */
#define TRIGGER_TIME_ANNOTATION "endpoints.kubernetes.io/last-change-trigger-time"

struct service_watch {
    struct controller *controller;
    struct informer *services, *pods;
    struct map triggers; /* "namespace/name" -> what was seen of the Service and its pods last */
};

/* Watches Services and pods, and adds the keys of Services whose endpoints may have changed. */
void endpoints_watch(struct controller *controller, struct service_watch *watch);

void endpoints_watch_free(struct service_watch *watch);

/* Adds the key of the Service that the slice is of, if it is of one. NULL: there is no slice. */
void endpoints_slice_seen(struct controller *controller, const struct object *slice);

/* One look at a Service: when what made it necessary had happened. Upstream's TriggerTimeTracker. */
struct trigger_look {
    const struct service *service;
    struct trigger *trigger; /* what the look before saw */
    bool known;              /* there was one */
    struct map now;          /* name of a pod -> the time at which it turned ready or unready */
    int64_t earliest;        /* of those that are new; 0: none */
};

void endpoints_trigger_begin(struct service_watch *watch, const struct service *service, struct trigger_look *look);
/* Takes a pod that the Service selects into account. */
void endpoints_trigger_pod(struct trigger_look *look, const struct pod *pod);
/* The earliest of the times at which a pod of the Service has turned ready or unready since the last look; when the
 * Service is seen for the first time, its creation; 0: nothing of the kind. */
int64_t endpoints_trigger_end(struct trigger_look *look);
/* The Service is gone. */
void endpoints_forget_trigger(struct service_watch *watch, const char *namespace, const char *name);
/* Sets the annotation, or takes it away when `time` is 0. */
void endpoints_set_trigger_time(struct arena *arena, struct string_map *annotations, int64_t time);

/* Calls visit, which returns true, for each pod that the Service selects and that has an address and has not ended.
 * Returns endpoints_trigger_end's time. */
int64_t endpoints_each_pod(struct service_watch *watch, const struct service *service, informer_visit visit,
                           void *context);
/* True when the Service has a selector, so that its endpoints are ours to make. */
bool endpoints_managed(const struct service *service);
/* The pod's address of the family ("IPv4" or "IPv6"), or NULL. */
const char *endpoints_pod_address(const struct pod *pod, const char *family);
/* The number of the pod's port that a Service port leads to; 0: the pod has no such port. Sidecars have ports too,
 * after those of the containers (upstream's FindPort). */
int32_t endpoints_port(const struct pod *pod, const struct service_port *port);
bool endpoints_headless(const struct service *service);
/* The labels of the Service with the given pair. Whether it is headless is told by its address, not by its labels. */
struct string_map endpoints_labels(struct arena *arena, const struct service *service, const char *key,
                                   const char *value);
/* The hostname under which a headless Service publishes the pod, or NULL. */
const char *endpoints_hostname(const struct pod *pod, const struct service *service);
/* Whether slices with these ports may be one. */
bool endpoint_slice_same_ports(const struct discovery_endpoint_port_array *a,
                               const struct discovery_endpoint_port_array *b);

#endif
