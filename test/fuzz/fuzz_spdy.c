/* SPDY frames: any bytes, cut anywhere, are read to the same events, within the limits. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buffer.h"
#include "server/stream/spdy.h"
#include "server/stream/terminal_size.h"
#include "fuzz.h"

static void read_in_pieces(const char *data, size_t size, size_t piece, struct buffer *out)
{
    struct spdy_decoder *d = spdy_decoder_new();
    struct terminal_size_reader sizes = {0};
    struct spdy_event event = {0};
    for (size_t i = 0; i < size && event.type != SPDY_BAD; i += piece) {
        const char *at = data + i;
        size_t left = size - i < piece ? size - i : piece;
        do {
            spdy_next(d, &at, &left, &event);
            assert(event.header_count <= SPDY_PAIRS_MAX);
            if (event.type > SPDY_DATA)
                buffer_printf(out, "[%d %u %u]", event.type, event.stream, event.value);
            for (size_t h = 0; h < event.header_count; h++)
                buffer_printf(out, "%s=%s,", event.headers[h].name, event.headers[h].value);
            if (event.type == SPDY_DATA) {
                uint16_t columns, rows;
                buffer_add(out, event.data, event.size);
                while (terminal_size_read(&sizes, &event.data, &event.size, &columns, &rows))
                    assert(columns && rows);
            }
            if (event.fin || event.type == SPDY_BAD)
                buffer_add_char(out, '.');
        } while (event.type != SPDY_MORE && event.type != SPDY_BAD);
    }
    spdy_decoder_free(d);
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
