/* What `coracle up` was asked for. */
#ifndef CORACLE_CLI_OPTIONS_H
#define CORACLE_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Archives that one `up` loads. */
#define UP_IMAGES_MAX 64

struct up_options {
    const char *name;
    bool sandbox;
    bool detach;
    const char *data_directory; /* NULL: /var/lib/coracle/NAME */
    const char *listen;         /* ADDR:PORT; port 0: any */
    const char *manifests;      /* the folder of static pods; NULL: none */
    const char *kubeconfig;     /* NULL: only the one in the data directory */
    const char *images[UP_IMAGES_MAX];
    size_t image_count;
    const char *balancer_pool; /* ranges of addresses for Services of type LoadBalancer; NULL: the node's addresses */
    const char *eviction_hard; /* as the kubelet takes it; NULL: memory.available<100Mi */
    const char *pressure_transition; /* a duration such as 5m0s; NULL: that */
    const char *system_reserved;     /* memory=1Gi,cpu=500m; NULL: nothing */
    const char *cpu_manager_policy;  /* none, static; NULL: none */
    const char *unsafe_sysctls;      /* net.core.somaxconn,kernel.msg*; NULL: none */
    bool verbose;
    bool help; /* only how to use it; what follows was not read */
};

#endif
