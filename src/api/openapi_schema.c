/* Schemas from type descriptions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/discovery.h"
#include "api/json.h"
#include "api/openapi_parts.h"
#include "base/cleanup.h"

#define META "io.k8s.apimachinery.pkg.apis.meta.v1."
#define EXTENSION "io.k8s.apimachinery.pkg.runtime.RawExtension"

/* How the kinds of scalars look; those that are schemas of their own have a name. */
static const struct {
    const char *type;
    const char *format;
    const char *name;
} scalars[] = {
    [API_STRING] = {"string", NULL, NULL},
    [API_BOOL] = {"boolean", NULL, NULL},
    [API_INT32] = {"integer", "int32", NULL},
    [API_INT64] = {"integer", "int64", NULL},
    [API_DOUBLE] = {"number", "double", NULL},
    [API_TIME] = {NULL, NULL, META "Time"},
    [API_MICRO_TIME] = {NULL, NULL, META "MicroTime"},
    [API_QUANTITY] = {NULL, NULL, "io.k8s.apimachinery.pkg.api.resource.Quantity"},
    [API_INT_OR_STRING] = {NULL, NULL, "io.k8s.apimachinery.pkg.util.intstr.IntOrString"},
    [API_BYTES] = {"string", "byte", NULL},
    [API_RAW] = {NULL, NULL, META "FieldsV1"},
};

/* The schemas that no description has. body2 and body3 are their members in version 2 and 3. */
static const struct {
    const char *name;
    const char *doc;
    const char *body2;
    const char *body3;
} fixed[] = {
    {META "Time", "An instant in RFC 3339, to the second.", "\"type\":\"string\",\"format\":\"date-time\"", NULL},
    {META "MicroTime", "An instant in RFC 3339, to the microsecond.", "\"type\":\"string\",\"format\":\"date-time\"",
     NULL},
    {META "FieldsV1", "A set of fields, as a tree of their names.", "\"type\":\"object\"", NULL},
    {EXTENSION, "An object of any kind.", "\"type\":\"object\"", NULL},
    {META "Patch", "A change to an object, in the format that the Content-Type names.", "\"type\":\"object\"", NULL},
    {"io.k8s.apimachinery.pkg.api.resource.Quantity",
     "A number with an optional suffix: m for thousandths, k, M, G, T, P, E for powers of 1000, Ki, Mi, Gi, Ti, Pi, Ei "
     "for powers of 1024.",
     "\"type\":\"string\"", "\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]"},
    {"io.k8s.apimachinery.pkg.util.intstr.IntOrString", "A number, or a string such as a name or a percentage.",
     "\"type\":\"string\",\"format\":\"int-or-string\"",
     "\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]"},
};

/* Kinds that are no resources. */
static const struct {
    const struct api_type *type;
    const char *group; /* NULL: every group has it, in each of its versions */
    const char *version;
} other_kinds[] = {
    {&api_type_binding, "", "v1"},        {&api_type_scale, "autoscaling", "v1"},
    {&api_type_eviction, "policy", "v1"}, {&api_type_token_request, "authentication.k8s.io", "v1"},
    {&api_type_status, "", "v1"},         {&api_type_delete_options, NULL, NULL},
    {&api_type_watch_event, NULL, NULL},
};

void openapi_write_ref(struct openapi_writer *w, const char *name)
{
    buffer_printf(w->out, "{\"$ref\":\"#/%s/%s\"}", w->version == 2 ? "definitions" : "components/schemas", name);
}

/* The members of a schema that is a reference: version 3 allows nothing beside "$ref". */
static void write_ref_members(struct openapi_writer *w, const char *name)
{
    if (w->version == 2) {
        buffer_printf(w->out, "\"$ref\":\"#/definitions/%s\"", name);
        return;
    }
    buffer_add_string(w->out, "\"allOf\":[");
    openapi_write_ref(w, name);
    buffer_add_char(w->out, ']');
}

static void write_strings(struct openapi_writer *w, const char *name, const char *const *strings)
{
    buffer_printf(w->out, "\"%s\":[", name);
    for (size_t i = 0; strings[i]; i++) {
        if (i)
            buffer_add_char(w->out, ',');
        json_encode_string(w->out, strings[i]);
    }
    buffer_add_char(w->out, ']');
}

/* The members of the schema of one element of a field. */
static void write_element(struct openapi_writer *w, const struct api_field *f)
{
    const char *name = f->type ? f->type->openapi : f->flags & API_EXTENSION ? EXTENSION : scalars[f->kind].name;
    if (name) {
        write_ref_members(w, name);
        return;
    }
    buffer_printf(w->out, "\"type\":\"%s\"", scalars[f->kind].type);
    if (scalars[f->kind].format)
        buffer_printf(w->out, ",\"format\":\"%s\"", scalars[f->kind].format);
}

/* How lists merge: in a strategic merge patch, and in server-side apply. */
static void write_list_extensions(struct openapi_writer *w, const struct api_field *f)
{
    bool set = f->flags & API_SET, patch = (f->keys || set) && !(f->flags & API_PATCH_ATOMIC);
    if (f->keys) {
        buffer_add_char(w->out, ',');
        write_strings(w, "x-kubernetes-list-map-keys", f->keys);
    }
    buffer_printf(w->out, ",\"x-kubernetes-list-type\":\"%s\"", f->keys ? "map" : set ? "set" : "atomic");
    if (f->keys && patch)
        buffer_printf(w->out, ",\"x-kubernetes-patch-merge-key\":\"%s\"", f->keys[0]);
    if (patch)
        buffer_printf(w->out, ",\"x-kubernetes-patch-strategy\":\"merge%s\"",
                      f->flags & API_RETAIN_KEYS ? ",retainKeys" : "");
}

static void write_property(struct openapi_writer *w, const struct api_field *f)
{
    json_encode_string(w->out, f->name);
    buffer_add_string(w->out, ":{");
    if (*f->doc) {
        buffer_add_string(w->out, "\"description\":");
        json_encode_string(w->out, f->doc);
        buffer_add_char(w->out, ',');
    }
    if (f->shape == API_ARRAY) {
        buffer_add_string(w->out, "\"type\":\"array\",\"items\":{");
        write_element(w, f);
        buffer_add_char(w->out, '}');
        write_list_extensions(w, f);
    } else if (f->shape == API_MAP) {
        buffer_add_string(w->out, "\"type\":\"object\",\"additionalProperties\":{");
        write_element(w, f);
        buffer_add_char(w->out, '}');
    } else {
        write_element(w, f);
        if (f->flags & API_RETAIN_KEYS)
            buffer_add_string(w->out, ",\"x-kubernetes-patch-strategy\":\"retainKeys\"");
    }
    if (f->default_json)
        buffer_printf(w->out, ",\"default\":%s", f->default_json);
    if (f->values && f->shape != API_ARRAY) {
        buffer_add_char(w->out, ',');
        write_strings(w, "enum", f->values);
    }
    buffer_add_char(w->out, '}');
}

static void write_kind(struct openapi_writer *w, const char *group, const char *kind, const char *version)
{
    buffer_printf(w->out, "{\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}", group, kind, version);
}

static void write_kind_of_every_group(struct openapi_writer *w, const char *kind)
{
    for (size_t i = 0; i < api_resource_count; i++) {
        if (!api_resource_is_first_of_version(i))
            continue;
        if (i)
            buffer_add_char(w->out, ',');
        write_kind(w, api_resources[i].group, kind, api_resources[i].version);
    }
}

static void write_kinds(struct openapi_writer *w, const struct api_type *type)
{
    const char *group = NULL, *version = NULL, *kind = NULL;
    for (size_t i = api_resource_count; i-- > 0;)
        if (api_resources[i].type == type)
            group = api_resources[i].group, version = api_resources[i].version, kind = api_resources[i].kind;
    for (size_t i = 0; i < ARRAY_COUNT(other_kinds); i++)
        if (other_kinds[i].type == type)
            group = other_kinds[i].group, version = other_kinds[i].version, kind = type->name;
    if (!kind)
        return;
    buffer_add_string(w->out, ",\"x-kubernetes-group-version-kind\":[");
    if (group)
        write_kind(w, group, kind, version);
    else
        write_kind_of_every_group(w, kind);
    buffer_add_char(w->out, ']');
}

static void begin_schema(struct openapi_writer *w, const char *name, const char *doc, bool *any)
{
    buffer_add_string(w->out, *any ? "," : "");
    json_encode_string(w->out, name);
    buffer_add_string(w->out, ":{");
    if (*doc) {
        buffer_add_string(w->out, "\"description\":");
        json_encode_string(w->out, doc);
        buffer_add_char(w->out, ',');
    }
    *any = true;
}

static void write_type(struct openapi_writer *w, const struct api_type *type, bool *any)
{
    begin_schema(w, type->openapi, type->doc, any);
    buffer_add_string(w->out, "\"type\":\"object\"");
    bool required = false;
    for (uint32_t i = 0; i < type->field_count; i++) {
        if (!(type->fields[i].flags & API_REQUIRED))
            continue;
        buffer_add_string(w->out, required ? "," : ",\"required\":[");
        json_encode_string(w->out, type->fields[i].name);
        required = true;
    }
    buffer_add_string(w->out, required ? "],\"properties\":{" : ",\"properties\":{");
    for (uint32_t i = 0; i < type->field_count; i++) {
        if (i)
            buffer_add_char(w->out, ',');
        write_property(w, &type->fields[i]);
    }
    buffer_add_char(w->out, '}');
    write_kinds(w, type);
    buffer_add_char(w->out, '}');
}

const char *openapi_list_name(const struct api_resource *resource, char name[OPENAPI_NAME_MAX])
{
    snprintf(name, OPENAPI_NAME_MAX, "%sList", resource->type->openapi);
    return name;
}

static void write_list_type(struct openapi_writer *w, const struct api_resource *r, bool *any)
{
    char name[OPENAPI_NAME_MAX];
    begin_schema(w, openapi_list_name(r, name),
                 "Several objects of one kind, with the revision at which they were read.", any);
    buffer_add_string(w->out,
                      "\"type\":\"object\",\"required\":[\"items\"],\"properties\":{"
                      "\"apiVersion\":{\"description\":\"Version of this representation.\",\"type\":\"string\"},"
                      "\"items\":{\"description\":\"The objects.\",\"type\":\"array\",\"items\":{");
    write_ref_members(w, r->type->openapi);
    buffer_add_string(w->out, "}},\"kind\":{\"description\":\"Kind of the list.\",\"type\":\"string\"},\"metadata\":{"
                              "\"description\":\"Revision and continuation of the list.\",");
    write_ref_members(w, api_type_list_meta.openapi);
    buffer_add_string(w->out, "}},\"x-kubernetes-group-version-kind\":[");
    write_kind(w, r->group, r->list_kind, r->version);
    buffer_add_string(w->out, "]}");
}

static size_t type_index(const struct api_type *type)
{
    size_t i = 0;
    while (api_types[i] != type)
        i++;
    return i;
}

static void mark(bool *marked, const struct api_type *type)
{
    size_t index = type_index(type);
    if (marked[index])
        return;
    marked[index] = true;
    for (uint32_t i = 0; i < type->field_count; i++)
        if (type->fields[i].type)
            mark(marked, type->fields[i].type);
}

/* With what its subresources take. */
static void mark_resource(bool *marked, const struct api_resource *resource)
{
    mark(marked, resource->type);
    for (size_t i = 0; resource->subresources[i]; i++) {
        const struct api_subresource *s = api_subresource_find(resource->subresources[i]);
        if (s && s->type)
            mark(marked, s->type);
    }
}

void openapi_write_schemas(struct openapi_writer *w, const char *api_version)
{
    cleanup_free bool *marked = mem_zero(api_type_count, sizeof(*marked));
    bool any = false;
    for (size_t i = 0; i < api_resource_count; i++)
        if (!api_version || strcmp(api_resources[i].api_version, api_version) == 0)
            mark_resource(marked, &api_resources[i]);
    for (size_t i = 0; i < ARRAY_COUNT(other_kinds); i++)
        mark(marked, other_kinds[i].type);
    mark(marked, &api_type_list_meta);
    for (size_t i = 0; i < api_type_count; i++)
        if (marked[i])
            write_type(w, api_types[i], &any);
    for (size_t i = 0; i < api_resource_count; i++)
        if (!api_resources[i].create_only && (!api_version || strcmp(api_resources[i].api_version, api_version) == 0))
            write_list_type(w, &api_resources[i], &any);
    for (size_t i = 0; i < ARRAY_COUNT(fixed); i++) {
        begin_schema(w, fixed[i].name, fixed[i].doc, &any);
        buffer_printf(w->out, "%s}", w->version == 3 && fixed[i].body3 ? fixed[i].body3 : fixed[i].body2);
    }
}
