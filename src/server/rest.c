/* Everything that is one request and one answer: get, list, create, update, patch, delete and deletecollection, and
 * the subresources.
 *
 * A job goes from the I/O thread (decode) to the core thread (submit) and back (encode). What the answer refers to is
 * held by references; snapshots' bytes go to the socket without a copy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/warnings.h"
#include "api/yaml.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "base/vector.h"
#include "server/private.h"

#define PATCHES "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json"
#define BODIES "application/json, application/yaml"
/* Warning headers of one answer. */
#define WARNINGS_MAX 20

struct job {
    struct server *server;
    struct http_request *http;
    struct arena *arena; /* of the job; the client request has one of its own */
    struct route route;
    struct negotiated negotiated;
    struct table_options table;
    struct client_request *request;
    const char *verb; /* for metrics */
    VECTOR(const char *) warnings; /* in the arena */
    /* The answer, filled on the core thread. */
    int code;
    struct buffer body; /* a Status or a Scale, as JSON */
    struct object *object;
    struct object **items;
    size_t count;
    bool is_list;
    struct list_meta list;
};

static void job_free(struct job *job)
{
    object_unref(job->object);
    for (size_t i = 0; i < job->count; i++)
        object_unref(job->items[i]);
    free(job->items);
    vector_free(&job->warnings);
    buffer_free(&job->body);
    http_request_release(job->http);
    arena_free(job->arena);
    free(job);
}

static void warn(struct job *job, const char *text)
{
    if (job->warnings.count < WARNINGS_MAX)
        vector_push(&job->warnings, arena_string(job->arena, text));
}

/* ---- The answer, on the I/O thread ---- */

static void release_object(void *owner)
{
    object_unref(owner);
}

static struct http_bytes object_run(struct object *object)
{
    size_t size;
    const char *json = object_json(object, &size);
    return (struct http_bytes){.data = json, .size = size, .release = release_object, .owner = object_ref(object)};
}

static void answer_object(struct job *job)
{
    struct buffer out = {0};
    const struct api_resource *resource = job->object->resource;
    size_t size;
    const char *json = object_json(job->object, &size);
    if (job->negotiated.form == ANSWER_TABLE) {
        struct list_meta meta = {.resource_version = job->object->meta->resource_version};
        table_begin(resource, &job->table, &meta, &out);
        table_row(resource, &job->table, job->object->value, json, size, 0, &out);
        table_end(&out);
        answer_json(job->http, job->code, &out);
    } else if (job->negotiated.form == ANSWER_METADATA) {
        partial_metadata_write(resource, job->negotiated.version, job->object->value, &out);
        answer_json(job->http, job->code, &out);
    } else {
        struct http_bytes runs[] = {object_run(job->object), HTTP_STATIC("\n")};
        http_response_header(job->http, "Content-Type", CONTENT_JSON);
        http_respond(job->http, job->code, runs, ARRAY_COUNT(runs));
    }
}

static void list_head(const struct job *job, struct buffer *out)
{
    buffer_printf(out, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":", job->route.resource->list_kind,
                  job->route.resource->api_version);
    json_encode(&api_type_list_meta, &job->list, out);
    buffer_add_string(out, ",\"items\":[");
}

/* The list as lent runs: head, items with commas between them, tail. */
static void answer_plain_list(struct job *job)
{
    struct buffer head = {0};
    size_t count = job->count * 2 + 2, n = 0, size;
    cleanup_free struct http_bytes *runs = mem_alloc(count * sizeof(*runs));
    list_head(job, &head);
    char *data = buffer_steal(&head, &size);
    runs[n++] = http_bytes_owned(data, size);
    for (size_t i = 0; i < job->count; i++) {
        if (i)
            runs[n++] = HTTP_STATIC(",");
        runs[n++] = object_run(job->items[i]);
    }
    runs[n++] = HTTP_STATIC("]}\n");
    http_response_header(job->http, "Content-Type", CONTENT_JSON);
    http_respond(job->http, job->code, runs, n);
}

static void answer_list(struct job *job)
{
    struct buffer out = {0};
    const struct api_resource *resource = job->route.resource;
    if (job->negotiated.form == ANSWER_OBJECT) {
        answer_plain_list(job);
        return;
    }
    bool table = job->negotiated.form == ANSWER_TABLE;
    if (table)
        table_begin(resource, &job->table, &job->list, &out);
    else
        partial_metadata_list_begin(job->negotiated.version, &job->list, &out);
    for (size_t i = 0; i < job->count; i++) {
        struct object *o = job->items[i];
        if (table)
            table_row(resource, &job->table, o->value, NULL, 0, i, &out);
        else
            partial_metadata_item(resource, job->negotiated.version, o->value, i, &out);
    }
    if (table)
        table_end(&out);
    else
        partial_metadata_list_end(&out);
    answer_json(job->http, job->code, &out);
}

static void finish(void *context)
{
    struct job *job = context;
    for (size_t i = 0; i < job->warnings.count; i++)
        answer_warning(job->http, job->warnings.items[i]);
    request_metrics_count(job->server->metrics, job->verb, job->route.resource->plural, job->code,
                          env_monotonic(job->server->options.env) - job->http->received);
    if (job->object)
        answer_object(job);
    else if (job->is_list)
        answer_list(job);
    else
        answer_json(job->http, job->code, &job->body);
    job_free(job);
}

/* ---- The registry's answer, on the core thread ---- */

static void take_list(struct job *job, const struct client_result *result)
{
    job->is_list = true;
    job->count = result->count;
    job->items = mem_alloc(result->count * sizeof(*job->items));
    for (size_t i = 0; i < result->count; i++)
        job->items[i] = object_ref(result->items[i]);
    job->list.resource_version = arena_printf(job->arena, "%llu", (unsigned long long)result->revision);
    job->list.continue_ = arena_string(job->arena, result->continue_);
    if (result->remaining > 0)
        job->list.remaining_item_count = opt_int64(result->remaining);
}

static void answered(void *context, const struct client_result *result)
{
    struct job *job = context;
    job->code = result->code;
    for (size_t i = 0; i < result->warning_count; i++)
        warn(job, result->warnings[i]);
    if (result->status)
        api_status_write(result->status, &job->body);
    else if (result->scale)
        json_encode(&api_type_scale, result->scale, &job->body);
    else if (result->object)
        job->object = object_ref(result->object);
    else
        take_list(job, result);
    buffer_add_char(&job->body, '\n');
    mailbox_send(http_request_mailbox(job->http), finish, job);
}

static void submit(void *context)
{
    struct job *job = context;
    client_submit(job->server->client, steal_pointer(job->request), answered, job);
}

/* ---- Bodies ---- */

/* The two fields that every root type begins with. */
struct root {
    const char *kind;
    const char *api_version;
};

/* JSON of the body: itself, or converted from YAML into `converted`. NULL: `status` says why. */
static const char *body_json(struct arena *arena, const struct http_request *http, struct buffer *converted,
                             size_t *size, struct status **status)
{
    char type[64];
    struct error err;
    content_type(http, type, sizeof(type));
    *size = http->body_size;
    if (!*type || strcmp(type, CONTENT_JSON) == 0)
        return http->body;
    if (strcmp(type, "application/yaml") != 0) {
        *status = api_status_unsupported_media_type(arena, BODIES);
        return NULL;
    }
    if (yaml_to_json(http->body, http->body_size, converted, NULL, &err) < 0) {
        *status = api_status_bad_request(arena, "error converting YAML to JSON: %s", err.text);
        return NULL;
    }
    *size = converted->size;
    return converted->data;
}

/* Reports unknown and duplicate fields as fieldValidation asks for. */
static struct status *report_problems(struct job *job, const struct json_report *report, const char *what)
{
    const char *how = http_request_parameter(job->http, "fieldValidation");
    bool strict = how && strcmp(how, "Strict") == 0;
    cleanup_buffer struct buffer all = {0};
    if (how && strcmp(how, "Ignore") == 0)
        return NULL;
    for (size_t i = 0; i < report->count; i++) {
        const struct json_problem *p = &report->items[i];
        const char *text = arena_printf(job->arena, "%s field \"%s\"",
                                        p->kind == JSON_UNKNOWN_FIELD ? "unknown" : "duplicate", p->path);
        if (strict)
            buffer_printf(&all, "%s%s", all.size ? ", " : "", text);
        else
            warn(job, text);
    }
    return all.size ? api_status_bad_request(job->arena, "%s: strict decoding error: %s", what, all.data) : NULL;
}

/* Reads the body as a value of `type`; expects this apiVersion and kind where it names them. */
static struct status *decode(struct job *job, const struct api_type *type, const char *api_version, const char *kind,
                             struct arena *arena, void **value)
{
    struct status *status = NULL;
    struct error err;
    size_t size;
    cleanup_buffer struct buffer converted = {0};
    struct json_report *report = arena_alloc(job->arena, sizeof(*report));
    const char *json = body_json(job->arena, job->http, &converted, &size, &status);
    if (!json)
        return status;
    *value = arena_alloc(arena, type->size);
    const char *what =
        arena_printf(job->arena, "%s in version \"%s\" cannot be handled as a %s", kind,
                     strrchr(api_version, '/') ? strrchr(api_version, '/') + 1 : api_version, kind);
    if (json_decode(type, arena, json, size, *value, report, &err) < 0) {
        if (err.code == EBADMSG)
            return api_status_bad_request(job->arena, "couldn't get version/kind; json parse error: %s", err.text);
        return api_status_bad_request(job->arena, "%s: %s", what, err.text);
    }
    const struct root *root = *value;
    if (root->kind && *root->kind && strcmp(root->kind, kind) != 0)
        return api_status_bad_request(
            job->arena,
            "%s in version \"%s\" cannot be handled as a %s: no kind \"%s\" is registered for the resource \"%s\"",
            root->kind, root->api_version ? root->api_version : "", kind, root->kind, job->route.resource->plural);
    if (root->api_version && *root->api_version && strcmp(root->api_version, api_version) != 0)
        return api_status_bad_request(
            job->arena, "the API version in the data (%s) does not match the expected API version (%s)",
            root->api_version, api_version);
    return report_problems(job, report, what);
}

static struct status *decode_object(struct job *job)
{
    struct client_request *r = job->request;
    const char *sub = job->route.subresource;
    if (sub && strcmp(sub, "scale") == 0)
        return decode(job, &api_type_scale, "autoscaling/v1", "Scale", r->arena, &r->body);
    if (sub && strcmp(sub, "binding") == 0)
        return decode(job, &api_type_binding, "v1", "Binding", r->arena, &r->body);
    const struct api_resource *resource = job->route.resource;
    struct status *status = decode(job, resource->type, resource->api_version, resource->kind, r->arena, &r->body);
    if (status || sub)
        return status;
    struct api_warnings inert = {.arena = job->arena};
    api_warn_inert(resource->type, r->body, NULL, &inert);
    for (size_t i = 0; i < inert.count; i++)
        warn(job, inert.items[i]);
    return NULL;
}

static struct status *decode_patch(struct job *job)
{
    static const struct {
        const char *type;
        enum patch_kind kind;
    } kinds[] = {{"application/json-patch+json", PATCH_JSON},
                 {"application/merge-patch+json", PATCH_MERGE},
                 {"application/strategic-merge-patch+json", PATCH_STRATEGIC}};
    struct client_request *r = job->request;
    char type[64];
    content_type(job->http, type, sizeof(type));
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        if (strcmp(type, kinds[i].type) != 0)
            continue;
        const char *how = http_request_parameter(job->http, "fieldValidation");
        r->patch_kind = kinds[i].kind;
        r->patch = arena_copy(r->arena, job->http->body, job->http->body_size + 1);
        r->patch_size = job->http->body_size;
        r->field_validation = how && strcmp(how, "Strict") == 0   ? CLIENT_VALIDATE_STRICT
                              : how && strcmp(how, "Ignore") == 0 ? CLIENT_VALIDATE_IGNORE
                                                                   : CLIENT_VALIDATE_WARN;
        return NULL;
    }
    return api_status_unsupported_media_type(job->arena, PATCHES);
}

/* From the body, or from parameters where there is no body. */
static struct status *decode_delete_options(struct job *job)
{
    struct client_request *r = job->request;
    const struct http_request *http = job->http;
    struct delete_options *options = arena_alloc(r->arena, sizeof(*options));
    r->delete_options = options;
    if (http->body_size) {
        void *value;
        struct status *status = decode(job, &api_type_delete_options, "v1", "DeleteOptions", r->arena, &value);
        if (status && strstr(status->message, "does not match the expected API version")) {
            /* Clients may name the version of the resource's own group. */
            status = NULL;
        }
        if (status)
            return status;
        *options = *(struct delete_options *)value;
    } else {
        const char *grace = http_request_parameter(http, "gracePeriodSeconds");
        const char *policy = http_request_parameter(http, "propagationPolicy");
        const char *orphan = http_request_parameter(http, "orphanDependents");
        if (grace)
            options->grace_period_seconds = opt_int64(strtoll(grace, NULL, 10));
        if (policy)
            options->propagation_policy = arena_string(r->arena, policy);
        if (orphan)
            options->orphan_dependents = opt_bool(strcmp(orphan, "true") == 0);
    }
    for (size_t i = 0; i < options->dry_run.count; i++)
        r->dry_run |= strcmp(options->dry_run.items[i], "All") == 0;
    return NULL;
}

/* ---- Requests ---- */

struct status *rest_selectors(struct arena *arena, const struct http_request *request, const struct route *route,
                              const struct selector **labels, const struct field_selector **fields)
{
    const char *label_text = http_request_parameter(request, "labelSelector");
    const char *field_text = http_request_parameter(request, "fieldSelector");
    struct error err;
    *labels = NULL;
    *fields = NULL;
    if (label_text && *label_text && selector_parse(arena, label_text, labels, &err) < 0)
        return api_status_bad_request(arena, "%s", err.text);
    /* A watch or list of one object by its path is one by its name. */
    if (route->name)
        field_text = arena_printf(arena, "metadata.name=%s", route->name);
    if (field_text && *field_text &&
        (field_selector_parse(arena, field_text, fields, &err) < 0 ||
         field_selector_check(*fields, route->resource, &err) < 0))
        return api_status_bad_request(arena, "%s", err.text);
    return NULL;
}

struct status *rest_table_options(struct arena *arena, const struct http_request *request,
                                  const struct negotiated *negotiated, struct table_options *out)
{
    const char *include = http_request_parameter(request, "includeObject");
    *out = (struct table_options){.version = negotiated->version};
    if (table_include_parse(include ? include : "", &out->include) < 0)
        return api_status_bad_request(arena, "unrecognized includeObject value: \"%s\"", include);
    return NULL;
}

static struct status *fill_list(struct job *job)
{
    struct client_request *r = job->request;
    const struct http_request *http = job->http;
    const char *limit = http_request_parameter(http, "limit");
    char *end;
    r->limit = limit && *limit ? strtoll(limit, &end, 10) : 0;
    if (limit && *limit && (*end || r->limit < 0))
        return api_status_bad_request(job->arena, "strconv.ParseInt: parsing \"%s\": invalid syntax", limit);
    r->continue_ = arena_string(r->arena, http_request_parameter(http, "continue"));
    r->resource_version = arena_string(r->arena, http_request_parameter(http, "resourceVersion"));
    r->resource_version_match = arena_string(r->arena, http_request_parameter(http, "resourceVersionMatch"));
    return rest_selectors(r->arena, http, &job->route, &r->label_selector, &r->field_selector);
}

/* Which verb the method means here, and what has to be read for it. */
static const struct method {
    enum http_method method;
    bool named; /* the path names an object */
    enum client_verb verb;
    const char *name; /* upstream's, for metrics and for 405 */
    struct status *(*read)(struct job *job);
} methods[] = {
    {HTTP_GET, true, CLIENT_GET, "GET", NULL},
    {HTTP_HEAD, true, CLIENT_GET, "GET", NULL},
    {HTTP_GET, false, CLIENT_LIST, "LIST", fill_list},
    {HTTP_HEAD, false, CLIENT_LIST, "LIST", fill_list},
    {HTTP_POST, false, CLIENT_CREATE, "POST", decode_object},
    {HTTP_POST, true, CLIENT_CREATE, "POST", decode_object},
    {HTTP_PUT, true, CLIENT_UPDATE, "PUT", decode_object},
    {HTTP_PATCH, true, CLIENT_PATCH, "PATCH", decode_patch},
    {HTTP_DELETE, true, CLIENT_DELETE, "DELETE", decode_delete_options},
    {HTTP_DELETE, false, CLIENT_DELETE_COLLECTION, "DELETECOLLECTION", decode_delete_options},
};

static const struct method *find_method(const struct job *job)
{
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++)
        if (methods[i].method == job->http->method && methods[i].named == (job->route.name != NULL))
            return &methods[i];
    return NULL;
}

static bool has_subresource(const struct api_resource *resource, const char *name)
{
    for (size_t i = 0; resource->subresources[i]; i++)
        if (strcmp(resource->subresources[i], name) == 0)
            return true;
    return false;
}

/* The verbs that a subresource takes; those of the object are free. */
static bool allowed(const struct job *job, const struct method *m)
{
    const char *sub = job->route.subresource;
    const struct api_resource *resource = job->route.resource;
    if (!sub) {
        bool all_namespaces = resource->namespaced && !job->route.namespace;
        if (m->verb == CLIENT_CREATE)
            return !job->route.name && !all_namespaces;
        return !(m->verb == CLIENT_DELETE_COLLECTION && all_namespaces);
    }
    if (strcmp(sub, "binding") == 0)
        return m->verb == CLIENT_CREATE;
    if (strcmp(sub, "finalize") == 0)
        return m->verb == CLIENT_UPDATE;
    return m->verb == CLIENT_GET || m->verb == CLIENT_UPDATE || m->verb == CLIENT_PATCH;
}

static struct status *check_dry_run(struct job *job)
{
    const char *dry_run = http_request_parameter(job->http, "dryRun");
    if (!dry_run || !*dry_run)
        return NULL;
    if (strcmp(dry_run, "All") != 0)
        return api_status_bad_request(job->arena, "invalid dryRun: Unsupported value: \"%s\": supported values: \"All\"",
                                      dry_run);
    job->request->dry_run = true;
    return NULL;
}

static struct status *prepare(struct job *job, const struct client_user *user)
{
    const struct api_resource *resource = job->route.resource;
    const struct method *m = find_method(job);
    if (job->route.subresource && !has_subresource(resource, job->route.subresource))
        return api_status_no_resource(job->arena);
    if (!m || !allowed(job, m))
        return api_status_method_not_allowed(job->arena);
    struct client_request *r = client_request_new(m->verb, resource, job->route.namespace, job->route.name);
    job->request = r;
    job->verb = m->name;
    struct client_user *own = arena_copy(r->arena, user, sizeof(*own));
    size_t groups = 0;
    while (user->groups[groups])
        groups++;
    const char **copies = arena_alloc(r->arena, (groups + 1) * sizeof(*copies));
    for (size_t i = 0; i < groups; i++)
        copies[i] = arena_string(r->arena, user->groups[i]);
    own->name = arena_string(r->arena, user->name);
    own->groups = copies;
    r->user = own;
    r->subresource = arena_string(r->arena, job->route.subresource);
    r->field_manager = arena_string(r->arena, http_request_parameter(job->http, "fieldManager"));
    if (m->verb == CLIENT_GET)
        r->resource_version = arena_string(r->arena, http_request_parameter(job->http, "resourceVersion"));
    struct status *status = check_dry_run(job);
    if (!status)
        status = rest_table_options(job->arena, job->http, &job->negotiated, &job->table);
    if (!status && m->verb == CLIENT_DELETE_COLLECTION)
        status = fill_list(job);
    if (!status && m->read)
        status = m->read(job);
    return status;
}

void rest_handle(struct rest_request *request)
{
    struct job *job = mem_zero(1, sizeof(*job));
    job->server = request->server;
    job->http = request->http;
    job->arena = request->arena;
    job->route = request->route;
    job->negotiated = request->negotiated;
    job->verb = request->http->method_name;
    http_request_retain(job->http);
    struct status *status = prepare(job, request->user);
    job->table.now = env_now(job->server->options.env);
    if (status) {
        job->code = status->code;
        api_status_write(status, &job->body);
        buffer_add_char(&job->body, '\n');
        if (job->request)
            client_request_free(steal_pointer(job->request));
        finish(job);
        return;
    }
    mailbox_send(job->server->core, submit, job);
}
