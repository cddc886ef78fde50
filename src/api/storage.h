/* What registry, controllers, scheduler and node agent share about volumes and claims: annotations and names, and how
 * the two find each other. Upstream keeps these in component-helpers/storage/volume. Thread-safe. */
#ifndef CORACLE_API_STORAGE_H
#define CORACLE_API_STORAGE_H

#include <stdbool.h>

#include "api/types.h"
#include "base/arena.h"

/* The class that every cluster has, and who makes its volumes: folders of the node that the pod runs on. */
#define STORAGE_LOCAL_CLASS "local-path"
#define STORAGE_LOCAL_PROVISIONER "rancher.io/local-path"
#define STORAGE_NO_PROVISIONER "kubernetes.io/no-provisioner"

#define STORAGE_DEFAULT_CLASS "storageclass.kubernetes.io/is-default-class"
#define STORAGE_DEFAULT_CLASS_BETA "storageclass.beta.kubernetes.io/is-default-class"
#define STORAGE_CLASS_BETA "volume.beta.kubernetes.io/storage-class"
#define STORAGE_BIND_COMPLETED "pv.kubernetes.io/bind-completed"
#define STORAGE_BOUND_BY_CONTROLLER "pv.kubernetes.io/bound-by-controller"
#define STORAGE_PROVISIONED_BY "pv.kubernetes.io/provisioned-by"
#define STORAGE_PROVISIONER "volume.kubernetes.io/storage-provisioner"
#define STORAGE_PROVISIONER_BETA "volume.beta.kubernetes.io/storage-provisioner"
#define STORAGE_SELECTED_NODE "volume.kubernetes.io/selected-node"

#define STORAGE_CLAIM_FINALIZER "kubernetes.io/pvc-protection"
#define STORAGE_VOLUME_FINALIZER "kubernetes.io/pv-protection"
#define STORAGE_PROVISIONER_FINALIZER "external-provisioner.volume.kubernetes.io/finalizer"

/* The class of a claim or a volume, from the annotation of old or its field; "" for none. */
const char *storage_claim_class(const struct persistent_volume_claim *claim);
const char *storage_volume_class(const struct persistent_volume *volume);
/* Whether a class is marked as the default one. */
bool storage_class_is_default(const struct storage_class *class);
/* Whether the volume's claimRef is this claim: by name, and by uid where it has one. */
bool storage_volume_is_for(const struct persistent_volume *volume, const struct persistent_volume_claim *claim);
/* Whether the claim is bound, as far as the controller of binding is concerned. */
bool storage_claim_is_bound(const struct persistent_volume_claim *claim);
/* NULL, or why the volume will not do for the claim, in upstream's words. */
const char *storage_mismatch(const struct persistent_volume *volume, const struct persistent_volume_claim *claim);
/* Whether the node fulfils the volume's node affinity; one that has none can be reached from everywhere. */
bool storage_volume_reaches(const struct persistent_volume *volume, const struct object_meta *node);

/* Whether upstream's deleter of hostPath volumes would remove the path: one that has "/tmp/" and more in it. */
bool storage_is_temporary(const char *path);
/* Makes the copy of a volume that has been emptied free for others, as upstream's unbindVolume: what the controller
 * bound is nobody's again, what a user reserved stays reserved by name. The status is left alone. New parts are in the
 * arena. */
void storage_volume_unbind(struct arena *arena, struct persistent_volume *copy);

/* The name of the claim that a volume of the pod stands for, or NULL: a persistentVolumeClaim's own, and POD-VOLUME
 * for a generic ephemeral volume. In the arena, or the volume's. */
const char *storage_claim_name(struct arena *arena, const struct object_meta *pod, const struct volume *volume);
/* Whether a volume of the pod stands for the claim of that name. */
bool storage_pod_uses(const struct pod *pod, const char *claim);
/* Whether the pod is the claim's controller, as that of a generic ephemeral volume has to be. */
bool storage_claim_is_of(const struct object_meta *claim, const struct object_meta *pod);

#endif
