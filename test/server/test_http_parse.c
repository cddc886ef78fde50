/* The promises of the HTTP/1.x parser: the same reading however the bytes arrive, and none at all of what two parsers
 * could read differently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/buffer.h"
#include "base/vector.h"
#include "server/http/http1_parse.h"

/* Scans text of which `first` bytes come at first. */
static enum http1_scan_result scan_split(const char *text, size_t first, size_t *head_size)
{
    struct http1_scan scan = {0};
    enum http1_scan_result result = http1_scan(&scan, text, first, head_size);
    return result == HTTP1_SCAN_MORE ? http1_scan(&scan, text, strlen(text), head_size) : result;
}

static int parse(const char *text, struct http_fields *fields, struct http1_head *head, struct buffer *copy)
{
    size_t head_size;
    const char *reason = NULL;
    enum http1_scan_result result = scan_split(text, strlen(text), &head_size);
    if (result != HTTP1_SCAN_FOUND)
        return result == HTTP1_SCAN_BAD ? 400 : -1;
    buffer_clear(copy);
    buffer_add(copy, text, head_size);
    int status = http1_parse_head(copy->data, head_size, fields, head, &reason);
    assert_true(status == 0 || reason);
    return status;
}

static void a_head_ends_at_the_same_place_wherever_it_is_split(void **state)
{
    (void)state;
    static const char text[] = "\r\nPOST /a?b=c HTTP/1.1\r\nHost: h\r\nX: \t y \r\nContent-Length: 3\r\n\r\nabc";
    size_t expected = sizeof(text) - 1 - 3;
    for (size_t i = 0; i < sizeof(text); i++) {
        size_t head_size = 0;
        assert_int_equal(scan_split(text, i, &head_size), HTTP1_SCAN_FOUND);
        assert_int_equal(head_size, expected);
    }
}

static void a_head_is_read_as_it_says(void **state)
{
    (void)state;
    struct http_fields fields = {0};
    struct http1_head head;
    cleanup_buffer struct buffer copy = {0};
    assert_int_equal(parse("POST /a?b=c HTTP/1.1\r\nHost: h:1\r\nX-Empty:\r\nX-Two: \t a b\t \r\nContent-Length: 3\r\n"
                           "Expect: 100-Continue\r\nConnection: foo, Close\r\n\r\n",
                           &fields, &head, &copy),
                     0);
    assert_string_equal(head.method, "POST");
    assert_string_equal(head.target, "/a?b=c");
    assert_string_equal(head.host, "h:1");
    assert_int_equal(head.length, 3);
    assert_true(head.has_length && head.expect_continue && !head.keep_alive && !head.chunked);
    assert_int_equal(fields.count, 6);
    assert_string_equal(fields.items[1].name, "x-empty");
    assert_string_equal(fields.items[1].value, "");
    assert_string_equal(fields.items[2].name, "x-two");
    assert_string_equal(fields.items[2].value, "a b");
    assert_int_equal(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &fields, &head, &copy), 0);
    assert_true(head.keep_alive && head.minor == 0);
    assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n", &fields, &head, &copy), 0);
    assert_false(head.keep_alive);
    vector_free(&fields);
}

static void what_two_parsers_could_read_differently_is_refused(void **state)
{
    (void)state;
#define HEAD(lines) "POST / HTTP/1.1\r\nHost: h\r\n" lines "\r\n"
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {HEAD("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400},
        {HEAD("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400},
        {HEAD("Content-Length: 5\r\nContent-Length: 6\r\n"), 400},
        {HEAD("Content-Length: 5\r\nContent-Length: 5\r\n"), 0},
        {HEAD("Content-Length: 5, 5\r\n"), 400},
        {HEAD("Content-Length: +5\r\n"), 400},
        {HEAD("Content-Length: -5\r\n"), 400},
        {HEAD("Content-Length: 0x5\r\n"), 400},
        {HEAD("Content-Length: 5 5\r\n"), 400},
        {HEAD("Content-Length:\r\n"), 400},
        {HEAD("Content-Length: 99999999999999999999\r\n"), 400},
        {HEAD("Content-Length : 5\r\n"), 400},
        {HEAD(" Content-Length: 5\r\n"), 400},
        {HEAD("X: a\r\n b\r\n"), 400},
        {HEAD("X: a\r\n\tb\r\n"), 400},
        {HEAD("X: a\rb\r\n"), 400},
        {HEAD("X: a\nY: b\r\n"), 400},
        {HEAD("X\r\n"), 400},
        {HEAD(": a\r\n"), 400},
        {HEAD("X: \x01\r\n"), 400},
        {HEAD("X: \x7f\r\n"), 400},
        {HEAD("X\x80: a\r\n"), 400},
        {HEAD("Host: other\r\n"), 400},
        {HEAD("Transfer-Encoding: xchunked\r\n"), 501},
        {HEAD("Transfer-Encoding: gzip, chunked\r\n"), 501},
        {HEAD("Transfer-Encoding: identity\r\n"), 501},
        {HEAD("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
        {HEAD("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), 400},
        {HEAD("Transfer-Encoding: \x0b"
              "chunked\r\n"),
         400},
        {HEAD("Transfer-Encoding: CHUNKED\r\n"), 0},
        {HEAD("Expect: 200-ok\r\n"), 417},
        {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},
        {"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505},
        {"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
        {"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400},
        {"GET / http/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET / HTTP/1.10\r\nHost: h\r\n\r\n", 400},
        {"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {" GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET /\r\n\r\n", 400},
        {"GET\r\n\r\n", 400},
        {"G@T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET / HTTP/1.1\nHost: h\n\n", 400},
        {"GET / HTTP/1.1\r\nHost: h\n\r\n", 400},
        {"\n\nGET / HTTP/1.1\r\n", 400},
        {"\r\n\r\n\r\n\r\n\r\n\r\n", 400},
    };
    struct http_fields fields = {0};
    struct http1_head head;
    cleanup_buffer struct buffer copy = {0};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int status = parse(cases[i].text, &fields, &head, &copy);
        if (status != cases[i].status)
            fail_msg("%s: %d instead of %d", cases[i].text, status, cases[i].status);
    }
    vector_free(&fields);
}

/* Unfolds a body that comes in two parts. Returns the bytes behind it, or -1. */
static int unfold(const char *text, size_t first, struct buffer *out)
{
    struct http1_chunks chunks = {0};
    size_t sizes[2] = {first, strlen(text) - first};
    const char *at = text, *run;
    size_t run_size;
    buffer_clear(out);
    for (int part = 0; part < 2; part++) {
        size_t left = sizes[part];
        enum http1_chunk_result result;
        while ((result = http1_chunks_next(&chunks, &at, &left, &run, &run_size)) == HTTP1_CHUNK_DATA)
            buffer_add(out, run, run_size);
        if (result == HTTP1_CHUNK_BAD)
            return -1;
        if (result == HTTP1_CHUNK_END)
            return (int)strlen(at);
    }
    return -2;
}

static void a_chunked_body_unfolds_the_same_wherever_it_is_split(void **state)
{
    (void)state;
    static const char text[] =
        "5;name=\"v\"\r\nhello\r\n00A\r\n, chunked \r\n5\r\nworld\r\n0\r\nX-T: 1\r\nY:\r\n\r\nGET";
    cleanup_buffer struct buffer out = {0};
    for (size_t i = 0; i < sizeof(text); i++) {
        assert_int_equal(unfold(text, i, &out), 3);
        assert_string_equal(out.data, "hello, chunked world");
    }
}

static void malformed_chunks_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "5\nhello\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n", "\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n",       "+5\r\nhello\r\n",
        "0x5\r\nhello\r\n",      " 5\r\nhello\r\n",
        "5 \r\nhello\r\n",       "5;a\rb\r\nhello\r\n",
        "5;a\nhello\r\n",        "ffffffffffffffff\r\n",
        "00000000000000005\r\n", "0\r\n\rx",
        "0\r\n a: b\r\n\r\n",    "0\r\nGET / HTTP/1.1\r\n\r\n",
        "0\r\na: b\n\r\n",       "g\r\n",
        "5\r\nhello\rx",         "0\n\r\n",
    };
    cleanup_buffer struct buffer out = {0};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        if (unfold(cases[i], strlen(cases[i]), &out) != -1)
            fail_msg("%s", cases[i]);
}

static void framing_without_content_is_bounded(void **state)
{
    (void)state;
    cleanup_buffer struct buffer text = {0}, out = {0};
    buffer_add_string(&text, "1;");
    for (int i = 0; i < HTTP1_CHUNK_OVERHEAD_MAX; i++)
        buffer_add_char(&text, 'x');
    assert_int_equal(unfold(text.data, text.size, &out), -1);
    buffer_clear(&text);
    buffer_add_string(&text, "0\r\n");
    for (int i = 0; i < HTTP1_CHUNK_OVERHEAD_MAX; i++)
        buffer_add_string(&text, "a:b\r\n");
    assert_int_equal(unfold(text.data, text.size, &out), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_ends_at_the_same_place_wherever_it_is_split),
        cmocka_unit_test(a_head_is_read_as_it_says),
        cmocka_unit_test(what_two_parsers_could_read_differently_is_refused),
        cmocka_unit_test(a_chunked_body_unfolds_the_same_wherever_it_is_split),
        cmocka_unit_test(malformed_chunks_are_refused),
        cmocka_unit_test(framing_without_content_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
