/* The promises of the transport, HTTP/2: streams beside each other, flow control, floods. The client is nghttp2 on a
 * plain connection, where the server recognizes HTTP/2 by its preface. */
#include "http_fixture.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/timestamp.h"

#define STREAMS_MAX 600

/* What the client knows of a stream; the index is (id - 1) / 2. */
struct stream {
    int status;
    bool closed;
    uint32_t code; /* with which it closed */
    struct buffer body;
    size_t length; /* of its headers' content-length */
};

struct client {
    int fd;
    nghttp2_session *session;
    struct stream streams[STREAMS_MAX];
    unsigned closed, headers;
    size_t received; /* bytes of bodies */
    bool ended;      /* the connection */
    bool going_away;
    bool keep_windows; /* does not give back what it has read */
};

static struct stream *stream_of(struct client *c, int32_t id)
{
    return &c->streams[(id - 1) / 2];
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *context)
{
    (void)session, (void)value_size, (void)flags, (void)name_size;
    struct stream *s = stream_of(context, frame->hd.stream_id);
    if (strcmp((const char *)name, ":status") == 0)
        s->status = atoi((const char *)value);
    if (strcmp((const char *)name, "content-length") == 0)
        s->length = strtoull((const char *)value, NULL, 10);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    (void)session;
    struct client *c = context;
    c->headers += frame->hd.type == NGHTTP2_HEADERS;
    c->going_away |= frame->hd.type == NGHTTP2_GOAWAY;
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t size, void *context)
{
    (void)flags;
    struct client *c = context;
    buffer_add(&stream_of(c, id)->body, data, size);
    c->received += size;
    if (!c->keep_windows)
        nghttp2_session_consume(session, id, size);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *context)
{
    (void)session;
    struct client *c = context;
    stream_of(c, id)->closed = true;
    stream_of(c, id)->code = code;
    c->closed++;
    return 0;
}

static struct client *client_new(void)
{
    struct client *c = mem_zero(1, sizeof(*c));
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_send_header_block_length(option, 1 << 20);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    assert_int_equal(nghttp2_session_client_new2(&c->session, callbacks, c, option), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0);
    c->fd = client_connect(fixture.port);
    return c;
}

static void client_free(struct client *c)
{
    nghttp2_session_del(c->session);
    if (c->fd >= 0)
        close(c->fd);
    for (size_t i = 0; i < STREAMS_MAX; i++)
        buffer_free(&c->streams[i].body);
    free(c);
}

static void flush(struct client *c)
{
    const uint8_t *data;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(c->session, &data)) > 0)
        while (n > 0) {
            ssize_t sent = send(c->fd, data, (size_t)n, MSG_NOSIGNAL);
            if (sent < 0) {
                c->ended = true;
                return;
            }
            data += sent;
            n -= sent;
        }
    assert_int_equal(n, 0);
}

/* Sends what is due and takes in what comes next. */
static void turn(struct client *c)
{
    static uint8_t data[65536];
    flush(c);
    ssize_t n = recv(c->fd, data, sizeof(data), 0);
    if (n < 0 && errno != ECONNRESET && errno != EPIPE)
        fail_msg("recv: %s", strerror(errno));
    if (n <= 0)
        c->ended = true;
    else
        assert_int_equal(nghttp2_session_mem_recv(c->session, data, (size_t)n), n);
    flush(c);
}

struct upload {
    size_t left;
};

static ssize_t read_upload(nghttp2_session *session, int32_t id, uint8_t *out, size_t max, uint32_t *flags,
                           nghttp2_data_source *source, void *context)
{
    (void)session, (void)id, (void)context;
    struct upload *upload = source->ptr;
    size_t n = upload->left < max ? upload->left : max;
    memset(out, 'u', n);
    upload->left -= n;
    if (!upload->left)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

#define FIELD(name, value)                                                                                             \
    (nghttp2_nv)                                                                                                       \
    {                                                                                                                  \
        (uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE                       \
    }

static int32_t ask(struct client *c, const char *method, const char *path, struct upload *upload)
{
    const nghttp2_nv fields[] = {FIELD(":method", method), FIELD(":scheme", "http"), FIELD(":authority", "h:1"),
                                 FIELD(":path", path), FIELD("accept", "*/*")};
    nghttp2_data_provider provider = {.source.ptr = upload, .read_callback = read_upload};
    int32_t id = nghttp2_submit_request(c->session, NULL, fields, ARRAY_COUNT(fields), upload ? &provider : NULL, NULL);
    assert_true(id > 0);
    return id;
}

static void wait_closed(struct client *c, unsigned n)
{
    while (c->closed < n && !c->ended)
        turn(c);
    assert_int_equal(c->closed, n);
}

static int start(void **state)
{
    fixture_start(NULL);
    *state = client_new();
    return 0;
}

static int stop(void **state)
{
    client_free(*state);
    fixture_stop();
    return 0;
}

static void streams_are_answered_beside_each_other(void **state)
{
    struct client *c = *state;
    struct upload upload = {1000 * 1000};
    int32_t held = ask(c, "GET", "/hold", NULL);
    int32_t echo = ask(c, "GET", "/echo?a=%2B&b", NULL);
    int32_t head = ask(c, "HEAD", "/hello", NULL);
    int32_t posted = ask(c, "POST", "/echo", &upload);
    int32_t lent = ask(c, "GET", "/lent", NULL);
    int32_t stream = ask(c, "GET", "/stream?bytes=3000000", NULL);
    int32_t missing = ask(c, "GET", "/missing", NULL);
    int32_t warned = ask(c, "GET", "/headers", NULL), warned_long = ask(c, "GET", "/headers?long", NULL);
    wait_closed(c, 8);
    assert_string_equal(stream_of(c, warned)->body.data, "ok");
    assert_string_equal(stream_of(c, warned_long)->body.data, "ok");
    assert_false(stream_of(c, held)->closed);
    assert_string_equal(stream_of(c, echo)->body.data, "GET /echo\nhost=h:1\na=+\nb=\n");
    assert_int_equal(stream_of(c, head)->length, 5);
    assert_int_equal(stream_of(c, head)->body.size, 0);
    assert_int_equal(stream_of(c, posted)->body.size, strlen("POST /echo\nhost=h:1\n") + 1000 * 1000);
    assert_int_equal(stream_of(c, lent)->body.size, LENT_SIZE);
    for (size_t i = 0; i < LENT_SIZE; i++)
        assert_int_equal(stream_of(c, lent)->body.data[i], 'a' + i % 23);
    assert_int_equal(stream_of(c, stream)->body.size, 3000000);
    assert_int_equal(stream_of(c, missing)->status, 404);
    fixture_answer(0, "at last");
    wait_closed(c, 9);
    assert_string_equal(stream_of(c, held)->body.data, "at last");
    fixture_wait(&fixture.released, LENT_RUNS);
}

static void hundreds_of_streams_are_served_at_a_time(void **state)
{
    struct client *c = *state;
    turn(c); /* the client learns that it may */
    for (int i = 0; i < 250; i++)
        ask(c, "GET", "/hold", NULL);
    flush(c);
    fixture_wait_held(250);
    for (unsigned i = 0; i < 250; i++)
        fixture_answer(i, "x");
    wait_closed(c, 250);
    for (int i = 0; i < 250; i++)
        assert_int_equal(c->streams[i].status, 200);
}

static void a_stream_waits_for_its_window_and_holds_up_no_other(void **state)
{
    struct client *c = *state;
    c->keep_windows = true;
    int32_t stream = ask(c, "GET", "/stream?bytes=3000000", NULL);
    while (stream_of(c, stream)->body.size < NGHTTP2_INITIAL_WINDOW_SIZE)
        turn(c);
    /* Its window is used up, and so is the connection's: give only that one back. */
    nghttp2_session_consume_connection(c->session, c->received);
    for (int i = 0; i < 20; i++) {
        int32_t other = ask(c, "GET", "/hello", NULL);
        wait_closed(c, (unsigned)i + 1);
        assert_string_equal(stream_of(c, other)->body.data, "hello");
    }
    assert_int_equal(stream_of(c, stream)->body.size, NGHTTP2_INITIAL_WINDOW_SIZE);
    assert_true(fixture.largest_queue < HIGH_WATER + 20000);
    c->keep_windows = false;
    nghttp2_session_consume_stream(c->session, stream, stream_of(c, stream)->body.size);
    wait_closed(c, 21);
    assert_int_equal(stream_of(c, stream)->body.size, 3000000);
}

static void a_stream_that_is_never_read_is_let_go(void **state)
{
    (void)state;
    const struct http_limits limits = {.write_timeout = 50 * MILLISECOND};
    fixture_start(&limits);
    struct client *c = client_new();
    c->keep_windows = true;
    int32_t stream = ask(c, "GET", "/stream?bytes=3000000", NULL);
    int32_t lent = ask(c, "GET", "/lent", NULL);
    wait_closed(c, 2);
    assert_int_equal(stream_of(c, stream)->code, NGHTTP2_CANCEL);
    assert_int_equal(stream_of(c, lent)->code, NGHTTP2_CANCEL);
    fixture_wait(&fixture.cancelled, 1);
    fixture_wait(&fixture.released, LENT_RUNS);
    client_free(c);
    fixture_stop();
}

static void a_reset_cancels_its_request_only(void **state)
{
    struct client *c = *state;
    int32_t first = ask(c, "GET", "/hold", NULL), watch = ask(c, "GET", "/endless", NULL);
    ask(c, "GET", "/hold", NULL);
    flush(c);
    fixture_wait_held(2);
    fixture_wait(&fixture.arrived, 1);
    nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, first, NGHTTP2_CANCEL);
    nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, watch, NGHTTP2_CANCEL);
    flush(c);
    fixture_wait(&fixture.cancelled, 2);
    fixture_answer(1, "still here");
    wait_closed(c, 3);
    assert_string_equal(c->streams[2].body.data, "still here");
    assert_int_equal(fixture.cancelled, 2);
}

static void a_client_that_goes_cancels_all_it_asked_for(void **state)
{
    struct client *c = *state;
    for (int i = 0; i < 20; i++)
        ask(c, "GET", i % 2 ? "/hold" : "/endless", NULL);
    ask(c, "GET", "/lent", NULL);
    ask(c, "GET", "/flood", NULL);
    flush(c);
    fixture_wait_held(10);
    fixture_wait(&fixture.refused_writes, 1);
    close(c->fd);
    c->fd = -1;
    fixture_wait(&fixture.cancelled, 21);
}

static void a_broken_stream_does_not_look_complete(void **state)
{
    struct client *c = *state;
    int32_t broken = ask(c, "GET", "/abort", NULL);
    wait_closed(c, 1);
    assert_int_equal(stream_of(c, broken)->code, NGHTTP2_INTERNAL_ERROR);
}

static void a_stream_of_known_length_says_it(void **state)
{
    struct client *c = *state;
    int32_t whole = ask(c, "GET", "/sized", NULL), head = ask(c, "HEAD", "/sized?short", NULL);
    int32_t broken = ask(c, "GET", "/sized?short", NULL);
    wait_closed(c, 3);
    assert_int_equal(stream_of(c, whole)->length, 10);
    assert_string_equal(stream_of(c, whole)->body.data, "0123456789");
    assert_int_equal(stream_of(c, head)->length, 10);
    assert_int_equal(stream_of(c, head)->body.size, 0);
    assert_int_equal(stream_of(c, broken)->code, NGHTTP2_INTERNAL_ERROR);
}

static void a_body_beyond_the_limit_is_answered_at_once(void **state)
{
    struct client *c = *state;
    struct upload upload = {100 * 1000 * 1000};
    int32_t large = ask(c, "POST", "/echo", &upload);
    wait_closed(c, 1);
    assert_int_equal(stream_of(c, large)->status, 413);
    assert_string_equal(stream_of(c, large)->body.data, "too much");
    assert_int_equal(stream_of(c, large)->code, NGHTTP2_NO_ERROR);
    assert_true(upload.left > 50 * 1000 * 1000);
    int32_t next = ask(c, "GET", "/hello", NULL);
    wait_closed(c, 2);
    assert_int_equal(stream_of(c, next)->status, 200);
}

static void a_body_of_any_length_is_taken_as_it_comes(void **state)
{
    struct client *c = *state;
    struct upload upload = {8 * 1000 * 1000}, refused = {8 * 1000 * 1000};
    int32_t taken = ask(c, "POST", "/upload", &upload), other = ask(c, "POST", "/upload?refuse=1", &refused);
    wait_closed(c, 2);
    cleanup_free char *wanted = mem_printf("%d %d", 8 * 1000 * 1000, 8 * 1000 * 1000 * 'u');
    assert_string_equal(stream_of(c, taken)->body.data, wanted);
    assert_int_equal(stream_of(c, other)->status, 403);
}

static void a_body_that_nobody_takes_holds_up_no_other(void **state)
{
    struct client *c = *state;
    struct upload held = {100 * 1000 * 1000}, upload = {8 * 1000 * 1000};
    int32_t waits = ask(c, "POST", "/upload?hold=1", &held), taken = ask(c, "POST", "/upload", &upload);
    wait_closed(c, 1);
    assert_true(stream_of(c, taken)->closed && !stream_of(c, waits)->closed);
    assert_int_equal(stream_of(c, taken)->status, 200);
    assert_true(held.left >= 100 * 1000 * 1000 - 1024 * 1024);
    fixture_answer(0, "enough");
    wait_closed(c, 2);
    assert_string_equal(stream_of(c, waits)->body.data, "enough");
}

static void headers_beyond_the_limit_are_refused(void **state)
{
    struct client *c = *state;
    char value[1001];
    memset(value, 'x', 1000);
    value[1000] = 0;
    /* The same header again and again costs two bytes on the wire. */
    nghttp2_nv fields[104] = {FIELD(":method", "GET"), FIELD(":scheme", "http"), FIELD(":authority", "h"),
                              FIELD(":path", "/hello")};
    for (size_t i = 4; i < ARRAY_COUNT(fields); i++)
        fields[i] = FIELD("x", value);
    nghttp2_submit_request(c->session, NULL, fields, ARRAY_COUNT(fields), NULL, NULL);
    wait_closed(c, 1);
    assert_int_equal(c->streams[0].status, 431);
    static const char *const paths[] = {"/hello%", "/%00", "*", "/a b"};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        int32_t bad = ask(c, "GET", paths[i], NULL);
        while (!stream_of(c, bad)->closed && !c->ended)
            turn(c);
        assert_true(stream_of(c, bad)->status == 400 || stream_of(c, bad)->code == NGHTTP2_PROTOCOL_ERROR);
    }
}

static void slow_uploads_cost_no_more_than_their_time(void **state)
{
    (void)state;
    const struct http_limits limits = {
        .body_timeout = 50 * MILLISECOND, .idle_timeout = 50 * MILLISECOND, .linger_timeout = 50 * MILLISECOND};
    fixture_start(&limits);
    struct client *c = client_new();
    const nghttp2_nv fields[] = {FIELD(":method", "POST"), FIELD(":scheme", "http"), FIELD(":authority", "h"),
                                 FIELD(":path", "/echo")};
    nghttp2_submit_headers(c->session, NGHTTP2_FLAG_NONE, -1, NULL, fields, ARRAY_COUNT(fields), NULL);
    wait_closed(c, 1);
    assert_int_equal(c->streams[0].status, 408);
    while (!c->ended)
        turn(c);
    assert_true(c->going_away);
    client_free(c);
    fixture_stop();
}

/* ---- Floods ---- */

static void flood_until_the_end(struct client *c, void (*add)(struct client *), unsigned bound)
{
    unsigned n = 0;
    while (!c->ended && n++ < bound) {
        add(c);
        flush(c);
        static uint8_t data[65536];
        ssize_t got = recv(c->fd, data, sizeof(data), MSG_DONTWAIT);
        if (got > 0)
            nghttp2_session_mem_recv(c->session, data, (size_t)got);
        else if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
            c->ended = true;
    }
    if (!c->ended && !c->going_away)
        fail_msg("the flood goes on for ever");
}

static void add_reset(struct client *c)
{
    for (int i = 0; i < 20; i++) {
        /* By hand, for nghttp2 would not do it: HEADERS and RST_STREAM. */
        static uint32_t id = 1;
        static const uint8_t block[] = {0x82, 0x86, 0x84, 0x41, 0x01, 'h'};
        uint8_t frames[9 + sizeof(block) + 13] = {0, 0, sizeof(block), NGHTTP2_HEADERS, 5};
        for (int b = 0; b < 4; b++)
            frames[5 + b] = frames[9 + sizeof(block) + 5 + b] = (uint8_t)(id >> (24 - 8 * b));
        memcpy(frames + 9, block, sizeof(block));
        uint8_t *reset = frames + 9 + sizeof(block);
        reset[2] = 4;
        reset[3] = NGHTTP2_RST_STREAM;
        reset[12] = NGHTTP2_CANCEL;
        id += 2;
        if (send(c->fd, frames, sizeof(frames), MSG_NOSIGNAL) < 0)
            c->ended = true;
    }
}

static void resets_without_end_end_the_connection(void **state)
{
    struct client *c = *state;
    flood_until_the_end(c, add_reset, 10000);
}

/* Pings, and never reads the answers. */
static void unanswered_pings_without_end_end_the_connection(void **state)
{
    struct client *c = *state;
    flush(c);
    static uint8_t pings[17 * 1000];
    for (size_t i = 0; i < sizeof(pings); i += 17) {
        pings[i + 2] = 8;
        pings[i + 3] = NGHTTP2_PING;
    }
    const struct timeval bound = {.tv_sec = WAIT_SECONDS};
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound));
    for (int i = 0; i < 100000; i++)
        if (send(c->fd, pings, sizeof(pings), MSG_NOSIGNAL) < 0) {
            assert_true(errno == EPIPE || errno == ECONNRESET);
            return;
        }
    fail_msg("the flood goes on for ever");
}

static void what_is_not_http2_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense that is no frame at all, and long enough to be one",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "PRI * HTTP/1.1\r\nHost: h\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        cleanup_close int fd = client_connect(fixture.port);
        client_send(fd, cases[i]);
        if (i == 2) {
            cleanup_buffer struct buffer response = {0};
            assert_int_equal(client_read_response(fd, &response, false), 400);
        } else {
            client_expect_end(fd);
        }
    }
}

static void a_stop_says_goodbye_and_lets_requests_finish(void **state)
{
    (void)state;
    fixture_start(NULL);
    struct client *c = client_new();
    int32_t watch = ask(c, "GET", "/endless", NULL), held = ask(c, "GET", "/hold", NULL);
    flush(c);
    fixture_wait_held(1);
    fixture_wait(&fixture.arrived, 1);
    http_server_stop(fixture.server);
    while (!c->going_away)
        turn(c);
    wait_closed(c, 1);
    assert_string_equal(stream_of(c, watch)->body.data, "begun");
    assert_int_equal(stream_of(c, watch)->code, NGHTTP2_NO_ERROR);
    fixture_wait(&fixture.cancelled, 1);
    fixture_answer(0, "in time");
    wait_closed(c, 2);
    assert_string_equal(stream_of(c, held)->body.data, "in time");
    while (!c->ended)
        turn(c);
    client_free(c);
    fixture_stop();
}

#define WITH_CLIENT(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CLIENT(streams_are_answered_beside_each_other),
        WITH_CLIENT(hundreds_of_streams_are_served_at_a_time),
        WITH_CLIENT(a_stream_waits_for_its_window_and_holds_up_no_other),
        cmocka_unit_test(a_stream_that_is_never_read_is_let_go),
        WITH_CLIENT(a_reset_cancels_its_request_only),
        WITH_CLIENT(a_client_that_goes_cancels_all_it_asked_for),
        WITH_CLIENT(a_broken_stream_does_not_look_complete),
        WITH_CLIENT(a_stream_of_known_length_says_it),
        WITH_CLIENT(a_body_beyond_the_limit_is_answered_at_once),
        WITH_CLIENT(a_body_of_any_length_is_taken_as_it_comes),
        WITH_CLIENT(a_body_that_nobody_takes_holds_up_no_other),
        WITH_CLIENT(headers_beyond_the_limit_are_refused),
        cmocka_unit_test(slow_uploads_cost_no_more_than_their_time),
        WITH_CLIENT(resets_without_end_end_the_connection),
        WITH_CLIENT(unanswered_pings_without_end_end_the_connection),
        WITH_CLIENT(what_is_not_http2_is_refused),
        cmocka_unit_test(a_stop_says_goodbye_and_lets_requests_finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
