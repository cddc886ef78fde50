/* The promises of base/: containers, text forms of time, base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/encode.h"
#include "base/env.h"
#include "base/ip_text.h"
#include "base/map.h"
#include "base/timestamp.h"

static void a_map_keeps_every_key_through_growth_and_removal(void **state)
{
    (void)state;
    struct map map = {0};
    char key[16];
    for (intptr_t i = 1; i <= 1000; i++) {
        snprintf(key, sizeof(key), "k%ld", (long)i);
        assert_null(map_set(&map, key, (void *)i));
    }
    for (intptr_t i = 1; i <= 1000; i += 2) {
        snprintf(key, sizeof(key), "k%ld", (long)i);
        assert_ptr_equal(map_remove(&map, key), (void *)i);
    }
    for (intptr_t i = 1; i <= 1000; i++) {
        snprintf(key, sizeof(key), "k%ld", (long)i);
        assert_ptr_equal(map_get(&map, key), i % 2 ? NULL : (void *)i);
    }
    assert_int_equal(map.count, 500);
    map_free(&map);
}

static void times_are_written_as_upstream_writes_them(void **state)
{
    (void)state;
    char text[TIME_TEXT_MAX];
    int64_t t;
    assert_int_equal(time_parse("2026-01-02T15:04:05.25+01:00", &t), 0);
    time_format(t, text);
    assert_string_equal(text, "2026-01-02T14:04:05Z");
    time_format_micro(t, text);
    assert_string_equal(text, "2026-01-02T14:04:05.250000Z");
    assert_int_equal(time_parse("2026-13-02T15:04:05Z", &t), -1);
    assert_int_equal(time_parse("2026-01-02", &t), -1);
    duration_format(90 * SECOND, text);
    assert_string_equal(text, "1m30s");
    duration_format(1500 * MILLISECOND, text);
    assert_string_equal(text, "1.5s");
    duration_format(100 * MILLISECOND, text);
    assert_string_equal(text, "100ms");
}

static void the_ends_of_time_are_written_and_read(void **state)
{
    (void)state;
    static const struct {
        int64_t instant;
        const char *text;
        bool writable;
    } rows[] = {
        {TIME_MIN, "0000-01-01T00:00:00.000000Z", true},
        {TIME_MAX, "9999-12-31T23:59:59.999999Z", true},
        {TIME_MIN - 1, NULL, false},
        {TIME_MAX + 1, NULL, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_int_equal(time_is_writable(rows[i].instant), rows[i].writable);
        if (!rows[i].text)
            continue;
        char text[TIME_TEXT_MAX];
        int64_t again;
        time_format_micro(rows[i].instant, text);
        assert_string_equal(text, rows[i].text);
        assert_int_equal(time_parse(text, &again), 0);
        assert_int_equal(again, rows[i].instant);
    }
}

static void seconds_of_any_number_are_a_duration(void **state)
{
    (void)state;
    static const int64_t longest = DURATION_SECONDS_MAX * SECOND;
    assert_int_equal(duration_of_seconds(30), 30 * SECOND);
    assert_int_equal(duration_of_seconds(-1), -SECOND);
    assert_int_equal(duration_of_seconds(DURATION_SECONDS_MAX + 1), longest);
    assert_int_equal(duration_of_seconds(INT64_MAX), longest);
    assert_int_equal(duration_of_seconds(INT64_MIN), -longest);
    assert_true(INT64_MAX - longest > TIME_MAX);
}

static void base64_reads_what_it_writes_and_refuses_the_rest(void **state)
{
    (void)state;
    unsigned char data[64], back[64];
    char text[BASE64_SIZE(64)];
    for (size_t n = 0; n <= sizeof(data); n++) {
        for (size_t i = 0; i < n; i++)
            data[i] = (unsigned char)(i * 37 + n);
        base64_encode(data, n, text);
        assert_int_equal(base64_decode(text, BASE64_SIZE(n), back), n);
        assert_memory_equal(data, back, n);
    }
    assert_int_equal(base64_decode("abc", 3, back), -1);
    assert_int_equal(base64_decode("ab=c", 4, back), -1);
    assert_int_equal(base64_decode("a===", 4, back), -1);
    assert_int_equal(base64_decode("YQ==YQ==", 8, back), -1);
}

static void an_arena_gives_zeroed_aligned_memory(void **state)
{
    (void)state;
    cleanup_arena struct arena *arena = arena_new(0);
    for (size_t size = 0; size < 5000; size += 7) {
        unsigned char *p = arena_alloc(arena, size);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, size);
    }
    assert_string_equal(arena_printf(arena, "%d-%s", 7, "x"), "7-x");
}

static void append(void *context)
{
    buffer_add_char(context, 'd');
}

static void fire(void *context)
{
    buffer_add_char(context, 't');
}

static void start_timer(void *context)
{
    env_timer_start(context, 1000);
}

static void deferred_calls_and_timers_run_from_the_loop(void **state)
{
    (void)state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct env *env = env_uv_new(&loop);
    cleanup_buffer struct buffer out = {0};
    struct env_timer *timer = env_timer_new(env, fire, &out);
    env_defer(env, append, &out);
    env_defer(env, append, &out);
    env_defer(env, start_timer, timer);
    assert_int_equal(out.size, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_string_equal(out.data, "ddt");
    env_timer_free(timer);
    env_uv_free(env);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void an_address_has_many_forms_and_one_is_canonical(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
        int family;
        bool mapped, padded;
    } cases[] = {
        {"10.244.0.7", "10.244.0.7", 4, false, false},
        {"0.0.0.0", "0.0.0.0", 4, false, false},
        {"010.000.0.0000000255", "10.0.0.255", 4, false, true},
        {"FD00:0::0007", "fd00::7", 6, false, false},
        {"::ffff:10.0.0.1", "10.0.0.1", 4, true, false},
        {"::FFFF:a00:1", "10.0.0.1", 4, true, false},
        {"::ffff:10.0.0.01", "10.0.0.1", 4, true, true},
        {"64:ff9b::10.0.0.01", "64:ff9b::a00:1", 6, false, true},
        {"", "", 0, false, false},
        {"10.0.0", "", 0, false, false},
        {"10.0.0.", "", 0, false, false},
        {"10.0.0.1.", "", 0, false, false},
        {"10.0.0.256", "", 0, false, false},
        {"10.0.0.99999999999999999999", "", 0, false, false},
        {" 10.0.0.1", "", 0, false, false},
        {"fe80::1%eth0", "", 0, false, false},
        {"1:2:3:4:5:6:7:8:9", "", 0, false, false},
        {"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:1.2.3.4", "", 0, false, false},
        {":", "", 0, false, false},
        {"None", "", 0, false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ip_text ip;
        char text[IP_TEXT_MAX];
        assert_int_equal(ip_text_parse(cases[i].text, &ip), cases[i].family != 0);
        assert_int_equal(ip.family, cases[i].family);
        assert_int_equal(ip.mapped, cases[i].mapped);
        assert_int_equal(ip.padded, cases[i].padded);
        assert_string_equal(ip_text_write(&ip, text), cases[i].canonical);
    }
    struct ip_text none;
    assert_false(ip_text_parse(NULL, &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_keeps_every_key_through_growth_and_removal),
        cmocka_unit_test(times_are_written_as_upstream_writes_them),
        cmocka_unit_test(the_ends_of_time_are_written_and_read),
        cmocka_unit_test(seconds_of_any_number_are_a_duration),
        cmocka_unit_test(base64_reads_what_it_writes_and_refuses_the_rest),
        cmocka_unit_test(an_arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(an_address_has_many_forms_and_one_is_canonical),
        cmocka_unit_test(deferred_calls_and_timers_run_from_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
