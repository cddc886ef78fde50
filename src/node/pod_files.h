/* The files that every pod gets: /etc/hosts, /etc/hostname and /etc/resolv.conf. What is in them is a pure function of
 * the pod and the node's own files, as upstream's kubelet writes them. */
#ifndef CORACLE_NODE_POD_FILES_H
#define CORACLE_NODE_POD_FILES_H

#include "api/types.h"
#include "base/buffer.h"
#include "base/error.h"

/* As upstream validates and cuts them. */
#define RESOLVER_SERVERS_MAX 3
#define RESOLVER_SEARCHES_MAX 32
#define RESOLVER_SEARCH_LENGTH_MAX 2048
/* Most options; of a node's own file, those behind are left out. */
#define RESOLVER_OPTIONS_MAX 32

struct pod_files_options {
    const char *cluster_domain;  /* "cluster.local" */
    const char *cluster_dns;     /* an address */
    const char *kernel_hostname; /* what /etc/hostname says; NULL: the hostname */
    const char *node_resolver;   /* the text of the node's /etc/resolv.conf; may be NULL */
    const char *pod_ip6;         /* the pod's second address; NULL: none */
    const char *node_hosts;      /* and of its /etc/hosts, for pods of its network; may be NULL */
};

/* Names that the pod has for itself, and its hostAliases. pod_ip NULL: no line for it. */
void pod_hosts(struct buffer *out, const struct pod *pod, const char *hostname, const char *pod_ip,
               const struct pod_files_options *options);
/* Upstream's sentences for what was left out, because there is more than resolvers take; NULL: nothing. free() them. */
struct resolver_omissions {
    char *servers, *searches;
};

/* By dnsPolicy and dnsConfig. */
void pod_resolver(struct buffer *out, const struct pod *pod, const struct pod_files_options *options,
                  struct resolver_omissions *omitted);

/* Writes all three into the directory; reads the node's files. Blocks. */
int pod_files_write(const char *directory, const struct pod *pod, const char *hostname, const char *pod_ip,
                    const struct pod_files_options *options, struct resolver_omissions *omitted, struct error *err);

#endif
