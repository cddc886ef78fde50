/* What a node that runs short of disk gives back before a pod has to go, as upstream's kubelet does: the logs of pods
 * that have ended, which are all that is left of their containers, and the images that no container uses. Images keep
 * to their minimum age, and those from archives stay (node/image_gc.h). Loop's thread; the work is done on the pool. */
#ifndef CORACLE_NODE_RECLAIM_H
#define CORACLE_NODE_RECLAIM_H

#include "base/env.h"
#include "node/node.h"

/* Calls done when all that may go has gone. One at a time. */
void reclaim_disk(struct agent *agent, env_callback done, void *context);

#endif
