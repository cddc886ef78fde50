/* Speaking to a registry (OCI distribution specification): scheme, authorization, documents.
 *
 * A registry is for one repository and one credential, and is shared by the threads of one pull; each has its own
 * client. */
#ifndef CORACLE_NODE_IMAGE_REGISTRY_H
#define CORACLE_NODE_IMAGE_REGISTRY_H

#include <pthread.h>

#include "node/image/http.h"
#include "node/image/image.h"
#include "node/image/manifest.h"

#define REGISTRY_ATTEMPTS_MAX 5         /* attempts at a request that makes no progress */
#define REGISTRY_PAUSE_MILLISECONDS 200 /* before the second attempt; doubled for each one more */
#define REGISTRY_PAUSE_MAX_MILLISECONDS 30000
#define REGISTRY_TOKEN_MAX ((size_t)1 << 20) /* bytes of an answer with a token */

struct registry {
    const struct image_reference *reference;
    const struct image_pull_options *options;
    const struct image_credential *credential; /* NULL: anonymous */
    const struct cancel *cancel;
    char *host; /* host[:port] to speak to: docker.io is registry-1.docker.io */
    bool insecure;
    bool loopback;
    pthread_mutex_t mutex; /* for what follows */
    bool tls;
    bool scheme_settled;
    char *authorization; /* value of the header, or NULL */
    unsigned generation; /* counts authorizations */
};

/* A request to the repository: `path` is "manifests/latest", "blobs/sha256:...". */
struct registry_request {
    const char *method;
    const char *path;
    const char *accept;
    uint64_t from;
    size_t body_limit;
    int (*sink)(void *context, const struct http_response *response, const void *data, size_t size, struct error *err);
    void *data;
};

void image_registry_start(struct registry *registry, const struct image_reference *reference,
                          const struct image_pull_options *options, const struct image_credential *credential,
                          const struct cancel *cancel);
void image_registry_discard(struct registry *registry);
/* A client for the calling thread. */
struct http_client *image_registry_client(const struct registry *registry);
/* Sends a request once, and once more when it has to be authorized first. 0 for any status except one that asks for
 * authorization that we have not got. */
int image_registry_send(struct registry *registry, struct http_client *client, const struct registry_request *request,
                        struct http_response *response, struct error *err);
/* Sends a request until it is answered with 200, at most REGISTRY_ATTEMPTS_MAX times. */
int image_registry_fetch(struct registry *registry, struct http_client *client, const struct registry_request *request,
                         struct http_response *response, struct error *err);
/* Waits before attempt number `attempt` (from 1), at least retry_after seconds. ECANCELED when that was asked for. */
int image_registry_pause(struct registry *registry, int attempt, unsigned retry_after, struct error *err);

#endif
