/* The quality-of-service class of a pod, as upstream's ComputePodQOS derives it from cpu and memory. */
#ifndef CORACLE_API_POD_QOS_H
#define CORACLE_API_POD_QOS_H

#include "api/types.h"

/* "Guaranteed", "Burstable" or "BestEffort"; static text. */
const char *api_pod_qos_class(const struct pod_spec *spec);

#endif
