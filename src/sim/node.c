/* The node itself: registration, heartbeats, and which pods are its own; pod.c plays the pods. */
#include "sim/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "sim/pod.h"

/* A request that failed is tried again after so long. */
#define RETRY SECOND

struct sim_node {
    struct sim_node_context pods; /* what pods know of their node */
    char *cpu, *memory, *capacity;
    char *zone; /* NULL: none */
    int64_t heartbeat_period, status_period;
    struct arena *arena; /* of the selector */
    const struct field_selector *selector;
    struct informer *informer; /* NULL: down */
    struct env_timer *heartbeat, *status;
    bool registered;
    int64_t ready_since;
};

static struct client *client_of(const struct sim_node *node)
{
    return node->pods.client;
}

/* The Node. */

static struct node *describe(struct sim_node *node, struct arena *arena, struct node *out)
{
    struct string_map *amounts[] = {&out->status.allocatable, &out->status.capacity};
    for (size_t i = 0; i < ARRAY_COUNT(amounts); i++) {
        amounts[i]->items = NULL;
        amounts[i]->count = 0;
        string_map_set(arena, amounts[i], "cpu", node->cpu);
        string_map_set(arena, amounts[i], "memory", node->memory);
        string_map_set(arena, amounts[i], "pods", node->capacity);
    }
    struct node_condition *ready = arena_alloc(arena, sizeof(*ready));
    *ready = (struct node_condition){.type = "Ready",
                                     .status = "True",
                                     .reason = "KubeletReady",
                                     .message = "kubelet is posting ready status",
                                     .last_heartbeat_time = env_now(node->pods.env),
                                     .last_transition_time = node->ready_since};
    out->status.conditions.items = ready;
    out->status.conditions.count = 1;
    return out;
}

static void registered(void *context, const struct client_result *result)
{
    struct sim_node *node = context;
    node->registered = client_ok(result) || result->code == 409;
    if (!node->registered && node->informer)
        env_timer_start(node->status, RETRY);
    else if (node->informer && node->status_period)
        env_timer_start(node->status, node->status_period);
}

static void register_node(struct sim_node *node)
{
    struct arena *arena = arena_new(0);
    struct node *object = arena_alloc(arena, sizeof(*object));
    object->metadata.name = arena_string(arena, node->pods.name);
    string_map_set(arena, &object->metadata.labels, "kubernetes.io/hostname", object->metadata.name);
    if (node->zone)
        string_map_set(arena, &object->metadata.labels, "topology.kubernetes.io/zone", arena_string(arena, node->zone));
    client_create(client_of(node), &api_resources[API_NODES], NULL, arena, describe(node, arena, object), registered,
                  node);
}

static void status_written(void *context, const struct client_result *result)
{
    struct sim_node *node = context;
    if (result->code == 404)
        node->registered = false;
    if (node->informer && (node->status_period || !node->registered))
        env_timer_start(node->status, client_ok(result) ? node->status_period : RETRY);
}

static void status_got(void *context, const struct client_result *result)
{
    struct sim_node *node = context;
    if (!client_ok(result)) {
        status_written(context, result);
        return;
    }
    struct arena *arena = arena_new(0);
    struct node *object = describe(node, arena, object_copy(arena, result->object));
    client_update(client_of(node), &api_resources[API_NODES], "status", arena, object, status_written, node);
}

static void status_due(void *context)
{
    struct sim_node *node = context;
    if (node->registered)
        client_get(client_of(node), &api_resources[API_NODES], NULL, node->pods.name, status_got, node);
    else
        register_node(node);
}

/* The Lease. */

static void heartbeat_done(void *context, const struct client_result *result)
{
    struct sim_node *node = context;
    if (node->informer)
        env_timer_start(node->heartbeat, node->heartbeat_period);
}

static void heartbeat_got(void *context, const struct client_result *result)
{
    static const char *const namespace = "kube-node-lease";
    struct sim_node *node = context;
    if (!client_ok(result) && result->code != 404) {
        heartbeat_done(context, result);
        return;
    }
    struct arena *arena = arena_new(0);
    struct lease *lease = client_ok(result) ? object_copy(arena, result->object) : arena_alloc(arena, sizeof(*lease));
    lease->spec.holder_identity = arena_string(arena, node->pods.name);
    lease->spec.lease_duration_seconds = opt_int32(40);
    lease->spec.renew_time = env_now(node->pods.env);
    if (client_ok(result)) {
        client_update(client_of(node), &api_resources[API_LEASES], NULL, arena, lease, heartbeat_done, node);
        return;
    }
    lease->metadata.name = lease->spec.holder_identity;
    lease->metadata.namespace = namespace;
    client_create(client_of(node), &api_resources[API_LEASES], namespace, arena, lease, heartbeat_done, node);
}

static void heartbeat_due(void *context)
{
    struct sim_node *node = context;
    client_get(client_of(node), &api_resources[API_LEASES], "kube-node-lease", node->pods.name, heartbeat_got, node);
}

/* The interface. */

struct sim_node *sim_node_new(struct env *env, struct sim_link *link, struct sim_random random,
                              const struct sim_behaviour *behaviour, const struct sim_node_options *options)
{
    struct sim_node *node = mem_zero(1, sizeof(*node));
    node->pods = (struct sim_node_context){.env = env,
                                           .client = sim_link_client(link),
                                           .random = random,
                                           .behaviour = behaviour,
                                           .name = mem_string(options->name),
                                           .number = options->number};
    node->cpu = mem_string(options->cpu);
    node->memory = mem_string(options->memory);
    node->capacity = mem_string(options->pods);
    node->zone = options->zone ? mem_string(options->zone) : NULL;
    node->heartbeat_period = options->heartbeat;
    node->status_period = options->status_period;
    node->ready_since = env_now(env) / SECOND * SECOND;
    node->arena = arena_new(0);
    node->heartbeat = env_timer_new(env, heartbeat_due, node);
    node->status = env_timer_new(env, status_due, node);
    cleanup_free char *text = mem_printf("spec.nodeName=%s", options->name);
    field_selector_parse(node->arena, text, &node->selector, NULL);
    sim_node_return(node);
    return node;
}

void sim_node_return(struct sim_node *node)
{
    if (node->informer)
        return;
    node->informer = informer_new(client_of(node), &api_resources[API_PODS], NULL, NULL, node->selector);
    informer_add_handler(node->informer, sim_pod_changed, &node->pods);
    informer_start(node->informer);
    env_timer_start(node->status, 0);
    if (node->heartbeat_period)
        env_timer_start(node->heartbeat, sim_random_between(&node->pods.random, 0, node->heartbeat_period));
}

void sim_node_crash(struct sim_node *node, bool reboot)
{
    informer_free(steal_pointer(node->informer));
    env_timer_stop(node->heartbeat);
    env_timer_stop(node->status);
    sim_pods_free(&node->pods);
    node->pods.rebooted_at = reboot ? env_now(node->pods.env) : node->pods.rebooted_at;
}

bool sim_node_up(const struct sim_node *node)
{
    return node->informer != NULL;
}

const char *sim_node_name(const struct sim_node *node)
{
    return node->pods.name;
}

void sim_node_free(struct sim_node *node)
{
    if (!node)
        return;
    sim_node_crash(node, false);
    env_timer_free(node->heartbeat);
    env_timer_free(node->status);
    arena_free(node->arena);
    free(node->pods.name);
    free(node->cpu);
    free(node->memory);
    free(node->capacity);
    free(node->zone);
    free(node);
}
