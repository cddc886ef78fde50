/* Puts the rooms together, in the order in which they need each other, and takes them apart in reverse. */
#include "cli/cluster.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/task.h"
#include "cli/cluster_internal.h"
#include "cli/figures.h"
#include "cli/kubeconfig.h"
#include "cli/logs.h"
#include "cli/node_options.h"
#include "cli/streams.h"
#include "control/control.h"
#include "network/announce.h"
#include "network/balancer.h"
#include "network/pod_network.h"
#include "network/service_dns.h"
#include "network/policy_proxy.h"
#include "network/service_proxy.h"
#include "node/agent.h"
#include "registry/registry.h"
#include "schedule/schedule.h"
#include "server/pki.h"
#include "server/server.h"
#include "store/engine.h"
#include "store/store.h"

static void milestone(struct cluster *c, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void milestone(struct cluster *c, const char *name, const char *format, ...)
{
    char text[PATH_ROOM * 2];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    c->options->milestone(c->options->context, name, text);
}

static void begin_stop(struct cluster *c);
static void stop_agent(struct cluster *c);

static void fail(struct cluster *c)
{
    c->failed = true;
    begin_stop(c);
}

/* ---- Kubeconfig ---- */

static int write_kubeconfig(struct cluster *c, struct error *err)
{
    cleanup_free char *own = mem_printf("%s/kubeconfig", c->options->data_directory);
    const char *asked = c->options->up->kubeconfig;
    cleanup_buffer struct buffer b = {0};
    if (kubeconfig_make(c->pki, c->options->up->name, c->options->server_url, env_now(c->env), &b, err) < 0 ||
        file_write_atomic(own, b.data, b.size, 0600, err) < 0)
        return -1;
    c->kubeconfigs[0] = steal_pointer(own);
    if (!asked || strcmp(asked, c->kubeconfigs[0]) == 0)
        return 0;
    if (file_write_atomic(asked, b.data, b.size, 0600, err) < 0)
        return -1;
    c->kubeconfigs[1] = mem_string(asked);
    return 0;
}

/* Those of a cluster that will not be ready lead nowhere. */
static void remove_kubeconfigs(const struct cluster *c)
{
    for (size_t i = 0; i < ARRAY_COUNT(c->kubeconfigs); i++)
        if (c->kubeconfigs[i])
            unlink(c->kubeconfigs[i]);
}

/* ---- Start, part two: what waits for the loop ---- */

static void node_ready(void *context)
{
    struct cluster *c = context;
    const char *asked = c->options->up->kubeconfig;
    c->ready = true;
    milestone(c, "node", "%s at %s", c->node_name, c->node_address);
    milestone(c, "ready", "export KUBECONFIG=%s", asked ? asked : c->kubeconfigs[0]);
}

static void start_agent(struct cluster *c)
{
    char run[PATH_ROOM], cgroup[PATH_ROOM];
    if (c->stopping)
        return;
    snprintf(run, sizeof(run), "%s/node", c->options->sandbox->run_directory);
    snprintf(cgroup, sizeof(cgroup), "/coracle/%s", c->options->up->name);
    struct agent_options options = {.node_name = c->node_name,
                                    .node_address = c->node_address,
                                    .node_address6 = *c->node_address6 ? c->node_address6 : NULL,
                                    .pod_cidr = POD_NETWORK_NODE_CIDR,
                                    .pod_cidr6 = *c->node_address6 ? POD_NETWORK_NODE_CIDR6 : NULL,
                                    .data_directory = c->options->data_directory,
                                    .run_directory = run,
                                    .cgroup_parent = cgroup,
                                    .manifests = c->options->up->manifests,
                                    .cluster_domain = DNS_DOMAIN,
                                    .cluster_dns = c->dns_address,
                                    .host_network_fd =
                                        c->options->sandbox->isolated ? c->options->sandbox->host_network_fd : -1,
                                    .env = c->env,
                                    .client = c->node_client,
                                    .images = c->images,
                                    .network = c->network,
                                    .drained = service_proxy_drained,
                                    .withhold = service_proxy_withhold,
                                    .host_ports = service_proxy_host_ports,
                                    .context = c->proxy,
                                    .secure = policy_proxy_secure,
                                    .secure_context = c->policies};
    c->arena = arena_new(0);
    if (node_options_read(c->arena, c->options->up, &options, &c->err) < 0 ||
        agent_new(&options, &c->agent, &c->err) < 0)
        fail(c);
    else
        agent_start(c->agent, node_ready, c);
}

static void load_next(struct cluster *c);

static void load(void *context)
{
    struct cluster *c = context;
    const char *path = c->options->up->images[c->image];
    struct image_list list = {0};
    c->err.code = 0;
    if (image_import(c->images, path, NULL, &c->stopping, &list, &c->err) < 0)
        error_wrap(&c->err, "load %s", path);
    *c->loaded = 0;
    for (size_t i = 0; i < list.count; i++)
        for (size_t n = 0; n < list.items[i]->names.count; n++) {
            size_t used = strlen(c->loaded);
            snprintf(c->loaded + used, sizeof(c->loaded) - used, "%s%s", used ? ", " : "",
                     list.items[i]->names.items[n]);
        }
    image_list_free(&list);
}

static void loaded(void *context)
{
    struct cluster *c = context;
    c->loading = false;
    if (c->stopping) {
        stop_agent(c); /* that waited for this */
        return;
    }
    if (c->err.code) {
        fail(c);
        return;
    }
    milestone(c, "image", "%s", c->loaded);
    c->image++;
    load_next(c);
}

static void load_next(struct cluster *c)
{
    if (c->stopping)
        return;
    c->loading = c->image < c->options->up->image_count;
    if (c->loading)
        task_run_long(c->env, load, loaded, c);
    else
        start_agent(c);
}

static void informers_synced(void *context)
{
    struct cluster *c = context;
    policy_proxy_begin(c->policies);
    service_proxy_begin(c->proxy);
    service_dns_begin(c->service_dns);
    load_next(c);
}

static struct registry_bootstrap bootstrap_options(const struct cluster *c)
{
    return (struct registry_bootstrap){
        .address = c->gateway, .api_port = CLUSTER_API_PORT, .dns_port = CLUSTER_DNS_PORT};
}

/* The control plane stands: its own objects are there. */
static void bootstrapped(void *context)
{
    struct cluster *c = context;
    if (c->stopping)
        return;
    struct control_options control = {.balancer_pool = c->options->balancer_pool,
                                      .root_ca = pki_ca_certificate(c->pki)};
    c->control = control_new(c->control_client, c->informers, &control);
    c->scheduler = scheduler_new(c->scheduler_client, c->informers);
    if (cluster_network_start(c, &c->err) < 0) {
        fail(c);
        return;
    }
    if (pod_network_has_ipv6(c->network))
        milestone(c, "network", "pods %s and %s, services %s and %s", POD_NETWORK_NODE_CIDR, POD_NETWORK_NODE_CIDR6,
                  CLUSTER_SERVICE_CIDR, CLUSTER_SERVICE_CIDR6);
    else
        milestone(c, "network", "pods %s, services %s; no IPv6, for the kernel has none or it is switched off",
                  POD_NETWORK_NODE_CIDR, CLUSTER_SERVICE_CIDR);
    struct registry_bootstrap bootstrap = bootstrap_options(c);
    c->keeper = registry_keep(c->registry, &bootstrap, c->informers);
    informer_set_start(c->informers, informers_synced, c);
}

/* ---- Start, part one: what can be done at once ---- */

static struct client *client_as(struct cluster *c, const char *name, const char *group)
{
    const char *groups[] = {group, "system:authenticated", NULL};
    struct client_user user = {.name = name, .groups = groups};
    return registry_client(c->registry, &user);
}

static int open_store(struct cluster *c, struct error *err)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof(path), "%s/state.db", c->options->data_directory);
    struct store_engine *engine = engine_sqlite_new(c->env, path, err);
    if (!engine)
        return -1;
    c->store = store_new(c->env, engine);
    if (store_open(c->store, err) < 0)
        return -1;
    milestone(c, "store", "%s at revision %llu", path, (unsigned long long)store_revision(c->store));
    struct registry_options options = {.service_cidr = CLUSTER_SERVICE_CIDR,
                                       .service_cidr6 = pod_network_has_ipv6(c->network) ? CLUSTER_SERVICE_CIDR6 : NULL,
                                       .node_port_first = 30000,
                                       .node_port_last = 32767};
    c->registry = registry_new(c->env, c->store, &options);
    c->control_client = client_as(c, "system:kube-controller-manager", "system:controllers");
    c->scheduler_client = client_as(c, "system:kube-scheduler", "system:schedulers");
    c->proxy_client = client_as(c, "system:kube-proxy", "system:node-proxier");
    cleanup_free char *node_user = mem_printf("system:node:%s", c->node_name);
    c->node_client = client_as(c, node_user, "system:nodes");
    c->informers = informer_set_new(c->control_client);
    return 0;
}

static struct server_log *open_log(void *context, const struct server_log_request *request, struct error *err)
{
    struct cluster *c = context;
    if (!c->agent) {
        error_set(err, EAGAIN, "the node is still starting");
        return NULL;
    }
    return logs_open(c->agent, request, err);
}

static void measure(void *context, usage_done done, void *done_context)
{
    struct cluster *c = context;
    if (c->agent && !c->stopping)
        agent_measure(c->agent, done, done_context);
    else
        done(done_context, NULL);
}

static void write_figures(void *context, struct buffer *out)
{
    const struct cluster *c = context;
    figures_write(c->control, c->scheduler, out);
}

static struct server_exec *start_exec(void *context, const struct server_exec_request *request,
                                      const struct server_exec_events *events, void *event_context, struct error *err)
{
    struct cluster *c = context;
    return streams_exec(c->env, &c->agent, request, events, event_context, err);
}

static void connect_to_pod(void *context, const char *namespace, const char *pod, uint16_t port,
                           void (*done)(void *context, int fd, const struct error *err), void *done_context)
{
    struct cluster *c = context;
    struct error err = {0};
    if (c->agent && !c->stopping) {
        agent_connect(c->agent, namespace, pod, port, done, done_context);
        return;
    }
    error_set(&err, EAGAIN, "the node is still starting, or stopping");
    done(done_context, -1, &err);
}

static int64_t memory_used(void *context, const char *pod_uid, const char *container)
{
    struct cluster *c = context;
    return c->agent && !c->stopping ? agent_memory_used(c->agent, pod_uid, container) : -1;
}

static int start_server(struct cluster *c, struct error *err)
{
    char directory[PATH_ROOM];
    snprintf(directory, sizeof(directory), "%s/pki", c->options->data_directory);
    const char *names[] = {c->node_name, c->node_address, c->gateway, "10.96.0.1"};
    struct pki_options pki = {
        .directory = directory, .now = env_now(c->env), .names = names, .name_count = ARRAY_COUNT(names)};
    struct server_options options = {.env = c->env,
                                     .registry = c->registry,
                                     .store = c->store,
                                     .node = {.open_log = open_log,
                                              .exec = start_exec,
                                              .connect = connect_to_pod,
                                              .usage = measure,
                                              .metrics = write_figures,
                                              .context = c}};
    if (pki_open(&pki, &c->pki, err) < 0 || token_issuer_new(pki_service_account_key(c->pki), &c->tokens, err) < 0)
        return -1;
    registry_issue_tokens(c->registry, c->tokens);
    registry_observe_memory(c->registry, memory_used, c);
    options.pki = c->pki;
    options.tokens = c->tokens;
    if (server_new(&options, &c->server, err) < 0)
        return -1;
    if (server_listen(c->server, c->options->listen_fd, err) < 0 || cluster_network_listen(c, err) < 0 ||
        write_kubeconfig(c, err) < 0)
        return -1;
    milestone(c, "api", "%s", c->options->server_url);
    return 0;
}

static int start(struct cluster *c, struct error *err)
{
    char images[PATH_ROOM];
    snprintf(images, sizeof(images), "%s/images", c->options->data_directory);
    if (cluster_network_open(c, err) < 0 || open_store(c, err) < 0 ||
        image_store_open(images, NULL, &c->images, err) < 0 || start_server(c, err) < 0 ||
        cluster_dns_start(c, err) < 0)
        return -1;
    struct registry_bootstrap bootstrap = bootstrap_options(c);
    registry_bootstrap(c->registry, &bootstrap, bootstrapped, c);
    return 0;
}

/* ---- Stop ---- */

static void server_gone(void *context)
{
    struct cluster *c = context;
    c->server = NULL;
    uv_close((uv_handle_t *)&c->terminate, NULL);
    uv_close((uv_handle_t *)&c->interrupt, NULL);
    /* What is left to do is short, and is not to be left half done. */
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    uv_stop(&c->loop);
}

static void agent_gone(void *context)
{
    struct cluster *c = context;
    c->agent = NULL;
    if (c->server)
        server_stop(c->server, server_gone, c);
    else
        server_gone(c);
}

static void stop_agent(struct cluster *c)
{
    if (c->agent)
        agent_stop(c->agent, agent_gone, c);
    else
        agent_gone(c);
}

static void begin_stop(struct cluster *c)
{
    if (c->stopping)
        return;
    c->stopping = true;
    if (!c->ready)
        remove_kubeconfigs(c);
    if (!c->loading)
        stop_agent(c);
}

static void signalled(uv_signal_t *handle, int number)
{
    struct cluster *c = handle->data;
    c->signal = number;
    begin_stop(c);
}

/* Everything is quiet: nothing below is called back any more. */
static void take_apart(struct cluster *c)
{
    if (c->plane)
        dataplane_stop(c->plane);
    scheduler_free(c->scheduler);
    control_free(c->control);
    service_proxy_free(c->proxy);
    health_check_free(c->health_check);
    policy_proxy_free(c->policies);
    balancer_free(c->balancer);
    announcer_stop(c->announcer);
    service_dns_free(c->service_dns);
    dns_server_stop(c->dns);
    informer_set_free(c->informers);
    registry_keeper_free(c->keeper);
    registry_client_free(c->control_client);
    registry_client_free(c->scheduler_client);
    registry_client_free(c->proxy_client);
    registry_client_free(c->node_client);
    registry_free(c->registry);
    store_free(c->store);
    if (c->relay)
        relay_stop(c->relay);
    if (c->network)
        pod_network_close(c->network);
    image_store_close(c->images);
    token_issuer_free(c->tokens);
    pki_free(c->pki);
    arena_free(c->arena);
    free(c->kubeconfigs[0]);
    free(c->kubeconfigs[1]);
    mailbox_free(c->mailbox);
    env_uv_free(c->env);
    uv_run(&c->loop, UV_RUN_DEFAULT);
    uv_loop_close(&c->loop);
}

static void name_node(struct cluster *c)
{
    if (c->options->sandbox->isolated)
        snprintf(c->node_name, sizeof(c->node_name), "%s", c->options->up->name);
    else
        gethostname(c->node_name, sizeof(c->node_name) - 1);
    for (char *p = c->node_name; *p; p++)
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
}

void cluster_mask_ends(int how)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(how, &ends, NULL);
}

int cluster_run(const struct cluster_options *options, struct error *err)
{
    struct cluster c = {.options = options};
    uv_loop_init(&c.loop);
    c.env = env_uv_new(&c.loop);
    c.mailbox = mailbox_new(&c.loop);
    name_node(&c);
    uv_signal_init(&c.loop, &c.terminate);
    uv_signal_init(&c.loop, &c.interrupt);
    c.terminate.data = c.interrupt.data = &c;
    uv_signal_start(&c.terminate, signalled, SIGTERM);
    uv_signal_start(&c.interrupt, signalled, SIGINT);
    cluster_mask_ends(SIG_UNBLOCK);
    if (start(&c, &c.err) < 0)
        fail(&c);
    uv_run(&c.loop, UV_RUN_DEFAULT);
    take_apart(&c);
    if (c.failed) {
        *err = c.err;
        return -1;
    }
    return c.signal;
}
