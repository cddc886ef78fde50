/* The node port relay, between this program's namespace (the "host") and another (the "node"). */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "network/fixture.h"
#include "network/namespace.h"
#include "network/relay.h"

#define PORT 30080

static int node_fd;
static struct relay *relay;
static struct in_addr local;

static int set_up(void **state)
{
    char path[128];
    local = ip("127.0.0.1");
    if (!node_fd)
        node_fd = fixture_pod_namespace("node", path);
    struct relay_config config = {
        .host_namespace_fd = -1, .node_namespace_fd = node_fd, .host_address = local, .node_address = local};
    check_ok(relay_start(&config, &relay, err));
    return 0;
}

static int tear_down(void **state)
{
    relay_stop(relay);
    return 0;
}

static void relay_one(uint8_t protocol)
{
    struct relay_port port = {protocol, PORT};
    check_ok(relay_set(relay, &port, 1, err));
}

/* Waits until the relay holds that many connections: it learns of an end a moment after we do. */
static void expect_connections(size_t count)
{
    struct relay_statistics s;
    int64_t end = now() + 10 * SECOND;
    do
        relay_statistics(relay, &s);
    while (s.connections != count && now() < end && sched_yield() == 0);
    assert_int_equal(s.connections, count);
}

static void a_port_of_the_node_answers_on_the_host(void **state)
{
    struct server *server = server_start(node_fd, IPPROTO_TCP, PORT, "node");
    assert_string_equal(tcp_ask(-1, local, PORT), "ECONNREFUSED");
    relay_one(IPPROTO_TCP);
    for (int i = 0; i < 50; i++)
        assert_string_equal(tcp_ask(-1, local, PORT), "node");
    assert_int_equal(server_count(server), 50);
    expect_connections(0);
    server_stop(server);
}

/* ---- a server that waits for the end of what it is sent, and then answers ---- */

struct sink {
    pthread_t thread;
    int socket;
    uint64_t sum, bytes;
};

static uint64_t add_up(uint64_t sum, const unsigned char *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + data[i];
    return sum;
}

static void *run_sink(void *context)
{
    struct sink *s = context;
    static unsigned char data[100000];
    int fd = accept(s->socket, NULL, NULL);
    for (ssize_t n; (n = recv(fd, data, sizeof(data), 0)) > 0; s->bytes += (uint64_t)n)
        s->sum = add_up(s->sum, data, (size_t)n);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)(i * 7);
    /* The other way, more than any buffer holds. */
    for (int i = 0; i < 100; i++)
        if (send(fd, data, sizeof(data), MSG_NOSIGNAL) != sizeof(data))
            break;
    close(fd);
    return NULL;
}

static void no_byte_is_lost_and_a_half_closed_connection_stays_half_open(void **state)
{
    enum { CHUNKS = 200 };
    static unsigned char data[100001];
    struct sink sink = {0};
    struct error e;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    sink.socket = network_namespace_socket(node_fd, AF_INET, SOCK_STREAM, 0, &e);
    assert_int_equal(bind(sink.socket, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(sink.socket, 1), 0);
    assert_int_equal(pthread_create(&sink.thread, NULL, run_sink, &sink), 0);
    relay_one(IPPROTO_TCP);
    int fd = tcp_connect(-1, local, PORT);
    assert_true(fd >= 0);
    uint64_t sum = 0, bytes = 0;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)(i * 13 + i / 256);
    for (int i = 0; i < CHUNKS; i++) {
        assert_int_equal(send(fd, data, sizeof(data), MSG_NOSIGNAL), sizeof(data));
        sum = add_up(sum, data, sizeof(data));
    }
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    ssize_t n;
    while ((n = recv(fd, data, sizeof(data), 0)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            if (data[i] != (unsigned char)((bytes + (uint64_t)i) % 100000 * 7))
                fail_msg("byte %llu differs", (unsigned long long)(bytes + (uint64_t)i));
        bytes += (uint64_t)n;
    }
    assert_int_equal(n, 0);
    assert_int_equal(bytes, 100 * 100000);
    pthread_join(sink.thread, NULL);
    assert_int_equal(sink.bytes, CHUNKS * sizeof(data));
    assert_true(sink.sum == sum);
    close(fd);
    close(sink.socket);
    expect_connections(0);
}

static void a_refusal_and_a_reset_are_passed_on(void **state)
{
    relay_one(IPPROTO_TCP);
    assert_string_equal(tcp_ask(-1, local, PORT), "ECONNRESET"); /* nobody there */
    struct server *server = server_start(node_fd, IPPROTO_TCP, PORT, "node");
    int fd = tcp_connect(-1, local, PORT);
    struct linger linger = {.l_onoff = 1};
    assert_string_equal(tcp_read(fd), "node");
    expect_connections(1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
    expect_connections(0);
    server_stop(server);
    expect_connections(0);
}

/* Between fork and exec of any process that the agent starts, the child has copies of all sockets; here of the relay's
 * alone, for as long as the test takes. */
static void sockets_that_a_child_has_copies_of_end_all_the_same(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = local, .sin_port = htons(PORT)};
    int clients[8], accepted[ARRAY_COUNT(clients)], server, ready[2], on = 1;
    char byte;
    check_ok((server = network_namespace_socket(node_fd, AF_INET, SOCK_STREAM, 0, err)) < 0 ? -1 : 0);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(server, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(server, ARRAY_COUNT(clients)), 0);
    relay_one(IPPROTO_TCP);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        assert_true((clients[i] = tcp_connect(-1, local, PORT)) >= 0);
        assert_true((accepted[i] = accept(server, NULL, NULL)) >= 0);
    }
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
            close(clients[i]);
            close(accepted[i]);
        }
        close(server);
        if (write(ready[1], "x", 1) == 1)
            pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        close(clients[i]);
        assert_int_equal(read(accepted[i], &byte, 1), 0);
        close(accepted[i]);
    }
    expect_connections(0);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ready[0]);
    close(ready[1]);
    close(server);
}

static void a_connection_outlives_its_port_and_idle_ones_hold_no_pipe(void **state)
{
    enum { CONNECTIONS = 200 };
    int fds[CONNECTIONS];
    struct relay_statistics s;
    struct server *server = server_start(node_fd, IPPROTO_TCP, PORT, "node");
    relay_one(IPPROTO_TCP);
    for (int i = 0; i < CONNECTIONS; i++) {
        fds[i] = tcp_connect(-1, local, PORT);
        assert_true(fds[i] >= 0);
        assert_string_equal(tcp_read(fds[i]), "node");
    }
    check_ok(relay_set(relay, NULL, 0, err));
    relay_statistics(relay, &s);
    assert_int_equal(s.ports, 0);
    assert_int_equal(s.connections, CONNECTIONS);
    assert_true(s.pipes <= 64);
    assert_string_equal(tcp_ask(-1, local, PORT), "ECONNREFUSED");
    for (int i = 0; i < CONNECTIONS; i++) {
        assert_int_equal(send(fds[i], "ping", 4, 0), 4);
        assert_string_equal(tcp_read(fds[i]), "ping");
    }
    for (int i = 0; i < CONNECTIONS; i++)
        close(fds[i]);
    expect_connections(0);
    server_stop(server);
}

static void udp_clients_get_their_own_answers(void **state)
{
    enum { CLIENTS = 20 };
    int fds[CLIENTS];
    struct relay_statistics s;
    struct server *server = server_start(node_fd, IPPROTO_UDP, PORT, "node");
    relay_one(IPPROTO_UDP);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < CLIENTS; i++) {
            if (round == 0)
                fds[i] = udp_open(-1, local, PORT);
            assert_string_equal(udp_exchange(fds[i]), "node");
        }
    relay_statistics(relay, &s);
    assert_int_equal(s.udp_clients, CLIENTS);
    assert_int_equal(server_count(server), CLIENTS * 3);
    check_ok(relay_set(relay, NULL, 0, err));
    relay_statistics(relay, &s);
    assert_int_equal(s.udp_clients, 0);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    server_stop(server);
}

static void a_port_in_use_is_named_and_the_others_work(void **state)
{
    struct server *taken = server_start(-1, IPPROTO_TCP, PORT + 1, "host");
    struct server *server = server_start(node_fd, IPPROTO_TCP, PORT, "node");
    struct relay_port ports[] = {{IPPROTO_TCP, PORT + 1}, {IPPROTO_TCP, PORT}, {IPPROTO_TCP, PORT}};
    struct relay_statistics s;
    struct error e;
    assert_int_equal(relay_set(relay, ports, 3, &e), -1);
    assert_int_equal(e.code, EADDRINUSE);
    assert_non_null(strstr(e.text, "30081"));
    relay_statistics(relay, &s);
    assert_int_equal(s.ports, 1);
    assert_string_equal(tcp_ask(-1, local, PORT), "node");
    assert_string_equal(tcp_ask(-1, local, PORT + 1), "host");
    server_stop(taken);
    check_ok(relay_set(relay, ports, 3, err));
    assert_string_equal(tcp_ask(-1, local, PORT + 1), "ECONNRESET"); /* relayed now, to nobody */
    ports[0].protocol = IPPROTO_SCTP;
    assert_int_equal(relay_set(relay, ports, 3, &e), -1);
    assert_int_equal(e.code, EINVAL);
    assert_string_equal(tcp_ask(-1, local, PORT), "node"); /* a bad list changes nothing */
    server_stop(server);
}

static void it_stops_with_connections_open(void **state)
{
    struct server *server = server_start(node_fd, IPPROTO_TCP, PORT, "node");
    relay_one(IPPROTO_TCP);
    int fd = tcp_connect(-1, local, PORT);
    assert_string_equal(tcp_read(fd), "node");
    relay_stop(relay);
    assert_string_equal(tcp_read(fd), "ECONNRESET");
    close(fd);
    server_stop(server);
    set_up(state);
}

int main(void)
{
    if (!fixture_enter())
        return 77;
#define PROMISE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        PROMISE(a_port_of_the_node_answers_on_the_host),
        PROMISE(no_byte_is_lost_and_a_half_closed_connection_stays_half_open),
        PROMISE(a_refusal_and_a_reset_are_passed_on),
        PROMISE(sockets_that_a_child_has_copies_of_end_all_the_same),
        PROMISE(a_connection_outlives_its_port_and_idle_ones_hold_no_pipe),
        PROMISE(udp_clients_get_their_own_answers),
        PROMISE(a_port_in_use_is_named_and_the_others_work),
        PROMISE(it_stops_with_connections_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
