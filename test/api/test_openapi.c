/* The promise of the OpenAPI documents: they are whole, and their two encodings say the same. That kubectl
 * explains and validates with them is shown end to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "api/openapi.h"
#include "api/types.h"

static json_t *parse(const struct buffer *b)
{
    json_error_t problem;
    json_t *tree = json_loadb(b->data, b->size, JSON_REJECT_DUPLICATES, &problem);
    if (!tree)
        fail_msg("%s at %d", problem.text, problem.position);
    return tree;
}

/* Every reference below `value` names a schema. */
static void check_references(json_t *value, json_t *schemas, const char *prefix)
{
    size_t i;
    json_t *item;
    const char *key;
    if (json_is_array(value)) {
        json_array_foreach(value, i, item) check_references(item, schemas, prefix);
        return;
    }
    json_object_foreach(value, key, item)
    {
        if (strcmp(key, "$ref") == 0 && json_is_string(item)) {
            const char *ref = json_string_value(item);
            assert_memory_equal(ref, prefix, strlen(prefix));
            if (!json_object_get(schemas, ref + strlen(prefix)))
                fail_msg("%s leads nowhere", ref);
        }
        check_references(item, schemas, prefix);
    }
}

static void references_lead_to_schemas(void **state)
{
    (void)state;
    cleanup_buffer struct buffer out = {0};
    openapi_v2_write("v1.35.0", &out);
    json_t *tree = parse(&out);
    check_references(tree, json_object_get(tree, "definitions"), "#/definitions/");
    json_decref(tree);
    buffer_clear(&out);
    openapi_v3_write_index("v1.35.0", &out);
    json_t *index = parse(&out), *entry;
    const char *path;
    json_object_foreach(json_object_get(index, "paths"), path, entry)
    {
        cleanup_buffer struct buffer document = {0};
        assert_true(openapi_v3_write(path, "v1.35.0", &document));
        json_t *v3 = parse(&document);
        check_references(v3, json_object_get(json_object_get(v3, "components"), "schemas"), "#/components/schemas/");
        json_decref(v3);
    }
    json_decref(index);
    buffer_clear(&out);
    assert_false(openapi_v3_write("apis/none/v1", "v1.35.0", &out));
}

static void every_kind_has_a_schema_and_a_patch_with_parameters(void **state)
{
    (void)state;
    for (size_t i = 0; i < api_resource_count; i++) {
        const struct api_resource *r = &api_resources[i];
        char path[200];
        cleanup_buffer struct buffer out = {0};
        snprintf(path, sizeof(path), "%s/%s", *r->group ? "apis" : "api", r->api_version);
        assert_true(openapi_v3_write(path, "v1.35.0", &out));
        json_t *tree = parse(&out);
        json_t *schema =
            json_object_get(json_object_get(json_object_get(tree, "components"), "schemas"), r->type->openapi);
        json_t *gvk = json_array_get(json_object_get(schema, "x-kubernetes-group-version-kind"), 0);
        assert_string_equal(json_string_value(json_object_get(gvk, "kind")), r->kind);
        snprintf(path, sizeof(path), "/%s/%s/%s%s%s", *r->group ? "apis" : "api", r->api_version,
                 r->namespaced ? "namespaces/{namespace}/" : "", r->plural, r->create_only ? "" : "/{name}");
        /* A question can only be asked, and what is measured only read. */
        const char *verb = r->create_only ? "post" : r->computed ? "get" : "patch";
        json_t *patch = json_object_get(json_object_get(json_object_get(tree, "paths"), path), verb), *parameter;
        size_t k;
        int found = 0;
        json_array_foreach(json_object_get(patch, "parameters"), k, parameter)
        {
            const char *name = json_string_value(json_object_get(parameter, "name"));
            found += strcmp(name, "dryRun") == 0 || strcmp(name, "fieldValidation") == 0;
        }
        assert_int_equal(found, r->computed ? 0 : 2);
        json_decref(tree);
    }
}

/* The schema of a kind of apimachinery in version 2, or NULL. */
static json_t *meta_schema(json_t *document, const char *kind)
{
    char name[128];
    snprintf(name, sizeof(name), "io.k8s.apimachinery.pkg.apis.meta.v1.%s", kind);
    return json_object_get(json_object_get(document, "definitions"), name);
}

static bool is_kind_of(json_t *schema, const char *group, const char *version)
{
    size_t i;
    json_t *gvk;
    json_array_foreach(json_object_get(schema, "x-kubernetes-group-version-kind"), i, gvk)
    {
        if (strcmp(json_string_value(json_object_get(gvk, "group")), group) == 0 &&
            strcmp(json_string_value(json_object_get(gvk, "version")), version) == 0)
            return true;
    }
    return false;
}

/* As upstream: what every group version has is of all of them; tables and bare metadata are not published. */
static void kinds_of_every_group_are_published_and_views_are_not(void **state)
{
    (void)state;
    static const char *const common[] = {"DeleteOptions", "WatchEvent"};
    static const char *const views[] = {"Table", "PartialObjectMetadata", "PartialObjectMetadataList"};
    cleanup_buffer struct buffer out = {0};
    openapi_v2_write("v1.35.0", &out);
    json_t *tree = parse(&out);
    for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
        for (size_t r = 0; r < api_resource_count; r++)
            assert_true(is_kind_of(meta_schema(tree, common[i]), api_resources[r].group, api_resources[r].version));
    assert_false(is_kind_of(meta_schema(tree, "Status"), "apps", "v1"));
    for (size_t i = 0; i < sizeof(views) / sizeof(views[0]); i++)
        assert_null(meta_schema(tree, views[i]));
    json_t *event = meta_schema(tree, "WatchEvent");
    assert_int_equal(json_array_size(json_object_get(event, "required")), 2);
    json_t *object = json_object_get(json_object_get(event, "properties"), "object");
    assert_string_equal(json_string_value(json_object_get(object, "$ref")),
                        "#/definitions/io.k8s.apimachinery.pkg.runtime.RawExtension");
    json_decref(tree);
}

static uint64_t read_varint(const unsigned char **at, const unsigned char *end)
{
    uint64_t value = 0;
    for (int shift = 0; *at < end && shift < 64; shift += 7) {
        unsigned char c = *(*at)++;
        value |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80))
            return value;
    }
    fail_msg("a number does not end");
    return 0;
}

/* The next length-delimited field. Returns its number, or 0 at the end. */
static int next_field(const unsigned char **at, const unsigned char *end, const unsigned char **data, size_t *size)
{
    if (*at == end)
        return 0;
    uint64_t tag = read_varint(at, end);
    assert_int_equal(tag & 7, 2);
    *size = read_varint(at, end);
    assert_true(*size <= (size_t)(end - *at));
    *data = *at;
    *at += *size;
    return (int)(tag >> 3);
}

static void the_protobuf_form_has_every_definition_and_path(void **state)
{
    (void)state;
    cleanup_buffer struct buffer json = {0}, pb = {0};
    openapi_v2_write("v1.35.0", &json);
    assert_int_equal(openapi_v2_write_protobuf(json.data, json.size, &pb, NULL), 0);
    json_t *tree = parse(&json);
    const unsigned char *at = (unsigned char *)pb.data, *end = at + pb.size, *data, *name;
    size_t size, name_size;
    int number;
    while ((number = next_field(&at, end, &data, &size))) {
        if (number != 8 && number != 9)
            continue;
        json_t *map = json_object_get(tree, number == 8 ? "paths" : "definitions");
        size_t count = 0;
        for (const unsigned char *in = data, *stop = data + size; in < stop; count++) {
            const unsigned char *named;
            size_t named_size;
            assert_int_equal(next_field(&in, stop, &named, &named_size), number == 8 ? 2 : 1);
            assert_int_equal(next_field(&named, named + named_size, &name, &name_size), 1);
            assert_non_null(json_object_getn(map, (const char *)name, name_size));
        }
        assert_int_equal(count, json_object_size(map));
    }
    json_decref(tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_lead_to_schemas),
        cmocka_unit_test(every_kind_has_a_schema_and_a_patch_with_parameters),
        cmocka_unit_test(kinds_of_every_group_are_published_and_views_are_not),
        cmocka_unit_test(the_protobuf_form_has_every_definition_and_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
