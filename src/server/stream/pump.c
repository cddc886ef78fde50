#include "server/stream/pump.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/cleanup.h"

struct pump {
    uv_poll_t poll;
    int fd;
    enum pump_form form;
    struct pump_events events;
    void *context;
    struct stream *first, *second;
    struct stream *from; /* held: `waiting` is to be written first */
    struct buffer waiting;
    size_t written; /* of waiting */
    int polled;
    bool reading, draining, read_over, full; /* full: the streams have no room */
    bool write_ending, write_over;
    bool closing;
    env_callback closed;
    void *closed_context;
    char block[PUMP_BLOCK_MAX + 1];
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void update(struct pump *p)
{
    int events = 0;
    if (p->closing)
        return;
    if (p->reading && !p->read_over && !p->full)
        events |= UV_READABLE;
    if (p->waiting.size && !p->write_over)
        events |= UV_WRITABLE;
    if (events == p->polled)
        return;
    p->polled = events;
    if (events)
        uv_poll_start(&p->poll, events, on_poll);
    else
        uv_poll_stop(&p->poll);
}

struct pump *pump_new(struct uv_loop_s *loop, int fd, enum pump_form form, const struct pump_events *events,
                      void *context)
{
    struct pump *p = mem_zero(1, sizeof(*p));
    p->fd = fd;
    p->form = form;
    p->events = *events;
    p->context = context;
    p->poll.data = p;
    if (uv_poll_init(loop, &p->poll, fd) < 0)
        abort(); /* the fd is a pipe, a terminal or a socket of ours, and the loop is in order */
    return p;
}

/* ---- From the descriptor ---- */

static void end_reading(struct pump *p)
{
    if (p->read_over)
        return;
    p->read_over = true;
    update(p);
    p->events.read_ended(p->context);
}

static size_t room(struct pump *p)
{
    size_t first = p->first ? stream_room(p->first) : PUMP_BLOCK_MAX;
    size_t second = p->second ? stream_room(p->second) : PUMP_BLOCK_MAX;
    return first < second ? first : second;
}

static void give(struct pump *p, size_t size)
{
    bool packets = p->form == PUMP_PACKETS;
    struct stream *to = packets && p->block[0] == PUMP_PACKET_SECOND ? p->second : p->first;
    size -= packets;
    if (to && size)
        stream_write(to, p->block + packets, size);
}

static void read_some(struct pump *p)
{
    for (int i = 0; i < PUMP_READS_PER_TURN && p->reading && !p->read_over && !p->closing; i++) {
        size_t n = room(p);
        p->full = n == 0;
        if (p->full)
            return;
        ssize_t got = read(p->fd, p->block,
                           p->form == PUMP_PACKETS ? sizeof(p->block)
                           : n < PUMP_BLOCK_MAX    ? n
                                                   : PUMP_BLOCK_MAX);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (p->draining)
                end_reading(p);
            return;
        }
        if (got <= 0) { /* a terminal whose other side has gone says EIO */
            end_reading(p);
            return;
        }
        give(p, (size_t)got);
    }
}

void pump_read(struct pump *p, struct stream *first, struct stream *second)
{
    p->first = first;
    p->second = second;
    p->reading = true;
    update(p);
}

void pump_writable(struct pump *p)
{
    if (!p->full)
        return;
    p->full = false;
    read_some(p);
    update(p);
}

void pump_drain(struct pump *p)
{
    p->draining = true;
    p->reading = true;
    /* The first look; the others when the descriptor or the streams call. An empty descriptor does not call. */
    while (!p->read_over && !p->closing && !p->full)
        read_some(p);
    update(p);
}

/* ---- To the descriptor ---- */

static void end_writing(struct pump *p)
{
    if (p->write_over)
        return;
    p->write_over = true;
    buffer_free(&p->waiting);
    p->written = 0;
    if (p->form == PUMP_SOCKET || p->form == PUMP_PACKETS)
        shutdown(p->fd, SHUT_WR);
    if (p->events.write_ended)
        p->events.write_ended(p->context);
}

/* How many bytes it took. */
static size_t write_some(struct pump *p, const char *data, size_t size)
{
    size_t at = 0;
    while (at < size) {
        size_t n = size - at;
        if (p->form == PUMP_PACKETS && n > PUMP_BLOCK_MAX / 4)
            n = PUMP_BLOCK_MAX / 4;
        ssize_t put = write(p->fd, data + at, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (put < 0) {
            end_writing(p);
            return size;
        }
        at += (size_t)put;
    }
    return at;
}

void pump_write(struct pump *p, struct stream *from, const char *data, size_t size)
{
    if (p->write_over || p->write_ending)
        return;
    size_t put = p->waiting.size ? 0 : write_some(p, data, size);
    if (put == size || p->write_over)
        return;
    buffer_add(&p->waiting, data + put, size - put);
    p->from = from;
    stream_hold(from, true);
    update(p);
}

static void flush(struct pump *p)
{
    p->written += write_some(p, p->waiting.data + p->written, p->waiting.size - p->written);
    if (!p->write_over && p->written < p->waiting.size)
        return;
    buffer_free(&p->waiting);
    p->written = 0;
    struct stream *from = p->from;
    p->from = NULL;
    if (p->write_ending)
        end_writing(p);
    if (from && !p->closing)
        stream_hold(from, false);
}

void pump_write_end(struct pump *p)
{
    p->write_ending = true;
    if (!p->waiting.size)
        end_writing(p);
}

/* ---- Both ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct pump *p = poll->data;
    if (status < 0) { /* libuv has stopped it: the calls tell what it is */
        p->polled = 0;
        events = UV_READABLE | UV_WRITABLE;
    }
    if (events & UV_WRITABLE && p->waiting.size)
        flush(p);
    if (events & UV_READABLE && p->reading && !p->closing) {
        read_some(p);
        if (status < 0 && !p->read_over && !p->full && !p->closing)
            end_reading(p);
    }
    update(p);
}

static void on_closed(uv_handle_t *handle)
{
    struct pump *p = handle->data;
    close(p->fd);
    if (p->closed)
        p->closed(p->closed_context);
    buffer_free(&p->waiting);
    free(p);
}

void pump_close(struct pump *p, env_callback closed, void *context)
{
    if (!p)
        return;
    assert(!p->closing);
    p->closing = true;
    p->reading = false;
    p->closed = closed;
    p->closed_context = context;
    uv_poll_stop(&p->poll);
    uv_close((uv_handle_t *)&p->poll, on_closed);
}
