/* The promises of the YAML writer: it prints what kubectl prints, and what is read again is what was written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/yaml.h"
#include "base/cleanup.h"

struct write_case {
    const char *json;
    const char *expected; /* YAML or the error */
};

static void check(const struct write_case *c)
{
    cleanup_buffer struct buffer yaml = {0};
    struct error err = {0};
    int r = json_to_yaml(c->json, strlen(c->json), &yaml, &err);
    const char *got = r < 0 ? err.text : yaml.data;
    if (strcmp(got, c->expected) != 0)
        fail_msg("%s: expected\n%s\ngot\n%s", c->json, c->expected, got);
}

static void structures_are_blocks_with_their_keys_sorted(void **state)
{
    (void)state;
    static const struct write_case cases[] = {
        {"{}", "{}\n"},
        {" [ ] ", "[]\n"},
        {"{\"kind\":\"L\",\"items\":[{\"b\":1,\"a\":[]},{\"c\":{}},[1,[2]]],\"apiVersion\":\"v1\"}",
         "apiVersion: v1\nitems:\n- a: []\n  b: 1\n- c: {}\n- - 1\n  - - 2\nkind: L\n"},
        {"{ \"b\" : { \"y\" : [ 1 , { } ] , \"x\" : null } , \"a\" : true }\n",
         "a: true\nb:\n  x: null\n  \"y\":\n  - 1\n  - {}\n"},
        /* Of two keys that are the same, the last one counts. */
        {"{\"a\":1,\"b\":2,\"a\":{\"c\":3}}", "a:\n  c: 3\nb: 2\n"},
        /* As kubectl 1.35 sorted these. */
        {"{\"a10\":1,\"a2\":2,\"a02\":3,\"A\":4,\"a-b\":5,\"ab\":6,\"a.b\":7,\"a_b\":8,\"a\":9,\"10\":10,\"9\":11}",
         "\"9\": 11\n\"10\": 10\nA: 4\na: 9\na-b: 5\na.b: 7\na_b: 8\na2: 2\na02: 3\na10: 1\nab: 6\n"},
        {"{\"a\\n\":1,\"\\u0062\":2}", "? |\n  a\n: 1\nb: 2\n"},
        {"{\"a\":", "unexpected end of JSON input"},
        {"{\"a\":1}}", "invalid character '}' after top-level value"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        check(&cases[i]);
}

static void scalars_are_printed_as_go_yaml_prints_them(void **state)
{
    (void)state;
    static const struct write_case cases[] = {
        {"[0,-1,9223372036854775807,18446744073709551615,0.5,1.0,1e2,1e6,123456.75,1234567.5,1e21,0.0001,0.00001]",
         "- 0\n- -1\n- 9223372036854775807\n- 18446744073709551615\n- 0.5\n- 1\n- 100\n- 1e+06\n- 123456.75\n"
         "- 1.2345675e+06\n- 1e+21\n- 0.0001\n- 1e-05\n"},
        {"[\"\",\"yes\",\"Off\",\"n\",\"null\",\"~\",\"1\",\"1e3\",\"0x1\",\"0644\",\"1_000\",\".5\",\".inf\",\"1:"
         "30\"]",
         "- \"\"\n- \"yes\"\n- \"Off\"\n- \"n\"\n- \"null\"\n- \"~\"\n- \"1\"\n- \"1e3\"\n- \"0x1\"\n- \"0644\"\n"
         "- \"1_000\"\n- \".5\"\n- \".inf\"\n- \"1:30\"\n"},
        {"[\"2025-01-02\",\"2025-01-02T03:04:05Z\",\"2025-1-2 3:4:5\",\"2025-13-45\",\"=\",\"<<\",\"0x_\",\".5_\"]",
         "- \"2025-01-02\"\n- \"2025-01-02T03:04:05Z\"\n- \"2025-1-2 3:4:5\"\n- \"2025-13-45\"\n- \"=\"\n- \"<<\"\n"
         "- \"0x_\"\n- \".5_\"\n"},
        {"[\"100m\",\"5Gi\",\"10.0.0.1\",\"1234-5678\",\"nope\",\"a:b\",\"http://x.y:80/z\",\"-1x\",\"...x\"]",
         "- 100m\n- 5Gi\n- 10.0.0.1\n- 1234-5678\n- nope\n- a:b\n- http://x.y:80/z\n- -1x\n- '...x'\n"},
        {"[\"a: b\",\"a #b\",\"- a\",\"#c\",\"*x\",\"'q'\",\"\\\"q\\\"\",\" lead\",\"{a}\",\"---\"]",
         "- 'a: b'\n- 'a #b'\n- '- a'\n- '#c'\n- '*x'\n- '''q'''\n- '\"q\"'\n- ' lead'\n- '{a}'\n- '---'\n"},
        {"{\"a\":\"x\\n y\\n\",\"b\":\"x\\ny\",\"c\":\"x\\n\\n\"}", "a: |\n  x\n   y\nb: |-\n  x\n  y\nc: |+\n  x\n\n"},
        {"[\"x\\ty\",\"x\\r\\ny\",\"x \\ny\",\"\xc3\xa9\\u003c\",\"\\ud83d\\ude00\",\"\\u0000\",\"a\\u2028b\"]",
         "- \"x\\ty\"\n- \"x\\r\\ny\"\n- \"x \\ny\"\n- \xc3\xa9<\n- \"\\U0001F600\"\n- \"\\0\"\n- \"a\\Lb\"\n"},
        {"{\"a\":\"one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen\"}",
         "a: one two three four five six seven eight nine ten eleven twelve thirteen fourteen\n  fifteen\n"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        check(&cases[i]);
}

/* ---- Reading it again ---- */

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* Pieces that mean something to YAML, or only to some of its readers. */
static void write_random_string(uint32_t *seed, struct buffer *json)
{
    static const char *const pieces[] = {"a",
                                         "b",
                                         " ",
                                         "  ",
                                         "\\n",
                                         "\\n",
                                         ":",
                                         ": ",
                                         "#",
                                         " #",
                                         "-",
                                         "- ",
                                         "?",
                                         "'",
                                         "\\\"",
                                         "\\\\",
                                         "1",
                                         "0",
                                         "_",
                                         ".",
                                         "e",
                                         "+",
                                         "0x",
                                         "yes",
                                         "null",
                                         "~",
                                         "\\t",
                                         "\\r",
                                         "{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         "&",
                                         "*",
                                         "!",
                                         "|",
                                         ">",
                                         "%",
                                         "@",
                                         "`",
                                         "=",
                                         "<<",
                                         "---",
                                         "...",
                                         "\\u0085",
                                         "\\u2028",
                                         "\xc3\xa9",
                                         "\xf0\x9f\x98\x80",
                                         "2025-01-02",
                                         "\\ufeff",
                                         "a long word and another "};
    size_t count = next(seed) % (next(seed) % 4 ? 4 : 40);
    buffer_add_char(json, '"');
    while (count--)
        buffer_add_string(json, pieces[next(seed) % ARRAY_COUNT(pieces)]);
    buffer_add_char(json, '"');
}

static void write_random(uint32_t *seed, int depth, struct buffer *json)
{
    uint32_t kind = next(seed) % (depth ? 6 : 4);
    bool object = kind == 4;
    if (kind < 3) {
        write_random_string(seed, json);
    } else if (kind == 3) {
        static const char *const others[] = {"true", "false", "null", "0", "-7", "12345678901234", "2.5", "1e-9"};
        buffer_add_string(json, others[next(seed) % ARRAY_COUNT(others)]);
    } else {
        buffer_add_char(json, object ? '{' : '[');
        for (uint32_t i = 0, count = next(seed) % 5; i < count; i++) {
            if (i)
                buffer_add_char(json, ',');
            if (object) {
                write_random_string(seed, json);
                buffer_add_char(json, ':');
            }
            write_random(seed, depth - 1, json);
        }
        buffer_add_char(json, object ? '}' : ']');
    }
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= 20000; i++) {
        uint32_t seed = i;
        cleanup_buffer struct buffer json = {0}, yaml = {0}, again = {0};
        struct error err;
        write_random(&seed, 4, &json);
        if (json_to_yaml(json.data, json.size, &yaml, &err) < 0 ||
            yaml_to_json(yaml.data, yaml.size, &again, NULL, &err) < 0)
            fail_msg("seed %u: %s: %s\n%s", i, err.text, json.data, yaml.data ? yaml.data : "");
        json_t *a = json_loadb(json.data, json.size, JSON_DECODE_ANY, NULL);
        json_t *b = json_loadb(again.data, again.size, JSON_DECODE_ANY, NULL);
        if (!a || !b || !json_equal(a, b))
            fail_msg("seed %u: %s became %s by way of\n%s", i, json.data, again.data, yaml.data);
        json_decref(a);
        json_decref(b);
    }
}

/* Each value of a deep list stands behind a line's worth of blanks. */
static void yaml_that_would_be_far_longer_than_its_json_is_refused(void **state)
{
    (void)state;
    cleanup_buffer struct buffer json = {0}, yaml = {0};
    struct error err;
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        buffer_add_char(&json, '[');
    for (int i = 0; i < 100000; i++)
        buffer_add_string(&json, i ? ",1" : "1");
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        buffer_add_char(&json, ']');
    assert_int_equal(json_to_yaml(json.data, json.size, &yaml, &err), -1);
    assert_int_equal(err.code, E2BIG);
    assert_true(yaml.size < json.size * (YAML_GROWTH_MAX + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(structures_are_blocks_with_their_keys_sorted),
        cmocka_unit_test(scalars_are_printed_as_go_yaml_prints_them),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(yaml_that_would_be_far_longer_than_its_json_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
