/* Streams over SPDY/3.1. A stream is opened by the client, with a header that tells its type, and answered at once.
 *
 * Windows. Upstream's clients keep no windows: they send as they like, take what comes, and never open a window. So
 * ours is not enforced, what a stream holds is bounded by not reading the connection instead, and theirs is not waited
 * for until they show that they know of windows at all, by opening or setting one. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "server/stream/session_internal.h"
#include "server/stream/spdy.h"

/* Bytes taken from a stream before the client is told. */
#define WINDOW_STEP (SPDY_WINDOW_INITIAL / 2)
#define WINDOW_UNKNOWN INT64_MAX

struct spdy_state {
    struct spdy_decoder *decoder;
    struct spdy_encoder *encoder;
    uint32_t last; /* stream that the client has opened */
    bool windows;  /* the client keeps them */
    uint32_t window;
};

void spdy_begin(struct stream_session *session)
{
    struct spdy_state *spdy = session->spdy = mem_zero(1, sizeof(*spdy));
    spdy->decoder = spdy_decoder_new();
    spdy->encoder = spdy_encoder_new();
    spdy->window = SPDY_WINDOW_INITIAL;
}

static void spdy_free(struct stream_session *session)
{
    spdy_decoder_free(session->spdy->decoder);
    spdy_encoder_free(session->spdy->encoder);
    free(session->spdy);
}

static void send_reset(struct stream_session *session, uint32_t id, enum spdy_reset status)
{
    cleanup_buffer struct buffer out = {0};
    spdy_write_reset(&out, id, status);
    session_send(session, &out);
}

static const char *header(const struct spdy_event *event, const char *name)
{
    for (size_t i = 0; i < event->header_count; i++)
        if (strcasecmp(event->headers[i].name, name) == 0)
            return event->headers[i].value;
    return "";
}

static void on_opened(struct stream_session *session, const struct spdy_event *event)
{
    struct spdy_state *spdy = session->spdy;
    if (event->stream <= spdy->last || !(event->stream & 1)) {
        send_reset(session, event->stream, SPDY_PROTOCOL_ERROR);
        return;
    }
    spdy->last = event->stream;
    if (session->stream_count >= STREAM_SESSION_STREAMS_MAX) {
        send_reset(session, event->stream, SPDY_REFUSED_STREAM);
        return;
    }
    struct stream *s = session_add_stream(session, event->stream, header(event, "streamtype"), header(event, "port"),
                                          header(event, "requestid"));
    s->window = spdy->windows ? spdy->window : WINDOW_UNKNOWN;
    cleanup_buffer struct buffer out = {0};
    spdy_write_reply(spdy->encoder, &out, s->id);
    session_send(session, &out);
    if (session_announce(s) && event->fin)
        session_deliver_end(s);
}

/* The client keeps windows after all: what it has been sent so far is left out of account. */
static void know_windows(struct stream_session *session)
{
    struct stream *s;
    if (session->spdy->windows)
        return;
    session->spdy->windows = true;
    list_for_each(&session->streams, s, node) s->window = session->spdy->window;
}

static void on_setting(struct stream_session *session, uint32_t window)
{
    struct stream *s;
    int64_t difference = (int64_t)window - session->spdy->window;
    know_windows(session);
    session->spdy->window = window;
    list_for_each(&session->streams, s, node) s->window += difference;
    session_wake(session);
}

static void on_window(struct stream_session *session, struct stream *s, uint32_t difference)
{
    know_windows(session);
    if (s && s->window <= SPDY_STREAM_MAX) {
        s->window += difference;
        session_wake(session);
    }
}

static void on_data(struct stream_session *session, struct stream *s, const struct spdy_event *event)
{
    if (s) {
        session_deliver(s, event->data, event->size);
        if (event->fin && !session->closed && !s->gone)
            session_deliver_end(s);
    }
}

static void on_ping(struct stream_session *session, uint32_t id)
{
    cleanup_buffer struct buffer out = {0};
    spdy_write_ping(&out, id);
    if (id & 1) /* the client's; an even one would answer one of ours */
        session_send(session, &out);
}

static void tell(struct stream_session *session, const struct spdy_event *event)
{
    struct stream *s = event->stream ? session_find_stream(session, event->stream) : NULL;
    switch (event->type) {
    case SPDY_OPENED:
        on_opened(session, event);
        break;
    case SPDY_DATA:
        on_data(session, s, event);
        break;
    case SPDY_REPLIED:
        if (s && event->fin)
            session_deliver_end(s);
        break;
    case SPDY_RESET:
        if (s)
            session_deliver_reset(s);
        break;
    case SPDY_WINDOW_SETTING:
        on_setting(session, event->value);
        break;
    case SPDY_WINDOW:
        on_window(session, s, event->value);
        break;
    case SPDY_PINGED:
        on_ping(session, event->value);
        break;
    case SPDY_GONE: /* the connection's end follows */
    case SPDY_MORE:
    case SPDY_BAD:
        break;
    }
}

static bool spdy_input(struct stream_session *session, const char *data, size_t size, bool first, bool last)
{
    struct spdy_event event;
    (void)first, (void)last;
    while (!session->closed) {
        spdy_next(session->spdy->decoder, &data, &size, &event);
        if (event.type == SPDY_BAD)
            return false;
        if (event.type == SPDY_MORE && !size)
            return true;
        tell(session, &event);
    }
    return true;
}

static void spdy_write(struct stream *s, const char *data, size_t size)
{
    cleanup_buffer struct buffer out = {0};
    if (!size)
        return;
    if (s->session->spdy->windows)
        s->window -= (int64_t)size;
    spdy_write_data(&out, s->id, data, size, false);
    session_send(s->session, &out);
}

static void spdy_end(struct stream *s)
{
    cleanup_buffer struct buffer out = {0};
    spdy_write_data(&out, s->id, NULL, 0, true);
    session_send(s->session, &out);
}

static void spdy_reset(struct stream *s)
{
    send_reset(s->session, s->id, SPDY_CANCEL);
}

static void spdy_consumed(struct stream *s, size_t size)
{
    cleanup_buffer struct buffer out = {0};
    s->consumed += (uint32_t)size;
    if (s->consumed < WINDOW_STEP || s->client_ended)
        return;
    spdy_write_window(&out, s->id, s->consumed);
    s->consumed = 0;
    session_send(s->session, &out);
}

static void spdy_goodbye(struct stream_session *session)
{
    cleanup_buffer struct buffer out = {0};
    spdy_write_goaway(&out, session->spdy->last);
    session_send(session, &out);
}

const struct stream_codec spdy_codec = {
    .input = spdy_input,
    .write = spdy_write,
    .end = spdy_end,
    .reset = spdy_reset,
    .consumed = spdy_consumed,
    .goodbye = spdy_goodbye,
    .free = spdy_free,
};
