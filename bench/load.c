/* A load generator for an API server: many TLS connections, one thread, one epoll set.
 *
 *   load --port P --ca FILE --cert FILE --key FILE [--host 127.0.0.1] [--connections 32] --path PATH
 *        [--method GET] [--body FILE] [--requests N | --seconds S]
 *   load ... --watch EVENTS
 *
 * Every connection sends one request, reads the whole answer, and sends the next. In the path and the body each `@@`
 * becomes a number that no other request of the run gets, counting from --first. With --watch every connection sends
 * one request and reads lines until it has seen so many; the word "watching" is printed once all connections have an
 * answer's head, and the clock starts with the first line that arrives after that.
 *
 * Prints one JSON object: requests, failed (status other than 2xx), seconds, per_second, p50_ms, p99_ms, bytes. The
 * exit code is 1 if a connection broke.
 *
 * Answers are read far enough to find their end: Content-Length or chunks. Latencies are kept all, to sort. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 10000,
    REQUESTS_MAX = 20 * 1000 * 1000,
    READ_SIZE = 64 * 1024,
    HEAD_MAX = 16 * 1024,
    REQUEST_MAX = 64 * 1024,
    EVENTS_PER_WAIT = 256,
    STALL_MS = 30000, /* nothing at all happened for so long: give up */
};

enum phase { PHASE_HANDSHAKE, PHASE_SENDING, PHASE_HEAD, PHASE_BODY, PHASE_DONE };

struct connection {
    int fd;
    SSL *tls;
    enum phase phase;
    uint32_t watched;
    char request[REQUEST_MAX];
    size_t request_length, request_sent;
    char head[HEAD_MAX + 1]; /* of the answer; while the body is chunked, the size line that is being read */
    size_t head_length;
    bool chunked, in_chunk, last_chunk; /* in_chunk: its size line was read, the line end after it was not */
    uint64_t body_left;                 /* of the body, or of the chunk */
    int64_t began_ns;
    uint64_t lines;
};

static struct {
    const char *host, *ca, *certificate, *key, *method, *path, *body;
    int port, connections;
    uint64_t requests, first, watch_lines;
    double seconds;
} option = {.host = "127.0.0.1", .method = "GET", .connections = 32};

static struct {
    int epoll;
    struct connection *connections;
    uint64_t sent, answered, failed, bytes;
    int64_t *latencies;
    size_t latency_capacity;
    int64_t began_ns, ended_ns;
    int watching, finished;
    bool stopping, broken;
} run;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list arguments;
    fputs("load: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

/* ---- requests ---- */

/* Copies text with the number in place of every `@@`. Returns the length. */
static size_t fill(char *out, size_t size, const char *text, uint64_t number)
{
    size_t length = 0;
    while (*text && length + 24 < size) {
        if (text[0] == '@' && text[1] == '@') {
            length += (size_t)snprintf(out + length, size - length, "%llu", (unsigned long long)number);
            text += 2;
        } else {
            out[length++] = *text++;
        }
    }
    if (*text)
        fail("a request is too long");
    out[length] = 0;
    return length;
}

static void prepare_request(struct connection *connection)
{
    char path[4096], body[REQUEST_MAX / 2] = "";
    uint64_t number = option.first + run.sent++;
    size_t body_length = 0;
    fill(path, sizeof path, option.path, number);
    if (option.body)
        body_length = fill(body, sizeof body, option.body, number);
    int length = snprintf(connection->request, sizeof connection->request,
                          "%s %s HTTP/1.1\r\nHost: %s:%d\r\nAccept: application/json\r\n"
                          "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                          option.method, path, option.host, option.port, body_length, body);
    if (length >= (int)sizeof connection->request)
        fail("a request is too long");
    connection->request_length = (size_t)length;
    connection->request_sent = 0;
    connection->head_length = 0;
    connection->began_ns = now_ns();
    connection->phase = PHASE_SENDING;
}

static void finish(struct connection *connection)
{
    connection->phase = PHASE_DONE;
    run.finished++;
    run.ended_ns = now_ns();
}

static void next_request(struct connection *connection)
{
    if (run.stopping || (option.requests && run.sent >= option.requests))
        finish(connection);
    else
        prepare_request(connection);
}

static void answer_complete(struct connection *connection)
{
    if (run.answered == run.latency_capacity) {
        run.latency_capacity = run.latency_capacity ? run.latency_capacity * 2 : 4096;
        run.latencies = realloc(run.latencies, run.latency_capacity * sizeof *run.latencies);
        if (!run.latencies || run.latency_capacity > REQUESTS_MAX)
            fail("too many requests");
    }
    run.latencies[run.answered++] = now_ns() - connection->began_ns;
    next_request(connection);
}

/* ---- answers ---- */

static void count_lines(struct connection *connection, const char *data, size_t length)
{
    if (!option.watch_lines)
        return;
    for (const char *at = data; (at = memchr(at, '\n', length - (size_t)(at - data))); at++)
        connection->lines++;
    if (run.watching == option.connections && !run.began_ns)
        run.began_ns = now_ns();
    if (connection->lines >= option.watch_lines)
        finish(connection);
}

static void read_head(struct connection *connection)
{
    int status = 0;
    if (sscanf(connection->head, "HTTP/1.%*d %d", &status) != 1)
        fail("this is no HTTP answer: %.60s", connection->head);
    if (status < 200 || status > 299) {
        if (!run.failed++)
            fprintf(stderr, "load: the first failure: %.60s\n", connection->head);
    }
    const char *length = strcasestr(connection->head, "\r\nContent-Length:");
    connection->chunked = strcasestr(connection->head, "\r\nTransfer-Encoding: chunked") != NULL;
    connection->in_chunk = connection->last_chunk = false;
    connection->body_left = length ? strtoull(length + strlen("\r\nContent-Length:"), NULL, 10) : 0;
    connection->head_length = 0;
    connection->phase = PHASE_BODY;
    if (option.watch_lines && ++run.watching == option.connections) {
        puts("watching");
        fflush(stdout);
    }
    if (!connection->chunked && !connection->body_left)
        answer_complete(connection);
}

/* Takes bytes into head[] up to and with an end mark. Returns how many it took; *complete says if the mark came. */
static size_t take_until(struct connection *connection, const char *data, size_t length, const char *mark,
                         bool *complete)
{
    size_t mark_length = strlen(mark), taken = 0;
    *complete = false;
    while (taken < length && !*complete) {
        if (connection->head_length == HEAD_MAX)
            fail("the head of an answer is too long");
        connection->head[connection->head_length++] = data[taken++];
        *complete = connection->head_length >= mark_length &&
                    !memcmp(connection->head + connection->head_length - mark_length, mark, mark_length);
    }
    connection->head[connection->head_length] = 0;
    return taken;
}

/* The line that opens a chunk, or the empty one that closes it. */
static size_t take_chunk_line(struct connection *connection, const char *data, size_t length)
{
    bool complete;
    size_t taken = take_until(connection, data, length, "\r\n", &complete);
    if (!complete)
        return taken;
    connection->head_length = 0;
    if (connection->in_chunk) {
        connection->in_chunk = false;
        if (connection->last_chunk)
            answer_complete(connection);
    } else {
        connection->in_chunk = true;
        connection->body_left = strtoull(connection->head, NULL, 16);
        connection->last_chunk = connection->body_left == 0;
    }
    return taken;
}

static size_t take_body(struct connection *connection, const char *data, size_t length)
{
    if (connection->chunked && !connection->body_left)
        return take_chunk_line(connection, data, length);
    size_t taken = length < connection->body_left ? length : (size_t)connection->body_left;
    connection->body_left -= taken;
    count_lines(connection, data, taken);
    if (connection->phase == PHASE_BODY && !connection->chunked && !connection->body_left)
        answer_complete(connection);
    return taken;
}

static void take(struct connection *connection, const char *data, size_t length)
{
    run.bytes += length;
    while (length && (connection->phase == PHASE_HEAD || connection->phase == PHASE_BODY)) {
        bool complete = false;
        size_t taken;
        if (connection->phase == PHASE_HEAD) {
            taken = take_until(connection, data, length, "\r\n\r\n", &complete);
            if (complete)
                read_head(connection);
        } else {
            taken = take_body(connection, data, length);
        }
        data += taken;
        length -= taken;
    }
}

/* ---- connections ---- */

static void watch(struct connection *connection, uint32_t events)
{
    if (connection->watched == events)
        return;
    struct epoll_event event = {.events = events, .data.ptr = connection};
    int operation = connection->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(run.epoll, operation, connection->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
    connection->watched = events;
}

/* What TLS wants before it can go on. Returns false when the connection is broken. */
static bool wait_for_tls(struct connection *connection, int result)
{
    switch (SSL_get_error(connection->tls, result)) {
    case SSL_ERROR_WANT_READ:
        watch(connection, EPOLLIN);
        return true;
    case SSL_ERROR_WANT_WRITE:
        watch(connection, EPOLLOUT);
        return true;
    default:
        return false;
    }
}

static void break_off(struct connection *connection, const char *what)
{
    if (!run.broken)
        fprintf(stderr, "load: a connection broke %s: %s\n", what, ERR_reason_error_string(ERR_peek_last_error()));
    run.broken = true;
    finish(connection);
}

static void advance(struct connection *connection)
{
    static char buffer[READ_SIZE];
    while (connection->phase != PHASE_DONE) {
        ERR_clear_error();
        int result;
        if (connection->phase == PHASE_HANDSHAKE) {
            result = SSL_connect(connection->tls);
            if (result == 1) {
                next_request(connection);
                continue;
            }
        } else if (connection->phase == PHASE_SENDING) {
            result = SSL_write(connection->tls, connection->request + connection->request_sent,
                               (int)(connection->request_length - connection->request_sent));
            if (result > 0) {
                connection->request_sent += (size_t)result;
                if (connection->request_sent == connection->request_length)
                    connection->phase = PHASE_HEAD;
                continue;
            }
        } else {
            result = SSL_read(connection->tls, buffer, sizeof buffer);
            if (result > 0) {
                take(connection, buffer, (size_t)result);
                continue;
            }
        }
        if (!wait_for_tls(connection, result))
            break_off(connection, connection->phase == PHASE_HANDSHAKE ? "in the handshake" : "under way");
        return;
    }
    epoll_ctl(run.epoll, EPOLL_CTL_DEL, connection->fd, NULL);
}

static void open_connection(struct connection *connection, SSL_CTX *context)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)option.port)};
    if (inet_pton(AF_INET, option.host, &address.sin_addr) != 1)
        fail("--host is an IPv4 address, not %s", option.host);
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&address, sizeof address))
        fail("cannot connect to %s:%d: %s", option.host, option.port, strerror(errno));
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    fcntl(connection->fd, F_SETFL, O_NONBLOCK);
    connection->tls = SSL_new(context);
    if (!connection->tls || !SSL_set_fd(connection->tls, connection->fd))
        fail("out of memory");
}

static SSL_CTX *make_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context || SSL_CTX_load_verify_locations(context, option.ca, NULL) != 1 ||
        SSL_CTX_use_certificate_chain_file(context, option.certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, option.key, SSL_FILETYPE_PEM) != 1)
        fail("cannot use the certificates: %s", ERR_reason_error_string(ERR_peek_last_error()));
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return context;
}

/* ---- the run ---- */

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, REQUEST_MAX);
    if (!file || !text || fread(text, 1, REQUEST_MAX - 1, file) == 0)
        fail("cannot read %s", path);
    fclose(file);
    return text;
}

static void read_options(int count, char **arguments)
{
    static const struct option names[] = {
        {"host", required_argument, NULL, 'h'},     {"port", required_argument, NULL, 'p'},
        {"ca", required_argument, NULL, 'a'},       {"cert", required_argument, NULL, 'c'},
        {"key", required_argument, NULL, 'k'},      {"connections", required_argument, NULL, 'n'},
        {"method", required_argument, NULL, 'm'},   {"path", required_argument, NULL, 'u'},
        {"body", required_argument, NULL, 'b'},     {"requests", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 's'},  {"first", required_argument, NULL, 'f'},
        {"watch", required_argument, NULL, 'w'},    {0},
    };
    for (int name; (name = getopt_long(count, arguments, "", names, NULL)) != -1;) {
        switch (name) {
        case 'h': option.host = optarg; break;
        case 'p': option.port = atoi(optarg); break;
        case 'a': option.ca = optarg; break;
        case 'c': option.certificate = optarg; break;
        case 'k': option.key = optarg; break;
        case 'n': option.connections = atoi(optarg); break;
        case 'm': option.method = optarg; break;
        case 'u': option.path = optarg; break;
        case 'b': option.body = read_file(optarg); break;
        case 'r': option.requests = strtoull(optarg, NULL, 10); break;
        case 's': option.seconds = atof(optarg); break;
        case 'f': option.first = strtoull(optarg, NULL, 10); break;
        case 'w': option.watch_lines = strtoull(optarg, NULL, 10); break;
        default: exit(2);
        }
    }
    if (!option.port || !option.ca || !option.certificate || !option.key || !option.path ||
        option.connections < 1 || option.connections > CONNECTIONS_MAX ||
        (!option.requests && option.seconds <= 0 && !option.watch_lines)) {
        fputs("usage: see the head of bench/load.c\n", stderr);
        exit(2);
    }
}

static int compare_latencies(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return a < b ? -1 : a > b;
}

static double percentile_ms(double part)
{
    return run.answered ? (double)run.latencies[(size_t)((double)(run.answered - 1) * part)] / 1e6 : 0;
}

static void report(void)
{
    uint64_t count = run.answered;
    for (int i = 0; option.watch_lines && i < option.connections; i++)
        count += run.connections[i].lines;
    double seconds = (double)(run.ended_ns - run.began_ns) / 1e9;
    if (run.answered)
        qsort(run.latencies, run.answered, sizeof *run.latencies, compare_latencies);
    printf("{\"requests\": %llu, \"failed\": %llu, \"seconds\": %.6f, \"per_second\": %.1f, \"p50_ms\": %.3f, "
           "\"p99_ms\": %.3f, \"bytes\": %llu}\n",
           (unsigned long long)count, (unsigned long long)run.failed, seconds,
           seconds > 0 ? (double)count / seconds : 0, percentile_ms(0.5), percentile_ms(0.99),
           (unsigned long long)run.bytes);
}

int main(int count, char **arguments)
{
    read_options(count, arguments);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    SSL_CTX *context = make_context();
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.connections = calloc((size_t)option.connections, sizeof *run.connections);
    if (!run.connections)
        fail("out of memory");
    if (!option.watch_lines)
        run.began_ns = now_ns();
    for (int i = 0; i < option.connections; i++) {
        open_connection(&run.connections[i], context);
        advance(&run.connections[i]);
    }
    int64_t deadline = option.seconds > 0 ? run.began_ns + (int64_t)(option.seconds * 1e9) : INT64_MAX;
    while (run.finished < option.connections) {
        struct epoll_event events[EVENTS_PER_WAIT];
        int ready = epoll_wait(run.epoll, events, EVENTS_PER_WAIT, STALL_MS);
        if (ready <= 0 && errno != EINTR)
            fail("nothing happened for %d s; %llu answers so far", STALL_MS / 1000, (unsigned long long)run.answered);
        if (now_ns() >= deadline)
            run.stopping = true;
        for (int i = 0; i < ready; i++)
            advance(events[i].data.ptr);
    }
    report();
    for (int i = 0; i < option.connections; i++) {
        SSL_free(run.connections[i].tls);
        close(run.connections[i].fd);
    }
    SSL_CTX_free(context);
    free(run.connections);
    free(run.latencies);
    return run.broken;
}
