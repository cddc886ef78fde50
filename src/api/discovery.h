/* Discovery: which groups, versions, resources, subresources and verbs the API has, in the classic form
 * (/api, /apis, /apis/GROUP, /apis/GROUP/VERSION) and in the aggregated one (apidiscovery.k8s.io). Derived from
 * the table of resources; the documents never change while the program runs, so callers may keep them. */
#ifndef CORACLE_API_DISCOVERY_H
#define CORACLE_API_DISCOVERY_H

#include <stdbool.h>

#include "api/type.h"
#include "base/buffer.h"

/* A subresource as discovery and OpenAPI describe it. */
struct api_subresource {
    const char *name;
    const char *group; /* of the kind that it answers with; NULL: that of the resource */
    const char *version;
    const char *kind;            /* NULL: that of the resource */
    const char *const *verbs;    /* NULL-terminated */
    const struct api_type *type; /* of the kind, when it has one of its own */
    const char *older;           /* an older version that is taken as well: "policy/v1beta1"; NULL: none */
    bool connect;                /* a connection to something, not an object: OpenAPI leaves it out */
};

/* The description of a subresource by its name, or NULL. */
const struct api_subresource *api_subresource_find(const char *name);
/* The verbs of a resource, NULL-terminated, sorted. */
const char *const *api_resource_verbs(const struct api_resource *resource);

/* /api; server_address is "host:port". */
void discovery_write_versions(const char *server_address, struct buffer *out);
/* /apis */
void discovery_write_groups(struct buffer *out);
/* /apis/GROUP. Returns false when there is no such group. */
bool discovery_write_group(const char *group, struct buffer *out);
/* /api/v1 (group "") and /apis/GROUP/VERSION. Returns false when there is no such version. */
bool discovery_write_resources(const char *group, const char *version, struct buffer *out);
/* The aggregated form of /api (core) or /apis; version is "v2" or "v2beta1". */
void discovery_write_aggregated(bool core, const char *version, struct buffer *out);

#endif
