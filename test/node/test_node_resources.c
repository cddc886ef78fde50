/* Huge pages of a machine, and resources that others have declared in the status of a node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "node/node_resources.h"

static void put(const char *directory, const char *size, const char *count)
{
    struct error err;
    cleanup_free char *path = mem_printf("%s/%s", directory, size), *file = mem_printf("%s/nr_hugepages", path);
    assert_int_equal(file_make_directories(path, 0755, &err), 0);
    if (count)
        assert_int_equal(file_write_atomic(file, count, strlen(count), 0644, &err), 0);
}

static void sizes_are_named_as_upstream_and_as_the_kernel_name_them(void **state)
{
    static const struct huge_page expected[] = {
        {65536, 0, "hugepages-64Ki", "64KB"},
        {2 << 20, 10 << 20, "hugepages-2Mi", "2MB"},
        {32 << 20, 0, "hugepages-32Mi", "32MB"},
        {1 << 30, INT64_C(4) << 30, "hugepages-1Gi", "1GB"},
    };
    char directory[] = "/tmp/coracle-huge-pages-XXXXXX";
    struct arena *arena = arena_new(0);
    struct error err;
    assert_non_null(mkdtemp(directory));
    put(directory, "hugepages-1048576kB", "4\n");
    put(directory, "hugepages-2048kB", "5\n");
    put(directory, "hugepages-64kB", "0\n");
    put(directory, "hugepages-32768kB", NULL);
    put(directory, "something", "7\n");
    struct huge_pages pages = huge_pages_read(arena, directory);
    assert_int_equal(pages.count, ARRAY_COUNT(expected));
    for (size_t i = 0; i < pages.count; i++) {
        assert_int_equal(pages.items[i].size, expected[i].size);
        assert_int_equal(pages.items[i].total, expected[i].total);
        assert_string_equal(pages.items[i].resource, expected[i].resource);
        assert_string_equal(pages.items[i].kernel, expected[i].kernel);
    }
    assert_int_equal(huge_pages_total(&pages), (INT64_C(4) << 30) + (10 << 20));
    assert_int_equal(file_remove_tree(directory, &err), 0);
    assert_int_equal(huge_pages_read(arena, directory).count, 0);
    arena_free(arena);
}

#define MAP(...)                                                                                                       \
    (struct string_map)                                                                                                \
    {                                                                                                                  \
        .items = (struct string_pair[]){__VA_ARGS__},                                                                  \
        .count = sizeof((struct string_pair[]){__VA_ARGS__}) / sizeof(struct string_pair)                              \
    }

static void assert_maps(const struct string_map *map, const struct string_map *expected)
{
    assert_int_equal(map->count, expected->count);
    for (size_t i = 0; i < map->count; i++) {
        assert_string_equal(map->items[i].key, expected->items[i].key);
        assert_string_equal(map->items[i].value, expected->items[i].value);
    }
}

static void what_others_have_declared_stays(void **state)
{
    struct arena *arena = arena_new(0);
    struct node_amounts own = {
        .capacity = MAP({"cpu", "4"}, {"hugepages-2Mi", "0"}, {"memory", "8Gi"}),
        .allocatable = MAP({"cpu", "3"}, {"hugepages-2Mi", "0"}, {"memory", "7Gi"}),
    };
    struct node_status shown = {
        .capacity = MAP({"cpu", "99"}, {"example.com/dongle", "4"}, {"hugepages-1Gi", "1Gi"}, {"hugepages-2Mi", "4Mi"}),
        .allocatable =
            MAP({"cpu", "98"}, {"example.com/dongle", "1"}, {"example.com/gone", "2"}, {"hugepages-1Gi", "1Gi"}),
    };
    struct node_amounts amounts = node_resources_merge(arena, &shown, &own);
    assert_maps(&amounts.capacity,
                &MAP({"cpu", "4"}, {"example.com/dongle", "4"}, {"hugepages-2Mi", "0"}, {"memory", "8Gi"}));
    assert_maps(&amounts.allocatable,
                &MAP({"cpu", "3"}, {"example.com/dongle", "4"}, {"hugepages-2Mi", "0"}, {"memory", "7Gi"}));
    /* It comes to rest. */
    struct node_status again = {.capacity = amounts.capacity, .allocatable = amounts.allocatable};
    struct node_amounts same = node_resources_merge(arena, &again, &own);
    assert_maps(&same.capacity, &amounts.capacity);
    assert_maps(&same.allocatable, &amounts.allocatable);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_named_as_upstream_and_as_the_kernel_name_them),
        cmocka_unit_test(what_others_have_declared_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
