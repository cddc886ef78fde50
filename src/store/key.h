/* The keys that upstream's API server uses in etcd, so that a store can be read by upstream's tools and moved
 * to etcd and back: /registry/RESOURCE[/NAMESPACE]/NAME, with the exceptions of the table in store_key.c. */
#ifndef CORACLE_STORE_KEY_H
#define CORACLE_STORE_KEY_H

#include "api/type.h"
#include "base/buffer.h"

/* A longer key is refused; names (253) and namespaces (63) that pass validation are well below. */
#define STORE_KEY_MAX 640

/* Appends the key of an object. namespace is ignored for cluster-scoped resources. */
void store_key(struct buffer *out, const struct api_resource *resource, const char *namespace, const char *name);
/* Splits a key. *rest is what follows the resource: "NAMESPACE/NAME" or "NAME", inside key. NULL when it is
 * not the key of a resource that this program knows, or is not well-formed. */
const struct api_resource *store_key_parse(const char *key, const char **rest);

#endif
