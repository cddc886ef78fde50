/* What the cluster cannot be without is made again when somebody deletes it, as upstream's controllers for system
 * namespaces and for the service of the API do. A deletion, as informers tell it, starts the bootstrap once more, which
 * makes what is missing and leaves the rest alone. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "client/informer.h"
#include "registry/private.h"

struct registry_keeper {
    struct registry *registry;
    struct registry_bootstrap options;
    char *address;
    bool running; /* a bootstrap is under way */
    bool again;   /* something was deleted meanwhile */
};

static void begin(struct registry_keeper *keeper);

static void made(void *context)
{
    struct registry_keeper *keeper = context;
    keeper->running = false;
    if (keeper->again)
        begin(keeper);
}

static void begin(struct registry_keeper *keeper)
{
    keeper->again = keeper->running;
    if (keeper->running)
        return;
    keeper->running = true;
    registry_bootstrap(keeper->registry, &keeper->options, made, keeper);
}

static void changed(void *context, enum informer_change change, struct object *object, struct object *old)
{
    if (change == INFORMER_DELETED && registry_is_bootstrapped(object))
        begin(context);
}

struct registry_keeper *registry_keep(struct registry *registry, const struct registry_bootstrap *options,
                                      struct informer_set *informers)
{
    static const enum api_resource_index kept[] = {API_NAMESPACES, API_SERVICES, API_ENDPOINTS, API_ENDPOINTSLICES};
    struct registry_keeper *keeper = mem_zero(1, sizeof(*keeper));
    keeper->registry = registry;
    keeper->options = *options;
    keeper->options.address = keeper->address = mem_string(options->address);
    for (size_t i = 0; i < ARRAY_COUNT(kept); i++)
        informer_add_handler(informer_set_get(informers, &api_resources[kept[i]]), changed, keeper);
    return keeper;
}

void registry_keeper_free(struct registry_keeper *keeper)
{
    if (!keeper)
        return;
    free(keeper->address);
    free(keeper);
}
