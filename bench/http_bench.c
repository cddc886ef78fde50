/* A server with trivial answers, to measure the transport by itself:
 *
 *     build/bench/http_bench [THREADS] &      prints the port that it serves on 127.0.0.1 by TLS
 *     wrk -t1 -c32 -d5 https://127.0.0.1:PORT/
 *     h2load -t1 -c8 -m32 -D5 https://127.0.0.1:PORT/
 *
 * Paths: / 400 bytes, /large 4 MiB lent without a copy, /core answered by another thread through its mailbox. It ends
 * at the end of its standard input. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/cleanup.h"
#include "base/timestamp.h"
#include "server/http/http.h"
#include "server/pki.h"

#define LARGE_SIZE (4 * 1024 * 1024)

static char small_body[401];
static char large_body[LARGE_SIZE];
static struct mailbox *core;

static void answer(struct http_request *request)
{
    http_response_header(request, "Content-Type", "application/json");
    http_response_header(request, "Cache-Control", "no-cache, private");
    struct http_bytes body = strcmp(request->path, "/large") == 0
                                 ? (struct http_bytes){large_body, LARGE_SIZE, NULL, NULL}
                                 : (struct http_bytes){small_body, sizeof(small_body) - 1, NULL, NULL};
    http_respond(request, 200, &body, 1);
}

static void finish(void *request)
{
    answer(request);
    http_request_release(request);
}

static void work(void *request)
{
    mailbox_send(http_request_mailbox(request), finish, request);
}

static void handle(struct http_request *request, void *context)
{
    (void)context;
    if (strcmp(request->path, "/core") != 0) {
        answer(request);
        return;
    }
    http_request_retain(request);
    mailbox_send(core, work, request);
}

static void run_core(void *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
}

static void close_core(void *context)
{
    (void)context;
    mailbox_free(core);
}

static int listen_on_loopback(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 1024) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return -1;
    *port = ntohs(address.sin_port);
    return fd;
}

int main(int argc, char **argv)
{
    memset(small_body, 'x', sizeof(small_body) - 1);
    memset(large_body, 'y', sizeof(large_body));
    uv_loop_t loop;
    uv_loop_init(&loop);
    core = mailbox_new(&loop);
    uv_thread_t thread;
    uv_thread_create(&thread, run_core, &loop);

    struct error err = {0};
    struct pki *pki = NULL;
    const struct pki_options pki_options = {.now = (int64_t)time(NULL) * SECOND};
    const struct http_options options = {.threads = argc > 1 ? (unsigned)atoi(argv[1]) : 0, .handler = handle};
    int port = 0, plain_port = 0;
    struct http_server *server = NULL;
    if (pki_open(&pki_options, &pki, &err) == 0 && (server = http_server_new(&options, &err))) {
        const struct http_tls tls = {pki_server_certificate(pki), pki_server_key(pki), pki_ca_certificate(pki)};
        if (http_server_set_tls(server, &tls, &err) == 0 &&
            http_server_listen(server, listen_on_loopback(&port), false, &err) == 0 &&
            http_server_listen(server, listen_on_loopback(&plain_port), true, &err) == 0) {
            printf("%d %d\n", port, plain_port);
            fflush(stdout);
            while (getchar() != EOF)
                ;
        }
    }
    if (err.code)
        fprintf(stderr, "http_bench: %s\n", err.text);
    http_server_free(server);
    pki_free(pki);
    mailbox_send(core, close_core, NULL);
    uv_thread_join(&thread);
    uv_loop_close(&loop);
    return err.code ? 1 : 0;
}
