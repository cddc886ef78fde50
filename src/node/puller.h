/* Images for containers: looks for what is here, pulls what is not, as imagePullPolicy says. A named number of
 * images is pulled at once; the store makes one of pulls of the same image. Loop's thread only. */
#ifndef CORACLE_NODE_PULLER_H
#define CORACLE_NODE_PULLER_H

#include "node/node.h"

/* Images that are pulled at once; more wait in line. */
#define PULLER_PARALLEL_MAX 4

struct image_puller;

/* What became of it; valid during the call. */
struct image_answer {
    const char *reason;  /* NULL: the image is here; else "ErrImagePull", "ErrImageNeverPull", "InvalidImageName" ... */
    const char *message; /* for the status */
    const char *event;   /* for the event: "Successfully pulled...", "Failed to pull..." */
    bool retry;          /* a later attempt may succeed */
    const char *name;    /* normalised: "docker.io/library/nginx:1" */
    const char *id;      /* what status.imageID shows */
};

typedef void (*puller_done)(void *context, const struct image_answer *answer);

struct image_puller *puller_new(struct agent *agent);
/* Ends pulls under way and drops those that wait; each is still answered. */
void puller_cancel(struct image_puller *puller);
/* Call when all requests have been answered. */
void puller_free(struct image_puller *puller);
/* pulling runs if and when a pull begins. */
void puller_get(struct image_puller *puller, const struct pod *pod, const struct container *container,
                env_callback pulling, puller_done done, void *context);

#endif
