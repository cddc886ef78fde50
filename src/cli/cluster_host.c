/* What a cluster without a sandbox has on the host's network, by name: its nftables tables and the pods' bridge. */
#include <net/if.h>
#include <stdio.h>

#include "cli/cluster.h"
#include "network/dataplane.h"
#include "network/pod_network.h"

void cluster_table_name(const char *name, char out[CLUSTER_TABLE_MAX])
{
    snprintf(out, CLUSTER_TABLE_MAX, "coracle-%s", name);
}

bool cluster_host_has_bridge(void)
{
    return if_nametoindex(POD_NETWORK_BRIDGE) > 0;
}

int cluster_host_clean(const char *name, bool keep_bridge, struct error *err)
{
    char table[CLUSTER_TABLE_MAX];
    struct pod_network_config network = {.namespace_fd = -1};
    cluster_table_name(name, table);
    if (dataplane_destroy(-1, table, err) < 0)
        return -1;
    return keep_bridge ? 0 : pod_network_destroy(&network, err);
}
