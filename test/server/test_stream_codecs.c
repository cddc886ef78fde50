/* The promises of WebSocket and SPDY framing: the same reading however the bytes arrive, limits, and no reading at all
 * of what is not well-formed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <zlib.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "server/stream/spdy.h"
#include "server/stream/terminal_size.h"
#include "server/stream/websocket.h"

/* ---- WebSocket ---- */

/* A frame as a client sends it, with a mask. */
static void client_frame(struct buffer *out, unsigned first_byte, const char *data, size_t size)
{
    static const char mask[] = {0x11, 0x22, 0x33, 0x44};
    char head[WEBSOCKET_HEAD_MAX];
    size_t n = websocket_head(WEBSOCKET_BINARY, size, head);
    head[0] = (char)first_byte;
    head[1] = (char)(head[1] | 0x80);
    buffer_add(out, head, n);
    buffer_add(out, mask, sizeof(mask));
    for (size_t i = 0; i < size; i++)
        buffer_add_char(out, (char)(data[i] ^ mask[i & 3]));
}

/* What is read of bytes that come `step` at a time: pieces joined, '<' before and '>' behind each message,
 * "[opcode:...]" for control frames, "!" for what is bad. */
static void read_websocket(const char *data, size_t size, size_t step, struct buffer *out)
{
    cleanup_free struct websocket_decoder *d = mem_zero(1, sizeof(*d));
    struct websocket_event event = {0};
    buffer_clear(out);
    for (size_t at = 0; at < size && event.type != WEBSOCKET_BAD; at += step) {
        const char *piece = data + at;
        size_t left = size - at < step ? size - at : step;
        do {
            websocket_next(d, &piece, &left, &event);
            if (event.type == WEBSOCKET_BAD) {
                buffer_add_char(out, '!');
            } else if (event.type == WEBSOCKET_CONTROL) {
                buffer_printf(out, "[%d:%.*s]", event.opcode, (int)event.size, event.data);
            } else if (event.type == WEBSOCKET_DATA) {
                buffer_printf(out, "%s", event.first ? "<" : "");
                buffer_add(out, event.data, event.size);
                buffer_printf(out, "%s", event.last ? ">" : "");
            }
        } while (event.type != WEBSOCKET_MORE && event.type != WEBSOCKET_BAD);
    }
}

static void messages_are_the_same_wherever_they_are_cut(void **state)
{
    (void)state;
    cleanup_buffer struct buffer wire = {0}, seen = {0};
    client_frame(&wire, 0x80 | WEBSOCKET_BINARY, "whole", 5);
    client_frame(&wire, WEBSOCKET_TEXT, "frag", 4);
    client_frame(&wire, 0x80 | WEBSOCKET_PING, "p", 1);
    client_frame(&wire, 0x80 | WEBSOCKET_CONTINUATION, "ment", 4);
    client_frame(&wire, 0x80 | WEBSOCKET_BINARY, "", 0);
    client_frame(&wire, 0x80 | WEBSOCKET_CLOSE, "\x03\xe8", 2);
    for (size_t step = 1; step <= wire.size; step++) {
        read_websocket(wire.data, wire.size, step, &seen);
        assert_string_equal(seen.data, "<whole><frag[9:p]ment><>[8:\x03\xe8]");
    }
}

static void long_messages_come_in_pieces(void **state)
{
    (void)state;
    cleanup_buffer struct buffer wire = {0}, seen = {0};
    static const size_t sizes[] = {125, 126, 65535, 65536, 200000};
    cleanup_free char *data = mem_alloc(200000);
    memset(data, 'x', 200000);
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        buffer_clear(&wire);
        client_frame(&wire, 0x80 | WEBSOCKET_BINARY, data, sizes[i]);
        read_websocket(wire.data, wire.size, 1 << 20, &seen);
        assert_int_equal(seen.size, sizes[i] + 2);
    }
}

static void what_a_client_must_not_send_is_bad(void **state)
{
    (void)state;
    static const struct {
        const char *what, *wire;
        size_t size;
    } bad[] = {
        {"no mask", "\x82\x01x", 3},
        {"a reserved bit", "\xc2\x80\0\0\0\0", 6},
        {"an unknown opcode", "\x83\x80\0\0\0\0", 6},
        {"an unknown control opcode", "\x8b\x80\0\0\0\0", 6},
        {"a ping in pieces", "\x09\x80\0\0\0\0", 6},
        {"a long ping", "\x89\xfe\x00\x7e\0\0\0\0", 8},
        {"a continuation of nothing", "\x80\x80\0\0\0\0", 6},
        {"a message inside of one", "\x02\x80\0\0\0\0\x82\x80\0\0\0\0", 12},
        {"a length that is not the shortest", "\x82\xfe\x00\x05\0\0\0\0", 8},
        {"a length above 2^63", "\x82\xff\xff\0\0\0\0\0\0\0\0\0\0\0", 14},
    };
    cleanup_buffer struct buffer seen = {0};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        read_websocket(bad[i].wire, bad[i].size, 1, &seen);
        if (!seen.size || seen.data[seen.size - 1] != '!')
            fail_msg("%s was taken for good: %s", bad[i].what, seen.data);
    }
}

static void the_handshake_answers_the_key_of_the_rfc(void **state)
{
    (void)state;
    char out[WEBSOCKET_ACCEPT_SIZE];
    assert_true(websocket_accept("dGhlIHNhbXBsZSBub25jZQ==", out));
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_false(websocket_accept("", out));
    assert_false(websocket_accept("dGhlIHNhbXBsZSBub25jZQ", out));
    assert_false(websocket_accept("dGhlIHNhbXBsZSBub25jZQ=?", out));
    assert_false(websocket_accept("dGhlIHNhbXBsZSBub25jZSEh", out)); /* 18 bytes */
}

/* ---- SPDY ---- */

static void add_string(struct buffer *out, const char *text)
{
    uint32_t size = (uint32_t)strlen(text);
    char count[] = {(char)(size >> 24), (char)(size >> 16), (char)(size >> 8), (char)size};
    buffer_add(out, count, 4);
    buffer_add_string(out, text);
}

/* SYN_STREAM as a client sends it. */
static void open_stream(struct buffer *out, z_stream *z, uint32_t id, const char *type, unsigned flags)
{
    cleanup_buffer struct buffer block = {0};
    unsigned char packed[1024];
    buffer_add(&block, "\0\0\0\2", 4);
    add_string(&block, "streamtype");
    add_string(&block, type);
    add_string(&block, "port");
    add_string(&block, "80");
    z->next_in = (unsigned char *)block.data;
    z->avail_in = (unsigned)block.size;
    z->next_out = packed;
    z->avail_out = sizeof(packed);
    assert_int_equal(deflate(z, Z_SYNC_FLUSH), Z_OK);
    uint32_t size = (uint32_t)(sizeof(packed) - z->avail_out);
    char head[18] = {(char)0x80,
                     3,
                     0,
                     1,
                     (char)flags,
                     0,
                     (char)((size + 10) >> 8),
                     (char)(size + 10),
                     (char)(id >> 24),
                     (char)(id >> 16),
                     (char)(id >> 8),
                     (char)id};
    buffer_add(out, head, sizeof(head));
    buffer_add(out, packed, size);
}

static void begin_deflate(z_stream *z)
{
    *z = (z_stream){0};
    deflateInit(z, Z_DEFAULT_COMPRESSION);
    deflateSetDictionary(z, (const unsigned char *)spdy_dictionary, SPDY_DICTIONARY_SIZE);
}

static void read_spdy(const char *data, size_t size, size_t step, struct buffer *out)
{
    struct spdy_decoder *d = spdy_decoder_new();
    struct spdy_event event = {0};
    buffer_clear(out);
    for (size_t at = 0; at < size && event.type != SPDY_BAD; at += step) {
        const char *piece = data + at;
        size_t left = size - at < step ? size - at : step;
        do {
            spdy_next(d, &piece, &left, &event);
            if (event.type == SPDY_BAD)
                buffer_add_char(out, '!');
            else if (event.type == SPDY_DATA)
                buffer_add(out, event.data, event.size);
            else if (event.type != SPDY_MORE)
                buffer_printf(out, "[%d %u %u", event.type, event.stream, event.value);
            for (size_t i = 0; i < event.header_count; i++)
                buffer_printf(out, " %s=%s", event.headers[i].name, event.headers[i].value);
            if (event.type > SPDY_DATA)
                buffer_add_char(out, ']');
            if (event.fin)
                buffer_add_char(out, '.');
        } while (event.type != SPDY_MORE && event.type != SPDY_BAD);
    }
    spdy_decoder_free(d);
}

static void frames_are_the_same_wherever_they_are_cut(void **state)
{
    (void)state;
    cleanup_buffer struct buffer wire = {0}, seen = {0};
    z_stream z;
    begin_deflate(&z);
    open_stream(&wire, &z, 1, "stdin", 0);
    open_stream(&wire, &z, 3, "error", SPDY_FIN);
    deflateEnd(&z);
    spdy_write_data(&wire, 1, "hello", 5, false);
    spdy_write_ping(&wire, 7);
    buffer_add(&wire, "\x80\x03\0\x0b\0\0\0\1x", 9); /* a type that nobody knows */
    buffer_add(&wire, "\x80\x03\0\4\0\0\0\x0c\0\0\0\1\0\0\0\7\0\1\0\0", 20);
    spdy_write_window(&wire, 1, 9);
    spdy_write_reset(&wire, 3, SPDY_CANCEL);
    spdy_write_data(&wire, 1, NULL, 0, true);
    spdy_write_goaway(&wire, 3);
    for (size_t step = 1; step <= wire.size; step++) {
        read_spdy(wire.data, wire.size, step, &seen);
        char expected[256];
        snprintf(expected, sizeof(expected),
                 "[%d 1 0 streamtype=stdin port=80][%d 3 0 streamtype=error port=80].hello[%d 7 7][%d 1 65536]"
                 "[%d 1 9][%d 3 5].[%d 3 0]",
                 SPDY_OPENED, SPDY_OPENED, SPDY_PINGED, SPDY_WINDOW_SETTING, SPDY_WINDOW, SPDY_RESET, SPDY_GONE);
        assert_string_equal(seen.data, expected);
    }
}

static void replies_are_what_a_client_can_decompress(void **state)
{
    (void)state;
    cleanup_buffer struct buffer wire = {0}, seen = {0};
    struct spdy_encoder *e = spdy_encoder_new();
    for (uint32_t id = 1; id < 9; id += 2)
        spdy_write_reply(e, &wire, id);
    spdy_encoder_free(e);
    read_spdy(wire.data, wire.size, 5, &seen);
    char expected[64];
    snprintf(expected, sizeof(expected), "[%1$d 1 0][%1$d 3 0][%1$d 5 0][%1$d 7 0]", SPDY_REPLIED);
    assert_string_equal(seen.data, expected);
}

static void what_is_not_spdy_is_bad(void **state)
{
    (void)state;
    static const struct {
        const char *what, *wire;
        size_t size;
    } bad[] = {
        {"another version", "\x80\x02\0\6\0\0\0\4\0\0\0\1", 12},
        {"a control frame too long", "\x80\x03\0\6\0\1\0\0", 8},
        {"a short ping", "\x80\x03\0\6\0\0\0\3\0\0\1", 11},
        {"a long reset", "\x80\x03\0\3\0\0\0\x0c\0\0\0\1\0\0\0\1\0\0\0\1", 20},
        {"settings that count wrong", "\x80\x03\0\4\0\0\0\x0c\0\0\0\2\0\0\0\7\0\1\0\0", 20},
        {"headers that are not compressed", "\x80\x03\0\1\0\0\0\x0e\0\0\0\1\0\0\0\0\0\0\0\0\0\0", 22},
    };
    cleanup_buffer struct buffer seen = {0};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        read_spdy(bad[i].wire, bad[i].size, 1, &seen);
        if (!seen.size || seen.data[seen.size - 1] != '!')
            fail_msg("%s was taken for good", bad[i].what);
    }
}

static void headers_that_unfold_without_end_are_bad(void **state)
{
    (void)state;
    cleanup_buffer struct buffer wire = {0}, seen = {0};
    cleanup_free char *type = mem_alloc(SPDY_HEADERS_MAX + 1);
    memset(type, 'x', SPDY_HEADERS_MAX);
    type[SPDY_HEADERS_MAX] = 0;
    z_stream z;
    begin_deflate(&z);
    open_stream(&wire, &z, 1, type, 0);
    deflateEnd(&z);
    assert_true(wire.size < 1024);
    read_spdy(wire.data, wire.size, 100, &seen);
    assert_string_equal(seen.data, "!");
}

/* ---- Sizes of terminals ---- */

static void sizes_are_read_wherever_they_are_cut(void **state)
{
    (void)state;
    static const char text[] =
        "{\"Width\":80,\"Height\":24}\n{\"width\": 1 , \"HEIGHT\":\t2}{\"Width\":70000,\"Height\":1}{}"
        "{\"Width\":-1,\"Height\":3}{\"Height\":5,\"Width\":4}";
    for (size_t step = 1; step <= sizeof(text); step++) {
        struct terminal_size_reader reader = {0};
        cleanup_buffer struct buffer seen = {0};
        for (size_t at = 0; at < sizeof(text) - 1; at += step) {
            const char *data = text + at;
            size_t size = sizeof(text) - 1 - at < step ? sizeof(text) - 1 - at : step;
            uint16_t columns, rows;
            while (terminal_size_read(&reader, &data, &size, &columns, &rows))
                buffer_printf(&seen, "%ux%u ", columns, rows);
        }
        assert_string_equal(seen.data, "80x24 1x2 4x5 ");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_the_same_wherever_they_are_cut),
        cmocka_unit_test(long_messages_come_in_pieces),
        cmocka_unit_test(what_a_client_must_not_send_is_bad),
        cmocka_unit_test(the_handshake_answers_the_key_of_the_rfc),
        cmocka_unit_test(frames_are_the_same_wherever_they_are_cut),
        cmocka_unit_test(replies_are_what_a_client_can_decompress),
        cmocka_unit_test(what_is_not_spdy_is_bad),
        cmocka_unit_test(headers_that_unfold_without_end_are_bad),
        cmocka_unit_test(sizes_are_read_wherever_they_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
