/* The server on loopback, with another one behind it whose answers the tests choose. */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "messages.h"
#include "network/dns/server.h"

/* Longer than anything takes that works. */
static const struct timeval patience = {.tv_sec = 20};

/* ---- The other server ---- */

enum behaviour { ANSWERS, LIES, TRUNCATES, FAILS };

static struct {
    int udp, tcp;
    uint16_t port;
    pthread_t threads[2];
    atomic_int asked, asked_tcp;
    _Atomic enum behaviour behaviour;
} other;

static size_t other_answer(const uint8_t *question, size_t size, uint8_t *out, bool tcp)
{
    struct dns_query query;
    struct dns_writer writer;
    struct ip_address address = test_address("192.0.2.1");
    if (dns_query_parse(question, size, &query))
        return 0;
    dns_writer_begin(&writer, &query, out, DNS_UDP_MAX);
    if (other.behaviour == TRUNCATES && !tcp)
        writer.truncated = true;
    else if (other.behaviour != FAILS)
        dns_write_address(&writer, DNS_ANSWER, query.name, 300, AF_INET, &address.v4);
    return dns_writer_finish(&writer, &query, other.behaviour == FAILS ? DNS_SERVFAIL : DNS_NOERROR, false);
}

static void *other_udp(void *context)
{
    uint8_t question[DNS_UDP_MAX], out[DNS_UDP_MAX];
    struct sockaddr_in client;
    socklen_t length;
    ssize_t size;
    while (length = sizeof(client),
           (size = recvfrom(other.udp, question, sizeof(question), 0, (struct sockaddr *)&client, &length)) > 1) {
        other.asked++;
        size_t n = other_answer(question, (size_t)size, out, false);
        if (other.behaviour == LIES) { /* another address comes first, from one who had to guess the number */
            dns_put16(out, (uint16_t)(dns_get16(out) + 1));
            out[n - 12] ^= 1; /* the last byte before the OPT record */
            sendto(other.udp, out, n, 0, (struct sockaddr *)&client, length);
            n = other_answer(question, (size_t)size, out, false);
        }
        sendto(other.udp, out, n, 0, (struct sockaddr *)&client, length);
    }
    return NULL;
}

static void *other_tcp(void *context)
{
    uint8_t question[2 + DNS_UDP_MAX], out[2 + DNS_UDP_MAX];
    int fd;
    while ((fd = accept(other.tcp, NULL, NULL)) >= 0) {
        if (recv(fd, question, 2, MSG_WAITALL) == 2) {
            size_t size = dns_get16(question);
            assert_int_equal(recv(fd, question, size, MSG_WAITALL), size);
            other.asked_tcp++;
            size_t n = other_answer(question, size, out + 2, true);
            dns_put16(out, (uint16_t)n);
            send(fd, out, n + 2, MSG_NOSIGNAL);
        }
        close(fd);
    }
    return NULL;
}

/* -1 when another has the port. */
static int listen_on(int kind, uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, kind | SOCK_CLOEXEC, 0);
    address.sin_port = htons(*port);
    if (bind(fd, (struct sockaddr *)&address, size) < 0) {
        assert_int_equal(errno, EADDRINUSE);
        close(fd);
        return -1;
    }
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    if (kind == SOCK_STREAM)
        assert_int_equal(listen(fd, 8), 0);
    return fd;
}

/* A free port for datagrams need not be one for connections: TCP ports of this machine may be in use, or were. */
static void listen_on_both(void)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        other.port = 0;
        other.udp = listen_on(SOCK_DGRAM, &other.port);
        other.tcp = listen_on(SOCK_STREAM, &other.port);
        if (other.tcp >= 0)
            return;
        close(other.udp);
    }
    fail_msg("no port is free for both UDP and TCP");
}

/* ---- Ours ---- */

static struct dns_server *server;
static char resolvers[] = "/tmp/test-dns-XXXXXX";
static int client;

static void connect_to(int fd, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = inet_addr("127.0.0.2"), .sin_port = htons(port)};
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
}

static int set_up(void **state)
{
    static const char *const web[] = {"10.96.0.7", NULL};
    struct ipv4_prefix loopback;
    memset(&other, 0, sizeof(other));
    listen_on_both();
    assert_int_equal(pthread_create(&other.threads[0], NULL, other_udp, NULL), 0);
    assert_int_equal(pthread_create(&other.threads[1], NULL, other_tcp, NULL), 0);
    strcpy(resolvers, "/tmp/test-dns-XXXXXX");
    int fd = mkstemp(resolvers);
    assert_true(fd >= 0);
    static const char text[] = "search x\nnameserver 127.0.0.1\n";
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    assert_int_equal(ipv4_prefix_parse("127.0.0.0/8", &loopback, NULL), 0);
    struct dns_server_options options = {
        .zone = {.domain = "cluster.local", .server = test_address("10.96.0.10")},
        .address.s_addr = inet_addr(*state ? "127.0.0.3" : "127.0.0.2"), /* not the resolver's: that would be itself */
        .resolvers = resolvers,
        .resolver_port = other.port,
        .clients = &loopback,
        .client_count = *state ? 0 : 1};
    assert_int_equal(dns_server_new(&options, &server, NULL), 0);
    struct dns_change *change = dns_change_new();
    dns_change_set_namespace(change, "default", true);
    dns_change_set_service(change, test_service("default", "web", web));
    struct dns_service *outside = test_service("default", "outside", NULL);
    outside->external_name = strdup("db.example.com");
    dns_change_set_service(change, outside);
    dns_server_apply(server, change);
    dns_server_serve(server);
    client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (!*state)
        connect_to(client, dns_server_port(server));
    return 0;
}

static int tear_down(void **state)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(other.port)};
    dns_server_stop(server);
    close(client);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sendto(fd, "", 1, 0, (struct sockaddr *)&address, sizeof(address)); /* one byte ends it */
    close(fd);
    shutdown(other.tcp, SHUT_RDWR);
    pthread_join(other.threads[0], NULL);
    pthread_join(other.threads[1], NULL);
    close(other.udp);
    close(other.tcp);
    unlink(resolvers);
    return 0;
}

static const char *receive(void)
{
    static uint8_t out[DNS_MESSAGE_MAX];
    ssize_t size = recv(client, out, sizeof(out), 0);
    assert_true(size >= DNS_HEADER_SIZE);
    return test_text(out, (size_t)size);
}

static const char *ask(const char *name, uint16_t type)
{
    uint8_t question[DNS_UDP_PLAIN_MAX];
    size_t size = test_question(question, 7, name, type, 0);
    assert_int_equal(send(client, question, size, 0), size);
    return receive();
}

static int stream(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connect_to(fd, dns_server_port(server));
    return fd;
}

static void send_stream(int fd, const char *name, uint16_t type)
{
    uint8_t question[2 + DNS_UDP_PLAIN_MAX];
    size_t size = test_question(question + 2, 7, name, type, 0);
    dns_put16(question, (uint16_t)size);
    assert_int_equal(send(fd, question, size + 2, MSG_NOSIGNAL), size + 2);
}

static const char *receive_stream(int fd)
{
    static uint8_t out[2 + DNS_MESSAGE_MAX];
    assert_int_equal(recv(fd, out, 2, MSG_WAITALL), 2);
    size_t size = dns_get16(out);
    assert_int_equal(recv(fd, out, size, MSG_WAITALL), size);
    return test_text(out, size);
}

static void names_of_the_cluster_are_answered(void **state)
{
    assert_string_equal(ask("web.default.svc.cluster.local", DNS_A),
                        "NOERROR aa web.default.svc.cluster.local A 10.96.0.7");
    assert_int_equal(other.asked, 0);
}

static void a_change_is_seen_by_the_next_question(void **state)
{
    static const char *const addresses[] = {"10.96.0.9", NULL};
    struct dns_change *change = dns_change_new();
    dns_change_set_service(change, test_service("default", "new", addresses));
    dns_change_remove_service(change, "default", "web");
    dns_server_apply(server, change);
    assert_string_equal(ask("new.default.svc.cluster.local", DNS_A),
                        "NOERROR aa new.default.svc.cluster.local A 10.96.0.9");
    assert_non_null(strstr(ask("web.default.svc.cluster.local", DNS_A), "NXDOMAIN"));
}

static void many_questions_share_a_connection(void **state)
{
    int fd = stream();
    for (int i = 0; i < 500; i++)
        send_stream(fd, "web.default.svc.cluster.local", DNS_A);
    for (int i = 0; i < 500; i++)
        assert_string_equal(receive_stream(fd), "NOERROR aa web.default.svc.cluster.local A 10.96.0.7");
    close(fd);
}

static void other_names_are_asked_of_others_once(void **state)
{
    assert_string_equal(ask("example.com", DNS_A), "NOERROR example.com A 192.0.2.1");
    assert_string_equal(ask("EXAMPLE.com", DNS_A), "NOERROR example.com A 192.0.2.1");
    assert_int_equal(other.asked, 1);
}

static void an_external_name_comes_with_its_address(void **state)
{
    for (int i = 0; i < 2; i++) /* the second time from what is kept */
        assert_string_equal(ask("outside.default.svc.cluster.local", DNS_A),
                            "NOERROR outside.default.svc.cluster.local CNAME db.example.com; "
                            "db.example.com A 192.0.2.1");
    assert_int_equal(other.asked, 1);
}

static void a_lie_is_not_believed(void **state)
{
    other.behaviour = LIES;
    assert_string_equal(ask("example.com", DNS_A), "NOERROR example.com A 192.0.2.1");
    assert_int_equal(other.asked, 1);
}

static void a_cut_answer_is_fetched_whole_over_tcp(void **state)
{
    other.behaviour = TRUNCATES;
    assert_string_equal(ask("example.com", DNS_A), "NOERROR tc");
    assert_int_equal(other.asked_tcp, 0);
    int fd = stream();
    send_stream(fd, "example.com", DNS_A);
    assert_string_equal(receive_stream(fd), "NOERROR example.com A 192.0.2.1");
    assert_int_equal(other.asked_tcp, 1);
    close(fd);
}

static void a_failure_of_others_is_told(void **state)
{
    other.behaviour = FAILS;
    assert_string_equal(ask("example.com", DNS_A), "SERVFAIL");
    other.behaviour = ANSWERS;
    assert_string_equal(ask("example.com", DNS_A), "NOERROR example.com A 192.0.2.1");
}

static void nonsense_ends_nothing(void **state)
{
    static const uint8_t junk[] = {0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0x0c, 0, 1, 0, 1};
    struct dns_statistics statistics;
    for (size_t size = 1; size <= sizeof(junk); size++)
        assert_int_equal(send(client, junk, size, 0), size);
    for (size_t size = DNS_HEADER_SIZE; size <= sizeof(junk); size++)
        assert_non_null(strstr(receive(), "FORMERR"));
    int fd = stream();
    assert_int_equal(send(fd, "\xff\xff junk", 7, MSG_NOSIGNAL), 7); /* a question that is too long */
    char byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
    assert_string_equal(ask("web.default.svc.cluster.local", DNS_A),
                        "NOERROR aa web.default.svc.cluster.local A 10.96.0.7");
    assert_string_equal(ask("web.default.svc.cluster.local", DNS_AXFR), "REFUSED");
    dns_server_statistics(server, &statistics);
    assert_int_equal(statistics.dropped, DNS_HEADER_SIZE - 1);
}

static void the_connection_idle_longest_makes_room(void **state)
{
    static int fds[DNS_CONNECTIONS_MAX + 1];
    char byte;
    for (size_t i = 0; i <= DNS_CONNECTIONS_MAX; i++) {
        fds[i] = stream();
        send_stream(fds[i], "web.default.svc.cluster.local", DNS_A);
        receive_stream(fds[i]);
    }
    assert_int_equal(recv(fds[0], &byte, 1, 0), 0);
    send_stream(fds[1], "web.default.svc.cluster.local", DNS_A);
    receive_stream(fds[1]);
    for (size_t i = 0; i <= DNS_CONNECTIONS_MAX; i++)
        close(fds[i]);
}

/* A server that nobody may ask but itself, and one that may. */
static void strangers_are_not_answered(void **state)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("127.0.0.9")};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_addr.s_addr = inet_addr("127.0.0.3"), .sin_port = htons(dns_server_port(server))};
    uint8_t question[DNS_UDP_PLAIN_MAX];
    struct dns_statistics statistics;
    size_t size = test_question(question, 7, "web.default.svc.cluster.local", DNS_A, 0);
    assert_int_equal(bind(client, (struct sockaddr *)&from, sizeof(from)), 0);
    assert_int_equal(sendto(client, question, size, 0, (struct sockaddr *)&to, sizeof(to)), size);
    /* Asked by itself, after the stranger: once that is answered, the stranger's question has been read. */
    int own = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    from.sin_addr.s_addr = inet_addr("127.0.0.3");
    assert_int_equal(bind(own, (struct sockaddr *)&from, sizeof(from)), 0);
    assert_int_equal(setsockopt(own, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(sendto(own, question, size, 0, (struct sockaddr *)&to, sizeof(to)), size);
    assert_true(recv(own, question, sizeof(question), 0) > 0);
    close(own);
    dns_server_statistics(server, &statistics);
    assert_int_equal(statistics.dropped, 1);
    assert_int_equal(statistics.udp, 1);
    assert_true(recv(client, question, sizeof(question), MSG_DONTWAIT) < 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    static bool strange = true;
    const struct CMUnitTest tests[] = {
        TEST(names_of_the_cluster_are_answered),
        TEST(a_change_is_seen_by_the_next_question),
        TEST(many_questions_share_a_connection),
        TEST(other_names_are_asked_of_others_once),
        TEST(an_external_name_comes_with_its_address),
        TEST(a_lie_is_not_believed),
        TEST(a_cut_answer_is_fetched_whole_over_tcp),
        TEST(a_failure_of_others_is_told),
        TEST(nonsense_ends_nothing),
        TEST(the_connection_idle_longest_makes_room),
        cmocka_unit_test_prestate_setup_teardown(strangers_are_not_answered, set_up, tear_down, &strange),
    };
    return cmocka_run_group_tests_name("dns server", tests, NULL, NULL);
}
