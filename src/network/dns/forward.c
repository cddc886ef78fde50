/* A forward is one question to other servers: a socket at a time, connected to the server, so that the kernel drops what
 * comes from elsewhere, a timer, and those who wait for the answer. An answer has to repeat number and question. */
#include "network/dns/forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/vector.h"
#include "network/dns/cache.h"

#define KEY_MAX (DNS_NAME_TEXT_MAX + 32)
#define RESOLVERS_FILE_MAX 65536
#define RESOLVERS_LOOK_AGAIN (5 * SECOND)
#define DNS_PORT 53
#define LENGTH_SIZE 2 /* before each message of a TCP stream */

struct waiter {
    dns_forward_done done;
    void *context;
};

struct forward {
    struct list link;
    struct dns_forwarder *forwarder;
    struct dns_query query;
    char *key; /* NULL: cannot be shared */
    bool whole;
    VECTOR(struct waiter) waiters;
    struct env_timer *timer;
    uv_poll_t poll;
    int fd; /* -1: none; poll is closing or was never there */
    bool closing, finished;
    uint16_t id;
    size_t server, attempts;
    /* TCP */
    bool tcp;
    size_t sent, received;
    uint8_t *stream; /* of LENGTH_SIZE + DNS_MESSAGE_MAX */
    /* The best there is: an answer that says that the server could not. */
    uint8_t *poor;
    size_t poor_size;
};

struct dns_forwarder {
    struct dns_forwarder_options options;
    char *path;
    struct sockaddr_storage servers[DNS_RESOLVERS_MAX];
    size_t server_count;
    int64_t looked;
    struct timespec modified;
    struct dns_cache *cache;
    struct map by_key;
    struct list forwards;
    size_t count;
    struct dns_forward_statistics statistics;
    uint8_t message[DNS_MESSAGE_MAX];
};

/* ---- Servers ---- */

static bool read_server(const char *text, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
        return false;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return true;
}

static void read_resolvers(struct dns_forwarder *f)
{
    cleanup_buffer struct buffer text = {0};
    char *position = NULL, name[INET6_ADDRSTRLEN];
    f->server_count = 0;
    if (file_read(f->path, RESOLVERS_FILE_MAX, &text, NULL) < 0)
        return;
    for (char *line = strtok_r(text.data, "\n", &position); line; line = strtok_r(NULL, "\n", &position)) {
        struct sockaddr_storage server;
        if (f->server_count == DNS_RESOLVERS_MAX || sscanf(line, " nameserver %45[0-9a-fA-F.:]", name) != 1 ||
            !read_server(name, f->options.port ? f->options.port : DNS_PORT, &server))
            continue;
        if (server.ss_family == AF_INET &&
            ((struct sockaddr_in *)&server)->sin_addr.s_addr == f->options.self.s_addr)
            continue;
        f->servers[f->server_count++] = server;
    }
}

static void look_at_resolvers(struct dns_forwarder *f)
{
    struct stat stat_;
    int64_t now = env_monotonic(f->options.env);
    if (!f->path || (f->looked && now - f->looked < RESOLVERS_LOOK_AGAIN))
        return;
    f->looked = now;
    if (stat(f->path, &stat_) < 0 || (stat_.st_mtim.tv_sec == f->modified.tv_sec &&
                                      stat_.st_mtim.tv_nsec == f->modified.tv_nsec))
        return;
    f->modified = stat_.st_mtim;
    read_resolvers(f);
}

/* ---- One forward ---- */

static void release(struct forward *forward)
{
    free(forward->stream);
    free(forward->poor);
    free(forward->key);
    vector_free(&forward->waiters);
    free(forward);
}

static void closed(uv_handle_t *handle)
{
    struct forward *forward = handle->data;
    forward->closing = false;
    if (forward->finished)
        release(forward);
}

static void close_socket(struct forward *forward)
{
    if (forward->fd < 0)
        return;
    uv_poll_stop(&forward->poll);
    close(forward->fd);
    forward->fd = -1;
    forward->closing = true;
    uv_close((uv_handle_t *)&forward->poll, closed);
}

/* Takes it off the books and hands out what there is. */
static void finish(struct forward *forward, const uint8_t *data, size_t size)
{
    struct dns_forwarder *f = forward->forwarder;
    if (forward->key && map_get(&f->by_key, forward->key) == forward)
        map_remove(&f->by_key, forward->key);
    list_remove(&forward->link);
    f->count--;
    f->statistics.answered += data != NULL;
    close_socket(forward);
    env_timer_free(forward->timer);
    forward->timer = NULL;
    forward->finished = true;
    for (size_t i = 0; i < forward->waiters.count; i++)
        forward->waiters.items[i].done(forward->waiters.items[i].context, data, size);
    if (!forward->closing)
        release(forward);
}

static void ask(void *context);

/* The next server's turn, once the old socket has gone. */
static void ask_next(struct forward *forward)
{
    forward->server++;
    forward->tcp = false;
    close_socket(forward);
    env_timer_start(forward->timer, 0);
}

static void key_of(const struct dns_query *query, bool whole, char out[KEY_MAX])
{
    snprintf(out, KEY_MAX, "%s %u %u%s%s%s", query->name, query->type, query->class, query->dnssec_ok ? " do" : "",
             query->checking_disabled ? " cd" : "", whole ? " whole" : "");
}

static void keep(struct forward *forward, const uint8_t *data, size_t size)
{
    struct dns_forwarder *f = forward->forwarder;
    enum dns_code code = data[3] & DNS_CODE_MASK;
    int64_t ttl = dns_message_ttl(data, size);
    char key[KEY_MAX];
    if (!forward->key || ttl <= 0 || data[2] & DNS_FLAG_TRUNCATED || (code != DNS_NOERROR && code != DNS_NXDOMAIN))
        return;
    key_of(&forward->query, false, key);
    dns_cache_put(f->cache, key, data, size, ttl < UINT32_MAX ? (uint32_t)ttl : UINT32_MAX,
                  env_monotonic(f->options.env));
}

static void take_answer(struct forward *forward, const uint8_t *data, size_t size)
{
    enum dns_code code = data[3] & DNS_CODE_MASK;
    if (data[2] & DNS_FLAG_TRUNCATED && forward->whole && !forward->tcp) {
        forward->tcp = true;
        close_socket(forward);
        env_timer_start(forward->timer, 0);
        return;
    }
    if (code == DNS_NOERROR || code == DNS_NXDOMAIN) {
        keep(forward, data, size);
        finish(forward, data, size);
        return;
    }
    if (!forward->poor) {
        forward->poor = mem_alloc(size);
        memcpy(forward->poor, data, size);
        forward->poor_size = size;
    }
    ask_next(forward);
}

static void read_datagram(struct forward *forward)
{
    struct dns_forwarder *f = forward->forwarder;
    ssize_t size = recv(forward->fd, f->message, sizeof(f->message), MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size < 0)
        ask_next(forward); /* nobody listens there */
    else if (dns_message_answers(f->message, (size_t)size, forward->id, &forward->query))
        take_answer(forward, f->message, (size_t)size);
}

static void read_stream(struct forward *forward)
{
    size_t room = LENGTH_SIZE + DNS_MESSAGE_MAX - forward->received;
    ssize_t n = recv(forward->fd, forward->stream + forward->received, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        ask_next(forward);
        return;
    }
    forward->received += (size_t)n;
    if (forward->received < LENGTH_SIZE)
        return;
    size_t size = dns_get16(forward->stream);
    if (forward->received < LENGTH_SIZE + size)
        return;
    if (dns_message_answers(forward->stream + LENGTH_SIZE, size, forward->id, &forward->query))
        take_answer(forward, forward->stream + LENGTH_SIZE, size);
    else
        ask_next(forward);
}

static void happened(uv_poll_t *poll, int status, int events);

/* The whole query fits into the empty buffer of a fresh connection, or the server is not worth it. */
static void write_stream(struct forward *forward)
{
    uint8_t out[LENGTH_SIZE + DNS_UDP_PLAIN_MAX];
    size_t size = dns_query_write(out + LENGTH_SIZE, forward->id, &forward->query);
    dns_put16(out, (uint16_t)size);
    if (send(forward->fd, out, LENGTH_SIZE + size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)(LENGTH_SIZE + size)) {
        ask_next(forward);
        return;
    }
    forward->sent = size;
    uv_poll_start(&forward->poll, UV_READABLE, happened);
}

static void happened(uv_poll_t *poll, int status, int events)
{
    struct forward *forward = poll->data;
    if (status < 0)
        ask_next(forward);
    else if (!forward->tcp)
        read_datagram(forward);
    else if (!forward->sent)
        write_stream(forward);
    else
        read_stream(forward);
}

static bool open_socket(struct forward *forward, const struct sockaddr_storage *server)
{
    int kind = (forward->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
    socklen_t size = server->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    cleanup_close int fd = socket(server->ss_family, kind, 0);
    if (fd < 0 || (connect(fd, (const struct sockaddr *)server, size) < 0 && errno != EINPROGRESS))
        return false;
    if (uv_poll_init(forward->forwarder->options.loop, &forward->poll, fd) < 0)
        return false;
    forward->fd = steal_fd(fd);
    forward->poll.data = forward;
    uv_poll_start(&forward->poll, forward->tcp ? UV_WRITABLE : UV_READABLE, happened);
    return true;
}

/* Asks the server whose turn it is. Runs off the timer: at once, and when patience with the one before is over. */
static void ask(void *context)
{
    struct forward *forward = context;
    struct dns_forwarder *f = forward->forwarder;
    if (forward->fd >= 0) { /* the server does not answer */
        ask_next(forward);
        return;
    }
    if (forward->closing) { /* the loop has to turn once more */
        env_timer_start(forward->timer, 0);
        return;
    }
    if (!f->server_count || forward->attempts++ >= DNS_FORWARD_ATTEMPTS) {
        finish(forward, forward->poor, forward->poor_size);
        return;
    }
    uint8_t out[DNS_UDP_PLAIN_MAX];
    forward->id = (uint16_t)env_random(f->options.env);
    forward->sent = forward->received = 0;
    if (forward->tcp && !forward->stream)
        forward->stream = mem_alloc(LENGTH_SIZE + DNS_MESSAGE_MAX);
    f->statistics.asked++;
    if (!open_socket(forward, &f->servers[forward->server % f->server_count])) {
        ask_next(forward);
        return;
    }
    env_timer_start(forward->timer, DNS_FORWARD_PATIENCE);
    if (!forward->tcp && send(forward->fd, out, dns_query_write(out, forward->id, &forward->query), MSG_NOSIGNAL) < 0)
        ask_next(forward);
}

/* ---- */

const uint8_t *dns_forward_cached(struct dns_forwarder *f, const struct dns_query *query, size_t *size, uint32_t *age)
{
    char key[KEY_MAX];
    if (!query->plain)
        return NULL;
    key_of(query, false, key);
    const uint8_t *data = dns_cache_get(f->cache, key, env_monotonic(f->options.env), size, age);
    f->statistics.cached += data != NULL;
    return data;
}

bool dns_forward(struct dns_forwarder *f, const struct dns_query *query, bool whole, dns_forward_done done, void *context)
{
    char key[KEY_MAX];
    struct waiter waiter = {done, context};
    key_of(query, whole, key);
    look_at_resolvers(f);
    struct forward *forward = query->plain ? map_get(&f->by_key, key) : NULL;
    if (forward && forward->waiters.count < DNS_FORWARD_WAITERS_MAX) {
        vector_push(&forward->waiters, waiter);
        return true;
    }
    if (f->count >= DNS_FORWARDS_MAX || !f->server_count)
        return false;
    forward = mem_zero(1, sizeof(*forward));
    forward->forwarder = f;
    forward->query = *query;
    forward->key = query->plain ? mem_string(key) : NULL;
    forward->whole = whole;
    forward->fd = -1;
    forward->timer = env_timer_new(f->options.env, ask, forward);
    vector_push(&forward->waiters, waiter);
    list_append(&f->forwards, &forward->link);
    f->count++;
    if (forward->key)
        map_set(&f->by_key, key, forward);
    ask(forward);
    return true;
}

struct dns_forward_statistics dns_forward_statistics(const struct dns_forwarder *f)
{
    return f->statistics;
}

struct dns_forwarder *dns_forwarder_new(const struct dns_forwarder_options *options)
{
    struct dns_forwarder *f = mem_zero(1, sizeof(*f));
    f->options = *options;
    f->path = options->resolvers ? mem_string(options->resolvers) : NULL;
    f->cache = dns_cache_new();
    list_init(&f->forwards);
    return f;
}

void dns_forwarder_free(struct dns_forwarder *f)
{
    if (!f)
        return;
    while (!list_empty(&f->forwards)) {
        struct forward *forward = list_entry(list_take(&f->forwards), struct forward, link);
        forward->waiters.count = 0;
        finish(forward, NULL, 0);
    }
    map_free(&f->by_key);
    dns_cache_free(f->cache);
    free(f->path);
    free(f);
}
