/* Answers: bodies that are JSON or the same as YAML, Status objects, warnings. With ?pretty, and for browsers and
 * command-line tools, the JSON is indented, as upstream does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/yaml.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "server/private.h"

/* Warnings of one answer: upstream shows 4,096 characters of them, and when there are more, 256 of each. Python's HTTP
 * client gives up at 100 header lines. */
#define WARNING_LENGTH_ALL 4096
#define WARNING_LENGTH_CUT 256
#define WARNINGS_MAX 64

/* A longer body stays as it is: a reader of that much is no person. */
#define PRETTY_MAX (4 * 1024 * 1024)

static bool wants_pretty(const struct http_request *request)
{
    static const char *const people[] = {"curl/", "Wget/", "Mozilla/5.0"};
    const char *agent = http_request_header(request, "user-agent");
    if (http_request_parameter(request, "pretty"))
        return parameter_flag(request, "pretty");
    for (size_t i = 0; agent && i < ARRAY_COUNT(people); i++)
        if (strncmp(agent, people[i], strlen(people[i])) == 0)
            return true;
    return false;
}

static void new_line(struct buffer *out, int depth)
{
    buffer_add_char(out, '\n');
    for (int i = 0; i < depth; i++)
        buffer_add(out, "  ", 2);
}

/* Copies a string with its quotes; returns where it ends. */
static size_t copy_string(struct buffer *out, const char *json, size_t size, size_t at)
{
    size_t end = at + 1;
    while (end < size && json[end] != '"')
        end += 1 + (json[end] == '\\');
    end = end < size ? end + 1 : size;
    buffer_add(out, json + at, end - at);
    return end;
}

/* Writes JSON that has no blanks with two spaces for each level, as Go's json.Indent does. */
static void indent(struct buffer *out, const char *json, size_t size)
{
    int depth = 0;
    for (size_t i = 0; i < size;) {
        char c = json[i];
        bool opens = c == '{' || c == '[', closes = c == '}' || c == ']';
        if (c == '"') {
            i = copy_string(out, json, size, i);
            continue;
        }
        i++;
        if (opens && i < size && (json[i] == '}' || json[i] == ']')) {
            buffer_add(out, json + i++ - 1, 2);
            continue;
        }
        if (closes)
            new_line(out, --depth);
        buffer_add_char(out, c);
        if (opens)
            new_line(out, ++depth);
        else if (c == ',')
            new_line(out, depth);
        else if (c == ':')
            buffer_add_char(out, ' ');
    }
}

/* Takes the runs over. */
static void join(const struct http_bytes *runs, size_t count, struct buffer *out)
{
    for (size_t i = 0; i < count; i++) {
        buffer_add(out, runs[i].data, runs[i].size);
        if (runs[i].release)
            runs[i].release(runs[i].owner);
    }
}

static void respond(struct http_request *request, int code, const char *type, struct buffer *body)
{
    size_t size;
    char *data = buffer_steal(body, &size);
    struct http_bytes run = http_bytes_owned(data, size);
    http_response_header(request, "Content-Type", type);
    http_respond(request, code, &run, 1);
}

/* Upstream, too, says in JSON that it could not write YAML. */
static void respond_yaml(struct http_request *request, int code, const struct buffer *json)
{
    struct buffer out = {0};
    struct error err;
    if (json_to_yaml(json->data, json->size, &out, &err) == 0) {
        respond(request, code, CONTENT_YAML, &out);
        return;
    }
    cleanup_arena struct arena *arena = arena_new(0);
    const struct status *status = api_status_internal_error(arena, err.text);
    buffer_clear(&out);
    api_status_write(status, &out);
    respond(request, status->code, CONTENT_JSON, &out);
}

void answer_runs(struct http_request *request, int code, enum answer_encoding encoding, const struct http_bytes *runs,
                 size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += runs[i].size;
    bool pretty = encoding == ENCODE_JSON && total <= PRETTY_MAX && wants_pretty(request);
    if (!total || (encoding == ENCODE_JSON && !pretty)) {
        http_response_header(request, "Content-Type", CONTENT_JSON);
        http_respond(request, code, runs, count);
        return;
    }
    cleanup_buffer struct buffer json = {0};
    join(runs, count, &json);
    if (encoding == ENCODE_YAML) {
        respond_yaml(request, code, &json);
        return;
    }
    struct buffer out = {0};
    indent(&out, json.data, json.size);
    respond(request, code, CONTENT_JSON, &out);
}

void answer_json(struct http_request *request, int code, enum answer_encoding encoding, struct buffer *json)
{
    size_t size;
    char *data = buffer_steal(json, &size);
    struct http_bytes run = http_bytes_owned(data, size);
    answer_runs(request, code, encoding, &run, 1);
}

void answer_retry_after(struct http_request *request, int seconds)
{
    char text[16];
    if (seconds <= 0)
        return;
    snprintf(text, sizeof(text), "%d", seconds);
    http_response_header(request, "Retry-After", text);
}

void answer_status(struct http_request *request, const struct status *status)
{
    struct buffer json = {0};
    api_status_write(status, &json);
    buffer_add_char(&json, '\n');
    answer_retry_after(request, status->details ? status->details->retry_after_seconds : 0);
    answer_json(request, status->code, negotiate_plain(request), &json);
}

/* The bytes of the first `most` characters. */
static size_t cut_at(const char *text, size_t most)
{
    size_t n = 0;
    for (size_t i = 0; text[i]; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80 && n++ == most)
            return i;
    return strlen(text);
}

static size_t length_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void add_warning(struct http_request *request, const char *text, size_t size)
{
    cleanup_buffer struct buffer out = {0};
    buffer_add_string(&out, "299 - \"");
    for (const char *c = text; c < text + size; c++) {
        if (*c == '"' || *c == '\\')
            buffer_add_char(&out, '\\');
        buffer_add_char(&out, *c);
    }
    buffer_add_char(&out, '"');
    http_response_header(request, "Warning", out.data);
}

void answer_warnings(struct http_request *request, const char *const *texts, size_t count)
{
    struct map known = {0};
    size_t distinct = 0, total = 0, shown = 0, written = 0;
    cleanup_free const char **items = mem_alloc((count + 1) * sizeof(*items));
    for (size_t i = 0; i < count; i++) {
        if (map_set(&known, texts[i], (void *)(uintptr_t)texts[i]))
            continue;
        items[distinct++] = texts[i];
        total += length_of(texts[i]);
    }
    map_free(&known);
    size_t each = total > WARNING_LENGTH_ALL ? WARNING_LENGTH_CUT : WARNING_LENGTH_ALL;
    for (; shown < distinct && shown < WARNINGS_MAX && written < WARNING_LENGTH_ALL; shown++) {
        size_t length = length_of(items[shown]);
        add_warning(request, items[shown], cut_at(items[shown], each));
        written += length < each ? length : each;
    }
    if (shown < distinct) {
        cleanup_free char *rest = mem_printf("%zu more warnings are not shown", distinct - shown);
        add_warning(request, rest, strlen(rest));
    }
}

void answer_deprecation(struct http_request *request, const struct api_resource *resource)
{
    static const struct {
        enum api_resource_index resource;
        const char *text;
    } deprecated[] = {
        {API_ENDPOINTS, "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(deprecated); i++)
        if (resource && resource->index == deprecated[i].resource)
            add_warning(request, deprecated[i].text, strlen(deprecated[i].text));
}
