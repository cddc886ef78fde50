/* The columns and cells of each kind, for table.c. */
#ifndef CORACLE_API_TABLE_COLUMNS_H
#define CORACLE_API_TABLE_COLUMNS_H

#include "api/table_cells.h"

/* What nearly every kind has: its first column, and the last that is always shown. */
#define COLUMN_NAME                                                                                                    \
    {                                                                                                                  \
        "Name", "string", "name", "Name of the object, unique within its namespace and kind.", 0                       \
    }
#define COLUMN_AGE                                                                                                     \
    {                                                                                                                  \
        "Age", "string", NULL, "Time since the object was created.", 0                                                 \
    }

/* Ended by one without a name; priority 1: only in wide output. */
const struct table_column_definition *table_columns(const struct api_resource *resource);
/* Writes "[" and the cells, without "]". */
void table_cells(const struct api_resource *resource, struct cells *cells, const void *value);

/* table_metrics.c */
extern const struct table_column_definition metrics_columns[];
void node_metrics_cells(struct cells *cells, const void *value);
void pod_metrics_cells(struct cells *cells, const void *value);

/* table_job.c */
extern const struct table_column_definition job_columns[], cron_job_columns[];
void job_cells(struct cells *cells, const void *value);
void cron_job_cells(struct cells *cells, const void *value);

/* table_claim.c */
extern const struct table_column_definition persistent_volume_columns[], persistent_volume_claim_columns[],
    storage_class_columns[];
void persistent_volume_cells(struct cells *cells, const void *value);
void persistent_volume_claim_cells(struct cells *cells, const void *value);
void storage_class_cells(struct cells *cells, const void *value);

/* table_networking.c */
extern const struct table_column_definition ingress_columns[], ingress_class_columns[], network_policy_columns[];
void ingress_cells(struct cells *cells, const void *value);
void ingress_class_cells(struct cells *cells, const void *value);
void network_policy_cells(struct cells *cells, const void *value);

/* table_rbac.c; the columns are those of both kinds of bindings */
extern const struct table_column_definition role_binding_columns[];
void role_binding_cells(struct cells *cells, const void *value);
void cluster_role_binding_cells(struct cells *cells, const void *value);

#endif
