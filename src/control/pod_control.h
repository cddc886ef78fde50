/* Making and deleting pods for an owner, with upstream's events about the owner: what the controllers of ReplicaSets
 * and Jobs share. */
#ifndef CORACLE_CONTROL_POD_CONTROL_H
#define CORACLE_CONTROL_POD_CONTROL_H

#include "control/controller.h"

/* Pods to create, in batches of 1, 2, 4 ..., each when the one before has succeeded: what is refused once is not asked
 * for hundreds of times. Upstream's slow start. */
struct pod_creation {
    struct controller *controller;
    struct work *work;
    struct object *owner; /* held by the work */
    size_t count;
    /* The i-th of them, complete, in the work's arena. */
    struct pod *(*pod)(void *context, size_t i);
    /* What was refused, in the API's words. May be NULL. */
    void (*failed)(void *context, const char *message);
    /* A batch has been created. May be NULL. */
    void (*advanced)(void *context);
    /* All have been answered, or the rest is not asked for: so many were created. May be NULL. */
    void (*done)(void *context, size_t created);
    void *context;
    /* Private. */
    size_t asked, batch, pending, created;
    bool stopped;
};

/* Begins; `creation` lives in the work's arena. With count 0, done is called at once. */
void pod_control_create(struct pod_creation *creation);

/* A pod of the template, with owner and name prefix. Shares parts with the template. */
struct pod *pod_control_from_template(struct work *work, const struct object *owner,
                                      const struct pod_template_spec *template);

/* Deletes a pod. answered(context, NULL), or with what the API said when it refused (a pod that is gone already is no
 * refusal). answered may be NULL. */
void pod_control_delete(struct controller *controller, struct work *work, struct object *owner, struct object *pod,
                        void (*answered)(void *context, const char *refused), void *context);

#endif
