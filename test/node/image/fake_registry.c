/* A registry on loopback that misbehaves. */
#include "fake_registry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#define GATHER_SECONDS 10

struct connection {
    struct fake_registry *registry;
    int fd;
};

static void send_all(int fd, const void *data, size_t size)
{
    for (const char *p = data; size;) {
        ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        p += n;
        size -= (size_t)n;
    }
}

static void answer(int fd, const char *status, const char *headers, const void *body, size_t size)
{
    cleanup_buffer struct buffer head = {0};
    buffer_printf(&head, "HTTP/1.1 %s\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n", status, headers, size);
    send_all(fd, head.data, head.size);
    if (body)
        send_all(fd, body, size);
}

static bool read_request(int fd, struct fake_request *out)
{
    char text[16384];
    size_t n = 0;
    while (n < sizeof(text) - 1) {
        ssize_t got = recv(fd, text + n, sizeof(text) - 1 - n, 0);
        if (got <= 0)
            return false;
        n += (size_t)got;
        text[n] = 0;
        if (strstr(text, "\r\n\r\n"))
            break;
    }
    memset(out, 0, sizeof(*out));
    const char *authorization = strstr(text, "\r\nAuthorization: "), *range = strstr(text, "\r\nRange: bytes=");
    if (authorization)
        sscanf(authorization, "\r\nAuthorization: %2047[^\r]", out->authorization);
    if (range)
        out->from = strtoull(range + strlen("\r\nRange: bytes="), NULL, 10);
    return sscanf(text, "%7s %1023s", out->method, out->path) == 2;
}

/* Waits until `gather` blobs are wanted at once. */
static void gather(struct fake_registry *registry)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += GATHER_SECONDS;
    registry->waiting++;
    if (registry->waiting > registry->most_waiting)
        registry->most_waiting = registry->waiting;
    pthread_cond_broadcast(&registry->changed);
    while (registry->most_waiting < registry->gather &&
           pthread_cond_timedwait(&registry->changed, &registry->mutex, &until) == 0)
        ;
    registry->waiting--;
}

static void serve_blob(struct fake_registry *registry, int fd, const struct fake_request *request,
                       const struct fake_body *body)
{
    char headers[2048];
    char byte;
    pthread_mutex_lock(&registry->mutex);
    if (registry->gather)
        gather(registry);
    bool cut = registry->cuts > 0 && registry->cut_after < body->data.size;
    registry->cuts -= cut;
    pthread_mutex_unlock(&registry->mutex);
    if (registry->cancel) {
        atomic_store(registry->cancel, true);
        recv(fd, &byte, 1, 0); /* until the client hangs up */
        return;
    }
    if (registry->redirect_host) {
        snprintf(headers, sizeof(headers), "Location: http://%s%s\r\n", registry->redirect_host, request->path);
        answer(fd, "307 Temporary Redirect", headers, "", 0);
        return;
    }
    uint64_t from = registry->no_range ? 0 : request->from;
    if (from > body->data.size) {
        answer(fd, "416 Requested Range Not Satisfiable", "", "", 0);
        return;
    }
    size_t size = body->data.size - from;
    snprintf(headers, sizeof(headers), "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %zu\r\n",
             from ? "206 Partial Content" : "200 OK", size);
    send_all(fd, headers, strlen(headers));
    if (from) {
        snprintf(headers, sizeof(headers), "Content-Range: bytes %zu-%zu/%zu\r\n", (size_t)from, body->data.size - 1,
                 body->data.size);
        send_all(fd, headers, strlen(headers));
    }
    send_all(fd, "\r\n", 2);
    send_all(fd, body->data.data + from, cut && registry->cut_after < size ? registry->cut_after : size);
}

/* Whether the request may pass; answers it if not. */
static bool authorized(struct fake_registry *registry, int fd, const struct fake_request *request)
{
    char wanted[2048], challenge[512];
    if (registry->token) {
        snprintf(wanted, sizeof(wanted), "Bearer %s", registry->token);
        bool sent = *request->authorization;
        if (strcmp(request->authorization, wanted) == 0 && !registry->deny)
            return true;
        snprintf(challenge, sizeof(challenge),
                 "WWW-Authenticate: Bearer realm=\"http://%s/token\",service=\"fake registry\",scope=\"repository:team/"
                 "app:pull\"%s\r\n",
                 registry->host, sent ? ",error=\"insufficient_scope\"" : "");
    } else {
        snprintf(wanted, sizeof(wanted), "Basic %s", registry->basic ? registry->basic : "");
        if (!registry->basic || strcmp(request->authorization, wanted) == 0)
            return true;
        snprintf(challenge, sizeof(challenge), "WWW-Authenticate: Basic realm=\"fake\"\r\n");
    }
    answer(fd, "401 Unauthorized", challenge, "{}", 2);
    return false;
}

static void serve_token(struct fake_registry *registry, int fd, const struct fake_request *request)
{
    char wanted[2048], body[2048];
    snprintf(wanted, sizeof(wanted), "Basic %s", registry->basic ? registry->basic : "");
    if (registry->basic && strcmp(request->authorization, wanted) != 0) {
        answer(fd, "401 Unauthorized", "", "{}", 2);
        return;
    }
    snprintf(body, sizeof(body), "{\"token\":\"%s\"}", registry->token);
    answer(fd, "200 OK", "Content-Type: application/json\r\n", body, strlen(body));
}

static void serve(struct fake_registry *registry, int fd, const struct fake_request *request)
{
    char headers[512], digest[DIGEST_TEXT_SIZE];
    pthread_mutex_lock(&registry->mutex);
    if (registry->request_count < FAKE_REQUESTS_MAX)
        registry->requests[registry->request_count++] = *request;
    bool unavailable = registry->unavailable > 0;
    registry->unavailable -= unavailable;
    pthread_mutex_unlock(&registry->mutex);
    if (unavailable) {
        answer(fd, "503 Service Unavailable", "", "", 0);
        return;
    }
    if (strncmp(request->path, "/token?", 7) == 0) {
        serve_token(registry, fd, request);
        return;
    }
    if (!authorized(registry, fd, request))
        return;
    for (size_t i = 0; i < registry->body_count; i++) {
        const struct fake_body *body = &registry->bodies[i];
        if (strcmp(body->path, request->path) != 0)
            continue;
        if (strstr(request->path, "/blobs/") && !body->content_type) {
            serve_blob(registry, fd, request, body);
            return;
        }
        image_digest_of(body->data.data, body->data.size, digest);
        snprintf(headers, sizeof(headers), "Content-Type: %s\r\n", body->content_type);
        if (!registry->no_digest)
            snprintf(headers, sizeof(headers), "Content-Type: %s\r\nDocker-Content-Digest: %s\r\n", body->content_type,
                     digest);
        answer(fd, "200 OK", headers, strcmp(request->method, "HEAD") == 0 ? NULL : body->data.data, body->data.size);
        return;
    }
    answer(fd, "404 Not Found", "", "{}", 2);
}

static void *run_connection(void *context)
{
    struct connection *connection = context;
    struct fake_registry *registry = connection->registry;
    struct fake_request request;
    if (read_request(connection->fd, &request))
        serve(registry, connection->fd, &request);
    close(connection->fd);
    free(connection);
    pthread_mutex_lock(&registry->mutex);
    registry->connections--;
    pthread_cond_broadcast(&registry->changed);
    pthread_mutex_unlock(&registry->mutex);
    return NULL;
}

static void *run(void *context)
{
    struct fake_registry *registry = context;
    int fd;
    while ((fd = accept(registry->listener, NULL, NULL)) >= 0) {
        pthread_t thread;
        struct connection *connection = mem_zero(1, sizeof(*connection));
        *connection = (struct connection){registry, fd};
        pthread_mutex_lock(&registry->mutex);
        registry->connections++;
        pthread_mutex_unlock(&registry->mutex);
        assert_int_equal(pthread_create(&thread, NULL, run_connection, connection), 0);
        pthread_detach(thread);
    }
    return NULL;
}

struct fake_registry *fake_registry_start(void)
{
    struct fake_registry *registry = mem_zero(1, sizeof(*registry));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    registry->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(registry->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(registry->listener, 64), 0);
    assert_int_equal(getsockname(registry->listener, (struct sockaddr *)&address, &size), 0);
    registry->port = ntohs(address.sin_port);
    snprintf(registry->host, sizeof(registry->host), "127.0.0.1:%d", registry->port);
    pthread_mutex_init(&registry->mutex, NULL);
    pthread_cond_init(&registry->changed, NULL);
    assert_int_equal(pthread_create(&registry->thread, NULL, run, registry), 0);
    return registry;
}

void fake_registry_stop(struct fake_registry *registry)
{
    shutdown(registry->listener, SHUT_RDWR);
    pthread_join(registry->thread, NULL);
    close(registry->listener);
    pthread_mutex_lock(&registry->mutex);
    while (registry->connections)
        pthread_cond_wait(&registry->changed, &registry->mutex);
    pthread_mutex_unlock(&registry->mutex);
    for (size_t i = 0; i < registry->body_count; i++)
        buffer_free(&registry->bodies[i].data);
    pthread_mutex_destroy(&registry->mutex);
    pthread_cond_destroy(&registry->changed);
    free(registry);
}

void fake_registry_add_body(struct fake_registry *registry, const char *path, const char *content_type,
                            const void *data, size_t size)
{
    assert_true(registry->body_count < FAKE_BODIES_MAX);
    struct fake_body *body = &registry->bodies[registry->body_count++];
    snprintf(body->path, sizeof(body->path), "%s", path);
    body->content_type = content_type;
    buffer_add(&body->data, data, size);
}

struct buffer *fake_registry_body(struct fake_registry *registry, const char *path)
{
    for (size_t i = 0; i < registry->body_count; i++)
        if (strcmp(registry->bodies[i].path, path) == 0)
            return &registry->bodies[i].data;
    return NULL;
}

void fake_registry_add(struct fake_registry *registry, const struct test_image *image, const char *tag)
{
    static const char type[] = "application/vnd.oci.image.manifest.v1+json";
    char path[256];
    const struct {
        const char *kind, *name, *type;
        const struct buffer *data;
    } documents[] = {{"manifests", tag, type, &image->manifest},
                     {"manifests", image->manifest_digest, type, &image->manifest},
                     {"blobs", image->id, "application/octet-stream", &image->config_blob}};
    for (size_t i = 0; i < ARRAY_COUNT(documents); i++) {
        if (!documents[i].name)
            continue;
        snprintf(path, sizeof(path), "/v2/team/app/%s/%s", documents[i].kind, documents[i].name);
        fake_registry_add_body(registry, path, documents[i].type, documents[i].data->data, documents[i].data->size);
    }
    for (size_t i = 0; i < image->layer_count; i++) {
        snprintf(path, sizeof(path), "/v2/team/app/blobs/%s", image->layer_digests[i]);
        if (!fake_registry_body(registry, path))
            fake_registry_add_body(registry, path, NULL, image->layers[i].data, image->layers[i].size);
    }
}

size_t fake_registry_count(struct fake_registry *registry, const char *part)
{
    size_t count = 0;
    pthread_mutex_lock(&registry->mutex);
    for (size_t i = 0; i < registry->request_count; i++)
        count += strstr(registry->requests[i].path, part) != NULL;
    pthread_mutex_unlock(&registry->mutex);
    return count;
}
