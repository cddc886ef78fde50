/* The table writer and the metadata-only forms. */
#include "api/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/json.h"
#include "api/table_cells.h"
#include "api/table_columns.h"
#include "base/cleanup.h"
#include "base/timestamp.h"

int table_include_parse(const char *text, enum table_include *include)
{
    static const struct {
        const char *text;
        enum table_include include;
    } words[] = {{"", TABLE_INCLUDE_METADATA},
                 {"Metadata", TABLE_INCLUDE_METADATA},
                 {"None", TABLE_INCLUDE_NONE},
                 {"Object", TABLE_INCLUDE_OBJECT}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(text, words[i].text) == 0) {
            *include = words[i].include;
            return 0;
        }
    return -1;
}

const char *human_duration(int64_t microseconds, char out[HUMAN_DURATION_MAX])
{
    int64_t seconds = microseconds / SECOND, minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
    int64_t whole, rest = 0;
    const char *unit, *rest_unit = "";
    if (seconds < -1)
        return strcpy(out, "<invalid>");
    if (seconds < 120)
        whole = seconds < 0 ? 0 : seconds, unit = "s";
    else if (minutes < 180)
        whole = minutes, unit = "m", rest = minutes < 10 ? seconds % 60 : 0, rest_unit = "s";
    else if (hours < 48)
        whole = hours, unit = "h", rest = hours < 8 ? minutes % 60 : 0, rest_unit = "m";
    else if (days < 365 * 2)
        whole = days, unit = "d", rest = days < 8 ? hours % 24 : 0, rest_unit = "h";
    else
        whole = days / 365, unit = "y", rest = days < 365 * 8 ? days % 365 : 0, rest_unit = "d";
    int n = snprintf(out, HUMAN_DURATION_MAX, "%lld%s", (long long)whole, unit);
    if (rest)
        snprintf(out + n, (size_t)(HUMAN_DURATION_MAX - n), "%lld%s", (long long)rest, rest_unit);
    return out;
}

static void separate(struct cells *cells)
{
    buffer_add_char(cells->out, cells->any ? ',' : '[');
    cells->any = true;
}

void cell_text(struct cells *cells, const char *text)
{
    separate(cells);
    json_encode_string(cells->out, text ? text : "");
}

void cell_text_or(struct cells *cells, const char *text, const char *otherwise)
{
    cell_text(cells, text && *text ? text : otherwise);
}

void cell_format(struct cells *cells, const char *format, ...)
{
    cleanup_free char *text = NULL;
    va_list list;
    va_start(list, format);
    if (vasprintf(&text, format, list) < 0)
        abort();
    va_end(list);
    cell_text(cells, text);
}

void cell_number(struct cells *cells, int64_t number)
{
    separate(cells);
    buffer_printf(cells->out, "%lld", (long long)number);
}

void cell_bool(struct cells *cells, bool value)
{
    separate(cells);
    buffer_add_string(cells->out, value ? "true" : "false");
}

const char *age_text(const struct cells *cells, int64_t since, char out[HUMAN_DURATION_MAX])
{
    return since ? human_duration(cells->now - since, out) : strcpy(out, "<unknown>");
}

void cell_age(struct cells *cells, int64_t since)
{
    char text[HUMAN_DURATION_MAX];
    cell_text(cells, age_text(cells, since, text));
}

void cell_labels(struct cells *cells, const struct string_map *labels)
{
    cleanup_buffer struct buffer text = {0};
    for (size_t i = 0; i < labels->count; i++)
        buffer_printf(&text, "%s%s=%s", i ? "," : "", labels->items[i].key,
                      labels->items[i].value ? labels->items[i].value : "");
    cell_text_or(cells, text.data, "<none>");
}

static void write_list_meta(const struct list_meta *meta, struct buffer *out)
{
    buffer_add_string(out, "\"metadata\":");
    if (meta)
        json_encode(&api_type_list_meta, meta, out);
    else
        buffer_add_string(out, "{}");
}

static void begin(const struct table_column_definition *columns, const struct table_options *options,
                  const struct list_meta *meta, struct buffer *out)
{
    const struct table_column_definition *c = columns;
    buffer_printf(out, "{\"kind\":\"Table\",\"apiVersion\":\"%s\",", options->api_version);
    write_list_meta(meta, out);
    buffer_add_string(out, ",\"columnDefinitions\":");
    for (; !options->no_headers && c->name; c++) {
        buffer_add_char(out, c == columns ? '[' : ',');
        json_encode(&api_type_table_column_definition, c, out);
    }
    buffer_add_string(out, c == columns ? "null,\"rows\":[" : "],\"rows\":[");
}

void table_begin(const struct api_resource *resource, const struct table_options *options, const struct list_meta *meta,
                 struct buffer *out)
{
    begin(table_columns(resource), options, meta, out);
}

static void write_partial(const char *api_version, const struct object_meta *meta, struct buffer *out)
{
    struct partial_object_metadata partial = {
        .kind = "PartialObjectMetadata", .api_version = api_version, .metadata = *meta};
    json_encode(&api_type_partial_object_metadata, &partial, out);
}

/* Behind the cells: the object that they are of, as it is wanted. json: the value, if it is at hand. */
static void end_row(const struct table_options *options, const struct api_type *type, const void *value,
                    const struct object_meta *meta, const char *json, size_t json_size, struct buffer *out)
{
    buffer_add_string(out, ",\"object\":");
    if (options->include == TABLE_INCLUDE_NONE)
        buffer_add_string(out, "null");
    else if (options->include == TABLE_INCLUDE_METADATA)
        write_partial(options->api_version, meta, out);
    else if (json)
        buffer_add(out, json, json_size);
    else
        json_encode(type, value, out);
    buffer_add_char(out, '}');
}

void table_row(const struct api_resource *resource, const struct table_options *options, const void *value,
               const char *json, size_t json_size, size_t index, struct buffer *out)
{
    struct cells cells = {.out = out, .now = options->now};
    buffer_add_string(out, index ? ",{\"cells\":" : "{\"cells\":");
    table_cells(resource, &cells, value);
    buffer_add_char(out, ']');
    const struct table_row_condition *condition = resource->index == API_PODS ? pod_row_condition(value) : NULL;
    if (condition) {
        buffer_add_string(out, ",\"conditions\":[");
        json_encode(&api_type_table_row_condition, condition, out);
        buffer_add_char(out, ']');
    }
    end_row(options, resource->type, value, api_meta(resource, value), json, json_size, out);
}

void table_end(struct buffer *out)
{
    buffer_add_string(out, "]}");
}

void table_scale(const struct table_options *options, const struct scale *scale, struct buffer *out)
{
    static const struct table_column_definition columns[] = {
        {"Name", "string", NULL, "Name of the object that is scaled.", 0},
        {"Desired", "integer", NULL, "Wanted replicas.", 0},
        {"Available", "integer", NULL, "Replicas that exist.", 0},
        COLUMN_AGE,
        {0}};
    struct cells cells = {.out = out, .now = options->now};
    begin(columns, options, &(struct list_meta){.resource_version = scale->metadata.resource_version}, out);
    buffer_add_string(out, "{\"cells\":");
    cell_text(&cells, scale->metadata.name);
    cell_number(&cells, scale->spec.replicas);
    cell_number(&cells, scale->status.replicas);
    cell_age(&cells, scale->metadata.creation_timestamp);
    buffer_add_char(out, ']');
    end_row(options, &api_type_scale, scale, &scale->metadata, NULL, 0, out);
    table_end(out);
}

void partial_metadata_write(const struct api_resource *resource, const char *api_version, const void *value,
                            struct buffer *out)
{
    write_partial(api_version, api_meta(resource, value), out);
}

void partial_metadata_list_begin(const char *api_version, const struct list_meta *meta, struct buffer *out)
{
    buffer_printf(out, "{\"kind\":\"PartialObjectMetadataList\",\"apiVersion\":\"%s\",", api_version);
    write_list_meta(meta, out);
    buffer_add_string(out, ",\"items\":[");
}

void partial_metadata_item(const struct api_resource *resource, const char *api_version, const void *value,
                           size_t index, struct buffer *out)
{
    if (index)
        buffer_add_char(out, ',');
    partial_metadata_write(resource, api_version, value, out);
}

void partial_metadata_list_end(struct buffer *out)
{
    buffer_add_string(out, "]}");
}
