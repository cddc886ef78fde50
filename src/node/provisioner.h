/* The provisioner of the class local-path: makes a folder below the data directory for each claim that is to be served
 * by this node, and the PersistentVolume that leads to it; removes both when the claim is gone and the policy says
 * Delete. It also reclaims hostPath volumes that were made by hand, which upstream's controller does on its own host,
 * and which is therefore for clusters of one machine: Delete removes the folder if its path says /tmp/, Recycle empties
 * it. What to do is decided by two pure functions; the folders are made and removed on the pool. */
#ifndef CORACLE_NODE_PROVISIONER_H
#define CORACLE_NODE_PROVISIONER_H

#include "node/node.h"

struct provisioner;

/* Adds its handlers to the agent's informers; works once the agent has begun. */
struct provisioner *provisioner_new(struct agent *agent);
/* Looks at everything there is. */
void provisioner_start(struct provisioner *provisioner);
/* Begins nothing more. */
void provisioner_stop(struct provisioner *provisioner);
/* Nothing is under way. */
bool provisioner_idle(const struct provisioner *provisioner);
void provisioner_free(struct provisioner *provisioner);

/* Whether this node is to make a volume for the claim; class NULL: there is none of that name. *why gets what makes it
 * impossible, or NULL. */
bool provisioner_decide_claim(const struct persistent_volume_claim *claim, const struct storage_class *class,
                              const char *node, const char **why);
/* What this node has to do about a volume: nothing, keep the folder but let the object go, remove both, and the same
 * for a hostPath volume, or empty the folder and offer the volume to others. */
enum provisioner_release { RELEASE_NOTHING, RELEASE_OBJECT, RELEASE_FOLDER, RELEASE_HOST_PATH, RELEASE_CONTENT };
enum provisioner_release provisioner_decide_volume(const struct persistent_volume *volume, const char *node);
/* The volume for a claim, in the arena; folder is its place on the node. */
struct persistent_volume *provisioner_make_volume(struct arena *arena, const struct persistent_volume_claim *claim,
                                                  const struct storage_class *class, const char *node,
                                                  const char *folder);

#endif
