/* A whole cluster in this process: store, registry, API server, controllers, scheduler, network, node agent. The
 * process has entered its sandbox already. */
#ifndef CORACLE_CLI_CLUSTER_H
#define CORACLE_CLI_CLUSTER_H

#include "base/address_range.h"
#include "base/error.h"
#include "cli/options.h"
#include "cli/sandbox.h"

#define CLUSTER_SERVICE_CIDR "10.96.0.0/16"
#define CLUSTER_SERVICE_CIDR6 "fd00:10:96::/112"
/* The port that pods reach the API at, on the bridge's address. */
#define CLUSTER_API_PORT 6443
/* The port that the DNS server has on that address; pods ask port 53 of the service kube-dns. */
#define CLUSTER_DNS_PORT 10053

/* One line for people about what has been done: the milestone's name and a sentence. "ready" is the last one. */
typedef void (*cluster_milestone)(void *context, const char *name, const char *text);

struct cluster_options {
    const struct address_ranges *balancer_pool; /* of up->balancer_pool; NULL: none */
    const struct up_options *up;
    const struct sandbox *sandbox;
    const char *data_directory;
    int listen_fd; /* bound and listening on the host; the cluster closes it */
    const char *server_url;
    cluster_milestone milestone;
    void *context;
};

/* ---- On the host's network, without a sandbox (cluster_host.c) ---- */

/* The cluster's nftables table. */
#define CLUSTER_TABLE_MAX (SANDBOX_NAME_MAX + 16)
void cluster_table_name(const char *name, char out[CLUSTER_TABLE_MAX]);
/* Whether the bridge of a cluster's pods is there; it has no cluster's name. */
bool cluster_host_has_bridge(void);
/* Removes the tables of a cluster that has ended, and the bridge with all links to pods. */
int cluster_host_clean(const char *name, bool keep_bridge, struct error *err);

/* ---- The cluster ---- */

/* Blocks or lets in (SIG_BLOCK, SIG_UNBLOCK) the signals that end a cluster, SIGTERM and SIGINT, for this thread. */
void cluster_mask_ends(int how);
/* Runs the cluster until SIGTERM or SIGINT; returns the signal, or -1 if it could not start. Both signals may be
 * blocked before, so that none ends the process while it is half made: they are let in here, and ignored once the
 * cluster has stopped. One that stops before it was ready removes the kubeconfigs that it wrote first. */
int cluster_run(const struct cluster_options *options, struct error *err);

#endif
