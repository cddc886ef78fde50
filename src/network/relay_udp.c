/* Relayed datagrams: for each address that sends to a listener, a socket towards the node, so that answers find their
 * way back. A client is forgotten when it has been idle for RELAY_UDP_IDLE, or when its place is needed. A datagram
 * that finds a full queue is dropped, as a network would. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "network/relay_internal.h"

#define KEY_MAX 32

struct client {
    struct owner owner;
    struct handle node;
    struct listener *listener;
    struct sockaddr_in address;
    int64_t last_use;
};

static void client_key(const struct listener *listener, const struct sockaddr_in *address, char out[KEY_MAX])
{
    snprintf(out, KEY_MAX, "%u %08x %u", listener->port.port, address->sin_addr.s_addr, address->sin_port);
}

static void close_client(struct relay *relay, struct client *client)
{
    char key[KEY_MAX];
    client_key(client->listener, &client->address, key);
    map_remove(&relay->clients_by_key, key);
    relay_unwatch(relay, &client->node);
    relay_bury(relay, &client->owner);
    relay->client_count--;
}

void relay_close_clients(struct relay *relay, const struct listener *listener)
{
    struct client *client;
    list_for_each(&relay->clients, client, owner.link)
    {
        if (!listener || client->listener == listener)
            close_client(relay, client);
    }
}

int64_t relay_expire(struct relay *relay, int64_t now)
{
    struct client *client;
    list_for_each(&relay->clients, client, owner.link)
    {
        if (client->last_use + RELAY_UDP_IDLE > now)
            return client->last_use + RELAY_UDP_IDLE;
        close_client(relay, client);
    }
    return -1;
}

static void use(struct relay *relay, struct client *client)
{
    client->last_use = relay_now();
    list_remove(&client->owner.link);
    list_append(&relay->clients, &client->owner.link);
}

/* From the node, back to the client. */
static void answer(struct relay *relay, void *owner, uint32_t events)
{
    struct client *client = owner;
    for (int i = 0; i < RELAY_DATAGRAMS_PER_EVENT; i++) {
        ssize_t n = recv(client->node.fd, relay->datagram, RELAY_DATAGRAM_MAX, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            continue; /* nobody listens on the node, at the moment */
        use(relay, client);
        sendto(client->listener->handle.fd, relay->datagram, (size_t)n, MSG_NOSIGNAL,
               (struct sockaddr *)&client->address, sizeof(client->address));
    }
}

static struct client *new_client(struct relay *relay, struct listener *listener, const struct sockaddr_in *address,
                                 const char *key)
{
    struct sockaddr_in node = {.sin_family = AF_INET,
                               .sin_addr = relay->config.node_address,
                               .sin_port = htons(listener->port.port)};
    if (relay->client_count >= RELAY_UDP_CLIENTS_MAX)
        close_client(relay, list_entry(relay->clients.next, struct client, owner.link));
    cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&node, sizeof(node)) < 0)
        return NULL;
    struct client *client = mem_zero(1, sizeof(*client));
    client->listener = listener;
    client->address = *address;
    if (relay_watch(relay, &client->node, steal_fd(fd), answer, client, EPOLLIN) < 0) {
        free(client);
        return NULL;
    }
    list_append(&relay->clients, &client->owner.link);
    relay->client_count++;
    map_set(&relay->clients_by_key, key, client);
    return client;
}

void relay_receive(struct relay *relay, void *owner, uint32_t events)
{
    struct listener *listener = owner;
    for (int i = 0; i < RELAY_DATAGRAMS_PER_EVENT; i++) {
        struct sockaddr_in from = {0};
        socklen_t size = sizeof(from);
        char key[KEY_MAX];
        ssize_t n = recvfrom(listener->handle.fd, relay->datagram, RELAY_DATAGRAM_MAX, 0, (struct sockaddr *)&from, &size);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            continue;
        client_key(listener, &from, key);
        struct client *client = map_get(&relay->clients_by_key, key);
        if (!client)
            client = new_client(relay, listener, &from, key);
        if (!client)
            continue;
        use(relay, client);
        send(client->node.fd, relay->datagram, (size_t)n, MSG_NOSIGNAL);
    }
}
