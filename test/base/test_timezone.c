/* The promises of base/timezone.h: the same offsets and dates as the C library has, and no way out of the database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/timezone.h"

static void assert_as_libc(const struct timezone_data *zone, int64_t at)
{
    struct tm tm;
    time_t t = at;
    assert_non_null(localtime_r(&t, &tm));
    struct civil_time c = civil_from_instant(zone, at);
    assert_int_equal(timezone_offset(zone, at, NULL, NULL), tm.tm_gmtoff);
    assert_int_equal(c.year, tm.tm_year + 1900);
    assert_int_equal(c.month, tm.tm_mon + 1);
    assert_int_equal(c.day, tm.tm_mday);
    assert_int_equal(c.hour, tm.tm_hour);
    assert_int_equal(c.minute, tm.tm_min);
    assert_int_equal(c.second, tm.tm_sec);
    assert_int_equal(c.weekday, tm.tm_wday);
    int64_t back = civil_to_instant(zone, c.year, c.month, c.day, c.hour, c.minute, c.second);
    /* An hour that comes twice is read as one of the two. */
    assert_true(back == at || timezone_offset(zone, back, NULL, NULL) != timezone_offset(zone, at, NULL, NULL));
}

static void offsets_and_dates_are_those_of_the_c_library(void **state)
{
    (void)state;
    static const char *const names[] = {"UTC",          "Europe/Berlin",     "America/New_York",    "America/Sao_Paulo",
                                        "Asia/Kolkata", "Africa/Casablanca", "Australia/Lord_Howe", "Asia/Tehran",
                                        "Pacific/Apia", "America/Nuuk",      "Europe/Dublin",       "Etc/GMT+5"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        const struct timezone_data *zone = timezone_find(names[i]);
        if (!zone)
            fail_msg("there is no time zone %s: is tzdata installed?", names[i]);
        assert_ptr_equal(timezone_find(names[i]), zone);
        setenv("TZ", names[i], 1);
        tzset();
        /* From 1950 to 2090, each 5 days and some. */
        for (int64_t at = INT64_C(-631152000); at < INT64_C(3786912000); at += 432007)
            assert_as_libc(zone, at);
    }
}

static void names_that_lead_elsewhere_and_files_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {
        "../../../etc/passwd", "/etc/localtime", "Europe/../UTC", "tzdata.zi", "Europe", "Nowhere/Land", ".", "..",
        "Europe//Berlin"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        assert_null(timezone_find(names[i]));
    assert_non_null(timezone_find(""));
    assert_non_null(timezone_find("Local"));
    assert_null(timezone_parse("", 0));
    assert_null(timezone_parse("TZif2", 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_and_dates_are_those_of_the_c_library),
        cmocka_unit_test(names_that_lead_elsewhere_and_files_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
