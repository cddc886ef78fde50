/* gzip for large bodies: when the client accepts it and the body has at least HTTP_GZIP_MIN bytes, at level 1, as
 * upstream does. The body is compressed piece by piece as the client takes it, by means of the streaming interface
 * alone, so that a large list neither holds up the I/O thread nor is in memory twice. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "server/http/request.h"

#define PIECE_SIZE (64 * 1024)
/* The next piece is made when the queue has fallen to this. */
#define LOW_WATER (16 * 1024)
#define LEVEL 1
#define WINDOW_BITS_GZIP (15 + 16)

struct compressor {
    struct request *request;
    z_stream stream;
    size_t at, count;
    bool begun; /* runs[at] has been given to zlib */
    struct http_bytes runs[];
};

static bool accepts_gzip(const struct request *r)
{
    const char *accept = http_request_header(&r->public, "accept-encoding");
    while (accept && *accept) {
        accept += strspn(accept, ", \t");
        size_t n = strcspn(accept, ", \t");
        if (n == 4 && memcmp(accept, "gzip", 4) == 0)
            return true;
        accept += n;
    }
    return false;
}

static void release_run(struct compressor *z)
{
    struct http_bytes *run = &z->runs[z->at++];
    z->begun = false;
    if (run->release)
        run->release(run->owner);
}

static void compressor_free(void *context)
{
    struct compressor *z = context;
    while (z->at < z->count)
        release_run(z);
    deflateEnd(&z->stream);
    http_request_release(&z->request->public);
    free(z);
}

/* Queues one piece. */
static void pump(void *context)
{
    struct compressor *z = context;
    struct http_request *request = &z->request->public;
    unsigned char *piece = mem_alloc(PIECE_SIZE);
    z->stream.next_out = piece;
    z->stream.avail_out = PIECE_SIZE;
    int result = Z_OK;
    while (z->stream.avail_out && result != Z_STREAM_END) {
        if (!z->stream.avail_in && z->begun)
            release_run(z);
        if (!z->stream.avail_in && z->at < z->count) {
            z->stream.next_in = (unsigned char *)z->runs[z->at].data;
            z->stream.avail_in = (unsigned)z->runs[z->at].size;
            z->begun = true;
        }
        result = deflate(&z->stream, z->at < z->count ? Z_NO_FLUSH : Z_FINISH);
    }
    struct http_bytes run = http_bytes_owned(piece, PIECE_SIZE - z->stream.avail_out);
    http_stream_write(request, &run, 1);
    if (result != Z_STREAM_END) {
        http_stream_on_drained(request, LOW_WATER, pump, z);
        return;
    }
    http_request_on_cancel(request, NULL, NULL);
    http_stream_end(request);
    compressor_free(z);
}

bool compress_respond(struct request *r, int status, const struct http_bytes *runs, size_t count, size_t total)
{
    (void)total;
    if (status != 200 || r->head_only || !accepts_gzip(r) || r->public.fault)
        return false;
    for (size_t i = 0; i < count; i++)
        if (runs[i].size > UINT32_MAX)
            return false;
    struct compressor *z = mem_zero(1, sizeof(*z) + count * sizeof(*runs));
    if (deflateInit2(&z->stream, LEVEL, Z_DEFLATED, WINDOW_BITS_GZIP, MAX_MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(z);
        return false;
    }
    z->request = r;
    z->count = count;
    memcpy(z->runs, runs, count * sizeof(*runs));
    http_request_retain(&r->public);
    http_response_header(&r->public, "Content-Encoding", "gzip");
    http_response_header(&r->public, "Vary", "Accept-Encoding");
    r->finite = true;
    http_stream_begin(&r->public, status);
    http_request_on_cancel(&r->public, compressor_free, z);
    pump(z);
    return true;
}
