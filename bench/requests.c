/* A steady load of plain GET requests that counts what becomes of each: many connections, one thread, one epoll set.
 *
 *   requests --host ADDRESS --port P [--path /predict] [--connections 16] [--style new|kept] [--reuse N]
 *            [--pause-ms 0]
 *
 * Every connection sends one request, reads the answer, pauses and sends the next: over a new connection each time, or
 * over a kept one until the server says "Connection: close" or N answers have come over it. Lines on standard input steer it: "inside" and "outside"
 * say which class the latencies of requests that begin from now on belong to, "end" (or the end of the input) lets
 * what is under way finish. Once the first answer is there it prints "running"; at the end one JSON object:
 *
 *   {"requests": N, "failed": N, "repeated": N, "failures": {"refused": N, ...}, "answers": {"v1": N, ...},
 *    "failures_began": [..], "inside": {"count": N, "p50_ms": .., "p99_ms": .., "max_ms": ..}, "outside": {...}}
 *
 * failures_began: when the requests had begun that failed, of the first ones, in seconds of CLOCK_MONOTONIC.
 *
 * A GET whose kept connection ends before the first byte of the answer is sent again on a new connection, once, as RFC
 * 9110 (9.2.2) allows: "repeated", and a failure only if the second attempt is one. Nothing else is sent twice. The
 * first failures are described on standard error. A latency runs from the first attempt's beginning, connecting
 * included, to the last byte; latencies are kept in buckets whose width is 3 % of their value. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 4096,
    ANSWER_MAX = 64 * 1024,
    REQUEST_MAX = 1024,
    EVENTS_PER_WAIT = 256,
    DESCRIBED_MAX = 20,
    BEGINNINGS_MAX = 256,
    VERSIONS_MAX = 16,
    VERSION_LENGTH_MAX = 31,
    TICK_MS = 5, /* how finely pauses and time limits are kept */
    BUCKET_BITS = 5,
    BUCKETS = 40 << BUCKET_BITS, /* powers of two of microseconds, each in 2^BUCKET_BITS parts */
};
#define ANSWER_LIMIT_US (10 * INT64_C(1000000))
#define CONNECT_LIMIT_US (5 * INT64_C(1000000))

enum phase { PHASE_PAUSE, PHASE_CONNECTING, PHASE_WAITING, PHASE_READING, PHASE_OVER };

enum failure { REFUSED, CONNECT_RESET, CONNECT_TIMEOUT, CONNECT_OTHER, LOST, CUT, ANSWER_TIMEOUT, STATUS, FAILURES };
static const char *const failure_names[FAILURES] = {
    "refused", "connect_reset", "connect_timeout", "connect_other", "lost", "cut", "answer_timeout", "status"};

struct connection {
    int fd; /* -1: none */
    enum phase phase;
    int used;      /* so many answers have come over it */
    bool repeated; /* the request in hand */
    bool inside;   /* its class */
    int64_t began_us, due_us;
    char answer[ANSWER_MAX + 1];
    size_t length;
};

struct histogram {
    uint64_t count, buckets[BUCKETS];
    int64_t max_us;
};

static struct {
    const char *host, *path;
    int port, connections, reuse;
    bool kept;
    int64_t pause_us;
} option = {.path = "/predict", .connections = 16};

static struct {
    int epoll;
    struct connection *connections;
    struct sockaddr_in address;
    char request[REQUEST_MAX];
    size_t request_length;
    bool inside, ending, announced;
    int active;
    uint64_t requests, failed, repeated, failures[FAILURES];
    int64_t failures_began_us[BEGINNINGS_MAX];
    struct histogram histograms[2];
    struct {
        char name[VERSION_LENGTH_MAX + 1];
        uint64_t count;
    } versions[VERSIONS_MAX];
} run;

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list arguments;
    fputs("requests: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

/* ---- latencies ---- */

static size_t bucket_of(int64_t us)
{
    uint64_t value = us < 0 ? 0 : (uint64_t)us;
    if (value < 1 << BUCKET_BITS)
        return (size_t)value;
    int power = 63 - __builtin_clzll(value);
    size_t bucket = ((size_t)(power - BUCKET_BITS + 1) << BUCKET_BITS) +
                    (size_t)((value >> (power - BUCKET_BITS)) & ((1 << BUCKET_BITS) - 1));
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static double bucket_value_ms(size_t bucket)
{
    if (bucket < 1 << BUCKET_BITS)
        return (double)bucket / 1000;
    int power = (int)(bucket >> BUCKET_BITS) + BUCKET_BITS - 1;
    uint64_t part = bucket & ((1 << BUCKET_BITS) - 1);
    return (double)((UINT64_C(1) << power) + (part << (power - BUCKET_BITS))) / 1000;
}

static double percentile_ms(const struct histogram *h, double part)
{
    uint64_t seen = 0, wanted = (uint64_t)((double)h->count * part);
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > wanted)
            return bucket_value_ms(i);
    }
    return (double)h->max_us / 1000;
}

static void record(struct histogram *h, int64_t us)
{
    h->count++;
    h->buckets[bucket_of(us)]++;
    if (us > h->max_us)
        h->max_us = us;
}

/* ---- one request ---- */

static void begin_attempt(struct connection *connection);

static void drop(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
    connection->used = 0;
}

static void begin_request(struct connection *connection)
{
    if (run.ending) {
        drop(connection);
        connection->phase = PHASE_OVER;
        run.active--;
        return;
    }
    run.requests++;
    connection->repeated = false;
    connection->inside = run.inside;
    connection->began_us = now_us();
    begin_attempt(connection);
}

static void finish_request(struct connection *connection)
{
    connection->phase = PHASE_PAUSE;
    connection->due_us = now_us() + option.pause_us;
    if (!option.pause_us || run.ending)
        begin_request(connection);
}

static void count_failure(struct connection *connection, enum failure kind, const char *detail)
{
    struct sockaddr_in local = {0};
    socklen_t size = sizeof local;
    if (run.failed < BEGINNINGS_MAX)
        run.failures_began_us[run.failed] = connection->began_us;
    if (run.failed++ < DESCRIBED_MAX) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        if (connection->fd >= 0)
            getsockname(connection->fd, (struct sockaddr *)&local, &size);
        fprintf(stderr, "requests: %lld.%03ld %s, from port %d, %.1f ms after its beginning: %.200s\n",
                (long long)now.tv_sec, now.tv_nsec / 1000000, failure_names[kind], ntohs(local.sin_port),
                (double)(now_us() - connection->began_us) / 1000, detail);
    }
    run.failures[kind]++;
    drop(connection);
    connection->phase = PHASE_PAUSE; /* the next begins with the clock, not from in here */
    connection->due_us = now_us() + option.pause_us;
}

/* The connection ended without the first byte of the answer. */
static void lose(struct connection *connection, const char *detail)
{
    if (!connection->used || connection->repeated) {
        count_failure(connection, LOST, detail);
        return;
    }
    run.repeated++;
    connection->repeated = true;
    drop(connection);
    begin_attempt(connection);
}

static void count_version(const char *body)
{
    char name[VERSION_LENGTH_MAX + 1] = "";
    const char *at = strstr(body, "\"version\":\"");
    if (!at || sscanf(at, "\"version\":\"%31[^\"]", name) != 1)
        return;
    for (int i = 0; i < VERSIONS_MAX; i++) {
        if (!*run.versions[i].name)
            strcpy(run.versions[i].name, name);
        if (!strcmp(run.versions[i].name, name)) {
            run.versions[i].count++;
            return;
        }
    }
}

/* Returns false while the answer is not complete. */
static bool take_answer(struct connection *connection)
{
    connection->answer[connection->length] = 0;
    char *body = strstr(connection->answer, "\r\n\r\n");
    if (!body)
        return false;
    body[2] = 0;
    const char *header = strcasestr(connection->answer, "\r\nContent-Length:");
    size_t head = (size_t)(body - connection->answer) + 4;
    size_t size = header ? strtoul(header + strlen("\r\nContent-Length:"), NULL, 10) : 0;
    bool close_it = strcasestr(connection->answer, "\r\nConnection: close") != NULL;
    if (!header)
        fail("an answer without Content-Length: %.200s", connection->answer);
    if (connection->length < head + size) {
        body[2] = '\r';
        return false;
    }
    int status = 0;
    sscanf(connection->answer, "HTTP/1.%*d %d", &status);
    if (status != 200) {
        count_failure(connection, STATUS, connection->answer);
        return true;
    }
    record(&run.histograms[connection->inside], now_us() - connection->began_us);
    count_version(body + 4);
    if (!run.announced) {
        run.announced = true;
        puts("running");
        fflush(stdout);
    }
    connection->used++;
    if (close_it || !option.kept || connection->used == option.reuse)
        drop(connection);
    finish_request(connection);
    return true;
}

static void send_request(struct connection *connection)
{
    connection->length = 0;
    connection->phase = PHASE_WAITING;
    connection->due_us = now_us() + ANSWER_LIMIT_US;
    ssize_t sent = send(connection->fd, run.request, run.request_length, MSG_NOSIGNAL);
    if (sent < 0)
        lose(connection, strerror(errno));
    else if ((size_t)sent < run.request_length)
        fail("a request does not fit into a socket's buffer");
}

static void connect_failed(struct connection *connection, int code)
{
    enum failure kind = code == ECONNREFUSED ? REFUSED
                        : code == ECONNRESET ? CONNECT_RESET
                        : code == ETIMEDOUT  ? CONNECT_TIMEOUT
                                             : CONNECT_OTHER;
    count_failure(connection, kind, strerror(code));
}

static void begin_attempt(struct connection *connection)
{
    if (connection->fd >= 0) {
        send_request(connection);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection->fd < 0 || epoll_ctl(run.epoll, EPOLL_CTL_ADD, connection->fd, &event) < 0)
        fail("make a socket: %s", strerror(errno));
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    connection->phase = PHASE_CONNECTING;
    connection->due_us = now_us() + CONNECT_LIMIT_US;
    if (connect(connection->fd, (struct sockaddr *)&run.address, sizeof run.address) < 0 && errno != EINPROGRESS)
        connect_failed(connection, errno);
}

static void read_answer(struct connection *connection)
{
    for (;;) {
        if (connection->length == ANSWER_MAX)
            fail("an answer is too long");
        ssize_t count = recv(connection->fd, connection->answer + connection->length, ANSWER_MAX - connection->length,
                             0);
        if (count < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (count <= 0) {
            const char *detail = count ? strerror(errno) : "end of the stream";
            if (connection->phase == PHASE_WAITING)
                lose(connection, detail);
            else
                count_failure(connection, CUT, detail);
            return;
        }
        connection->phase = PHASE_READING;
        connection->length += (size_t)count;
        if (take_answer(connection))
            return;
    }
}

static void advance(struct connection *connection)
{
    char byte;
    int code = 0;
    socklen_t size = sizeof code;
    switch (connection->phase) {
    case PHASE_CONNECTING:
        getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &code, &size);
        if (code)
            connect_failed(connection, code);
        else
            send_request(connection);
        break;
    case PHASE_WAITING:
    case PHASE_READING:
        read_answer(connection);
        break;
    case PHASE_PAUSE: /* the server ends an idle connection */
        if (connection->fd >= 0 && recv(connection->fd, &byte, 1, MSG_PEEK) == 0)
            drop(connection);
        break;
    case PHASE_OVER:
        break;
    }
}

static void look_at_time(void)
{
    int64_t now = now_us();
    for (int i = 0; i < option.connections; i++) {
        struct connection *connection = &run.connections[i];
        if (connection->phase == PHASE_PAUSE && (now >= connection->due_us || run.ending))
            begin_request(connection);
        else if (connection->phase == PHASE_CONNECTING && now >= connection->due_us)
            count_failure(connection, CONNECT_TIMEOUT, "no answer to the connection");
        else if ((connection->phase == PHASE_WAITING || connection->phase == PHASE_READING) &&
                 now >= connection->due_us)
            count_failure(connection, ANSWER_TIMEOUT, "no answer");
    }
}

/* ---- steering ---- */

static void obey(void)
{
    static char text[256];
    static size_t length;
    ssize_t count = read(STDIN_FILENO, text + length, sizeof text - 1 - length);
    if (count <= 0) {
        run.ending = true;
        epoll_ctl(run.epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        return;
    }
    length += (size_t)count;
    text[length] = 0;
    for (char *end; (end = strchr(text, '\n')); memmove(text, end + 1, length + 1)) {
        *end = 0;
        length -= (size_t)(end - text) + 1;
        if (!strcmp(text, "inside") || !strcmp(text, "outside"))
            run.inside = *text == 'i';
        else if (!strcmp(text, "end"))
            run.ending = true;
        else
            fail("what is \"%s\"?", text);
    }
    if (length == sizeof text - 1)
        fail("a line is too long");
}

static void read_options(int count, char **arguments)
{
    static const struct option names[] = {
        {"host", required_argument, NULL, 'h'},        {"port", required_argument, NULL, 'p'},
        {"path", required_argument, NULL, 'u'},        {"connections", required_argument, NULL, 'n'},
        {"style", required_argument, NULL, 's'},       {"reuse", required_argument, NULL, 'r'},
        {"pause-ms", required_argument, NULL, 'w'},    {0},
    };
    for (int name; (name = getopt_long(count, arguments, "", names, NULL)) != -1;) {
        switch (name) {
        case 'h': option.host = optarg; break;
        case 'p': option.port = atoi(optarg); break;
        case 'u': option.path = optarg; break;
        case 'n': option.connections = atoi(optarg); break;
        case 's': option.kept = !strcmp(optarg, "kept"); break;
        case 'r': option.reuse = atoi(optarg); break;
        case 'w': option.pause_us = atoll(optarg) * 1000; break;
        default: exit(2);
        }
    }
    run.address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)option.port)};
    if (!option.host || inet_pton(AF_INET, option.host, &run.address.sin_addr) != 1 || !option.port ||
        option.connections < 1 || option.connections > CONNECTIONS_MAX) {
        fputs("usage: see the head of bench/requests.c\n", stderr);
        exit(2);
    }
}

static void print_histogram(const char *name, const struct histogram *h)
{
    printf("\"%s\": {\"count\": %llu, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}", name,
           (unsigned long long)h->count, percentile_ms(h, 0.5), percentile_ms(h, 0.99), (double)h->max_us / 1000);
}

static void report(void)
{
    printf("{\"requests\": %llu, \"failed\": %llu, \"repeated\": %llu, \"failures\": {",
           (unsigned long long)run.requests, (unsigned long long)run.failed, (unsigned long long)run.repeated);
    const char *comma = "";
    for (int i = 0; i < FAILURES; i++)
        if (run.failures[i]) {
            printf("%s\"%s\": %llu", comma, failure_names[i], (unsigned long long)run.failures[i]);
            comma = ", ";
        }
    fputs("}, \"answers\": {", stdout);
    for (int i = 0; i < VERSIONS_MAX && *run.versions[i].name; i++)
        printf("%s\"%s\": %llu", i ? ", " : "", run.versions[i].name, (unsigned long long)run.versions[i].count);
    fputs("}, \"failures_began\": [", stdout);
    for (size_t i = 0; i < run.failed && i < BEGINNINGS_MAX; i++)
        printf("%s%.6f", i ? ", " : "", (double)run.failures_began_us[i] / 1e6);
    fputs("], ", stdout);
    print_histogram("inside", &run.histograms[true]);
    fputs(", ", stdout);
    print_histogram("outside", &run.histograms[false]);
    puts("}");
}

int main(int count, char **arguments)
{
    read_options(count, arguments);
    run.request_length = (size_t)snprintf(run.request, sizeof run.request, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n",
                                          option.path, option.host, option.kept ? "" : "Connection: close\r\n");
    if (run.request_length >= sizeof run.request)
        fail("the path is too long");
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.connections = calloc((size_t)option.connections, sizeof *run.connections);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (!run.connections || run.epoll < 0 || epoll_ctl(run.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0)
        fail("cannot wait for standard input: %s", strerror(errno));
    run.active = option.connections;
    int64_t looked_us = now_us();
    for (int i = 0; i < option.connections; i++) {
        run.connections[i].fd = -1;
        /* Spread over the first pause. */
        run.connections[i].due_us = looked_us + option.pause_us * i / option.connections;
    }
    look_at_time();
    while (run.active) {
        struct epoll_event events[EVENTS_PER_WAIT];
        int ready = epoll_wait(run.epoll, events, EVENTS_PER_WAIT, TICK_MS);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr)
                advance(events[i].data.ptr);
            else
                obey();
        }
        if (now_us() - looked_us >= TICK_MS * 1000) {
            look_at_time();
            looked_us = now_us();
        }
    }
    report();
    free(run.connections);
    return 0;
}
