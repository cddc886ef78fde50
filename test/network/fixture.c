#include "network/fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "network/namespace.h"

#define WAIT_SECONDS 5

static char directory[64];

bool fixture_enter(void)
{
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
        return false;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("run", "/run", "tmpfs", 0, NULL) < 0)
        return false;
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(directory, sizeof(directory), "/run/test-%d", (int)getpid());
    return ioctl(fd, SIOCSIFFLAGS, &request) == 0 && mkdir(directory, 0700) == 0;
}

const char *fixture_directory(void)
{
    return directory;
}

void check_ok_at(int result, const struct error *err, const char *file, int line)
{
    if (result < 0)
        print_error("%s:%d: %s\n", file, line, err->text);
    _assert_int_equal((unsigned long long)result, 0, file, line);
}

struct in_addr ip(const char *text)
{
    struct in_addr address;
    assert_int_equal(inet_pton(AF_INET, text, &address), 1);
    return address;
}

void fixture_pod_path(const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", directory, name);
}

int fixture_pod_namespace(const char *name, char out[128])
{
    struct error e;
    fixture_pod_path(name, out);
    check_ok(network_namespace_create(out, err));
    int fd = network_namespace_open(out, &e);
    assert_true(fd >= 0);
    return fd;
}

int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- server ---- */

#define SERVER_CONNECTIONS_MAX 256

struct server {
    pthread_t thread;
    int socket;
    int stop;
    int protocol;
    const char *label;
    atomic_uint count;
    atomic_uint client;
};

static void serve_udp(struct server *s)
{
    char data[2048];
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    ssize_t n = recvfrom(s->socket, data, sizeof(data), 0, (struct sockaddr *)&from, &size);
    if (n < 0)
        return;
    s->client = from.sin_addr.s_addr;
    s->count++;
    sendto(s->socket, s->label, strlen(s->label), 0, (struct sockaddr *)&from, size);
}

static int serve_accept(struct server *s)
{
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    int fd = accept4(s->socket, (struct sockaddr *)&from, &size, SOCK_CLOEXEC);
    if (fd < 0)
        return -1;
    s->client = from.sin_addr.s_addr;
    s->count++;
    send(fd, s->label, strlen(s->label), MSG_NOSIGNAL);
    return fd;
}

/* Echoes once; false at the end of the connection. */
static bool serve_echo(int fd)
{
    char data[65536];
    ssize_t n = recv(fd, data, sizeof(data), 0);
    for (ssize_t at = 0; at < n;) {
        ssize_t sent = send(fd, data + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        at += sent;
    }
    return n > 0;
}

static void *serve(void *context)
{
    struct server *s = context;
    struct pollfd polls[2 + SERVER_CONNECTIONS_MAX] = {{s->stop, POLLIN, 0}, {s->socket, POLLIN, 0}};
    nfds_t count = 2;
    for (;;) {
        if (poll(polls, count, -1) < 0 && errno != EINTR)
            break;
        if (polls[0].revents)
            break;
        for (nfds_t i = 2; i < count; i++)
            if (polls[i].revents && !serve_echo(polls[i].fd)) {
                close(polls[i].fd);
                polls[i--] = polls[--count];
            }
        if (polls[1].revents && s->protocol == IPPROTO_UDP) {
            serve_udp(s);
        } else if (polls[1].revents && count < 2 + SERVER_CONNECTIONS_MAX) {
            int fd = serve_accept(s);
            if (fd >= 0)
                polls[count++] = (struct pollfd){fd, POLLIN, 0};
        }
    }
    for (nfds_t i = 2; i < count; i++)
        close(polls[i].fd);
    return NULL;
}

struct server *server_start(int namespace_fd, int protocol, uint16_t port, const char *label)
{
    struct error e = {0};
    struct server *s = mem_zero(1, sizeof(*s));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1;
    s->protocol = protocol;
    s->label = label;
    s->stop = eventfd(0, EFD_CLOEXEC);
    s->socket =
        network_namespace_socket(namespace_fd, AF_INET, protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM, 0, &e);
    assert_true(s->socket >= 0);
    setsockopt(s->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(s->socket, (struct sockaddr *)&address, sizeof(address)), 0);
    if (protocol == IPPROTO_TCP)
        assert_int_equal(listen(s->socket, 1024), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    return s;
}

unsigned server_count(struct server *server)
{
    return server->count;
}

struct in_addr server_client(struct server *server)
{
    return (struct in_addr){server->client};
}

void server_stop(struct server *server)
{
    assert_int_equal(eventfd_write(server->stop, 1), 0);
    pthread_join(server->thread, NULL);
    close(server->stop);
    close(server->socket);
    free(server);
}

/* ---- clients ---- */

static int client_socket(int namespace_fd, int type)
{
    struct error e = {0};
    int fd = network_namespace_socket(namespace_fd, AF_INET, type, 0, &e);
    struct timeval wait = {.tv_sec = WAIT_SECONDS};
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    return fd;
}

int tcp_connect(int namespace_fd, struct in_addr address, uint16_t port)
{
    return tcp_connect_from(namespace_fd, 0, address, port);
}

int tcp_connect_from(int namespace_fd, uint16_t own_port, struct in_addr address, uint16_t port)
{
    int fd = client_socket(namespace_fd, SOCK_STREAM);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(own_port)};
    if (own_port)
        assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = address};
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    int code = errno;
    close(fd);
    return -code;
}

void tcp_vanish(int fd)
{
    int on = 1;
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)), 0);
    close(fd);
}

const char *tcp_read(int fd)
{
    static _Thread_local char text[256];
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
    if (n < 0)
        return strerrorname_np(errno);
    text[n] = 0;
    return text;
}

const char *tcp_ask(int namespace_fd, struct in_addr address, uint16_t port)
{
    int fd = tcp_connect(namespace_fd, address, port);
    if (fd < 0)
        return strerrorname_np(-fd);
    const char *answer = tcp_read(fd);
    close(fd);
    return answer;
}

int udp_open(int namespace_fd, struct in_addr address, uint16_t port)
{
    int fd = client_socket(namespace_fd, SOCK_DGRAM);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = address};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

const char *udp_exchange(int fd)
{
    if (send(fd, "?", 1, 0) < 0)
        return strerrorname_np(errno);
    return tcp_read(fd);
}

const char *udp_ask(int namespace_fd, struct in_addr address, uint16_t port)
{
    int fd = udp_open(namespace_fd, address, port);
    const char *answer = udp_exchange(fd);
    close(fd);
    return answer;
}
