/* Inside the relay. One lock covers everything but epoll_wait; the worker holds it while it handles a batch of
 * events, relay_set and relay_statistics while they look or change.
 *
 * Whatever epoll may point to starts with a struct handle. One that is closed is marked dead and freed by the worker at
 * the end of its present batch, which may still name it. */
#ifndef CORACLE_NETWORK_RELAY_INTERNAL_H
#define CORACLE_NETWORK_RELAY_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/list.h"
#include "base/map.h"
#include "base/vector.h"
#include "network/relay.h"

/* What one event may do before others have their turn. */
#define RELAY_ACCEPTS_PER_EVENT 64
#define RELAY_DATAGRAMS_PER_EVENT 64
#define RELAY_SPLICES_PER_EVENT 16
/* Bytes in a pipe, and so in flight in one direction. */
#define RELAY_PIPE_SIZE (64 * 1024)
/* A pod that vanishes without a word is noticed on idle connections too: after so many seconds without a packet the
 * node is asked, again each second, so often. */
#define RELAY_KEEPALIVE_IDLE 3
#define RELAY_KEEPALIVE_INTERVAL 1
#define RELAY_KEEPALIVE_COUNT 3
/* Empty pipes that are kept for the next use. */
#define RELAY_SPARE_PIPES 64
#define RELAY_DATAGRAM_MAX 65536
/* After accept ran out of descriptors, in microseconds. */
#define RELAY_ACCEPT_PAUSE (100 * MILLISECOND)

struct relay;

/* Called by the worker, with the lock held. */
typedef void (*relay_handler)(struct relay *relay, void *owner, uint32_t events);

struct handle {
    int fd; /* -1 once dead */
    relay_handler handler;
    void *owner;
};

/* Its memory, which is freed after the batch; the first member of all owners. */
struct owner {
    struct list link; /* in a list of the living, then in relay->dead */
};

struct listener {
    struct owner owner;
    struct handle handle;
    struct relay_port port;
};

struct pipe {
    int in, out;
};

struct relay {
    struct relay_config config;
    int host_namespace_fd, node_namespace_fd;
    int epoll, wake;
    pthread_t thread;
    pthread_mutex_t lock;
    bool stop;
    struct handle wake_handle;

    struct list listeners; /* struct listener */
    size_t listener_count;
    bool paused; /* TCP listeners are not looked at */
    int64_t pause_end;

    struct list connections; /* struct connection */
    size_t connection_count;
    struct list ready; /* connections that had their turn and have more to do */
    VECTOR(struct pipe) spare;
    size_t pipes; /* all of them */

    struct list clients; /* struct client, the one idle longest first */
    size_t client_count;
    struct map clients_by_key;
    char *datagram;

    struct list dead;
};

int64_t relay_now(void);
/* Adds a descriptor to the loop, which then owns it; closes it and fails if that does not work. */
int relay_watch(struct relay *relay, struct handle *handle, int fd, relay_handler handler, void *owner,
                uint32_t events);
/* Takes it out of the loop and closes it. */
void relay_unwatch(struct relay *relay, struct handle *handle);
/* Moves the owner to the dead. */
void relay_bury(struct relay *relay, struct owner *owner);
/* Looks at TCP listeners again, or not. */
void relay_pause(struct relay *relay, int64_t until);
void relay_resume(struct relay *relay);

/* relay_tcp.c */
void relay_accept(struct relay *relay, void *listener, uint32_t events);
/* Goes on with the connections in relay->ready. */
void relay_continue(struct relay *relay);
void relay_close_connections(struct relay *relay);

/* relay_udp.c */
void relay_receive(struct relay *relay, void *listener, uint32_t events);
/* Closes clients idle for too long; returns when to come again, or -1. */
int64_t relay_expire(struct relay *relay, int64_t now);
/* Closes a listener's clients; all if it is NULL. */
void relay_close_clients(struct relay *relay, const struct listener *listener);

#endif
