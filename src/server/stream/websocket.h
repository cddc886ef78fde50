/* WebSocket (RFC 6455) without any I/O: the handshake's key, and frames, from the server's side. Clients mask what they
 * send, servers do not. Messages may be of any length and come as they do, in pieces: nothing here holds one whole. */
#ifndef CORACLE_SERVER_STREAM_WEBSOCKET_H
#define CORACLE_SERVER_STREAM_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a piece of a message, at most. */
#define WEBSOCKET_PIECE_MAX (16 * 1024)
/* Content of a control frame, at most (RFC 6455, 5.5). */
#define WEBSOCKET_CONTROL_MAX 125
/* The longest frame head of a server. */
#define WEBSOCKET_HEAD_MAX 10
/* The text of Sec-WebSocket-Accept, with its NUL. */
#define WEBSOCKET_ACCEPT_SIZE 29

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};

/* Status codes of a close frame (RFC 6455, 7.4.1). */
enum websocket_close {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_PROTOCOL_ERROR = 1002,
    WEBSOCKET_INVALID_DATA = 1007,
    WEBSOCKET_TOO_BIG = 1009,
    WEBSOCKET_INTERNAL_ERROR = 1011,
};

/* What Sec-WebSocket-Accept answers to Sec-WebSocket-Key. False: the key is not 16 bytes in base64. */
bool websocket_accept(const char *key, char out[WEBSOCKET_ACCEPT_SIZE]);

/* ---- From the client ---- */

/* Zero at the start of the connection. */
struct websocket_decoder {
    int state;
    unsigned char head[14]; /* of the present frame */
    size_t head_size;
    bool fin;
    enum websocket_opcode opcode;  /* of the frame */
    enum websocket_opcode message; /* of the message that goes on; CONTINUATION: none does */
    bool message_begun;            /* a piece of it has been given out */
    uint64_t left;                 /* of the frame's content */
    unsigned mask_at;
    size_t control_size;
    char piece[WEBSOCKET_PIECE_MAX];
};

enum websocket_event_type {
    WEBSOCKET_MORE,    /* all was consumed */
    WEBSOCKET_DATA,    /* a piece of a message */
    WEBSOCKET_CONTROL, /* a whole close, ping or pong */
    WEBSOCKET_BAD,     /* not WebSocket as a client has to speak it: close with protocol error. Nothing more is read */
};

struct websocket_event {
    enum websocket_event_type type;
    enum websocket_opcode opcode; /* of DATA: TEXT or BINARY */
    const char *data;             /* unmasked; valid until the next call */
    size_t size;                  /* may be 0 */
    bool first, last;             /* piece of its message */
};

/* Consumes from the *size bytes at *data and moves both past that. Call until MORE or BAD. */
void websocket_next(struct websocket_decoder *decoder, const char **data, size_t *size, struct websocket_event *event);

/* ---- To the client ---- */

/* The head of an unmasked frame that is a whole message of `size` bytes. Returns its length. */
size_t websocket_head(enum websocket_opcode opcode, size_t size, char out[WEBSOCKET_HEAD_MAX]);

#endif
