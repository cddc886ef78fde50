/* Discovery and OpenAPI: made on first use, then lent to every answer. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/discovery.h"
#include "api/openapi.h"
#include "api/yaml.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "server/private.h"

#define GIT_VERSION "v1.35.0+coracle"
#define AGGREGATED_V2 "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
#define AGGREGATED_V2BETA1 "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"

struct document {
    char *data;
    size_t size;
    char etag[24];
};

struct documents {
    pthread_mutex_t lock; /* of the map; documents never go */
    struct map made;      /* kind and path -> struct document */
};

struct documents *documents_new(void)
{
    struct documents *d = mem_zero(1, sizeof(*d));
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

void documents_free(struct documents *d)
{
    for (struct map_slot *s = NULL; (s = map_next(&d->made, s));) {
        free(((struct document *)s->value)->data);
        free(s->value);
    }
    map_free(&d->made);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* Which aggregated form the client prefers over the classic one; NULL: the classic one. */
static const char *aggregated_version(const struct http_request *request)
{
    const char *accept = http_request_header(request, "accept");
    const char *at = accept ? strstr(accept, "apidiscovery.k8s.io") : NULL;
    if (!at)
        return NULL;
    const char *v2 = strstr(accept, "v=v2;"), *beta = strstr(accept, "v=v2beta1");
    return v2 ? "v2" : beta ? "v2beta1" : strstr(accept, "v=v2") ? "v2" : NULL;
}

static bool wants_protobuf(const struct http_request *request)
{
    const char *accept = http_request_header(request, "accept");
    return accept && (strstr(accept, OPENAPI_V2_ACCEPT) || strstr(accept, OPENAPI_V2_ACCEPT_OLD));
}

static void write_version(struct buffer *out)
{
    buffer_add_string(out, "{\n  \"major\": \"1\",\n  \"minor\": \"35\",\n  \"emulationMajor\": \"1\",\n"
                           "  \"emulationMinor\": \"35\",\n  \"minCompatibilityMajor\": \"1\",\n"
                           "  \"minCompatibilityMinor\": \"34\",\n  \"gitVersion\": \"" GIT_VERSION "\",\n"
                           "  \"gitCommit\": \"\",\n  \"gitTreeState\": \"clean\",\n"
                           "  \"buildDate\": \"1970-01-01T00:00:00Z\",\n  \"goVersion\": \"\",\n"
                           "  \"compiler\": \"cc\",\n  \"platform\": \"linux/amd64\"\n}");
}

static void write_paths(struct buffer *out)
{
    buffer_add_string(out, "{\"paths\":[\"/api\",\"/api/v1\",\"/apis\"");
    for (size_t i = 0; i < api_resource_count; i++) {
        bool seen = !*api_resources[i].group;
        for (size_t k = 0; k < i && !seen; k++)
            seen = strcmp(api_resources[k].api_version, api_resources[i].api_version) == 0;
        if (!seen)
            buffer_printf(out, ",\"/apis/%s\",\"/apis/%s\"", api_resources[i].group, api_resources[i].api_version);
    }
    buffer_add_string(out, ",\"/healthz\",\"/livez\",\"/metrics\",\"/openapi/v2\",\"/openapi/v3\",\"/readyz\","
                           "\"/version\"]}");
}

/* Writes the document of a path; false: there is none. */
static bool write_document(const char *path, const char *aggregated, bool protobuf, const char *host,
                           struct buffer *out)
{
    char group[256];
    if (strcmp(path, "/version") == 0)
        write_version(out);
    else if (strcmp(path, "/") == 0)
        write_paths(out);
    else if (strcmp(path, "/api") == 0 || strcmp(path, "/apis") == 0) {
        if (aggregated)
            discovery_write_aggregated(!path[4], aggregated, out);
        else if (!path[4])
            discovery_write_versions(host, out);
        else
            discovery_write_groups(out);
    } else if (strcmp(path, "/api/v1") == 0)
        return discovery_write_resources("", "v1", out);
    else if (strcmp(path, "/openapi/v2") == 0) {
        openapi_v2_write(GIT_VERSION, out);
        if (protobuf) {
            cleanup_buffer struct buffer json = *out;
            *out = (struct buffer){0};
            return openapi_v2_write_protobuf(json.data, json.size, out, NULL) == 0;
        }
    } else if (strcmp(path, "/openapi/v3") == 0)
        openapi_v3_write_index(GIT_VERSION, out);
    else if (strncmp(path, "/openapi/v3/", 12) == 0)
        return openapi_v3_write(path + 12, GIT_VERSION, out);
    else if (strncmp(path, "/apis/", 6) == 0 && strlen(path) < sizeof(group)) {
        strcpy(group, path + 6);
        size_t n = strlen(group);
        if (n && group[n - 1] == '/')
            group[n - 1] = 0;
        char *slash = strchr(group, '/');
        if (!slash)
            return discovery_write_group(group, out);
        *slash = 0;
        return !strchr(slash + 1, '/') && discovery_write_resources(group, slash + 1, out);
    } else
        return false;
    return true;
}

/* What upstream writes in the encoding that is asked for; other documents are JSON. */
static bool is_discovery(const char *path)
{
    return strcmp(path, "/api") == 0 || strcmp(path, "/apis") == 0 || strncmp(path, "/api/", 5) == 0 ||
           strncmp(path, "/apis/", 6) == 0;
}

static int convert_to_yaml(struct buffer *document)
{
    cleanup_buffer struct buffer json = *document;
    *document = (struct buffer){0};
    return json_to_yaml(json.data, json.size, document, NULL);
}

/* Documents are kept by path, form and, for the one that names the server, by host. */
static struct document *find(struct documents *d, const struct http_request *request, const char *aggregated,
                             bool protobuf, bool yaml)
{
    char path[256];
    size_t n = strlen(request->path);
    if (n >= sizeof(path))
        return NULL;
    strcpy(path, request->path);
    if (n > 1 && path[n - 1] == '/')
        path[n - 1] = 0;
    if (strcmp(path, "/api") != 0 && strcmp(path, "/apis") != 0)
        aggregated = NULL;
    protobuf &= strcmp(path, "/openapi/v2") == 0;
    const char *host = strcmp(path, "/api") == 0 && !aggregated ? request->host : "";
    cleanup_free char *key = mem_printf("%s %s %s",
                                        aggregated ? aggregated
                                        : protobuf ? "protobuf"
                                        : yaml     ? "yaml"
                                                   : "",
                                        host, path);
    struct document *document = map_get(&d->made, key);
    struct buffer out = {0};
    if (document)
        return document;
    if (!write_document(path, aggregated, protobuf, host, &out) || (yaml && convert_to_yaml(&out) < 0)) {
        buffer_free(&out);
        return NULL;
    }
    document = mem_zero(1, sizeof(*document));
    document->data = buffer_steal(&out, &document->size);
    snprintf(document->etag, sizeof(document->etag), "\"%016llX\"",
             (unsigned long long)hash_fnv64a(document->data, document->size));
    map_set(&d->made, key, document);
    return document;
}

bool documents_handle(struct documents *d, struct http_request *request)
{
    const char *aggregated = aggregated_version(request);
    bool protobuf = wants_protobuf(request);
    if (request->method != HTTP_GET && request->method != HTTP_HEAD)
        return false;
    /* Most requests that come by here are about objects, and are spared the negotiation. */
    const char *accept = http_request_header(request, "accept");
    bool yaml = accept && strstr(accept, "yaml") && !aggregated && is_discovery(request->path) &&
                negotiate_plain(request) == ENCODE_YAML;
    pthread_mutex_lock(&d->lock);
    struct document *document = find(d, request, aggregated, protobuf, yaml);
    pthread_mutex_unlock(&d->lock);
    if (!document)
        return false;
    const char *match = http_request_header(request, "if-none-match");
    http_response_header(request, "Etag", document->etag);
    http_response_header(request, "Vary", "Accept");
    if (match && strcmp(match, document->etag) == 0) {
        http_respond(request, 304, NULL, 0);
        return true;
    }
    bool root = strcmp(request->path, "/api") == 0 || strcmp(request->path, "/apis") == 0;
    protobuf &= strncmp(request->path, "/openapi/v2", 11) == 0;
    http_response_header(request, "Content-Type",
                         protobuf ? strstr(accept, OPENAPI_V2_ACCEPT) ? OPENAPI_V2_ACCEPT : OPENAPI_V2_ANSWER_OLD
                         : root && aggregated ? strcmp(aggregated, "v2") == 0 ? AGGREGATED_V2 : AGGREGATED_V2BETA1
                         : yaml               ? CONTENT_YAML
                                              : CONTENT_JSON);
    struct http_bytes run = {.data = document->data, .size = document->size};
    http_respond(request, 200, &run, 1);
    return true;
}
