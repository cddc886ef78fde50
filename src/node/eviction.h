/* Who has to go when a node runs short of something, and the words that it is told with. Pure; order and texts are
 * those of the kubelet's eviction manager. */
#ifndef CORACLE_NODE_EVICTION_H
#define CORACLE_NODE_EVICTION_H

#include "api/types.h"
#include "base/arena.h"
#include "base/error.h"

/* Reason of the pod's status and of its event. */
#define EVICTION_REASON "Evicted"
/* Seconds that the victim of a hard threshold, or of a limit of its own, gets. */
#define EVICTION_GRACE_SECONDS 1
/* How long a condition stays after the shortage was last seen, by default. */
#define EVICTION_TRANSITION_SECONDS 300

/* Where the kubelet's signals of the same names look: memory; bytes and inodes of the file system of the node's data,
 * and of its images; processes. */
enum eviction_signal {
    EVICTION_MEMORY,
    EVICTION_DISK,
    EVICTION_INODES,
    EVICTION_IMAGE_DISK,
    EVICTION_IMAGE_INODES,
    EVICTION_PIDS,
    EVICTION_SIGNALS
};

/* The node's conditions MemoryPressure, DiskPressure and PIDPressure. */
enum eviction_condition {
    EVICTION_MEMORY_PRESSURE,
    EVICTION_DISK_PRESSURE,
    EVICTION_PID_PRESSURE,
    EVICTION_CONDITIONS
};

/* What a node must have left: a quantity, or a part of its capacity. */
struct eviction_threshold {
    const char *quantity; /* canonical; NULL: by part */
    float part;           /* of 1; 0 and quantity NULL: there is no threshold */
};

struct eviction_thresholds {
    struct eviction_threshold of[EVICTION_SIGNALS];
};

/* memory.available<100Mi, as upstream's. Disk has none: a cluster shares it with much else, and so do without it those
 * that make upstream clusters on people's machines. */
extern const struct eviction_thresholds eviction_defaults;
/* Reads the kubelet's form, "memory.available<100Mi,nodefs.available<10%"; signals that are left out, or have 0% or
 * 100%, have no threshold. Quantities live in the arena. */
int eviction_parse(struct arena *arena, const char *text, struct eviction_thresholds *out, struct error *err);
/* The threshold in what the signal is measured in. */
int64_t eviction_amount(const struct eviction_threshold *threshold, int64_t capacity);
/* "memory", "ephemeral-storage", "inodes", "pids". */
const char *eviction_resource(enum eviction_signal signal);
/* The condition that the signal sets. */
enum eviction_condition eviction_condition(enum eviction_signal signal);
/* Whether the node can give something back before a pod goes, logs and images: what is short of where they are. Without
 * a file system of their own (`shared`), images are on that of the node's data. */
bool eviction_reclaims(enum eviction_signal signal, bool shared);
/* It counts things; the others measure bytes. */
bool eviction_is_counted(enum eviction_signal signal);

/* A container of a pod that may have to go. */
struct eviction_container {
    const char *name;
    int64_t usage; /* bytes of what is short */
    int64_t request;
};

struct eviction_pod {
    const struct pod *pod;
    bool measured; /* usage is known */
    int64_t usage, request;
    struct eviction_container *containers;
    size_t count;
    void *context; /* the caller's */
};

/* The first is to go first: one that is not known, then those that use more than they asked for, those of lower
 * priority, those that exceed their requests by more. Stable. */
void eviction_rank(struct eviction_pod *pods, size_t count);

struct eviction_shortage {
    enum eviction_signal signal;
    const struct eviction_threshold *threshold;
    int64_t capacity, available;
};
/* "The node was low on resource: memory. Threshold quantity: 100Mi, available: 20Mi. Container x was using ..." */
const char *eviction_message(struct arena *arena, const struct eviction_shortage *shortage,
                             const struct eviction_pod *victim);

/* Static pods and those of the highest priorities are taken in, and stay, whatever is short. */
bool eviction_is_critical(const struct pod *pod);
/* Whether a node with these conditions takes the pod in. */
bool eviction_admits(const struct pod *pod, const bool shown[EVICTION_CONDITIONS]);
/* "The node had condition: [MemoryPressure]. ", in the arena. */
const char *eviction_refusal(struct arena *arena, const bool shown[EVICTION_CONDITIONS]);

#endif
