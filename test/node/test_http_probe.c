/* What HTTP probes say of servers of every kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "node/http_answer.h"
#include "base/env.h"
#include "node/http_probe.h"
#include "node/http_url.h"

/* A server on the loop: takes a request, answers with fixed bytes, and hangs up or keeps quiet. */
struct server {
    uv_loop_t loop;
    struct env *env;
    uv_tcp_t listener, peer;
    int port;
    bool has_peer, hangs_up;
    const char *answer;
    const char *next[16]; /* for those who come again */
    int served;
    const char *host; /* that is asked; NULL: 127.0.0.1 */
    char request[4096];
    size_t request_size;
    char *failure; /* or warning */
    enum http_probe_outcome outcome;
    bool done;
};

static void give(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct server *s = handle->data;
    *out = uv_buf_init(s->request + s->request_size, (unsigned)(sizeof(s->request) - 1 - s->request_size));
}

static void taken(uv_stream_t *stream, ssize_t n, const uv_buf_t *block)
{
    struct server *s = stream->data;
    if (n < 0)
        return;
    s->request_size += (size_t)n;
    if (s->request[0] == 'G' && strcmp(s->request + s->request_size - 4, "\r\n\r\n") != 0)
        return;
    const char *answer = s->served && s->next[s->served - 1] ? s->next[s->served - 1] : s->answer;
    s->served++;
    uv_buf_t out = uv_buf_init((char *)answer, (unsigned)strlen(answer));
    if (out.len)
        assert_int_equal(uv_try_write(stream, &out, 1), out.len);
    uv_read_stop(stream);
    if (s->hangs_up) {
        s->has_peer = false;
        uv_close((uv_handle_t *)stream, NULL);
    }
}

static void accepted(uv_stream_t *listener, int status)
{
    struct server *s = listener->data;
    assert_int_equal(status, 0);
    uv_tcp_init(&s->loop, &s->peer);
    s->peer.data = s;
    s->has_peer = true;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&s->peer), 0);
    uv_read_start((uv_stream_t *)&s->peer, give, taken);
}

static void open_server(struct server *s, const char *answer, bool hangs_up)
{
    struct sockaddr_in address;
    int size = sizeof(address);
    *s = (struct server){.answer = answer, .hangs_up = hangs_up};
    uv_loop_init(&s->loop);
    s->env = env_uv_new(&s->loop);
    uv_tcp_init(&s->loop, &s->listener);
    s->listener.data = s;
    uv_ip4_addr("127.0.0.1", 0, &address);
    assert_int_equal(uv_tcp_bind(&s->listener, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&s->listener, 4, accepted), 0);
    uv_tcp_getsockname(&s->listener, (struct sockaddr *)&address, &size);
    s->port = ntohs(address.sin_port);
}

static void close_server(struct server *s)
{
    if (s->has_peer)
        uv_close((uv_handle_t *)&s->peer, NULL);
    if (!uv_is_closing((uv_handle_t *)&s->listener))
        uv_close((uv_handle_t *)&s->listener, NULL);
    env_uv_free(s->env);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    free(s->failure);
}

static void on_done(void *context, enum http_probe_outcome outcome, const char *failure)
{
    struct server *s = context;
    assert_false(s->done);
    s->done = true;
    s->outcome = outcome;
    s->failure = failure ? mem_string(failure) : NULL;
}

static void probe(struct server *s, const struct http_get_action *get, int64_t timeout)
{
    struct http_prober *prober = http_prober_new(s->env);
    struct http_probe_options options = {
        .host = s->host ? s->host : "127.0.0.1", .port = s->port, .timeout = timeout, .user_agent = "kube-probe/1.35"};
    http_probe_start(prober, get, &options, on_done, s);
    assert_false(s->done);
    while (!s->done)
        uv_run(&s->loop, UV_RUN_ONCE);
    http_prober_free(prober);
}

static const struct {
    const char *answer;
    bool hangs_up;
    const char *failure; /* after the URL, or whole; NULL: success */
} answers[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, NULL},
    {"HTTP/1.1 200 OK\r\n\r\nuntil the end", true, NULL},
    {"HTTP/1.0 204 No Content\r\n\r\n", false, NULL},
    {"HTTP/1.1 399 What\n\n", true, "Probe terminated redirects, Response body: "},
    {"HTTP/1.1 302 Found\r\nContent-Length: 4\r\n\r\nhere", false, "Probe terminated redirects, Response body: here"},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, NULL},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false, NULL},
    {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", false, "HTTP probe failed with statuscode: 503"},
    {"HTTP/1.1 404 Not Found\r\n\r\n", true, "HTTP probe failed with statuscode: 404"},
    {"", true, ": EOF"},
    {"HTTP/1.1 200 OK\r\nContent-", true, ": unexpected EOF"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", true, ": unexpected EOF"},
    {"SSH-2.0-x\r\n", false, ": net/http: HTTP/1.x transport connection broken: malformed HTTP response \"SSH-2.0-x\""},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", false, ": invalid byte in chunk length"},
};

static void answers_are_judged_as_upstream_does(void **state)
{
    for (size_t i = 0; i < ARRAY_COUNT(answers); i++) {
        struct server s;
        struct http_get_action get = {.path = "/healthz"};
        open_server(&s, answers[i].answer, answers[i].hangs_up);
        probe(&s, &get, 5 * SECOND);
        const char *expected = answers[i].failure;
        cleanup_free char *whole =
            expected && *expected == ':' ? mem_printf("Get \"http://127.0.0.1:%d/healthz\"%s", s.port, expected) : NULL;
        if (whole)
            expected = whole;
        if (expected)
            assert_string_equal(s.failure ? s.failure : "success", expected);
        else
            assert_string_equal(s.failure ? s.failure : "success", "success");
        close_server(&s);
    }
}

static void request_carries_the_headers_of_the_action(void **state)
{
    struct server s;
    struct http_header headers[] = {{.name = "X-Token", .value = "a b"},
                                    {.name = "host", .value = "example.test"},
                                    {.name = "Accept", .value = ""}};
    struct http_get_action get = {.path = "ready?x=1"};
    get.http_headers.items = headers;
    get.http_headers.count = 3;
    open_server(&s, "HTTP/1.1 200 OK\r\n\r\n", true);
    probe(&s, &get, 5 * SECOND);
    assert_string_equal(s.request, "GET /ready?x=1 HTTP/1.1\r\nHost: example.test\r\nUser-Agent: kube-probe/1.35\r\n"
                                   "X-Token: a b\r\nConnection: close\r\n\r\n");
    close_server(&s);
}

static void silent_server_times_out(void **state)
{
    struct server s;
    struct http_get_action get = {.path = "/"};
    open_server(&s, "", false);
    probe(&s, &get, 20 * MILLISECOND);
    assert_non_null(strstr(s.failure, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"));
    close_server(&s);
}

static void nobody_listening_is_refused(void **state)
{
    struct server s;
    struct http_get_action get = {.path = "/"};
    open_server(&s, "", false);
    uv_close((uv_handle_t *)&s.listener, NULL);
    uv_run(&s.loop, UV_RUN_NOWAIT);
    probe(&s, &get, 5 * SECOND);
    cleanup_free char *expected =
        mem_printf("Get \"http://127.0.0.1:%d/\": dial tcp 127.0.0.1:%d: connect: connection refused", s.port, s.port);
    assert_string_equal(s.failure, expected);
    close_server(&s);
}

static void https_to_a_plain_server_fails(void **state)
{
    struct server s;
    struct http_get_action get = {.path = "/", .scheme = "HTTPS"};
    open_server(&s, "HTTP/1.1 400 Bad Request\r\n\r\n", true);
    probe(&s, &get, 5 * SECOND);
    cleanup_free char *expected =
        mem_printf("Get \"https://127.0.0.1:%d/\": http: server gave HTTP response to HTTPS client", s.port);
    assert_int_equal(s.outcome, HTTP_PROBE_UNENCRYPTED);
    assert_string_equal(s.failure, expected);
    close_server(&s);
}

static void https_to_something_else_fails(void **state)
{
    struct server s;
    struct http_get_action get = {.path = "/", .scheme = "HTTPS"};
    open_server(&s, "SSH-2.0-OpenSSH\r\n", true);
    probe(&s, &get, 5 * SECOND);
    assert_int_equal(s.outcome, HTTP_PROBE_FAILED);
    assert_non_null(strstr(s.failure, "tls: first record does not look like a TLS handshake"));
    close_server(&s);
}

/* ---- Redirects ---- */

#define REDIRECT(to) "HTTP/1.1 302 Found\r\nLocation: " to "\r\nContent-Length: 2\r\n\r\ngo"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static void a_redirect_to_the_same_host_is_followed(void **state)
{
    struct server s;
    struct http_header headers[] = {{.name = "Host", .value = "example.test"}};
    struct http_get_action get = {.path = "/old/one?x", .http_headers = {.items = headers, .count = 1}};
    open_server(&s, REDIRECT("../new"), true);
    s.next[0] = OK;
    probe(&s, &get, 5 * SECOND);
    cleanup_free char *expected =
        mem_printf("GET /old/one?x HTTP/1.1\r\nHost: example.test\r\nUser-Agent: kube-probe/1.35\r\nAccept: */*\r\n"
                   "Connection: close\r\n\r\nGET /new HTTP/1.1\r\nHost: example.test\r\nUser-Agent: kube-probe/1.35\r\n"
                   "Accept: */*\r\nReferer: http://127.0.0.1:%d/old/one?x\r\nConnection: close\r\n\r\n",
                   s.port);
    assert_string_equal(s.request, expected);
    assert_int_equal(s.outcome, HTTP_PROBE_SUCCEEDED);
    close_server(&s);
}

static void what_the_last_answer_says_counts(void **state)
{
    struct server s;
    struct http_get_action get = {.path = "/"};
    open_server(&s, REDIRECT("/login"), true);
    s.next[0] = "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n";
    probe(&s, &get, 5 * SECOND);
    assert_int_equal(s.outcome, HTTP_PROBE_FAILED);
    assert_string_equal(s.failure, "HTTP probe failed with statuscode: 500");
    close_server(&s);
}

static void a_redirect_to_another_host_is_a_success_with_a_warning(void **state)
{
    struct server s;
    struct http_get_action get = {.path = "/"};
    open_server(&s, REDIRECT("https://elsewhere.test/"), true);
    probe(&s, &get, 5 * SECOND);
    assert_int_equal(s.outcome, HTTP_PROBE_WARNED);
    assert_string_equal(s.failure, "Probe terminated redirects, Response body: go");
    assert_int_equal(s.served, 1);
    close_server(&s);
}

static void redirects_come_to_an_end(void **state)
{
    struct server s;
    struct http_get_action get = {.path = "/"};
    open_server(&s, REDIRECT("/again"), true);
    probe(&s, &get, 5 * SECOND);
    assert_int_equal(s.outcome, HTTP_PROBE_FAILED);
    assert_string_equal(s.failure, "Get \"/again\": stopped after 10 redirects");
    assert_int_equal(s.served, HTTP_PROBE_REQUESTS_MAX);
    close_server(&s);
}

static void locations_are_resolved_as_the_standard_has_it(void **state)
{
    static const struct {
        const char *location, *text;
    } cases[] = {
        {"/x", "http://10.0.0.1:80/x"},
        {"y", "http://10.0.0.1:80/a/y"},
        {"../y", "http://10.0.0.1:80/y"},
        {"../../../y/./z/..", "http://10.0.0.1:80/y/"},
        {"?q=1", "http://10.0.0.1:80/a/b?q=1"},
        {"#top", "http://10.0.0.1:80/a/b?c"},
        {"//other:8080", "http://other:8080/"},
        {"HTTPS://[::1]/d e?f#g", "https://[::1]/d%20e?f"},
        {"http://u:p@h:81?q", "http://h:81/?q"},
        {"http://h:0/", NULL},
        {"http://h:123456/", NULL},
        {"http://[::1/", NULL},
        {"http:///x", NULL},
        {"/a\tb", NULL},
    };
    cleanup_arena struct arena *arena = arena_new(0);
    struct http_url base, out;
    http_url_make(arena, false, "10.0.0.1", 80, "a/b?c", &base);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int result = http_url_resolve(arena, &base, cases[i].location, &out);
        assert_int_equal(result, cases[i].text ? 0 : -1);
        if (cases[i].text)
            assert_string_equal(http_url_text(arena, &out), cases[i].text);
    }
    assert_int_equal(http_url_resolve(arena, &base, "https://[fe80::1]:8443/", &out), 0);
    assert_string_equal(out.host, "fe80::1");
    assert_int_equal(out.port, 8443);
    assert_int_equal(http_url_resolve(arena, &base, "mailto:x", &out), 0);
    assert_string_equal(out.host, "");
}

/* ---- Names and addresses ---- */

static void every_address_of_a_name_is_tried(void **state)
{
    /* The server listens at 127.0.0.1 only, and the first address of localhost may be ::1. */
    struct server s;
    struct http_get_action get = {.path = "/"};
    open_server(&s, OK, true);
    s.host = "localhost";
    probe(&s, &get, 5 * SECOND);
    assert_int_equal(s.outcome, HTTP_PROBE_SUCCEEDED);
    close_server(&s);
}

static void a_name_that_nobody_knows_fails(void **state)
{
    struct server s;
    struct http_get_action get = {.path = "/"};
    char name[301] = ""; /* too long for a name: nobody has to be asked */
    memset(name, 'x', sizeof(name) - 1);
    open_server(&s, OK, true);
    s.host = name;
    probe(&s, &get, 5 * SECOND);
    cleanup_free char *expected =
        mem_printf("Get \"http://%s:%d/\": dial tcp: lookup %s: no such host", name, s.port, name);
    assert_string_equal(s.failure, expected);
    close_server(&s);
}

static void cancelled_probe_says_nothing(void **state)
{
    struct server s;
    struct http_get_action get = {.path = "/"};
    open_server(&s, "", false);
    struct http_prober *prober = http_prober_new(s.env);
    struct http_probe_options options = {.host = "127.0.0.1", .port = s.port, .user_agent = "x"};
    struct http_probe *p = http_probe_start(prober, &get, &options, on_done, &s);
    uv_run(&s.loop, UV_RUN_NOWAIT);
    http_probe_cancel(p);
    http_prober_free(prober);
    close_server(&s);
    assert_false(s.done);
}

static void long_body_is_not_waited_for(void **state)
{
    struct http_answer answer = {0};
    char failure[HTTP_ANSWER_FAILURE_MAX], block[1024];
    static const char head[] = "HTTP/1.1 200 OK\r\n\r\n";
    memset(block, 'x', sizeof(block));
    assert_int_equal(http_answer_feed(&answer, head, strlen(head), failure), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(http_answer_feed(&answer, block, sizeof(block), failure), 0);
    assert_false(answer.complete);
    assert_int_equal(http_answer_feed(&answer, block, 1, failure), 0);
    assert_true(answer.complete);
    http_answer_free(&answer);
}

static void endless_head_is_refused(void **state)
{
    struct http_answer answer = {0};
    char failure[HTTP_ANSWER_FAILURE_MAX], block[1024];
    int result = 0, blocks = 0;
    memset(block, 'x', sizeof(block));
    for (; result == 0 && blocks <= HTTP_ANSWER_HEAD_MAX / 1024; blocks++)
        result = http_answer_feed(&answer, block, sizeof(block), failure);
    assert_int_equal(result, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_judged_as_upstream_does),
        cmocka_unit_test(request_carries_the_headers_of_the_action),
        cmocka_unit_test(silent_server_times_out),
        cmocka_unit_test(nobody_listening_is_refused),
        cmocka_unit_test(https_to_a_plain_server_fails),
        cmocka_unit_test(https_to_something_else_fails),
        cmocka_unit_test(a_redirect_to_the_same_host_is_followed),
        cmocka_unit_test(what_the_last_answer_says_counts),
        cmocka_unit_test(a_redirect_to_another_host_is_a_success_with_a_warning),
        cmocka_unit_test(redirects_come_to_an_end),
        cmocka_unit_test(locations_are_resolved_as_the_standard_has_it),
        cmocka_unit_test(every_address_of_a_name_is_tried),
        cmocka_unit_test(a_name_that_nobody_knows_fails),
        cmocka_unit_test(cancelled_probe_says_nothing),
        cmocka_unit_test(long_body_is_not_waited_for),
        cmocka_unit_test(endless_head_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
