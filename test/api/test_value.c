/* The promises of everything that walks the descriptions, for random values of every type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "api/json.h"
#include "api/patch.h"
#include "api/types.h"
#include "base/cleanup.h"
#include "random_value.h"

#define ROUNDS 40
#define DEPTH 6

typedef void (*check_function)(struct arena *arena, struct random *r, const struct api_type *type, void *value);

static void for_random_values(check_function check)
{
    struct random r = {1};
    for (size_t t = 0; t < api_type_count; t++) {
        for (int i = 0; i < ROUNDS; i++) {
            cleanup_arena struct arena *arena = arena_new(0);
            check(arena, &r, api_types[t], random_value(&r, arena, api_types[t], DEPTH));
        }
    }
}

static void check_round_trip(struct arena *arena, struct random *r, const struct api_type *type, void *value)
{
    cleanup_buffer struct buffer first = {0}, second = {0};
    struct error err = {0};
    struct json_report report = {0};
    void *again = arena_alloc(arena, type->size);
    json_encode(type, value, &first);
    if (json_decode(type, arena, first.data, first.size, again, &report, &err) < 0)
        fail_msg("%s: %s: %s", type->name, err.text, first.data);
    assert_int_equal(report.count, 0);
    if (!api_equal(type, value, again))
        fail_msg("%s: not equal: %s", type->name, first.data);
    json_encode(type, again, &second);
    assert_string_equal(first.data, second.data);
}

static void what_is_written_reads_back_equal(void **state)
{
    (void)state;
    for_random_values(check_round_trip);
}

static void check_jansson(struct arena *arena, struct random *r, const struct api_type *type, void *value)
{
    cleanup_buffer struct buffer ours = {0};
    struct error err = {0};
    void *again = arena_alloc(arena, type->size);
    json_error_t why;
    json_encode(type, value, &ours);
    json_t *tree = json_loadb(ours.data, ours.size, JSON_REJECT_DUPLICATES, &why);
    if (!tree)
        fail_msg("%s: %s: %s", type->name, why.text, ours.data);
    char *text = json_dumps(tree, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_SORT_KEYS);
    if (json_decode(type, arena, text, strlen(text), again, NULL, &err) < 0)
        fail_msg("%s: %s: %s", type->name, err.text, text);
    if (!api_equal(type, value, again))
        fail_msg("%s: not equal: %s", type->name, text);
    free(text);
    json_decref(tree);
}

static void another_library_reads_and_writes_the_same(void **state)
{
    (void)state;
    for_random_values(check_jansson);
}

static void check_copy(struct arena *arena, struct random *r, const struct api_type *type, void *value)
{
    cleanup_buffer struct buffer before = {0}, after = {0};
    struct arena *other = arena_new(0);
    json_encode(type, value, &before);
    void *copy = api_copy(other, type, value);
    assert_true(api_equal(type, value, copy));
    memset(value, 0x5a, type->size);
    json_encode(type, copy, &after);
    assert_string_equal(before.data, after.data);
    arena_free(other);
}

static void a_copy_is_equal_and_stands_alone(void **state)
{
    (void)state;
    for_random_values(check_copy);
}

/* Two random values differ exactly if what is written of them differs, nil and empty lists aside. */
static void check_difference(struct arena *arena, struct random *r, const struct api_type *type, void *value)
{
    cleanup_buffer struct buffer a = {0}, b = {0};
    void *other = random_value(r, arena, type, DEPTH);
    json_encode(type, value, &a);
    json_encode(type, other, &b);
    bool same_text = strcmp(a.data, b.data) == 0;
    if (same_text && !api_equal(type, value, other))
        fail_msg("%s: same text but not equal: %s", type->name, a.data);
    if (!same_text && api_equal(type, value, other) && !strstr(a.data, "[]") && !strstr(b.data, "[]") &&
        !strstr(a.data, "null") && !strstr(b.data, "null"))
        fail_msg("%s: equal but not the same text: %s %s", type->name, a.data, b.data);
}

static void values_that_differ_are_not_equal(void **state)
{
    (void)state;
    for_random_values(check_difference);
}

static void check_defaults(struct arena *arena, struct random *r, const struct api_type *type, void *value)
{
    void *once = api_copy(arena, type, value);
    api_set_declared_defaults(arena, type, once);
    void *twice = api_copy(arena, type, once);
    api_set_declared_defaults(arena, type, twice);
    assert_true(api_equal(type, once, twice));
}

static void defaults_are_set_once(void **state)
{
    (void)state;
    for_random_values(check_defaults);
}

/* The merge patch that turns an object into a value is that value, with null for what the object has besides. */
static void check_merge_patch(struct arena *arena, struct random *r, const struct api_type *type, void *value)
{
    cleanup_buffer struct buffer object = {0}, out = {0};
    struct error err = {0};
    void *again = arena_alloc(arena, type->size);
    json_encode(type, value, &object);
    enum patch_kind kind = random_below(r, 2) ? PATCH_MERGE : PATCH_STRATEGIC;
    if (patch_apply(kind, type, object.data, object.size, "{}", 2, &out, &err) < 0)
        fail_msg("%s: %s", type->name, err.text);
    assert_int_equal(json_decode(type, arena, out.data, out.size, again, NULL, NULL), 0);
    assert_true(api_equal(type, value, again));
    buffer_clear(&out);
    if (patch_apply(PATCH_MERGE, type, "{}", 2, object.data, object.size, &out, &err) < 0)
        fail_msg("%s: %s", type->name, err.text);
    again = arena_alloc(arena, type->size);
    assert_int_equal(json_decode(type, arena, out.data, out.size, again, NULL, NULL), 0);
    if (!strstr(object.data, "null"))
        assert_true(api_equal(type, value, again));
}

static void an_empty_patch_changes_nothing_and_a_full_one_makes_all(void **state)
{
    (void)state;
    for_random_values(check_merge_patch);
}

static void every_type_fits_the_codec(void **state)
{
    (void)state;
    for (size_t t = 0; t < api_type_count; t++) {
        assert_in_range(api_types[t]->field_count, 0, JSON_FIELD_MAX);
        for (uint32_t i = 0; i < api_types[t]->field_count; i++) {
            const struct api_field *f = &api_types[t]->fields[i];
            assert_int_equal(strlen(f->name), f->name_size);
            assert_ptr_equal(api_type_field(api_types[t], f->name, f->name_size), f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back_equal),
        cmocka_unit_test(another_library_reads_and_writes_the_same),
        cmocka_unit_test(a_copy_is_equal_and_stands_alone),
        cmocka_unit_test(values_that_differ_are_not_equal),
        cmocka_unit_test(defaults_are_set_once),
        cmocka_unit_test(an_empty_patch_changes_nothing_and_a_full_one_makes_all),
        cmocka_unit_test(every_type_fits_the_codec),
    };
    return cmocka_run_group_tests_name("value", tests, NULL, NULL);
}
