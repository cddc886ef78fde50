/* Columns and cells of bindings of roles. Roles themselves have none of their own, as upstream. */
#include "api/table_columns.h"
#include "base/cleanup.h"
#include "base/text.h"

const struct table_column_definition role_binding_columns[] = {
    COLUMN_NAME,
    {"Role", "string", NULL, "Role that is given.", 0},
    COLUMN_AGE,
    {"Users", "string", NULL, "Users that it is given to.", 1},
    {"Groups", "string", NULL, "Groups that it is given to.", 1},
    {"ServiceAccounts", "string", NULL, "Service accounts that it is given to.", 1},
    {0}};

/* The subjects of a kind; service accounts with their namespace. */
static void subjects_cell(struct cells *cells, const struct subject_array *subjects, const char *kind, bool namespaced)
{
    cleanup_buffer struct buffer list = {0};
    for (size_t i = 0; i < subjects->count; i++) {
        const struct subject *s = &subjects->items[i];
        if (!text_equal(s->kind, kind))
            continue;
        buffer_add_string(&list, list.size ? ", " : "");
        if (namespaced)
            buffer_printf(&list, "%s/", text_or_empty(s->namespace));
        buffer_add_string(&list, text_or_empty(s->name));
    }
    buffer_add_string(&list, "");
    cell_text(cells, list.data);
}

static void binding_cells(struct cells *cells, const struct object_meta *meta, const struct role_ref *role,
                          const struct subject_array *subjects)
{
    cleanup_buffer struct buffer text = {0};
    buffer_printf(&text, "%s/%s", text_or_empty(role->kind), text_or_empty(role->name));
    cell_text(cells, meta->name);
    cell_text(cells, text.data);
    cell_age(cells, meta->creation_timestamp);
    subjects_cell(cells, subjects, "User", false);
    subjects_cell(cells, subjects, "Group", false);
    subjects_cell(cells, subjects, "ServiceAccount", true);
}

void role_binding_cells(struct cells *cells, const void *value)
{
    const struct role_binding *b = value;
    binding_cells(cells, &b->metadata, &b->role_ref, &b->subjects);
}

void cluster_role_binding_cells(struct cells *cells, const void *value)
{
    const struct cluster_role_binding *b = value;
    binding_cells(cells, &b->metadata, &b->role_ref, &b->subjects);
}
