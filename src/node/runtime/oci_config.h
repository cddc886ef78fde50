/* The OCI config.json of a container. */
#ifndef CORACLE_NODE_RUNTIME_OCI_CONFIG_H
#define CORACLE_NODE_RUNTIME_OCI_CONFIG_H

#include "base/buffer.h"
#include "node/runtime/container.h"

/* What a container's config takes from its surroundings. */
struct oci_surroundings {
    const char *hostname;          /* for HOSTNAME; NULL: not set */
    const char *network_namespace; /* paths; NULL: the node's */
    const char *ipc_namespace;
    const char *uts_namespace;
    bool host_pid;
    const char *pid_namespace;   /* path; NULL: one of its own, unless host_pid */
    const char *shm;             /* directory to mount on /dev/shm */
    const char *termination_log; /* file to mount on termination_message_path */
    const char *cgroup;          /* path below each controller's mount point */
    int cgroup_version;
    bool limit_swap;                /* the kernel can be told not to swap beyond the memory limit */
    bool limit_huge_pages;          /* the kernel can limit them by group */
    uint64_t bounding_capabilities; /* what this process may hand on, one bit per capability */
    int oom_score_adj_min;          /* least value that this process may give to a child */
    const char *seccomp_program;    /* the compiled profile in base64; NULL: crun is to compile it */
};

/* Fills in the part of the surroundings that is this process's own: capabilities and oom_score_adj_min. */
void oci_read_own_limits(struct oci_surroundings *surroundings);

/* The JSON text of the container's seccomp profile, free() it; NULL: there is none. Fails as oci_config_write. */
int oci_seccomp_text(const struct runtime_container_config *config, const struct oci_surroundings *surroundings,
                     char **out, struct error *err);

/* Appends the JSON text to out. Fails with EINVAL and a sentence for the user when the config makes no sense: no args,
 * an unknown capability, text that is not UTF-8. */
int oci_config_write(const struct runtime_container_config *config, const struct oci_surroundings *surroundings,
                     struct buffer *out, struct error *err);

#endif
