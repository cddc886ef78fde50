/* The columns and cells of each kind, for table.c. */
#ifndef CORACLE_API_TABLE_COLUMNS_H
#define CORACLE_API_TABLE_COLUMNS_H

#include "api/table_cells.h"

struct table_column {
    const char *name; /* NULL ends the columns */
    const char *type; /* of OpenAPI */
    const char *format;
    const char *description;
    int priority; /* 1: only in wide output */
};

const struct table_column *table_columns(const struct api_resource *resource);
/* Writes "[" and the cells, without "]". */
void table_cells(const struct api_resource *resource, struct cells *cells, const void *value);

/* table_metrics.c */
extern const struct table_column metrics_columns[];
void node_metrics_cells(struct cells *cells, const void *value);
void pod_metrics_cells(struct cells *cells, const void *value);

/* table_job.c */
extern const struct table_column job_columns[], cron_job_columns[];
void job_cells(struct cells *cells, const void *value);
void cron_job_cells(struct cells *cells, const void *value);

/* table_claim.c */
extern const struct table_column persistent_volume_columns[], persistent_volume_claim_columns[],
    storage_class_columns[];
void persistent_volume_cells(struct cells *cells, const void *value);
void persistent_volume_claim_cells(struct cells *cells, const void *value);
void storage_class_cells(struct cells *cells, const void *value);

/* table_networking.c */
extern const struct table_column ingress_columns[], ingress_class_columns[], network_policy_columns[];
void ingress_cells(struct cells *cells, const void *value);
void ingress_class_cells(struct cells *cells, const void *value);
void network_policy_cells(struct cells *cells, const void *value);

#endif
