/* The promise of api/inert.h: each field that is set and does not act is named once, with its path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/inert.h"

struct leaf {
    const char *name;
    struct opt_bool later;
};

struct leaf_array {
    struct leaf *items;
    size_t count;
};

struct root {
    struct leaf value;
    struct leaf *pointer;
    struct leaf_array array;
    struct string_map later;
};

static const struct api_field leaf_fields[] = {
    {.name = "name", .kind = API_STRING, .offset = offsetof(struct leaf, name)},
    {.name = "later", .kind = API_BOOL, .shape = API_OPTIONAL, .offset = offsetof(struct leaf, later), .inert = "L"},
};
static const struct api_type leaf_type = {.name = "Leaf", .fields = leaf_fields, .field_count = 2, .size = sizeof(struct leaf)};
static const struct api_field root_fields[] = {
    {.name = "value", .kind = API_STRUCT, .type = &leaf_type, .offset = offsetof(struct root, value)},
    {.name = "pointer", .kind = API_STRUCT, .shape = API_OPTIONAL, .type = &leaf_type, .offset = offsetof(struct root, pointer)},
    {.name = "array", .kind = API_STRUCT, .shape = API_ARRAY, .type = &leaf_type, .offset = offsetof(struct root, array)},
    {.name = "later", .kind = API_STRING, .shape = API_MAP, .offset = offsetof(struct root, later), .inert = "M"},
};
static const struct api_type root_type = {.name = "Root", .fields = root_fields, .field_count = 4, .size = sizeof(struct root)};

static void note(void *context, const char *path, const char *reason)
{
    sprintf((char *)context + strlen(context), "%s:%s ", path, reason);
}

static void every_inert_field_that_is_set_is_named(void **state)
{
    struct leaf plain = {"a", {0}}, set = {"b", {true, false}}, both[] = {plain, set};
    struct string_pair pair = {"k", "v"};
    char text[256] = "";
    struct root root = {.value = plain, .pointer = &plain, .array = {both, 1}};
    api_each_inert(&root_type, &root, note, text);
    assert_string_equal(text, "");
    root = (struct root){.value = set, .pointer = &set, .array = {both, 2}, .later = {&pair, 1}};
    api_each_inert(&root_type, &root, note, text);
    assert_string_equal(text, "value.later:L pointer.later:L array[1].later:L later:M ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_inert_field_that_is_set_is_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
