/* Questions over UDP, a batch per system call. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "network/dns/internal.h"

/* Batches per turn of the loop: a flood must not keep changes of the zone out. */
#define BATCHES_PER_TURN 8
/* A second of questions while the cluster starts. */
#define RECEIVE_BUFFER (1 << 20)

struct udp_batch {
    struct mmsghdr in[UDP_BATCH], out[UDP_BATCH];
    struct iovec in_vectors[UDP_BATCH], out_vectors[UDP_BATCH];
    struct sockaddr_in clients[UDP_BATCH];
    uint8_t questions[UDP_BATCH][DNS_QUESTION_MAX + 1];
    uint8_t answers[UDP_BATCH][DNS_UDP_MAX];
};

int dns_udp_listen(struct dns_server *server, struct error *err)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = server->address, .sin_port = htons(server->port)};
    socklen_t size = sizeof(address);
    int buffer = RECEIVE_BUFFER;
    server->udp_fd = -1;
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return error_errno(err, "listen for DNS on UDP port %u", server->port);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
    if (uv_poll_init(&server->loop, &server->udp, fd) < 0)
        return error_set(err, ENOMEM, "cannot watch the DNS socket");
    server->udp.data = server;
    server->udp_fd = steal_fd(fd);
    server->port = ntohs(address.sin_port);
    return 0;
}

static void prepare(struct udp_batch *batch)
{
    for (size_t i = 0; i < UDP_BATCH; i++) {
        batch->in_vectors[i] = (struct iovec){batch->questions[i], sizeof(batch->questions[i])};
        batch->in[i].msg_hdr = (struct msghdr){.msg_name = &batch->clients[i],
                                               .msg_namelen = sizeof(batch->clients[i]),
                                               .msg_iov = &batch->in_vectors[i],
                                               .msg_iovlen = 1};
    }
}

/* Answers one question into the next place of the batch; returns how many places are taken then. */
static size_t answer(struct dns_server *server, size_t index, size_t taken)
{
    struct udp_batch *batch = server->batch;
    struct dns_pending pending = {.server = server, .client = batch->clients[index]};
    int parsed = dns_query_parse(batch->questions[index], batch->in[index].msg_len, &pending.query);
    if (parsed == DNS_DROP || batch->in[index].msg_len > DNS_QUESTION_MAX ||
        !dns_server_allows(server, pending.client.sin_addr)) {
        server->count.dropped++;
        return taken;
    }
    server->count.udp++;
    size_t size = dns_server_answer(server, &pending, parsed, batch->answers[taken], pending.query.udp_size);
    if (!size)
        return taken;
    batch->out_vectors[taken] = (struct iovec){batch->answers[taken], size};
    batch->out[taken].msg_hdr = (struct msghdr){.msg_name = &batch->clients[index],
                                                .msg_namelen = sizeof(batch->clients[index]),
                                                .msg_iov = &batch->out_vectors[taken],
                                                .msg_iovlen = 1};
    return taken + 1;
}

static void readable(uv_poll_t *poll, int status, int events)
{
    struct dns_server *server = poll->data;
    for (int turn = 0; turn < BATCHES_PER_TURN; turn++) {
        prepare(server->batch);
        int count = recvmmsg(server->udp_fd, server->batch->in, UDP_BATCH, MSG_DONTWAIT, NULL);
        if (count <= 0)
            return;
        size_t taken = 0;
        for (size_t i = 0; i < (size_t)count; i++)
            taken = answer(server, i, taken);
        /* What does not go out now is lost, as in any network: the client asks again. */
        for (size_t sent = 0; sent < taken;) {
            int n = sendmmsg(server->udp_fd, server->batch->out + sent, (unsigned)(taken - sent), MSG_DONTWAIT);
            if (n < 0 && errno == EAGAIN)
                break;
            sent += n > 0 ? (size_t)n : 1;
        }
        if (count < UDP_BATCH)
            return;
    }
}

void dns_udp_begin(struct dns_server *server)
{
    server->batch = mem_zero(1, sizeof(*server->batch));
    uv_poll_start(&server->udp, UV_READABLE, readable);
}

void dns_udp_end(struct dns_server *server)
{
    if (server->udp_fd < 0)
        return;
    uv_poll_stop(&server->udp);
    uv_close((uv_handle_t *)&server->udp, NULL);
    close(server->udp_fd);
    server->udp_fd = -1;
}

void dns_udp_send(struct dns_server *server, const struct sockaddr_in *client, const uint8_t *data, size_t size)
{
    sendto(server->udp_fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)client, sizeof(*client));
}
