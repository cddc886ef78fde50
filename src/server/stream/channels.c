/* WebSocket channels, as upstream's clients speak them: each message begins with the number of its channel, as a byte,
 * or as a digit where messages are text in base64. The channel 255 of v5 says that the client sends no more on the
 * channel whose number follows. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/encode.h"
#include "server/stream/session_internal.h"

#define CHANNEL_CLOSE 255
#define CHANNEL_UNKNOWN (-1)
#define CHANNEL_NONE (-2)
#define VERSION_WITH_CLOSE 5

static struct stream *present(struct stream_session *session)
{
    return session->channel >= 0 ? session_find_stream(session, (uint32_t)session->channel) : NULL;
}

/* Decodes whole groups, and keeps what is left of one. False: that is no base64. */
static bool deliver_base64(struct stream_session *session, const char *data, size_t size, bool last)
{
    unsigned char out[WEBSOCKET_PIECE_MAX];
    char text[WEBSOCKET_PIECE_MAX + 4];
    size_t n = session->digit_count;
    memcpy(text, session->digits, n);
    memcpy(text + n, data, size);
    n += size;
    size_t whole = n / 4 * 4;
    session->digit_count = n - whole;
    memcpy(session->digits, text + whole, session->digit_count);
    ssize_t bytes = base64_decode(text, whole, out);
    if (bytes < 0 || (last && session->digit_count))
        return false;
    struct stream *s = present(session);
    if (s)
        session_deliver(s, (const char *)out, (size_t)bytes);
    return true;
}

static void read_channel(struct stream_session *session, unsigned char c)
{
    const struct stream_protocol *protocol = session->protocol;
    if (!session->closing_channel && c == CHANNEL_CLOSE && protocol->version >= VERSION_WITH_CLOSE) {
        session->closing_channel = true; /* its number is the next byte */
        return;
    }
    session->channel = protocol->base64 ? c - '0' : c;
    struct stream *s = present(session);
    if (!s)
        session->channel = CHANNEL_NONE;
    else if (session->closing_channel)
        session_deliver_end(s);
    if (session->closing_channel)
        session->channel = CHANNEL_NONE;
}

static bool channels_input(struct stream_session *session, const char *data, size_t size, bool first, bool last)
{
    if (first) {
        session->channel = CHANNEL_UNKNOWN;
        session->closing_channel = false;
        session->digit_count = 0;
    }
    while (size && session->channel == CHANNEL_UNKNOWN && !session->closed) {
        read_channel(session, (unsigned char)*data);
        data++;
        size--;
    }
    if (session->channel < 0)
        return true;
    if (session->protocol->base64)
        return deliver_base64(session, data, size, last);
    struct stream *s = present(session);
    if (s)
        session_deliver(s, data, size);
    return true;
}

static void channels_write(struct stream *s, const char *data, size_t size)
{
    char channel = (char)(s->session->protocol->base64 ? '0' + s->id : s->id);
    if (!s->session->protocol->base64) {
        session_send_frame(s->session, WEBSOCKET_BINARY, &channel, 1, data, size);
        return;
    }
    cleanup_free char *text = mem_alloc(BASE64_SIZE(size) + 1);
    base64_encode(data, size, text);
    session_send_frame(s->session, WEBSOCKET_TEXT, &channel, 1, text, BASE64_SIZE(size));
}

/* Channels last as long as the connection. */
static void channels_nothing(struct stream *s)
{
    (void)s;
}

static void channels_goodbye(struct stream_session *session)
{
    (void)session;
}

const struct stream_codec channels_codec = {
    .input = channels_input,
    .write = channels_write,
    .end = channels_nothing,
    .reset = channels_nothing,
    .goodbye = channels_goodbye,
};
