/* What those share who read EndpointSlices. */
#ifndef CORACLE_NETWORK_ENDPOINT_SLICES_H
#define CORACLE_NETWORK_ENDPOINT_SLICES_H

#include "client/informer.h"

/* An index of slices by the Service that they are of: "namespace/name". */
bool endpoint_slice_service_key(struct object *object, char *out, size_t size);
/* The name of that Service, or NULL. */
const char *endpoint_slice_service(struct object *object);
/* A condition that may be unset. */
bool endpoint_condition(struct opt_bool value, bool unset);

#endif
