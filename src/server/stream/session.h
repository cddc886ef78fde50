/* Sessions and their streams: what exec, attach and port-forward need, whatever carries it. A connection is upgraded to
 * one of
 *
 *     WebSocket   a fixed set of channels: the first byte of each message names one (channels.c)
 *     SPDY/3.1    streams that the client opens, each with a type (spdy_session.c)
 *     both        SPDY/3.1 inside of WebSocket's binary messages
 *
 * and from then on the user of a session sees streams with a type, bytes both ways, an end of each way.
 *
 * Back-pressure. To the client: stream_room says how much may be written now, `writable` when there is room again.
 * From the client: a stream that is held keeps what comes, and when that is too much the connection is not read.
 *
 * Ownership: a session lives until stream_session_close or its `closed` event, and its streams with it; a stream also
 * ends with stream_close. All on the I/O thread of the request, to which the user holds a reference until then. Inside
 * an event, everything may be called. */
#ifndef CORACLE_SERVER_STREAM_SESSION_H
#define CORACLE_SERVER_STREAM_SESSION_H

#include "server/http/tunnel.h"

/* Bytes that may be queued to the client before streams have no room. */
#define STREAM_QUEUE_MAX (256 * 1024)
/* Bytes of one write. */
#define STREAM_WRITE_MAX (32 * 1024)
/* Bytes that a held stream keeps before the connection is no longer read; what has been read by then comes on top. */
#define STREAM_HELD_MAX (128 * 1024)
/* Streams open at once in a session; more are refused. */
#define STREAM_SESSION_STREAMS_MAX 2048
/* Protocols that a client may offer; more are not looked at. */
#define STREAM_OFFERS_MAX 16

struct stream;
struct stream_session;

/* A subprotocol: what the streams are for, and which form their errors take. */
struct stream_protocol {
    const char *name; /* "v4.channel.k8s.io"; "" stands for none offered */
    enum { STREAM_CHANNELS, STREAM_SPDY, STREAM_SPDY_IN_WEBSOCKET } carrier;
    bool base64; /* channels: messages are text in base64, channels digits */
    int version; /* for the user */
};

/* Chooses the first protocol that the client offers and `table` has. NULL when there is none, or the request asks for
 * no upgrade to WebSocket or SPDY/3.1: then it has been answered with what is wrong, as upstream words it. */
const struct stream_protocol *stream_protocol_choose(struct http_request *request, const struct stream_protocol *table,
                                                     size_t count);

struct stream_events {
    /* Bytes of the client; all are taken. */
    void (*data)(void *context, const char *data, size_t size);
    /* The client sends no more on it. */
    void (*ended)(void *context);
    /* stream_room was 0 and is not any more. */
    void (*writable)(void *context);
    /* The client has broken it off: it is gone with this call. */
    void (*reset)(void *context);
};

struct stream_session_events {
    /* The client has opened a stream. stream_accept or stream_close follows before it returns. Channels are opened one
     * after the other when the session begins, from inside stream_session_open. */
    void (*opened)(void *context, struct stream_session *session, struct stream *stream);
    /* The connection has gone, or the client did not keep to the protocol: the session is gone with this call, and no
     * event of a stream follows. */
    void (*closed)(void *context);
};

/* A channel of a WebSocket session. */
struct stream_channel {
    const char *type; /* "stdin", "data"... */
    const char *port; /* of port-forward; else NULL */
    const char *request_id;
};

/* Answers with 101 and begins; protocol is what stream_protocol_choose gave. NULL when the client has gone, or the
 * session has been closed in one of its first events. */
struct stream_session *stream_session_open(struct http_request *request, const struct stream_protocol *protocol,
                                           const struct stream_channel *channels, size_t channel_count,
                                           const struct stream_session_events *events, void *context);
/* Sends what is queued, says goodbye and closes the connection. Streams are gone; no event follows. */
void stream_session_close(struct stream_session *session);

/* What the client said of a stream; "" when it did not. Valid as long as the stream. */
const char *stream_type(const struct stream *stream);
const char *stream_port(const struct stream *stream);
const char *stream_request_id(const struct stream *stream);

void stream_accept(struct stream *stream, const struct stream_events *events, void *context);
/* Bytes that may be written now; at most STREAM_WRITE_MAX. */
size_t stream_room(struct stream *stream);
/* Sends bytes. More than stream_room is allowed, for a few bytes that must go: an error, a status. */
void stream_write(struct stream *stream, const char *data, size_t size);
/* No more will be written. */
void stream_end(struct stream *stream);
/* Keeps further bytes of the client until it is let go. */
void stream_hold(struct stream *stream, bool hold);
/* Done with it: what has been written goes out, what still comes is dropped. Without stream_end before, the client sees it
 * broken off. */
void stream_close(struct stream *stream);

#endif
