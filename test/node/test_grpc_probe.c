/* gRPC probes against a server on the loopback that answers with frames made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/timestamp.h"
#include "node/grpc_probe.h"

/* A client's preface, settings and request are longer than this. */
#define REQUEST_MIN 100

enum { FRAME_DATA = 0, FRAME_HEADERS = 1, FRAME_SETTINGS = 4 };
enum { END_STREAM = 1, END_HEADERS = 4 };

struct world {
    uv_loop_t loop;
    struct env *env;
    uv_tcp_t listener, client;
    bool accepted, closed;
    size_t received;
    struct buffer request, answer;
    bool hang_up; /* after the answer */
    int port;
    bool done;
    char *failure; /* NULL: success */
};

static void frame(struct buffer *out, int type, int flags, int stream, const void *payload, size_t size)
{
    const uint8_t head[9] = {(uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size, (uint8_t)type, (uint8_t)flags,
                             0,                     0,                    0,             (uint8_t)stream};
    buffer_add(out, head, sizeof(head));
    if (size)
        buffer_add(out, payload, size);
}

/* Headers as "name: value" lines, each a literal of HPACK. */
static void headers(struct buffer *out, bool last, const char *lines)
{
    cleanup_buffer struct buffer block = {0};
    cleanup_free char *copy = mem_string(lines);
    for (char *rest = copy, *line; (line = strsep(&rest, "\n"));) {
        char *value = strstr(line + 1, ": ");
        uint8_t size[2] = {0, (uint8_t)(value - line)};
        buffer_add(&block, size, 2);
        buffer_add(&block, line, (size_t)(value - line));
        size[1] = (uint8_t)strlen(value + 2);
        buffer_add(&block, size + 1, 1);
        buffer_add_string(&block, value + 2);
    }
    frame(out, FRAME_HEADERS, END_HEADERS | (last ? END_STREAM : 0), 1, block.data, block.size);
}

static void settings(struct buffer *out)
{
    frame(out, FRAME_SETTINGS, 0, 0, NULL, 0);
}

/* A whole answer with this message. */
static void answer_with(struct buffer *out, const void *message, size_t size)
{
    settings(out);
    headers(out, false, ":status: 200\ncontent-type: application/grpc");
    frame(out, FRAME_DATA, 0, 1, message, size);
    headers(out, true, "grpc-status: 0\ngrpc-message: ");
}

static void allocate(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
    static char space[65536];
    (void)handle, (void)size;
    *out = uv_buf_init(space, sizeof(space));
}

static void client_closed(uv_handle_t *handle)
{
    ((struct world *)handle->data)->closed = true;
}

static void answered(uv_write_t *request, int status)
{
    struct world *w = request->data;
    (void)status;
    if (w->hang_up && !uv_is_closing((uv_handle_t *)&w->client))
        uv_close((uv_handle_t *)&w->client, client_closed);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *data)
{
    static uv_write_t request;
    struct world *w = stream->data;
    if (n < 0) {
        if (!uv_is_closing((uv_handle_t *)stream))
            uv_close((uv_handle_t *)stream, client_closed);
        return;
    }
    size_t before = w->request.size;
    buffer_add(&w->request, data->base, (size_t)n);
    if (before < REQUEST_MIN && w->request.size >= REQUEST_MIN && (w->answer.size || w->hang_up)) {
        uv_buf_t out = uv_buf_init(w->answer.data, (unsigned)w->answer.size);
        request.data = w;
        uv_write(&request, stream, &out, 1, answered);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct world *w = listener->data;
    if (status < 0 || w->accepted)
        return;
    w->accepted = true;
    uv_tcp_init(&w->loop, &w->client);
    w->client.data = w;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&w->client), 0);
    uv_read_start((uv_stream_t *)&w->client, allocate, on_read);
}

static void begin(struct world *w)
{
    struct sockaddr_in address;
    int size = sizeof(address);
    *w = (struct world){0};
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->env = env_uv_new(&w->loop);
    uv_tcp_init(&w->loop, &w->listener);
    w->listener.data = w;
    uv_ip4_addr("127.0.0.1", 0, &address);
    assert_int_equal(uv_tcp_bind(&w->listener, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&w->listener, 8, on_connection), 0);
    uv_tcp_getsockname(&w->listener, (struct sockaddr *)&address, &size);
    w->port = ntohs(address.sin_port);
}

static void done(void *context, const char *failure)
{
    struct world *w = context;
    w->done = true;
    w->failure = failure ? mem_string(failure) : NULL;
}

/* The probe's failure with the present answer, "" of a success. */
static const char *probe(struct world *w, const char *service, int64_t timeout)
{
    grpc_probe_start(w->env, "127.0.0.1", w->port, service, timeout, done, w);
    while (!w->done)
        uv_run(&w->loop, UV_RUN_ONCE);
    return w->failure ? w->failure : "";
}

static void end(struct world *w)
{
    if (w->accepted && !uv_is_closing((uv_handle_t *)&w->client))
        uv_close((uv_handle_t *)&w->client, NULL);
    if (!uv_is_closing((uv_handle_t *)&w->listener))
        uv_close((uv_handle_t *)&w->listener, NULL);
    env_uv_free(w->env);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    buffer_free(&w->request);
    buffer_free(&w->answer);
    free(w->failure);
}

static void the_answer_decides(void **state)
{
    static const struct {
        const char *message;
        size_t size;
        const char *failure;
    } cases[] = {
        {"\0\0\0\0\2\10\1", 7, ""},
        {"\0\0\0\0\2\10\2", 7, "service unhealthy (responded with \"NOT_SERVING\")"},
        {"\0\0\0\0\2\10\3", 7, "service unhealthy (responded with \"SERVICE_UNKNOWN\")"},
        {"\0\0\0\0\0", 5, "service unhealthy (responded with \"UNKNOWN\")"},
        {"\0\0\0\0\3\10\254\2", 8, "service unhealthy (responded with \"300\")"},
        {"\0\0\0\0\4\20\7\10\1", 9, ""}, /* a field that is not known */
        {"\0\0\0\0\1\10", 6, "error: health rpc probe failed: rpc error: code = Internal desc = grpc: failed to "
                             "unmarshal the received message"},
        {"\0\0\0\0\3\10\1", 7, "error: health rpc probe failed: rpc error: code = Internal desc = grpc: failed to "
                               "unmarshal the received message"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct world w;
        begin(&w);
        answer_with(&w.answer, cases[i].message, cases[i].size);
        assert_string_equal(probe(&w, "", 5 * SECOND), cases[i].failure);
        end(&w);
    }
}

static void a_refused_call_says_why(void **state)
{
    static const struct {
        const char *lines, *failure;
    } cases[] = {
        {":status: 200\ncontent-type: application/grpc\ngrpc-status: 12\ngrpc-message: unknown service",
         "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service"},
        {":status: 200\ncontent-type: application/grpc\ngrpc-status: 5\ngrpc-message: no%20such%0aservice",
         "error: health rpc probe failed: rpc error: code = NotFound desc = no such?service"},
        {":status: 200\ncontent-type: application/grpc\ngrpc-status: 4\ngrpc-message: late",
         "timeout: health rpc did not complete within 5s"},
        {":status: 200\ncontent-type: application/grpc\ngrpc-status: 99\ngrpc-message: what",
         "error: health rpc probe failed: rpc error: code = Code(99) desc = what"},
        {":status: 404\ncontent-type: text/plain", "error: this server does not implement the grpc health protocol "
                                                   "(grpc.health.v1.Health): unexpected HTTP status code received from "
                                                   "server: 404"},
        {":status: 503\ncontent-type: text/plain", "error: health rpc probe failed: rpc error: code = Unavailable desc = "
                                                   "unexpected HTTP status code received from server: 503"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct world w;
        begin(&w);
        settings(&w.answer);
        headers(&w.answer, true, cases[i].lines);
        assert_string_equal(probe(&w, "model", 5 * SECOND), cases[i].failure);
        end(&w);
    }
}

static void the_service_is_asked_for_by_name(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    answer_with(&w.answer, "\0\0\0\0\2\10\1", 7);
    assert_string_equal(probe(&w, "model", 5 * SECOND), "");
    assert_non_null(memmem(w.request.data, w.request.size, "\0\0\0\0\7\12\5model", 12));
    end(&w);
}

static void a_server_that_never_answers_has_the_timeout(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    settings(&w.answer);
    assert_string_equal(probe(&w, "", 100 * MILLISECOND), "timeout: health rpc did not complete within 100ms");
    end(&w);
}

static void what_does_not_speak_http2_is_tried_until_the_timeout(void **state)
{
    struct world w;
    char text[128];
    (void)state;
    begin(&w);
    buffer_add_string(&w.answer, "HTTP/1.1 400 Bad Request\r\n\r\n");
    snprintf(text, sizeof(text),
             "timeout: failed to connect service \"127.0.0.1:%d\" within 250ms: context deadline exceeded", w.port);
    assert_string_equal(probe(&w, "", 250 * MILLISECOND), text);
    end(&w);
    begin(&w);
    uv_close((uv_handle_t *)&w.listener, NULL); /* nobody is there */
    snprintf(text, sizeof(text),
             "timeout: failed to connect service \"127.0.0.1:%d\" within 150ms: context deadline exceeded", w.port);
    assert_string_equal(probe(&w, "", 150 * MILLISECOND), text);
    end(&w);
}

static void a_server_that_hangs_up_is_unavailable(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    settings(&w.answer);
    w.hang_up = true;
    assert_string_equal(probe(&w, "", 5 * SECOND), "error: health rpc probe failed: rpc error: code = Unavailable desc "
                                                   "= error reading from server: EOF");
    end(&w);
}

static void megabytes_are_not_read(void **state)
{
    static char much[16384];
    struct world w;
    (void)state;
    begin(&w);
    settings(&w.answer);
    headers(&w.answer, false, ":status: 200\ncontent-type: application/grpc");
    for (int i = 0; i < 100; i++)
        frame(&w.answer, FRAME_DATA, 0, 1, much, sizeof(much));
    assert_string_equal(probe(&w, "", 5 * SECOND), "error: health rpc probe failed: rpc error: code = ResourceExhausted "
                                                   "desc = grpc: received message larger than max (4096)");
    end(&w);
}

static void a_cancelled_probe_does_not_answer(void **state)
{
    struct world w;
    (void)state;
    begin(&w);
    struct grpc_probe *p = grpc_probe_start(w.env, "127.0.0.1", w.port, "", SECOND, done, &w);
    uv_run(&w.loop, UV_RUN_NOWAIT);
    grpc_probe_cancel(p);
    end(&w);
    assert_false(w.done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answer_decides),
        cmocka_unit_test(a_refused_call_says_why),
        cmocka_unit_test(the_service_is_asked_for_by_name),
        cmocka_unit_test(a_server_that_never_answers_has_the_timeout),
        cmocka_unit_test(what_does_not_speak_http2_is_tried_until_the_timeout),
        cmocka_unit_test(a_server_that_hangs_up_is_unavailable),
        cmocka_unit_test(megabytes_are_not_read),
        cmocka_unit_test(a_cancelled_probe_does_not_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
