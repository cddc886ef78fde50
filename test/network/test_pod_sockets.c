/* What is seen of the sockets in a pod's namespace, with servers that do not accept and clients that do not read. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "network/fixture.h"
#include "network/namespace.h"
#include "network/pod_sockets.h"

#define PORT 8080

static int pod_fd;
static char pod_path[128];
static struct in_addr local;

static int set_up(void **state)
{
    local = ip("127.0.0.1");
    if (!pod_fd)
        pod_fd = fixture_pod_namespace("pod", pod_path);
    return 0;
}

static int listen_in_pod(int family)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int on = 1, fd = -1;
    check_ok((fd = network_namespace_socket(pod_fd, family, SOCK_STREAM, 0, err)) < 0 ? -1 : 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    assert_int_equal(family == AF_INET ? bind(fd, (struct sockaddr *)&four, sizeof(four))
                                       : bind(fd, (struct sockaddr *)&six, sizeof(six)),
                     0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

static struct pod_sockets count(void)
{
    struct pod_sockets sockets;
    check_ok(pod_sockets_count(&(struct pod_sockets_scope){pod_path}, &sockets, err));
    return sockets;
}

/* Waits, bounded, for the kernel to see the last acknowledgement. */
static void expect_leaving(size_t leaving)
{
    int64_t end = now() + 10 * SECOND;
    while (count().leaving != leaving && now() < end)
        sched_yield();
    assert_int_equal(count().leaving, leaving);
}

static void connections_are_arriving_until_they_are_accepted(void **state)
{
    const int families[] = {AF_INET, AF_INET6};
    for (size_t i = 0; i < ARRAY_COUNT(families); i++) {
        int server = listen_in_pod(families[i]), clients[3], accepted[3];
        assert_int_equal(count().arriving, 0);
        for (size_t c = 0; c < ARRAY_COUNT(clients); c++)
            assert_true((clients[c] = tcp_connect(pod_fd, local, PORT)) >= 0);
        assert_int_equal(count().arriving, 3);
        for (size_t c = 0; c < ARRAY_COUNT(clients); c++) {
            assert_true((accepted[c] = accept(server, NULL, NULL)) >= 0);
            assert_int_equal(count().arriving, 2 - c);
        }
        for (size_t c = 0; c < ARRAY_COUNT(clients); c++) {
            close(clients[c]);
            close(accepted[c]);
        }
        close(server);
    }
}

static void only_some_ports_count_where_others_share_the_network(void **state)
{
    int server = listen_in_pod(AF_INET), client = tcp_connect(pod_fd, local, PORT), previous;
    const uint16_t mine[] = {1, PORT}, others[] = {1, PORT + 1};
    const struct pod_sockets_scope scopes[] = {{NULL, mine, 2}, {NULL, others, 2}, {NULL, others, 0}};
    struct pod_sockets seen[ARRAY_COUNT(scopes)];
    assert_true(client >= 0);
    check_ok(network_namespace_enter(pod_fd, &previous, err));
    for (size_t i = 0; i < ARRAY_COUNT(scopes); i++)
        check_ok(pod_sockets_count(&scopes[i], &seen[i], err));
    network_namespace_leave(&previous);
    assert_int_equal(seen[0].arriving, 1);
    assert_int_equal(seen[1].arriving, 0);
    assert_int_equal(seen[2].arriving, 0);
    close(client);
    close(server);
}

static void bytes_are_leaving_until_the_client_has_taken_them(void **state)
{
    int server = listen_in_pod(AF_INET), client = tcp_connect(pod_fd, local, PORT);
    assert_true(client >= 0);
    int accepted = accept(server, NULL, NULL);
    static char data[64 * 1024];
    fcntl(accepted, F_SETFL, O_NONBLOCK);
    ssize_t sent = 0, n;
    while ((n = send(accepted, data, sizeof(data), MSG_NOSIGNAL)) > 0)
        sent += n;
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(count().leaving, 0); /* the server still holds it */
    close(accepted);
    struct pod_sockets sockets = count();
    assert_int_equal(sockets.leaving, 1);
    assert_true(sockets.unsent > 0 && sockets.unsent <= (uint64_t)sent + 1);
    while (sent > 0 && (n = recv(client, data, sizeof(data), 0)) > 0)
        sent -= n;
    assert_int_equal(sent, 0);
    expect_leaving(0);
    close(client);
    close(server);
}

static void a_namespace_that_is_gone_is_an_error(void **state)
{
    struct pod_sockets sockets;
    struct error err;
    assert_int_equal(pod_sockets_count(&(struct pod_sockets_scope){"/nowhere/net"}, &sockets, &err), -1);
    assert_int_equal(err.code, ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(connections_are_arriving_until_they_are_accepted, set_up),
        cmocka_unit_test_setup(only_some_ports_count_where_others_share_the_network, set_up),
        cmocka_unit_test_setup(bytes_are_leaving_until_the_client_has_taken_them, set_up),
        cmocka_unit_test(a_namespace_that_is_gone_is_an_error),
    };
    if (!fixture_enter())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
