/* Schedules, time zone files and sets of indexes: none of them crashes or runs for ever, and what they give is in
 * order. The first byte says which of them the rest is. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/cron.h"
#include "api/index_set.h"
#include "base/cleanup.h"
#include "fuzz.h"

#define SECOND INT64_C(1000000)
#define START (INT64_C(1600000000) * SECOND)

static void check_schedule(struct arena *arena, const char *text)
{
    struct cron_schedule schedule;
    const char *problem = cron_parse(arena, text, timezone_find("Europe/Berlin"), &schedule);
    CHECK(!problem || *problem);
    int64_t at = START;
    for (int i = 0; !problem && i < 20; i++) {
        int64_t next = cron_next(&schedule, at);
        CHECK(!next || next > at);
        if (!next)
            break;
        CHECK(next % SECOND == 0);
        at = next;
    }
}

static void check_zone(const void *data, size_t size)
{
    struct timezone_data *zone = timezone_parse(data, size);
    struct cron_schedule schedule = {
        .zone = zone, .minute = 1, .hour = 1 << 2, .day = UINT64_MAX, .month = UINT64_MAX, .weekday = UINT64_MAX};
    for (int64_t at = 0; zone && at < INT64_C(5000000000); at += INT64_C(123456789)) {
        int64_t from, until;
        int32_t offset = timezone_offset(zone, at, &from, &until);
        CHECK(from <= at && at < until);
        CHECK(abs(offset) <= 200000);
        struct civil_time c = civil_from_instant(zone, at);
        CHECK(c.month >= 1 && c.month <= 12 && c.day >= 1 && c.day <= 31 && c.hour < 24);
    }
    if (zone)
        cron_next(&schedule, START);
    timezone_free(zone);
}

static void check_indexes(struct arena *arena, const char *text)
{
    int32_t total, missing[8];
    struct index_set set = index_set_parse(arena, text, 1000);
    const char *canonical = index_set_text(arena, &set);
    for (size_t i = 0; i < set.count; i++) {
        CHECK(set.items[i].first >= 0 && set.items[i].first <= set.items[i].last && set.items[i].last < 1000);
        CHECK(!i || set.items[i].first > set.items[i - 1].last + 1);
    }
    CHECK(!index_set_check(arena, canonical, 1000, &total) && total == index_set_total(&set));
    if (!index_set_check(arena, text, 1000, &total))
        CHECK(total == index_set_total(&set));
    size_t count = index_set_missing(&set, 1000, missing, 8);
    for (size_t i = 0; i < count; i++)
        CHECK(!index_set_has(&set, missing[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    cleanup_arena struct arena *arena = arena_new(0);
    const char *text = arena_string_n(arena, (const char *)data + 1, size - 1);
    if (data[0] % 3 == 0)
        check_schedule(arena, text);
    else if (data[0] % 3 == 1)
        check_zone(data + 1, size - 1);
    else
        check_indexes(arena, text);
    return 0;
}
