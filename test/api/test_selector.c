/* The promises of label and field selectors, and of the small numbers and hashes that controllers use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/hash.h"
#include "api/int_or_string.h"
#include "api/json.h"
#include "api/selector.h"
#include "api/types.h"
#include "base/cleanup.h"

static struct string_pair label_items[] = {{"app", "web"}, {"empty", ""}, {"example.com/n", "7"}, {"tier", "front"}};
static const struct string_map labels = {label_items, ARRAY_COUNT(label_items)};

static void a_label_selector_matches_as_documented(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool matches;
        const char *canonical; /* NULL: the text */
    } cases[] = {
        {"", true, NULL},
        {"app=web", true, NULL},
        {" app == web ", true, "app==web"},
        {"app!=web", false, NULL},
        {"other!=web", true, NULL},
        {"tier in (front,back),app", true, "app,tier in (back,front)"},
        {"tier notin (front, back)", false, "tier notin (back,front)"},
        {"other notin (x)", true, NULL},
        {"!app", false, NULL},
        {"!other", true, NULL},
        {"other", false, NULL},
        {"empty=", true, NULL},
        {"empty in ()", true, NULL},
        {"empty in (,a)", true, NULL},
        {"in in (in)", false, NULL},
        {"example.com/n>6", true, NULL},
        {"example.com/n<7", false, NULL},
        {"app>1", false, NULL},
        {"app=web,app!=x", true, NULL},
    };
    cleanup_arena struct arena *arena = arena_new(0);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct selector *s;
        struct error err = {0};
        if (selector_parse(arena, cases[i].text, &s, &err) < 0)
            fail_msg("%s: %s", cases[i].text, err.text);
        if (selector_matches(s, &labels) != cases[i].matches)
            fail_msg("%s", cases[i].text);
        assert_string_equal(selector_text(arena, s), cases[i].canonical ? cases[i].canonical : cases[i].text);
    }
}

static void a_wrong_label_selector_gets_upstreams_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"app=web tier=x", "found 'tier', expected: ',' or 'end of string'"},
        {"app=web,", "found '', expected: identifier after ','"},
        {"=web", "found '=', expected: !, identifier, or 'end of string'"},
        {"app in web", "unable to parse requirement: found 'web' expected: '('"},
        {"app in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"},
        {"app in (a", "unable to parse requirement: found '', expected: ',' or ')'"},
        {"app in (=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier"},
        {"app foo", "unable to parse requirement: found 'foo', expected: in, notin, =, ==, !=, gt, lt"},
        {"app==!", "unable to parse requirement: found '!', expected: identifier"},
        {"!", "unable to parse requirement: found '', expected: identifier"},
        {"!app=x", "found '=', expected: ',' or 'end of string'"},
        {"app>x",
         "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an "
         "integer"},
        {"app=a:b",
         "unable to parse requirement: values[0][app]: Invalid value: \"a:b\": a valid label must be an empty string "
         "or "
         "consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
         "(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
         "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"},
        {"a b/=c", "unable to parse requirement: found 'b/', expected: in, notin, =, ==, !=, gt, lt"},
        {"-a=b",
         "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of alphanumeric "
         "characters, "
         "'-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
         "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"},
    };
    cleanup_arena struct arena *arena = arena_new(0);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct selector *s;
        struct error err = {0};
        assert_int_equal(selector_parse(arena, cases[i].text, &s, &err), -1);
        assert_string_equal(err.text, cases[i].expected);
    }
}

static void a_label_selector_struct_works_as_its_text(void **state)
{
    (void)state;
    static const char json[] =
        "{\"matchLabels\":{\"app\":\"web\"},\"matchExpressions\":[{\"key\":\"tier\",\"operator\":\"In\","
        "\"values\":[\"front\",\"back\"]},{\"key\":\"a\",\"operator\":\"DoesNotExist\"}]}";
    cleanup_arena struct arena *arena = arena_new(0);
    struct label_selector from = {0};
    const struct selector *s;
    struct error err = {0};
    assert_int_equal(json_decode(&api_type_label_selector, arena, json, sizeof(json) - 1, &from, NULL, NULL), 0);
    assert_int_equal(selector_from_label_selector(arena, &from, &s, NULL), 0);
    assert_string_equal(selector_text(arena, s), "!a,app=web,tier in (back,front)");
    assert_true(selector_matches(s, &labels));
    from.match_expressions.items[0].operator= "Maybe";
    assert_int_equal(selector_from_label_selector(arena, &from, &s, &err), -1);
    assert_string_equal(err.text, "\"Maybe\" is not a valid label selector operator");
    from.match_expressions.items[0].operator= "Exists";
    assert_int_equal(selector_from_label_selector(arena, &from, &s, &err), -1);
    assert_string_equal(err.text,
                        "values: Invalid value: [\"back\",\"front\"]: values set must be empty for exists and does "
                        "not exist");
}

static void the_absent_selects_nothing_and_the_empty_everything(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct label_selector empty = {0};
    const struct selector *s;
    assert_int_equal(selector_from_label_selector(arena, NULL, &s, NULL), 0);
    assert_false(selector_matches(s, &labels));
    assert_false(selector_is_empty(s));
    assert_int_equal(selector_from_label_selector(arena, &empty, &s, NULL), 0);
    assert_true(selector_matches(s, &labels));
    assert_true(selector_matches(s, NULL));
    assert_true(selector_is_empty(s));
    assert_false(selector_matches(selector_from_map(arena, &(struct string_map){0}), &labels));
    assert_true(selector_matches(selector_from_map(arena, &labels), &labels));
}

static bool field_matches(struct arena *arena, const char *text, enum api_resource_index resource, const void *value)
{
    const struct field_selector *s;
    struct error err = {0};
    if (field_selector_parse(arena, text, &s, &err) < 0 || field_selector_check(s, &api_resources[resource], &err) < 0)
        fail_msg("%s: %s", text, err.text);
    return field_selector_matches(s, &api_resources[resource], value);
}

static void a_field_selector_reads_the_fields_of_the_resource(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    struct pod pod = {.metadata = {.name = "a", .namespace = "n"},
                      .spec = {.node_name = "x,y=z", .host_network = true}};
    struct node node = {.metadata = {.name = "a"}};
    struct replica_set set = {.status = {.replicas = 3}};
    struct event event = {.reporting_component = "kubelet", .involved_object = {.name = "p"}};
    assert_true(field_matches(arena, "metadata.name=a,metadata.namespace==n", API_PODS, &pod));
    assert_false(field_matches(arena, "metadata.name!=a", API_PODS, &pod));
    assert_true(field_matches(arena, "spec.nodeName=x\\,y\\=z", API_PODS, &pod));
    assert_true(field_matches(arena, "spec.host=x\\,y\\=z", API_PODS, &pod));
    assert_true(field_matches(arena, "spec.hostNetwork=true,status.phase=,status.podIPs=", API_PODS, &pod));
    assert_true(field_matches(arena, "", API_PODS, &pod));
    assert_true(field_matches(arena, "spec.unschedulable=false", API_NODES, &node));
    assert_true(field_matches(arena, "status.replicas=3", API_REPLICASETS, &set));
    assert_true(field_matches(arena, "involvedObject.name=p,source=kubelet", API_EVENTS, &event));
}

static void a_wrong_field_selector_gets_upstreams_words(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum api_resource_index resource;
        const char *expected;
    } cases[] = {
        {"spec.foo=1", API_PODS, "field label not supported: spec.foo"},
        {"status.failed=1", API_JOBS, "field label \"status.failed\" not supported for batchv1.Job"},
        {"spec.foo=1", API_CONFIGMAPS,
         "\"spec.foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""},
        {"a", API_PODS, "invalid selector: 'a'; can't understand 'a'"},
        {"a=b=c", API_PODS, "invalid field selector: unescaped character in value: 61"},
        {"a=b\\c", API_PODS, "invalid field selector: invalid escape sequence: \\c"},
        {"a=b\\", API_PODS, "invalid field selector: invalid escape sequence: \\"},
    };
    cleanup_arena struct arena *arena = arena_new(0);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct field_selector *s;
        struct error err = {0};
        if (field_selector_parse(arena, cases[i].text, &s, &err) == 0)
            assert_int_equal(field_selector_check(s, &api_resources[cases[i].resource], &err), -1);
        assert_string_equal(err.text, cases[i].expected);
    }
}

static void an_index_can_ask_for_the_demanded_value(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    const struct field_selector *s;
    assert_int_equal(field_selector_parse(arena, "spec.nodeName=n,metadata.name!=a", &s, NULL), 0);
    assert_string_equal(field_selector_required(s, "spec.nodeName"), "n");
    assert_null(field_selector_required(s, "metadata.name"));
    assert_null(field_selector_required(s, "metadata.namespace"));
}

static void percentages_round_as_upstream_rounds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int total, up, down;
    } cases[] = {{"25%", 3, 1, 0}, {"25%", 4, 1, 1}, {"100%", 7, 7, 7}, {"0%", 7, 0, 0}, {"150%", 3, 5, 4}};
    int result;
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct int_or_string value = {.kind = INT_OR_STRING_STRING, .text = cases[i].text};
        assert_int_equal(int_or_string_scaled(&value, cases[i].total, true, &result, NULL), 0);
        assert_int_equal(result, cases[i].up);
        assert_int_equal(int_or_string_scaled(&value, cases[i].total, false, &result, NULL), 0);
        assert_int_equal(result, cases[i].down);
    }
    struct int_or_string number = {.kind = INT_OR_STRING_INT, .number = 4}, plain = {INT_OR_STRING_STRING, 0, "4"},
                         word = {INT_OR_STRING_STRING, 0, "x%"};
    assert_int_equal(int_or_string_scaled(&number, 100, true, &result, NULL), 0);
    assert_int_equal(result, 4);
    assert_int_equal(int_or_string_scaled(&plain, 100, true, &result, &err), -1);
    assert_string_equal(err.text, "invalid value for IntOrString: invalid type: string is not a percentage");
    assert_int_equal(int_or_string_scaled(&word, 100, true, &result, &err), -1);
    assert_string_equal(err.text,
                        "invalid value for IntOrString: invalid value \"x%\": strconv.Atoi: parsing \"x\": invalid "
                        "syntax");
}

static void a_hash_depends_on_the_value_and_the_collisions_alone(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    struct container container = {.name = "c", .image = "i"};
    struct pod_template_spec one = {.spec = {.containers = {&container, 1}}};
    struct pod_template_spec *two = api_copy(arena, &api_type_pod_template_spec, &one);
    const char *hash = api_hash_fnv(arena, &api_type_pod_template_spec, &one, (struct opt_int32){0});
    assert_string_equal(hash, api_hash_fnv(arena, &api_type_pod_template_spec, two, (struct opt_int32){0}));
    assert_int_equal(strspn(hash, "bcdfghjklmnpqrstvwxz2456789"), strlen(hash));
    assert_string_not_equal(hash, api_hash_fnv(arena, &api_type_pod_template_spec, two, opt_int32(1)));
    two->spec.containers.items[0].image = "j";
    assert_string_not_equal(hash, api_hash_fnv(arena, &api_type_pod_template_spec, two, (struct opt_int32){0}));
    char text[] = "0123456789";
    api_safe_encode(text);
    assert_string_equal(text, "456789bcdf");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_label_selector_matches_as_documented),
        cmocka_unit_test(a_wrong_label_selector_gets_upstreams_words),
        cmocka_unit_test(a_label_selector_struct_works_as_its_text),
        cmocka_unit_test(the_absent_selects_nothing_and_the_empty_everything),
        cmocka_unit_test(a_field_selector_reads_the_fields_of_the_resource),
        cmocka_unit_test(a_wrong_field_selector_gets_upstreams_words),
        cmocka_unit_test(an_index_can_ask_for_the_demanded_value),
        cmocka_unit_test(percentages_round_as_upstream_rounds),
        cmocka_unit_test(a_hash_depends_on_the_value_and_the_collisions_alone),
    };
    return cmocka_run_group_tests_name("selector", tests, NULL, NULL);
}
