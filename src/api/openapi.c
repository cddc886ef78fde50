/* The OpenAPI documents as a whole. */
#include "api/openapi.h"

#include <stdio.h>
#include <string.h>

#include "api/openapi_parts.h"
#include "base/map.h"

#define GROUP_VERSION_PATH_MAX 128

void openapi_v2_write(const char *version, struct buffer *out)
{
    struct openapi_writer w = {.out = out, .version = 2};
    buffer_printf(out, "{\"swagger\":\"2.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"%s\"},\"paths\":{",
                  version);
    openapi_write_paths(&w, NULL);
    buffer_add_string(out, "},\"definitions\":{");
    openapi_write_schemas(&w, NULL);
    buffer_add_string(out, "}}");
}

static void write_v3(const char *api_version, const char *version, struct buffer *out)
{
    struct openapi_writer w = {.out = out, .version = 3};
    buffer_printf(out, "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"%s\"},\"paths\":{",
                  version);
    openapi_write_paths(&w, api_version);
    buffer_add_string(out, "},\"components\":{\"schemas\":{");
    openapi_write_schemas(&w, api_version);
    buffer_add_string(out, "}}}");
}

static void path_of(const struct api_resource *r, char path[GROUP_VERSION_PATH_MAX])
{
    snprintf(path, GROUP_VERSION_PATH_MAX, "%s/%s", *r->group ? "apis" : "api", r->api_version);
}

void openapi_v3_write_index(const char *version, struct buffer *out)
{
    bool any = false;
    buffer_add_string(out, "{\"paths\":{");
    for (size_t i = 0; i < api_resource_count; i++) {
        if (!api_resource_is_first_of_version(i))
            continue;
        char path[GROUP_VERSION_PATH_MAX];
        cleanup_buffer struct buffer document = {0};
        path_of(&api_resources[i], path);
        write_v3(api_resources[i].api_version, version, &document);
        buffer_printf(out, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%016llX\"}", any ? "," : "", path,
                      path, (unsigned long long)hash_fnv64a(document.data, document.size));
        any = true;
    }
    buffer_add_string(out, "}}");
}

bool openapi_v3_write(const char *path, const char *version, struct buffer *out)
{
    for (size_t i = 0; i < api_resource_count; i++) {
        char present[GROUP_VERSION_PATH_MAX];
        path_of(&api_resources[i], present);
        if (strcmp(present, path) == 0) {
            write_v3(api_resources[i].api_version, version, out);
            return true;
        }
    }
    return false;
}
