/* Downloading a blob into the store's partial/ directory, with resumption. */
#ifndef CORACLE_NODE_IMAGE_DOWNLOAD_H
#define CORACLE_NODE_IMAGE_DOWNLOAD_H

#include "node/image/registry.h"
#include "node/image/store.h"

#define DOWNLOAD_RESUMPTIONS_MAX 100 /* broken connections of one blob, each of which brought some of it */

/* A blob on disk, locked: nobody else downloads or reads it meanwhile. */
struct download {
    int fd;
    uint64_t done; /* bytes that are there and in the digest */
    uint64_t size;
    struct digest digest;
    bool answered; /* the present answer has brought bytes */
    /* Called as bytes come; may be NULL. */
    void (*progress)(void *context, uint64_t done);
    void *context;
};

void image_download_discard(struct download *download);

/* Opens and locks partial/<digest>, waiting for whoever has it. */
int image_download_open(struct image_store *store, const struct descriptor *blob, const struct cancel *cancel,
                        struct download *out, struct error *err);
/* Fetches what is missing and checks size and digest. What came stays on disk when it fails. */
int image_download_run(struct download *download, struct registry *registry, struct http_client *client,
                       const struct descriptor *blob, struct error *err);
/* Removes the file of a blob that is not needed any more. */
void image_download_remove(struct image_store *store, const char *digest);

#endif
