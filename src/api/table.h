/* Tables: what `kubectl get` prints, for clients that accept as=Table, and the metadata-only forms for those
 * that accept as=PartialObjectMetadata. Columns and cells are upstream's (pkg/printers/internalversion).
 * Written as JSON, row by row, straight from typed values. */
#ifndef CORACLE_API_TABLE_H
#define CORACLE_API_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/types.h"
#include "base/buffer.h"

/* What a row carries besides its cells: TableOptions.includeObject. */
enum table_include { TABLE_INCLUDE_METADATA, TABLE_INCLUDE_NONE, TABLE_INCLUDE_OBJECT };

struct table_options {
    const char *api_version; /* "meta.k8s.io/v1" or "meta.k8s.io/v1beta1" */
    enum table_include include;
    bool no_headers; /* leave columnDefinitions out: later events of a watch */
    int64_t now;     /* for ages, microseconds since the epoch */
};

/* Reads the value of the includeObject parameter ("" = Metadata). Returns 0, or -1 when it is none of
 * upstream's. */
int table_include_parse(const char *text, enum table_include *include);

/* The opening of a table up to its first row; meta may be NULL. */
void table_begin(const struct api_resource *resource, const struct table_options *options, const struct list_meta *meta,
                 struct buffer *out);
/* One row; `index` counts from 0. value is a root value of the resource; json, if not NULL, is its JSON, else it
 * is made when the row includes the object. */
void table_row(const struct api_resource *resource, const struct table_options *options, const void *value,
               const char *json, size_t json_size, size_t index, struct buffer *out);
void table_end(struct buffer *out);
/* A whole table of one scale, as `kubectl get --subresource=scale` prints it. */
void table_scale(const struct table_options *options, const struct scale *scale, struct buffer *out);

/* {"kind": "PartialObjectMetadata", ...} with the value's metadata; api_version as in table_options. */
void partial_metadata_write(const struct api_resource *resource, const char *api_version, const void *value,
                            struct buffer *out);
/* The list form: begin, then a partial_metadata_item per object, then end. */
void partial_metadata_list_begin(const char *api_version, const struct list_meta *meta, struct buffer *out);
void partial_metadata_item(const struct api_resource *resource, const char *api_version, const void *value,
                           size_t index, struct buffer *out);
void partial_metadata_list_end(struct buffer *out);

/* Room for any text of human_duration. */
#define HUMAN_DURATION_MAX 24
/* "5s", "3m12s", "2d4h": as kubectl shows ages. Returns out. */
const char *human_duration(int64_t microseconds, char out[HUMAN_DURATION_MAX]);
/* What the Status column of `kubectl get pods` says, in `out` (cut to size). */
void pod_status_text(const struct pod *pod, char *out, size_t size);

#endif
