/* Static pods: runs what the manifest files of a folder say, and keeps a mirror of each pod in the API, as upstream's
 * kubelet does with --pod-manifest-path.
 *
 * The folder is read when the agent starts and whenever it changes; nothing happens in between. A file that cannot be
 * read as a pod is reported, and the pod that it held before goes on. Files whose names begin with '.', folders and
 * empty files are passed over. Loop's thread only; files are read on the pool. */
#ifndef CORACLE_NODE_STATIC_PODS_H
#define CORACLE_NODE_STATIC_PODS_H

#include "client/informer.h"
#include "node/node.h"

/* Files that are looked at; more are reported and left alone. */
#define STATIC_PODS_MAX AGENT_PODS_MAX

struct static_pods;
struct worker;

/* directory NULL: there are no static pods, and mirrors of old ones go. loaded runs once, when the folder has been read
 * for the first time and the workers have been made. */
struct static_pods *static_pods_new(struct agent *agent, const char *directory, env_callback loaded, void *context);
/* The runtime knows its containers: reads the folder and begins. Runs without the API. */
void static_pods_start(struct static_pods *pods);
/* A mirror has appeared, changed or gone. */
void static_pods_mirror_changed(struct static_pods *pods, enum informer_change change, struct object *mirror);
/* What the API says is known from now on, or the node has been registered: mirrors that are missing are made. */
void static_pods_api_ready(struct static_pods *pods);
/* The worker is about to be freed. */
void static_pods_worker_gone(struct static_pods *pods, const struct worker *worker);
void static_pods_stop(struct static_pods *pods);
bool static_pods_idle(const struct static_pods *pods);
void static_pods_free(struct static_pods *pods);

#endif
