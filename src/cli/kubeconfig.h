/* The file with which a cluster's administrator reaches its API. */
#ifndef CORACLE_CLI_KUBECONFIG_H
#define CORACLE_CLI_KUBECONFIG_H

#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "server/pki.h"

/* Appends it to `out`: a context named after the cluster, with a new certificate of the group system:masters that is
 * valid from `now` on. Returns 0, or -1 with err filled and nothing appended. */
int kubeconfig_make(struct pki *pki, const char *name, const char *server_url, int64_t now, struct buffer *out,
                    struct error *err);

#endif
