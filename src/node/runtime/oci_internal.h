/* What the files that write config.json share. */
#ifndef CORACLE_NODE_RUNTIME_OCI_INTERNAL_H
#define CORACLE_NODE_RUNTIME_OCI_INTERNAL_H

#include <jansson.h>
#include <stdint.h>

/* All devices of the node, as OCI device objects; the caller owns the array. Blocks for a walk through /dev. */
json_t *oci_node_devices(void);

/* The default seccomp profile for a container with these capabilities (one bit each), as an OCI object that the caller
 * owns. */
json_t *oci_seccomp_default(uint64_t capabilities);

#endif
