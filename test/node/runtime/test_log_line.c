/* The CRI log format is read as upstream reads it. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "node/runtime/log_line.h"

#define T "2026-01-02T15:04:05.123456789+00:00 "

static void lines_are_taken_apart(void **state)
{
    static const struct {
        const char *line;
        int result;
        bool is_stderr;
        bool partial;
        const char *text;
    } cases[] = {
        {T "stdout F hello world", 0, false, false, "hello world"},
        {T "stderr P part", 0, true, true, "part"},
        {T "stdout F ", 0, false, false, ""},
        {T "stdout F", 0, false, false, ""},
        {T "stdout F:more:tags  x", 0, false, false, " x"},
        {T "stdout P:x y", 0, false, true, "y"},
        {"2026-01-02T15:04:05Z stdout F z", 0, false, false, "z"},
        {T "stdin F x", -1},
        {T "stdoutF x", -1},
        {T "stdout X x", -1},
        {T "stdout  x", -1},
        {T "stdout", -1},
        {"yesterday stdout F x", -1},
        {"2026-01-02T15:04:05.123456789+00:00", -1},
        {"2026-01-02T15:04:05.123456789012345678901234567890123456789Z stdout F x", -1},
        {" stdout F x", -1},
        {"", -1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct log_line line;
        assert_int_equal(log_line_read(cases[i].line, strlen(cases[i].line), &line), cases[i].result);
        if (cases[i].result < 0)
            continue;
        assert_int_equal(line.is_stderr, cases[i].is_stderr);
        assert_int_equal(line.partial, cases[i].partial);
        assert_int_equal(line.text_size, strlen(cases[i].text));
        assert_memory_equal(line.text, cases[i].text, line.text_size);
    }
}

static const char *filter(struct log_filter f, const char *text, bool *more)
{
    static struct buffer out;
    buffer_clear(&out);
    buffer_add(&out, "", 0);
    *more = true;
    for (const char *line = text; *more && *line;) {
        const char *end = strchrnul(line, '\n');
        *more = log_filter_line(&f, line, (size_t)(end - line), &out);
        line = *end ? end + 1 : end;
    }
    return out.data ? out.data : "";
}

static const char sample[] = "2026-01-02T15:04:05.000000001+00:00 stdout F one\n"
                             "2026-01-02T15:04:06.000000002+00:00 stderr F two\n"
                             "not a log line\n"
                             "2026-01-02T15:04:07.000000003+00:00 stdout P thr\n"
                             "2026-01-02T15:04:07.000000004+00:00 stdout F ee\n"
                             "2026-01-02T15:04:08.000000005+02:00 stdout F four\n";

static void output_is_filtered(void **state)
{
    bool more;
    int64_t instant;
    assert_int_equal(time_parse("2026-01-02T15:04:06Z", &instant), 0);
    assert_string_equal(filter((struct log_filter){.limit_bytes = -1}, sample, &more), "one\ntwo\nthree\nfour\n");
    assert_true(more);
    assert_string_equal(filter((struct log_filter){.limit_bytes = -1, .skip_stderr = true}, sample, &more),
                        "one\nthree\nfour\n");
    assert_string_equal(filter((struct log_filter){.limit_bytes = -1, .skip_stdout = true}, sample, &more), "two\n");
    /* The last is two hours earlier than its digits say. */
    assert_string_equal(filter((struct log_filter){.limit_bytes = -1, .since = instant}, sample, &more),
                        "two\nthree\n");
    assert_string_equal(filter((struct log_filter){.limit_bytes = -1, .timestamps = true}, sample, &more),
                        "2026-01-02T15:04:05.000000001Z one\n"
                        "2026-01-02T15:04:06.000000002Z two\n"
                        "2026-01-02T15:04:07.000000003Z three\n"
                        "2026-01-02T15:04:08.000000005+02:00 four\n");
}

static void output_is_limited_to_the_byte(void **state)
{
    static const char whole[] = "one\ntwo\nthree\nfour\n";
    for (int64_t limit = 0; limit < (int64_t)sizeof(whole) + 3; limit++) {
        bool more;
        const char *out = filter((struct log_filter){.limit_bytes = limit}, sample, &more);
        size_t expected = limit < (int64_t)strlen(whole) ? (size_t)limit : strlen(whole);
        assert_int_equal(strlen(out), expected);
        assert_memory_equal(out, whole, expected);
        assert_int_equal(more, limit > (int64_t)strlen(whole));
    }
}

static void tail_finds_the_last_lines(void **state)
{
    char path[] = "/tmp/coracle-tail-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(log_tail_offset(fd, 5), 0);
    assert_int_equal(write(fd, "a\nbb\nccc\n", 9), 9);
    assert_int_equal(log_tail_offset(fd, 0), 9);
    assert_int_equal(log_tail_offset(fd, 1), 5);
    assert_int_equal(log_tail_offset(fd, 2), 2);
    assert_int_equal(log_tail_offset(fd, 3), 0);
    assert_int_equal(log_tail_offset(fd, INT64_MAX), 0);
    assert_int_equal(write(fd, "half", 4), 4);
    assert_int_equal(log_tail_offset(fd, 1), 9);
    assert_int_equal(log_tail_offset(fd, 2), 5);
    /* Across the blocks in which the file is searched. */
    char line[1000];
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\n';
    for (int i = 0; i < 100; i++)
        assert_int_equal(write(fd, line, sizeof(line)), sizeof(line));
    assert_int_equal(log_tail_offset(fd, 100), 9);
    assert_int_equal(log_tail_offset(fd, 99), 13 + 1000);
    assert_int_equal(log_tail_offset(fd, 1), 13 + 99000);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_taken_apart),
        cmocka_unit_test(output_is_filtered),
        cmocka_unit_test(output_is_limited_to_the_byte),
        cmocka_unit_test(tail_finds_the_last_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
