/* The census: which pods are on which nodes, bound or assumed, and how many of them per node and per topology domain
 * are selected by something (a group) or carry a term of affinity. Counts are kept as pods come and go, so that no
 * plugin has to look at every pod. One thread. Not for other rooms. */
#ifndef CORACLE_SCHEDULE_CENSUS_H
#define CORACLE_SCHEDULE_CENSUS_H

#include "api/selector.h"
#include "base/buffer.h"
#include "base/list.h"
#include "base/vector.h"
#include "client/informer.h"
#include "schedule/node_info.h"

/* Groups that are kept; those that nobody has asked for the longest are counted anew when they are asked for again. */
#define CENSUS_GROUPS_MAX 4096
/* Topologies that are kept although no count refers to them. */
#define CENSUS_TOPOLOGIES_MAX 64

/* A label of nodes, whose values are domains, numbered from 0. */
struct census_topology {
    char *key;
    int32_t *of; /* by the slot of a node: its domain, or -1 */
    size_t domains;
    size_t room;
    struct map values; /* value -> domain + 1 */
    uint64_t version;  /* counts up: the numbers are new */
    bool stale;
    size_t sums; /* that refer to it */
};

/* How many of some pods there are. */
struct census_sum {
    struct census_topology *topology;
    int32_t *in;      /* by domain */
    int64_t total;    /* over all domains */
    uint64_t version; /* of the topology, when it was summed up */
};
struct census_count {
    int32_t *on; /* by slot */
    size_t room;
    VECTOR(struct census_sum *) sums;
};

/* Pods of some namespaces that a selector selects. */
struct pod_term {
    const char *const *namespaces;
    size_t namespace_count;
    const struct selector *namespace_selector; /* namespaces beside these; NULL: none */
    const struct selector *selector;
    const struct label_selector *from, *namespaces_from; /* what the selectors were read from */
    const char *anchor; /* "key=value" that every selected pod has; "": there is none */
};

/* Pods that every one of some terms selects. */
struct census_group {
    struct list link; /* in the order of use */
    char *key;
    struct arena *arena;
    const struct pod_term *terms;
    size_t term_count;
    bool living; /* pods that are being deleted do not count */
    bool stale;
    struct census_count count;
};

/* A term that pods on nodes carry; it matters to pods that it selects. */
enum census_kind { CARRIES_ANTI_AFFINITY, CARRIES_PREFERENCE };
struct census_carried {
    char *key;
    struct arena *arena;
    enum census_kind kind;
    int64_t weight; /* of a preference: negative for anti-affinity */
    const char *topology_key;
    struct pod_term term;
    int64_t pods;
    struct census_count count;
};

/* A pod that counts on a node; or one that is nominated for it, and counts only while it is being tried. */
struct placed {
    struct list link; /* in node_info.residents, or .nominated */
    struct object *pod;
    struct node_info *node;
    char *node_name;
    bool assumed, suspended;
    VECTOR(struct census_carried *) carries;
};

/* An image, and the nodes that have it. */
struct census_image {
    int64_t size;
    size_t nodes;
    unsigned char *on; /* by slot */
    size_t room;
};

struct census {
    struct informer *namespaces;
    struct map infos;                 /* node name -> struct node_info */
    VECTOR(struct node_info *) slots; /* by slot; NULL: free */
    VECTOR(struct node_info *) order; /* nodes that have an object, in the order of their names */
    bool order_stale;
    struct map placed;                              /* pod uid -> struct placed */
    struct map nominated;                           /* pod uid -> struct placed */
    struct map topologies;                          /* key -> struct census_topology */
    struct map groups;                              /* key -> struct census_group */
    struct list recent;                             /* groups; the one that was used last is the last */
    struct map carried;                             /* key -> struct census_carried */
    struct map groups_by_anchor, carried_by_anchor; /* anchor -> struct census_bucket */
    struct map images; /* by the name that census_image_name gives -> struct census_image */
};

void census_init(struct census *census, struct informer *namespaces);
void census_free(struct census *census);

/* ---- census.c: nodes and pods ---- */

/* The node has changed, or is gone (NULL). */
void census_node(struct census *census, const char *name, struct object *node);
struct node_info *census_node_of(struct census *census, const char *name);
/* Brings the order of nodes up to date; once before each attempt. */
void census_refresh(struct census *census);
void census_place(struct census *census, struct object *pod, const char *node, bool assumed);
/* Returns whether it was there. */
bool census_unplace(struct census *census, const char *uid);
/* Whether two states of a pod ask for the same: a resize shows in its status. */
bool census_same_requests(const struct pod *a, const struct pod *b);
/* Takes a pod out of all counts for a while, and back in: what if it were not there? */
void census_suspend(struct census *census, struct placed *placed);
void census_resume(struct census *census, struct placed *placed);
/* A node has been promised to the pod once others have left it: it is suspended, and may be resumed to try. NULL: no
 * longer. */
void census_nominate(struct census *census, struct object *pod, const char *node);
/* Labels of a namespace have changed. */
void census_namespace_changed(struct census *census);
/* With the tag "latest" when it has neither tag nor digest, as upstream's normalizedImageName; allocated. */
char *census_image_name(const char *name);
/* By the name that census_image_name gives, or NULL. */
const struct census_image *census_image(const struct census *census, const char *name);

/* ---- census_count.c: groups and terms ---- */

/* The domains of a label, good until census_refresh or until a node changes. */
struct census_topology *census_topology(struct census *census, const char *key);
/* A term in the arena, which shares what it is given, without its selectors; its text is added to key. Where neither
 * namespaces nor a namespace selector are given, own_namespace counts. */
void pod_term_make(struct arena *arena, const struct label_selector *selector, const struct string_array *namespaces,
                   const struct label_selector *namespace_selector, const char *own_namespace, struct pod_term *out,
                   struct buffer *key);
void pod_term_of(struct arena *arena, const struct pod_affinity_term *term, const char *own_namespace,
                 struct pod_term *out, struct buffer *key);
/* Reads the selectors; one that cannot be read selects nothing. */
void pod_term_compile(struct arena *arena, struct pod_term *term);
bool pod_term_selects(const struct census *census, const struct pod_term *term, const struct pod *pod);
/* The group of pods that are selected by all terms, which need no selectors yet; key: the text of all of them. Good
 * until others have been asked for CENSUS_GROUPS_MAX times. The terms are copied. */
struct census_group *census_group(struct census *census, const char *key, const struct pod_term *terms, size_t count,
                                  bool living);
/* What a count is per domain of a topology. */
const struct census_sum *census_sum(struct census_count *count, struct census_topology *topology);
static inline int32_t census_on(const struct census_count *count, const struct node_info *node)
{
    return (size_t)node->slot < count->room ? count->on[node->slot] : 0;
}
/* Calls visit for each carried term that selects the pod. */
void census_carried_for(struct census *census, const struct pod *pod,
                        void (*visit)(void *context, struct census_carried *carried), void *context);

/* For census.c: a pod's part in all counts. sign: 1 or -1. */
void census_count_pod(struct census *census, struct placed *placed, int sign);
void census_carry(struct census *census, struct placed *placed);
void census_drop(struct census *census, struct placed *placed);
/* A node's labels have changed, or its slot has come or gone. */
void census_topologies_stale(struct census *census);
void census_topologies_sweep(struct census *census);
void census_count_free(struct census *census);

#endif
