/* An API server for tests: the registry on the memory engine and the server in front of it on a core thread of their
 * own, and clients made of blocking TLS sockets on the test's thread. Every wait is bounded and ends the test when it
 * takes too long. */
#ifndef CORACLE_TEST_SERVER_API_FIXTURE_H
#define CORACLE_TEST_SERVER_API_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "server/server.h"
#include "sanitized.h"

#define WAIT_SECONDS 30
#define CONFIG_MAPS "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"
#define DEPLOYMENTS "/apis/apps/v1/namespaces/default/deployments"

/* cmocka's set-up and tear-down of a group. The end asserts that the loop has nothing left. */
int api_start(void **state);
int api_stop(void **state);
/* The server as it runs; for the core thread. */
struct server *api_server(void);
struct store *api_store(void);
int api_port(void);
/* The administrator's certificate and key, and the authority's certificate, as PEM. */
const struct pki_pair *api_admin(void);
const char *api_authority(void);
/* Runs callback(context) on the core thread and waits until it has. */
void api_on_core(env_callback callback, void *context);
/* Stops the core thread from doing anything until api_core_release. */
void api_core_hold(void);
void api_core_release(void);
/* Minutes of the core thread's timers that are started from now on last milliseconds. */
void api_hurry(bool hurry);
/* Waits until the server has so many connections or, then, requests under way. */
void api_wait_connections(uint64_t count);
void api_wait_requests(uint64_t count);
/* The watches of clients. */
void api_wait_watches(size_t count);
size_t api_watches(void);
/* Stops the server and returns; api_stop or api_stopped wait for the end. */
void api_begin_stop(void);
void api_stopped(void);

/* ---- The logs of containers, as the node would give them ---- */

struct api_logs {
    unsigned opened, closed, asked; /* so far */
    bool previous, follow, timestamps, skip_stdout, skip_stderr;
    int64_t tail_lines, limit_bytes;
    char container[64];
    const char *refuse; /* the text of an error that opening gives; code 2 (ENOENT) or another */
    int refuse_code;
};
/* What the node has seen; to be read while the core thread is held or from it. */
extern struct api_logs api_logs;
/* The chunks that have been asked for by now. */
unsigned api_asked(void);
/* Waits until so many chunks have been asked for, or logs closed. */
void api_wait_asked(unsigned count);
void api_wait_closed(unsigned count);
/* Answers the oldest open question; size 0 is the end, error an error. */
void api_log_give(const char *data, size_t size, const char *error);

/* ---- A connection ---- */

struct line;

/* Connected, after the handshake; as the administrator, or as nobody. */
struct connection *connect_as_admin(void);
struct connection *connect_as_nobody(void);
/* Closes it at once, without a word. NULL is fine. */
void disconnect(struct connection *c);
void send_text(struct connection *c, const char *text);
void send_bytes(struct connection *c, const void *data, size_t size);

struct answer {
    int code;
    struct buffer head; /* status line and headers */
    struct buffer body;
    json_t *json; /* of the body, or NULL */
};

/* Reads one answer in whole, dechunked; the connection owns it until the next one. */
struct answer *read_answer(struct connection *c, bool head_only);
/* The value of the n-th header of that name, or NULL; owned by the answer until the next call. */
const char *header(struct answer *a, const char *name, unsigned n);

/* Sends a request with more header lines ("Accept: x\r\n") and a body, either of which may be NULL, and reads the
 * answer. Without a type in the headers, the body is JSON. */
struct answer *ask_on(struct connection *c, const char *method, const char *path, const char *headers,
                      const char *body);
/* The same on the administrator's connection, which is made when it is needed. */
struct answer *ask(const char *method, const char *path, const char *headers, const char *body);

/* The text of a field ("metadata/name", "items/0/kind"); numbers and structures as compact JSON; NULL: not there. */
const char *field(struct answer *a, const char *path);
const char *json_field(json_t *json, const char *path);
void assert_field_(struct answer *a, const char *path, const char *wanted, const char *file, int line);
#define assert_field(a, path, wanted) assert_field_(a, path, wanted, __FILE__, __LINE__)
void assert_code_(struct answer *a, int wanted, const char *file, int line);
#define assert_code(a, wanted) assert_code_(a, wanted, __FILE__, __LINE__)
/* A Status with that code, reason and message. */
void assert_status_(struct answer *a, int code, const char *reason, const char *message, const char *file, int line);
#define assert_status(a, code, reason, message) assert_status_(a, code, reason, message, __FILE__, __LINE__)

/* Makes an object, which must be new. */
void make(const char *path, const char *body);
void make_config_map(const char *name, const char *value);
void make_pod(const char *name, const char *node, const char *containers);
/* Deletes what the tests made in default and waits for the last watch to end, so that the next one finds nothing. */
int clean(void **state);

/* ---- A watch ---- */

/* Sends a GET and reads the head, which must have code 200. */
struct connection *watch_with(const char *path, const char *headers);
struct connection *watch(const char *path);
/* The next event, owned by the connection until the next call; NULL at the end of the answer. */
json_t *next_event(struct connection *c);
/* It is such an event of an object of that name ("" of a bookmark). Returns it. */
json_t *assert_event_(struct connection *c, const char *type, const char *name, const char *file, int line);
#define assert_event(c, type, name) assert_event_(c, type, name, __FILE__, __LINE__)
void assert_end_(struct connection *c, const char *file, int line);
#define assert_end(c) assert_end_(c, __FILE__, __LINE__)
/* The next bytes of the answer's body up to that size; 0 at its end, -1 when the connection broke. */
ssize_t read_some(struct connection *c, char *out, size_t size);

#endif
