/* A server for tests, with a handler whose doings a test can wait for, and a client made of blocking sockets. Every
 * wait is bounded and ends the test when it takes too long.
 *
 *     GET  /hello          "hello"
 *     any  /echo           method, path, host, parameters and body, one per line
 *     GET  /lent           LENT_SIZE bytes in lent runs, whose releases are counted
 *     any  /hold           kept until fixture_answer
 *     GET  /stream?bytes=N a stream that fills its queue to HIGH_WATER and waits for it to drain
 *     GET  /flood          writes to a stream until the transport refuses, then waits to be cancelled
 *     GET  /endless        begins a stream, writes "begun" and waits to be cancelled
 *     GET  /abort          begins a stream and breaks it off
 *     any  /sized          a stream of ten digits whose length is said beforehand
 *     any  /sized?short    the same, which ends after five
 *     any  /sized?hold     the same, which waits to be cancelled after five
 *     GET  /peer           what is known of the client
 *     GET  /forgotten      neither answers nor keeps the request
 *     GET  /headers?long   sets more headers than there may be
 *     POST /upload         takes its body as a stream, with a pause after each piece: "BYTES SUM", or "whole BYTES"
 *     POST /upload?refuse  is answered with 403 before its body has come
 *     POST /upload?hold    takes none of its body and is kept until fixture_answer
 * A request with a fault gets 413 or 429. */
#ifndef CORACLE_TEST_SERVER_HTTP_FIXTURE_H
#define CORACLE_TEST_SERVER_HTTP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "server/http/http.h"
#include "server/pki.h"
#include "sanitized.h"

#define LENT_SIZE (1024 * 1024)
#define LENT_RUNS 64
#define HIGH_WATER (128 * 1024)
#define WAIT_SECONDS 20
#define HELD_MAX 300

struct fixture {
    struct http_server *server;
    struct pki *pki;
    int port; /* plain */
    int tls_port;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Counted under the lock */
    unsigned arrived, cancelled, released, refused_writes;
    size_t largest_queue;
    struct http_request *held[HELD_MAX];
    unsigned held_count;
};

extern struct fixture fixture;

/* Starts the server with these limits and one I/O thread. */
void fixture_start(const struct http_limits *limits);
/* Stops it; all it had must be released. */
void fixture_stop(void);
/* A test with a server of its own. */
int fixture_set_up(void **state);
int fixture_tear_down(void **state);
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, fixture_set_up, fixture_tear_down)
/* Waits until the counter, one of the fixture's, has reached n. */
void fixture_wait(const unsigned *counter, unsigned n);
/* Waits until so many requests are held. */
void fixture_wait_held(unsigned n);
/* Answers the i-th held request, from this thread through its mailbox. */
void fixture_answer(unsigned i, const char *body);

/* Bytes of this process in memory. */
size_t resident_memory(void);
/* Raises the limit of descriptors to what `count` connections take, at both ends; skips the test where that may not be.
 * `before` is what to set it back to. */
struct rlimit;
void allow_connections(unsigned count, struct rlimit *before);

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
/* A connected blocking socket. */
int client_connect(int port);
void client_send(int fd, const char *text);
void client_send_bytes(int fd, const void *data, size_t size);
/* Reads one response, head and body by Content-Length or chunks, into `out`, which is emptied first: the status line
 * and headers as they came, then the body, dechunked. Returns the status, 0 at end of file. `head` means no body. */
int client_read_response(int fd, struct buffer *out, bool head);
/* The body in what client_read_response gave. */
const char *client_body(const struct buffer *response);
/* Sends, reads one response, asserts the status and returns the body. */
const char *client_ask(int fd, const char *text, int status, struct buffer *response);
/* Whether the connection is at its end; waits for it, and skips what comes before. */
void client_expect_end(int fd);

#endif
