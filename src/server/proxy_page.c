#include "server/proxy_page.h"

#include <stdlib.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "base/text.h"

/* Unpacked and handed on at a time. */
#define PIECE_SIZE (16 * 1024)
/* zlib's names for the three formats: raw, its own, gzip. "deflate" is zlib's by RFC 9110, and raw by habit. */
#define WINDOW_BITS_RAW (-15)
#define WINDOW_BITS_ZLIB 15
#define WINDOW_BITS_GZIP (15 + 16)
#define MEMORY_LEVEL 8

struct proxy_page {
    struct proxy_links links;
    struct html_links html;
    bool packed, gzip;
    bool begun; /* of the coding: the streams are there */
    bool whole; /* the last member has come to its end */
    z_stream in, out;
    struct buffer plain; /* what is to be packed */
};

static const char *first_value(const struct http_field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (text_equal(fields[i].name, name))
            return fields[i].value;
    return "";
}

static bool is_html(const char *type)
{
    static const char html[] = "text/html";
    type += strspn(type, " \t");
    if (strncmp(type, html, sizeof(html) - 1) != 0)
        return false;
    type += sizeof(html) - 1;
    type += strspn(type, " \t");
    return !*type || *type == ';';
}

struct proxy_page *proxy_page_new(const struct http_field *fields, size_t count, const struct proxy_links *links)
{
    const char *coding = first_value(fields, count, "content-encoding");
    bool gzip = text_equal(coding, "gzip"), deflate = text_equal(coding, "deflate");
    if (!text_empty(first_value(fields, count, "location")) || !is_html(first_value(fields, count, "content-type")) ||
        !(gzip || deflate || text_empty(coding)))
        return NULL;
    struct proxy_page *page = mem_zero(1, sizeof(*page));
    page->links = *links;
    page->html.links = &page->links;
    page->packed = gzip || deflate;
    page->gzip = gzip;
    return page;
}

void proxy_page_free(struct proxy_page *page)
{
    if (!page)
        return;
    if (page->begun) {
        inflateEnd(&page->in);
        deflateEnd(&page->out);
    }
    html_links_free(&page->html);
    buffer_free(&page->plain);
    free(page);
}

/* ---- Packed pages ---- */

static void begin(struct proxy_page *page, unsigned char first)
{
    bool zlib = (first & 0x0f) == Z_DEFLATED && first >> 4 <= 7; /* no encoder begins a raw stream so */
    int bits = page->gzip ? WINDOW_BITS_GZIP : zlib ? WINDOW_BITS_ZLIB : WINDOW_BITS_RAW;
    if (inflateInit2(&page->in, bits) != Z_OK ||
        deflateInit2(&page->out, Z_DEFAULT_COMPRESSION, Z_DEFLATED, bits, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        abort(); /* out of memory */
    page->begun = true;
}

/* Packs what is in `plain`. */
static void pack(struct proxy_page *page, int flush, struct buffer *out)
{
    page->out.next_in = (unsigned char *)page->plain.data;
    page->out.avail_in = (unsigned)page->plain.size;
    do {
        page->out.next_out = (unsigned char *)buffer_reserve(out, PIECE_SIZE);
        page->out.avail_out = PIECE_SIZE;
        deflate(&page->out, flush);
        out->size += PIECE_SIZE - page->out.avail_out;
    } while (!page->out.avail_out);
    out->data[out->size] = 0;
    buffer_clear(&page->plain);
}

/* Unpacks one piece. 1: there may be more, 0: all that came has been read. */
static int unpack_some(struct proxy_page *page, struct buffer *out)
{
    unsigned char piece[PIECE_SIZE];
    if (page->whole && (!page->gzip || !page->in.avail_in))
        return 0;
    if (page->whole) /* one file of gzip may follow the other */
        inflateReset(&page->in);
    page->in.next_out = piece;
    page->in.avail_out = sizeof(piece);
    int result = inflate(&page->in, Z_NO_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        return -1;
    page->whole = result == Z_STREAM_END;
    html_links_feed(&page->html, (const char *)piece, sizeof(piece) - page->in.avail_out, &page->plain);
    pack(page, Z_NO_FLUSH, out);
    return page->in.avail_in || !page->in.avail_out;
}

int proxy_page_feed(struct proxy_page *page, const char *data, size_t size, struct buffer *out)
{
    int more = 1;
    if (!page->packed) {
        html_links_feed(&page->html, data, size, out);
        return 0;
    }
    if (!size)
        return 0;
    if (!page->begun)
        begin(page, (unsigned char)*data);
    page->in.next_in = (unsigned char *)data;
    page->in.avail_in = (unsigned)size;
    while (more > 0)
        more = unpack_some(page, out);
    pack(page, Z_SYNC_FLUSH, out); /* a page that grows is seen to grow */
    return more;
}

int proxy_page_end(struct proxy_page *page, struct buffer *out)
{
    html_links_end(&page->html, page->packed ? &page->plain : out);
    if (!page->begun)
        return 0;
    if (!page->whole)
        return -1;
    pack(page, Z_FINISH, out);
    return 0;
}
