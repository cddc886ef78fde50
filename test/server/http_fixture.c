/* The server and the client that the transport's tests share. */
#include "http_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/timestamp.h"

struct fixture fixture;

static char lent[LENT_SIZE];

static void changed(unsigned *counter)
{
    pthread_mutex_lock(&fixture.lock);
    ++*counter;
    pthread_cond_broadcast(&fixture.changed);
    pthread_mutex_unlock(&fixture.lock);
}

void fixture_wait(const unsigned *counter, unsigned n)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += WAIT_SECONDS;
    pthread_mutex_lock(&fixture.lock);
    int late = 0;
    while (*counter < n && !late)
        late = pthread_cond_timedwait(&fixture.changed, &fixture.lock, &end);
    unsigned got = *counter;
    pthread_mutex_unlock(&fixture.lock);
    if (got < n)
        fail_msg("waited in vain for %u, got %u", n, got);
}

void fixture_wait_held(unsigned n)
{
    fixture_wait(&fixture.held_count, n);
}

/* ---- The handler ---- */

static void count_release(void *owner)
{
    (void)owner;
    changed(&fixture.released);
}

static void on_cancel(void *request)
{
    changed(&fixture.cancelled);
    http_request_release(request);
}

static void echo(struct http_request *request)
{
    struct buffer b = {0};
    buffer_printf(&b, "%s %s\nhost=%s\n", request->method_name, request->path, request->host);
    for (size_t i = 0; i < request->parameter_count; i++)
        buffer_printf(&b, "%s=%s\n", request->parameters[i].name, request->parameters[i].value);
    buffer_add(&b, request->body, request->body_size);
    struct http_bytes run = http_bytes_owned(b.data, b.size);
    http_respond(request, 200, &run, 1);
}

static void answer_lent(struct http_request *request)
{
    struct http_bytes runs[LENT_RUNS];
    for (size_t i = 0; i < LENT_RUNS; i++)
        runs[i] = (struct http_bytes){lent + i * (LENT_SIZE / LENT_RUNS), LENT_SIZE / LENT_RUNS, count_release, NULL};
    http_respond(request, 200, runs, LENT_RUNS);
}

static void note_queue(struct http_request *request)
{
    size_t queued = http_stream_queued(request);
    pthread_mutex_lock(&fixture.lock);
    if (queued > fixture.largest_queue)
        fixture.largest_queue = queued;
    pthread_mutex_unlock(&fixture.lock);
}

/* How many bytes the stream has still to write stands in request->context. */
static void fill(void *context)
{
    struct http_request *request = context;
    size_t left = (size_t)(uintptr_t)request->context;
    while (left && http_stream_queued(request) < HIGH_WATER) {
        size_t n = left < 10000 ? left : 10000;
        struct http_bytes run = {lent, n, NULL, NULL};
        if (!http_stream_write(request, &run, 1))
            return; /* cancelled */
        left -= n;
        note_queue(request);
    }
    request->context = (void *)(uintptr_t)left;
    if (left) {
        http_stream_on_drained(request, HIGH_WATER / 2, fill, request);
        return;
    }
    http_stream_end(request);
    http_request_release(request);
}

static void begin_stream(struct http_request *request)
{
    http_request_retain(request);
    http_request_on_cancel(request, on_cancel, request);
    http_stream_begin(request, 200);
    changed(&fixture.arrived);
}

static void answer_stream(struct http_request *request)
{
    const char *bytes = http_request_parameter(request, "bytes");
    request->context = (void *)(uintptr_t)strtoull(bytes ? bytes : "0", NULL, 10);
    begin_stream(request);
    fill(request);
}

static void answer_flood(struct http_request *request)
{
    begin_stream(request);
    struct http_bytes run = {lent, LENT_SIZE / LENT_RUNS, count_release, NULL};
    while (http_stream_write(request, &run, 1))
        note_queue(request);
    changed(&fixture.refused_writes);
}

static void answer_endless(struct http_request *request)
{
    begin_stream(request);
    http_stream_write(request, &HTTP_STATIC("begun"), 1);
}

static void answer_abort(struct http_request *request)
{
    http_stream_begin(request, 200);
    http_stream_write(request, &HTTP_STATIC("begun"), 1);
    http_stream_abort(request);
}

static void answer_sized(struct http_request *request)
{
    bool held = strcmp(request->query, "hold") == 0;
    if (held) {
        http_request_retain(request);
        http_request_on_cancel(request, on_cancel, request);
    }
    http_stream_begin_sized(request, 200, 10);
    http_stream_write(request, &HTTP_STATIC("01234"), 1);
    if (held) {
        changed(&fixture.arrived);
        return;
    }
    if (strcmp(request->query, "short") != 0)
        http_stream_write(request, &HTTP_STATIC("56789"), 1);
    http_stream_end(request);
}

static void hold(struct http_request *request)
{
    http_request_retain(request);
    http_request_on_cancel(request, on_cancel, request);
    pthread_mutex_lock(&fixture.lock);
    fixture.held[fixture.held_count++] = request;
    pthread_cond_broadcast(&fixture.changed);
    pthread_mutex_unlock(&fixture.lock);
}

static void answer_peer(struct http_request *request)
{
    const struct http_peer *p = request->peer;
    struct buffer b = {0};
    buffer_printf(&b, "%s %s cn=%s", p->address, p->tls ? "tls" : "plain", p->common_name ? p->common_name : "-");
    for (size_t i = 0; i < p->organization_count; i++)
        buffer_printf(&b, " o=%s", p->organizations[i]);
    buffer_printf(&b, " %s %s %zu",
                  p->certificate == HTTP_CERTIFICATE_NONE       ? "none"
                  : p->certificate == HTTP_CERTIFICATE_VERIFIED ? "verified"
                                                                : "refused",
                  p->certificate_error ? p->certificate_error : "-", strlen(p->fingerprint));
    struct http_bytes run = http_bytes_owned(b.data, b.size);
    http_respond(request, 200, &run, 1);
}

static void answer_hello(struct http_request *request)
{
    http_response_header(request, "Content-Type", "text/plain");
    http_respond(request, 200, &HTTP_STATIC("hello"), 1);
}

static void answer_headers(struct http_request *request)
{
    cleanup_free char *value = mem_zero(1, 1001);
    memset(value, 'w', 1000);
    http_response_header(request, "X-First", "a\r\nX-Evil: b");
    for (int i = 0; i < 1000; i++)
        http_response_header(request, "Warning", http_request_parameter(request, "long") ? value : "short");
    http_respond(request, 200, &HTTP_STATIC("ok"), 1);
}

struct upload {
    struct http_request *request;
    size_t bytes, sum;
    bool paused, ended;
};

static void finish_upload(struct upload *upload)
{
    cleanup_free char *text = mem_printf("%zu %zu", upload->bytes, upload->sum);
    http_respond_text(upload->request, 200, "text/plain", text);
    http_request_release(upload->request);
    free(upload);
}

static void go_on(void *context)
{
    struct upload *upload = context;
    upload->paused = false;
    if (upload->ended)
        finish_upload(upload);
    else
        http_body_pause(upload->request, false);
}

static void take_piece(void *context, const char *data, size_t size)
{
    struct upload *upload = context;
    for (size_t i = 0; i < size; i++)
        upload->sum += (unsigned char)data[i];
    upload->bytes += size;
    upload->ended = !size;
    if (size) {
        assert_false(upload->paused);
        upload->paused = true;
        http_body_pause(upload->request, true);
        mailbox_send(http_request_mailbox(upload->request), go_on, upload);
    } else if (!upload->paused) {
        finish_upload(upload);
    }
}

static void answer_upload(struct http_request *request)
{
    if (http_request_parameter(request, "refuse")) {
        http_respond_text(request, 403, "text/plain", "no");
    } else if (http_request_parameter(request, "hold")) {
        hold(request);
    } else if (!request->streamed) {
        cleanup_free char *text = mem_printf("whole %zu", request->body_size);
        http_respond_text(request, 200, "text/plain", text);
    } else {
        struct upload *upload = mem_zero(1, sizeof(*upload));
        upload->request = request;
        http_request_retain(request);
        http_body_begin(request, take_piece, upload);
    }
}

static bool is_upload(const struct http_request *request, void *context)
{
    (void)context;
    return request->method == HTTP_POST && strcmp(request->path, "/upload") == 0;
}

static void forget(struct http_request *request)
{
    (void)request;
}

static const struct {
    const char *path;
    void (*answer)(struct http_request *request);
} routes[] = {
    {"/hello", answer_hello},     {"/echo", echo},
    {"/lent", answer_lent},       {"/hold", hold},
    {"/peer", answer_peer},       {"/stream", answer_stream},
    {"/flood", answer_flood},     {"/endless", answer_endless},
    {"/abort", answer_abort},     {"/forgotten", forget},
    {"/headers", answer_headers}, {"/upload", answer_upload},
    {"/sized", answer_sized},
};

static void handle(struct http_request *request, void *context)
{
    (void)context;
    if (request->fault) {
        http_respond_text(request, request->fault == HTTP_FAULT_BODY_TOO_LARGE ? 413 : 429, "text/plain", "too much");
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++)
        if (strcmp(routes[i].path, request->path) == 0) {
            routes[i].answer(request);
            return;
        }
    http_respond_text(request, 404, "text/plain", "not found");
}

struct held_answer {
    struct http_request *request;
    char *body;
};

static void send_answer(void *context)
{
    struct held_answer *answer = context;
    http_request_on_cancel(answer->request, NULL, NULL);
    http_respond_text(answer->request, 200, "text/plain", answer->body);
    http_request_release(answer->request);
    free(answer->body);
    free(answer);
}

void fixture_answer(unsigned i, const char *body)
{
    struct held_answer *answer = mem_alloc(sizeof(*answer));
    *answer = (struct held_answer){fixture.held[i], mem_string(body)};
    mailbox_send(http_request_mailbox(answer->request), send_answer, answer);
}

/* ---- Start and stop ---- */

static int listen_on_loopback(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 4096), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

void fixture_start(const struct http_limits *limits)
{
    fixture = (struct fixture){0};
    for (size_t i = 0; i < LENT_SIZE; i++)
        lent[i] = (char)('a' + i % 23);
    pthread_mutex_init(&fixture.lock, NULL);
    pthread_cond_init(&fixture.changed, NULL);
    struct error err = {0};
    struct http_options options = {.threads = 1, .handler = handle, .streams = is_upload};
    if (limits)
        options.limits = *limits;
    const struct pki_options pki_options = {.now = (int64_t)time(NULL) * SECOND};
    if (pki_open(&pki_options, &fixture.pki, &err) < 0 || !(fixture.server = http_server_new(&options, &err)))
        fail_msg("%s", err.text);
    const struct http_tls tls = {pki_server_certificate(fixture.pki), pki_server_key(fixture.pki),
                                 pki_ca_certificate(fixture.pki)};
    if (http_server_set_tls(fixture.server, &tls, &err) < 0 ||
        http_server_listen(fixture.server, listen_on_loopback(&fixture.port), true, &err) < 0 ||
        http_server_listen(fixture.server, listen_on_loopback(&fixture.tls_port), false, &err) < 0)
        fail_msg("%s", err.text);
}

void fixture_stop(void)
{
    http_server_free(fixture.server);
    pki_free(fixture.pki);
    pthread_mutex_destroy(&fixture.lock);
    pthread_cond_destroy(&fixture.changed);
}

int fixture_set_up(void **state)
{
    (void)state;
    fixture_start(NULL);
    return 0;
}

int fixture_tear_down(void **state)
{
    (void)state;
    fixture_stop();
    return 0;
}

/* ---- Many connections ---- */

size_t resident_memory(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    unsigned long pages = 0, resident = 0;
    assert_int_equal(fscanf(f, "%lu %lu", &pages, &resident), 2);
    fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

void allow_connections(unsigned count, struct rlimit *before)
{
    rlim_t wanted = 2 * (rlim_t)count + 100;
    getrlimit(RLIMIT_NOFILE, before);
    if (before->rlim_max < wanted)
        skip();
    struct rlimit raised = {wanted, before->rlim_max};
    if (before->rlim_cur < wanted)
        setrlimit(RLIMIT_NOFILE, &raised);
}

/* ---- The client ---- */

int client_connect(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    const struct timeval bound = {.tv_sec = WAIT_SECONDS};
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void client_send_bytes(int fd, const void *data, size_t size)
{
    while (size) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n < 0)
            fail_msg("send: %s", strerror(errno));
        data = (const char *)data + n;
        size -= (size_t)n;
    }
}

void client_send(int fd, const char *text)
{
    client_send_bytes(fd, text, strlen(text));
}

static bool read_more(int fd, struct buffer *b, size_t n)
{
    char *to = buffer_reserve(b, n);
    ssize_t got = recv(fd, to, n, 0);
    if (got < 0 && errno != ECONNRESET)
        fail_msg("recv: %s", strerror(errno));
    if (got <= 0)
        return false;
    b->size += (size_t)got;
    b->data[b->size] = 0;
    return true;
}

/* Reads byte by byte up to and with the next line end. */
static bool read_line(int fd, struct buffer *b)
{
    size_t start = b->size;
    do {
        if (!read_more(fd, b, 1))
            return false;
    } while (b->data[b->size - 1] != '\n');
    return b->size > start + 2;
}

static void read_exactly(int fd, struct buffer *b, size_t n)
{
    size_t end = b->size + n;
    while (b->size < end)
        if (!read_more(fd, b, end - b->size))
            fail_msg("the response breaks off");
}

static void read_chunks(int fd, struct buffer *b)
{
    for (;;) {
        struct buffer line = {0};
        assert_true(read_line(fd, &line));
        size_t n = strtoull(line.data, NULL, 16);
        buffer_free(&line);
        size_t end = b->size + n;
        read_exactly(fd, b, n + 2);
        assert_memory_equal(b->data + end, "\r\n", 2);
        b->size = end;
        b->data[end] = 0;
        if (!n)
            return;
    }
}

int client_read_response(int fd, struct buffer *b, bool head)
{
    int status = 0;
    do {
        buffer_clear(b);
        while (read_line(fd, b))
            ;
        if (!b->size)
            return 0;
        assert_memory_equal(b->data, "HTTP/1.1 ", 9);
        status = atoi(b->data + 9);
    } while (status == 100);
    const char *length = strcasestr(b->data, "\r\nContent-Length:");
    if (head)
        return status;
    if (strcasestr(b->data, "\r\nTransfer-Encoding: chunked"))
        read_chunks(fd, b);
    else if (length)
        read_exactly(fd, b, strtoull(length + 17, NULL, 10));
    else
        while (read_more(fd, b, 4096))
            ;
    return status;
}

const char *client_body(const struct buffer *response)
{
    return strstr(response->data, "\r\n\r\n") + 4;
}

const char *client_ask(int fd, const char *text, int status, struct buffer *response)
{
    client_send(fd, text);
    assert_int_equal(client_read_response(fd, response, strncmp(text, "HEAD", 4) == 0), status);
    return client_body(response);
}

void client_expect_end(int fd)
{
    char skipped[65536];
    ssize_t n;
    while ((n = recv(fd, skipped, sizeof(skipped), 0)) > 0)
        ;
    if (n < 0 && errno != ECONNRESET)
        fail_msg("the connection does not end: %s", strerror(errno));
}
