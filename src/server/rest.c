/* Everything that is one request and one answer: get, list, create, update, patch, delete and deletecollection, and
 * the subresources.
 *
 * A job goes from the I/O thread (decode) to the core thread (submit) and back (encode). What the answer refers to is
 * held by references; snapshots' bytes go to the socket without a copy. */
#include <stdlib.h>
#include <string.h>

#include "api/discovery.h"
#include "api/yaml.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "base/vector.h"
#include "server/private.h"

#define PATCHES "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json"

struct rest_job {
    struct server *server;
    struct http_request *http;
    struct arena *arena; /* of the job; the client request has one of its own */
    struct route route;
    struct negotiated negotiated;
    struct table_options table;
    struct client_request *request;
    enum request_verb verb;        /* for metrics */
    VECTOR(const char *) warnings; /* in the arena */
    /* The answer, filled on the core thread. */
    int code;
    int retry_after;    /* seconds; 0: none */
    struct buffer body; /* a Status or a Scale, as JSON */
    struct object *object;
    struct object **items;
    size_t count;
    bool is_list;
    struct list_meta list;
    struct list_body *list_body; /* the items, when they are serialized already */
    bool whole_list;             /* all objects as they are now are asked for: lists.c may know it */
    uint64_t changed;            /* of a whole list: store_changed_at then */
};

static void job_free(struct rest_job *job)
{
    object_unref(job->object);
    for (size_t i = 0; i < job->count; i++)
        object_unref(job->items[i]);
    free(job->items);
    list_body_unref(job->list_body);
    vector_free(&job->warnings);
    buffer_free(&job->body);
    http_request_release(job->http);
    arena_free(job->arena);
    free(job);
}

static void warn(struct rest_job *job, const char *text)
{
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

static void answer_object(struct rest_job *job)
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
        answer_json(job->http, job->code, job->negotiated.encoding, &out);
    } else if (job->negotiated.form == ANSWER_METADATA) {
        partial_metadata_write(resource, job->negotiated.api_version, job->object->value, &out);
        answer_json(job->http, job->code, job->negotiated.encoding, &out);
    } else {
        struct http_bytes runs[] = {object_run(job->object), HTTP_STATIC("\n")};
        answer_runs(job->http, job->code, job->negotiated.encoding, runs, ARRAY_COUNT(runs));
    }
}

static void list_head(const struct rest_job *job, struct buffer *out)
{
    buffer_printf(out, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":", job->route.resource->list_kind,
                  job->route.resource->api_version);
    json_encode(&api_type_list_meta, &job->list, out);
    buffer_add_string(out, ",\"items\":[");
}

/* Head, items and tail. The items are one run when they have been serialized together, else they are sent from their
 * snapshots. */
static void answer_plain_list(struct rest_job *job)
{
    struct buffer head = {0};
    size_t n = 0, size;
    if (!job->list_body && job->count >= LIST_CACHE_MIN)
        job->list_body = list_body_new(job->items, job->count);
    cleanup_free struct http_bytes *runs = mem_alloc((job->list_body ? 3 : job->count * 2 + 2) * sizeof(*runs));
    list_head(job, &head);
    char *data = buffer_steal(&head, &size);
    runs[n++] = http_bytes_owned(data, size);
    if (job->list_body)
        runs[n++] = list_body_run(job->list_body);
    for (size_t i = 0; i < job->count && !job->list_body; i++) {
        if (i)
            runs[n++] = HTTP_STATIC(",");
        runs[n++] = object_run(job->items[i]);
    }
    runs[n++] = HTTP_STATIC("]}\n");
    answer_runs(job->http, job->code, job->negotiated.encoding, runs, n);
}

static void answer_list(struct rest_job *job)
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
        partial_metadata_list_begin(job->negotiated.api_version, &job->list, &out);
    for (size_t i = 0; i < job->count; i++) {
        struct object *o = job->items[i];
        if (table)
            table_row(resource, &job->table, o->value, NULL, 0, i, &out);
        else
            partial_metadata_item(resource, job->negotiated.api_version, o->value, i, &out);
    }
    if (table)
        table_end(&out);
    else
        partial_metadata_list_end(&out);
    answer_json(job->http, job->code, job->negotiated.encoding, &out);
}

/* On the core thread: keeps the body for the next one who asks. */
static void offer_list(void *context)
{
    struct rest_job *job = context;
    list_cache_offer(job->server->lists, &job->route, job->changed, steal_pointer(job->list_body));
    job_free(job);
}

static void finish(void *context)
{
    struct rest_job *job = context;
    answer_warnings(job->http, job->warnings.items, job->warnings.count);
    answer_retry_after(job->http, job->retry_after);
    request_metrics_count(job->server->metrics, &job->route, job->verb, job->code,
                          env_monotonic(job->server->options.env) - job->http->received);
    if (job->object)
        answer_object(job);
    else if (job->is_list)
        answer_list(job);
    else
        answer_json(job->http, job->code, job->code < 400 ? job->negotiated.encoding : negotiate_plain(job->http),
                    &job->body);
    /* Made here, of items that came along. */
    if (job->whole_list && job->list_body && job->count)
        mailbox_send(job->server->core, offer_list, job);
    else
        job_free(job);
}

/* ---- The registry's answer, on the core thread ---- */

static void take_list(struct rest_job *job, const struct client_result *result)
{
    job->is_list = true;
    job->changed = store_changed_at(job->server->options.store, job->route.resource);
    job->count = result->count;
    job->items = mem_alloc(result->count * sizeof(*job->items));
    for (size_t i = 0; i < result->count; i++)
        job->items[i] = object_ref(result->items[i]);
    job->list.resource_version = arena_printf(job->arena, "%llu", (unsigned long long)result->revision);
    job->list.continue_ = arena_string(job->arena, result->continue_);
    if (result->remaining > 0)
        job->list.remaining_item_count = opt_int64(result->remaining);
}

static void take_status(struct rest_job *job, const struct status *status)
{
    job->retry_after = status->details ? status->details->retry_after_seconds : 0;
    api_status_write(status, &job->body);
}

static void take_value(struct rest_job *job, const struct client_result *result)
{
    if (result->value_type == &api_type_scale && job->negotiated.form == ANSWER_TABLE)
        table_scale(&job->table, result->value, &job->body);
    else
        json_encode(result->value_type, result->value, &job->body);
}

static void answered(void *context, const struct client_result *result)
{
    struct rest_job *job = context;
    job->code = result->code;
    for (size_t i = 0; i < result->warning_count; i++)
        warn(job, result->warnings[i]);
    if (result->status)
        take_status(job, result->status);
    else if (result->value)
        take_value(job, result);
    else if (result->object)
        job->object = object_ref(result->object);
    else
        take_list(job, result);
    buffer_add_char(&job->body, '\n');
    mailbox_send(http_request_mailbox(job->http), finish, job);
}

/* Answers a list that is known. */
static bool answer_known_list(struct rest_job *job)
{
    job->list_body = job->whole_list ? list_cache_find(job->server->lists, &job->route) : NULL;
    if (!job->list_body)
        return false;
    client_request_free(steal_pointer(job->request));
    job->code = 200;
    job->is_list = true;
    job->list.resource_version =
        arena_printf(job->arena, "%llu", (unsigned long long)store_revision(job->server->options.store));
    mailbox_send(http_request_mailbox(job->http), finish, job);
    return true;
}

static void submit(void *context)
{
    struct rest_job *job = context;
    if (answer_known_list(job))
        return;
    if (job->route.resource->computed)
        usage_submit(job->server, steal_pointer(job->request), answered, job);
    else
        client_submit(job->server->client, steal_pointer(job->request), answered, job);
}

/* ---- What a request brings ---- */

/* Warns of each key that a YAML body sets twice, as upstream does: a line is a warning. */
static void warn_of_lines(struct rest_job *job, const char *yaml)
{
    char *rest = arena_string(job->arena, yaml + strlen(YAML_DUPLICATES_HEAD)), *line;
    while ((line = strsep(&rest, "\n")))
        if (*line)
            warn(job, line + strspn(line, " "));
}

/* Reports unknown and duplicate fields as fieldValidation asks for. */
static struct status *report_problems(struct rest_job *job, const struct body_report *report,
                                      const struct body_type *expected)
{
    enum client_field_validation how = job->request->field_validation;
    cleanup_buffer struct buffer all = {0};
    if (how == CLIENT_VALIDATE_IGNORE)
        return NULL;
    if (report->yaml && how == CLIENT_VALIDATE_STRICT)
        buffer_add_string(&all, report->yaml);
    else if (report->yaml)
        warn_of_lines(job, report->yaml);
    for (size_t i = 0; i < report->fields.count; i++) {
        const struct json_problem *p = &report->fields.items[i];
        const char *text = arena_printf(job->arena, "%s field \"%s\"",
                                        p->kind == JSON_UNKNOWN_FIELD ? "unknown" : "duplicate", p->path);
        if (how == CLIENT_VALIDATE_STRICT)
            buffer_printf(&all, "%s%s", all.size ? ", " : "", text);
        else
            warn(job, text);
    }
    return all.size ? api_status_bad_request(job->arena, "%s: strict decoding error: %s",
                                             decode_complaint(job->arena, expected), all.data)
                    : NULL;
}

static struct status *decode(struct rest_job *job, const struct body_type *expected, void **value)
{
    struct body_report *report = arena_alloc(job->arena, sizeof(*report));
    struct status *status = decode_body(job->arena, job->http, expected, job->request->arena, value, report);
    return status ? status : report_problems(job, report, expected);
}

static struct status *read_object(struct rest_job *job)
{
    const struct api_resource *resource = job->route.resource;
    const struct body_type object = {
        .type = resource->type, .api_version = resource->api_version, .kind = resource->kind};
    struct client_request *r = job->request;
    struct status *status =
        options_for_write(job->arena, job->http, r->verb == CLIENT_CREATE ? "CreateOptions" : "UpdateOptions", r);
    if (status)
        return status;
    const struct api_subresource *sub = job->route.subresource ? api_subresource_find(job->route.subresource) : NULL;
    if (sub && sub->type) {
        const struct body_type own = {.type = sub->type,
                                      .api_version = sub->group
                                                         ? arena_printf(job->arena, "%s/%s", sub->group, sub->version)
                                                         : resource->api_version,
                                      .kind = sub->kind,
                                      .older = sub->older};
        status = decode(job, &own, &r->body);
        if (!status && job->route.bindings)
            r->name = ((const struct binding *)r->body)->metadata.name;
        return status;
    }
    return decode(job, &object, &r->body);
}

static struct status *read_patch(struct rest_job *job)
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
        r->patch_kind = kinds[i].kind;
        r->patch = job->http->body; /* the job holds the request */
        r->patch_size = job->http->body_size;
        return options_for_write(job->arena, job->http, "PatchOptions", r);
    }
    return api_status_unsupported_media_type(job->arena, PATCHES);
}

/* From the body, or from parameters where there is no body. */
static struct status *read_delete_options(struct rest_job *job)
{
    static const struct body_type expected = {
        .type = &api_type_delete_options, .api_version = "v1", .kind = "DeleteOptions", .any_version = true};
    struct client_request *r = job->request;
    struct delete_options *options = NULL;
    struct status *status = options_for_write(job->arena, job->http, "DeleteOptions", r);
    if (!status && job->http->body_size) {
        void *value;
        status = decode(job, &expected, &value);
        options = value;
    } else if (!status) {
        options = arena_alloc(r->arena, sizeof(*options));
        status = options_for_delete(r->arena, job->http, options);
    }
    if (status)
        return status;
    r->delete_options = options;
    for (size_t i = 0; i < options->dry_run.count; i++)
        r->dry_run |= strcmp(options->dry_run.items[i], "All") == 0;
    return NULL;
}

static struct status *read_list(struct rest_job *job)
{
    struct client_request *r = job->request;
    struct status *status = options_for_list(job->arena, job->http, &job->route, r);
    const char *revision = r->resource_version;
    job->whole_list = !status && !job->route.resource->computed && r->verb == CLIENT_LIST &&
                      job->negotiated.form == ANSWER_OBJECT && !r->limit && !r->label_selector && !r->field_selector &&
                      text_empty(r->continue_) && text_empty(r->resource_version_match) &&
                      (text_empty(revision) || strcmp(revision, "0") == 0);
    return status;
}

static struct status *read_collection(struct rest_job *job)
{
    struct status *status = read_list(job);
    return status ? status : read_delete_options(job);
}

static struct status *read_get(struct rest_job *job)
{
    job->request->resource_version =
        arena_string(job->request->arena, http_request_parameter(job->http, "resourceVersion"));
    return NULL;
}

/* ---- Requests ---- */

/* Which verb the method means here, and what has to be read for it. */
static const struct method {
    enum http_method method;
    bool named; /* the path names an object */
    enum client_verb verb;
    enum request_verb name; /* for metrics */
    struct status *(*read)(struct rest_job *job);
} methods[] = {
    {HTTP_GET, true, CLIENT_GET, VERB_GET, read_get},
    {HTTP_HEAD, true, CLIENT_GET, VERB_GET, read_get},
    {HTTP_GET, false, CLIENT_LIST, VERB_LIST, read_list},
    {HTTP_HEAD, false, CLIENT_LIST, VERB_LIST, read_list},
    {HTTP_POST, false, CLIENT_CREATE, VERB_POST, read_object},
    {HTTP_POST, true, CLIENT_CREATE, VERB_POST, read_object},
    {HTTP_PUT, true, CLIENT_UPDATE, VERB_PUT, read_object},
    {HTTP_PATCH, true, CLIENT_PATCH, VERB_PATCH, read_patch},
    {HTTP_DELETE, true, CLIENT_DELETE, VERB_DELETE, read_delete_options},
    {HTTP_DELETE, false, CLIENT_DELETE_COLLECTION, VERB_DELETE_COLLECTION, read_collection},
};

static const struct method *find_method(const struct rest_job *job)
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
static bool allowed(const struct rest_job *job, const struct method *m)
{
    const char *sub = job->route.subresource;
    const struct api_resource *resource = job->route.resource;
    if (!sub) {
        if (resource->create_only && m->verb != CLIENT_CREATE)
            return false;
        if (resource->computed && m->verb != CLIENT_GET && m->verb != CLIENT_LIST)
            return false;
        bool all_namespaces = resource->namespaced && !job->route.namespace;
        if (m->verb == CLIENT_CREATE)
            return !job->route.name && !all_namespaces;
        return !(m->verb == CLIENT_DELETE_COLLECTION && all_namespaces);
    }
    static const char *const verbs[] = {[CLIENT_GET] = "get",
                                        [CLIENT_CREATE] = "create",
                                        [CLIENT_UPDATE] = "update",
                                        [CLIENT_PATCH] = "patch",
                                        [CLIENT_DELETE_COLLECTION] = NULL};
    const struct api_subresource *known = api_subresource_find(sub);
    for (const char *const *v = known ? known->verbs : NULL; v && *v; v++)
        if (verbs[m->verb] && strcmp(*v, verbs[m->verb]) == 0)
            return true;
    return false;
}

static struct status *prepare(struct rest_job *job, const struct client_user *user)
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
    r->user = user; /* in the job's arena, which outlives the answer */
    r->subresource = arena_string(r->arena, job->route.subresource);
    struct status *status = options_for_table(job->arena, job->http, &job->negotiated, &job->table);
    return status ? status : m->read(job);
}

void rest_handle(struct rest_request *request)
{
    struct rest_job *job = mem_zero(1, sizeof(*job));
    job->server = request->server;
    job->http = request->http;
    job->arena = request->arena;
    job->route = request->route;
    job->negotiated = request->negotiated;
    job->verb = VERB_OTHER;
    http_request_retain(job->http);
    struct status *status = prepare(job, request->user);
    job->table.now = env_now(job->server->options.env);
    if (status) {
        job->code = status->code;
        take_status(job, status);
        buffer_add_char(&job->body, '\n');
        if (job->request)
            client_request_free(steal_pointer(job->request));
        finish(job);
        return;
    }
    mailbox_send(job->server->core, submit, job);
}
