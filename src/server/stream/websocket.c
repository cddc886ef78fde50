/* A frame's head is gathered byte by byte, its content unmasked into the decoder's piece. */
#include "server/stream/websocket.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

static const char accept_text[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

bool websocket_accept(const char *key, char out[WEBSOCKET_ACCEPT_SIZE])
{
    unsigned char raw[24], digest[SHA_DIGEST_LENGTH], text[24 + sizeof(accept_text) - 1];
    if (strlen(key) != 24 || EVP_DecodeBlock(raw, (const unsigned char *)key, 24) != 18 || strcmp(key + 22, "==") != 0)
        return false;
    memcpy(text, key, 24);
    memcpy(text + 24, accept_text, sizeof(accept_text) - 1);
    SHA1(text, sizeof(text), digest);
    EVP_EncodeBlock((unsigned char *)out, digest, sizeof(digest));
    return true;
}

enum state { HEAD, CONTENT, BROKEN };

/* Bytes that the head has in all, as far as it is there. */
static size_t head_length(const struct websocket_decoder *d)
{
    static const size_t extended[] = {[126] = 2, [127] = 8};
    size_t length = d->head_size < 2 ? 0 : d->head[1] & 0x7f;
    return 2 + (d->head_size < 2 ? 0 : 4 + (length >= 126 ? extended[length] : 0));
}

static uint64_t content_length(const struct websocket_decoder *d)
{
    unsigned length = d->head[1] & 0x7f, bytes = length == 126 ? 2 : length == 127 ? 8 : 0;
    uint64_t value = bytes ? 0 : length;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | d->head[2 + i];
    return value;
}

/* A head is complete. False: it must not be. */
static bool begin_frame(struct websocket_decoder *d)
{
    unsigned opcode = d->head[0] & 0x0f;
    unsigned short_length = d->head[1] & 0x7f;
    d->fin = d->head[0] & 0x80;
    d->opcode = (enum websocket_opcode)opcode;
    d->left = content_length(d);
    d->mask_at = 0;
    d->control_size = 0;
    if ((short_length == 126 && d->left < 126) || (short_length == 127 && (d->left < 65536 || d->left >> 63)))
        return false; /* not the shortest form */
    if (opcode >= WEBSOCKET_CLOSE)
        return opcode <= WEBSOCKET_PONG && d->fin && d->left <= WEBSOCKET_CONTROL_MAX;
    if (opcode > WEBSOCKET_BINARY)
        return false;
    bool goes_on = d->message != WEBSOCKET_CONTINUATION;
    if (goes_on != (opcode == WEBSOCKET_CONTINUATION))
        return false;
    if (!goes_on) {
        d->message = d->opcode;
        d->message_begun = false;
    }
    return true;
}

static void read_head(struct websocket_decoder *d, const char **data, size_t *size)
{
    while (*size && d->state == HEAD) {
        d->head[d->head_size++] = (unsigned char)**data;
        ++*data;
        --*size;
        /* Reserved bits ask for extensions that have not been agreed on; a client masks. */
        if ((d->head_size == 1 && d->head[0] & 0x70) || (d->head_size == 2 && !(d->head[1] & 0x80)))
            d->state = BROKEN;
        else if (d->head_size >= 2 && d->head_size == head_length(d))
            d->state = begin_frame(d) ? CONTENT : BROKEN;
    }
}

static size_t unmask(struct websocket_decoder *d, const char **data, size_t *size, char *out, size_t room)
{
    const unsigned char *mask = d->head + d->head_size - 4;
    size_t n = d->left < *size ? (size_t)d->left : *size;
    if (n > room)
        n = room;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)((*data)[i] ^ mask[(d->mask_at + i) & 3]);
    d->mask_at = (unsigned)((d->mask_at + n) & 3);
    d->left -= n;
    *data += n;
    *size -= n;
    return n;
}

static void end_frame(struct websocket_decoder *d)
{
    d->state = HEAD;
    d->head_size = 0;
}

void websocket_next(struct websocket_decoder *d, const char **data, size_t *size, struct websocket_event *event)
{
    *event = (struct websocket_event){.type = WEBSOCKET_MORE};
    for (;;) {
        read_head(d, data, size);
        if (d->state == BROKEN) {
            event->type = WEBSOCKET_BAD;
            return;
        }
        if (d->state == HEAD || (!*size && d->left))
            return;
        bool control = d->opcode >= WEBSOCKET_CLOSE;
        size_t n = unmask(d, data, size, d->piece + d->control_size, sizeof(d->piece) - d->control_size);
        bool whole = !d->left;
        if (control) {
            d->control_size += n;
            if (!whole)
                return;
            *event = (struct websocket_event){
                .type = WEBSOCKET_CONTROL, .opcode = d->opcode, .data = d->piece, .size = d->control_size};
            end_frame(d);
            return;
        }
        *event = (struct websocket_event){.type = WEBSOCKET_DATA,
                                          .opcode = d->message,
                                          .data = d->piece,
                                          .size = n,
                                          .first = !d->message_begun,
                                          .last = whole && d->fin};
        d->message_begun = true;
        if (whole)
            end_frame(d);
        if (event->last)
            d->message = WEBSOCKET_CONTINUATION;
        return;
    }
}

size_t websocket_head(enum websocket_opcode opcode, size_t size, char out[WEBSOCKET_HEAD_MAX])
{
    unsigned bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
    out[0] = (char)(0x80 | opcode);
    out[1] = (char)(bytes == 0 ? size : bytes == 2 ? 126 : 127);
    for (unsigned i = 0; i < bytes; i++)
        out[2 + i] = (char)((uint64_t)size >> 8 * (bytes - 1 - i));
    return 2 + bytes;
}
