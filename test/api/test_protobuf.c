/* The promises of api/protobuf.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "api/epoch.h"
#include "api/json.h"
#include "api/protobuf.h"
#include "api/types.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "protobuf_encode.h"
#include "random_value.h"

#define ROUNDS 40
#define DEPTH 6
#define FILE_MAX 65536

/* Fields of later versions, whose numbers v1.35 does not know. */
static const char *const unnumbered[] = {"ResourceHealth.message", "VolumeMountStatus.volumeStatus",
                                         "VolumeStatus.image", "ImageVolumeStatus.imageRef"};

/* Types that upstream sends as JSON alone. */
static const char *const without_protobuf[] = {"Table", "TableColumnDefinition", "TableRow", "TableRowCondition"};

/* Folder of the recorded bodies. */
static const char *recorded;

/* The kind and apiVersion of a root: they are in the envelope. */
static bool is_name_of_root(const struct api_type *type, const struct api_field *f)
{
    const struct api_field *kind = api_type_field(type, "kind", 4), *version = api_type_field(type, "apiVersion", 10);
    return (f == kind || f == version) && kind && version && !kind->pb[0] && !version->pb[0];
}

static bool has_protobuf(const struct api_type *type)
{
    for (size_t i = 0; i < ARRAY_COUNT(without_protobuf); i++)
        if (strcmp(type->name, without_protobuf[i]) == 0)
            return false;
    return true;
}

static bool is_unnumbered(const struct api_type *type, const struct api_field *f)
{
    char name[128];
    if (!has_protobuf(type))
        return true;
    snprintf(name, sizeof(name), "%s.%s", type->name, f->name);
    for (size_t i = 0; i < ARRAY_COUNT(unnumbered); i++)
        if (strcmp(name, unnumbered[i]) == 0)
            return true;
    return is_name_of_root(type, f);
}

static void every_field_has_a_number_of_its_own(void **state)
{
    (void)state;
    for (size_t t = 0; t < api_type_count; t++) {
        const struct api_type *type = api_types[t];
        for (uint32_t i = 0; i < type->field_count; i++) {
            const struct api_field *f = &type->fields[i];
            if ((f->pb[0] == 0) != is_unnumbered(type, f))
                fail_msg("%s.%s: number %u", type->name, f->name, f->pb[0]);
            for (uint32_t n = 0; f->pb[0] && n < i; n++) {
                const struct api_field *g = &type->fields[n];
                bool same_message = f->pb[1] && g->pb[1];
                if (f->pb[0] == g->pb[0] && (!same_message || f->pb[1] == g->pb[1]))
                    fail_msg("%s: %s and %s share a number", type->name, f->name, g->name);
            }
        }
    }
}

static void clear_unnumbered(const struct api_type *type, char *value);

static void clear_below(const struct api_field *f, char *slot)
{
    struct any_array *array = (struct any_array *)slot;
    if (f->shape == API_VALUE)
        clear_unnumbered(f->type, slot);
    else if (f->shape == API_OPTIONAL && *(void **)slot)
        clear_unnumbered(f->type, *(void **)slot);
    else if (f->shape == API_ARRAY)
        for (size_t i = 0; i < array->count; i++)
            clear_unnumbered(f->type, (char *)array->items + i * f->type->size);
}

/* Unsets what protobuf cannot carry. All such fields are pointers in C. */
static void clear_unnumbered(const struct api_type *type, char *value)
{
    for (uint32_t i = 0; i < type->field_count; i++) {
        const struct api_field *f = &type->fields[i];
        if (!f->pb[0])
            *(void **)(value + f->offset) = NULL;
        else if (f->kind == API_STRUCT)
            clear_below(f, value + f->offset);
    }
}

static void check_equal(const struct api_type *type, const void *expected, const void *value)
{
    cleanup_buffer struct buffer a = {0}, b = {0};
    if (api_equal(type, expected, value))
        return;
    json_encode(type, expected, &a);
    json_encode(type, value, &b);
    fail_msg("%s\nexpected %s\nbut got  %s", type->name, a.data, b.data);
}

static void check_round_trips(struct protobuf_style style)
{
    struct random r = {7};
    for (size_t t = 0; t < api_type_count; t++) {
        const struct api_type *type = api_types[t];
        for (int i = 0; i < ROUNDS && has_protobuf(type); i++) {
            cleanup_arena struct arena *arena = arena_new(0);
            cleanup_buffer struct buffer message = {0};
            struct error err = {0};
            void *value = random_value(&r, arena, type, DEPTH), *again = arena_alloc(arena, type->size);
            clear_unnumbered(type, value);
            protobuf_encode(type, value, style, &message);
            if (protobuf_decode(type, arena, message.data, message.size, again, &err) < 0)
                fail_msg("%s: %s", type->name, err.text);
            check_equal(type, value, again);
        }
    }
}

static void what_is_encoded_reads_back_equal(void **state)
{
    (void)state;
    check_round_trips((struct protobuf_style){0});
}

static void fields_and_entries_may_come_in_any_order(void **state)
{
    (void)state;
    check_round_trips((struct protobuf_style){.backwards = true});
}

static void integers_may_be_packed(void **state)
{
    (void)state;
    check_round_trips((struct protobuf_style){.packed = true});
}

static void messages_cut_short_are_errors_or_less(void **state)
{
    (void)state;
    struct random r = {3};
    cleanup_arena struct arena *arena = arena_new(0);
    cleanup_buffer struct buffer message = {0};
    protobuf_encode(&api_type_pod, random_value(&r, arena, &api_type_pod, DEPTH), (struct protobuf_style){0}, &message);
    size_t errors = 0;
    for (size_t n = 0; n < message.size; n++) {
        struct error err = {0};
        cleanup_free char *exact = mem_alloc(n + 1);
        memcpy(exact, message.data, n);
        struct pod pod = {0};
        int result = protobuf_decode(&api_type_pod, arena, exact, n, &pod, &err);
        assert_int_equal(result < 0, err.code != 0);
        errors += result < 0;
    }
    assert_true(errors > message.size / 2);
}

static void a_message_given_twice_is_merged(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    cleanup_buffer struct buffer message = {0};
    const char *one[] = {"a", "b"}, *two[] = {"c"};
    struct string_pair labels[] = {{"x", "1"}, {"z", "2"}}, more[] = {{"a", "3"}, {"x", "4"}};
    struct config_map first = {.metadata = {.name = "old", .finalizers = {one, 2}, .labels = {labels, 2}},
                               .immutable = opt_bool(true)};
    struct config_map second = {.metadata = {.name = "new", .finalizers = {two, 1}, .labels = {more, 2}}};
    protobuf_encode(&api_type_config_map, &first, (struct protobuf_style){0}, &message);
    protobuf_encode(&api_type_config_map, &second, (struct protobuf_style){.backwards = true}, &message);
    struct config_map value = {0};
    assert_int_equal(protobuf_decode(&api_type_config_map, arena, message.data, message.size, &value, NULL), 0);
    assert_string_equal(value.metadata.name, "new");
    assert_true(value.immutable.set && value.immutable.value);
    assert_int_equal(value.metadata.finalizers.count, 3);
    assert_string_equal(value.metadata.finalizers.items[2], "c");
    assert_int_equal(value.metadata.labels.count, 3);
    assert_string_equal(value.metadata.labels.items[0].key, "a");
    assert_string_equal(string_map_get(&value.metadata.labels, "x"), "4");
    assert_string_equal(string_map_get(&value.metadata.labels, "z"), "2");
}

static void unknown_fields_are_passed_over(void **state)
{
    (void)state;
    /* A varint, 8 bytes, 4 bytes, text, and a group with a group in it; then data{"k": "v"}, with more in the entry. */
    static const char message[] = "\xa0\x06\x01"
                                  "\xa1\x06"
                                  "12345678"
                                  "\xa5\x06"
                                  "1234"
                                  "\xa2\x06\x02hi"
                                  "\xa3\x06\x0b\x08\x05\x0c\x12\x01x\xa4\x06"
                                  "\x12\x08\x0a\x01k\x12\x01v\x18\x01";
    cleanup_arena struct arena *arena = arena_new(0);
    struct error err = {0};
    struct config_map value = {0};
    if (protobuf_decode(&api_type_config_map, arena, message, sizeof(message) - 1, &value, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(value.data.count, 1);
    assert_string_equal(value.data.items[0].key, "k");
    assert_string_equal(value.data.items[0].value, "v");
}

static void what_does_not_fit_has_upstreams_words(void **state)
{
    (void)state;
    static const struct {
        const struct api_type *type;
        const char *message;
        size_t size;
        const char *error;
    } cases[] = {
#define CASE(type, message, error) {&api_type_##type, message, sizeof(message) - 1, error}
        CASE(object_meta, "\x0a", "unexpected EOF"),
        CASE(object_meta, "\x0a\x05web", "unexpected EOF"),
        CASE(object_meta, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
             "proto: negative length found during unmarshaling"),
        CASE(object_meta, "\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "proto: integer overflow"),
        CASE(object_meta, "\x08\x01", "proto: wrong wireType = 0 for field Name"),
        CASE(object_meta, "\x3a\x01x", "proto: wrong wireType = 2 for field Generation"),
        CASE(object_meta, "\x58\x01", "proto: wrong wireType = 0 for field Labels"),
        CASE(object_meta, "\x0c", "proto: ObjectMeta: wiretype end group for non-group"),
        CASE(object_meta, "\x02", "proto: ObjectMeta: illegal tag 0 (wire type 2)"),
        CASE(object_meta, "\xa7\x06", "proto: illegal wireType 7"),
        CASE(object_meta, "\xa3\x06\x0b", "unexpected EOF"),
        CASE(object_meta, "\x0a\x03w\0b", "strings with a NUL character are not supported"),
        CASE(object_meta, "\x42\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x10\x00", "year outside of range [0,9999]"),
        CASE(service_port, "\x22\x02\x08\x02", "impossible IntOrString.Type"),
        CASE(resource_requirements,
             "\x0a\x0c\x0a\x03"
             "cpu\x12\x05\x0a\x03"
             "1 m",
             "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
        CASE(managed_fields_entry, "\x3a\x04\x0a\x02{]", "fieldsV1: not valid JSON"),
#undef CASE
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cleanup_arena struct arena *arena = arena_new(0);
        struct error err = {0};
        void *value = arena_alloc(arena, cases[i].type->size);
        assert_int_equal(protobuf_decode(cases[i].type, arena, cases[i].message, cases[i].size, value, &err), -1);
        assert_int_equal(err.code, EINVAL);
        assert_string_equal(err.text, cases[i].error);
    }
}

static void bytes_that_are_not_utf8_are_replaced(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    struct object_meta meta = {0};
    assert_int_equal(protobuf_decode(&api_type_object_meta, arena, "\x0a\x04\xc3\xa4\xff\xc3", 6, &meta, NULL), 0);
    assert_string_equal(meta.name, "\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd");
}

static void values_that_go_leaves_empty_are_zero(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    struct object_meta meta = {0};
    struct resource_requirements resources = {0};
    /* A time, and a quantity in a map, without content. */
    assert_int_equal(protobuf_decode(&api_type_object_meta, arena, "\x42\x00", 2, &meta, NULL), 0);
    assert_int_equal(meta.creation_timestamp, 0);
    /* A time with content, which is the epoch, is none of them. */
    assert_int_equal(protobuf_decode(&api_type_object_meta, arena, "\x42\x04\x08\x00\x10\x00", 6, &meta, NULL), 0);
    assert_int_equal(meta.creation_timestamp, TIME_EPOCH);
    assert_int_equal(protobuf_decode(&api_type_resource_requirements, arena,
                                     "\x0a\x05\x0a\x03"
                                     "cpu",
                                     7, &resources, NULL),
                     0);
    assert_string_equal(string_map_get(&resources.limits, "cpu"), "0");
}

static void memory_is_bounded(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    cleanup_buffer struct buffer message = {0};
    struct pod_spec spec = {0};
    struct error err = {0};
    size_t count = JSON_MEMORY_MAX / sizeof(struct container) + 1;
    for (size_t i = 0; i < count; i++)
        protobuf_put_bytes(&message, api_type_field(&api_type_pod_spec, "containers", 10)->pb[0], "", 0);
    assert_int_equal(protobuf_decode(&api_type_pod_spec, arena, message.data, message.size, &spec, &err), -1);
    assert_int_equal(err.code, E2BIG);
    assert_true(arena_size(arena) < JSON_MEMORY_MAX / 2);
}

static void bodies_without_an_envelope_are_unrecognized(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        size_t size;
        const char *error;
    } cases[] = {
#define PREFIX_ERROR "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
        {"", 0, "empty data"},
        {"{\"kind\":\"Pod\"}", 14, PREFIX_ERROR},
        {"k8", 2, PREFIX_ERROR},
        {"k8s", 4, "empty body"},
        {"k8s\0\x0a\x40", 6, "unexpected EOF"},
        {"k8s\0\x08\x01", 6, "proto: wrong wireType = 0 for field TypeMeta"},
        {"0123456789012345678901234567890123", 34, PREFIX_ERROR},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cleanup_arena struct arena *arena = arena_new(0);
        struct error err = {0};
        struct pod pod = {0};
        assert_int_equal(protobuf_decode_object(&api_type_pod, arena, cases[i].body, cases[i].size, &pod, &err), -1);
        assert_int_equal(err.code, EBADMSG);
        assert_string_equal(err.text, cases[i].error);
    }
}

static void an_envelope_of_another_kind_gives_its_name_only(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    cleanup_buffer struct buffer body = {0};
    struct pod pod = {.metadata = {.name = "web"}};
    struct config_map map = {0};
    protobuf_encode_object(&api_type_pod, "v1", "Pod", &pod, (struct protobuf_style){0}, &body);
    assert_int_equal(protobuf_decode_object(&api_type_config_map, arena, body.data, body.size, &map, NULL), 0);
    assert_string_equal(map.kind, "Pod");
    assert_string_equal(map.api_version, "v1");
    assert_null(map.metadata.name);
}

static void read_recorded(const char *name, const char *ending, struct buffer *out)
{
    struct error err = {0};
    cleanup_free char *path = mem_printf("%s/%s.%s", recorded, name, ending);
    if (file_read(path, FILE_MAX, out, &err) < 0)
        fail_msg("%s", err.text);
}

/* What kubectl 1.35.2 sent for `kubectl create`, beside what it printed with --dry-run=client -o json. */
static void what_kubectl_sends_is_what_it_prints(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const struct api_type *type;
    } cases[] = {{"namespace", &api_type_namespace}, {"configmap", &api_type_config_map},
                 {"secret", &api_type_secret},       {"deployment", &api_type_deployment},
                 {"service", &api_type_service},     {"serviceaccount", &api_type_service_account},
                 {"nodeport", &api_type_service}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const struct api_type *type = cases[i].type;
        cleanup_arena struct arena *arena = arena_new(0);
        cleanup_buffer struct buffer body = {0}, json = {0};
        struct error err = {0};
        void *sent = arena_alloc(arena, type->size), *printed = arena_alloc(arena, type->size);
        read_recorded(cases[i].name, "pb", &body);
        read_recorded(cases[i].name, "json", &json);
        if (protobuf_decode_object(type, arena, body.data, body.size, sent, &err) < 0 ||
            json_decode(type, arena, json.data, json.size, printed, NULL, &err) < 0)
            fail_msg("%s: %s", cases[i].name, err.text);
        check_equal(type, printed, sent);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_has_a_number_of_its_own),
        cmocka_unit_test(what_is_encoded_reads_back_equal),
        cmocka_unit_test(fields_and_entries_may_come_in_any_order),
        cmocka_unit_test(integers_may_be_packed),
        cmocka_unit_test(messages_cut_short_are_errors_or_less),
        cmocka_unit_test(a_message_given_twice_is_merged),
        cmocka_unit_test(unknown_fields_are_passed_over),
        cmocka_unit_test(what_does_not_fit_has_upstreams_words),
        cmocka_unit_test(bytes_that_are_not_utf8_are_replaced),
        cmocka_unit_test(values_that_go_leaves_empty_are_zero),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(bodies_without_an_envelope_are_unrecognized),
        cmocka_unit_test(an_envelope_of_another_kind_gives_its_name_only),
        cmocka_unit_test(what_kubectl_sends_is_what_it_prints),
    };
    recorded = argc > 1 ? argv[1] : "kubectl";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
