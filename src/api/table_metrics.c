/* Columns and cells of metrics.k8s.io, as metrics-server has them. */
#include <string.h>

#include "api/quantity.h"
#include "api/table_columns.h"
#include "base/arena.h"

const struct table_column_definition metrics_columns[] = {{"Name", "string", "name", "Name of the resource", 0},
                                                          {"cpu", "string", "quantity", "", 0},
                                                          {"memory", "string", "quantity", "", 0},
                                                          {"Window", "string", "duration", "", 0},
                                                          {0}};

void node_metrics_cells(struct cells *cells, const void *value)
{
    const struct node_metrics *m = value;
    cell_text(cells, m->metadata.name);
    cell_text_or(cells, string_map_get(&m->usage, "cpu"), "0");
    cell_text_or(cells, string_map_get(&m->usage, "memory"), "0");
    cell_text(cells, m->window);
}

static void sum_cell(struct cells *cells, const struct container_metrics_array *containers, const char *resource,
                     bool binary)
{
    struct arena *arena = arena_new(0);
    quantity_t sum = 0;
    for (size_t i = 0; i < containers->count; i++) {
        quantity_t one = 0;
        const char *text = string_map_get(&containers->items[i].usage, resource);
        if (text && quantity_parse(text, strlen(text), &one) == 0)
            sum += one;
    }
    cell_text(cells, quantity_format(arena, sum, binary));
    arena_free(arena);
}

void pod_metrics_cells(struct cells *cells, const void *value)
{
    const struct pod_metrics *m = value;
    cell_text(cells, m->metadata.name);
    sum_cell(cells, &m->containers, "cpu", false);
    sum_cell(cells, &m->containers, "memory", true);
    cell_text(cells, m->window);
}
