/* The promises of the three patches: what they make of an object, and what they say when they cannot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "api/patch.h"
#include "api/types.h"
#include "base/cleanup.h"

struct patch_case {
    const char *object;
    const char *patch;
    const char *expected; /* the new object, or the error */
    int code;             /* of the error; 0: none */
};

static void check(enum patch_kind kind, const struct api_type *type, const struct patch_case *c)
{
    cleanup_buffer struct buffer out = {0};
    struct error err = {0};
    int r = patch_apply(kind, type, c->object, strlen(c->object), c->patch, strlen(c->patch), &out, &err);
    const char *got = r < 0 ? err.text : out.data;
    if (strcmp(got, c->expected) != 0 || err.code != c->code)
        fail_msg("%s + %s: expected %d %s, got %d %s", c->object, c->patch, c->code, c->expected, err.code, got);
}

static void check_all(enum patch_kind kind, const struct api_type *type, const struct patch_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check(kind, type, &cases[i]);
}

static void a_json_patch_does_its_operations_in_order(void **state)
{
    (void)state;
    static const struct patch_case cases[] = {
        {"{\"a\":1}", "[]", "{\"a\":1}", 0},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":[1,2]}]", "{\"a\":1,\"b\":[1,2]}", 0},
        {"{\"a\":[1,3]}",
         "[{\"op\":\"add\",\"path\":\"/a/1\",\"value\":2},{\"op\":\"add\",\"path\":\"/a/-\",\"value\":4}]",
         "{\"a\":[1,2,3,4]}", 0},
        {"{\"a\":[1,2,3]}", "[{\"op\":\"remove\",\"path\":\"/a/-1\"}]", "{\"a\":[1,2]}", 0},
        {"{\"a\":{\"b/c\":1,\"d~e\":2}}",
         "[{\"op\":\"remove\",\"path\":\"/a/b~1c\"},{\"op\":\"replace\",\"path\":\"/a/d~0e\",\"value\":0.10}]",
         "{\"a\":{\"d~e\":0.10}}", 0},
        {"{\"a\":{\"b\":1},\"c\":[]}",
         "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/c/0\"},{\"op\":\"copy\",\"from\":\"/c\",\"path\":\"/a/x\"},"
         "{\"op\":\"add\",\"path\":\"/c/0\",\"value\":0}]",
         "{\"a\":{\"x\":[1]},\"c\":[0,1]}", 0},
        {"{\"a\":[{\"b\":\"x\"}]}",
         "[{\"op\":\"test\",\"path\":\"/a/0\",\"value\":{\"b\":\"x\"}},{\"op\":\"test\",\"path\":\"/"
         "c\",\"value\":null},"
         "{\"op\":\"replace\",\"path\":\"\",\"value\":{}}]",
         "{}", 0},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a\"}]", "{\"a\":null}", 0},
    };
    check_all(PATCH_JSON, &api_type_pod, cases, ARRAY_COUNT(cases));
}

static void a_json_patch_that_does_not_apply_says_why(void **state)
{
    (void)state;
    static const struct patch_case cases[] = {
        {"{}", "{}", "json: cannot unmarshal object into Go value of type jsonpatch.Patch", EBADMSG},
        {"{}", "[1]", "json: cannot unmarshal number into Go value of type jsonpatch.Operation", EBADMSG},
        {"{}", "[", "unexpected end of JSON input", EBADMSG},
        {"{}", "[{\"op\":\"jump\",\"path\":\"/a\"}]", "Unexpected kind: jump", EINVAL},
        {"{}", "[{\"op\":\"remove\",\"path\":\"/a\"}]",
         "error in remove for path: '/a': Unable to remove nonexistent key: a: missing value", EINVAL},
        {"{}", "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]",
         "add operation does not apply: doc is missing path: \"/a/b\": missing value", EINVAL},
        {"{\"a\":[]}", "[{\"op\":\"add\",\"path\":\"/a/1\",\"value\":1}]",
         "error in add for path: '/a/1': Unable to access invalid index: 1: invalid index referenced", EINVAL},
        {"{\"a\":[]}", "[{\"op\":\"add\",\"path\":\"/a/x\",\"value\":1}]",
         "error in add for path: '/a/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid "
         "syntax",
         EINVAL},
        {"{\"a\":[]}", "[{\"op\":\"replace\",\"path\":\"/a/0\",\"value\":1}]",
         "replace operation does not apply: doc is missing key: /a/0: missing value", EINVAL},
        {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", "testing value /a failed: test failed",
         EINVAL},
        {"{}", "[{\"op\":\"add\"}]", "add operation failed to decode path: missing value", EINVAL},
        {"{\"a\":1}", "[{\"op\":\"move\",\"path\":\"/b\"}]",
         "move operation failed to decode from: operation, missing from field: missing value", EINVAL},
    };
    check_all(PATCH_JSON, &api_type_pod, cases, ARRAY_COUNT(cases));
}

static void a_json_patch_is_bounded(void **state)
{
    (void)state;
    cleanup_buffer struct buffer many = {0}, deep = {0}, out = {0};
    struct error err = {0};
    for (int i = 0; i <= PATCH_OPERATION_MAX; i++)
        buffer_add_string(&many, i ? ",{\"op\":\"test\",\"path\":\"\"}" : "[{\"op\":\"test\",\"path\":\"\"}");
    buffer_add_string(&many, "]");
    assert_int_equal(patch_apply(PATCH_JSON, &api_type_pod, "{}", 2, many.data, many.size, &out, &err), -1);
    assert_int_equal(err.code, E2BIG);
    assert_string_equal(err.text, "The allowed maximum operations in a JSON patch is 10000, got 10001");
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        buffer_printf(&deep, "%s{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/b\"}", i ? "," : "[");
    buffer_add_string(&deep, "]");
    assert_int_equal(patch_apply(PATCH_JSON, &api_type_pod, "{\"a\":{}}", 8, deep.data, deep.size, &out, &err), -1);
    assert_string_equal(err.text, "error while adding value during copy: exceeded max depth");
}

static void a_merge_patch_merges_objects_and_replaces_the_rest(void **state)
{
    (void)state;
    static const struct patch_case cases[] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\",\"b\":1}", "{\"a\":\"c\",\"b\":1}", 0},
        {"{\"a\":\"b\",\"c\":{\"d\":1,\"e\":2}}", "{\"a\":null,\"c\":{\"d\":null,\"f\":[1]}}",
         "{\"c\":{\"e\":2,\"f\":[1]}}", 0},
        {"{\"a\":[1,2]}", "{\"a\":[3]}", "{\"a\":[3]}", 0},
        {"{\"a\":[1]}", "{\"a\":{\"b\":{\"c\":null,\"d\":0.1}}}", "{\"a\":{\"b\":{\"d\":0.1}}}", 0},
        {"{}", "[]", "Invalid JSON Patch", EBADMSG},
        {"{}", "{\"a\":}", "invalid character '}' looking for beginning of value", EBADMSG},
        {"{}", "{\"a\":\"\\u0000\"}", "strings with a NUL character are not supported", EBADMSG},
    };
    check_all(PATCH_MERGE, &api_type_pod, cases, ARRAY_COUNT(cases));
}

#define SPEC(containers) "{\"spec\":{\"containers\":[" containers "]}}"

static void a_strategic_patch_merges_lists_by_key(void **state)
{
    (void)state;
    static const struct patch_case cases[] = {
        {SPEC("{\"name\":\"a\",\"image\":\"1\"},{\"name\":\"b\",\"image\":\"1\"}"),
         SPEC("{\"name\":\"b\",\"image\":\"2\"}"),
         SPEC("{\"image\":\"1\",\"name\":\"a\"},{\"image\":\"2\",\"name\":\"b\"}"), 0},
        /* What is new comes before what it does not name. */
        {SPEC("{\"name\":\"a\"}"), SPEC("{\"name\":\"b\",\"image\":null}"), SPEC("{\"name\":\"b\"},{\"name\":\"a\"}"),
         0},
        {SPEC("{\"name\":\"a\"},{\"name\":\"b\"}"), SPEC("{\"name\":\"a\",\"$patch\":\"delete\"}"),
         SPEC("{\"name\":\"b\"}"), 0},
        {SPEC("{\"name\":\"a\"}"), SPEC("{\"name\":\"c\"},{\"$patch\":\"replace\"}"), SPEC("{\"name\":\"c\"}"), 0},
        {SPEC("{\"name\":\"a\",\"ports\":[{\"containerPort\":80,\"name\":\"x\"}]}"),
         SPEC("{\"name\":\"a\",\"ports\":[{\"containerPort\":80,\"name\":\"y\"},{\"containerPort\":81}]}"),
         SPEC("{\"name\":\"a\",\"ports\":[{\"containerPort\":80,\"name\":\"y\"},{\"containerPort\":81}]}"), 0},
        /* An atomic list is replaced. */
        {SPEC("{\"name\":\"a\",\"args\":[\"x\",\"y\"]}"), SPEC("{\"name\":\"a\",\"args\":[\"z\"]}"),
         SPEC("{\"args\":[\"z\"],\"name\":\"a\"}"), 0},
        {"{\"spec\":{\"tolerations\":[{\"key\":\"a\"}]}}", "{\"spec\":{\"tolerations\":[{\"key\":\"b\"}]}}",
         "{\"spec\":{\"tolerations\":[{\"key\":\"b\"}]}}", 0},
        {"{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
         "{\"metadata\":{\"labels\":{\"a\":null,\"c\":\"3\"}}}",
         "{\"metadata\":{\"labels\":{\"b\":\"2\",\"c\":\"3\"}}}", 0},
        {"{\"metadata\":{\"labels\":{\"a\":\"1\"}}}",
         "{\"metadata\":{\"labels\":{\"$patch\":\"replace\",\"c\":\"3\"}}}",
         "{\"metadata\":{\"labels\":{\"c\":\"3\"}}}", 0},
        {"{\"metadata\":{\"labels\":{\"a\":\"1\"}}}", "{\"metadata\":{\"labels\":{\"$patch\":\"delete\"}}}",
         "{\"metadata\":{\"labels\":{}}}", 0},
        {"{\"metadata\":{\"name\":\"a\"}}", "{\"metadata\":{\"labels\":{\"c\":\"3\",\"d\":null}}}",
         "{\"metadata\":{\"labels\":{\"c\":\"3\"},\"name\":\"a\"}}", 0},
    };
    check_all(PATCH_STRATEGIC, &api_type_pod, cases, ARRAY_COUNT(cases));
}

static void a_strategic_patch_merges_sets(void **state)
{
    (void)state;
    static const struct patch_case cases[] = {
        {"{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}", "{\"metadata\":{\"finalizers\":[\"b\",\"c\"]}}",
         "{\"metadata\":{\"finalizers\":[\"a\",\"b\",\"c\"]}}", 0},
        {"{\"metadata\":{\"finalizers\":[\"a\",\"b\",\"c\"]}}",
         "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"b\"]}}",
         "{\"metadata\":{\"finalizers\":[\"a\",\"c\"]}}", 0},
        {"{\"metadata\":{\"finalizers\":[\"a\",\"b\"]}}",
         "{\"metadata\":{\"$setElementOrder/finalizers\":[\"c\",\"b\",\"a\"],\"finalizers\":[\"c\"]}}",
         "{\"metadata\":{\"finalizers\":[\"c\",\"b\",\"a\"]}}", 0},
        {"{\"metadata\":{}}", "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"b\"]}}", "{\"metadata\":{}}",
         0},
    };
    check_all(PATCH_STRATEGIC, &api_type_pod, cases, ARRAY_COUNT(cases));
}

static void a_strategic_patch_orders_and_retains_as_told(void **state)
{
    (void)state;
    static const struct patch_case cases[] = {
        /* As `kubectl apply` writes it. */
        {SPEC("{\"name\":\"a\"},{\"name\":\"live\"},{\"name\":\"b\"},{\"name\":\"gone\"}"),
         "{\"spec\":{\"$setElementOrder/"
         "containers\":[{\"name\":\"b\"},{\"name\":\"a\"}],\"containers\":[{\"name\":\"b\","
         "\"image\":\"2\"},{\"$patch\":\"delete\",\"name\":\"gone\"}]}}",
         SPEC("{\"name\":\"live\"},{\"image\":\"2\",\"name\":\"b\"},{\"name\":\"a\"}"), 0},
        {SPEC("{\"name\":\"a\"},{\"name\":\"b\"}"),
         "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"a\"}]}}",
         SPEC("{\"name\":\"b\"},{\"name\":\"a\"}"), 0},
        {"{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}}",
         "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"$retainKeys\":[\"name\",\"hostPath\"],\"hostPath\":{\"path\":\"/"
         "x\"}}]}}",
         "{\"spec\":{\"volumes\":[{\"hostPath\":{\"path\":\"/x\"},\"name\":\"v\"}]}}", 0},
    };
    check_all(PATCH_STRATEGIC, &api_type_pod, cases, ARRAY_COUNT(cases));
}

static void a_strategic_patch_that_does_not_apply_says_why(void **state)
{
    (void)state;
    static const struct patch_case cases[] = {
        {"{}", "[]", "json: cannot unmarshal array into Go value of type map[string]interface {}", EBADMSG},
        {SPEC("{\"name\":\"a\"}"), SPEC("{\"image\":\"x\"}"),
         "map: map[image:x] does not contain declared merge key: name", EIO},
        {SPEC("{\"name\":\"a\"}"), SPEC("{\"name\":\"a\",\"$patch\":\"join\"}"),
         "unknown patch type: join in map: map[$patch:join name:a]", EIO},
        {SPEC("{\"name\":\"a\"}"), SPEC("\"a\""), "list element types are not identical: [[map[name:a]] [a]]", EIO},
        {"{\"foo\":{\"a\":1}}", "{\"foo\":{\"b\":1}}",
         "unable to find api field in struct Pod for the json field \"foo\"", EIO},
        {"{\"metadata\":{}}", "{\"metadata\":{\"$retainKeys\":[\"a\"],\"name\":\"x\"}}",
         "invalid patch format of retainKeys", EBADMSG},
        {"{\"metadata\":{}}", "{\"metadata\":{\"$deleteFromPrimitiveListx\":[]}}",
         "invalid patch format of primitive list", EBADMSG},
        {SPEC("{\"name\":\"a\"}"),
         "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"a\"}],\"containers\":[{\"name\":\"b\"}]}}",
         "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n", EIO},
    };
    check_all(PATCH_STRATEGIC, &api_type_pod, cases, ARRAY_COUNT(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_json_patch_does_its_operations_in_order),
        cmocka_unit_test(a_json_patch_that_does_not_apply_says_why),
        cmocka_unit_test(a_json_patch_is_bounded),
        cmocka_unit_test(a_merge_patch_merges_objects_and_replaces_the_rest),
        cmocka_unit_test(a_strategic_patch_merges_lists_by_key),
        cmocka_unit_test(a_strategic_patch_merges_sets),
        cmocka_unit_test(a_strategic_patch_orders_and_retains_as_told),
        cmocka_unit_test(a_strategic_patch_that_does_not_apply_says_why),
    };
    return cmocka_run_group_tests_name("patch", tests, NULL, NULL);
}
