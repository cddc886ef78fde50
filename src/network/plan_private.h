/* Inside the plan: what is in the kernel, what ought to be there, and the way from one to the other.
 *
 *     services   name -> struct service: its slots and elements
 *     rules      key of an element -> struct rule: who claims it, and what the kernel has
 *
 * A rule's value is that of its first claim; further claims wait. A rule is in the list `changed` while its first claim
 * may differ from what the kernel has. A rule without claims that the kernel does not have is released. Hence a diff
 * looks only at `changed`, and twice the same service changes nothing. A service keeps its claims beside its elements,
 * and finds them without looking: thousands of services may claim the hairpin of one endpoint. */
#ifndef CORACLE_NETWORK_PLAN_PRIVATE_H
#define CORACLE_NETWORK_PLAN_PRIVATE_H

#include "base/list.h"
#include "base/map.h"
#include "network/element.h"

struct rule {
    struct list changed;   /* alone when it is not in the list */
    struct list lingering; /* alone when it is not in the list */
    struct list claims;
    struct element installed; /* its key is the rule's, also while nothing is installed */
    bool is_installed;
};

struct claim {
    struct list link; /* in the rule's claims, the first first */
    struct rule *rule;
    struct element element;
};

struct dataplane_plan {
    struct dataplane_plan_config config;
    struct ip_prefix service_prefix;
    struct map services;
    struct map rules;
    struct list changed;
    struct list lingering; /* hairpins that are installed and not wanted, the oldest first */
    size_t lingering_count;
    VECTOR(struct dataplane_withdrawal) withdrawals;
    /* By number of endpoints, for everybody and for traffic from inside: its chains are in the kernel. */
    bool picks[2][DATAPLANE_ENDPOINTS_MAX + 1];
    VECTOR(uint32_t) remembered; /* affinity seconds whose chains are in the kernel */
};

/* Room for a rule's key in the map of rules. */
#define KEY_TEXT_MAX 96

void plan_rule_key(const struct element *e, char out[KEY_TEXT_MAX]);
void plan_mark_changed(struct dataplane_plan *plan, struct rule *rule);
/* What the rule ought to be; NULL: not there. */
const struct element *plan_wanted(const struct rule *rule);
/* Whether the rules of all services together lead from that way in to the endpoint of w; traffic from inside takes the
 * way of all where it has none of its own. */
bool plan_leads(struct dataplane_plan *plan, enum element_set set, struct ip_address address,
                const struct dataplane_withdrawal *w);

#endif
