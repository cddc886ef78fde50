/* A cluster that runs, for its own files: cluster.c, which makes its parts and takes them apart, and cluster_network.c.
 */
#ifndef CORACLE_CLI_CLUSTER_INTERNAL_H
#define CORACLE_CLI_CLUSTER_INTERNAL_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "base/arena.h"
#include "base/env.h"
#include "base/mailbox.h"
#include "cli/cluster.h"

#define NODE_NAME_MAX 64
#define PATH_ROOM 512

struct cluster {
    const struct cluster_options *options;
    uv_loop_t loop;
    uv_signal_t terminate, interrupt;
    struct env *env;
    struct mailbox *mailbox; /* of this thread */
    struct store *store;
    struct registry *registry;
    struct client *control_client, *scheduler_client, *node_client, *proxy_client;
    struct informer_set *informers;
    struct registry_keeper *keeper;
    struct control *control;
    struct scheduler *scheduler;
    struct pki *pki;
    struct token_issuer *tokens;
    struct server *server;
    struct pod_network *network;
    struct dataplane *plane;
    struct relay *relay;
    struct service_proxy *proxy;
    struct health_check *health_check;
    struct policy_proxy *policies;
    struct announcer *announcer; /* with a pool of addresses for load balancers */
    struct balancer *balancer;
    struct dns_server *dns;
    struct service_dns *service_dns;
    struct image_store *images;
    struct agent *agent;
    char node_name[NODE_NAME_MAX];
    char node_address[INET_ADDRSTRLEN];
    char node_address6[INET6_ADDRSTRLEN]; /* "": the cluster has no IPv6 */
    char gateway[INET_ADDRSTRLEN];
    char dns_address[INET_ADDRSTRLEN];
    struct arena *arena;  /* of the agent's options */
    char *kubeconfigs[2]; /* those written, in the data directory and where the user wants one; NULL: not yet */
    int signal;
    bool ready;
    atomic_bool stopping; /* also seen by the thread that loads */
    bool failed;
    struct error err;
    size_t image; /* the next archive to load */
    bool loading; /* it, on a thread that uses the image store */
    char loaded[ERROR_TEXT_MAX];
};

/* The node's network and addresses, and in a sandbox the relay from the host: before anything that listens. */
int cluster_network_open(struct cluster *c, struct error *err);
/* The socket that pods reach the API at; the server is there. */
int cluster_network_listen(struct cluster *c, struct error *err);
/* The cluster's names, answered where pods reach the node; pods ask the address of the service kube-dns. */
int cluster_dns_start(struct cluster *c, struct error *err);
/* The data plane and what feeds it: services, policies, names, addresses of load balancers. */
int cluster_network_start(struct cluster *c, struct error *err);

#endif
