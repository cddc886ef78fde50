/* What the status of a node says. Strings belong to the node. */
#ifndef CORACLE_API_NODE_STATUS_H
#define CORACLE_API_NODE_STATUS_H

#include <stdbool.h>

#include "api/types.h"

/* Whether the condition Ready is True. */
bool node_is_ready(const struct node *node);
/* The first address of a type ("InternalIP"), or NULL. */
const char *node_address(const struct node *node, const char *type);

#endif
