/* A ring all-reduce over TCP: what a distributed training does after every step, with the learning left out.
 *
 * Every worker has a vector of numbers, its gradient; afterwards every worker has the sum of all of them. Worker 0 is
 * found by its name. The others tell it where they listen, and are told where their right-hand neighbour does; then the
 * numbers go round the ring, twice: once to be added up, once to be handed out. Each worker sends 2 (N - 1) / N of the
 * vector, however many workers there are.
 *
 * One file, nothing but libc, static. Environment, as torchrun's users know it:
 *
 *   MASTER_ADDR, MASTER_PORT  where worker 0 is met
 *   RANK, WORLD_SIZE          this worker, counted from 0, and how many there are
 *   ELEMENTS                  numbers in the vector (1000000)
 *   TIMEOUT_SECONDS           time in which all have to be there, and without progress afterwards (60)
 *
 * The gradient of worker r is (r + 1) * (1 + i % 7) at position i, so that everybody can check the sum. Exit codes: 0
 * the sum is right, 1 it is not or somebody is missing, 2 the environment makes no sense. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 1024
#define ELEMENTS_MAX 100000000
#define RETRY_MS 100

/* Where a worker is met: as it goes over the wire, in network byte order. */
struct address {
    uint32_t ip;
    uint16_t port;
    uint16_t rank;
};

static int rank_, world;
static int64_t deadline;

static void fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
static void fail(int code, const char *format, ...)
{
    va_list list;
    char text[512];
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    fprintf(stderr, "worker %d: %s\n", rank_, text);
    exit(code);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static long number(const char *name, const char *otherwise, long least, long most)
{
    const char *text = getenv(name);
    char *end;
    if (!text || !*text)
        text = otherwise;
    if (!text)
        fail(2, "%s is not set", name);
    long value = strtol(text, &end, 10);
    if (*end || value < least || value > most)
        fail(2, "%s is %s; it has to be a number from %ld to %ld", name, text, least, most);
    return value;
}

/* ---- Sockets ---- */

static void send_all(int fd, const void *data, size_t size)
{
    for (const char *p = data; size;) {
        ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            fail(1, "cannot send: %s", strerror(errno));
        p += n;
        size -= (size_t)n;
    }
}

static void receive_all(int fd, void *data, size_t size)
{
    for (char *p = data; size;) {
        ssize_t n = recv(fd, p, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            fail(1, "cannot receive: %s", n ? strerror(errno) : "the other end has gone");
        p += n;
        size -= (size_t)n;
    }
}

static void prepare(int fd, long timeout)
{
    struct timeval limit = {.tv_sec = timeout};
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* A listening socket on the port; 0: any, which *port gets. */
static int listen_on(uint16_t wanted, uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(wanted)};
    socklen_t size = sizeof(a);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, WORKERS_MAX) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &size) < 0)
        fail(1, "cannot listen on port %u: %s", wanted, strerror(errno));
    *port = ntohs(a.sin_port);
    return fd;
}

static int accept_in_time(int listener, struct sockaddr_in *from, long timeout)
{
    socklen_t size = sizeof(*from);
    struct pollfd p = {.fd = listener, .events = POLLIN};
    int64_t left = deadline - now_ms();
    if (left <= 0 || poll(&p, 1, (int)left) <= 0)
        fail(1, "not everybody came in time");
    int fd = accept4(listener, (struct sockaddr *)from, &size, SOCK_CLOEXEC);
    if (fd < 0)
        fail(1, "cannot accept: %s", strerror(errno));
    prepare(fd, timeout);
    return fd;
}

static int connect_to(const struct sockaddr_in *address, long timeout)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail(1, "no socket: %s", strerror(errno));
    prepare(fd, timeout);
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* By name: the name may not be there yet, nor the one whom it names. */
static int connect_by_name(const char *name, uint16_t port, long timeout)
{
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    const char *problem = "";
    char text[64];
    while (now_ms() < deadline) {
        struct addrinfo *found = NULL;
        int code = getaddrinfo(name, NULL, &hints, &found);
        problem = code ? gai_strerror(code) : "nobody answers there";
        for (struct addrinfo *a = found; a; a = a->ai_next) {
            struct sockaddr_in address;
            memcpy(&address, a->ai_addr, sizeof(address));
            address.sin_port = htons(port);
            int fd = connect_to(&address, timeout);
            if (fd < 0)
                continue;
            getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST);
            printf("worker %d: found %s at %s\n", rank_, name, text);
            freeaddrinfo(found);
            return fd;
        }
        if (found)
            freeaddrinfo(found);
        usleep(RETRY_MS * 1000);
    }
    fail(1, "cannot reach %s: %s", name, problem);
}

/* ---- The meeting ---- */

/* Worker 0: learns where everybody listens, and tells each where its neighbour does. */
static struct address host_meeting(int listener, const struct address *mine, long timeout)
{
    static struct address all[WORKERS_MAX];
    static int fds[WORKERS_MAX];
    for (int left = world - 1; left; left--) {
        struct sockaddr_in from;
        struct address a;
        int fd = accept_in_time(listener, &from, timeout);
        receive_all(fd, &a, sizeof(a));
        int rank = ntohs(a.rank);
        if (rank <= 0 || rank >= world || fds[rank])
            fail(1, "there is a second worker %d", rank);
        a.ip = from.sin_addr.s_addr;
        all[rank] = a;
        fds[rank] = fd;
    }
    all[0] = *mine;
    for (int i = 1; i < world; i++) {
        send_all(fds[i], &all[(i + 1) % world], sizeof(all[0]));
        close(fds[i]);
    }
    return all[1];
}

/* The others. Worker 0 is told to the last as the address at which it was met. */
static struct address attend_meeting(const char *name, uint16_t port, const struct address *mine, long timeout)
{
    struct address right;
    struct sockaddr_in met;
    socklen_t size = sizeof(met);
    int fd = connect_by_name(name, port, timeout);
    getpeername(fd, (struct sockaddr *)&met, &size);
    send_all(fd, mine, sizeof(*mine));
    receive_all(fd, &right, sizeof(right));
    close(fd);
    if (!right.rank)
        right.ip = met.sin_addr.s_addr;
    return right;
}

/* ---- The ring ---- */

/* Chunk c of the vector, of `world` chunks. */
static double *chunk(double *vector, long elements, int c, size_t *count)
{
    long first = elements * c / world, end = elements * (c + 1) / world;
    *count = (size_t)(end - first);
    return vector + first;
}

/* Sends one chunk to the right while another comes from the left: with blocking sends alone, a ring of full buffers
 * would stand still. */
static void exchange(int right, int left, const void *out, size_t out_size, void *in, size_t in_size, int timeout)
{
    const char *from = out;
    char *to = in;
    while (out_size || in_size) {
        struct pollfd p[] = {{.fd = out_size ? right : -1, .events = POLLOUT},
                             {.fd = in_size ? left : -1, .events = POLLIN}};
        if (poll(p, 2, timeout * 1000) <= 0)
            fail(1, "the ring stands still");
        if (p[0].revents) {
            ssize_t n = send(right, from, out_size, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                fail(1, "cannot send: %s", strerror(errno));
            from += n > 0 ? n : 0;
            out_size -= n > 0 ? (size_t)n : 0;
        }
        if (p[1].revents) {
            ssize_t n = recv(left, to, in_size, MSG_DONTWAIT);
            if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
                fail(1, "cannot receive: %s", n ? strerror(errno) : "the other end has gone");
            to += n > 0 ? n : 0;
            in_size -= n > 0 ? (size_t)n : 0;
        }
    }
}

static void all_reduce(double *vector, long elements, int right, int left, int timeout)
{
    double *incoming = malloc(((size_t)elements / (size_t)world + 1) * sizeof(*incoming));
    if (!incoming)
        fail(1, "out of memory");
    /* After step s, chunk r - s - 1 holds the sum of s + 2 workers here. */
    for (int s = 0; s < world - 1; s++) {
        size_t out_count, in_count;
        double *out = chunk(vector, elements, (rank_ - s + world) % world, &out_count);
        double *sum = chunk(vector, elements, (rank_ - s - 1 + world) % world, &in_count);
        exchange(right, left, out, out_count * sizeof(*out), incoming, in_count * sizeof(*incoming), timeout);
        for (size_t i = 0; i < in_count; i++)
            sum[i] += incoming[i];
    }
    /* Chunk r + 1 is complete here. */
    for (int s = 0; s < world - 1; s++) {
        size_t out_count, in_count;
        double *out = chunk(vector, elements, (rank_ + 1 - s + world) % world, &out_count);
        double *in = chunk(vector, elements, (rank_ - s + world) % world, &in_count);
        exchange(right, left, out, out_count * sizeof(*out), in, in_count * sizeof(*in), timeout);
    }
    free(incoming);
}

static void meet(long timeout, int *right, int *left)
{
    const char *name = getenv("MASTER_ADDR");
    uint16_t master_port = (uint16_t)number("MASTER_PORT", NULL, 1, 65535), ring_port;
    if (!name || !*name)
        fail(2, "MASTER_ADDR is not set");
    int ring = listen_on(0, &ring_port);
    struct address mine = {.port = htons(ring_port), .rank = htons((uint16_t)rank_)}, neighbour;
    struct sockaddr_in from;
    if (rank_ == 0) {
        int meeting = listen_on(master_port, &master_port);
        neighbour = host_meeting(meeting, &mine, timeout);
        close(meeting);
    } else {
        neighbour = attend_meeting(name, master_port, &mine, timeout);
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = neighbour.port, .sin_addr.s_addr = neighbour.ip};
    *right = connect_to(&to, timeout);
    if (*right < 0)
        fail(1, "cannot reach worker %u: %s", ntohs(neighbour.rank), strerror(errno));
    *left = accept_in_time(ring, &from, timeout);
    close(ring);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    world = (int)number("WORLD_SIZE", NULL, 1, WORKERS_MAX);
    rank_ = (int)number("RANK", NULL, 0, world - 1);
    long elements = number("ELEMENTS", "1000000", 1, ELEMENTS_MAX), timeout = number("TIMEOUT_SECONDS", "60", 1, 86400);
    double *vector = malloc((size_t)elements * sizeof(*vector));
    if (!vector)
        fail(1, "out of memory");
    for (long i = 0; i < elements; i++)
        vector[i] = (rank_ + 1) * (double)(1 + i % 7);
    int64_t start = now_ms();
    deadline = start + timeout * 1000;
    if (world > 1) {
        int right, left;
        meet(timeout, &right, &left);
        start = now_ms();
        all_reduce(vector, elements, right, left, (int)timeout);
    }
    double total = 0;
    for (long i = 0; i < elements; i++) {
        if (vector[i] != world * (world + 1) / 2.0 * (double)(1 + i % 7))
            fail(1, "number %ld is %g", i, vector[i]);
        total += vector[i];
    }
    printf("worker %d of %d: the sum of %ld numbers is %.0f, after %lld ms\n", rank_, world, elements, total,
           (long long)(now_ms() - start));
    free(vector);
    return 0;
}
