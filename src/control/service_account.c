/* The ServiceAccount controller: every active namespace has an account "default". */
#include <string.h>

#include "control/controller.h"

#define DEFAULT_ACCOUNT "default"

static void namespace_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)old;
    if (change != INFORMER_DELETED)
        queue_add(((struct controller *)context)->queue, NULL, object->meta->name);
}

static void account_changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    (void)old;
    if (change == INFORMER_DELETED && strcmp(object->meta->name, DEFAULT_ACCOUNT) == 0)
        queue_add(((struct controller *)context)->queue, NULL, object->meta->namespace);
}

static void start(struct controller *c)
{
    c->state = informer_set_get(c->informers, &api_resources[API_SERVICEACCOUNTS]);
    informer_add_handler(informer_set_get(c->informers, &api_resources[API_NAMESPACES]), namespace_changed, c);
    informer_add_handler(c->state, account_changed, c);
}

static void reconcile(void *context, struct work *work)
{
    struct controller *c = context;
    const char *name = work_name(work);
    struct object *namespace = informer_get(informer_set_get(c->informers, &api_resources[API_NAMESPACES]), NULL, name);
    if (!namespace || namespace->meta->deletion_timestamp || informer_get(c->state, name, DEFAULT_ACCOUNT))
        return;
    struct service_account account = {.metadata = {.name = DEFAULT_ACCOUNT, .namespace = name}};
    work_create(work, &api_resources[API_SERVICEACCOUNTS], name, &account, NULL, NULL);
}

const struct controller_kind service_account_controller = {
    .name = "serviceaccount-controller", .queue = "serviceaccount", .start = start, .reconcile = reconcile};
