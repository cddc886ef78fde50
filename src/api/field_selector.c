/* Field selectors: grammar, the fields that each resource supports, and how they are read. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/field_error.h"
#include "api/selector.h"
#include "api/types.h"
#include "api/walk.h"
#include "base/buffer.h"
#include "base/vector.h"

struct field_term {
    const char *field;
    const char *value;
    bool differs; /* != */
};

struct field_selector {
    struct field_term *items;
    size_t count;
};

/* A field that a resource can be selected by. */
struct field_label {
    uint16_t resource; /* enum api_resource_index */
    const char *label;
    const char *path;     /* in the value; NULL: accepted, but upstream reads it as empty */
    const char *fallback; /* where path is empty */
};

/* Resources that are not in this table have metadata.name and metadata.namespace. */
static const struct field_label field_labels[] = {
    {API_PODS, "metadata.name", "metadata.name", NULL},
    {API_PODS, "metadata.namespace", "metadata.namespace", NULL},
    {API_PODS, "spec.nodeName", "spec.nodeName", NULL},
    {API_PODS, "spec.host", "spec.nodeName", NULL},
    {API_PODS, "spec.restartPolicy", "spec.restartPolicy", NULL},
    {API_PODS, "spec.schedulerName", "spec.schedulerName", NULL},
    {API_PODS, "spec.serviceAccountName", "spec.serviceAccountName", NULL},
    {API_PODS, "spec.hostNetwork", "spec.hostNetwork", NULL},
    {API_PODS, "status.phase", "status.phase", NULL},
    {API_PODS, "status.podIP", "status.podIP", NULL},
    {API_PODS, "status.podIPs", NULL, NULL},
    {API_PODS, "status.nominatedNodeName", "status.nominatedNodeName", NULL},
    {API_NODES, "metadata.name", "metadata.name", NULL},
    {API_NODES, "spec.unschedulable", "spec.unschedulable", NULL},
    {API_NAMESPACES, "metadata.name", "metadata.name", NULL},
    {API_NAMESPACES, "status.phase", "status.phase", NULL},
    {API_SECRETS, "metadata.name", "metadata.name", NULL},
    {API_SECRETS, "metadata.namespace", "metadata.namespace", NULL},
    {API_SECRETS, "type", "type", NULL},
    {API_SERVICES, "metadata.name", "metadata.name", NULL},
    {API_SERVICES, "metadata.namespace", "metadata.namespace", NULL},
    {API_SERVICES, "spec.clusterIP", "spec.clusterIP", NULL},
    {API_SERVICES, "spec.type", "spec.type", NULL},
    {API_REPLICASETS, "metadata.name", "metadata.name", NULL},
    {API_REPLICASETS, "metadata.namespace", "metadata.namespace", NULL},
    {API_REPLICASETS, "status.replicas", "status.replicas", NULL},
    {API_JOBS, "metadata.name", "metadata.name", NULL},
    {API_JOBS, "metadata.namespace", "metadata.namespace", NULL},
    {API_JOBS, "status.successful", "status.succeeded", NULL},
    {API_EVENTS, "metadata.name", "metadata.name", NULL},
    {API_EVENTS, "metadata.namespace", "metadata.namespace", NULL},
    {API_EVENTS, "involvedObject.kind", "involvedObject.kind", NULL},
    {API_EVENTS, "involvedObject.namespace", "involvedObject.namespace", NULL},
    {API_EVENTS, "involvedObject.name", "involvedObject.name", NULL},
    {API_EVENTS, "involvedObject.uid", "involvedObject.uid", NULL},
    {API_EVENTS, "involvedObject.apiVersion", "involvedObject.apiVersion", NULL},
    {API_EVENTS, "involvedObject.resourceVersion", "involvedObject.resourceVersion", NULL},
    {API_EVENTS, "involvedObject.fieldPath", "involvedObject.fieldPath", NULL},
    {API_EVENTS, "reason", "reason", NULL},
    {API_EVENTS, "reportingComponent", "reportingComponent", NULL},
    {API_EVENTS, "source", "source.component", "reportingComponent"},
    {API_EVENTS, "type", "type", NULL},
    {API_EVENTS_EVENTS, "metadata.name", "metadata.name", NULL},
    {API_EVENTS_EVENTS, "metadata.namespace", "metadata.namespace", NULL},
    {API_EVENTS_EVENTS, "regarding.kind", "regarding.kind", NULL},
    {API_EVENTS_EVENTS, "regarding.namespace", "regarding.namespace", NULL},
    {API_EVENTS_EVENTS, "regarding.name", "regarding.name", NULL},
    {API_EVENTS_EVENTS, "regarding.uid", "regarding.uid", NULL},
    {API_EVENTS_EVENTS, "regarding.apiVersion", "regarding.apiVersion", NULL},
    {API_EVENTS_EVENTS, "regarding.resourceVersion", "regarding.resourceVersion", NULL},
    {API_EVENTS_EVENTS, "regarding.fieldPath", "regarding.fieldPath", NULL},
    {API_EVENTS_EVENTS, "reason", "reason", NULL},
    {API_EVENTS_EVENTS, "reportingController", "reportingController", NULL},
    {API_EVENTS_EVENTS, "type", "type", NULL},
};

static const struct field_label default_labels[] = {
    {0, "metadata.name", "metadata.name", NULL},
    {0, "metadata.namespace", "metadata.namespace", NULL},
};

/* How Go prints a rune with %v: its number. */
static int unescaped(struct error *err, char c)
{
    return error_set(err, EINVAL, "invalid field selector: unescaped character in value: %d", c);
}

/* Takes the backslashes out of [p, end). */
static int unescape(struct arena *arena, const char *p, const char *end, const char **out, struct error *err)
{
    char *to = arena_alloc(arena, (size_t)(end - p) + 1);
    *out = to;
    for (; p < end; p++) {
        if (*p == ',' || *p == '=')
            return unescaped(err, *p);
        if (*p == '\\') {
            p++;
            if (p == end || (*p != '\\' && *p != ',' && *p != '='))
                return error_set(err, EINVAL, "invalid field selector: invalid escape sequence: \\%.*s",
                                 p == end ? 0 : 1, p);
        }
        *to++ = *p;
    }
    return 0;
}

/* The end of the term at p: the next comma without a backslash in front, or the end. */
static const char *term_end(const char *p)
{
    for (; *p && *p != ','; p++)
        if (*p == '\\' && p[1])
            p++;
    return p;
}

static int parse_term(struct arena *arena, const char *whole, const char *p, const char *end, struct field_term *term,
                      struct error *err)
{
    const char *at = p;
    while (at < end && *at != '=' && !(*at == '!' && at + 1 < end && at[1] == '='))
        at++;
    if (at == end)
        return error_set(err, EINVAL, "invalid selector: '%s'; can't understand '%.*s'", whole, (int)(end - p), p);
    term->field = arena_string_n(arena, p, (size_t)(at - p));
    term->differs = *at == '!';
    at += term->differs || (at + 1 < end && at[1] == '=') ? 2 : 1;
    return unescape(arena, at, end, &term->value, err);
}

static int by_field(const void *a, const void *b)
{
    const struct field_term *x = a, *y = b;
    int order = strcmp(x->field, y->field);
    return order ? order : strcmp(x->value, y->value);
}

int field_selector_parse(struct arena *arena, const char *text, const struct field_selector **out, struct error *err)
{
    VECTOR(struct field_term) items = {0};
    int result = 0;
    for (const char *p = text; result == 0 && *p;) {
        const char *end = term_end(p);
        struct field_term term = {0};
        if (items.count == SELECTOR_REQUIREMENT_MAX)
            result = error_set(err, EINVAL, "more than %d requirements", SELECTOR_REQUIREMENT_MAX);
        else if (end > p && (result = parse_term(arena, text, p, end, &term, err)) == 0)
            vector_push(&items, term);
        p = *end ? end + 1 : end;
    }
    if (result == 0) {
        struct field_selector *s = arena_alloc(arena, sizeof(*s));
        s->count = items.count;
        s->items = arena_copy(arena, items.items, items.count * sizeof(*items.items));
        qsort(s->items, s->count, sizeof(*s->items), by_field);
        *out = s;
    }
    vector_free(&items);
    return result;
}

/* The entry of a label. *own tells whether the resource has labels of its own. */
static const struct field_label *find_label(const struct api_resource *resource, const char *label, bool *own)
{
    *own = false;
    for (size_t i = 0; i < ARRAY_COUNT(field_labels); i++) {
        if (field_labels[i].resource != resource->index)
            continue;
        *own = true;
        if (strcmp(field_labels[i].label, label) == 0)
            return &field_labels[i];
    }
    for (size_t i = 0; !*own && i < ARRAY_COUNT(default_labels); i++)
        if (strcmp(default_labels[i].label, label) == 0)
            return &default_labels[i];
    return NULL;
}

int field_selector_check(const struct field_selector *selector, const struct api_resource *resource, struct error *err)
{
    for (size_t i = 0; i < selector->count; i++) {
        const char *label = selector->items[i].field;
        bool own;
        if (find_label(resource, label, &own))
            continue;
        cleanup_buffer struct buffer quoted = {0};
        go_quote(&quoted, label);
        if (resource->index == API_JOBS)
            return error_set(err, EINVAL, "field label %s not supported for batchv1.Job", quoted.data);
        if (own)
            return error_set(err, EINVAL, "field label not supported: %s", label);
        return error_set(err, EINVAL,
                         "%s is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                         quoted.data);
    }
    return 0;
}

/* The text of a scalar; "" for what is unset or none. */
static const char *scalar_text(const struct api_field *f, const char *slot, char out[24])
{
    if (f->shape != API_VALUE && f->shape != API_OPTIONAL)
        return "";
    bool optional = f->shape == API_OPTIONAL;
    switch ((enum api_kind)f->kind) {
    case API_STRING:
        return *(const char *const *)slot ? *(const char *const *)slot : "";
    case API_BOOL:
        return (optional ? ((const struct opt_bool *)slot)->value : *(const bool *)slot) ? "true" : "false";
    case API_INT32:
        snprintf(out, 24, "%d", optional ? ((const struct opt_int32 *)slot)->value : *(const int32_t *)slot);
        return out;
    case API_INT64:
        snprintf(out, 24, "%lld",
                 (long long)(optional ? ((const struct opt_int64 *)slot)->value : *(const int64_t *)slot));
        return out;
    default:
        return "";
    }
}

/* The text of the field at a path of the value. */
static const char *read_path(const struct api_type *type, const char *value, const char *path, char out[24])
{
    for (;;) {
        size_t n = strcspn(path, ".");
        const struct api_field *f = api_type_field(type, path, n);
        if (!f)
            return "";
        value += f->offset;
        if (!path[n])
            return scalar_text(f, value, out);
        if (f->kind != API_STRUCT || (f->shape != API_VALUE && f->shape != API_OPTIONAL))
            return "";
        if (f->shape == API_OPTIONAL && !(value = *(const char *const *)value))
            return "";
        type = f->type;
        path += n + 1;
    }
}

bool field_selector_matches(const struct field_selector *selector, const struct api_resource *resource,
                            const void *value)
{
    for (size_t i = 0; i < selector->count; i++) {
        const struct field_term *term = &selector->items[i];
        char scratch[24];
        const char *text = "";
        bool own;
        const struct field_label *label = find_label(resource, term->field, &own);
        if (label && label->path)
            text = read_path(resource->type, value, label->path, scratch);
        if (!*text && label && label->fallback)
            text = read_path(resource->type, value, label->fallback, scratch);
        if ((strcmp(text, term->value) == 0) == term->differs)
            return false;
    }
    return true;
}

const char *field_selector_required(const struct field_selector *selector, const char *field)
{
    for (size_t i = 0; i < selector->count; i++)
        if (!selector->items[i].differs && strcmp(selector->items[i].field, field) == 0)
            return selector->items[i].value;
    return NULL;
}
