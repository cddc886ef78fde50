/* Frames: eight bytes that tell type and length, then the content. That of data is given out as it comes, that of
 * control frames is gathered first. */
#include "server/stream/spdy.h"

#include <stdlib.h>
#include <zlib.h>

#include "base/cleanup.h"

#define HEAD_SIZE 8
#define SETTING_INITIAL_WINDOW 7

struct spdy_decoder {
    unsigned char head[HEAD_SIZE];
    size_t head_size;
    uint32_t left; /* of the content */
    struct buffer control;
    struct buffer block; /* a header block, decompressed */
    struct spdy_header headers[SPDY_PAIRS_MAX];
    z_stream inflate;
    bool broken;
};

static uint32_t number(const void *data, size_t bytes)
{
    const unsigned char *at = data;
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

struct spdy_decoder *spdy_decoder_new(void)
{
    struct spdy_decoder *d = mem_zero(1, sizeof(*d));
    if (inflateInit(&d->inflate) != Z_OK)
        abort(); /* out of memory */
    return d;
}

void spdy_decoder_free(struct spdy_decoder *d)
{
    if (!d)
        return;
    inflateEnd(&d->inflate);
    buffer_free(&d->control);
    buffer_free(&d->block);
    free(d);
}

/* ---- Header blocks ---- */

static bool decompress(struct spdy_decoder *d, const char *data, size_t size)
{
    z_stream *z = &d->inflate;
    z->next_in = (unsigned char *)(uintptr_t)data;
    z->avail_in = (unsigned)size;
    buffer_clear(&d->block);
    unsigned char out[2048];
    do {
        z->next_out = out;
        z->avail_out = sizeof(out);
        int result = inflate(z, Z_SYNC_FLUSH);
        if (result == Z_NEED_DICT)
            result = inflateSetDictionary(z, (const unsigned char *)spdy_dictionary, SPDY_DICTIONARY_SIZE);
        if (result != Z_OK && result != Z_BUF_ERROR)
            return false;
        buffer_add(&d->block, out, sizeof(out) - z->avail_out);
        if (d->block.size > SPDY_HEADERS_MAX)
            return false;
    } while (z->avail_in || !z->avail_out);
    return true;
}

/* Cuts a counted string out of the block: it is moved one byte to the left, over its count, to make room for its NUL.
 */
static char *take_string(char **at, char *end)
{
    if (end - *at < 4)
        return NULL;
    uint32_t size = number(*at, 4);
    char *text = *at + 4;
    if (size > (size_t)(end - text))
        return NULL;
    memmove(text - 1, text, size);
    text[-1 + (ptrdiff_t)size] = 0;
    *at = text + size;
    return text - 1;
}

static bool read_headers(struct spdy_decoder *d, const char *data, size_t size, struct spdy_event *event)
{
    if (!decompress(d, data, size))
        return false;
    if (d->block.size < 4)
        return d->block.size == 0;
    uint32_t count = number(d->block.data, 4);
    char *at = d->block.data + 4, *end = d->block.data + d->block.size;
    if (count > SPDY_PAIRS_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        d->headers[i].name = take_string(&at, end);
        d->headers[i].value = d->headers[i].name ? take_string(&at, end) : NULL;
        if (!d->headers[i].value)
            return false;
    }
    event->headers = d->headers;
    event->header_count = count;
    return at == end;
}

/* ---- Control frames ---- */

static bool read_settings(const char *data, size_t size, struct spdy_event *event)
{
    if (size < 4 || number(data, 4) != (size - 4) / 8 || (size - 4) % 8)
        return false;
    for (size_t at = 4; at < size; at += 8)
        if (number(data + at + 1, 3) == SETTING_INITIAL_WINDOW) {
            event->type = SPDY_WINDOW_SETTING;
            event->value = number(data + at + 4, 4) & SPDY_STREAM_MAX;
        }
    return true;
}

/* Bytes before a header block, or of the whole frame. */
static const unsigned char sizes[] = {
    [SPDY_SYN_STREAM] = 10, [SPDY_SYN_REPLY] = 4, [SPDY_RST_STREAM] = 8, [SPDY_SETTINGS] = 4,
    [SPDY_PING] = 4,        [SPDY_GOAWAY] = 8,    [SPDY_HEADERS] = 4,    [SPDY_WINDOW_UPDATE] = 8,
};

/* A whole control frame. False: it is not one. event->type stays MORE if there is nothing to tell. */
static bool read_control(struct spdy_decoder *d, struct spdy_event *event)
{
    unsigned type = number(d->head + 2, 2);
    const char *data = d->control.data;
    size_t size = d->control.size;
    if (type >= ARRAY_COUNT(sizes) || !sizes[type])
        return true; /* unknown types are passed over */
    if (size < sizes[type])
        return false;
    event->fin = d->head[4] & SPDY_FIN;
    event->stream = number(data, 4) & SPDY_STREAM_MAX;
    switch ((enum spdy_type)type) {
    case SPDY_SYN_STREAM:
        event->type = SPDY_OPENED;
        return read_headers(d, data + 10, size - 10, event);
    case SPDY_SYN_REPLY:
    case SPDY_HEADERS:
        event->type = SPDY_REPLIED;
        return read_headers(d, data + 4, size - 4, event);
    case SPDY_RST_STREAM:
        event->type = SPDY_RESET;
        event->value = number(data + 4, 4);
        return size == 8;
    case SPDY_SETTINGS:
        return read_settings(data, size, event);
    case SPDY_PING:
        event->type = SPDY_PINGED;
        event->value = number(data, 4);
        return size == 4;
    case SPDY_GOAWAY:
        event->type = SPDY_GONE;
        return size == 8;
    case SPDY_WINDOW_UPDATE:
        event->type = SPDY_WINDOW;
        event->value = number(data + 4, 4) & SPDY_STREAM_MAX;
        return size == 8;
    }
    return true;
}

static bool is_control(const struct spdy_decoder *d)
{
    return d->head[0] & 0x80;
}

/* A frame's head is complete. */
static bool begin_frame(struct spdy_decoder *d)
{
    d->left = number(d->head + 5, 3);
    buffer_clear(&d->control);
    return !is_control(d) || ((number(d->head, 2) & 0x7fff) == SPDY_VERSION && d->left <= SPDY_CONTROL_MAX);
}

static void read_head(struct spdy_decoder *d, const char **data, size_t *size)
{
    size_t n = HEAD_SIZE - d->head_size < *size ? HEAD_SIZE - d->head_size : *size;
    memcpy(d->head + d->head_size, *data, n);
    d->head_size += n;
    *data += n;
    *size -= n;
    if (n && d->head_size == HEAD_SIZE)
        d->broken = !begin_frame(d);
}

static void read_data(struct spdy_decoder *d, const char *data, size_t size, struct spdy_event *event)
{
    event->type = SPDY_DATA;
    event->stream = number(d->head, 4) & SPDY_STREAM_MAX;
    event->data = data;
    event->size = size;
    event->fin = !d->left && (d->head[4] & SPDY_FIN);
}

void spdy_next(struct spdy_decoder *d, const char **data, size_t *size, struct spdy_event *event)
{
    for (;;) {
        *event = (struct spdy_event){.type = SPDY_MORE};
        if (!d->broken && d->head_size < HEAD_SIZE)
            read_head(d, data, size);
        if (d->broken) {
            event->type = SPDY_BAD;
            return;
        }
        if (d->head_size < HEAD_SIZE || (d->left && !*size))
            return;
        size_t n = d->left < *size ? d->left : *size;
        const char *piece = *data;
        *data += n;
        *size -= n;
        d->left -= (uint32_t)n;
        if (!d->left)
            d->head_size = 0;
        if (!is_control(d)) {
            read_data(d, piece, n, event);
            return;
        }
        buffer_add(&d->control, piece, n);
        if (d->left)
            return;
        if (!read_control(d, event)) {
            d->broken = true;
            event->type = SPDY_BAD;
        }
        if (event->type != SPDY_MORE)
            return;
    }
}

/* ---- To the client ---- */

struct spdy_encoder {
    z_stream deflate;
};

struct spdy_encoder *spdy_encoder_new(void)
{
    struct spdy_encoder *e = mem_zero(1, sizeof(*e));
    if (deflateInit(&e->deflate, Z_BEST_SPEED) != Z_OK ||
        deflateSetDictionary(&e->deflate, (const unsigned char *)spdy_dictionary, SPDY_DICTIONARY_SIZE) != Z_OK)
        abort(); /* out of memory */
    return e;
}

void spdy_encoder_free(struct spdy_encoder *e)
{
    if (!e)
        return;
    deflateEnd(&e->deflate);
    free(e);
}

static void add_number(struct buffer *out, uint32_t value, size_t bytes)
{
    for (size_t i = bytes; i--;)
        buffer_add_char(out, (char)(value >> 8 * i));
}

static void add_head(struct buffer *out, enum spdy_type type, size_t size)
{
    add_number(out, 0x8000 | SPDY_VERSION, 2);
    add_number(out, type, 2);
    add_number(out, (uint32_t)size, 4); /* no flags */
}

void spdy_write_reply(struct spdy_encoder *e, struct buffer *out, uint32_t stream)
{
    static const unsigned char no_headers[4];
    unsigned char block[128];
    z_stream *z = &e->deflate;
    z->next_in = (unsigned char *)(uintptr_t)no_headers;
    z->avail_in = sizeof(no_headers);
    z->next_out = block;
    z->avail_out = sizeof(block);
    deflate(z, Z_SYNC_FLUSH); /* a few bytes: there is room */
    size_t size = sizeof(block) - z->avail_out;
    add_head(out, SPDY_SYN_REPLY, 4 + size);
    add_number(out, stream, 4);
    buffer_add(out, block, size);
}

void spdy_write_data(struct buffer *out, uint32_t stream, const char *data, size_t size, bool fin)
{
    add_number(out, stream, 4);
    add_number(out, (fin ? SPDY_FIN << 24 : 0) | (uint32_t)size, 4);
    if (size)
        buffer_add(out, data, size);
}

static void write_pair(struct buffer *out, enum spdy_type type, uint32_t first, uint32_t second)
{
    add_head(out, type, 8);
    add_number(out, first, 4);
    add_number(out, second, 4);
}

void spdy_write_reset(struct buffer *out, uint32_t stream, enum spdy_reset status)
{
    write_pair(out, SPDY_RST_STREAM, stream, status);
}

void spdy_write_ping(struct buffer *out, uint32_t id)
{
    add_head(out, SPDY_PING, 4);
    add_number(out, id, 4);
}

void spdy_write_goaway(struct buffer *out, uint32_t last_stream)
{
    write_pair(out, SPDY_GOAWAY, last_stream, 0);
}

void spdy_write_window(struct buffer *out, uint32_t stream, uint32_t difference)
{
    write_pair(out, SPDY_WINDOW_UPDATE, stream, difference);
}
