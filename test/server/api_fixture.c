/* The API server, its core thread, the node's logs, and the client that its tests share. */
#include "api_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/timestamp.h"
#include "server/private.h"
#include "store/engine.h"

/* An answer's head, and a line of a watch, in the tests. */
#define HEAD_MAX (128 * 1024)
#define RECEIVE_MAX (64 * 1024)

struct api_logs api_logs;

/* A log that the node reads; the core thread's. */
struct fake_log {
    struct server_log log;
    struct list node;
    void (*chunk)(void *context, const char *data, size_t size, const struct error *err);
    void *context; /* set while a chunk is asked for */
};

static struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uv_loop_t loop;
    struct mailbox *mailbox;
    struct env *env;
    const struct env_operations *operations;
    struct env_operations hurried;
    bool hurry;
    struct store *store;
    struct registry *registry;
    struct pki *pki;
    struct server *server;
    struct list logs;
    int port;
    bool ready, hold, held, released, stop_begun, stopped;
    struct pki_pair pair; /* of the administrator */
    SSL_CTX *admin, *nobody;
    struct connection *shared;
} api;

/* ---- Waiting ---- */

static struct timespec deadline(void)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += WAIT_SECONDS;
    return end;
}

static void set(bool *flag, bool value)
{
    pthread_mutex_lock(&api.lock);
    *flag = value;
    pthread_cond_broadcast(&api.changed);
    pthread_mutex_unlock(&api.lock);
}

static void wait_for(const bool *flag)
{
    struct timespec end = deadline();
    pthread_mutex_lock(&api.lock);
    int late = 0;
    while (!*flag && !late)
        late = pthread_cond_timedwait(&api.changed, &api.lock, &end);
    bool got = *flag;
    pthread_mutex_unlock(&api.lock);
    if (!got)
        fail_msg("waited in vain");
}

static void wait_count(const unsigned *counter, unsigned count)
{
    struct timespec end = deadline();
    pthread_mutex_lock(&api.lock);
    int late = 0;
    while (*counter < count && !late)
        late = pthread_cond_timedwait(&api.changed, &api.lock, &end);
    unsigned got = *counter;
    pthread_mutex_unlock(&api.lock);
    if (got < count)
        fail_msg("waited in vain for %u, got %u", count, got);
}

static void count(unsigned *counter)
{
    pthread_mutex_lock(&api.lock);
    ++*counter;
    pthread_cond_broadcast(&api.changed);
    pthread_mutex_unlock(&api.lock);
}

unsigned api_asked(void)
{
    pthread_mutex_lock(&api.lock);
    unsigned n = api_logs.asked;
    pthread_mutex_unlock(&api.lock);
    return n;
}

void api_wait_asked(unsigned n)
{
    wait_count(&api_logs.asked, n);
}

void api_wait_closed(unsigned n)
{
    wait_count(&api_logs.closed, n);
}

/* Figures that nobody announces are looked at again and again. */
static void poll_until(uint64_t (*figure)(void), uint64_t wanted)
{
    struct timespec end = deadline(), now, pause = {.tv_nsec = 1000000};
    while (figure() != wanted) {
        clock_gettime(CLOCK_REALTIME, &now);
        if (now.tv_sec > end.tv_sec)
            fail_msg("waited in vain for %llu, is %llu", (unsigned long long)wanted, (unsigned long long)figure());
        nanosleep(&pause, NULL);
    }
}

static uint64_t connections(void)
{
    struct http_statistics s;
    http_server_statistics(api.server->http, &s);
    return s.connections_open;
}

static uint64_t requests(void)
{
    struct http_statistics s;
    http_server_statistics(api.server->http, &s);
    return s.requests_in_flight;
}

void api_wait_connections(uint64_t n)
{
    poll_until(connections, n);
}

void api_wait_requests(uint64_t n)
{
    poll_until(requests, n);
}

static void read_watches(void *context)
{
    *(uint64_t *)context = api.server->watches;
}

static uint64_t watches(void)
{
    uint64_t n = 0;
    api_on_core(read_watches, &n);
    return n;
}

size_t api_watches(void)
{
    return (size_t)watches();
}

void api_wait_watches(size_t n)
{
    poll_until(watches, n);
}

/* ---- The core thread ---- */

struct call {
    env_callback callback;
    void *context;
    bool done;
};

static void run_call(void *context)
{
    struct call *call = context;
    call->callback(call->context);
    set(&call->done, true);
}

void api_on_core(env_callback callback, void *context)
{
    struct call call = {callback, context, false};
    mailbox_send(api.mailbox, run_call, &call);
    wait_for(&call.done);
}

static void be_held(void *context)
{
    (void)context;
    set(&api.held, true);
    pthread_mutex_lock(&api.lock);
    while (api.hold)
        pthread_cond_wait(&api.changed, &api.lock);
    pthread_mutex_unlock(&api.lock);
    set(&api.released, true);
}

void api_core_hold(void)
{
    set(&api.hold, true);
    set(&api.held, false);
    set(&api.released, false);
    mailbox_send(api.mailbox, be_held, NULL);
    wait_for(&api.held);
}

/* Waits for the core thread to go on: a hold that came before it did would be taken for the old one. */
void api_core_release(void)
{
    set(&api.hold, false);
    wait_for(&api.released);
}

static void timer_start(struct env_timer *timer, int64_t delay)
{
    api.operations->timer_start(timer, api.hurry ? delay / 60000 : delay);
}

static void set_hurry(void *context)
{
    api.hurry = *(bool *)context;
}

void api_hurry(bool hurry)
{
    api_on_core(set_hurry, &hurry);
}

struct server *api_server(void)
{
    return api.server;
}

struct store *api_store(void)
{
    return api.store;
}

const struct pki_pair *api_admin(void)
{
    return &api.pair;
}

const char *api_authority(void)
{
    return pki_ca_certificate(api.pki);
}

int api_port(void)
{
    return api.port;
}

/* ---- The node's logs, on the core thread ---- */

static void log_next(struct server_log *base,
                     void (*chunk)(void *context, const char *data, size_t size, const struct error *err),
                     void *context)
{
    struct fake_log *log = (struct fake_log *)base;
    assert_null(log->chunk); /* one chunk at a time */
    log->chunk = chunk;
    log->context = context;
    count(&api_logs.asked);
}

static void log_close(struct server_log *base)
{
    struct fake_log *log = (struct fake_log *)base;
    list_remove(&log->node);
    free(log);
    count(&api_logs.closed);
}

static struct server_log *open_log(void *context, const struct server_log_request *request, struct error *err)
{
    (void)context;
    if (api_logs.refuse) {
        error_set(err, api_logs.refuse_code, "%s", api_logs.refuse);
        return NULL;
    }
    struct fake_log *log = mem_zero(1, sizeof(*log));
    log->log.next = log_next;
    log->log.close = log_close;
    list_append(&api.logs, &log->node);
    pthread_mutex_lock(&api.lock);
    api_logs.previous = request->previous;
    api_logs.follow = request->follow;
    api_logs.timestamps = request->timestamps;
    api_logs.skip_stdout = request->skip_stdout;
    api_logs.skip_stderr = request->skip_stderr;
    api_logs.tail_lines = request->tail_lines;
    api_logs.limit_bytes = request->limit_bytes;
    snprintf(api_logs.container, sizeof(api_logs.container), "%s", request->container);
    pthread_mutex_unlock(&api.lock);
    count(&api_logs.opened);
    return &log->log;
}

struct gift {
    const char *data, *error;
    size_t size;
};

static void give(void *context)
{
    struct gift *gift = context;
    struct fake_log *log;
    list_for_each(&api.logs, log, node)
    {
        if (!log->chunk)
            continue;
        struct error err = {.code = EIO};
        if (gift->error)
            snprintf(err.text, sizeof(err.text), "%s", gift->error);
        void (*chunk)(void *, const char *, size_t, const struct error *) = steal_pointer(log->chunk);
        chunk(log->context, gift->data, gift->size, gift->error ? &err : NULL);
        return;
    }
    fail_msg("nobody has asked for a chunk");
}

void api_log_give(const char *data, size_t size, const char *error)
{
    struct gift gift = {data, error, size};
    api_on_core(give, &gift);
}

/* ---- Start and stop ---- */

static void bootstrapped(void *context)
{
    (void)context;
    set(&api.ready, true);
}

static int listen_on_loopback(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1024), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    api.port = ntohs(address.sin_port);
    return fd;
}

static void *core(void *context)
{
    int fd = *(int *)context;
    struct error err = {0};
    uv_loop_init(&api.loop);
    api.env = env_uv_new(&api.loop);
    api.operations = api.env->operations;
    api.hurried = *api.operations;
    api.hurried.timer_start = timer_start;
    api.env->operations = &api.hurried;
    api.mailbox = mailbox_new(&api.loop);
    api.store = store_new(api.env, engine_memory_new(api.env));
    struct registry_options options = {"10.96.0.0/16", "fd00:10:96::/112", 30000, 32767};
    struct pki_options pki = {.now = env_now(api.env)};
    if (store_open(api.store, &err) < 0 || pki_open(&pki, &api.pki, &err) < 0)
        abort();
    api.registry = registry_new(api.env, api.store, &options);
    struct server_options server = {.env = api.env,
                                    .registry = api.registry,
                                    .store = api.store,
                                    .pki = api.pki,
                                    .node = {.open_log = open_log},
                                    .threads = 2};
    if (server_new(&server, &api.server, &err) < 0 || server_listen(api.server, fd, &err) < 0)
        abort();
    registry_bootstrap(api.registry, &(struct registry_bootstrap){.address = "192.0.2.1", .api_port = 6443},
                       bootstrapped, NULL);
    uv_run(&api.loop, UV_RUN_DEFAULT); /* until everything is closed */
    return (void *)(intptr_t)uv_loop_close(&api.loop);
}

static SSL_CTX *client_context(const struct pki_pair *pair)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert_non_null(context);
    BIO *bio = BIO_new_mem_buf(pki_ca_certificate(api.pki), -1);
    X509 *ca = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca), 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    X509_free(ca);
    BIO_free(bio);
    if (!pair)
        return context;
    bio = BIO_new_mem_buf(pair->certificate, -1);
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
    X509_free(certificate);
    BIO_free(bio);
    bio = BIO_new_mem_buf(pair->key, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return context;
}

int api_start(void **state)
{
    (void)state;
    static const char *const groups[] = {"system:masters"};
    pthread_mutex_init(&api.lock, NULL);
    pthread_cond_init(&api.changed, NULL);
    list_init(&api.logs);
    int fd = listen_on_loopback();
    api.ready = api.stop_begun = api.stopped = api.hurry = false;
    pthread_create(&api.thread, NULL, core, &fd);
    wait_for(&api.ready);
    assert_int_equal(pki_client(api.pki, "kubernetes-admin", groups, 1, env_now(api.env), &api.pair, NULL), 0);
    api.admin = client_context(&api.pair);
    api.nobody = client_context(NULL);
    return 0;
}

static void server_gone(void *context)
{
    (void)context;
    registry_free(api.registry);
    store_free(api.store);
    pki_free(api.pki);
    mailbox_free(api.mailbox);
    env_uv_free(api.env);
    set(&api.stopped, true);
}

static void stop(void *context)
{
    (void)context;
    server_stop(api.server, server_gone, NULL);
}

void api_begin_stop(void)
{
    api.stop_begun = true;
    api_on_core(stop, NULL);
}

void api_stopped(void)
{
    wait_for(&api.stopped);
}

int api_stop(void **state)
{
    (void)state;
    void *result;
    disconnect(steal_pointer(api.shared));
    if (!api.stop_begun)
        api_begin_stop();
    api_stopped();
    pthread_join(api.thread, &result);
    assert_int_equal((intptr_t)result, 0);
    assert_true(list_empty(&api.logs));
    pki_pair_free(&api.pair);
    SSL_CTX_free(api.admin);
    SSL_CTX_free(api.nobody);
    pthread_cond_destroy(&api.changed);
    pthread_mutex_destroy(&api.lock);
    api_logs = (struct api_logs){0};
    return 0;
}

/* ---- A connection ---- */

struct connection {
    int fd;
    SSL *tls;
    char received[RECEIVE_MAX];
    size_t at, size;
    bool chunked, ended, broken;
    uint64_t left; /* of the body, or of the chunk */
    struct answer answer;
    struct buffer line, value;
    json_t *event;
};

static struct connection *connect_with(SSL_CTX *context)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)api.port)};
    struct timeval patience = {.tv_sec = WAIT_SECONDS};
    struct connection *c = mem_zero(1, sizeof(*c));
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(c->fd >= 0);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    assert_int_equal(connect(c->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    c->tls = SSL_new(context);
    SSL_set_fd(c->tls, c->fd);
    if (SSL_connect(c->tls) != 1)
        fail_msg("the handshake failed");
    return c;
}

struct connection *connect_as_admin(void)
{
    return connect_with(api.admin);
}

struct connection *connect_as_nobody(void)
{
    return connect_with(api.nobody);
}

void disconnect(struct connection *c)
{
    if (!c)
        return;
    SSL_free(c->tls);
    close(c->fd);
    buffer_free(&c->answer.head);
    buffer_free(&c->answer.body);
    buffer_free(&c->line);
    buffer_free(&c->value);
    json_decref(c->answer.json);
    json_decref(c->event);
    free(c);
}

void send_bytes(struct connection *c, const void *data, size_t size)
{
    if (size && SSL_write(c->tls, data, (int)size) != (int)size)
        c->broken = true;
}

void send_text(struct connection *c, const char *text)
{
    send_bytes(c, text, strlen(text));
}

/* The bytes that are there, at least one; false at the end. */
static bool fill(struct connection *c)
{
    if (c->at < c->size)
        return true;
    int n = SSL_read(c->tls, c->received, sizeof(c->received));
    if (n <= 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && SSL_get_error(c->tls, n) == SSL_ERROR_WANT_READ)
        fail_msg("waited in vain for an answer");
    c->at = 0;
    c->size = n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* A line without its end; false when the connection ended before. */
static bool read_head_line(struct connection *c, struct buffer *out)
{
    size_t start = out->size;
    while (out->size < HEAD_MAX && fill(c)) {
        char byte = c->received[c->at++];
        buffer_add_char(out, byte);
        if (byte != '\n')
            continue;
        assert_true(out->size >= start + 2 && out->data[out->size - 2] == '\r');
        return true;
    }
    return false;
}

const char *header(struct answer *a, const char *name, unsigned n)
{
    static char value[4096];
    size_t size = strlen(name);
    for (const char *at = a->head.data; at && *at; at = strchr(at, '\n') + 1) {
        if (strncasecmp(at, name, size) != 0 || at[size] != ':' || n--)
            continue;
        const char *text = at + size + 1 + strspn(at + size + 1, " ");
        snprintf(value, sizeof(value), "%.*s", (int)strcspn(text, "\r"), text);
        return value;
    }
    return NULL;
}

static bool read_head(struct connection *c)
{
    struct answer *a = &c->answer;
    do {
        buffer_clear(&a->head);
        size_t before;
        do {
            before = a->head.size;
            if (!read_head_line(c, &a->head))
                return false;
        } while (a->head.size > before + 2);
        assert_int_equal(sscanf(a->head.data, "HTTP/1.1 %d", &a->code), 1);
    } while (a->code == 100);
    const char *length = header(a, "Content-Length", 0);
    c->left = length ? strtoull(length, NULL, 10) : 0;
    const char *encoding = header(a, "Transfer-Encoding", 0);
    c->chunked = encoding && strcmp(encoding, "chunked") == 0;
    c->ended = !c->chunked && !c->left;
    return true;
}

static bool begin_chunk(struct connection *c)
{
    cleanup_buffer struct buffer line = {0};
    if (!read_head_line(c, &line))
        return false;
    c->left = strtoull(line.data, NULL, 16);
    if (c->left)
        return true;
    c->ended = true;
    buffer_clear(&line);
    return read_head_line(c, &line);
}

ssize_t read_some(struct connection *c, char *out, size_t size)
{
    cleanup_buffer struct buffer line = {0};
    if (c->ended)
        return 0;
    if (!c->left && c->chunked && !begin_chunk(c))
        return -1;
    if (c->ended)
        return 0;
    if (!fill(c))
        return -1;
    size_t n = c->size - c->at;
    if (n > c->left)
        n = (size_t)c->left;
    if (n > size)
        n = size;
    memcpy(out, c->received + c->at, n);
    c->at += n;
    c->left -= n;
    if (!c->left && c->chunked && !read_head_line(c, &line))
        return -1;
    c->ended = !c->chunked && !c->left;
    return (ssize_t)n;
}

struct answer *read_answer(struct connection *c, bool head_only)
{
    static char piece[RECEIVE_MAX];
    struct answer *a = &c->answer;
    buffer_clear(&a->body);
    json_decref(a->json);
    a->json = NULL;
    if (!read_head(c))
        fail_msg("the connection ended before an answer");
    ssize_t n;
    while (!head_only && (n = read_some(c, piece, sizeof(piece))) != 0) {
        if (n < 0)
            fail_msg("the connection ended within an answer");
        buffer_add(&a->body, piece, (size_t)n);
    }
    a->json = a->body.size ? json_loadb(a->body.data, a->body.size, JSON_DECODE_ANY, NULL) : NULL;
    return a;
}

struct answer *ask_on(struct connection *c, const char *method, const char *path, const char *headers, const char *body)
{
    cleanup_buffer struct buffer out = {0};
    size_t size = body ? strlen(body) : 0;
    bool typed = headers && strcasestr(headers, "Content-Type:");
    buffer_printf(&out, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s%sContent-Length: %zu\r\n\r\n", method, path,
                  headers ? headers : "", body && !typed ? "Content-Type: application/json\r\n" : "", size);
    buffer_add(&out, body, size);
    send_bytes(c, out.data, out.size);
    return read_answer(c, strcmp(method, "HEAD") == 0);
}

struct answer *ask(const char *method, const char *path, const char *headers, const char *body)
{
    if (!api.shared)
        api.shared = connect_as_admin();
    struct answer *a = ask_on(api.shared, method, path, headers, body);
    if (!header(a, "Connection", 0))
        return a;
    /* The server closes it: the next one comes on a new connection. The answer stays with this one until then. */
    static struct connection *last;
    disconnect(last);
    last = steal_pointer(api.shared);
    return a;
}

/* ---- Looking at answers ---- */

const char *json_field(json_t *json, const char *path)
{
    static char texts[4][64 * 1024];
    static unsigned turn;
    char *text = texts[turn++ % ARRAY_COUNT(texts)];
    char parts[256];
    snprintf(parts, sizeof(parts), "%s", path);
    char *save = NULL;
    for (char *part = strtok_r(parts, "/", &save); part && json; part = strtok_r(NULL, "/", &save)) {
        for (char *c = part; *c; c++)
            *c = *c == '|' ? '/' : *c; /* a key with a slash is written with a bar */
        json = json_is_array(json) ? json_array_get(json, (size_t)atoi(part)) : json_object_get(json, part);
    }
    if (!json)
        return NULL;
    if (json_is_string(json))
        return json_string_value(json);
    char *dumped = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
    snprintf(text, sizeof(texts[0]), "%s", dumped);
    free(dumped);
    return text;
}

const char *field(struct answer *a, const char *path)
{
    return json_field(a->json, path);
}

void assert_field_(struct answer *a, const char *path, const char *wanted, const char *file, int line)
{
    const char *text = field(a, path);
    if ((!text && !wanted) || (text && wanted && strcmp(text, wanted) == 0))
        return;
    print_error("%s is     %s\nwanted %s\nin %s\n", path, text ? text : "(nothing)", wanted ? wanted : "(nothing)",
                a->body.size ? a->body.data : "");
    _fail(file, line);
}

void assert_code_(struct answer *a, int wanted, const char *file, int line)
{
    if (a->code == wanted)
        return;
    print_error("code %d, wanted %d: %s\n", a->code, wanted, a->body.size ? a->body.data : "");
    _fail(file, line);
}

void assert_status_(struct answer *a, int code, const char *reason, const char *message, const char *file, int line)
{
    char number[16];
    snprintf(number, sizeof(number), "%d", code);
    assert_code_(a, code, file, line);
    assert_field_(a, "kind", "Status", file, line);
    assert_field_(a, "apiVersion", "v1", file, line);
    assert_field_(a, "metadata", "{}", file, line);
    assert_field_(a, "status", code < 400 ? "Success" : "Failure", file, line);
    assert_field_(a, "reason", reason, file, line);
    assert_field_(a, "message", message, file, line);
    assert_field_(a, "code", number, file, line);
}

void make(const char *path, const char *body)
{
    assert_code(ask("POST", path, NULL, body), 201);
}

void make_config_map(const char *name, const char *value)
{
    cleanup_buffer struct buffer body = {0};
    buffer_printf(&body, "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"%s\"}},\"data\":{\"key\":\"%s\"}}", name,
                  value, value);
    make(CONFIG_MAPS, body.data);
}

void make_pod(const char *name, const char *node, const char *containers)
{
    cleanup_buffer struct buffer body = {0};
    buffer_printf(&body,
                  "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"terminationGracePeriodSeconds\":0,\"nodeName\":\"%s\","
                  "\"containers\":%s}}",
                  name, node, containers);
    make(PODS, body.data);
}

int clean(void **state)
{
    (void)state;
    static const char *const paths[] = {CONFIG_MAPS, DEPLOYMENTS, PODS "?gracePeriodSeconds=0"};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++)
        assert_code(ask("DELETE", paths[i], NULL, NULL), 200);
    api_wait_watches(0);
    return 0;
}

/* ---- A watch ---- */

struct connection *watch_with(const char *path, const char *headers)
{
    cleanup_buffer struct buffer out = {0};
    struct connection *c = connect_as_admin();
    buffer_printf(&out, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path, headers ? headers : "");
    send_bytes(c, out.data, out.size);
    if (!read_head(c))
        fail_msg("the connection ended before an answer");
    assert_code(&c->answer, 200);
    return c;
}

struct connection *watch(const char *path)
{
    return watch_with(path, NULL);
}

static bool read_line(struct connection *c)
{
    char byte;
    buffer_clear(&c->line);
    for (;;) {
        ssize_t n = read_some(c, &byte, 1);
        if (n <= 0) {
            c->broken = n < 0;
            return false;
        }
        if (byte == '\n')
            return true;
        buffer_add_char(&c->line, byte);
    }
}

json_t *next_event(struct connection *c)
{
    json_decref(c->event);
    c->event = NULL;
    if (!read_line(c))
        return NULL;
    c->event = json_loadb(c->line.data, c->line.size, 0, NULL);
    if (!c->event)
        fail_msg("an event is no JSON: %s", c->line.data);
    return c->event;
}

json_t *assert_event_(struct connection *c, const char *type, const char *name, const char *file, int line)
{
    json_t *event = next_event(c);
    if (!event) {
        print_error("the watch ended instead of %s %s\n", type, name);
        _fail(file, line);
    }
    const char *is = json_field(event, "type"), *object = json_field(event, "object/metadata/name");
    if (!is || strcmp(is, type) != 0 || strcmp(object ? object : "", name) != 0) {
        print_error("wanted %s %s, got %s\n", type, name, c->line.data);
        _fail(file, line);
    }
    return event;
}

void assert_end_(struct connection *c, const char *file, int line)
{
    if (next_event(c) || c->broken) {
        print_error("the watch has not ended well: %s\n", c->line.size ? c->line.data : "");
        _fail(file, line);
    }
}
