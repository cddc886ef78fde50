/* The registry: what each verb does to the store. Defaulting, admission, validation, metadata (uid,
 * generation, timestamps), graceful deletion, finalizers, the subresources, allocation of service addresses
 * and ports. No I/O: it has a store and an environment, so the same code answers in production and in
 * simulation. Runs on the store's thread.
 *
 * It is the in-process transport of client/client.h; the HTTP server submits to it what remote clients ask. */
#ifndef CORACLE_REGISTRY_REGISTRY_H
#define CORACLE_REGISTRY_REGISTRY_H

#include "client/client.h"
#include "registry/access.h"
#include "registry/token.h"
#include "store/store.h"

struct registry;

/* The user that a token, which has been read, stands for; NULL with err set when what it is bound to has gone. Lives in
 * the arena. */
const struct client_user *registry_token_user(const struct registry *registry, struct arena *arena,
                                              const struct token_claims *claims, const char *token,
                                              struct error *err);

struct registry_options {
    const char *service_cidr;  /* "10.96.0.0/16" */
    const char *service_cidr6; /* "fd00:10:96::/112"; NULL: services have IPv4 alone */
    int node_port_first;      /* 30000 */
    int node_port_last;       /* 32767 */
};

/* Neither the environment nor the store is taken over. */
struct registry *registry_new(struct env *env, struct store *store, const struct registry_options *options);
/* Makes the registry an issuer of service account tokens; the issuer must outlive it. Without one, requests for tokens
 * are refused. */
void registry_issue_tokens(struct registry *registry, const struct token_issuer *issuer);
/* How lint learns what a container of a pod uses now, in bytes; negative: nobody knows. Called on the registry's thread. */
void registry_observe_memory(struct registry *registry,
                             int64_t (*used)(void *context, const char *pod_uid, const char *container), void *context);
/* Requests that are not answered by now never are. All watches must have been freed; the store is freed later. */
void registry_free(struct registry *registry);

/* A client that submits as the given user (copied); to be released with registry_client_free. */
struct client *registry_client(struct registry *registry, const struct client_user *user);
void registry_client_free(struct client *client);

/* The place of the cluster's DNS in the service range: 10.96.0.10 in 10.96.0.0/16. */
#define CLUSTER_DNS_ADDRESS_INDEX 10

struct registry_bootstrap {
    const char *address; /* where this process answers pods */
    int api_port;
    int dns_port; /* 0: there is no DNS */
};

/* Creates what upstream's API server creates by itself: the namespaces default, kube-system, kube-public and
 * kube-node-lease, and the service default/kubernetes with its endpoints; and kube-system/kube-dns with its. And the
 * default cluster roles and bindings: before it is done, nobody but system:masters may do anything. */
void registry_bootstrap(struct registry *registry, const struct registry_bootstrap *options, void (*done)(void *context),
                        void *context);

/* From now on makes namespaces and services of those again that are deleted, with their endpoints, as upstream does
 * within seconds. To be called once the bootstrap is done and before the informers start; they must tell nothing any
 * more when the keeper is freed, which is before the registry is. */
struct registry_keeper;
struct informer_set;
struct registry_keeper *registry_keep(struct registry *registry, const struct registry_bootstrap *options,
                                      struct informer_set *informers);
void registry_keeper_free(struct registry_keeper *keeper);

#endif
