/* The way from any thread to one thread: messages queue up, and the receiver's libuv loop wakes and gets
 * them in order. This is how I/O threads hand work to the core thread and back; it holds the only lock
 * that they share. */
#ifndef CORACLE_BASE_MAILBOX_H
#define CORACLE_BASE_MAILBOX_H

#include "base/env.h"

struct uv_loop_s;
struct mailbox;

/* A mailbox whose messages run on the loop's thread. Call on that thread. */
struct mailbox *mailbox_new(struct uv_loop_s *loop);
/* Runs callback(context) on the receiving thread, soon. Any thread may call. */
void mailbox_send(struct mailbox *mailbox, env_callback callback, void *context);
/* Call on the receiving thread when no sender is left; messages still queued are run first. */
void mailbox_free(struct mailbox *mailbox);

#endif
