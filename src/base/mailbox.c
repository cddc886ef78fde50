/* A vector under a mutex and a uv_async_t; the receiver takes the whole vector at once. */
#include "base/mailbox.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <uv.h>

#include "base/cleanup.h"
#include "base/vector.h"

struct message {
    env_callback callback;
    void *context;
};

struct mailbox {
    uv_async_t wake;
    pthread_mutex_t lock;
    VECTOR(struct message) queue;
};

static void drain(uv_async_t *wake)
{
    struct mailbox *mailbox = wake->data;
    pthread_mutex_lock(&mailbox->lock);
    struct message *items = mailbox->queue.items;
    size_t count = mailbox->queue.count;
    mailbox->queue.items = NULL;
    mailbox->queue.count = mailbox->queue.capacity = 0;
    pthread_mutex_unlock(&mailbox->lock);
    for (size_t i = 0; i < count; i++)
        items[i].callback(items[i].context);
    free(items);
}

struct mailbox *mailbox_new(uv_loop_t *loop)
{
    struct mailbox *mailbox = mem_zero(1, sizeof(*mailbox));
    pthread_mutex_init(&mailbox->lock, NULL);
    uv_async_init(loop, &mailbox->wake, drain);
    mailbox->wake.data = mailbox;
    return mailbox;
}

void mailbox_send(struct mailbox *mailbox, env_callback callback, void *context)
{
    pthread_mutex_lock(&mailbox->lock);
    bool first = mailbox->queue.count == 0;
    vector_push(&mailbox->queue, (struct message){callback, context});
    /* Under the lock: once it is released, this message may be the last one, whose receiver frees the mailbox. */
    if (first)
        uv_async_send(&mailbox->wake);
    pthread_mutex_unlock(&mailbox->lock);
}

static void closed(uv_handle_t *handle)
{
    struct mailbox *mailbox = handle->data;
    pthread_mutex_destroy(&mailbox->lock);
    vector_free(&mailbox->queue);
    free(mailbox);
}

void mailbox_free(struct mailbox *mailbox)
{
    drain(&mailbox->wake);
    uv_close((uv_handle_t *)&mailbox->wake, closed);
}
