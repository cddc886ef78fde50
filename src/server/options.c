/* What the parameters of a request ask for, checked as upstream checks its options types: a text that is no number or
 * no selector is a bad request (400), a value that is not allowed makes the options invalid (422). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "server/private.h"

/* As upstream limits the name of a field manager. */
#define FIELD_MANAGER_MAX 128

bool parameter_flag(const struct http_request *request, const char *name)
{
    const char *text = http_request_parameter(request, name);
    return text && strcasecmp(text, "false") != 0 && strcmp(text, "0") != 0;
}

struct status *parameter_int(struct arena *arena, const struct http_request *request, const char *name,
                             struct opt_int64 *out)
{
    const char *text = http_request_parameter(request, name);
    char *end;
    *out = (struct opt_int64){0};
    if (!text || !*text)
        return NULL;
    errno = 0;
    out->value = strtoll(text, &end, 10);
    out->set = true;
    if (errno == ERANGE)
        return api_status_bad_request(arena, "strconv.ParseInt: parsing \"%s\": value out of range", text);
    if (*end || end == text || *text == ' ')
        return api_status_bad_request(arena, "strconv.ParseInt: parsing \"%s\": invalid syntax", text);
    return NULL;
}

/* `KIND.meta.k8s.io "" is invalid: ...`; NULL when there are no errors. */
static struct status *invalid_options(const char *kind, const struct api_field_errors *errors)
{
    const struct api_resource options = {.group = "meta.k8s.io", .kind = kind, .plural = ""};
    return errors->count ? api_status_invalid(errors->arena, &options, "", errors) : NULL;
}

static void check_field_manager(struct api_field_errors *errors, const char *manager)
{
    const struct api_path *path = PATH(NULL, "fieldManager");
    if (strlen(manager) > FIELD_MANAGER_MAX)
        field_too_long(errors, path, FIELD_MANAGER_MAX);
    for (const char *c = manager; *c; c++) {
        if ((unsigned char)*c >= ' ' && *c != 0x7f)
            continue;
        field_invalid(errors, path, manager,
                      arena_printf(errors->arena, "invalid character U+%04X (at position %d)", (unsigned char)*c,
                                   (int)(c - manager)));
    }
}

struct status *options_for_write(struct arena *arena, const struct http_request *request, const char *kind,
                                 struct client_request *out)
{
    static const char *const dry_runs[] = {"All", NULL};
    static const char *const validations[] = {"", "Ignore", "Strict", "Warn", NULL};
    static const enum client_field_validation meanings[] = {CLIENT_VALIDATE_WARN, CLIENT_VALIDATE_IGNORE,
                                                            CLIENT_VALIDATE_STRICT, CLIENT_VALIDATE_WARN};
    struct api_field_errors errors = {.arena = arena};
    const char *manager = http_request_parameter(request, "fieldManager");
    const char *validation = http_request_parameter(request, "fieldValidation");
    if (strcmp(kind, "PatchOptions") == 0 && http_request_parameter(request, "force"))
        field_forbidden(&errors, PATH(NULL, "force"), "may not be specified for non-apply patch");
    if (manager)
        check_field_manager(&errors, manager);
    out->field_manager = arena_string(out->arena, manager);
    for (size_t i = 0; i < request->parameter_count; i++) {
        const struct http_field *parameter = &request->parameters[i];
        if (strcmp(parameter->name, "dryRun") != 0)
            continue;
        out->dry_run = true;
        if (strcmp(parameter->value, "All") != 0) {
            cleanup_buffer struct buffer json = {0};
            buffer_add_char(&json, '[');
            json_encode_string(&json, parameter->value);
            buffer_add_char(&json, ']');
            field_not_supported_json(&errors, PATH(NULL, "dryRun"), json.data, dry_runs);
        }
    }
    size_t i = 0;
    while (validations[i] && validation && strcmp(validation, validations[i]) != 0)
        i++;
    if (validations[i])
        out->field_validation = meanings[i];
    else
        field_not_supported(&errors, PATH(NULL, "fieldValidation"), validation, validations);
    return invalid_options(kind, &errors);
}

struct status *options_for_delete(struct arena *arena, const struct http_request *request, struct delete_options *out)
{
    const char *policy = http_request_parameter(request, "propagationPolicy");
    const char *orphan = http_request_parameter(request, "orphanDependents");
    if (policy)
        out->propagation_policy = arena_string(arena, policy);
    if (orphan)
        out->orphan_dependents = opt_bool(parameter_flag(request, "orphanDependents"));
    return parameter_int(arena, request, "gracePeriodSeconds", &out->grace_period_seconds);
}

struct status *options_selectors(struct arena *arena, const struct http_request *request, const struct route *route,
                                 const struct selector **labels, const struct field_selector **fields)
{
    const char *label_text = http_request_parameter(request, "labelSelector");
    const char *field_text = http_request_parameter(request, "fieldSelector");
    struct error err;
    *labels = NULL;
    *fields = NULL;
    if (label_text && *label_text && selector_parse(arena, label_text, labels, &err) < 0)
        return api_status_bad_request(arena, "%s", err.text);
    const char *by_name = route->name ? arena_printf(arena, "metadata.name=%s", route->name) : NULL;
    /* A watch of one object by its path is one by its name. */
    if (by_name && field_text && *field_text && strcmp(field_text, by_name) != 0)
        return api_status_bad_request(arena, "fieldSelector metadata.name doesn't match requested name");
    if (by_name)
        field_text = by_name;
    if (field_text && *field_text &&
        (field_selector_parse(arena, field_text, fields, &err) < 0 ||
         field_selector_check(*fields, route->resource, &err) < 0))
        return api_status_bad_request(arena, "%s", err.text);
    return NULL;
}

struct status *options_for_list(struct arena *arena, const struct http_request *request, const struct route *route,
                                struct client_request *out)
{
    struct opt_int64 limit;
    struct api_field_errors errors = {.arena = arena};
    struct status *status = parameter_int(arena, request, "limit", &limit);
    if (status)
        return status;
    if (http_request_parameter(request, "sendInitialEvents"))
        field_forbidden(&errors, PATH(NULL, "sendInitialEvents"), "sendInitialEvents is forbidden for list");
    out->limit = limit.value > 0 ? limit.value : 0;
    out->continue_ = arena_string(out->arena, http_request_parameter(request, "continue"));
    out->resource_version = arena_string(out->arena, http_request_parameter(request, "resourceVersion"));
    out->resource_version_match = arena_string(out->arena, http_request_parameter(request, "resourceVersionMatch"));
    status = invalid_options("ListOptions", &errors);
    return status ? status : options_selectors(out->arena, request, route, &out->label_selector, &out->field_selector);
}

static void check_watch_match(struct api_field_errors *errors, const struct http_request *request, bool initial_given)
{
    static const char *const matches[] = {"NotOlderThan", NULL};
    const struct api_path *path = PATH(NULL, "resourceVersionMatch");
    const char *match = http_request_parameter(request, "resourceVersionMatch");
    const char *go_on = http_request_parameter(request, "continue");
    bool not_older = match && strcmp(match, "NotOlderThan") == 0;
    if (initial_given && !not_older)
        field_forbidden(errors, path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    if (!match || !*match)
        return;
    if (!initial_given)
        field_forbidden(errors, path,
                        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    if (!not_older)
        field_not_supported(errors, path, match, matches);
    if (go_on && *go_on)
        field_forbidden(errors, path, "resourceVersionMatch is forbidden when continue is provided");
}

static bool parse_revision(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return !*end && errno != ERANGE && *text >= '0' && *text <= '9';
}

struct status *options_for_watch(struct arena *arena, const struct http_request *request, const struct route *route,
                                 struct client_watch_options *out, struct opt_int64 *timeout)
{
    const char *version = http_request_parameter(request, "resourceVersion");
    bool initial_given = http_request_parameter(request, "sendInitialEvents") != NULL;
    struct api_field_errors errors = {.arena = arena};
    struct status *status = parameter_int(arena, request, "timeoutSeconds", timeout);
    if (status)
        return status;
    out->resource = route->resource;
    out->namespace = route->namespace;
    out->bookmarks = parameter_flag(request, "allowWatchBookmarks");
    if (version && *version && !parse_revision(version, &out->from))
        field_invalid(&errors, PATH(NULL, "resourceVersion"), version, "must be an unsigned integer");
    check_watch_match(&errors, request, initial_given);
    status = invalid_options("ListOptions", &errors);
    if (status)
        return status;
    /* Without a revision, what there is comes first. */
    out->send_initial_events = initial_given ? parameter_flag(request, "sendInitialEvents") : out->from == 0;
    return options_selectors(arena, request, route, &out->label_selector, &out->field_selector);
}

struct status *options_for_table(struct arena *arena, const struct http_request *request,
                                 const struct negotiated *negotiated, struct table_options *out)
{
    const char *include = http_request_parameter(request, "includeObject");
    *out = (struct table_options){.api_version = negotiated->api_version};
    if (negotiated->form != ANSWER_TABLE || table_include_parse(include ? include : "", &out->include) == 0)
        return NULL;
    struct api_field_errors errors = {.arena = arena};
    field_invalid(&errors, PATH(NULL, "includeObject"), include, "must be 'Metadata', 'Object', 'None', or empty");
    return invalid_options("TableOptions", &errors);
}
