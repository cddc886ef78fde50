/* The containers of a pod, of whichever sort. */
#ifndef CORACLE_API_POD_CONTAINERS_H
#define CORACLE_API_POD_CONTAINERS_H

#include "api/types.h"

/* What an ephemeral container has in common with the others: all but its target. Shares everything with it. */
struct container api_ephemeral_common(const struct ephemeral_container *container);

#endif
