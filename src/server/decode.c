/* Bodies: from JSON, YAML or protobuf to typed values, with upstream's complaints. */
#include <errno.h>
#include <string.h>

#include "api/json.h"
#include "api/protobuf.h"
#include "api/yaml.h"
#include "base/cleanup.h"
#include "base/encode.h"
#include "server/private.h"

#define BODIES "application/json, application/yaml, " PROTOBUF_CONTENT_TYPE
/* Bytes of a body that a complaint shows. */
#define SUMMARY_MAX 30

void content_type(const struct http_request *request, char *out, size_t size)
{
    const char *header = http_request_header(request, "content-type");
    size_t n = header ? strcspn(header, "; \t") : 0;
    if (n >= size)
        n = size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = header[i] >= 'A' && header[i] <= 'Z' ? (char)(header[i] - 'A' + 'a') : header[i];
    out[n] = 0;
}

/* JSON of the body: itself, or converted from YAML into `converted`. NULL: `status` says why. */
static const char *body_json(struct arena *arena, const struct http_request *http, struct buffer *converted,
                             size_t *size, struct body_report *report, struct status **status)
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
    cleanup_buffer struct buffer duplicates = {0};
    if (yaml_to_json(http->body, http->body_size, converted, &duplicates, &err) < 0) {
        *status = api_status_bad_request(arena, "error converting YAML to JSON: %s", err.text);
        return NULL;
    }
    report->yaml = duplicates.size ? arena_string(arena, duplicates.data) : NULL;
    *size = converted->size;
    return converted->data;
}

/* The beginning of a body that is no object, to recognize it by. */
static const char *summary(struct arena *arena, const struct http_request *http)
{
    size_t size = http->body_size < SUMMARY_MAX ? http->body_size : SUMMARY_MAX;
    const char *more = size < http->body_size ? " ..." : "";
    if (!size)
        return "<empty>";
    if (*http->body == '{')
        return arena_printf(arena, "%.*s%s", (int)size, http->body, more);
    char hex[2 * SUMMARY_MAX + 1];
    hex_encode(http->body, size, hex);
    return arena_printf(arena, "%s%s", hex, more);
}

static const char *text_field(const struct api_type *type, const void *value, const char *name)
{
    const struct api_field *field = api_type_field(type, name, strlen(name));
    const char *text = *(const char *const *)((const char *)value + field->offset);
    return text && *text ? text : NULL;
}

static const char *complaint_about(struct arena *arena, const char *api_version, const char *kind, const char *wanted)
{
    const char *slash = strrchr(api_version, '/');
    return arena_printf(arena, "%s in version \"%s\" cannot be handled as a %s", kind, slash ? slash + 1 : api_version,
                        wanted);
}

static struct status *check_type(struct arena *arena, const struct body_type *expected, const void *value)
{
    const char *kind = text_field(expected->type, value, "kind");
    const char *version = text_field(expected->type, value, "apiVersion");
    if (kind && strcmp(kind, expected->kind) != 0) {
        const char *given = version ? version : expected->api_version;
        return api_status_bad_request(arena, "%s: %s", complaint_about(arena, given, kind, expected->kind),
                                      api_why_not_converted(arena, given, kind, expected->api_version, expected->kind));
    }
    if (version && !expected->any_version && strcmp(version, expected->api_version) != 0 &&
        !(expected->older && strcmp(version, expected->older) == 0))
        return api_status_bad_request(arena,
                                      "the API version in the data (%s) does not match the expected API version (%s)",
                                      version, expected->api_version);
    return NULL;
}

const char *decode_complaint(struct arena *arena, const struct body_type *expected)
{
    return complaint_about(arena, expected->api_version, expected->kind, expected->kind);
}

struct status *decode_body(struct arena *arena, const struct http_request *http, const struct body_type *expected,
                           struct arena *values, void **value, struct body_report *report)
{
    struct status *status = NULL;
    struct error err;
    size_t size;
    char type[64];
    cleanup_buffer struct buffer converted = {0};
    content_type(http, type, sizeof(type));
    bool protobuf = strcmp(type, PROTOBUF_CONTENT_TYPE) == 0;
    const char *json = protobuf ? NULL : body_json(arena, http, &converted, &size, report, &status);
    if (status)
        return status;
    *value = arena_alloc(values, expected->type->size);
    int r = protobuf ? protobuf_decode_object(expected->type, values, http->body, http->body_size, *value, &err)
                     : json_decode(expected->type, values, json, size, *value, &report->fields, &err);
    if (r == 0)
        return check_type(arena, expected, *value);
    if (err.code != EBADMSG)
        return api_status_bad_request(arena, "%s: %s", decode_complaint(arena, expected), err.text);
    return api_status_bad_request(
        arena, "the object provided is unrecognized (must be of type %s): %s%s (%s)", expected->kind,
        protobuf ? "" : "couldn't get version/kind; json parse error: ", err.text, summary(arena, http));
}
