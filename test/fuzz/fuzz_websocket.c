/* WebSocket frames: any bytes, cut anywhere, are read to the same events, and no piece is longer than it may be. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buffer.h"
#include "server/stream/websocket.h"
#include "fuzz.h"

static void read_in_pieces(const char *data, size_t size, size_t piece, struct buffer *out)
{
    struct websocket_decoder d = {0};
    struct websocket_event event = {0};
    for (size_t i = 0; i < size && event.type != WEBSOCKET_BAD; i += piece) {
        const char *at = data + i;
        size_t left = size - i < piece ? size - i : piece;
        do {
            websocket_next(&d, &at, &left, &event);
            assert(event.size <= WEBSOCKET_PIECE_MAX);
            if (event.type == WEBSOCKET_CONTROL)
                buffer_printf(out, "[%d]", event.opcode);
            if (event.type == WEBSOCKET_DATA && event.first)
                buffer_printf(out, "<%d>", event.opcode);
            buffer_add(out, event.data ? event.data : "", event.size);
            if (event.last || event.type == WEBSOCKET_BAD)
                buffer_add_char(out, '.');
        } while (event.type != WEBSOCKET_MORE && event.type != WEBSOCKET_BAD);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer whole = {0}, pieces = {0};
    read_in_pieces((const char *)data, size, size ? size : 1, &whole);
    read_in_pieces((const char *)data, size, 1, &pieces);
    assert(whole.size == pieces.size && (!whole.size || memcmp(whole.data, pieces.data, whole.size) == 0));
    buffer_free(&whole);
    buffer_free(&pieces);
    return 0;
}
