/* The promises of the YAML reader: manifests mean what kubectl and the API server take them to mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "api/yaml.h"
#include "base/cleanup.h"

struct yaml_case {
    const char *yaml;
    const char *expected; /* JSON or the error */
};

static void check(const struct yaml_case *c)
{
    cleanup_buffer struct buffer json = {0};
    struct error err = {0};
    int r = yaml_to_json(c->yaml, strlen(c->yaml), &json, NULL, &err);
    const char *got = r < 0 ? err.text : json.data;
    if (strcmp(got, c->expected) != 0)
        fail_msg("%s: expected %s, got %s", c->yaml, c->expected, got);
}

static void scalars_mean_what_go_yaml_takes_them_for(void **state)
{
    (void)state;
    static const struct yaml_case cases[] = {
        {"[yes, No, on, OFF, y, N, true, False, yEs]", "[true,false,true,false,true,false,true,false,\"yEs\"]"},
        {"[null, ~, Null, '', nULL]", "[null,null,null,\"\",\"nULL\"]"},
        {"a:", "{\"a\":null}"},
        {"[0644, 0o17, 0x1F, 0b11, 1_000, +5, -7, 08]", "[420,15,31,3,1000,5,-7,8]"},
        {"[9223372036854775807, -9223372036854775808, 18446744073709551615]",
         "[9223372036854775807,-9223372036854775808,18446744073709551615]"},
        {"[0.5, 1.0, .25, 1., 1e3, 1e21, 1e-7, 18446744073709551616]",
         "[0.5,1,0.25,1,1000,1e+21,1e-7,18446744073709552000]"},
        {"[1.2.3, 1:30, 2025-01-02, 2025-01-02T03:04:05Z, 0x, 5Gi, 100m, -, ., <<]",
         "[\"1.2.3\",\"1:30\",\"2025-01-02\",\"2025-01-02T03:04:05Z\",\"0x\",\"5Gi\",\"100m\",\"-\",\".\","
         "\"\\u003c\\u003c\"]"},
        {"['1', \"yes\", !!str 5, !!str yes, !!int '7', !!float 3, !!bool 'on', !!binary aGk=]",
         "[\"1\",\"yes\",\"5\",\"yes\",7,3,true,\"hi\"]"},
        {"a: |\n  x\n  y\nb: >\n  x\n  y\n", "{\"a\":\"x\\ny\\n\",\"b\":\"x y\\n\"}"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        check(&cases[i]);
}

static void keys_anchors_and_merges_become_json(void **state)
{
    (void)state;
    static const struct yaml_case cases[] = {
        {"", "null"},
        {"# nothing\n", "null"},
        {"{\"a\": [1, {\"b\": null}]}", "{\"a\":[1,{\"b\":null}]}"},
        {"1: a\ntrue: b\n1.5: c\n", "{\"1\":\"a\",\"1.5\":\"c\",\"true\":\"b\"}"},
        {"a: &x {k: 1}\nb: *x\n", "{\"a\":{\"k\":1},\"b\":{\"k\":1}}"},
        {"x: &x {k: 1, l: 2}\nz:\n  <<: *x\n  k: 3\n", "{\"x\":{\"k\":1,\"l\":2},\"z\":{\"k\":3,\"l\":2}}"},
        {"a: {<<: [{k: 1}, {k: 2, l: 2}]}", "{\"a\":{\"k\":1,\"l\":2}}"},
        {"a: 1\na: 2\n", "{\"a\":2}"},
        {"a: 1\n---\nb: 2\n", "{\"a\":1}"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        check(&cases[i]);
}

static void bad_yaml_gets_an_error_with_its_line(void **state)
{
    (void)state;
    static const struct yaml_case cases[] = {
        {"a: b: c", "yaml: mapping values are not allowed in this context"},
        {"a: 1\nb: c: d\n", "yaml: line 2: mapping values are not allowed in this context"},
        {"a: [1, 2\nb: 3\n", "yaml: line 1: did not find expected ',' or ']'"},
        {"\ta: 1", "yaml: found character that cannot start any token"},
        {"a: *b", "yaml: unknown anchor 'b' referenced"},
        {"&a [*a]", "yaml: line 1: anchor value contains itself"},
        {"a: {<<: 5}", "yaml: map merge requires map or sequence of maps as the value"},
        {"[.inf]", "json: unsupported value: +Inf"},
        {"? [a]\n: b", "yaml: line 1: invalid map key: a list"},
        {"\"a\\0b\"", "yaml: line 1: strings with a NUL character are not supported"},
        {"!!int abc", "yaml: line 1: cannot decode !!str `abc` as a !!int"},
        {"a: \xff", "yaml: invalid leading UTF-8 octet"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        check(&cases[i]);
}

static void keys_set_twice_are_reported_in_upstreams_words(void **state)
{
    (void)state;
    static const char yaml[] = "a: 1\nb:\n  c: 1\n  c: 2\na: 3\n";
    cleanup_buffer struct buffer json = {0}, duplicates = {0};
    assert_int_equal(yaml_to_json(yaml, sizeof(yaml) - 1, &json, &duplicates, NULL), 0);
    assert_string_equal(json.data, "{\"a\":3,\"b\":{\"c\":2}}");
    assert_string_equal(duplicates.data,
                        "yaml: unmarshal errors:\n  line 4: key \"c\" already set in map\n  line 5: key "
                        "\"a\" already set in map");
}

static void aliases_cannot_multiply_without_end(void **state)
{
    (void)state;
    cleanup_buffer struct buffer yaml = {0}, json = {0};
    struct error err = {0};
    buffer_add_string(&yaml, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 12; i++)
        buffer_printf(&yaml, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1, i - 1, i - 1,
                      i - 1, i - 1, i - 1, i - 1);
    assert_int_equal(yaml_to_json(yaml.data, yaml.size, &json, NULL, &err), -1);
    assert_string_equal(err.text, "yaml: document contains excessive aliasing");
    buffer_clear(&yaml);
    for (int i = 0; i <= JSON_DEPTH_MAX; i++)
        buffer_add_char(&yaml, '[');
    assert_int_equal(yaml_to_json(yaml.data, yaml.size, &json, NULL, &err), -1);
    assert_string_equal(err.text, "yaml: line 1: exceeded max depth");
}

static void a_reader_gives_all_documents(void **state)
{
    (void)state;
    static const char yaml[] = "---\na: 1\n---\n---\n[2]\n...\n";
    static const char *const expected[] = {"{\"a\":1}", "null", "[2]"};
    struct yaml_reader *reader = yaml_reader_new(yaml, sizeof(yaml) - 1);
    cleanup_buffer struct buffer json = {0};
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        buffer_clear(&json);
        assert_int_equal(yaml_reader_next(reader, &json, NULL, NULL), 1);
        assert_string_equal(json.data, expected[i]);
    }
    assert_int_equal(yaml_reader_next(reader, &json, NULL, NULL), 0);
    yaml_reader_free(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_mean_what_go_yaml_takes_them_for),
        cmocka_unit_test(keys_anchors_and_merges_become_json),
        cmocka_unit_test(bad_yaml_gets_an_error_with_its_line),
        cmocka_unit_test(keys_set_twice_are_reported_in_upstreams_words),
        cmocka_unit_test(aliases_cannot_multiply_without_end),
        cmocka_unit_test(a_reader_gives_all_documents),
    };
    return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
