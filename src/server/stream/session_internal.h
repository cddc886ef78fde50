/* What the files of a session share. */
#ifndef CORACLE_SERVER_STREAM_SESSION_INTERNAL_H
#define CORACLE_SERVER_STREAM_SESSION_INTERNAL_H

#include "base/buffer.h"
#include "base/list.h"
#include "server/stream/session.h"
#include "server/stream/websocket.h"

struct spdy_state;

struct stream {
    struct stream_session *session;
    struct list node; /* in session->streams, or session->graves */
    uint32_t id;      /* channel number, or SPDY's */
    char *type, *port, *request_id;
    struct stream_events events;
    void *context;
    struct buffer held_data;
    bool accepted, held, starved;
    bool over;         /* it holds more than it should */
    bool client_ended; /* and `ended` is told once held_data is */
    bool ended_told;
    bool ended; /* we have */
    bool gone;  /* for its user */
    bool delivering;
    int64_t window;    /* SPDY: bytes that the client takes now, when it says so */
    uint32_t consumed; /* SPDY: bytes that the client has not been told of */
};

/* How a session's bytes are made and read. */
struct stream_codec {
    /* Input. `first` and `last` piece of a message, for channels. False: it is not what it should be. */
    bool (*input)(struct stream_session *session, const char *data, size_t size, bool first, bool last);
    void (*write)(struct stream *stream, const char *data, size_t size);
    void (*end)(struct stream *stream);
    /* Neither way is wanted any more, though one or both have not ended. */
    void (*reset)(struct stream *stream);
    /* Bytes of the stream have been taken by its user. */
    void (*consumed)(struct stream *stream, size_t size);
    void (*goodbye)(struct stream_session *session);
    void (*free)(struct stream_session *session);
};

struct stream_session {
    struct http_tunnel *tunnel;
    const struct stream_protocol *protocol;
    const struct stream_codec *codec;
    struct websocket_decoder *websocket; /* NULL: bytes as they are */
    struct stream_session_events events;
    void *context;
    struct list streams;
    struct list graves; /* of streams that are gone, while an event is told */
    size_t stream_count;
    size_t over; /* streams that hold too much */
    int busy;    /* events are told: nothing is released */
    bool paused;
    bool closed; /* for its user */
    bool saw_message_end;
    /* channels.c */
    int channel;    /* of the present message; -1: not known yet; -2: one that is not there */
    char digits[4]; /* base64 that is not a whole group */
    size_t digit_count;
    bool closing_channel; /* the message is v5's CLOSE */
    /* spdy_session.c */
    struct spdy_state *spdy;
};

extern const struct stream_codec channels_codec;
extern const struct stream_codec spdy_codec;

/* A new stream; strings are copied, NULL is "". */
struct stream *session_add_stream(struct stream_session *session, uint32_t id, const char *type, const char *port,
                                  const char *request_id);
/* Tells the user of it. False: he did not want it, and it is gone. */
bool session_announce(struct stream *stream);
struct stream *session_find_stream(struct stream_session *session, uint32_t id);
/* Bytes of the client, and their end. */
void session_deliver(struct stream *stream, const char *data, size_t size);
void session_deliver_end(struct stream *stream);
/* The client breaks the stream off. */
void session_deliver_reset(struct stream *stream);
/* Streams that waited for room may have it. */
void session_wake(struct stream_session *session);
/* Sends bytes, in a binary message where WebSocket carries them. */
void session_send(struct stream_session *session, const struct buffer *bytes);
void session_send_frame(struct stream_session *session, enum websocket_opcode opcode, const char *prefix,
                        size_t prefix_size, const char *data, size_t size);
void spdy_begin(struct stream_session *session);

#endif
