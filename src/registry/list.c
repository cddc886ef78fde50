/* Get and list: resourceVersion and resourceVersionMatch as upstream defines them, selectors, and pages.
 *
 * A continue token is base64url of {"v":"meta.k8s.io/v1","rv":R,"start":"KEY\0"}: the list goes on behind KEY as
 * it was at revision R. The store rebuilds that state from its history; when history does not reach back, the
 * answer is 410 with a token that goes on with what is there now ("rv":-1). */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "registry/private.h"

#define TOKEN_VERSION "meta.k8s.io/v1"
/* A longer token cannot be ours: keys are at most 317 bytes. */
#define TOKEN_MAX 2048

bool registry_matches(const struct selector *labels, const struct field_selector *fields,
                      const struct api_resource *resource, const struct object *object)
{
    return (!labels || selector_matches(labels, &object->meta->labels)) &&
           (!fields || field_selector_matches(fields, resource, object->value));
}

static bool parse_revision(const char *text, uint64_t *revision)
{
    *revision = 0;
    for (const char *c = text; c && *c; c++) {
        if (*c < '0' || *c > '9' || *revision > UINT64_MAX / 10 - 1)
            return false;
        *revision = *revision * 10 + (uint64_t)(*c - '0');
    }
    return true;
}

struct status *registry_check_revision(struct task *task, const char *text, uint64_t *revision)
{
    static const struct api_resource kind = {.group = "meta.k8s.io", .kind = "ListOptions", .plural = ""};
    if (!parse_revision(text, revision)) {
        struct api_field_errors errors = {.arena = task->arena};
        field_invalid(&errors, PATH(NULL, "resourceVersion"), text, "must be an unsigned integer");
        return api_status_invalid(task->arena, &kind, "", &errors);
    }
    uint64_t current = store_revision(task->registry->store);
    return *revision > current ? api_status_too_large_resource_version(task->arena, *revision, current) : NULL;
}

void registry_get(struct task *task)
{
    const struct client_request *request = task->request;
    uint64_t revision;
    struct status *refused = registry_check_revision(task, request->resource_version, &revision);
    struct object *object = store_get(task->registry->store, task->stored, request->namespace, request->name);
    if (!refused && !object)
        refused = api_status_not_found(task->arena, task->resource, request->name);
    if (refused)
        registry_answer_status(task, refused);
    else
        registry_answer_object(task, 200, object);
}

/* Continue tokens. */

struct continue_token {
    int64_t revision; /* -1: whatever is there now */
    const char *key;  /* "NAMESPACE/NAME" or "NAME" of the last object given, below the list's own prefix */
};

static char *continue_write(struct arena *arena, int64_t revision, const char *key)
{
    cleanup_buffer struct buffer json = {0};
    buffer_printf(&json, "{\"v\":\"" TOKEN_VERSION "\",\"rv\":%lld,\"start\":\"%s\\u0000\"}", (long long)revision, key);
    char *text = arena_alloc(arena, BASE64URL_SIZE(json.size) + 1);
    base64url_encode(json.data, json.size, text);
    return text;
}

/* NULL, or what is wrong with it. */
static const char *continue_read(struct arena *arena, const char *text, struct continue_token *token)
{
    static const char *const prefix = "continue key is not valid: ";
    size_t n = strlen(text);
    if (n > TOKEN_MAX)
        return arena_printf(arena, "%stoo long", prefix);
    unsigned char *json = arena_alloc(arena, n + 1);
    ssize_t size = base64url_decode(text, n, json);
    if (size < 0)
        return arena_printf(arena, "%sillegal base64 data", prefix);
    json_error_t problem;
    json_t *root = json_loadb((const char *)json, (size_t)size, JSON_ALLOW_NUL, &problem);
    if (!root)
        return arena_printf(arena, "%s%s", prefix, problem.text);
    const char *version = json_string_value(json_object_get(root, "v"));
    const char *start = json_string_value(json_object_get(root, "start"));
    const char *wrong = NULL;
    token->revision = json_integer_value(json_object_get(root, "rv"));
    token->key = arena_string(arena, start ? start : ""); /* up to the NUL that upstream appends */
    if (!version || strcmp(version, TOKEN_VERSION) != 0)
        wrong = "server does not recognize this encoded version";
    else if (token->revision == 0 || token->revision < -1)
        wrong = "incorrect encoded start resourceVersion (version " TOKEN_VERSION ")";
    else if (!*token->key)
        wrong = "encoded start key empty (version " TOKEN_VERSION ")";
    else if (strstr(token->key, ".."))
        wrong = token->key;
    json_decref(root);
    return wrong ? arena_printf(arena, "%s%s", prefix, wrong) : NULL;
}

/* The list. */

struct listing {
    struct task *task;
    VECTOR(struct object *) items; /* held */
    size_t limit;                  /* 0: none */
    bool more;
    int64_t remaining; /* counted only without selectors */
    bool counting;
};

static bool list_visit(void *context, struct object *object)
{
    struct listing *listing = context;
    struct task *task = listing->task;
    if (listing->limit && listing->items.count == listing->limit) {
        if (!listing->counting) {
            if (task->resource == task->stored &&
                !registry_matches(task->request->label_selector, task->request->field_selector, task->stored, object))
                return true;
            listing->more = true;
            return false;
        }
        listing->more = true;
        listing->remaining++;
        return true;
    }
    cleanup_object struct object *view = registry_view(task->resource, object);
    if (registry_matches(task->request->label_selector, task->request->field_selector, task->resource, view))
        vector_push(&listing->items, steal_pointer(view));
    return true;
}

static struct status *check_options(struct task *task)
{
    static const struct api_resource kind = {.group = "meta.k8s.io", .kind = "ListOptions", .plural = ""};
    static const char *const matches[] = {"Exact", "NotOlderThan", NULL};
    const struct client_request *request = task->request;
    const char *match = request->resource_version_match;
    if (text_empty(match))
        return NULL;
    struct api_field_errors errors = {.arena = task->arena};
    const struct api_path *path = PATH(NULL, "resourceVersionMatch");
    if (text_empty(request->resource_version))
        field_forbidden(&errors, path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
    if (!text_empty(request->continue_))
        field_forbidden(&errors, path, "resourceVersionMatch is forbidden when continue is provided");
    if (strcmp(match, "Exact") != 0 && strcmp(match, "NotOlderThan") != 0)
        field_not_supported(&errors, path, match, matches);
    if (strcmp(match, "Exact") == 0 && text_equal(request->resource_version, "0"))
        field_forbidden(&errors, path, "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"");
    return errors.count ? api_status_invalid(task->arena, &kind, "", &errors) : NULL;
}

/* Where and when the list begins. */
struct start {
    const char *after_namespace, *after_name; /* NULL: from the beginning */
    uint64_t revision;                        /* 0: as it is now */
    const char *token_key;
};

static struct status *read_continue(struct task *task, struct start *start)
{
    const struct client_request *request = task->request;
    if (!text_empty(request->resource_version) && !text_equal(request->resource_version, "0"))
        return api_status_bad_request(task->arena,
                                      "specifying resource version is not allowed when using continue");
    struct continue_token token = {.key = ""};
    const char *wrong = continue_read(task->arena, request->continue_, &token);
    if (wrong)
        return api_status_bad_request(task->arena, "invalid continue token: %s", wrong);
    start->token_key = token.key;
    start->revision = token.revision > 0 ? (uint64_t)token.revision : 0;
    start->after_name = token.key;
    start->after_namespace = request->namespace;
    const char *slash = strchr(token.key, '/');
    if (task->stored->namespaced && text_empty(request->namespace)) {
        if (!slash)
            return api_status_bad_request(task->arena, "invalid continue token: continue key is not valid: %s",
                                          token.key);
        start->after_namespace = arena_string_n(task->arena, token.key, (size_t)(slash - token.key));
        start->after_name = arena_string(task->arena, slash + 1);
    }
    return NULL;
}

static struct status *read_start(struct task *task, struct start *start)
{
    const struct client_request *request = task->request;
    struct status *refused = check_options(task);
    if (refused)
        return refused;
    if (!text_empty(request->continue_))
        return read_continue(task, start);
    uint64_t revision;
    refused = registry_check_revision(task, request->resource_version, &revision);
    if (!refused && text_equal(request->resource_version_match, "Exact"))
        start->revision = revision;
    return refused;
}

static struct status *expired(struct task *task, const struct start *start)
{
    if (!start->token_key)
        return api_status_expired(task->arena, "The resourceVersion for the provided list is too old.");
    return api_status_expired(
        task->arena, "The provided continue parameter is too old to display a consistent list result. You can start "
                     "a new list without the continue parameter, or use the continue token in this response to "
                     "retrieve the remainder of the results. Continuing with the provided token results in an "
                     "inconsistent list - objects that were created, modified, or deleted between the time the "
                     "first chunk was returned and now may show up in the list.");
}

static void answer_list(struct task *task, struct listing *listing, uint64_t revision)
{
    struct client_result result = {
        .code = 200,
        .items = listing->items.items,
        .count = listing->items.count,
        .revision = revision,
        .remaining = -1,
    };
    if (listing->more) {
        const struct object_meta *last = listing->items.items[listing->items.count - 1]->meta;
        bool all = task->stored->namespaced && text_empty(task->request->namespace);
        result.continue_ =
            continue_write(task->arena, (int64_t)revision,
                        all ? arena_printf(task->arena, "%s/%s", last->namespace, last->name) : last->name);
        if (listing->counting)
            result.remaining = listing->remaining;
    }
    registry_answer(task, &result);
}

void registry_list(struct task *task)
{
    const struct client_request *request = task->request;
    struct start start = {0};
    struct status *refused = read_start(task, &start);
    if (refused) {
        registry_answer_status(task, refused);
        return;
    }
    /* Upstream serves resourceVersion 0 from its cache, without pages. */
    bool cached = text_equal(request->resource_version, "0") && text_empty(request->continue_);
    bool any = (!request->label_selector || selector_is_empty(request->label_selector)) && !request->field_selector;
    struct listing listing = {
        .task = task,
        .limit = cached || request->limit < 0 ? 0 : (size_t)request->limit,
        .counting = any,
    };
    const char *namespace = text_empty(request->namespace) ? NULL : request->namespace;
    uint64_t revision = start.revision ? start.revision : store_revision(task->registry->store);
    if (store_list_at(task->registry->store, task->stored, namespace, start.after_namespace, start.after_name,
                      revision, list_visit, &listing, NULL) < 0) {
        struct status *status = expired(task, &start);
        if (start.token_key) {
            struct list_meta *meta = &status->metadata;
            meta->continue_ = continue_write(task->arena, -1, start.token_key);
        }
        registry_answer_status(task, status);
    } else {
        answer_list(task, &listing, revision);
    }
    for (size_t i = 0; i < listing.items.count; i++)
        object_unref(listing.items.items[i]);
    vector_free(&listing.items);
}
