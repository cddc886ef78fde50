/* The promise of discovery: every served resource is found, in both forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "api/discovery.h"
#include "api/types.h"

static json_t *parse(const struct buffer *b)
{
    json_error_t problem;
    json_t *tree = json_loadb(b->data, b->size, JSON_REJECT_DUPLICATES, &problem);
    if (!tree)
        fail_msg("%s: %s", problem.text, b->data);
    return tree;
}

static json_t *find(json_t *array, const char *key, const char *value)
{
    size_t i;
    json_t *item;
    json_array_foreach(array, i, item) {
        const char *text = json_string_value(json_object_get(item, key));
        if (text && strcmp(text, value) == 0)
            return item;
    }
    return NULL;
}

static void every_resource_and_subresource_is_listed(void **state)
{
    (void)state;
    for (size_t i = 0; i < api_resource_count; i++) {
        const struct api_resource *r = &api_resources[i];
        cleanup_buffer struct buffer out = {0};
        assert_true(discovery_write_resources(r->group, r->version, &out));
        json_t *list = parse(&out), *resources = json_object_get(list, "resources");
        json_t *entry = find(resources, "name", r->plural);
        assert_non_null(entry);
        assert_string_equal(json_string_value(json_object_get(entry, "kind")), r->kind);
        for (size_t k = 0; r->subresources[k]; k++) {
            char name[100];
            snprintf(name, sizeof(name), "%s/%s", r->plural, r->subresources[k]);
            assert_non_null(find(resources, "name", name));
        }
        json_decref(list);
    }
    cleanup_buffer struct buffer none = {0};
    assert_false(discovery_write_resources("apps", "v2", &none));
    assert_false(discovery_write_group("nothing", &none));
}

static void the_aggregated_form_says_the_same(void **state)
{
    (void)state;
    for (int core = 0; core < 2; core++) {
        cleanup_buffer struct buffer out = {0};
        discovery_write_aggregated(core, "v2", &out);
        json_t *list = parse(&out);
        for (size_t i = 0; i < api_resource_count; i++) {
            const struct api_resource *r = &api_resources[i];
            if ((bool)core != !*r->group)
                continue;
            json_t *items = json_object_get(list, "items"), *group = NULL, *item;
            size_t at;
            json_array_foreach(items, at, item) {
                const char *name = json_string_value(json_object_get(json_object_get(item, "metadata"), "name"));
                if (strcmp(name ? name : "", r->group) == 0)
                    group = item;
            }
            json_t *version = find(json_object_get(group, "versions"), "version", r->version);
            assert_non_null(find(json_object_get(version, "resources"), "resource", r->plural));
        }
        json_decref(list);
    }
}

static void groups_name_their_preferred_version(void **state)
{
    (void)state;
    cleanup_buffer struct buffer out = {0}, versions = {0};
    discovery_write_groups(&out);
    json_t *list = parse(&out);
    json_t *apps = find(json_object_get(list, "groups"), "name", "apps");
    assert_string_equal(json_string_value(json_object_get(json_object_get(apps, "preferredVersion"), "groupVersion")),
                        "apps/v1");
    json_decref(list);
    discovery_write_versions("127.0.0.1:6443", &versions);
    json_decref(parse(&versions));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_resource_and_subresource_is_listed),
        cmocka_unit_test(the_aggregated_form_says_the_same),
        cmocka_unit_test(groups_name_their_preferred_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
