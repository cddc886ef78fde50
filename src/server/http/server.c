/* The server: listeners, the threads as a whole, start and stop.
 *
 * The first I/O thread accepts for all listeners and gives each connection to the thread that has the fewest. When
 * the limit of connections is reached, or the process has no descriptor left, it stops polling the listeners; the
 * next connection that closes, or a timer, makes it try again. */
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/timestamp.h"
#include "server/http/io.h"
#include "server/http/tls.h"

#define THREADS_DEFAULT_MAX 4
#define THREADS_MAX 64
/* Connections accepted before others have their turn. */
#define ACCEPTS_PER_TURN 64
#define ACCEPT_RETRY_MILLISECONDS 100
/* A peer that has vanished is noticed after about these: seconds until the first probe, between probes, probes. */
#define KEEPALIVE_IDLE 30
#define KEEPALIVE_INTERVAL 10
#define KEEPALIVE_PROBES 6

struct listener {
    struct listener *next;
    struct http_server *server;
    uv_poll_t poll;
    int fd;
    bool plain;
};

struct http_server {
    http_handler handler;
    http_streams streams;
    void *context;
    struct http_limits limits;
    unsigned thread_count;
    unsigned started;
    struct io_thread *threads;
    pthread_t *ids;

    pthread_mutex_t lock; /* of what follows */
    SSL_CTX *tls;
    env_callback stopped;
    void *stopped_context;

    atomic_bool stopping;
    atomic_uint running;
    _Atomic size_t open;
    atomic_bool full; /* the listeners are not polled */

    /* The first thread's */
    struct listener *listeners;
    uv_timer_t retry;
};

static const struct http_limits defaults = {
    .header_bytes = 64 * 1024,
    .body_bytes = 3 * 1024 * 1024,
    .body_total = 256 * 1024 * 1024,
    .stream_bytes = 16 * 1024 * 1024,
    .connections = 16384,
    .streams = 250,
    .header_timeout = 32 * SECOND,
    .body_timeout = 60 * SECOND,
    .idle_timeout = 90 * SECOND,
    .write_timeout = 60 * SECOND,
    .linger_timeout = 2 * SECOND,
    .shutdown_timeout = 10 * SECOND,
};

/* Puts defaults where there is nothing. */
static struct http_limits complete(struct http_limits l)
{
#define DEFAULT(member) l.member = l.member ? l.member : defaults.member
    DEFAULT(header_bytes);
    DEFAULT(body_bytes);
    DEFAULT(body_total);
    DEFAULT(stream_bytes);
    DEFAULT(connections);
    DEFAULT(streams);
    DEFAULT(header_timeout);
    DEFAULT(body_timeout);
    DEFAULT(idle_timeout);
    DEFAULT(write_timeout);
    DEFAULT(linger_timeout);
    DEFAULT(shutdown_timeout);
#undef DEFAULT
    return l;
}

/* ---- Accepting ---- */

static void on_listener(uv_poll_t *poll, int status, int events);

static void resume_accepting(void *context)
{
    struct http_server *s = context;
    atomic_store(&s->full, false);
    for (struct listener *l = s->listeners; l; l = l->next)
        uv_poll_start(&l->poll, UV_READABLE, on_listener);
}

static void retry(uv_timer_t *timer)
{
    resume_accepting(timer->data);
}

static void pause_accepting(struct http_server *s)
{
    atomic_store(&s->full, true);
    for (struct listener *l = s->listeners; l; l = l->next)
        uv_poll_stop(&l->poll);
    uv_timer_start(&s->retry, retry, ACCEPT_RETRY_MILLISECONDS, 0);
}

static struct io_thread *least_busy(struct http_server *s)
{
    struct io_thread *best = &s->threads[0];
    for (unsigned i = 1; i < s->thread_count; i++)
        if (atomic_load(&s->threads[i].counters.open) < atomic_load(&best->counters.open))
            best = &s->threads[i];
    return best;
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct listener *l = poll->data;
    struct http_server *s = l->server;
    if (status < 0) {
        log_error("A listening socket fails: %s", uv_strerror(status));
        return;
    }
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (atomic_load(&s->open) >= s->limits.connections) {
            pause_accepting(s);
            return;
        }
        struct io_arrival arrival = {.plain = l->plain};
        socklen_t size = sizeof(arrival.address);
        arrival.fd = accept4(l->fd, &arrival.address.any, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (arrival.fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                log_warning("No connection can be accepted for now: %s", strerror(errno));
                pause_accepting(s);
            }
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            return;
        }
        struct io_arrival *sent = mem_alloc(sizeof(*sent));
        *sent = arrival;
        sent->io = least_busy(s);
        atomic_fetch_add(&s->open, 1);
        atomic_fetch_add(&sent->io->counters.open, 1);
        if (sent->io == &s->threads[0])
            io_adopt(sent);
        else
            mailbox_send(sent->io->mailbox, io_adopt, sent);
    }
}

void server_connection_closed(struct io_thread *io)
{
    struct http_server *s = io->server;
    atomic_fetch_sub(&io->counters.open, 1);
    atomic_fetch_sub(&s->open, 1);
    /* The timer of the pause notices. No message: the accepting thread may have ended. */
}

/* ---- Listeners ---- */

static void listener_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void add_listener(void *context)
{
    struct listener *l = context;
    struct http_server *s = l->server;
    if (s->threads[0].stopping) {
        close(l->fd);
        free(l);
        return;
    }
    l->next = s->listeners;
    s->listeners = l;
    l->poll.data = l;
    uv_poll_init(&s->threads[0].loop, &l->poll, l->fd);
    uv_poll_start(&l->poll, UV_READABLE, on_listener);
}

static int check_listener(struct http_server *s, int fd, bool plain, struct error *err)
{
    int listening = 0;
    socklen_t size = sizeof(listening);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0)
        return error_errno(err, "look at the listening socket");
    if (!listening)
        return error_set(err, EINVAL, "the socket does not listen");
    if (atomic_load(&s->stopping))
        return error_set(err, ESHUTDOWN, "the server is stopping");
    SSL_CTX *tls = plain ? NULL : server_tls(s);
    if (!plain && !tls)
        return error_set(err, EINVAL, "the server has no certificate yet");
    SSL_CTX_free(tls);
    return 0;
}

int http_server_listen(struct http_server *s, int fd, bool plain, struct error *err)
{
    if (check_listener(s, fd, plain, err) < 0) {
        close(fd);
        return -1;
    }
    /* Connections inherit these; a Unix socket refuses them, which is fine. */
    const int on = 1, idle = KEEPALIVE_IDLE, interval = KEEPALIVE_INTERVAL, probes = KEEPALIVE_PROBES;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    struct listener *l = mem_zero(1, sizeof(*l));
    l->server = s;
    l->fd = fd;
    l->plain = plain;
    mailbox_send(s->threads[0].mailbox, add_listener, l);
    return 0;
}

/* ---- TLS ---- */

int http_server_set_tls(struct http_server *s, const struct http_tls *tls, struct error *err)
{
    SSL_CTX *fresh = tls_context_new(tls, err);
    if (!fresh)
        return -1;
    pthread_mutex_lock(&s->lock);
    SSL_CTX *old = s->tls;
    s->tls = fresh;
    pthread_mutex_unlock(&s->lock);
    SSL_CTX_free(old);
    return 0;
}

SSL_CTX *server_tls(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    SSL_CTX *tls = s->tls;
    if (tls)
        SSL_CTX_up_ref(tls);
    pthread_mutex_unlock(&s->lock);
    return tls;
}

/* ---- Start and stop ---- */

http_handler server_handler(struct http_server *s, void **context)
{
    *context = s->context;
    return s->handler;
}

http_streams server_streams(struct http_server *s, void **context)
{
    *context = s->context;
    return s->streams;
}

static void *thread_main(void *context)
{
    struct io_thread *io = context;
    char name[16];
    snprintf(name, sizeof(name), "http-%u", io->index);
    pthread_setname_np(pthread_self(), name);
    io_run(io);
    return NULL;
}

/* Signals are for the threads that the caller chose. */
static int start_threads(struct http_server *s, struct error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = 0;
    while (!failed && s->started < s->thread_count) {
        atomic_fetch_add(&s->running, 1);
        failed = pthread_create(&s->ids[s->started], NULL, thread_main, &s->threads[s->started]);
        if (!failed)
            s->started++;
        else
            atomic_fetch_sub(&s->running, 1);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? error_set(err, failed, "start an I/O thread: %s", strerror(failed)) : 0;
}

struct http_server *http_server_new(const struct http_options *options, struct error *err)
{
    struct http_server *s = mem_zero(1, sizeof(*s));
    s->handler = options->handler;
    s->streams = options->streams;
    s->context = options->context;
    s->limits = complete(options->limits);
    unsigned cores = uv_available_parallelism();
    s->thread_count = options->threads ? options->threads : cores < THREADS_DEFAULT_MAX ? cores : THREADS_DEFAULT_MAX;
    if (s->thread_count > THREADS_MAX)
        s->thread_count = THREADS_MAX;
    pthread_mutex_init(&s->lock, NULL);
    s->threads = mem_zero(s->thread_count, sizeof(*s->threads));
    s->ids = mem_zero(s->thread_count, sizeof(*s->ids));
    unsigned ready = 0;
    while (ready < s->thread_count && io_init(&s->threads[ready], s, &s->limits, ready, err) == 0)
        ready++;
    if (ready == s->thread_count) {
        uv_timer_init(&s->threads[0].loop, &s->retry);
        s->retry.data = s;
        if (start_threads(s, err) == 0)
            return s;
    }
    /* Those that run end as usual; the others never ran. */
    if (!s->started && ready == s->thread_count)
        uv_close((uv_handle_t *)&s->retry, NULL);
    for (unsigned i = s->started; i < ready; i++)
        io_destroy(&s->threads[i]);
    s->thread_count = s->started;
    http_server_free(s);
    return NULL;
}

/* On the first thread: once the listeners are closed nothing arrives any more, so the others may stop. */
static void stop_accepting(void *context)
{
    struct http_server *s = context;
    while (s->listeners) {
        struct listener *l = s->listeners;
        s->listeners = l->next;
        uv_poll_stop(&l->poll);
        uv_close((uv_handle_t *)&l->poll, listener_closed);
        close(l->fd);
    }
    uv_close((uv_handle_t *)&s->retry, NULL);
    for (unsigned i = 1; i < s->thread_count; i++)
        mailbox_send(s->threads[i].mailbox, io_stop, &s->threads[i]);
    io_stop(&s->threads[0]);
}

void http_server_stop(struct http_server *s)
{
    if (s->thread_count && !atomic_exchange(&s->stopping, true))
        mailbox_send(s->threads[0].mailbox, stop_accepting, s);
}

void http_server_on_stopped(struct http_server *s, env_callback callback, void *context)
{
    pthread_mutex_lock(&s->lock);
    s->stopped = callback;
    s->stopped_context = context;
    pthread_mutex_unlock(&s->lock);
}

void server_thread_finished(struct http_server *s)
{
    if (atomic_fetch_sub(&s->running, 1) != 1)
        return;
    pthread_mutex_lock(&s->lock);
    env_callback callback = s->stopped;
    void *context = s->stopped_context;
    pthread_mutex_unlock(&s->lock);
    if (callback)
        callback(context);
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    http_server_stop(s);
    for (unsigned i = 0; i < s->started; i++)
        pthread_join(s->ids[i], NULL);
    SSL_CTX_free(s->tls);
    pthread_mutex_destroy(&s->lock);
    free(s->threads);
    free(s->ids);
    free(s);
}

void http_server_statistics(struct http_server *s, struct http_statistics *out)
{
    *out = (struct http_statistics){0};
    for (unsigned i = 0; i < s->thread_count; i++) {
        struct io_counters *c = &s->threads[i].counters;
        out->connections_accepted += atomic_load(&c->accepted);
        out->connections_open += atomic_load(&c->open);
        out->handshakes_failed += atomic_load(&c->handshakes_failed);
        out->requests += atomic_load(&c->requests);
        out->requests_in_flight += atomic_load(&c->in_flight);
        out->bytes_received += atomic_load(&c->received);
        out->bytes_sent += atomic_load(&c->sent);
    }
}
