/* Shared by the controllers, not for other rooms: how one is declared, and who owns what. */
#ifndef CORACLE_CONTROL_CONTROLLER_H
#define CORACLE_CONTROL_CONTROLLER_H

#include "api/pod_condition.h"
#include "base/env.h"
#include "client/recorder.h"
#include "control/queue.h"

struct control_options;

struct controller {
    const struct control_options *options;
    struct client *client;
    struct env *env;
    struct informer_set *informers;
    struct recorder *recorder;
    struct queue *queue;
    void *state; /* the controller's own */
};

/* A controller of the table in control.c. */
struct controller_kind {
    const char *name; /* as upstream's: "deployment-controller"; the component of its events */
    const char *queue; /* as upstream's metrics call its work queue: "deployment" */
    /* Gets informers, adds handlers and indexes; informers start afterwards. */
    void (*start)(struct controller *controller);
    queue_reconcile reconcile;                   /* context: the struct controller */
    void (*stop)(struct controller *controller); /* releases state; may be NULL */
};

extern const struct controller_kind deployment_controller;
extern const struct controller_kind replica_set_controller;
extern const struct controller_kind endpoint_slice_controller;
extern const struct controller_kind endpoints_controller;
extern const struct controller_kind endpoint_slice_mirroring_controller;
extern const struct controller_kind load_balancer_controller;
extern const struct controller_kind namespace_controller;
extern const struct controller_kind service_account_controller;
extern const struct controller_kind root_ca_publisher;
extern const struct controller_kind cluster_role_aggregation;
extern const struct controller_kind garbage_collector;
extern const struct controller_kind volume_binder;
extern const struct controller_kind claim_protection;
extern const struct controller_kind volume_protection;
extern const struct controller_kind ephemeral_volume_controller;
extern const struct controller_kind cron_job_controller;
extern const struct controller_kind job_controller;
extern const struct controller_kind job_orphan_controller;
extern const struct controller_kind job_ttl_controller;
extern const struct controller_kind pod_garbage_collector;
extern const struct controller_kind node_lifecycle_controller;
extern const struct controller_kind taint_eviction_controller;

/* The owner reference with controller: true, or NULL. */
const struct owner_reference *controller_of(const struct object_meta *meta);
/* Index of objects by the uid of their controller; those without one by CONTROLLER_ORPHAN and their namespace. */
#define CONTROLLER_ORPHAN "orphan/"
#define CONTROLLER_INDEX_MAX 320
bool controller_index_owner(struct object *object, char *out, size_t size);
/* An owner reference with controller and blockOwnerDeletion, as upstream's NewControllerRef. */
struct owner_reference controller_reference(const struct api_resource *resource, const struct object_meta *owner);
/* Adds the key of the object to the queue. */
void controller_enqueue(struct controller *controller, const struct object_meta *meta);
/* Adds the key of the controller of the object, if it is of this kind. */
void controller_enqueue_owner(struct controller *controller, const struct api_resource *owner,
                              const struct object_meta *meta);

/* What an owner's selector claims, as upstream's controller reference manager does it: objects that it controls and
 * that match; orphans that match are adopted, if the API confirms that the owner is still there, and controlled ones
 * that do not match are released. */
struct claim {
    const struct api_resource *owner_resource;
    const struct object_meta *owner;
    const struct selector *selector;
    const struct api_resource *resource;
    int index; /* of controller_index_owner on the resource's informer */
    const char *finalizer; /* that adopted objects get; NULL: none */
};
struct object_array {
    struct object **items; /* borrowed */
    size_t count;
};
/* False while objects are being adopted: they count, but are not shown yet, so the rest has to wait for the next run,
 * which their events bring. */
bool controller_claim(struct controller *controller, struct work *work, const struct claim *claim,
                      struct object_array *out);

/* True when the answer says that a namespace is being terminated: nothing can be created there any more. */
bool controller_namespace_terminating(const struct client_result *result);

/* Pods as upstream's podutil sees them (see also api/pod_condition.h). Ready for at least min_ready_seconds; *later
 * (may be NULL) gets when it will be, 0 if it is not ready. */
bool pod_is_available(const struct pod *pod, int32_t min_ready_seconds, int64_t now, int64_t *later);
/* Neither Succeeded, Failed nor being deleted. */
bool pod_is_active(const struct pod *pod);

#endif
