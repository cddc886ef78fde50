/* The common part of sessions: the tunnel below, WebSocket's messages where there are some, the streams above.
 *
 * While an event is told, `busy` is not 0: what its user closes meanwhile is unlinked at once and released when the
 * event has returned. */
#include "server/stream/session_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

/* ---- Life ---- */

static void stream_free(struct stream *s)
{
    list_remove(&s->node);
    buffer_free(&s->held_data);
    free(s->type);
    free(s->port);
    free(s->request_id);
    free(s);
}

/* Unlinks a stream; it is released now or when the event has been told. */
static void bury(struct stream *s)
{
    struct stream_session *session = s->session;
    s->gone = true;
    session->stream_count--;
    if (s->over) {
        s->over = false;
        session->over--;
    }
    list_remove(&s->node);
    list_append(&session->graves, &s->node);
}

static void empty(struct list *streams)
{
    while (!list_empty(streams))
        stream_free(list_entry(list_take(streams), struct stream, node));
}

static void update_pause(struct stream_session *session)
{
    bool pause = session->over > 0;
    if (!session->closed && pause != session->paused) {
        session->paused = pause;
        http_tunnel_pause(session->tunnel, pause);
    }
}

/* The end of a call or an event: releases what has been closed in it. Returns whether the session is still there. */
static bool settle(struct stream_session *session)
{
    if (session->busy)
        return true;
    empty(&session->graves);
    if (!session->closed) {
        update_pause(session);
        return true;
    }
    empty(&session->streams);
    if (session->codec->free)
        session->codec->free(session);
    free(session->websocket);
    free(session);
    return false;
}

void stream_session_close(struct stream_session *session)
{
    assert(!session->closed);
    session->codec->goodbye(session);
    if (session->websocket) {
        static const char normal[] = {WEBSOCKET_NORMAL >> 8, (char)(WEBSOCKET_NORMAL & 0xff)};
        session_send_frame(session, WEBSOCKET_CLOSE, NULL, 0, normal, sizeof(normal));
    }
    session->closed = true;
    http_tunnel_close(session->tunnel);
    settle(session);
}

/* The client does not keep to the protocol. */
static void break_off(struct stream_session *session, enum websocket_close code)
{
    if (session->closed)
        return;
    char text[2] = {(char)(code >> 8), (char)code};
    if (session->websocket)
        session_send_frame(session, WEBSOCKET_CLOSE, NULL, 0, text, sizeof(text));
    session->closed = true;
    http_tunnel_close(session->tunnel);
    session->events.closed(session->context);
}

/* ---- Below: the tunnel ---- */

static void on_control(struct stream_session *session, const struct websocket_event *event)
{
    if (event->opcode == WEBSOCKET_PING)
        session_send_frame(session, WEBSOCKET_PONG, NULL, 0, event->data, event->size);
    else if (event->opcode == WEBSOCKET_CLOSE)
        break_off(session, WEBSOCKET_NORMAL);
}

static void on_messages(struct stream_session *session, const char *data, size_t size)
{
    struct websocket_event event;
    while (!session->closed) {
        websocket_next(session->websocket, &data, &size, &event);
        if (event.type == WEBSOCKET_MORE)
            return;
        if (event.type == WEBSOCKET_CONTROL)
            on_control(session, &event);
        else if (event.type == WEBSOCKET_BAD)
            break_off(session, WEBSOCKET_PROTOCOL_ERROR);
        else if (!session->codec->input(session, event.data, event.size, event.first, event.last))
            break_off(session, WEBSOCKET_INVALID_DATA);
    }
}

static void on_data(void *context, const char *data, size_t size)
{
    struct stream_session *session = context;
    session->busy++;
    if (session->websocket)
        on_messages(session, data, size);
    else if (!session->codec->input(session, data, size, true, true))
        break_off(session, WEBSOCKET_PROTOCOL_ERROR);
    session->busy--;
    settle(session);
}

void session_wake(struct stream_session *session)
{
    bool woken = true;
    while (woken && !session->closed) {
        struct stream *s;
        woken = false;
        list_for_each(&session->streams, s, node)
        {
            if (s->starved && stream_room(s)) {
                s->starved = false;
                woken = true;
                s->events.writable(s->context);
                break; /* the list may be another by now */
            }
        }
    }
}

static void on_drained(void *context)
{
    struct stream_session *session = context;
    if (http_tunnel_queued(session->tunnel) > STREAM_QUEUE_MAX / 2)
        return;
    session->busy++;
    session_wake(session);
    session->busy--;
    settle(session);
}

static void on_closed(void *context)
{
    struct stream_session *session = context;
    session->busy++;
    session->closed = true;
    session->events.closed(session->context);
    session->busy--;
    settle(session);
}

void session_send_frame(struct stream_session *session, enum websocket_opcode opcode, const char *prefix,
                        size_t prefix_size, const char *data, size_t size)
{
    char head[WEBSOCKET_HEAD_MAX];
    cleanup_buffer struct buffer frame = {0};
    if (session->closed)
        return;
    buffer_reserve(&frame, sizeof(head) + prefix_size + size);
    buffer_add(&frame, head, websocket_head(opcode, prefix_size + size, head));
    if (prefix_size)
        buffer_add(&frame, prefix, prefix_size);
    if (size)
        buffer_add(&frame, data, size);
    http_tunnel_write(session->tunnel, frame.data, frame.size);
}

void session_send(struct stream_session *session, const struct buffer *bytes)
{
    if (session->websocket)
        session_send_frame(session, WEBSOCKET_BINARY, NULL, 0, bytes->data, bytes->size);
    else if (!session->closed)
        http_tunnel_write(session->tunnel, bytes->data, bytes->size);
}

/* ---- Above: streams ---- */

static char *copy(const char *text)
{
    return mem_string(text ? text : "");
}

struct stream *session_add_stream(struct stream_session *session, uint32_t id, const char *type, const char *port,
                                  const char *request_id)
{
    struct stream *s = mem_zero(1, sizeof(*s));
    s->session = session;
    s->id = id;
    s->type = copy(type);
    s->port = copy(port);
    s->request_id = copy(request_id);
    list_append(&session->streams, &s->node);
    session->stream_count++;
    return s;
}

bool session_announce(struct stream *s)
{
    struct stream_session *session = s->session;
    session->busy++;
    session->events.opened(session->context, session, s);
    session->busy--;
    assert(session->closed || s->gone || s->accepted);
    return !session->closed && !s->gone;
}

struct stream *session_find_stream(struct stream_session *session, uint32_t id)
{
    struct stream *s;
    list_for_each(&session->streams, s, node)
    {
        if (s->id == id)
            return s;
    }
    return NULL;
}

static void note_held(struct stream *s)
{
    bool over = s->held_data.size > STREAM_HELD_MAX;
    if (over == s->over || s->gone)
        return;
    s->over = over;
    s->session->over += over ? 1 : (size_t)-1;
}

static void tell_end(struct stream *s)
{
    if (s->client_ended && !s->ended_told && !s->held && !s->held_data.size && !s->gone) {
        s->ended_told = true;
        s->events.ended(s->context);
    }
}

void session_deliver(struct stream *s, const char *data, size_t size)
{
    if (s->gone || s->client_ended || !size)
        return;
    if (s->held || s->held_data.size) {
        buffer_add(&s->held_data, data, size);
        note_held(s);
        return;
    }
    if (s->session->codec->consumed)
        s->session->codec->consumed(s, size);
    s->events.data(s->context, data, size);
}

void session_deliver_end(struct stream *s)
{
    if (s->gone || s->client_ended)
        return;
    s->client_ended = true;
    tell_end(s);
}

void session_deliver_reset(struct stream *s)
{
    if (s->gone)
        return;
    bury(s);
    s->events.reset(s->context);
}

const char *stream_type(const struct stream *s)
{
    return s->type;
}

const char *stream_port(const struct stream *s)
{
    return s->port;
}

const char *stream_request_id(const struct stream *s)
{
    return s->request_id;
}

void stream_accept(struct stream *s, const struct stream_events *events, void *context)
{
    s->accepted = true;
    s->events = *events;
    s->context = context;
}

size_t stream_room(struct stream *s)
{
    const struct stream_session *session = s->session;
    size_t queued = http_tunnel_queued(session->tunnel);
    size_t room = queued >= STREAM_QUEUE_MAX ? 0 : STREAM_QUEUE_MAX - queued;
    if (room > STREAM_WRITE_MAX)
        room = STREAM_WRITE_MAX;
    if (s->window < (int64_t)room && session->spdy)
        room = s->window > 0 ? (size_t)s->window : 0;
    s->starved = room == 0;
    return room;
}

void stream_write(struct stream *s, const char *data, size_t size)
{
    do { /* an empty message is one, too */
        size_t n = size < STREAM_WRITE_MAX ? size : STREAM_WRITE_MAX;
        s->session->codec->write(s, data, n);
        data += n;
        size -= n;
    } while (size);
}

void stream_end(struct stream *s)
{
    if (s->ended)
        return;
    s->ended = true;
    s->session->codec->end(s);
}

void stream_hold(struct stream *s, bool hold)
{
    struct stream_session *session = s->session;
    s->held = hold;
    if (hold || s->delivering)
        return;
    session->busy++;
    s->delivering = true;
    while (!s->held && !s->gone && !session->closed && s->held_data.size) {
        struct buffer data = s->held_data;
        s->held_data = (struct buffer){0};
        note_held(s);
        if (session->codec->consumed)
            session->codec->consumed(s, data.size);
        s->events.data(s->context, data.data, data.size);
        buffer_free(&data);
    }
    s->delivering = false;
    if (!session->closed)
        tell_end(s);
    session->busy--;
    settle(session);
}

void stream_close(struct stream *s)
{
    struct stream_session *session = s->session;
    if (s->gone)
        return;
    if (!s->ended)
        session->codec->reset(s);
    bury(s);
    settle(session);
}

/* ---- The beginning ---- */

static const struct http_tunnel_events tunnel_events = {.data = on_data, .drained = on_drained, .closed = on_closed};

struct stream_session *stream_session_open(struct http_request *request, const struct stream_protocol *protocol,
                                           const struct stream_channel *channels, size_t channel_count,
                                           const struct stream_session_events *events, void *context)
{
    struct stream_session *session = mem_zero(1, sizeof(*session));
    bool websocket = protocol->carrier != STREAM_SPDY;
    char accept[WEBSOCKET_ACCEPT_SIZE];
    if (websocket && websocket_accept(http_request_header(request, "sec-websocket-key"), accept)) {
        http_response_header(request, "Upgrade", "websocket");
        http_response_header(request, "Sec-WebSocket-Accept", accept);
        if (*protocol->name)
            http_response_header(request, "Sec-WebSocket-Protocol", protocol->name);
    } else {
        http_response_header(request, "Upgrade", "SPDY/3.1");
        if (*protocol->name)
            http_response_header(request, "X-Stream-Protocol-Version", protocol->name);
    }
    session->protocol = protocol;
    session->events = *events;
    session->context = context;
    session->channel = -1;
    list_init(&session->streams);
    list_init(&session->graves);
    session->tunnel = http_tunnel_open(request, &tunnel_events, session);
    if (!session->tunnel) {
        free(session);
        return NULL;
    }
    if (websocket)
        session->websocket = mem_zero(1, sizeof(*session->websocket));
    session->codec = protocol->carrier == STREAM_CHANNELS ? &channels_codec : &spdy_codec;
    if (protocol->carrier != STREAM_CHANNELS) {
        spdy_begin(session);
        return session;
    }
    session->busy++;
    for (size_t i = 0; i < channel_count && !session->closed; i++)
        session_announce(
            session_add_stream(session, (uint32_t)i, channels[i].type, channels[i].port, channels[i].request_id));
    session->busy--;
    return settle(session) ? session : NULL;
}

/* ---- Which protocol ---- */

static void refuse(struct http_request *request, int status, const char *text)
{
    http_respond_text(request, status, "text/plain; charset=utf-8", text);
}

static const struct stream_protocol *find(const struct stream_protocol *table, size_t count, const char *name,
                                          size_t size, bool websocket)
{
    for (size_t i = 0; i < count; i++)
        if ((table[i].carrier != STREAM_SPDY) == websocket && strlen(table[i].name) == size &&
            memcmp(table[i].name, name, size) == 0)
            return &table[i];
    return NULL;
}

/* The first that is offered and known. */
static const struct stream_protocol *choose(const struct http_request *request, const char *header,
                                            const struct stream_protocol *table, size_t count, bool websocket,
                                            struct buffer *offered)
{
    size_t offers = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcmp(request->headers[i].name, header) != 0)
            continue;
        for (const char *at = request->headers[i].value; *at && offers < STREAM_OFFERS_MAX; offers++) {
            at += strspn(at, " \t,");
            size_t n = strcspn(at, " \t,");
            const struct stream_protocol *found = n ? find(table, count, at, n, websocket) : NULL;
            if (found)
                return found;
            if (n)
                buffer_printf(offered, "%s%.*s", offered->size ? " " : "", (int)n, at);
            at += n;
        }
    }
    return offered->size ? NULL : find(table, count, "", 0, websocket);
}

const struct stream_protocol *stream_protocol_choose(struct http_request *request, const struct stream_protocol *table,
                                                     size_t count)
{
    cleanup_buffer struct buffer offered = {0}, text = {0};
    char accept[WEBSOCKET_ACCEPT_SIZE];
    const char *upgrade = http_request_header(request, "upgrade"),
               *key = http_request_header(request, "sec-websocket-key");
    const char *version = http_request_header(request, "sec-websocket-version");
    bool websocket = http_request_has_token(request, "upgrade", "websocket");
    if (!http_request_wants_upgrade(request) || (!websocket && strcasecmp(upgrade, "SPDY/3.1") != 0)) {
        refuse(request, 400, "unable to upgrade: missing upgrade headers in request");
        return NULL;
    }
    if (websocket && (request->method != HTTP_GET || !key || !websocket_accept(key, accept) || !version ||
                      strcmp(version, "13") != 0)) {
        http_response_header(request, "Sec-WebSocket-Version", "13");
        refuse(request, 400, "Bad Request");
        return NULL;
    }
    const struct stream_protocol *found = choose(
        request, websocket ? "sec-websocket-protocol" : "x-stream-protocol-version", table, count, websocket, &offered);
    if (found)
        return found;
    buffer_printf(&text, "unable to upgrade: unable to negotiate protocol: client supports [%s], server accepts [",
                  offered.size ? offered.data : "");
    for (size_t i = 0, n = 0; i < count; i++) {
        if ((table[i].carrier != STREAM_SPDY) != websocket || !*table[i].name)
            continue;
        buffer_printf(&text, "%s%s", n++ ? " " : "", table[i].name);
        if (!websocket)
            http_response_header(request, "X-Accepted-Stream-Protocol-Versions", table[i].name);
    }
    buffer_add_char(&text, ']');
    refuse(request, websocket ? 400 : 403, text.data);
    return NULL;
}
