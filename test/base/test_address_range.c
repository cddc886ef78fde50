/* Ranges of addresses as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/address_range.h"
#include "base/cleanup.h"

static void all_forms_are_read(void **state)
{
    struct address_ranges r;
    char text[INET6_ADDRSTRLEN];
    assert_int_equal(address_ranges_parse("192.0.2.7/30,10.0.0.254-10.0.1.1,2001:db8::fffe/127,192.0.2.99", &r, NULL),
                     0);
    assert_int_equal(r.count, 4);
    static const char *const v4[] = {"192.0.2.4",  "192.0.2.5", "192.0.2.6", "192.0.2.7", "10.0.0.254",
                                     "10.0.0.255", "10.0.1.0",  "10.0.1.1",  "192.0.2.99"};
    for (uint32_t i = 0; i < ARRAY_COUNT(v4); i++) {
        assert_true(address_ranges_at(&r, AF_INET, i, text));
        assert_string_equal(text, v4[i]);
        assert_true(address_ranges_contain(&r, text));
    }
    assert_false(address_ranges_at(&r, AF_INET, ARRAY_COUNT(v4), text));
    assert_true(address_ranges_at(&r, AF_INET6, 1, text));
    assert_string_equal(text, "2001:db8::ffff");
    assert_false(address_ranges_at(&r, AF_INET6, 2, text));
    static const char *const outside[] = {"192.0.2.3", "192.0.2.8", "10.0.1.2", "2001:db8::1:0", "2001:db8::", "x", ""};
    for (size_t i = 0; i < ARRAY_COUNT(outside); i++)
        assert_false(address_ranges_contain(&r, outside[i]));
}

static void wide_ranges_are_bounded(void **state)
{
    struct address_ranges r;
    char text[INET6_ADDRSTRLEN];
    assert_int_equal(address_ranges_parse("fd00::/8,10.0.0.0-10.255.255.255", &r, NULL), 0);
    assert_true(address_ranges_at(&r, AF_INET6, 65535, text));
    assert_string_equal(text, "fd00::ffff");
    assert_false(address_ranges_at(&r, AF_INET6, 65536, text));
    assert_true(address_ranges_contain(&r, "10.0.255.255"));
    assert_false(address_ranges_contain(&r, "10.1.0.0"));
}

static void what_is_no_range_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "x",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/-1",
        "10.0.0.9-10.0.0.1",
        "10.0.0.1-::1",
        "10.0.0.1-",
        "-10.0.0.1",
        "10.0.0.1,",
        "fd00::/129",
        "10.0.0.0/8x",
        ("1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,"
         "1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1")};
    struct address_ranges r;
    struct error err;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(address_ranges_parse(bad[i], &r, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_forms_are_read),
        cmocka_unit_test(wide_ranges_are_bounded),
        cmocka_unit_test(what_is_no_range_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
