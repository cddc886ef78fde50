/* Between the table writer and the rows of the kinds. */
#ifndef CORACLE_API_TABLE_CELLS_H
#define CORACLE_API_TABLE_CELLS_H

#include "api/table.h"

/* The cells of one row, as they are written: `[a,b`. */
struct cells {
    struct buffer *out;
    int64_t now;
    bool any;
};

void cell_text(struct cells *cells, const char *text); /* NULL = "" */
/* As cell_text, with a stand-in for the empty text. */
void cell_text_or(struct cells *cells, const char *text, const char *otherwise);
void cell_format(struct cells *cells, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cell_number(struct cells *cells, int64_t number);
void cell_bool(struct cells *cells, bool value);
/* Time since then; "<unknown>" when unset. */
void cell_age(struct cells *cells, int64_t since);
/* "a=b,c=d"; "<none>" when empty. */
void cell_labels(struct cells *cells, const struct string_map *labels);
/* Two cells: names and images of the containers of a template. */
void cell_containers(struct cells *cells, const struct pod_spec *spec);
void cell_selector(struct cells *cells, const struct label_selector *selector);
const char *age_text(const struct cells *cells, int64_t since, char out[HUMAN_DURATION_MAX]);

/* table_pod.c */
void pod_cells(struct cells *cells, const void *value);
/* The condition of a row of a pod that has ended, else NULL. */
const struct table_row_condition *pod_row_condition(const void *value);

#endif
