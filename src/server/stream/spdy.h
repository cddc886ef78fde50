/* SPDY/3.1 framing without any I/O, from the server's side: what upstream's older clients speak for exec, attach and
 * port-forward. Headers are compressed with zlib and a dictionary of the protocol's, one context each way for the life
 * of the connection. Data frames may be of any length and come in pieces as they do. */
#ifndef CORACLE_SERVER_STREAM_SPDY_H
#define CORACLE_SERVER_STREAM_SPDY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

#define SPDY_VERSION 3
/* A longer control frame breaks the connection. */
#define SPDY_CONTROL_MAX (16 * 1024)
/* Header block, decompressed; a longer one breaks the connection. */
#define SPDY_HEADERS_MAX (16 * 1024)
/* Headers of a block; more break the connection. */
#define SPDY_PAIRS_MAX 64
/* Of each stream and way, before anybody says otherwise. */
#define SPDY_WINDOW_INITIAL 65536
#define SPDY_STREAM_MAX 0x7fffffffu
#define SPDY_DICTIONARY_SIZE 1423
extern const char spdy_dictionary[SPDY_DICTIONARY_SIZE + 1];

enum spdy_type {
    SPDY_SYN_STREAM = 1,
    SPDY_SYN_REPLY = 2,
    SPDY_RST_STREAM = 3,
    SPDY_SETTINGS = 4,
    SPDY_PING = 6,
    SPDY_GOAWAY = 7,
    SPDY_HEADERS = 8,
    SPDY_WINDOW_UPDATE = 9,
};

enum spdy_flag { SPDY_FIN = 1, SPDY_UNIDIRECTIONAL = 2 };

enum spdy_reset {
    SPDY_PROTOCOL_ERROR = 1,
    SPDY_INVALID_STREAM = 2,
    SPDY_REFUSED_STREAM = 3,
    SPDY_CANCEL = 5,
    SPDY_STREAM_ALREADY_CLOSED = 9,
};

/* ---- From the client ---- */

enum spdy_event_type {
    SPDY_MORE,           /* all was consumed */
    SPDY_BAD,            /* not SPDY: nothing more is read */
    SPDY_DATA,           /* a piece of a stream's data; fin with the last of the frame */
    SPDY_OPENED,         /* SYN_STREAM */
    SPDY_REPLIED,        /* SYN_REPLY and HEADERS: fin alone matters */
    SPDY_RESET,          /* RST_STREAM: value is the status */
    SPDY_WINDOW_SETTING, /* SETTINGS: value is the window of new and present streams */
    SPDY_PINGED,         /* value is its id */
    SPDY_GONE,           /* GOAWAY */
    SPDY_WINDOW,         /* WINDOW_UPDATE: value is the difference */
};

struct spdy_header {
    const char *name; /* lower-case by the protocol; NUL-terminated */
    const char *value;
};

struct spdy_event {
    enum spdy_event_type type;
    uint32_t stream;
    uint32_t value;
    bool fin;
    const char *data; /* valid until the next call, as are headers */
    size_t size;
    const struct spdy_header *headers;
    size_t header_count;
};

struct spdy_decoder;

struct spdy_decoder *spdy_decoder_new(void);
/* NULL is fine. */
void spdy_decoder_free(struct spdy_decoder *decoder);
/* Consumes from the *size bytes at *data and moves both past that. Call until MORE or BAD. Frames that mean nothing
 * here are passed over. */
void spdy_next(struct spdy_decoder *decoder, const char **data, size_t *size, struct spdy_event *event);

/* ---- To the client: each appends a frame to out ---- */

struct spdy_encoder;

struct spdy_encoder *spdy_encoder_new(void);
/* NULL is fine. */
void spdy_encoder_free(struct spdy_encoder *encoder);
/* SYN_REPLY without headers. */
void spdy_write_reply(struct spdy_encoder *encoder, struct buffer *out, uint32_t stream);
void spdy_write_data(struct buffer *out, uint32_t stream, const char *data, size_t size, bool fin);
void spdy_write_reset(struct buffer *out, uint32_t stream, enum spdy_reset status);
void spdy_write_ping(struct buffer *out, uint32_t id);
void spdy_write_goaway(struct buffer *out, uint32_t last_stream);
void spdy_write_window(struct buffer *out, uint32_t stream, uint32_t difference);

#endif
