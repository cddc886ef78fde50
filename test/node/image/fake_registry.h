/* A registry on loopback that serves test images and misbehaves as a test wants. One thread per connection; a
 * connection carries one request. */
#ifndef CORACLE_TEST_NODE_IMAGE_FAKE_REGISTRY_H
#define CORACLE_TEST_NODE_IMAGE_FAKE_REGISTRY_H

#include <pthread.h>

#include "support.h"

#define FAKE_BODIES_MAX 256
#define FAKE_REQUESTS_MAX 512

struct fake_body {
    char path[256]; /* "/v2/team/app/blobs/sha256:..." */
    const char *content_type;
    struct buffer data;
};

/* What was asked for. */
struct fake_request {
    char method[8];
    char path[1024]; /* with the query */
    char authorization[2048];
    uint64_t from; /* of Range; 0: none */
};

struct fake_registry {
    int port;
    char host[32]; /* 127.0.0.1:PORT */
    /* How to behave; set before the first request. */
    const char *token;         /* wants this bearer token, which GET /token gives */
    const char *basic;         /* wants this basic value; with a token, the token server wants it */
    bool deny;                 /* refuses every token */
    bool no_digest;            /* no Docker-Content-Digest */
    bool no_range;             /* gives the whole, whatever was asked for */
    size_t cut_after;          /* breaks the connection of a blob after so many bytes of its body, ... */
    int cuts;                  /* ... so many times */
    int unavailable;           /* answers so many requests with 503 */
    const char *redirect_host; /* sends those who want blobs there */
    size_t gather;             /* holds blobs back until so many are wanted at once */
    atomic_bool *cancel;       /* set when a blob is wanted, which then never comes */
    struct fake_body bodies[FAKE_BODIES_MAX];
    size_t body_count;
    /* What happened. */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct fake_request requests[FAKE_REQUESTS_MAX];
    size_t request_count;
    size_t waiting, most_waiting;
    size_t connections; /* being served */
    int listener;
    pthread_t thread;
};

struct fake_registry *fake_registry_start(void);
void fake_registry_stop(struct fake_registry *registry);
/* Serves an image as team/app:<tag>, with all its blobs. */
void fake_registry_add(struct fake_registry *registry, const struct test_image *image, const char *tag);
void fake_registry_add_body(struct fake_registry *registry, const char *path, const char *content_type,
                            const void *data, size_t size);
/* The body under a path, to be changed before it is served. */
struct buffer *fake_registry_body(struct fake_registry *registry, const char *path);
/* Requests whose path contains this. */
size_t fake_registry_count(struct fake_registry *registry, const char *part);

#endif
