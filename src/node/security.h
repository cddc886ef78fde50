/* What the security contexts of a pod and its containers come to for the runtime. A container's own setting goes before
 * the pod's, as upstream's DetermineEffectiveSecurityContext has it. */
#ifndef CORACLE_NODE_SECURITY_H
#define CORACLE_NODE_SECURITY_H

#include "api/object.h"
#include "base/arena.h"
#include "base/error.h"
#include "node/runtime/container.h"

/* Largest file of a seccomp profile of type Localhost. */
#define SECURITY_PROFILE_MAX ((size_t)1 << 20)

/* Fills in what the spec alone decides: privileges, capabilities, what is masked, which kind of seccomp profile. A
 * container that names none gets RuntimeDefault. Strings are the spec's. */
void security_configure(const struct pod *pod, const struct container *container,
                        struct runtime_container_config *config);

/* Reads the seccomp profile of a container that names one of type Localhost from DATA/seccomp. Blocks for one file.
 * Fails with what upstream says: `cannot load seccomp profile "...": ...`. The text lives in the arena. */
int security_load_seccomp(struct arena *arena, const struct pod *pod, const struct container *container,
                          const char *data_directory, struct runtime_container_config *config, struct error *err);

#endif
