/* Answers to HTTP probes: any bytes, cut anywhere, are read to the same end. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "node/http_answer.h"
#include "fuzz.h"

static int read_in_pieces(const char *data, size_t size, size_t piece, struct http_answer *answer)
{
    char failure[HTTP_ANSWER_FAILURE_MAX] = "";
    *answer = (struct http_answer){0};
    for (size_t i = 0; i < size; i += piece)
        if (http_answer_feed(answer, data + i, size - i < piece ? size - i : piece, failure) < 0)
            return -1;
    return http_answer_end(answer, failure);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_answer whole, pieces;
    int result = read_in_pieces((const char *)data, size, size ? size : 1, &whole);
    assert(read_in_pieces((const char *)data, size, 1, &pieces) == result);
    assert(whole.status == pieces.status && whole.complete == pieces.complete);
    assert(result < 0 || (whole.status >= 100 && whole.status <= 999));
    assert(!whole.location == !pieces.location && whole.text.size == pieces.text.size);
    http_answer_free(&whole);
    http_answer_free(&pieces);
    return 0;
}
