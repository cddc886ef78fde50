/* The promises of the transport, HTTP/1.1: framing on a real connection, limits, slow and vanishing clients. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "http_fixture.h"

/* ---- Framing ---- */

static void a_request_is_understood_wherever_it_is_split(void **state)
{
    (void)state;
    static const char text[] = "POST /echo?a=1&b=%20x+y&a=2&bad=%zz&c HTTP/1.1\r\nHost: h:1\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;e\r\nde\r\n0\r\nT: t\r\n\r\n";
    static const char expected[] = "POST /echo\nhost=h:1\na=1\nb= x y\na=2\nc=\nabcde";
    cleanup_buffer struct buffer response = {0};
    cleanup_close int fd = client_connect(fixture.port);
    for (size_t i = 1; i < sizeof(text) - 1; i++) {
        client_send_bytes(fd, text, i);
        client_send_bytes(fd, text + i, sizeof(text) - 1 - i);
        assert_int_equal(client_read_response(fd, &response, false), 200);
        assert_string_equal(client_body(&response), expected);
    }
    for (size_t i = 0; i < sizeof(text) - 1; i++)
        client_send_bytes(fd, text + i, 1);
    assert_int_equal(client_read_response(fd, &response, false), 200);
    assert_string_equal(client_body(&response), expected);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    cleanup_buffer struct buffer response = {0};
    cleanup_close int fd = client_connect(fixture.port);
    client_send(fd, GET("/hello") GET("/hold") GET("/echo?n=1") GET("/hold") GET("/echo?n=2"));
    assert_int_equal(client_read_response(fd, &response, false), 200);
    assert_string_equal(client_body(&response), "hello");
    fixture_wait_held(1);
    fixture_answer(0, "first");
    assert_int_equal(client_read_response(fd, &response, false), 200);
    assert_string_equal(client_body(&response), "first");
    assert_int_equal(client_read_response(fd, &response, false), 200);
    assert_string_equal(client_body(&response), "GET /echo\nhost=h\nn=1\n");
    fixture_wait_held(2);
    fixture_answer(1, "second");
    assert_int_equal(client_read_response(fd, &response, false), 200);
    assert_string_equal(client_body(&response), "second");
    assert_int_equal(client_read_response(fd, &response, false), 200);
    assert_string_equal(client_body(&response), "GET /echo\nhost=h\nn=2\n");
}

static void ten_thousand_pipelined_requests_are_all_answered(void **state)
{
    (void)state;
    enum { COUNT = 10000, BATCH = 100 };
    cleanup_buffer struct buffer response = {0}, batch = {0};
    cleanup_close int fd = client_connect(fixture.port);
    for (int i = 0; i < BATCH; i++)
        buffer_add_string(&batch, GET("/echo"));
    for (int i = 0; i < COUNT; i += BATCH) {
        client_send_bytes(fd, batch.data, batch.size);
        for (int j = 0; j < BATCH; j++)
            assert_int_equal(client_read_response(fd, &response, false), 200);
    }
}

static void every_form_of_request_gets_its_form_of_response(void **state)
{
    (void)state;
    cleanup_buffer struct buffer response = {0};
    cleanup_close int fd = client_connect(fixture.port);
    client_ask(fd, "HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\n", 200, &response);
    assert_non_null(strstr(response.data, "Content-Length: 5\r\n"));
    assert_string_equal(client_body(&response), "");
    assert_string_equal(client_ask(fd, "GET http://other:8/echo?a=b HTTP/1.1\r\nHost: h\r\n\r\n", 200, &response),
                        "GET /echo\nhost=other:8\na=b\n");
    assert_string_equal(client_ask(fd, "FROB /echo HTTP/1.1\r\nHost: h\r\n\r\n", 200, &response),
                        "FROB /echo\nhost=h\n");
    assert_string_equal(client_ask(fd, "GET /%65cho?x=%26 HTTP/1.1\r\nHost: h\r\n\r\n", 200, &response),
                        "GET /echo\nhost=h\nx=&\n");
    client_ask(fd, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 404, &response);
    client_ask(fd, GET("/forgotten"), 500, &response);
    client_ask(fd, "GET /stream?bytes=5 HTTP/1.1\r\nHost: h\r\n\r\n", 200, &response);
    assert_string_equal(client_body(&response), "abcde");
    client_ask(fd, "HEAD /stream?bytes=5 HTTP/1.1\r\nHost: h\r\n\r\n", 200, &response);
    assert_string_equal(client_ask(fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, &response),
                        "hello");
    assert_non_null(strstr(response.data, "Connection: keep-alive\r\n"));
    client_ask(fd, "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 200, &response);
    assert_non_null(strstr(response.data, "Connection: close\r\n"));
    client_expect_end(fd);
}

static void an_old_client_gets_a_stream_that_ends_with_the_connection(void **state)
{
    (void)state;
    cleanup_buffer struct buffer response = {0};
    cleanup_close int fd = client_connect(fixture.port);
    client_send(fd, "GET /stream?bytes=500000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_int_equal(client_read_response(fd, &response, false), 200);
    assert_int_equal(strlen(client_body(&response)), 500000);
}

static void a_client_that_expects_a_go_ahead_gets_it(void **state)
{
    (void)state;
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char got[sizeof(go_on)] = "";
    cleanup_buffer struct buffer response = {0};
    cleanup_close int fd = client_connect(fixture.port);
    client_send(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(recv(fd, got, sizeof(got) - 1, MSG_WAITALL), sizeof(go_on) - 1);
    assert_string_equal(got, go_on);
    assert_string_equal(client_ask(fd, "abc", 200, &response), "POST /echo\nhost=h\nabc");
    /* Not for a body that would be refused. */
    client_ask(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n", 413,
               &response);
    assert_memory_equal(response.data, "HTTP/1.1 413", 12);
    client_expect_end(fd);
}

#define UPLOAD (8 * 1000 * 1000)

static void a_body_of_any_length_is_taken_as_it_comes(void **state)
{
    (void)state;
    cleanup_buffer struct buffer response = {0};
    cleanup_free char *body = mem_alloc(UPLOAD);
    cleanup_free char *wanted = mem_printf("%d %d", UPLOAD, UPLOAD * 'u');
    cleanup_close int fd = client_connect(fixture.port);
    memset(body, 'u', UPLOAD);
    for (int i = 0; i < 2; i++) { /* the connection lives on */
        cleanup_free char *head = mem_printf("POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", UPLOAD);
        client_send(fd, head);
        client_send_bytes(fd, body, UPLOAD);
        assert_string_equal(client_ask(fd, "", 200, &response), wanted);
    }
    client_send(fd, "POST /upload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < UPLOAD; at += UPLOAD / 8) {
        cleanup_free char *size = mem_printf("%x\r\n", UPLOAD / 8);
        client_send(fd, size);
        client_send_bytes(fd, body + at, UPLOAD / 8);
        client_send(fd, "\r\n");
    }
    assert_string_equal(client_ask(fd, "0\r\n\r\n", 200, &response), wanted);
    /* A short one is read before. */
    assert_string_equal(
        client_ask(fd, "POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 200, &response), "whole 3");
    assert_string_equal(client_ask(fd, GET("/hello"), 200, &response), "hello");
}

static void a_streamed_body_is_gone_ahead_with_when_it_is_wanted(void **state)
{
    (void)state;
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char got[sizeof(go_on)] = "";
    cleanup_buffer struct buffer response = {0};
    cleanup_close int fd = client_connect(fixture.port), other = client_connect(fixture.port);
    cleanup_free char *body = mem_zero(1, 100000);
    client_send(fd, "POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(recv(fd, got, sizeof(got) - 1, MSG_WAITALL), sizeof(go_on) - 1);
    assert_string_equal(got, go_on);
    client_send_bytes(fd, body, 100000);
    assert_string_equal(client_ask(fd, "", 200, &response), "100000 0");
    /* One that is refused is not asked for. */
    client_ask(other,
               "POST /upload?refuse=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n",
               403, &response);
    assert_memory_equal(response.data, "HTTP/1.1 403", 12);
    assert_non_null(strstr(response.data, "Connection: close\r\n"));
    client_expect_end(other);
}

static void a_body_that_nobody_takes_holds_its_client_back(void **state)
{
    (void)state;
    static char block[65536];
    cleanup_close int fd = client_connect(fixture.port);
    int small = 65536;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    client_send(fd, "POST /upload?hold=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n");
    fixture_wait_held(1);
    size_t sent = 0;
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    while (sent < 500 * 1000 * 1000 && poll(&ready, 1, 500) == 1) {
        ssize_t n = send(fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
    }
    assert_true(sent < 50 * 1000 * 1000);
    /* An answer that does not wait for it ends the connection. */
    cleanup_buffer struct buffer response = {0};
    fixture_answer(0, "enough");
    assert_string_equal(client_ask(fd, "", 200, &response), "enough");
    client_expect_end(fd);
}

static void a_client_that_goes_in_the_middle_of_its_body_cancels_it(void **state)
{
    (void)state;
    cleanup_close int fd = client_connect(fixture.port);
    client_send(fd, "POST /upload?hold=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nabc");
    fixture_wait_held(1);
    shutdown(fd, SHUT_RDWR);
    fixture_wait(&fixture.cancelled, 1);
}

static void a_smuggled_request_is_never_answered(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" GET(
            "/hold"),
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\n\r\n" GET("/hold"),
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc\r\n0\r\n\r\n" GET("/hold"),
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n" GET("/hold"),
        "POST /echo HTTP/1.1\r\nHost: h\r\nX: a\r\n Content-Length: 1\r\n\r\n" GET("/hold"),
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" GET("/hold"),
        "GET /echo HTTP/1.1\r\nHost: h\r\nX: a\n\r\n" GET("/hold"),
        "\x16\x03\x01\x02\r\n\r\n",
        "GET /echo%00 HTTP/1.1\r\nHost: h\r\n\r\n" GET("/hold"),
        "GET /echo%4 HTTP/1.1\r\nHost: h\r\n\r\n" GET("/hold"),
        "GET echo HTTP/1.1\r\nHost: h\r\n\r\n" GET("/hold"),
        "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n" GET("/hold"),
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cleanup_buffer struct buffer response = {0};
        cleanup_close int fd = client_connect(fixture.port);
        client_send(fd, cases[i]);
        assert_int_equal(client_read_response(fd, &response, false), 400);
        assert_non_null(strstr(response.data, "Connection: close\r\n"));
        assert_null(strstr(client_body(&response), "HTTP/1.1")); /* it was read to the end of the connection */
    }
    assert_int_equal(fixture.held_count, 0);
}

/* ---- Limits ---- */

static void start_limited(void)
{
    const struct http_limits limits = {
        .header_bytes = 1000,
        .body_bytes = 100,
        .body_total = 150,
        .connections = 3,
        .stream_bytes = 256 * 1024,
    };
    fixture_start(&limits);
}

static void more_than_the_limits_is_refused_and_told(void **state)
{
    (void)state;
    start_limited();
    cleanup_buffer struct buffer response = {0}, text = {0};
    buffer_add_string(&text, "GET /hello HTTP/1.1\r\nHost: h\r\nX: ");
    for (int i = 0; i < 1000; i++)
        buffer_add_char(&text, 'x');
    buffer_add_string(&text, "\r\n\r\n");
    int fd = client_connect(fixture.port);
    client_ask(fd, text.data, 431, &response); /* complete */
    close(fd);
    fd = client_connect(fixture.port);
    text.data[1010] = 0;
    client_ask(fd, text.data, 431, &response); /* not complete */
    close(fd);
    fd = client_connect(fixture.port);
    buffer_clear(&text);
    buffer_add_string(&text, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\nabc");
    assert_string_equal(client_ask(fd, text.data, 413, &response), "too much");
    client_expect_end(fd);
    close(fd);
    fd = client_connect(fixture.port);
    buffer_clear(&text);
    buffer_add_string(&text, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n");
    for (int i = 0; i < 255; i++)
        buffer_add_char(&text, 'x');
    assert_string_equal(client_ask(fd, text.data, 413, &response), "too much");
    close(fd);
    fixture_stop();
}

static void too_many_headers_are_refused(void **state)
{
    (void)state;
    cleanup_buffer struct buffer response = {0}, text = {0};
    buffer_add_string(&text, "GET /hello HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < HTTP_HEADERS_MAX; i++)
        buffer_printf(&text, "X-%d: y\r\n", i);
    buffer_add_string(&text, "\r\n");
    cleanup_close int fd = client_connect(fixture.port);
    client_ask(fd, text.data, 431, &response);
}

static void response_headers_are_bounded_and_clean(void **state)
{
    (void)state;
    cleanup_buffer struct buffer response = {0};
    cleanup_close int fd = client_connect(fixture.port);
    assert_string_equal(client_ask(fd, GET("/headers"), 200, &response), "ok");
    assert_non_null(strstr(response.data, "X-First: a  X-Evil: b\r\n"));
    assert_string_equal(client_ask(fd, GET("/headers?long"), 200, &response), "ok");
    assert_true(response.size < HTTP_RESPONSE_HEADER_BYTES + 1000);
}

static void bodies_in_memory_are_bounded_over_all_requests(void **state)
{
    (void)state;
    start_limited();
    cleanup_buffer struct buffer response = {0}, text = {0};
    buffer_add_string(&text, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n");
    for (int i = 0; i < 100; i++)
        buffer_add_char(&text, 'x');
    int first = client_connect(fixture.port), second = client_connect(fixture.port);
    client_send(first, text.data);
    fixture_wait_held(1);
    assert_string_equal(client_ask(second, text.data, 429, &response), "too much");
    close(second);
    fixture_answer(0, "done");
    assert_int_equal(client_read_response(first, &response, false), 200);
    second = client_connect(fixture.port);
    client_send(second, text.data);
    fixture_wait_held(2);
    fixture_answer(1, "done");
    assert_int_equal(client_read_response(second, &response, false), 200);
    close(first);
    close(second);
    fixture_stop();
}

static void connections_beyond_the_limit_wait_their_turn(void **state)
{
    (void)state;
    start_limited();
    cleanup_buffer struct buffer response = {0};
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = client_connect(fixture.port);
        if (i < 3)
            client_ask(fds[i], GET("/hello"), 200, &response);
    }
    client_send(fds[3], GET("/hello"));
    struct http_statistics statistics;
    http_server_statistics(fixture.server, &statistics);
    assert_int_equal(statistics.connections_open, 3);
    assert_int_equal(statistics.requests, 3);
    close(fds[0]);
    assert_int_equal(client_read_response(fds[3], &response, false), 200);
    for (int i = 1; i < 4; i++)
        close(fds[i]);
    fixture_stop();
}

static void a_stream_that_nobody_reads_is_bounded(void **state)
{
    (void)state;
    start_limited();
    cleanup_close int fd = client_connect(fixture.port);
    client_send(fd, GET("/flood"));
    fixture_wait(&fixture.refused_writes, 1);
    assert_true(fixture.largest_queue <= 256 * 1024 && fixture.largest_queue > 200 * 1024);
    close(steal_fd(fd));
    fixture_wait(&fixture.cancelled, 1);
    fixture_stop();
}

static void a_stream_is_written_no_faster_than_it_is_read(void **state)
{
    (void)state;
    enum { SIZE = 50 * 1000 * 1000 };
    cleanup_buffer struct buffer response = {0};
    cleanup_close int fd = client_connect(fixture.port);
    client_send(fd, GET("/stream?bytes=50000000"));
    assert_int_equal(client_read_response(fd, &response, false), 200);
    assert_int_equal(strlen(client_body(&response)), SIZE);
    assert_true(fixture.largest_queue < HIGH_WATER + 20000);
    client_ask(fd, GET("/hello"), 200, &response);
}

/* ---- Slow clients, and those that go ---- */

static void slow_clients_cost_no_more_than_their_time(void **state)
{
    (void)state;
    const struct http_limits limits = {
        .header_timeout = 200 * MILLISECOND,
        .body_timeout = 200 * MILLISECOND,
        .idle_timeout = 200 * MILLISECOND,
        .linger_timeout = 50 * MILLISECOND,
    };
    fixture_start(&limits);
    cleanup_buffer struct buffer response = {0};
    /* Silent, plain and TLS */
    int fd = client_connect(fixture.port);
    client_expect_end(fd);
    close(fd);
    fd = client_connect(fixture.tls_port);
    client_expect_end(fd);
    close(fd);
    /* In the middle of a head */
    fd = client_connect(fixture.port);
    client_ask(fd, "GET /hello HTTP/1.1\r\nHost:", 408, &response);
    client_expect_end(fd);
    close(fd);
    /* In the middle of a body */
    fd = client_connect(fixture.port);
    client_ask(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc", 408, &response);
    client_expect_end(fd);
    close(fd);
    /* Between requests */
    fd = client_connect(fixture.port);
    client_ask(fd, GET("/hello"), 200, &response);
    client_expect_end(fd);
    close(fd);
    /* But not while the handler takes its time. */
    fd = client_connect(fixture.port);
    client_send(fd, GET("/hold"));
    fixture_wait_held(1);
    int other = client_connect(fixture.port);
    client_expect_end(other); /* longer than every timeout */
    close(other);
    fixture_answer(0, "late");
    assert_int_equal(client_read_response(fd, &response, false), 200);
    close(fd);
    fixture_stop();
}

static void a_client_that_does_not_read_is_let_go(void **state)
{
    (void)state;
    const struct http_limits limits = {.write_timeout = 50 * MILLISECOND};
    fixture_start(&limits);
    cleanup_close int fd = client_connect(fixture.port);
    client_send(fd, GET("/stream?bytes=500000000"));
    fixture_wait(&fixture.cancelled, 1);
    cleanup_close int lender = client_connect(fixture.port);
    cleanup_buffer struct buffer requests = {0};
    for (int i = 0; i < 40; i++)
        buffer_add_string(&requests, GET("/lent"));
    client_send(lender, requests.data);
    client_expect_end(fd);
    /* What was lent comes back, sent or not. */
    fixture_wait(&fixture.released, LENT_RUNS);
    struct http_statistics statistics;
    do
        http_server_statistics(fixture.server, &statistics);
    while (statistics.connections_open);
    assert_int_equal(fixture.released % LENT_RUNS, 0);
    fixture_stop();
}

static void a_client_that_goes_cancels_its_request(void **state)
{
    (void)state;
    int fd = client_connect(fixture.port);
    client_send(fd, GET("/hold"));
    fixture_wait_held(1);
    close(fd);
    fixture_wait(&fixture.cancelled, 1);
    fd = client_connect(fixture.port);
    client_send(fd, GET("/endless"));
    fixture_wait(&fixture.arrived, 1);
    const struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    fixture_wait(&fixture.cancelled, 2);
    /* In the middle of a body nobody has heard of it yet. */
    fd = client_connect(fixture.port);
    client_send(fd, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc");
    close(fd);
    struct http_statistics statistics;
    do
        http_server_statistics(fixture.server, &statistics);
    while (statistics.connections_open);
    assert_int_equal(statistics.requests_in_flight, 0);
    assert_int_equal(fixture.held_count, 1);
}

static void a_client_may_flood_while_its_request_is_held(void **state)
{
    (void)state;
    cleanup_close int fd = client_connect(fixture.port);
    client_send(fd, GET("/hold"));
    fixture_wait_held(1);
    /* More than the server and both socket buffers take: it stops reading. */
    char junk[65536];
    memset(junk, 'x', sizeof(junk));
    size_t sent = 0;
    for (int stuck = 0; stuck < 3 && sent < 256 * sizeof(junk);) {
        ssize_t n = send(fd, junk, sizeof(junk), MSG_DONTWAIT | MSG_NOSIGNAL);
        stuck = n < 0 ? stuck + 1 : 0;
        sent += n > 0 ? (size_t)n : 0;
        int other = client_connect(fixture.port);
        cleanup_buffer struct buffer response = {0};
        client_ask(other, GET("/hello"), 200, &response);
        close(other);
    }
    assert_true(sent < 256 * sizeof(junk));
    /* It still learns of the reset. */
    const struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(steal_fd(fd));
    fixture_wait(&fixture.cancelled, 1);
}

static void a_broken_stream_does_not_look_complete(void **state)
{
    (void)state;
    cleanup_close int fd = client_connect(fixture.port);
    client_send(fd, GET("/abort"));
    cleanup_buffer struct buffer got = {0};
    ssize_t n;
    while ((n = recv(fd, buffer_reserve(&got, 4096), 4096, 0)) > 0)
        got.size += (size_t)n;
    buffer_add_char(&got, 0);
    assert_null(strstr(got.data, "0\r\n\r\n"));
}

static void a_stream_of_known_length_says_it(void **state)
{
    (void)state;
    cleanup_buffer struct buffer response = {0};
    cleanup_close int fd = client_connect(fixture.port), old = client_connect(fixture.port);
    for (int i = 0; i < 2; i++) { /* the connection lives on */
        assert_string_equal(client_ask(fd, GET("/sized"), 200, &response), "0123456789");
        assert_non_null(strstr(response.data, "Content-Length: 10\r\n"));
        assert_null(strstr(response.data, "Transfer-Encoding"));
        client_ask(fd, "HEAD /sized?short HTTP/1.1\r\nHost: h\r\n\r\n", 200, &response);
        assert_non_null(strstr(response.data, "Content-Length: 10\r\n"));
        assert_string_equal(client_body(&response), "");
        assert_string_equal(client_ask(old, "GET /sized HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, &response),
                            "0123456789");
    }
    client_send(fd, GET("/sized?short"));
    client_expect_end(fd);
}

static void lent_bytes_arrive_unchanged_and_are_given_back_once(void **state)
{
    (void)state;
    cleanup_buffer struct buffer response = {0};
    cleanup_close int fd = client_connect(fixture.port);
    client_send(fd, GET("/lent") GET("/lent"));
    for (unsigned i = 1; i <= 2; i++) {
        assert_int_equal(client_read_response(fd, &response, false), 200);
        const char *body = client_body(&response);
        assert_int_equal(strlen(body), LENT_SIZE);
        for (size_t at = 0; at < LENT_SIZE; at++)
            if (body[at] != (char)('a' + at % 23))
                fail_msg("byte %zu is wrong", at);
    }
    fixture_wait(&fixture.released, 2 * LENT_RUNS);
    client_ask(fd, "HEAD /lent HTTP/1.1\r\nHost: h\r\n\r\n", 200, &response);
    assert_int_equal(fixture.released, 3 * LENT_RUNS);
}

static void large_bodies_are_compressed_for_those_who_ask(void **state)
{
    (void)state;
    cleanup_buffer struct buffer response = {0};
    cleanup_close int fd = client_connect(fixture.port);
    client_ask(fd, "GET /lent HTTP/1.1\r\nHost: h\r\nAccept-Encoding: br, gzip\r\n\r\n", 200, &response);
    assert_non_null(strstr(response.data, "Content-Encoding: gzip\r\n"));
    assert_non_null(strstr(response.data, "Vary: Accept-Encoding\r\n"));
    assert_memory_equal(client_body(&response), "\x1f\x8b", 2);
    assert_true(response.size < LENT_SIZE / 10);
    fixture_wait(&fixture.released, LENT_RUNS);
    client_ask(fd, "GET /hello HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n", 200, &response);
    assert_string_equal(client_body(&response), "hello");
    client_ask(fd, "GET /lent HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip;q=0\r\n\r\n", 200, &response);
    assert_int_equal(strlen(client_body(&response)), LENT_SIZE);
}

/* ---- The server stops ---- */

static void mark(void *context)
{
    pthread_mutex_lock(&fixture.lock);
    *(unsigned *)context = 1;
    pthread_cond_broadcast(&fixture.changed);
    pthread_mutex_unlock(&fixture.lock);
}

static void a_stop_lets_requests_finish_and_ends_streams(void **state)
{
    (void)state;
    fixture_start(NULL);
    cleanup_buffer struct buffer response = {0};
    unsigned stopped = 0;
    int idle = client_connect(fixture.port), held = client_connect(fixture.port), watch = client_connect(fixture.port);
    int sized = client_connect(fixture.port);
    client_ask(idle, GET("/hello"), 200, &response);
    client_send(held, GET("/hold"));
    client_send(watch, GET("/endless"));
    client_send(sized, GET("/sized?hold"));
    fixture_wait_held(1);
    fixture_wait(&fixture.arrived, 2);
    http_server_on_stopped(fixture.server, mark, &stopped);
    http_server_stop(fixture.server);
    client_expect_end(idle);
    assert_int_equal(client_read_response(watch, &response, false), 200); /* with its last chunk */
    assert_string_equal(client_body(&response), "begun");
    client_expect_end(sized); /* not as if it were whole */
    fixture_wait(&fixture.cancelled, 2);
    fixture_answer(0, "in time");
    assert_int_equal(client_read_response(held, &response, false), 200);
    assert_string_equal(client_body(&response), "in time");
    assert_non_null(strstr(response.data, "Connection: close\r\n"));
    close(idle);
    close(held);
    close(watch);
    close(sized);
    fixture_wait(&stopped, 1);
    fixture_stop();
}

static void a_stop_does_not_wait_for_ever(void **state)
{
    (void)state;
    const struct http_limits limits = {.shutdown_timeout = 50 * MILLISECOND};
    fixture_start(&limits);
    cleanup_close int fd = client_connect(fixture.port);
    client_send(fd, GET("/hold"));
    fixture_wait_held(1);
    http_server_stop(fixture.server);
    fixture_wait(&fixture.cancelled, 1);
    fixture_stop();
}

/* ---- Many ---- */

static void two_thousand_idle_connections_are_small(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    struct rlimit limit;
    allow_connections(COUNT, &limit);
    static int fds[COUNT];
    cleanup_buffer struct buffer response = {0};
    int worker = client_connect(fixture.port);
    client_ask(worker, GET("/hello"), 200, &response);
    size_t before = resident_memory();
    for (int i = 0; i < COUNT; i++) {
        fds[i] = client_connect(fixture.port);
        client_ask(fds[i], GET("/hello"), 200, &response);
    }
    size_t each = (resident_memory() - before) / COUNT;
    print_message("an idle connection takes %zu bytes\n", each);
#ifndef SANITIZED
    assert_true(each < 4096);
#endif
    client_ask(worker, GET("/hello"), 200, &response);
    struct http_statistics statistics;
    http_server_statistics(fixture.server, &statistics);
    assert_int_equal(statistics.connections_open, COUNT + 1);
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    close(worker);
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_request_is_understood_wherever_it_is_split),
        WITH_SERVER(pipelined_requests_are_answered_in_order),
        WITH_SERVER(ten_thousand_pipelined_requests_are_all_answered),
        WITH_SERVER(every_form_of_request_gets_its_form_of_response),
        WITH_SERVER(an_old_client_gets_a_stream_that_ends_with_the_connection),
        WITH_SERVER(a_client_that_expects_a_go_ahead_gets_it),
        WITH_SERVER(a_body_of_any_length_is_taken_as_it_comes),
        WITH_SERVER(a_streamed_body_is_gone_ahead_with_when_it_is_wanted),
        WITH_SERVER(a_body_that_nobody_takes_holds_its_client_back),
        WITH_SERVER(a_client_that_goes_in_the_middle_of_its_body_cancels_it),
        WITH_SERVER(a_smuggled_request_is_never_answered),
        cmocka_unit_test(more_than_the_limits_is_refused_and_told),
        WITH_SERVER(too_many_headers_are_refused),
        WITH_SERVER(response_headers_are_bounded_and_clean),
        cmocka_unit_test(bodies_in_memory_are_bounded_over_all_requests),
        cmocka_unit_test(connections_beyond_the_limit_wait_their_turn),
        cmocka_unit_test(a_stream_that_nobody_reads_is_bounded),
        WITH_SERVER(a_stream_is_written_no_faster_than_it_is_read),
        cmocka_unit_test(slow_clients_cost_no_more_than_their_time),
        cmocka_unit_test(a_client_that_does_not_read_is_let_go),
        WITH_SERVER(a_client_that_goes_cancels_its_request),
        WITH_SERVER(a_client_may_flood_while_its_request_is_held),
        WITH_SERVER(a_broken_stream_does_not_look_complete),
        WITH_SERVER(a_stream_of_known_length_says_it),
        WITH_SERVER(lent_bytes_arrive_unchanged_and_are_given_back_once),
        WITH_SERVER(large_bodies_are_compressed_for_those_who_ask),
        cmocka_unit_test(a_stop_lets_requests_finish_and_ends_streams),
        cmocka_unit_test(a_stop_does_not_wait_for_ever),
        WITH_SERVER(two_thousand_idle_connections_are_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
