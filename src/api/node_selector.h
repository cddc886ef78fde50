/* NodeSelector: which nodes it selects. Upstream's component-helpers/scheduling/corev1/nodeaffinity. Thread-safe. */
#ifndef CORACLE_API_NODE_SELECTOR_H
#define CORACLE_API_NODE_SELECTOR_H

#include <stdbool.h>

#include "api/types.h"

/* Whether one of the terms holds for the node. An empty term selects nothing. */
bool node_selector_matches(const struct node_selector *selector, const struct object_meta *node);
bool node_selector_term_matches(const struct node_selector_term *term, const struct object_meta *node);

#endif
