/* The promises of schedules: what is accepted, what is said of the rest, and when they strike, also around the hours
 * that daylight saving skips and repeats. The instants are robfig/cron's own (spec_test.go of its version 3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/cron.h"
#include "base/cleanup.h"
#include "base/timestamp.h"

static const struct timezone_data *zone(const char *name)
{
    const struct timezone_data *found = timezone_find(name);
    if (!found)
        fail_msg("there is no time zone %s: is tzdata installed?", name);
    return found;
}

static int64_t instant(const char *text)
{
    int64_t at;
    assert_int_equal(time_parse(text, &at), 0);
    return at;
}

static void assert_next(const char *schedule, const char *name, const char *after, const char *expected)
{
    struct cron_schedule parsed;
    cleanup_arena struct arena *arena = arena_new(0);
    const char *problem = cron_parse(arena, schedule, zone(name), &parsed);
    if (problem)
        fail_msg("%s: %s", schedule, problem);
    int64_t next = cron_next(&parsed, instant(after)), wanted = expected ? instant(expected) : 0;
    if (next != wanted) {
        char text[TIME_TEXT_MAX] = "never";
        if (next)
            time_format(next, text);
        fail_msg("%s in %s after %s: %s, not %s", schedule, name, after, text, expected ? expected : "never");
    }
}

static void schedules_strike_when_they_should(void **state)
{
    (void)state;
    static const struct {
        const char *schedule, *after, *expected;
    } cases[] = {
        {"0/15 * * * *", "2012-07-09T14:45:00Z", "2012-07-09T15:00:00Z"},
        {"0/15 * * * *", "2012-07-09T14:59:59Z", "2012-07-09T15:00:00Z"},
        {"20-35/15 * * * *", "2012-07-09T15:45:00Z", "2012-07-09T16:20:00Z"},
        {"*/15 * * * *", "2012-07-09T23:46:00Z", "2012-07-10T00:00:00Z"},
        {"*/1 1/2 * * *", "2012-07-09T23:35:51Z", "2012-07-09T23:36:00Z"},
        {"0 0 9 Apr-Oct ?", "2012-07-09T23:35:00Z", "2012-08-09T00:00:00Z"},
        {"0 0 */5 Apr,Aug,Oct Mon", "2012-07-09T23:35:00Z", "2012-08-01T00:00:00Z"},
        {"0 0 */5 Oct Mon", "2012-07-09T23:35:00Z", "2012-10-01T00:00:00Z"},
        {"0 0 * Feb Mon", "2012-07-09T23:35:00Z", "2013-02-04T00:00:00Z"},
        {"0 0 * Feb Mon/2", "2012-07-09T23:35:00Z", "2013-02-01T00:00:00Z"},
        {"59 23 31 12 *", "2012-12-31T23:59:45Z", "2013-12-31T23:59:00Z"},
        {"0 0 29 Feb ?", "2012-07-09T23:35:00Z", "2016-02-29T00:00:00Z"},
        {"0 0 30 Feb ?", "2012-07-09T23:35:00Z", NULL},
        {"0 0 31 Apr ?", "2012-07-09T23:35:00Z", NULL},
        {", * * * *", "2012-07-09T23:35:00Z", NULL},
        {"@hourly", "2012-07-09T23:35:00Z", "2012-07-10T00:00:00Z"},
        {"@daily", "2012-07-09T23:35:00Z", "2012-07-10T00:00:00Z"},
        {"@midnight", "2012-07-09T00:00:00Z", "2012-07-10T00:00:00Z"},
        {"@weekly", "2012-07-09T23:35:00Z", "2012-07-15T00:00:00Z"},
        {"@monthly", "2012-07-09T23:35:00Z", "2012-08-01T00:00:00Z"},
        {"@yearly", "2012-07-09T23:35:00Z", "2013-01-01T00:00:00Z"},
        {"@annually", "2012-07-09T23:35:00Z", "2013-01-01T00:00:00Z"},
        {"@every 1h30m", "2012-07-09T23:35:00Z", "2012-07-10T01:05:00Z"},
        {"@every 10ms", "2012-07-09T23:35:00.5Z", "2012-07-09T23:35:01Z"},
        {"TZ=America/New_York 0 0 * * *", "2012-07-09T23:35:00Z", "2012-07-10T04:00:00Z"},
        {"CRON_TZ=Asia/Tokyo @daily", "2012-07-09T23:35:00Z", "2012-07-10T15:00:00Z"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_next(cases[i].schedule, "UTC", cases[i].after, cases[i].expected);
}

static void hours_that_are_skipped_or_repeated_are_handled_as_upstream_does(void **state)
{
    (void)state;
    static const struct {
        const char *schedule, *zone, *after, *expected;
    } cases[] = {
        /* In New York, 2012: 2:00 was skipped on March 11th, 1:00 came twice on November 4th. */
        {"30 2 11 Mar ?", "America/New_York", "2012-03-11T00:00:00-05:00", "2013-03-11T02:30:00-04:00"},
        {"0 * * * ?", "America/New_York", "2012-03-11T00:00:00-05:00", "2012-03-11T01:00:00-05:00"},
        {"0 * * * ?", "America/New_York", "2012-03-11T01:00:00-05:00", "2012-03-11T03:00:00-04:00"},
        {"0 * * * ?", "America/New_York", "2012-03-11T03:00:00-04:00", "2012-03-11T04:00:00-04:00"},
        {"0 1 * * ?", "America/New_York", "2012-03-11T00:00:00-05:00", "2012-03-11T01:00:00-05:00"},
        {"0 1 * * ?", "America/New_York", "2012-03-11T01:00:00-05:00", "2012-03-12T01:00:00-04:00"},
        {"0 2 * * ?", "America/New_York", "2012-03-11T00:00:00-05:00", "2012-03-12T02:00:00-04:00"},
        {"30 2 04 Nov ?", "America/New_York", "2012-11-04T00:00:00-04:00", "2012-11-04T02:30:00-05:00"},
        {"45 1 04 Nov ?", "America/New_York", "2012-11-04T01:30:00-04:00", "2012-11-04T01:45:00-04:00"},
        {"0 * * * ?", "America/New_York", "2012-11-04T00:00:00-04:00", "2012-11-04T01:00:00-04:00"},
        {"0 * * * ?", "America/New_York", "2012-11-04T01:00:00-04:00", "2012-11-04T01:00:00-05:00"},
        {"0 * * * ?", "America/New_York", "2012-11-04T01:00:00-05:00", "2012-11-04T02:00:00-05:00"},
        {"0 1 * * ?", "America/New_York", "2012-11-04T00:00:00-04:00", "2012-11-04T01:00:00-04:00"},
        {"0 1 * * ?", "America/New_York", "2012-11-04T01:00:00-04:00", "2012-11-04T01:00:00-05:00"},
        {"0 1 * * ?", "America/New_York", "2012-11-04T01:00:00-05:00", "2012-11-05T01:00:00-05:00"},
        /* In Sao Paulo midnight itself was skipped. */
        {"0 9 10 * ?", "America/Sao_Paulo", "2018-11-03T05:09:57-03:00", "2018-11-10T09:00:00-02:00"},
        {"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00-03:00", "2018-11-05T00:00:00-02:00"},
        /* Offsets that are no whole hours; the next change is told by the rule at the end of the file. */
        {"30 14 * * *", "Asia/Kolkata", "2012-07-09T23:35:00Z", "2012-07-10T09:00:00Z"},
        {"0 12 * 7 *", "Europe/Berlin", "2052-07-01T11:00:00Z", "2052-07-02T10:00:00Z"},
        {"0 12 * 1 *", "Europe/Berlin", "2052-01-01T12:00:00Z", "2052-01-02T11:00:00Z"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_next(cases[i].schedule, cases[i].zone, cases[i].after, cases[i].expected);
}

static void what_is_wrong_is_said_in_upstreams_words(void **state)
{
    (void)state;
    static const struct {
        const char *schedule, *problem;
    } cases[] = {
        {"", "empty spec string"},
        {"* * * *", "expected exactly 5 fields, found 4: [* * * *]"},
        {"* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"},
        {"60 * * * *", "end of range (60) above maximum (59): 60"},
        {"* * 0 * *", "beginning of range (0) below minimum (1): 0"},
        {"* * * * 7", "end of range (7) above maximum (6): 7"},
        {"5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"},
        {"1-2-3 * * * *", "too many hyphens: 1-2-3"},
        {"1/2/3 * * * *", "too many slashes: 1/2/3"},
        {"*/0 * * * *", "step of range should be a positive number: */0"},
        {"*/-5 * * * *", "negative number (-5) not allowed: -5"},
        {"x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"},
        {"99999999999999999999 * * * *",
         "failed to parse int from 99999999999999999999: strconv.Atoi: parsing \"99999999999999999999\": value out of "
         "range"},
        {"@sometimes", "unrecognized descriptor: @sometimes"},
        {"@every soon", "failed to parse duration @every soon: time: invalid duration \"soon\""},
        {"@every 5", "failed to parse duration @every 5: time: missing unit in duration \"5\""},
        {"@every 5x", "failed to parse duration @every 5x: time: unknown unit \"x\" in duration \"5x\""},
        {"TZ=Mars/Olympus * * * * *", "provided bad location Mars/Olympus: unknown time zone Mars/Olympus"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct cron_schedule parsed;
        cleanup_arena struct arena *arena = arena_new(0);
        const char *problem = cron_parse(arena, cases[i].schedule, zone("UTC"), &parsed);
        if (!problem)
            fail_msg("%s is accepted", cases[i].schedule);
        assert_string_equal(problem, cases[i].problem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedules_strike_when_they_should),
        cmocka_unit_test(hours_that_are_skipped_or_repeated_are_handled_as_upstream_does),
        cmocka_unit_test(what_is_wrong_is_said_in_upstreams_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
