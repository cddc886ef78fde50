/* Which kernel settings a pod may have: upstream's list of safe ones, and what the node's owner allows besides. */
#ifndef CORACLE_NODE_POD_SYSCTLS_H
#define CORACLE_NODE_POD_SYSCTLS_H

#include "api/types.h"
#include "base/error.h"

/* Reason of a pod that fails for them, as upstream's. */
#define POD_SYSCTLS_FORBIDDEN "SysctlForbidden"

/* Whether a list for pod_sysctls_refusal makes sense: names of settings that the kernel keeps per namespace, separated
 * by commas, of which the last character may be '*'. NULL and "" do. */
int pod_sysctls_check_list(const char *unsafe_allowed, struct error *err);

/* NULL: the node takes the pod. Otherwise what upstream's kubelet says, `forbidden sysctl: "x" not allowlisted`; free()
 * it. `unsafe_allowed` is a list that pod_sysctls_check_list has passed. */
char *pod_sysctls_refusal(const struct pod_spec *spec, const char *unsafe_allowed);

#endif
