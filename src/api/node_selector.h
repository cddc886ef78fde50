/* NodeSelector: which nodes it selects, and which nodes a pod may be on. Upstream's
 * component-helpers/scheduling/corev1/nodeaffinity. Thread-safe. */
#ifndef CORACLE_API_NODE_SELECTOR_H
#define CORACLE_API_NODE_SELECTOR_H

#include <stdbool.h>

#include "api/types.h"

/* Whether one of the terms holds for the node. An empty term selects nothing. */
bool node_selector_matches(const struct node_selector *selector, const struct object_meta *node);
bool node_selector_term_matches(const struct node_selector_term *term, const struct object_meta *node);

/* The terms of the pod's required node affinity, or NULL: there are none. */
const struct node_selector *pod_node_terms(const struct pod *pod);
/* Whether the node has the labels that the pod requires: nodeSelector and node affinity. */
bool pod_requires_node(const struct pod *pod, const struct object_meta *node);
bool pod_has_node_requirements(const struct pod *pod);

#endif
