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

/* Refuses a container that must not run as root and would, or might: the image names its user (`image_user`, as its
 * configuration has it) and the spec names none. Upstream's texts; upstream's reason is CreateContainerConfigError. */
int security_check_non_root(const struct pod *pod, const struct container *container, const char *image_user,
                            struct error *err);

/* Fills in user, group and additional groups of config, whose rootfs is mounted: what the spec says, else the image; the
 * groups that the image has for the user too, unless supplementalGroupsPolicy is Strict. The group itself is among the
 * additional ones, as containerd has it. `home` is the user's home directory. Arrays live in the arena. Blocks for two
 * small files of the root file system. */
int security_resolve_user(struct arena *arena, const struct pod *pod, const struct container *container,
                          const char *image_user, struct runtime_container_config *config, const char **home,
                          struct error *err);

/* The resolved user as text that fits an annotation, "UID GID GROUP...", and back. A text that is not one reads as
 * NULL. */
const char *security_user_text(struct arena *arena, const struct runtime_container_config *config);
struct container_user *security_user_read(struct arena *arena, const char *text);

#endif
