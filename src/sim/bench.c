/* Runs on the simulated clock: nothing waits, so the wall clock shows work alone. */
#include "sim/bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "control/control.h"
#include "registry/registry.h"
#include "schedule/schedule.h"
#include "sim/cluster.h"
#include "sim/environment.h"
#include "store/engine.h"

/* Simulated time that all of it may take. */
#define PATIENCE (10 * MINUTE)

struct bench {
    struct env *env;
    struct store *store;
    struct registry *registry;
    struct client *client;
    struct informer_set *informers;
    struct control *control;
    struct scheduler *scheduler;
    struct store_watch *watch;
    size_t bound;
};

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double megabytes_at_peak(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static void ignore(void *context)
{
}

static void pod_changed(void *context, const struct store_event *event)
{
    struct bench *b = context;
    const struct pod *pod = event->object->value, *old = event->previous ? event->previous->value : NULL;
    b->bound += pod->spec.node_name && !(old && old->spec.node_name);
}

static void start(struct bench *b)
{
    struct registry_options options = {"10.96.0.0/16", "fd00:10:96::/112", 30000, 32767};
    b->env = sim_environment_new(1, SIM_START);
    b->store = store_new(b->env, engine_memory_new(b->env));
    store_open(b->store, NULL);
    b->registry = registry_new(b->env, b->store, &options);
    b->client = registry_client(b->registry, &(struct client_user){.name = "system:admin"});
    registry_bootstrap(b->registry, &(struct registry_bootstrap){.address = "192.0.2.1", .api_port = 6443}, ignore,
                       NULL);
    b->informers = informer_set_new(b->client);
    b->control = control_new(b->client, b->informers, NULL);
    b->scheduler = scheduler_new(b->client, b->informers);
    informer_set_start(b->informers, NULL, NULL);
    b->watch = store_watch_new(b->store, &api_resources[API_PODS], NULL, 0, pod_changed, b, NULL);
    sim_environment_run(b->env, SECOND);
}

static void stop(struct bench *b)
{
    store_watch_free(b->watch);
    scheduler_free(b->scheduler);
    control_free(b->control);
    informer_set_free(b->informers);
    registry_client_free(b->client);
    registry_free(b->registry);
    store_free(b->store);
    sim_environment_free(b->env);
}

static void create_node(struct bench *b, int number, bool choosy)
{
    static const char *const amounts[][2] = {{"cpu", "4"}, {"memory", "32Gi"}, {"pods", "110"}};
    struct arena *arena = arena_new(0);
    struct node *node = arena_alloc(arena, sizeof(*node));
    node->metadata.name = arena_printf(arena, "node-%04d", number);
    string_map_set(arena, &node->metadata.labels, "kubernetes.io/hostname", node->metadata.name);
    if (choosy)
        string_map_set(arena, &node->metadata.labels, "topology.kubernetes.io/zone",
                       arena_printf(arena, "zone-%d", number % 3));
    for (size_t i = 0; i < ARRAY_COUNT(amounts); i++) {
        string_map_set(arena, &node->status.allocatable, amounts[i][0], amounts[i][1]);
        string_map_set(arena, &node->status.capacity, amounts[i][0], amounts[i][1]);
    }
    client_create(b->client, &api_resources[API_NODES], NULL, arena, node, NULL, NULL);
}

static void make_choosy(struct arena *arena, struct pod_spec *spec, struct label_selector *selector)
{
    struct weighted_pod_affinity_term apart = {
        .weight = 100,
        .pod_affinity_term = {.label_selector = selector, .topology_key = "kubernetes.io/hostname"}};
    struct topology_spread_constraint spread = {.max_skew = 1,
                                                .topology_key = "topology.kubernetes.io/zone",
                                                .when_unsatisfiable = "DoNotSchedule",
                                                .label_selector = selector};
    spec->affinity = arena_alloc(arena, sizeof(*spec->affinity));
    struct pod_anti_affinity *anti = spec->affinity->pod_anti_affinity = arena_alloc(arena, sizeof(*anti));
    anti->preferred_during_scheduling_ignored_during_execution.items = arena_copy(arena, &apart, sizeof(apart));
    anti->preferred_during_scheduling_ignored_during_execution.count = 1;
    spec->topology_spread_constraints.items = arena_copy(arena, &spread, sizeof(spread));
    spec->topology_spread_constraints.count = 1;
}

static void create_deployment(struct bench *b, int replicas, bool choosy)
{
    struct arena *arena = arena_new(0);
    struct deployment *d = arena_alloc(arena, sizeof(*d));
    struct container *container = arena_alloc(arena, sizeof(*container));
    d->metadata.name = "bench";
    d->spec.replicas = opt_int32(replicas);
    d->spec.selector = arena_alloc(arena, sizeof(*d->spec.selector));
    string_map_set(arena, &d->spec.selector->match_labels, "app", "bench");
    string_map_set(arena, &d->spec.template.metadata.labels, "app", "bench");
    *container = (struct container){.name = "main", .image = "registry.example/app:1"};
    string_map_set(arena, &container->resources.requests, "cpu", "100m");
    string_map_set(arena, &container->resources.requests, "memory", "128Mi");
    d->spec.template.spec.containers.items = container;
    d->spec.template.spec.containers.count = 1;
    if (choosy)
        make_choosy(arena, &d->spec.template.spec, d->spec.selector);
    client_create(b->client, &api_resources[API_DEPLOYMENTS], "default", arena, d, NULL, NULL);
}

int sim_bench_run(int pods, int nodes, bool choosy, FILE *out)
{
    struct bench b = {0};
    start(&b);
    for (int i = 0; i < nodes; i++)
        create_node(&b, i, choosy);
    sim_environment_run(b.env, SECOND);
    double idle = megabytes_at_peak(), begun = seconds_now(), work = processor_seconds();
    int64_t until = env_monotonic(b.env) + PATIENCE;
    create_deployment(&b, pods, choosy);
    while (b.bound < (size_t)pods && sim_environment_step(b.env, until))
        ;
    double took = seconds_now() - begun;
    work = processor_seconds() - work;
    bool complete = b.bound == (size_t)pods;
    fprintf(out, "%zu of %d pods created and bound on %d nodes in %.3f s: %.0f pods/s\n", b.bound, pods, nodes, took,
            (double)b.bound / took);
    fprintf(out, "processor time %.3f s: %.0f pods/s of one core\n", work, (double)b.bound / work);
    fprintf(out, "memory at its peak: %.1f MB, of which %.1f MB before the pods\n", megabytes_at_peak(), idle);
    stop(&b);
    return complete ? 0 : -1;
}
