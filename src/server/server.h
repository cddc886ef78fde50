/* The API server: HTTP in front of the registry. It authenticates, routes, decodes, submits to the registry's thread
 * (the core thread), and writes what comes back; it serves discovery, OpenAPI, watches, logs and metrics. Rules are
 * the registry's, words api/status.h's.
 *
 * Threads: I/O threads decode and encode; everything that touches the registry runs on the core thread, reached
 * through a mailbox. The functions here are for the core thread. */
#ifndef CORACLE_SERVER_SERVER_H
#define CORACLE_SERVER_SERVER_H

#include "api/usage.h"
#include "base/buffer.h"
#include "base/error.h"
#include "registry/registry.h"
#include "server/pki.h"
#include "store/store.h"

/* A log being read, on the core thread. The implementation embeds this. */
struct server_log {
    /* Asks for one chunk, answered once, later: size 0 is the end, or an error when err is set. */
    void (*next)(struct server_log *log,
                 void (*chunk)(void *context, const char *data, size_t size, const struct error *err), void *context);
    /* No chunk is delivered after this. */
    void (*close)(struct server_log *log);
};

/* A command in a container, or its own process when `command` is NULL, to talk to. */
struct server_exec_request {
    const char *namespace;
    const char *pod;
    const char *container;
    const char *const *command;
    size_t command_count;
    bool in, out, err, tty; /* with a terminal, err is false */
};

/* Its standard streams as descriptors, nonblocking, for whoever gets them to close; -1: there is none. With `packets`, `in`
 * is a socket of sequenced packets for all: each packet that is read begins with a byte, 2 for output, 3 for errors; what
 * is written is input, and the end of it the shutdown of its writing half. A terminal is `in` alone, both ways. */
struct server_exec_streams {
    int in, out, err;
    bool packets;
};

/* On the core thread. The implementation embeds this. */
struct server_exec {
    void (*resize)(struct server_exec *exec, uint16_t columns, uint16_t rows);
    /* The client has gone: a command is killed, an attached process let go. `ended` still follows. */
    void (*cancel)(struct server_exec *exec);
};

struct server_exec_events {
    /* At most once. */
    void (*streams)(void *context, const struct server_exec_streams *streams);
    /* Once, and the server_exec is gone with it: the command's exit code, or why it could not be run. */
    void (*ended)(void *context, int exit_code, const struct error *err);
};

struct server_log_request {
    const char *namespace;
    const char *pod;
    const char *container; /* never NULL: chosen by the server as upstream chooses it */
    bool previous;
    bool follow;
    bool timestamps;
    int64_t tail_lines;  /* negative: all */
    int64_t since;       /* instant, microseconds; 0: all */
    int64_t limit_bytes; /* negative: no limit */
    bool skip_stdout, skip_stderr;
};

/* The way to the node that runs a pod. Called on the core thread. */
struct server_node_access {
    /* NULL with err set (ENOENT: 404, else 400, the text is upstream's) when there is no such log. */
    struct server_log *(*open_log)(void *context, const struct server_log_request *request, struct error *err);
    /* What the nodes and their pods use: done runs once, later. NULL: nobody measures. */
    void (*usage)(void *context, usage_done done, void *done_context);
    /* Events come later, never from inside. NULL with err set (upstream's texts) when there is no such container, or it
     * does not run. */
    struct server_exec *(*exec)(void *context, const struct server_exec_request *request,
                                const struct server_exec_events *events, void *event_context, struct error *err);
    /* Connects to a port of a pod, inside of the pod's network. done runs once, later: with a nonblocking socket, which is
     * connected or about to be and for whoever gets it to close, or with err. */
    void (*connect)(void *context, const char *namespace, const char *pod, uint16_t port,
                    void (*done)(void *context, int fd, const struct error *err), void *done_context);
    /* Appends lines in Prometheus' text format to what /metrics shows; may be NULL. */
    void (*metrics)(void *context, struct buffer *out);
    void *context;
};

struct server_options {
    struct env *env; /* of the core thread's libuv loop */
    struct registry *registry;
    struct store *store; /* for figures */
    struct pki *pki;
    const struct token_issuer *tokens; /* NULL: bearer tokens are refused */
    struct server_node_access node;
    unsigned threads; /* I/O threads; 0: as many as there are cores, at most 4 */
};

struct server;

int server_new(const struct server_options *options, struct server **out, struct error *err);
/* Serves a bound, listening socket, which it takes over; see http/http.h. */
int server_listen(struct server *server, int fd, struct error *err);
/* Stops: watches end, requests finish. done runs on the core thread when the server is gone. */
void server_stop(struct server *server, env_callback done, void *context);

#endif
