/* What the files that write config.json share. */
#ifndef CORACLE_NODE_RUNTIME_OCI_INTERNAL_H
#define CORACLE_NODE_RUNTIME_OCI_INTERNAL_H

#include <jansson.h>

/* All devices of the node, as OCI device objects; the caller owns the array. Blocks for a walk through /dev. */
json_t *oci_node_devices(void);

#endif
