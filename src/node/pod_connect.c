/* Connections to ports of pods, from inside their network: the socket is made in the pod's network namespace, and its
 * peer is the pod's loopback address, as upstream's runtimes do it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/task.h"
#include "network/namespace.h"
#include "node/node.h"
#include "node/runtime/sandbox.h"

/* How long an answer is waited for; a connection that takes longer is handed out as it is. Milliseconds. */
#define ANSWER_WAIT 100

struct pod_connect {
    struct agent *agent;
    char *network; /* of the pod; NULL: the node's */
    uint16_t port;
    int fd;
    struct error err;
    void (*done)(void *context, int fd, const struct error *err);
    void *context;
};

static int make_socket(const struct pod_connect *c, int family, struct error *err)
{
    int type = SOCK_STREAM | SOCK_NONBLOCK;
    if (!c->network) {
        int fd = socket(family, type | SOCK_CLOEXEC, 0);
        return fd < 0 ? error_errno(err, "make a socket") : fd;
    }
    cleanup_close int network = network_namespace_open(c->network, err);
    return network < 0 ? -1 : network_namespace_socket(network, family, type, 0, err);
}

static int connect_to(struct pod_connect *c, const struct sockaddr *address, socklen_t size, const char *name,
                      struct error *err)
{
    cleanup_close int fd = make_socket(c, address->sa_family, err);
    if (fd < 0)
        return -1;
    int failure = connect(fd, address, size) == 0 ? 0 : errno;
    struct pollfd answer = {.fd = fd, .events = POLLOUT};
    socklen_t length = sizeof(failure);
    if (failure == EINPROGRESS && poll(&answer, 1, ANSWER_WAIT) > 0)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &length);
    if (failure && failure != EINPROGRESS)
        return error_set(err, failure, "dial %s:%d: connect: %s", name, c->port,
                         failure == ECONNREFUSED ? "connection refused" : strerror(failure));
    c->fd = steal_fd(fd);
    return 0;
}

static void work(void *context)
{
    struct pod_connect *c = context;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(c->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(c->port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct error first, second;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect_to(c, (const struct sockaddr *)&v4, sizeof(v4), "tcp4 127.0.0.1", &first) == 0 ||
        connect_to(c, (const struct sockaddr *)&v6, sizeof(v6), "tcp6 [::1]", &second) == 0)
        return;
    error_set(&c->err, first.code, "failed to connect to localhost:%d inside the pod's network, IPv4: %s IPv6 %s",
              c->port, first.text, second.text);
}

static void finish(void *context)
{
    struct pod_connect *c = context;
    c->agent->removals--;
    c->done(c->context, c->fd, c->err.code ? &c->err : NULL);
    agent_settled(c->agent);
    free(c->network);
    free(c);
}

void agent_connect(struct agent *agent, const char *namespace, const char *pod, uint16_t port,
                   void (*done)(void *context, int fd, const struct error *err), void *context)
{
    struct pod_connect *c = mem_zero(1, sizeof(*c));
    struct object *object = informer_get(agent->pods, namespace, pod);
    const struct runtime_sandbox_status *sandbox =
        object ? runtime_sandbox_get(agent->runtime, object->meta->uid) : NULL;
    c->agent = agent;
    c->port = port;
    c->fd = -1;
    c->done = done;
    c->context = context;
    agent->removals++; /* the agent's stop waits for it */
    if (!sandbox) {
        error_set(&c->err, ENOENT, "%s", object ? "the pod is not running" : "pod does not exist");
        env_defer(agent->env, finish, c);
        return;
    }
    if (!sandbox->host_network)
        c->network = mem_string(sandbox->network_namespace);
    task_run(agent->env, work, finish, c);
}
