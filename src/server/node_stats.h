/* What a node uses, in the forms in which upstream's kubelet says it: as far as it is measured here, which is CPU and
 * memory of the machine and of each container that has run for a while. Pods are the sum of their containers. Pure
 * functions. */
#ifndef CORACLE_SERVER_NODE_STATS_H
#define CORACLE_SERVER_NODE_STATS_H

#include "api/usage.h"
#include "base/buffer.h"

/* Appends a whole answer. */
typedef void (*node_stats_writer)(const struct node_usage *usage, struct buffer *out);

/* /stats/summary: the JSON of stats.k8s.io. A pod starts with its first container. */
void node_stats_summary(const struct node_usage *usage, struct buffer *out);
/* In Prometheus' text format: /metrics/resource, with an instant at each figure, ... */
void node_stats_resource(const struct node_usage *usage, struct buffer *out);
/* ... /metrics/cadvisor, ... */
void node_stats_cadvisor(const struct node_usage *usage, struct buffer *out);
/* ... and /metrics: how many pods and containers there are. */
void node_stats_metrics(const struct node_usage *usage, struct buffer *out);

#endif
