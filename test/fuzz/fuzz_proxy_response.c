/* Responses that the proxy reads: any bytes, cut anywhere, are read to the same end. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "server/proxy_response.h"
#include "fuzz.h"

static int read_in_pieces(const char *data, size_t size, size_t piece, struct buffer *out)
{
    struct proxy_response r = {0};
    enum proxy_event event = PROXY_MORE;
    int status;
    for (size_t i = 0; i < size && event != PROXY_BAD && event != PROXY_END; i += piece) {
        const char *at = data + i, *run;
        size_t left = size - i < piece ? size - i : piece, run_size;
        do {
            event = proxy_response_next(&r, false, &at, &left, &run, &run_size);
            for (size_t f = 0; event == PROXY_HEAD && f < r.fields.count; f++)
                buffer_printf(out, "%s: %s\n", r.fields.items[f].name, r.fields.items[f].value);
            if (event == PROXY_BODY)
                buffer_add(out, run, run_size);
        } while (event == PROXY_HEAD || event == PROXY_BODY);
    }
    status = event == PROXY_BAD ? -1 : r.status;
    proxy_response_free(&r);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer whole = {0}, pieces = {0};
    int status = read_in_pieces((const char *)data, size, size ? size : 1, &whole);
    assert(read_in_pieces((const char *)data, size, 1, &pieces) == status);
    assert(whole.size == pieces.size && (!whole.size || memcmp(whole.data, pieces.data, whole.size) == 0));
    buffer_free(&whole);
    buffer_free(&pieces);
    return 0;
}
