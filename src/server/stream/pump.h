/* Between a descriptor and the streams of a session: what can be read goes out on a stream, what comes on a stream is
 * written. A pump holds at most one block each way; a stream without room is not read for, and a descriptor that takes
 * nothing holds its stream.
 *
 * I/O thread of the session. */
#ifndef CORACLE_SERVER_STREAM_PUMP_H
#define CORACLE_SERVER_STREAM_PUMP_H

#include "server/stream/session.h"

/* Bytes of one read: no more than what a packet of conmon's attach socket carries. */
#define PUMP_BLOCK_MAX (32 * 1024)
/* Reads in one turn of the loop, before others have their turn. */
#define PUMP_READS_PER_TURN 8

struct pump;

enum pump_form {
    PUMP_BYTES,
    PUMP_SOCKET, /* has two halves: the end of what comes on the stream shuts its writing half down */
    /* Sequenced packets: what is read begins with a byte that tells where it goes, 3 to the second stream, else to the
     * first; what is written is as it is. */
    PUMP_PACKETS,
};
#define PUMP_PACKET_SECOND 3

struct pump_events {
    /* All has been read, or whoever asked for pump_drain has got what was there. Once. */
    void (*read_ended)(void *context);
    /* The descriptor takes nothing any more. May be NULL. */
    void (*write_ended)(void *context);
};

/* Takes the descriptor, which is nonblocking, over. Nothing is read before pump_read. */
struct pump *pump_new(struct uv_loop_s *loop, int fd, enum pump_form form, const struct pump_events *events,
                      void *context);
/* Reads into the streams; second only of packets. NULL: what is read is dropped. The user calls pump_writable when they
 * have room again, and pump_forget before they are gone. */
void pump_read(struct pump *pump, struct stream *first, struct stream *second);
void pump_writable(struct pump *pump);
/* Takes all; `from` is held while the descriptor takes no more. */
void pump_write(struct pump *pump, struct stream *from, const char *data, size_t size);
/* No more will be written: write_ended follows, now or when all that waits is written. A socket's writing half is shut
 * down. */
void pump_write_end(struct pump *pump);
/* The other side has ended: reads what is there now, and no longer. */
void pump_drain(struct pump *pump);
/* Closes the descriptor; closed(context) runs when the pump is gone. No event follows. NULL is fine. */
void pump_close(struct pump *pump, env_callback closed, void *context);

#endif
