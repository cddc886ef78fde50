/* Labels and annotations that more than one room knows, as upstream spells them. */
#ifndef CORACLE_API_WELL_KNOWN_H
#define CORACLE_API_WELL_KNOWN_H

/* The Service that an EndpointSlice is of, and who keeps it. */
#define SERVICE_NAME_LABEL "kubernetes.io/service-name"
#define SLICE_MANAGED_BY_LABEL "endpointslice.kubernetes.io/managed-by"
#define SLICE_CONTROLLER "endpointslice-controller.k8s.io"
/* Who keeps Endpoints. */
#define ENDPOINTS_MANAGED_BY_LABEL "endpoints.kubernetes.io/managed-by"
#define ENDPOINTS_CONTROLLER "endpoint-controller"

/* Whether a Service wants topology hints, and the older name of that. */
#define TOPOLOGY_ANNOTATION "service.kubernetes.io/topology-mode"
#define HINTS_ANNOTATION "service.kubernetes.io/topology-aware-hints"
/* The older form of a Service's loadBalancerSourceRanges. */
#define SOURCE_RANGES_ANNOTATION "service.beta.kubernetes.io/load-balancer-source-ranges"
/* The older form of an Ingress's ingressClassName. */
#define INGRESS_CLASS_ANNOTATION "kubernetes.io/ingress.class"

#endif
