/* Clients that go away at any stage, logs, and the end of the server: nothing is lost, nothing is left. That all of it
 * is released is asserted by the fixture's end, and by the sanitizers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_fixture.h"
#include "base/cleanup.h"

#define ONE "[{\"name\":\"c\",\"image\":\"i\"}]"
#define TWO "[{\"name\":\"c\",\"image\":\"i\"},{\"name\":\"d\",\"image\":\"i\"}]"

/* ---- Logs ---- */

static struct connection *send_get(const char *path)
{
    struct connection *c = connect_as_admin();
    cleanup_free char *text = mem_printf("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    send_text(c, text);
    return c;
}

static void a_log_is_passed_on_as_it_comes(void **state)
{
    (void)state;
    make_pod("p", "n", ONE);
    unsigned asked = api_asked(), closed = api_logs.closed;
    struct connection *c = send_get(PODS "/p/log?follow=true&tailLines=10&limitBytes=99&timestamps=1&previous=true");
    api_wait_asked(asked + 1);
    assert_string_equal(api_logs.container, "c");
    assert_true(api_logs.follow && api_logs.timestamps && api_logs.previous);
    assert_int_equal(api_logs.tail_lines, 10);
    assert_int_equal(api_logs.limit_bytes, 99);
    api_log_give("one\n", 4, NULL);
    api_wait_asked(asked + 2);
    api_log_give("two\n", 4, NULL);
    api_wait_asked(asked + 3);
    api_log_give(NULL, 0, NULL);
    struct answer *a = read_answer(c, false);
    assert_code(a, 200);
    assert_string_equal(a->body.data, "one\ntwo\n");
    assert_string_equal(header(a, "Content-Type", 0), "text/plain");
    api_wait_closed(closed + 1);
    disconnect(c);
}

static void a_log_is_of_the_streams_that_are_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *stream;
        bool skip_stdout, skip_stderr;
    } rows[] = {{"All", false, false}, {"Stdout", false, true}, {"Stderr", true, false}};
    make_pod("p", "n", ONE);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char path[128];
        unsigned asked = api_asked(), closed = api_logs.closed;
        snprintf(path, sizeof(path), PODS "/p/log?stream=%s", rows[i].stream);
        struct connection *c = send_get(path);
        api_wait_asked(asked + 1);
        assert_int_equal(api_logs.skip_stdout, rows[i].skip_stdout);
        assert_int_equal(api_logs.skip_stderr, rows[i].skip_stderr);
        api_log_give(NULL, 0, NULL);
        assert_code(read_answer(c, false), 200);
        api_wait_closed(closed + 1);
        disconnect(c);
    }
}

static void a_log_that_fails_says_so(void **state)
{
    (void)state;
    make_pod("p", "n", ONE);
    unsigned asked = api_asked();
    struct connection *c = send_get(PODS "/p/log");
    api_wait_asked(asked + 1);
    api_log_give("one\n", 4, NULL);
    api_wait_asked(asked + 2);
    api_log_give(NULL, 0, "the disk is gone");
    struct answer *a = read_answer(c, false);
    assert_string_equal(a->body.data, "one\nthe disk is gone");
    disconnect(c);
    api_logs.refuse = "container \"c\" in pod \"p\" is waiting to start: ContainerCreating";
    api_logs.refuse_code = EINVAL;
    assert_status(ask("GET", PODS "/p/log", NULL, NULL), 400, "BadRequest", api_logs.refuse);
    api_logs.refuse_code = ENOENT;
    assert_code(ask("GET", PODS "/p/log", NULL, NULL), 404);
    api_logs.refuse = NULL;
}

static void wrong_log_requests_are_refused(void **state)
{
    (void)state;
    make_pod("two", "n", TWO);
    make_pod("lost", "", ONE);
    assert_status(ask("GET", PODS "/none/log", NULL, NULL), 404, "NotFound", "pods \"none\" not found");
    assert_status(ask("GET", PODS "/two/log", NULL, NULL), 400, "BadRequest",
                  "a container name must be specified for pod two, choose one of: [c d]");
    assert_status(ask("GET", PODS "/two/log?container=x", NULL, NULL), 400, "BadRequest",
                  "container x is not valid for pod two");
    assert_status(ask("GET", PODS "/lost/log", NULL, NULL), 400, "BadRequest",
                  "pod lost does not have a host assigned");
    static const char *const bad[] = {"tailLines=-1",   "limitBytes=0",
                                      "sinceSeconds=0", "sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z",
                                      "stream=",        "stream=stderr"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        char path[256];
        snprintf(path, sizeof(path), PODS "/two/log?container=c&%s", bad[i]);
        struct answer *a = ask("GET", path, NULL, NULL);
        assert_code(a, 422);
        assert_field(a, "reason", "Invalid");
    }
    assert_status(ask("GET", PODS "/two/log?container=c&stream=Both", NULL, NULL), 422, "Invalid",
                  "PodLogOptions \"two\" is invalid: stream: Unsupported value: \"Both\": supported values: \"All\", "
                  "\"Stderr\", \"Stdout\"");
    assert_status(ask("GET", PODS "/two/log?container=c&stream=Stdout&tailLines=3", NULL, NULL), 422, "Invalid",
                  "PodLogOptions \"two\" is invalid: []: Forbidden: `tailLines` and specific `stream` are mutually "
                  "exclusive for now");
    assert_code(ask("GET", PODS "/two/log?container=c&tailLines=many", NULL, NULL), 400);
    assert_code(ask("GET", PODS "/two/log?container=c&sinceTime=yesterday", NULL, NULL), 400);
}

static void a_reader_of_a_log_that_is_slow_holds_the_node_back(void **state)
{
    (void)state;
    enum { CHUNK = 1024 * 1024 };
    make_pod("p", "n", ONE);
    cleanup_free char *data = mem_alloc(CHUNK);
    memset(data, 'x', CHUNK);
    unsigned asked = api_asked();
    struct connection *c = send_get(PODS "/p/log?follow=true");
    uint64_t given = 0;
    /* Until the socket is full, the next chunk is asked for at once; when it is, not before the client reads. */
    for (int i = 0; i < 64; i++) {
        api_wait_asked(asked + 1 + (unsigned)i);
        api_log_give(data, CHUNK, NULL);
        given += CHUNK;
        if (i == 0)
            assert_code(read_answer(c, true), 200);
        /* One that is not asked for shows up as nothing after the others have been answered. */
        assert_code(ask("GET", PODS "/p", NULL, NULL), 200);
        assert_code(ask("GET", PODS "/p", NULL, NULL), 200);
        if (api_asked() < asked + 2 + (unsigned)i)
            break;
    }
    assert_true(given < 64 * (uint64_t)CHUNK);
    uint64_t got = 0;
    static char piece[65536];
    while (got < given) {
        ssize_t n = read_some(c, piece, sizeof(piece));
        assert_true(n > 0);
        got += (uint64_t)n;
    }
    api_wait_asked(asked + 1 + (unsigned)(given / CHUNK));
    api_log_give(NULL, 0, NULL);
    assert_int_equal(read_some(c, piece, sizeof(piece)), 0);
    disconnect(c);
}

static void a_client_may_leave_a_log_at_any_time(void **state)
{
    (void)state;
    make_pod("p", "n", ONE);
    /* While its pod is being looked for: both messages wait for the core thread when it goes on. */
    api_core_hold();
    struct connection *c = send_get(PODS "/p/log");
    api_wait_requests(1);
    disconnect(c);
    api_wait_connections(1);
    api_core_release();
    api_wait_requests(0);
    /* While a chunk is asked for. */
    unsigned asked = api_asked(), closed = api_logs.closed;
    c = send_get(PODS "/p/log?follow=1");
    api_wait_asked(asked + 1);
    disconnect(c);
    api_wait_closed(closed + 1);
    /* While a chunk is on its way. */
    c = send_get(PODS "/p/log?follow=1");
    api_wait_asked(asked + 2);
    disconnect(c);
    api_wait_closed(closed + 2);
    api_wait_requests(0);
}

/* ---- Clients that go away ---- */

static void a_client_may_leave_at_any_stage(void **state)
{
    (void)state;
    static const char *const begun[] = {
        "GE",
        "POST " CONFIG_MAPS " HTTP/1.1\r\nHost: x\r\nContent-Le",
        "POST " CONFIG_MAPS " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"metadata\":",
        "POST " CONFIG_MAPS " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"met",
        "GET " CONFIG_MAPS " HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET " CONFIG_MAPS "/a HTTP/1.1\r\nHost: x\r\n\r\nGET " CONFIG_MAPS "/a HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET " CONFIG_MAPS "?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "DELETE " CONFIG_MAPS "/a HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    make_config_map("a", "1");
    for (size_t i = 0; i < ARRAY_COUNT(begun); i++) {
        for (int held = 0; held < 2; held++) {
            /* With the core thread held, the request is on its way to it when the client goes. */
            if (held)
                api_core_hold();
            struct connection *c = connect_as_admin();
            send_text(c, begun[i]);
            disconnect(c);
            if (held) {
                api_wait_connections(1);
                api_core_release();
            }
        }
    }
    api_wait_connections(1);
    api_wait_requests(0);
    api_wait_watches(0);
}

static void a_write_is_done_even_if_its_client_leaves(void **state)
{
    (void)state;
    struct connection *events = send_get(CONFIG_MAPS "?watch=1");
    read_answer(events, true);
    api_core_hold();
    struct connection *c = connect_as_admin();
    send_text(c, "POST " CONFIG_MAPS " HTTP/1.1\r\nHost: x\r\nContent-Length: 25\r\n\r\n"
                 "{\"metadata\":{\"name\":\"a\"}}");
    api_wait_requests(2);
    disconnect(c);
    api_wait_connections(2);
    api_core_release();
    assert_event(events, "ADDED", "a");
    disconnect(events);
}

static void watchers_may_leave_while_events_come(void **state)
{
    (void)state;
    char name[16];
    for (int round = 0; round < 20; round++) {
        struct connection *c[4];
        for (size_t i = 0; i < ARRAY_COUNT(c); i++)
            c[i] = send_get(CONFIG_MAPS "?watch=1");
        snprintf(name, sizeof(name), "cm-%d", round);
        if (round % 2)
            for (size_t i = 0; i < ARRAY_COUNT(c); i++)
                read_answer(c[i], true);
        make_config_map(name, "1");
        for (size_t i = 0; i < ARRAY_COUNT(c); i++)
            disconnect(c[i]);
    }
    api_wait_watches(0);
    api_wait_requests(0);
}

/* ---- The end ---- */

static void the_server_stops_with_watches_logs_and_writes_under_way(void **state)
{
    (void)state;
    make_pod("p", "n", ONE);
    unsigned asked = api_asked();
    struct connection *watcher = send_get("/api/v1/secrets?watch=1");
    assert_code(read_answer(watcher, true), 200);
    struct connection *log = send_get(PODS "/p/log?follow=1");
    api_wait_asked(asked + 1);
    api_log_give("line\n", 5, NULL);
    struct connection *idle = connect_as_admin();
    api_wait_watches(1);
    api_core_hold();
    struct connection *writer = connect_as_admin();
    send_text(writer, "POST " CONFIG_MAPS " HTTP/1.1\r\nHost: x\r\nContent-Length: 28\r\n\r\n"
                      "{\"metadata\":{\"name\":\"late\"}}");
    api_wait_requests(3);
    api_core_release();
    api_begin_stop();
    assert_end(watcher);
    struct answer *a = read_answer(writer, false);
    assert_code(a, 201);
    a = read_answer(log, false);
    assert_string_equal(a->body.data, "line\n");
    api_stopped();
    disconnect(watcher);
    disconnect(writer);
    disconnect(log);
    disconnect(idle);
}

#define test(f) cmocka_unit_test_teardown(f, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_log_is_passed_on_as_it_comes),
        test(a_log_is_of_the_streams_that_are_asked_for),
        test(a_log_that_fails_says_so),
        test(wrong_log_requests_are_refused),
        test(a_reader_of_a_log_that_is_slow_holds_the_node_back),
        test(a_client_may_leave_a_log_at_any_time),
        test(a_client_may_leave_at_any_stage),
        test(a_write_is_done_even_if_its_client_leaves),
        test(watchers_may_leave_while_events_come),
        cmocka_unit_test(the_server_stops_with_watches_logs_and_writes_under_way),
    };
    return cmocka_run_group_tests(tests, api_start, api_stop);
}
