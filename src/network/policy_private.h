/* Shared by the files of policy_plan; see network/policy_plan.h. */
#ifndef CORACLE_NETWORK_POLICY_PRIVATE_H
#define CORACLE_NETWORK_POLICY_PRIVATE_H

#include "api/selector.h"
#include "base/arena.h"
#include "base/list.h"
#include "base/vector.h"
#include "network/policy_plan.h"

/* A peer as policies name it. Terms are shared by all policies that say the same. */
struct policy_term {
    bool used; /* false: the place is free */
    bool block;
    const char *namespace;             /* of the pods; NULL: by namespaces */
    const struct selector *namespaces; /* with namespace NULL */
    const struct selector *pods;       /* NULL: all */
    struct ip_prefix cidr;             /* of a block */
    const struct ip_prefix *except;
    size_t except_count;
};

/* One set of ports of a pod or of a rule. */
struct policy_ports {
    uint8_t protocol;
    uint16_t first, last; /* 0-65535: all, with and without ports */
};

struct policy_port_list {
    struct policy_ports *items;
    size_t count;
    size_t capacity;
    bool everything;
};

/* A port that a pod's container has a name for. */
struct policy_named_port {
    const char *name;
    uint8_t protocol;
    uint16_t number;
};

struct policy_clause {
    bool egress, any_peer;
    uint32_t *terms; /* indices into plan->terms */
    size_t term_count;
    const struct network_policy_port_array *ports;
};

struct policy {
    struct arena *arena; /* of the value */
    const struct network_policy *value;
    struct arena *compiled; /* of all below */
    const struct selector *pods;
    bool ingress, egress;
    struct policy_clause *rules;
    size_t rule_count;
};

/* Pods, or addresses, that all policies see alike. */
struct policy_class {
    char *signature; /* its key in plan->classes */
    uint32_t id;
    size_t references;
    uint64_t *terms;                 /* a bit for each that matches */
    size_t words;                    /* of terms */
    struct policy_named_port *ports; /* of those that egress rules name */
    size_t port_count;
};

struct policy_namespace {
    struct arena *arena;
    struct string_map labels;
};

/* What is told of one local pod, by set and family: key -> value + 1. */
struct policy_rules {
    struct map told[POLICY_SETS][2];
};

struct policy_subject {
    struct list dirty;          /* alone when it is not in the list */
    struct list unruled;        /* likewise */
    struct policy_rules *rules; /* NULL: none */
    struct arena *arena;
    const char *namespace;
    struct string_map labels;
    struct ip_address addresses[POLICY_ADDRESSES_MAX];
    struct policy_class *classes[POLICY_ADDRESSES_MAX];
    size_t address_count;
    struct policy_named_port *ports;
    size_t port_count;
    bool local, deleting;
};

struct policy_range {
    struct ip_address first, last;
    struct policy_class *class;
};

struct policy_plan {
    struct ip_address dns_address;
    struct map policies;                    /* "namespace/name" -> struct policy */
    struct map namespaces;                  /* name -> struct policy_namespace */
    struct map pods;                        /* "namespace/name" -> struct policy_subject */
    struct list dirty;                      /* of struct policy_subject whose class is to be found again */
    struct list unruled;                    /* of local ones whose rules are to be made again */
    VECTOR(struct policy_rules *) given_up; /* of pods that are gone */
    struct map claims[POLICY_SETS][2];      /* how many pods have told it: key -> number */
    uint64_t pods_made;                     /* how often the rules of one were made */
    struct map owners;                      /* address -> struct policy_subject that has it */
    struct map left;                        /* addresses that pods have left */
    VECTOR(struct policy_class *) released; /* references that pods had, given up when others have been taken */
    struct map classes;                     /* signature -> struct policy_class */
    uint32_t next_class;
    struct map port_sets; /* text -> number */
    uint32_t next_port_set;
    bool policies_changed, full;
    bool rules_changed; /* of all local pods */

    VECTOR(struct policy_term) terms;
    struct map term_index; /* text -> place in terms, from 1 */
    VECTOR(uint32_t) free_places;
    struct map egress_names; /* "protocol/name" of named ports of egress rules -> NULL */
    VECTOR(struct policy_range) ranges;

    struct map told[POLICY_SETS][2]; /* what was said of each set: key -> value + 1 */
};

uint8_t policy_protocol(const char *protocol);
bool policy_term_matches_address(const struct policy_term *term, const struct ip_address *address);

/* policy_class.c */
/* Makes the terms of all policies, and compiles what they say. */
void policy_compile_all(struct policy_plan *plan);
/* Finds or makes the class, and counts a reference to it; NULL: the class of what no policy names. pod NULL: an address
 * that is not a pod's. */
struct policy_class *policy_class_of(struct policy_plan *plan, const struct policy_subject *pod,
                                     const struct ip_address *address);
void policy_class_release(struct policy_plan *plan, struct policy_class *class);
/* Makes plan->ranges, which is empty, from the blocks among the terms. */
void policy_make_ranges(struct policy_plan *plan);

/* policy_plan.c: whether the pod's address i is its own. One that is being deleted may have lost it to another. */
bool policy_owns_address(const struct policy_plan *plan, const struct policy_subject *pod, size_t i);

/* policy_rules.c */
/* Tells what is allowed to and from a local pod; `rules` is empty. */
void policy_make_rules(struct policy_plan *plan, const struct policy_subject *pod, struct policy_rules *rules);
void policy_rules_free(struct policy_rules *rules);

#endif
