/* Columns and cells of PersistentVolumes, PersistentVolumeClaims and StorageClasses. */
#include "api/storage.h"
#include "api/table_columns.h"

#define UNSET "<unset>"

const struct table_column_definition persistent_volume_columns[] = {
    COLUMN_NAME,
    {"Capacity", "string", NULL, "How much the volume holds.", 0},
    {"Access Modes", "string", NULL, "How the volume may be used.", 0},
    {"Reclaim Policy", "string", NULL, "What happens to the volume when its claim is gone.", 0},
    {"Status", "string", NULL, "Whether the volume is free, bound or released.", 0},
    {"Claim", "string", NULL, "Claim that the volume belongs to.", 0},
    {"StorageClass", "string", NULL, "Class of storage of the volume.", 0},
    {"VolumeAttributesClass", "string", NULL, "Class of the volume's changeable attributes.", 0},
    {"Reason", "string", NULL, "Why the volume is in this phase.", 0},
    COLUMN_AGE,
    {"VolumeMode", "string", NULL, "Filesystem, or Block.", 1},
    {0}};

const struct table_column_definition persistent_volume_claim_columns[] = {
    COLUMN_NAME,
    {"Status", "string", NULL, "Whether the claim waits, is bound, or has lost its volume.", 0},
    {"Volume", "string", NULL, "Volume that the claim is bound to.", 0},
    {"Capacity", "string", NULL, "How much the volume holds.", 0},
    {"Access Modes", "string", NULL, "How the volume may be used.", 0},
    {"StorageClass", "string", NULL, "Class of storage that is asked for.", 0},
    {"VolumeAttributesClass", "string", NULL, "Class of the volume's changeable attributes.", 0},
    COLUMN_AGE,
    {"VolumeMode", "string", NULL, "Filesystem, or Block.", 1},
    {0}};

const struct table_column_definition storage_class_columns[] = {
    COLUMN_NAME,
    {"Provisioner", "string", NULL, "Who makes volumes of the class.", 0},
    {"ReclaimPolicy", "string", NULL, "What happens to its volumes when their claims are gone.", 0},
    {"VolumeBindingMode", "string", NULL, "When its claims are bound.", 0},
    {"AllowVolumeExpansion", "string", NULL, "Whether its claims may be made larger.", 0},
    COLUMN_AGE,
    {0}};

/* The modes in short, each once, in a fixed order. */
static void modes_cell(struct cells *cells, const struct string_array *modes)
{
    static const char *const names[][2] = {
        {"ReadWriteOnce", "RWO"}, {"ReadOnlyMany", "ROX"}, {"ReadWriteMany", "RWX"}, {"ReadWriteOncePod", "RWOP"}};
    cleanup_buffer struct buffer list = {0};
    for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
        bool found = false;
        for (size_t i = 0; i < modes->count; i++)
            found |= strcmp(modes->items[i], names[n][0]) == 0;
        if (found)
            buffer_printf(&list, "%s%s", list.size ? "," : "", names[n][1]);
    }
    cell_text(cells, list.data);
}

static const char *phase_of(const struct object_meta *meta, const char *phase)
{
    return meta->deletion_timestamp ? "Terminating" : phase;
}

void persistent_volume_cells(struct cells *cells, const void *value)
{
    const struct persistent_volume *v = value;
    const struct object_reference *claim = v->spec.claim_ref;
    cell_text(cells, v->metadata.name);
    cell_text_or(cells, string_map_get(&v->spec.capacity, "storage"), "0");
    modes_cell(cells, &v->spec.access_modes);
    cell_text(cells, v->spec.persistent_volume_reclaim_policy);
    cell_text(cells, phase_of(&v->metadata, v->status.phase));
    if (claim)
        cell_format(cells, "%s/%s", claim->namespace ? claim->namespace : "", claim->name ? claim->name : "");
    else
        cell_text(cells, "");
    cell_text(cells, storage_volume_class(v));
    cell_text_or(cells, v->spec.volume_attributes_class_name, UNSET);
    cell_text(cells, v->status.reason);
    cell_age(cells, v->metadata.creation_timestamp);
    cell_text_or(cells, v->spec.volume_mode, UNSET);
}

void persistent_volume_claim_cells(struct cells *cells, const void *value)
{
    const struct persistent_volume_claim *c = value;
    bool bound = c->spec.volume_name && *c->spec.volume_name;
    cell_text(cells, c->metadata.name);
    cell_text(cells, phase_of(&c->metadata, c->status.phase));
    cell_text(cells, c->spec.volume_name);
    cell_text_or(cells, bound ? string_map_get(&c->status.capacity, "storage") : "", bound ? "0" : "");
    modes_cell(cells, bound ? &c->status.access_modes : &(const struct string_array){0});
    cell_text(cells, storage_claim_class(c));
    cell_text_or(cells, c->spec.volume_attributes_class_name, UNSET);
    cell_age(cells, c->metadata.creation_timestamp);
    cell_text_or(cells, c->spec.volume_mode, UNSET);
}

void storage_class_cells(struct cells *cells, const void *value)
{
    const struct storage_class *c = value;
    cell_format(cells, "%s%s", c->metadata.name, storage_class_is_default(c) ? " (default)" : "");
    cell_text(cells, c->provisioner);
    cell_text_or(cells, c->reclaim_policy, "Delete");
    cell_text_or(cells, c->volume_binding_mode, "Immediate");
    cell_text(cells, c->allow_volume_expansion.set && c->allow_volume_expansion.value ? "true" : "false");
    cell_age(cells, c->metadata.creation_timestamp);
}
