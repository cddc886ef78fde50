#include "network/relay_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "network/namespace.h"

#define EVENTS_MAX 256
#define BACKLOG 1024

int64_t relay_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec / 1000;
}

/* ---- handles ---- */

int relay_watch(struct relay *relay, struct handle *handle, int fd, relay_handler handler, void *owner, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = handle};
    *handle = (struct handle){fd, handler, owner};
    if (epoll_ctl(relay->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
        return 0;
    relay_unwatch(relay, handle);
    return -1;
}

void relay_unwatch(struct relay *relay, struct handle *handle)
{
    /* Closing does not take it out of the loop while a forked child that has yet to exec has a copy of it. */
    if (handle->fd >= 0)
        epoll_ctl(relay->epoll, EPOLL_CTL_DEL, handle->fd, NULL);
    cleanup_close_fd(&handle->fd);
    handle->fd = -1;
}

void relay_bury(struct relay *relay, struct owner *owner)
{
    list_remove(&owner->link);
    list_append(&relay->dead, &owner->link);
}

static void free_dead(struct relay *relay)
{
    struct owner *owner;
    list_for_each(&relay->dead, owner, link)
    {
        list_remove(&owner->link);
        free(owner);
    }
}

/* ---- listeners ---- */

static void watch_for(struct relay *relay, uint32_t events)
{
    struct listener *l;
    list_for_each(&relay->listeners, l, owner.link)
    {
        struct epoll_event event = {.events = events, .data.ptr = &l->handle};
        if (l->port.protocol == IPPROTO_TCP)
            epoll_ctl(relay->epoll, EPOLL_CTL_MOD, l->handle.fd, &event);
    }
}

void relay_pause(struct relay *relay, int64_t until)
{
    relay->pause_end = until;
    if (relay->paused)
        return;
    relay->paused = true;
    watch_for(relay, 0);
}

void relay_resume(struct relay *relay)
{
    if (!relay->paused)
        return;
    relay->paused = false;
    watch_for(relay, EPOLLIN);
}

static int open_socket(struct relay *relay, const struct relay_port *port, struct error *err)
{
    bool tcp = port->protocol == IPPROTO_TCP;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = relay->config.host_address, .sin_port = htons(port->port)};
    char text[INET_ADDRSTRLEN];
    int on = 1;
    cleanup_close int fd = network_namespace_socket(relay->host_namespace_fd, AF_INET,
                                                    (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0, err);
    if (fd < 0)
        return -1;
    inet_ntop(AF_INET, &address.sin_addr, text, sizeof(text));
    if ((tcp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0) ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || (tcp && listen(fd, BACKLOG) < 0))
        return error_errno(err, "node port %u (%s) cannot be opened on %s of the host", port->port,
                           tcp ? "TCP" : "UDP", text);
    return steal_fd(fd);
}

static int open_listener(struct relay *relay, const struct relay_port *port, struct error *err)
{
    bool tcp = port->protocol == IPPROTO_TCP;
    int fd = open_socket(relay, port, err);
    if (fd < 0)
        return -1;
    struct listener *l = mem_zero(1, sizeof(*l));
    l->port = *port;
    if (relay_watch(relay, &l->handle, fd, tcp ? relay_accept : relay_receive, l,
                    tcp && relay->paused ? 0 : EPOLLIN) < 0) {
        free(l);
        return error_errno(err, "node port %u: watch its socket", port->port);
    }
    list_append(&relay->listeners, &l->owner.link);
    relay->listener_count++;
    return 0;
}

static void close_listener(struct relay *relay, struct listener *l)
{
    if (l->port.protocol == IPPROTO_UDP)
        relay_close_clients(relay, l);
    relay_unwatch(relay, &l->handle);
    relay_bury(relay, &l->owner);
    relay->listener_count--;
}

static int compare_ports(const void *left, const void *right)
{
    const struct relay_port *a = left, *b = right;
    return a->protocol != b->protocol ? a->protocol - b->protocol : a->port - b->port;
}

static int check_ports(const struct relay_port *ports, size_t count, struct error *err)
{
    if (count > RELAY_PORTS_MAX)
        return error_set(err, E2BIG, "%zu node ports are more than the %d that are relayed", count, RELAY_PORTS_MAX);
    for (size_t i = 0; i < count; i++)
        if ((ports[i].protocol != IPPROTO_TCP && ports[i].protocol != IPPROTO_UDP) || ports[i].port == 0)
            return error_set(err, EINVAL, "node port %u of protocol %u cannot be relayed", ports[i].port,
                             ports[i].protocol);
    return 0;
}

/* Sorts, and leaves each port once; returns how many. */
static size_t sort_ports(struct relay_port *ports, size_t count)
{
    size_t kept = 0;
    qsort(ports, count, sizeof(*ports), compare_ports);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || compare_ports(&ports[i], &ports[kept - 1]) != 0)
            ports[kept++] = ports[i];
    return kept;
}

static int set_locked(struct relay *relay, const struct relay_port *wanted, size_t count, bool *open, struct error *err)
{
    struct listener *l;
    int result = 0;
    list_for_each(&relay->listeners, l, owner.link)
    {
        const struct relay_port *found = bsearch(&l->port, wanted, count, sizeof(*wanted), compare_ports);
        if (found)
            open[found - wanted] = true;
        else
            close_listener(relay, l);
    }
    for (size_t i = 0; i < count; i++) {
        struct error e;
        if (!open[i] && open_listener(relay, &wanted[i], &e) < 0 && result == 0)
            result = error_set(err, e.code, "%s", e.text);
    }
    return result;
}

int relay_set(struct relay *relay, const struct relay_port *ports, size_t count, struct error *err)
{
    if (check_ports(ports, count, err) < 0)
        return -1;
    cleanup_free struct relay_port *wanted = mem_zero(count + 1, sizeof(*wanted));
    cleanup_free bool *open = mem_zero(count + 1, sizeof(*open));
    if (count)
        memcpy(wanted, ports, count * sizeof(*wanted));
    count = sort_ports(wanted, count);
    pthread_mutex_lock(&relay->lock);
    int result = set_locked(relay, wanted, count, open, err);
    pthread_mutex_unlock(&relay->lock);
    return result;
}

void relay_statistics(struct relay *relay, struct relay_statistics *out)
{
    pthread_mutex_lock(&relay->lock);
    *out = (struct relay_statistics){relay->listener_count, relay->connection_count, relay->client_count, relay->pipes};
    pthread_mutex_unlock(&relay->lock);
}

/* ---- the worker ---- */

static void woken(struct relay *relay, void *owner, uint32_t events)
{
    eventfd_t count;
    eventfd_read(relay->wake, &count);
}

/* How long to wait for events, in milliseconds: until the next thing that time alone brings. */
static int next_wait(struct relay *relay)
{
    int64_t now = relay_now(), next = relay_expire(relay, now);
    if (!list_empty(&relay->ready))
        return 0;
    if (relay->paused && relay->pause_end && (next < 0 || relay->pause_end < next))
        next = relay->pause_end;
    return next < 0 ? -1 : next <= now ? 0 : (int)((next - now + MILLISECOND - 1) / MILLISECOND);
}

static void work(struct relay *relay)
{
    struct epoll_event events[EVENTS_MAX];
    pthread_mutex_lock(&relay->lock);
    while (!relay->stop) {
        int wait = next_wait(relay);
        pthread_mutex_unlock(&relay->lock);
        int count = epoll_wait(relay->epoll, events, EVENTS_MAX, wait);
        pthread_mutex_lock(&relay->lock);
        for (int i = 0; i < count; i++) {
            struct handle *handle = events[i].data.ptr;
            if (handle->fd >= 0)
                handle->handler(relay, handle->owner, events[i].events);
        }
        relay_continue(relay);
        if (relay->paused && relay->pause_end && relay_now() >= relay->pause_end)
            relay_resume(relay);
        free_dead(relay);
    }
    pthread_mutex_unlock(&relay->lock);
}

static void *run(void *context)
{
    work(context);
    return NULL;
}

/* The thread is in the node's namespace for good: sockets of accepted connections are in the host's whatever the
 * thread's is. It inherits its maker's. */
static int start_thread(struct relay *relay, struct error *err)
{
    int previous;
    if (network_namespace_enter(relay->node_namespace_fd, &previous, err) < 0)
        return -1;
    /* No signal is its business, SIGPIPE of a splice least of all. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&relay->thread, NULL, run, relay);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    network_namespace_leave(&previous);
    return failure ? error_set(err, failure, "make a thread: %s", strerror(failure)) : 0;
}

/* ---- start and stop ---- */

static void free_relay(struct relay *relay)
{
    struct listener *l;
    list_for_each(&relay->listeners, l, owner.link)
    {
        close_listener(relay, l);
    }
    relay_close_connections(relay);
    relay_close_clients(relay, NULL);
    free_dead(relay);
    for (size_t i = 0; i < relay->spare.count; i++) {
        close(relay->spare.items[i].in);
        close(relay->spare.items[i].out);
    }
    vector_free(&relay->spare);
    map_free(&relay->clients_by_key);
    free(relay->datagram);
    cleanup_close_fd(&relay->wake);
    cleanup_close_fd(&relay->epoll);
    cleanup_close_fd(&relay->host_namespace_fd);
    cleanup_close_fd(&relay->node_namespace_fd);
    pthread_mutex_destroy(&relay->lock);
    free(relay);
}

static int keep_namespace(int fd, struct error *err)
{
    if (fd < 0)
        return network_namespace_self(err);
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return copy < 0 ? error_errno(err, "keep a network namespace") : copy;
}

static int set_up(struct relay *relay, struct error *err)
{
    relay->host_namespace_fd = keep_namespace(relay->config.host_namespace_fd, err);
    relay->node_namespace_fd = relay->host_namespace_fd < 0 ? -1 : keep_namespace(relay->config.node_namespace_fd, err);
    if (relay->node_namespace_fd < 0)
        return -1;
    relay->epoll = epoll_create1(EPOLL_CLOEXEC);
    relay->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &relay->wake_handle};
    relay->wake_handle = (struct handle){relay->wake, woken, relay};
    if (relay->epoll < 0 || relay->wake < 0 || epoll_ctl(relay->epoll, EPOLL_CTL_ADD, relay->wake, &event) < 0)
        return error_errno(err, "make the relay's event loop");
    return start_thread(relay, err);
}

int relay_start(const struct relay_config *config, struct relay **out, struct error *err)
{
    *out = NULL;
    struct relay *relay = mem_zero(1, sizeof(*relay));
    relay->config = *config;
    relay->host_namespace_fd = relay->node_namespace_fd = relay->epoll = relay->wake = -1;
    pthread_mutex_init(&relay->lock, NULL);
    list_init(&relay->listeners);
    list_init(&relay->connections);
    list_init(&relay->ready);
    list_init(&relay->clients);
    list_init(&relay->dead);
    relay->datagram = mem_alloc(RELAY_DATAGRAM_MAX);
    if (set_up(relay, err) < 0) {
        free_relay(relay);
        return error_wrap(err, "relay of node ports");
    }
    *out = relay;
    return 0;
}

void relay_stop(struct relay *relay)
{
    if (!relay)
        return;
    pthread_mutex_lock(&relay->lock);
    relay->stop = true;
    pthread_mutex_unlock(&relay->lock);
    eventfd_write(relay->wake, 1);
    pthread_join(relay->thread, NULL);
    free_relay(relay);
}
