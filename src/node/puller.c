/* Finding and pulling images. Blocking work runs on threads of its own; answers come back on the loop. */
#include "node/puller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/task.h"
#include "base/timestamp.h"
#include "network/namespace.h"

/* One request of a container. It first looks (pool), then may join or start a pull. */
struct request {
    struct list line; /* among those that wait for a place */
    struct image_puller *puller;
    char *image;
    char *policy;
    struct image_keyring *keyring;
    env_callback pulling;
    puller_done done;
    void *context;

    struct image *found;
    struct error err;
    bool invalid;
    bool pulled;
    char *normalised;
    int64_t asked, began, ended;
};

struct image_puller {
    struct agent *agent;
    struct list waiting;
    size_t running;
    atomic_bool cancel;
};

struct image_puller *puller_new(struct agent *agent)
{
    struct image_puller *p = mem_zero(1, sizeof(*p));
    p->agent = agent;
    list_init(&p->waiting);
    atomic_init(&p->cancel, false);
    return p;
}

void puller_free(struct image_puller *p)
{
    free(p);
}

static void request_free(struct request *r)
{
    free(r->image);
    free(r->policy);
    free(r->normalised);
    image_keyring_free(r->keyring);
    image_free(r->found);
    free(r);
}

static void answer(struct request *r)
{
    struct image_answer a = {0};
    cleanup_free char *message = NULL, *event = NULL;
    if (r->found) {
        char waited[TIME_TEXT_MAX], took[TIME_TEXT_MAX];
        a.name = r->found->names.count ? r->found->names.items[0] : r->image;
        for (size_t i = 0; r->normalised && i < r->found->names.count; i++)
            if (strcmp(r->found->names.items[i], r->normalised) == 0)
                a.name = r->found->names.items[i];
        a.id = image_status_id(r->found);
        /* Upstream rounds to milliseconds. */
        duration_format((r->ended - r->began) / 1000 * 1000, took);
        duration_format((r->ended - r->asked) / 1000 * 1000, waited);
        event = r->pulled ? mem_printf("Successfully pulled image \"%s\" in %s (%s including waiting). Image size: "
                                       "%llu bytes.",
                                       r->image, took, waited, (unsigned long long)r->found->size)
                          : mem_printf("Container image \"%s\" already present on machine and can be accessed by the pod",
                                       r->image);
    } else if (r->invalid) {
        a.reason = "InvalidImageName";
        message = mem_printf("Failed to apply default image tag \"%s\": couldn't parse image name \"%s\": %s", r->image,
                             r->image, r->err.text);
        event = mem_string(message);
    } else if (strcmp(r->policy, "Never") == 0 && !r->pulled) {
        a.reason = "ErrImageNeverPull";
        a.retry = true; /* it may be imported meanwhile */
        message = mem_printf("Container image \"%s\" is not present with pull policy of Never", r->image);
        event = mem_string(message);
    } else {
        a.reason = "ErrImagePull";
        a.retry = true;
        message = mem_printf("rpc error: code = %s desc = %s", image_error_grpc_code(&r->err), r->err.text);
        event = mem_printf("Failed to pull image \"%s\": %s", r->image, message);
    }
    a.message = message;
    a.event = event;
    r->done(r->context, &a);
    request_free(r);
}

static void start_pull(struct request *r);

static void pulled(void *context)
{
    struct request *r = context;
    struct image_puller *p = r->puller;
    r->ended = env_monotonic(p->agent->env);
    p->running--;
    answer(r);
    if (!list_empty(&p->waiting)) {
        struct request *next = list_entry(p->waiting.next, struct request, line);
        list_remove(&next->line);
        start_pull(next);
    }
}

/* On a thread of its own. A registry is reached through the host's network, where the sandbox has none. The
 * store makes concurrent pulls of the same layers one. */
static void pull(void *context)
{
    struct request *r = context;
    const struct agent_options *options = &r->puller->agent->options;
    struct image_credential *credentials = NULL;
    size_t count = 0;
    int previous = -1;
    if (image_keyring_find(r->keyring, r->image, &credentials, &count, &r->err) < 0)
        return;
    if (options->host_network_fd >= 0 && network_namespace_enter(options->host_network_fd, &previous, &r->err) < 0) {
        free(credentials);
        return;
    }
    struct image_pull_options how = {.credentials = credentials,
                                     .credential_count = count,
                                     .insecure_registries = options->insecure_registries,
                                     .insecure_registry_count = options->insecure_registry_count,
                                     .cancel = &r->puller->cancel};
    image_pull(r->puller->agent->images, r->image, &how, &r->found, &r->err);
    if (previous >= 0)
        network_namespace_leave(&previous);
    free(credentials);
}

static void start_pull(struct request *r)
{
    r->puller->running++;
    r->pulled = true;
    r->began = env_monotonic(r->puller->agent->env);
    if (r->pulling)
        r->pulling(r->context);
    task_run_long(r->puller->agent->env, pull, pulled, r);
}

void puller_cancel(struct image_puller *p)
{
    atomic_store(&p->cancel, true);
    while (!list_empty(&p->waiting)) {
        struct request *r = list_entry(p->waiting.next, struct request, line);
        list_remove(&r->line);
        error_set(&r->err, ECANCELED, "the node agent is stopping");
        answer(r);
    }
}

static void looked(void *context)
{
    struct request *r = context;
    struct image_puller *p = r->puller;
    bool always = strcmp(r->policy, "Always") == 0, never = strcmp(r->policy, "Never") == 0;
    if (r->invalid || (r->found && !always) || never) {
        answer(r);
        return;
    }
    image_free(r->found);
    r->found = NULL;
    if (p->running < PULLER_PARALLEL_MAX)
        start_pull(r);
    else
        list_append(&p->waiting, &r->line);
}

static void look(void *context)
{
    struct request *r = context;
    struct image_reference reference;
    if (image_reference_parse(r->image, &reference, &r->err) < 0) {
        r->invalid = true;
        return;
    }
    r->normalised = mem_string(reference.text);
    if (image_find(r->puller->agent->images, r->image, &r->found, &r->err) < 0)
        r->found = NULL;
}

/* imagePullSecrets of the pod; what cannot be read is passed over, as upstream does. */
static void collect_credentials(struct request *r, const struct pod *pod)
{
    for (size_t i = 0; i < pod->spec.image_pull_secrets.count; i++) {
        struct object *o = informer_get(r->puller->agent->secrets, pod->metadata.namespace,
                                        pod->spec.image_pull_secrets.items[i].name);
        if (!o)
            continue;
        const struct secret *secret = o->value;
        for (size_t k = 0; k < secret->data.count; k++) {
            const struct bytes_pair *pair = &secret->data.items[k];
            bool modern = strcmp(pair->key, ".dockerconfigjson") == 0, legacy = strcmp(pair->key, ".dockercfg") == 0;
            if (modern || legacy)
                image_keyring_add(r->keyring, (const char *)pair->value.data, pair->value.size, legacy, NULL);
        }
    }
}

void puller_get(struct image_puller *p, const struct pod *pod, const struct container *container, env_callback pulling,
                puller_done done, void *context)
{
    struct request *r = mem_zero(1, sizeof(*r));
    list_init(&r->line);
    r->puller = p;
    r->image = mem_string(container->image ? container->image : "");
    r->policy = mem_string(container->image_pull_policy ? container->image_pull_policy : "IfNotPresent");
    r->keyring = image_keyring_new();
    r->pulling = pulling;
    r->done = done;
    r->context = context;
    r->asked = env_monotonic(p->agent->env);
    collect_credentials(r, pod);
    task_run(p->agent->env, look, looked, r);
}
