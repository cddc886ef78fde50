/* A small HTTP model server: the program that the examples and the end-to-end tests deploy.
 *
 * It scores a transaction with a logistic regression whose weights it reads from a file, as slowly as it is told to,
 * so that start-up, readiness, rollout and draining look as they do with a model of many gigabytes. One file, one
 * thread, one epoll set, nothing but libc: the binary is static and an image needs nothing else.
 *
 *   GET or POST /predict      {"version": ..., "pod": ..., "score": ...}; features as a flat JSON object or as a query
 *   GET /healthz              200 as soon as the socket is open
 *   GET /ready                200 once the weights are loaded and until SIGTERM; 503 otherwise
 *   GET /metrics              counters in Prometheus' text format
 *   POST /admin/ready|unready|exit|pause   need "Authorization: Bearer $ADMIN_TOKEN"; 404 when no token is configured;
 *                             exit?code=N ends it, pause?ms=N accepts no connection for so long
 *
 * Environment:
 *   PORT                      port to listen on (8080)
 *   MODEL_PATH                weights, one "name value" per line (/models/weights)
 *   MODEL_VERSION, POD_NAME   reported in answers ("unknown", the host name)
 *   LOAD_BYTES_PER_SECOND     pace of reading the weights; 0 is as fast as possible (0)
 *   LOAD_DELAY_MS             added after the last byte (0)
 *   PREDICT_DELAY_MS          time that one prediction takes (0)
 *   SIGTERM_MODE              drain: keep accepting, tell each client to close, exit when no connection is left
 *                             close: close the listening socket at once, otherwise as drain
 *                             reject: as drain, but answer 503 to every request from then on
 *                             ignore: carry on as if nothing had been said
 *   DRAIN_TIMEOUT_MS          how long an idle connection may delay the exit after SIGTERM (5000)
 *   UDP_PORT                  answer every datagram on this port with version and pod; 0 is not to listen (0)
 *   LOG_REQUESTS              1 writes a line for every prediction, and for every probe that finds it not ready (0)
 *   ADMIN_TOKEN               enables /admin
 *
 * Invariants: a connection is in exactly one state; only connections in STATE_WAITING are in the waiting queue, which
 * is ordered by due time because every prediction takes equally long. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    REQUEST_SIZE_MAX = 64 * 1024,
    RESPONSE_SIZE_MAX = 8 * 1024,
    CONNECTIONS_MAX = 8192,
    WEIGHTS_SIZE_MAX = 4 * 1024 * 1024,
    FEATURES_MAX = 64,
    FEATURE_NAME_MAX = 48,
    LISTEN_BACKLOG = 1024,
    EVENTS_PER_WAIT = 128,
    LOAD_TICK_MS = 20,
    LOAD_CHUNK = 64 * 1024,
};

enum state { STATE_READING, STATE_WAITING, STATE_WRITING };

struct connection {
    int fd;
    enum state state;
    bool close_after_response;
    int64_t due_ms;
    double score; /* of the prediction in progress, while STATE_WAITING */
    char *request;
    size_t request_length;
    char response[RESPONSE_SIZE_MAX];
    size_t response_length, response_sent;
    struct connection *waiting_next;
    struct connection *all_previous, *all_next;
};

struct feature {
    char name[FEATURE_NAME_MAX];
    double weight;
};

enum sigterm_mode { SIGTERM_DRAIN, SIGTERM_CLOSE, SIGTERM_IGNORE, SIGTERM_REJECT };

static struct {
    const char *model_path, *version, *pod, *admin_token;
    int64_t load_bytes_per_second, load_delay_ms, predict_delay_ms, drain_timeout_ms;
    bool log_requests;
    enum sigterm_mode sigterm_mode;
    int port, udp_port;
} config;

static struct {
    int epoll, listener, signals, datagrams;
    struct connection *connections, *waiting_first, *waiting_last;
    int connection_count;
    bool accept_paused;
    int64_t accept_again_ms; /* paused by the administrator until then; 0: not */

    int weights_fd;
    char *weights;
    size_t weights_length;
    int64_t load_started_ms, load_finished_ms; /* load_finished_ms: the last byte was read; 0 before that */
    bool loaded, held_unready;
    struct feature features[FEATURES_MAX];
    int feature_count;

    bool draining;
    int64_t drain_deadline_ms;
    int exit_code;
    bool exit_now;

    uint64_t predictions, other_requests, refused;
} server;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

__attribute__((format(printf, 1, 2))) static void log_line(const char *format, ...)
{
    struct timespec now;
    struct tm calendar;
    char stamp[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &calendar);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &calendar);
    printf("%s.%03ldZ ", stamp, now.tv_nsec / 1000000);
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list arguments;
    fputs("model-server: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

/* ---- configuration ---- */

static const char *setting(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    return value && *value ? value : fallback;
}

static int64_t number_setting(const char *name, int64_t fallback, int64_t maximum)
{
    const char *text = setting(name, NULL);
    if (!text)
        return fallback;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end || value < 0 || value > maximum)
        fail("%s must be a number from 0 to %" PRId64 ", not \"%s\"", name, maximum, text);
    return value;
}

static void read_configuration(void)
{
    static const char *const modes[] = {"drain", "close", "ignore", "reject"};
    static char host_name[256];
    gethostname(host_name, sizeof host_name - 1);
    config.model_path = setting("MODEL_PATH", "/models/weights");
    config.version = setting("MODEL_VERSION", "unknown");
    config.pod = setting("POD_NAME", host_name);
    config.admin_token = setting("ADMIN_TOKEN", NULL);
    config.port = (int)number_setting("PORT", 8080, 65535);
    config.udp_port = (int)number_setting("UDP_PORT", 0, 65535);
    config.load_bytes_per_second = number_setting("LOAD_BYTES_PER_SECOND", 0, INT32_MAX);
    config.load_delay_ms = number_setting("LOAD_DELAY_MS", 0, 3600 * 1000);
    config.predict_delay_ms = number_setting("PREDICT_DELAY_MS", 0, 600 * 1000);
    config.drain_timeout_ms = number_setting("DRAIN_TIMEOUT_MS", 5000, 3600 * 1000);
    config.log_requests = number_setting("LOG_REQUESTS", 0, 1) == 1;
    const char *mode = setting("SIGTERM_MODE", "drain");
    for (int i = 0; i < 4; i++)
        if (!strcmp(mode, modes[i])) {
            config.sigterm_mode = (enum sigterm_mode)i;
            return;
        }
    fail("SIGTERM_MODE must be drain, close, reject or ignore, not \"%s\"", mode);
}

/* ---- the model ---- */

static void parse_weights(void)
{
    char *save = NULL;
    for (char *line = strtok_r(server.weights, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        struct feature *feature = &server.features[server.feature_count];
        if (*line == '#' || sscanf(line, "%47s %lf", feature->name, &feature->weight) != 2)
            continue;
        if (++server.feature_count == FEATURES_MAX)
            break;
    }
    if (!server.feature_count)
        fail("%s holds no weight", config.model_path);
}

static void start_loading(void)
{
    server.weights_fd = open(config.model_path, O_RDONLY | O_CLOEXEC);
    if (server.weights_fd < 0)
        fail("cannot open %s: %s", config.model_path, strerror(errno));
    server.weights = calloc(1, WEIGHTS_SIZE_MAX + 1);
    if (!server.weights)
        fail("out of memory");
    server.load_started_ms = now_ms();
    log_line("loading %s", config.model_path);
}

/* Reads as many bytes as the pace allows by now. Returns how long to wait before the next step, or -1 when done. */
static int64_t load_step(int64_t now)
{
    if (server.loaded)
        return -1;
    while (!server.load_finished_ms) {
        size_t wanted = LOAD_CHUNK;
        if (config.load_bytes_per_second) {
            int64_t allowed = (now - server.load_started_ms) * config.load_bytes_per_second / 1000;
            if (allowed <= (int64_t)server.weights_length)
                return LOAD_TICK_MS;
            wanted = (size_t)allowed - server.weights_length;
        }
        if (wanted > WEIGHTS_SIZE_MAX - server.weights_length)
            wanted = WEIGHTS_SIZE_MAX - server.weights_length;
        ssize_t count = read(server.weights_fd, server.weights + server.weights_length, wanted);
        if (count < 0)
            fail("cannot read %s: %s", config.model_path, strerror(errno));
        server.weights_length += (size_t)count;
        if (!count)
            server.load_finished_ms = now;
    }
    int64_t remaining = server.load_finished_ms + config.load_delay_ms - now;
    if (remaining > 0)
        return remaining;
    close(server.weights_fd);
    parse_weights();
    server.loaded = true;
    log_line("loaded %zu bytes, %d weights, in %" PRId64 " ms; ready", server.weights_length, server.feature_count,
             now - server.load_started_ms);
    return -1;
}

/* The value of a feature in a flat JSON object ("name": 1.5) or in a query (name=1.5); 0 when it is not there. */
static double feature_value(const char *text, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = text; (at = strstr(at, name)); at += length) {
        const char *after = at + length;
        bool quoted = at > text && at[-1] == '"' && *after == '"';
        bool query = (at > text && (at[-1] == '?' || at[-1] == '&')) && *after == '=';
        if (!quoted && !query)
            continue;
        after++;
        if (quoted) {
            after += strspn(after, " \t\r\n");
            if (*after++ != ':')
                continue;
        }
        return strtod(after, NULL);
    }
    return 0;
}

static double score(const char *query, const char *body)
{
    double sum = 0;
    for (int i = 0; i < server.feature_count; i++) {
        const struct feature *feature = &server.features[i];
        bool bias = !strcmp(feature->name, "bias");
        sum += feature->weight *
               (bias ? 1.0 : feature_value(query, feature->name) + feature_value(body, feature->name));
    }
    return 1.0 / (1.0 + exp(-sum));
}

/* ---- connections ---- */

static void watch(int operation, int fd, uint32_t events, void *data)
{
    struct epoll_event event = {.events = events, .data.ptr = data};
    if (epoll_ctl(server.epoll, operation, fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static void pause_accepting(void)
{
    if (!server.accept_paused && server.listener >= 0)
        epoll_ctl(server.epoll, EPOLL_CTL_DEL, server.listener, NULL);
    server.accept_paused = true;
}

static void resume_accepting(void)
{
    server.accept_paused = false;
    if (server.listener >= 0)
        watch(EPOLL_CTL_ADD, server.listener, EPOLLIN, &server.listener);
}

static void connection_close(struct connection *connection)
{
    if (connection->state == STATE_WAITING) {
        struct connection **link = &server.waiting_first, *previous = NULL;
        while (*link && *link != connection) {
            previous = *link;
            link = &(*link)->waiting_next;
        }
        *link = connection->waiting_next;
        if (server.waiting_last == connection)
            server.waiting_last = previous;
    }
    if (connection->all_previous)
        connection->all_previous->all_next = connection->all_next;
    else
        server.connections = connection->all_next;
    if (connection->all_next)
        connection->all_next->all_previous = connection->all_previous;
    close(connection->fd);
    free(connection->request);
    free(connection);
    server.connection_count--;
    if (server.accept_paused && !server.accept_again_ms)
        resume_accepting();
}

static void accept_connections(void)
{
    for (;;) {
        if (server.connection_count >= CONNECTIONS_MAX) {
            pause_accepting();
            return;
        }
        int fd = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct connection *connection = calloc(1, sizeof *connection);
        char *request = malloc(REQUEST_SIZE_MAX + 1);
        if (!connection || !request) {
            free(connection);
            free(request);
            close(fd);
            server.refused++;
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        connection->fd = fd;
        connection->request = request;
        connection->all_next = server.connections;
        if (server.connections)
            server.connections->all_previous = connection;
        server.connections = connection;
        server.connection_count++;
        watch(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP, connection);
    }
}

__attribute__((format(printf, 4, 5))) static void
respond(struct connection *connection, const char *status, const char *type, const char *format, ...)
{
    char body[RESPONSE_SIZE_MAX / 2];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(body, sizeof body, format, arguments);
    va_end(arguments);
    if (server.draining)
        connection->close_after_response = true;
    int length = snprintf(connection->response, sizeof connection->response,
                          "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n%s", status, type,
                          strlen(body), connection->close_after_response ? "Connection: close\r\n" : "", body);
    connection->response_length = (size_t)length;
    connection->response_sent = 0;
    connection->state = STATE_WRITING;
}

/* ---- requests ---- */

struct request {
    char *method, *path, *query, *head, *body;
};

static void respond_with_score(struct connection *connection)
{
    server.predictions++;
    if (config.log_requests)
        log_line("predict score=%.6f version=%s", connection->score, config.version);
    respond(connection, "200 OK", "application/json", "{\"version\":\"%s\",\"pod\":\"%s\",\"score\":%.6f}\n",
            config.version, config.pod, connection->score);
}

static void answer_predict(struct connection *connection, const struct request *request)
{
    if (!server.loaded) {
        respond(connection, "503 Service Unavailable", "application/json", "{\"error\":\"the model is loading\"}\n");
        return;
    }
    connection->score = score(request->query, request->body);
    if (!config.predict_delay_ms) {
        respond_with_score(connection);
        return;
    }
    connection->state = STATE_WAITING;
    connection->due_ms = now_ms() + config.predict_delay_ms;
    connection->waiting_next = NULL;
    if (server.waiting_first)
        server.waiting_last->waiting_next = connection;
    else
        server.waiting_first = connection;
    server.waiting_last = connection;
}

static void answer_healthz(struct connection *connection, const struct request *request)
{
    (void)request;
    respond(connection, "200 OK", "text/plain", "ok\n");
}

static void answer_ready(struct connection *connection, const struct request *request)
{
    (void)request;
    if (server.loaded && !server.held_unready && !server.draining)
        respond(connection, "200 OK", "text/plain", "ready\n");
    else {
        const char *why = server.draining ? "draining" : server.held_unready ? "told to be unready" : "loading";
        if (config.log_requests)
            log_line("not ready: %s", why);
        respond(connection, "503 Service Unavailable", "text/plain", "%s\n", why);
    }
}

static void answer_metrics(struct connection *connection, const struct request *request)
{
    (void)request;
    respond(connection, "200 OK", "text/plain; version=0.0.4",
            "# TYPE model_server_predictions_total counter\nmodel_server_predictions_total %" PRIu64 "\n"
            "# TYPE model_server_other_requests_total counter\nmodel_server_other_requests_total %" PRIu64 "\n"
            "# TYPE model_server_refused_connections_total counter\n"
            "model_server_refused_connections_total %" PRIu64 "\n"
            "# TYPE model_server_connections gauge\nmodel_server_connections %d\n"
            "# TYPE model_server_loaded gauge\nmodel_server_loaded{version=\"%s\"} %d\n",
            server.predictions, server.other_requests, server.refused, server.connection_count, config.version,
            server.loaded);
}

static bool is_administrator(const struct request *request)
{
    char wanted[512];
    if (!config.admin_token)
        return false;
    int length = snprintf(wanted, sizeof wanted, "\r\nAuthorization: Bearer %s\r\n", config.admin_token);
    return length < (int)sizeof wanted && strstr(request->head, wanted);
}

static void answer_admin(struct connection *connection, const struct request *request)
{
    if (!config.admin_token)
        respond(connection, "404 Not Found", "text/plain", "not found\n");
    else if (!is_administrator(request))
        respond(connection, "401 Unauthorized", "text/plain", "the administrator's token is needed\n");
    else {
        if (!strcmp(request->path, "/admin/pause")) {
            server.accept_again_ms = now_ms() + (int64_t)feature_value(request->query, "ms");
            pause_accepting();
        } else {
            server.held_unready = !strcmp(request->path, "/admin/unready");
        }
        if (!strcmp(request->path, "/admin/exit")) {
            server.exit_code = (int)feature_value(request->query, "code");
            server.exit_now = true;
        }
        log_line("administrator: %s", request->path);
        respond(connection, "200 OK", "text/plain", "done\n");
    }
}

static const struct route {
    const char *path;
    void (*answer)(struct connection *connection, const struct request *request);
    bool post_only;
} routes[] = {
    {"/predict", answer_predict, false},    {"/healthz", answer_healthz, false},
    {"/ready", answer_ready, false},        {"/metrics", answer_metrics, false},
    {"/admin/ready", answer_admin, true},   {"/admin/unready", answer_admin, true},
    {"/admin/exit", answer_admin, true},    {"/admin/pause", answer_admin, true},
};

static void answer(struct connection *connection, const struct request *request)
{
    if (strcmp(request->path, "/predict"))
        server.other_requests++;
    if (server.draining && config.sigterm_mode == SIGTERM_REJECT) {
        respond(connection, "503 Service Unavailable", "application/json", "{\"detail\":\"shutting down\"}\n");
        return;
    }
    bool post = !strcmp(request->method, "POST");
    if (!post && strcmp(request->method, "GET")) {
        respond(connection, "405 Method Not Allowed", "text/plain", "use GET or POST\n");
        return;
    }
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (strcmp(routes[i].path, request->path))
            continue;
        if (routes[i].post_only && !post)
            respond(connection, "405 Method Not Allowed", "text/plain", "use POST\n");
        else
            routes[i].answer(connection, request);
        return;
    }
    respond(connection, "404 Not Found", "text/plain", "not found\n");
}

static void refuse(struct connection *connection, const char *status)
{
    connection->close_after_response = true;
    connection->request_length = 0;
    respond(connection, status, "text/plain", "%s\n", status);
}

/* Takes one whole request off the buffer and answers it. Returns false when more bytes are needed. */
static bool take_request(struct connection *connection)
{
    char *buffer = connection->request;
    buffer[connection->request_length] = 0;
    char *head_end = strstr(buffer, "\r\n\r\n");
    if (!head_end) {
        if (connection->request_length < REQUEST_SIZE_MAX)
            return false;
        refuse(connection, "431 Request Header Fields Too Large");
        return true;
    }
    size_t head_length = (size_t)(head_end - buffer) + 4, body_length = 0;
    head_end[2] = 0;
    char *line_end = strstr(buffer, "\r\n");
    const char *length_header = strcasestr(line_end, "\r\nContent-Length:");
    if (strcasestr(line_end, "\r\nTransfer-Encoding:")) {
        refuse(connection, "501 Not Implemented");
        return true;
    }
    if (length_header)
        body_length = strtoul(length_header + strlen("\r\nContent-Length:"), NULL, 10);
    if (body_length > REQUEST_SIZE_MAX - head_length) {
        refuse(connection, "413 Content Too Large");
        return true;
    }
    if (connection->request_length < head_length + body_length) {
        head_end[2] = '\r';
        return false;
    }

    bool keep_alive = !strcasestr(line_end, "\r\nConnection: close");
    char head[2048], after_body = buffer[head_length + body_length];
    snprintf(head, sizeof head, "%s", line_end);
    buffer[head_length + body_length] = 0;
    *line_end = 0;
    char *save = NULL, empty[] = "", query[1024] = "";
    struct request request = {.head = head, .body = buffer + head_length, .query = query};
    request.method = strtok_r(buffer, " ", &save);
    request.path = strtok_r(NULL, " ", &save);
    char *version = strtok_r(NULL, " ", &save);
    if (!version || strncmp(version, "HTTP/1.", 7)) {
        refuse(connection, "400 Bad Request");
        return true;
    }
    if (!strcmp(version, "HTTP/1.0"))
        keep_alive = false;
    char *question = strchr(request.path, '?');
    if (question) {
        snprintf(query, sizeof query, "%s", question);
        *question = 0;
    } else {
        request.query = empty;
    }
    connection->close_after_response = !keep_alive;
    answer(connection, &request);
    buffer[head_length + body_length] = after_body;
    connection->request_length -= head_length + body_length;
    memmove(buffer, buffer + head_length + body_length, connection->request_length);
    return true;
}

/* Moves a connection as far as it goes without waiting. Frees it when it is over. */
static void connection_advance(struct connection *connection)
{
    for (;;) {
        if (connection->state == STATE_WRITING) {
            ssize_t count = send(connection->fd, connection->response + connection->response_sent,
                                 connection->response_length - connection->response_sent, MSG_NOSIGNAL);
            if (count < 0 && errno == EAGAIN) {
                watch(EPOLL_CTL_MOD, connection->fd, EPOLLOUT, connection);
                return;
            }
            if (count < 0) {
                connection_close(connection);
                return;
            }
            connection->response_sent += (size_t)count;
            if (connection->response_sent < connection->response_length)
                continue;
            if (connection->close_after_response) {
                shutdown(connection->fd, SHUT_WR);
                connection_close(connection);
                return;
            }
            connection->state = STATE_READING;
            watch(EPOLL_CTL_MOD, connection->fd, EPOLLIN | EPOLLRDHUP, connection);
        } else if (connection->state == STATE_WAITING) {
            watch(EPOLL_CTL_MOD, connection->fd, 0, connection);
            return;
        } else {
            if (connection->request_length && take_request(connection))
                continue;
            ssize_t count = recv(connection->fd, connection->request + connection->request_length,
                                 REQUEST_SIZE_MAX - connection->request_length, 0);
            if (count < 0 && errno == EAGAIN)
                return;
            if (count <= 0) {
                connection_close(connection);
                return;
            }
            connection->request_length += (size_t)count;
        }
    }
}

static void finish_due_predictions(int64_t now)
{
    while (server.waiting_first && server.waiting_first->due_ms <= now) {
        struct connection *connection = server.waiting_first;
        server.waiting_first = connection->waiting_next;
        if (!server.waiting_first)
            server.waiting_last = NULL;
        respond_with_score(connection);
        connection_advance(connection);
    }
}

/* ---- signals and the main loop ---- */

static void begin_termination(void)
{
    struct signalfd_siginfo info;
    if (read(server.signals, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (config.sigterm_mode == SIGTERM_IGNORE) {
        log_line("SIGTERM ignored");
        return;
    }
    if (server.draining)
        return;
    log_line("SIGTERM: %s, %d connections open",
             config.sigterm_mode == SIGTERM_CLOSE ? "closing the listening socket" : "draining",
             server.connection_count);
    server.draining = true;
    server.drain_deadline_ms = now_ms() + config.drain_timeout_ms;
    if (config.sigterm_mode == SIGTERM_CLOSE) {
        close(server.listener);
        server.listener = -1;
    } else if (!server.accept_paused) {
        accept_connections();
    }
}

static bool has_request_in_hand(void)
{
    for (struct connection *connection = server.connections; connection; connection = connection->all_next)
        if (connection->state != STATE_READING)
            return true;
    return false;
}

static bool is_finished(int64_t now)
{
    if (server.exit_now)
        return !has_request_in_hand();
    return server.draining && (!server.connection_count || (now >= server.drain_deadline_ms && !has_request_in_hand()));
}

static int open_listener(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)config.port)};
    struct sockaddr_in any_v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)config.port)};
    if (fd >= 0) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){0}, sizeof(int));
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
        if (!bind(fd, (struct sockaddr *)&any, sizeof any) && !listen(fd, LISTEN_BACKLOG))
            return fd;
        close(fd);
    }
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&any_v4, sizeof any_v4) || listen(fd, LISTEN_BACKLOG))
        fail("cannot listen on port %d: %s", config.port, strerror(errno));
    return fd;
}

static void open_datagrams(void)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)config.udp_port)};
    struct sockaddr_in any_v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)config.udp_port)};
    server.datagrams = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); /* of both families */
    bool both = server.datagrams >= 0;
    if (!both)
        server.datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(server.datagrams, both ? (struct sockaddr *)&any : (struct sockaddr *)&any_v4,
             both ? sizeof any : sizeof any_v4))
        fail("cannot receive datagrams on port %d: %s", config.udp_port, strerror(errno));
    watch(EPOLL_CTL_ADD, server.datagrams, EPOLLIN, &server.datagrams);
}

static void answer_datagrams(void)
{
    char request[16], reply[512];
    struct sockaddr_in6 sender;
    socklen_t length = sizeof sender;
    int reply_length = snprintf(reply, sizeof reply, "%s %s\n", config.version, config.pod);
    while (recvfrom(server.datagrams, request, sizeof request, 0, (struct sockaddr *)&sender, &length) >= 0)
        sendto(server.datagrams, reply, (size_t)reply_length, 0, (struct sockaddr *)&sender, length);
}

static int64_t earlier(int64_t timeout, int64_t candidate)
{
    if (candidate < 0)
        return timeout;
    return timeout < 0 || candidate < timeout ? candidate : timeout;
}

static void run(void)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    for (;;) {
        int64_t now = now_ms(), timeout = -1;
        finish_due_predictions(now);
        timeout = earlier(timeout, load_step(now));
        if (is_finished(now))
            return;
        if (server.accept_again_ms && now >= server.accept_again_ms) {
            server.accept_again_ms = 0;
            resume_accepting();
        }
        if (server.accept_again_ms)
            timeout = earlier(timeout, server.accept_again_ms - now);
        if (server.waiting_first)
            timeout = earlier(timeout, server.waiting_first->due_ms > now ? server.waiting_first->due_ms - now : 0);
        if (server.draining)
            timeout = earlier(timeout, server.drain_deadline_ms > now ? server.drain_deadline_ms - now : LOAD_TICK_MS);
        int count = epoll_wait(server.epoll, events, EVENTS_PER_WAIT, (int)timeout);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &server.signals)
                begin_termination();
            else if (events[i].data.ptr == &server.listener)
                accept_connections();
            else if (events[i].data.ptr == &server.datagrams)
                answer_datagrams();
            else if ((events[i].events & EPOLLERR) ||
                     ((events[i].events & EPOLLHUP) && !(events[i].events & EPOLLIN)))
                connection_close(events[i].data.ptr);
            else
                connection_advance(events[i].data.ptr);
        }
    }
}

/* Kubernetes shows the last words of a container in its status when they are in this file. */
static void leave_termination_message(void)
{
    FILE *file = fopen(setting("TERMINATION_LOG", "/dev/termination-log"), "r+");
    if (!file)
        return;
    fprintf(file, "%s after %" PRIu64 " predictions\n", server.draining ? "drained" : "told to exit",
            server.predictions);
    fclose(file);
}

int main(void)
{
    read_configuration();
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    server.signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    server.epoll = epoll_create1(EPOLL_CLOEXEC);
    server.listener = open_listener();
    watch(EPOLL_CTL_ADD, server.listener, EPOLLIN, &server.listener);
    watch(EPOLL_CTL_ADD, server.signals, EPOLLIN, &server.signals);
    if (config.udp_port)
        open_datagrams();
    log_line("model-server %s on %s listens on port %d", config.version, config.pod, config.port);
    start_loading();
    run();
    log_line("exiting with code %d after %" PRIu64 " predictions", server.exit_code, server.predictions);
    leave_termination_message();
    return server.exit_code;
}
