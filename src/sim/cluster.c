/* Wiring, and the order in which a crash takes things apart: links first, so that every call under way is answered;
 * then those who made the calls; then registry and store. */
#include "sim/cluster.h"

#include <assert.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/timestamp.h"

enum stream { STREAM_DISK = 1, STREAM_CONTROL, STREAM_USER, STREAM_NODES = 100, STREAM_LINKS = 200 };

struct member {
    struct sim_link *link;
    struct sim_node *node;
};

struct sim_cluster {
    struct sim_cluster_options options;
    struct env *env;
    struct sim_disk *disk;
    struct store *store; /* NULL: down */
    struct registry *registry;
    struct client *api; /* where all links lead */
    struct informer_set *informers;
    struct control *control;
    struct scheduler *scheduler;
    struct sim_link *control_link, *user_link;
    struct sim_behaviour behaviour;
    struct member members[SIM_NODES_MAX];
    size_t count;
    sim_cluster_opened opened;
    sim_cluster_closing closing;
    void *context;
    bool bootstrapped;
};

static void bootstrapped(void *context)
{
    ((struct sim_cluster *)context)->bootstrapped = true;
}

static void start(struct sim_cluster *c)
{
    struct error err;
    c->store = store_new(c->env, sim_disk_engine(c->disk));
    int opened = store_open(c->store, &err);
    assert(opened == 0);
    (void)opened;
    struct registry_options options = {"10.96.0.0/16", "fd00:10:96::/112", 30000, 32767};
    c->registry = registry_new(c->env, c->store, &options);
    c->api = registry_client(c->registry, &(struct client_user){.name = "system:admin"});
    if (c->opened)
        c->opened(c->context, c);
    sim_link_connect(c->control_link, c->api);
    sim_link_connect(c->user_link, c->api);
    for (size_t i = 0; i < c->count; i++)
        if (sim_node_up(c->members[i].node))
            sim_link_connect(c->members[i].link, c->api);
    struct client *client = sim_link_client(c->control_link);
    c->informers = informer_set_new(client);
    c->control =
        control_new(client, c->informers, &(struct control_options){.balancer_pool = c->options.balancer_pool});
    c->scheduler = scheduler_new(client, c->informers);
    informer_set_start(c->informers, NULL, NULL);
}

struct sim_cluster *sim_cluster_new(struct env *env, const struct sim_cluster_options *options,
                                    sim_cluster_opened opened, sim_cluster_closing closing, void *context)
{
    struct sim_cluster *c = mem_zero(1, sizeof(*c));
    uint64_t seed = options->seed;
    c->options = *options;
    c->env = env;
    /* The first writes are everybody's ground: they do not fail. */
    c->disk = sim_disk_new(c->env, sim_random_stream(seed, STREAM_DISK), &(struct sim_disk_options){0});
    c->control_link = sim_link_new(c->env, sim_random_stream(seed, STREAM_CONTROL), &options->control_link);
    c->user_link = sim_link_new(c->env, sim_random_stream(seed, STREAM_USER), &options->user_link);
    c->behaviour = options->behaviour;
    c->opened = opened;
    c->closing = closing;
    c->context = context;
    start(c);
    registry_bootstrap(c->registry, &(struct registry_bootstrap){.address = "192.0.2.1", .api_port = 6443},
                       bootstrapped, c);
    while (!c->bootstrapped && sim_environment_step(c->env, MINUTE))
        ;
    assert(c->bootstrapped);
    *sim_disk_options(c->disk) = options->disk;
    return c;
}

void sim_cluster_crash(struct sim_cluster *c)
{
    if (!c->store)
        return;
    if (c->closing)
        c->closing(c->context, c);
    sim_disk_crash(c->disk);
    sim_link_cut(c->control_link);
    scheduler_free(c->scheduler);
    control_free(c->control);
    informer_set_free(c->informers);
    sim_link_cut(c->user_link);
    for (size_t i = 0; i < c->count; i++)
        sim_link_cut(c->members[i].link);
    registry_client_free(c->api);
    registry_free(c->registry);
    store_free(c->store);
    sim_link_target_gone(c->control_link);
    sim_link_target_gone(c->user_link);
    for (size_t i = 0; i < c->count; i++)
        sim_link_target_gone(c->members[i].link);
    c->store = NULL;
    c->registry = NULL;
    c->api = NULL;
    c->informers = NULL;
    c->control = NULL;
    c->scheduler = NULL;
}

void sim_cluster_restart(struct sim_cluster *c)
{
    if (!c->store)
        start(c);
}

void sim_cluster_free(struct sim_cluster *c)
{
    if (!c)
        return;
    sim_cluster_crash(c);
    for (size_t i = 0; i < c->count; i++) {
        sim_node_free(c->members[i].node);
        sim_link_free(c->members[i].link);
    }
    sim_link_free(c->control_link);
    sim_link_free(c->user_link);
    sim_disk_free(c->disk);
    free(c);
}

size_t sim_cluster_add_node(struct sim_cluster *c, const struct sim_node_options *options)
{
    assert(c->count < SIM_NODES_MAX);
    struct sim_node_options numbered = *options;
    struct member *m = &c->members[c->count];
    uint64_t seed = c->options.seed;
    numbered.number = (int)c->count;
    m->link = sim_link_new(c->env, sim_random_stream(seed, STREAM_LINKS + c->count), &c->options.node_link);
    sim_link_connect(m->link, c->api);
    m->node = sim_node_new(c->env, m->link, sim_random_stream(seed, STREAM_NODES + c->count), &c->behaviour, &numbered);
    return c->count++;
}

size_t sim_cluster_node_count(const struct sim_cluster *c)
{
    return c->count;
}

struct sim_node *sim_cluster_node(struct sim_cluster *c, size_t place)
{
    return c->members[place].node;
}

struct sim_link *sim_cluster_node_link(struct sim_cluster *c, size_t place)
{
    return c->members[place].link;
}

void sim_cluster_crash_node(struct sim_cluster *c, size_t place, bool reboot)
{
    sim_link_cut(c->members[place].link);
    sim_node_crash(c->members[place].node, reboot);
}

void sim_cluster_return_node(struct sim_cluster *c, size_t place)
{
    if (sim_node_up(c->members[place].node))
        return;
    sim_link_connect(c->members[place].link, c->api);
    sim_node_return(c->members[place].node);
}

void sim_cluster_calm(struct sim_cluster *c)
{
    sim_cluster_restart(c);
    *sim_disk_options(c->disk) = (struct sim_disk_options){0};
    *sim_link_options(c->control_link) = (struct sim_link_options){0};
    *sim_link_options(c->user_link) = (struct sim_link_options){0};
    c->options.node_link = (struct sim_link_options){0};
    for (size_t i = 0; i < c->count; i++) {
        *sim_link_options(c->members[i].link) = (struct sim_link_options){0};
        sim_cluster_return_node(c, i);
    }
    c->behaviour.pull_fails = c->behaviour.start_fails = c->behaviour.crashes = c->behaviour.flaps = 0;
}

struct store *sim_cluster_store(struct sim_cluster *c)
{
    return c->store;
}

struct informer_set *sim_cluster_informers(struct sim_cluster *c)
{
    return c->informers;
}

struct control *sim_cluster_control(struct sim_cluster *c)
{
    return c->control;
}

struct scheduler *sim_cluster_scheduler(struct sim_cluster *c)
{
    return c->scheduler;
}

struct sim_link *sim_cluster_control_link(struct sim_cluster *c)
{
    return c->control_link;
}

struct sim_link *sim_cluster_user_link(struct sim_cluster *c)
{
    return c->user_link;
}

struct sim_disk *sim_cluster_disk(struct sim_cluster *c)
{
    return c->disk;
}

struct sim_behaviour *sim_cluster_behaviour(struct sim_cluster *c)
{
    return &c->behaviour;
}
