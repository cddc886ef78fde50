/* Ends pods that are being deleted and were never bound to a node: no kubelet will ever say of them that they have ended, and
 * who waits for that (a Job that replaces a pod when it has failed) would wait for ever. The part of upstream's pod
 * garbage collector that concerns such pods. */
#include <string.h>

#include "control/controller.h"

static bool is_stuck(const struct pod *pod)
{
    const char *phase = pod->status.phase ? pod->status.phase : "";
    return pod->metadata.deletion_timestamp && (!pod->spec.node_name || !*pod->spec.node_name) &&
           strcmp(phase, "Succeeded") != 0 && strcmp(phase, "Failed") != 0;
}

static void pod_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)old;
    if (change != INFORMER_DELETED && is_stuck(object->value))
        controller_enqueue(context, object->meta);
}

static void start(struct controller *c)
{
    informer_add_handler(informer_set_get(c->informers, &api_resources[API_PODS]), pod_changed, c);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    struct informer *pods = informer_set_get(c->informers, &api_resources[API_PODS]);
    struct object *pod = informer_get(pods, work_namespace(work), work_name(work));
    if (!pod || !is_stuck(pod->value))
        return;
    const char *patch = arena_printf(work_arena(work),
                                     "{\"metadata\":{\"uid\":\"%s\"},\"status\":{\"phase\":\"Failed\"}}",
                                     pod->meta->uid);
    work_patch(work, pod->resource, "status", pod->meta, PATCH_STRATEGIC, patch, NULL, NULL);
}

const struct controller_kind pod_garbage_collector = {
    .name = "pod-garbage-collector-controller", .queue = "orphaned_pods_nodes", .start = start, .reconcile = reconcile};
