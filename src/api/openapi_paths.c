/* Paths: the operations of every resource and subresource, with their parameters. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "api/discovery.h"
#include "api/json.h"
#include "api/openapi_parts.h"
#include "base/cleanup.h"

#define PATH_MAX_SIZE 256

struct parameter {
    const char *name; /* NULL ends a list */
    const char *type;
    const char *description;
};

static const struct parameter list_parameters[] = {
    {"allowWatchBookmarks", "boolean", "Send bookmark events, which carry nothing but a revision."},
    {"continue", "string", "Token of the previous chunk, to go on where it ended."},
    {"fieldSelector", "string", "Select objects by their fields."},
    {"labelSelector", "string", "Select objects by their labels."},
    {"limit", "integer", "Most objects in one answer; the rest follows with continue."},
    {"resourceVersion", "string", "Revision to read or watch from."},
    {"resourceVersionMatch", "string", "How resourceVersion is meant: NotOlderThan or Exact."},
    {"sendInitialEvents", "boolean", "Begin a watch with the objects that exist."},
    {"timeoutSeconds", "integer", "End the list or watch after this time."},
    {"watch", "boolean", "Stream changes instead of listing."},
    {0}};
static const struct parameter write_parameters[] = {
    {"dryRun", "string", "All: do everything but store the result."},
    {"fieldManager", "string", "Name of the actor that makes the change."},
    {"fieldValidation", "string", "What unknown and duplicate fields do: Ignore, Warn or Strict."},
    {0}};
static const struct parameter patch_parameters[] = {
    {"dryRun", "string", "All: do everything but store the result."},
    {"fieldManager", "string", "Name of the actor that makes the change."},
    {"fieldValidation", "string", "What unknown and duplicate fields do: Ignore, Warn or Strict."},
    {"force", "boolean",
     "Take over fields that another manager owns; for apply patches alone, which are not served yet."},
    {0}};
static const struct parameter delete_parameters[] = {
    {"dryRun", "string", "All: do everything but store the result."},
    {"gracePeriodSeconds", "integer", "Seconds to end in; 0 at once."},
    {"orphanDependents", "boolean", "Old form of propagationPolicy Orphan."},
    {"propagationPolicy", "string", "What happens to dependents: Orphan, Background or Foreground."},
    {0}};
static const struct parameter log_parameters[] = {
    {"container", "string", "Container whose log to read; may be left out when there is one."},
    {"follow", "boolean", "Go on with new lines until the container ends."},
    {"limitBytes", "integer", "Most bytes in the answer."},
    {"previous", "boolean", "Read the log of the container's previous run."},
    {"sinceSeconds", "integer", "Lines of the last so many seconds."},
    {"sinceTime", "string", "Lines since this instant."},
    {"tailLines", "integer", "So many lines from the end."},
    {"timestamps", "boolean", "Begin each line with its time."},
    {0}};
static const struct parameter no_parameters[] = {{0}};

enum body { BODY_NONE, BODY_OBJECT, BODY_PATCH, BODY_DELETE_OPTIONS };

/* What a verb looks like; the %s of the description is the kind. */
static const struct verb {
    const char *verb;   /* of discovery */
    const char *method; /* of HTTP */
    const char *action; /* x-kubernetes-action */
    const char *operation;
    const char *description;
    const struct parameter *parameters;
    enum body body;
    bool collection;
} verbs[] = {
    {"list", "get", "list", "list", "List or watch objects of kind %s", list_parameters, BODY_NONE, true},
    {"create", "post", "post", "create", "Create a %s", write_parameters, BODY_OBJECT, true},
    {"deletecollection", "delete", "deletecollection", "deleteCollection", "Delete the selected objects of kind %s",
     list_parameters, BODY_DELETE_OPTIONS, true},
    {"get", "get", "get", "read", "Read a %s", no_parameters, BODY_NONE, false},
    {"update", "put", "put", "replace", "Replace a %s", write_parameters, BODY_OBJECT, false},
    {"delete", "delete", "delete", "delete", "Delete a %s", delete_parameters, BODY_DELETE_OPTIONS, false},
    {"patch", "patch", "patch", "patch", "Change parts of a %s", patch_parameters, BODY_PATCH, false},
};

/* What one operation is about. */
struct target {
    const struct api_resource *resource;
    const struct api_subresource *subresource; /* NULL: the object itself */
    const char *group, *version, *kind;        /* of the answer */
    const char *schema;
    bool all_namespaces;
};

static void write_parameter(struct openapi_writer *w, const char *in, const struct parameter *p, bool first)
{
    buffer_printf(w->out, "%s{\"name\":\"%s\",\"in\":\"%s\",", first ? "" : ",", p->name, in);
    if (strcmp(in, "path") == 0)
        buffer_add_string(w->out, "\"required\":true,");
    buffer_add_string(w->out, "\"description\":");
    json_encode_string(w->out, p->description);
    buffer_printf(w->out, w->version == 2 ? ",\"type\":\"%s\",\"uniqueItems\":true}" : ",\"schema\":{\"type\":\"%s\"}}",
                  p->type);
}

static void write_body(struct openapi_writer *w, const struct target *t, enum body body)
{
    const char *schema = body == BODY_PATCH            ? "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
                         : body == BODY_DELETE_OPTIONS ? api_type_delete_options.openapi
                                                       : t->schema;
    if (w->version == 2) {
        buffer_printf(w->out, "{\"name\":\"body\",\"in\":\"body\",%s\"schema\":",
                      body == BODY_DELETE_OPTIONS ? "" : "\"required\":true,");
        openapi_write_ref(w, schema);
        buffer_add_char(w->out, '}');
        return;
    }
    static const char *const patches[] = {"application/json-patch+json", "application/merge-patch+json",
                                          "application/strategic-merge-patch+json", NULL};
    static const char *const any[] = {"*/*", NULL};
    const char *const *types = body == BODY_PATCH ? patches : any;
    buffer_add_string(w->out, ",\"requestBody\":{\"content\":{");
    for (size_t i = 0; types[i]; i++) {
        buffer_printf(w->out, "%s\"%s\":{\"schema\":", i ? "," : "", types[i]);
        openapi_write_ref(w, schema);
        buffer_add_char(w->out, '}');
    }
    buffer_add_string(w->out, "}}");
}

static void write_response(struct openapi_writer *w, const char *code, const char *text, const char *schema)
{
    buffer_printf(w->out, "\"%s\":{\"description\":\"%s\"", code, text);
    if (schema && w->version == 2) {
        buffer_add_string(w->out, ",\"schema\":");
        openapi_write_ref(w, schema);
    } else if (schema) {
        buffer_add_string(w->out, ",\"content\":{\"application/json\":{\"schema\":");
        openapi_write_ref(w, schema);
        buffer_add_string(w->out, "}}");
    }
    buffer_add_char(w->out, '}');
}

/* "CoreV1", "DiscoveryV1": the first word of the group and the version. */
static void add_group_version(struct buffer *out, const struct api_resource *r)
{
    const char *group = *r->group ? r->group : "core";
    buffer_printf(out, "%c%.*s", toupper((unsigned char)group[0]), (int)strcspn(group + 1, "."), group + 1);
    buffer_printf(out, "%c%s", toupper((unsigned char)r->version[0]), r->version + 1);
}

static void write_operation_id(struct openapi_writer *w, const struct verb *v, const struct target *t)
{
    buffer_printf(w->out, "\"operationId\":\"%s", v->operation);
    add_group_version(w->out, t->resource);
    if (strcmp(v->verb, "deletecollection") == 0)
        buffer_add_string(w->out, "Collection");
    if (t->resource->namespaced && !t->all_namespaces)
        buffer_add_string(w->out, "Namespaced");
    buffer_add_string(w->out, t->resource->kind);
    if (t->subresource)
        buffer_printf(w->out, "%c%s", toupper((unsigned char)t->subresource->name[0]), t->subresource->name + 1);
    if (t->all_namespaces)
        buffer_add_string(w->out, "ForAllNamespaces");
    buffer_add_string(w->out, "\",");
}

static void write_media_types(struct openapi_writer *w, const struct verb *v)
{
    if (w->version != 2)
        return;
    buffer_add_string(w->out, "\"produces\":[\"application/json\"],\"consumes\":[");
    buffer_add_string(w->out, v->body == BODY_PATCH
                                  ? "\"application/json-patch+json\",\"application/merge-patch+json\","
                                    "\"application/strategic-merge-patch+json\"],"
                                  : "\"*/*\"],");
}

static void write_operation(struct openapi_writer *w, const struct verb *v, const struct target *t, bool *any)
{
    char list[OPENAPI_NAME_MAX];
    const char *schema = strcmp(v->verb, "list") == 0     ? openapi_list_name(t->resource, list)
                         : v->body == BODY_DELETE_OPTIONS ? api_type_status.openapi
                                                          : t->schema;
    buffer_printf(w->out, "%s\"%s\":{\"description\":\"", *any ? "," : "", v->method);
    *any = true;
    buffer_printf(w->out, v->description, t->kind);
    buffer_add_string(w->out, "\",");
    write_operation_id(w, v, t);
    write_media_types(w, v);
    const struct parameter *parameters =
        t->subresource && strcmp(t->subresource->name, "log") == 0 ? log_parameters : v->parameters;
    buffer_add_string(w->out, "\"parameters\":[");
    bool first = true;
    if (w->version == 2 && v->body != BODY_NONE) {
        write_body(w, t, v->body);
        first = false;
    }
    for (const struct parameter *p = parameters; p->name; p++, first = false)
        write_parameter(w, "query", p, first);
    buffer_add_char(w->out, ']');
    if (w->version == 3 && v->body != BODY_NONE)
        write_body(w, t, v->body);
    buffer_add_string(w->out, ",\"responses\":{");
    write_response(w, "200", "OK", schema);
    if (v->body == BODY_OBJECT || v->body == BODY_PATCH) {
        buffer_add_char(w->out, ',');
        write_response(w, "201", "Created", schema);
    }
    buffer_add_char(w->out, ',');
    write_response(w, "401", "Unauthorized", NULL);
    buffer_printf(w->out,
                  "},\"x-kubernetes-action\":\"%s\",\"x-kubernetes-group-version-kind\":{\"group\":\"%s\",\"kind\":"
                  "\"%s\",\"version\":\"%s\"}}",
                  v->action, t->group, t->kind, t->version);
}

static bool has_verb(const char *const *list, const char *verb)
{
    for (; *list; list++)
        if (strcmp(*list, verb) == 0)
            return true;
    return false;
}

/* One path: the operations on a collection or on an object, and the parameters that the path itself has. */
static void write_path(struct openapi_writer *w, const char *path, const struct target *t, bool collection,
                       const char *const *allowed, bool *any)
{
    static const struct parameter name = {"name", "string", "Name of the object."};
    static const struct parameter namespace = {"namespace", "string", "Namespace of the object."};
    static const struct parameter pretty = {"pretty", "string", "Indent the answer for people."};
    bool any_operation = false;
    buffer_printf(w->out, "%s\"%s\":{", *any ? "," : "", path);
    *any = true;
    for (size_t i = 0; i < ARRAY_COUNT(verbs); i++) {
        /* A subresource is created on the path of the object. */
        bool here = verbs[i].collection == collection || (t->subresource && strcmp(verbs[i].verb, "create") == 0);
        if (here && has_verb(allowed, verbs[i].verb) && (!t->all_namespaces || i == 0))
            write_operation(w, &verbs[i], t, &any_operation);
    }
    buffer_add_string(w->out, any_operation ? ",\"parameters\":[" : "\"parameters\":[");
    bool first = true;
    if (!collection) {
        write_parameter(w, "path", &name, first);
        first = false;
    }
    if (t->resource->namespaced && !t->all_namespaces) {
        write_parameter(w, "path", &namespace, first);
        first = false;
    }
    write_parameter(w, "query", &pretty, first);
    buffer_add_string(w->out, "]}");
}

static const char *schema_of(const struct api_resource *r, const struct api_subresource *s)
{
    return s->type ? s->type->openapi : r->type->openapi;
}

static void write_resource(struct openapi_writer *w, const struct api_resource *r, bool *any)
{
    char path[PATH_MAX_SIZE], base[PATH_MAX_SIZE / 2];
    struct target t = {
        .resource = r, .group = r->group, .version = r->version, .kind = r->kind, .schema = r->type->openapi};
    snprintf(base, sizeof(base), "/%s/%s", *r->group ? "apis" : "api", r->api_version);
    if (r->namespaced && !r->create_only) {
        t.all_namespaces = true;
        snprintf(path, sizeof(path), "%s/%s", base, r->plural);
        write_path(w, path, &t, true, api_resource_verbs(r), any);
        t.all_namespaces = false;
    }
    const char *inside = r->namespaced ? "/namespaces/{namespace}" : "";
    snprintf(path, sizeof(path), "%s%s/%s", base, inside, r->plural);
    write_path(w, path, &t, true, api_resource_verbs(r), any);
    if (r->create_only)
        return;
    snprintf(path, sizeof(path), "%s%s/%s/{name}", base, inside, r->plural);
    write_path(w, path, &t, false, api_resource_verbs(r), any);
    for (size_t i = 0; r->subresources[i]; i++) {
        const struct api_subresource *s = api_subresource_find(r->subresources[i]);
        if (!s || s->connect)
            continue;
        struct target sub = {.resource = r,
                             .subresource = s,
                             .group = s->group ? s->group : r->group,
                             .version = s->version ? s->version : r->version,
                             .kind = s->kind ? s->kind : r->kind,
                             .schema = schema_of(r, s)};
        snprintf(path, sizeof(path), "%s%s/%s/{name}/%s", base, inside, r->plural, s->name);
        write_path(w, path, &sub, false, s->verbs, any);
    }
}

void openapi_write_paths(struct openapi_writer *w, const char *api_version)
{
    bool any = false;
    for (size_t i = 0; i < api_resource_count; i++)
        if (!api_version || strcmp(api_resources[i].api_version, api_version) == 0)
            write_resource(w, &api_resources[i], &any);
}
