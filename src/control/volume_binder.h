/* Between the two halves of the controller that binds volumes and claims; not for other rooms. */
#ifndef CORACLE_CONTROL_VOLUME_BINDER_H
#define CORACLE_CONTROL_VOLUME_BINDER_H

#include "api/storage.h"
#include "control/controller.h"

struct volume_binder {
    struct controller *controller;
    struct informer *claims, *volumes, *classes, *pods;
    int claims_unbound;   /* index: all claims that have no volume, under one key */
    int volumes_by_class; /* index: volumes by their class */
    int volumes_by_claim; /* index: volumes by the claim of their claimRef, "namespace/name" */
};

/* volume_claim.c: one look at a claim. Held by the work. */
void volume_binder_claim(struct volume_binder *binder, struct work *work, struct object *object);
/* volume_release.c: one look at a volume. Held by the work. */
void volume_binder_volume(struct volume_binder *binder, struct work *work, struct object *object);

/* Writes the phase of a volume, unless it is that already. */
void volume_binder_set_phase(struct work *work, struct object *volume, const char *phase, const char *message);

#endif
