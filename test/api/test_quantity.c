/* The promises of quantities: the canonical text, the rounding and the errors of resource.Quantity. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/quantity.h"
#include "base/cleanup.h"

static void a_quantity_is_written_in_its_canonical_form(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"0", "0"},
        {"0m", "0"},
        {"0Ki", "0"},
        {"-0", "0"},
        {"0.0", "0"},
        {".", "0"},
        {"1", "1"},
        {"100m", "100m"},
        {"0.5", "500m"},
        {"0.001", "1m"},
        {".001", "1m"},
        {"1.", "1."},
        {"1.G", "1.G"},
        {"1000", "1k"},
        {"1000m", "1"},
        {"5000m", "5"},
        {"1500m", "1500m"},
        {"1.5", "1500m"},
        {"1024", "1024"},
        {"1000000", "1M"},
        {"100.035k", "100.035k"},
        {"100.35k", "100350"},
        {"12E", "12E"},
        {"1.01E", "1010P"},
        {"50k", "50k"},
        /* Binary. */
        {"1024Mi", "1Gi"},
        {"1.5Gi", "1536Mi"},
        {"0.5Mi", "512Ki"},
        {"1536Mi", "1536Mi"},
        {"1Ki", "1Ki"},
        {"8Ki", "8Ki"},
        {"0.5Ki", "512"},
        {"1023.5Ki", "1048064"},
        {"100.035Ki", "102435840m"},
        {"0.05Gi", "53687091200m"},
        {"2048Ti", "2Pi"},
        {"9Ei", "9223372036854775807"},
        {"9223372036854775807Ki", "9223372036854775807"},
        {"0.000000000001Ki", "2n"},
        {"-1Gi", "-1Gi"},
        {"-0.5Gi", "-512Mi"},
        /* Exponents. */
        {"12e6", "12e6"},
        {"1e3", "1e3"},
        {"1E6", "1E6"},
        {"1e14", "100e12"},
        {"1.2e3", "1200"},
        {"1.3E+6", "1300e3"},
        {"0.5e-1", "50e-3"},
        {"1e100", "10e99"},
        {"1e-3", "1e-3"},
        {"1000e0", "1e3"},
        {"1e2147483647", "10e2147483646"},
        /* Rounded away from zero. */
        {"3.001n", "4n"},
        {"0.1n", "1n"},
        {"0.0000000001", "1n"},
        {"0.00000012345", "124n"},
        {"1.1E-9", "2e-9"},
        {"1e-100", "1e-9"},
        {"-0.1n", "-1n"},
        {"999.9999999999m", "1"},
        /* Beyond what we compute with. */
        {"123456789012345678901234567890123", "123456789012345678901234567890123"},
        {"100000000000000000000000000000000000000000", "100000000000000000000000E"},
        {"99999999999999999999999999999999999.9999999999", "100000000000000000E"},
        /* What looks canonical is kept. */
        {"+1", "+1"},
        {"1.500", "1.500"},
        {"010", "010"},
        {"1E", "1E"},
    };
    cleanup_arena struct arena *arena = arena_new(0);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *got = quantity_canonical(arena, cases[i].text, strlen(cases[i].text));
        if (!got || strcmp(got, cases[i].expected) != 0)
            fail_msg("%s: expected %s, got %s", cases[i].text, cases[i].expected, got ? got : "an error");
    }
}

static void what_is_no_quantity_is_refused_in_upstreams_words(void **state)
{
    (void)state;
#define FORMAT "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
#define SUFFIX "unable to parse quantity's suffix"
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", FORMAT},
        {"aoeu", FORMAT},
        {"1.1.M", FORMAT},
        {"1+1.0M", FORMAT},
        {" 1", FORMAT},
        {"1 ", FORMAT},
        {"0.1mi", SUFFIX},
        {"0.1am", FORMAT},
        {".5i", SUFFIX},
        {"1i", SUFFIX},
        {"-3.01e-", SUFFIX},
        {"1Kib", FORMAT},
        {"1e4294967297", SUFFIX},
        {"1KI", FORMAT},
        {"1ki", SUFFIX},
        {"1e", SUFFIX},
        {"1gb", FORMAT},
        {"--1", SUFFIX},
        {"1k5", SUFFIX},
        {"e-10", "unable to parse numeric part of quantity"},
    };
    cleanup_arena struct arena *arena = arena_new(0);
    quantity_t value;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        const char *got = quantity_error(cases[i].text, strlen(cases[i].text));
        if (!got || strcmp(got, cases[i].expected) != 0)
            fail_msg("%s: expected %s, got %s", cases[i].text, cases[i].expected, got ? got : "no error");
        assert_null(quantity_canonical(arena, cases[i].text, strlen(cases[i].text)));
        assert_int_equal(quantity_parse(cases[i].text, strlen(cases[i].text), &value), -1);
    }
}

static void values_round_away_from_zero_and_saturate(void **state)
{
    (void)state;
    assert_int_equal(quantity_value("1500m"), 2);
    assert_int_equal(quantity_value("-1500m"), -2);
    assert_int_equal(quantity_value("1n"), 1);
    assert_int_equal(quantity_value("1Gi"), 1 << 30);
    assert_int_equal(quantity_value("1e30"), INT64_MAX);
    assert_int_equal(quantity_value("-1e100"), INT64_MIN);
    assert_int_equal(quantity_value(NULL), 0);
    assert_int_equal(quantity_value("junk"), 0);
    assert_int_equal(quantity_milli_value("1"), 1000);
    assert_int_equal(quantity_milli_value("0.1m"), 1);
    assert_int_equal(quantity_milli_value("250m"), 250);
    assert_int_equal(quantity_milli_value("9Ei"), INT64_MAX);
}

static void quantities_compare_by_value(void **state)
{
    (void)state;
    assert_int_equal(quantity_compare("1", "1000m"), 0);
    assert_int_equal(quantity_compare("1Ki", "1k"), 1);
    assert_int_equal(quantity_compare("50m", "100m"), -1);
    assert_int_equal(quantity_compare(NULL, "0"), 0);
    assert_int_equal(quantity_compare("10000T", "100Gi"), 1);
}

static void a_computed_value_is_written_in_the_form_asked_for(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    quantity_t gibi = (quantity_t)(1 << 30) * 1000000000;
    assert_string_equal(quantity_format(arena, gibi, true), "1Gi");
    assert_string_equal(quantity_format(arena, gibi, false), "1073741824");
    assert_string_equal(quantity_format(arena, gibi / 2 * 3, true), "1536Mi");
    assert_string_equal(quantity_format(arena, 250000000, true), "250m");
    assert_string_equal(quantity_format(arena, 0, true), "0");
    assert_string_equal(quantity_format(arena, -gibi, true), "-1Gi");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quantity_is_written_in_its_canonical_form),
        cmocka_unit_test(what_is_no_quantity_is_refused_in_upstreams_words),
        cmocka_unit_test(values_round_away_from_zero_and_saturate),
        cmocka_unit_test(quantities_compare_by_value),
        cmocka_unit_test(a_computed_value_is_written_in_the_form_asked_for),
    };
    return cmocka_run_group_tests_name("quantity", tests, NULL, NULL);
}
