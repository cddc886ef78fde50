/* What a node says of its use: what passes between the agent, which measures, and the API server, which answers
 * metrics.k8s.io and for the node's own pages (server/node_stats.h). Plain values, so that it can go over a wire as
 * well as over a call. */
#ifndef CORACLE_API_USAGE_H
#define CORACLE_API_USAGE_H

#include <stddef.h>
#include <stdint.h>

struct usage_figures {
    int64_t cpu;      /* thousand-millionths of a CPU, on average over the window */
    int64_t cpu_time; /* nanoseconds of CPU since the start, until the window's end */
    int64_t memory;   /* working set in bytes, at the window's end */
};

struct container_usage {
    const char *name;
    const char *image;  /* as its spec names it; NULL: not known */
    int64_t started_at; /* microseconds since the epoch */
    struct usage_figures figures;
};

struct pod_usage {
    const char *namespace;
    const char *name;
    const char *uid;
    int64_t instant; /* the window's end, microseconds since the epoch */
    int64_t window;  /* its length, in microseconds */
    struct container_usage *containers;
    size_t count;
};

/* Of one node. Borrowed for the time of the call that hands it over. */
struct node_usage {
    const char *name;
    int64_t instant, window;
    int64_t started_at;           /* the machine's boot, microseconds since the epoch */
    int64_t memory_total;         /* bytes */
    struct usage_figures figures; /* of the whole machine */
    struct pod_usage *pods;       /* those with a container that has run for a while; in no order */
    size_t count;
};

/* usage NULL: the node cannot say. */
typedef void (*usage_done)(void *context, const struct node_usage *usage);

#endif
