/* Annotations of static pods, which a node runs from files of its own, and of their mirrors in the API. */
#ifndef CORACLE_API_STATIC_POD_H
#define CORACLE_API_STATIC_POD_H

/* Where the pod comes from: "file", or "api" for one that has been through the scheduler. */
#define POD_SOURCE_ANNOTATION "kubernetes.io/config.source"
/* The hash of what the file says. */
#define POD_HASH_ANNOTATION "kubernetes.io/config.hash"
/* Only of a mirror: the hash of the pod that it shows. */
#define POD_MIRROR_ANNOTATION "kubernetes.io/config.mirror"
/* When the node read the file. */
#define POD_SEEN_ANNOTATION "kubernetes.io/config.seen"

#endif
