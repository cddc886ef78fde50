/* The HTTP/1.x parser: no input crashes it, and what it reads does not depend on how the bytes arrive.
 *
 * The first byte says where the input is split; what follows is a request, its body chunked if the head says so. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/vector.h"
#include "server/http/http1_parse.h"
#include "server/http/request.h"
#include "fuzz.h"

/* Unfolds a body that comes in pieces of `step` bytes. Returns the result; *rest is what lies behind the body. */
static enum http1_chunk_result unfold(const char *at, size_t size, size_t step, struct buffer *out, size_t *rest)
{
    struct http1_chunks chunks = {0};
    enum http1_chunk_result result = HTTP1_CHUNK_MORE;
    while (size) {
        size_t n = step < size ? step : size, left = n, run_size;
        const char *run;
        while ((result = http1_chunks_next(&chunks, &at, &left, &run, &run_size)) == HTTP1_CHUNK_DATA)
            buffer_add(out, run, run_size);
        size -= n - left;
        if (result != HTTP1_CHUNK_MORE)
            break;
    }
    *rest = size;
    return result;
}

static void check_chunks(const char *data, size_t size, size_t step)
{
    struct buffer whole = {0}, pieces = {0};
    size_t whole_rest, pieces_rest;
    enum http1_chunk_result a = unfold(data, size, SIZE_MAX, &whole, &whole_rest);
    enum http1_chunk_result b = unfold(data, size, step, &pieces, &pieces_rest);
    CHECK(a == b);
    CHECK(a != HTTP1_CHUNK_END || whole_rest == pieces_rest);
    CHECK(whole.size == pieces.size && (!whole.size || memcmp(whole.data, pieces.data, whole.size) == 0));
    CHECK(whole.size <= size);
    buffer_free(&whole);
    buffer_free(&pieces);
}

/* Whether the text is part of the run of bytes, its NUL included. */
static bool within(const char *text, const struct buffer *b)
{
    return text >= b->data && text < b->data + b->size && memchr(text, 0, (size_t)(b->data + b->size - text));
}

static void check_head(const char *data, size_t head_size, size_t size, size_t step)
{
    struct request r = {0};
    struct http1_head head;
    const char *reason = NULL;
    buffer_add(&r.text, data, head_size);
    int status = http1_parse_head(r.text.data, head_size, &r.headers, &head, &reason);
    CHECK(r.headers.count <= HTTP_HEADERS_MAX);
    if (status) {
        CHECK(status >= 400 && status < 600 && reason);
    } else {
        CHECK(!(head.chunked && head.has_length));
        for (size_t i = 0; i < r.headers.count; i++) {
            CHECK(within(r.headers.items[i].name, &r.text) && within(r.headers.items[i].value, &r.text));
            CHECK(!strpbrk(r.headers.items[i].name, " \r\n:") && !strpbrk(r.headers.items[i].value, "\r\n"));
        }
        size_t target_size = strlen(head.target);
        r.public.host = head.host;
        if (!request_set_target(&r, head.method, head.target, &reason)) {
            CHECK(*r.public.path == '/' || strcmp(r.public.path, "*") == 0);
            CHECK(strlen(r.public.path) <= strlen(r.public.raw_path) && strlen(r.public.raw_path) <= target_size);
            for (size_t i = 0; i < r.public.parameter_count; i++)
                CHECK(strlen(r.public.parameters[i].name) + strlen(r.public.parameters[i].value) <= target_size);
        }
        if (head.chunked)
            check_chunks(data + head_size, size - head_size, step);
    }
    buffer_free(&r.text);
    buffer_free(&r.decoded);
    vector_free(&r.headers);
    vector_free(&r.parameters);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 2)
        return 0;
    size_t step = (size_t)bytes[0] + 1;
    /* Exactly as large as it says, so that reading beyond it is noticed. */
    size--;
    char *data = malloc(size);
    memcpy(data, bytes + 1, size);

    struct http1_scan whole = {0}, pieces = {0};
    size_t whole_head = 0, pieces_head = 0;
    enum http1_scan_result a = http1_scan(&whole, data, size, &whole_head), b = HTTP1_SCAN_MORE;
    for (size_t seen = 0; seen < size && b == HTTP1_SCAN_MORE;) {
        seen = seen + step < size ? seen + step : size;
        b = http1_scan(&pieces, data, seen, &pieces_head);
    }
    CHECK(a == b && whole_head == pieces_head && whole_head <= size);
    if (a == HTTP1_SCAN_FOUND)
        check_head(data, whole_head, size, step);
    check_chunks(data, size, step);
    free(data);
    return 0;
}
