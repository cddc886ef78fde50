/* Paths as texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/path.h"

static void a_path_is_written_in_one_way(void **state)
{
    static const struct {
        const char *path, *normal;
    } cases[] = {
        {"", "/"},
        {"/", "/"},
        {"//", "/"},
        {".", "/"},
        {"..", "/"},
        {"/../..", "/"},
        {"/etc/hosts", "/etc/hosts"},
        {"etc/hosts", "/etc/hosts"},
        {"/etc/hosts/", "/etc/hosts"},
        {"//etc/./hosts//.", "/etc/hosts"},
        {"/etc/x/../hosts", "/etc/hosts"},
        {"/x/y/../../etc/hosts", "/etc/hosts"},
        {"/x/../../etc/hosts/z/..", "/etc/hosts"},
        {"/etc/...", "/etc/..."},
        {"/etc/.hosts", "/etc/.hosts"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cleanup_free char *normal = path_normal(cases[i].path);
        assert_string_equal(normal, cases[i].normal);
        assert_true(path_same(cases[i].path, cases[i].normal));
        assert_false(path_same(cases[i].path, "/etc/hostname"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_path_is_written_in_one_way)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
